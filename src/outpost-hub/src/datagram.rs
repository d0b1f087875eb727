//! The door for datagrams: one socket for all devices that speak over Noise, and the sessions behind it.
//!
//! ```text
//! packet -> handshake 1 -> a new one      -> Connected { key }, Received { 0 }      outbox -> handshake 2, sealed
//!                          the same again -> handshake 2 again, if it was said
//!           transport   -> nobody knows it  -> a hint that it is unknown
//!                       -> session opens  -> Received { n }                         its address is the sender's now
//! ```
//!
//! Who is where changes with every packet that opens: mobile networks give a device another address when they feel like it. What
//! does not open changes nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hal::linux::clock::random_seed;
use hub::session::PeerId;
use identity::noise::handshake::{MESSAGE_1_BYTES, MESSAGE_2_BYTES, Responder};
use identity::noise::packet::{AMPLIFICATION_MAX, ConnectionId, PACKET_BYTES_MAX, ToHub};
use identity::noise::session::Session;
use link::channel::FIRST_BYTES_MAX;
use link::server::ANSWER_BYTES_MIN;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use wire::message::DatagramKey;

use crate::keys::Shown;
use crate::listener::Gate;
use crate::peer::{FromPeer, OUTBOX_COUNT_MAX, PeerKey};
use crate::window::Room;

// What the link takes for the bytes around a handshake is what they are: an answer that is longer than allowed would be a panic.
const _: () = assert!(ANSWER_BYTES_MIN == AMPLIFICATION_MAX * MESSAGE_1_BYTES - MESSAGE_2_BYTES);
const _: () = assert!(FIRST_BYTES_MAX == PACKET_BYTES_MAX - MESSAGE_1_BYTES && MESSAGE_2_BYTES <= MESSAGE_1_BYTES);

/// What tells one first message from another: the ephemeral key that it begins with.
type Ephemeral = [u8; 32];

/// Serves one socket.
#[derive(Debug)]
pub struct Datagrams {
    /// Where packets arrive.
    pub socket: Arc<UdpSocket>,
    /// The key to show, now and from now on.
    pub shown: watch::Receiver<Arc<Shown>>,
    /// Who waits.
    pub gate: Arc<Gate>,
    /// To whom their words go.
    pub to_hub: mpsc::Sender<FromPeer>,
    /// Held by each session until its end.
    pub alive: mpsc::Sender<Infallible>,
    /// The sessions.
    pub sessions: Arc<Mutex<Sessions>>,
}

/// Everyone who speaks over datagrams.
#[derive(Debug, Default)]
pub struct Sessions {
    known: BTreeMap<ConnectionId, Known>,
    calls: BTreeMap<Ephemeral, ConnectionId>,
}

#[derive(Debug)]
struct Known {
    peer: PeerId,
    address: SocketAddr,
    call: Ephemeral,
    room: Room,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The hub has not answered yet.
    Called(Box<Responder>),
    /// It has: what it said first, until the device has shown that it has it.
    Live { session: Box<Session>, answer: Vec<u8> },
}

