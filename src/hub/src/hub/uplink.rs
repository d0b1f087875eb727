//! The line to the devices: what they say, and what they are told.

use link::receipt::Number;
use link::server::Heard;
use store::change::Change;
use wire::batch;
use wire::event::Event;
use wire::id::DeviceId;
use wire::message::{About, CloseReason, Enroll, Enrolled, Hello, HubTime, Kind, Ping, Pong, Rotate, Want, Welcome};
use wire::ranges::{RangeSet, SeqRange};
use wire::record::Record;
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{Span, Stamp, UnixTime};

use super::commit::{ErrandAnswer, Then};
use super::{Hub, Note, Output, Query, Rows, Ticket};
use crate::fleet::{Device, KEY_COUNT_MAX, Standing};
use crate::session::{PeerId, Session, Who};

impl Hub {
    pub(super) fn receive(&mut self, now: Stamp, peer: PeerId, number: Option<Number>, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        self.touched.insert(peer);
        let mut words = Vec::new();
        let result = session.server.receive(now.uptime, number, bytes, |heard| words.push(heard));
        if let Some(who) = &session.who {
            let device = who.device;
            self.fleet.observe(device, |device| device.heard = now.unix);
            *self.skipped_counts.entry(device).or_default() += session.server.take_skipped_count();
        }
        for heard in words {
            match self.sessions.get_mut(&peer) {
                Some(session) if !session.has_asked => {
                    session.has_asked = matches!(heard, Heard::Enroll(_) | Heard::Rotate(_) | Heard::Leave);
                }
                _ => return,
            }
            match heard {
                Heard::Hello(hello) => self.hello(now, peer, &hello),
                Heard::About(about) => self.about(peer, &about),
                Heard::Batch(record) => self.batch(now, peer, record),
                Heard::Ping(ping) => self.ping(now, peer, &ping),
                Heard::Enroll(enroll) => self.enroll(now, peer, &enroll),
                Heard::Rotate(rotate) => self.rotate(peer, &rotate),
                Heard::Leave => self.leave(peer),
                // The link has taken it in: nothing else depends on it.
                Heard::Heartbeat(_) => {}
                Heard::Close(_) => {
                    self.forget(peer);
                    self.outputs.push_back(Output::Close { peer });
                }
            }
        }
        self.take_over(peer);
        if let Err(problem) = result {
            self.close(peer, problem.reason(), &problem.to_string());
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
        let device = match self.admit(peer) {
            Ok(device) => device.id,
            Err(reason) => return self.close(peer, reason, ""),
        };
        let session = self.sessions.get_mut(&peer).expect("the peer was admitted");
        session.who = Some(Who::new(now, device, hello));
        let key = session.key;
        if let Some(datagram_key) = session.datagram_key {
            self.fleet.learn_datagram_key(key, datagram_key);
        }
        let mut is_cloned = false;
        self.fleet.observe(device, |device| {
            if device.journal != Some(hello.journal) {
                is_cloned = device.former_journal == Some(hello.journal);
                device.former_journal = device.journal.replace(hello.journal);
            }
            if is_cloned {
                device.cloned = now.unix;
            }
            device.clock_offset_ms = hello.now.unix.and_then(|unix| clock_offset_ms(unix, now));
            device.heard = now.unix;
            // Speaking with the newer key ends the older one.
            if let Some(index) = device.keys.iter().position(|known| *known == key) {
                device.keys.drain(..index);
            }
        });
        if is_cloned {
            let name = self.fleet.device(device).map(|device| device.name.clone()).unwrap_or_default();
            self.outputs.push_back(Output::Note(Note::Cloned { name }));
        }
        self.commits.add(self.fleet.row(device));
        let ticket = self.ticket();
        self.reads.insert(ticket, peer);
        self.outputs.push_back(Output::Read { ticket, query: Query::Progress { device, journal: hello.journal } });
    }

    /// Closes the older links of a device, once its newest is more than a greeting that anyone may have recorded.
    fn take_over(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(device) = session.who.as_ref().map(|who| who.device) else { return };
        if session.has_taken_over || !session.server.is_confirmed() {
            return;
        }
        session.has_taken_over = true;
        let is_older = |other: &PeerId, session: &Session| {
            *other < peer && session.who.as_ref().is_some_and(|who| who.device == device)
        };
        let older: Vec<PeerId> =
            self.sessions.iter().filter(|(other, session)| is_older(other, session)).map(|(other, _)| *other).collect();
        for older in older {
            self.close(older, CloseReason::Superseded, "");
        }
    }

    pub(super) fn rows(&mut self, ticket: Ticket, rows: Option<Rows>) {
        let Some(peer) = self.reads.remove(&ticket) else { return };
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(who) = &mut session.who else { return };
        let Some(Rows::Progress { progress, missing_generations }) = rows else {
            return self.close(peer, CloseReason::Busy, "the hub's store does not answer");
        };
        who.learn(progress);
        session.owes_welcome = true;
        let wants = missing_generations.into_iter().map(|generation| Want { generation });
        session.wants = wants.collect();
        self.welcome(peer);
    }

    /// Welcomes a peer whose progress is known, once what came with its hello is durable: so its ack rides with the welcome.
    pub(super) fn welcome(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(who) = session.who.as_ref().filter(|who| session.owes_welcome && who.waiting_count == 0) else {
            return;
        };
        session.owes_welcome = false;
        let device = self.fleet.device(who.device);
        let welcome = Welcome {
            version: session.server.version().expect("who is welcomed has said hello"),
            hub: HubTime { received: who.greeted.unix.unwrap_or_default(), held: self.now.uptime - who.greeted.uptime },
            progress: who.progress(),
            next_key: self.next_key,
            wants_about: device.is_none_or(|device| device.about != Some(who.about)),
        };
        session.server.welcome(&welcome);
        for want in session.wants.drain(..) {
            session.server.want(&want);
        }
        let (device, next_key, backlog_count) = (who.device, self.next_key, who.backlog_count());
        self.fleet.observe(device, |device| {
            device.told_key = next_key;
            device.backlog_count = backlog_count;
        });
        let name = self.fleet.device(device).map(|device| device.name.clone()).unwrap_or_default();
        self.outputs.push_back(Output::Note(Note::Online { name }));
        self.touched.insert(peer);
        self.send_acks(peer);
        self.ask_device(peer);
    }

    /// Asks a device for the oldest of what is open, unless it was asked for it on this link.
    pub(super) fn ask_device(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.server.is_online()) else { return };
        let Some(who) = &session.who else { return };
        let next = self.fetches.next(who.device, self.now.unix.unwrap_or_default());
        if let Some(fetch) = next.filter(|fetch| session.fetched != Some(fetch.number)) {
            session.fetched = Some(fetch.number);
            session.server.fetch(fetch);
            self.touched.insert(peer);
        }
    }

