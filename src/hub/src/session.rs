//! One gateway's link and what of its journal is held.

use link::channel::Carrier;
use link::server::Server;
use wire::id::{DeviceId, JournalId, Seq};
use wire::limits::ACK_RANGES_MAX;
use wire::message::{Ack, Checksum, DatagramKey, Fingerprint, Hello, Progress, Want, progress_checksum};
use wire::ranges::{RangeSet, SeqRange};
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{Instant, Stamp};
use wire::version::Versions;

/// One connection, as the driver numbers it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// One connection and who speaks over it.
#[derive(Debug)]
pub struct Session {
    /// The key that the peer proved to have.
    pub key: Fingerprint,
    /// The same on datagrams, if it could be told from what the peer showed.
    pub datagram_key: Option<DatagramKey>,
    /// The protocol's end.
    pub server: Server,
    /// Who it is, once it said hello.
    pub who: Option<Who>,
    /// Whether the links of the same device that are older were closed for it.
    pub has_taken_over: bool,
    /// Whether the store has said what it holds, and the welcome waits for what came with the hello.
    pub owes_welcome: bool,
    /// What is asked for after the welcome.
    pub wants: Vec<Want>,
    /// The number of the last request that it heard on this link.
    pub fetched: Option<u64>,
    /// Whether it asked for the one thing that a link is good for beside a hello: what it says after that is not heard.
    pub has_asked: bool,
}

/// Who speaks, and what of its journal is durable here.
#[derive(Debug)]
pub struct Who {
    /// The device.
    pub device: DeviceId,
    /// The life of its journal.
    pub journal: JournalId,
    /// When it said hello, on the hub's clock.
    pub greeted: Stamp,
    /// The checksum of what it has to say of itself.
    pub about: Checksum,
    /// The checksum of what it takes the hub to hold, and whether it is right.
    believes: (Checksum, bool),
    /// The highest that was held when the store was asked and its checksum, by stream.
    tips: [Option<(Seq, Checksum)>; STREAM_COUNT],
    /// By stream: what is durable, or known to be lost. Empty until the store has said.
    held: [RangeSet; STREAM_COUNT],
    /// By stream: the number that the next batch will have, as far as is known.
    heads: [Seq; STREAM_COUNT],
    /// Streams of which something became durable since the last ack.
    unacked: [bool; STREAM_COUNT],
    /// Streams of which something was acked on this link.
    acked: [bool; STREAM_COUNT],
    /// Batches that are on their way to the disk.
    pub waiting_count: usize,
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(key: Fingerprint, datagram_key: Option<DatagramKey>, carrier: Carrier, now: Instant) -> Session {
        let server = Server::new(now, carrier, Versions::HUB);
        Session {
            key,
            datagram_key,
            server,
            who: None,
            has_taken_over: false,
            owes_welcome: false,
            wants: Vec::new(),
            fetched: None,
            has_asked: false,
        }
    }
}

impl Who {
    /// A device that just said hello, and how far its journal reaches.
    pub fn new(now: Stamp, device: DeviceId, hello: &Hello) -> Who {
        let mut who = Who {
            device,
            journal: hello.journal,
            greeted: now,
            about: hello.about,
            believes: (hello.progress, false),
            tips: [None; STREAM_COUNT],
            held: Default::default(),
            heads: [Seq(0); STREAM_COUNT],
            unacked: [false; STREAM_COUNT],
            acked: [false; STREAM_COUNT],
            waiting_count: 0,
        };
        hello.heads.iter().for_each(|head| who.heads[head.stream.index()] = head.next);
        who
    }

    /// Takes what the store holds, in the order of streams, beside what was committed while it answered.
    pub fn learn(&mut self, progress: Vec<Progress>) {
        let (believed, is_right) = &mut self.believes;
        *is_right = *believed == progress_checksum(progress.iter().map(|progress| (progress.stream, &progress.held)));
        for Progress { stream, held, tip } in progress {
            if let Some(range) = held.iter().next_back() {
                let head = &mut self.heads[stream.index()];
                *head = (*head).max(Seq(range.last.0.saturating_add(1)));
                self.tips[stream.index()] = tip.map(|tip| (range.last, tip));
            }
            self.held[stream.index()].insert_all(&held);
        }
    }

