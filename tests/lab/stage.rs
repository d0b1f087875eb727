//! The real hub and the real agent, each on its side of the link.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::netns::output;
use crate::network::{Network, eventually};

/// A folder of this run's own, removed at the end unless something failed.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Scratch, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outpost-lab-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Scratch(path))
    }

    /// Removes it: what is in it says nothing that the figures do not.
    pub(crate) fn remove(self) {
        // A folder that stays is in nobody's way.
        let _ = fs::remove_dir_all(self.0);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the two programs in a folder of its own.
#[derive(Debug)]
struct Place {
    binary: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new(binaries: &Path, scratch: &Scratch, binary: &str, name: &str) -> Result<Place, String> {
        let (binary, folder) = (binaries.join(binary), scratch.path().join(name));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Place { binary, folder })
    }

    fn arm(&self, command: &mut Command, arguments: &[&str]) -> Result<(), String> {
        let path = self.folder.with_extension("log");
        let log = OpenOptions::new().create(true).append(true).open(&path);
        command.arg("--dir").arg(&self.folder).args(arguments).stdin(Stdio::null());
        command.stderr(log.map_err(|error| format!("{}: {error}", path.display()))?);
        Ok(())
    }

    /// What one of its commands prints. None of them needs the link.
    fn tell(&self, arguments: &[&str]) -> Result<String, String> {
        output(Command::new(&self.binary).arg("--dir").arg(&self.folder).args(arguments))
    }
}

/// The hub's process.
#[derive(Debug)]
pub(crate) struct Hub {
    place: Place,
    address: String,
    _running: Running,
}

impl Hub {
    /// Starts a hub on its side of the link.
    pub(crate) fn start(network: &Network, binaries: &Path, scratch: &Scratch, is_v6: bool) -> Result<Hub, String> {
        let place = Place::new(binaries, scratch, "outpost-hub", "hub")?;
        let address = network.hub_address(is_v6).to_string();
        let mut command = network.hub.command(&place.binary);
        place.arm(&mut command, &["serve", "--listen", &address])?;
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("nsenter: {error}"))?;
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line);
        let hub = Hub { place, address, _running: Running(child) };
        match read {
            Ok(_) if line.contains(&hub.address) => Ok(hub),
            _ => Err(format!("the hub does not start; see {}", hub.place.folder.with_extension("log").display())),
        }
    }

    /// What one of its commands prints.
    pub(crate) fn tell(&self, arguments: &[&str]) -> Result<String, String> {
        self.place.tell(arguments)
    }
}

/// The agent's process.
#[derive(Debug)]
pub(crate) struct Agent {
    place: Place,
    running: Option<Running>,
}

impl Agent {
    /// An agent that is at its defaults, and not yet running.
    pub(crate) fn new(binaries: &Path, scratch: &Scratch) -> Result<Agent, String> {
        Ok(Agent { place: Place::new(binaries, scratch, "outpost", "agent")?, running: None })
    }

    /// Gives it other settings, which hold from its next start on.
    pub(crate) fn set(&self, settings: &[impl AsRef<str>]) -> Result<(), String> {
        let path = self.place.folder.join("outpost.conf");
        let lines: Vec<&str> = settings.iter().map(AsRef::as_ref).collect();
        fs::write(&path, lines.join("\n")).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Enrolls it, over the link.
    pub(crate) fn enroll(&self, network: &Network, hub: &Hub) -> Result<(), String> {
        let token = hub.tell(&["token", "new"])?;
        let mut command = network.gateway.command(&self.place.binary);
        self.place.arm(&mut command, &["enroll", &hub.address, token.trim()])?;
        let status = command.stdout(Stdio::null()).status().map_err(|error| format!("nsenter: {error}"))?;
        status.success().then_some(()).ok_or_else(|| self.see("it was not enrolled"))
    }

    /// Starts it on its side of the link.
    pub(crate) fn run(&mut self, network: &Network) -> Result<(), String> {
        let mut command = network.gateway.command(&self.place.binary);
        self.place.arm(&mut command, &["run"])?;
        let child = command.spawn().map_err(|error| format!("nsenter: {error}"))?;
        self.running = Some(Running(child));
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        output(Command::new("kill").args(["-TERM", &running.0.id().to_string()]))?;
        let status = running.0.wait().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| self.see("it did not end in good order"))
    }

    /// What one of its commands prints.
    pub(crate) fn tell(&self, arguments: &[&str]) -> Result<String, String> {
        self.place.tell(arguments)
    }

    /// Its status, when it runs.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.place.tell(&["status", "--json"]).ok()?).ok()
    }

    /// Waits until its status gives a value.
    pub(crate) fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> Result<T, String> {
        eventually(what, || self.status().and_then(|status| found(&status))).map_err(|error| self.see(&error))
    }

    /// Waits until something was acked since `since`. Returns when that was, by the network's clock.
    pub(crate) fn wait_for_ack(&self, network: &Network, since: Duration) -> Result<Duration, String> {
        self.wait_for("an ack of the hub", |status| {
            let ago = Duration::from_millis(status["acked_ago_ms"].as_u64()?);
            network.now().checked_sub(ago).filter(|at| *at >= since)
        })
    }

    /// Waits until the hub has everything.
    pub(crate) fn wait_for_drain(&self) -> Result<(), String> {
        self.wait_for("the backlog drains", |status| {
            (status["link"] == "online" && status["backlog_count"] == 0).then_some(())
        })
    }

    fn see(&self, what: &str) -> String {
        format!("{what}; see {}", self.place.folder.with_extension("log").display())
    }
}
