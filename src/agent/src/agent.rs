//! The gateway's core: one `step`, in this order, for every driver.
//!
//! 1. take every input that is ready;
//! 2. let time pass;
//! 3. commit once, if something must be durable;
//! 4. only then hand out what waited for the commit.
//!
//! Nothing leaves before it is durable: the uplink reads from the journal, and the journal hands out only what is committed.

use std::collections::VecDeque;

use disk::Folder;
use journal::Journal;
use journal::journal::{OpenError, Settings as JournalSettings};
use link::channel::Carrier;
use link::client::{Client, DownReason, Input as LinkInput, Timing};
use link::receipt::Number;
use wire::event::{self, Event};
use wire::id::DeviceId;
use wire::message::{Fetch, Fingerprint};
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::bearer::choice::{Facts, Name};
use crate::clock::{self, Clock};
use crate::context::{Around, Context};
use crate::importance::Importance;
use crate::meter::{self, Meter};
use crate::policy::{Detail, Part, Policy, Pressure};
use crate::probe::{Carry, Reading};
use crate::question::{Answer, Question};
use crate::sampler::Sampler;
use crate::shortfall::Shortfall;
use crate::summary::Summarizer;
use crate::tier::memory::Memory;
use crate::tier::{Technology, Tier};
use crate::watch::Watch;
use crate::watch::lasting::Change;
use crate::watch::trouble::Boots;
use crate::way::{self, Way};
use crate::{history, uplink};

mod answer;
mod fetch;
mod record;
mod session;

/// The journal's slot for what is remembered of bearers: before those of the meter.
const TIERS_SLOT: usize = meter::SLOTS_FROM - 1;

/// The journal's slot for the context that is open.
const CONTEXT_SLOT: usize = TIERS_SLOT - 1;

/// The journal's slot for how the boots of late ended.
const BOOTS_SLOT: usize = CONTEXT_SLOT - 1;

/// How long a process that is asked to end waits for its last batches to be acked: a machine that goes with its process has no
/// other chance to send them.
const STOP_GRACE: Span = Span::seconds(5);

/// What does not change while the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who the agent is at the hub.
    pub device: DeviceId,
    /// The agent's version.
    pub version: String,
    /// What the machine calls itself.
    pub hostname: String,
    /// When the program was built: no clock that says less is believed.
    pub build: UnixTime,
    /// How large the journal may be.
    pub journal: JournalSettings,
    /// How long the parts of a link may take. The heartbeat is that of the [policy](crate::policy).
    pub link: Timing,
    /// Whether there is a hub to dial at all.
    pub has_hub: bool,
    /// The time between two ticks, where a policy asks for no slower ones.
    pub interval: Span,
    /// Which series matter how much.
    pub importance: Importance,
    /// What may be written to the journal's flash in a day, in bytes.
    pub wear_budget_bytes: u64,
    /// How much of the ticks around something that happened the hub gets, where ticks are not sent.
    pub around: Around,
    /// Which ways to the hub there are, and what is sampled and sent on them.
    pub way: Box<way::Settings>,
}

/// What the driver tells the core.
#[derive(Debug)]
pub enum Input {
    /// What was read of the machine at one instant: a tick.
    Reading {
        /// When, in this boot. A tick that waited for the core keeps its time; one before the last is taken at the last's.
        at: Instant,
        /// The buffer, which comes back as [`Output::Reading`].
        reading: Box<Reading>,
    },
    /// What the machine says of its clocks.
    Clock(clock::Reading),
    /// A receiver of satellites or a time server told the time.
    Told(clock::Told),
    /// So many ticks were due and could not be taken.
    Missed(u32),
    /// The connection that [`Output::Dial`] asked for stands, or datagrams can be sent.
    Connected(Carrier),
    /// A datagram of the hub; the first has number 0.
    Datagram(Number, Vec<u8>),
    /// The present connection has carried so many bytes in all, both ways, as whole IP packets: what the kernel counts of it.
    CountedConnection(u64),
    /// The interface under the link has carried so many bytes in all, both ways, for every program.
    CountedInterface {
        /// Its name.
        name: String,
        /// Its bytes; less than before when it was made anew.
        bytes: u64,
    },
    /// Somebody says that the hub has forgotten the session.
    Forgotten,
    /// An interface appeared or changed; no facts hold of one that is no more.
    Interface {
        /// Its name.
        name: String,
        /// What holds of it.
        facts: Option<Facts>,
    },
    /// The modem of the bearer in use speaks this technology; none, when it does not say.
    Technology(Option<Technology>),
    /// Bytes of the hub on a connection.
    Received(Vec<u8>),
    /// The connection is gone, or never came to be; why, in the port's words, if it knows.
    Disconnected(Option<String>),
    /// A person on site asks.
    Ask {
        /// Comes back with the answer.
        id: u64,
        /// The question.
        question: Question,
    },
    /// What made the hub refuse has changed: dial at once.
    Redial,
    /// The process is asked to end. [`Output::Stopped`] follows when the last batches are acked, or some seconds later.
    Stop,
}

