//! One gateway, one hub and the link between them: the real cores, stepped whenever something is due.

mod steps;

use std::collections::BTreeMap;

use agent::Agent;
use agent::agent::{Input as AgentInput, Output as AgentOutput, Settings};
use agent::bearer::choice::Facts;
use agent::budget::Limit;
use agent::policy::Policy;
use agent::probe::Reading;
use agent::tier::Technology;
use agent::way;
use hub::fleet::{Device, Fleet};
use hub::hub::{Input as HubInput, Ticket};
use hub::session::PeerId;
use journal::Journal;
use link::channel::Carrier;
use link::client::Timing;
use link::receipt::Number;
use store::change::Change;
use wire::id::{DeviceId, Seq};
use wire::message::Fingerprint;
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use super::line::{Line, Quality};
use super::parts::Parts;
use super::samples::Samples;
use crate::agenda::Agenda;
use crate::disk::SimDisk;
use crate::gateway::UNIX_START;
use crate::host::Host;
use crate::net::End;
use crate::rng::Rng;

/// Who the gateway is.
pub(super) const DEVICE: DeviceId = DeviceId(0x0123_4567_89ab_cdef);
const KEY: Fingerprint = Fingerprint([7; 32]);

/// How long the hub's disk takes for a commit.
const COMMIT_MS: u64 = 10;

/// How old a batch of ticks becomes.
const BATCH_AGE: Span = Span::seconds(60);

/// What samples and sends.
#[derive(Debug)]
pub(super) enum Core {
    /// The agent's.
    Agent(Box<Agent>),
    /// Its parts.
    Parts(Box<Parts>),
}

impl Core {
    fn journal(&self) -> &Journal {
        match self {
            Core::Agent(agent) => agent.journal(),
            Core::Parts(parts) => &parts.recorder.journal,
        }
    }

    fn step(&mut self, now: Stamp, inputs: Vec<AgentInput>) {
        match self {
            Core::Agent(agent) => agent.step(now, inputs),
            Core::Parts(parts) => parts.step(now, inputs),
        }
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        match self {
            Core::Agent(agent) => agent.poll_output(),
            Core::Parts(parts) => parts.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Core::Agent(agent) => agent.poll_timeout(),
            Core::Parts(parts) => parts.poll_timeout(),
        }
    }
}

/// A machine that is sampled.
#[derive(Debug)]
struct Machine {
    samples: Samples,
    interval_ms: u64,
    reading: Option<Box<Reading>>,
    tick_count: u64,
    /// Ticks in no batch yet.
    open_count: u32,
    /// Ticks of each batch.
    ticks: Vec<u32>,
}

#[derive(Debug)]
enum Happening {
    Arrive { peer: PeerId, at: End, number: Option<Number>, bytes: Vec<u8> },
    Acknowledge { peer: PeerId, at: End },
    Alert,
    Change(Quality),
    Commit { ticket: Ticket, changes: Vec<Change> },
    Connected(PeerId),
    Mark(u64),
    Tick,
    WakeGateway(u64),
    WakeHub,
}

/// A batch's way: when it was appended at the gateway, and when the hub's core had it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) appended_ms: u64,
    pub(super) arrived_ms: Option<u64>,
}

/// The gateway, the hub and the link.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) line: Line,
    pub(super) core: Core,
    pub(super) host: Host,
    /// Bytes of ticks' and windows' records that the hub's core had.
    pub(super) received_bytes: u64,
    /// When the link was dialled last.
    pub(super) dialled_ms: u64,
    agenda: Agenda<Happening>,
    rng: Rng,
    machine: Option<Machine>,
    boot: BootId,
    peer: Option<PeerId>,
    peer_count: u64,
    mark_count: u64,
    wake_version: u64,
    hub_wakes_ms: Option<u64>,
    ways: [BTreeMap<Seq, Way>; STREAM_COUNT],
    /// The mean pause between two alerts, while there are any.
    alert_pause_ms: Option<u64>,
    problem: Option<String>,
}

/// The settings of an agent whose heartbeats are so far apart.
pub(super) fn settings(heartbeat: Span) -> Settings {
    Settings {
        device: DEVICE,
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: "gw-0123".into(),
        build: UnixTime(0),
        journal: Default::default(),
        link: Timing::default(),
        has_hub: true,
        interval: Span::seconds(10),
        way: Box::new(way::Settings::simple((BATCH_AGE, BATCH_AGE), heartbeat, Limit::default())),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
    }
}

