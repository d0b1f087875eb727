//! Two ends that know each other: Noise IK, one message each way.
//!
//! ```text
//! message 1   0x01, e 32, s 32 + 16, payload + 16                 97 bytes and the payload
//! message 2   0x02, e 32, (connection 3, payload) + 16            52 bytes and the payload
//! ```
//!
//! The device says who it is under the hub's key, so that nobody on the way sees it. What message 1 carries can be recorded and sent to the hub
//! again, and is read by whoever gets hold of the hub's key later; a greeting bears that, an order would not.

use std::fmt;

use super::packet::{
    AMPLIFICATION_MAX, CONNECTION_BYTES, ConnectionId, HANDSHAKE_1, HANDSHAKE_2, PACKET_BYTES_MAX, TAG_BYTES,
};
use super::refusal::HandshakeError;
use super::session::Session;
use super::state::{Role, State};
use crate::key::Key;

/// Bytes of message 1 beside its payload.
pub const MESSAGE_1_BYTES: usize = 1 + 32 + 32 + TAG_BYTES + TAG_BYTES;

/// Bytes of message 2 beside its payload.
pub const MESSAGE_2_BYTES: usize = 1 + 32 + CONNECTION_BYTES + TAG_BYTES;

// Any first message may be answered, with some words behind.
const _: () = assert!(MESSAGE_2_BYTES + 200 <= AMPLIFICATION_MAX * MESSAGE_1_BYTES);

/// The device's end, between message 1 and message 2.
pub struct Initiator(State);

/// The hub's end, between message 1 and message 2: who calls is known, what to answer is not yet.
///
/// Message 1 may be a recording, of which each copy comes this far. Only whoever holds the device's key can go on from message 2. So
/// the holder of a responder's session owes three things:
///
/// - not to let it take the place of the device's live session before [`Session::is_confirmed`], which the first packet that opens makes true;
/// - to take what came with message 1 as said at some time, not as said now;
/// - to keep few unconfirmed sessions, and those for seconds.
pub struct Responder {
    state: State,
    message_1_bytes: usize,
}

/// What message 1 told the hub.
#[derive(Debug)]
pub struct Call {
    /// The key of whoever calls: [`super::montgomery::noise_public_of`] some device's key, or of nobody known.
    pub device: [u8; 32],
    /// What came along. Perhaps a recording.
    pub payload: Vec<u8>,
    /// To answer with.
    pub responder: Responder,
}

impl Initiator {
    /// Begins with the hub that has this key, and returns message 1 with it. Message 1 may be sent again and again, until message 2 comes.
    ///
    /// Errors: [`HandshakeError::Unauthentic`] when `hub` is nobody's key.
    pub fn new(key: &Key, hub: &[u8; 32], payload: &[u8]) -> Result<(Initiator, Vec<u8>), HandshakeError> {
        let mut state = State::new(key, Role::Device { hub });
        let packet = state.write(&[HANDSHAKE_1], payload)?;
        Ok((Initiator(state), packet))
    }

    /// Reads message 2: its payload, and the session. What is refused changes nothing, so that the right one may still come; after it
    /// everything is refused.
    pub fn finish(&mut self, packet: &[u8]) -> Result<(Vec<u8>, Session), HandshakeError> {
        if packet.len() < MESSAGE_2_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let mut payload = self.0.read(&[HANDSHAKE_2], packet)?;
        let connection = take_connection(&mut payload);
        Ok((payload, self.0.session(connection, true)))
    }
}

impl Responder {
    /// Reads message 1.
    pub fn accept(key: &Key, packet: &[u8]) -> Result<Call, HandshakeError> {
        if packet.len() < MESSAGE_1_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let mut state = State::new(key, Role::Hub);
        let payload = state.read(&[HANDSHAKE_1], packet)?;
        Ok(Call { device: state.peer(), payload, responder: Responder { state, message_1_bytes: packet.len() } })
    }

    /// Bytes of payload that message 2 has room for: at least 239.
    pub fn payload_bytes_max(&self) -> usize {
        answer_bytes_max(self.message_1_bytes) - MESSAGE_2_BYTES
    }

