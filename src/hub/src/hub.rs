//! The host's core: one `step`, for the host's process and the simulated world alike.
//!
//! What arrives while a commit is on its way is collected and becomes the next one, so a thousand gateways cost one
//! transaction at a time, not a thousand. Nothing is acked, answered or told as done before the commit that holds it.

use std::collections::{BTreeMap, VecDeque};

use link::server::{Heard, Problem};
use store::change::{Change, Refused, RefusedReason};
use wire::batch;
use wire::event::Event;
use wire::id::{DeviceId, JournalId};
use wire::message::{
    CloseReason, Enroll, Enrolled, Fingerprint, Hello, Kind, Ping, Pong, Progress, Rotate, VERSION, Want, Welcome,
};
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::fleet::{Device, Fleet, KEY_COUNT_MAX, LABEL_BYTES_MAX, Standing, TAG_COUNT_MAX, Token};
use crate::request::{Member, Reply, Request};
use crate::session::{PeerId, Session, Who};

/// Bytes of changes that wait for the commit on its way. Beyond it peers are told to come back: their batches are safe
/// with them.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// How often what was seen of a connected device is made durable.
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
    },
    /// Bytes of a peer.
    Received {
        /// Its connection.
        peer: PeerId,
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
    /// Write these bytes to a peer.
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

/// What happens when a commit is durable.
#[derive(Debug)]
enum Then {
    /// A record's number becomes part of what is held.
    Settle { index: usize, peer: PeerId, stream: Stream, range: SeqRange },
    /// A peer gets its answer, and the link ends.
    Answer { peer: PeerId, bytes: Vec<u8> },
    /// An administrator gets the reply.
    Reply { id: u64 },
}

#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    then: Vec<Then>,
    bytes: usize,
}

/// The host's core.
#[derive(Debug)]
pub struct Hub {
    fleet: Fleet,
    sessions: BTreeMap<PeerId, Session>,
    waiting: Batch,
    committing: Option<(Ticket, Batch)>,
    reads: BTreeMap<Ticket, PeerId>,
    ticket_count: u64,
    next_key: Option<Fingerprint>,
    observe_at: Instant,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// Goes on from the rows of the state store. The second value names rows that do not read.
    pub fn open(rows: Vec<store::StateRow>, now: Stamp) -> (Hub, Vec<Vec<u8>>) {
        let (key_rows, fleet_rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| key == NEXT_KEY);
        let next_key = key_rows.first().and_then(|(_, value)| postcard::from_bytes(value).ok());
        let (fleet, unread) = Fleet::load(fleet_rows);
        let hub = Hub {
            fleet,
            sessions: BTreeMap::new(),
            waiting: Batch::default(),
            committing: None,
            reads: BTreeMap::new(),
            ticket_count: 0,
            next_key,
            observe_at: now.uptime + OBSERVE_EVERY,
            outputs: VecDeque::new(),
        };
        (hub, unread)
    }

