//! Bytes as text that survives people: base32 with a checksum behind it.
//!
//! The alphabet is Crockford's, in lower case: it has no `i`, `l`, `o` or `u`, and reading takes `I` and `L` for `1`, `O`
//! for `0`, and capitals for small letters. RFC 4648 has both `o` and `i`, which is how a token that was
//! read out over the phone or typed from a photograph goes wrong. There is no padding and no separator, so
//! that a double click selects all of it.
//!
//! ```text
//! payload  bytes
//! 4 bytes  the first of the SHA-256 of label and payload
//! ```
//!
//! The label is what stands before the text, so that one kind of text is never taken for another.
//!
//! Source: D. Crockford, "Base 32" (<https://www.crockford.com/base32.html>).

use ring::digest::{Context, SHA256};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Bytes of the checksum. One mistyped text in four thousand million passes.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// Why a text is not what [`seal`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextError {
    /// This character is in no such text; `place` counts from 1.
    Character { character: char, place: usize },
    /// The checksum does not match, or part of the text is missing.
    Checksum,
}

/// `payload` and its checksum as text, without the label.
pub(crate) fn seal(label: &str, payload: &[u8]) -> String {
    let mut bytes = payload.to_vec();
    bytes.extend_from_slice(&checksum(label, payload));
    encode(&bytes)
}

/// The payload of a text that [`seal`] wrote under the same label.
pub(crate) fn open(label: &str, text: &str) -> Result<Vec<u8>, TextError> {
    let mut bytes = decode(text)?;
    let payload_bytes = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(TextError::Checksum)?;
    if checksum(label, &bytes[..payload_bytes]) != bytes[payload_bytes..] {
        return Err(TextError::Checksum);
    }
    bytes.truncate(payload_bytes);
    Ok(bytes)
}

/// Characters that `bytes` bytes become.
pub(crate) const fn character_count(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

fn checksum(label: &str, payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(label.as_bytes());
    context.update(payload);
    *context.finish().as_ref().first_chunk().expect("a SHA-256 has 32 bytes")
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(character_count(bytes.len()));
    let (mut held, mut held_bits) = (0u32, 0);
    for &byte in bytes {
        held = held << 8 | u32::from(byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            text.push(character(held >> held_bits));
        }
    }
    if held_bits > 0 {
        text.push(character(held << (5 - held_bits)));
    }
    text
}

fn character(value: u32) -> char {
    char::from(ALPHABET[(value & 31) as usize])
}

fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut held_bits) = (0u32, 0);
    for (index, character) in text.chars().enumerate() {
        let value = value(character).ok_or(TextError::Character { character, place: index + 1 })?;
        held = held << 5 | value;
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push((held >> held_bits) as u8);
        }
    }
    // Bits that belong to no byte are zero, so that no two texts mean the same bytes.
    if held_bits >= 5 || held & ((1 << held_bits) - 1) != 0 {
        return Err(TextError::Checksum);
    }
    Ok(bytes)
}

fn value(character: char) -> Option<u32> {
    let meant = match character.to_ascii_lowercase() {
        'i' | 'l' => '1',
        'o' => '0',
        other => other,
    };
    ALPHABET.iter().position(|&byte| char::from(byte) == meant).map(|index| index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back() {
        let bytes: Vec<u8> = (0..100).map(|byte: u8| byte.wrapping_mul(167)).collect();
        for count in 0..bytes.len() {
            let text = encode(&bytes[..count]);
            assert_eq!(text.len(), character_count(count));
            assert_eq!(decode(&text), Ok(bytes[..count].to_vec()));
        }
    }

    #[test]
    fn the_text_is_the_one_of_rfc_4648_in_another_alphabet() {
        // RFC 4648 section 10: "foobar" is MZXW6YTBOI, whose letters are the values 12 25 23 22 30 24 19 1 14 8.
        assert_eq!(encode(b"foobar"), "csqpyrk1e8");
    }

    #[test]
    fn a_text_typed_from_a_photograph_is_read() {
        let text = seal("label", b"\x00\x44\x32\x14\xc7");
        let typed = text.replace('0', "O").replace('1', "l").to_uppercase();
        assert_eq!(open("label", &typed), Ok(b"\x00\x44\x32\x14\xc7".to_vec()));
    }

    #[test]
    fn a_text_under_another_label_is_refused() {
        assert_eq!(open("other", &seal("label", b"payload")), Err(TextError::Checksum));
    }

    #[test]
    fn every_wrong_missing_or_added_character_is_noticed() {
        let text = seal("label", b"some payload");
        for place in 0..text.len() {
            let (head, tail) = (&text[..place], &text[place + 1..]);
            for character in ALPHABET.iter().map(|&byte| char::from(byte)) {
                let changed = format!("{head}{character}{tail}");
                assert_eq!(open("label", &changed).is_ok(), changed == text);
                assert!(open("label", &format!("{head}{character}{}", &text[place..])).is_err());
            }
            assert!(open("label", &format!("{head}{tail}")).is_err());
        }
        assert_eq!(open("label", "ab-c"), Err(TextError::Character { character: '-', place: 3 }));
        assert_eq!(open("label", ""), Err(TextError::Checksum));
    }
}
