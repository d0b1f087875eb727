//! A device with a token, and the hub that gave it out: Noise XXpsk3, three messages.
//!
//! ```text
//! message 1   0x03, e 32, which token 32 + 16                                              81 bytes
//! message 2   0x04, e 32, s 32 + 16, (connection 3, proof 96, payload) + 16               196 bytes and the payload
//! message 3   0x05, connection 3, s 32 + 16, (proof 96, payload) + 16                     164 bytes and the payload
//! ```
//!
//! The hub's proof (see `proof`) ties the key that it speaks with here to its Ed25519 key, whose fingerprint is in the token. The device's proof tells the
//! hub the key to enroll; it speaks with that key here from then on.
//!
//! **The token.** The hub stores the hash of its secret, and both keys here follow from this hash. So message 3 shows that the sender knows
//! the hash, which whoever reads the hub's store does too. What enrolls is the secret itself, inside message 3's payload or the session, as over TLS.
//!
//! **What a forger can do.** Who reads message 1 on its way can answer it with a key of its own, and who reads message 3 can deliver it with a changed
//! payload: neither learns anything or enrolls, but this exchange is over, and the device begins another. Who can do this can as well hold packets back.

use std::fmt;

use ring::hkdf;

use super::handshake::{answer_bytes_max, take_connection};
use super::montgomery::noise_public_of;
use super::packet::{
    AMPLIFICATION_MAX, CONNECTION_BYTES, ConnectionId, ENROLMENT_1, ENROLMENT_2, ENROLMENT_3, TAG_BYTES,
};
use super::proof::{self, PROOF_BYTES, Prover};
use super::refusal::HandshakeError;
use super::session::Session;
use super::state::{Role, State};
use crate::key::{self, Key, SPKI_BYTES};
use crate::token::{Token, secret_hash};
use crate::verify::WrongHub;

/// Bytes of message 1.
pub const MESSAGE_1_BYTES: usize = 1 + 32 + 32 + TAG_BYTES;

/// Bytes of message 2 beside its payload.
pub const MESSAGE_2_BYTES: usize = 1 + 32 + 32 + TAG_BYTES + CONNECTION_BYTES + PROOF_BYTES + TAG_BYTES;

/// Bytes of message 3 beside its payload.
pub const MESSAGE_3_BYTES: usize = 1 + CONNECTION_BYTES + 32 + TAG_BYTES + PROOF_BYTES + TAG_BYTES;

const _: () = assert!(MESSAGE_2_BYTES <= AMPLIFICATION_MAX * MESSAGE_1_BYTES);

/// What a token is here, at both ends.
#[derive(Clone)]
pub struct TokenKey {
    /// What message 1 names the token by. No secret.
    pub name: [u8; 32],
    psk: [u8; 32],
}

/// The device's end, between message 1 and message 3.
pub struct Initiator {
    state: State,
    token: Token,
}

/// The hub's end, between message 1 and message 3.
pub struct Responder(State);

/// What message 2 told the device.
#[derive(Debug)]
pub struct Admitted {
    /// The hub's key on this carrier: to be kept, for `handshake`.
    pub hub: [u8; 32],
    /// What came along.
    pub payload: Vec<u8>,
    /// Message 3, to be sent until the hub answers in the session.
    pub message_3: Vec<u8>,
    /// Keys of the hub of the token.
    pub session: Session,
}

/// What message 3 told the hub.
#[derive(Debug)]
pub struct Newcomer {
    /// The key that the device proved to hold, as over TLS.
    pub spki: [u8; SPKI_BYTES],
    /// What came along: from whoever knows the token's hash. See the module.
    pub payload: Vec<u8>,
    /// Keys of that device. It is there now: message 3 answers what the hub made up for message 2.
    pub session: Session,
}

impl TokenKey {
    /// Of what the hub stores: [`secret_hash`].
    pub fn new(secret_hash: &[u8; 32]) -> TokenKey {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"outpost enrolment").extract(secret_hash);
        let expand = |label: &[u8]| {
            let mut key = [0; 32];
            let expanded = prk.expand(&[label], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
            expanded.expect("so much comes of one hash");
            key
        };
        TokenKey { name: expand(b"name"), psk: expand(b"psk") }
    }
}

