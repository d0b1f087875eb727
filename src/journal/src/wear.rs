//! What is written to flash, and how often to commit so that a day's writes stay within their budget.
//!
//! Flash is written in whole blocks, and wears out by them: a commit of a hundred bytes costs as much as one of four
//! thousand, twice, because the tail has two files. So the way to write less is to commit less often.
//!
//! A day is one of running time, counted over restarts: no clock is believed.

use serde::{Deserialize, Serialize};
use wire::time::Span;

/// Bytes of a block: no card and no file system writes less.
pub const BLOCK_BYTES: u64 = 4096;

/// A day.
const DAY: Span = Span::minutes(24 * 60);

/// What a commit is taken to cost before any was made: a block, twice.
const COMMIT_BYTES: u64 = 2 * BLOCK_BYTES;

/// Bytes of the blocks that a write of `length` bytes at `offset` touches.
pub(crate) fn block_bytes(offset: u64, length: u64) -> u64 {
    if length == 0 { 0 } else { ((offset + length - 1) / BLOCK_BYTES - offset / BLOCK_BYTES + 1) * BLOCK_BYTES }
}

/// What was written, over all lives of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wear {
    /// Running time since the journal began, in ms.
    pub running_ms: u64,
    /// Bytes written since the journal began.
    pub written_bytes: u64,
    /// Running time of the present day, in ms.
    pub day_ms: u64,
    /// Bytes written in the present day.
    pub day_bytes: u64,
    /// Bytes written in the day before it.
    pub last_day_bytes: u64,
    /// Commits in the present day.
    commit_count: u64,
}

impl Wear {
    /// Notes that a commit was made `passed` after the one before, and that `bytes` were written meanwhile.
    pub fn note(&mut self, passed: Span, bytes: u64) {
        self.running_ms = self.running_ms.saturating_add(passed.0);
        self.written_bytes = self.written_bytes.saturating_add(bytes);
        self.day_ms = self.day_ms.saturating_add(passed.0);
        if self.day_ms >= DAY.0 {
            // A day in which nothing was committed wrote nothing.
            self.last_day_bytes = if self.day_ms < 2 * DAY.0 { self.day_bytes } else { 0 };
            (self.day_ms, self.day_bytes, self.commit_count) = (self.day_ms % DAY.0, 0, 0);
        }
        self.day_bytes = self.day_bytes.saturating_add(bytes);
        self.commit_count += 1;
    }

    /// How long to wait between two commits, between `least` and `most`: what is left of the day, divided by the commits
    /// that are left of the day's budget.
    pub fn commit_interval(&self, budget_bytes: u64, least: Span, most: Span) -> Span {
        let commit_bytes = (self.day_bytes + COMMIT_BYTES) / (self.commit_count + 1);
        let commits_left = budget_bytes.saturating_sub(self.day_bytes) / commit_bytes.max(1);
        let left_ms = DAY.0.saturating_sub(self.day_ms);
        Span((left_ms / commits_left.max(1)).clamp(least.0, most.0.max(least.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Span = Span::seconds(60);
    const MOST: Span = Span::minutes(10);

    /// Commits for some days, each of so many bytes, and returns the most that one of them wrote.
    fn worst_day(budget_bytes: u64, bytes: impl Fn(u64) -> u64) -> u64 {
        let (mut wear, mut worst) = (Wear::default(), 0);
        let mut count = 0;
        while wear.running_ms < 5 * DAY.0 {
            let interval = wear.commit_interval(budget_bytes, LEAST, MOST);
            assert!((LEAST..=MOST).contains(&interval));
            wear.note(interval, bytes(count));
            count += 1;
            worst = worst.max(wear.last_day_bytes);
        }
        worst
    }

    #[test]
    fn commits_become_rarer_until_a_day_fits_its_budget() {
        // At the shortest interval this is 47 MB a day.
        assert!(worst_day(u64::MAX, |_| 4 * 8192) > 40 << 20);
        assert!(worst_day(20 << 20, |_| 4 * 8192) <= 21 << 20);
        // One that costs more than all others together, as a fold does, is made up for.
        assert!(worst_day(20 << 20, |count| if count % 300 == 0 { 2 << 20 } else { 16_384 }) <= 23 << 20);
    }

    #[test]
    fn a_budget_that_cannot_be_kept_leaves_the_longest_interval() {
        let mut wear = Wear::default();
        wear.note(Span(0), 5 << 20);
        assert_eq!(wear.commit_interval(1 << 20, LEAST, MOST), MOST);
        assert_eq!(wear.commit_interval(0, LEAST, MOST), MOST);
        assert_eq!(Wear::default().commit_interval(u64::MAX, LEAST, MOST), LEAST);
    }

    #[test]
    fn a_day_is_one_of_running_time() {
        let mut wear = Wear::default();
        wear.note(Span::minutes(1000), 7);
        wear.note(Span::minutes(500), 5);
        assert_eq!((wear.last_day_bytes, wear.day_bytes, wear.day_ms), (7, 5, 60 * 60_000));
        wear.note(Span::minutes(3 * 24 * 60), 1);
        assert_eq!((wear.last_day_bytes, wear.day_bytes, wear.written_bytes), (0, 1, 13));
    }

    #[test]
    fn a_write_costs_the_blocks_that_it_touches() {
        assert_eq!(
            [(0, 0), (0, 1), (4095, 2), (4096, 4096), (1, 8192)].map(|(at, length)| block_bytes(at, length) / 4096),
            [0, 1, 2, 1, 3]
        );
    }
}
