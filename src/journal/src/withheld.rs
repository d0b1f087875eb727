//! Windows that are not sent, because what they are made of goes anyway.
//!
//! They stay here for the person on site, and the hub is told their numbers, so that a gap is never only a gap. That takes an event,
//! so it is said for some hours of them at once. Until then nothing of it is kept: after a power cut they are sent like others.

use wire::event::Event;
use wire::id::Seq;
use wire::ranges::SeqRange;
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{Instant, Span};

/// How long numbers wait to be told: 120 bytes, four times a day.
const PATIENCE: Span = Span::minutes(6 * 60);

/// Numbers of windows that are withheld, and of which the hub does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Withheld {
    ranges: [Option<SeqRange>; STREAM_COUNT],
    since: Option<Instant>,
}

impl Withheld {
    /// Withholds a batch, the newest of its stream. `false` when others of the stream must be told first: a number between
    /// them was not withheld.
    pub(crate) fn add(&mut self, now: Instant, stream: Stream, seq: Seq) -> bool {
        let range = &mut self.ranges[stream.index()];
        match range {
            Some(range) if range.last.0 + 1 != seq.0 => return false,
            Some(range) => range.last = seq,
            None => *range = Some(SeqRange { first: seq, last: seq }),
        }
        self.since.get_or_insert(now);
        true
    }

    /// Whether a batch is withheld.
    pub(crate) fn contains(&self, stream: Stream, seq: Seq) -> bool {
        self.ranges[stream.index()].is_some_and(|range| range.first <= seq && seq <= range.last)
    }

    /// What the hub is to be told, of those ranges that are `noted` as done.
    pub(crate) fn event(&self, mut noted: impl FnMut(Stream, SeqRange) -> bool) -> Option<Event> {
        let mut ranges = self.ranges().filter(|(stream, range)| noted(*stream, *range)).peekable();
        ranges.peek()?;
        Some(Event::Withheld { ranges: ranges.collect() })
    }

    fn ranges(&self) -> impl Iterator<Item = (Stream, SeqRange)> + '_ {
        Stream::ALL.into_iter().filter_map(|stream| Some((stream, self.ranges[stream.index()]?)))
    }

    /// How many batches of a stream are withheld.
    pub(crate) fn count(&self, stream: Stream) -> u64 {
        self.ranges[stream.index()].map_or(0, |range| range.last.0 - range.first.0 + 1)
    }

    /// When the hub is to be told.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use wire::class::Class;
    use wire::stream::Resolution;

    use super::*;

    #[test]
    fn neighbours_are_one_range_and_a_hole_asks_to_be_told_first() {
        let (mut withheld, minute) = (Withheld::default(), Stream::Series(Resolution::Minute, Class::Bulk));
        assert!(withheld.add(Instant(5), minute, Seq(7)) && withheld.add(Instant(6), minute, Seq(8)));
        assert_eq!((withheld.count(minute), withheld.due_at()), (2, Some(Instant(5) + PATIENCE)));
        assert!(withheld.contains(minute, Seq(8)) && !withheld.contains(minute, Seq(9)));
        assert!(!withheld.add(Instant(7), minute, Seq(10)));
        assert!(withheld.ranges().eq([(minute, SeqRange { first: Seq(7), last: Seq(8) })]));
    }
}
