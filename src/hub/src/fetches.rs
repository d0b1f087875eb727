//! What the hub asks devices for, until they have answered.
//!
//! Each request is one row of the state store, written whole when it changes:
//!
//! ```text
//! fetch/<number, 16 hex digits>    postcard Asked
//! ```
//!
//! A device tells requests by their numbers, and a hub that was put back to an older copy does not know which it gave out: so a number is
//! the second in which the request was made, or the next that is free.
//!
//! A device is asked for one thing at a time, the oldest first, once on each of its links: what it has not answered when the link ends, it
//! may have forgotten.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use store::change::Change;
use wire::id::DeviceId;
use wire::message::Fetch;
use wire::time::{Span, UnixTime};

/// Requests that are kept.
pub const FETCH_COUNT_MAX: usize = 1024;

/// How long a device has to answer: it may be off for days.
pub const EXPIRES_IN: Span = Span::minutes(7 * 24 * 60);

/// How long a request is listed after its end.
const KEPT: Span = Span::minutes(30 * 24 * 60);

const FETCH: &str = "fetch/";

/// Where a request stands. The order is that in the store: add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// The device has not answered.
    Open,
    /// It has: so many batches are copied, none when it holds nothing of it. `None` when the request made no sense to it.
    Answered(Option<u32>),
    /// Nobody wants it any more.
    Withdrawn,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What the device is asked.
    pub fetch: Fetch,
    /// Who is asked.
    pub device: DeviceId,
    /// When it was made.
    pub made: UnixTime,
    /// When it ends, or ended.
    pub ends: UnixTime,
    /// Where it stands.
    pub standing: Standing,
}

impl Asked {
    /// Whether the device is to answer it.
    pub fn is_open(&self, now: UnixTime) -> bool {
        self.standing == Standing::Open && now < self.ends
    }
}

/// All requests, in memory.
#[derive(Debug, Default)]
pub struct Fetches {
    rows: BTreeMap<u64, Asked>,
    /// Those that are on their way to the disk.
    fresh: BTreeSet<u64>,
}

impl Fetches {
    /// Whether this is a key of theirs.
    pub fn owns(key: &[u8]) -> bool {
        key.starts_with(FETCH.as_bytes())
    }

    /// Takes the rows of the state store. Returns the keys of rows that do not read: a newer version wrote them.
    pub fn load(rows: impl IntoIterator<Item = store::StateRow>) -> (Fetches, Vec<Vec<u8>>) {
        let (mut fetches, mut unread) = (Fetches::default(), Vec::new());
        for (key, value) in rows {
            match postcard::from_bytes::<Asked>(&value) {
                Ok(asked) => drop(fetches.rows.insert(asked.fetch.number, asked)),
                Err(_) => unread.push(key),
            }
        }
        (fetches, unread)
    }

