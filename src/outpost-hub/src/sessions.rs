//! Everyone who speaks over datagrams: who is called what, where each is, and the keys between.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hal::linux::clock::random_seed;
use hub::session::PeerId;
use identity::key::SPKI_BYTES;
use identity::noise::enrolment::{self, Newcomer};
use identity::noise::handshake;
use identity::noise::packet::{AMPLIFICATION_MAX, ConnectionId};
use identity::noise::session::Session;
use link::receipt;
use tokio::sync::{mpsc, oneshot};

use crate::window::Room;

/// What tells one first message from another: its first byte and the ephemeral key behind it.
pub(crate) type Call = [u8; 33];

/// The words for a machine with a token, once it has shown its key.
pub(crate) type Words = mpsc::Receiver<Vec<u8>>;

/// Everyone who speaks over datagrams.
#[derive(Debug, Default)]
pub struct Sessions {
    known: BTreeMap<ConnectionId, Known>,
    calls: BTreeMap<Call, ConnectionId>,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) peer: PeerId,
    pub(crate) address: SocketAddr,
    pub(crate) call: Call,
    pub(crate) room: Room,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum State {
    /// A machine named a token, and was answered; who has shown its key gets words.
    Asked { responder: Box<enrolment::Responder>, answer: Vec<u8>, admitted: oneshot::Sender<Words> },
    /// A device called, and the hub has not answered yet.
    Called(Box<handshake::Responder>),
    /// Both ends have keys; and what the hub said first, until the device has shown that it has it.
    Live { session: Box<Session>, answer: Vec<u8> },
    /// Nothing more can be said.
    Over,
}

/// What a packet is to those who are known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened<T> {
    /// It does not open, or was there before.
    Nothing,
    /// It opens.
    Packet(T),
    /// Nobody has this connection.
    Unknown,
}

/// A machine that showed its key beside a token's.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) peer: PeerId,
    pub(crate) room: Room,
    pub(crate) spki: [u8; SPKI_BYTES],
    pub(crate) payload: Vec<u8>,
    /// Where the words for it go.
    pub(crate) words: oneshot::Sender<Words>,
}

impl Sessions {
    /// What to say to one who calls again: `Some` when the call is known, with the answer if there is one to repeat.
    pub(crate) fn called_again(&mut self, call: &Call, bytes: usize, address: SocketAddr) -> Option<Option<Vec<u8>>> {
        let known = self.known.get_mut(self.calls.get(call)?)?;
        let answer = match &known.state {
            State::Asked { answer, .. } => answer,
            State::Live { session, answer } if !session.is_confirmed() => answer,
            _ => return Some(None),
        };
        // A call is known by its beginning, which a forger may send alone.
        if answer.len() > AMPLIFICATION_MAX * bytes {
            return Some(None);
        }
        known.address = address;
        Some(Some(answer.clone()))
    }

    /// A name that nobody has. `None` when chance finds none: there are too many.
    pub(crate) fn free(&self) -> Option<ConnectionId> {
        let free = || {
            let [a, b, c, ..] = random_seed().to_le_bytes();
            let name = ConnectionId([a, b, c]);
            (!self.known.contains_key(&name)).then_some(name)
        };
        (0..64).find_map(|_| free())
    }

    /// Adds one who calls, under a name that is free.
    pub(crate) fn add(&mut self, name: ConnectionId, known: Known) {
        self.calls.insert(known.call, name);
        let earlier = self.known.insert(name, known);
        assert!(earlier.is_none(), "the name is free");
    }

    /// Reads what a machine shows beside a token's key.
    pub(crate) fn admit(&mut self, name: ConnectionId, packet: &[u8], address: SocketAddr) -> Opened<Admitted> {
        let Some(known) = self.known.get_mut(&name) else { return Opened::Unknown };
        match std::mem::replace(&mut known.state, State::Over) {
            State::Asked { mut responder, answer, admitted } => match responder.finish(name, packet) {
                Ok(Newcomer { spki, payload, session }) => {
                    known.state = State::Live { session: Box::new(session), answer: Vec::new() };
                    known.address = address;
                    let (peer, room) = (known.peer, known.room.clone());
                    Opened::Packet(Admitted { peer, room, spki, payload, words: admitted })
                }
                Err(_) => {
                    known.state = State::Asked { responder, answer, admitted };
                    Opened::Nothing
                }
            },
            state => {
                known.state = state;
                Opened::Nothing
            }
        }
    }

