//! What can happen, and which of it happens in a run: so that runs differ in kind, not only in degree.

use wire::limits::EXTRACT_SPAN_MAX;

use crate::disk::{Cut, Errors};
use crate::rng::Rng;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A gateway loses power at one of its next storage calls, or now.
    PowerCut {
        /// Which.
        gateway: usize,
    },
    /// A gateway's process is killed; the machine goes on.
    Kill {
        /// Which.
        gateway: usize,
    },
    /// A gateway's link is gone for a while.
    Outage {
        /// Which.
        gateway: usize,
        /// How long.
        lasts_ms: u64,
        /// Whether the connection hangs instead of breaking.
        is_silent: bool,
    },
    /// A gateway's cable is out for a while. One that has no modem as well does not notice.
    CablePulled {
        /// Which.
        gateway: usize,
        /// How long.
        lasts_ms: u64,
    },
    /// A gateway's civil time steps.
    ClockStep {
        /// Which.
        gateway: usize,
        /// By how much.
        by_ms: i64,
    },
    /// A gateway's disk fails some calls, for a while.
    DiskErrors {
        /// Which.
        gateway: usize,
        /// Which calls.
        errors: Errors,
        /// How long.
        lasts_ms: u64,
    },
    /// A gateway's disk has no room left for a while.
    DiskFull {
        /// Which.
        gateway: usize,
        /// How long.
        lasts_ms: u64,
    },
    /// A gateway's card is copied, or put back to the copy while it is off.
    CardPutBack {
        /// Which.
        gateway: usize,
    },
    /// Some bytes of one of a gateway's volumes can never be read again.
    BadSector {
        /// Which.
        gateway: usize,
    },
    /// A gateway loses power, and both files of its journal's tail with it.
    TailsLost {
        /// Which.
        gateway: usize,
    },
    /// A gateway is too busy to take its next ticks.
    Stall {
        /// Which.
        gateway: usize,
        /// How many it misses.
        tick_count: u32,
    },
    /// Somebody at the hub asks a gateway for ticks that it may not have sent.
    Asked {
        /// Which.
        gateway: usize,
        /// How long before now they begin.
        ago_ms: u64,
        /// For how long.
        lasts_ms: u64,
    },
    /// The hub's process is killed and started again.
    HubKill,
    /// The hub's disk is copied, or put back to the copy.
    HubRestored,
    /// The hub's machine loses power at one of its next storage calls, or now.
    HubPowerCut,
}

/// A kind of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the fault of its name")]
pub enum Kind {
    PowerCut,
    Kill,
    Outage,
    ClockStep,
    DiskErrors,
    DiskFull,
    HubKill,
    HubPowerCut,
    HubRestored,
    BadSector,
    TailsLost,
    ReadErrors,
    CablePulled,
    CardPutBack,
    Stall,
    Asked,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 16] = [
        Kind::PowerCut,
        Kind::Kill,
        Kind::Outage,
        Kind::ClockStep,
        Kind::DiskErrors,
        Kind::DiskFull,
        Kind::HubKill,
        Kind::HubPowerCut,
        Kind::HubRestored,
        Kind::BadSector,
        Kind::TailsLost,
        Kind::ReadErrors,
        Kind::CablePulled,
        Kind::CardPutBack,
        Kind::Stall,
        Kind::Asked,
    ];

    /// The kinds that may cost durable batches, which are then said to be lost as damaged.
    pub const DAMAGING: [Kind; 3] = [Kind::HubRestored, Kind::BadSector, Kind::TailsLost];
}

/// Which faults a run has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What happens.
    pub kinds: Vec<Kind>,
    /// Mean time between two faults.
    pub mean_ms: u64,
    /// How a gateway's power cut treats writes in flight.
    pub cuts: Vec<Cut>,
    /// Whether a gateway that boots may not know the time at first.
    pub forgets_time: bool,
}

