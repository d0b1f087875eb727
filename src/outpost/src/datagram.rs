//! Datagrams to the hub: a handshake, and sealed packets from then on.
//!
//! ```text
//! first packet of the core ──> message 1, again each time the core says it again
//! message 2 ──> Datagram(0)      then: packet ──> sealed ──> hub, sealed ──> opened ──> Datagram(n)
//! ```
//!
//! Nothing here has a timer, and nothing is remembered over a restart: whatever is lost, the core says again, and a process that
//! starts shakes hands anew.

use std::cell::RefCell;
use std::io;

use identity::key::Key;
use identity::noise::handshake::Initiator;
use identity::noise::packet::PACKET_BYTES_MAX;
use identity::noise::session::Session;
use link::receipt;
use smol::channel::Receiver;
use smol::future::FutureExt as _;
use smol::net::UdpSocket;
use wire::message::DatagramKey;

use crate::link::Port;
use crate::port::LinkEvent;

/// Where the session stands.
enum State {
    /// Nothing was said.
    Silent,
    /// Message 1 was, and waits for its answer.
    Calling(Box<Initiator>, Vec<u8>),
    /// Both ends have keys.
    Live(Box<Session>),
}

/// Carries packets both ways, until the queue is closed and empty or the socket fails; then says why it did.
pub(crate) async fn carry(
    socket: &UdpSocket,
    key: &Key,
    hub: DatagramKey,
    port: &Port,
    queue: Receiver<Vec<u8>>,
) -> Option<io::Error> {
    let state = RefCell::new(State::Silent);
    let read = async {
        let mut packet = vec![0; PACKET_BYTES_MAX + 1];
        loop {
            let bytes = match socket.recv(&mut packet).await {
                Ok(bytes) => bytes,
                // Whoever answers that nobody listens may be anyone: a session that stands does not fall for it.
                Err(_) if matches!(*state.borrow(), State::Live(_)) => continue,
                Err(error) => return error,
            };
            if state.borrow().is_forgotten(&packet[..bytes]) {
                port.tell(LinkEvent::Forgotten).await;
                continue;
            }
            let opened = state.borrow_mut().open(&mut packet[..bytes]);
            if let Some((number, payload)) = opened {
                port.tell(LinkEvent::Datagram(number, payload)).await;
            }
        }
    };
    let write = async {
        while let Ok(payload) = queue.recv().await {
            let packet = state.borrow_mut().seal(&payload, key, hub);
            match packet {
                // What the network does not take now is lost, as anything may be.
                Ok(packet) => drop(socket.send(&packet).await),
                Err(error) => return Some(error),
            }
        }
        None
    };
    let ended = async { Some(read.await) }.or(write).await;
    // Whatever happens to a socket that this end gives up is its own affair.
    ended.filter(|_| !queue.is_closed())
}

impl State {
    /// Whether a packet says that the hub does not know the session.
    fn is_forgotten(&self, packet: &[u8]) -> bool {
        matches!(self, State::Live(session) if *packet == session.connection().unknown())
    }

    fn seal(&mut self, payload: &[u8], key: &Key, hub: DatagramKey) -> io::Result<Vec<u8>> {
        match self {
            State::Silent => {
                let (initiator, packet) = Initiator::new(key, &hub.0, payload).map_err(io::Error::other)?;
                *self = State::Calling(Box::new(initiator), packet.clone());
                Ok(packet)
            }
            State::Calling(_, packet) => Ok(packet.clone()),
            State::Live(session) => {
                let mut packet = Vec::new();
                session.seal(payload, &mut packet).map_err(io::Error::other)?;
                Ok(packet)
            }
        }
    }