    /// Opens a packet: whose it is, its number in the link's count, and what it carries.
    pub(crate) fn open(
        &mut self,
        name: ConnectionId,
        packet: &mut [u8],
        address: SocketAddr,
    ) -> Opened<(PeerId, u64, Vec<u8>)> {
        let Some(known) = self.known.get_mut(&name) else { return Opened::Unknown };
        let State::Live { session, answer } = &mut known.state else { return Opened::Nothing };
        let Ok(opened) = session.open(packet) else { return Opened::Nothing };
        if let Some(counter) = receipt::highest_arrived(opened.payload).and_then(|number| number.checked_sub(1)) {
            session.acknowledge(counter);
        }
        let (number, bytes) = (opened.counter + 1, opened.payload.to_vec());
        // The first message has number 0, and is not needed again.
        answer.clear();
        known.address = address;
        if known.room.try_take(bytes.len()) { Opened::Packet((known.peer, number, bytes)) } else { Opened::Nothing }
    }

    /// Seals what the hub says next, and says where it goes. `None` when the session can say nothing more.
    pub(crate) fn seal(&mut self, name: ConnectionId, words: &[u8]) -> Option<(Vec<u8>, SocketAddr)> {
        let known = self.known.get_mut(&name)?;
        let (packet, state) = match std::mem::replace(&mut known.state, State::Over) {
            State::Called(responder) => {
                let (packet, session) = responder.answer(name, words);
                (packet.clone(), State::Live { session: Box::new(session), answer: packet })
            }
            State::Live { mut session, answer } => {
                let mut packet = Vec::new();
                session.seal(words, &mut packet).ok()?;
                (packet, State::Live { session, answer })
            }
            State::Asked { .. } | State::Over => return None,
        };
        known.state = state;
        Some((packet, known.address))
    }

    pub(crate) fn forget(&mut self, name: ConnectionId) {
        if let Some(known) = self.known.remove(&name) {
            self.calls.remove(&known.call);
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::key::Key;

    use super::*;

    const NAME: ConnectionId = ConnectionId([1, 2, 3]);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// A device that called with so many bytes beside its handshake, its call, and the device's end.
    fn called(payload_bytes: usize) -> (Sessions, Vec<u8>, handshake::Initiator) {
        let (device, hub) = (Key::generate(), Key::generate());
        let (initiator, packet) =
            handshake::Initiator::new(&device, &hub.noise_public(), &vec![7; payload_bytes]).unwrap();
        let responder = Box::new(handshake::Responder::accept(&hub, &packet).unwrap().responder);
        let call = *packet.first_chunk().unwrap();
        let mut sessions = Sessions::default();
        let (peer, state) = (PeerId(1), State::Called(responder));
        sessions.add(NAME, Known { peer, address: address(1), call, room: Room::new(), state });
        (sessions, packet, initiator)
    }

    fn again(sessions: &mut Sessions, packet: &[u8], port: u16) -> Option<Option<Vec<u8>>> {
        sessions.called_again(packet.first_chunk().unwrap(), packet.len(), address(port))
    }

    #[test]
    fn a_call_is_answered_again_until_the_device_has_the_answer() {
        let (mut sessions, packet, mut initiator) = called(0);
        assert_eq!(again(&mut sessions, &packet, 1), Some(None), "nothing was said yet");
        let (answer, _) = sessions.seal(NAME, b"welcome").unwrap();
        assert_eq!(again(&mut sessions, &packet, 2), Some(Some(answer.clone())));
        let (_, mut theirs) = initiator.finish(&answer).unwrap();
        let mut news = Vec::new();
        theirs.seal(b"news", &mut news).unwrap();
        assert_eq!(sessions.open(NAME, &mut news, address(3)), Opened::Packet((PeerId(1), 1, b"news".to_vec())));
        assert_eq!(again(&mut sessions, &packet, 4), Some(None));
        assert_eq!(sessions.seal(NAME, b"ack").unwrap().1, address(3), "a call that is played again moves nobody");
    }

    #[test]
    fn the_beginning_of_a_call_is_no_call_to_be_answered_at_length() {
        let (mut sessions, packet, _) = called(900);
        let (answer, _) = sessions.seal(NAME, &[7; 800]).unwrap();
        assert_eq!(again(&mut sessions, &packet[..33], 2), Some(None));
        assert_eq!(sessions.known[&NAME].address, address(1));
        assert_eq!(again(&mut sessions, &packet, 2), Some(Some(answer)));
    }

    #[test]
    fn who_is_forgotten_may_call_again() {
        let (mut sessions, packet, _) = called(0);
        sessions.forget(NAME);
        assert_eq!(again(&mut sessions, &packet, 1), None);
        assert_eq!(sessions.open(NAME, &mut [0x40; 40], address(1)), Opened::Unknown);
        assert!(matches!(sessions.admit(NAME, &[5; 200], address(1)), Opened::Unknown));
    }
}
