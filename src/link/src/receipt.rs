//! What arrived, said to the one who sent it.
//!
//! ```text
//! on a stream     varint  bytes of frames received since the last receipt
//! on datagrams    varint  the highest packet received
//!                 varint  how many before it were received without a hole
//!                 ( varint missing before those, less one; varint received before them, less one )*
//! ```
//!
//! A receipt frees the window and times the link. It says nothing of durability: that is an ack, and of whole batches.

use alloc::vec::Vec;

use codec::varint;
use wire::frame;
use wire::message::Kind;
use wire::time::{Instant, Span};

use crate::channel::Carrier;
use crate::estimator::RECEIPT_DELAY;

/// Ranges that are remembered, and said. What was missing for so long is missing for good: its sender has said it again.
const RANGE_COUNT_MAX: usize = 16;

/// Packets after which a receipt is not put off any more.
const PENDING_COUNT_MAX: u32 = 2;

/// Packets of which no receipt has spoken after which one rides with what is said next: from it their sender learns how little of a
/// packet's number it has to say.
const UNSAID_COUNT_MAX: u32 = 64;

/// A packet's number: the first has 0.
pub type Number = u64;

/// What arrived from the other end.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes of frames on a stream since the last receipt.
    bytes: u64,
    /// Packets on datagrams: highest first, neither touching nor overlapping.
    ranges: heapless::Vec<(Number, Number), RANGE_COUNT_MAX>,
    /// Lower packets than this were received, or are given up.
    floor: Number,
    pending_count: u32,
    /// Packets since the last receipt, also those that want none.
    unsaid_count: u32,
    due_at: Option<Instant>,
}

impl Received {
    /// Bytes of frames arrived on a stream, all at once: one packet, whatever is in it, unless they are more than that.
    pub fn bytes(&mut self, now: Instant, bytes: usize, wants_receipt: bool) {
        self.bytes += bytes as u64;
        self.pending_count += u32::from(wants_receipt && bytes > Carrier::Stream.packet_bytes_max());
        self.put_off(now, wants_receipt);
    }

    /// Whether a packet is one that has not arrived before.
    pub fn is_new(&self, number: Number) -> bool {
        number >= self.floor && !self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// A packet arrived that is [new](Received::is_new).
    pub fn packet(&mut self, now: Instant, number: Number, wants_receipt: bool) {
        self.unsaid_count += 1;
        let above = self.ranges.iter().take_while(|(first, _)| *first > number).count();
        let (mut first, mut last) = (number, number);
        let mut place = above;
        if let Some(range) = self.ranges.get(above).filter(|range| range.1 + 1 == number) {
            first = range.0;
            self.ranges.remove(above);
        }
        if let Some(range) = above.checked_sub(1).map(|above| self.ranges[above]).filter(|range| range.0 == number + 1)
        {
            last = range.1;
            place -= 1;
            self.ranges.remove(place);
        }
        if self.ranges.is_full() {
            let lowest = self.ranges.pop().expect("it is full");
            self.floor = lowest.1 + 1;
            place = place.min(self.ranges.len());
        }
        let _ = self.ranges.insert(place, (first, last));
        // A hole may mean a loss, which its sender should hear of at once.
        self.put_off(now, wants_receipt);
        if wants_receipt && self.ranges.len() > 1 {
            self.due_at = Some(now);
        }
    }

    fn put_off(&mut self, now: Instant, wants_receipt: bool) {
        if !wants_receipt {
            return;
        }
        self.pending_count += 1;
        let delay = if self.pending_count >= PENDING_COUNT_MAX { Span(0) } else { RECEIPT_DELAY };
        self.due_at = Some(self.due_at.map_or(now + delay, |due_at| due_at.min(now + delay)));
    }

    /// When a receipt is due; until then it may ride with something else.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether a receipt goes with whatever is said now.
    pub fn rides(&self) -> bool {
        self.due_at.is_some() || self.unsaid_count >= UNSAID_COUNT_MAX
    }

    /// A receipt was said.
    pub fn said(&mut self) {
        (self.bytes, self.pending_count, self.unsaid_count, self.due_at) = (0, 0, 0, None);
    }

    /// The body of a receipt that is said now.
    pub fn receipt(&self, is_stream: bool) -> Vec<u8> {
        let mut body = Vec::new();
        if is_stream {
            varint::put(&mut body, self.bytes);
            return body;
        }
        let mut lowest = None;
        for (first, last) in &self.ranges {
            match lowest {
                None => varint::put(&mut body, *last),
                Some(lowest) => varint::put(&mut body, lowest - last - 2),
            }
            varint::put(&mut body, last - first);
            lowest = Some(*first);
        }
        body
    }
}

/// The bytes in a receipt on a stream.
pub fn bytes(mut body: &[u8]) -> Option<u64> {
    let bytes = varint::take(&mut body).ok()?;
    body.is_empty().then_some(bytes)
}

/// The ranges in a receipt on datagrams, highest first. `None` when it makes no sense.
pub fn ranges(mut body: &[u8]) -> Option<heapless::Vec<(Number, Number), RANGE_COUNT_MAX>> {
    let mut ranges = heapless::Vec::new();
    let mut last = varint::take(&mut body).ok()?;
    loop {
        let first = last.checked_sub(varint::take(&mut body).ok()?)?;
        ranges.push((first, last)).ok()?;
        if body.is_empty() {
            return Some(ranges);
        }
        last = first.checked_sub(varint::take(&mut body).ok()?)?.checked_sub(2)?;
    }
}

/// The highest of this end's packets that the other end has when it says `datagram`, as far as that says so. A receipt goes before
/// everything else in a packet.
pub fn highest_arrived(datagram: &[u8]) -> Option<Number> {
    let first = frame::frames(datagram).next()?.ok().filter(|first| first.head.kind == Kind::Receipt as u8)?;
    ranges(first.payload)?.first().map(|(_, last)| *last)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use wire::frame::Head;
    use wire::stream::Lane;

    use super::*;

    #[test]
    fn what_arrived_in_any_order_is_said() {
        let mut random = 3u64;
        for _ in 0..300 {
            let (mut received, mut plain) = (Received::default(), BTreeSet::new());
            for _ in 0..50 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (random >> 40) % 40;
                if received.is_new(number) {
                    received.packet(Instant(0), number, true);
                    plain.insert(number);
                }
            }
            let said = ranges(&received.receipt(false)).unwrap();
            let said: BTreeSet<Number> = said.iter().flat_map(|(first, last)| *first..=*last).collect();
            assert!(said.is_subset(&plain) && said.last() == plain.last());
            assert!(plain.difference(&said).all(|number| !received.is_new(*number)));
        }
    }