impl Initiator {
    /// Begins with the hub of the token, and returns message 1 with it, to be sent until message 2 comes.
    pub fn new(key: &Key, token: &Token) -> (Initiator, Vec<u8>) {
        let TokenKey { name, psk } = TokenKey::new(&secret_hash(&token.secret));
        let mut state = State::new(key, Role::EnrollingDevice { psk: &psk });
        let packet = state.write(&[ENROLMENT_1], &name).expect("nothing of the other end is in message 1");
        (Initiator { state, token: token.clone() }, packet)
    }

    /// Reads message 2 and writes message 3 with `payload`. `key` is the one of [`Initiator::new`].
    ///
    /// What is malformed or not authentic changes nothing. After [`HandshakeError::WrongHub`] and [`HandshakeError::Unproven`] the exchange is over,
    /// and after success too: everything is refused.
    pub fn finish(&mut self, key: &Key, packet: &[u8], payload: &[u8]) -> Result<Admitted, HandshakeError> {
        if packet.len() < MESSAGE_2_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let hash = self.state.hash().to_vec();
        let mut said = self.state.read(&[ENROLMENT_2], packet)?;
        let connection = take_connection(&mut said);
        let hub = self.state.peer();
        let (spki, rest) = proof::verify(&said, Prover::Hub, &hash, &hub).ok_or(HandshakeError::Unproven)?;
        let shown = key::fingerprint(&spki);
        if shown != self.token.hub {
            return Err(HandshakeError::WrongHub(WrongHub { shown, pins: vec![self.token.hub] }));
        }
        let proof = proof::prove(key, Prover::Device, &self.state);
        let head = [&[ENROLMENT_3], &connection.0[..]].concat();
        let message_3 = self.state.write(&head, &[&proof, payload].concat())?;
        Ok(Admitted { hub, payload: rest.to_vec(), message_3, session: self.state.session(connection, true) })
    }
}

impl Responder {
    /// Reads message 1, and returns the [`TokenKey::name`] that it names.
    pub fn accept(key: &Key, packet: &[u8]) -> Result<([u8; 32], Responder), HandshakeError> {
        if packet.len() != MESSAGE_1_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let mut state = State::new(key, Role::EnrollingHub);
        let name = state.read(&[ENROLMENT_1], packet)?;
        Ok((name.try_into().expect("the length was checked"), Responder(state)))
    }

    /// Bytes of payload that message 2 has room for.
    pub const PAYLOAD_BYTES_MAX: usize = AMPLIFICATION_MAX * MESSAGE_1_BYTES - MESSAGE_2_BYTES;

    /// Message 2. `key` is the one of [`Responder::accept`].
    ///
    /// Errors: [`HandshakeError::Unauthentic`] when message 1 came with a key that nobody can have. Panics: when the payload is longer than
    /// [`Responder::PAYLOAD_BYTES_MAX`].
    pub fn answer(
        &mut self,
        key: &Key,
        token: &TokenKey,
        connection: ConnectionId,
        payload: &[u8],
    ) -> Result<Vec<u8>, HandshakeError> {
        self.0.set_psk(&token.psk);
        self.message_2(key, connection, payload)
    }

    /// Message 2 for whoever names a token that the hub has not: its `payload` says so, and there is nothing to answer it with. Who has read the name
    /// on its way learns whether the hub keeps that token, and nothing that enrolls. `key` is the one of [`Responder::accept`].
    ///
    /// Errors, panics: as [`Responder::answer`].
    pub fn refuse(mut self, key: &Key, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        self.message_2(key, ConnectionId([0; CONNECTION_BYTES]), payload)
    }

    fn message_2(&mut self, key: &Key, connection: ConnectionId, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        assert!(payload.len() <= Responder::PAYLOAD_BYTES_MAX, "an answer of {} bytes amplifies", payload.len());
        let proof = proof::prove(key, Prover::Hub, &self.0);
        let packet = self.0.write(&[ENROLMENT_2], &[&connection.0, &proof[..], payload].concat())?;
        debug_assert!(packet.len() <= answer_bytes_max(MESSAGE_1_BYTES));
        Ok(packet)
    }

    /// Reads message 3, which came for this `connection`. After success everything is refused.
    pub fn finish(&mut self, connection: ConnectionId, packet: &[u8]) -> Result<Newcomer, HandshakeError> {
        if packet.len() < MESSAGE_3_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let hash = self.0.hash().to_vec();
        let head = [&[ENROLMENT_3], &connection.0[..]].concat();
        let said = self.0.read(&head, packet)?;
        let device = self.0.peer();
        let (spki, rest) = proof::verify(&said, Prover::Device, &hash, &device).ok_or(HandshakeError::Unproven)?;
        // The next handshake is with this key alone, and only what follows from the enrolled key will be known.
        if noise_public_of(&spki) != Some(device) {
            return Err(HandshakeError::Unproven);
        }
        Ok(Newcomer { spki, payload: rest.to_vec(), session: self.0.session(connection, true) })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder(..)")
    }
}

