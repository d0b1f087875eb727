//! How good the link is: its tier, from what the interface is, what the modem says, and what is measured.
//!
//! | tier | entered above | left below | ceiling of |
//! |---|---|---|---|
//! | wired | 1 Mbit/s, unmetered | 600 kbit/s | what is unmetered |
//! | LTE | 256 kbit/s | 160 kbit/s | what is metered |
//! | 3G | 64 kbit/s | 40 kbit/s | UMTS, HSPA |
//! | EDGE | 8 kbit/s | 5 kbit/s | GSM, GPRS, EDGE |
//! | satellite | | | terminals; what is slower than EDGE, or metered with round trips over 1.2 s |
//! | offline | | | three failed dials |
//!
//! A new bearer has a tier at once: what is remembered of it, else what its kind promises. From there on a tier changes by
//! measured windows of some ten seconds: down after two bad ones in a row, up after three good minutes with a margin of two
//! over what the better tier is left at. One round trip changes nothing. On an idle link nothing is measured that could prove
//! a better tier, so one that is calm for long is tried in the next better one, at pauses that double when that was wrong.
//!
//! Source of the numbers: measurements of real links in the design's tables; GPRS gives 20 to 40 kbit/s, EDGE 60 to 130 up.

pub mod memory;

use core::fmt;

use serde::{Deserialize, Serialize};
use wire::time::{Instant, Span};

use self::memory::Memory;
use crate::bearer::choice::{Kind, Name};

/// How good a link is, best first. The numbers are those of kept state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tier {
    /// Everything goes, as it is sampled.
    Wired = 0,
    /// Minutes, and raw of what is critical.
    Lte = 1,
    /// Minutes.
    ThirdGeneration = 2,
    /// Five minutes.
    Edge = 3,
    /// Hours.
    Satellite = 4,
    /// Nothing goes.
    Offline = 5,
}

/// How many tiers there are.
pub const TIER_COUNT: usize = 6;

impl Tier {
    /// Every tier, best first.
    pub const ALL: [Tier; TIER_COUNT] =
        [Tier::Wired, Tier::Lte, Tier::ThirdGeneration, Tier::Edge, Tier::Satellite, Tier::Offline];

    /// Goodput in bit/s above which the tier is entered, and below which it is left.
    const fn bounds_bps(self) -> (u32, u32) {
        match self {
            Tier::Wired => (1_000_000, 600_000),
            Tier::Lte => (256_000, 160_000),
            Tier::ThirdGeneration => (64_000, 40_000),
            Tier::Edge => (8_000, 5_000),
            Tier::Satellite | Tier::Offline => (0, 0),
        }
    }

    fn better(self) -> Tier {
        Tier::ALL[(self as usize).saturating_sub(1)]
    }

    fn worse(self) -> Tier {
        Tier::ALL[(self as usize + 1).min(Tier::Satellite as usize)]
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Wired => "wired",
            Tier::Lte => "LTE",
            Tier::ThirdGeneration => "3G",
            Tier::Edge => "EDGE",
            Tier::Satellite => "satellite",
            Tier::Offline => "offline",
        })
    }
}

/// The generation of a modem's radio access technology (3GPP TS 27.007, `<AcT>` of +COPS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Technology {
    /// GSM, GPRS, EDGE: 0, 1, 3.
    Second = 0,
    /// UTRAN and HSPA: 2, 4 to 6.
    Third = 1,
    /// E-UTRAN, NR and what follows: 7 and up.
    Fourth = 2,
}

/// What is known of a bearer before anything is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its name.
    pub name: Name,
    /// Where it leads.
    pub kind: Kind,
    /// Whether bytes cost money.
    pub is_metered: bool,
    /// What the modem says, if there is one.
    pub technology: Option<Technology>,
}

/// What the link's estimator saw in one window of some ten seconds with at least one answer of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes acked in the window, as bit/s.
    pub goodput_bps: u32,
    /// Whether the sender ran out of things to send, so that the goodput is only a lower bound (BBR's rule).
    pub is_app_limited: bool,
    /// The smallest round trip in the window. The smoothed one is no witness: a full queue is not a satellite.
    pub round_trip_min_ms: u32,
    /// Of a thousand, how many frames or segments were sent again.
    pub loss_per_mille: u16,
}

/// How long windows must be bad in a row: from the end of one to the end of the next, so that it takes two.
pub const BAD_SPAN: Span = Span::seconds(10);

