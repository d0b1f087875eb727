//! The door: who may come in, how many at once, and what happens when there is no room.
//!
//! ```text
//! accept -> lobby -> handshake -> the hub knows the key -> out of the lobby
//!                                 it does not           -> stays there until its errand is done
//! ```

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hal::linux::clock::Clock;
use hub::fleet::TokenNames;
use hub::session::PeerId;
use identity::noise::enrolment::TokenKey;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use wire::time::Stamp;

use crate::admission::Refusals;
use crate::keys::Shown;
use crate::lobby::Lobby;
use crate::log::{self, Level, Limited};
use crate::peer::{Connection, FromPeer};

/// How long to wait when the system has no room for one more connection and nobody can be told to give way.
const PAUSE: Duration = Duration::from_millis(200);

/// For one that was told to give way to do so.
const GIVE_WAY: Duration = Duration::from_millis(5);

/// What is shared by all who deal with strangers.
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    lobby: Mutex<Lobby>,
    notes: Limited,
    peer_count: AtomicU64,
    tokens: Mutex<TokenNames>,
    refusals: Mutex<Refusals>,
}

/// Takes connections in.
#[derive(Debug)]
pub struct Listener {
    /// Where they arrive.
    pub listener: TcpListener,
    /// The key to show, now and from now on.
    pub shown: watch::Receiver<Arc<Shown>>,
    /// Who waits.
    pub gate: Arc<Gate>,
    /// To whom their words go.
    pub to_hub: mpsc::Sender<FromPeer>,
    /// Held by each connection until its end.
    pub alive: mpsc::Sender<Infallible>,
}

impl Gate {
    /// A gate with nobody before it.
    pub fn new(clock: Clock) -> Gate {
        Gate {
            clock,
            lobby: Mutex::default(),
            notes: Limited::default(),
            peer_count: AtomicU64::new(0),
            tokens: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// This moment.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// A number for one who comes, never used before.
    pub fn peer(&self) -> PeerId {
        PeerId(self.peer_count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Takes the tokens as they are now.
    pub fn set_tokens(&self, tokens: &TokenNames) {
        let mut known = self.tokens.lock().expect("a panic ends the process");
        if !Arc::ptr_eq(&known, tokens) {
            *known = tokens.clone();
        }
    }

    /// The token of this name, if there is one, good or ended.
    pub fn token(&self, name: &[u8; 32]) -> Option<TokenKey> {
        self.tokens.lock().expect("a panic ends the process").get(name).map(TokenKey::new)
    }

    /// Whether one more whose token is not ours may be told so.
    pub fn may_refuse(&self) -> bool {
        self.refusals.lock().expect("a panic ends the process").take(self.now().uptime)
    }

    /// Those who wait.
    pub fn lobby(&self) -> MutexGuard<'_, Lobby> {
        self.lobby.lock().expect("a panic ends the process")
    }

    /// Logs what a peer caused, within a budget for such lines.
    pub fn note(&self, level: Level, message: &str, pairs: &[(&str, &dyn Display)]) {
        self.notes.write(self.now().uptime, level, message, pairs);
    }
}

impl Listener {
    /// Takes connections in, until it is dropped.
    pub async fn run(self) -> Infallible {
        let mut has_said = false;
        loop {
            match self.listener.accept().await {
                Ok((socket, address)) => {
                    has_said = false;
                    self.take_in(self.gate.peer(), socket, address);
                }
                // That one changed its mind.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptor or no memory is left. Members are served on; a stranger makes room.
                Err(error) => {
                    if !has_said {
                        log::write(Level::Error, "no room for another connection, trying again", &[("error", &error)]);
                    }
                    has_said = true;
                    let has_told = self.gate.lobby().evict();
                    tokio::time::sleep(if has_told { GIVE_WAY } else { PAUSE }).await;
                }
            }
        }
    }

    fn take_in(&self, peer: PeerId, socket: tokio::net::TcpStream, address: SocketAddr) {
        let (gate, to_hub, alive) = (self.gate.clone(), self.to_hub.clone(), self.alive.clone());
        let tls = self.shown.borrow().tls.clone();
        let evicted = gate.lobby().enter(peer, address.ip());
        tokio::spawn(async move {
            let connection = Connection { peer, address, evicted, to_hub };
            if let Err(error) = connection.run(socket, tls).await {
                gate.note(Level::Warning, "handshake failed", &[("address", &address), ("error", &error)]);
            }
            gate.lobby().leave(peer);
            drop(alive);
        });
    }
}