#[cfg(test)]
mod tests {
    use ring::aead::Aad;
    use ring::digest::{SHA256, digest};
    use ring::hmac;

    use super::*;
    use crate::hex::array;
    use crate::noise::packet::ToHub;
    use crate::noise::resolver::{aead_key, nonce};

    const CONNECTION: ConnectionId = ConnectionId([9, 8, 7]);

    /// A device, a hub, and the token that one has of the other.
    struct Two {
        device: Key,
        hub: Key,
        token: Token,
    }

    impl Two {
        fn new() -> Two {
            let hub = Key::generate();
            Two { device: Key::generate(), token: Token::generate(hub.fingerprint()), hub }
        }

        /// Up to message 2.
        fn answered(&self) -> (Initiator, Responder, Vec<u8>) {
            let (initiator, message_1) = Initiator::new(&self.device, &self.token);
            let (name, mut responder) = Responder::accept(&self.hub, &message_1).unwrap();
            let token = self.token_key();
            assert_eq!(name, token.name);
            let message_2 = responder.answer(&self.hub, &token, CONNECTION, b"welcome").unwrap();
            (initiator, responder, message_2)
        }

        /// What the hub has of the token.
        fn token_key(&self) -> TokenKey {
            TokenKey::new(&secret_hash(&self.token.secret))
        }
    }

    fn check_same(device: &mut Session, hub: &mut Session) {
        let mut packet = Vec::new();
        device.seal(b"up", &mut packet).unwrap();
        assert_eq!(hub.open(&mut packet).unwrap().payload, b"up");
        hub.seal(b"down", &mut packet).unwrap();
        assert_eq!(device.open(&mut packet).unwrap().payload, b"down");
    }

    #[test]
    fn a_device_enrolls_with_81_and_196_and_164_bytes() {
        let two = Two::new();
        let (mut initiator, mut responder, message_2) = two.answered();
        assert_eq!((MESSAGE_1_BYTES, message_2.len()), (81, 196 + 7));
        let mut admitted = initiator.finish(&two.device, &message_2, b"hello").unwrap();
        assert_eq!((admitted.hub, &admitted.payload[..]), (two.hub.noise_public(), &b"welcome"[..]));
        assert_eq!(admitted.message_3.len(), 164 + 5);
        assert_eq!(ToHub::read(&admitted.message_3), Some(ToHub::Enrolment3(CONNECTION)));
        let mut newcomer = responder.finish(CONNECTION, &admitted.message_3).unwrap();
        assert_eq!((&newcomer.spki[..], &newcomer.payload[..]), (two.device.spki(), &b"hello"[..]));
        assert!(newcomer.session.is_confirmed());
        check_same(&mut admitted.session, &mut newcomer.session);
        // Both have done all they can.
        assert_eq!(initiator.finish(&two.device, &message_2, b"").unwrap_err(), HandshakeError::Malformed);
        assert!(responder.finish(CONNECTION, &admitted.message_3).is_err());
    }

    #[test]
    fn a_token_that_the_hub_does_not_know_has_another_name_and_another_key() {
        let two = Two::new();
        let other = Token::generate(two.hub.fingerprint());
        let (mut initiator, message_1) = Initiator::new(&two.device, &other);
        let (name, mut responder) = Responder::accept(&two.hub, &message_1).unwrap();
        assert_ne!(name, two.token_key().name);
        // Even a hub that answers lets nobody in.
        let message_2 = responder.answer(&two.hub, &two.token_key(), CONNECTION, b"").unwrap();
        let admitted = initiator.finish(&two.device, &message_2, b"").unwrap();
        let refused = responder.finish(CONNECTION, &admitted.message_3).unwrap_err();
        assert_eq!(refused, HandshakeError::Unauthentic);
    }

