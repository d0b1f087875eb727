//! A hub and agents as processes, each in a folder of its own, and what their commands say.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the test gives up. Generous: machines are slow when everything runs at once.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the binaries are: named by the environment, or built now.
pub(super) fn binaries() -> &'static Path {
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
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Scratch {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outpost-test-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder takes one more");
        Scratch(path)
    }

    pub(super) fn path(&self) -> &Path {
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
pub(super) fn eventually<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
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

/// Words of a shell that keep the machine busy until this is dropped, with all that they started.
pub(super) struct Load(Child);

impl Load {
    pub(super) fn start(words: &str) -> Load {
        let child = Command::new("sh")
            .args(["-c", words])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Load(child.expect("sh runs"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// What stands before a process: words of a shell that becomes it, and what starts that shell.
#[derive(Clone, Default)]
pub(super) struct Behind {
    shell: Option<String>,
    wrapper: Vec<&'static str>,
}

impl Behind {
    /// Behind these words of a shell: `ulimit -n 20`.
    pub(super) fn shell(words: &str) -> Behind {
        Behind { shell: Some(words.into()), wrapper: Vec::new() }
    }

    /// Behind these words in a mount namespace of its own, in which it is root.
    pub(super) fn namespace(words: &str) -> Behind {
        Behind { wrapper: vec!["unshare", "-Urm"], ..Behind::shell(words) }
    }

    /// As nobody, who is made the owner of `folder`, when this test is root; as this test's user otherwise.
    pub(super) fn another_user(folder: &Path) -> Behind {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if !is_root {
            return Behind::default();
        }
        let owned = Command::new("chown").args(["-R", "65534"]).arg(folder).status();
        assert!(owned.expect("chown runs").success());
        Behind { wrapper: vec!["setpriv", "--reuid=65534", "--clear-groups"], ..Behind::shell(":") }
    }

    fn command(&self, binary: &str) -> Command {
        let binary = binaries().join(binary);
        let Some(shell) = &self.shell else { return Command::new(binary) };
        let mut words = self.wrapper.iter().copied().chain(["sh"]);
        let mut command = Command::new(words.next().expect("there is a shell at least"));
        command.args(words).arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(binary);
        command
    }

    /// Sets a limit of a running process, as the user that it runs as: `--nproc=1:1000`.
    fn limit(&self, pid: u32, limit: &str) {
        let mut words = self.wrapper.iter().copied().chain(["prlimit"]);
        let mut command = Command::new(words.next().expect("there is prlimit at least"));
        let set = command.args(words).args(["--pid", &pid.to_string(), limit]).status();
        assert!(set.expect("prlimit runs").success(), "{limit}");
    }
}

/// Runs words of a shell in the namespaces of a process; `$0` is `argument`.
pub(super) fn inside(pid: u32, words: &str, argument: &Path) {
    let ran = Command::new("nsenter")
        .args(["-U", "-m", "--preserve-credentials", "-t", &pid.to_string(), "sh", "-c", words])
        .arg(argument)
        .status();
    assert!(ran.expect("nsenter runs").success(), "{words}");
}

/// The hub's process.
pub(super) struct Hub {
    folder: PathBuf,
    child: Option<Child>,
    address: Option<SocketAddr>,
    behind: Behind,
}

impl Hub {
    /// Starts a hub on a port that is free.
    pub(super) fn start(scratch: &Scratch, name: &str) -> Hub {
        let mut hub = Hub::new(scratch, name);
        hub.run();
        hub
    }

    /// A hub in a folder of its own, not yet running.
    pub(super) fn new(scratch: &Scratch, name: &str) -> Hub {
        let folder = scratch.path().join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        Hub { folder, child: None, address: None, behind: Behind::default() }
    }

    /// Runs behind these limits from its next start on.
    pub(super) fn put_behind(&mut self, behind: Behind) {
        self.behind = behind;
    }

    /// Starts the process, on the port that it had before.
    pub(super) fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.with_extension("log"));
        let mut child = self.serve().stderr(log.expect("the log opens")).spawn().expect("outpost-hub runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line).expect("its first line");
        let address = line.split_whitespace().last().and_then(|word| word.parse().ok());
        self.address = Some(address.unwrap_or_else(|| panic!("no address in {line:?}; see {}", self.folder.display())));
        self.child = Some(child);
    }

    fn serve(&self) -> Command {
        let listen = self.address.map_or("127.0.0.1:0".into(), |address| address.to_string());
        let mut command = self.behind.command("outpost-hub");
        command.arg("--dir").arg(&self.folder).args(["serve", "--listen", &listen]).stdout(Stdio::piped());
        command
    }

    /// What it says when it cannot start.
    pub(super) fn refusal(&self) -> String {
        let output = self.serve().output().expect("outpost-hub runs");
        assert!(!output.status.success(), "the hub started and ended well: {}", text(&output));
        text(&output)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets a limit of the running process, as the user that it runs as: `--nofile=8:4096`.
    pub(super) fn limit(&self, limit: &str) {
        self.behind.limit(self.pid(), limit);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address.expect("a hub that was started")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a hub that runs").id()
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().expect("a hub that runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// What one of its commands says, whatever its exit status.
    pub(super) fn ask(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(binaries().join("outpost-hub")).arg("--dir").arg(&self.folder).args(arguments).output();
        text(&output.expect("outpost-hub runs"))
    }

    /// What one of its commands prints on standard output. It must succeed.
    pub(super) fn tell(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(binaries().join("outpost-hub")).arg("--dir").arg(&self.folder).args(arguments).output();
        let output = output.expect("outpost-hub runs");
        assert!(output.status.success(), "outpost-hub {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).expect("it speaks UTF-8")
    }

    pub(super) fn token(&self, more: &[&str]) -> String {
        self.tell(&[&["token", "new"], more].concat()).trim().into()
    }

    /// A figure of `stat --json`.
    pub(super) fn stat(&self, key: &str) -> u64 {
        number(&serde_json::from_str(&self.tell(&["stat", "--json"])).expect("stat is JSON"), key)
    }

    /// The moments of one series, in ms, as they were sampled.
    pub(super) fn moments(&self, expression: &str) -> Vec<u64> {
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

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

/// An agent's process.
pub(super) struct Agent {
    folder: PathBuf,
    child: Option<Child>,
    behind: Behind,
}

impl Agent {
    /// An agent with these settings, not yet running.
    pub(super) fn new(scratch: &Scratch, name: &str, settings: &[&str]) -> Agent {
        let folder = scratch.path().join(name);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join("outpost.conf"), settings.join("\n")).expect("the settings can be written");
        Agent { folder, child: None, behind: Behind::default() }
    }

    /// Runs behind these limits.
    pub(super) fn behind(mut self, behind: Behind) -> Agent {
        self.behind = behind;
        self
    }

    /// Another machine with a copy of this one's card. Neither may run meanwhile.
    pub(super) fn copy(&self, scratch: &Scratch, name: &str) -> Agent {
        let folder = scratch.path().join(name);
        copy_folder(&self.folder, &folder);
        Agent { folder, child: None, behind: Behind::default() }
    }

    /// Puts another's card in the place of this one's.
    pub(super) fn put_back(&self, image: &Agent) {
        fs::remove_dir_all(&self.folder).expect("the folder is there");
        copy_folder(&image.folder, &self.folder);
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets a limit of the running process, as the user that it runs as: `--nproc=1:1000`.
    pub(super) fn limit(&self, limit: &str) {
        self.behind.limit(self.pid(), limit);
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = self.behind.command("outpost");
        command.arg("--dir").arg(&self.folder);
        command
    }

    pub(super) fn run(&mut self) {
        self.spawn();
        self.wait_until_it_answers();
    }

    pub(super) fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.with_extension("log"));
        let child = self.command().arg("run").stderr(log.expect("the log opens")).spawn();
        self.child = Some(child.expect("outpost runs"));
    }

    pub(super) fn wait_until_it_answers(&self) {
        eventually("the agent answers", || self.status());
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().expect("an agent that runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and its exit in good order.
    pub(super) fn stop(&mut self) {
        let mut child = self.child.take().expect("an agent that runs");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        assert!(child.wait().expect("it ends").success(), "the agent did not end in good order");
    }

    /// What one of its commands says, and whether it succeeded.
    pub(super) fn ask(&self, arguments: &[&str]) -> (bool, String) {
        self.ask_with(arguments, "")
    }

    pub(super) fn ask_with(&self, arguments: &[&str], input: &str) -> (bool, String) {
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
    pub(super) fn status(&self) -> Option<Value> {
        let (is_good, words) = self.ask(&["status", "--json"]);
        is_good.then(|| serde_json::from_str(&words).unwrap_or_else(|error| panic!("{error}: {words}")))
    }

    /// A figure of `status --json`.
    pub(super) fn figure(&self, key: &str) -> u64 {
        number(&self.status().expect("the agent answers"), key)
    }

    pub(super) fn enroll(&self, hub: &Hub) {
        let (is_good, words) = self.ask(&["enroll", &hub.address().to_string(), &hub.token(&[])]);
        assert!(is_good, "{words}");
    }

    /// Waits until it took so many more ticks.
    pub(super) fn wait_for_ticks(&self, more: u64) {
        let end = self.figure("tick_count") + more;
        eventually("more ticks", || self.status().filter(|status| number(status, "tick_count") >= end));
    }

    /// Waits until the hub holds everything.
    pub(super) fn wait_for_drain(&self) {
        eventually("the backlog drains", || {
            self.status().filter(|status| number(status, "backlog_count") == 0 && status["link"] == "online")
        });
    }

    /// The moments of one series, in ms, as they were sampled.
    pub(super) fn moments(&self, expression: &str) -> Vec<u64> {
        let (is_good, words) = self.ask(&["query", expression, "--since", "1d", "--json"]);
        assert!(is_good, "{words}");
        moments(&words)
    }

    pub(super) fn pid(&self) -> u32 {
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
