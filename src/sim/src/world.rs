//! The world: any number of gateways, one hub, and whatever has the nearest deadline goes next.
//!
//! Nothing sleeps, and equal seeds give equal histories.

mod faults;
mod gateways;
mod host;
mod line;

use agent::agent::Input as AgentInput;
use hub::hub::Ticket;
use hub::session::PeerId;
use link::receipt::Number;
use store::change::Change;
use wire::time::UnixTime;

use crate::agenda::Agenda;
use crate::checker;
use crate::fault::{Fault, Plan};
use crate::gateway::{Gateway, Make};
use crate::host::Host;
use crate::load::Size;
use crate::net::{End, Net};
use crate::rng::Rng;

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
    Arrive { peer: PeerId, at: End, number: Option<Number>, bytes: Vec<u8> },
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
    /// A gateway's cable is plugged in again, or pulled.
    Plugged { gateway: usize, has_cable: bool },
    /// Somebody at the hub asks a gateway for ticks between two moments.
    Asked { gateway: usize, selector: &'static str, span_ms: (u64, u64) },
    /// A gateway goes on with a copy of another's card.
    CardCloned { from: usize, to: usize },
    /// A gateway's disk is well again.
    DiskWell { gateway: usize },
    /// The last fault is over.
    Quiet,
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    agenda: Agenda<Happening>,
    rng: Rng,
    plan: Plan,
    quiet_at_ms: u64,
    net: Net,
    gateways: Vec<Gateway>,
    host: Host,
    fault_count: u64,
    trace: u64,
    /// The first thing that was seen to be wrong, such as a record that the hub would not store: two batches under one number.
    problem: Option<String>,
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
    /// A hash over every byte sent, and written by gateways.
    pub trace: u64,
}

impl World {
    /// A world of enrolled gateways in which faults happen until `quiet_at_ms`.
    pub fn new(seed: u64, makes: &[Make], plan: Plan, quiet_at_ms: u64) -> World {
        let mut rng = Rng::new(seed);
        let mut host = Host::new(&mut rng);
        host.puts_off_rows = makes.iter().all(|make| make.size == Size::Sparse);
        let gateways: Vec<Gateway> =
            makes.iter().enumerate().map(|(index, make)| Gateway::new(index, *make, &mut rng)).collect();
        let mut world = World {
            agenda: Agenda::default(),
            rng,
            plan,
            quiet_at_ms,
            net: Net::default(),
            gateways,
            host,
            fault_count: 0,
            trace: 0,
            problem: None,
        };
        world.agenda.after(0, Happening::HubOn);
        for gateway in 0..makes.len() {
            world.agenda.after(gateway as u64, Happening::GatewayOn { gateway, is_boot: true });
        }
        world.agenda.after(quiet_at_ms, Happening::Quiet);
        world.plan_fault();
        world
    }

    /// The same world, with its first moment elsewhere on the calendar.
    pub fn beginning(mut self, unix: UnixTime) -> World {
        self.host.unix_start = unix;
        for gateway in &mut self.gateways {
            gateway.unix_start = unix;
        }
        self
    }

    /// The same world, in which gateway `to` goes on with a copy of the card of `from`, as `from` does.
    pub fn cloning(mut self, from: usize, to: usize, at_ms: u64) -> World {
        self.agenda.after(at_ms, Happening::CardCloned { from, to });
        self
    }

    /// The same world, in which the cable of a gateway is pulled until the last fault is over.
    pub fn unplugging(mut self, gateway: usize, at_ms: u64) -> World {
        self.agenda.after(at_ms, Happening::Plugged { gateway, has_cable: false });
        self
    }

    /// The same world, in which the hub asks a gateway for the ticks between two moments.
    pub fn asking(mut self, gateway: usize, at_ms: u64, selector: &'static str, span_ms: (u64, u64)) -> World {
        self.agenda.after(at_ms, Happening::Asked { gateway, selector, span_ms });
        self
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
        while let Some(what) = self.agenda.advance() {
            self.happen(what)?;
            if let Some(problem) = self.problem.take() {
                return Err(problem);
            }
            if self.now_ms() > self.quiet_at_ms && self.is_at_rest() {
                break;
            }
            if self.now_ms() > deadline_ms {
                return Err(self.why_restless());
            }
        }
        let mut tally = checker::check(self)?;
        tally.fault_count = self.fault_count;
        // Not the hub's disk: redb lays a large file out otherwise on 32 bits, where no hub runs.
        let disks = self.gateways.iter().map(|gateway| gateway.disk.trace());
        tally.trace = disks.fold(self.trace, |trace, disk| trace.rotate_left(7) ^ disk);
        Ok(tally)
    }

    /// Lets everything happen until then, and checks nothing: for those who look at what is there meanwhile.
    ///
    /// Errors: what was seen to be wrong, in words.
    pub fn run_until(&mut self, at_ms: u64) -> Result<(), String> {
        while self.now_ms() < at_ms
            && let Some(what) = self.agenda.advance()
        {
            self.happen(what)?;
        }
        self.problem.take().map_or(Ok(()), Err)
    }

    fn now_ms(&self) -> u64 {
        self.agenda.now_ms()
    }

    /// Notes that something is wrong; the run ends with it.
    fn note(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// What happens in this world.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn is_at_rest(&self) -> bool {
        self.host.running.is_some() && self.gateways.iter().all(|gateway| gateway.why_restless(&self.host).is_none())
    }

    fn why_restless(&self) -> String {
        let restless = self.gateways.iter().filter_map(|gateway| {
            let why = gateway.why_restless(&self.host)?;
            let link = gateway.agent.as_ref().map_or("none".into(), |agent| agent.link_words());
            Some(format!("gw-{}, link {link}: {why}", gateway.index))
        });
        let words: Vec<String> = restless.collect();
        format!("{} h after the last fault: {}", DRAIN_MS / 3_600_000, words.join("; "))
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
                    self.step_gateway(gateway, vec![AgentInput::Disconnected(None)]);
                }
            }
            Happening::Arrive { peer, at, number, bytes } => self.arrive(peer, at, number, bytes),
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
                if self.now_ms() < self.quiet_at_ms {
                    self.fault_count += 1;
                    self.fault(fault);
                    self.plan_fault();
                }
            }
            Happening::Asked { gateway, selector, span_ms } => self.ask(gateway, selector, span_ms),
            Happening::LinkUp { gateway } => self.link_up(gateway),
            Happening::Plugged { gateway, has_cable } => self.plug(gateway, has_cable),
            Happening::DiskWell { gateway } => self.mend_disk(gateway),
            Happening::CardCloned { from, to } => self.clone_card(from, to),
            Happening::Quiet => {
                self.host.disk.never_cut();
                for gateway in 0..self.gateways.len() {
                    self.link_up(gateway);
                    self.plug(gateway, true);
                    self.mend_disk(gateway);
                    self.lift_budget(gateway);
                }
            }
        }
        Ok(())
    }
}