    #[test]
    fn a_token_that_the_hub_does_not_have_is_refused_in_the_hub_s_name() {
        let two = Two::new();
        let (mut initiator, message_1) = Initiator::new(&two.device, &two.token);
        let responder = Responder::accept(&two.hub, &message_1).unwrap().1;
        let refusal = responder.refuse(&two.hub, b"no such token").unwrap();
        assert!(refusal.len() <= AMPLIFICATION_MAX * message_1.len());
        assert_eq!(initiator.finish(&two.device, &refusal, b"hello").unwrap().payload, b"no such token");
        // Nobody else can say it.
        let (mut initiator, message_1) = Initiator::new(&two.device, &two.token);
        let thief = Key::generate();
        let refusal = Responder::accept(&thief, &message_1).unwrap().1.refuse(&thief, b"no such token").unwrap();
        let refused = initiator.finish(&two.device, &refusal, b"").unwrap_err();
        assert!(matches!(refused, HandshakeError::WrongHub(_)), "{refused}");
    }

    #[test]
    fn the_hub_of_another_key_is_refused_and_named() {
        let two = Two::new();
        let stranger = Two { hub: Key::generate(), ..Two::new() };
        let (mut initiator, message_1) = Initiator::new(&two.device, &two.token);
        let mut responder = Responder::accept(&stranger.hub, &message_1).unwrap().1;
        let message_2 = responder.answer(&stranger.hub, &two.token_key(), CONNECTION, b"").unwrap();
        let expected = WrongHub { shown: stranger.hub.fingerprint(), pins: vec![two.hub.fingerprint()] };
        let refused = initiator.finish(&two.device, &message_2, b"").unwrap_err();
        assert_eq!(refused, HandshakeError::WrongHub(expected));
    }

    /// Someone in between speaks with a key of its own, and has what `of` signed, in this very handshake.
    fn forged_answer(two: &Two, message_1: &[u8], thief: &Key, of: &Key, prover: Prover) -> Vec<u8> {
        let mut responder = Responder::accept(thief, message_1).unwrap().1;
        responder.0.set_psk(&two.token_key().psk);
        let proof = proof::prove(of, prover, &responder.0);
        responder.0.write(&[ENROLMENT_2], &[&CONNECTION.0, &proof[..]].concat()).unwrap()
    }

    #[test]
    fn a_proof_counts_for_its_own_key_and_end_alone() {
        let two = Two::new();
        let thief = Key::generate();
        for (speaker, signer, prover) in [(&thief, &two.hub, Prover::Hub), (&two.hub, &two.hub, Prover::Device)] {
            let (mut initiator, message_1) = Initiator::new(&two.device, &two.token);
            let message_2 = forged_answer(&two, &message_1, speaker, signer, prover);
            assert_eq!(initiator.finish(&two.device, &message_2, b"").unwrap_err(), HandshakeError::Unproven);
        }
    }

    #[test]
    fn a_proof_counts_in_its_own_exchange_alone() {
        let two = Two::new();
        let (_, message_1) = Initiator::new(&two.device, &two.token);
        let earlier = Responder::accept(&two.hub, &message_1).unwrap().1;
        let proof = proof::prove(&two.hub, Prover::Hub, &earlier.0);
        let (mut initiator, message_1) = Initiator::new(&two.device, &two.token);
        let mut responder = Responder::accept(&two.hub, &message_1).unwrap().1;
        let message_2 = responder.0.write(&[ENROLMENT_2], &[&CONNECTION.0, &proof[..]].concat()).unwrap();
        assert_eq!(initiator.finish(&two.device, &message_2, b"").unwrap_err(), HandshakeError::Unproven);
    }

    #[test]
    fn a_device_enrolls_no_key_but_its_own() {
        let two = Two::new();
        let (mut initiator, mut responder, message_2) = two.answered();
        // It signs with a key that is not the one it speaks with.
        let other = Key::generate();
        let admitted = initiator.finish(&other, &message_2, b"").unwrap();
        assert_eq!(responder.finish(CONNECTION, &admitted.message_3).unwrap_err(), HandshakeError::Unproven);
    }

    #[test]
    fn a_recorded_message_3_enrolls_nobody_again() {
        let two = Two::new();
        let (mut initiator, mut responder, message_2) = two.answered();
        let message_3 = initiator.finish(&two.device, &message_2, b"").unwrap().message_3;
        let (_, mut another, _) = two.answered();
        assert_eq!(another.finish(CONNECTION, &message_3).unwrap_err(), HandshakeError::Unauthentic);
        assert!(responder.finish(CONNECTION, &message_3).is_ok());
    }

    #[test]
    fn the_right_message_2_is_taken_after_any_number_of_wrong_ones() {
        let two = Two::new();
        let (mut initiator, _, message_2) = two.answered();
        for at in 0..message_2.len() {
            let mut changed = message_2.clone();
            changed[at] ^= 0x80;
            assert!(initiator.finish(&two.device, &changed, b"").is_err());
            assert!(initiator.finish(&two.device, &message_2[..at], b"").is_err());
        }
        assert!(initiator.finish(&two.device, &message_2, b"").is_ok());
    }