/// How long a better tier must be proven.
pub const GOOD_SPAN: Span = Span::minutes(3);

/// Windows with a proof that those minutes must hold: a third of them.
pub const GOOD_COUNT: u8 = 6;

/// How far above the bound at which it is left a better tier must be proven.
pub const MARGIN: u32 = 2;

/// A window with so much loss is bad: one frame in ten makes every second alert of a few frames wait for a second attempt.
pub const LOSS_BAD_PER_MILLE: u16 = 100;

/// A metered link whose smallest round trip is longer is a satellite: geostationary is 0.6 s, with a modem's queue twice that.
pub const SATELLITE_ROUND_TRIP_MS: u32 = 1200;

/// A link that was a satellite for its round trip is none when that is shorter.
pub const TERRESTRIAL_ROUND_TRIP_MS: u32 = 800;

/// After so long without a window that speaks against it, a link is tried in the next better tier.
pub const CALM_MIN: Span = Span::minutes(15);

/// What [`CALM_MIN`] doubles to when such trials end badly before as much time has passed again.
pub const CALM_MAX: Span = Span::minutes(60);

/// Failed dials in a row after which the link is offline.
pub const FAILED_DIAL_COUNT: u8 = 3;

/// The link's tier.
#[derive(Debug)]
pub struct Gauge {
    memory: Memory,
    bearer: Option<Bearer>,
    /// The tier while online.
    tier: Tier,
    failed_dial_count: u8,
    /// Since when windows are bad, and the best goodput among them.
    bad: Option<(Instant, u32)>,
    good: Option<Good>,
    /// Since when the tier is the same and no window spoke against a better one.
    calm_since: Instant,
    calm: Span,
    /// Until when the tier is on trial, when it was entered after a calm and not proven.
    trial_until: Option<Instant>,
}

/// Windows that speak for a better tier.
#[derive(Clone, Copy, Debug)]
struct Good {
    since: Instant,
    count: u8,
    /// The worst of the tiers they spoke for.
    tier: Tier,
}

/// What is wrong with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Far,
    Lossy,
    Slow,
}

const _: () = assert!(size_of::<Gauge>() <= 512);

impl Gauge {
    /// The tier of no link; what is remembered of bearers is from earlier boots.
    pub fn new(memory: Memory) -> Gauge {
        Gauge {
            memory,
            bearer: None,
            tier: Tier::Offline,
            failed_dial_count: 0,
            bad: None,
            good: None,
            calm_since: Instant(0),
            calm: CALM_MIN,
            trial_until: None,
        }
    }

    /// The tier.
    pub fn tier(&self) -> Tier {
        if self.failed_dial_count >= FAILED_DIAL_COUNT { Tier::Offline } else { self.tier }
    }

    /// What is remembered of bearers, for a journal's slot.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Another bearer is in use, or none.
    pub fn bearer(&mut self, now: Instant, bearer: Option<Bearer>) {
        self.failed_dial_count = 0;
        self.calm = CALM_MIN;
        let tier = bearer.as_ref().map_or(Tier::Offline, |bearer| {
            let remembered = self.memory.of(&bearer.name).filter(|it| it.technology == bearer.technology);
            remembered.map_or(bearer.promise(), |it| it.tier).max(bearer.ceiling())
        });
        self.bearer = bearer;
        self.enter(now, tier);
    }

    /// The modem changed its radio access technology. A worse one counts at once, a better one after three minutes.
    pub fn technology(&mut self, now: Instant, technology: Option<Technology>) {
        let Some(bearer) = self.bearer.as_mut().filter(|bearer| bearer.technology != technology) else { return };
        bearer.technology = technology;
        let (ceiling, promise) = (bearer.ceiling(), bearer.promise());
        if self.tier < ceiling {
            self.enter(now, ceiling);
        }
        if self.tier > promise {
            self.good = Some(Good { since: now, count: GOOD_COUNT, tier: promise });
        }
    }

    /// A dial failed.
    pub fn dial_failed(&mut self) {
        self.failed_dial_count = self.failed_dial_count.saturating_add(1);
    }

    /// The hub answered.
    pub fn heard(&mut self) {
        self.failed_dial_count = 0;
    }

    /// Takes one window. Says whether the tier is another one.
    pub fn window(&mut self, now: Instant, window: Window) -> bool {
        let before = self.tier();
        self.heard();
        if let Some(bearer) = self.bearer.clone() {
            self.weigh(now, &bearer, window);
            self.memory.learn(&bearer, self.tier);
        }
        self.tier() != before
    }

