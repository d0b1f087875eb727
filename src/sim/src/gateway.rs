//! A simulated gateway: a disk, a clock, signals, and the agent's core when the power is on.

use std::collections::{BTreeMap, BTreeSet};

use agent::agent::{Input, OPEN_PATIENCE, Output, Settings};
use agent::bearer::choice::{Choice, Facts, Kind, name};
use agent::budget::Limit;
use agent::probe::Reading;
use agent::{Agent, agent as core, way};
use hub::session::PeerId;
use journal::journal::Settings as JournalSettings;
use link::client::Timing;
use link::talk;
use wire::class::{CLASS_COUNT, Class};
use wire::frame::Assembler;
use wire::id::{DeviceId, JournalId, Seq};
use wire::message::{self, Ack, Fingerprint};
use wire::ranges::RangeSet;
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use crate::disk::{Image, SimDisk};
use crate::host::{Host, Runs};
use crate::load::{Load, Size};
use crate::net::Quality;
use crate::rng::Rng;

/// The calendar at a world's first moment, unless it says otherwise: 2026-01-01T00:00:00Z.
pub const UNIX_START: UnixTime = UnixTime(1_767_225_600_000);

/// How long after its disk was mended a gateway may take to write again.
const MEND_MS: u64 = 10_000;

/// How often a [sparse](Size::Sparse) gateway speaks.
const SPARSE_PAUSE: Span = Span::minutes(60);

/// By how much the boots of a machine with a copied card are numbered higher.
const CLONE_BOOT: u32 = 1 << 16;

/// How a gateway is made.
#[derive(Clone, Copy, Debug)]
pub struct Make {
    /// How many series it has.
    pub size: Size,
    /// How often it samples.
    pub interval: Span,
    /// How large its journal may be.
    pub journal: JournalSettings,
    /// What its link is like.
    pub quality: Quality,
    /// What the link is like over its modem, if it has one beside the cable. Bytes over that are metered.
    pub modem: Option<Quality>,
    /// What its link may cost, until the world falls quiet. On a limited one, other programs send as well.
    pub budget: Limit,
}

/// The cable's interface of a gateway that has two.
const CABLE: &str = "eth0";

/// The modem's.
pub const MODEM: &str = "wwan0";

/// When a tick was.
pub type Tick = (BootId, Instant);

/// Ticks that one step wrote, and the numbers of their batches: one of each class, unless the runs ended as well.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose numbers.
    pub journal: JournalId,
    /// The lowest and, exclusive, the highest of each class.
    pub batches: [(Seq, Seq); CLASS_COUNT],
    /// When the ticks were.
    pub ticks: Vec<Tick>,
}

/// A copy of a gateway's card.
#[derive(Debug)]
pub struct Card {
    image: Image,
    /// How many of [`Gateway::committed`] are on it.
    committed_count: usize,
}

/// A simulated gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its place in the world.
    pub index: usize,
    /// How it is made.
    pub make: Make,
    /// Who it is.
    pub device: DeviceId,
    /// Its key.
    pub key: Fingerprint,
    /// Its disk.
    pub disk: SimDisk,
    /// Its signals.
    pub load: Load,
    /// The core, while the process runs.
    pub agent: Option<Agent>,
    /// Its connection, if it has one.
    pub peer: Option<PeerId>,
    /// Whether there is a way to the hub.
    pub is_link_up: bool,
    /// Whether the cable is plugged in.
    pub has_cable: bool,
    /// What the present connection, or the last one, is like.
    pub quality: Quality,
    /// Every how many intervals it samples now.
    pub sampling: u8,
    /// Which boot this is, and when it began.
    pub boot: BootId,
    boot_at_ms: u64,
    /// Whether the machine has power.
    pub has_power: bool,
    /// The calendar at the world's first moment.
    pub unix_start: UnixTime,
    /// Its calendar less the true one; none while it does not know the time.
    pub clock_error_ms: Option<i64>,
    /// Counts what invalidates a wake-up call that is on its way.
    pub wake_version: u64,
    /// Counts lives of the process, so that a tick meant for an older one is not taken.
    pub life: u64,
    /// Everything that became durable, ever.
    pub committed: Vec<Committed>,
    /// What was committed on cards that were taken away, and had reached the hub by then.
    pub delivered: Vec<Committed>,
    /// The copy of its card.
    pub card: Option<Card>,
    /// Whether its card was ever put back.
    pub was_put_back: bool,
    /// The names that its journal ever had.
    pub journals: BTreeSet<JournalId>,
    /// Everything that the hub told it is durable, ever.
    pub acked: BTreeMap<(JournalId, Stream), RangeSet>,
    /// The same since its card was put back: before, the same numbers were others' batches.
    acked_since: BTreeMap<(JournalId, Stream), RangeSet>,
    /// Every tick that was ever taken.
    pub taken: BTreeSet<Tick>,
    /// When its disk was last mended; none while it fails or is full.
    pub well_at_ms: Option<u64>,
    /// Ticks in memory alone.
    open: Vec<Tick>,
    /// Ticks in batches that are not durable yet.
    appended: Vec<Committed>,
    /// The journal, and its numbers below which all is durable, when last seen.
    known: Option<(JournalId, [Seq; STREAM_COUNT])>,
    /// The journal's name in the step in which the power went: it may have been another one by then, and may be durable.
    last_name: Option<JournalId>,
    /// The numbers of the next batches of ticks, by class.
    next: [Seq; CLASS_COUNT],
    missed_count: u64,
    /// Ticks that it will be too busy to take, and those of them that were due by now.
    pub stall_tick_count: u32,
    stalled_tick_count: u32,
    /// Whether it ever started by giving up what the disk would not read.
    pub has_given_up: bool,
    /// Starts that the disk refused, one after the other.
    refused_count: u32,
    /// Whether the tail of its journal was there twice, when last seen.
    pub is_mirrored: bool,
    reading: Option<Box<Reading>>,
    /// What its interface has carried in this boot.
    interface_bytes: u64,
    /// What its link has carried under a budget, as whole packets, both ways.
    pub metered_bytes: u64,
    seed: u64,
}