/// What the core tells the driver.
#[derive(Debug)]
pub enum Output {
    /// A buffer to use again.
    Reading(Box<Reading>),
    /// Open a connection to the hub.
    Dial {
        /// Through this interface; through any, if there is none.
        interface: Option<Name>,
        /// Over this.
        carrier: Carrier,
    },
    /// Write these bytes, or send them as one datagram, the n-th of this dial with number n.
    Send(Vec<u8>),
    /// Close the connection.
    HangUp,
    /// The link is up, or it ended for this reason: for the log.
    Link(Option<DownReason>),
    /// The hub will change to this key: pin it beside the present one.
    Pin(Fingerprint),
    /// The answer to a question.
    Answer {
        /// The question's.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Take a tick every so many intervals of the settings from here on; it begins with each.
    Sampling(u8),
    /// The disk refuses (why) or works again (`None`): for the log.
    Storage(Option<String>),
    /// The file system takes no writes any more: begin again with a journal in [memory](disk::memory), and
    /// [say so](Agent::say_volatile).
    ReadOnly,
    /// All is committed; the process may end.
    Stopped,
}

/// The gateway's core.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    /// No other start of this or any machine has it.
    seed: u64,
    journal: Journal,
    sampler: Sampler,
    summarizer: Summarizer,
    carry: Box<Carry>,
    client: Client,
    outputs: VecDeque<Output>,
    record: Vec<u8>,
    started: Instant,
    clock: Clock,
    /// Civil time less uptime, when last seen.
    clock_offset_ms: Option<i64>,
    hub_offset_ms: Option<i64>,
    /// Civil time less uptime, when the hub was last told.
    told_offset_ms: Option<i64>,
    acked_at: Option<Instant>,
    is_up: bool,
    /// Why the last link ended, in words.
    link_ended: Option<String>,
    way: Way,
    context: Context,
    watch: Box<Watch>,
    boots: Boots,
    /// What is sampled and sent now.
    policy: Policy,
    /// What was sent of what is new while there was a link.
    sent: Detail,
    meter: Meter,
    /// Why the connection was lost, in the port's words.
    lost: Option<String>,
    tick_count: u64,
    /// Of those, how many are durable.
    durable_tick_count: u64,
    /// Why the journal is in memory, if it is.
    volatile: Option<String>,
    /// When the last tick was taken.
    ticked: Stamp,
    missed_count: u64,
    /// Of series, of parts of readings, and of processes.
    shortfalls: [Shortfall; 3],
    /// What the hub asked for last, until it is answered.
    fetch: Option<Box<Fetch>>,
    /// The requests of this process that are answered, the newest last.
    fetched: heapless::Vec<(u64, Option<u32>), 8>,
    /// Whether something was appended that must not wait for the next batch of ticks.
    is_urgent: bool,
    /// Ticks that were missed and are in no event yet.
    unsaid_missed_count: u32,
    storage: Storage,
    stop: Stop,
}

// It is built on a stack before it is boxed, and the stacks of gateways are small.
const _: () = assert!(size_of::<Agent>() <= 24 << 10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nobody asked.
    Runs,
    /// The last batches are on their way.
    Asked { until: Instant },
    /// [`Output::Stopped`] was said.
    Done,
}

#[derive(Debug)]
enum Storage {
    Works,
    Fails { error: String, retry_at: Instant },
}

/// Attempts of [`Agent::open`], half a minute apart, after which [`Agent::open_giving_up`] takes its place: ten minutes.
pub const OPEN_PATIENCE: u32 = 20;

impl Agent {
    /// Opens the journal in `folder` and goes on where the last process ended. `seed` differs between gateways and starts.
    ///
    /// Errors: the disk refuses a read or a write. Nothing is lost by that; try again later.
    pub fn open(folder: Folder, settings: Settings, seed: u64, now: Stamp) -> Result<Agent, OpenError> {
        let journal = Journal::open(folder, settings.journal, seed, now)?;
        Ok(Agent::with_journal(journal, settings, seed, now))
    }

    /// As [`Agent::open`], but what the disk refuses to read is given up and said to be lost: for when it was tried for
    /// long enough.
    ///
    /// Errors: the disk refuses writes, or reads altogether.
    pub fn open_giving_up(folder: Folder, settings: Settings, seed: u64, now: Stamp) -> Result<Agent, OpenError> {
        let journal = Journal::open_giving_up(folder, settings.journal, seed, now)?;
        Ok(Agent::with_journal(journal, settings, seed, now))
    }