    /// The requests, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Asked> {
        self.rows.values()
    }

    /// Makes a request and returns its number and its row, without which it is not to be sent. `None` when there are too many that have
    /// not ended.
    pub fn add(&mut self, device: DeviceId, mut fetch: Fetch, now: UnixTime) -> Option<(u64, Vec<Change>)> {
        let mut changes = Vec::new();
        if self.rows.len() >= FETCH_COUNT_MAX {
            let ended = self.rows.iter().filter(|(_, asked)| !asked.is_open(now)).min_by_key(|(_, asked)| asked.ends);
            let number = *ended?.0;
            changes.push(self.delete(number));
        }
        let free = self.rows.last_key_value().map_or(0, |(highest, _)| highest + 1);
        let number = free.max(now.0 / 1000);
        fetch.number = number;
        let ends = UnixTime(now.0.saturating_add(EXPIRES_IN.0));
        let asked = Asked { fetch, device, made: now, ends, standing: Standing::Open };
        changes.push(put(&asked));
        self.rows.insert(number, asked);
        self.fresh.insert(number);
        Some((number, changes))
    }

    /// A request is on the disk; returns who is asked.
    pub fn durable(&mut self, number: u64) -> Option<DeviceId> {
        self.fresh.remove(&number);
        self.rows.get(&number).map(|asked| asked.device)
    }

    /// Forgets a request and returns its row's removal.
    pub fn delete(&mut self, number: u64) -> Change {
        self.rows.remove(&number);
        self.fresh.remove(&number);
        Change::Delete { key: key(number) }
    }

    /// The next thing to ask a device for, of what is on the disk.
    pub fn next(&self, device: DeviceId, now: UnixTime) -> Option<&Fetch> {
        let is_next =
            |asked: &&Asked| asked.device == device && asked.is_open(now) && !self.fresh.contains(&asked.fetch.number);
        self.rows.values().find(is_next).map(|asked| &asked.fetch)
    }

    /// A device has answered; returns the request's row. What comes twice, or to nobody's question, is no news.
    pub fn answer(&mut self, device: DeviceId, number: u64, batch_count: Option<u32>, now: UnixTime) -> Option<Change> {
        let asked = self.rows.get_mut(&number).filter(|asked| asked.device == device)?;
        if asked.standing == Standing::Open {
            (asked.standing, asked.ends) = (Standing::Answered(batch_count), now);
        }
        // Its row again when it comes twice: the commit of the first time may have failed.
        Some(put(asked))
    }

    /// Nobody wants it any more; returns the request's row, or `None` when there is no such open one.
    pub fn withdraw(&mut self, number: u64, now: UnixTime) -> Option<Change> {
        let asked = self.rows.get_mut(&number).filter(|asked| asked.is_open(now))?;
        (asked.standing, asked.ends) = (Standing::Withdrawn, now);
        Some(put(asked))
    }

    /// Forgets what a device was asked, and returns the rows' removals.
    pub fn forget(&mut self, device: DeviceId) -> Vec<Change> {
        self.delete_all(|asked| asked.device == device)
    }

    /// Forgets what ended long ago, and returns the rows' removals.
    pub fn delete_old(&mut self, now: UnixTime) -> Vec<Change> {
        self.delete_all(|asked| asked.ends.0.saturating_add(KEPT.0) <= now.0)
    }

    fn delete_all(&mut self, is_meant: impl Fn(&Asked) -> bool) -> Vec<Change> {
        let numbers: Vec<u64> = self.rows.iter().filter(|(_, asked)| is_meant(asked)).map(|(at, _)| *at).collect();
        numbers.into_iter().map(|number| self.delete(number)).collect()
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("{FETCH}{number:016x}").into_bytes()
}

fn put(asked: &Asked) -> Change {
    let value = postcard::to_stdvec(asked).expect("a vector takes every byte");
    Change::Put { key: key(asked.fetch.number), value }
}

#[cfg(test)]
mod tests {
    use link::talk;
    use wire::event::Event;
    use wire::message::Kind;

    use super::*;
    use crate::hub::{Input, Output};
    use crate::request::{Reply, Request};
    use crate::session::PeerId;
    use crate::stage::{Stage, told};

    /// The second in which a stage begins.
    const FIRST: u64 = 1_767_225_600;

    fn request(device: &str, from: u64) -> Request {
        Request::Fetch { device: device.into(), selector: "up".into(), from: UnixTime(from), to: UnixTime(from + 1) }
    }

    /// The numbers that a peer is asked for.
    fn asked(outputs: &[Output], peer: PeerId) -> Vec<u64> {
        let fetches = told(outputs, peer).into_iter().filter(|(kind, _)| *kind == Kind::Fetch);
        fetches.map(|(_, bytes)| talk::read::<Fetch>(&bytes).unwrap().number).collect()
    }

    fn standings(stage: &mut Stage) -> Vec<Standing> {
        let Reply::Fetches(all) = stage.ask(Request::Fetches) else { panic!() };
        all.into_iter().map(|(asked, _)| asked.standing).collect()
    }

    #[test]
    fn a_device_is_asked_for_one_thing_at_a_time_and_for_what_is_open_on_each_link() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        // It is not connected.
        for (number, from) in [(0, 50), (1, 60)] {
            let reply = Reply::Fetch { number: FIRST + number, is_online: false };
            assert_eq!(stage.ask(request(&device, from)), reply);
        }
        let (peer, outputs) = stage.connect(1);
        assert_eq!(asked(&outputs, peer), [FIRST]);
        let fetched = |number, batch_count| Event::Fetched { number: FIRST + number, batch_count };
        // An answer that has been heard before, and one to somebody else's question.
        let outputs =
            stage.settle([Stage::event(peer, 0, &fetched(0, Some(3))), Stage::event(peer, 1, &fetched(9, None))]);
        assert_eq!(asked(&outputs, peer), [FIRST + 1]);
        assert_eq!(standings(&mut stage), [Standing::Answered(Some(3)), Standing::Open]);
        assert_eq!(asked(&stage.settle([Stage::event(peer, 2, &fetched(0, Some(7)))]), peer), []);

