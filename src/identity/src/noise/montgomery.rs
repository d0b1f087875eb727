//! A device's key on the datagram carrier, computed from its Ed25519 key: the hub's way to know who calls.
//!
//! Only the hub calls this. It takes the other form of the curve with it, which the agent neither needs nor has room for.

use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::key;

/// What [`crate::key::Key::noise_public`] is for the holder of this key, given as it goes over the wire. None when it is no key that anyone
/// could hold: not of Ed25519, no point of the curve, or of small order.
///
/// A key and its negative have the same (RFC 7748 section 4.1), and only who holds one can enroll the other. So a device whose key
/// here is already another's is not a second device; the store keeps these unique.
pub fn noise_public_of(spki: &[u8]) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*key::public_of(spki)?).decompress()?;
    (!point.is_small_order()).then(|| point.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::array;
    use crate::key::{Key, SPKI_BYTES, spki_of};

    #[test]
    fn both_ways_to_a_devices_key_lead_to_the_same() {
        for _ in 0..50 {
            let key = Key::generate();
            assert_eq!(noise_public_of(key.spki()), Some(key.noise_public()));
        }
    }

    #[test]
    fn the_key_is_the_one_that_libsodium_computes() {
        // libsodium, test/default/ed25519_convert.c: crypto_sign_ed25519_pk_to_curve25519.
        let ed25519 = array("b5076a8474a832daee4dd5b4040983b6623b5f344aca57d4d6ee4baf3f259e6e");
        let x25519 = array("f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50");
        assert_eq!(noise_public_of(&spki_of(&ed25519)), Some(x25519));
    }

    #[test]
    fn what_nobody_can_hold_is_no_key() {
        let mut one = [0; 32];
        one[0] = 1;
        // The neutral point, one of order 4, and two heights at which the curve has no point.
        for public in [one, [0; 32], array(&format!("02{}", "00".repeat(31))), array(&format!("07{}", "00".repeat(31)))]
        {
            assert_eq!(noise_public_of(&spki_of(&public)), None, "{public:?}");
        }
        assert_eq!(noise_public_of(&[]), None);
        assert_eq!(noise_public_of(&[0; SPKI_BYTES]), None);
        assert_eq!(noise_public_of(&Key::generate().spki()[1..]), None);
    }
}