    fn with_journal(mut journal: Journal, settings: Settings, seed: u64, now: Stamp) -> Agent {
        let dictionary = history::dictionary(&mut journal, now);
        let memory = Memory::decode(journal.slot(TIERS_SLOT)).unwrap_or_default();
        let way = Way::new(&settings.way, memory, now.uptime);
        let policy = way.policy(Pressure::None);
        let mut meter = Meter::open(&journal, now);
        if let Some(in_use) = way.in_use() {
            meter.carry(now, &in_use);
        }
        let mut watch = Box::new(Watch::new(&settings.importance));
        watch.learn_from(&mut journal, now, &dictionary);
        let mut boots = Boots::decode(journal.slot(BOOTS_SLOT));
        if let Some(trouble) = boots.start(now.boot) {
            watch.note(now.uptime, trouble, Change::Begins);
        }
        let mut agent = Agent {
            client: Client::new(Timing { heartbeat: policy.heartbeat, ..settings.link }, seed, now.uptime),
            sampler: Sampler::new(dictionary, &settings.importance),
            summarizer: Summarizer::new(&settings.importance.sketched),
            carry: Box::new(Carry::new()),
            sent: policy.live,
            context: Context::new(
                if settings.has_hub { settings.around } else { Around::NOTHING },
                journal.slot(CONTEXT_SLOT),
            ),
            watch,
            boots,
            policy,
            way,
            meter,
            journal,
            outputs: VecDeque::new(),
            record: Vec::new(),
            started: now.uptime,
            clock: Clock::new(settings.build),
            clock_offset_ms: offset_ms(now),
            hub_offset_ms: None,
            told_offset_ms: None,
            acked_at: None,
            is_up: false,
            link_ended: None,
            lost: None,
            tick_count: 0,
            durable_tick_count: 0,
            volatile: None,
            ticked: Stamp { uptime: Instant(0), ..now },
            missed_count: 0,
            shortfalls: Default::default(),
            fetch: None,
            fetched: heapless::Vec::new(),
            is_urgent: false,
            unsaid_missed_count: 0,
            storage: Storage::Works,
            stop: Stop::Runs,
            settings,
            seed,
        };
        if !agent.settings.has_hub {
            agent.client.stop(now.uptime);
        }
        let mut version = heapless::String::new();
        // A version that does not fit is cut: it is for people.
        agent.settings.version.chars().take_while(|character| version.push(*character).is_ok()).for_each(drop);
        agent.say(now, &Event::Started { version });
        agent
    }

    /// Takes inputs, lets time pass, commits, sends. Drain [`Agent::poll_output`] afterwards.
    pub fn step(&mut self, now: Stamp, inputs: impl IntoIterator<Item = Input>) {
        let kernel = now;
        let now = self.clock.civil(kernel);
        self.watch_clock(now);
        let mut questions = Vec::new();
        let mut is_asked_to_stop = false;
        for input in inputs {
            match input {
                Input::Reading { at, reading } => self.tick(now, at, reading),
                Input::Clock(reading) => self.clock.read(kernel, reading),
                Input::Told(told) => self.clock.tell(told),
                Input::Missed(count) => self.miss(count),
                Input::Connected(carrier) => {
                    let hello = self.hello(now);
                    self.told_offset_ms = offset_ms(now);
                    self.meter.connected(now, carrier, uplink::is_urgent(&self.journal));
                    let connected = LinkInput::Connected { carrier, known: self.meter.estimate(), hello: &hello };
                    self.client.handle_input(now.uptime, connected);
                }
                Input::CountedConnection(bytes) => {
                    self.meter.count_connection(now, bytes, uplink::is_urgent(&self.journal));
                }
                Input::CountedInterface { name, bytes } => self.meter.count_interface(now, name, bytes),
                Input::Datagram(number, bytes) => {
                    self.count_received(now, &bytes);
                    self.client.handle_input(now.uptime, LinkInput::Datagram(number, &bytes));
                }
                Input::Received(bytes) => {
                    self.count_received(now, &bytes);
                    self.client.handle_input(now.uptime, LinkInput::Received(&bytes));
                }
                Input::Disconnected(reason) => {
                    self.lost = reason;
                    self.client.handle_input(now.uptime, LinkInput::Disconnected);
                }
                Input::Interface { name, facts } => self.way.interface(now.uptime, &name, facts),
                Input::Technology(technology) => self.way.technology(now.uptime, technology),
                Input::Forgotten => self.client.handle_input(now.uptime, LinkInput::Forgotten),
                Input::Ask { id, question } => questions.push((id, question)),
                Input::Redial => self.client.redial(now.uptime),
                Input::Stop => is_asked_to_stop = self.stop == Stop::Runs,
            }
            self.drain_link(now);
        }
        if let Some(estimate) = self.client.estimate() {
            self.meter.learn(estimate);
        }
        self.way.handle_timeout(now.uptime);
        self.follow_way(now);
        self.client.handle_timeout(now.uptime);
        self.drain_link(now);
        self.follow_policy(now);
        self.say_missed(now);
        while let Some(event) = self.clock.poll_event() {
            self.say(now, &event);
        }
        self.say_spending(now);
        self.say_way(now);
        while matches!(self.storage, Storage::Works)
            && let Some(event) = self.watch.poll_event(now.uptime)
        {
            self.say(now, &event);
        }
        self.tell_withheld(now, is_asked_to_stop);
        if is_asked_to_stop {
            self.stop = Stop::Asked { until: now.uptime + STOP_GRACE };
            self.close_batch(now);
            self.close_all_windows(now);
            self.say(now, &Event::Stopped);
        } else if self.is_context_due(now) || self.is_fetch_due(now) {
            self.close_batch(now);
            self.is_urgent = true;
        } else {
            self.close_batch_if_due(now);
        }
        self.commit(now, is_asked_to_stop);
        self.copy_context(now);
        self.answer_fetch(now);
        self.send(now);
        for (id, question) in questions {
            let answer = self.answer(now, &question);
            self.outputs.push_back(Output::Answer { id, answer });
        }
        self.stop_if_done(now);
    }

