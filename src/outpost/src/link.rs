//! The port to the hub: moves bytes between a connection and the core, one connection at a time.
//!
//! ```text
//! core ── Output::Dial ──> dial ──> Connected ──> core
//! core ── Output::Send ──> queue ──> TLS ──> hub
//! hub  ── TLS ──> chunks of at most 16 KiB ──> Received ──> core
//! ```
//!
//! Each connection has a number, and what an older one has to say is dropped by the core's task. A connection that is
//! given up keeps [`LINGER`] to write its last words.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use link::channel::Carrier;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt as _;
use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use smol::lock::Mutex;
use smol::{LocalExecutor, Task, Timer};
use wire::limits::IN_FLIGHT_COUNT_MAX;

use crate::count::Count;
use crate::datagram;
use crate::dial::{CHUNK_BYTES_MAX, DialError, Resolver, Way, dial, open};
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::keys::{Keys, Turn};
use crate::log;
use crate::port::{LinkEvent, Message};
use crate::proxy::Proxy;

/// Writes that wait for the connection: every batch in flight, and the words around them. A hub that reads so slowly
/// that they do not fit is as good as gone.
const QUEUE_COUNT_MAX: usize = IN_FLIGHT_COUNT_MAX + 32;

/// How long a connection that is given up may take to write what waits.
const LINGER: Duration = Duration::from_secs(2);

/// The port to the hub.
#[derive(Debug)]
pub(crate) struct Link {
    executor: &'static LocalExecutor<'static>,
    core: Sender<Message>,
    connection: Option<Connection>,
    /// The number of the last connection.
    number: u32,
    /// What connections go through.
    proxy: Option<Arc<Proxy>>,
    /// Where `/sys` is.
    root: PathBuf,
    resolver: Rc<Mutex<Resolver>>,
    lingering: Option<Task<()>>,
}

#[derive(Debug)]
struct Connection {
    outgoing: Sender<Vec<u8>>,
    task: Task<()>,
}

impl Link {
    /// A port without a connection. Streams go through the `proxy` if there is one.
    pub(crate) fn new(
        executor: &'static LocalExecutor<'static>,
        core: Sender<Message>,
        number: u32,
        proxy: Option<Arc<Proxy>>,
        root: PathBuf,
    ) -> Link {
        Link { executor, core, connection: None, number, proxy, root, resolver: Rc::default(), lingering: None }
    }

    /// The number of the present connection, or of the last one.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Opens a connection to the hub of `enrolment`, with the one of `keys` whose turn it is; through `interface` when one is named,
    /// and else where the system's routes lead.
    pub(crate) fn dial(
        &mut self,
        enrolment: Enrolment,
        keys: Result<Option<Keys>, Failure>,
        turn: Turn,
        (interface, carrier): (Option<String>, Carrier),
    ) {
        self.number = self.number.wrapping_add(1);
        let (outgoing, queue) = bounded(QUEUE_COUNT_MAX);
        let port = Port::new(self.core.clone(), self.number);
        let (resolver, root) = (self.resolver.clone(), self.root.clone());
        let way = Way { interface, proxy: self.proxy.clone() };
        let task = self.executor.spawn(async move {
            let carried = carry_link(&resolver, (carrier, way, root), &enrolment, (keys, turn), &port, queue).await;
            port.tell(match carried {
                Ok(ended) => LinkEvent::Disconnected(ended.map(|error| error.to_string())),
                Err(refusal) => LinkEvent::NotConnected(refusal.log(&enrolment)),
            })
            .await;
        });
        self.connection = Some(Connection { outgoing, task });
    }

