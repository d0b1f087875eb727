//! The agent's numbers against those of Debian's prometheus-node-exporter, read at the same time.
//!
//! Every series that both have is compared. Between two readings a counter grows and a gauge moves, so node_exporter is asked before and
//! after the agent's tick, and the agent's value must lie between the two answers, give or take:
//!
//! | what | tolerance |
//! |---|---|
//! | counters | none but that of a jiffy, 0.01 s |
//! | gauges | 2 % of the larger answer, and the spread of the two |
//! | gauges that the measuring itself moves: sockets, descriptors, processes, entropy | 25 and 10 % |

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::stage::{Agent, Load, Scratch, eventually};

/// node_exporter on a port that was free a moment ago.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn start() -> Exporter {
        eventually("node_exporter starts", || {
            let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            let child = Command::new("prometheus-node-exporter")
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--collector.processes")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus-node-exporter is installed by scripts/test");
            let exporter = Exporter { child, port };
            eventually("node_exporter listens", || TcpStream::connect(("127.0.0.1", port)).ok());
            Some(exporter)
        })
    }

    /// Every series: name and labels to value.
    fn scrape(&self) -> BTreeMap<String, f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it takes requests");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let lines = text.lines().filter(|line| line.starts_with("node_"));
        lines
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                Some((series.to_owned(), value.parse().ok()?))
            })
            .collect()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The newest sample of every series of the agent: moment and value, by the text that node_exporter uses.
fn latest(agent: &Agent) -> BTreeMap<String, (u64, f64)> {
    let (is_good, words) = agent.ask(&["query", "{__name__=~\"node_.*\"}", "--since", "10s", "--json"]);
    assert!(is_good, "{words}");
    let answer: Value = serde_json::from_str(&words).expect("it speaks JSON");
    let mut latest = BTreeMap::new();
    for series in answer["series"].as_array().expect("an answer has series") {
        let labels = series["labels"].as_object().expect("a series has labels");
        let mut text: Vec<String> = labels
            .iter()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.sort();
        let name = series["name"].as_str().or(labels.get("__name__").and_then(Value::as_str)).expect("a name");
        let key = if text.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", text.join(",")) };
        let point = series["points"].as_array().and_then(|points| points.last()).expect("a series has points");
        let value = point[1].as_f64().or_else(|| point[1].as_str()?.parse().ok()).expect("a number");
        latest.insert(key, (point[0].as_u64().expect("a moment"), value));
    }
    latest
}

/// Whether measuring itself moves the metric.
fn is_restless(name: &str) -> bool {
    [
        "sockstat",
        "filefd",
        "entropy",
        "procs_",
        "processes",
        "Tcp_CurrEstab",
        "load",
        "cpu_scaling",
        "arp",
        "thermal",
        "hwmon",
    ]
    .iter()
    .any(|part| name.contains(part))
}

fn agrees(name: &str, before: f64, ours: f64, after: f64) -> bool {
    let (low, high) = (before.min(after), before.max(after));
    let slack = if is_restless(name) {
        25.0 + 0.1 * high.abs()
    } else if name.contains("_total") || name.contains("vmstat") || name.contains("netstat") {
        0.0101
    } else {
        (high - low) + 0.02 * high.abs()
    };
    low - slack <= ours && ours <= high + slack
}

/// Compares while `load` keeps the machine busy. A series counts as disagreeing only when it does so six times in a row: a load may
/// move a gauge between two readings by more than any tolerance.
fn check(name: &str, load: &str) {
    let scratch = Scratch::new(name);
    let exporter = Exporter::start();
    let mut agent = Agent::new(&scratch, "agent", &["interval = 1s", "process_interval = 1s"]);
    agent.run();
    agent.wait_for_ticks(2);
    let _load = Load::start(load);
    let mut wrong: Option<BTreeMap<String, String>> = None;
    let mut shared_count = 0;
    for _ in 0..6 {
        agent.wait_for_ticks(1);
        let before = exporter.scrape();
        agent.wait_for_ticks(1);
        let ours = latest(&agent);
        let after = exporter.scrape();
        let mut now = BTreeMap::new();
        shared_count = 0;
        for (series, (_, value)) in &ours {
            let (Some(first), Some(last)) = (before.get(series), after.get(series)) else { continue };
            shared_count += 1;
            if !agrees(series, *first, *value, *last) {
                now.insert(series.clone(), format!("{series}: {first} .. {value} .. {last}"));
            }
        }
        wrong = Some(match wrong {
            None => now,
            Some(wrong) => now.into_iter().filter(|(series, _)| wrong.contains_key(series)).collect(),
        });
        if wrong.as_ref().is_some_and(BTreeMap::is_empty) {
            break;
        }
    }
    let wrong: Vec<String> = wrong.unwrap_or_default().into_values().collect();
    assert!(shared_count > 150, "only {shared_count} series are shared");
    assert!(wrong.is_empty(), "{} of {shared_count} series disagree:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers_agree_on_an_idle_machine() {
    check("idle", "exit");
}

#[test]
fn numbers_agree_under_processor_load() {
    check("cpu", "for i in 1 2; do (while :; do :; done) & done; wait");
}

#[test]
fn numbers_agree_under_memory_load() {
    check("memory", "while :; do head -c 200000000 /dev/zero | tail -c 200000000 | (sleep 2; cat); done");
}

#[test]
fn numbers_agree_under_disk_load() {
    check(
        "disk",
        "f=$(mktemp); exec 3>$f; rm $f; while :; do dd if=/dev/zero of=/proc/self/fd/3 bs=1M count=50 conv=fsync; done",
    );
}

#[test]
fn numbers_agree_under_network_load() {
    // Datagrams to itself, until the test's process ends.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.connect(socket.local_addr().expect("it is bound")).expect("it can reach itself");
    std::thread::spawn(move || {
        let mut bytes = [0; 1400];
        while socket.send(&bytes).is_ok() && socket.recv(&mut bytes).is_ok() {}
    });
    check("network", "exit");
}
