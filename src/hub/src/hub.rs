//! The host's core: one `step`, for the host's process and the simulated world alike.
//!
//! What arrives while a commit is on its way is collected and becomes the next one, so a thousand gateways cost one
//! transaction at a time, not a thousand. Nothing is acked, answered or told as done before the commit that holds it.
//!
//! | part | what |
//! |---|---|
//! | `uplink` | the line to the devices: what they say, and what they are told |
//! | `admin` | what an administrator asks for, carried out |
//! | `commit` | what waits for the disk, and what follows once it is there |

mod admin;
pub mod commit;
mod uplink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use link::channel::Carrier;
use link::receipt::Number;
use store::change::{Change, Refused, RefusedReason};
use wire::id::{DeviceId, JournalId};
use wire::message::{CloseReason, DatagramKey, Fingerprint, Progress};
use wire::time::{Instant, Span, Stamp};

use self::commit::Commits;
use crate::fetches::Fetches;
use crate::fleet::Fleet;
use crate::request::{Reply, Request};
use crate::session::{PeerId, Session};

/// Bytes of what devices sent that wait for the commit on its way. Beyond it peers are told to come back: their batches are safe
/// with them.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// How often what was seen of connected devices is made durable, and old tokens are forgotten.
pub const OBSERVE_EVERY: Span = Span::minutes(5);

const NEXT_KEY: &[u8] = b"hub/next-key";

