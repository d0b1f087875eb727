//! The world: any number of gateways, one hub, and whatever has the nearest deadline goes next.
//!
//! Nothing sleeps. An event is a moment and what happens then; equal moments happen in the order in which they were
//! planned, so equal seeds give equal histories.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use agent::agent::{Input as AgentInput, Output as AgentOutput};
use hub::fleet::{Device, Standing};
use hub::hub::{Input as HubInput, Note, Output as HubOutput, Ticket};
use hub::session::PeerId;
use store::change::Change;
use wire::stream::Stream;
use wire::time::UnixTime;

use crate::checker;
use crate::disk::Cut;
use crate::fault::{Fault, Plan};
use crate::gateway::{Gateway, Make, UNIX_START_MS};
use crate::host::Host;
use crate::net::{End, Net};
use crate::rng::Rng;

/// How long the hub's disk takes for a commit.
const COMMIT_MS: (u64, u64) = (2, 60);

/// How long a machine is off after a power cut, and a process after it was killed.
const OFF_MS: (u64, u64) = (1_000, 600_000);
const RESTART_MS: (u64, u64) = (100, 5_000);

/// How long everything may take to come to rest after the last fault.
pub const DRAIN_MS: u64 = 4 * 3_600_000;

#[derive(Debug)]
enum Happening {
    /// A gateway's tick is due.
    Tick { gateway: usize, life: u64 },
    /// A gateway's core asked to be woken.
    WakeGateway { gateway: usize, version: u64 },
    /// The hub's core asked to be woken.
    WakeHub { version: u64 },
    /// A connection stands.
    Connected { peer: PeerId },
    /// A gateway hears that nobody answers.
    Unanswered { gateway: usize, life: u64 },
    /// Bytes arrive.
    Arrive { peer: PeerId, at: End, bytes: Vec<u8> },
    /// An end hears that the other is gone.
    Gone { peer: PeerId, at: End },
    /// The hub's disk carries out a commit.
    Commit { life: u64, ticket: Ticket, changes: Vec<Change> },
    /// A gateway's machine, or only its process, starts.
    GatewayOn { gateway: usize, is_boot: bool },
    /// The hub starts.
    HubOn,
    /// A gateway learns the time.
    LearnTime { gateway: usize, boot: u32 },
    /// A fault.
    Fault(Fault),
    /// A gateway's link is back.
    LinkUp { gateway: usize },
    /// A gateway's disk is well again.
    DiskWell { gateway: usize },
    /// The last fault is over.
    Quiet,
}

#[derive(Debug)]
struct Planned {
    at_ms: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Planned) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    now_ms: u64,
    order: u64,
    planned: BinaryHeap<Reverse<Planned>>,
    rng: Rng,
    plan: Plan,
    quiet_at_ms: u64,
    net: Net,
    gateways: Vec<Gateway>,
    host: Host,
    fault_count: u64,
    trace: u64,
    /// The first record that the hub would not store: two batches under one number, or more holes than a set holds.
    refused: Option<String>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Faults that happened.
    pub fault_count: u64,
    /// Ticks that became durable on a gateway.
    pub tick_count: u64,
    /// Samples at the hub.
    pub sample_count: u64,
    /// Batches that were lost and said so.
    pub lost_count: u64,
    /// A hash over every byte sent and written.
    pub trace: u64,
}

impl World {
    /// A world of enrolled gateways in which faults happen until `quiet_at_ms`.
    pub fn new(seed: u64, makes: &[Make], plan: Plan, quiet_at_ms: u64) -> World {
        let mut rng = Rng::new(seed);
        let host = Host::new(&mut rng);
        let gateways: Vec<Gateway> =
            makes.iter().enumerate().map(|(index, make)| Gateway::new(index, *make, &mut rng)).collect();
        let mut world = World {
            now_ms: 0,
            order: 0,
            planned: BinaryHeap::new(),
            rng,
            plan,
            quiet_at_ms,
            net: Net::default(),
            gateways,
            host,
            fault_count: 0,
            trace: 0,
            refused: None,
        };
        world.after(0, Happening::HubOn);
        for gateway in 0..makes.len() {
            world.after(gateway as u64, Happening::GatewayOn { gateway, is_boot: true });
        }
        world.after(quiet_at_ms, Happening::Quiet);
        world.plan_fault();
        world
    }

