//! The way in over datagrams, for a machine with a token.
//!
//! ```text
//! message 1 ──> until message 2 ──> message 3 ──> until the answer, sealed
//!     ^──── the hub has forgotten, or says nothing to message 3 ────┘
//! ```
//!
//! Any packet may be lost or come twice. The hub lets a key in once and tells it again what it told it, so beginning anew is always
//! right.

use std::io;
use std::time::Duration;

use identity::key::Key;
use identity::noise::enrolment::Initiator;
use identity::noise::packet::PACKET_BYTES_MAX;
use identity::noise::refusal::HandshakeError;
use identity::noise::session::Session;
use identity::token::Token;
use link::errand::Errand;
use smol::Timer;
use smol::future::FutureExt as _;
use smol::net::UdpSocket;
use wire::message::{Enroll, Enrolled, Kind};

use crate::address::Address;
use crate::dial::{DialError, Resolver, open};
use crate::errand::ErrandError;

/// From a packet to the same once more: at first, and at the most. It doubles in between.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// How long all of it may take: ten packets that find no answer.
const LIMIT: Duration = Duration::from_secs(60);

/// How often message 3 is said before all begins anew: what a forger made of it on the way may have used it up.
const MESSAGE_3_COUNT_MAX: u32 = 3;

/// One machine on its way in.
struct Admission<'a> {
    key: &'a Key,
    token: &'a Token,
    errand: Errand,
    question: Vec<u8>,
    state: State,
    /// What is said until something comes of it, and how often it was.
    packet: Vec<u8>,
    said_count: u32,
}

enum State {
    /// Message 1 waits for message 2.
    Asking(Box<Initiator>),
    /// Message 3 waits for the answer.
    Shown(Box<Session>),
}

/// What came of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// The hub's answer.
    Answer(Box<Enrolled>),
    /// There is something else to say now.
    More,
    /// Nothing.
    Nothing,
}

/// Asks the hub at `address` to let this machine in, with `key` from then on.
pub(crate) fn run(address: &Address, key: &Key, token: &Token, question: &Enroll) -> Result<Enrolled, ErrandError> {
    smol::block_on(async {
        let socket = open(&mut Resolver::default(), address, None).await.map_err(ErrandError::Dial)?;
        let mute = async {
            Timer::after(LIMIT).await;
            Err(ErrandError::Dial(DialError::Mute(address.clone())))
        };
        exchange(&socket, Admission::new(key, token, question)).or(mute).await
    })
}

async fn exchange(socket: &UdpSocket, mut admission: Admission<'_>) -> Result<Enrolled, ErrandError> {
    let mut pause = PAUSE_MIN;
    let mut has_heard = false;
    loop {
        let sent = socket.send(admission.say()).await;
        let heard = async {
            sent?;
            hear(socket, &mut admission).await
        };
        let nothing = async {
            Timer::after(pause).await;
            Ok(Ok(Heard::Nothing))
        };
        let heard = match heard.or(nothing).await {
            Ok(heard) => heard?,
            // Whoever says that nobody listens may be anyone: once the hub was heard it is not believed.
            Err(_) if has_heard => {
                Timer::after(pause).await;
                Heard::Nothing
            }
            Err(error) => return Err(refused(socket, error)),
        };
        pause = match heard {
            Heard::Answer(enrolled) => return Ok(*enrolled),
            Heard::More => PAUSE_MIN,
            Heard::Nothing => (pause * 2).min(PAUSE_MAX),
        };
        has_heard |= heard == Heard::More;
    }
}

/// Hears packets until something comes of one. The outer error is the socket's.
async fn hear(socket: &UdpSocket, admission: &mut Admission<'_>) -> io::Result<Result<Heard, ErrandError>> {
    let mut packet = [0; PACKET_BYTES_MAX + 1];
    loop {
        let bytes = socket.recv(&mut packet).await?;
        match admission.receive(&mut packet[..bytes]) {
            Ok(Heard::Nothing) => {}
            heard => return Ok(heard),
        }
    }
}

fn refused(socket: &UdpSocket, error: io::Error) -> ErrandError {
    match socket.peer_addr() {
        Ok(address) => ErrandError::Dial(DialError::Connect(address, error)),
        Err(_) => ErrandError::Lost(error),
    }
}