impl Gateway {
    /// A gateway that was never on.
    pub fn new(index: usize, make: Make, rng: &mut Rng) -> Gateway {
        let mut key = [0; 32];
        rng.fill(&mut key);
        let key = Fingerprint(key);
        let mut id = [0; 8];
        id.copy_from_slice(&key.0[..8]);
        Gateway {
            index,
            make,
            device: DeviceId(u64::from_be_bytes(id)),
            key,
            disk: SimDisk::new(rng.split()),
            load: Load::new(rng.bits(), make.size),
            agent: None,
            peer: None,
            is_link_up: true,
            has_cable: true,
            quality: make.quality,
            sampling: 1,
            boot: BootId(0),
            boot_at_ms: 0,
            has_power: false,
            unix_start: UNIX_START,
            clock_error_ms: Some(0),
            wake_version: 0,
            life: 0,
            committed: Vec::new(),
            delivered: Vec::new(),
            card: None,
            was_put_back: false,
            journals: BTreeSet::new(),
            acked: BTreeMap::new(),
            acked_since: BTreeMap::new(),
            taken: BTreeSet::new(),
            well_at_ms: Some(0),
            open: Vec::new(),
            appended: Vec::new(),
            known: None,
            last_name: None,
            next: [Seq(0); CLASS_COUNT],
            missed_count: 0,
            stall_tick_count: 0,
            stalled_tick_count: 0,
            has_given_up: false,
            refused_count: 0,
            is_mirrored: true,
            reading: Some(Box::new(Reading::new(4096))),
            interface_bytes: 0,
            metered_bytes: 0,
            seed: rng.bits(),
        }
    }

    /// What the gateway's clocks say.
    pub fn stamp(&self, now_ms: u64) -> Stamp {
        let true_ms = self.unix_start.0 + now_ms;
        let unix = self.clock_error_ms.map(|error_ms| UnixTime(true_ms.saturating_add_signed(error_ms)));
        Stamp { boot: self.boot, uptime: Instant(now_ms - self.boot_at_ms), unix }
    }

    /// When, in the world's time, the gateway's boot reaches an instant.
    pub fn world_ms(&self, at: Instant) -> u64 {
        self.boot_at_ms + at.0
    }

    /// The machine starts.
    pub fn power_on(&mut self, now_ms: u64, knows_time: bool) {
        self.boot = BootId(self.boot.0 + 1);
        self.boot_at_ms = now_ms;
        self.has_power = true;
        self.interface_bytes = 0;
        self.clock_error_ms = knows_time.then_some(0);
    }

