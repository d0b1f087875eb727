//! The gateway's process: samples the machine, keeps what it learned through power cuts, and sends it when there is a
//! way out; and what a person on site asks it.
//!
//! ```text
//!  ticks ─┐                                   ┌─> link ── TLS ──> hub
//!  link ──┼─> queue ─> core ─> agent::step ───┼─> socket ───────> a person's command
//!  socket ┘            (one task)             └─> log
//! ```
//!
//! Everything that decides is [`agent::Agent`]; here are the clock, the ports, and the words for people.
//!
//! | module | what |
//! |---|---|
//! | `args`, `help`, `failure` | the command line; what it says; exit codes |
//! | `settings`, `state`, `enrolment`, `keys`, `address` | what is set, what is kept, where the hub is |
//! | `run`, `core`, `port`, `worker` | `outpost run`: its tasks, and the one around the agent |
//! | `ticks`, [`sampling`] | when the machine is read; how |
//! | `link`, `dial`, `proxy`, `datagram`, `count` | the connection to the hub and what it costs |
//! | `enroll`, `errand`, `admission` | single questions to it; the way in over datagrams |
//! | `time_server`, `gnss` | what tells the time besides the machine and the hub |
//! | `socket`, `local`, `ask` | both ends of the local socket |
//! | `bench` | a part of it on recorded data |
//! | `status`, `spending`, `top`, `samples`, `events`, `moment` | what a person on site reads |
//! | `journal` | the same without the agent, from its folder |
//! | [`fuzz`] | the parsers of outside bytes, as functions of bytes |
//! | `log` | short lines on standard error |
#![forbid(unsafe_code)]

mod address;
mod admission;
mod args;
mod ask;
mod bench;
mod core;
mod count;
mod datagram;
mod dial;
mod enroll;
mod enrolment;
mod errand;
mod events;
mod failure;
pub mod fuzz;
mod gnss;
mod help;
mod interfaces;
mod journal;
mod keys;
mod link;
mod local;
mod log;
mod moment;
mod port;
mod proxy;
mod run;
mod samples;
pub mod sampling;
mod settings;
mod socket;
mod spending;
mod state;
mod status;
mod ticks;
mod time_server;
mod top;
mod worker;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hal::linux::clock::Clock;
use wire::time::Span;

use crate::address::Address;
use crate::args::{Command, Form, Invocation, QueryArgs};
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::journal::ExportError;
use crate::samples::Wanted;
use crate::settings::Settings;
use crate::state::StateFolder;

/// How far back `query` looks when nobody says.
const SINCE: &str = "1h";

/// Carries the command line out. Returns what the process ends with.
pub fn main() -> ExitCode {
    abort_on_panic();
    let done = Invocation::parse(std::env::args_os().skip(1)).and_then(carry_out);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when standard error itself is gone.
            let _ = writeln!(std::io::stderr(), "outpost: {failure}");
            failure.exit_code()
        }
    }
}

/// Has every panic end the process, for the supervisor to start it anew with a whole journal; but for those of a
/// damaged file, which the journal catches.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !::journal::guard::is_inside() {
            print(panic);
            std::process::abort();
        }
    }));
}

fn carry_out(invocation: Invocation) -> Result<(), Failure> {
    let Invocation { command, dir, config } = invocation;
    let config = config.map_or_else(|| config_file(dir.as_deref()), named_file);
    let folder = StateFolder::at(dir)?;
    match command {
        Command::BenchCodec(args) => print(&bench::codec::run(&args)?),
        Command::BenchDetect(args) => print(&bench::detect::run(&args)?),
        Command::BenchThreshold(subject) => print(&bench::detect::threshold(subject)),
        Command::Enroll { hub, token, hostname } => {
            let settings = Settings::load(&config?)?;
            let token = token.map_or_else(typed_token, Ok)?;
            let hostname = hostname.unwrap_or_else(|| run::hostname(&settings));
            print(&enroll::enroll(&folder, &hub, &token, &hostname, &settings)?)?;
            print(&after_enrolling(&folder, &hub, settings.hub.as_ref()))
        }
        Command::Events { since, is_json } => {
            let now = status::asked(&folder)?.now;
            let since = since.map(|since| span(&since, now)).transpose()?;
            let events = events::asked(&folder, now, since)?;
            print(&if is_json { events::json(&events, now) } else { events::lines(&events, now) })
        }
        Command::Help(topic) => print(&topic.text()),
        Command::JournalExport { lane, since, form } => {
            let root = Settings::load(&config?)?.root;
            let now = Clock::open(&root).map_err(|error| Failure::Failed(error.to_string()))?.now();
            let since = since.map(|since| span(&since, now)).transpose()?;
            export(&folder, now, journal::Wanted { lane, since, form })
        }
        Command::JournalStat { is_json } => {
            let (path, inspection) = journal::look(&folder)?;
            // Without an agent there is nobody to ask, and no less to say.
            let status = status::asked(&folder).ok();
            let held =
                journal::held(&path, &inspection, status.as_ref()).map_err(|error| Failure::at(&path, &error))?;
            print(&if is_json { held.json() } else { held.screen() })
        }
        Command::JournalVerify { is_json } => verify(&folder, is_json),
        Command::KeyRotate => {
            let text = enroll::rotate(&folder, &Settings::load(&config?)?)?;
            ask::reload(&folder);
            print(&text)
        }
        Command::Leave { is_forced } => {
            let text = enroll::leave(&folder, &Settings::load(&config?)?, is_forced)?;
            ask::reload(&folder);
            print(&text)
        }
        Command::LinkStat { is_json } => {
            let report = spending::asked(&folder)?;
            print(&if is_json { spending::json(&report) } else { spending::screen(&report) })
        }
        Command::Query(args) => query(&folder, args),
        Command::Run => run::run(&folder, config?),
        Command::Status { is_json } => {
            let status = status::asked(&folder)?;
            let hub = hub_address(&folder, config);
            let hub = hub.as_ref();
            print(&if is_json { status::json(&status, hub) } else { status::screen(&status, hub) })
        }
        Command::Top { is_once } => {
            let root = Settings::load(&config?)?.root;
            top::run(&root, is_once).or_else(|error| printed(&error))
        }
        Command::Version => print(&format!("outpost {}\n", run::VERSION)),
    }
}

