//! Which packets were seen: the replay window of RFC 6479, in one word.
//!
//! ```text
//! bit      127 ... 2 1 0        counter of bit n: end - 1 - n
//! meaning  seen                 what is further below is refused, because nobody remembers it
//! ```

use super::refusal::OpenError;

/// Counters below the highest that are told apart, the highest included.
pub const WINDOW_COUNT: u64 = u128::BITS as u64;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// One more than the highest counter seen.
    end: u64,
    seen: u128,
}

impl Window {
    /// The counter that comes next when nothing is lost or late.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a packet with this counter would be the first.
    pub(super) fn check(&self, counter: u64) -> Result<(), OpenError> {
        match self.end.checked_sub(counter + 1) {
            Some(depth) if depth >= WINDOW_COUNT => Err(OpenError::Late { counter, end: self.end }),
            Some(depth) if self.seen >> depth & 1 == 1 => Err(OpenError::Replayed { counter }),
            _ => Ok(()),
        }
    }

    /// Notes a counter that [`Window::check`] let through.
    pub(super) fn note(&mut self, counter: u64) {
        if let Some(advance) = (counter + 1).checked_sub(self.end) {
            let advance = u32::try_from(advance).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(advance).unwrap_or(0);
            self.end = counter + 1;
        }
        self.seen |= 1 << (self.end - 1 - counter);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_counter_passes_once_as_far_back_as_the_window_goes() {
        let mut window = Window::default();
        window.note(1000);
        assert_eq!(window.check(1000), Err(OpenError::Replayed { counter: 1000 }));
        assert_eq!(window.check(1001 - WINDOW_COUNT), Ok(()));
        assert_eq!(window.check(1000 - WINDOW_COUNT), Err(OpenError::Late { counter: 872, end: 1001 }));
        window.note(1001 - WINDOW_COUNT);
        assert!(window.check(1001 - WINDOW_COUNT).is_err());
        // The oldest falls out when the window moves on by one.
        window.note(1001);
        assert_eq!(window.check(1001 - WINDOW_COUNT), Err(OpenError::Late { counter: 873, end: 1002 }));
        assert_eq!(window.check(1000), Err(OpenError::Replayed { counter: 1000 }));
    }

    #[test]
    fn a_leap_forgets_what_it_leaps_over() {
        for leap in [1, 127, 128, 129, 1 << 32, (1 << 33) + 5, 1 << 61] {
            let mut window = Window::default();
            window.note(0);
            window.note(leap);
            assert!(window.check(0).is_err());
            assert_eq!(window.check(leap - 1).is_ok(), leap > 1, "{leap}");
            assert_eq!(window.end(), leap + 1);
        }
    }

    #[test]
    fn the_word_says_what_a_set_would_say() {
        let (mut window, mut set, mut state) = (Window::default(), BTreeSet::new(), 1u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let counter = (window.end() + (state >> 33) % 150).saturating_sub(140);
            let is_late = counter + WINDOW_COUNT < window.end();
            let passes = window.check(counter).is_ok();
            assert_eq!(passes, !is_late && !set.contains(&counter));
            if passes {
                window.note(counter);
                set.insert(counter);
            }
        }
        assert!(set.len() > 5_000, "{}", set.len());
    }
}