    /// Message 2, and the session, which is not confirmed yet.
    ///
    /// Panics: when the payload is longer than [`Responder::payload_bytes_max`].
    pub fn answer(mut self, connection: ConnectionId, payload: &[u8]) -> (Vec<u8>, Session) {
        assert!(payload.len() <= self.payload_bytes_max(), "an answer of {} bytes amplifies", payload.len());
        let packet = self.state.write(&[HANDSHAKE_2], &[&connection.0, payload].concat());
        let packet = packet.expect("both keys of the device were computed with in message 1");
        (packet, self.state.session(connection, false))
    }
}

/// How long an answer to a message of so many bytes may be.
pub(super) fn answer_bytes_max(message_bytes: usize) -> usize {
    (AMPLIFICATION_MAX * message_bytes).min(PACKET_BYTES_MAX)
}

/// What message 2 says first. Its length was checked.
pub(super) fn take_connection(payload: &mut Vec<u8>) -> ConnectionId {
    let connection = *payload.first_chunk().expect("message 2 is never shorter");
    payload.drain(..CONNECTION_BYTES);
    ConnectionId(connection)
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
    use super::*;
    use crate::noise::montgomery::noise_public_of;
    use crate::noise::packet::ToHub;

    const CONNECTION: ConnectionId = ConnectionId([9, 8, 7]);

    /// A device, a hub, and message 1 from one to the other.
    fn called(payload: &[u8]) -> (Key, Key, Initiator, Vec<u8>) {
        let (device, hub) = (Key::generate(), Key::generate());
        let (initiator, packet) = Initiator::new(&device, &hub.noise_public(), payload).unwrap();
        (device, hub, initiator, packet)
    }

    /// Whether what either end seals opens at the other.
    fn is_same(device: &mut Session, hub: &mut Session) -> bool {
        let mut packet = Vec::new();
        device.seal(b"up", &mut packet).unwrap();
        let is_up = hub.open(&mut packet).is_ok_and(|opened| opened.payload == b"up");
        hub.seal(b"down", &mut packet).unwrap();
        is_up && device.open(&mut packet).is_ok_and(|opened| opened.payload == b"down")
    }

    #[test]
    fn both_ends_come_to_one_session_with_97_and_52_bytes() {
        let (device, hub, mut initiator, message_1) = called(b"hello");
        assert_eq!(message_1.len(), 97 + 5);
        assert_eq!(ToHub::read(&message_1), Some(ToHub::Handshake1));
        let call = Responder::accept(&hub, &message_1).unwrap();
        assert_eq!(call.device, noise_public_of(device.spki()).unwrap());
        assert_eq!(call.payload, b"hello");
        let (message_2, mut hubs) = call.responder.answer(CONNECTION, b"welcome");
        assert_eq!(message_2.len(), 52 + 7);
        let (payload, mut devices) = initiator.finish(&message_2).unwrap();
        assert_eq!(payload, b"welcome");
        assert_eq!((devices.connection(), hubs.connection()), (CONNECTION, CONNECTION));
        assert!(devices.is_confirmed() && !hubs.is_confirmed());
        assert!(is_same(&mut devices, &mut hubs));
        assert!(hubs.is_confirmed());
    }

    #[test]
    fn a_hub_with_another_key_cannot_read_message_1() {
        let (_, _, _, message_1) = called(b"hello");
        assert_eq!(Responder::accept(&Key::generate(), &message_1).unwrap_err(), HandshakeError::Unauthentic);
    }

    #[test]
    fn who_only_knows_a_devices_public_key_cannot_call_in_its_name() {
        let (_, hub, _, message_1) = called(b"");
        let call = Responder::accept(&hub, &message_1).unwrap();
        let other = Initiator::new(&Key::generate(), &hub.noise_public(), b"").unwrap().1;
        // The static key of one under the rest of the other.
        let mut mixed = other.clone();
        mixed[33..81].copy_from_slice(&message_1[33..81]);
        assert!(Responder::accept(&hub, &mixed).is_err());
        assert_ne!(Responder::accept(&hub, &other).unwrap().device, call.device);
    }

    #[test]
    fn a_recorded_call_leads_to_a_session_that_nobody_confirms() {
        let (_, hub, mut initiator, message_1) = called(b"hello");
        let (message_2, mut live) = Responder::accept(&hub, &message_1).unwrap().responder.answer(CONNECTION, b"");
        let (_, mut device) = initiator.finish(&message_2).unwrap();
        let (again_2, mut recorded) = Responder::accept(&hub, &message_1).unwrap().responder.answer(CONNECTION, b"");
        assert_eq!(initiator.finish(&again_2).unwrap_err(), HandshakeError::Malformed);
        // All that the one who recorded has are the device's packets.
        let mut packet = Vec::new();
        device.seal(b"up", &mut packet).unwrap();
        assert!(recorded.open(&mut packet.clone()).is_err());
        assert!(!recorded.is_confirmed());
        assert!(live.open(&mut packet).is_ok());
    }

    #[test]
    fn the_right_answer_is_taken_after_any_number_of_wrong_ones() {
        let (_, hub, mut initiator, message_1) = called(b"");
        let (message_2, mut hubs) = Responder::accept(&hub, &message_1).unwrap().responder.answer(CONNECTION, b"");
        for at in 0..message_2.len() {
            let mut changed = message_2.clone();
            changed[at] ^= 0x40;
            assert!(initiator.finish(&changed).is_err());
            assert!(initiator.finish(&message_2[..at]).is_err());
            assert!(initiator.finish(&[&message_2[..], &[0]].concat()).is_err());
        }
        assert!(initiator.finish(&message_1).is_err());
        let (_, mut devices) = initiator.finish(&message_2).unwrap();
        assert!(is_same(&mut devices, &mut hubs));
        assert_eq!(initiator.finish(&message_2).unwrap_err(), HandshakeError::Malformed);
    }

    #[test]
    fn a_changed_or_shortened_call_is_refused() {
        let (_, hub, _, message_1) = called(b"hello");
        for at in 0..message_1.len() {
            let mut changed = message_1.clone();
            changed[at] ^= 0x80;
            // X25519 does not look at the highest bit of a key, but what is read is hashed whole.
            assert!(Responder::accept(&hub, &changed).is_err(), "byte {at}");
            assert!(Responder::accept(&hub, &message_1[..at]).is_err());
        }
        assert_eq!(Responder::accept(&hub, &[1; PACKET_BYTES_MAX + 1]).unwrap_err(), HandshakeError::Malformed);
    }

    #[test]
    fn keys_that_anyone_could_have_are_refused() {
        let (_, hub, _, mut message_1) = called(b"");
        assert_eq!(Initiator::new(&hub, &[0; 32], b"").unwrap_err(), HandshakeError::Unauthentic);
        message_1[1..33].fill(0);
        assert_eq!(Responder::accept(&hub, &message_1).unwrap_err(), HandshakeError::Unauthentic);
    }

    #[test]
    fn an_answer_is_at_most_three_times_as_long_as_the_call() {
        for length in [0, 5, 1000] {
            let (_, hub, _, message_1) = called(&vec![0; length]);
            let responder = Responder::accept(&hub, &message_1).unwrap().responder;
            assert!(responder.payload_bytes_max() >= 239);
            let payload = vec![0; responder.payload_bytes_max()];
            let (message_2, _) = responder.answer(CONNECTION, &payload);
            assert_eq!(message_2.len(), (3 * message_1.len()).min(PACKET_BYTES_MAX));
        }
    }

    #[test]
    #[should_panic(expected = "amplifies")]
    fn a_longer_answer_is_a_bug_of_the_hub() {
        let (_, hub, _, message_1) = called(b"");
        let responder = Responder::accept(&hub, &message_1).unwrap().responder;
        let payload = vec![0; responder.payload_bytes_max() + 1];
        responder.answer(CONNECTION, &payload);
    }

    #[test]
    fn every_handshake_has_keys_of_its_own() {
        let (device, hub, mut initiator, message_1) = called(b"");
        let (message_2, _) = Responder::accept(&hub, &message_1).unwrap().responder.answer(CONNECTION, b"");
        let (_, mut first) = initiator.finish(&message_2).unwrap();
        let (mut initiator, message_1) = Initiator::new(&device, &hub.noise_public(), b"").unwrap();
        let (message_2, mut hubs) = Responder::accept(&hub, &message_1).unwrap().responder.answer(CONNECTION, b"");
        let (_, mut second) = initiator.finish(&message_2).unwrap();
        assert!(!is_same(&mut first, &mut hubs));
        assert!(is_same(&mut second, &mut hubs));
    }

    #[test]
    fn what_waits_for_the_store_is_small() {
        let (_, hub, initiator, message_1) = called(b"");
        let call = Responder::accept(&hub, &message_1).unwrap();
        assert!(size_of::<Responder>() <= 1024, "{}", size_of::<Responder>());
        assert_eq!(format!("{initiator:?} {:?}", call.responder), "Initiator(..) Responder(..)");
    }
}