    /// Writes bytes to the connection, if there is one.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        let Some(connection) = &self.connection else { return };
        if connection.outgoing.try_send(bytes).is_err() && connection.outgoing.is_full() {
            log::warning("the hub does not read: closing the connection", &[]);
            // What was promised in order has a hole now. The task ends with the queue and says so.
            connection.outgoing.close();
        }
    }

    /// Closes the connection once it has written what waits.
    pub(crate) fn hang_up(&mut self) {
        let Some(Connection { outgoing, task }) = self.connection.take() else { return };
        outgoing.close();
        let too_long = async {
            Timer::after(LINGER).await;
        };
        // The one before has had its time.
        self.lingering = Some(self.executor.spawn(task.or(too_long)));
    }

    /// Waits until the last words are written, or have had their time.
    pub(crate) async fn finish(&mut self) {
        self.hang_up();
        if let Some(lingering) = self.lingering.take() {
            lingering.await;
        }
    }
}

/// Where a connection tells the core what happens to it.
pub(crate) struct Port {
    core: Sender<Message>,
    connection: u32,
}

impl Port {
    /// Of the connection with this number.
    pub(crate) fn new(core: Sender<Message>, connection: u32) -> Port {
        Port { core, connection }
    }

    pub(crate) async fn tell(&self, event: LinkEvent) {
        // The queue is closed only when the process ends.
        let _ = self.core.send(Message::Link { connection: self.connection, event }).await;
    }
}

/// Connects and carries everything until the end; then says why it ended, unless this end gave it up.
async fn carry_link(
    resolver: &Mutex<Resolver>,
    (carrier, way, root): (Carrier, Way, PathBuf),
    enrolment: &Enrolment,
    (keys, turn): (Result<Option<Keys>, Failure>, Turn),
    port: &Port,
    queue: Receiver<Vec<u8>>,
) -> Result<Option<io::Error>, Refusal> {
    let no_key = || Failure::Failed("this device has no key any more: enroll it again".to_owned());
    let keys = keys.and_then(|keys| keys.ok_or_else(no_key)).map_err(Refusal::Key)?;
    let Enrolment { address, pins, datagram_key, .. } = enrolment;
    if let (Carrier::Datagram, Some(hub)) = (carrier, datagram_key) {
        let socket =
            open(&mut *resolver.lock().await, address, way.interface.as_deref()).await.map_err(Refusal::Dial)?;
        port.tell(LinkEvent::Connected(Carrier::Datagram)).await;
        let local = socket.local_addr().ok().map(|local| local.ip());
        let count = Count { socket: socket.clone(), local, root };
        let ended = datagram::carry(&socket, keys.of(turn), *hub, port, queue).or(count.go_on(port)).await;
        count.tell(port).await;
        return Ok(ended);
    }
    if carrier == Carrier::Datagram {
        log::warning("this device enrolled with a hub without datagrams: enroll it again; using tls", &[]);
    }
    let stream = dial(&mut *resolver.lock().await, address, &way, keys.of(turn), pins).await;
    let stream = stream.map_err(Refusal::Dial)?;
    port.tell(LinkEvent::Connected(Carrier::Stream)).await;
    let socket = stream.get_ref().0.clone();
    let count = Count { local: socket.local_addr().ok().map(|local| local.ip()), socket, root };
    let ended = carry(stream, port, queue).or(count.go_on(port)).await;
    count.tell(port).await;
    Ok(ended)
}

/// Why there is no connection.
#[derive(Debug)]
enum Refusal {
    /// The way to the hub, or the hub.
    Dial(DialError),
    /// The device has no key to show.
    Key(Failure),
}

impl Refusal {
    /// Says it to the log. Returns why, for people.
    fn log(&self, enrolment: &Enrolment) -> String {
        let address = &enrolment.address;
        match self {
            Refusal::Dial(DialError::Wrong(wrong)) => {
                let pins: Vec<String> = wrong.pins.iter().map(ToString::to_string).collect();
                let (shown, pins) = (wrong.shown, pins.join(" or "));
                let reason = format!("the hub at {address} has key {shown}, this device expects {pins}");
                log::error("not the hub of this device", &[("reason", &reason)]);
                reason
            }
            Refusal::Dial(error) => {
                log::warning("cannot reach the hub", &[("hub", address), ("reason", error)]);
                error.to_string()
            }
            Refusal::Key(failure) => {
                log::error("no key to show to the hub", &[("reason", failure)]);
                failure.to_string()
            }
        }
    }
}

