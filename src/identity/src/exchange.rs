//! X25519 (RFC 7748): two keys, one secret that only the holders of their other halves know.
//!
//! ring has X25519 for keys that live for one exchange only. This is the ladder of `curve25519-dalek`, in constant time; its
//! faster multiplication of the base point takes the whole other form of the curve with it, and the agent has no room for that.

use curve25519_dalek::montgomery::MontgomeryPoint;

/// The base point (RFC 7748 section 4.1).
const BASE: MontgomeryPoint = {
    let mut bytes = [0; 32];
    bytes[0] = 9;
    MontgomeryPoint(bytes)
};

/// The public half of a secret.
pub(crate) fn public(secret: &[u8; 32]) -> [u8; 32] {
    BASE.mul_clamped(*secret).to_bytes()
}

/// What both ends get from their own secret and the other's public half. None for a point of small order: what comes of it anyone
/// knows (RFC 7748 section 6.1).
pub(crate) fn shared(secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    let shared = MontgomeryPoint(*public).mul_clamped(*secret).to_bytes();
    let bits = shared.iter().fold(0, |bits, byte| bits | byte);
    (bits != 0).then_some(shared)
}

/// Makes a secret of any 32 bytes (RFC 7748 section 5). Every use does so again, and it changes nothing.
pub(crate) fn clamp(secret: &mut [u8; 32]) {
    *secret = curve25519_dalek::scalar::clamp_integer(*secret);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn the_vectors_of_rfc_7748_come_out() {
        // Section 5.2.
        let check = |secret, public, expected| {
            assert_eq!(shared(&hex::array(secret), &hex::array(public)), Some(hex::array(expected)));
        };
        check(
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        );
        check(
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        );
    }

    #[test]
    fn both_ends_of_rfc_7748_get_the_same_secret() {
        // Section 6.1.
        let alice = hex::array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = hex::array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(public(&alice), hex::array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        assert_eq!(public(&bob), hex::array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        let expected = Some(hex::array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
        assert_eq!(shared(&alice, &public(&bob)), expected);
        assert_eq!(shared(&bob, &public(&alice)), expected);
    }

    #[test]
    fn the_thousandth_iteration_of_rfc_7748_comes_out() {
        let (mut secret, mut point) = (BASE.0, BASE.0);
        for _ in 0..1000 {
            (secret, point) = (shared(&secret, &point).unwrap(), secret);
        }
        assert_eq!(secret, hex::array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    }

    #[test]
    fn a_point_of_small_order_gives_no_secret() {
        // Every such point that is not one of them plus the prime (Bernstein, <https://cr.yp.to/ecdh.html>).
        let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        let minus_1 = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one, hex::array(order_8), hex::array(minus_1)] {
            assert_eq!(shared(&[0x55; 32], &point), None);
        }
    }

    #[test]
    fn clamping_again_changes_nothing() {
        let mut secret = [0xff; 32];
        let expected = public(&secret);
        clamp(&mut secret);
        assert_eq!((secret[0], secret[31]), (0xf8, 0x7f));
        assert_eq!(public(&secret), expected);
    }
}