    /// The process starts. `false` when the disk does not let it.
    ///
    /// Errors: what was durable before is not durable now, in words.
    pub fn start(&mut self, now_ms: u64) -> Result<bool, String> {
        let settings = Settings {
            device: self.device,
            version: "0.1.0-sim".into(),
            hostname: format!("gw-{}", self.index),
            build: UnixTime(0),
            journal: self.make.journal,
            link: Timing::default(),
            has_hub: true,
            interval: self.make.interval,
            way: Box::new(self.way()),
            importance: Default::default(),
            around: Default::default(),
            wear_budget_bytes: u64::MAX,
        };
        self.life += 1;
        self.sampling = 1;
        (self.stall_tick_count, self.stalled_tick_count) = (0, 0);
        let seed = Rng::new(self.seed ^ self.life).bits();
        let is_patient = self.refused_count < OPEN_PATIENCE;
        let open = if is_patient { Agent::open } else { Agent::open_giving_up };
        self.agent = open(self.disk.folder(), settings, seed, self.stamp(now_ms)).ok();
        self.refused_count = if self.agent.is_some() { 0 } else { self.refused_count + 1 };
        let Some(agent) = &self.agent else { return Ok(false) };
        self.has_given_up |= !is_patient;
        self.next = Class::ALL.map(|class| agent.journal().next(Stream::raw(class)));
        self.missed_count = agent.missed_count();
        self.is_mirrored = agent.journal().stat().is_mirrored;
        let known = (agent.journal().id(), Stream::table(|stream| agent.journal().durable(stream)));
        // What an opened journal holds was read back from the disk: it is durable.
        let last_name = self.last_name.take();
        match self.known.replace(known) {
            Some((id, _)) if id != known.0 && last_name != Some(known.0) => {
                Err(format!("gw-{} opened journal {} after {id}", self.index, known.0))
            }
            Some((_, durable)) if durable.iter().zip(known.1).any(|(before, now)| *before > now) => {
                Err(format!("gw-{} had committed below {durable:?} and reopened with {:?}", self.index, known.1))
            }
            _ => Ok(true),
        }
    }

    /// Whether its link may not cost as much as it likes.
    pub fn is_limited(&self) -> bool {
        self.make.budget.day_bytes.is_some()
    }

    /// A packet went over its link.
    pub fn meter(&mut self, bytes: &[u8]) {
        if self.is_limited() {
            let whole_bytes = (bytes.len() + self.quality.carrier.around_bytes()) as u64;
            self.interface_bytes += whole_bytes;
            self.metered_bytes += whole_bytes;
        }
    }

    /// What its interface has counted, with what another program sends now and then.
    pub fn interface(&mut self, now_ms: u64) -> Option<Input> {
        let chance = now_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.interface_bytes += if chance.is_multiple_of(50) { chance % 2000 } else { 0 };
        self.is_limited().then_some(Input::CountedInterface { name: "wwan0".into(), bytes: self.interface_bytes })
    }

    /// The way to the hub: whatever there is, or the cable before the modem.
    fn way(&self) -> way::Settings {
        let age = self.batch_age_max();
        let mut settings = way::Settings::simple((age, age), self.heartbeat(), self.make.budget);
        let choice = |(pattern, kind, quality): (&str, Kind, Quality)| {
            Choice::new(name(pattern).expect("a short word"), kind, quality.carrier)
        };
        let modem = self.make.modem.map(|modem| (MODEM, Kind::Cellular, modem));
        let cable = modem.map(|_| (CABLE, Kind::Wired, self.make.quality));
        settings.bearers.choices = cable.into_iter().chain(modem).map(choice).collect();
        settings
    }

    /// What is to be told of the interfaces, of a gateway that chooses between them.
    pub fn interfaces(&self) -> Vec<Input> {
        let facts = |has_carrier| Some(Facts { has_carrier, has_ipv4: true, has_ipv6: false });
        let told =
            |(name, has_carrier): (&str, bool)| Input::Interface { name: name.into(), facts: facts(has_carrier) };
        self.make.modem.map_or(Vec::new(), |_| [(CABLE, self.has_cable), (MODEM, true)].map(told).into())
    }

    fn batch_age_max(&self) -> Span {
        if self.make.size == Size::Sparse { SPARSE_PAUSE } else { Span(60_000.max(self.make.interval.0)) }
    }

    fn heartbeat(&self) -> Span {
        if self.make.size == Size::Sparse { SPARSE_PAUSE } else { Timing::default().heartbeat }
    }

    /// The process is gone, and with it what was in memory alone.
    pub fn end(&mut self) {
        self.agent = None;
        // Some of what was not durable may have survived: it is owed by nobody, and welcome.
        self.open.clear();
        self.appended.clear();
        self.wake_version += 1;
        self.life += 1;
    }

    /// Copies the card while the machine runs, as it would be found after a power cut.
    pub fn copy_card(&mut self) {
        self.card = Some(Card { image: self.disk.image(), committed_count: self.committed.len() });
    }

