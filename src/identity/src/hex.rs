//! Test vectors as the documents print them.

/// The bytes of so many pairs of hexadecimal digits.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// As many as the type says.
pub(crate) fn array<const COUNT: usize>(digits: &str) -> [u8; COUNT] {
    bytes(digits).try_into().unwrap()
}
