//! Who may tell the time, and how exact that is.

use core::fmt;

use heapless::Vec;
use wire::time::{Instant, Span, UnixTime};

/// How fast uptime drifts against true time, parts per million: 50 for a cheap crystal over its range of temperature, and
/// 15 that a daemon may still slew (the frequency tolerance PHI of RFC 5905).
pub const DRIFT_PPM: u64 = 50 + 15;

/// Exchanges that are remembered: the stages of NTP's clock filter (RFC 5905 section 10).
pub const EXCHANGE_COUNT_MAX: usize = 8;

/// Milliseconds that rounding may cost: each of four timestamps is cut to one.
const ROUNDING_MS: u64 = 2;

/// Who tells the time, most trusted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The kernel's clock while something disciplines it.
    Kernel = 0,
    /// The hub, whose key is pinned.
    Hub = 1,
    /// A receiver of satellites.
    Gnss = 2,
    /// A time server.
    Sntp = 3,
    /// The network, through the modem.
    Modem = 4,
    /// The machine's real-time clock.
    Rtc = 5,
}

/// How many sources there are.
pub const SOURCE_COUNT: usize = 6;

impl Source {
    /// Every source, most trusted first.
    pub const ALL: [Source; SOURCE_COUNT] =
        [Source::Kernel, Source::Hub, Source::Gnss, Source::Sntp, Source::Modem, Source::Rtc];

    /// The source's bit in a set of them.
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A question for the time and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the question left, here.
    pub sent: Instant,
    /// When it arrived, there.
    pub received: UnixTime,
    /// When the answer left, there.
    pub answered: UnixTime,
    /// When it arrived, here.
    pub heard: Instant,
}

impl Exchange {
    /// What follows from it: the middle of the journey, give or take half of it, whatever way is the longer one.
    /// `None` when no journey took that long.
    pub fn estimate(&self) -> Option<Estimate> {
        let round_trip_ms = self.heard.0.checked_sub(self.sent.0)?;
        let worked_ms = self.answered.0.checked_sub(self.received.0)?;
        // The two clocks may have cut differently.
        let journey_ms = round_trip_ms.saturating_add(1).checked_sub(worked_ms)?;
        let there_ms = i128::from(self.received.0) - i128::from(self.sent.0);
        let back_ms = i128::from(self.answered.0) - i128::from(self.heard.0);
        let uncertainty_ms = journey_ms.div_ceil(2) + drift_ms(round_trip_ms) + ROUNDING_MS;
        let offset_ms = i64::try_from((there_ms + back_ms).div_euclid(2)).ok()?;
        Some(Estimate { offset_ms, uncertainty: Span(uncertainty_ms), at: self.heard })
    }
}

/// Civil time against uptime, as a source told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Civil time less uptime.
    pub offset_ms: i64,
    /// How far it may have been off.
    pub uncertainty: Span,
    /// When.
    pub at: Instant,
}

impl Estimate {
    /// That it is `unix` at `now`.
    pub fn at(now: Instant, unix: UnixTime, uncertainty: Span) -> Estimate {
        let offset_ms = signed(unix.0).saturating_sub(signed(now.0));
        Estimate { offset_ms, uncertainty: Span(uncertainty.0.saturating_add(ROUNDING_MS)), at: now }
    }

    /// The same from a source that may itself be off by so much.
    pub(super) fn widened(self, distance: Span) -> Estimate {
        Estimate { uncertainty: Span(self.uncertainty.0.saturating_add(distance.0)), ..self }
    }

    /// The time at `now`.
    pub fn unix(&self, now: Instant) -> UnixTime {
        UnixTime(signed(now.0).saturating_add(self.offset_ms).max(0).unsigned_abs())
    }

    /// How far it may be off at `now`.
    pub fn uncertainty(&self, now: Instant) -> Span {
        Span(self.uncertainty.0.saturating_add(drift_ms((now - self.at).0)))
    }

    /// The earliest offset that it allows.
    pub(super) fn earliest_ms(&self, now: Instant) -> i64 {
        self.offset_ms.saturating_sub(signed(self.uncertainty(now).0))
    }

