//! One connection: a handshake, then chunks in and bytes out, until one end has enough.
//!
//! ```text
//! accepted -> TLS, 10 s -> Connected { key } -> Received* -> Disconnected
//!                              outbox ---------> written, 30 s each
//!                              outbox closed --> flushed, close_notify, what still arrives is dropped for 3 s
//! ```
//!
//! The last line is for the peer's sake: a socket that is closed with unread bytes in it is reset, and the reset can
//! overtake the words that say why.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hub::session::PeerId;
use identity::key::fingerprint;
use identity::noise::montgomery::noise_public_of;
use identity::tls::peer_spki;
use link::receipt::Number;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wire::message::{DatagramKey, Fingerprint};

use crate::window::Room;

/// Bytes that are handed on at once.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Words of the hub that wait for a peer that does not read. An ack for each stream follows each commit, so this is a
/// minute of them.
pub const OUTBOX_COUNT_MAX: usize = 256;

/// Three round trips over 2G, and patience.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The hub says little: a peer that does not take it within this time is gone or means harm.
const WRITE: Duration = Duration::from_secs(30);

const LINGER: Duration = Duration::from_secs(3);

/// Words that are written in one go.
const WRITE_COUNT_MAX: usize = 16;

/// As what a peer showed itself.
#[derive(Clone, Copy, Debug)]
pub enum PeerKey {
    /// With a key on datagrams; whose, the fleet knows.
    Datagram(DatagramKey),
    /// With a key in TLS, and what it is on datagrams.
    Tls(Fingerprint, Option<DatagramKey>),
    /// With a key on datagrams, beside a token's, and what it is there.
    Token(Fingerprint, Option<DatagramKey>),
}

/// What a connection tells the hub.
#[derive(Debug)]
pub enum FromPeer {
    /// A peer proved to have a key.
    Connected {
        /// Its connection.
        peer: PeerId,
        /// Where it comes from.
        address: SocketAddr,
        /// What it showed.
        key: PeerKey,
        /// What to write to it. Dropped, it ends the connection when all is written.
        outbox: mpsc::Sender<Vec<u8>>,
        /// How much of its words may wait.
        room: Room,
    },
    /// The connection is gone.
    Disconnected {
        /// Which.
        peer: PeerId,
    },
    /// Bytes of a peer, at most [`CHUNK_BYTES_MAX`], for which it took room.
    Received {
        /// Its connection.
        peer: PeerId,
        /// The number of a datagram.
        number: Option<Number>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// One connection that was just accepted.
#[derive(Debug)]
pub struct Connection {
    /// Its number, never used before.
    pub peer: PeerId,
    /// Where it comes from.
    pub address: SocketAddr,
    /// Resolves with `Ok` when it has to give way to another.
    pub evicted: oneshot::Receiver<()>,
    /// To whom its words go.
    pub to_hub: mpsc::Sender<FromPeer>,
}

impl Connection {
    /// Carries bytes until one end has enough.
    ///
    /// Errors: the handshake failed, so that the hub never heard of it.
    pub async fn run(self, socket: TcpStream, tls: Arc<ServerConfig>) -> io::Result<()> {
        let Connection { peer, address, evicted, to_hub } = self;
        let mut evicted = pin!(gives_way(evicted));
        // Acks are small and a gateway waits for them.
        socket.set_nodelay(true)?;
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(socket)) => shaken,
            () = &mut evicted => return Err(io::Error::other("gave way before its handshake was done")),
        };
        let stream = shaken.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "handshake took too long"))??;
        let spki = peer_spki(stream.get_ref().1.peer_certificates())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "showed no key"))?;
        let key = PeerKey::Tls(fingerprint(spki), noise_public_of(spki).map(DatagramKey));

        let (outbox, words) = mpsc::channel(OUTBOX_COUNT_MAX);
        let room = Room::new();
        if to_hub.send(FromPeer::Connected { peer, address, key, outbox, room: room.clone() }).await.is_err() {
            return Ok(());
        }
        let (mut reader, mut writer) = tokio::io::split(stream);
        let is_flushed = tokio::select! {
            // The last words go out even when there is another reason to end.
            biased;
            is_flushed = say(&mut writer, words) => is_flushed,
            () = hear(peer, &mut reader, &room, &to_hub) => false,
            () = &mut evicted => false,
        };
        // The hub is closing down when nobody listens any more.
        let _ = to_hub.send(FromPeer::Disconnected { peer }).await;
        if is_flushed {
            let _ =
                timeout(LINGER, async { while chunk(&mut reader).await.is_ok_and(|bytes| !bytes.is_empty()) {} }).await;
        }
        Ok(())
    }
}

/// Ends when the connection has to give way, and never when it waits no longer.
async fn gives_way(evicted: oneshot::Receiver<()>) {
    if evicted.await.is_err() {
        pending().await
    }
}

/// Hands on what arrives, until the end.
async fn hear(peer: PeerId, reader: &mut (impl AsyncRead + Unpin), room: &Room, to_hub: &mpsc::Sender<FromPeer>) {
    // A peer that is cut off and one that says good-bye are the same here: the protocol has a good-bye of its own.
    while let Ok(bytes) = chunk(reader).await {
        room.take(bytes.len()).await;
        if bytes.is_empty() || to_hub.send(FromPeer::Received { peer, number: None, bytes }).await.is_err() {
            return;
        }
    }
}

/// Writes what the hub says, until it has said all. Whether all of it was written.
async fn say(writer: &mut (impl AsyncWrite + Unpin), mut words: mpsc::Receiver<Vec<u8>>) -> bool {
    let mut ready = Vec::new();
    while words.recv_many(&mut ready, WRITE_COUNT_MAX).await > 0 {
        let bytes = ready.concat();
        ready.clear();
        let written = timeout(WRITE, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return false;
        }
    }
    matches!(timeout(WRITE, writer.shutdown()).await, Ok(Ok(())))
}

/// The next bytes; none at the end. They are read into one buffer that all connections share, so that one that waits,
/// as most do most of the time, holds none.
async fn chunk(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8; CHUNK_BYTES_MAX]>> = RefCell::new(Box::new([0; CHUNK_BYTES_MAX]));
    }
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..]);
            ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().to_vec()))
        })
    })
    .await
}
