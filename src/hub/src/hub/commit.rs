//! Group commit: what arrives while a commit is on its way becomes the next one.
//!
//! ```text
//! add -> waiting -> begin -> on its way -> end -> what follows: acks, answers, replies
//! ```

use store::change::{Change, Refused, RefusedReason};
use wire::message::{CloseReason, Enrolled, Kind};
use wire::ranges::SeqRange;
use wire::stream::Stream;

use super::{Hub, Note, Output, Ticket, WAITING_BYTES_MAX};
use crate::request::Reply;
use crate::session::PeerId;

/// What peers are told when a commit fails, beside that they may come back. Why is in the hub's log.
pub const WRITE_FAILED: &str = "a write to its disk failed";

/// What an administrator is told when a commit fails.
pub fn not_done(error: &str) -> Reply {
    Reply::Refused(format!("not done: {error}"))
}

/// Bytes of memory that stand around a record while it waits. A number of its own, so that every machine makes the same
/// commits.
const AROUND_BYTES: usize = 256;
const _: () = assert!(size_of::<Change>() + size_of::<Then>() <= AROUND_BYTES);

/// What happens when a commit is durable.
#[derive(Debug)]
pub(super) enum Then {
    /// A peer gets its answer, and the link ends.
    Answer { peer: PeerId, answer: ErrandAnswer },
    /// A device is asked for something, and an administrator gets its number.
    Fetch { id: u64, number: u64 },
    /// An administrator gets the reply.
    Reply { id: u64 },
    /// Numbers become part of what is held; `index` is that of their change.
    Settle { index: usize, peer: PeerId, stream: Stream, range: SeqRange },
}

/// What a peer is told whose errand is done.
#[derive(Debug)]
pub(super) enum ErrandAnswer {
    /// An answer without a body: its kind.
    Done(Kind),
    /// It is a device now.
    Enrolled(Box<Enrolled>),
}

/// The commit on its way, and what becomes the next one.
#[derive(Debug, Default)]
pub(super) struct Commits {
    changes: Vec<Change>,
    then: Vec<Then>,
    waiting_bytes: usize,
    on_its_way: Option<(Ticket, Vec<Then>)>,
}

impl Commits {
    /// Adds changes, of which nobody is told.
    pub(super) fn add(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
    }

    /// Adds changes, and what follows from them.
    pub(super) fn add_then(&mut self, changes: impl IntoIterator<Item = Change>, then: Then) {
        self.changes.extend(changes);
        self.then.push(then);
    }

    /// Adds a change that settles numbers of a peer's journal.
    pub(super) fn settle(&mut self, change: Change, peer: PeerId, stream: Stream, range: SeqRange) {
        // Of a small record what stands around it is the greater part.
        self.waiting_bytes += AROUND_BYTES;
        if let Change::Record { record, .. } = &change {
            self.waiting_bytes += record.len();
        }
        self.then.push(Then::Settle { index: self.changes.len(), peer, stream, range });
        self.changes.push(change);
    }

    /// Whether there is room for another record.
    pub(super) fn has_room(&self) -> bool {
        self.waiting_bytes <= WAITING_BYTES_MAX
    }

    /// Whether something waits and nothing is on its way.
    pub(super) fn is_due(&self) -> bool {
        self.on_its_way.is_none() && !self.changes.is_empty()
    }

    /// Sends what waits on its way.
    pub(super) fn begin(&mut self, ticket: Ticket) -> Vec<Change> {
        assert!(self.on_its_way.is_none(), "there is one commit at a time");
        self.on_its_way = Some((ticket, std::mem::take(&mut self.then)));
        self.waiting_bytes = 0;
        std::mem::take(&mut self.changes)
    }

    /// What follows from the commit that came to an end; none when it is not the one on its way.
    fn end(&mut self, ticket: Ticket) -> Option<Vec<Then>> {
        self.on_its_way.take_if(|(on_its_way, _)| *on_its_way == ticket).map(|(_, then)| then)
    }
}

