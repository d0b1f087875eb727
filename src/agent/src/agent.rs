//! The gateway's core: one `step`, in this order, for every driver.
//!
//! 1. take every input that is ready;
//! 2. let time pass;
//! 3. commit once, if something must be durable;
//! 4. only then hand out what waited for the commit.
//!
//! Nothing leaves before it is durable: the uplink reads from the journal, and the journal hands out only what is committed.

use std::collections::VecDeque;
use std::io;

use disk::Folder;
use journal::Journal;
use journal::journal::{OpenError, Settings as JournalSettings};
use link::channel::{Carrier, Outgoing};
use link::client::{Client, DownReason, Input as LinkInput, Output as LinkOutput, Timing};
use link::receipt::Number;
use wire::batch;
use wire::class::Class;
use wire::event::{self, Event};
use wire::id::{DeviceId, JournalId, Seq};
use wire::limits::RECORD_BYTES_MAX;
use wire::message::{About, Backlog, Checksum, CloseReason, Fingerprint, Hello, Ping, Welcome};
use wire::metric::Metric;
use wire::ranges::RangeSet;
use wire::series::Series;
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::bearer::choice::{DEFAULT, Facts, Name};
use crate::clock::{self, Clock};
use crate::history;
use crate::importance::Importance;
use crate::meter::{self, Meter};
use crate::policy::{Detail, Part, Policy, Pressure};
use crate::probe::{self, Carry, Reading};
use crate::question::{Answer, LinkReport, Question, SeriesSamples, Status};
use crate::sampler::{Batch, Sampler};
use crate::shortfall::Shortfall;
use crate::summary::{Sealed, Summarizer};
use crate::tier::Tier;
use crate::tier::memory::Memory;
use crate::uplink;
use crate::way::{self, Carried, Way};

/// The journal's slot for what is remembered of bearers: before those of the meter.
const TIERS_SLOT: usize = meter::SLOTS_FROM - 1;

/// Bytes of one dictionary batch, roughly.
const DICTIONARY_BYTES_TARGET: usize = 16 * 1024;

/// Bytes of one batch of windows.
const WINDOWS_BYTES_MAX: usize = RECORD_BYTES_MAX - 1024;

/// How far civil time may drift against the boot's clock between two steps before it counts as a step of the clock. NTP
/// slews by 500 ppm at most (RFC 5905), half a second in a quarter of an hour.
const CLOCK_STEP_MS: u64 = 2000;

/// By how much a clock that is shown at the hub may be off before it is worth eight bytes.
const CLOCK_NEWS_MS: u64 = 250;

/// How long a process that is asked to end waits for its last batches to be acked: a machine that goes with its process has no
/// other chance to send them.
const STOP_GRACE: Span = Span::seconds(5);

