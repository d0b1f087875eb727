//! The line of text that a key is stored as.
//!
//! ```text
//! outpost-key-1 60r2g1g0a80jasv6m0g20j10...
//! |             base32 of the PKCS#8 and its checksum: see text.rs
//! the version, which is also the checksum's label
//! ```
//!
//! A key file is written once and read at every start for years, from a card that may rot: a wrong bit is found here
//! and named, instead of becoming a device that the hub does not know. Who may read the file is the driver's matter.

use std::fmt;

use crate::key::{Key, KeyError};
use crate::text;

/// Bytes of a key file at most; one that [`text`](fn@text) wrote has 155.
pub const KEY_FILE_BYTES_MAX: usize = 512;

const NAME: &str = "outpost-key-";
const LABEL: &str = "outpost-key-1";

/// Why there is no key in a file. Each says what the person who reads it can do.
#[derive(Clone, Copy, Debug)]
pub enum KeyFileError {
    /// The checksum does not match: the card lost a bit, or someone edited the line.
    Damaged,
    /// Nothing is in it, as after a power cut while it was written.
    Empty,
    /// The line is whole, but what it holds is not an Ed25519 key.
    Key(KeyError),
    /// Something else is in it.
    NotKeyFile,
    /// A later version wrote it.
    Version,
}

/// The file's whole text, newline included. Secret.
pub fn text(key: &Key) -> String {
    format!("{LABEL} {}\n", text::seal(LABEL, key.pkcs8()))
}

/// Reads a file that [`text`](fn@text) wrote. White space around the line is allowed.
pub fn parse(bytes: &[u8]) -> Result<Key, KeyFileError> {
    if bytes.iter().all(|&byte| byte == 0 || byte.is_ascii_whitespace()) {
        return Err(KeyFileError::Empty);
    }
    if bytes.len() > KEY_FILE_BYTES_MAX || !bytes.trim_ascii().starts_with(NAME.as_bytes()) {
        return Err(KeyFileError::NotKeyFile);
    }
    let line = std::str::from_utf8(bytes.trim_ascii()).map_err(|_| KeyFileError::Damaged)?;
    let (label, sealed) = line.split_once(' ').ok_or(KeyFileError::Damaged)?;
    if label != LABEL {
        return Err(KeyFileError::Version);
    }
    let pkcs8 = text::open(LABEL, sealed).map_err(|_| KeyFileError::Damaged)?;
    Key::from_pkcs8(&pkcs8).map_err(KeyFileError::Key)
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str =
            "restore it from a copy, or remove it to begin with a new key that the other end must learn";
        match self {
            KeyFileError::Damaged => write!(f, "the key file is damaged: {REMEDY}"),
            KeyFileError::Empty => write!(f, "the key file is empty: {REMEDY}"),
            KeyFileError::Key(error) => write!(f, "the key file holds {error}: {REMEDY}"),
            KeyFileError::NotKeyFile => {
                write!(
                    f,
                    "this is no key file, which begins with `{LABEL}`: is the path in the settings the right one?"
                )
            }
            KeyFileError::Version => {
                write!(f, "the key file is of another version than `{LABEL}`: install the release that wrote it")
            }
        }
    }
}

impl std::error::Error for KeyFileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let error = parse(bytes).expect_err("no key is in it").to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }

    #[test]
    fn a_key_comes_back_from_its_line() {
        let key = Key::generate();
        let line = text(&key);
        assert_eq!(line.len(), 155);
        assert_eq!(line.lines().count(), 1);
        for written in [line.clone(), format!("\n {line}\r\n"), line.trim().to_owned()] {
            assert_eq!(parse(written.as_bytes()).unwrap().fingerprint(), key.fingerprint());
        }
    }

    #[test]
    fn each_kind_of_wrong_file_is_named() {
        check(b"", "is empty");
        check(&[0; 155], "is empty");
        check(b"-----BEGIN PRIVATE KEY-----", "no key file");
        check(&b"outpost-key-1 ".repeat(100), "no key file");
        check(b"outpost-key-2 abc", "another version");
        check(b"outpost-key-1", "damaged");
        check(b"outpost-key-1 \xff", "damaged");
        check(format!("{LABEL} {}", text::seal(LABEL, b"no key")).as_bytes(), "no Ed25519 key");
    }

    #[test]
    fn a_flipped_bit_never_becomes_another_key() {
        let key = Key::generate();
        let line = text(&key).trim().to_owned().into_bytes();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut damaged = line.clone();
                damaged[at] ^= 1 << bit;
                // Capitals and look-alikes still mean what was written.
                if let Ok(read) = parse(&damaged) {
                    assert_eq!(read.fingerprint(), key.fingerprint());
                }
            }
        }
    }
}