    #[test]
    fn a_usual_receipt_takes_two_bytes_and_its_peer_says_nothing_back() {
        let mut received = Received::default();
        (0..100).for_each(|number| received.packet(Instant(0), number, true));
        assert_eq!(received.receipt(false), [99, 99]);
        received.said();
        received.packet(Instant(5), 100, false);
        assert_eq!(received.due_at(), None);
    }

    #[test]
    fn a_receipt_is_put_off_until_a_second_packet_a_hole_or_a_moment_later() {
        let mut received = Received::default();
        received.packet(Instant(100), 0, true);
        assert_eq!(received.due_at(), Some(Instant(120)));
        received.packet(Instant(105), 1, true);
        assert_eq!(received.due_at(), Some(Instant(105)));
        received.said();
        received.packet(Instant(200), 3, true);
        assert_eq!(received.due_at(), Some(Instant(200)));
    }

    #[test]
    fn what_wants_no_receipt_gets_one_now_and_then_with_something_else() {
        let mut received = Received::default();
        for number in 0..200 {
            received.packet(Instant(0), number, false);
            assert_eq!((received.due_at(), received.rides()), (None, number % 64 == 63));
            if received.rides() {
                received.said();
            }
        }
    }

    #[test]
    fn frames_that_came_in_one_packet_of_a_stream_need_one_receipt() {
        let mut received = Received::default();
        received.bytes(Instant(100), 1000, true);
        assert_eq!(received.due_at(), Some(Instant(120)));
        received.bytes(Instant(110), 1000, true);
        assert_eq!(received.due_at(), Some(Instant(110)));
        assert_eq!(bytes(&received.receipt(true)), Some(2000));
        received.said();
        received.bytes(Instant(200), 2000, true);
        assert_eq!(received.due_at(), Some(Instant(200)));
    }

    #[test]
    fn a_datagram_says_what_has_arrived_when_it_opens_with_a_receipt() {
        let head = |kind: Kind| Head { lane: Lane::Urgent, kind: kind as u8, part: None };
        let (mut receipt_first, mut receipt_last) = (Vec::new(), Vec::new());
        head(Kind::Receipt).put(&[9, 2, 3, 1], false, &mut receipt_first);
        head(Kind::Pong).put(&[9], true, &mut receipt_first);
        assert_eq!(highest_arrived(&receipt_first), Some(9));
        head(Kind::Pong).put(&[9], false, &mut receipt_last);
        head(Kind::Receipt).put(&[9, 9], true, &mut receipt_last);
        assert_eq!(highest_arrived(&receipt_last), None);
        for cut in 0..receipt_first.len() {
            // However it is cut it says nothing that was not in it.
            assert!(highest_arrived(&receipt_first[..cut]).is_none_or(|highest| highest == 9));
        }
    }

    #[test]
    fn a_receipt_of_nonsense_is_none() {
        assert_eq!(bytes(&[5]), Some(5));
        assert_eq!(bytes(&[5, 0]), None);
        for body in [&[][..], &[5], &[5, 6], &[5, 5, 0, 0], &[5, 0, 4], &[0x80]] {
            assert_eq!(ranges(body), None, "{body:?}");
        }
        assert_eq!(ranges(&[5, 1, 0, 2]).as_deref(), Some(&[(4, 5), (0, 2)][..]));
    }
}