    fn weigh(&mut self, now: Instant, bearer: &Bearer, window: Window) {
        let is_lossy = window.loss_per_mille >= LOSS_BAD_PER_MILLE;
        let fault = if self.tier >= Tier::Satellite {
            None
        } else if bearer.is_metered && window.round_trip_min_ms > SATELLITE_ROUND_TRIP_MS {
            Some(Fault::Far)
        } else if !window.is_app_limited && window.goodput_bps < self.tier.bounds_bps().1 {
            Some(Fault::Slow)
        } else {
            is_lossy.then_some(Fault::Lossy)
        };
        if let Some(fault) = fault {
            self.fall(now, fault, window.goodput_bps);
            return;
        }
        self.bad = None;
        let is_near = !bearer.is_metered || window.round_trip_min_ms < TERRESTRIAL_ROUND_TRIP_MS;
        if self.tier == bearer.ceiling() || is_lossy || (self.tier == Tier::Satellite && !is_near) {
            self.good = None;
            self.calm_since = now;
            return;
        }
        self.rise(now, bearer, window);
    }

    /// Weighs a bad window.
    fn fall(&mut self, now: Instant, fault: Fault, goodput_bps: u32) {
        self.good = None;
        self.calm_since = now;
        let (since, best_bps) = self.bad.unwrap_or((now, 0));
        let best_bps = best_bps.max(goodput_bps);
        self.bad = Some((since, best_bps));
        if now - since < BAD_SPAN {
            return;
        }
        let is_trial = self.trial_until.is_some_and(|until| since < until);
        self.calm = if is_trial { Span((self.calm.0 * 2).min(CALM_MAX.0)) } else { CALM_MIN };
        let holds = |tier: &Tier| best_bps >= tier.bounds_bps().1;
        let tier = match fault {
            Fault::Far => Tier::Satellite,
            Fault::Lossy => self.tier.worse(),
            Fault::Slow => Tier::ALL.into_iter().find(holds).expect("a satellite holds").max(self.tier.worse()),
        };
        self.enter(now, tier);
    }

    /// Weighs a window that is not bad, below the ceiling.
    fn rise(&mut self, now: Instant, bearer: &Bearer, window: Window) {
        let is_proven = |tier: &Tier| {
            let (enter, leave) = tier.bounds_bps();
            window.goodput_bps >= enter.max(leave * MARGIN)
        };
        let proven = Tier::ALL.into_iter().find(is_proven).unwrap_or(self.tier).max(bearer.ceiling());
        if proven < self.tier {
            let good = self.good.get_or_insert(Good { since: now, count: 0, tier: proven });
            *good = Good { count: good.count.saturating_add(1), tier: good.tier.max(proven), ..*good };
        } else if !window.is_app_limited {
            self.good = None;
            self.calm_since = now;
        }
        match self.good {
            Some(good) if good.count >= GOOD_COUNT && now - good.since >= GOOD_SPAN => self.enter(now, good.tier),
            _ if now - self.calm_since >= self.calm => {
                self.enter(now, self.tier.better());
                self.trial_until = Some(now + CALM_MIN);
            }
            _ => {}
        }
    }

    fn enter(&mut self, now: Instant, tier: Tier) {
        self.tier = tier;
        self.bad = None;
        self.good = None;
        self.calm_since = now;
        self.trial_until = None;
    }
}

impl Bearer {
    /// The best tier that it can have.
    fn ceiling(&self) -> Tier {
        let money = if self.is_metered { Tier::Lte } else { Tier::Wired };
        match (self.kind, self.technology) {
            (Kind::Satellite, _) => Tier::Satellite,
            (Kind::Cellular, Some(Technology::Second)) => Tier::Edge,
            (Kind::Cellular, Some(Technology::Third)) => Tier::ThirdGeneration,
            (Kind::Cellular | Kind::Wired | Kind::Wlan, _) => money,
        }
    }

    /// The tier that it begins with. A modem that does not say what it speaks is taken for the middle of what there is: two bad
    /// windows correct it downwards in twenty seconds.
    fn promise(&self) -> Tier {
        match (self.kind, self.technology) {
            (Kind::Cellular, None) => Tier::ThirdGeneration,
            (Kind::Cellular, Some(Technology::Fourth)) => Tier::Lte,
            _ => self.ceiling(),
        }
    }
}

#[cfg(test)]
mod tests;
