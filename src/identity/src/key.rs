//! An Ed25519 key, its fingerprint, and the number that it gives a device.
//!
//! The private half leaves this type only as PKCS#8 for the key file. What goes over the wire is the
//! SubjectPublicKeyInfo, which for Ed25519 is 12 fixed bytes and the key (RFC 8410 section 4):
//!
//! ```text
//! offset  bytes
//! 0       30 2a 30 05 06 03 2b 65 70 03 21 00
//! 12      the public key, 32 bytes
//! ```

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use wire::id::DeviceId;
use wire::message::Fingerprint;

/// Bytes of an Ed25519 key as SubjectPublicKeyInfo.
pub const SPKI_BYTES: usize = 44;

const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A device's or a hub's key pair.
pub struct Key {
    pkcs8: Vec<u8>,
    spki: [u8; SPKI_BYTES],
}

/// The bytes hold no Ed25519 key: another algorithm, another format, or halves that do not belong together.
#[derive(Clone, Copy, Debug)]
pub struct KeyError(KeyRejected);

impl Key {
    /// A new key from the kernel's randomness. Waits, early in a boot, until the kernel has gathered enough.
    ///
    /// Panics: when the kernel gives no random bytes at all; nothing is safe then.
    pub fn generate() -> Key {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the kernel gives random bytes");
        Key::from_pkcs8(pkcs8.as_ref()).expect("a key that was just made is read")
    }

    /// Reads a private key of PKCS#8, with its public half (RFC 5958) or without (RFC 5208, what OpenSSL writes).
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Key, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(KeyError)?;
        let mut spki = [0; SPKI_BYTES];
        spki[..SPKI_HEAD.len()].copy_from_slice(&SPKI_HEAD);
        spki[SPKI_HEAD.len()..].copy_from_slice(pair.public_key().as_ref());
        Ok(Key { pkcs8: pkcs8.to_vec(), spki })
    }

    /// The private key as [`Key::from_pkcs8`] reads it. Secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as it goes over the wire, [`SPKI_BYTES`] long.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What the other end knows this key by.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.spki)
    }
}

/// The fingerprint of a public key as it went over the wire.
pub fn fingerprint(spki: &[u8]) -> Fingerprint {
    Fingerprint(digest(&SHA256, spki).as_ref().try_into().expect("a SHA-256 has 32 bytes"))
}

/// The number of a device that enrolls with the key of this fingerprint: its first eight bytes, most significant
/// first, so that the number's 16 digits are the fingerprint's first 16.
pub fn device_id(fingerprint: Fingerprint) -> DeviceId {
    DeviceId(u64::from_be_bytes(*fingerprint.0.first_chunk().expect("a fingerprint has 32 bytes")))
}

/// Whether these bytes have the form of an Ed25519 public key; not whether anyone holds its other half.
pub(crate) fn is_ed25519(spki: &[u8]) -> bool {
    spki.len() == SPKI_BYTES && spki.starts_with(&SPKI_HEAD)
}

impl fmt::Debug for Key {
    /// Names the key by its fingerprint; the private half is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no Ed25519 key in PKCS#8: {}", self.0)
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8410 section 10.3 and its public half of section 10.1.
    const RFC_PKCS8: &str =
        "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    const RFC_SPKI: &str = "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_key_of_the_rfc_has_the_public_half_of_the_rfc() {
        let key = Key::from_pkcs8(&bytes(RFC_PKCS8)).unwrap();
        assert_eq!(key.spki(), bytes(RFC_SPKI));
        assert!(is_ed25519(key.spki()));
    }

    #[test]
    fn a_generated_key_comes_back_from_its_bytes() {
        let key = Key::generate();
        let again = Key::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(again.fingerprint(), key.fingerprint());
        assert_ne!(Key::generate().fingerprint(), key.fingerprint());
    }

    #[test]
    fn a_device_is_numbered_by_the_first_digits_of_its_fingerprint() {
        let fingerprint = Key::generate().fingerprint();
        assert_eq!(device_id(fingerprint).to_string(), fingerprint.to_string()[..16]);
    }

    #[test]
    fn what_is_printed_for_debugging_shows_no_private_byte() {
        let key = Key::from_pkcs8(&bytes(RFC_PKCS8)).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", fingerprint(&bytes(RFC_SPKI))));
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let mut pkcs8 = Key::generate().pkcs8().to_vec();
        *pkcs8.last_mut().unwrap() ^= 1;
        assert!(Key::from_pkcs8(&pkcs8).is_err());
        assert!(Key::from_pkcs8(b"").is_err());
    }
}