/// How long to wait after the disk refused a commit.
const STORAGE_RETRY: Span = Span::seconds(5);

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
    /// Which series matter how much.
    pub importance: Importance,
    /// What may be written to the journal's flash in a day, in bytes.
    pub wear_budget_bytes: u64,
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
        let mut agent = Agent {
            client: Client::new(Timing { heartbeat: policy.heartbeat, ..settings.link }, seed, now.uptime),
            sampler: Sampler::new(dictionary, &settings.importance),
            summarizer: Summarizer::new(),
            carry: Box::new(Carry::new()),
            sent: policy.live,
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
        self.tell_withheld(now, is_asked_to_stop);
        if is_asked_to_stop {
            self.stop = Stop::Asked { until: now.uptime + STOP_GRACE };
            self.close_batch(now);
            self.close_all_windows(now);
            self.say(now, &Event::Stopped);
        } else {
            self.close_batch_if_due(now);
        }
        self.commit(now, is_asked_to_stop);
        self.send(now);
        for (id, question) in questions {
            let answer = self.answer(now, &question);
            self.outputs.push_back(Output::Answer { id, answer });
        }
        self.stop_if_done(now);
    }

    /// Sends what there is to send and room for, as long as the budget lets it.
    fn send(&mut self, now: Stamp) {
        self.meter.begin();
        while let Some(lanes) = self.meter.gate(now).lanes() {
            // What the disk refuses now is asked for again in the next step.
            let (journal, client, record) = (&mut self.journal, &mut self.client, &mut self.record);
            let _ = uplink::fill(journal, client, &mut self.meter, &self.policy, now, record);
            let Some(packet) = self.client.poll_packet(now.uptime, lanes) else { break };
            self.leave(now, packet);
        }
        let can_send = self.client.is_online() && self.meter.is_at_ease(now);
        if self.meter.notice(now, can_send) {
            self.end_runs(now);
            self.meter.mark_history(&self.journal);
        }
        self.client.close(self.meter.gate(now).lanes().is_none());
        let may_dial = self.meter.may_dial(now, uplink::is_urgent(&self.journal));
        self.client.hold(!may_dial || self.way.is_idle());
        self.client.expect_batch(self.expected_batch());
        if let Some(estimate) = self.client.estimate().filter(|_| self.client.is_online()) {
            let carried = Carried {
                bytes: self.client.delivered_bytes(),
                round_trip: estimate.round_trip,
                fate: self.client.fate(),
                is_limited: self.client.can_send(Lane::Raw),
            };
            self.way.measure(now.uptime, carried);
        }
    }

    /// When the next batch will be ready that is sent, if ticks go on.
    fn expected_batch(&self) -> Option<Instant> {
        let goes = |stream: Stream| match stream {
            Stream::Series(resolution, class) => {
                self.policy.is_sent(Part::Live, resolution, class) && !self.policy.is_covered(resolution, class)
            }
            _ => true,
        };
        let ticks = self.sampler.due_at(self.batch_age()).filter(|_| Class::ALL.map(Stream::raw).into_iter().any(goes));
        ticks.into_iter().chain(self.summarizer.due_at(goes)).min()
    }

    /// Goes over another bearer when there is a better one, or none.
    fn follow_way(&mut self, now: Stamp) {
        while let Some(switch) = self.way.poll_switch(now.uptime) {
            if let Some(in_use) = &switch.to {
                self.meter.carry(now, in_use);
            }
            self.client.reroute(now.uptime);
            let may_dial = switch.to.is_some() && self.meter.may_dial(now, uplink::is_urgent(&self.journal));
            self.client.hold(!may_dial);
            self.drain_link(now);
        }
    }

    /// Does what the link's tier and the budget ask for.
    fn follow_policy(&mut self, now: Stamp) {
        let policy = self.way.policy(self.meter.pressure(now));
        if policy == self.policy {
            return;
        }
        if policy.sampling != self.policy.sampling {
            self.outputs.push_back(Output::Sampling(policy.sampling));
        }
        self.policy = policy;
        if self.way.tier() == Tier::Offline {
            // The next link begins as the last one was.
            return;
        }
        self.sampler.set_run_length(self.policy.run_tick_count_max);
        self.client.set_heartbeat(now.uptime, self.policy.heartbeat);
        if self.policy.live != self.sent {
            // What was not sent until now is history, and what is sent from here on does not wait for it.
            self.sent = self.policy.live;
            self.end_runs(now);
            self.meter.mark_history(&self.journal);
        }
    }

    /// Says over which bearer the link goes, and how good it is.
    fn say_way(&mut self, now: Stamp) {
        if matches!(self.storage, Storage::Works)
            && let Some(event) = self.way.poll_event()
            && !self.say(now, &event)
        {
            self.way.unsay();
        }
    }

    /// Tells the hub which windows it will not get, now and then.
    fn tell_withheld(&mut self, now: Stamp, is_last: bool) {
        let is_due = self.journal.withheld_due_at().is_some_and(|at| at <= now.uptime || is_last);
        if is_due && matches!(self.storage, Storage::Works) {
            self.journal.tell_withheld(now);
        }
    }

    fn leave(&mut self, now: Stamp, packet: Outgoing) {
        self.meter.spend(now, packet.by_use, uplink::is_urgent(&self.journal));
        self.outputs.push_back(Output::Send(packet.bytes));
    }

    fn count_received(&mut self, now: Stamp, bytes: &[u8]) {
        let Some(carrier) = self.client.carrier() else { return };
        let whole_bytes = (bytes.len() + carrier.around_bytes()) as u64;
        self.meter.spend_overhead(now, whole_bytes, uplink::is_urgent(&self.journal));
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
        [client, meter, way, self.journal.withheld_due_at(), commit, stop].into_iter().flatten().min()
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

    /// The link's state, and why the last one ended.
    pub fn link_words(&self) -> String {
        match &self.link_ended {
            None => self.client.state_name().into(),
            Some(ended) => format!("{} ({ended})", self.client.state_name()),
        }
    }

    fn batch_age(&self) -> Span {
        let (least, most) = self.policy.batch_age;
        self.journal.wear().commit_interval(self.settings.wear_budget_bytes, least, most)
    }

    /// Ticks that are in memory alone.
    pub fn open_tick_count(&self) -> u32 {
        self.sampler.open_tick_count()
    }

    /// Ticks that were due and not taken, or taken and lost before they were durable, since the start.
    pub fn missed_count(&self) -> u64 {
        self.missed_count
    }

    /// Puts an event into the journal. `false` when it found no room, as on a disk that fails.
    fn say(&mut self, now: Stamp, event: &Event) -> bool {
        let mut payload = Vec::new();
        batch::put_event(Span(0), event, &mut payload);
        match self.journal.append(now, Stream::Event, None, now, &payload, true) {
            Ok(_) => self.is_urgent |= !can_wait(event),
            Err(ref error) => {
                self.storage_failed(now, error);
                return false;
            }
        }
        true
    }

    fn watch_clock(&mut self, now: Stamp) {
        let Some(offset_ms) = offset_ms(now) else { return };
        if let Some(before_ms) = self.clock_offset_ms.replace(offset_ms)
            && offset_ms.abs_diff(before_ms) > CLOCK_STEP_MS
        {
            // A batch is placed by its own stamp: the ticks before the step keep theirs.
            self.close_batch(now);
            self.say(now, &Event::ClockStepped { by_ms: offset_ms.wrapping_sub(before_ms) });
        }
    }

    fn miss(&mut self, count: u32) {
        self.missed_count += u64::from(count);
        self.unsaid_missed_count = self.unsaid_missed_count.saturating_add(count);
    }

    /// Says how many ticks were missed. While the disk fails they wait, to be said in one event.
    fn say_missed(&mut self, now: Stamp) {
        let count = self.unsaid_missed_count;
        if count > 0 && matches!(self.storage, Storage::Works) && self.say(now, &Event::TicksMissed { count }) {
            self.unsaid_missed_count = 0;
        }
    }

    /// Says what a day cost, and which step of the budget was passed.
    fn say_spending(&mut self, now: Stamp) {
        while matches!(self.storage, Storage::Works)
            && let Some(event) = self.meter.poll_event(now)
        {
            if !self.say(now, &event) {
                self.meter.unsay(event);
            }
        }
    }

    fn tick(&mut self, now: Stamp, at: Instant, reading: Box<Reading>) {
        if self.sampler.is_renewal_due() {
            self.close_batch(now);
            self.sampler.end_run();
            self.renew_list(now);
        }
        let skipped_count = self.take(now, &reading);
        self.say_shortfalls(now, reading.refused_count(), skipped_count);
        if self.write_dictionary(now) {
            self.ticked = now.at(at.min(now.uptime).max(self.ticked.uptime));
            self.sampler.end(self.ticked);
            self.tick_count += 1;
            let (dictionary, values) = self.sampler.latest();
            self.summarizer.tick(self.ticked, dictionary, values);
            self.close_batch_if_due(now);
            self.close_windows(now);
        }
        self.outputs.push_back(Output::Reading(reading));
    }

    /// Takes every value of a reading. Returns how many processes it has no room for.
    fn take(&mut self, now: Stamp, reading: &Reading) -> u32 {
        let (sampler, carry) = (&mut self.sampler, &mut *self.carry);
        let mut skipped_count = 0;
        sampler.begin();
        probe::parse(reading, carry, &mut |metric, labels, value| {
            if metric == Metric::ProcessesSkipped {
                skipped_count = u32::try_from(value).unwrap_or(u32::MAX);
            }
            sampler.put(metric, labels, value);
        });
        self.meter.put(now.uptime, &mut |metric, labels, value| sampler.put(metric, labels, value));
        skipped_count
    }

    /// Says what is there and in no tick, once for as long as it lasts.
    fn say_shortfalls(&mut self, now: Stamp, unread_count: u32, skipped_count: u32) {
        let refused_count = self.sampler.refused_count();
        let events = [
            (refused_count, Event::SeriesRefused { count: refused_count }),
            (unread_count, Event::PartsUnread { count: unread_count }),
            (skipped_count, Event::ProcessesSkipped { count: skipped_count }),
        ];
        for (index, (count, event)) in events.iter().enumerate() {
            if self.shortfalls[index].is_news(now.uptime, *count) && !self.say(now, event) {
                self.shortfalls[index] = Shortfall::default();
            }
        }
    }

    /// New series go into the journal before the first tick that has them. `false` when it has no room: the tick is lost then, and
    /// with it the list, whose next generation starts with the next tick.
    fn write_dictionary(&mut self, now: Stamp) -> bool {
        let mut payload = Vec::new();
        while self.sampler.dictionary().has_news() {
            self.sampler.dictionary().take_news(DICTIONARY_BYTES_TARGET, &mut payload);
            if let Err(error) = self.journal.append(now, Stream::Dictionary, None, now, &payload, true) {
                // A hole in the list would leave every later series without a name.
                let lost_count = self.sampler.lose();
                self.miss(lost_count + 1);
                self.sampler.end_run();
                self.renew_list(now);
                self.storage_failed(now, &error);
                return false;
            }
        }
        true
    }

    /// Starts the list of series again. Windows that are open count on the old one, so they end with it.
    fn renew_list(&mut self, now: Stamp) {
        self.close_all_windows(now);
        self.summarizer.renew();
        self.sampler.renew();
    }

    fn close_all_windows(&mut self, now: Stamp) {
        self.summarizer.end_all();
        self.close_windows(now);
    }

    /// Puts the batches of windows that are due into the journal. They are durable with the next commit.
    fn close_windows(&mut self, now: Stamp) {
        let mut payload = Vec::new();
        loop {
            payload.clear();
            let Some(sealed) = self.summarizer.due(&self.sampler.dictionary().mark(), &mut payload) else { return };
            let Sealed { stream, run, stamp, window_count } = sealed;
            let appended = if payload.len() <= WINDOWS_BYTES_MAX {
                self.journal.append(now, stream, run, stamp, &payload, false)
            } else {
                Err(io::ErrorKind::FileTooLarge.into())
            };
            self.summarizer.taken(stream, appended.as_ref().ok().copied());
            if let Ok(seq) = appended {
                self.withhold_if_covered(now, stream, seq);
            }
            if let Err(error) = appended {
                self.say(now, &Event::WindowsRefused { stream, count: window_count });
                if error.kind() != io::ErrorKind::FileTooLarge {
                    self.storage_failed(now, &error);
                }
            }
        }
    }

    /// Keeps new windows back that say nothing which is not sent anyway. Before others of the stream follow, the hub is told, so that
    /// it never sees a hole.
    fn withhold_if_covered(&mut self, now: Stamp, stream: Stream, seq: Seq) {
        let Stream::Series(resolution, class) = stream else { return };
        if self.settings.has_hub && self.policy.is_covered(resolution, class) {
            self.journal.withhold(now, stream, seq);
        } else if self.journal.withheld_count(stream) > 0 {
            self.journal.tell_withheld(now);
        }
    }

    fn close_batch_if_due(&mut self, now: Stamp) {
        if self.sampler.is_due(now.uptime, self.batch_age()) {
            self.close_batch(now);
        }
    }

    fn close_batch(&mut self, now: Stamp) {
        let (journal, tick_count) = (&mut self.journal, self.sampler.open_tick_count());
        let closed = self
            .sampler
            .close(|Batch { stream, run, stamp, payload }| journal.append(now, stream, run, stamp, payload, false));
        match closed {
            Ok(batch_count) => self.is_urgent |= batch_count > 0,
            Err(error) => {
                self.miss(tick_count);
                self.storage_failed(now, &error);
            }
        }
    }

    fn commit(&mut self, now: Stamp, is_last: bool) {
        let is_retry = matches!(self.storage, Storage::Fails { retry_at, .. } if retry_at <= now.uptime);
        let is_waiting = matches!(self.storage, Storage::Fails { .. }) && !is_retry;
        if !(self.is_urgent || is_retry || is_last) || is_waiting && !is_last {
            return;
        }
        if self.meter.keep(now, &mut self.journal, is_last) {
            self.journal.set_slot(TIERS_SLOT, &self.way.memory().encode());
        }
        match self.journal.commit(now) {
            Ok(()) => {
                self.is_urgent = false;
                self.durable_tick_count = self.tick_count - u64::from(self.sampler.open_tick_count());
                self.storage_works(now);
            }
            Err(error) => self.storage_failed(now, &error),
        }
    }

    fn storage_failed(&mut self, now: Stamp, error: &io::Error) {
        let failed = Storage::Fails { error: error.to_string(), retry_at: now.uptime + STORAGE_RETRY };
        if let Storage::Works = std::mem::replace(&mut self.storage, failed) {
            self.outputs.push_back(Output::Storage(Some(error.to_string())));
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                self.outputs.push_back(Output::ReadOnly);
            }
            self.say(now, &Event::StorageFailed { error: event::text(&error.to_string()) });
        }
    }

    fn storage_works(&mut self, now: Stamp) {
        if matches!(self.storage, Storage::Works) {
            return;
        }
        self.storage = Storage::Works;
        self.outputs.push_back(Output::Storage(None));
        self.say(now, &Event::StorageRecovered);
        self.say_missed(now);
    }

    fn hello(&self, now: Stamp) -> Hello {
        let waits = |stream: &Stream| self.waiting_count(*stream) > 0;
        uplink::hello(&self.journal, now, self.client.heartbeat(), self.about().checksum(), waits)
    }

    fn about(&self) -> About {
        let mut about = About::default();
        // What does not fit is cut: it is for people.
        self.settings.version.chars().take_while(|character| about.agent.push(*character).is_ok()).for_each(drop);
        self.settings.hostname.chars().take_while(|character| about.hostname.push(*character).is_ok()).for_each(drop);
        about
    }

    fn backlog(&self) -> Backlog {
        Backlog { batch_count: self.backlog_count() }
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

    /// What the hub has to hear of this machine's clock, if it does not go on as the hub was told.
    fn news_of_clock(&mut self, now: Stamp) -> Option<UnixTime> {
        let offset_ms = offset_ms(now)?;
        let is_known = self.told_offset_ms.is_some_and(|told_ms| told_ms.abs_diff(offset_ms) < CLOCK_NEWS_MS);
        if is_known {
            return None;
        }
        self.told_offset_ms = Some(offset_ms);
        now.unix
    }

    /// Carries out what the client wants, until it wants nothing.
    fn drain_link(&mut self, now: Stamp) {
        while let Some(output) = self.client.poll_output() {
            match output {
                LinkOutput::Dial => {
                    let in_use = self.way.in_use();
                    let interface = in_use.as_ref().map(|in_use| in_use.name.clone()).filter(|name| name != DEFAULT);
                    let carrier = in_use.map_or(Carrier::Stream, |in_use| in_use.carrier);
                    self.outputs.push_back(Output::Dial { interface, carrier });
                }
                LinkOutput::Send(packet) => self.leave(now, *packet),
                LinkOutput::HangUp(reason) => self.link_down(now, reason),
                LinkOutput::Up(welcome) => self.link_up(now, &welcome),
                LinkOutput::Acked(ack) => {
                    ack.held().for_each(|range| self.journal.ack(ack.stream, range));
                    self.acked_at = Some(now.uptime);
                    self.way.heard(now.uptime);
                }
                LinkOutput::Wanted(want) => {
                    if want.generation == self.sampler.dictionary().mark().generation {
                        self.journal.adopt(now, Stream::Dictionary, &RangeSet::new());
                    }
                }
                LinkOutput::PingDue => {
                    // What has waited for a packet that leaves anyway.
                    self.is_urgent |= self.journal.has_uncommitted_batches();
                    let ping = Ping { now: self.news_of_clock(now), backlog: self.backlog(), wants_acks: false };
                    self.client.ping(now.uptime, &ping);
                }
                LinkOutput::HubTime(hub, asked_at) => {
                    self.way.heard(now.uptime);
                    let answered_ms = hub.received.0.saturating_add(hub.held.0) + (now.uptime - asked_at).0 / 2;
                    self.clock.hear(now.uptime, hub, asked_at);
                    self.hub_offset_ms = now.unix.map(|unix| answered_ms.wrapping_sub(unix.0) as i64);
                }
            }
        }
    }

    /// Whether the hub holds batches under numbers of this journal that are not the journal's: those that it has not given out yet, or
    /// others.
    fn is_forked(&mut self, now: Stamp, welcome: &Welcome) -> bool {
        welcome.progress.iter().flatten().any(|progress| {
            let Some(highest) = progress.held.iter().next_back().map(|range| range.last) else { return false };
            let Some(tip) = progress.tip else { return false };
            if highest >= self.journal.next(progress.stream) {
                return true;
            }
            // What is not here any more cannot be compared.
            let is_read = self.journal.read(now, progress.stream, highest, &mut self.record).unwrap_or(false);
            is_read && self.record.first_chunk().is_some_and(|crc| Checksum::from(*crc) != tip)
        })
    }

    fn fork(&mut self, now: Stamp) {
        self.close_batch(now);
        self.sampler.end_run();
        let runs = self.summarizer.runs();
        runs.into_iter().for_each(|(stream, _)| self.summarizer.end_run(stream));
        self.close_windows(now);
        let former = self.journal.id();
        // The moment tells the forks of one process apart.
        let name = JournalId((self.seed >> 32) as u32 ^ now.uptime.0 as u32);
        self.journal.rename(now, name);
        self.say(now, &Event::JournalRenamed { former });
    }

    fn link_up(&mut self, now: Stamp, welcome: &Welcome) {
        self.way.heard(now.uptime);
        if self.is_forked(now, welcome) {
            self.fork(now);
            return self.client.begin_again(now.uptime);
        }
        for stream in Stream::ALL {
            let Some(progress) = &welcome.progress else { break };
            let progress = progress.iter().find(|progress| progress.stream == stream);
            let held = progress.map(|progress| progress.held.clone()).unwrap_or_default();
            if let Some(last) = held.iter().next_back() {
                // Numbers above our own of which the hub has nothing: they were said to be lost.
                self.journal.skip_to(stream, Seq(last.last.0.saturating_add(1)));
            }
            self.journal.adopt(now, stream, &held);
        }
        if welcome.wants_about {
            let about = self.about();
            self.client.about(&about);
        }
        if let Some(key) = welcome.next_key {
            self.outputs.push_back(Output::Pin(key));
        }
        self.is_up = true;
        self.link_ended = None;
        self.outputs.push_back(Output::Link(None));
    }

    /// A run that goes on over an outage would make the news after it wait for everything before it.
    fn end_runs(&mut self, now: Stamp) {
        let journal = &self.journal;
        let is_unsent = |stream, run| journal.done(stream).first_missing(run) < journal.durable(stream);
        let is_open = |class| self.sampler.run(class).is_some_and(|run| is_unsent(Stream::raw(class), run));
        let runs = self.summarizer.runs().into_iter().filter(|(stream, run)| is_unsent(*stream, *run));
        runs.for_each(|(stream, _)| self.summarizer.end_run(stream));
        if Class::ALL.into_iter().any(is_open) {
            self.close_batch(now);
            self.sampler.end_run();
        }
        self.close_windows(now);
    }

    fn link_down(&mut self, now: Stamp, reason: DownReason) {
        self.way.ended(now.uptime, &reason);
        if matches!(&reason, DownReason::Refused(close) if close.reason == CloseReason::Forked) {
            self.fork(now);
        }
        // The runs of an outage end when it does: each dial that fails would end them again.
        if std::mem::take(&mut self.is_up) {
            self.end_runs(now);
        }
        let lost = self.lost.take().filter(|_| reason == DownReason::Disconnected);
        self.link_ended = Some(lost.unwrap_or_else(|| reason.to_string()));
        self.outputs.push_back(Output::HangUp);
        self.outputs.push_back(Output::Link(Some(reason)));
    }

    fn answer(&mut self, now: Stamp, question: &Question) -> Answer {
        let failed = |error: io::Error| Answer::Failed(error.to_string());
        match question {
            Question::Status => Answer::Status(Box::new(self.status(now))),
            Question::Latest => {
                let (dictionary, values) = self.sampler.latest();
                let slots =
                    Class::ALL.into_iter().zip(values).flat_map(|(class, values)| dictionary.of(class).zip(values));
                let series = slots
                    .filter_map(|(Series { name, labels, kind, scale }, value)| {
                        let series = Series { name: name.into(), labels: labels.into(), kind, scale };
                        Some(SeriesSamples { series, samples: vec![(self.ticked, (*value)?)] })
                    })
                    .collect();
                Answer::Samples { series, is_cut: false }
            }
            Question::Samples { names, since, sample_count_max } => {
                let wants = |series: &Series<&str>| names.is_empty() || names.iter().any(|name| name == series.name);
                let (open, dictionary) = (|class| self.sampler.copy(class), self.sampler.latest().0);
                let count_max = *sample_count_max as usize;
                history::samples(&mut self.journal, open, dictionary, now, *since, count_max, wants)
                    .map_or_else(failed, |(series, is_cut)| Answer::Samples { series, is_cut })
            }
            Question::Events { count_max } => {
                history::events(&mut self.journal, now, *count_max as usize).map_or_else(failed, Answer::Events)
            }
            Question::Link => {
                let listed = self.way.bearers().list();
                let mut bearers: Vec<_> = listed.iter().filter_map(|listed| self.meter.report(now, listed)).collect();
                for bearer in &mut bearers {
                    match history::days(&mut self.journal, now, &bearer.name) {
                        Ok(days) => bearer.days = days,
                        Err(error) => return failed(error),
                    }
                }
                Answer::Link(Box::new(LinkReport {
                    now,
                    state: self.link_state(),
                    ended: self.link_ended.clone(),
                    is_datagram: self.client.carrier().map(|carrier| carrier == Carrier::Datagram),
                    version: self.client.version(),
                    skipped_count: self.client.skipped_count(),
                    tier: self.way.is_chosen().then(|| self.way.tier().to_string()),
                    policy: self.policy.to_string(),
                    bearers,
                }))
            }
        }
    }

    fn link_state(&self) -> String {
        if !self.settings.has_hub {
            "no hub".into()
        } else if self.way.is_idle() {
            "no network".into()
        } else {
            self.client.state_name().into()
        }
    }

    fn status(&self, now: Stamp) -> Status {
        let stat = self.journal.stat();
        Status {
            version: self.settings.version.clone(),
            device: self.settings.device,
            journal: self.journal.id(),
            now,
            started: self.started,
            link: self.link_state(),
            link_ended: self.link_ended.clone(),
            acked_at: self.acked_at,
            hub_offset_ms: self.hub_offset_ms,
            belief: self.clock.belief(now.uptime).map(|belief| (belief.source.to_string(), belief.uncertainty)),
            tick_count: self.tick_count,
            missed_count: self.missed_count,
            series_count: self.sampler.live_count() as u32,
            backlog_count: self.backlog_count(),
            kept_count: self.kept_count(),
            in_flight_count: self.client.in_flight_count() as u32,
            skipped_count: self.client.skipped_count(),
            volume_bytes: stat.volume_bytes,
            tail_bytes: stat.tail_bytes,
            written_bytes: stat.written_bytes,
            storage_error: match &self.storage {
                Storage::Works => self.volatile.clone(),
                Storage::Fails { error, .. } => Some(error.clone()),
            },
        }
    }
}

/// Whether an event is worth no packet of its own: it goes with the next batches, or with a ping.
fn can_wait(event: &Event) -> bool {
    matches!(event, Event::DataUsed { .. } | Event::LinkChanged { .. } | Event::TimeLearned { .. })
}

fn offset_ms(now: Stamp) -> Option<i64> {
    now.unix.map(|unix| unix.0 as i64 - now.uptime.0 as i64)
}
