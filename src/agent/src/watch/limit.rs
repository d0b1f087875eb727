//! How fast anomalies and troubles are said: a handful at once, then one an hour, and how many were not. A trouble that lasts waits until it
//! may be said.
//!
//! A machine that breaks has many at a time, and the first ones tell what it is. A link that costs bears so many.

use wire::time::{Instant, Span};

/// Said at once.
const BURST: u32 = 8;

/// One more each.
const REFILL: Span = Span::minutes(60);

/// How long after the first one that was not said it is told how many there were.
const SETTLE: Span = Span::minutes(60);

/// What may be said.
#[derive(Debug, Default)]
pub struct Limit {
    used_count: u32,
    refilled_at: Instant,
    unsaid_count: u32,
    told_at: Instant,
}

impl Limit {
    /// Whether one more may be said now.
    pub fn admits(&mut self, now: Instant) -> bool {
        let refill_count = (now - self.refilled_at).0 / REFILL.0;
        self.refilled_at = self.refilled_at + Span(refill_count * REFILL.0);
        self.used_count = self.used_count.saturating_sub(u32::try_from(refill_count).unwrap_or(u32::MAX));
        if self.used_count == 0 {
            self.refilled_at = now;
        }
        let is_admitted = self.used_count < BURST;
        self.used_count += u32::from(is_admitted);
        is_admitted
    }

    /// One was not said, and will not be.
    pub fn count(&mut self, now: Instant) {
        if self.unsaid_count == 0 {
            self.told_at = now + SETTLE;
        }
        self.unsaid_count = self.unsaid_count.saturating_add(1);
    }

    /// How many were not said, when it is time to tell.
    pub fn poll(&mut self, now: Instant) -> Option<u32> {
        let is_due = self.unsaid_count > 0 && self.told_at <= now;
        is_due.then(|| std::mem::take(&mut self.unsaid_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: u64) -> Instant {
        Instant(minute * 60_000)
    }

    fn is_said(limit: &mut Limit, now: Instant) -> bool {
        let is_admitted = limit.admits(now);
        if !is_admitted {
            limit.count(now);
        }
        is_admitted
    }

    #[test]
    fn a_storm_is_a_handful_and_a_number() {
        let mut limit = Limit::default();
        let said = (0..100).filter(|_| is_said(&mut limit, minute(500))).count();
        assert_eq!(
            (said, limit.poll(minute(559)), limit.poll(minute(560)), limit.poll(minute(561))),
            (8, None, Some(92), None)
        );
    }

    #[test]
    fn what_never_ends_is_said_once_an_hour() {
        let mut limit = Limit::default();
        let mut told = 0;
        let said = (0..24 * 60).filter(|at| {
            told += limit.poll(minute(*at)).unwrap_or_default();
            is_said(&mut limit, minute(*at))
        });
        let said = said.count() as u32;
        assert!((8 + 22..=8 + 24).contains(&said), "{said}");
        assert!(told > 24 * 60 - said - 61, "{told}");
    }
}