    /// The gateways.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Lets everything happen until the world is at rest after its last fault, and checks it.
    ///
    /// Errors: what is wrong, in words.
    pub fn run(&mut self) -> Result<Tally, String> {
        let deadline_ms = self.quiet_at_ms + DRAIN_MS;
        while let Some(Reverse(planned)) = self.planned.pop() {
            assert!(planned.at_ms >= self.now_ms, "time does not run backwards");
            self.now_ms = planned.at_ms;
            self.happen(planned.what)?;
            if self.now_ms > self.quiet_at_ms && self.is_at_rest() {
                break;
            }
            if self.now_ms > deadline_ms {
                return Err(self.why_restless());
            }
        }
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let mut tally = checker::check(self)?;
        tally.fault_count = self.fault_count;
        tally.trace = self
            .gateways
            .iter()
            .fold(self.trace ^ self.host.disk.trace(), |trace, gateway| trace.rotate_left(7) ^ gateway.disk.trace());
        Ok(tally)
    }

    fn is_at_rest(&self) -> bool {
        self.host.running.is_some()
            && self.gateways.iter().all(|gateway| {
                gateway.agent.as_ref().is_some_and(|agent| agent.journal().backlog_count() == 0)
                    && gateway.committed.last().is_some_and(|last| last.batches.1.0 > 0)
            })
    }

    fn why_restless(&self) -> String {
        let stuck = self
            .gateways
            .iter()
            .filter(|gateway| gateway.agent.as_ref().is_none_or(|agent| agent.journal().backlog_count() > 0));
        let words: Vec<String> = stuck
            .map(|gateway| match &gateway.agent {
                None => format!("gw-{} does not run", gateway.index),
                Some(agent) => {
                    let done: Vec<String> = Stream::ALL
                        .iter()
                        .map(|stream| {
                            format!(
                                "{stream} {:?} of {}",
                                agent.journal().done(*stream),
                                agent.journal().durable(*stream)
                            )
                        })
                        .collect();
                    let link = agent.link_words();
                    format!("gw-{} waits, link {link}: {}", gateway.index, done.join(", "))
                }
            })
            .collect();
        format!("{} h after the last fault: {}", DRAIN_MS / 3_600_000, words.join("; "))
    }