    #[test]
    fn a_message_3_of_who_knows_no_key_changes_nothing() {
        let two = Two::new();
        let (mut initiator, mut responder, message_2) = two.answered();
        let message_3 = initiator.finish(&two.device, &message_2, b"").unwrap().message_3;
        // Up to the device's key every byte counts at once; what is behind it, only who reads along can send.
        for at in 0..MESSAGE_3_BYTES - PROOF_BYTES - TAG_BYTES {
            let mut changed = message_3.clone();
            changed[at] ^= 0x80;
            assert!(responder.finish(CONNECTION, &changed).is_err());
            assert!(responder.finish(CONNECTION, &message_3[..at]).is_err());
        }
        assert!(responder.finish(ConnectionId([0; 3]), &message_3).is_err());
        assert!(responder.finish(CONNECTION, &message_3).is_ok());
    }

    #[test]
    fn a_changed_payload_of_message_3_enrolls_nobody() {
        let two = Two::new();
        for at in [52, 100, 147, 163] {
            let (mut initiator, mut responder, message_2) = two.answered();
            let mut message_3 = initiator.finish(&two.device, &message_2, b"").unwrap().message_3;
            message_3[at] ^= 1;
            assert_eq!(responder.finish(CONNECTION, &message_3).unwrap_err(), HandshakeError::Unauthentic);
        }
    }

    #[test]
    fn a_changed_or_shortened_message_1_is_refused() {
        let two = Two::new();
        let (_, message_1) = Initiator::new(&two.device, &two.token);
        for at in 0..message_1.len() {
            let mut changed = message_1.clone();
            changed[at] ^= 0x80;
            assert!(Responder::accept(&two.hub, &changed).is_err());
            assert!(Responder::accept(&two.hub, &message_1[..at]).is_err());
        }
    }

    #[test]
    fn the_longest_answer_is_three_times_as_long_as_message_1() {
        let two = Two::new();
        let (_, message_1) = Initiator::new(&two.device, &two.token);
        let mut responder = Responder::accept(&two.hub, &message_1).unwrap().1;
        let payload = [0; Responder::PAYLOAD_BYTES_MAX];
        let message_2 = responder.answer(&two.hub, &two.token_key(), CONNECTION, &payload).unwrap();
        assert_eq!(message_2.len(), 3 * message_1.len());
    }

    #[test]
    fn a_key_that_anyone_could_have_gets_no_answer() {
        // Message 1 is sealed with nothing but the key in it, so that anyone can write one with any key.
        let two = Two::new();
        let public = [0; 32];
        let hash = |parts: &[&[u8]]| digest(&SHA256, &parts.concat());
        let chaining = hash(&[b"Noise_XXpsk3_25519_ChaChaPoly_SHA256"]);
        let hashed = hash(&[hash(&[chaining.as_ref(), b"outpost 0"]).as_ref(), &public]);
        let keyed = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let extracted = keyed(chaining.as_ref(), &public);
        let first = keyed(extracted.as_ref(), &[1]);
        let second = keyed(extracted.as_ref(), &[first.as_ref(), &[2]].concat());
        let mut name = two.token_key().name.to_vec();
        let key = aead_key(second.as_ref().try_into().unwrap());
        key.seal_in_place_append_tag(nonce(0), Aad::from(hashed.as_ref()), &mut name).unwrap();

        let message_1 = [&[ENROLMENT_1], &public[..], &name].concat();
        let mut responder = Responder::accept(&two.hub, &message_1).unwrap().1;
        let answer = responder.answer(&two.hub, &two.token_key(), CONNECTION, b"");
        assert_eq!(answer, Err(HandshakeError::Unauthentic));
    }

    #[test]
    fn a_tokens_name_and_key_are_these() {
        // HKDF of RFC 5869, computed elsewhere.
        let token = TokenKey::new(&[7; 32]);
        assert_eq!(token.name, array("7c2d8cd548630c94c6adda6bb836ae9779082cefb0394d74c7a9bad8d426389d"));
        assert_eq!(token.psk, array("c1fc28b65d720f83541cb8106091c5ff2459809743d0aaf69b19d2e1a3adcbf9"));
        assert_eq!(format!("{token:?}"), "TokenKey(..)");
    }
}
