//! What snow computes with: ring, which TLS has linked already, and X25519 of `exchange`.
//!
//! snow's own choices bring a second ChaCha20, Poly1305 and SHA-256 along.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

use super::packet::TAG_BYTES;
use crate::exchange;

/// The one suite. What a `NoiseParams` says of it is not asked: `state` says the same.
pub(super) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Kernel))
    }

    fn resolve_dh(&self, _choice: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(X25519 { secret: [0; 32], public: [0; 32] }))
    }

    fn resolve_hash(&self, _choice: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Sha256(Context::new(&SHA256))))
    }

    fn resolve_cipher(&self, _choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly(aead_key(&[0; 32]))))
    }
}

/// A key for [`nonce`]s that its holder never uses twice.
pub(super) fn aead_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("its keys have 32 bytes"))
}

/// Of a packet with this number (Noise, section 12.3).
pub(super) fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

struct Kernel;

impl Random for Kernel {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        SystemRandom::new().fill(bytes).map_err(|_| Error::Rng)
    }
}

struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = exchange::public(&self.secret);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        let mut secret = [0; 32];
        random.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    /// `public` and `out` have room for the longest keys that snow knows.
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public.first_chunk().ok_or(Error::Dh)?;
        let shared = exchange::shared(&self.secret, public).ok_or(Error::Dh)?;
        out[..shared.len()].copy_from_slice(&shared);
        Ok(())
    }
}

struct Sha256(Context);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        SHA256.block_len()
    }

    fn hash_len(&self) -> usize {
        SHA256.output_len()
    }

    fn reset(&mut self) {
        self.0 = Context::new(&SHA256);
    }

    fn input(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = self.0.clone().finish();
        out[..SHA256.output_len()].copy_from_slice(hash.as_ref());
    }
}

struct ChaChaPoly(LessSafeKey);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = aead_key(key);
    }

    fn encrypt(&self, counter: u64, head: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let sealed = self.0.seal_in_place_separate_tag(nonce(counter), Aad::from(head), body);
        let tag = sealed.expect("a message is far shorter than 256 GiB");
        rest[..TAG_BYTES].copy_from_slice(tag.as_ref());
        plain.len() + TAG_BYTES
    }

    fn decrypt(&self, counter: u64, head: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        // `out` may have no room for the tag, which ring wants behind the rest.
        let mut opened = sealed.to_vec();
        let plain = self.0.open_in_place(nonce(counter), Aad::from(head), &mut opened).map_err(|_| Error::Decrypt)?;
        out[..plain.len()].copy_from_slice(plain);
        Ok(plain.len())
    }
}

#[cfg(test)]
mod tests {
    use snow::{Builder, HandshakeState};

    use super::*;
    use crate::hex::{array, bytes};

    /// Both ends of the published vectors of cacophony, <https://github.com/haskell-cryptography/cacophony>, which share these.
    fn ends(name: &str, knows_hub: bool) -> [HandshakeState; 2] {
        let psk: [u8; 32] = *b"This is my Austrian perspective!";
        let end = |secret: &str, ephemeral: &str, is_initiator: bool| {
            let (secret, ephemeral) = (bytes(secret), bytes(ephemeral));
            let hub: [u8; 32] = array("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62");
            let mut builder = Builder::with_resolver(name.parse().unwrap(), Box::new(Resolver))
                .local_private_key(&secret)
                .and_then(|builder| builder.prologue(b"John Galt"))
                .and_then(|builder| builder.psk(3, &psk))
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&ephemeral);
            if knows_hub && is_initiator {
                builder = builder.remote_public_key(&hub).unwrap();
            }
            if is_initiator { builder.build_initiator().unwrap() } else { builder.build_responder().unwrap() }
        };
        [
            end(
                "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
                "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
                true,
            ),
            end(
                "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
                "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
                false,
            ),
        ]
    }

    fn check([mut writer, mut reader]: [HandshakeState; 2], messages: &[(&str, &str)], hash: &str) {
        let mut buffer = [0; 300];
        for (payload, expected) in messages {
            let length = writer.write_message(payload.as_bytes(), &mut buffer).unwrap();
            assert_eq!(buffer[..length], bytes(expected));
            let mut read = [0; 300];
            let length = reader.read_message(&bytes(expected), &mut read).unwrap();
            assert_eq!(&read[..length], payload.as_bytes());
            (writer, reader) = (reader, writer);
        }
        assert_eq!(writer.get_handshake_hash(), bytes(hash));
        assert_eq!(reader.get_handshake_hash(), bytes(hash));
    }

    #[test]
    fn the_published_handshake_of_ik_comes_out() {
        let messages = [
            (
                "Ludwig von Mises",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944718da798efbcd91528520204f904b9bd6c7413dccdc214d9\
                 51e15253e39987f18146e8cd0873654207148333479d4d16c289f0294b29960a72f48e0b7bba2e89083169825e59642148d492020664ccf7",
            ),
            (
                "Murray Rothbard",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088435361e70b2ed446e6c9ec387d1d6b3b840f194e373979d241\
                 b203c4acafccf5",
            ),
        ];
        let hash = "0b0f68fb0c27e03ce9b97565995ed4838cc0581b762ef72b062f6a546419fad7";
        check(ends("Noise_IK_25519_ChaChaPoly_SHA256", true), &messages, hash);
    }

    #[test]
    fn the_published_handshake_of_xxpsk3_comes_out() {
        let messages = [
            (
                "Ludwig von Mises",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944c9f5ff0e8079630cb7e270c20bbf480821b77a384a645c71\
                 a2fd9b3db1c16a5f",
            ),
            (
                "Murray Rothbard",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843b123def17f71e6ae8e57e0e1dec5949c5f7415c6f3351739\
                 8747d821a06dc23ad430aa1fd7381d46195c378a819fd574425462cbb2d4ca339e738a0b7001dc91423fbf55a99af0c6f1df21012ceb2f",
            ),
            (
                "F. A. Hayek",
                "52187316111b118d4c060364f7b975dc0809b2590779aff2d63113c564f11744493384db7bf32d5ae6686df6ab06d508d2e07caaf1d6afc0\
                 10b978735fc78900e71ae1d314130d042e729a",
            ),
        ];
        let hash = "a477edf6a131bbdb54707f6ea30eab6cd935d9b560f0e5fd1f053a95a99669fb";
        check(ends("Noise_XXpsk3_25519_ChaChaPoly_SHA256", false), &messages, hash);
    }
}
