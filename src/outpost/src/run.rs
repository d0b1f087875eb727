//! `outpost run`: the ports around the core, and the lives of the core one after the other.
//!
//! | thread | what it does |
//! |---|---|
//! | main | every task: it only moves messages and waits |
//! | `core` | steps the agent; waits for the disk |
//! | `sampling` | reads `/proc` and `/sys` |
//! | `async-io` | smol's: waits for sockets and timers when the main thread cannot |
//! | `resolver` | one question to the name service; only while it lasts |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent::agent::Settings as AgentSettings;
use agent::bearer::choice::Choice;
use async_signal::{Signal, Signals};
use hal::linux::clock::{Clock, PLAUSIBLE_SINCE};
use link::client::Timing;
use smol::channel::{Receiver, Sender, bounded};
use smol::stream::StreamExt as _;
use smol::{LocalExecutor, Task};
use wire::id::DeviceId;

use crate::core::{Core, End};
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::gnss;
use crate::interfaces;
use crate::link::Link;
use crate::local;
use crate::log;
use crate::port::{Message, QUEUE_COUNT_MAX, READING_COUNT_MAX};
use crate::sampling::Machine;
use crate::settings::Settings;
use crate::socket;
use crate::state::StateFolder;
use crate::ticks::{self, Schedule};
use crate::time_server;
use crate::worker::Worker;

/// The agent's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the agent with what is in `folder` and the settings at `config` until it is told to stop.
///
/// Errors: the settings are wrong, another agent runs there, or `/proc` is not mounted.
pub(crate) fn run(folder: &StateFolder, config: PathBuf) -> Result<(), Failure> {
    hal::linux::memory::be_small();
    let settings = Settings::load(&config)?;
    folder.create()?;
    let executor: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
    let process = Process { executor, folder: folder.clone(), config };
    smol::block_on(executor.run(process.run(settings)))
}

struct Process {
    executor: &'static LocalExecutor<'static>,
    folder: StateFolder,
    config: PathBuf,
}

impl Process {
    async fn run(self, mut settings: Settings) -> Result<(), Failure> {
        let (core, messages) = bounded(QUEUE_COUNT_MAX);
        let socket = self.folder.file(local::SOCKET);
        socket::serve(self.executor, &socket, core.clone())?;
        self.executor.spawn(watch_signals(core.clone())).detach();
        log::info("outpost started", &[("version", &VERSION), ("folder", &self.folder.path().display())]);
        let (mut connection, mut lost_tick_count) = (0, 0);
        loop {
            let (mut life, ports) = self.life(&settings, core.clone(), messages.clone(), connection)?;
            life.lost_tick_count = lost_tick_count;
            let end = life.live().await?;
            (connection, lost_tick_count) = (life.link.number(), life.lost_tick_count);
            for port in ports {
                port.cancel().await;
            }
            match end {
                End::Reload => settings = self.reload(settings),
                End::Stop => break,
            }
        }
        log::info("outpost stopped", &[]);
        // The next one replaces it if this fails.
        let _ = std::fs::remove_file(&socket);
        Ok(())
    }

