//! Short lines on standard error, in the same shape as the agent's: `level message key=value`.
//!
//! ```text
//! 2026-11-20T12:00:00Z info device is online name=gw-1                a terminal, a file, a container's log
//! <6>info device is online name=gw-1                                  journald, which stamps lines itself
//! ```
//!
//! journald takes the level from the number in front and hides it (`sd-daemon(3)`).
#![expect(clippy::disallowed_methods, reason = "a line outside journald carries the time at which it was written")]

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use query::render::printable;
use wire::time::{Instant, Span};

/// How much a line matters. The numbers are those of syslog (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A person must act.
    Error = 3,
    /// Something was refused or failed, and the process goes on by itself.
    Warning = 4,
    /// As it should be.
    Info = 6,
}

/// Lines of [`Limited`] within [`BUDGET_PERIOD`].
const BUDGET_COUNT: u32 = 20;

const BUDGET_PERIOD: Span = Span::seconds(10);

/// Writes one line. A log that cannot be written is no reason to stop.
pub fn write(level: Level, message: &str, pairs: &[(&str, &dyn Display)]) {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let text = line(level, message, pairs, if is_journald() { None } else { Some(unix_ms) });
    let _ = std::io::stderr().write_all(text.as_bytes());
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
            write(Level::Warning, "lines were left out, there were too many", &[("count", &count)]);
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

/// One line with its end; `unix_ms` is said in front, without it the number of the level is.
fn line(level: Level, message: &str, pairs: &[(&str, &dyn Display)], unix_ms: Option<u64>) -> String {
    let mut line = match unix_ms {
        Some(unix_ms) => format!("{} ", query::time::format(unix_ms / 1000 * 1000)),
        None => format!("<{}>", level as u8),
    };
    line.push_str(match level {
        Level::Error => "error ",
        Level::Warning => "warning ",
        Level::Info => "info ",
    });
    line.push_str(message);
    for (key, value) in pairs {
        let value = value.to_string();
        let is_plain = !value.is_empty() && !value.contains([' ', '"']) && printable(&value) == value;
        // Writing to a string does not fail.
        let _ = if is_plain { write!(line, " {key}={value}") } else { write!(line, " {key}={value:?}") };
    }
    line.push('\n');
    line
}

/// Whether standard error is the socket that systemd connected to journald: `JOURNAL_STREAM` is inherited by every
/// child, whatever its output was sent to, so the numbers in it are compared (`systemd.exec(5)`).
fn is_journald() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time_or_with_its_level_for_journald() {
        let at = Some(1_767_225_600_123);
        let pairs: [(&str, &dyn Display); 2] = [("name", &"gw-1"), ("count", &7)];
        let check = |level, at, expected| assert_eq!(line(level, "link closed", &pairs, at), expected);
        check(Level::Warning, at, "2026-01-01T00:00:00Z warning link closed name=gw-1 count=7\n");
        check(Level::Info, None, "<6>info link closed name=gw-1 count=7\n");
        check(Level::Error, None, "<3>error link closed name=gw-1 count=7\n");
    }

    #[test]
    fn a_value_with_blanks_is_quoted_and_no_value_breaks_the_line() {
        let pairs: [(&str, &dyn Display); 3] = [("why", &"a \"b\"\n\u{1b}[2J"), ("none", &""), ("name", &"x\u{202e}y")];
        let line = line(Level::Warning, "refused", &pairs, None);
        assert_eq!(line, "<4>warning refused why=\"a \\\"b\\\"\\n\\u{1b}[2J\" none=\"\" name=\"x\\u{202e}y\"\n");
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
