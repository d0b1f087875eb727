//! The one task that owns the core: hands it what happens, carries out what it says.
//!
//! ```text
//! connections --+                       +--> outboxes of connections
//! calls --------+--> Hub::step(now) ----+--> replies to calls
//! the store ----+                       +--> commits and reads, on threads that may block
//! ```
//!
//! All that is ready goes into one step, so that a busy moment costs one commit.
//!
//! When a commit fails, what the core has in memory is no longer what is on the disk. Then everyone is sent away for a
//! while, the store is opened again, and a new core goes on from its rows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hub::Hub;
use hub::fleet::Standing;
use hub::hub::commit::{WRITE_FAILED, not_done};
use hub::hub::{Input, Note, Output, Query, Rows, Ticket};
use hub::request::{Reply, Request};
use hub::session::PeerId;
use link::channel::Carrier;
use store::change::Change;
use store::error::StoreError;
use store::{StateRow, Store};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use wire::id::{DeviceId, JournalId};
use wire::message::{CloseReason, Fingerprint};
use wire::time::Stamp;

use crate::keys::Shown;
use crate::listener::Gate;
use crate::log::{self, Level, Limited};
use crate::peer::{FromPeer, PeerKey};
use crate::store_handle::StoreHandle;
use crate::window::Windows;

/// Inputs that wait for the core. Of chunks of a connection these are 4 MiB; whoever finds no room waits, and TCP
/// slows its peer down.
pub const INPUT_COUNT_MAX: usize = 256;

/// Connections of one enrolled key. A gateway dials again before the hub has noticed that its last link is dead, and
/// then the newest counts.
const CONNECTION_COUNT_MAX: usize = 4;

/// Reads of the store at once.
const READ_COUNT_MAX: usize = 4;

/// From a failed commit to the next attempt to open the store: whoever fills a disk often empties it.
const REOPEN: Duration = Duration::from_secs(2);

/// A request of an administrator, and where the reply goes.
#[derive(Debug)]
pub struct Ask {
    /// For what.
    pub request: Request,
    /// Where to.
    pub reply: oneshot::Sender<Reply>,
}

/// What reaches the core.
#[derive(Debug)]
pub struct Inbox {
    /// From connections.
    pub peers: mpsc::Receiver<FromPeer>,
    /// From calls.
    pub asks: mpsc::Receiver<Ask>,
}

/// Owns the core.
#[derive(Debug)]
pub struct Driver {
    hub: Hub,
    store: Arc<StoreHandle>,
    gate: Arc<Gate>,
    shown: watch::Receiver<Arc<Shown>>,
    peers: BTreeMap<PeerId, Peer>,
    /// Connections that are gone, and of which the core has yet to say its last word.
    gone: Vec<PeerId>,
    greetings: Limited,
    asks: BTreeMap<u64, oneshot::Sender<Reply>>,
    ask_count: u64,
    store_outcomes: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    reads: Arc<Semaphore>,
    windows: Windows,
    is_committing: bool,
    /// Why the last commit failed, until a new core goes on.
    failure: Option<String>,
    /// Whether no commit has succeeded since one failed.
    is_failing: bool,
    /// What follows from carrying out outputs, for the next step.
    later: Vec<Input>,
}

#[derive(Debug)]
struct Peer {
    key: Fingerprint,
    /// Whether it is more than a greeting that anyone may have recorded.
    is_confirmed: bool,
    address: SocketAddr,
    outbox: mpsc::Sender<Vec<u8>>,
}

impl Driver {
    /// The driver of a core that was just opened.
    pub fn new(hub: Hub, store: Arc<StoreHandle>, gate: Arc<Gate>, shown: watch::Receiver<Arc<Shown>>) -> Driver {
        gate.set_tokens(hub.fleet().token_names());
        Driver {
            hub,
            store,
            gate,
            shown,
            peers: BTreeMap::new(),
            gone: Vec::new(),
            greetings: Limited::default(),
            asks: BTreeMap::new(),
            ask_count: 0,
            store_outcomes: mpsc::channel(INPUT_COUNT_MAX),
            reads: Arc::new(Semaphore::new(READ_COUNT_MAX)),
            windows: Windows::default(),
            is_committing: false,
            failure: None,
            is_failing: false,
            later: Vec::new(),
        }
    }

