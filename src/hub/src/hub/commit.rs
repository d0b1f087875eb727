//! Group commit: what arrives while a commit is on its way becomes the next one.
//!
//! ```text
//! add -> waiting -> begin -> on its way -> end -> what follows: acks, answers, replies
//! ```

use store::change::{Change, Refused, RefusedReason};
use wire::message::CloseReason;
use wire::ranges::SeqRange;
use wire::stream::Stream;

use super::{Hub, Note, Output, Ticket, WAITING_BYTES_MAX};
use crate::request::Reply;
use crate::session::PeerId;

/// What happens when a commit is durable.
#[derive(Debug)]
pub(super) enum Then {
    /// A peer gets its answer, and the link ends.
    Answer { peer: PeerId, bytes: Vec<u8> },
    /// An administrator gets the reply.
    Reply { id: u64 },
    /// Numbers become part of what is held; `index` is that of their change.
    Settle { index: usize, peer: PeerId, stream: Stream, range: SeqRange },
}

/// The commit on its way, and what becomes the next one.
#[derive(Debug, Default)]
pub(super) struct Commits {
    changes: Vec<Change>,
    then: Vec<Then>,
    record_bytes: usize,
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
        if let Change::Record { record, .. } = &change {
            self.record_bytes += record.len();
        }
        self.then.push(Then::Settle { index: self.changes.len(), peer, stream, range });
        self.changes.push(change);
    }

    /// Whether there is room for another record.
    pub(super) fn has_room(&self) -> bool {
        self.record_bytes <= WAITING_BYTES_MAX
    }

    /// Whether something waits and nothing is on its way.
    pub(super) fn is_due(&self) -> bool {
        self.on_its_way.is_none() && !self.changes.is_empty()
    }

    /// Sends what waits on its way.
    pub(super) fn begin(&mut self, ticket: Ticket) -> Vec<Change> {
        assert!(self.on_its_way.is_none(), "there is one commit at a time");
        self.on_its_way = Some((ticket, std::mem::take(&mut self.then)));
        self.record_bytes = 0;
        std::mem::take(&mut self.changes)
    }

    /// What follows from the commit that came to an end; none when it is not the one on its way.
    fn end(&mut self, ticket: Ticket) -> Option<Vec<Then>> {
        self.on_its_way.take_if(|(on_its_way, _)| *on_its_way == ticket).map(|(_, then)| then)
    }
}

impl Hub {
    pub(super) fn committed(&mut self, ticket: Ticket, refused: &[Refused]) {
        let mut peers = Vec::new();
        for then in self.commits.end(ticket).unwrap_or_default() {
            match then {
                Then::Answer { peer, bytes } => {
                    self.outputs.push_back(Output::Send { peer, bytes });
                    self.outputs.push_back(Output::Close { peer });
                    self.forget(peer);
                }
                Then::Reply { id } => self.outputs.push_back(Output::Reply { id, reply: Reply::Done }),
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
            }
        }
        peers.dedup();
        peers.into_iter().for_each(|peer| self.send_acks(peer));
    }

    /// Nothing of the commit is durable, and which of it would be next time is not known: everyone comes back.
    pub(super) fn commit_failed(&mut self, ticket: Ticket, error: String) {
        let Some(then) = self.commits.end(ticket) else { return };
        for then in then {
            match then {
                Then::Answer { peer, .. } | Then::Settle { peer, .. } => {
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
}
