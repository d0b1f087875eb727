//! The grain of changes: what all of them are multiples of.

/// The greatest common divisor of two numbers; of zero and another it is the other.
pub fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