    /// A request is durable: asks its device, and says whether that is connected.
    pub(super) fn ask_of(&mut self, number: u64) -> bool {
        let Some(device) = self.fetches.durable(number) else { return false };
        let is_theirs = |session: &Session| session.who.as_ref().is_some_and(|who| who.device == device);
        let peers: Vec<PeerId> = self.sessions.iter().filter(|(_, s)| is_theirs(s)).map(|(peer, _)| *peer).collect();
        peers.iter().for_each(|peer| self.ask_device(*peer));
        !peers.is_empty()
    }

    fn batch(&mut self, now: Stamp, peer: PeerId, bytes: Vec<u8>) {
        if !self.commits.has_room() {
            return self.close(peer, CloseReason::Busy, "too much waits for the hub's disk");
        }
        let record = match Record::open(&bytes) {
            Ok(record) => record,
            Err(error) => return self.close(peer, CloseReason::Protocol, &error.to_string()),
        };
        let Some(who) = self.sessions.get_mut(&peer).and_then(|session| session.who.as_mut()) else { return };
        let (stream, seq) = (record.header.stream, record.header.seq);
        let lost = if stream == Stream::Event { lost_ranges(&record) } else { Vec::new() };
        let answers = if stream == Stream::Event { answers(&record) } else { Vec::new() };
        who.waiting_count += 1 + lost.len();
        let (device, journal) = (who.device, who.journal);
        let received = now.unix.unwrap_or_default();
        let change = Change::Record { device, journal, record: bytes, received };
        self.commits.settle(change, peer, stream, SeqRange { first: seq, last: seq });
        for (stream, range, is_elsewhere) in lost {
            self.commits.settle(Change::Lost { device, journal, stream, range, is_elsewhere }, peer, stream, range);
        }
        for (number, batch_count) in answers {
            self.commits.add(self.fetches.answer(device, number, batch_count, received));
        }
    }