/// The clock of a boot.
pub(super) fn stamp(boot: BootId, now_ms: u64) -> Stamp {
    Stamp { boot, uptime: Instant(now_ms), unix: Some(UnixTime(UNIX_START.0 + now_ms)) }
}

impl Stage {
    /// A gateway that the hub knows, at the first moment of the world.
    pub(super) fn new(
        core: Core,
        boot: BootId,
        quality: Quality,
        carrier: Carrier,
        seed: u64,
    ) -> Result<Stage, String> {
        let mut rng = Rng::new(seed);
        let mut host = Host::new(&mut rng);
        let (mut fleet, _) = Fleet::load([]);
        let device = Device { keys: vec![KEY], enrolled: UNIX_START, ..Device::new(DEVICE, "gw-0123".into()) };
        host.start(0, &[fleet.add_device(device)])?;
        let mut stage = Stage {
            line: Line::new(quality, carrier, rng.split()),
            core,
            host,
            received_bytes: 0,
            dialled_ms: 0,
            agenda: Agenda::default(),
            rng,
            machine: None,
            boot,
            peer: None,
            peer_count: 0,
            mark_count: 0,
            wake_version: 0,
            hub_wakes_ms: None,
            ways: Default::default(),
            alert_pause_ms: None,
            problem: None,
        };
        stage.step_hub(Vec::new());
        stage.step_gateway(Vec::new());
        Ok(stage)
    }

    /// A gateway with the agent's core on this disk.
    pub(super) fn with_agent(
        disk: &SimDisk,
        settings: Settings,
        boot: BootId,
        quality: Quality,
        carrier: Carrier,
        seed: u64,
    ) -> Result<Stage, String> {
        let agent = Agent::open(disk.folder(), settings, seed, stamp(boot, 0)).map_err(|error| error.to_string())?;
        Stage::new(Core::Agent(Box::new(agent)), boot, quality, carrier, seed)
    }

    /// Whether the gateway dials, or has a link.
    pub(super) fn has_session(&self) -> bool {
        self.peer.is_some()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.agenda.now_ms()
    }

    /// The gateway's clock.
    pub(super) fn now(&self) -> Stamp {
        stamp(self.boot, self.now_ms())
    }

    pub(super) fn journal(&self) -> &Journal {
        self.core.journal()
    }

    /// Samples from the next moment on.
    pub(super) fn sample(&mut self, samples: Samples, interval: Span) {
        let reading = Some(Box::new(Reading::new(4096)));
        let interval_ms = interval.0;
        let machine = Machine { samples, interval_ms, reading, tick_count: 0, open_count: 0, ticks: Vec::new() };
        self.machine = Some(machine);
        self.agenda.after(1, Happening::Tick);
    }

    /// Takes no more samples.
    pub(super) fn stop_sampling(&mut self) {
        if let Some(machine) = &mut self.machine {
            machine.interval_ms = 0;
        }
    }

    /// How many ticks were taken, and how many are in each batch that was written.
    pub(super) fn ticks(&self) -> (u64, &[u32]) {
        self.machine.as_ref().map_or((0, &[]), |machine| (machine.tick_count, &machine.ticks))
    }

    /// Raises alerts from now on, at random times.
    pub(super) fn raise_alerts(&mut self, mean_pause: Span) {
        self.alert_pause_ms = Some(mean_pause.0);
        self.plan_alert();
    }

    /// Raises no more.
    pub(super) fn raise_no_alerts(&mut self) {
        self.alert_pause_ms = None;
    }

    /// Raises one alert: whatever the core says urgently is as good as any other.
    pub(super) fn alert(&mut self) {
        self.step_gateway(vec![AgentInput::Missed(1)]);
    }

    fn plan_alert(&mut self) {
        if let Some(mean_ms) = self.alert_pause_ms {
            let pause_ms = self.rng.between(1, 2 * mean_ms);
            self.agenda.after(pause_ms, Happening::Alert);
        }
    }

    /// Only this interface is usable from now on, with such a modem behind it, if any, and the link is of this quality.
    pub(super) fn switch(&mut self, names: &[&str], usable: &str, modem: Option<Technology>, quality: Quality) {
        self.line.change(quality, self.agenda.now_ms());
        let facts = |name: &str| Facts { has_carrier: name == usable, has_ipv4: true, has_ipv6: false };
        let told = |name: &&str| AgentInput::Interface { name: (*name).into(), facts: Some(facts(name)) };
        self.step_gateway(names.iter().map(told).collect());
        self.step_gateway(vec![AgentInput::Technology(modem)]);
    }