impl Hub {
    pub(super) fn committed(&mut self, ticket: Ticket, refused: &[Refused]) {
        let (mut peers, mut forked) = (Vec::new(), Vec::new());
        for then in self.commits.end(ticket).unwrap_or_default() {
            match then {
                Then::Answer { peer, answer } => {
                    if let Some(session) = self.sessions.get_mut(&peer) {
                        match answer {
                            ErrandAnswer::Done(kind) => session.server.done(kind),
                            ErrandAnswer::Enrolled(enrolled) => session.server.enrolled(&enrolled),
                        }
                    }
                    self.send_to(peer);
                    self.outputs.push_back(Output::Close { peer });
                    self.forget(peer);
                }
                Then::Fetch { id, number } => {
                    let is_online = self.ask_of(number);
                    self.outputs.push_back(Output::Reply { id, reply: Reply::Fetch { number, is_online } });
                }
                Then::Reply { id } => self.outputs.push_back(Output::Reply { id, reply: Reply::Done }),
                Then::Settle { index, peer, stream, range } => {
                    let place = refused.binary_search_by_key(&index, |refused| refused.index);
                    let reason = place.ok().map(|place| refused[place].reason);
                    let Some(who) = self.sessions.get_mut(&peer).and_then(|session| session.who.as_mut()) else {
                        continue;
                    };
                    who.waiting_count -= 1;
                    peers.push(peer);
                    if reason == Some(RefusedReason::Conflict) {
                        forked.push(peer);
                    }
                    if let Some(reason) = reason {
                        self.outputs.push_back(Output::Note(Note::NotStored { device: who.device, reason }));
                    }
                    if reason.is_none() {
                        who.settled(stream, range);
                    }
                }
            }
        }
        for peer in forked {
            self.close(peer, CloseReason::Forked, "");
        }
        peers.dedup();
        for peer in peers {
            self.welcome(peer);
            self.send_acks(peer);
            self.ask_device(peer);
        }
    }

    /// Nothing of the commit is durable, and which of it would be next time is not known: everyone comes back.
    pub(super) fn commit_failed(&mut self, ticket: Ticket, error: String) {
        let Some(then) = self.commits.end(ticket) else { return };
        for then in then {
            match then {
                Then::Answer { peer, .. } | Then::Settle { peer, .. } => {
                    self.close(peer, CloseReason::Busy, WRITE_FAILED);
                }
                Then::Fetch { id, number } => {
                    self.fetches.delete(number);
                    self.outputs.push_back(Output::Reply { id, reply: not_done(&error) });
                }
                Then::Reply { id } => {
                    self.outputs.push_back(Output::Reply { id, reply: not_done(&error) });
                }
            }
        }
        self.outputs.push_back(Output::Note(Note::StoreFailed { error }));
    }
}

#[cfg(test)]
mod tests {
    use identity::token::secret_hash;
    use link::talk;
    use wire::id::Seq;
    use wire::message::{Ack, Close, Kind};

    use super::*;
    use crate::hub::Input;
    use crate::request::Request;
    use crate::stage::{Stage, connected, enrolment, received, told};