    /// One life of the core, and the ports that are as the settings say: those to the machine and to its interfaces.
    fn life(
        &self,
        settings: &Settings,
        core: Sender<Message>,
        messages: Receiver<Message>,
        connection: u32,
    ) -> Result<(Core, Vec<Task<()>>), Failure> {
        let clock = Clock::open(&settings.root).map_err(|error| {
            Failure::Failed(format!("{error}: is /proc mounted, and is `root` in the settings right?"))
        })?;
        let clock = Arc::new(clock);
        let enrolment = self.enrolment(settings);
        let agent = AgentSettings {
            device: enrolment.as_ref().map_or(DeviceId(0), |enrolment| enrolment.device),
            version: VERSION.to_owned(),
            hostname: hostname(settings),
            build: PLAUSIBLE_SINCE,
            journal: settings.journal(),
            link: Timing::default(),
            has_hub: enrolment.is_some(),
            interval: settings.interval,
            importance: (*settings.importance).clone(),
            around: settings.around,
            wear_budget_bytes: settings.flash_bytes_per_day,
            way: settings.way.clone(),
        };
        let machine = Machine::new(&settings.root);
        let (free, buffers) = bounded(READING_COUNT_MAX);
        for _ in 0..READING_COUNT_MAX {
            free.try_send(Box::new(machine.reading())).expect("there is room for all of them");
        }
        let schedule = Schedule::new(settings.interval, settings.process_interval, clock.now().uptime);
        let (pace, paces) = bounded(1);
        let mut ports =
            vec![self.executor.spawn(ticks::run(schedule, machine, clock.clone(), (buffers, paces), core.clone()))];
        let choices: Vec<Choice> = settings.way.bearers.choices.iter().cloned().collect();
        if !choices.is_empty() {
            ports.push(self.executor.spawn(interfaces::run(choices, core.clone())));
        }
        let (time_wanted, wanted) = bounded(1);
        if let Some(server) = settings.time_server.as_deref().cloned() {
            ports.push(self.executor.spawn(time_server::run(server, clock.clone(), wanted, core.clone())));
        }
        if let Some(path) = &settings.gnss {
            ports.push(self.executor.spawn(gnss::run(path.to_path_buf(), clock.clone(), core.clone())));
        }
        let link = Link::new(self.executor, core.clone(), connection, settings.proxy.clone(), settings.root.clone());
        let (folder, worker) = (self.folder.clone(), Worker::start("core"));
        let core = Core {
            settings: agent,
            folder,
            root: settings.root.clone(),
            enrolment,
            clock,
            messages,
            sender: core,
            free,
            pace,
            time_wanted,
            interfaces: BTreeMap::new(),
            link,
            worker,
            lost_tick_count: 0,
        };
        Ok((core, ports))
    }

    /// The hub, with the address that the settings give it.
    fn enrolment(&self, settings: &Settings) -> Option<Enrolment> {
        match Enrolment::load(&self.folder) {
            Ok(Some(mut enrolment)) => {
                enrolment.address = settings.hub.clone().unwrap_or(enrolment.address);
                Some(enrolment)
            }
            Ok(None) => {
                log::info("not enrolled at a hub: everything is kept here", &[]);
                None
            }
            Err(failure) => {
                log::error("the enrolment cannot be read: everything is kept here", &[("reason", &failure)]);
                None
            }
        }
    }

    fn reload(&self, settings: Settings) -> Settings {
        match Settings::load(&self.config) {
            Ok(settings) => {
                log::info("settings and enrolment read again", &[]);
                settings
            }
            Err(failure) => {
                log::error("the settings are wrong: going on with those before", &[("reason", &failure)]);
                settings
            }
        }
    }
}

/// What the machine calls itself.
pub(crate) fn hostname(settings: &Settings) -> String {
    let kernel = || std::fs::read_to_string(settings.root.join("proc/sys/kernel/hostname")).ok();
    settings.hostname.clone().or_else(kernel).map_or_else(String::new, |name| name.trim().to_owned())
}

/// Has the core end in good order at the first signal, and the process at once at the second.
async fn watch_signals(core: Sender<Message>) {
    let mut signals = match Signals::new([Signal::Term, Signal::Int, Signal::Hup]) {
        Ok(signals) => signals,
        Err(error) => return log::error("no signal will be heard", &[("reason", &error)]),
    };
    let mut is_stopping = false;
    while let Some(Ok(signal)) = signals.next().await {
        let message = match signal {
            Signal::Hup => Message::Reload,
            _ if is_stopping => std::process::exit(1),
            _ => Message::Stop,
        };
        is_stopping |= matches!(message, Message::Stop);
        // The queue is closed only when the process ends.
        let _ = core.send(message).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_on_the_main_thread_s_stack_is_small() {
        let folder = StateFolder::at(Some("/nowhere".into())).unwrap();
        let executor = Box::leak(Box::new(LocalExecutor::new()));
        let process = Process { executor, folder, config: PathBuf::new() };
        let bytes = size_of_val(&process.run(Settings::default()));
        assert!(bytes <= 2 << 10, "{bytes} bytes");
    }
}