    fn stop_if_done(&mut self, now: Stamp) {
        let Stop::Asked { until } = self.stop else { return };
        if self.backlog_count() == 0 || !self.client.is_online() || until <= now.uptime {
            self.stop = Stop::Done;
            self.close_batch(now);
            // What was acked meanwhile need not be sent again by the next process.
            self.commit(now, true);
            self.client.stop(now.uptime);
            self.drain_link(now);
            self.outputs.push_back(Output::Stopped);
        }
    }

    /// What to tell the driver next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Agent::step`] has something to do without an input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let commit = match &self.storage {
            Storage::Fails { retry_at, .. } => Some(*retry_at),
            Storage::Works => self.sampler.due_at(self.batch_age()),
        };
        let stop = if let Stop::Asked { until } = self.stop { Some(until) } else { None };
        let (client, meter, way) = (self.client.poll_timeout(), self.meter.poll_timeout(), self.way.poll_timeout());
        let context = self.context.poll_timeout(self.ticked.boot).filter(|_| matches!(self.storage, Storage::Works));
        [client, meter, way, self.journal.withheld_due_at(), context, commit, stop].into_iter().flatten().min()
    }

    /// The journal is in memory, because the disk refuses, as `reason` says: everything is lost with the process.
    pub fn say_volatile(&mut self, now: Stamp, reason: &str) {
        self.say(now, &Event::StorageFailed { error: event::text(reason) });
        self.volatile = Some(reason.to_owned());
    }

    /// Ticks that were taken and are not durable: what would be lost with this agent.
    pub fn volatile_tick_count(&self) -> u64 {
        self.tick_count - self.durable_tick_count
    }

    /// The journal, for those who only look.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether it would help to ask a time server now.
    pub fn wants_time_server(&self, now: Instant) -> bool {
        self.clock.wants_server(now)
    }

    /// What is sampled and sent now.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The link's state, and why the last one ended.
    pub fn link_words(&self) -> String {
        match &self.link_ended {
            None => self.client.state_name().into(),
            Some(ended) => format!("{} ({ended})", self.client.state_name()),
        }
    }

    /// Ticks that are in memory alone.
    pub fn open_tick_count(&self) -> u32 {
        self.sampler.open_tick_count()
    }

    /// Ticks that were due and not taken, or taken and lost before they were durable, since the start.
    pub fn missed_count(&self) -> u64 {
        self.missed_count
    }

    /// Durable batches that the hub does not hold and is to get on this tier of the link.
    pub fn backlog_count(&self) -> u64 {
        Stream::ALL.into_iter().map(|stream| self.waiting_count(stream)).sum()
    }

    /// Durable batches that the hub does not hold, and that wait for a better tier or for the hub to ask.
    pub fn kept_count(&self) -> u64 {
        let kept = Stream::ALL.into_iter().filter(|stream| !self.is_sent(*stream));
        kept.map(|stream| self.journal.waiting_count(stream)).sum()
    }

    fn waiting_count(&self, stream: Stream) -> u64 {
        if self.is_sent(stream) { self.journal.waiting_count(stream) } else { 0 }
    }

    /// Whether a stream is sent on this tier, on some day if not on this one.
    fn is_sent(&self, stream: Stream) -> bool {
        self.way.tier() == Tier::Offline || self.way.policy_at_ease().is_sent_of(Part::Backlog, stream)
    }
}

fn offset_ms(now: Stamp) -> Option<i64> {
    now.unix.map(|unix| unix.0 as i64 - now.uptime.0 as i64)
}
