//! Fewer bits for values that need not be exact: so many significant bits are kept.
//!
//! A gauge is rounded to the nearest value that has no more. Of a counter the growth is rounded down, and what that leaves
//! out is carried to the next tick: the total is never further behind than one tick's error, and catches up when the counter
//! rests. So a rate over a long span is exact.
//!
//! It happens before encoding. What is encoded comes back as it went in.

/// Significant bits of a value that is kept exact.
pub const EXACT: u8 = 0;

/// The fewest bits that keep a relative error of `one_in`: 1 in 100 takes 8.
///
/// Of what is rounded down the error is less than 2^-(bits - 1).
pub const fn bits(one_in: u32) -> u8 {
    match one_in {
        0 | 1 => 1,
        _ => (u32::BITS - (one_in - 1).leading_zeros()) as u8 + 1,
    }
}

/// The value nearest to a gauge's that has no more than `bits` significant bits.
pub fn gauge(value: i64, bits: u8) -> i64 {
    let drop = excess(value.unsigned_abs(), bits);
    if drop == 0 {
        return value;
    }
    let half = 1u64 << (drop - 1);
    let rounded = value.unsigned_abs().saturating_add(half) >> drop << drop;
    match (i64::try_from(rounded), value < 0) {
        (Ok(rounded), false) => rounded,
        (Ok(rounded), true) => -rounded,
        // Rounded up past the largest there is.
        (Err(_), _) => value,
    }
}

/// What a counter shows that showed `shown` and now has `value`: its growth with no more than `bits` significant bits. One that
/// was reset shows what it has.
pub fn counter(shown: i64, value: i64, bits: u8) -> i64 {
    match value.checked_sub(shown) {
        Some(grown) if grown >= 0 => {
            let drop = excess(grown as u64, bits);
            shown + (grown >> drop << drop)
        }
        _ => value,
    }
}

/// Bits that a magnitude has beyond `bits`.
fn excess(magnitude: u64, bits: u8) -> u32 {
    if bits == EXACT { 0 } else { (u64::BITS - magnitude.leading_zeros()).saturating_sub(bits.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_as_near_as_was_asked_for() {
        for one_in in [2, 3, 10, 100, 128, 1000] {
            let bits = bits(one_in);
            for value in (0..5000).chain([1 << 40, (1 << 40) + 12_345, i64::MAX / 3]) {
                for value in [value, -value] {
                    let error = value.abs_diff(gauge(value, bits));
                    assert!(error * u64::from(one_in) <= value.unsigned_abs(), "{value} of 1/{one_in}: {error}");
                }
            }
        }
        assert_eq!([i64::MAX, i64::MIN, 0, -7].map(|value| gauge(value, EXACT)), [i64::MAX, i64::MIN, 0, -7]);
        assert_eq!((gauge(i64::MAX, 3), gauge(i64::MIN, 3)), (i64::MAX, i64::MIN));
        assert_eq!((gauge(1023, 8), gauge(1021, 8), gauge(-1021, 8)), (1024, 1020, -1020));
    }

    #[test]
    fn a_counter_is_never_ahead_and_catches_up_when_it_rests() {
        let (bits, mut value, mut shown) = (bits(100), 1_000_000i64, 1_000_000i64);
        for tick in 0..3000i64 {
            let grown = tick * tick % 98_765;
            value += grown;
            let due = value - shown;
            let next = counter(shown, value, bits);
            assert!(next >= shown && next <= value);
            assert!((value - next) * 100 <= due, "{value} {next}");
            shown = next;
        }
        let rests = (0..9).position(|_| {
            shown = counter(shown, value, bits);
            shown == value
        });
        assert!(rests.is_some_and(|ticks| ticks < 3), "{rests:?}");
    }

    #[test]
    fn a_counter_that_was_reset_shows_what_it_has() {
        assert_eq!(counter(1000, 7, 4), 7);
        assert_eq!(counter(i64::MIN, i64::MAX, 4), i64::MAX);
        assert_eq!(counter(5, 1029, EXACT), 1029);
    }
}
