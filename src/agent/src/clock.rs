//! The civil clock as it is believed: the kernel's while a service keeps it right, what the hub and the chip say else.
//!
//! A driver that does not say how the kernel's clock is kept, as in a container that may not ask, is taken at its word.

use wire::event::{Event, Word};
use wire::message::HubTime;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::timekeeper::source::{Exchange, Source};
use crate::timekeeper::{Belief, Bounds, Input, Outcome, PLAUSIBLE_SPAN, Timekeeper};

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

    #[test]
    fn a_chip_from_the_last_century_is_refused_and_said() {
        let mut clock = Clock::new(BUILD);
        clock.read(stamp(1000, None), Reading { error_max: None, rtc: Some(UnixTime(86_400_000)) });
        assert_eq!(clock.civil(stamp(1000, None)).unix, None);
        assert_eq!(events(&mut clock).len(), 1);
    }
}
