//! What a counter grew by although it fell.
//!
//! It began again at zero: the machine was booted, a device was plugged in again. Or it came to the end of its 32 bits and went on from
//! there, as an `unsigned long` of a 32-bit kernel does, and the milliseconds of disks on any. No value says which. But a counter that
//! is reset may be anywhere, and one that comes to its end is within a step of it: so a fall from shortly before the end to shortly
//! behind zero is growth.

/// Where counters end: at 2^32 of what they count, which for the bytes of disks is sectors of 512.
const ENDS: [f64; 2] = [4_294_967_296.0, 512.0 * 4_294_967_296.0];

/// The part of the way to its end that a counter goes in one step, at the most. Of bytes that is 100 MB/s at a tick every 10 s.
const STEP: f64 = 0.25;

/// What a counter grew by on its way over its end, if that is how it fell from `before` to `value`, which are multiples of `unit`.
///
/// `most` is the growth that is plausible. Who knows that there was no boot in between calls any growth so: then next to nothing else
/// makes a counter fall that is so near to its end.
pub fn growth_over_end(before: f64, value: f64, unit: f64, most: f64) -> Option<f64> {
    ENDS.into_iter().map(|end| end * unit).find_map(|end| {
        let grown = end - before + value;
        (before < end && grown <= most.min(end * STEP)).then_some(grown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: f64, value: f64, unit: f64, most: f64, expected: Option<f64>) {
        assert_eq!(growth_over_end(before, value, unit, most), expected, "{before} {value} {unit} {most}");
    }

    #[test]
    fn a_fall_from_near_the_end_to_near_zero_is_growth() {
        let end = 4_294_967_296.0;
        check(end - 1.0, 0.0, 1.0, f64::INFINITY, Some(1.0));
        check(end - 700.0, 300.0, 1.0, f64::INFINITY, Some(1000.0));
        check((end - 700.0) * 512.0, 300.0 * 512.0, 1.0, f64::INFINITY, Some(512_000.0));
        check((end - 700.0) / 1000.0, 0.3, 0.001, f64::INFINITY, Some(end / 1000.0 - (end - 700.0) / 1000.0 + 0.3));
    }

    #[test]
    fn any_other_fall_is_none() {
        let end = 4_294_967_296.0;
        check(1000.0, 10.0, 1.0, f64::INFINITY, None);
        check(end * 0.7, 10.0, 1.0, f64::INFINITY, None);
        check(end - 10.0, end * 0.3, 1.0, f64::INFINITY, None);
        check(end + 10.0, 10.0, 1.0, f64::INFINITY, None);
        check(end - 10.0, 10.0, 0.001, f64::INFINITY, None);
        // It would have grown by more than it does.
        check(end - 700.0, 300.0, 1.0, 999.0, None);
    }
}
