//! What a gateway pays for a few words: to be enrolled, for a connection with a report, and for a heartbeat.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::book::{Seen, Way, totals};
use crate::emulator::Change;
use crate::link::{Fate, SATELLITE};
use crate::netns::output;
use crate::network::{Network, eventually};
use crate::packet::Purpose;
use crate::stage::{Agent, Hub, Scratch};
use crate::{Options, show};

/// Longer than anything waits for its answer, shorter than the heartbeat.
const QUIET: Duration = Duration::from_secs(2);

const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEAT_COUNT: u32 = 4;

/// What carries the link, as the settings have it.
const CARRIERS: [&str; 2] = ["tls", "datagram"];

/// A machine with a load average and nothing else: its report is as small as one can be.
const BARE: &str = "bare";
/// A Raspberry Pi 4, as recorded in tests/proc.
const BOARD: &str = "pi4";

pub(crate) fn run(options: &Options) -> Result<(), String> {
    for carrier in CARRIERS {
        for machine in [BARE, BOARD] {
            let network = Network::new(SATELLITE, options.mtu, options.seed)?;
            let scratch = Scratch::new()?;
            reports(options, (carrier, machine), &network, &scratch)?;
            scratch.remove();
        }
    }
    Ok(())
}

fn reports(
    options: &Options,
    (carrier, machine): (&str, &str),
    network: &Network,
    scratch: &Scratch,
) -> Result<(), String> {
    let show = |figure: &str, found| show("report", &format!("{figure}_{machine}_{carrier}"), found);
    let hub = Hub::start(network, &options.binaries, scratch, options.is_v6)?;
    let mut agent = Agent::new(&options.binaries, scratch)?;
    let root = root(machine, scratch.path())?;

    agent.set(&settings("60m", carrier, &root))?;
    let begin = network.now();
    agent.enroll(network, &hub)?;
    let seconds = network.now() - begin;
    network.wait_for_quiet(QUIET)?;
    let mut found = totals(&network.seen(begin));
    found["seconds"] = rounded(seconds.as_secs_f64());
    show("enrolment", found);

    // The first report carries the list of series, the next one does not.
    for which in ["first", "next"] {
        sample(network, &mut agent, carrier, &root)?;
        agent.set(&settings("60m", carrier, &root))?;
        let begin = network.now();
        agent.run(network)?;
        let acked = agent.wait_for_ack(network, begin)?;
        agent.wait_for_drain()?;
        network.wait_for_quiet(QUIET)?;
        show(&format!("{which}_connection"), connection(&network.seen(begin), acked));
        if machine == BARE && which == "next" {
            show("heartbeat", heartbeat(network)?);
        }

        let begin = network.now();
        agent.stop()?;
        network.wait_for_quiet(QUIET)?;
        show(&format!("{which}_close"), totals(&network.seen(begin)));
    }
    Ok(())
}

/// Has the agent take a tick or two that wait for its next life, since the link is cut.
fn sample(network: &Network, agent: &mut Agent, carrier: &str, root: &str) -> Result<(), String> {
    let both = |change: fn(Way) -> Change| network.plan(Way::BOTH.map(|way| (Duration::ZERO, change(way))));
    both(Change::Cut);
    agent.set(&settings("1s", carrier, root))?;
    agent.run(network)?;
    agent.wait_for("a tick", |status| (status["tick_count"].as_u64()? > 0).then_some(()))?;
    agent.stop()?;
    both(Change::Mend);
    network.wait_for_quiet(QUIET)
}

fn settings(interval: &str, carrier: &str, root: &str) -> Vec<String> {
    vec![
        format!("carrier = {carrier}"),
        format!("interval = {interval}"),
        "batch_age = 1s".into(),
        "process_interval = off".into(),
        format!("heartbeat = {}s", HEARTBEAT.as_secs()),
        format!("root = {root}"),
    ]
}

/// What was seen from the dial on, and how long it took.
fn connection(seen: &[Seen], acked: Duration) -> Value {
    let dialled = seen.first().map_or(acked, |first| first.at);
    let arrival = |one: &Seen| if let (Way::Down, Fate::Arrives(at)) = (one.way, one.fate) { Some(at) } else { None };
    let answered = seen.iter().filter_map(arrival).max().unwrap_or(dialled);
    let mut found = totals(seen);
    found["seconds_to_first_ack"] = rounded(acked.saturating_sub(dialled).as_secs_f64());
    found["seconds_to_last_answer"] = rounded(answered.saturating_sub(dialled).as_secs_f64());
    found
}

/// What an idle link costs.
fn heartbeat(network: &Network) -> Result<Value, String> {
    let is_ping = |one: &&Seen| one.way == Way::Up && one.header.purpose == Purpose::Payload;
    let begin = network.now();
    let first = eventually("a heartbeat", || network.seen(begin).iter().find(is_ping).map(|ping| ping.at))?;
    // Half a pause before the ping that is not counted any more.
    let end = first + HEARTBEAT * HEARTBEAT_COUNT - HEARTBEAT / 2;
    eventually("more heartbeats", || (network.now() > end).then_some(()))?;
    let seen: Vec<Seen> = network.seen(first).into_iter().filter(|one| one.at < end).collect();
    let exchange_count = seen.iter().filter(is_ping).count().max(1);
    let mut found = totals(&seen);
    let bytes = found["bytes"].as_u64().unwrap_or_default() as f64 / exchange_count as f64;
    let day = |pause_s: f64| rounded(bytes * 86_400.0 / pause_s);
    found["exchanges"] = json!(exchange_count);
    found["bytes_per_exchange"] = rounded(bytes);
    found["idle_day_bytes"] = json!({ "every_minute": day(60.0), "every_15_minutes": day(900.0) });
    Ok(found)
}

/// A machine as a folder, with a boot, which the recorded ones lack.
fn root(machine: &str, scratch: &Path) -> Result<String, String> {
    let root = scratch.join("machine");
    if machine == BARE {
        write(&root.join("proc/loadavg"), "0.52 1.58 10.59 2/812 18264\n")?;
    } else {
        output(Command::new("cp").arg("-rL").arg(format!("{}/proc/{machine}", env!("CARGO_MANIFEST_DIR"))).arg(&root))?;
    }
    write(&root.join("proc/sys/kernel/random/boot_id"), "7d1f1a52-6e0c-4b4e-9a0b-2f4f0f1e2d3c\n")?;
    Ok(root.display().to_string())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().expect("a file is in a folder");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn rounded(number: f64) -> Value {
    json!((number * 100.0).round() / 100.0)
}
