//! What the hub says on standard error. Lines that others can cause are limited.

use std::sync::Mutex;

pub use hal::linux::log::{Level, write};

use hal::linux::log::Field;
use wire::time::{Instant, Span};

/// Lines of [`Limited`] within [`BUDGET_PERIOD`].
const BUDGET_COUNT: u32 = 20;

const BUDGET_PERIOD: Span = Span::seconds(10);

/// Lines that others can cause, so many and no more: they fill no disk.
#[derive(Debug, Default)]
pub struct Limited {
    budget: Mutex<Budget>,
}

impl Limited {
    /// Writes one line, or leaves it out; what was left out is counted and said later.
    pub fn write(&self, now: Instant, level: Level, message: &str, fields: &[Field<'_>]) {
        let left_out_count = self.budget.lock().expect("a panic ends the process").take(now);
        if let Some(count) = left_out_count.filter(|count| *count > 0) {
            write(Level::Warning, "lines were left out, there were too many", &[("count", &count)]);
        }
        if left_out_count.is_some() {
            write(level, message, fields);
        }
    }
}

#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    count: u32,
}

impl Budget {
    /// Whether one more line may be written now. `Some(n)` says so, and that `n` lines were left out before it.
    fn take(&mut self, now: Instant) -> Option<u32> {
        let mut left_out_count = 0;
        if self.since.is_none_or(|since| now - since >= BUDGET_PERIOD) {
            left_out_count = self.count.saturating_sub(BUDGET_COUNT);
            (self.since, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        (self.count <= BUDGET_COUNT).then_some(left_out_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let mut budget = Budget::default();
        let written = (0..100).filter(|_| budget.take(Instant(5)).is_some()).count();
        assert_eq!(written, BUDGET_COUNT as usize);
        assert_eq!(budget.take(Instant(5) + BUDGET_PERIOD), Some(100 - BUDGET_COUNT));
        assert_eq!(budget.take(Instant(6) + BUDGET_PERIOD), Some(0));
    }
}