    /// What is held, by stream, and nothing of a stream that was never seen; `None` when the device knows.
    pub fn progress(&self) -> Option<heapless::Vec<Progress, STREAM_COUNT>> {
        let of = |stream: Stream| {
            let held = self.held[stream.index()].clone();
            let highest = held.iter().next_back().map(|range| range.last);
            // What came with the hello is newer, and was compared when it was stored.
            let tip = self.tips[stream.index()].filter(|(seq, _)| Some(*seq) == highest).map(|(_, tip)| tip);
            Progress { stream, held, tip }
        };
        let progress = || Stream::ALL.into_iter().map(of).filter(|progress| !progress.held.is_empty()).collect();
        (!self.believes.1).then(progress)
    }

    /// Makes every ack of this link due again: one was lost.
    pub fn ack_again(&mut self) {
        self.unacked.iter_mut().zip(self.acked).for_each(|(unacked, acked)| *unacked |= acked);
    }

    /// Batches became durable, or known to be lost.
    pub fn settled(&mut self, stream: Stream, range: SeqRange) {
        // The store refused what its own set has no room for, so this one has room too.
        if self.held[stream.index()].insert_range(range).is_ok() {
            self.unacked[stream.index()] = true;
        }
        let head = &mut self.heads[stream.index()];
        *head = (*head).max(Seq(range.last.0.saturating_add(1)));
    }

    /// Batches that the device has and that are neither held nor lost. The newest come first, so this is exact but for
    /// those that it has not begun to send.
    pub fn backlog_count(&self) -> u64 {
        let waiting = |(head, held): (&Seq, &RangeSet)| head.0.saturating_sub(held.count());
        self.heads.iter().zip(&self.held).map(waiting).fold(0, u64::saturating_add)
    }

    /// The next ack that is due.
    pub fn poll_ack(&mut self) -> Option<Ack> {
        let stream = Stream::ALL.into_iter().find(|stream| self.unacked[stream.index()])?;
        self.unacked[stream.index()] = false;
        self.acked[stream.index()] = true;
        let held = &self.held[stream.index()];
        let cumulative = held.cumulative();
        let above = || held.iter().filter(|range| range.first > cumulative);
        // The highest ranges: the newest run is the one in flight.
        let skipped = above().count().saturating_sub(ACK_RANGES_MAX);
        Some(Ack { stream, cumulative, ranges: above().skip(skipped).collect() })
    }
}

#[cfg(test)]
mod tests {
    use wire::message::Head;
    use wire::time::Span;

    use super::*;
    use wire::class::Class;

    fn hello(heads: &[Head]) -> Hello {
        Hello {
            versions: Versions::AGENT,
            journal: JournalId(1),
            now: Stamp::default(),
            heartbeat: Span::seconds(60),
            progress: Checksum::default(),
            heads: heads.iter().copied().collect(),
            about: Checksum::default(),
        }
    }

    #[test]
    fn an_ack_carries_the_newest_ranges_when_there_are_too_many() {
        let mut who = Who::new(Stamp::default(), DeviceId(1), &hello(&[]));
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        who.settled(Stream::raw(Class::Normal), range(0, 4));
        for index in 1..=10 {
            who.settled(Stream::raw(Class::Normal), range(index * 10, index * 10 + 3));
        }
        let ack = who.poll_ack().unwrap();
        assert_eq!((ack.cumulative, ack.ranges.len()), (Seq(5), ACK_RANGES_MAX));
        assert_eq!(ack.ranges.last(), Some(&range(100, 103)));
        assert_eq!(who.poll_ack(), None);
    }

    #[test]
    fn what_was_committed_while_the_store_answered_is_held() {
        let mut who = Who::new(Stamp::default(), DeviceId(1), &hello(&[]));
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        who.settled(Stream::raw(Class::Normal), range(3, 3));
        let mut held = RangeSet::default();
        held.insert_range(range(0, 2)).unwrap();
        who.learn(vec![Progress { stream: Stream::raw(Class::Normal), held, tip: None }]);
        assert_eq!(who.poll_ack().unwrap().cumulative, Seq(4));
    }

    #[test]
    fn the_backlog_shrinks_with_what_is_held_and_grows_with_what_is_new() {
        let heads =
            [Head { stream: Stream::raw(Class::Normal), next: Seq(10) }, Head { stream: Stream::Event, next: Seq(2) }];
        let mut who = Who::new(Stamp::default(), DeviceId(1), &hello(&heads));
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        assert_eq!(who.backlog_count(), 12);
        who.settled(Stream::raw(Class::Normal), range(8, 9));
        who.settled(Stream::Event, range(0, 1));
        assert_eq!(who.backlog_count(), 8);
        who.settled(Stream::raw(Class::Normal), range(12, 12));
        assert_eq!(who.backlog_count(), 10);
        who.settled(Stream::raw(Class::Normal), range(0, 11));
        assert_eq!(who.backlog_count(), 0);
    }
}
