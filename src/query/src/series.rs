//! Series with values people read, and an answer made of them.

use alloc::string::String;
use alloc::vec::Vec;

/// A value at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What, in the unit that the series' name says.
    pub value: f64,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Its labels, name and value.
    pub labels: Vec<(String, String)>,
    /// Its values, oldest first.
    pub points: Vec<Point>,
}

/// The answer to one question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The question, as it was asked.
    pub expression: String,
    /// Whether values are changes per second: the question was a `rate`.
    pub is_rate: bool,
    /// The first moment asked for, in milliseconds since 1970.
    pub from_ms: u64,
    /// The last moment asked for.
    pub to_ms: u64,
    /// Milliseconds between values; `None` when they are as they were sampled.
    pub step_ms: Option<u64>,
    /// What was found.
    pub series: Vec<Series>,
    /// What the answer lacks and what to do about it, one sentence each.
    pub notes: Vec<String>,
}

/// What a fixed-point integer stands for: `value * 10^scale`, rounded once.
///
/// Dividing by a power of ten is exact to the last bit where multiplying by its inverse is not: 7 at scale -2 is 0.07.
pub fn scaled(value: i64, scale: i8) -> f64 {
    // Powers of ten up to 22 are exact in a double; past that nothing that was measured remains.
    let power = |exponent: u32| (0..exponent).fold(1.0, |product: f64, _| product * 10.0);
    let value = value as f64;
    if scale < 0 { value / power(scale.unsigned_abs().into()) } else { value * power(scale.unsigned_abs().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_moves_the_point_and_nothing_else() {
        assert_eq!(scaled(7, -2), 0.07);
        assert_eq!(scaled(-12_345, -3), -12.345);
        assert_eq!(scaled(5, 0), 5.0);
        assert_eq!(scaled(5, 6), 5_000_000.0);
        assert_eq!(scaled(1, -20), 1e-20);
        assert!(scaled(1, -128) > 0.0);
        assert!(scaled(i64::MAX, 127).is_finite());
    }
}
