//! A network of its own for some processes, which leaves nothing behind.
//!
//! A namespace has no name and no file: it is an open descriptor of this process, and the kernel takes it apart with the last
//! process that is in it. Those are told to die with this one, however it ends. So a lab that is killed leaves no
//! interface, no mount and no process.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use crate::tun;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// A network without interfaces.
    ///
    /// Errors: the kernel refuses, as it does to whoever is not root.
    pub(crate) fn new() -> io::Result<Namespace> {
        // A namespace is a thread's affair: one that ends leaves the rest of the process where it was.
        elsewhere(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(Namespace)
        })
    }

    /// A new interface in it.
    ///
    /// Errors: the kernel refuses, or has no `/dev/net/tun`.
    pub(crate) fn tun(&self, name: &str) -> io::Result<File> {
        elsewhere(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            tun::open(name)
        })
    }

    /// Where others find it while this process lives.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// A program that is to run in it, and that dies when the thread that starts it does.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Runs a program in it to its end. Returns what it printed.
    ///
    /// Errors: it failed; with what it said.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String, String> {
        output(self.command(program.as_ref()).args(arguments))
    }
}

/// Runs a command to its end. Returns what it printed.
///
/// Errors: it failed; with what it said.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let words = || {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        format!("{} {}", command.get_program().to_string_lossy(), words.join(" "))
    };
    let words = words();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{words}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{words}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn elsewhere<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().expect("it does not panic"))
}
