//! What the kernel's text files have in common: lines, fields and numbers.
//!
//! Nothing here fails. What is no number is `None`, and the caller passes over it.

/// The lines, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// The parts of a line between white space.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// What stands before and after the first `separator`.
pub(super) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The lines `name value` of a folder of attributes.
pub(super) fn attributes(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(text).filter_map(|line| split_once(line, b' ')).map(|(name, value)| (name, value.trim_ascii()))
}

/// The value of one attribute.
pub(super) fn attribute<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    attributes(text).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// A number without a sign.
///
/// More than `i64::MAX` reads as `i64::MAX`. The kernel's counters are unsigned, and one that passes 2^63 stands
/// still instead of turning negative; at 100 Gbit/s that takes 23 years.
pub(super) fn unsigned(field: &[u8]) -> Option<i64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_i64, |value, byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')))
    })
}

/// A number with or without a minus.
pub(super) fn signed(field: &[u8]) -> Option<i64> {
    match field.strip_prefix(b"-") {
        Some(digits) => unsigned(digits).map(|value| -value),
        None => unsigned(field),
    }
}

/// A number with decimals, in units of `10^-places`. Decimals beyond `places` are cut off.
pub(super) fn decimal(field: &[u8], places: usize) -> Option<i64> {
    let (whole, decimals) = split_once(field, b'.').unwrap_or((field, b""));
    let mut value = unsigned(whole)?;
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for place in 0..places {
        let digit = decimals.get(place).map_or(0, |byte| byte - b'0');
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_the_rest_is_not() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"18446744073709551615"), Some(i64::MAX));
        assert_eq!(unsigned(b""), None);
        assert_eq!(unsigned(b"-1"), None);
        assert_eq!(unsigned(b"1x"), None);
        assert_eq!(signed(b"-48312"), Some(-48312));
        assert_eq!(signed(b"-99999999999999999999"), Some(-i64::MAX));
        assert_eq!(signed(b"--1"), None);
    }

    #[test]
    fn decimals_are_scaled() {
        assert_eq!(decimal(b"0.52", 2), Some(52));
        assert_eq!(decimal(b"12", 2), Some(1200));
        assert_eq!(decimal(b"12.3", 2), Some(1230));
        assert_eq!(decimal(b"12.349", 2), Some(1234));
        assert_eq!(decimal(b".5", 2), None);
        assert_eq!(decimal(b"1.x", 2), None);
    }

    #[test]
    fn attributes_are_names_and_trimmed_values() {
        let text = b"operstate up\nempty\ntype  cpu thermal \n";
        assert_eq!(attribute(text, b"operstate"), Some(&b"up"[..]));
        assert_eq!(attribute(text, b"type"), Some(&b"cpu thermal"[..]));
        assert_eq!(attribute(text, b"empty"), None);
    }
}
