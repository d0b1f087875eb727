//! Which of the machine's interfaces carries the link: one at a time, the best that works.
//!
//! ```text
//!              taken                 the hub answers
//!   Resting ----------> Trying ----------------------> Up
//!      ^                  |  ^                          |
//!      +------------------+  +--------------------------+
//!       left, see Reason        link lost or stalled
//! ```
//!
//! An interface is *usable* when it has a carrier and an address, which says nothing of the network behind it: only the hub's
//! own answers make it `Up`, so a captive portal and a half-open link are left like a dead one.
//!
//! What follows from the rules below, and is held by a test over random lives of up to four interfaces:
//!
//! - Nothing is in use only while nothing is usable, or for the minute that a bearer that keeps vanishing is damped.
//! - One that worked and falls silent is left within [`SILENCE_MAX`] of its first overdue answer, when there is another.
//! - While one bearer works, it is up within [`SILENCE_MAX`] for each one that does not, and a damped minute.
//! - The best one that works is in use at most [`Settings::hold_max`] after it works, and the same bound.
//! - In an hour, bearers are taken at most [`TAKEN_PER_HOUR_MAX`] times for each one there is.
//!
//! The damping is that of flapping routes (RFC 2439: a penalty for each flap, forgotten after a calm quarter of an hour) with
//! the doubling of a back-off in place of the exponential decay, which needs no arithmetic to follow on paper.

pub mod choice;
pub mod estimates;

use core::fmt;

use heapless::Vec;
use link::channel::Carrier;
use wire::time::{Instant, Span};

use self::choice::{BEARER_COUNT_MAX, Choice, DEFAULT, Facts, Kind, Name, Settings, name};
use crate::budget::Limit;

/// How long a bearer that is tried may stay without any answer of the hub when there is another one: longer than a dial of
/// [60 s and a greeting of 30 s](link::client::Timing), which TCP_USER_TIMEOUT of 20 to 90 s bounds as well.
pub const SILENCE_MAX: Span = Span::seconds(120);

/// A link that lasted so long was a good one: failures before it do not count. As in [`link::backoff::STABLE`].
pub const STABLE: Span = Span::seconds(60);

/// After being up so long, a bearer has no past: the half-life that routers ship for RFC 2439, 15 minutes.
pub const CALM: Span = Span::minutes(15);

/// A bearer that failed may be taken again after this part of its hold when nothing else is there: a second for one that failed
/// once, a minute for one that fails all the time.
pub const REFUGE_PART: u64 = 64;

/// How often bearers are taken in an hour, for each one there is, at the very worst: once for each damped pause of 56 s and,
/// while the hold grows to an hour, six times more.
pub const TAKEN_PER_HOUR_MAX: usize = 72;

/// A bearer's turn: what the driver says of a link belongs to one, and is ignored when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn(pub u32);

/// What the world tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// An interface appeared or changed.
    Interface {
        /// Its name.
        name: &'a str,
        /// What holds of it now.
        facts: Facts,
    },
    /// An interface is no more.
    Gone {
        /// Its name.
        name: &'a str,
    },
    /// The hub answered: a welcome, an ack, a pong.
    Heard(Turn),
    /// A dial failed, or was never greeted.
    DialFailed(Turn),
    /// The link ended.
    LinkLost(Turn),
    /// An answer of the hub is overdue. The link is as good as lost; telling both counts twice.
    Stalled(Turn),
}

/// The bearer to use from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// For what is told of its links.
    pub turn: Turn,
    /// The interface to bind to; [`DEFAULT`] is none.
    pub name: Name,
    /// Where it leads.
    pub kind: Kind,
    /// What the link runs over.
    pub carrier: Carrier,
    /// Whether bytes cost money.
    pub is_metered: bool,
    /// What they may cost.
    pub limit: Limit,
}

/// A bearer, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The interface.
    pub name: Name,
    /// What it may cost.
    pub limit: Limit,
    /// Whether packets can leave through it.
    pub is_usable: bool,
    /// How it is.
    pub state: State,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Up { .. } => "in use",
            State::Trying { .. } => "in use, the hub has not answered yet",
            State::Resting { .. } if !self.is_usable => "without a network",
            State::Resting { failed_at: Some(_) } => "ready; it failed before",
            State::Resting { failed_at: None } => "ready",
        })
    }
}