    /// Runs until `stop` resolves; then says good-bye to everyone and makes durable what is known.
    pub async fn run(mut self, mut inbox: Inbox, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let mut inputs = std::mem::take(&mut self.later);
            let pause = self.pause(!inputs.is_empty());
            tokio::select! {
                // What the store did frees memory and peers' windows: it goes first.
                biased;
                () = &mut stop => break,
                Some(input) = self.store_outcomes.1.recv() => inputs.push(self.seen(input)),
                Some(ask) = inbox.asks.recv() => inputs.push(self.asked(ask)),
                Some(from) = inbox.peers.recv() => inputs.extend(self.heard(from)),
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(input) = self.store_outcomes.1.try_recv() {
                inputs.push(self.seen(input));
            }
            while let Ok(ask) = inbox.asks.try_recv() {
                inputs.push(self.asked(ask));
            }
            while inputs.len() < INPUT_COUNT_MAX
                && let Ok(from) = inbox.peers.try_recv()
            {
                inputs.extend(self.heard(from));
            }
            self.step(inputs);
            if let Some(failure) = self.failure.take() {
                self.send_away(CloseReason::Busy, WRITE_FAILED);
                tokio::select! {
                    () = &mut stop => break,
                    () = self.begin_again(&failure, &mut inbox) => {}
                }
            }
        }
        self.close_down().await;
    }

    /// What was committed is acked first, so that no gateway sends it twice; then everyone is told to come back, and
    /// when each was last heard is committed too.
    async fn close_down(&mut self) {
        self.settle().await;
        let inputs = self.send_away(CloseReason::Shutdown, "");
        self.step(inputs);
        self.settle().await;
    }

    /// Tells all peers to come back later. What the core is to hear of it comes back.
    fn send_away(&mut self, reason: CloseReason, detail: &str) -> Vec<Input> {
        let bytes = link::talk::close_frames(reason, detail);
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in &peers {
            self.send(*peer, bytes.clone());
        }
        peers.iter().for_each(|peer| self.forget(*peer));
        peers.into_iter().map(|peer| Input::Disconnected { peer }).collect()
    }

    /// Opens the store again and lets a new core go on from it. Until then whoever comes is refused.
    async fn begin_again(&mut self, failure: &str, inbox: &mut Inbox) {
        for (_, asked) in std::mem::take(&mut self.asks) {
            let _ = asked.send(not_done(failure));
        }
        // What the old core asked for is of no use to the new one, which counts its tickets from the start again.
        self.store_outcomes = mpsc::channel(INPUT_COUNT_MAX);
        self.later.clear();
        let mut has_said = false;
        loop {
            let store = self.store.clone();
            let reopened = async {
                tokio::time::sleep(REOPEN).await;
                tokio::task::spawn_blocking(move || store.reopen()).await.expect("a panic ends the process")
            };
            match refuse_until(reopened, failure, inbox).await {
                Ok(rows) => {
                    self.hub = open(rows, self.gate.now());
                    self.is_committing = false;
                    return;
                }
                Err(error) if !has_said => log::write(Level::Error, "store does not open", &[("error", &error)]),
                Err(_) => {}
            }
            has_said = true;
        }
    }

    /// Waits until nothing is on its way to the store. Nothing new arrives meanwhile, so there is an end to it.
    async fn settle(&mut self) {
        while self.is_committing
            && let Some(input) = self.store_outcomes.1.recv().await
        {
            let input = self.seen(input);
            self.step(vec![input]);
        }
    }

    fn pause(&self, has_input: bool) -> Duration {
        let now = self.gate.now().uptime;
        match self.hub.poll_timeout() {
            _ if has_input => Duration::ZERO,
            Some(at) => Duration::from_millis((at - now).0),
            None => Duration::from_secs(3600),
        }
    }

    fn seen(&mut self, input: Input) -> Input {
        if let Input::Committed { .. } | Input::CommitFailed { .. } = &input {
            self.is_committing = false;
            self.windows.commit_ended();
        }
        match &input {
            Input::CommitFailed { error, .. } => self.failure = Some(error.clone()),
            Input::Committed { .. } if std::mem::take(&mut self.is_failing) => {
                log::write(Level::Info, "commits succeed again", &[]);
            }
            _ => {}
        }
        input
    }

