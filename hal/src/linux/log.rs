//! Short lines on standard error: `level message key=value`.
//!
//! ```text
//! 2026-11-20T12:00:00Z info link up hub=hub.example.com:7070          a terminal, a file, a container's log
//! <6>info link up hub=hub.example.com:7070                            journald, which stamps lines itself
//! ```
//!
//! journald takes the level from the number in front and hides it (`sd-daemon(3)`).

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use query::render::printable;

use super::realtime;

/// How much a line matters. The numbers are those of syslog (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something does not work until a person acts.
    Error = 3,
    /// Something was refused or does not work at the moment.
    Warning = 4,
    /// The state changed.
    Info = 6,
}

/// A word and its value.
pub type Field<'a> = (&'a str, &'a dyn Display);

/// Writes one line. A log that cannot be written is no reason to stop: nobody is left to tell.
pub fn write(level: Level, message: &str, fields: &[Field<'_>]) {
    // Not std's clock, which panics on 32-bit gateways from 2038 on.
    let unix_ms = realtime::now().map_or(0, |unix| unix.0);
    let text = line(level, message, fields, if is_journald() { None } else { Some(unix_ms) });
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// One line with its end; `unix_ms` is said in front, without it the number of the level is.
fn line(level: Level, message: &str, fields: &[Field<'_>], unix_ms: Option<u64>) -> String {
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
    for (key, value) in fields {
        let value = value.to_string();
        let has_blanks = value.contains(|c: char| c.is_whitespace() || c == '"');
        let is_plain = !value.is_empty() && !has_blanks && printable(&value) == value;
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
    fn a_line_for_people_begins_with_the_time() {
        assert_eq!(
            line(Level::Warning, "link down", &[("reason", &"no answer"), ("after_s", &7)], Some(1_767_225_600_123)),
            "2026-01-01T00:00:00Z warning link down reason=\"no answer\" after_s=7\n"
        );
    }

    #[test]
    fn a_line_for_journald_begins_with_its_level() {
        assert_eq!(line(Level::Info, "link up", &[("hub", &"h:1")], None), "<6>info link up hub=h:1\n");
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let text = line(Level::Error, "refused", &[("detail", &"a\nb\u{1b}[2J"), ("empty", &"")], None);
        assert_eq!(text, "<3>error refused detail=\"a\\nb\\u{1b}[2J\" empty=\"\"\n");
    }

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
}