    /// The only commit among the outputs.
    fn ticket(outputs: &[Output]) -> Ticket {
        let mut commits = outputs.iter().filter_map(|output| match output {
            Output::Commit { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let ticket = commits.next().expect("something is to be committed");
        assert_eq!(commits.next(), None);
        ticket
    }

    fn close_reason(outputs: &[Output], peer: PeerId) -> CloseReason {
        let [(Kind::Close, bytes)] = &told(outputs, peer)[..] else { panic!("{outputs:?}") };
        talk::read::<Close>(bytes).unwrap().reason
    }

    #[test]
    fn an_enrolment_is_told_after_its_commit_and_not_after_one_that_failed() {
        let mut stage = Stage::new();
        let hash = secret_hash(&[9; 16]);
        stage.ask(Request::TokenNew { hash, uses: 1, expires_in: None, group: None, tags: [].into() });
        let peer = PeerId(1);
        let words = |peer| received(peer, enrolment(&[9; 16]));
        let outputs = stage.step([connected(peer, 9), words(peer)]);
        assert_eq!(told(&outputs, peer), []);
        let failed = Input::CommitFailed { ticket: ticket(&outputs), error: "disk full".into() };
        assert_eq!(close_reason(&stage.step([failed]), peer), CloseReason::Busy);

        // A core that goes on from the disk knows a token that was not used, and no device.
        let mut stage = stage.reopened();
        assert_eq!(stage.hub.fleet().devices().count(), 0);
        let outputs = stage.settle([connected(peer, 9), words(peer)]);
        assert!(matches!(told(&outputs, peer)[..], [(Kind::Enrolled, _)]), "{outputs:?}");
    }

    #[test]
    fn a_reply_waits_for_its_commit() {
        let mut stage = Stage::new();
        let device = stage.enroll(1).to_string();
        let rename =
            |id, name: &str| Input::Ask { id, request: Request::Rename { device: device.clone(), name: name.into() } };
        let outputs = stage.step([rename(1, "a")]);
        assert!(matches!(outputs[..], [Output::Commit { .. }]), "{outputs:?}");
        // What comes while a commit is on its way waits for the next one.
        assert!(stage.step([rename(2, "b")]).is_empty());
        let outputs = stage.step([Input::Committed { ticket: ticket(&outputs), refused: Vec::new() }]);
        assert!(matches!(outputs[..], [Output::Reply { id: 1, reply: Reply::Done }, Output::Commit { .. }]));
        let failed = Input::CommitFailed { ticket: ticket(&outputs), error: "disk full".into() };
        let outputs = stage.step([failed]);
        assert!(matches!(&outputs[..], [Output::Reply { id: 2, reply: Reply::Refused(why) }, Output::Note(_)]
            if why.contains("disk full")));
    }

    #[test]
    fn a_batch_is_acked_after_its_commit_and_not_after_one_that_failed() {
        let mut stage = Stage::new();
        let peer = stage.greet(1);
        let outputs = stage.step([Stage::batch(peer, 0), Stage::batch(peer, 1)]);
        assert_eq!(told(&outputs, peer), []);
        let first = ticket(&outputs);
        assert_eq!(told(&stage.step([Stage::batch(peer, 2)]), peer), []);
        let outputs = stage.step([Input::Committed { ticket: first, refused: Vec::new() }]);
        let [(Kind::Ack, bytes)] = &told(&outputs, peer)[..] else { panic!("{outputs:?}") };
        assert_eq!(talk::read::<Ack>(bytes).unwrap().cumulative, Seq(2));
        let failed = Input::CommitFailed { ticket: ticket(&outputs), error: "disk full".into() };
        assert_eq!(close_reason(&stage.step([failed]), peer), CloseReason::Busy);
    }

    #[test]
    fn a_refused_batch_is_not_acked_and_its_neighbours_are() {
        let mut stage = Stage::new();
        let peer = stage.greet(1);
        let outputs = stage.step((0..4).map(|seq| Stage::batch(peer, seq)));
        let refused = |index, reason| Refused { index, reason };
        let refused = vec![refused(2, RefusedReason::RangesFull)];
        let outputs = stage.step([Input::Committed { ticket: ticket(&outputs), refused }]);
        let [(Kind::Ack, bytes)] = &told(&outputs, peer)[..] else { panic!("{outputs:?}") };
        let ack: Ack = talk::read(bytes).unwrap();
        assert_eq!((ack.cumulative, ack.ranges.len()), (Seq(2), 1));
        assert_eq!(ack.ranges[0], SeqRange { first: Seq(3), last: Seq(3) });
    }

    #[test]
    fn a_device_whose_number_names_another_batch_here_is_told_so_and_nothing_of_it_is_acked() {
        let mut stage = Stage::new();
        let peer = stage.greet(1);
        let outputs = stage.step((0..2).map(|seq| Stage::batch(peer, seq)));
        let refused = vec![Refused { index: 1, reason: RefusedReason::Conflict }];
        let outputs = stage.step([Input::Committed { ticket: ticket(&outputs), refused }]);
        assert_eq!(close_reason(&outputs, peer), CloseReason::Forked);
    }

    #[test]
    fn of_many_errands_on_one_link_the_first_is_heard() {
        let mut stage = Stage::new();
        let hash = secret_hash(&[9; 16]);
        stage.ask(Request::TokenNew { hash, uses: 1, expires_in: None, group: None, tags: [].into() });
        let peer = PeerId(1);
        let bytes = enrolment(&[9; 16]).repeat(100);
        let outputs = stage.step([connected(peer, 9), received(peer, bytes)]);
        let [Output::Note(_), Output::Commit { changes, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(changes.len(), 2, "the device and its token");
    }
}