    /// The fleet, for those who only look.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Takes inputs, lets time pass, commits. Drain [`Hub::poll_output`] afterwards.
    pub fn step(&mut self, now: Stamp, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            match input {
                Input::Connected { peer, key } => {
                    self.sessions.insert(peer, Session::new(key, now.uptime));
                }
                Input::Received { peer, bytes } => self.receive(now, peer, &bytes),
                Input::Disconnected { peer } => self.forget(peer),
                Input::Committed { ticket, refused } => self.committed(ticket, &refused),
                Input::CommitFailed { ticket, error } => self.commit_failed(ticket, error),
                Input::Rows { ticket, rows } => self.rows(now, ticket, rows),
                Input::Ask { id, request } => self.ask(now, id, request),
            }
        }
        self.pass_time(now);
        if self.committing.is_none() && !self.waiting.changes.is_empty() {
            let mut batch = std::mem::take(&mut self.waiting);
            let changes = std::mem::take(&mut batch.changes);
            let ticket = self.ticket();
            self.outputs.push_back(Output::Commit { ticket, changes });
            self.committing = Some((ticket, batch));
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

    fn pass_time(&mut self, now: Stamp) {
        let silent: Vec<PeerId> = self
            .sessions
            .iter_mut()
            .filter_map(|(peer, session)| session.server.handle_timeout(now.uptime).is_err().then_some(*peer))
            .collect();
        for peer in silent {
            self.close(peer, CloseReason::Protocol, "silent for too long");
        }
        if self.observe_at <= now.uptime {
            self.observe_at = now.uptime + OBSERVE_EVERY;
            let online: Vec<DeviceId> = self.sessions.values().filter_map(|s| Some(s.who.as_ref()?.device)).collect();
            for device in online {
                self.waiting.changes.extend(self.fleet.row(device));
            }
        }
    }

    fn receive(&mut self, now: Stamp, peer: PeerId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let mut words = Vec::new();
        let result = session.server.receive(now.uptime, bytes, |heard| words.push(heard));
        if let Some(who) = &session.who {
            let device = who.device;
            self.fleet.observe(device, |device| device.heard = now.unix);
        }
        for heard in words {
            if !self.sessions.contains_key(&peer) {
                return;
            }
            match heard {
                Heard::Hello(hello) => self.hello(now, peer, &hello),
                Heard::Batch(record) => self.batch(now, peer, record),
                Heard::Ping(ping) => self.ping(now, peer, &ping),
                Heard::Enroll(enroll) => self.enroll(now, peer, &enroll),
                Heard::Rotate(rotate) => self.rotate(peer, &rotate),
                Heard::Leave => self.leave(peer),
                Heard::Close(_) => {
                    self.forget(peer);
                    self.outputs.push_back(Output::Close { peer });
                }
            }
        }
        match result {
            Ok(()) => {}
            Err(Problem::Protocol(detail)) => self.close(peer, CloseReason::Protocol, &detail),
            Err(Problem::Silent) => self.close(peer, CloseReason::Protocol, "silent for too long"),
        }
    }

    /// The device behind a peer's key, or the reason why it is turned away.
    fn admit(&self, peer: PeerId) -> Result<&Device, CloseReason> {
        let key = self.sessions[&peer].key;
        let device = self.fleet.by_key(key).ok_or(CloseReason::UnknownKey)?;
        match device.standing {
            Standing::Active => Ok(device),
            Standing::Retired => Err(CloseReason::Retired),
            Standing::Revoked => Err(CloseReason::Revoked),
        }
    }

    fn hello(&mut self, now: Stamp, peer: PeerId, hello: &Hello) {
        if !(hello.versions.0..=hello.versions.1).contains(&VERSION) {
            let (first, last) = hello.versions;
            let detail = format!("gateway speaks {first} to {last}, hub speaks {VERSION}");
            return self.close(peer, CloseReason::Version, &detail);
        }
        let device = match self.admit(peer) {
            Ok(device) => device.id,
            Err(reason) => return self.close(peer, reason, ""),
        };
        if device != hello.device {
            let detail = format!("the key is that of {device}, the gateway says it is {}", hello.device);
            return self.close(peer, CloseReason::UnknownKey, &detail);
        }
        let same = |session: &Session| session.who.as_ref().is_some_and(|who| who.device == device);
        let older: Vec<PeerId> =
            self.sessions.iter().filter(|(_, session)| same(session)).map(|(peer, _)| *peer).collect();
        for older in older {
            self.close(older, CloseReason::Superseded, "");
        }

        let session = self.sessions.get_mut(&peer).expect("the peer was admitted");
        session.who = Some(Who::new(device, hello.journal, &hello.heads));
        let key = session.key;
        self.fleet.observe(device, |device| {
            device.journal = Some(hello.journal);
            device.backlog_count = hello.backlog.batch_count;
            device.clock_offset_ms = clock_offset_ms(hello.now, now);
            device.version = hello.agent.as_str().into();
            device.hostname = hello.hostname.as_str().into();
            device.heard = now.unix;
            // Speaking with the newer key ends the older one.
            if let Some(index) = device.keys.iter().position(|known| *known == key) {
                device.keys.drain(..index);
            }
        });
        self.waiting.changes.extend(self.fleet.row(device));
        let ticket = self.ticket();
        self.reads.insert(ticket, peer);
        self.outputs.push_back(Output::Read { ticket, query: Query::Progress { device, journal: hello.journal } });
    }

    fn rows(&mut self, now: Stamp, ticket: Ticket, rows: Option<Rows>) {
        let Some(peer) = self.reads.remove(&ticket) else { return };
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(who) = &mut session.who else { return };
        let Some(Rows::Progress { progress, missing_generations }) = rows else {
            return self.close(peer, CloseReason::Busy, "the hub's store does not answer");
        };
        who.learn(&progress);
        let welcome = Welcome {
            version: VERSION,
            hub: now.unix.unwrap_or_default(),
            progress: progress.into_iter().collect(),
            next_key: self.next_key,
        };
        let (device, next_key) = (who.device, self.next_key);
        self.fleet.observe(device, |device| device.told_key = next_key);
        let name = self.fleet.device(device).map(|device| device.name.clone()).unwrap_or_default();
        let mut answers = vec![session.server.welcome(&welcome)];
        answers.extend(missing_generations.into_iter().map(|generation| session.server.want(&Want { generation })));
        self.outputs.extend(answers.into_iter().map(|bytes| Output::Send { peer, bytes }));
        self.outputs.push_back(Output::Note(Note::Online { name }));
        self.send_acks(peer);
    }

    fn batch(&mut self, now: Stamp, peer: PeerId, bytes: Vec<u8>) {
        if self.waiting.bytes > WAITING_BYTES_MAX {
            return self.close(peer, CloseReason::Busy, "too much waits for the hub's disk");
        }
        let Some(Who { device, journal, .. }) = self.sessions[&peer].who else { return };
        let record = match Record::open(&bytes) {
            Ok(record) => record,
            Err(error) => return self.close(peer, CloseReason::Protocol, &error.to_string()),
        };
        let header = record.header;
        let index = self.waiting.changes.len();
        let range = SeqRange { first: header.seq, last: header.seq };
        self.waiting.then.push(Then::Settle { index, peer, stream: header.stream, range });
        let lost = if header.stream == Stream::Event { lost_ranges(&record) } else { Vec::new() };
        self.waiting.bytes += bytes.len();
        self.waiting.changes.push(Change::Record {
            device,
            journal,
            record: bytes,
            received: now.unix.unwrap_or_default(),
        });
        for (stream, range) in lost {
            let index = self.waiting.changes.len();
            self.waiting.then.push(Then::Settle { index, peer, stream, range });
            self.waiting.changes.push(Change::Lost { device, journal, stream, range });
        }
    }

    fn ping(&mut self, now: Stamp, peer: PeerId, ping: &Ping) {
        let session = &self.sessions[&peer];
        let Some(who) = &session.who else { return };
        self.fleet.observe(who.device, |device| {
            device.backlog_count = ping.backlog.batch_count;
            device.clock_offset_ms = clock_offset_ms(ping.now, now);
        });
        let bytes = session.server.pong(&Pong { hub: now.unix.unwrap_or_default() });
        self.outputs.push_back(Output::Send { peer, bytes });
    }

    fn enroll(&mut self, now: Stamp, peer: PeerId, enroll: &Enroll) {
        if !(enroll.versions.0..=enroll.versions.1).contains(&VERSION) {
            let (first, last) = enroll.versions;
            let detail = format!("machine speaks {first} to {last}, hub speaks {VERSION}");
            return self.close(peer, CloseReason::Version, &detail);
        }
        let key = self.sessions[&peer].key;
        let now = now.unix.unwrap_or_default();
        match self.fleet.enroll(key, &enroll.secret, &enroll.hostname, &enroll.agent, now) {
            Err(reason) => self.close(peer, reason, ""),
            Ok(enrolment) => {
                let device = enrolment.device;
                let mut name = heapless::String::new();
                // A name that does not fit is cut: the number is what counts.
                device.name.chars().take_while(|character| name.push(*character).is_ok()).for_each(drop);
                let bytes = self.sessions[&peer].server.enrolled(&Enrolled { device: device.id, name });
                self.outputs.push_back(Output::Note(Note::Enrolled { device: device.id, name: device.name }));
                self.answer_when_durable(peer, bytes, enrolment.changes);
            }
        }
    }

    fn rotate(&mut self, peer: PeerId, rotate: &Rotate) {
        let device = match self.admit(peer) {
            Ok(device) => device.id,
            Err(reason) => return self.close(peer, reason, ""),
        };
        if self.fleet.by_key(rotate.key).is_some_and(|other| other.id != device) {
            return self.close(peer, CloseReason::Protocol, "the new key belongs to another device");
        }
        let key = self.sessions[&peer].key;
        let change = self.fleet.change(device, |device| {
            device.keys.retain(|known| *known == key || *known == rotate.key);
            if !device.keys.contains(&rotate.key) {
                device.keys.push(rotate.key);
            }
            assert!(device.keys.len() <= KEY_COUNT_MAX, "the present key and the next");
        });
        let bytes = self.sessions[&peer].server.done(Kind::Rotated);
        self.answer_when_durable(peer, bytes, vec![change]);
    }

    fn leave(&mut self, peer: PeerId) {
        let key = self.sessions[&peer].key;
        let Some(device) = self.fleet.by_key(key) else { return self.close(peer, CloseReason::UnknownKey, "") };
        if device.standing == Standing::Revoked {
            return self.close(peer, CloseReason::Revoked, "");
        }
        let id = device.id;
        let change = self.fleet.change(id, |device| device.standing = Standing::Retired);
        let bytes = self.sessions[&peer].server.done(Kind::Left);
        self.answer_when_durable(peer, bytes, vec![change]);
        self.close_device(id, CloseReason::Retired);
    }

    fn answer_when_durable(&mut self, peer: PeerId, bytes: Vec<u8>, changes: Vec<Change>) {
        self.waiting.changes.extend(changes);
        self.waiting.then.push(Then::Answer { peer, bytes });
    }

    fn committed(&mut self, ticket: Ticket, refused: &[Refused]) {
        let Some((_, batch)) = self.committing.take_if(|(committing, _)| *committing == ticket) else { return };
        let mut peers = Vec::new();
        for then in batch.then {
            match then {
                Then::Settle { index, peer, stream, range } => {
                    let reason = refused.iter().find(|refused| refused.index == index).map(|refused| refused.reason);
                    let Some(who) = self.sessions.get_mut(&peer).and_then(|session| session.who.as_mut()) else {
                        continue;
                    };
                    if let Some(reason) = reason {
                        self.outputs.push_back(Output::Note(Note::NotStored { device: who.device, reason }));
                    }
                    if matches!(reason, None | Some(RefusedReason::Conflict)) {
                        who.settled(stream, range);
                        peers.push(peer);
                    }
                }
                Then::Answer { peer, bytes } => {
                    self.outputs.push_back(Output::Send { peer, bytes });
                    self.outputs.push_back(Output::Close { peer });
                    self.forget(peer);
                }
                Then::Reply { id } => self.outputs.push_back(Output::Reply { id, reply: Reply::Done }),
            }
        }
        peers.dedup();
        peers.into_iter().for_each(|peer| self.send_acks(peer));
    }

    fn send_acks(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        // An ack before the welcome would mean nothing to the gateway.
        if !session.server.is_online() {
            return;
        }
        let Some(who) = &mut session.who else { return };
        // A device that sends has no reason to ping and to say how much waits.
        let (device, backlog_count) = (who.device, who.backlog_count());
        self.fleet.observe(device, |device| device.backlog_count = backlog_count);
        while let Some(ack) = who.poll_ack() {
            let bytes = session.server.ack(&ack);
            self.outputs.push_back(Output::Send { peer, bytes });
        }
    }

    /// Nothing of the commit is durable, and which of it would be next time is not known: everyone comes back.
    fn commit_failed(&mut self, ticket: Ticket, error: String) {
        let Some((_, batch)) = self.committing.take_if(|(committing, _)| *committing == ticket) else { return };
        for then in batch.then {
            match then {
                Then::Settle { peer, .. } | Then::Answer { peer, .. } => {
                    self.close(peer, CloseReason::Busy, "the hub cannot store");
                }
                Then::Reply { id } => {
                    let reply = Reply::Refused(format!("the hub cannot store: {error}"));
                    self.outputs.push_back(Output::Reply { id, reply });
                }
            }
        }
        self.outputs.push_back(Output::Note(Note::StoreFailed { error }));
    }

    fn close(&mut self, peer: PeerId, reason: CloseReason, detail: &str) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let bytes = session.server.close(reason, detail);
        self.outputs.push_back(Output::Send { peer, bytes });
        self.outputs.push_back(Output::Close { peer });
        self.outputs.push_back(Output::Note(Note::Refused { peer, reason, detail: detail.into() }));
        self.forget(peer);
    }