    /// Puts the copy in the place of the card, if there is one. The power is off. What was written since went with the card, unless the
    /// hub has it, with all that it is read with.
    pub fn put_card_back(&mut self, runs: &Runs) {
        let Some(card) = &self.card else { return };
        self.disk.put_back(&card.image);
        let since = self.committed.split_off(card.committed_count.min(self.committed.len()));
        let held: Vec<Committed> = since.into_iter().filter(|committed| self.is_acked(committed, runs)).collect();
        self.delivered.extend(held);
        self.acked_since.clear();
        (self.known, self.was_put_back, self.is_mirrored) = (None, true, false);
    }

    /// Becomes another machine with a copy of the card of `other`, and begins with nothing of its own.
    pub fn clone_card(&mut self, other: &Gateway) {
        (self.device, self.key, self.load) = (other.device, other.key, other.load.clone());
        self.disk = other.disk.copy();
        // Boots of two machines have different names.
        self.boot = BootId(other.boot.0 + CLONE_BOOT);
        (self.known, self.was_put_back, self.is_mirrored) = (None, true, false);
        self.committed.clear();
        self.acked.clear();
        self.taken.clear();
    }

    fn is_acked(&self, committed: &Committed, runs: &Runs) -> bool {
        Class::ALL.into_iter().zip(committed.batches).all(|(class, (Seq(first), Seq(end)))| {
            let stream = Stream::raw(class);
            let Some(acked) = self.acked_since.get(&(committed.journal, stream)) else { return false };
            (first..end).map(Seq).all(|seq| {
                let run = runs.get(&(self.device, committed.journal, stream, seq));
                run.is_some_and(|run| acked.range_of(*run).is_some_and(|range| range.last >= seq))
            })
        })
    }

    /// A reading of this moment.
    pub fn read(&mut self, now: Stamp) -> Option<Box<Reading>> {
        let mut reading = self.reading.take()?;
        self.load.render(now.boot, now.uptime, &mut reading);
        self.open.push((now.boot, now.uptime));
        self.taken.insert((now.boot, now.uptime));
        Some(reading)
    }

    /// Whether it is too busy to take the tick that is due.
    pub fn is_stalled(&mut self) -> bool {
        let is_stalled = self.stall_tick_count > 0;
        self.stall_tick_count -= u32::from(is_stalled);
        self.stalled_tick_count += u32::from(is_stalled);
        is_stalled
    }

    /// The ticks that it was too busy to take, which the core is told now.
    pub fn take_missed(&mut self) -> Option<u32> {
        let count = std::mem::take(&mut self.stalled_tick_count);
        // They were in no memory.
        self.missed_count += u64::from(count);
        (count > 0).then_some(count)
    }

    /// One step of the core; its outputs, unless the power went meanwhile.
    ///
    /// Errors: a tick left memory and is neither written nor said to be missed, in words.
    pub fn step(&mut self, now_ms: u64, inputs: Vec<Input>) -> Result<Option<Vec<Output>>, String> {
        let now = self.stamp(now_ms);
        let Some(agent) = self.agent.as_mut() else { return Ok(None) };
        agent.step(now, inputs);
        self.is_mirrored = agent.journal().stat().is_mirrored;
        if self.disk.is_dead() {
            self.last_name = Some(agent.journal().id());
            return Ok(None);
        }
        let mut outputs = Vec::new();
        while let Some(output) = agent.poll_output() {
            match output {
                core::Output::Reading(reading) => self.reading = Some(reading),
                other => outputs.push(other),
            }
        }
        self.note_appended()?;
        self.note_committed();
        self.check_age(now_ms)?;
        Ok(Some(outputs))
    }

    /// What keeps the gateway from rest, in words: that the hub has not all that is durable here, or that the two disagree.
    pub fn why_restless(&self, host: &Host) -> Option<String> {
        let Some(agent) = &self.agent else { return Some("it does not run".into()) };
        let journal = agent.journal();
        if self.committed.is_empty() {
            return Some("it has written nothing".into());
        }
        if self.make.modem.is_some() && self.quality != self.make.quality {
            return Some("it speaks over its modem".into());
        }
        let (backlog_count, kept_count) = (agent.backlog_count(), agent.kept_count());
        if backlog_count > 0 {
            let done =
                Stream::ALL.map(|stream| format!("{stream} {:?} of {}", journal.done(stream), journal.durable(stream)));
            return Some(format!("{backlog_count} batches wait: {}", done.join(", ")));
        }
        if kept_count > 0 {
            return Some(format!("{kept_count} batches are kept: {}", agent.link_words()));
        }
        let now = host.unix_start;
        let hub = host.running.as_ref().map(|running| &running.hub);
        if let Some(fetch) = hub.and_then(|hub| hub.fetches().next(self.device, now)) {
            return Some(format!("it has not answered request {}", fetch.number));
        }
        let held = host.held(self.device, journal.id());
        let disputed = Stream::ALL.into_iter().find(|stream| held[stream.index()] != *journal.done(*stream))?;
        let (held, done) = (&held[disputed.index()], journal.done(disputed));
        Some(format!("of {disputed} the hub holds {held:?}, and {done:?} is taken for done"))
    }