impl Plan {
    /// Chooses some of `kinds`.
    pub fn choose(rng: &mut Rng, kinds: &[Kind]) -> Plan {
        let mut kinds: Vec<Kind> = kinds.iter().copied().filter(|_| rng.one_in(2)).collect();
        // What a restored hub has lost its gateways send again, unless their cards have lost it as well. And a journal that loses both
        // files of its tail has its first name again: one disaster of these at a time.
        for other in [Kind::HubRestored, Kind::TailsLost] {
            let two = [Kind::CardPutBack, other];
            if two.iter().all(|kind| kinds.contains(kind)) {
                let one = *rng.choose(&two);
                kinds.retain(|kind| *kind != one);
            }
        }
        // A disk that fails may hold the newest batches once instead of twice; a garbled block on top of that is one
        // fault more than the journal promises to survive.
        let cuts: Vec<Cut> = Cut::ALL
            .into_iter()
            .filter(|cut| !(kinds.contains(&Kind::DiskErrors) && matches!(cut, Cut::Garbled(_))))
            .collect();
        Plan {
            mean_ms: *rng.choose(&[5, 15, 60]) * 60_000,
            cuts: if rng.one_in(2) { cuts } else { vec![*rng.choose(&cuts)] },
            forgets_time: rng.one_in(3),
            kinds,
        }
    }

    /// A run in which nothing happens.
    pub fn calm() -> Plan {
        Plan { kinds: Vec::new(), mean_ms: u64::MAX, cuts: vec![Cut::Kept], forgets_time: false }
    }

    /// The next fault and the pause before it; `None` when this run has none.
    pub fn next(&self, rng: &mut Rng, gateway_count: usize) -> Option<(u64, Fault)> {
        if self.kinds.is_empty() {
            return None;
        }
        let pause_ms = rng.between(1, 2 * self.mean_ms);
        let gateway = rng.below(gateway_count as u64) as usize;
        let lasts_max = *rng.choose(&[20, 600, 7200, 36_000]);
        let lasts_ms = rng.between(1, lasts_max) * 1000;
        let fault = match *rng.choose(&self.kinds) {
            Kind::PowerCut => Fault::PowerCut { gateway },
            Kind::Kill => Fault::Kill { gateway },
            Kind::Outage => Fault::Outage { gateway, lasts_ms, is_silent: rng.one_in(2) },
            Kind::CablePulled => Fault::CablePulled { gateway, lasts_ms },
            Kind::ClockStep => {
                let by_ms = rng.between(1, 48 * 3_600_000) as i64;
                Fault::ClockStep { gateway, by_ms: if rng.one_in(2) { -by_ms } else { by_ms } }
            }
            Kind::DiskErrors => {
                let errors = Errors { changes_one_in: rng.between(2, 200), looks_one_in: 0 };
                Fault::DiskErrors { gateway, errors, lasts_ms }
            }
            Kind::ReadErrors => {
                let errors = Errors { changes_one_in: 0, looks_one_in: rng.between(1, 200) };
                Fault::DiskErrors { gateway, errors, lasts_ms }
            }
            Kind::DiskFull => Fault::DiskFull { gateway, lasts_ms },
            Kind::HubKill => Fault::HubKill,
            Kind::HubPowerCut => Fault::HubPowerCut,
            Kind::HubRestored => Fault::HubRestored,
            Kind::BadSector => Fault::BadSector { gateway },
            Kind::CardPutBack => Fault::CardPutBack { gateway },
            Kind::TailsLost => Fault::TailsLost { gateway },
            Kind::Asked => {
                let lasts_ms = rng.between(1, EXTRACT_SPAN_MAX.0);
                Fault::Asked { gateway, ago_ms: lasts_ms + rng.between(0, 2 * EXTRACT_SPAN_MAX.0), lasts_ms }
            }
            Kind::Stall => Fault::Stall { gateway, tick_count: rng.between(1, 20) as u32 },
        };
        Some((pause_ms, fault))
    }
}