/// Why a bearer was left or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A better one was usable for its hold.
    Better,
    /// Dials failed or links broke too often, and there is another one.
    Failing,
    /// There was none in use.
    Idle,
    /// The hub did not answer at all, and there is another one.
    Silent,
    /// The interface vanished, or lost its carrier or addresses.
    Vanished,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Better => "was worse",
            Reason::Failing => "failed",
            Reason::Idle => "was gone",
            Reason::Silent => "was silent",
            Reason::Vanished => "vanished",
        })
    }
}

/// A change: close the link there is, and dial over the new bearer at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The new one; `None` when there is nothing to dial over.
    pub to: Option<InUse>,
    /// Why.
    pub reason: Reason,
}

/// How a bearer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in use.
    Resting {
        /// When it last failed.
        failed_at: Option<Instant>,
    },
    /// In use; the hub has not answered over it, or not since the last link.
    Trying {
        /// Since when.
        since: Instant,
        /// Failures in a row.
        failure_count: u8,
        /// Whether another bearer was left that worked: then one failure is enough to go back.
        is_trial: bool,
    },
    /// In use, and the hub answers.
    Up {
        /// Since when.
        since: Instant,
        /// Failures before, which count until the link is [`STABLE`].
        failure_count: u8,
    },
}

#[derive(Clone, Debug)]
struct Bearer {
    name: Name,
    /// Its choice's place in the settings.
    choice: u8,
    /// Since when it is usable, if it is.
    usable_since: Option<Instant>,
    /// Times it was left for a fault, since the last [`CALM`].
    fault_count: u8,
    state: State,
}

/// The machine's bearers, and which one is in use.
#[derive(Debug)]
pub struct Bearers {
    settings: Settings,
    bearers: Vec<Bearer, BEARER_COUNT_MAX>,
    /// The place of the one in use.
    current: Option<usize>,
    turn: Turn,
    /// What was not polled yet.
    switch: Option<Reason>,
    ignored_count: u32,
}

const _: () = assert!(size_of::<Bearers>() <= 2048);

impl Bearers {
    /// The bearers of `settings`, before any interface is known.
    pub fn new(settings: Settings, now: Instant) -> Bearers {
        let mut bearers = Bearers {
            settings,
            bearers: Vec::new(),
            current: None,
            turn: Turn::default(),
            switch: None,
            ignored_count: 0,
        };
        if bearers.settings.choices.is_empty() {
            let default = name(DEFAULT).expect("a short word");
            let (carrier, limit) = (bearers.settings.carrier, Some(bearers.settings.limit));
            let choice = Choice { pattern: default, kind: Kind::Wired, carrier, is_metered: false, limit };
            bearers.settings.choices.push(choice).expect("the first of several");
            let facts = Facts { has_carrier: true, has_ipv4: true, has_ipv6: true };
            bearers.handle_input(now, Input::Interface { name: DEFAULT, facts });
        }
        bearers
    }