    /// Whether the offset may be so much.
    pub(super) fn allows(&self, offset_ms: i64, now: Instant) -> bool {
        self.offset_ms.abs_diff(offset_ms) <= self.uncertainty(now).0
    }

    /// Whether both may be right.
    pub(super) fn agrees(&self, other: &Estimate, now: Instant) -> bool {
        let both = self.uncertainty(now).0.saturating_add(other.uncertainty(now).0);
        self.offset_ms.abs_diff(other.offset_ms) <= both
    }
}

/// The last exchanges with one server, of which the quickest tells most.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    estimates: Vec<Estimate, EXCHANGE_COUNT_MAX>,
}

impl Filter {
    /// Adds an exchange. Earlier ones that contradict it are of a clock that was set since.
    pub(super) fn add(&mut self, estimate: Estimate) {
        self.estimates.retain(|earlier| earlier.agrees(&estimate, estimate.at));
        if self.estimates.is_full() {
            self.estimates.remove(0);
        }
        self.estimates.push(estimate).expect("room was made");
    }

    /// The one that is surest now.
    pub(super) fn best(&self, now: Instant) -> Option<Estimate> {
        self.estimates.iter().min_by_key(|estimate| estimate.uncertainty(now)).copied()
    }
}

fn drift_ms(elapsed_ms: u64) -> u64 {
    (u128::from(elapsed_ms) * u128::from(DRIFT_PPM)).div_ceil(1_000_000) as u64
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Kernel => "kernel",
            Source::Hub => "hub",
            Source::Gnss => "GNSS",
            Source::Sntp => "SNTP",
            Source::Modem => "modem",
            Source::Rtc => "RTC",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(sent: u64, received: u64, answered: u64, heard: u64) -> Option<(i64, u64)> {
        let exchange = Exchange {
            sent: Instant(sent),
            received: UnixTime(received),
            answered: UnixTime(answered),
            heard: Instant(heard),
        };
        exchange.estimate().map(|estimate| (estimate.offset_ms, estimate.uncertainty.0))
    }

    #[test]
    fn an_exchange_is_off_by_half_its_journey_at_most() {
        // 300 ms there, 100 ms at the server, 300 ms back; then all of the journey on one way.
        assert_eq!(estimate(1000, 50_300, 50_400, 1700), Some((49_000, 304)));
        assert_eq!(estimate(1000, 50_600, 50_700, 1700), Some((49_300, 304)));
        assert_eq!(estimate(1000, 50_000, 50_100, 1700), Some((48_700, 304)));
    }

    #[test]
    fn an_impossible_exchange_is_none() {
        assert_eq!(estimate(1000, 5000, 5100, 999), None);
        assert_eq!(estimate(1000, 5000, 4999, 1100), None);
        assert_eq!(estimate(1000, 5000, 5102, 1100), None);
        assert_eq!(estimate(0, 5000, u64::MAX, 1000), None);
        assert_eq!(estimate(0, u64::MAX, u64::MAX, 1), None);
    }

    #[test]
    fn the_quickest_exchange_holds_until_its_age_outweighs_it() {
        let of =
            |at: u64, uncertainty| Estimate { offset_ms: 5, uncertainty: Span(uncertainty), at: Instant(at * 1000) };
        let mut filter = Filter::default();
        filter.add(of(0, 20));
        filter.add(of(3600, 250));
        // 65 ppm of an hour are 234 ms.
        assert_eq!(filter.best(Instant(3_600_000)).map(|best| best.at.0), Some(3_600_000));
        filter.add(of(3600, 255));
        assert_eq!(filter.best(Instant(3_600_000)).map(|best| best.uncertainty.0), Some(250));
        // Of the last eight, however good the ninth was.
        for second in 0..EXCHANGE_COUNT_MAX as u64 {
            filter.add(of(3600 + second, 900));
        }
        assert_eq!(filter.best(Instant(3_600_000)).map(|best| best.uncertainty.0), Some(900));
        // A clock that was set there makes the others void.
        filter.add(Estimate { offset_ms: 900_000, ..of(3700, 300) });
        assert_eq!(filter.estimates.len(), 1);
    }
}
