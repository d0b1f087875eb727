//! When something was, as people on site say and read it.

use query::{duration, time};
use wire::time::{Span, Stamp, UnixTime};

/// Where a moment of a gateway is on the calendar, as far as is known now: one of this boot is placed by how long ago
/// it was, whether the calendar was known then or not.
pub(crate) fn unix_of(stamp: Stamp, now: Stamp) -> Option<UnixTime> {
    let of_this_boot = now.unix.filter(|_| stamp.boot == now.boot);
    of_this_boot.map(|unix| UnixTime(unix.0.saturating_sub((now.uptime - stamp.uptime).0))).or(stamp.unix)
}

/// How far back `text` reaches from `now`: a span (`1h`), or a moment (`2026-01-31T12:00Z`) when the calendar is known.
///
/// Errors: it is neither, or the moment is still to come.
pub(crate) fn since(text: &str, now: Stamp) -> Result<Span, String> {
    if let Ok(span_ms) = duration::parse(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(Span(span_ms));
    }
    let now_ms = now.unix.ok_or("this machine does not know the date: say how long ago, as in 1h")?.0;
    let at_ms = time::parse(text, now_ms).map_err(|error| format!("{error}, or a span such as 1h"))?;
    now_ms.checked_sub(at_ms).map(Span).ok_or_else(|| format!("{} is still to come", time::format(at_ms)))
}

/// A span as people say it: its two largest units, none below a second.
pub(crate) fn rough(span: Span) -> String {
    let seconds = span.0 / 1000;
    let unit = match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        _ => 3600,
    };
    duration::format(seconds / unit * unit * 1000)
}

#[cfg(test)]
mod tests {
    use wire::time::{BootId, Instant};

    use super::*;

    const NOW: Stamp = Stamp { boot: BootId(7), uptime: Instant(100_000), unix: Some(UnixTime(1_767_225_600_000)) };

    #[test]
    fn a_moment_of_this_boot_is_placed_by_how_long_ago_it_was() {
        let stamp = Stamp { uptime: Instant(40_000), unix: None, ..NOW };
        assert_eq!(unix_of(stamp, NOW), Some(UnixTime(1_767_225_540_000)));
        let before_the_clock_was_set = Stamp { unix: Some(UnixTime(0)), ..stamp };
        assert_eq!(unix_of(before_the_clock_was_set, NOW), Some(UnixTime(1_767_225_540_000)));
    }

    #[test]
    fn a_moment_of_another_boot_has_the_place_it_was_given() {
        let stamp = Stamp { boot: BootId(6), uptime: Instant(40_000), unix: None };
        assert_eq!(unix_of(stamp, NOW), None);
        let stamp = Stamp { unix: Some(UnixTime(5)), ..stamp };
        assert_eq!(unix_of(stamp, NOW), Some(UnixTime(5)));
    }

    #[test]
    fn since_is_a_span_or_a_moment() {
        assert_eq!(since("1h30m", NOW), Ok(Span(5_400_000)));
        assert_eq!(since("-1h", NOW), Ok(Span(3_600_000)));
        assert_eq!(since("2025-12-31T23:00:00Z", NOW), Ok(Span(3_600_000)));
        assert!(since("2026-01-02", NOW).unwrap_err().contains("still to come"));
        assert!(since("yesterday", NOW).unwrap_err().contains("a span such as 1h"));
        assert!(since("2025-12-31", Stamp { unix: None, ..NOW }).unwrap_err().contains("does not know the date"));
    }

    #[test]
    fn a_span_is_said_in_its_largest_units() {
        let check = |seconds, expected| assert_eq!(rough(Span::seconds(seconds)), expected);
        check(0, "0s");
        check(59, "59s");
        check(3599, "59m59s");
        check(3661, "1h1m");
        check(90_000, "1d1h");
        check(40 * 86_400 + 59, "40d");
    }
}
