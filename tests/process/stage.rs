//! A hub and agents as processes, each in a folder of its own, and what their commands say.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the test gives up. Generous: machines are slow when everything runs at once.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the binaries are: named by the environment, or built now.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("OUTPOST_BIN_DIR") {
        Some(folder) => folder.into(),
        None => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stand in the workspace");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args(["build", "--quiet", "-p", "outpost", "-p", "outpost-hub"])
                .current_dir(root)
                .status();
            assert!(built.expect("cargo runs").success(), "the binaries do not build");
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
            target.join("debug")
        }
    })
}

/// A folder of this test's own, removed at the end unless the test failed.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outpost-test-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder takes one more");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Waits until `is_so` gives a value.
///
/// Panics: when it does not within [`PATIENCE`], with what was waited for.
pub fn eventually<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = is_so() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

/// The hub's process.
pub struct Hub {
    folder: PathBuf,
    child: Option<Child>,
    address: Option<SocketAddr>,
}

impl Hub {
    /// Starts a hub on a port that is free.
    pub fn start(scratch: &Scratch, name: &str) -> Hub {
        let mut hub = Hub { folder: scratch.path().join(name), child: None, address: None };
        hub.run();
        hub
    }

    /// Starts the process, on the port that it had before.
    pub fn run(&mut self) {
        let listen = self.address.map_or("127.0.0.1:0".into(), |address| address.to_string());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.with_extension("log"));
        let mut child = Command::new(binaries().join("outpost-hub"))
            .arg("--dir")
            .arg(&self.folder)
            .args(["serve", "--listen", &listen])
            .stdout(Stdio::piped())
            .stderr(log.expect("the log opens"))
            .spawn()
            .expect("outpost-hub runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line).expect("its first line");
        let address = line.split_whitespace().last().and_then(|word| word.parse().ok());
        self.address = Some(address.unwrap_or_else(|| panic!("no address in {line:?}; see {}", self.folder.display())));
        self.child = Some(child);
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("a hub that was started")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a hub that runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// What one of its commands says, whatever its exit status.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(binaries().join("outpost-hub")).arg("--dir").arg(&self.folder).args(arguments).output();
        text(&output.expect("outpost-hub runs"))
    }

    /// What one of its commands prints on standard output. It must succeed.
    pub fn tell(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(binaries().join("outpost-hub")).arg("--dir").arg(&self.folder).args(arguments).output();
        let output = output.expect("outpost-hub runs");
        assert!(output.status.success(), "outpost-hub {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).expect("it speaks UTF-8")
    }

    pub fn token(&self, more: &[&str]) -> String {
        self.tell(&[&["token", "new"], more].concat()).trim().into()
    }

    /// A figure of `stat --json`.
    pub fn stat(&self, key: &str) -> u64 {
        number(&serde_json::from_str(&self.tell(&["stat", "--json"])).expect("stat is JSON"), key)
    }

    /// The moments of one series, in ms, as they were sampled.
    pub fn moments(&self, expression: &str) -> Vec<u64> {
        moments(&self.tell(&["query", expression, "--since", "1d", "--raw", "--json"]))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The moments of all points in an answer.
fn moments(json: &str) -> Vec<u64> {
    let answer: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let series = answer["series"].as_array().into_iter().flatten();
    let points = series.flat_map(|series| series["points"].as_array().cloned().unwrap_or_default());
    points.filter_map(|point| point[0].as_u64()).collect()
}

/// An agent's process.
pub struct Agent {
    folder: PathBuf,
    child: Option<Child>,
    /// What runs before it in the same process: limits.
    shell: Option<String>,
}

impl Agent {
    /// An agent with these settings, not yet running.
    pub fn new(scratch: &Scratch, name: &str, settings: &[&str]) -> Agent {
        let folder = scratch.path().join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join("outpost.conf"), settings.join("\n")).expect("the settings can be written");
        Agent { folder, child: None, shell: None }
    }

    /// Runs behind these words of a shell: `ulimit -n 20`.
    pub fn behind(mut self, shell: &str) -> Agent {
        self.shell = Some(shell.into());
        self
    }

    fn command(&self) -> Command {
        let binary = binaries().join("outpost");
        let mut command = match &self.shell {
            None => Command::new(binary),
            Some(shell) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(binary);
                command
            }
        };
        command.arg("--dir").arg(&self.folder);
        command
    }

    pub fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.with_extension("log"));
        let child = self.command().arg("run").stderr(log.expect("the log opens")).spawn();
        self.child = Some(child.expect("outpost runs"));
        eventually("the agent answers", || self.status());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("an agent that runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and its exit in good order.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("an agent that runs");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        assert!(child.wait().expect("it ends").success(), "the agent did not end in good order");
    }

    /// What one of its commands says, and whether it succeeded.
    pub fn ask(&self, arguments: &[&str]) -> (bool, String) {
        self.ask_with(arguments, "")
    }

    pub fn ask_with(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = Command::new(binaries().join("outpost"))
            .arg("--dir")
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("outpost runs");
        // A command that does not read its input closes it: no error of ours.
        let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        (output.status.success(), text(&output))
    }

    /// Its status, when it runs.
    pub fn status(&self) -> Option<Value> {
        let (is_good, words) = self.ask(&["status", "--json"]);
        is_good.then(|| serde_json::from_str(&words).unwrap_or_else(|error| panic!("{error}: {words}")))
    }

    /// A figure of `status --json`.
    pub fn figure(&self, key: &str) -> u64 {
        number(&self.status().expect("the agent answers"), key)
    }

    pub fn enroll(&self, hub: &Hub) {
        let (is_good, words) = self.ask(&["enroll", &hub.address().to_string(), &hub.token(&[])]);
        assert!(is_good, "{words}");
    }

    /// Waits until it took so many more ticks.
    pub fn wait_for_ticks(&self, more: u64) {
        let end = self.figure("tick_count") + more;
        eventually("more ticks", || self.status().filter(|status| number(status, "tick_count") >= end));
    }

    /// Waits until the hub holds everything.
    pub fn wait_for_drain(&self) {
        eventually("the backlog drains", || {
            self.status().filter(|status| number(status, "backlog_count") == 0 && status["link"] == "online")
        });
    }

    /// The moments of one series, in ms, as they were sampled.
    pub fn moments(&self, expression: &str) -> Vec<u64> {
        let (is_good, words) = self.ask(&["query", expression, "--since", "1d", "--json"]);
        assert!(is_good, "{words}");
        moments(&words)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("an agent that runs").id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
