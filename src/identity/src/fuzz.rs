//! The parsers of outside text and packets, as functions of bytes.
//!
//! A target panics when what it read does not survive being written and read again, or when a forged packet has any effect. The mutation runs of the tests
//! and of cargo-fuzz call them by name.

use std::sync::OnceLock;

use crate::key::Key;
use crate::noise::enrolment::TokenKey;
use crate::noise::packet::{ConnectionId, ToHub};
use crate::noise::refusal::OpenError;
use crate::noise::session::Session;
use crate::noise::{enrolment, handshake};
use crate::token::Token;
use crate::{key_file, text, token};

/// A parser by its name.
pub type Target = (&'static str, fn(&[u8]));

/// What to feed.
pub const TARGETS: &[Target] = &[
    ("key_file", key_file),
    ("noise_device", noise_device),
    ("noise_hub", noise_hub),
    ("text", text),
    ("token", token),
];

fn key_file(bytes: &[u8]) {
    if let Ok(key) = key_file::parse(bytes) {
        let again = key_file::parse(key_file::text(&key).as_bytes()).expect("what was written is read");
        assert_eq!(again.pkcs8(), key.pkcs8());
    }
}

const CONNECTION: ConnectionId = ConnectionId([1, 2, 3]);

/// What comes to a device: instead of the answer to its call, of the answer to its token, and in a session.
fn noise_device(bytes: &[u8]) {
    let Ends { device, hub, token } = ends();
    let (mut initiator, message_1) =
        handshake::Initiator::new(device, &hub.noise_public(), b"hello").expect("that is a key");
    let call = handshake::Responder::accept(hub, &message_1).expect("an honest message is read");
    let (message_2, mut hubs) = call.responder.answer(CONNECTION, b"welcome");
    for forged in forgeries(bytes, &message_2) {
        initiator.finish(&forged).expect_err("the hub did not write that");
    }
    let (_, mut session) = initiator.finish(&message_2).expect("what was refused changed nothing");
    check_session(bytes, &mut hubs, &mut session);

    let (mut initiator, message_1) = enrolment::Initiator::new(device, token);
    let (_, mut responder) = enrolment::Responder::accept(hub, &message_1).expect("an honest message is read");
    let message_2 = responder.answer(hub, &token_key(token), CONNECTION, b"welcome").expect("that is a key");
    for forged in forgeries(bytes, &message_2) {
        initiator.finish(device, &forged, b"").expect_err("the hub did not write that");
    }
    initiator.finish(device, &message_2, b"").expect("what was refused changed nothing");

    let (mut initiator, message_1) = enrolment::Initiator::new(device, token);
    let (_, responder) = enrolment::Responder::accept(hub, &message_1).expect("an honest message is read");
    let refusal = responder.refuse(hub, b"no such token").expect("that is a key");
    for forged in forgeries(bytes, &refusal) {
        initiator.finish(device, &forged, b"").expect_err("the hub did not write that");
    }
}

/// What comes to a hub: instead of a call, of each message of an enrolment, and in a session.
fn noise_hub(bytes: &[u8]) {
    let Ends { device, hub, token } = ends();
    ToHub::read(bytes);
    let (mut initiator, message_1) =
        handshake::Initiator::new(device, &hub.noise_public(), b"hello").expect("that is a key");
    for forged in forgeries(bytes, &message_1) {
        handshake::Responder::accept(hub, &forged).expect_err("the device did not write that");
    }
    let call = handshake::Responder::accept(hub, &message_1).expect("an honest message is read");
    let (message_2, mut session) = call.responder.answer(CONNECTION, b"welcome");
    let (_, mut devices) = initiator.finish(&message_2).expect("an honest message is read");
    check_session(bytes, &mut devices, &mut session);

    let (mut initiator, message_1) = enrolment::Initiator::new(device, token);
    for forged in forgeries(bytes, &message_1) {
        enrolment::Responder::accept(hub, &forged).expect_err("the device did not write that");
    }
    let (_, mut responder) = enrolment::Responder::accept(hub, &message_1).expect("an honest message is read");
    let message_2 = responder.answer(hub, &token_key(token), CONNECTION, b"welcome").expect("that is a key");
    let admitted = initiator.finish(device, &message_2, b"hello").expect("an honest message is read");
    for forged in forgeries(bytes, &admitted.message_3) {
        responder.finish(CONNECTION, &forged).expect_err("the device did not write that");
    }
}

/// A packet that is sealed at one end, and what a forger makes of it at the other.
fn check_session(bytes: &[u8], sealing: &mut Session, opening: &mut Session) {
    let mut honest = Vec::new();
    let counter = sealing.seal(b"payload", &mut honest).expect("a new session");
    for mut forged in forgeries(bytes, &honest) {
        opening.open(&mut forged).expect_err("nobody sealed that");
    }
    let opened = opening.open(&mut honest.clone()).map(|opened| (opened.counter, opened.payload.to_vec()));
    assert_eq!(opened, Ok((counter, b"payload".to_vec())), "what was refused changed nothing");
    assert_eq!(opening.open(&mut honest), Err(OpenError::Replayed { counter }));
}

/// The bytes as a packet, and as changes of an honest one: each two are a place, modulo its length, and what is changed there.
fn forgeries(bytes: &[u8], honest: &[u8]) -> Vec<Vec<u8>> {
    let mut changed = honest.to_vec();
    for change in bytes.chunks_exact(2) {
        let place = usize::from(change[0]) % changed.len();
        changed[place] ^= change[1];
    }
    let mut forged = vec![bytes.to_vec(), changed];
    forged.retain(|forged| forged != honest);
    forged
}

/// A device, a hub, and a token of it: the same for as long as the process lasts.
pub struct Ends {
    /// The device's key.
    pub device: Key,
    /// The hub's.
    pub hub: Key,
    /// What lets a machine in there.
    pub token: Token,
}

/// Those of this process.
pub fn ends() -> &'static Ends {
    static ENDS: OnceLock<Ends> = OnceLock::new();
    ENDS.get_or_init(|| {
        let hub = Key::generate();
        Ends { device: Key::generate(), token: Token::generate(hub.fingerprint()), hub }
    })
}

