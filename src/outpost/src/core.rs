//! The core's task: carries messages of the ports to [`Agent::step`], and its outputs to the ports.
//!
//! ```text
//!  ports ── Message ──> queue ──> step, on a thread of its own ──> Output ──> ports
//! ```
//!
//! The agent moves to that thread and back, so that a card that takes a minute to write stalls no port. A tick keeps
//! its time, however late the core gets to it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::agent::{Agent, Input, OPEN_PATIENCE, Output, Settings};
use agent::bearer::choice::Facts;
use agent::clock::Reading;
use agent::question::Answer;
use disk::memory::Memory;
use disk::{Directory, Folder};
use hal::linux::clock::{Clock, random_seed};
use journal::journal::{OpenError, Settings as JournalSettings};
use link::client::DownReason;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt as _;
use wire::message::{CloseReason, Fingerprint};
use wire::time::{Instant, Span};

use crate::enrolment::{self, Enrolment};
use crate::failure::{self, Failure};
use crate::keys::{self, Keys, Turn};
use crate::link::Link;
use crate::log;
use crate::port::{LinkEvent, Message};
use crate::state::StateFolder;
use crate::worker::Worker;

/// How long to wait before a journal that could not be opened is tried again.
const OPEN_RETRY: Span = Span::seconds(30);

/// How long to wait before a file system that took no writes is tried again.
const WRITE_RETRY: Span = Span::minutes(10);

/// A journal in memory: some hours of a small machine, and no more than a small machine has.
const VOLATILE: JournalSettings = JournalSettings {
    bytes_max: 1536 << 10,
    tail_bytes_max: 192 << 10,
    fold_bytes_min: 96 << 10,
    done_bytes_max: 256 << 10,
    ..JournalSettings::DEFAULT
};

/// How often the machine's clocks are looked at.
const LOOK_AT_CLOCKS: Span = Span::minutes(1);

/// Samples in one answer: some 6 MiB while it is made.
const SAMPLE_COUNT_MAX: u32 = 65_536;

/// Events in one answer.
const EVENT_COUNT_MAX: u32 = 2000;

/// Why a life of the core ends. Of two reasons the greater one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The settings or the enrolment changed, or where the journal can be: begin again with the new ones.
    Reload,
    /// The process ends.
    Stop,
}

/// What one life of the core needs.
#[derive(Debug)]
pub(crate) struct Core {
    /// What the agent is told once.
    pub(crate) settings: Settings,
    /// The state folder.
    pub(crate) folder: StateFolder,
    /// Where `/proc` and `/sys` are.
    pub(crate) root: PathBuf,
    /// The hub, if there is one.
    pub(crate) enrolment: Option<Enrolment>,
    /// The machine's clocks.
    pub(crate) clock: Arc<Clock>,
    /// What the ports say.
    pub(crate) messages: Receiver<Message>,
    /// Where they say it.
    pub(crate) sender: Sender<Message>,
    /// Where buffers go back to.
    pub(crate) free: Sender<Box<agent::probe::Reading>>,
    /// Where the port to the machine hears how often it is to be read.
    pub(crate) pace: Sender<u8>,
    /// Where the port to a time server, if there is one, hears that the time is wanted.
    pub(crate) time_wanted: Sender<()>,
    /// What was last told of interfaces.
    pub(crate) interfaces: BTreeMap<String, Facts>,
    /// The port to the hub.
    pub(crate) link: Link,
    /// The thread that may block.
    pub(crate) worker: Worker,
    /// Ticks that a life before this one took and could not keep.
    pub(crate) lost_tick_count: u32,
}