    fn asked(&mut self, ask: Ask) -> Input {
        self.ask_count += 1;
        self.asks.insert(self.ask_count, ask.reply);
        Input::Ask { id: self.ask_count, request: ask.request }
    }

    fn heard(&mut self, from: FromPeer) -> Vec<Input> {
        match from {
            FromPeer::Connected { peer, address, key, outbox, room } => {
                let mut inputs = Vec::new();
                let is_confirmed = !matches!(key, PeerKey::Datagram(_));
                let (key, datagram_key, carrier) = match key {
                    PeerKey::Tls(key, datagram_key) => (key, datagram_key, Carrier::Stream),
                    PeerKey::Token(key, datagram_key) => (key, datagram_key, Carrier::Datagram),
                    // A key that is nobody's here is refused in words, as in TLS.
                    PeerKey::Datagram(shown) => {
                        let key = self.hub.fleet().by_datagram_key(shown);
                        (key.unwrap_or(Fingerprint(shown.0)), Some(shown), Carrier::Datagram)
                    }
                };
                let is_member = self.hub.fleet().by_key(key).is_some_and(|device| device.standing == Standing::Active);
                if is_member {
                    self.gate.lobby().leave(peer);
                    inputs.extend(self.oldest_of_too_many(key));
                }
                self.peers.insert(peer, Peer { key, is_confirmed, address, outbox });
                self.windows.add(peer, room);
                inputs.push(Input::Connected { peer, key, datagram_key, carrier });
                inputs
            }
            FromPeer::Received { peer, number, bytes } => {
                self.windows.arrived(peer, bytes.len());
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.is_confirmed |= number.is_some_and(|number| number > 0);
                }
                vec![Input::Received { peer, number, bytes }]
            }
            FromPeer::Disconnected { peer } => {
                self.gone.push(peer);
                vec![Input::Disconnected { peer }]
            }
        }
    }

    /// Ends the oldest connection of a key that has as many as it may.
    fn oldest_of_too_many(&mut self, key: Fingerprint) -> Option<Input> {
        let same = self.peers.iter().filter(|(peer, known)| known.key == key && !self.gone.contains(peer));
        let same: Vec<_> = same.collect();
        if same.len() < CONNECTION_COUNT_MAX {
            return None;
        }
        // A greeting that is played again by someone else does not end a link that is alive.
        let unconfirmed = same.iter().find(|(_, known)| !known.is_confirmed);
        let oldest = *unconfirmed.or(same.first())?.0;
        self.gone.push(oldest);
        Some(Input::Disconnected { peer: oldest })
    }

    fn step(&mut self, inputs: Vec<Input>) {
        self.hub.set_datagram_key(self.shown.borrow().datagram_key);
        self.hub.step(self.gate.now(), inputs);
        self.gate.set_tokens(self.hub.fleet().token_names());
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send { peer, bytes } => self.send(peer, bytes),
                Output::Close { peer } => self.gone.push(peer),
                // After a failed one the next would fail as well, and not for what is in it.
                Output::Commit { .. } if self.failure.is_some() => {}
                Output::Commit { ticket, changes } => self.commit(ticket, changes),
                Output::Read { ticket, query } => self.read(ticket, query),
                Output::Reply { id, reply } => {
                    // Whoever asked may have gone.
                    let _ = self.asks.remove(&id).map(|asked| asked.send(reply));
                }
                Output::Note(note) => self.note(&note),
            }
        }
        // Without its outbox a connection ends when all is written.
        for peer in std::mem::take(&mut self.gone) {
            self.forget(peer);
        }
        if !self.is_committing {
            self.windows.nothing_waits();
        }
    }

    fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.windows.remove(peer);
    }

    fn send(&mut self, peer: PeerId, bytes: Vec<u8>) {
        let Some(known) = self.peers.get(&peer) else { return };
        // One that is gone has said so, and that waits in the inbox.
        if let Err(TrySendError::Full(_)) = known.outbox.try_send(bytes) {
            self.gate.note(Level::Warning, "peer does not read, its link ends", &[("address", &known.address)]);
            self.forget(peer);
            self.later.push(Input::Disconnected { peer });
        }
    }

    fn commit(&mut self, ticket: Ticket, changes: Vec<Change>) {
        self.is_committing = true;
        self.windows.commit_began();
        let (store, outcomes) = (self.store.clone(), self.store_outcomes.0.clone());
        tokio::spawn(async move {
            let committed = tokio::task::spawn_blocking(move || store.commit(&changes)).await;
            let input = match committed.expect("a panic ends the process") {
                Ok(refused) => Input::Committed { ticket, refused },
                Err(error) => Input::CommitFailed { ticket, error: error.to_string() },
            };
            // The driver outlives its commits: see `settle`.
            let _ = outcomes.send(input).await;
        });
    }

    fn read(&mut self, ticket: Ticket, query: Query) {
        let (store, outcomes, reads) = (self.store.clone(), self.store_outcomes.0.clone(), self.reads.clone());
        let gate = self.gate.clone();
        tokio::spawn(async move {
            let _permit = reads.acquire().await.expect("the semaphore is never closed");
            let rows = tokio::task::spawn_blocking(move || match query {
                Query::Progress { device, journal } => store.read(|store| progress(store, device, journal)).flatten(),
            });
            let rows = rows.await.expect("a panic ends the process");
            let rows = rows.inspect_err(|error| gate.note(Level::Error, "read failed", &[("error", error)])).ok();
            let _ = outcomes.send(Input::Rows { ticket, rows }).await;
        });
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Enrolled { device, name } => {
                log::write(Level::Info, "device enrolled", &[("name", name), ("device", device)]);
            }
            Note::Cloned { name } => {
                let words =
                    "two machines speak with the key of one device: its card was copied; enroll one of them again";
                self.gate.note(Level::Error, words, &[("name", name)]);
            }
            Note::Online { name } => {
                self.greetings.write(self.gate.now().uptime, Level::Info, "device is online", &[("name", name)]);
            }
            Note::Refused { peer, reason, detail } => {
                let known = self.peers.get(peer);
                let address = known.map_or(String::new(), |known| known.address.to_string());
                // The first digits of a key are the number of the device that enrolled with it.
                let key = known.map_or(String::new(), |known| identity::key::device_id(known.key).to_string());
                // Those are what a person here asked for.
                let is_ours = matches!(reason, CloseReason::Retired | CloseReason::Shutdown);
                let level = if is_ours { Level::Info } else { Level::Warning };
                let reason = format!("{reason:?}");
                let pairs: [(&str, &dyn Display); 4] =
                    [("address", &address), ("key", &key), ("reason", &reason), ("detail", detail)];
                self.gate.note(level, "link closed", &pairs[..if detail.is_empty() { 3 } else { 4 }]);
            }
            Note::NotStored { device, reason } => {
                self.gate.note(Level::Warning, "batch not stored", &[("device", device), ("reason", reason)]);
            }
            // A disk stays full for hours, and each attempt fails like the first.
            Note::StoreFailed { .. } if self.is_failing => {}
            Note::StoreFailed { error } => {
                self.is_failing = true;
                log::write(Level::Error, "commit failed, everyone is told to come back later", &[("error", error)]);
            }
        }
    }
}

