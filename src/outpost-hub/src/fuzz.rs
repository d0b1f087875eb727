//! The door for datagrams as a function of bytes, for the mutation runs of the tests and of cargo-fuzz.

use std::net::{Ipv4Addr, SocketAddr};

use hub::session::PeerId;
use identity::fuzz::{Ends, ends};
use identity::noise::enrolment::{self, TokenKey};
use identity::noise::packet::{AMPLIFICATION_MAX, ConnectionId, ToHub};
use identity::noise::{handshake, session::Session};
use identity::token::secret_hash;
use tokio::sync::oneshot;

use crate::sessions::{Call, Known, Opened, Sessions, State};
use crate::window::Room;

/// A parser by its name.
pub type Target = (&'static str, fn(&[u8]));

/// What to feed.
pub const TARGETS: &[Target] = &[("door", door)];

const ASKED: ConnectionId = ConnectionId([1, 1, 1]);
const LIVE: ConnectionId = ConnectionId([2, 2, 2]);

/// A packet of nobody, beside a machine that was answered and a device that is there: as it is, and as one of each of theirs. It gets no more
/// than it is worth, and both go on.
fn door(bytes: &[u8]) {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
    let Ends { device, hub, token } = ends();
    let mut sessions = Sessions::default();

    let (mut asking, message_1) = enrolment::Initiator::new(device, token);
    let asked_call = *message_1.first_chunk().expect("it is longer");
    let (_, mut responder) = enrolment::Responder::accept(hub, &message_1).expect("an honest message is read");
    let key = TokenKey::new(&secret_hash(&token.secret));
    let answer = responder.answer(hub, &key, ASKED, b"").expect("that is a key");
    let (admitted, _words) = oneshot::channel();
    let state = State::Asked { responder: Box::new(responder), answer: answer.clone(), admitted };
    sessions.add(ASKED, known(1, asked_call, here, state));

    let (mut calling, message_1) =
        handshake::Initiator::new(device, &hub.noise_public(), b"hello").expect("that is a key");
    let live_call = *message_1.first_chunk().expect("it is longer");
    let call = handshake::Responder::accept(hub, &message_1).expect("an honest message is read");
    sessions.add(LIVE, known(2, live_call, here, State::Called(Box::new(call.responder))));
    let (welcome, _) = sessions.seal(LIVE, b"welcome").expect("it called");
    let (_, mut theirs) = calling.finish(&welcome).expect("an honest message is read");

    for head in [&[][..], &asked_call, &live_call, &[5, 1, 1, 1], &[0x40, 2, 2, 2], &[0x40, 1, 1, 1]] {
        check_forged(&mut sessions, &mut [head, bytes].concat(), elsewhere);
    }

    let message_3 = asking.finish(device, &answer, b"hello").expect("an honest message is read").message_3;
    assert!(matches!(sessions.admit(ASKED, &message_3, here), Opened::Packet(_)), "what was refused changed nothing");
    check_live(&mut sessions, &mut theirs, here);
}

fn known(peer: u64, call: Call, address: SocketAddr, state: State) -> Known {
    Known { peer: PeerId(peer), address, call, room: Room::new(), state }
}

fn check_forged(sessions: &mut Sessions, packet: &mut [u8], address: SocketAddr) {
    match ToHub::read(packet) {
        Some(ToHub::Enrolment1 | ToHub::Handshake1) => {
            let again = packet.first_chunk().and_then(|call| sessions.called_again(call, packet.len(), address));
            let answer_bytes = again.flatten().map_or(0, |answer| answer.len());
            assert!(answer_bytes <= AMPLIFICATION_MAX * packet.len(), "{answer_bytes} bytes answer {packet:?}");
        }
        Some(ToHub::Enrolment3(name)) => {
            assert!(!matches!(sessions.admit(name, packet, address), Opened::Packet(_)), "nobody wrote {packet:?}");
        }
        Some(ToHub::Transport(name)) => {
            assert!(!matches!(sessions.open(name, packet, address), Opened::Packet(_)), "nobody sealed {packet:?}");
        }
        None => {}
    }
}

fn check_live(sessions: &mut Sessions, theirs: &mut Session, address: SocketAddr) {
    let mut packet = Vec::new();
    theirs.seal(b"news", &mut packet).expect("a new session");
    let opened = sessions.open(LIVE, &mut packet.clone(), address);
    assert_eq!(opened, Opened::Packet((PeerId(2), 1, b"news".to_vec())));
    assert_eq!(sessions.open(LIVE, &mut packet, address), Opened::Nothing, "it came before");
    let (_, to) = sessions.seal(LIVE, b"ack").expect("the session is there");
    assert_eq!(to, address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nearly_is_a_packet_is_worth_nothing() {
        for length in [0, 1, 16, 47, 48, 63, 64, 100, 160, 161, 700, 1300] {
            for byte in [0, 1, 3, 5, 0x40, 0xff] {
                door(&vec![byte; length]);
            }
        }
    }
}
