//! Unsigned integers in one to ten bytes, least significant group first (LEB128).
//!
//! A value has one accepted form only: a longer spelling of a small number is refused, so that equal
//! messages are equal bytes.

use alloc::vec::Vec;
use core::fmt;

/// Most bytes that one integer takes.
pub const BYTES_MAX: usize = 10;

/// Why an integer could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarintError {
    /// The input ended inside the integer.
    Truncated,
    /// More than 64 bits, or a form longer than needed.
    Malformed,
}

impl fmt::Display for VarintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VarintError::Truncated => "integer is cut short",
            VarintError::Malformed => "integer is longer than it needs to be or exceeds 64 bits",
        })
    }
}

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put`] writes for a value.
pub fn len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Takes an unsigned integer off the front of `input`.
pub fn take(input: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for (index, byte) in input.iter().take(BYTES_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        if index == BYTES_MAX - 1 && *byte > 1 {
            return Err(VarintError::Malformed);
        }
        value |= group << (7 * index);
        if byte & 0x80 == 0 {
            if index > 0 && group == 0 {
                return Err(VarintError::Malformed);
            }
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() >= BYTES_MAX { VarintError::Malformed } else { VarintError::Truncated })
}

/// A signed number as an unsigned one: 0, -1, 1, -2, ..
pub fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// What [`zigzag`] was given.
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: u64) {
        let mut bytes = Vec::new();
        put(&mut bytes, value);
        let bits = 64 - value.leading_zeros() as usize;
        assert_eq!(bytes.len(), bits.max(1).div_ceil(7), "length of {value}");
        let mut input = &bytes[..];
        assert_eq!(take(&mut input), Ok(value));
        assert!(input.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(take(&mut &bytes[..cut]), Err(VarintError::Truncated));
        }
    }

    #[test]
    fn every_power_of_two_and_its_neighbours_come_back() {
        for shift in 0..64 {
            let value = 1u64 << shift;
            for near in [value.wrapping_sub(1), value, value.wrapping_add(1)] {
                check(near);
                check(near.wrapping_neg());
            }
        }
    }

    #[test]
    fn a_longer_spelling_than_needed_is_refused() {
        assert_eq!(take(&mut &[0x80, 0x00][..]), Err(VarintError::Malformed));
        assert_eq!(take(&mut &[0xff; 10][..]), Err(VarintError::Malformed));
        assert_eq!(take(&mut &[0xff; 11][..]), Err(VarintError::Malformed));
    }
}