    fn close_device(&mut self, id: DeviceId, reason: CloseReason) {
        let same = |session: &Session| session.who.as_ref().is_some_and(|who| who.device == id);
        let peers: Vec<PeerId> = self.sessions.iter().filter(|(_, s)| same(s)).map(|(peer, _)| *peer).collect();
        peers.into_iter().for_each(|peer| self.close(peer, reason, ""));
    }

    fn forget(&mut self, peer: PeerId) {
        if let Some(who) = self.sessions.remove(&peer).and_then(|session| session.who) {
            self.waiting.changes.extend(self.fleet.row(who.device));
        }
    }

    fn ask(&mut self, now: Stamp, id: u64, request: Request) {
        let reply = match self.carry_out(now, request) {
            Ok(changes) if !changes.is_empty() => {
                self.waiting.changes.extend(changes);
                self.waiting.then.push(Then::Reply { id });
                return;
            }
            Ok(_) => Reply::Done,
            Err(reply) => reply,
        };
        self.outputs.push_back(Output::Reply { id, reply });
    }

    /// The changes that a request leads to, or its reply where nothing changes.
    fn carry_out(&mut self, now: Stamp, request: Request) -> Result<Vec<Change>, Reply> {
        let unix = now.unix.unwrap_or_default();
        match request {
            Request::Fleet => Err(Reply::Fleet(self.members())),
            Request::Tokens => Err(Reply::Tokens(self.fleet.tokens().cloned().collect())),
            Request::TokenNew { hash, uses, expires_in, group, tags } => {
                for (key, value) in &tags {
                    check_label("tag", key)?;
                    check_label("tag", value)?;
                }
                group.iter().try_for_each(|group| check_label("group", group))?;
                let expires = expires_in.map(|span| UnixTime(unix.0.saturating_add(span.0)));
                let token = Token { hash, uses_left: uses, expires, group, tags, made: unix };
                Ok(vec![self.fleet.add_token(token)])
            }
            Request::Rename { device, name } => {
                check_label("name", &name)?;
                let id = self.find(&device)?;
                if self.fleet.by_name(&name).is_some_and(|other| other.id != id) {
                    return Err(Reply::Refused(format!("another device is called {name}")));
                }
                Ok(vec![self.fleet.change(id, |device| device.name = name)])
            }
            Request::Group { device, group } => {
                group.iter().try_for_each(|group| check_label("group", group))?;
                let id = self.find(&device)?;
                Ok(vec![self.fleet.change(id, |device| device.group = group)])
            }
            Request::Tag { device, key, value } => {
                check_label("tag", &key)?;
                value.iter().try_for_each(|value| check_label("tag", value))?;
                let id = self.find(&device)?;
                let tags = self.fleet.device(id).map_or(0, |device| device.tags.len());
                if value.is_some() && tags >= TAG_COUNT_MAX {
                    return Err(Reply::Refused(format!("a device has at most {TAG_COUNT_MAX} tags")));
                }
                Ok(vec![self.fleet.change(id, |device| {
                    match value {
                        Some(value) => device.tags.insert(key, value),
                        None => device.tags.remove(&key),
                    };
                })])
            }
            Request::Retire { device } => {
                let id = self.find(&device)?;
                let change = self.fleet.change(id, |device| device.standing = Standing::Retired);
                self.close_device(id, CloseReason::Retired);
                Ok(vec![change])
            }
            Request::Revoke { device } => {
                let id = self.find(&device)?;
                let change = self.fleet.change(id, |device| device.standing = Standing::Revoked);
                self.close_device(id, CloseReason::Revoked);
                Ok(vec![change])
            }
            Request::Delete { device } => {
                let id = self.find(&device)?;
                self.close_device(id, CloseReason::UnknownKey);
                Ok(vec![self.fleet.delete(id), Change::Forget { device: id }])
            }
            Request::AnnounceKey(key) => {
                self.next_key = key;
                // A welcome carries the announcement: everyone comes back for it.
                let peers: Vec<PeerId> = self.sessions.keys().copied().collect();
                peers.into_iter().for_each(|peer| self.close(peer, CloseReason::Shutdown, "the hub's key changes"));
                Ok(vec![match key {
                    Some(key) => Change::Put {
                        key: NEXT_KEY.to_vec(),
                        value: postcard::to_stdvec(&key).expect("a vector takes every byte"),
                    },
                    None => Change::Delete { key: NEXT_KEY.to_vec() },
                }])
            }
        }
    }

