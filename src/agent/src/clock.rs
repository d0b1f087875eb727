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
mod tests {
    use wire::time::BootId;

    use super::*;

    const BUILD: UnixTime = UnixTime(1_767_225_600_000);

    fn stamp(uptime: u64, unix: Option<u64>) -> Stamp {
        Stamp { boot: BootId(1), uptime: Instant(uptime), unix: unix.map(|unix| UnixTime(BUILD.0 + unix)) }
    }

    fn events(clock: &mut Clock) -> Vec<String> {
        std::iter::from_fn(|| clock.poll_event()).map(|event| event.to_string()).collect()
    }

    #[test]
    fn a_driver_that_says_nothing_of_its_clock_is_taken_at_its_word() {
        let clock = Clock::new(BUILD);
        assert_eq!(clock.civil(stamp(5, Some(7))), stamp(5, Some(7)));
        assert_eq!(clock.civil(stamp(5, None)), stamp(5, None));
    }

    #[test]
    fn a_clock_that_nothing_keeps_is_believed_from_the_hub_on() {
        let mut clock = Clock::new(BUILD);
        let reading = Reading { error_max: None, rtc: None };
        // A board that woke with the time of its image: plausible, and wrong.
        clock.read(stamp(1000, Some(5)), reading);
        assert_eq!(clock.civil(stamp(2000, Some(1005))), stamp(2000, None));
        let hub = HubTime { received: UnixTime(BUILD.0 + 900_300), held: Span(0) };
        clock.hear(Instant(3600), hub, Instant(3000));
        assert_eq!(clock.civil(stamp(4000, Some(3005))), stamp(4000, Some(901_000)));
        assert_eq!(events(&mut clock), ["the time is known, from the hub"]);
        let belief = clock.belief(Instant(4000)).unwrap();
        assert!((300..400).contains(&belief.uncertainty.0), "{belief:?}");
    }

    #[test]
    fn a_clock_that_a_service_keeps_is_the_kernel_s_whatever_the_hub_says() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, Some(50_000)), Reading { error_max: Some(Span(20)), rtc: None });
        clock.hear(Instant(1600), HubTime { received: UnixTime(BUILD.0 + 999_000), held: Span(0) }, Instant(1500));
        assert_eq!(clock.civil(stamp(2000, Some(51_000))), stamp(2000, Some(51_000)));
        let events = events(&mut clock);
        assert!(events.len() == 1 && events[0].starts_with("the clocks disagree"), "{events:?}");
    }

    const FREE: Reading = Reading { error_max: None, rtc: None };

    /// A server that says it is `unix` after the build, 200 ms away.
    fn server(heard: u64, unix: u64) -> Told {
        let there = UnixTime(BUILD.0 + unix - 100);
        let exchange = Exchange { sent: Instant(heard - 200), received: there, answered: there, heard: Instant(heard) };
        Told::Sntp { exchange, distance: Span(30) }
    }

    fn believed(clock: &Clock, now: u64) -> Option<(Source, u64)> {
        clock.belief(Instant(now)).map(|belief| (belief.source, belief.unix.0 - BUILD.0))
    }

    #[test]
    fn a_server_is_believed_until_a_receiver_and_then_the_hub_speaks() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), FREE);
        assert!(clock.wants_server(Instant(1000)));
        clock.tell(server(2000, 800_000));
        assert_eq!(believed(&clock, 2000), Some((Source::Sntp, 800_000)));
        // Half the journey, what the server may be off, and rounding.
        assert_eq!(clock.belief(Instant(2000)).unwrap().uncertainty, Span(100 + 30 + 1 + 2 + 1));
        assert!(clock.wants_server(Instant(2000)));
        let gnss = Told::Gnss { at: Instant(3000), unix: UnixTime(BUILD.0 + 800_900), uncertainty: Span(1000) };
        clock.tell(gnss);
        assert_eq!(believed(&clock, 3000), Some((Source::Gnss, 800_900)));
        assert!(!clock.wants_server(Instant(3000)));
        clock.hear(Instant(4000), HubTime { received: UnixTime(BUILD.0 + 801_900), held: Span(0) }, Instant(3800));
        assert_eq!(believed(&clock, 4000), Some((Source::Hub, 802_000)));
        assert_eq!(events(&mut clock), ["the time is known, from the SNTP"]);
    }

    #[test]
    fn of_a_server_and_a_hub_that_disagree_the_hub_is_believed() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), FREE);
        clock.hear(Instant(1200), HubTime { received: UnixTime(BUILD.0 + 900), held: Span(0) }, Instant(1000));
        clock.tell(server(2000, 500_000));
        assert_eq!(believed(&clock, 2000), Some((Source::Hub, 1800)));
        assert!(events(&mut clock)[1].starts_with("the clocks disagree"));
    }

    #[test]
    fn a_server_from_another_decade_places_nothing() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), FREE);
        clock.tell(server(2000, PLAUSIBLE_SPAN.0 + 1));
        let long_ago = Exchange {
            sent: Instant(2000),
            received: UnixTime(BUILD.0 - 1000),
            answered: UnixTime(BUILD.0 - 1000),
            heard: Instant(2200),
        };
        clock.tell(Told::Sntp { exchange: long_ago, distance: Span(0) });
        assert_eq!(clock.civil(stamp(3000, None)).unix, None);
        assert_eq!(events(&mut clock).len(), 1);
        assert!(clock.wants_server(Instant(3000)));
    }

    #[test]
    fn nobody_is_asked_while_the_kernel_s_clock_is_kept_or_the_hub_has_spoken_lately() {
        let mut clock = Clock::new(BUILD);
        assert!(!clock.wants_server(Instant(0)));
        clock.read(stamp(1000, Some(50_000)), Reading { error_max: Some(Span(20)), rtc: None });
        assert!(!clock.wants_server(Instant(1000)));
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), Reading { error_max: None, rtc: Some(UnixTime(BUILD.0 + 1)) });
        assert!(clock.wants_server(Instant(1000)));
        clock.hear(Instant(1600), HubTime { received: UnixTime(BUILD.0 + 1), held: Span(0) }, Instant(1500));
        assert!(!clock.wants_server(Instant(86_400_000)));
        assert!(clock.wants_server(Instant(2 * 86_400_000)));
    }

    #[test]
    fn a_chip_from_the_last_century_is_refused_and_said() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), Reading { error_max: None, rtc: Some(UnixTime(86_400_000)) });
        assert_eq!(clock.civil(stamp(1000, None)).unix, None);
        assert_eq!(events(&mut clock).len(), 1);
    }
}
