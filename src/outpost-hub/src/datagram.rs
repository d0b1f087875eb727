//! The door for datagrams: one socket for all devices that speak over Noise, and the sessions behind it.
//!
//! ```text
//! packet -> handshake 1 -> a new one      -> Connected { key }, Received { 0 }      outbox -> handshake 2, sealed
//!                          the same again -> handshake 2 again, if it was said
//!           transport   -> nobody knows it  -> a hint that it is unknown
//!                       -> session opens  -> Received { n }                         its address is the sender's now
//!           enrolment   -> see `admission`
//! ```
//!
//! Who is where changes with every packet that opens: mobile networks give a device another address when they feel like it. What
//! does not open changes nothing.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hub::session::PeerId;
use identity::noise::handshake::{MESSAGE_1_BYTES, MESSAGE_2_BYTES, Responder};
use identity::noise::packet::{AMPLIFICATION_MAX, ConnectionId, PACKET_BYTES_MAX, ToHub};
use link::channel::FIRST_BYTES_MAX;
use link::server::ANSWER_BYTES_MIN;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use wire::message::DatagramKey;

use crate::keys::Shown;
use crate::listener::Gate;
use crate::peer::{FromPeer, OUTBOX_COUNT_MAX, PeerKey};
use crate::sessions::{Call, Known, Opened, Sessions, State, Words};
use crate::window::Room;

// What the link takes for the bytes around a handshake is what they are: an answer that is longer than allowed would be a panic.
const _: () = assert!(ANSWER_BYTES_MIN == AMPLIFICATION_MAX * MESSAGE_1_BYTES - MESSAGE_2_BYTES);
const _: () = assert!(FIRST_BYTES_MAX == PACKET_BYTES_MAX - MESSAGE_1_BYTES && MESSAGE_2_BYTES <= MESSAGE_1_BYTES);

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
            Some(ToHub::Enrolment1) => {
                if let Some(call) = self.new_call(packet, address).await {
                    self.asked(call, packet, address).await;
                }
            }
            Some(ToHub::Enrolment3(connection)) => self.shown_key(connection, packet, address).await,
            Some(ToHub::Handshake1) => {
                if let Some(call) = self.new_call(packet, address).await {
                    self.called(call, packet, address).await;
                }
            }
            Some(ToHub::Transport(connection)) => self.carried(connection, packet, address).await,
            None => {}
        }
    }

    /// What to know a first message by, when it is new. One that came before is answered as before.
    async fn new_call(&self, packet: &[u8], address: SocketAddr) -> Option<Call> {
        let call = *packet.first_chunk()?;
        let Some(again) = self.sessions().called_again(&call, packet.len(), address) else { return Some(call) };
        if let Some(answer) = again {
            let _ = self.socket.send_to(&answer, address).await;
        }
        None
    }

    async fn called(&self, call: Call, packet: &[u8], address: SocketAddr) {
        let shown = self.shown.borrow().clone();
        let Ok(accepted) = Responder::accept(&shown.key, packet) else { return };
        let Some(connection) = self.sessions().free() else { return };
        let peer = self.gate.peer();
        let (room, state) = (Room::new(), State::Called(Box::new(accepted.responder)));
        let voice = self.enter(connection, Known { peer, address, call, room: room.clone(), state });
        let key = PeerKey::Datagram(DatagramKey(accepted.device));
        let Some(words) = self.introduce((peer, address, key), room, accepted.payload).await else { return };
        tokio::spawn(voice.speak(words));
    }

    /// Lets someone wait at the gate under a name that is free.
    pub(crate) fn enter(&self, connection: ConnectionId, known: Known) -> Voice {
        let peer = known.peer;
        let evicted = self.gate.lobby().enter(peer, known.address.ip());
        self.sessions().add(connection, known);
        Voice {
            peer,
            connection,
            evicted: Some(evicted),
            socket: self.socket.clone(),
            sessions: self.sessions.clone(),
            gate: self.gate.clone(),
            to_hub: self.to_hub.clone(),
            _alive: self.alive.clone(),
        }
    }

    /// Tells the hub of a key and what came with it. What comes back is what the hub says to it; nothing when the hub closes down.
    pub(crate) async fn introduce(
        &self,
        (peer, address, key): (PeerId, SocketAddr, PeerKey),
        room: Room,
        bytes: Vec<u8>,
    ) -> Option<Words> {
        let (outbox, words) = mpsc::channel(OUTBOX_COUNT_MAX);
        let has_room = room.try_take(bytes.len());
        self.to_hub.send(FromPeer::Connected { peer, address, key, outbox, room }).await.ok()?;
        if has_room {
            let _ = self.to_hub.send(FromPeer::Received { peer, number: Some(0), bytes }).await;
        }
        Some(words)
    }

    async fn carried(&self, connection: ConnectionId, packet: &mut [u8], address: SocketAddr) {
        let opened = self.sessions().open(connection, packet, address);
        match opened {
            Opened::Nothing => {}
            Opened::Packet((peer, number, bytes)) => {
                let _ = self.to_hub.send(FromPeer::Received { peer, number: Some(number), bytes }).await;
            }
            Opened::Unknown => drop(self.socket.try_send_to(&connection.unknown(), address)),
        }
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("a panic ends the process")
    }
}

/// Says to one device what the hub has to say to it. Dropped, it forgets the device.
pub(crate) struct Voice {
    pub(crate) peer: PeerId,
    connection: ConnectionId,
    /// Resolves with `Ok` when the device has to give way to another; none once it waits no longer.
    evicted: Option<oneshot::Receiver<()>>,
    socket: Arc<UdpSocket>,
    sessions: Arc<Mutex<Sessions>>,
    gate: Arc<Gate>,
    to_hub: mpsc::Sender<FromPeer>,
    _alive: mpsc::Sender<Infallible>,
}

impl Voice {
    /// Speaks until the hub has said all, or the device has to give way to another.
    pub(crate) async fn speak(mut self, mut words: Words) {
        loop {
            let said = tokio::select! {
                biased;
                said = words.recv() => said,
                () = gives_way(&mut self.evicted) => break,
            };
            let Some(said) = said else { break };
            let sealed = self.sessions.lock().expect("a panic ends the process").seal(self.connection, &said);
            let Some((packet, address)) = sealed else { break };
            // What the network does not take is lost, as anything may be.
            let _ = self.socket.send_to(&packet, address).await;
        }
        let _ = self.to_hub.send(FromPeer::Disconnected { peer: self.peer }).await;
    }

    /// Ends when the device has to give way before anything was said.
    pub(crate) async fn is_evicted(&mut self) {
        gives_way(&mut self.evicted).await;
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.sessions.lock().expect("a panic ends the process").forget(self.connection);
        self.gate.lobby().leave(self.peer);
    }
}

/// Ends when one who waits has to give way, and never when it waits no longer.
async fn gives_way(evicted: &mut Option<oneshot::Receiver<()>>) {
    if let Some(waiting) = evicted
        && waiting.await.is_ok()
    {
        return;
    }
    *evicted = None;
    std::future::pending().await
}

/// The socket beside a listener: the same address and port.
///
/// Errors: the port is taken for datagrams.
pub fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(Arc::new(UdpSocket::from_std(socket)?))
}