impl Core {
    /// Runs the agent until it is to end. Everything is durable then.
    ///
    /// Errors: another process has the journal open.
    pub(crate) async fn live(&mut self) -> Result<End, Failure> {
        let mut missed_count = std::mem::take(&mut self.lost_tick_count);
        let (mut agent, is_volatile) = match self.open(&mut missed_count).await? {
            Ok(opened) => opened,
            Err(end) => return Ok(end),
        };
        let mut write_retry_at = is_volatile.then(|| self.clock.now().uptime + WRITE_RETRY);
        let mut known = Known::default();
        let known_interfaces = std::mem::take(&mut self.interfaces).into_iter();
        let mut inputs: Vec<Input> =
            known_interfaces.map(|(name, facts)| Input::Interface { name, facts: Some(facts) }).collect();
        inputs.push(Input::Missed(missed_count));
        let mut ending = None;
        let mut look_at = self.clock.now().uptime;
        loop {
            let clock = self.clock.clone();
            let root = (look_at <= clock.now().uptime).then(|| self.root.clone());
            if root.is_some() {
                look_at = clock.now().uptime + LOOK_AT_CLOCKS;
            }
            let step = move || {
                let reading = root.and_then(|root| read_clocks(&root)).map(Input::Clock);
                agent.step(clock.now(), reading.into_iter().chain(inputs));
                agent
            };
            agent = self.worker.run(step).result().await;
            let (mut is_stopped, mut is_to_move) = (false, false);
            while let Some(output) = agent.poll_output() {
                is_stopped |= matches!(output, Output::Stopped);
                is_to_move |= matches!(output, Output::ReadOnly);
                self.carry_out(output, &mut known).await;
            }
            if agent.wants_time_server(self.clock.now().uptime) {
                // One word that waits is as good as two.
                let _ = self.time_wanted.try_send(());
            }
            if let Some(end) = ending.filter(|_| is_stopped) {
                self.lost_tick_count = agent.volatile_tick_count().try_into().unwrap_or(u32::MAX);
                self.link.finish().await;
                return Ok(end);
            }
            if let Some(retry_at) = write_retry_at.filter(|retry_at| *retry_at <= self.clock.now().uptime) {
                write_retry_at = Some(retry_at + WRITE_RETRY);
                // What waits to be sent is nowhere else.
                is_to_move |= agent.journal().backlog_count() == 0 && self.can_write().await;
            }
            let timeout = [agent.poll_timeout(), write_retry_at, Some(look_at)].into_iter().flatten().min();
            let messages = if is_to_move { vec![Message::Reload] } else { self.wait(timeout).await };
            inputs = self.inputs(messages, &mut known, &mut ending);
        }
    }