    /// Takes what the world tells.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Interface { name, facts } => self.interface(now, name, facts),
            Input::Gone { name } => self.interface(now, name, Facts::default()),
            Input::Heard(turn) => self.link(turn, |state| state.heard(now)),
            Input::DialFailed(turn) | Input::LinkLost(turn) | Input::Stalled(turn) => {
                self.link(turn, |state| state.failed(now))
            }
        }
        self.decide(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.decide(now);
    }

    /// The switch that was not told yet. Of several, the last.
    pub fn poll_output(&mut self) -> Option<Switch> {
        let reason = self.switch.take()?;
        Some(Switch { to: self.in_use(), reason })
    }

    /// When [`Bearers::handle_timeout`] may have something to decide: later than the last `now`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Some(current) = self.current else {
            return self.bearers.iter().filter_map(|bearer| self.refuge_at(bearer)).min();
        };
        let others = || self.others().map(|(_, bearer)| bearer);
        let refuge = others().filter_map(|bearer| self.refuge_at(bearer)).min();
        let better = others().filter(|bearer| bearer.rank() < self.bearers[current].rank());
        let better = better.filter_map(|bearer| self.preferred_at(bearer)).min();
        let fault = match self.bearers[current].state {
            State::Trying { failure_count, is_trial, .. } if self.is_too_many(failure_count, is_trial) => refuge,
            State::Trying { since, .. } => refuge.map(|refuge| refuge.max(since + SILENCE_MAX)),
            State::Resting { .. } | State::Up { .. } => None,
        };
        [better, fault].into_iter().flatten().min()
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether nothing is in use.
    pub fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// The bearer in use.
    pub fn in_use(&self) -> Option<InUse> {
        let bearer = &self.bearers[self.current?];
        let choice = &self.settings.choices[usize::from(bearer.choice)];
        Some(InUse {
            turn: self.turn,
            name: bearer.name.clone(),
            kind: choice.kind,
            carrier: choice.carrier,
            is_metered: choice.is_metered,
            limit: self.limit(choice),
        })
    }

    fn limit(&self, choice: &Choice) -> Limit {
        let of_all = if choice.is_metered { self.settings.limit } else { Limit::default() };
        choice.limit.unwrap_or(of_all)
    }

    /// Every interface that is or was a bearer, best first.
    pub fn list(&self) -> std::vec::Vec<Listed> {
        let mut bearers: std::vec::Vec<&Bearer> = self.bearers.iter().collect();
        bearers.sort_by_key(|bearer| bearer.rank());
        let listed = |bearer: &Bearer| Listed {
            name: bearer.name.clone(),
            limit: self.limit(&self.settings.choices[usize::from(bearer.choice)]),
            is_usable: bearer.usable_since.is_some(),
            state: bearer.state,
        };
        bearers.into_iter().map(listed).collect()
    }

    /// Inputs that meant nothing: of a turn that is over, or interfaces without room.
    pub fn ignored_count(&self) -> u32 {
        self.ignored_count
    }

    fn interface(&mut self, now: Instant, interface: &str, facts: Facts) {
        let found = self.bearers.iter().position(|bearer| bearer.name == interface);
        let Some(place) = found.or_else(|| facts.is_usable().then(|| self.add(interface)).flatten()) else { return };
        let bearer = &mut self.bearers[place];
        bearer.usable_since = facts.is_usable().then(|| bearer.usable_since.unwrap_or(now));
    }

    /// Makes room for an interface that a choice wants.
    fn add(&mut self, interface: &str) -> Option<usize> {
        let choice = self.settings.choices.iter().position(|choice| choice.is_match(interface))? as u8;
        // A name that is too long is none of the kernel's.
        let new = Bearer {
            name: name(interface)?,
            choice,
            usable_since: None,
            fault_count: 0,
            state: State::Resting { failed_at: None },
        };
        if self.bearers.is_full() {
            let unused = self.others().filter(|(_, bearer)| bearer.usable_since.is_none());
            let Some(place) = unused.max_by_key(|(_, bearer)| bearer.rank()).map(|(place, _)| place) else {
                self.ignored_count = self.ignored_count.saturating_add(1);
                return None;
            };
            self.bearers[place] = new;
            return Some(place);
        }
        self.bearers.push(new).expect("it is not full");
        Some(self.bearers.len() - 1)
    }

    /// Takes what was said of a link of `turn`.
    fn link(&mut self, turn: Turn, change: impl FnOnce(&mut Bearer)) {
        match self.current {
            Some(current) if turn == self.turn => change(&mut self.bearers[current]),
            _ => self.ignored_count = self.ignored_count.saturating_add(1),
        }
    }

    fn decide(&mut self, now: Instant) {
        if let Some(current) = self.current {
            let has_refuge = self.refuge(now).is_some();
            match self.fault(now, &self.bearers[current]) {
                Some(Reason::Vanished) => self.leave(now, current, Reason::Vanished),
                Some(reason) if has_refuge => self.leave(now, current, reason),
                _ => {}
            }
        }
        match self.current {
            None => {
                if let Some(place) = self.refuge(now) {
                    self.take(now, place, false, Reason::Idle);
                }
            }
            Some(current) => {
                if let Some(place) = self.better(now, current) {
                    let is_trial = matches!(self.bearers[current].state, State::Up { .. });
                    self.bearers[current].rest(now, None);
                    self.take(now, place, is_trial, Reason::Better);
                }
            }
        }
    }

    /// What is wrong with the bearer in use.
    fn fault(&self, now: Instant, bearer: &Bearer) -> Option<Reason> {
        match bearer.state {
            _ if bearer.usable_since.is_none() => Some(Reason::Vanished),
            State::Trying { failure_count, is_trial, .. } if self.is_too_many(failure_count, is_trial) => {
                Some(Reason::Failing)
            }
            State::Trying { since, .. } if now - since >= SILENCE_MAX => Some(Reason::Silent),
            _ => None,
        }
    }

    fn is_too_many(&self, failure_count: u8, is_trial: bool) -> bool {
        failure_count >= if is_trial { 1 } else { self.settings.failure_count_max.max(1) }
    }

    fn leave(&mut self, now: Instant, place: usize, reason: Reason) {
        self.bearers[place].rest(now, Some(now));
        self.current = None;
        self.switch = Some(reason);
    }

    fn take(&mut self, now: Instant, place: usize, is_trial: bool, reason: Reason) {
        self.bearers[place].state = State::Trying { since: now, failure_count: 0, is_trial };
        self.current = Some(place);
        self.turn = Turn(self.turn.0.wrapping_add(1));
        // Who left one bearer for a fault and took another is told of the fault.
        self.switch = Some(self.switch.take().unwrap_or(reason));
    }

    /// The bearer to go to when the one in use is no good: the best one that has not failed of late, else the one whose
    /// failure is the longest ago, so that each gets its turn.
    fn refuge(&self, now: Instant) -> Option<usize> {
        let ready = self.others().filter(|(_, bearer)| self.refuge_at(bearer).is_some_and(|at| at <= now));
        ready.min_by_key(|(_, bearer)| self.refuge_order(now, bearer)).map(|(place, _)| place)
    }

    fn refuge_order<'a>(&self, now: Instant, bearer: &'a Bearer) -> (Option<Instant>, (u8, &'a str)) {
        (bearer.failed_at().filter(|failed_at| now < *failed_at + self.hold(bearer)), bearer.rank())
    }

    /// The best bearer that is better than the one in use and was usable for its hold.
    fn better(&self, now: Instant, current: usize) -> Option<usize> {
        let better = self.others().filter(|(_, bearer)| bearer.rank() < self.bearers[current].rank());
        let better = better.filter(|(_, bearer)| self.preferred_at(bearer).is_some_and(|at| at <= now));
        better.min_by_key(|(_, bearer)| bearer.rank()).map(|(place, _)| place)
    }

    fn others(&self) -> impl Iterator<Item = (usize, &Bearer)> {
        self.bearers.iter().enumerate().filter(|(place, _)| Some(*place) != self.current)
    }

    /// From when on a bearer will do for want of another.
    fn refuge_at(&self, bearer: &Bearer) -> Option<Instant> {
        let usable_since = bearer.usable_since?;
        let rested_at = bearer.failed_at().map(|failed_at| failed_at + Span(self.hold(bearer).0 / REFUGE_PART));
        Some(rested_at.map_or(usable_since, |rested_at| rested_at.max(usable_since)))
    }

    /// From when on a bearer is preferred to a lesser one that works.
    fn preferred_at(&self, bearer: &Bearer) -> Option<Instant> {
        let usable_since = bearer.usable_since?;
        let from = bearer.failed_at().map_or(usable_since, |failed_at| failed_at.max(usable_since));
        Some(from + self.hold(bearer))
    }

    /// How long a bearer must be usable before it is preferred: doubles with each fault.
    fn hold(&self, bearer: &Bearer) -> Span {
        let doublings = u32::from(bearer.fault_count.saturating_sub(1)).min(32);
        Span(self.settings.hold.0.saturating_mul(1 << doublings).min(self.settings.hold_max.0))
    }
}

