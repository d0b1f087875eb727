//! When to dial again: exponential, with full jitter, so that a fleet does not come back in step.
//!
//! Source: Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): full jitter has the least work for a given
//! time to completion.

use wire::time::{Instant, Span};

/// The shortest bound of a pause.
pub const PAUSE_MIN: Span = Span::seconds(2);

/// The longest bound of a pause: a gateway that lost its hub for a day must be heard soon after the hub is back.
pub const PAUSE_MAX: Span = Span::minutes(15);

/// A link that lasted so long was a good one: the next pause is short again.
pub const STABLE: Span = Span::seconds(60);

/// Pauses between dials.
#[derive(Clone, Debug)]
pub struct Backoff {
    bound: Span,
    state: u64,
}

impl Backoff {
    /// A back-off that has not failed yet; `seed` differs between gateways.
    pub fn new(seed: u64) -> Backoff {
        Backoff { bound: PAUSE_MIN, state: seed | 1 }
    }

    /// When to dial after a failure at `now`: between half a second and the bound, which doubles.
    pub fn after_failure(&mut self, now: Instant) -> Instant {
        // xorshift64 (Marsaglia, 2003): jitter needs no more.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let pause = Span(500 + self.state % (self.bound.0 - 500));
        self.bound = Span((self.bound.0 * 2).min(PAUSE_MAX.0));
        now + pause
    }

    /// A link was up for `lasted`.
    pub fn after_link(&mut self, lasted: Span) {
        if lasted >= STABLE {
            self.forget();
        }
    }

    /// What failed before says nothing of the next dial.
    pub fn forget(&mut self) {
        self.bound = PAUSE_MIN;
    }

    /// Waits as long as can be: the other end said that coming back is pointless without a person's help.
    pub fn after_refusal(&mut self, now: Instant) -> Instant {
        self.bound = PAUSE_MAX;
        self.after_failure(now).max(now + Span(PAUSE_MAX.0 / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ_between_gateways() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(99));
        let mut differ = 0;
        for failure in 0..20u32 {
            let bound = (PAUSE_MIN.0 << failure.min(20)).min(PAUSE_MAX.0);
            let pauses = [&mut one, &mut other].map(|backoff| (backoff.after_failure(Instant(0)) - Instant(0)).0);
            assert!(pauses.iter().all(|pause| (500..=bound).contains(pause)), "{pauses:?} in {bound}");
            differ += u32::from(pauses[0] != pauses[1]);
        }
        assert!(differ > 15);
        one.after_link(STABLE);
        assert!(one.after_failure(Instant(0)) <= Instant(PAUSE_MIN.0));
    }
}
