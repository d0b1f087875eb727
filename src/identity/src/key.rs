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
//!
//! The datagram carrier exchanges keys with X25519 instead of signing (see `noise`). Its key is made from the same 32 secret bytes, so that
//! one file is all of an identity. Ed25519 signs with the scalar that SHA-512 of these bytes begins with; X25519 takes the same
//! scalar, and its public key is the Ed25519 key in the other form of the same curve (RFC 7748 section 4.1). That one key does
//! both is sound: Thormarker, "On using the same key pair for Ed25519 and an X25519 based KEM" (2021).

use std::fmt;

use ring::digest::{SHA256, SHA512, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use wire::id::DeviceId;
use wire::message::Fingerprint;

use crate::exchange;

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
        let public = pair.public_key().as_ref().try_into().expect("a key of Ed25519 has 32 bytes");
        Ok(Key { pkcs8: pkcs8.to_vec(), spki: spki_of(public) })
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

    /// The public key of this identity on the datagram carrier.
    pub fn noise_public(&self) -> [u8; 32] {
        exchange::public(&self.noise_secret())
    }

    /// Secret. Clamped as X25519 clamps it (RFC 7748 section 5).
    pub(crate) fn noise_secret(&self) -> [u8; 32] {
        let hash = digest(&SHA512, self.seed());
        let mut secret = *hash.as_ref().first_chunk().expect("a SHA-512 has 64 bytes");
        exchange::clamp(&mut secret);
        secret
    }

    /// Signs with the key as it is on the wire, Ed25519 of RFC 8032.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8).expect("it was read before: see from_pkcs8");
        pair.sign(message).as_ref().try_into().expect("a signature of Ed25519 has 64 bytes")
    }

    /// The secret bytes that everything else follows from. PKCS#8 has them behind a sequence's head, and then a version, the algorithm and two
    /// heads of octet strings, which DER writes in one way.
    fn seed(&self) -> &[u8] {
        let head_bytes = match self.pkcs8[1] {
            short if short < 0x80 => 2,
            long => 2 + usize::from(long & 0x7f),
        };
        &self.pkcs8[head_bytes + 14..][..32]
    }
}

/// Whether the holder of this key, as it went over the wire, signed the message.
pub(crate) fn is_signed(spki: &[u8; SPKI_BYTES], message: &[u8], signature: &[u8]) -> bool {
    is_ed25519(spki) && UnparsedPublicKey::new(&ED25519, &spki[SPKI_HEAD.len()..]).verify(message, signature).is_ok()
}

/// An Ed25519 key of 32 bytes as it goes over the wire.
pub(crate) fn spki_of(public: &[u8; 32]) -> [u8; SPKI_BYTES] {
    let mut spki = [0; SPKI_BYTES];
    let (head, tail) = spki.split_at_mut(SPKI_HEAD.len());
    head.copy_from_slice(&SPKI_HEAD);
    tail.copy_from_slice(public);
    spki
}

/// The 32 bytes of an Ed25519 key that came over the wire.
pub(crate) fn public_of(spki: &[u8]) -> Option<&[u8; 32]> {
    is_ed25519(spki).then(|| spki.last_chunk())?
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
    use crate::hex::{array, bytes};

    /// The key of RFC 8410 section 10.3 and its public half of section 10.1.
    const RFC_PKCS8: &str =
        "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    const RFC_SPKI: &str = "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

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
    fn the_secret_bytes_are_found_in_every_form_of_pkcs8() {
        let seed = bytes(&RFC_PKCS8[32..]);
        let plain = Key::from_pkcs8(&bytes(RFC_PKCS8)).unwrap();
        assert_eq!(plain.seed(), seed);
        // With attributes, which lengthen the head of the sequence (RFC 5958 section 2).
        for (attribute_bytes, head) in [(10, &[0x30, 58][..]), (100, &[0x30, 0x81, 148]), (250, &[0x30, 0x82, 1, 43])] {
            let attributes = match attribute_bytes {
                250 => [&[0xa0, 0x81, 250][..], &[0; 250]].concat(),
                short => [&[0xa0, short][..], &vec![0; usize::from(short)]].concat(),
            };
            let key = Key::from_pkcs8(&[head, &bytes(RFC_PKCS8)[2..], &attributes].concat()).unwrap();
            assert_eq!((key.seed(), key.spki()), (&seed[..], plain.spki()));
        }
        let generated = Key::generate();
        let again = Ed25519KeyPair::from_seed_unchecked(generated.seed()).unwrap();
        assert_eq!(again.public_key().as_ref(), &generated.spki()[12..]);
    }

    #[test]
    fn the_key_of_the_datagram_carrier_is_the_one_that_libsodium_makes() {
        // libsodium, test/default/ed25519_convert.c: crypto_sign_ed25519_sk_to_curve25519 of the pair of this seed.
        let seed = "421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee";
        let key = Key::from_pkcs8(&bytes(&format!("{}{seed}", &RFC_PKCS8[..32]))).unwrap();
        let secret = "8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166";
        assert_eq!(key.noise_secret(), array(secret));
        let public = "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50";
        assert_eq!(key.noise_public(), array(public));
    }

    #[test]
    fn what_a_key_signs_is_known_as_signed_by_it_alone() {
        let key = Key::generate();
        let signature = key.sign(b"message");
        assert!(is_signed(&key.spki, b"message", &signature));
        assert!(!is_signed(&key.spki, b"messages", &signature));
        assert!(!is_signed(&Key::generate().spki, b"message", &signature));
        assert!(!is_signed(&[0x30; SPKI_BYTES], b"message", &signature));
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let mut pkcs8 = Key::generate().pkcs8().to_vec();
        *pkcs8.last_mut().unwrap() ^= 1;
        assert!(Key::from_pkcs8(&pkcs8).is_err());
        assert!(Key::from_pkcs8(b"").is_err());
    }
}