    fn ping(&mut self, now: Stamp, peer: PeerId, ping: &Ping) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let Some(who) = &mut session.who else { return };
        self.fleet.observe(who.device, |device| {
            device.backlog_count = ping.backlog.batch_count;
            if let Some(theirs) = ping.now {
                device.clock_offset_ms = clock_offset_ms(theirs, now);
            }
        });
        if ping.wants_acks {
            who.ack_again();
        }
        let hub = HubTime { received: now.unix.unwrap_or_default(), held: Span(0) };
        session.server.pong(&Pong { hub });
        self.send_acks(peer);
    }

    fn about(&mut self, peer: PeerId, about: &About) {
        let Some(who) = self.sessions.get(&peer).and_then(|session| session.who.as_ref()) else { return };
        let change = self.fleet.change(who.device, |device| {
            device.about = Some(about.checksum());
            device.version = about.agent.as_str().into();
            device.hostname = about.hostname.as_str().into();
        });
        self.commits.add([change]);
    }

    fn enroll(&mut self, now: Stamp, peer: PeerId, enroll: &Enroll) {
        let (key, datagram_key) = (self.sessions[&peer].key, self.sessions[&peer].datagram_key);
        let now = now.unix.unwrap_or_default();
        match self.fleet.enroll(key, &enroll.secret, &enroll.hostname, &enroll.agent, now) {
            Err(reason) => self.close(peer, reason, ""),
            Ok(enrolment) => {
                let device = enrolment.device;
                let mut name = heapless::String::new();
                // A name that does not fit is cut: the number is what counts.
                device.name.chars().take_while(|character| name.push(*character).is_ok()).for_each(drop);
                let answer = ErrandAnswer::Enrolled(Box::new(Enrolled {
                    device: device.id,
                    name,
                    datagram_key: self.datagram_key,
                }));
                self.outputs.push_back(Output::Note(Note::Enrolled { device: device.id, name: device.name }));
                let learned = datagram_key.and_then(|datagram_key| self.fleet.learn_datagram_key(key, datagram_key));
                self.commits.add_then(enrolment.changes.into_iter().chain(learned), Then::Answer { peer, answer });
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
        let learned = self.fleet.learn_datagram_key(rotate.key, rotate.datagram_key);
        let changes = [change].into_iter().chain(learned);
        self.commits.add_then(changes, Then::Answer { peer, answer: ErrandAnswer::Done(Kind::Rotated) });
    }

    fn leave(&mut self, peer: PeerId) {
        let key = self.sessions[&peer].key;
        let Some(device) = self.fleet.by_key(key) else { return self.close(peer, CloseReason::UnknownKey, "") };
        if device.standing == Standing::Revoked {
            return self.close(peer, CloseReason::Revoked, "");
        }
        let id = device.id;
        let change = self.fleet.change(id, |device| device.standing = Standing::Retired);
        self.commits.add_then([change], Then::Answer { peer, answer: ErrandAnswer::Done(Kind::Left) });
        self.close_device(id, CloseReason::Retired);
    }

    pub(super) fn send_acks(&mut self, peer: PeerId) {
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
            session.server.ack(&ack);
        }
        self.touched.insert(peer);
    }

    pub(super) fn close(&mut self, peer: PeerId, reason: CloseReason, detail: &str) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.server.close(reason, detail);
        self.send_to(peer);
        self.outputs.push_back(Output::Close { peer });
        self.outputs.push_back(Output::Note(Note::Refused { peer, reason, detail: detail.into() }));
        self.forget(peer);
    }

    pub(super) fn close_device(&mut self, id: DeviceId, reason: CloseReason) {
        let same = |session: &Session| session.who.as_ref().is_some_and(|who| who.device == id);
        let peers: Vec<PeerId> = self.sessions.iter().filter(|(_, s)| same(s)).map(|(peer, _)| *peer).collect();
        peers.into_iter().for_each(|peer| self.close(peer, reason, ""));
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Some(who) = self.sessions.remove(&peer).and_then(|session| session.who) {
            self.commits.add(self.fleet.row(who.device));
        }
    }
}

fn clock_offset_ms(theirs: UnixTime, ours: Stamp) -> Option<i64> {
    // What they say may be any number, and the difference wraps to the right one.
    Some(theirs.0.wrapping_sub(ours.unix?.0) as i64)
}

