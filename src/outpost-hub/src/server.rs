//! The serving process: opens what it needs, starts the tasks, and closes down in order.
//!
//! ```text
//! DIR/            0700
//! ├── hub.key     0600   see keys.rs
//! ├── hub.sock    0600   see socket.rs
//! └── store/      0700   locked while a process serves
//! ```

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hal::linux::clock::Clock;
use hal::linux::folder::Folder;
use hub::Hub;
use hub::fleet::Standing;
use hub::request::Request;
use identity::key::Key;
use store::error::StoreError;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::datagram::{self, Datagrams};
use crate::desk::Desk;
use crate::driver::{self, Ask, Driver, INPUT_COUNT_MAX, Inbox};
use crate::keys::{Keys, KeysError, Shown};
use crate::listener::{Gate, Listener};
use crate::lobby::WAITING_COUNT_MAX;
use crate::socket::Socket;
use crate::store_handle::StoreHandle;

/// Where a hub listens until told otherwise: where nobody else reaches it.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7070";

/// Requests that wait for the core.
const ASK_COUNT_MAX: usize = 16;

/// Connections that the kernel holds until we take them: a fleet that comes back at once after a restart.
const BACKLOG: u32 = 1024;

/// File descriptors for all but the fleet: the store, sockets, calls.
const OWN_COUNT: usize = 64;

/// For the last words to reach the peers.
const CLOSE: Duration = Duration::from_secs(3);

/// What a hub is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its folder.
    pub folder: PathBuf,
    /// Where it listens: an address or a name, and a port; port 0 lets the system choose.
    pub listen: String,
}

/// A hub that is open and listens, and has not begun to answer.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: TcpListener,
    datagrams: Arc<UdpSocket>,
    socket: Socket,
    clock: Clock,
    keys: Keys,
    present: Key,
    next: Option<Key>,
    store: StoreHandle,
    hub: Hub,
}

/// Why a hub cannot start.
#[derive(Debug)]
pub enum ServeError {
    /// The system's clock or its folder refused.
    System(io::Error),
    /// Another process serves this folder.
    Served {
        /// The hub's folder.
        folder: PathBuf,
    },
    /// There is a store and no key.
    KeyLost {
        /// The hub's folder.
        folder: PathBuf,
    },
    /// A key could not be read or made.
    Keys(KeysError),
    /// The address is taken, or not this machine's.
    Listen {
        /// Which.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The store does not open.
    Store(StoreError),
}

impl Server {
    /// Opens a hub: makes its folder and key when it is new, locks its store, listens.
    ///
    /// Panics: outside of a runtime.
    pub fn open(settings: &Settings) -> Result<Server, ServeError> {
        Server::open_on(settings, |path| Ok(Folder::open(path)?))
    }

    /// As [`Server::open`], with the store on a disk that `store_folder` opens.
    pub(crate) fn open_on(
        settings: &Settings,
        store_folder: impl FnOnce(&Path) -> io::Result<disk::Folder>,
    ) -> Result<Server, ServeError> {
        let folder = std::path::absolute(&settings.folder)?;
        let clock = Clock::open(Path::new("/"))?;
        let keys = Keys::new(&folder);
        let store_path = folder.join("store");
        // Its lock goes first: only whoever holds it may make a key or a socket.
        let store_folder = store_folder(&store_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => ServeError::Served { folder: folder.clone() },
            _ => ServeError::System(error),
        })?;
        let present = match keys.present()? {
            Some(key) => key,
            // A new key would lock out a whole fleet that trusts the lost one.
            None if store_path.join(store::FILE_NAME).exists() => return Err(ServeError::KeyLost { folder }),
            None => keys.init()?,
        };
        let next = keys.next()?;
        let socket = Socket::open(&folder)?;
        let store = StoreHandle::open(store_folder)?;
        let hub = driver::open(store.state()?, clock.now());
        let listen = |error| ServeError::Listen { address: settings.listen.clone(), error };
        let listener = bind(&settings.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let datagrams = datagram::bind(address).map_err(listen)?;
        Ok(Server { address, listener, datagrams, socket, clock, keys, present, next, store, hub })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// File descriptors that the fleet as it is may take: each active device has a link, and another while the hub has
    /// not noticed that the last one is dead.
    pub fn descriptor_count(&self) -> usize {
        let active = self.hub.fleet().devices().filter(|device| device.standing == Standing::Active);
        2 * active.count() + WAITING_COUNT_MAX + OWN_COUNT
    }

    /// Serves until `stop` resolves: then takes nobody in any more, finishes the commit on its way, tells its peers to
    /// come back, and returns.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (to_hub, peers) = mpsc::channel(INPUT_COUNT_MAX);
        let (to_core, asks) = mpsc::channel(ASK_COUNT_MAX);
        let (alive, mut all_gone) = mpsc::channel(1);
        let (stop_driver, driver_stops) = oneshot::channel::<()>();
        let (shown_sender, shown) = watch::channel(Shown::new(self.present));
        let store = Arc::new(self.store);
        let gate = Arc::new(Gate::new(self.clock));

        let driver = Driver::new(self.hub, store.clone(), gate.clone(), shown.clone());
        let driver = tokio::spawn(driver.run(Inbox { peers, asks }, async {
            let _ = driver_stops.await;
        }));
        // The files say which key is next. A crash between the two steps of a change leaves the state behind them.
        let (reply, _) = oneshot::channel();
        let request = Request::AnnounceKey(self.next.as_ref().map(Key::fingerprint));
        to_core.send(Ask { request, reply }).await.expect("the driver has just started");

        let socket_path = self.socket.path().to_owned();
        let desk = Arc::new(Desk::new(self.address, store, to_core, shown_sender, self.keys));
        let calls = tokio::spawn(self.socket.run(desk));
        let datagrams = Datagrams {
            socket: self.datagrams,
            shown: shown.clone(),
            gate: gate.clone(),
            to_hub: to_hub.clone(),
            alive: alive.clone(),
            sessions: Arc::default(),
        };
        let datagrams = tokio::spawn(datagrams.run());
        let listener = Listener { listener: self.listener, shown, gate: gate.clone(), to_hub, alive };
        let listener = tokio::spawn(listener.run());

        stop.await;
        listener.abort();
        datagrams.abort();
        calls.abort();
        // Whoever calls from here on is told that nobody serves.
        let _ = std::fs::remove_file(socket_path);
        let _ = stop_driver.send(());
        driver.await.expect("a panic ends the process");
        // Those in a handshake have nothing to be told.
        gate.lobby().clear();
        let _ = timeout(CLOSE, all_gone.recv()).await;
    }
}

/// Listens on the first address of `listen` that the system lets us have.
fn bind(listen: &str) -> io::Result<TcpListener> {
    let mut refusal = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in listen.to_socket_addrs()? {
        let bound = (|| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restart need not wait for the last connections to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })();
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::System(error) => error.fmt(f),
            ServeError::Served { folder } => write!(f, "another outpost-hub serves {} already", folder.display()),
            ServeError::KeyLost { folder } => write!(
                f,
                "{0} holds a store and no hub.key, and the fleet trusts no other key: restore hub.key from a copy; \
                 or `outpost-hub init --dir {0}` makes a new one, and every machine must be enrolled again",
                folder.display()
            ),
            ServeError::Keys(error) => error.fmt(f),
            ServeError::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            ServeError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        ServeError::System(error)
    }
}

impl From<KeysError> for ServeError {
    fn from(error: KeysError) -> Self {
        ServeError::Keys(error)
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        ServeError::Store(error)
    }
}