impl Bearer {
    /// The order of preference, best first.
    fn rank(&self) -> (u8, &str) {
        (self.choice, &self.name)
    }

    fn failed_at(&self) -> Option<Instant> {
        if let State::Resting { failed_at } = self.state { failed_at } else { None }
    }

    fn heard(&mut self, now: Instant) {
        if let State::Trying { failure_count, .. } = self.state {
            self.state = State::Up { since: now, failure_count };
        }
    }

    fn failed(&mut self, now: Instant) {
        self.forgive(now);
        self.state = match self.state {
            State::Resting { .. } => self.state,
            State::Trying { since, failure_count, is_trial } => {
                State::Trying { since, failure_count: failure_count.saturating_add(1), is_trial }
            }
            State::Up { since, failure_count } => {
                let before = if now - since >= STABLE { 0 } else { failure_count };
                State::Trying { since: now, failure_count: before.saturating_add(1), is_trial: false }
            }
        };
    }

    /// Is no longer in use; `failed_at`, when it was for a fault.
    fn rest(&mut self, now: Instant, failed_at: Option<Instant>) {
        self.forgive(now);
        self.fault_count = self.fault_count.saturating_add(u8::from(failed_at.is_some()));
        self.state = State::Resting { failed_at };
    }

    fn forgive(&mut self, now: Instant) {
        if matches!(self.state, State::Up { since, .. } if now - since >= CALM) {
            self.fault_count = 0;
        }
    }
}

#[cfg(test)]
mod tests;