    /// Takes a buffer back that a step did not return.
    pub fn refill(&mut self) {
        self.reading.get_or_insert_with(|| Box::new(Reading::new(4096)));
    }

    /// The hub says this to the gateway: what of it is an ack is held against the hub later.
    pub fn note_acks(&mut self, peer: PeerId, bytes: &[u8]) {
        // On a link that was given up the journal may have had another name.
        let agent = self.agent.as_ref().filter(|_| self.peer == Some(peer));
        let Some(journal) = agent.map(|agent| agent.journal().id()) else { return };
        let mut assembler = Assembler::default();
        for frame in wire::frame::frames(bytes).map_while(Result::ok) {
            let whole = assembler.take(frame).expect("the hub keeps the rules");
            let Some(framed) = whole.filter(|framed| framed.kind == message::Kind::Ack as u8) else { continue };
            let ack: Ack = talk::read(&framed.bytes).expect("the hub says whole acks");
            for acked in [&mut self.acked, &mut self.acked_since] {
                let acked = acked.entry((journal, ack.stream)).or_default();
                for range in ack.held() {
                    acked.insert_range(range).expect("the hub's own set has as much room");
                }
            }
        }
    }

    /// Follows the ticks that left memory in this step: into batches, or lost and said to be missed.
    fn note_appended(&mut self) -> Result<(), String> {
        let agent = self.agent.as_ref().expect("called after a step");
        let journal = agent.journal();
        let next = Class::ALL.map(|class| journal.next(Stream::raw(class)));
        let before = std::mem::replace(&mut self.next, next);
        let batches = Class::ALL.map(|class| (before[class.index()], next[class.index()]));
        let missed_count = agent.missed_count() - std::mem::replace(&mut self.missed_count, agent.missed_count());
        let open_count = agent.open_tick_count() as usize;
        if open_count > self.open.len() {
            return Err(format!("gw-{} holds {open_count} ticks of {} taken", self.index, self.open.len()));
        }
        let ticks: Vec<Tick> = self.open.drain(..self.open.len() - open_count).collect();
        // Every load has series of each class.
        let is_written = batches.iter().all(|(first, end)| first < end);
        if !is_written && (ticks.len() as u64) > missed_count {
            let count = ticks.len();
            return Err(format!("gw-{} dropped {count} ticks and says that it missed {missed_count}", self.index));
        }
        // A step that both wrote and lost does not say which: it owes none of them.
        if is_written && missed_count == 0 {
            self.appended.push(Committed { journal: journal.id(), batches, ticks });
        }
        Ok(())
    }

    fn note_committed(&mut self) {
        let journal = self.agent.as_ref().expect("called after a step").journal();
        let durable = Stream::table(|stream| journal.durable(stream));
        self.known = Some((journal.id(), durable));
        self.journals.insert(journal.id());
        let durable = Class::ALL.map(|class| journal.durable(Stream::raw(class)));
        let end = self.appended.partition_point(|appended| {
            appended.batches.iter().zip(durable).all(|((_, end), durable)| *end <= durable)
        });
        self.committed.extend(self.appended.drain(..end));
    }

    /// A power cut may cost what was sampled since the last commit, and on a sound disk that is no older than a batch becomes.
    fn check_age(&self, now_ms: u64) -> Result<(), String> {
        let oldest = self.appended.iter().flat_map(|appended| &appended.ticks).chain(&self.open).next();
        let (Some((_, at)), Some(well_at_ms)) = (oldest, self.well_at_ms) else { return Ok(()) };
        let since_ms = self.world_ms(*at).max(well_at_ms + MEND_MS);
        let age_ms = now_ms.saturating_sub(since_ms);
        if age_ms > self.batch_age_max().0 {
            return Err(format!("gw-{} has a tick of {age_ms} ms in memory alone", self.index));
        }
        Ok(())
    }
}
