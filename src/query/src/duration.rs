//! Spans of time as people write them: `30s`, `1h30m`, `7d`.
//!
//! Numbers with units, largest unit first, each at most once. A day has 24 hours, a week 7 days, a year 365 days.
//! Source: Prometheus, "Querying basics", time durations.

use alloc::string::String;
use core::fmt::{self, Write};

/// The units, largest first: their text and their length in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// A number was expected: the text is empty, or begins a part with something else.
    Number,
    /// Units repeat, or a smaller one stands before a larger one.
    Order,
    /// More milliseconds than 2^64.
    Overflow,
    /// A number has no unit, or one that is not known.
    Unit,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DurationError::Number => "expected a duration such as 30s, 5m or 1h30m",
            DurationError::Order => "units of a duration go from large to small, as in 1h30m",
            DurationError::Overflow => "duration is too long",
            DurationError::Unit => "expected a unit of time: ms, s, m, h, d, w or y",
        })
    }
}

/// Reads a duration; the result is in milliseconds. `0` needs no unit.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total_ms = 0u64;
    let mut units = &UNITS[..];
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(DurationError::Number);
        }
        let count: u64 = rest[..digits].parse().map_err(|_| DurationError::Overflow)?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let place = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or(DurationError::Unit)?;
        let allowed_from = UNITS.len() - units.len();
        if place < allowed_from {
            return Err(DurationError::Order);
        }
        units = &UNITS[place + 1..];
        rest = &rest[letters..];
        let part_ms = count.checked_mul(UNITS[place].1).ok_or(DurationError::Overflow)?;
        total_ms = total_ms.checked_add(part_ms).ok_or(DurationError::Overflow)?;
        if rest.is_empty() {
            return Ok(total_ms);
        }
    }
}

/// The shortest text that [`parse`] reads back as `span_ms`: `1h30m`, `0s`. Weeks and years are written in days.
pub fn format(span_ms: u64) -> String {
    let mut text = String::new();
    let mut rest_ms = span_ms;
    for (unit, unit_ms) in &UNITS[2..] {
        if rest_ms >= *unit_ms {
            // Writing to a string does not fail.
            let _ = write!(text, "{}{unit}", rest_ms / unit_ms);
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, DurationError>) {
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn parts_add_up_from_large_to_small() {
        check("30s", Ok(30_000));
        check("1h30m", Ok(5_400_000));
        check("7d", Ok(604_800_000));
        check("1y2w3d4h5m6s7ms", Ok(365 * 86_400_000 + 17 * 86_400_000 + 14_706_007));
        check("0", Ok(0));
        check("0s", Ok(0));
    }

    #[test]
    fn each_kind_of_nonsense_is_named() {
        check("", Err(DurationError::Number));
        check("h", Err(DurationError::Number));
        check("-5m", Err(DurationError::Number));
        check("5", Err(DurationError::Unit));
        check("5min", Err(DurationError::Unit));
        check("5é", Err(DurationError::Unit));
        check("30m1h", Err(DurationError::Order));
        check("1h1h", Err(DurationError::Order));
        check("99999999999999999999s", Err(DurationError::Overflow));
        check("9999999999999y", Err(DurationError::Overflow));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (span_ms, text) in
            [(0, "0s"), (90_000, "1m30s"), (5_400_000, "1h30m"), (604_800_000, "7d"), (1_001, "1s1ms")]
        {
            assert_eq!(format(span_ms), text);
            assert_eq!(parse(text), Ok(span_ms));
        }
        assert_eq!(parse(&format(u64::MAX)), Ok(u64::MAX));
    }
}