fn token_key(token: &Token) -> TokenKey {
    TokenKey::new(&token::secret_hash(&token.secret))
}

/// The bytes as a payload and, when they are text, as what someone typed.
fn text(bytes: &[u8]) {
    assert_eq!(text::open("fuzz", &text::seal("fuzz", bytes)).expect("what was written is read"), bytes);
    if let Ok(typed) = std::str::from_utf8(bytes) {
        let _ = text::open("fuzz", typed);
    }
}

fn token(bytes: &[u8]) {
    let Ok(given) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = given.parse::<Token>() {
        let text = token.to_string();
        assert_eq!(text.len(), token::TOKEN_CHARACTER_COUNT);
        let again: Token = text.parse().expect("what was written is read");
        assert_eq!((again.secret, again.hub), (token.secret, token.hub));
    }
}

#[cfg(test)]
mod tests {
    use wire::message::Fingerprint;

    use super::*;

    #[test]
    fn no_target_panics_on_what_nearly_is_right() {
        let seeds = [
            key_file::text(&Key::generate()).into_bytes(),
            Token::generate(Fingerprint([7; 32])).to_string().into_bytes(),
            Vec::new(),
            vec![0xff; 700],
        ];
        for (name, target) in TARGETS {
            // Each of these shakes hands twice.
            let stride = if name.starts_with("noise") { 20 } else { 1 };
            for seed in &seeds {
                target(seed);
                for at in (0..seed.len()).step_by(stride) {
                    target(&seed[..at]);
                    let mut changed = seed.clone();
                    changed[at] = changed[at].wrapping_add(at as u8 | 1);
                    target(&changed);
                }
            }
        }
    }
}