    /// Opens the journal, however long it takes, or one in memory when the file system takes no writes, which the second value
    /// says; `Err` when the life ends before. Ticks that are due meanwhile are counted.
    async fn open(&mut self, missed_count: &mut u32) -> Result<Result<(Box<Agent>, bool), End>, Failure> {
        let mut attempt = 0;
        loop {
            let (path, settings, clock) = (self.folder.file("journal"), self.settings.clone(), self.clock.clone());
            let error = match self.worker.run(move || open(path, settings, &clock, attempt)).result().await {
                Ok(agent) => {
                    if *missed_count > 0 {
                        log::info("the journal is open", &[("missed", missed_count)]);
                    }
                    return Ok(Ok((agent, false)));
                }
                Err(OpenError::Io(error)) => error,
            };
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                let folder = self.folder.path().display();
                let words = "the file system is read-only: everything is kept in memory, and lost with this process";
                log::error(words, &[("folder", &folder), ("bytes_max", &VOLATILE.bytes_max)]);
                return Ok(Ok((self.open_volatile(&error), true)));
            }
            attempt += 1;
            if error.kind() == io::ErrorKind::WouldBlock {
                return Err(Failure::Failed(format!(
                    "{error}. Is the service running? `outpost status` asks it, `systemctl stop outpost` ends it"
                )));
            }
            let folder = self.folder.path().display();
            let error = format!("{error}{}", failure::remedy(&error));
            let reason = format!("the journal in {folder} cannot be opened: {error}");
            let retry_s = OPEN_RETRY.0 / 1000;
            log::error("no journal, ticks are lost", &[("folder", &folder), ("reason", &error), ("retry_s", &retry_s)]);
            let retry_at = self.clock.now().uptime + OPEN_RETRY;
            while self.clock.now().uptime < retry_at {
                for message in self.wait(Some(retry_at)).await {
                    match message {
                        Message::Ask { answer, .. } => drop(answer.try_send(Answer::Failed(reason.clone()))),
                        Message::Link { .. } | Message::Redial | Message::Told(_) => {}
                        Message::Interface { name, facts: Some(facts) } => drop(self.interfaces.insert(name, facts)),
                        Message::Interface { name, facts: None } => drop(self.interfaces.remove(&name)),
                        Message::Missed(count) => *missed_count = missed_count.saturating_add(count),
                        Message::Reload => return Ok(Err(End::Reload)),
                        Message::Stop => return Ok(Err(End::Stop)),
                        Message::Tick { reading, .. } => {
                            *missed_count = missed_count.saturating_add(1);
                            let _ = self.free.try_send(reading);
                        }
                    }
                }
            }
        }
    }

    /// A journal in memory, instead of the one that `error` keeps from being written.
    fn open_volatile(&self, error: &io::Error) -> Box<Agent> {
        let (folder, now) = (Arc::new(Memory::new(2 * VOLATILE.bytes_max)), self.clock.now());
        let settings = Settings { journal: VOLATILE, ..self.settings.clone() };
        let agent = Agent::open(folder, settings, random_seed(), now);
        let mut agent = agent.map(Box::new).expect("memory takes a journal that is smaller than it");
        agent.say_volatile(now, &format!("{error}: nothing is durable"));
        agent
    }

    /// Whether the journal's folder takes a file.
    async fn can_write(&self) -> bool {
        let path = self.folder.file("journal");
        let written = move || probe(&*hal::linux::folder::Folder::open(&path)?);
        self.worker.run(written).result().await.is_ok()
    }

    /// Waits for a message or until `wake_at`, and takes every message that is there by then.
    async fn wait(&self, wake_at: Option<Instant>) -> Vec<Message> {
        let sleep = async {
            match wake_at {
                Some(wake_at) => {
                    Timer::after(Duration::from_millis((wake_at - self.clock.now().uptime).0)).await;
                }
                None => smol::future::pending().await,
            }
            None
        };
        let first = async { Some(self.messages.recv().await.expect("this life holds a sender")) }.or(sleep).await;
        first.into_iter().chain(std::iter::from_fn(|| self.messages.try_recv().ok())).collect()
    }

    /// What the messages mean to the agent, and in `ending` to this life.
    fn inputs(&self, messages: Vec<Message>, known: &mut Known, ending: &mut Option<End>) -> Vec<Input> {
        let mut inputs = Vec::with_capacity(messages.len());
        for message in messages {
            inputs.push(match message {
                Message::Ask { question, answer } => {
                    Input::Ask { id: known.asked.add(answer), question: bounded(question) }
                }
                Message::Interface { name, facts } => Input::Interface { name, facts },
                Message::Link { connection, .. } if connection != self.link.number() => continue,
                Message::Link { event: LinkEvent::Connected(carrier), .. } => Input::Connected(carrier),
                Message::Link { event: LinkEvent::CountedConnection(bytes), .. } => Input::CountedConnection(bytes),
                Message::Link { event: LinkEvent::CountedInterface { name, bytes }, .. } => {
                    Input::CountedInterface { name, bytes }
                }
                Message::Link { event: LinkEvent::Datagram(number, bytes), .. } => Input::Datagram(number, bytes),
                Message::Link { event: LinkEvent::Disconnected(reason), .. } => {
                    known.lost.clone_from(&reason);
                    Input::Disconnected(reason)
                }
                Message::Link { event: LinkEvent::NotConnected(reason), .. } => Input::Disconnected(Some(reason)),
                Message::Link { event: LinkEvent::Received(bytes), .. } => Input::Received(bytes),
                Message::Link { event: LinkEvent::Forgotten, .. } => Input::Forgotten,
                Message::Missed(count) => Input::Missed(count),
                Message::Redial => Input::Redial,
                Message::Reload => {
                    *ending = (*ending).max(Some(End::Reload));
                    Input::Stop
                }
                Message::Stop => {
                    *ending = Some(End::Stop);
                    Input::Stop
                }
                // What is sampled now would come after the last commit.
                Message::Tick { reading, .. } if ending.is_some() => {
                    let _ = self.free.try_send(reading);
                    continue;
                }
                Message::Tick { at, reading } => Input::Reading { at, reading },
                Message::Told(told) => Input::Told(told),
            });
        }
        inputs
    }

    async fn carry_out(&mut self, output: Output, known: &mut Known) {
        match output {
            Output::Answer { id, answer } => known.asked.answer(id, answer),
            Output::Dial { interface, carrier } => {
                let enrolment = self.enrolment.clone().expect("an agent without a hub does not dial");
                // Read anew each time: `key rotate` changes them while this process runs.
                let interface = interface.map(|name| name.as_str().to_owned());
                self.link.dial(enrolment, self.keys().await, known.turn, (interface, carrier));
            }
            Output::HangUp => self.link.hang_up(),
            Output::Link(None) => {
                let hub = self.enrolment.as_ref().map(|enrolment| enrolment.address.to_string()).unwrap_or_default();
                log::info("link up", &[("hub", &hub)]);
                if known.turn == Turn::Next {
                    self.promote(&mut known.turn).await;
                }
            }
            Output::Link(Some(reason)) => {
                log_link_down(&reason, known.lost.take());
                if is_unknown_key(&reason) {
                    self.show_other_key(&mut known.turn).await;
                }
            }
            Output::Pin(pin) => self.pin(pin).await,
            // A buffer of a life before this one finds no place, and goes.
            Output::Reading(reading) => drop(self.free.try_send(reading)),
            Output::Send(bytes) => self.link.send(bytes),
            Output::ReadOnly | Output::Stopped => {}
            // It hears of it with its next tick; of two that it has not heard of the first is wrong, and goes.
            Output::Sampling(count) => drop(self.pace.force_send(count)),
            Output::Storage(None) => log::info("the journal can write again", &[]),
            Output::Storage(Some(error)) => {
                log::error("the journal cannot write, ticks are kept in memory", &[("reason", &error)]);
            }
        }
    }

    /// The hub does not know the key that it was shown: it is shown the other one, if there is one. After both the hub
    /// is left alone for as long as the core says.
    async fn show_other_key(&self, turn: &mut Turn) {
        *turn = turn.refused();
        if *turn == Turn::Next && matches!(self.keys().await, Ok(Some(Keys { next: Some(_), .. }))) {
            log::info("showing the hub the next key", &[]);
            // A queue without room is one of news that wake the core as well; the dial is due some minutes later then.
            let _ = self.sender.try_send(Message::Redial);
        }
    }

    async fn keys(&self) -> Result<Option<Keys>, Failure> {
        let folder = self.folder.clone();
        self.worker.run(move || Keys::load(&folder)).result().await
    }

    /// The hub let the next key in: it is the key from now on.
    async fn promote(&self, turn: &mut Turn) {
        let folder = self.folder.clone();
        match self.worker.run(move || keys::promote(&folder)).result().await {
            Ok(()) => {
                *turn = Turn::Current;
                log::info("the hub knows the next key, which is the key from now on", &[]);
            }
            // The next key stays where it is, and its turn with it.
            Err(failure) => log::error("the next key cannot be stored as the key", &[("reason", &failure)]),
        }
    }

    /// The hub will change to this key.
    async fn pin(&mut self, pin: Fingerprint) {
        let folder = self.folder.clone();
        match self.worker.run(move || enrolment::add_pin(&folder, pin)).result().await {
            Ok(false) => {}
            Ok(true) => log::info("the hub will change its key, both are accepted", &[("next", &pin)]),
            Err(failure) => log::error("the hub's next key cannot be stored", &[("reason", &failure)]),
        }
        if let Some(enrolment) = &mut self.enrolment
            && !enrolment.pins.contains(&pin)
        {
            enrolment.pins.push(pin);
        }
    }
}

