//! The port to the machine: reads it when a tick is due.
//!
//! ```text
//! uptime     0        10        20        30        40        50
//! due        |         |         |         |         |         |
//! reading              [--]      [-------------]     [--]
//! tick                 10        20        missed    40          a reading that takes too long costs the next tick
//! ```
//!
//! Ticks are due at the multiples of the interval since boot, so that those of a fleet that restarts do not wander. A
//! tick that cannot be taken when it is due is counted and said, never taken late in its place.

use std::sync::Arc;
use std::time::Duration;

use agent::probe::Reading;
use hal::linux::clock::Clock;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt as _;
use wire::time::{Instant, Span};

use crate::port::Message;
use crate::sampling::Machine;
use crate::worker::{Pending, Worker};

/// When ticks are due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The interval of the settings, and how many of them there are from tick to tick.
    base: Span,
    interval: Span,
    walk_interval: Option<Span>,
    due: Instant,
    /// The multiple of its interval at which the last walk was due.
    walked: Option<u64>,
}

/// A tick that is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// When it was due.
    pub(crate) at: Instant,
    /// Ticks before it that were due since the last one and passed by.
    pub(crate) missed_count: u32,
    /// Whether to walk through all processes.
    pub(crate) is_walk: bool,
}

impl Schedule {
    /// Ticks every `interval` after `now`, with a walk every `walk_interval`.
    pub(crate) fn new(interval: Span, walk_interval: Option<Span>, now: Instant) -> Schedule {
        let due = Instant((now.0 / interval.0 + 1) * interval.0);
        Schedule { base: interval, interval, walk_interval, due, walked: None }
    }

    /// Ticks every so many intervals from `now` on.
    fn pace(&mut self, count: u8, now: Instant) {
        self.interval = Span(self.base.0 * u64::from(count.max(1)));
        self.due = Instant((now.0 / self.interval.0 + 1) * self.interval.0);
    }

    /// When the next tick is due.
    pub(crate) fn due_at(&self) -> Instant {
        self.due
    }

    /// The tick that is due at `now`, if one is.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Due> {
        if now < self.due {
            return None;
        }
        let missed_count = (now - self.due).0 / self.interval.0;
        let at = self.due + Span(missed_count * self.interval.0);
        self.due = at + self.interval;
        Some(Due { at, missed_count: missed_count.try_into().unwrap_or(u32::MAX), is_walk: self.is_walk(at) })
    }

    fn is_walk(&mut self, at: Instant) -> bool {
        let Some(walk_interval) = self.walk_interval else { return false };
        let place = at.0 / walk_interval.0;
        self.walked.replace(place) != Some(place)
    }
}

/// What a tick that was due at `due` and begun at `now` is stamped with: the moment when it was due, when the delay is
/// no more than the scheduler's. Stamps at equal distances take a bit each, others two bytes.
fn stamped(due: Instant, now: Instant, interval: Span) -> Instant {
    let tolerance_ms = (interval.0 / 100).min(10);
    if (now - due).0 <= tolerance_ms { due } else { now }
}

/// What a reading gives back: the machine, the reading, and when it began.
type Taken = (Machine, Box<Reading>, Instant);

