//! A simulated gateway: a disk, a clock, signals, and the agent's core when the power is on.

use std::collections::BTreeMap;

use agent::agent::{Input, Output, Settings};
use agent::probe::Reading;
use agent::{Agent, agent as core};
use hub::session::PeerId;
use journal::journal::Settings as JournalSettings;
use link::client::Timing;
use wire::frame::Assembler;
use wire::id::{DeviceId, JournalId, Seq};
use wire::message::{Ack, Fingerprint, Kind};
use wire::ranges::{RangeSet, SeqRange};
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use crate::disk::SimDisk;
use crate::load::{Load, Size};
use crate::net::Quality;
use crate::rng::Rng;

/// Starts after which what the disk refuses to read is given up, as the real process does.
const OPEN_PATIENCE: u32 = 20;

/// The calendar at a world's first moment, unless it says otherwise: 2026-01-01T00:00:00Z.
pub const UNIX_START: UnixTime = UnixTime(1_767_225_600_000);

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
}

/// Ticks that became durable under a range of batch numbers.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose numbers.
    pub journal: JournalId,
    /// The lowest and, exclusive, the highest.
    pub batches: (Seq, Seq),
    /// When the ticks were.
    pub ticks: Vec<(BootId, Instant)>,
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
    /// Which boot this is, and when it began.
    pub boot: BootId,
    boot_at_ms: u64,
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
    /// Everything that the hub told it is durable, ever.
    pub acked: BTreeMap<(JournalId, Stream), RangeSet>,
    uncommitted: Vec<(BootId, Instant)>,
    durable: [Seq; STREAM_COUNT],
    missed_count: u64,
    /// Starts that the disk refused, one after the other.
    refused_count: u32,
    reading: Option<Box<Reading>>,
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
            boot: BootId(0),
            boot_at_ms: 0,
            unix_start: UNIX_START,
            clock_error_ms: Some(0),
            wake_version: 0,
            life: 0,
            committed: Vec::new(),
            acked: BTreeMap::new(),
            uncommitted: Vec::new(),
            durable: [Seq(0); STREAM_COUNT],
            missed_count: 0,
            refused_count: 0,
            reading: Some(Box::new(Reading::new(4096))),
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
        self.clock_error_ms = knows_time.then_some(0);
    }

    /// The process starts. `false` when the disk does not let it.
    pub fn start(&mut self, now_ms: u64) -> bool {
        let settings = Settings {
            device: self.device,
            version: "0.1.0-sim".into(),
            hostname: format!("gw-{}", self.index),
            journal: self.make.journal,
            link: Timing::default(),
            has_hub: true,
            batch_age_max: Span(60_000.max(self.make.interval.0)),
        };
        self.life += 1;
        let seed = self.seed ^ self.life;
        let open = if self.refused_count < OPEN_PATIENCE { Agent::open } else { Agent::open_giving_up };
        self.agent = open(self.disk.folder(), settings, seed, self.stamp(now_ms)).ok();
        self.refused_count = if self.agent.is_some() { 0 } else { self.refused_count + 1 };
        if let Some(agent) = &self.agent {
            // What an opened journal holds was read back from the disk: it is durable.
            self.durable = Stream::ALL.map(|stream| agent.journal().durable(stream));
            self.missed_count = agent.missed_count();
        }
        self.agent.is_some()
    }

    /// The process is gone, and with it what was in memory alone.
    pub fn end(&mut self) {
        self.agent = None;
        self.uncommitted.clear();
        self.wake_version += 1;
        self.life += 1;
    }

    /// A reading of this moment.
    pub fn read(&mut self, now: Stamp) -> Option<Box<Reading>> {
        let mut reading = self.reading.take()?;
        self.load.render(now.boot, now.uptime, &mut reading);
        self.uncommitted.push((now.boot, now.uptime));
        Some(reading)
    }

    /// One step of the core; its outputs, unless the power went meanwhile.
    pub fn step(&mut self, now_ms: u64, inputs: Vec<Input>) -> Option<Vec<Output>> {
        let now = self.stamp(now_ms);
        let agent = self.agent.as_mut()?;
        agent.step(now, inputs);
        if self.disk.is_dead() {
            return None;
        }
        let mut outputs = Vec::new();
        while let Some(output) = agent.poll_output() {
            match output {
                core::Output::Reading(reading) => self.reading = Some(reading),
                other => outputs.push(other),
            }
        }
        self.note_commits();
        Some(outputs)
    }

    /// Whether the hub has all that is durable here, and it is not nothing.
    pub fn is_at_rest(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.journal().backlog_count() == 0)
            && self.committed.last().is_some_and(|last| last.batches.1.0 > 0)
    }

    /// What keeps the gateway from rest, in words.
    pub fn why_restless(&self) -> Option<String> {
        let Some(agent) = &self.agent else { return Some(format!("gw-{} does not run", self.index)) };
        if self.is_at_rest() {
            return None;
        }
        let journal = agent.journal();
        let done =
            Stream::ALL.map(|stream| format!("{stream} {:?} of {}", journal.done(stream), journal.durable(stream)));
        Some(format!("gw-{} waits, link {}: {}", self.index, agent.link_words(), done.join(", ")))
    }

    /// Takes a buffer back that a step did not return.
    pub fn refill(&mut self) {
        self.reading.get_or_insert_with(|| Box::new(Reading::new(4096)));
    }

    /// The hub says this to the gateway: what of it is an ack is held against the hub later.
    pub fn note_acks(&mut self, bytes: &[u8]) {
        let Some(journal) = self.agent.as_ref().map(|agent| agent.journal().id()) else { return };
        let mut assembler = Assembler::default();
        assembler.push(bytes);
        while let Ok(Some(framed)) = assembler.poll_message() {
            if framed.kind != Kind::Ack as u8 {
                continue;
            }
            let ack: Ack = link::talk::read(framed.bytes).expect("the hub says whole acks");
            let acked = self.acked.entry((journal, ack.stream)).or_default();
            let below = ack.cumulative.0.checked_sub(1).map(|last| SeqRange { first: Seq(0), last: Seq(last) });
            for range in below.into_iter().chain(ack.ranges) {
                acked.insert_range(range).expect("the hub's own set has as much room");
            }
        }
    }

    fn note_commits(&mut self) {
        let agent = self.agent.as_ref().expect("called after a step");
        let durable = agent.journal().durable(Stream::Raw);
        let before = std::mem::replace(&mut self.durable[Stream::Raw.index()], durable);
        if agent.missed_count() > self.missed_count {
            // What could not be written is said as missed, and owed by nobody.
            self.missed_count = agent.missed_count();
            self.uncommitted.clear();
        } else if agent.open_tick_count() == 0 && !agent.journal().has_uncommitted_batches() && durable > before {
            let ticks = std::mem::take(&mut self.uncommitted);
            self.committed.push(Committed { journal: agent.journal().id(), batches: (before, durable), ticks });
        }
    }
}