impl<'a> Admission<'a> {
    fn new(key: &'a Key, token: &'a Token, question: &Enroll) -> Admission<'a> {
        let (errand, question) = Errand::new(Kind::Enroll, question, Kind::Enrolled);
        let (initiator, packet) = Initiator::new(key, token);
        Admission { key, token, errand, question, state: State::Asking(Box::new(initiator)), packet, said_count: 0 }
    }

    /// What to say now.
    fn say(&mut self) -> &[u8] {
        if matches!(self.state, State::Shown(_)) && self.said_count == MESSAGE_3_COUNT_MAX {
            self.begin();
        }
        self.said_count += 1;
        &self.packet
    }

    fn begin(&mut self) {
        let (initiator, packet) = Initiator::new(self.key, self.token);
        (self.state, self.packet, self.said_count) = (State::Asking(Box::new(initiator)), packet, 0);
    }

    /// Takes a packet.
    ///
    /// Errors: the hub refuses, or is another.
    fn receive(&mut self, packet: &mut [u8]) -> Result<Heard, ErrandError> {
        match &mut self.state {
            State::Asking(initiator) => {
                let admitted = match initiator.finish(self.key, packet, &self.question) {
                    Ok(admitted) => admitted,
                    Err(HandshakeError::WrongHub(wrong)) => return Err(ErrandError::Dial(DialError::Wrong(wrong))),
                    // That was somebody else, and this exchange is over.
                    Err(HandshakeError::Unproven) => {
                        self.begin();
                        return Ok(Heard::Nothing);
                    }
                    Err(HandshakeError::Malformed | HandshakeError::Unauthentic) => return Ok(Heard::Nothing),
                };
                // All that a hub has to say already is that it has no such token.
                self.errand.receive_datagram::<Enrolled>(&admitted.payload).map_err(ErrandError::Down)?;
                self.state = State::Shown(Box::new(admitted.session));
                (self.packet, self.said_count) = (admitted.message_3, 0);
                Ok(Heard::More)
            }
            State::Shown(session) => {
                if *packet == session.connection().unknown() {
                    self.begin();
                    return Ok(Heard::More);
                }
                let Ok(opened) = session.open(packet) else { return Ok(Heard::Nothing) };
                let answer = self.errand.receive_datagram(opened.payload).map_err(ErrandError::Down)?;
                Ok(answer.map_or(Heard::Nothing, |enrolled| Heard::Answer(Box::new(enrolled))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::noise::enrolment::{Responder, TokenKey};
    use identity::noise::packet::ConnectionId;
    use identity::token::secret_hash;
    use link::talk;
    use wire::id::DeviceId;
    use wire::message::{CloseReason, DatagramKey};
    use wire::version::Versions;

    use super::*;

    const CONNECTION: ConnectionId = ConnectionId([1, 2, 3]);

    fn question(token: &Token) -> Enroll {
        Enroll {
            versions: Versions::AGENT,
            secret: token.secret,
            hostname: Default::default(),
            agent: Default::default(),
        }
    }

    /// A machine, a hub, and the token that one has of the other.
    fn check(test: impl FnOnce(Admission<'_>, &Key, &Token)) {
        let (device, hub) = (Key::generate(), Key::generate());
        let token = Token::generate(hub.fingerprint());
        test(Admission::new(&device, &token, &question(&token)), &hub, &token);
    }

    fn answered(hub: &Key, token: &Token, message_1: &[u8]) -> (Responder, Vec<u8>) {
        let (name, mut responder) = Responder::accept(hub, message_1).unwrap();
        let key = TokenKey::new(&secret_hash(&token.secret));
        assert_eq!(name, key.name);
        let message_2 = responder.answer(hub, &key, CONNECTION, b"").unwrap();
        (responder, message_2)
    }

    #[test]
    fn a_packet_is_said_until_something_comes_of_it() {
        check(|mut admission, hub, token| {
            let message_1 = admission.say().to_vec();
            assert_eq!(admission.say(), message_1);
            assert_eq!(admission.receive(&mut [4; 196]).unwrap(), Heard::Nothing);
            let (mut responder, mut message_2) = answered(hub, token, &message_1);
            assert_eq!(admission.receive(&mut message_2.clone()).unwrap(), Heard::More);
            // It came twice.
            assert_eq!(admission.receive(&mut message_2).unwrap(), Heard::Nothing);
            let message_3 = admission.say().to_vec();
            assert_eq!(admission.say(), message_3);
            let mut session = responder.finish(CONNECTION, &message_3).unwrap().session;
            let enrolled =
                Enrolled { device: DeviceId(7), name: "gw".try_into().unwrap(), datagram_key: DatagramKey([9; 32]) };
            let mut sealed = Vec::new();
            session.seal(&talk::frames(Kind::Enrolled, &enrolled), &mut sealed).unwrap();
            assert_eq!(admission.receive(&mut sealed).unwrap(), Heard::Answer(Box::new(enrolled)));
        });
    }

    #[test]
    fn a_machine_begins_anew_when_it_is_forgotten_or_not_answered() {
        check(|mut admission, hub, token| {
            let first = admission.say().to_vec();
            admission.receive(&mut answered(hub, token, &first).1).unwrap();
            admission.say();
            assert_eq!(admission.receive(&mut CONNECTION.unknown()).unwrap(), Heard::More);
            let second = admission.say().to_vec();
            assert!(second.len() == first.len() && second != first);
            admission.receive(&mut answered(hub, token, &second).1).unwrap();
            let message_3 = admission.say().to_vec();
            for _ in 1..MESSAGE_3_COUNT_MAX {
                assert_eq!(admission.say(), message_3);
            }
            let third = admission.say().to_vec();
            assert!(third.len() == first.len() && third != second);
        });
    }

    #[test]
    fn each_refusal_has_the_words_that_it_has_over_tls() {
        check(|mut admission, hub, _| {
            let responder = Responder::accept(hub, admission.say()).unwrap().1;
            let mut refusal = responder.refuse(hub, &talk::close_frames(CloseReason::TokenUnknown, "")).unwrap();
            assert_eq!(admission.receive(&mut refusal).unwrap_err().refusal(), Some(CloseReason::TokenUnknown));
        });
        check(|mut admission, hub, token| {
            let message_1 = admission.say().to_vec();
            let (mut responder, mut message_2) = answered(hub, token, &message_1);
            admission.receive(&mut message_2).unwrap();
            let mut session = responder.finish(CONNECTION, admission.say()).unwrap().session;
            let mut sealed = Vec::new();
            session.seal(&talk::close_frames(CloseReason::TokenUsed, ""), &mut sealed).unwrap();
            assert_eq!(admission.receive(&mut sealed).unwrap_err().refusal(), Some(CloseReason::TokenUsed));
        });
        check(|mut admission, _, _| {
            let other = Key::generate();
            let responder = Responder::accept(&other, admission.say()).unwrap().1;
            let refused = admission.receive(&mut responder.refuse(&other, b"").unwrap()).unwrap_err();
            assert!(matches!(refused, ErrandError::Dial(DialError::Wrong(_))), "{refused}");
        });
    }
}