/// What the events of a record say will never come, joined: no more than the store has room for, whatever they say.
/// Of those whose contents are held in others, under another name of the journal or in finer ones, the third value is true.
fn lost_ranges(record: &Record<'_>) -> Vec<(Stream, SeqRange, bool)> {
    let mut scratch = Vec::new();
    let Ok(payload) = record.payload(&mut scratch) else { return Vec::new() };
    let mut lost: [[RangeSet; STREAM_COUNT]; 2] = Default::default();
    for event in batch::events(payload) {
        let event = event.ok().and_then(|(_, event)| event);
        for (stream, range, is_elsewhere) in event.iter().flat_map(Event::missing) {
            let _ = lost[usize::from(is_elsewhere)][stream.index()].insert_range(range);
        }
    }
    let of = |(is_elsewhere, stream): (bool, Stream)| {
        lost[usize::from(is_elsewhere)][stream.index()].iter().map(move |range| (stream, range, is_elsewhere))
    };
    [false, true].into_iter().flat_map(|of| Stream::ALL.map(|stream| (of, stream))).flat_map(of).collect()
}

/// What the device's events say of the hub's requests: their numbers, and how many batches are copied.
fn answers(record: &Record<'_>) -> Vec<(u64, Option<u32>)> {
    let mut scratch = Vec::new();
    let Ok(payload) = record.payload(&mut scratch) else { return Vec::new() };
    let events = batch::events(payload).filter_map(|event| event.ok()?.1);
    let answer = |event| match event {
        Event::Fetched { number, batch_count } => Some((number, batch_count)),
        _ => None,
    };
    events.filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use wire::batch::put_event;
    use wire::class::Class;
    use wire::event::LossReason;
    use wire::frame::Head;
    use wire::id::Seq;
    use wire::limits::RANGES_COUNT_MAX;
    use wire::message::SKIPPABLE_MIN;
    use wire::record::{Header, seal};
    use wire::stream::Lane;

    use super::*;
    use crate::request::{Reply, Request};
    use crate::stage::{Stage, received};

    #[test]
    fn what_a_newer_device_says_is_passed_over_and_counted() {
        let mut stage = Stage::new();
        let peer = stage.greet(1);
        let mut words = Vec::new();
        Head { lane: Lane::Urgent, kind: SKIPPABLE_MIN, part: None }.put(b"news", false, &mut words);
        assert!(stage.settle([received(peer, words.repeat(3))]).is_empty());
        let Reply::Fleet(members) = stage.ask(Request::Fleet) else { panic!("no fleet") };
        assert_eq!(members[0].skipped_count, 3);
    }

    #[test]
    fn a_clock_may_say_anything() {
        let stamp = |unix| Stamp { unix: Some(UnixTime(unix)), ..Stamp::default() };
        assert_eq!(clock_offset_ms(UnixTime(5), stamp(7)), Some(-2));
        assert_eq!(clock_offset_ms(UnixTime(1 << 63), stamp(1)), Some(i64::MAX));
        assert_eq!(clock_offset_ms(UnixTime(5), Stamp::default()), None);
    }

    #[test]
    fn losses_are_joined_and_bounded() {
        let losses = |ranges: &[(u64, u64)]| {
            let mut payload = Vec::new();
            for &(first, last) in ranges {
                let range = SeqRange { first: Seq(first), last: Seq(last) };
                put_event(
                    Span(0),
                    &Event::Lost { stream: Stream::raw(Class::Normal), range, reason: LossReason::Evicted },
                    &mut payload,
                );
            }
            let header = Header { stream: Stream::Event, seq: Seq(0), run: Seq(0), stamp: Stamp::default() };
            let mut record = Vec::new();
            seal(&header, &payload, true, &mut record);
            lost_ranges(&Record::open(&record).unwrap())
        };
        let joined = SeqRange { first: Seq(3), last: Seq(9) };
        assert_eq!(losses(&[(3, 5), (6, 9), (4, 4)]), [(Stream::raw(Class::Normal), joined, false)]);
        let many: Vec<(u64, u64)> = (0..5000).map(|number| (2 * number, 2 * number)).collect();
        assert_eq!(losses(&many).len(), RANGES_COUNT_MAX);
    }
}
