//! The commands, carried out: each asks the serving process and shows what comes of it.
//!
//! | exit status | |
//! |---|---|
//! | 0 | done |
//! | 1 | not possible, or not found: stderr says what to do about it |
//! | 2 | the command line was not understood |

pub mod answers;
pub mod fetches;
pub mod members;
pub mod secrets;
pub mod serve;
pub mod usage;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hal::linux::clock::Clock;
use hub::request::{Reply, Request};
use wire::time::UnixTime;

use crate::args::{self, Args, Command};
use crate::call::{self, Call, Outcome};
use crate::help;

/// Where a hub of root keeps what it has.
const FOLDER_OF_ROOT: &str = "/var/lib/outpost-hub";

/// Carries out a command line without the program's name.
pub fn run(given: impl Iterator<Item = OsString>) -> ExitCode {
    let given: Vec<OsString> = given.collect();
    if given.is_empty() {
        let _ = io::stderr().write_all(help::page(args::Topic::All).as_bytes());
        return ExitCode::from(2);
    }
    let now = Clock::open(Path::new("/")).ok().and_then(|clock| clock.now().unix).unwrap_or_default();
    let done = match args::parse(given, now) {
        Ok(Args { command: Command::Help(topic), .. }) => show(help::page(topic)),
        Ok(Args { command: Command::Version, .. }) => show(concat!("outpost-hub ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Args { folder, command }) => {
            folder.map_or_else(default_folder, Ok).and_then(|folder| carry_out(command, &folder, now))
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            complain(&reason);
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command, folder: &Path, now: UnixTime) -> Result<(), String> {
    match command {
        Command::Data { call, format } => usage::data(folder, call, format),
        Command::Device(request) => match admin(folder, request)? {
            Reply::Done => Ok(()),
            _ => Err(nonsense()),
        },
        Command::Events { call, is_json } => answers::events(folder, call, is_json),
        Command::Fetch(fetch) => fetches::fetch(folder, now, fetch),
        Command::Fleet { is_all, is_json } => members::fleet(folder, now, is_all, is_json),
        Command::Init => secrets::init(folder),
        Command::KeyActivate { is_forced } => secrets::activate(folder, is_forced),
        Command::KeyRotate => secrets::rotate(folder),
        Command::KeyShow => secrets::show_key(folder),
        Command::Query { call, format } => answers::query(folder, call, format),
        Command::Serve { listen } => serve::serve(folder, listen),
        Command::Stat { is_json } => answers::stat(folder, is_json),
        Command::TokenDelete { token } => secrets::delete_token(folder, &token),
        Command::TokenList { is_json } => secrets::list_tokens(folder, now, is_json),
        Command::TokenNew(new) => secrets::new_token(folder, new),
        Command::Help(_) | Command::Version => unreachable!("they need no folder"),
    }
}

/// Asks the serving process. A refusal is an error.
fn ask(folder: &Path, call: &Call) -> Result<Outcome, String> {
    match call::ask(folder, call) {
        Ok(Outcome::Refused(refusal)) => Err(refusal),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks the core in the serving process. A refusal is an error.
fn admin(folder: &Path, request: Request) -> Result<Reply, String> {
    match ask(folder, &Call::Admin(request))? {
        Outcome::Admin(Reply::Refused(refusal)) => Err(refusal),
        Outcome::Admin(reply) => Ok(reply),
        _ => Err(nonsense()),
    }
}

fn nonsense() -> String {
    call::CallError::Garbage.to_string()
}

/// Writes to stdout. Whoever reads it may have read enough: `outpost-hub fleet | head -1`.
fn show(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
        _ => Ok(()),
    }
}

/// Shows a value as one line of JSON.
fn show_json(value: &impl serde::Serialize) -> Result<(), String> {
    let line = serde_json::to_string(value).map_err(|error| error.to_string())?;
    show(&format!("{line}\n"))
}

fn complain(text: &str) {
    let mut stderr = io::stderr().lock();
    for (index, line) in text.lines().enumerate() {
        let prefix = if index == 0 { "outpost-hub: " } else { "" };
        let _ = writeln!(stderr, "{prefix}{line}");
    }
}

/// Says what an answer lacks.
fn say_notes(notes: &[String]) {
    for note in notes {
        let _ = writeln!(io::stderr().lock(), "note: {}", query::render::printable(note));
    }
}

fn default_folder() -> Result<PathBuf, String> {
    // The owner of what the kernel shows of this process is who runs it.
    if std::fs::metadata("/proc/self").is_ok_and(|of_self| of_self.uid() == 0) {
        return Ok(FOLDER_OF_ROOT.into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    state
        .map(|state| state.join("outpost-hub"))
        .ok_or_else(|| "HOME is not set: name the hub's folder with --dir".into())
}