/// What one life knows besides what its agent does.
#[derive(Debug, Default)]
struct Known {
    asked: Asked,
    /// Why the last connection was lost, as the port says, until the agent has said what that means.
    lost: Option<String>,
    /// Which key the next dial shows.
    turn: Turn,
}

/// Who waits for an answer.
#[derive(Debug, Default)]
struct Asked {
    next_id: u64,
    waiting: BTreeMap<u64, Sender<Answer>>,
}

impl Asked {
    fn add(&mut self, answer: Sender<Answer>) -> u64 {
        self.next_id += 1;
        self.waiting.insert(self.next_id, answer);
        self.next_id
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // Whoever asked may have gone.
            let _ = waiting.try_send(answer);
        }
    }
}

fn open(path: PathBuf, settings: Settings, clock: &Clock, attempt: u32) -> Result<Box<Agent>, OpenError> {
    let folder: Folder = hal::linux::folder::Folder::open(&path)?;
    // A whole journal opens without a write, and would find out later.
    match probe(&*folder) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Err(error.into()),
        _ => {}
    }
    let open = if attempt < OPEN_PATIENCE { Agent::open } else { Agent::open_giving_up };
    open(folder, settings, random_seed(), clock.now()).map(Box::new)
}

/// Makes a file and removes it. What may be left of it goes when the journal is opened.
fn probe(folder: &dyn Directory) -> io::Result<()> {
    folder.create("probe.tmp")?;
    folder.remove("probe.tmp")
}

