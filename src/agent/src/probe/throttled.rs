//! `get_throttled` of a Raspberry Pi's firmware: why the board runs slower than it could.
//!
//! ```text
//!  bit   now                           bit   since boot
//!   0    under-voltage                 16    under-voltage has occurred
//!   1    arm frequency capped          17    arm frequency capping has occurred
//!   2    throttled                     18    throttling has occurred
//!   3    soft temperature limit        19    soft temperature limit has occurred
//! ```

use wire::metric::Metric;

use crate::probe::put::Put;

/// The conditions, in the order of their bits.
const CONDITIONS: [&[u8]; 4] = [b"under_voltage", b"frequency_capped", b"throttled", b"soft_temperature_limit"];

/// The bit of the first condition's "has occurred".
const SINCE_BOOT: usize = 16;

/// Puts each condition, now and since boot. The text is a hexadecimal number, `50005`.
///
/// Source: Raspberry Pi documentation, `vcgencmd get_throttled`; `drivers/firmware/raspberrypi.c`.
pub fn parse(text: &[u8], put: &mut Put<'_>) {
    let digits = text.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let Some(flags) = str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
        return;
    };
    for (metric, first) in [(Metric::Throttled, 0), (Metric::ThrottledSinceBoot, SINCE_BOOT)] {
        for (bit, condition) in CONDITIONS.iter().enumerate() {
            put(metric, &[("condition", condition)], i64::from(flags >> (first + bit) & 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn flags_are_told_apart() {
        check(
            |put| parse(b"50005\n", put),
            8,
            &[
                ("outpost_throttled{condition=\"under_voltage\"}", 1),
                ("outpost_throttled{condition=\"frequency_capped\"}", 0),
                ("outpost_throttled{condition=\"throttled\"}", 1),
                ("outpost_throttled_since_boot{condition=\"throttled\"}", 1),
                ("outpost_throttled_since_boot{condition=\"soft_temperature_limit\"}", 0),
            ],
        );
    }

    #[test]
    fn what_is_no_number_is_skipped() {
        check(|put| parse(b"throttled=0x0", put), 0, &[]);
        check(|put| parse(b"", put), 0, &[]);
        check(|put| parse(b"0x0", put), 8, &[]);
    }
}