/// Carries bytes both ways until the queue is closed and empty, or the connection ends; then says why it did.
async fn carry<S>(stream: S, port: &Port, queue: Receiver<Vec<u8>>) -> Option<io::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = smol::io::split(stream);
    let read = async {
        let mut chunk = vec![0; CHUNK_BYTES_MAX];
        loop {
            match reader.read(&mut chunk).await {
                Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "the hub hung up"),
                Ok(count) => port.tell(LinkEvent::Received(chunk[..count].to_vec())).await,
                Err(error) => return error,
            }
        }
    };
    let write = async {
        while let Ok(bytes) = queue.recv().await {
            writer.write_all(&bytes).await?;
            if queue.is_empty() {
                writer.flush().await?;
            }
        }
        writer.close().await
    };
    let ended = async { Some(read.await) }.or(async { write.await.err() }).await;
    // Whatever happens to a connection that this end gives up is its own affair.
    ended.filter(|_| !queue.is_closed())
}

#[cfg(test)]
mod tests {
    use smol::net::unix::UnixStream;

    use super::*;

    fn port() -> (Port, Receiver<Message>) {
        let (core, messages) = bounded(64);
        (Port::new(core, 7), messages)
    }

    #[test]
    fn what_waits_is_written_before_the_end() {
        smol::block_on(async {
            let (here, mut there) = UnixStream::pair().unwrap();
            let (port, _messages) = port();
            let (outgoing, queue) = bounded(QUEUE_COUNT_MAX);
            for word in ["good", "-", "bye"] {
                outgoing.try_send(word.as_bytes().to_vec()).unwrap();
            }
            outgoing.close();
            assert!(carry(here, &port, queue).await.is_none());
            let mut heard = String::new();
            there.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "good-bye");
        });
    }

    #[test]
    fn what_arrives_is_told_in_chunks_until_the_other_end_closes() {
        smol::block_on(async {
            let (here, mut there) = UnixStream::pair().unwrap();
            let (port, messages) = port();
            let (_outgoing, queue) = bounded(1);
            let said = vec![b'x'; 3 * CHUNK_BYTES_MAX];
            let hub = async {
                there.write_all(&said).await.unwrap();
                there.close().await.unwrap();
            };
            let (ended, ()) = smol::future::zip(carry(here, &port, queue), hub).await;
            assert_eq!(ended.unwrap().to_string(), "the hub hung up");
            let mut byte_count = 0;
            while let Ok(Message::Link { connection, event: LinkEvent::Received(bytes) }) = messages.try_recv() {
                assert!(connection == 7 && (1..=CHUNK_BYTES_MAX).contains(&bytes.len()));
                byte_count += bytes.len();
            }
            assert_eq!(byte_count, said.len());
        });
    }

    #[test]
    fn a_connection_that_is_given_up_says_nothing_more_in_its_own_name() {
        let executor: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
        let (core, messages) = bounded(64);
        let enrolment = Enrolment {
            device: wire::id::DeviceId(1),
            address: "192.0.2.1:7070".parse().unwrap(),
            pins: vec![wire::message::Fingerprint([1; 32])],
            datagram_key: None,
        };
        smol::block_on(executor.run(async {
            let mut link = Link::new(executor, core, 0, None, PathBuf::from("/"));
            link.dial(enrolment, Ok(None), Turn::Current, (None, Carrier::Stream));
            let first = link.number();
            link.finish().await;
            let Ok(Message::Link { connection, event: LinkEvent::NotConnected(reason) }) = messages.try_recv() else {
                panic!("the end of a connection is told")
            };
            assert_eq!(connection, first);
            assert!(reason.contains("enroll it again"), "{reason}");
            assert!(messages.is_empty());
        }));
    }
}