        // A hub that goes on from its disk, and a device that forgot.
        let mut stage = stage.reopened();
        let (peer, outputs) = stage.connect(1);
        assert_eq!(asked(&outputs, peer), [FIRST + 1]);
        stage.settle([Stage::event(peer, 3, &fetched(1, Some(0)))]);
        assert_eq!(standings(&mut stage), [Standing::Answered(Some(3)), Standing::Answered(Some(0))]);
    }

    #[test]
    fn nobody_is_asked_before_the_request_is_durable() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        let (peer, _) = stage.connect(1);
        let outputs = stage.step([Input::Ask { id: 4, request: request(&device, 50) }]);
        let [Output::Commit { ticket, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let outputs = stage.step([Input::CommitFailed { ticket, error: "disk full".into() }]);
        assert_eq!((asked(&outputs, peer), standings(&mut stage)), (vec![], vec![]));
        let outputs = stage.settle([Input::Ask { id: 5, request: request(&device, 50) }]);
        assert_eq!(asked(&outputs, peer), [FIRST]);
    }

    #[test]
    fn what_is_withdrawn_or_too_old_is_not_asked_for() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        for from in [50, 60, 70] {
            stage.ask(request(&device, from));
        }
        assert_eq!(stage.ask(Request::FetchWithdraw { number: FIRST }), Reply::Done);
        let Reply::Refused(refusal) = stage.ask(Request::FetchWithdraw { number: FIRST }) else { panic!() };
        assert!(refusal.contains("no open request has the number 1767225600"), "{refusal}");
        let (peer, outputs) = stage.connect(1);
        assert_eq!(asked(&outputs, peer), [FIRST + 1]);
        stage.pass(EXPIRES_IN);
        let (peer, outputs) = stage.connect(1);
        assert_eq!(asked(&outputs, peer), []);
        stage.pass(KEPT);
        stage.settle([]);
        assert_eq!(standings(&mut stage), []);
        // Their numbers are not given out again.
        let Reply::Fetch { number, .. } = stage.ask(request(&device, 80)) else { panic!() };
        assert!(number > FIRST + 2, "{number}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        let mut refusal = |selector: &str, from, to| {
            let (device, selector) = (device.clone(), selector.to_owned());
            let request = Request::Fetch { device, selector, from: UnixTime(from), to: UnixTime(to) };
            let Reply::Refused(refusal) = stage.ask(request) else { panic!("{from} {to}") };
            refusal
        };
        assert!(refusal("up", 0, 3 * 3_600_000 + 1).contains("3h at the most"));
        assert!(refusal("up", 2, 1).contains("3h at the most"));
        assert!(refusal(&"x".repeat(600), 0, 1).contains("512 bytes"));
        assert!(refusal("up{", 0, 1).contains("selector"));
        let Reply::Refused(nobody) = stage.ask(request("gw-9", 1)) else { panic!() };
        assert!(nobody.contains("no device is called gw-9"), "{nobody}");
    }

    #[test]
    fn when_there_are_too_many_one_that_ended_gives_way() {
        let mut fetches = Fetches::default();
        let fetch = Fetch { number: 0, selector: "up".try_into().unwrap(), from: UnixTime(0), to: UnixTime(1) };
        for number in 0..FETCH_COUNT_MAX as u64 {
            assert_eq!(fetches.add(DeviceId(1), fetch.clone(), UnixTime(5)).unwrap().0, number);
        }
        assert!(fetches.add(DeviceId(1), fetch.clone(), UnixTime(6)).is_none());
        fetches.withdraw(7, UnixTime(6)).unwrap();
        let (number, changes) = fetches.add(DeviceId(2), fetch, UnixTime(6)).unwrap();
        assert_eq!((number, changes.len(), fetches.all().count()), (1024, 2, FETCH_COUNT_MAX));
        assert_eq!(fetches.forget(DeviceId(1)).len(), FETCH_COUNT_MAX - 1);
    }
}