/// Reads the machine whenever a tick is due, for as long as the core listens. `free` holds the buffers to read into, `paces` every how
/// many intervals there is to be a tick.
pub(crate) async fn run(
    mut schedule: Schedule,
    machine: Machine,
    clock: Arc<Clock>,
    (free, paces): (Receiver<Box<Reading>>, Receiver<u8>),
    core: Sender<Message>,
) {
    let worker = Worker::start("sampling");
    let mut machine = Some(machine);
    let mut pending: Option<Pending<Taken>> = None;
    let mut spare: Option<Box<Reading>> = None;
    let mut missed_count: u32 = 0;
    while !core.is_closed() {
        if let Ok(count) = paces.try_recv() {
            schedule.pace(count, clock.now().uptime);
        }
        let due = async {
            Timer::after(Duration::from_millis((schedule.due_at() - clock.now().uptime).0)).await;
            None
        };
        let taken = async {
            match &mut pending {
                Some(pending) => Some(pending.result().await),
                None => smol::future::pending().await,
            }
        };
        if let Some((idle, reading, at)) = taken.or(due).await {
            (machine, pending) = (Some(idle), None);
            if let Err(refused) = core.try_send(Message::Tick { at, reading })
                && let Message::Tick { reading, .. } = refused.into_inner()
            {
                spare = Some(reading);
                missed_count = missed_count.saturating_add(1);
            }
        }
        if let Some(tick) = schedule.take(clock.now().uptime) {
            missed_count = missed_count.saturating_add(tick.missed_count);
            spare = spare.or_else(|| free.try_recv().ok());
            match (machine.take(), spare.take()) {
                (Some(idle), Some(reading)) => {
                    let (clock, interval) = (clock.clone(), schedule.interval);
                    pending = Some(worker.run(move || take(idle, reading, tick, &clock, interval)));
                }
                (busy, unused) => {
                    (machine, spare) = (busy, unused);
                    missed_count = missed_count.saturating_add(1);
                }
            }
        }
        if missed_count > 0 && core.try_send(Message::Missed(missed_count)).is_ok() {
            missed_count = 0;
        }
    }
}

fn take(mut machine: Machine, mut reading: Box<Reading>, tick: Due, clock: &Clock, interval: Span) -> Taken {
    let at = stamped(tick.at, clock.now().uptime, interval);
    machine.read(tick.is_walk, &mut reading);
    (machine, reading, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(now_s: u64) -> Schedule {
        Schedule::new(Span::seconds(10), Some(Span::seconds(60)), Instant(now_s * 1000))
    }

    fn check(schedule: &mut Schedule, now_ms: u64, expected: Option<(u64, u32, bool)>) {
        let due = schedule.take(Instant(now_ms)).map(|due| (due.at.0 / 1000, due.missed_count, due.is_walk));
        assert_eq!(due, expected, "at {now_ms}");
    }

    #[test]
    fn ticks_are_due_at_multiples_of_the_interval() {
        let mut schedule = schedule(13);
        assert_eq!(schedule.due_at(), Instant(20_000));
        check(&mut schedule, 19_999, None);
        check(&mut schedule, 20_003, Some((20, 0, true)));
        check(&mut schedule, 20_004, None);
        check(&mut schedule, 30_000, Some((30, 0, false)));
    }

    #[test]
    fn a_slower_pace_begins_at_its_next_multiple_and_ends_with_the_next_of_the_faster() {
        let mut schedule = schedule(13);
        schedule.pace(3, Instant(14_000));
        check(&mut schedule, 20_000, None);
        check(&mut schedule, 30_000, Some((30, 0, true)));
        schedule.pace(1, Instant(31_000));
        check(&mut schedule, 40_000, Some((40, 0, false)));
    }

    #[test]
    fn what_passed_by_is_counted_and_not_taken_late() {
        let mut schedule = schedule(0);
        check(&mut schedule, 47_000, Some((40, 3, true)));
        check(&mut schedule, 49_999, None);
        check(&mut schedule, 50_000, Some((50, 0, false)));
    }

    #[test]
    fn a_walk_is_due_once_in_its_interval() {
        let mut schedule = schedule(0);
        let walks: Vec<u64> = (1..20)
            .filter(|tick| schedule.take(Instant(tick * 10_000)).unwrap().is_walk)
            .map(|tick| tick * 10)
            .collect();
        assert_eq!(walks, [10, 60, 120, 180]);
        let mut without = Schedule::new(Span::seconds(10), None, Instant(0));
        assert!((1..20).all(|tick| !without.take(Instant(tick * 10_000)).unwrap().is_walk));
    }

    #[test]
    fn a_tick_that_is_hardly_late_has_the_time_at_which_it_was_due() {
        let at = |now_ms, interval_s| stamped(Instant(20_000), Instant(now_ms), Span::seconds(interval_s)).0;
        assert_eq!(at(20_010, 10), 20_000);
        assert_eq!(at(20_011, 10), 20_011);
        assert_eq!(at(20_010, 1), 20_000);
        assert_eq!(at(25_000, 10), 25_000);
    }
}
