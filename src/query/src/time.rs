//! Moments as people write them, and the calendar in UTC: RFC 3339, unix seconds, or relative to now.
//!
//! | text | moment |
//! |---|---|
//! | `now`, `-1h`, `-1d12h` | now, or that long before it |
//! | `1767225600`, `1767225600.5` | seconds since 1970 |
//! | `14:00Z`, `14:00:15+02:00` | the last time that it was this time of the day |
//! | `2026-01-01` | midnight UTC |
//! | `2026-01-01T12:30Z`, `2026-01-01 12:30:15.250+02:00` | RFC 3339; seconds may be left out, the zone may not |
//!
//! Moments are milliseconds since 1970, from 1970 to 9999. There is no clock here: who asks says what now is.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::duration::{self, DurationError};

/// The last moment that can be written: the end of the year 9999.
pub const UNIX_MS_MAX: u64 = 253_402_300_799_999;

const DAY_MS: u64 = 86_400_000;

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// A span before now is not a duration.
    Duration(DurationError),
    /// It is written in none of the ways that are read.
    Form,
    /// A month, day, hour, minute, second or zone that does not exist, or a year outside 1970 to 9999.
    Range,
    /// A time of day without a zone.
    Zone,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeError::Duration(error) => error.fmt(f),
            TimeError::Form => {
                f.write_str("expected a time such as 2026-01-31T12:00:00Z, 14:00Z, 1767225600, -1h or now")
            }
            TimeError::Range => f.write_str("there is no such day or time between 1970 and 9999"),
            TimeError::Zone => f.write_str("expected Z or an offset such as +02:00 after the time"),
        }
    }
}

/// Reads a moment, in milliseconds since 1970. A moment before 1970 relative to now is 1970.
pub fn parse(text: &str, now_ms: u64) -> Result<u64, TimeError> {
    let text = text.trim();
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(ago) = text.strip_prefix('-') {
        return duration::parse(ago).map(|ago_ms| now_ms.saturating_sub(ago_ms)).map_err(TimeError::Duration);
    }
    match text.find(|c: char| !c.is_ascii_digit()) {
        // Whoever types 2026 means the year.
        None if text.len() == 4 => Err(TimeError::Form),
        None => unix_seconds(text, "0"),
        Some(end) if text[end..].starts_with('.') => unix_seconds(&text[..end], &text[end + 1..]),
        Some(2) if text[2..].starts_with(':') => of_day(text, now_ms),
        Some(_) => rfc3339(text),
    }
}

/// The last time that it was this time of the day.
fn of_day(text: &str, now_ms: u64) -> Result<u64, TimeError> {
    let at_ms = rfc3339(&format!("{}T{text}", Civil::of(now_ms).date()))?;
    // A zone moves it by a day at the most.
    let ago_ms = (now_ms + 2 * DAY_MS).saturating_sub(at_ms) % DAY_MS;
    Ok(now_ms.saturating_sub(ago_ms))
}

/// Writes a moment as RFC 3339 in UTC; with milliseconds when there are any. A moment past 9999 is its end.
pub fn format(unix_ms: u64) -> String {
    let civil = Civil::of(unix_ms);
    let seconds = format!("{}T{}", civil.date(), civil.clock());
    if civil.ms == 0 { format!("{seconds}Z") } else { format!("{seconds}.{:03}Z", civil.ms) }
}

/// A moment on the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 9999.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59: unix time knows no leap seconds.
    pub second: u32,
    /// 0 to 999.
    pub ms: u32,
}

impl Civil {
    /// The calendar's view of a moment; of one past 9999, that of its end.
    ///
    /// Source: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    pub fn of(unix_ms: u64) -> Civil {
        let unix_ms = unix_ms.min(UNIX_MS_MAX);
        // Days since 0000-03-01, so that a leap day is the last of its year; then eras of 400 years.
        let days = unix_ms / DAY_MS + 719_468;
        let era_day = days % 146_097;
        let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
        let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
        let month_from_march = (5 * year_day + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = days / 146_097 * 400 + era_year + u64::from(month <= 2);
        let of_day = unix_ms % DAY_MS;
        Civil {
            year: year as u32,
            month: month as u32,
            day: (year_day - (153 * month_from_march + 2) / 5 + 1) as u32,
            hour: (of_day / 3_600_000) as u32,
            minute: (of_day / 60_000 % 60) as u32,
            second: (of_day / 1000 % 60) as u32,
            ms: (of_day % 1000) as u32,
        }
    }