/// Tells whoever comes to come back later, until `done` resolves. None may wait in the inbox instead: a fleet that dials
/// for hours would take every file descriptor, and the store needs one to open.
async fn refuse_until<T>(done: impl Future<Output = T>, failure: &str, inbox: &mut Inbox) -> T {
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return done,
            Some(ask) = inbox.asks.recv() => drop(ask.reply.send(not_done(failure))),
            Some(from) = inbox.peers.recv() => {
                if let FromPeer::Connected { outbox, .. } = from {
                    // There is room: it is the first word.
                    let _ = outbox.try_send(link::talk::close_frames(CloseReason::Busy, WRITE_FAILED));
                }
            }
        }
    }
}

/// A core that goes on from the rows of its state.
pub fn open(rows: Vec<StateRow>, now: Stamp) -> Hub {
    let (hub, unread) = Hub::open(rows, now);
    for key in unread {
        let row = String::from_utf8_lossy(&key).into_owned();
        log::write(Level::Warning, "a row of the state does not read, a later version wrote it", &[("row", &row)]);
    }
    hub
}

fn progress(store: &Store, device: DeviceId, journal: JournalId) -> Result<Rows, StoreError> {
    let progress = store.progress(device, journal)?.into_iter().collect();
    let missing = store.missing_dictionaries(device)?.into_iter().filter(|missing| missing.journal == journal);
    Ok(Rows::Progress { progress, missing_generations: missing.map(|missing| missing.generation).collect() })
}
