//! Short lines on stderr: `level message key=value`. The service manager adds the time.
//!
//! ```text
//! info device is online name=gw-1
//! warn peer refused address=192.0.2.7:40122 reason="no such token"
//! ```

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::sync::Mutex;

use query::render::printable;
use wire::time::{Instant, Span};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A person must act.
    Error,
    /// As it should be.
    Info,
    /// Something was refused or failed, and the process goes on by itself.
    Warn,
}

/// Lines of [`Limited`] within [`BUDGET_PERIOD`].
const BUDGET_COUNT: u32 = 20;

const BUDGET_PERIOD: Span = Span::seconds(10);

/// Writes one line. A log that cannot be written is no reason to stop.
pub fn write(level: Level, message: &str, pairs: &[(&str, &dyn Display)]) {
    let _ = std::io::stderr().write_all(line(level, message, pairs).as_bytes());
}

/// Lines that others can cause, so many and no more: they fill no disk.
#[derive(Debug, Default)]
pub struct Limited {
    budget: Mutex<Budget>,
}

impl Limited {
    /// Writes one line, or leaves it out; what was left out is counted and said later.
    pub fn write(&self, now: Instant, level: Level, message: &str, pairs: &[(&str, &dyn Display)]) {
        let left_out_count = self.budget.lock().expect("a panic ends the process").take(now);
        if let Some(count) = left_out_count.filter(|count| *count > 0) {
            write(Level::Warn, "lines were left out, there were too many", &[("count", &count)]);
        }
        if left_out_count.is_some() {
            write(level, message, pairs);
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

impl Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Info => "info",
            Level::Warn => "warn",
        })
    }
}

fn line(level: Level, message: &str, pairs: &[(&str, &dyn Display)]) -> String {
    let mut line = format!("{level} {}", printable(message));
    for (key, value) in pairs {
        let value = printable(&value.to_string());
        // Writing to a string does not fail.
        let _ = if value.is_empty() || value.contains([' ', '"', '=']) {
            write!(line, " {key}=\"{}\"", value.replace('"', "\\\""))
        } else {
            write!(line, " {key}={value}")
        };
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_blanks_is_quoted_and_no_value_breaks_the_line() {
        let line = line(Level::Warn, "refused", &[("name", &"gw-1"), ("why", &"a \"b\"\n\u{1b}[2J"), ("none", &"")]);
        assert_eq!(line, "warn refused name=gw-1 why=\"a \\\"b\\\"\\n\\u{1b}[2J\" none=\"\"\n");
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let mut budget = Budget::default();
        let written = (0..100).filter(|_| budget.take(Instant(5)).is_some()).count();
        assert_eq!(written, BUDGET_COUNT as usize);
        assert_eq!(budget.take(Instant(5) + BUDGET_PERIOD), Some(100 - BUDGET_COUNT));
        assert_eq!(budget.take(Instant(6) + BUDGET_PERIOD), Some(0));
    }
}