    /// The beginning of a day since 1970.
    pub fn of_day(day: u32) -> Civil {
        Civil::of(u64::from(day) * DAY_MS)
    }

    /// `2026-01-31`
    pub fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `12:30:15`
    pub fn clock(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Source: H. Hinnant, `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era_year = year % 400;
    let year_day = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    year / 400 * 146_097 + era_year * 365 + era_year / 4 - era_year / 100 + year_day - 719_468
}

fn unix_seconds(whole: &str, fraction: &str) -> Result<u64, TimeError> {
    if whole.is_empty() || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError::Form);
    }
    let seconds: u64 = whole.parse().map_err(|_| TimeError::Range)?;
    let unix_ms = seconds.checked_mul(1000).ok_or(TimeError::Range)?.saturating_add(milliseconds(fraction));
    if unix_ms <= UNIX_MS_MAX { Ok(unix_ms) } else { Err(TimeError::Range) }
}

/// The first three digits of a fraction of a second.
fn milliseconds(fraction: &str) -> u64 {
    let digits = fraction.bytes().map(|byte| u64::from(byte - b'0')).chain(core::iter::repeat(0));
    digits.take(3).fold(0, |sum, digit| sum * 10 + digit)
}

fn rfc3339(text: &str) -> Result<u64, TimeError> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    punctuation(&mut rest, "-")?;
    let month = digits(&mut rest, 2)?;
    punctuation(&mut rest, "-")?;
    let day = digits(&mut rest, 2)?;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let day_count = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=day_count).contains(&day) {
        return Err(TimeError::Range);
    }
    let midnight = days(year, month, day) * DAY_MS;
    if rest.is_empty() {
        return Ok(midnight);
    }
    punctuation(&mut rest, "Tt ")?;
    let hour = digits(&mut rest, 2)?;
    punctuation(&mut rest, ":")?;
    let minute = digits(&mut rest, 2)?;
    let (mut second, mut ms) = (0, 0);
    if punctuation(&mut rest, ":").is_ok() {
        second = digits(&mut rest, 2)?;
        if punctuation(&mut rest, ".").is_ok() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if end == 0 {
                return Err(TimeError::Form);
            }
            ms = milliseconds(&rest[..end]);
            rest = &rest[end..];
        }
    }
    // A leap second is the first moment of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::Range);
    }
    let local = midnight + (hour * 3600 + minute * 60 + second) * 1000 + ms;
    let is_east = match rest.bytes().next() {
        Some(b'Z' | b'z') if rest.len() == 1 => return Ok(local.min(UNIX_MS_MAX)),
        Some(b'+') => true,
        Some(b'-') => false,
        _ => return Err(TimeError::Zone),
    };
    rest = &rest[1..];
    let offset = (|| {
        let hours = digits(&mut rest, 2)?;
        punctuation(&mut rest, ":")?;
        Ok((hours, digits(&mut rest, 2)?))
    })();
    let Ok((hours, minutes)) = offset.map_err(|_: TimeError| TimeError::Zone) else { return Err(TimeError::Zone) };
    if !rest.is_empty() {
        return Err(TimeError::Zone);
    }
    if hours > 23 || minutes > 59 {
        return Err(TimeError::Range);
    }
    let offset_ms = (hours * 60 + minutes) * 60_000;
    let unix_ms = if is_east { local.checked_sub(offset_ms) } else { Some(local + offset_ms) };
    unix_ms.filter(|unix_ms| *unix_ms <= UNIX_MS_MAX).ok_or(TimeError::Range)
}

fn digits(rest: &mut &str, count: usize) -> Result<u64, TimeError> {
    let (front, after) = rest.split_at_checked(count).ok_or(TimeError::Form)?;
    if !front.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError::Form);
    }
    *rest = after;
    front.parse().map_err(|_| TimeError::Form)
}

fn punctuation(rest: &mut &str, accepted: &str) -> Result<(), TimeError> {
    match rest.chars().next() {
        Some(found) if accepted.contains(found) => {
            *rest = &rest[1..];
            Ok(())
        }
        _ => Err(TimeError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const NOW: u64 = 1_767_225_600_000;

    fn check(text: &str, expected: Result<u64, TimeError>) {
        assert_eq!(parse(text, NOW), expected, "{text}");
    }

    #[test]
    fn every_way_to_say_the_same_moment_is_read() {
        for text in [
            "now",
            "-0s",
            "1767225600",
            "1767225600.0004",
            "2026-01-01",
            "2026-01-01T00:00Z",
            " 2026-01-01 00:00:00Z ",
            "2026-01-01t01:30:00.000+01:30",
            "2025-12-31T18:00:00-06:00",
            "2025-12-31T23:59:60Z",
        ] {
            check(text, Ok(NOW));
        }
        check("00:00Z", Ok(NOW));
        check("00:01Z", Ok(NOW - 86_340_000));
        check("23:30:30Z", Ok(NOW - 1_770_000));
        check("02:00+02:00", Ok(NOW));
        check("22:00:00.000-03:00", Ok(NOW - 23 * 3_600_000));
        check("14:00", Err(TimeError::Zone));
        check("24:00Z", Err(TimeError::Range));
        check("-1h30m", Ok(NOW - 5_400_000));
        check("-9999y", Ok(0));
        check("1.5", Ok(1500));
        check("2026-01-01T00:00:00.2509Z", Ok(NOW + 250));
        check("2024-02-29", Ok(1_709_164_800_000));
    }

    #[test]
    fn what_is_no_moment_says_what_was_expected() {
        for text in ["", "yesterday", "2026", "2026-1-1", "2026-01-01T", "1.", "1.x", ".5", "é", "2026-01-01X00:00Z"] {
            check(text, Err(TimeError::Form));
        }
        check("-1hour", Err(TimeError::Duration(DurationError::Unit)));
        check("2026-02-29", Err(TimeError::Range));
        check("2100-02-29", Err(TimeError::Range));
        check("2026-13-01", Err(TimeError::Range));
        check("2026-00-01", Err(TimeError::Range));
        check("1969-12-31", Err(TimeError::Range));
        check("1970-01-01T00:00+01:00", Err(TimeError::Range));
        check("9999-12-31T23:59-00:01", Err(TimeError::Range));
        check("2026-01-01T24:00Z", Err(TimeError::Range));
        check("2026-01-01T00:00", Err(TimeError::Zone));
        check("2026-01-01T00:00+1", Err(TimeError::Zone));
        check("2026-01-01T00:00Zulu", Err(TimeError::Zone));
        check("99999999999999999999", Err(TimeError::Range));
        check("99999999999999", Err(TimeError::Range));
    }

    #[test]
    fn days_from_1970_to_9999_are_written_and_read_back() {
        let mut before = String::new();
        // Eleven has no factor in common with the lengths of months, years and eras.
        for day in (0..=UNIX_MS_MAX / DAY_MS).rev().step_by(11).collect::<Vec<_>>().into_iter().rev() {
            let text = format(day * DAY_MS);
            assert_eq!(parse(&text, 0), Ok(day * DAY_MS), "{text}");
            assert!(text > before);
            before = text;
        }
        assert_eq!(before, "9999-12-31T00:00:00Z");
    }

    #[test]
    fn milliseconds_are_written_only_when_there_are_any() {
        assert_eq!(format(NOW + 3_723_000), "2026-01-01T01:02:03Z");
        assert_eq!(format(NOW + 7), "2026-01-01T00:00:00.007Z");
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