impl Datagrams {
    /// Takes packets, until it is dropped.
    pub async fn run(self) -> Infallible {
        let mut packet = vec![0; PACKET_BYTES_MAX + 1];
        loop {
            match self.socket.recv_from(&mut packet).await {
                Ok((bytes, address)) => self.take(&mut packet[..bytes], address).await,
                // One that we sent came back, which says nothing about the next.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn take(&self, packet: &mut [u8], address: SocketAddr) {
        match ToHub::read(packet) {
            Some(ToHub::Handshake1) => self.called(packet, address).await,
            Some(ToHub::Transport(connection)) => self.carried(connection, packet, address).await,
            // Machines with a token come in over TLS.
            Some(ToHub::Enrolment1 | ToHub::Enrolment3(_)) | None => {}
        }
    }

    async fn called(&self, packet: &[u8], address: SocketAddr) {
        let Some(call) = packet.get(1..33).and_then(|bytes| Ephemeral::try_from(bytes).ok()) else { return };
        let again = self.sessions().called_again(&call, address);
        if let Some(answer) = again {
            let _ = self.socket.send_to(&answer, address).await;
            return;
        }
        if self.sessions().calls.contains_key(&call) {
            return;
        }
        let shown = self.shown.borrow().clone();
        let Ok(accepted) = Responder::accept(&shown.key, packet) else { return };
        let peer = self.gate.peer();
        let evicted = self.gate.lobby().enter(peer, address.ip());
        let (room, responder) = (Room::new(), Box::new(accepted.responder));
        let known = Known { peer, address, call, room: room.clone(), state: State::Called(responder) };
        let Some(connection) = self.sessions().add(known) else { return self.gate.lobby().leave(peer) };
        let (outbox, words) = mpsc::channel(OUTBOX_COUNT_MAX);
        let payload = accepted.payload;
        let connected = FromPeer::Connected {
            peer,
            address,
            key: PeerKey::Datagram(DatagramKey(accepted.device)),
            outbox,
            room: room.clone(),
        };
        let voice = Voice { socket: self.socket.clone(), sessions: self.sessions.clone(), connection };
        let (to_hub, gate, alive) = (self.to_hub.clone(), self.gate.clone(), self.alive.clone());
        if self.to_hub.send(connected).await.is_err() {
            return;
        }
        if room.try_take(payload.len()) {
            let _ = self.to_hub.send(FromPeer::Received { peer, number: Some(0), bytes: payload }).await;
        }
        tokio::spawn(async move {
            voice.speak(words, evicted).await;
            let _ = to_hub.send(FromPeer::Disconnected { peer }).await;
            gate.lobby().leave(peer);
            drop(alive);
        });
    }

    async fn carried(&self, connection: ConnectionId, packet: &mut [u8], address: SocketAddr) {
        if !self.sessions().known.contains_key(&connection) {
            let _ = self.socket.try_send_to(&connection.unknown(), address);
            return;
        }
        let opened = self.sessions().open(connection, packet, address);
        if let Some((peer, number, bytes)) = opened {
            let _ = self.to_hub.send(FromPeer::Received { peer, number: Some(number), bytes }).await;
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("a panic ends the process")
    }
}

impl Sessions {
    /// What to say to one who calls again, and whose call was answered.
    fn called_again(&mut self, call: &Ephemeral, address: SocketAddr) -> Option<Vec<u8>> {
        let known = self.known.get_mut(self.calls.get(call)?)?;
        match &known.state {
            State::Live { session, answer } if !session.is_confirmed() => {
                known.address = address;
                Some(answer.clone())
            }
            _ => None,
        }
    }

    /// Adds one who calls, under a name that nobody has. `None` when chance finds none: there are too many.
    fn add(&mut self, known: Known) -> Option<ConnectionId> {
        let free = || {
            let [a, b, c, ..] = random_seed().to_le_bytes();
            let name = ConnectionId([a, b, c]);
            (!self.known.contains_key(&name)).then_some(name)
        };
        let connection = (0..64).find_map(|_| free())?;
        self.calls.insert(known.call, connection);
        self.known.insert(connection, known);
        Some(connection)
    }

    /// Opens a packet: whose it is, its number in the link's count, and what it carries.
    fn open(&mut self, name: ConnectionId, packet: &mut [u8], address: SocketAddr) -> Option<(PeerId, u64, Vec<u8>)> {
        let known = self.known.get_mut(&name)?;
        let State::Live { session, answer } = &mut known.state else { return None };
        let opened = session.open(packet).ok()?;
        let (number, bytes) = (opened.counter + 1, opened.payload.to_vec());
        // The first message has number 0, and is not needed again.
        answer.clear();
        known.address = address;
        known.room.try_take(bytes.len()).then_some((known.peer, number, bytes))
    }

    /// Seals what the hub says next, and says where it goes. `None` when the session can say nothing more.
    fn seal(&mut self, name: ConnectionId, words: &[u8]) -> Option<(Vec<u8>, SocketAddr)> {
        let mut known = self.known.remove(&name)?;
        let packet = match known.state {
            State::Called(responder) => {
                let (packet, session) = responder.answer(name, words);
                known.state = State::Live { session: Box::new(session), answer: packet.clone() };
                packet
            }
            State::Live { mut session, answer } => {
                let mut packet = Vec::new();
                session.seal(words, &mut packet).ok()?;
                known.state = State::Live { session, answer };
                packet
            }
        };
        let address = known.address;
        self.known.insert(name, known);
        Some((packet, address))
    }

    fn forget(&mut self, name: ConnectionId) {
        if let Some(known) = self.known.remove(&name) {
            self.calls.remove(&known.call);
        }
    }
}

/// Says to one device what the hub has to say to it.
struct Voice {
    socket: Arc<UdpSocket>,
    sessions: Arc<Mutex<Sessions>>,
    connection: ConnectionId,
}

impl Voice {
    /// Speaks until the hub has said all, or the device has to give way to another.
    async fn speak(&self, mut words: mpsc::Receiver<Vec<u8>>, mut evicted: oneshot::Receiver<()>) {
        let mut is_waiting = true;
        loop {
            let said = tokio::select! {
                biased;
                said = words.recv() => said,
                gives_way = &mut evicted, if is_waiting => {
                    if gives_way.is_ok() {
                        break;
                    }
                    is_waiting = false;
                    continue;
                }
            };
            let Some(said) = said else { break };
            let sealed = self.sessions.lock().expect("a panic ends the process").seal(self.connection, &said);
            let Some((packet, address)) = sealed else { break };
            // What the network does not take is lost, as anything may be.
            let _ = self.socket.send_to(&packet, address).await;
        }
        self.sessions.lock().expect("a panic ends the process").forget(self.connection);
    }
}

/// The socket beside a listener: the same address and port.
///
/// Errors: the port is taken for datagrams.
pub fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(Arc::new(UdpSocket::from_std(socket)?))
}