/// A question whose answer has a bound, whatever the other end of the socket asked for.
fn bounded(question: agent::question::Question) -> agent::question::Question {
    use agent::question::Question;
    match question {
        Question::Samples { names, since, sample_count_max } => {
            Question::Samples { names, since, sample_count_max: sample_count_max.min(SAMPLE_COUNT_MAX) }
        }
        Question::Events { count_max } => Question::Events { count_max: count_max.min(EVENT_COUNT_MAX) },
        question @ (Question::Latest | Question::Link | Question::Status) => question,
    }
}

/// What the machine says of its clocks; `None` where it may not be asked.
fn read_clocks(root: &Path) -> Option<Reading> {
    let discipline = hal::linux::clock::discipline()?;
    let error_max = discipline.is_synchronised.then_some(Span(discipline.error_max_us.div_ceil(1000)));
    // The chip is slow to read, and worth it only when the kernel does not know better.
    let rtc = if error_max.is_none() { hal::linux::rtc::time(root) } else { None };
    Some(Reading { error_max, rtc })
}

fn is_unknown_key(reason: &DownReason) -> bool {
    matches!(reason, DownReason::Refused(close) if close.reason == CloseReason::UnknownKey)
}

fn log_link_down(reason: &DownReason, lost: Option<String>) {
    match reason {
        DownReason::Disconnected => {
            // Without a reason the port has said already why there was no connection.
            if let Some(lost) = lost {
                log::warning("link down", &[("reason", &lost)]);
            }
        }
        DownReason::Stopped => {}
        DownReason::Refused(close) if close.reason.is_final() => {
            log::error("the hub refuses this device", &[("reason", reason)]);
        }
        DownReason::Refused(_)
        | DownReason::Forgotten
        | DownReason::Forked
        | DownReason::Garbage(_)
        | DownReason::Rerouted
        | DownReason::Silent
        | DownReason::Unexpected(_)
        | DownReason::Unknown(_)
        | DownReason::Version { .. } => {
            log::warning("link down", &[("reason", reason)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use agent::question::Question;

    use super::*;

    #[test]
    fn no_question_has_an_answer_without_bound() {
        let samples = Question::Samples { names: Vec::new(), since: Span(1), sample_count_max: u32::MAX };
        let Question::Samples { sample_count_max, .. } = bounded(samples) else { panic!("another question") };
        assert_eq!(sample_count_max, SAMPLE_COUNT_MAX);
        assert_eq!(bounded(Question::Events { count_max: 5 }), Question::Events { count_max: 5 });
    }

    #[test]
    fn an_answer_goes_to_whoever_asked() {
        let mut asked = Asked::default();
        let (one, first) = smol::channel::bounded(1);
        let (other, second) = smol::channel::bounded(1);
        let ids = [asked.add(one), asked.add(other)];
        asked.answer(ids[1], Answer::Failed("second".to_owned()));
        asked.answer(ids[0], Answer::Failed("first".to_owned()));
        asked.answer(ids[0], Answer::Failed("again".to_owned()));
        assert_eq!(first.try_recv(), Ok(Answer::Failed("first".to_owned())));
        assert_eq!(second.try_recv(), Ok(Answer::Failed("second".to_owned())));
        assert!(asked.waiting.is_empty());
    }
}