    fn find(&self, name: &str) -> Result<DeviceId, Reply> {
        self.fleet
            .by_name(name)
            .map(|device| device.id)
            .ok_or_else(|| Reply::Refused(format!("no device is called {name}: `outpost-hub fleet` lists them")))
    }

    fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .fleet
            .devices()
            .map(|device| Member {
                is_online: self
                    .sessions
                    .values()
                    .any(|session| session.who.as_ref().is_some_and(|who| who.device == device.id)),
                knows_next_key: self.next_key.is_none_or(|key| device.told_key == Some(key)),
                device: device.clone(),
            })
            .collect();
        members.sort_by(|one, other| one.device.name.cmp(&other.device.name));
        members
    }
}

fn check_label(what: &str, label: &str) -> Result<(), Reply> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(Reply::Refused(format!("a {what} has 1 to {LABEL_BYTES_MAX} bytes and no control characters")));
    }
    Ok(())
}

fn clock_offset_ms(theirs: Stamp, ours: Stamp) -> Option<i64> {
    Some(theirs.unix?.0 as i64 - ours.unix?.0 as i64)
}

/// What the events of a record say will never come.
fn lost_ranges(record: &Record<'_>) -> Vec<(Stream, SeqRange)> {
    let mut scratch = Vec::new();
    let Ok(payload) = record.payload(&mut scratch) else { return Vec::new() };
    batch::events(payload)
        .filter_map(|event| match event {
            Ok((_, Some(Event::Lost { stream, range, .. }))) => Some((stream, range)),
            _ => None,
        })
        .collect()
}
