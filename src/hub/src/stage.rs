//! A core with its disk and its peers, for tests.

use std::collections::BTreeMap;

use identity::token::secret_hash;
use link::channel::Carrier;
use link::talk::{self, Listener};
use store::change::Change;
use wire::batch::put_event;
use wire::class::Class;
use wire::event::Event;
use wire::id::{DeviceId, JournalId, Seq};
use wire::message::{Checksum, Enroll, Enrolled, Fingerprint, Hello, Kind};
use wire::record::{Header, plain, seal};
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::version::Versions;

use crate::hub::{Hub, Input, Output, Rows};
use crate::request::{Reply, Request};
use crate::session::PeerId;

pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) now: Stamp,
    /// What is durable of the hub's state.
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    peer_count: u64,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let now = Stamp { uptime: Instant(0), unix: Some(UnixTime(1_767_225_600_000)), ..Stamp::default() };
        Stage { hub: Hub::open(Vec::new(), now).0, now, rows: BTreeMap::new(), peer_count: 100 }
    }

    pub(crate) fn pass(&mut self, span: Span) {
        self.now.uptime = self.now.uptime + span;
        self.now.unix = self.now.unix.map(|unix| UnixTime(unix.0 + span.0));
    }

    /// One step, and what comes of it before any commit.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        self.hub.step(self.now, inputs);
        std::iter::from_fn(|| self.hub.poll_output()).collect()
    }

    /// One step and all that follows, on a disk that takes everything.
    pub(crate) fn settle(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let mut all = Vec::new();
        let mut outputs = self.step(inputs);
        loop {
            let mut next = Vec::new();
            for output in outputs {
                match output {
                    Output::Commit { ticket, changes } => {
                        changes.into_iter().for_each(|change| self.write(change));
                        next.push(Input::Committed { ticket, refused: Vec::new() });
                    }
                    other => all.push(other),
                }
            }
            if next.is_empty() {
                return all;
            }
            outputs = self.step(next);
        }
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::Put { key, value } => drop(self.rows.insert(key, value)),
            Change::Delete { key } => drop(self.rows.remove(&key)),
            Change::Forget { .. } | Change::Lost { .. } | Change::Record { .. } => {}
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let outputs = self.settle([Input::Ask { id: 7, request }]);
        let reply = outputs.into_iter().find_map(|output| match output {
            Output::Reply { id: 7, reply } => Some(reply),
            _ => None,
        });
        reply.expect("the core replies")
    }

    /// The process ended and starts again on what is durable.
    pub(crate) fn reopened(self) -> Stage {
        let (hub, unread) = Hub::open(self.rows.clone().into_iter().collect(), self.now);
        assert_eq!(unread, [b""; 0]);
        Stage { hub, ..self }
    }

    /// The link of a device of which nothing is held, once it is online.
    pub(crate) fn greet(&mut self, key: u8) -> PeerId {
        self.enroll(key);
        let (peer, outputs) = self.connect(key);
        assert!(matches!(told(&outputs, peer)[..], [(Kind::Welcome, _)]), "{outputs:?}");
        peer
    }

    /// The link of a device of which nothing is held, and what follows from its welcome.
    pub(crate) fn connect(&mut self, key: u8) -> (PeerId, Vec<Output>) {
        self.peer_count += 1;
        let peer = PeerId(self.peer_count);
        let hello = Hello {
            versions: Versions::AGENT,
            journal: JournalId(7),
            now: self.now,
            heartbeat: Span::seconds(60),
            progress: Checksum::default(),
            heads: Default::default(),
            about: Checksum::default(),
        };
        let bytes = talk::frames(Kind::Hello, &hello);
        let outputs = self.settle([connected(peer, key), received(peer, bytes)]);
        let ticket = outputs.iter().find_map(|output| match output {
            Output::Read { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let rows = Rows::Progress { progress: Vec::new(), missing_generations: Vec::new() };
        let ticket = ticket.expect("the core asks what is held");
        (peer, self.settle([Input::Rows { ticket, rows: Some(rows) }]))
    }

    /// A batch of one event of a peer arrives.
    pub(crate) fn event(peer: PeerId, seq: u64, event: &Event) -> Input {
        let header = Header { stream: Stream::Event, seq: Seq(seq), run: Seq(seq), stamp: Stamp::default() };
        let (mut payload, mut record) = (Vec::new(), Vec::new());
        put_event(Span(0), event, &mut payload);
        seal(&header, &payload, false, &mut record);
        received(peer, talk::raw_frames(Lane::Urgent, Kind::Batch, &plain(&record), seq as u32))
    }

    /// A batch of a peer arrives.
    pub(crate) fn batch(peer: PeerId, seq: u64) -> Input {
        let header =
            Header { stream: Stream::raw(Class::Normal), seq: Seq(seq), run: Seq(seq), stamp: Stamp::default() };
        let mut record = Vec::new();
        seal(&header, b"payload", false, &mut record);
        received(peer, talk::raw_frames(Lane::Raw, Kind::Batch, &plain(&record), seq as u32))
    }

    /// A machine that was let in.
    pub(crate) fn enroll(&mut self, key: u8) -> DeviceId {
        let secret = [key; 16];
        let hash = secret_hash(&secret);
        self.ask(Request::TokenNew { hash, uses: 1, expires_in: None, group: None, tags: [].into() });
        let peer = PeerId(u64::from(key));
        let outputs = self.settle([connected(peer, key), received(peer, enrolment(&secret))]);
        let [(Kind::Enrolled, bytes)] = &told(&outputs, peer)[..] else { panic!("{outputs:?}") };
        talk::read::<Enrolled>(bytes).expect("the core speaks the protocol").device
    }
}

/// A peer with a key connects, over a stream.
pub(crate) fn connected(peer: PeerId, key: u8) -> Input {
    Input::Connected { peer, key: Fingerprint([key; 32]), datagram_key: None, carrier: Carrier::Stream }
}

/// Bytes of a stream arrive.
pub(crate) fn received(peer: PeerId, bytes: Vec<u8>) -> Input {
    Input::Received { peer, number: None, bytes }
}

/// What a machine says that wants to come in.
pub(crate) fn enrolment(secret: &[u8; 16]) -> Vec<u8> {
    let (hostname, agent) = ("gw".try_into().unwrap(), "0.1.0".try_into().unwrap());
    talk::frames(Kind::Enroll, &Enroll { versions: Versions::AGENT, secret: *secret, hostname, agent })
}

/// The messages that a peer is sent.
pub(crate) fn told(outputs: &[Output], peer: PeerId) -> Vec<(Kind, Vec<u8>)> {
    let mut listener = Listener::default();
    let mut messages = Vec::new();
    for output in outputs {
        if let Output::Send { peer: to, bytes } = output
            && *to == peer
        {
            listener.push(bytes);
            while let Some(framed) = listener.poll_message().unwrap() {
                messages.push((Kind::from_number(framed.kind).unwrap(), framed.bytes));
            }
        }
    }
    messages
}