/// A question to the store or a commit, as the core numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the driver tells the core.
#[derive(Debug)]
pub enum Input {
    /// A peer proved to have a key.
    Connected {
        /// Its connection.
        peer: PeerId,
        /// The key.
        key: Fingerprint,
        /// The same on datagrams, if it could be told from what the peer showed.
        datagram_key: Option<DatagramKey>,
        /// What carries its packets.
        carrier: Carrier,
    },
    /// Bytes of a peer.
    Received {
        /// Its connection.
        peer: PeerId,
        /// The number of a datagram; the one that opened the link has 0.
        number: Option<Number>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A connection is gone.
    Disconnected {
        /// Which.
        peer: PeerId,
    },
    /// A commit is durable.
    Committed {
        /// Which.
        ticket: Ticket,
        /// The changes that were not taken.
        refused: Vec<Refused>,
    },
    /// A commit failed; nothing of it is durable.
    CommitFailed {
        /// Which.
        ticket: Ticket,
        /// Why.
        error: String,
    },
    /// The answer to a read.
    Rows {
        /// Which.
        ticket: Ticket,
        /// The answer; none when the store could not.
        rows: Option<Rows>,
    },
    /// An administrator asks.
    Ask {
        /// Comes back with the reply.
        id: u64,
        /// For what.
        request: Request,
    },
}

/// What the core tells the driver.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes to a peer, or send them as one datagram, the n-th to it with number n.
    Send {
        /// Its connection.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close a connection once its bytes are written.
    Close {
        /// Which.
        peer: PeerId,
    },
    /// Make these changes durable, all in one.
    Commit {
        /// Comes back with the result.
        ticket: Ticket,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Ask the store.
    Read {
        /// Comes back with the rows.
        ticket: Ticket,
        /// What.
        query: Query,
    },
    /// The reply to an administrator.
    Reply {
        /// The request's.
        id: u64,
        /// The reply.
        reply: Reply,
    },
    /// Something for the log.
    Note(Note),
}

/// What the core asks the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// What is held of a journal, and which dictionaries are missing.
    Progress {
        /// Whose.
        device: DeviceId,
        /// Which life of it.
        journal: JournalId,
    },
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// To [`Query::Progress`].
    Progress {
        /// By stream.
        progress: Vec<Progress>,
        /// Generations of this journal's dictionary that runs count on and that are not whole.
        missing_generations: Vec<u32>,
    },
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A machine became a device.
    Enrolled {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// Two machines speak with the key of a device: its card was copied.
    Cloned {
        /// Its name.
        name: String,
    },
    /// A device is connected.
    Online {
        /// Its name.
        name: String,
    },
    /// A peer was refused, or gave the link up.
    Refused {
        /// Its connection.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
        /// More.
        detail: String,
    },
    /// A record was not stored.
    NotStored {
        /// The device.
        device: DeviceId,
        /// Why.
        reason: RefusedReason,
    },
    /// A commit failed.
    StoreFailed {
        /// Why.
        error: String,
    },
}

/// The host's core.
#[derive(Debug)]
pub struct Hub {
    /// When the present step is.
    now: Stamp,
    fleet: Fleet,
    fetches: Fetches,
    sessions: BTreeMap<PeerId, Session>,
    /// Whoever may have something to be told.
    touched: BTreeSet<PeerId>,
    commits: Commits,
    reads: BTreeMap<Ticket, PeerId>,
    ticket_count: u64,
    next_key: Option<Fingerprint>,
    datagram_key: DatagramKey,
    observe_at: Instant,
    /// Messages of each device that were passed over since the process began.
    skipped_counts: BTreeMap<DeviceId, u64>,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// Goes on from the rows of the state store. The second value names rows that do not read.
    pub fn open(rows: Vec<store::StateRow>, now: Stamp) -> (Hub, Vec<Vec<u8>>) {
        let (key_rows, fleet_rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| key == NEXT_KEY);
        let next_key = key_rows.first().and_then(|(_, value)| postcard::from_bytes(value).ok());
        let (fetch_rows, fleet_rows): (Vec<_>, Vec<_>) =
            fleet_rows.into_iter().partition(|(key, _)| Fetches::owns(key));
        let (fetches, unread_fetches) = Fetches::load(fetch_rows);
        let (fleet, mut unread) = Fleet::load(fleet_rows);
        unread.extend(unread_fetches);
        let hub = Hub {
            now,
            fleet,
            fetches,
            sessions: BTreeMap::new(),
            touched: BTreeSet::new(),
            commits: Commits::default(),
            reads: BTreeMap::new(),
            ticket_count: 0,
            next_key,
            datagram_key: DatagramKey::default(),
            observe_at: now.uptime + OBSERVE_EVERY,
            skipped_counts: BTreeMap::new(),
            outputs: VecDeque::new(),
        };
        (hub, unread)
    }

    /// The key that the hub has on datagrams, for those who enroll.
    pub fn set_datagram_key(&mut self, key: DatagramKey) {
        self.datagram_key = key;
    }

    /// The fleet, for those who only look.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What devices are asked for, for those who only look.
    pub fn fetches(&self) -> &Fetches {
        &self.fetches
    }

    /// Takes inputs, lets time pass, commits. Drain [`Hub::poll_output`] afterwards.
    pub fn step(&mut self, now: Stamp, inputs: impl IntoIterator<Item = Input>) {
        self.now = now;
        for input in inputs {
            match input {
                Input::Connected { peer, key, datagram_key, carrier } => {
                    self.sessions.insert(peer, Session::new(key, datagram_key, carrier, now.uptime));
                }
                Input::Received { peer, number, bytes } => self.receive(now, peer, number, &bytes),
                Input::Disconnected { peer } => self.forget(peer),
                Input::Committed { ticket, refused } => self.committed(ticket, &refused),
                Input::CommitFailed { ticket, error } => self.commit_failed(ticket, error),
                Input::Rows { ticket, rows } => self.rows(ticket, rows),
                Input::Ask { id, request } => self.ask(now, id, request),
            }
        }
        self.pass_time(now);
        self.send();
        if self.commits.is_due() {
            let ticket = self.ticket();
            let changes = self.commits.begin(ticket);
            self.outputs.push_back(Output::Commit { ticket, changes });
        }
    }

    /// What to tell the driver next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Hub::step`] has something to do without an input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silent = self.sessions.values().filter_map(|session| session.server.poll_timeout()).min();
        silent.into_iter().chain([self.observe_at]).min()
    }

    fn ticket(&mut self) -> Ticket {
        self.ticket_count += 1;
        Ticket(self.ticket_count)
    }

    /// Sends what those have to be told to whom something happened.
    fn send(&mut self) {
        for peer in std::mem::take(&mut self.touched) {
            self.send_to(peer);
        }
    }

    fn send_to(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        while let Some(bytes) = session.server.poll_packet(self.now.uptime) {
            self.outputs.push_back(Output::Send { peer, bytes });
        }
    }

    fn pass_time(&mut self, now: Stamp) {
        let silent: Vec<PeerId> = self
            .sessions
            .iter_mut()
            .filter_map(|(peer, session)| session.server.handle_timeout(now.uptime).is_err().then_some(*peer))
            .collect();
        for peer in silent {
            self.close(peer, CloseReason::Protocol, "silent for too long");
        }
        let is_due = |session: &Session| session.server.poll_timeout().is_some_and(|at| at <= now.uptime);
        self.touched.extend(self.sessions.iter().filter(|(_, session)| is_due(session)).map(|(peer, _)| *peer));
        if self.observe_at <= now.uptime {
            self.observe_at = now.uptime + OBSERVE_EVERY;
            let online = self.sessions.values().filter_map(|session| Some(session.who.as_ref()?.device));
            self.commits.add(online.filter_map(|device| self.fleet.row(device)));
            self.commits.add(now.unix.map(|now| self.fleet.delete_old_tokens(now)).unwrap_or_default());
            self.commits.add(now.unix.map(|now| self.fetches.delete_old(now)).unwrap_or_default());
        }
    }
}