    /// What the agent samples and sends now.
    pub(super) fn policy(&self) -> Option<&Policy> {
        if let Core::Agent(agent) = &self.core { Some(agent.policy()) } else { None }
    }

    /// Goes on over a link of this quality later.
    pub(super) fn change_after(&mut self, pause: Span, quality: Quality) {
        self.agenda.after(pause.0, Happening::Change(quality));
    }

    /// Batches of a stream that were appended since the stage was set.
    pub(super) fn ways(&self, stream: Stream) -> impl Iterator<Item = Way> {
        self.ways[stream.index()].values().copied()
    }

    /// Lets so much time pass.
    ///
    /// Errors: what went wrong, in words.
    pub(super) fn run_for(&mut self, span: Span) -> Result<(), String> {
        self.mark_count += 1;
        let mark = self.mark_count;
        self.agenda.after(span.0, Happening::Mark(mark));
        loop {
            let what = self.agenda.advance().ok_or("nothing is planned")?;
            if matches!(what, Happening::Mark(reached) if reached == mark) {
                return Ok(());
            }
            self.happen(what)?;
        }
    }

    /// Lets time pass until it `is_over`; returns how much did, in ms.
    ///
    /// Errors: it takes longer than `most`, or something went wrong.
    pub(super) fn run_until(&mut self, most: Span, is_over: impl Fn(&Stage) -> bool) -> Result<u64, String> {
        let begin_ms = self.now_ms();
        while !is_over(self) {
            if self.now_ms() - begin_ms > most.0 {
                let (waiting, hours) = (self.journal().backlog_count(), most.0 / 3_600_000);
                return Err(format!("not over after {hours} h: {waiting} batches wait"));
            }
            let what = self.agenda.advance().ok_or("nothing is planned")?;
            self.happen(what)?;
        }
        Ok(self.now_ms() - begin_ms)
    }

    /// Whether the hub has said of everything that it is durable.
    pub(super) fn is_drained(&self) -> bool {
        self.journal().backlog_count() == 0
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::Arrive { peer, at, number, bytes } => self.arrive(peer, at, number, bytes),
            Happening::Acknowledge { peer, at } if self.peer == Some(peer) => {
                self.line.acknowledge(at, self.agenda.now_ms());
            }
            Happening::Alert if self.alert_pause_ms.is_some() => {
                self.alert();
                self.plan_alert();
            }
            Happening::Change(quality) => self.line.change(quality, self.agenda.now_ms()),
            Happening::Commit { ticket, changes } => {
                let committed = self.host.commit(ticket, &changes).ok_or("the hub's disk has no power")?;
                self.step_hub(vec![committed]);
            }
            Happening::Connected(peer) if self.peer == Some(peer) => {
                let carrier = self.line.carrier();
                if carrier == Carrier::Stream {
                    self.step_hub(vec![HubInput::Connected { peer, key: KEY, datagram_key: None, carrier }]);
                }
                self.step_gateway(vec![AgentInput::Connected(carrier)]);
            }
            Happening::Tick => self.tick()?,
            Happening::WakeGateway(version) if version == self.wake_version => self.step_gateway(Vec::new()),
            Happening::WakeHub if self.hub_wakes_ms == Some(self.now_ms()) => self.step_hub(Vec::new()),
            Happening::Acknowledge { .. }
            | Happening::Alert
            | Happening::Connected(_)
            | Happening::Mark(_)
            | Happening::WakeGateway(_)
            | Happening::WakeHub => {}
        }
        self.problem.take().map_or(Ok(()), Err)
    }

    fn tick(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(machine) = self.machine.as_mut().filter(|machine| machine.interval_ms > 0) else { return Ok(()) };
        self.agenda.after(machine.interval_ms, Happening::Tick);
        machine.tick_count += 1;
        machine.open_count += 1;
        let mut reading = machine.reading.take().ok_or("the core keeps a reading")?;
        machine.samples.render(&mut reading);
        self.step_gateway(vec![AgentInput::Reading { at: now.uptime, reading }]);
        Ok(())
    }

    /// A tick of a gateway of parts, from now on every `interval`, for `span`.
    pub(super) fn record_for(&mut self, span: Span, interval: Span) -> Result<(), String> {
        let end_ms = self.now_ms() + span.0;
        while self.now_ms() < end_ms {
            let now = self.now();
            if let Core::Parts(parts) = &mut self.core {
                parts.recorder.tick(now).map_err(|error| error.to_string())?;
            }
            self.step_gateway(Vec::new());
            self.run_for(interval)?;
        }
        Ok(())
    }
}