    fn after(&mut self, delay_ms: u64, what: Happening) {
        self.order += 1;
        self.planned.push(Reverse(Planned { at_ms: self.now_ms + delay_ms, order: self.order, what }));
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::Tick { gateway, life } => self.tick(gateway, life),
            Happening::WakeGateway { gateway, version } => {
                if self.gateways[gateway].wake_version == version {
                    self.step_gateway(gateway, Vec::new());
                }
            }
            Happening::WakeHub { version } => {
                if self.host.wake_version == version {
                    self.step_hub(Vec::new());
                }
            }
            Happening::Connected { peer } => self.connected(peer),
            Happening::Unanswered { gateway, life } => {
                if self.gateways[gateway].life == life {
                    self.step_gateway(gateway, vec![AgentInput::Disconnected]);
                }
            }
            Happening::Arrive { peer, at, bytes } => self.arrive(peer, at, bytes),
            Happening::Gone { peer, at } => self.gone(peer, at),
            Happening::Commit { life, ticket, changes } => {
                if self.host.life == life {
                    match self.host.commit(ticket, &changes) {
                        Some(input) => self.step_hub(vec![input]),
                        None => self.hub_power_cut(),
                    }
                }
            }
            Happening::GatewayOn { gateway, is_boot } => self.gateway_on(gateway, is_boot)?,
            Happening::HubOn => self.hub_on()?,
            Happening::LearnTime { gateway, boot } => {
                if self.gateways[gateway].boot.0 == boot {
                    self.gateways[gateway].clock_error_ms.get_or_insert(0);
                }
            }
            Happening::Fault(fault) => {
                if self.now_ms < self.quiet_at_ms {
                    self.fault_count += 1;
                    self.fault(fault);
                    self.plan_fault();
                }
            }
            Happening::LinkUp { gateway } => self.gateways[gateway].is_link_up = true,
            Happening::DiskWell { gateway } => self.mend_disk(gateway),
            Happening::Quiet => {
                for gateway in 0..self.gateways.len() {
                    self.gateways[gateway].is_link_up = true;
                    self.mend_disk(gateway);
                }
            }
        }
        Ok(())
    }

    fn mend_disk(&mut self, gateway: usize) {
        self.gateways[gateway].disk.fail_one_in(0);
        self.gateways[gateway].disk.set_capacity(u64::MAX);
    }

    fn plan_fault(&mut self) {
        if let Some((pause_ms, fault)) = self.plan.next(&mut self.rng, self.gateways.len()) {
            self.after(pause_ms, Happening::Fault(fault));
        }
    }

    fn tick(&mut self, index: usize, life: u64) {
        let now_ms = self.now_ms;
        let gateway = &mut self.gateways[index];
        if gateway.life != life {
            return;
        }
        let interval_ms = gateway.make.interval.0;
        let now = gateway.stamp(now_ms);
        let input = gateway.read(now).map(AgentInput::Reading);
        self.after(interval_ms, Happening::Tick { gateway: index, life });
        self.step_gateway(index, input.into_iter().collect());
    }

    fn step_gateway(&mut self, index: usize, inputs: Vec<AgentInput>) {
        let gateway = &mut self.gateways[index];
        if gateway.agent.is_none() {
            return;
        }
        let Some(outputs) = gateway.step(self.now_ms, inputs) else { return self.gateway_power_cut(index) };
        for output in outputs {
            match output {
                AgentOutput::Dial => self.dial(index),
                AgentOutput::Send(bytes) => {
                    if let Some(peer) = self.gateways[index].peer {
                        self.say(peer, End::Gateway, &bytes);
                    }
                }
                AgentOutput::HangUp => {
                    if let Some(peer) = self.gateways[index].peer.take() {
                        self.close(peer, End::Gateway);
                    }
                }
                AgentOutput::Reading(_)
                | AgentOutput::Link(_)
                | AgentOutput::Pin(_)
                | AgentOutput::Answer { .. }
                | AgentOutput::Storage(_)
                | AgentOutput::Stopped => {}
            }
        }
        let gateway = &mut self.gateways[index];
        gateway.wake_version += 1;
        let version = gateway.wake_version;
        if let Some(at) = gateway.agent.as_ref().and_then(|agent| agent.poll_timeout()) {
            let delay_ms = gateway.world_ms(at).saturating_sub(self.now_ms).max(1);
            self.after(delay_ms, Happening::WakeGateway { gateway: index, version });
        }
    }

    fn dial(&mut self, index: usize) {
        if let Some(peer) = self.gateways[index].peer.take() {
            self.close(peer, End::Gateway);
        }
        let gateway = &self.gateways[index];
        let (life, quality) = (gateway.life, gateway.make.quality);
        if gateway.is_link_up && self.host.running.is_some() {
            let peer = self.net.connect(index, quality);
            self.gateways[index].peer = Some(peer);
            self.after(4 * quality.delay_ms, Happening::Connected { peer });
        } else if self.rng.one_in(2) {
            // The other half of the dials is not even refused.
            self.after(2 * quality.delay_ms + 1, Happening::Unanswered { gateway: index, life });
        }
    }

    fn connected(&mut self, peer: PeerId) {
        if !self.net.is_open(peer, End::Gateway) {
            return;
        }
        let Some(index) = self.net.gateway(peer) else { return };
        if self.host.running.is_none() {
            return self.gone(peer, End::Gateway);
        }
        let key = self.gateways[index].key;
        self.step_hub(vec![HubInput::Connected { peer, key }]);
        self.step_gateway(index, vec![AgentInput::Connected]);
    }

    fn say(&mut self, peer: PeerId, from: End, bytes: &[u8]) {
        for byte in bytes.iter().step_by(61) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let at = if from == End::Gateway { End::Hub } else { End::Gateway };
        for (at_ms, bytes) in self.net.say(peer, from, bytes, self.now_ms, &mut self.rng) {
            self.after(at_ms - self.now_ms, Happening::Arrive { peer, at, bytes });
        }
    }

    fn arrive(&mut self, peer: PeerId, at: End, bytes: Vec<u8>) {
        if !self.net.is_open(peer, at) {
            return;
        }
        match at {
            End::Hub => self.step_hub(vec![HubInput::Received { peer, bytes }]),
            End::Gateway => {
                if let Some(index) = self.net.gateway(peer) {
                    self.step_gateway(index, vec![AgentInput::Received(bytes)]);
                }
            }
        }
    }

    fn close(&mut self, peer: PeerId, from: End) {
        let at = if from == End::Gateway { End::Hub } else { End::Gateway };
        if let Some(at_ms) = self.net.close(peer, from, self.now_ms) {
            self.after(at_ms - self.now_ms, Happening::Gone { peer, at });
        }
    }

    fn gone(&mut self, peer: PeerId, at: End) {
        if !self.net.is_open(peer, at) {
            return;
        }
        let gateway = self.net.gateway(peer);
        self.net.closed(peer, at);
        match (at, gateway) {
            (End::Hub, _) => self.step_hub(vec![HubInput::Disconnected { peer }]),
            (End::Gateway, Some(index)) if self.gateways[index].peer == Some(peer) => {
                self.gateways[index].peer = None;
                self.step_gateway(index, vec![AgentInput::Disconnected]);
            }
            (End::Gateway, _) => {}
        }
    }

    fn step_hub(&mut self, inputs: Vec<HubInput>) {
        let mut outputs = self.host.step(self.now_ms, inputs);
        while !outputs.is_empty() {
            let mut answers = Vec::new();
            for output in outputs {
                match output {
                    HubOutput::Send { peer, bytes } => {
                        if let Some(index) = self.net.gateway(peer) {
                            self.gateways[index].note_acks(&bytes);
                        }
                        self.say(peer, End::Hub, &bytes);
                    }
                    HubOutput::Close { peer } => self.close(peer, End::Hub),
                    HubOutput::Commit { ticket, changes } => {
                        let delay_ms = self.rng.between(COMMIT_MS.0, COMMIT_MS.1);
                        let life = self.host.life;
                        self.after(delay_ms, Happening::Commit { life, ticket, changes });
                    }
                    HubOutput::Read { ticket, query } => answers.extend(self.host.read(ticket, &query)),
                    HubOutput::Note(Note::NotStored { device, reason }) => {
                        self.refused.get_or_insert(format!("{device}: {reason}"));
                    }
                    HubOutput::Reply { .. } | HubOutput::Note(_) => {}
                }
            }
            outputs = if answers.is_empty() { Vec::new() } else { self.host.step(self.now_ms, answers) };
        }
        self.host.wake_version += 1;
        let version = self.host.wake_version;
        if let Some(at) = self.host.running.as_ref().and_then(|running| running.hub.poll_timeout()) {
            self.after(at.0.saturating_sub(self.now_ms).max(1), Happening::WakeHub { version });
        }
    }

    fn gateway_on(&mut self, index: usize, is_boot: bool) -> Result<(), String> {
        let knows_time = !self.plan.forgets_time || self.rng.one_in(2);
        let learns_after_ms = self.rng.between(1_000, 7_200_000);
        let gateway = &mut self.gateways[index];
        if gateway.agent.is_some() {
            return Ok(());
        }
        if is_boot {
            gateway.power_on(self.now_ms, knows_time);
            let boot = gateway.boot.0;
            if !knows_time {
                self.after(learns_after_ms, Happening::LearnTime { gateway: index, boot });
            }
        }
        let gateway = &mut self.gateways[index];
        gateway.refill();
        if !gateway.start(self.now_ms) {
            if gateway.disk.is_dead() {
                self.gateway_power_cut(index);
            } else {
                // The disk refuses; the supervisor tries again.
                self.after(30_000, Happening::GatewayOn { gateway: index, is_boot: false });
            }
            return Ok(());
        }
        let life = gateway.life;
        checker::check_journal(gateway)?;
        self.after(1, Happening::Tick { gateway: index, life });
        Ok(())
    }

    fn hub_on(&mut self) -> Result<(), String> {
        if self.host.running.is_some() {
            return Ok(());
        }
        let rows: Vec<Change> = if self.host.life == 0 { self.enrolled() } else { Vec::new() };
        match self.host.start(self.now_ms, &rows) {
            Ok(()) => {
                checker::check_acked(self)?;
                self.step_hub(Vec::new());
                Ok(())
            }
            Err(_) if self.host.disk.is_dead() => {
                self.hub_power_cut();
                Ok(())
            }
            Err(error) => Err(format!("the hub does not start: {error}")),
        }
    }

    /// The rows of gateways that enrolled before the world began.
    fn enrolled(&self) -> Vec<Change> {
        let (mut fleet, _) = hub::fleet::Fleet::load([]);
        self.gateways
            .iter()
            .map(|gateway| {
                fleet.add_device(Device {
                    id: gateway.device,
                    name: format!("gw-{}", gateway.index),
                    group: None,
                    tags: Default::default(),
                    keys: vec![gateway.key],
                    told_key: None,
                    standing: Standing::Active,
                    enrolled: UnixTime(UNIX_START_MS),
                    heard: None,
                    journal: None,
                    backlog_count: 0,
                    clock_offset_ms: None,
                    version: String::new(),
                    hostname: String::new(),
                })
            })
            .collect()
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::PowerCut { gateway } => {
                if self.rng.one_in(3) {
                    self.gateway_power_cut(gateway);
                } else {
                    let calls = self.rng.between(1, 300);
                    self.gateways[gateway].disk.cut_after(calls);
                }
            }
            Fault::Kill { gateway } => {
                self.gateways[gateway].disk.power_cycle(Cut::Kept);
                self.gateway_ends(gateway);
                let delay_ms = self.rng.between(RESTART_MS.0, RESTART_MS.1);
                self.after(delay_ms, Happening::GatewayOn { gateway, is_boot: false });
            }
            Fault::Outage { gateway, lasts_ms, is_silent } => {
                self.gateways[gateway].is_link_up = false;
                self.after(lasts_ms, Happening::LinkUp { gateway });
                if let Some(peer) = self.gateways[gateway].peer {
                    if is_silent {
                        self.net.hang(peer);
                    } else {
                        self.gone(peer, End::Gateway);
                        self.gone(peer, End::Hub);
                    }
                }
            }
            Fault::ClockStep { gateway, by_ms } => {
                if let Some(error_ms) = &mut self.gateways[gateway].clock_error_ms {
                    *error_ms += by_ms;
                }
            }
            Fault::DiskErrors { gateway, one_in, lasts_ms } => {
                self.gateways[gateway].disk.fail_one_in(one_in);
                self.after(lasts_ms, Happening::DiskWell { gateway });
            }
            Fault::DiskFull { gateway, lasts_ms } => {
                let used_bytes = self.gateways[gateway].disk.used_bytes();
                self.gateways[gateway].disk.set_capacity(used_bytes);
                self.after(lasts_ms, Happening::DiskWell { gateway });
            }
            Fault::HubKill => {
                self.host.disk.power_cycle(Cut::Kept);
                self.hub_ends();
                let delay_ms = self.rng.between(RESTART_MS.0, RESTART_MS.1);
                self.after(delay_ms, Happening::HubOn);
            }
            Fault::HubPowerCut => {
                if self.rng.one_in(2) {
                    self.hub_power_cut();
                } else {
                    let calls = self.rng.between(1, 60);
                    self.host.disk.cut_after(calls);
                }
            }
        }
    }

    fn gateway_power_cut(&mut self, index: usize) {
        let cut = *self.rng.choose(&self.plan.cuts);
        self.gateways[index].disk.power_cycle(cut);
        if let Some(peer) = self.gateways[index].peer {
            // A machine without power says nothing more, not even good-bye.
            self.net.hang(peer);
        }
        self.gateway_ends(index);
        let delay_ms = self.rng.between(OFF_MS.0, OFF_MS.1);
        self.after(delay_ms, Happening::GatewayOn { gateway: index, is_boot: true });
    }

    fn gateway_ends(&mut self, index: usize) {
        self.gateways[index].end();
        if let Some(peer) = self.gateways[index].peer.take() {
            self.close(peer, End::Gateway);
        }
    }

    fn hub_power_cut(&mut self) {
        // redb promises nothing when neighbours of a write are garbled; a host's disk does not do that.
        let cut = *self.rng.choose(&[Cut::Dropped, Cut::Torn, Cut::Reordered, Cut::Kept]);
        self.host.disk.power_cycle(cut);
        for peer in self.net.open_at(End::Hub, None) {
            self.net.hang(peer);
        }
        self.hub_ends();
        let delay_ms = self.rng.between(OFF_MS.0, OFF_MS.1);
        self.after(delay_ms, Happening::HubOn);
    }

    fn hub_ends(&mut self) {
        self.host.end();
        for peer in self.net.open_at(End::Hub, None) {
            self.close(peer, End::Hub);
        }
    }
}