fn query(folder: &StateFolder, args: QueryArgs) -> Result<(), Failure> {
    let QueryArgs { text, expression, since, step_ms, form } = args;
    let now = status::asked(folder)?.now;
    let since = span(since.as_deref().unwrap_or(SINCE), now)?;
    let table = samples::asked(folder, now, &Wanted { text, expression, since, step: step_ms.map(Span) })?;
    print(&match form {
        Form::Csv => query::render::csv::render(&table),
        Form::Json => query::render::json::render(&table) + "\n",
        Form::Table => samples::help(&table) + &query::render::table::render(&table),
    })
}

fn export(folder: &StateFolder, now: wire::time::Stamp, wanted: journal::Wanted) -> Result<(), Failure> {
    let (path, inspection) = journal::look(folder)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let lacks = match journal::export(&inspection, now, wanted, &mut out) {
        Ok(lacks) => lacks,
        Err(ExportError::Journal(error)) => return Err(Failure::at(&path, &error)),
        Err(ExportError::Output(error)) => return printed(&error),
    };
    for note in lacks.notes() {
        // Nobody is left to tell when standard error itself is gone.
        let _ = writeln!(std::io::stderr(), "outpost: {note}");
    }
    lacks.failure().map_or(Ok(()), |text| Err(Failure::Failed(text)))
}

fn verify(folder: &StateFolder, is_json: bool) -> Result<(), Failure> {
    let (path, inspection) = journal::look(folder)?;
    let is_watched = std::io::stderr().is_terminal();
    let mut shown = None;
    let verified = journal::verified(&inspection, is_json, |done_bytes, all_bytes| {
        let percent = done_bytes * 100 / all_bytes.max(1);
        if is_watched && shown != Some(percent) {
            shown = Some(percent);
            let _ = write!(std::io::stderr(), "\r{percent} % of the journal is read");
        }
    });
    if shown.is_some() {
        // What is said next begins on a clean line.
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let (text, is_sound) = verified.map_err(|error| Failure::at(&path, &error))?;
    print(&text)?;
    if is_sound {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the journal in {} is damaged. The agent goes on with what is whole and says what is lost; \
         `outpost journal export` gives what can be read",
        path.display()
    )))
}

fn span(text: &str, now: wire::time::Stamp) -> Result<Span, Failure> {
    moment::since(text, now).map_err(|reason| Failure::Usage(format!("--since: {reason}")))
}

/// Where the settings are when nobody says: beside the state when that was named, otherwise where settings belong.
fn config_file(dir: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = dir.map_or_else(state::config_folder, |dir| Ok(dir.to_owned()))?;
    Ok(folder.join("outpost.conf"))
}

/// A file of settings that was named is there: to go on without it would be to ignore what it says.
fn named_file(config: PathBuf) -> Result<PathBuf, Failure> {
    std::fs::metadata(&config).map_err(|error| Failure::at(&config, &error))?;
    Ok(config)
}

/// Where the hub is, as far as can be told: the agent does not say.
fn hub_address(folder: &StateFolder, config: Result<PathBuf, Failure>) -> Option<Address> {
    let enrolled = Enrolment::load(folder).ok()??.address;
    let set = config.and_then(|config| Settings::load(&config)).ok().and_then(|settings| settings.hub);
    Some(set.unwrap_or(enrolled))
}

fn typed_token() -> Result<Box<identity::token::Token>, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::Failed(format!("the token cannot be read from standard input: {error}")))?;
    args::parse_token(&line).map(Box::new)
}

/// What a person does next, who has just enrolled this device.
fn after_enrolling(folder: &StateFolder, hub: &Address, set: Option<&Address>) -> String {
    let mut text = match ask::reload(folder) {
        true => "the running agent connects now; `outpost status` shows how\n".to_owned(),
        false => "start the agent with `sudo systemctl start outpost`, or with `outpost run`\n".to_owned(),
    };
    if folder.is_beside_system() {
        let folder = folder.path().display();
        text +=
            &format!("note: this is the agent of {folder}; the system's is enrolled with sudo, and without --dir\n");
    }
    if let Some(set) = set.filter(|set| *set != hub) {
        text += &format!("note: the settings name another hub, {set}, which is the one that is dialled\n");
    }
    text
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(|error| printed(&error))
}

fn printed(error: &std::io::Error) -> Result<(), Failure> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::Failed(format!("standard output: {error}"))),
    }
}
