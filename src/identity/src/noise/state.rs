//! A handshake under way: snow with the one suite, and its errors as ours.

use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifier, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::{Builder, HandshakeState};

use super::packet::{ConnectionId, PACKET_BYTES_MAX, TAG_BYTES};
use super::refusal::HandshakeError;
use super::resolver::Resolver;
use super::session::{End, Session};
use crate::key::Key;

/// Hashed into every handshake, so that one of another version of these packets does not get through.
const PROLOGUE: &[u8] = b"outpost 0";

/// Bytes that a message has at most beside its payload: e, s and two tags.
const OVERHEAD_BYTES_MAX: usize = 32 + 32 + 2 * TAG_BYTES;

/// Where `XXpsk3` mixes the token's key in.
const PSK_PLACE: u8 = 3;

/// Who speaks, and what it knows beforehand.
pub(super) enum Role<'a> {
    Device { hub: &'a [u8; 32] },
    EnrollingDevice { psk: &'a [u8; 32] },
    EnrollingHub,
    Hub,
}

pub(super) struct State {
    noise: HandshakeState,
    end: End,
}

impl State {
    pub(super) fn new(key: &Key, role: Role<'_>) -> State {
        let secret = key.noise_secret();
        let begin = |pattern| {
            Builder::with_resolver(pattern, Box::new(Resolver)).local_private_key(&secret)?.prologue(PROLOGUE)
        };
        let noise = match role {
            Role::Device { hub } => begin(ik()).and_then(|begun| begun.remote_public_key(hub)?.build_initiator()),
            Role::EnrollingDevice { psk } => {
                begin(xxpsk3()).and_then(|begun| begun.psk(PSK_PLACE, psk)?.build_initiator())
            }
            Role::EnrollingHub => begin(xxpsk3()).and_then(Builder::build_responder),
            Role::Hub => begin(ik()).and_then(Builder::build_responder),
        };
        let end = match role {
            Role::Device { .. } | Role::EnrollingDevice { .. } => End::Device,
            Role::EnrollingHub | Role::Hub => End::Hub,
        };
        State { noise: noise.expect("the suite is known and each role has the keys of its pattern"), end }
    }

    /// The hub's end learns which token is meant only from the first message.
    pub(super) fn set_psk(&mut self, psk: &[u8; 32]) {
        self.noise.set_psk(PSK_PLACE.into(), psk).expect("it is as long as such a key is");
    }

    /// The next message, behind `head`. Fails when the other's key has no other half that anyone could have.
    pub(super) fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut packet = vec![0; head.len() + OVERHEAD_BYTES_MAX + payload.len()];
        packet[..head.len()].copy_from_slice(head);
        let written = self.noise.write_message(payload, &mut packet[head.len()..]).map_err(refusal)?;
        packet.truncate(head.len() + written);
        assert!(packet.len() <= PACKET_BYTES_MAX, "a message of {} bytes fits no path", packet.len());
        Ok(packet)
    }

    /// The payload of the next message, which stands behind `head`.
    pub(super) fn read(&mut self, head: &[u8], packet: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let message = packet.strip_prefix(head).ok_or(HandshakeError::Malformed)?;
        if packet.len() > PACKET_BYTES_MAX {
            return Err(HandshakeError::Malformed);
        }
        let mut payload = vec![0; message.len()];
        let length = self.noise.read_message(message, &mut payload).map_err(refusal)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// Stands for everything that was said so far.
    pub(super) fn hash(&self) -> &[u8] {
        self.noise.get_handshake_hash()
    }

    /// The other's static key. To be asked only when it was read.
    pub(super) fn peer(&self) -> [u8; 32] {
        let peer = self.noise.get_remote_static().and_then(|peer| peer.first_chunk());
        *peer.expect("it was read, and is as long as these keys are")
    }

    /// What the handshake was for. To be asked only when its last message was read or written.
    pub(super) fn session(&mut self, connection: ConnectionId, is_confirmed: bool) -> Session {
        assert!(self.noise.is_handshake_finished());
        Session::new(self.end, self.noise.dangerously_get_raw_split(), connection, is_confirmed)
    }
}

fn ik() -> NoiseParams {
    params("Noise_IK_25519_ChaChaPoly_SHA256", HandshakePattern::IK, Vec::new())
}

fn xxpsk3() -> NoiseParams {
    let modifiers = vec![HandshakeModifier::Psk(PSK_PLACE)];
    params("Noise_XXpsk3_25519_ChaChaPoly_SHA256", HandshakePattern::XX, modifiers)
}

/// What snow would read from the name, without its reader of names: the agent has no room for that.
fn params(name: &str, pattern: HandshakePattern, modifiers: Vec<HandshakeModifier>) -> NoiseParams {
    NoiseParams {
        name: name.to_owned(),
        base: BaseChoice::Noise,
        handshake: HandshakeChoice { pattern, modifiers: HandshakeModifierList { list: modifiers } },
        dh: DHChoice::Curve25519,
        cipher: CipherChoice::ChaChaPoly,
        hash: HashChoice::SHA256,
    }
}

fn refusal(error: snow::Error) -> HandshakeError {
    match error {
        snow::Error::Decrypt | snow::Error::Dh => HandshakeError::Unauthentic,
        snow::Error::Rng => panic!("the kernel gives no random bytes, and nothing is safe then"),
        _ => HandshakeError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_are_what_snow_reads_from_their_names() {
        for params in [ik(), xxpsk3()] {
            assert_eq!(params.name.parse(), Ok(params));
        }
    }
}