    /// The number of a packet in the link's count, in which the handshake is the first, and what it carries. `None` when it does not
    /// open.
    fn open(&mut self, packet: &mut [u8]) -> Option<(u64, Vec<u8>)> {
        match self {
            State::Silent => None,
            State::Calling(initiator, _) => {
                let (payload, session) = initiator.finish(packet).ok()?;
                *self = State::Live(Box::new(session));
                Some((0, payload))
            }
            State::Live(session) => {
                let opened = session.open(packet).ok()?;
                // The handshake is the first in the link's count and in none of the session's.
                receipt::highest_arrived(opened.payload)
                    .and_then(|number| number.checked_sub(1))
                    .inspect(|counter| session.acknowledge(*counter));
                Some((opened.counter + 1, opened.payload.to_vec()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::noise::handshake::Responder;
    use identity::noise::packet::ConnectionId;
    use link::receipt::Received;
    use smol::channel::bounded;
    use wire::frame::Head;
    use wire::message::Kind;
    use wire::stream::Lane;
    use wire::time::Instant;

    use super::*;
    use crate::port::Message;

    #[test]
    fn a_packets_number_takes_one_byte_as_long_as_receipts_come() {
        let (device, hub) = (Key::generate(), Key::generate());
        let (mut state, hub_key) = (State::Silent, DatagramKey(hub.noise_public()));
        let call = state.seal(b"hello", &device, hub_key).unwrap();
        let responder = Responder::accept(&hub, &call).unwrap().responder;
        let (mut answer, mut session) = responder.answer(ConnectionId([1, 2, 3]), b"welcome");
        assert!(state.open(&mut answer).is_some());
        let mut received = Received::default();
        let mut packet_bytes = |has_receipt: bool, number| {
            let mut packet = state.seal(b"", &device, hub_key).unwrap();
            let bytes = packet.len();
            assert!(session.open(&mut packet).is_ok());
            received.packet(Instant(0), number, true);
            if has_receipt {
                let (mut receipt, mut sealed) = (Vec::new(), Vec::new());
                let head = Head { lane: Lane::Urgent, kind: Kind::Receipt as u8, part: None };
                head.put(&received.receipt(false), true, &mut receipt);
                session.seal(&receipt, &mut sealed).unwrap();
                assert!(state.open(&mut sealed).is_some());
            }
            bytes
        };
        assert!((1..1000).all(|number| packet_bytes(number % 100 == 0, number) == 21));
        assert_eq!((1000..1100).map(|number| packet_bytes(false, number)).max(), Some(22));
    }

    #[test]
    fn a_packet_goes_there_and_an_answer_comes_back() {
        smol::block_on(async {
            let (here, there) =
                (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
            here.connect(there.local_addr().unwrap()).await.unwrap();
            let (device, hub) = (Key::generate(), Key::generate());
            let (core, messages) = bounded(8);
            let (outgoing, queue) = bounded(8);
            let port = Port::new(core, 1);
            outgoing.try_send(b"hello".to_vec()).unwrap();
            let hub_end = async {
                let mut packet = [0; 2000];
                let (bytes, from) = there.recv_from(&mut packet).await.unwrap();
                // It is said again, and is the same.
                outgoing.try_send(b"hello once more".to_vec()).unwrap();
                let mut again = [0; 2000];
                let (again_bytes, _) = there.recv_from(&mut again).await.unwrap();
                assert_eq!(packet[..bytes], again[..again_bytes]);
                let call = Responder::accept(&hub, &packet[..bytes]).unwrap();
                assert_eq!(call.payload, b"hello");
                let (answer, mut session) = call.responder.answer(ConnectionId([1, 2, 3]), b"welcome");
                there.send_to(b"forged", from).await.unwrap();
                there.send_to(&answer, from).await.unwrap();
                let told = |message| match message {
                    Message::Link { event: LinkEvent::Datagram(number, bytes), .. } => (number, bytes),
                    other => panic!("{other:?}"),
                };
                assert_eq!(told(messages.recv().await.unwrap()), (0, b"welcome".to_vec()));
                outgoing.try_send(b"news".to_vec()).unwrap();
                let (bytes, from) = there.recv_from(&mut packet).await.unwrap();
                assert_eq!(session.open(&mut packet[..bytes]).unwrap().payload, b"news");
                let mut sealed = Vec::new();
                session.seal(b"ack", &mut sealed).unwrap();
                there.send_to(&sealed, from).await.unwrap();
                assert_eq!(told(messages.recv().await.unwrap()), (1, b"ack".to_vec()));
                there.send_to(&session.connection().unknown(), from).await.unwrap();
                let told = messages.recv().await.unwrap();
                assert!(matches!(told, Message::Link { event: LinkEvent::Forgotten, .. }));
                outgoing.close();
            };
            let hub_key = DatagramKey(hub.noise_public());
            let (ended, ()) = smol::future::zip(carry(&here, &device, hub_key, &port, queue), hub_end).await;
            assert!(ended.is_none());
        });
    }
}
