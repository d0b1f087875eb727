//! The civil clock as it is believed: the kernel's while a service keeps it right, what the hub, a receiver, a server and the
//! chip say else.
//!
//! A driver that does not say how the kernel's clock is kept, as in a container that may not ask, is taken at its word.

use wire::event::{Event, Word};
use wire::message::HubTime;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::timekeeper::source::{Exchange, Source};
use crate::timekeeper::{Belief, Bounds, Input, Outcome, PLAUSIBLE_SPAN, Timekeeper, VAGUE};

/// A disagreement of clocks that a person has to hear of.
const DISAGREEMENT_MS: u64 = 1000;

/// What the machine says of its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How far the kernel's clock may be off; `None` when nothing keeps it right.
    pub error_max: Option<Span>,
    /// What the chip with the battery says, if there is one.
    pub rtc: Option<UnixTime>,
}

/// What tells the time besides the machine and the hub, when a person has set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A receiver of satellites.
    Gnss {
        /// When it was heard.
        at: Instant,
        /// What it said.
        unix: UnixTime,
        /// How far that may be off.
        uncertainty: Span,
    },
    /// A time server.
    Sntp {
        /// The question and its answer.
        exchange: Exchange,
        /// How far the server may be off, as it says.
        distance: Span,
    },
}

/// The believed clock.
#[derive(Debug)]
pub struct Clock {
    keeper: Timekeeper,
    kernel: Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// Nobody says how it is kept.
    Unknown,
    /// A service keeps it right.
    Kept,
    /// Nothing does.
    Free,
}

impl Clock {
    /// A clock that was not set. No time before `build` is believed.
    pub fn new(build: UnixTime) -> Clock {
        let bounds = Bounds { build, last_known: None, span: PLAUSIBLE_SPAN };
        Clock { keeper: Timekeeper::new(bounds), kernel: Kernel::Unknown }
    }

    /// The stamp with the civil time that is believed.
    pub fn civil(&self, now: Stamp) -> Stamp {
        match self.kernel {
            Kernel::Unknown | Kernel::Kept => now,
            Kernel::Free => Stamp { unix: self.belief(now.uptime).map(|belief| belief.unix), ..now },
        }
    }

    /// What is believed, if anything is.
    pub fn belief(&self, now: Instant) -> Option<Belief> {
        self.keeper.belief(now)
    }

    /// The machine was asked. `now` has the kernel's civil time.
    pub fn read(&mut self, now: Stamp, reading: Reading) {
        match (reading.error_max, now.unix) {
            (Some(error_max), Some(unix)) => {
                self.kernel = Kernel::Kept;
                self.keeper.handle_input(now.uptime, Input::Kernel { unix, error_max });
            }
            _ => {
                self.kernel = Kernel::Free;
                self.keeper.handle_input(now.uptime, Input::KernelUnsynchronised);
            }
        }
        if let Some(unix) = reading.rtc {
            self.keeper.handle_input(now.uptime, Input::Rtc(unix));
        }
    }

    /// The hub told its time in answer to a question that left at `asked_at`.
    pub fn hear(&mut self, now: Instant, hub: HubTime, asked_at: Instant) {
        let answered = UnixTime(hub.received.0.saturating_add(hub.held.0));
        let exchange = Exchange { sent: asked_at, received: hub.received, answered, heard: now };
        self.keeper.handle_input(now, Input::Hub(exchange));
    }

    /// A source told the time.
    pub fn tell(&mut self, told: Told) {
        match told {
            Told::Gnss { at, unix, uncertainty } => {
                self.keeper.handle_input(at, Input::Gnss { unix, uncertainty });
            }
            Told::Sntp { exchange, distance } => {
                self.keeper.handle_input(exchange.heard, Input::Sntp { exchange, distance });
            }
        }
    }

    /// Whether a time server is worth its bytes: nothing better tells the time, or did so too long ago.
    pub fn wants_server(&self, now: Instant) -> bool {
        let is_known = |belief: Belief| belief.source < Source::Sntp && belief.uncertainty <= VAGUE;
        self.kernel == Kernel::Free && !self.belief(now).is_some_and(is_known)
    }

    /// What is worth an event, oldest first. A step is seen in the stamps.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            return Some(match self.keeper.poll_output()? {
                Outcome::Disagreed { believed, other, by_ms } if by_ms.unsigned_abs() >= DISAGREEMENT_MS => {
                    Event::ClocksDisagree { believed: name(believed), other: name(other), by_ms }
                }
                Outcome::Learned { source } if self.kernel == Kernel::Free => {
                    Event::TimeLearned { source: name(source) }
                }
                Outcome::Refused { source, .. } => Event::TimeRefused { source: name(source) },
                // What a person would not look at, or sees in the stamps.
                Outcome::Disagreed { .. } | Outcome::Learned { .. } | Outcome::Stepped { .. } => continue,
            });
        }
    }
}

fn name(source: Source) -> Word {
    source.to_string().chars().collect()
}

#[cfg(test)]
mod tests;
