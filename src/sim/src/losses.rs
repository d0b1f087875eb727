//! What events said is lost.

use std::collections::BTreeSet;

use journal::Journal;
use wire::batch;
use wire::id::Seq;
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::Stream;
use wire::time::Stamp;

/// Batches that an [`Event::Lost`](wire::event::Event::Lost) named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(BTreeSet<(Stream, Seq, Seq)>);

impl Losses {
    /// Adds a range of batches.
    pub fn insert(&mut self, stream: Stream, range: SeqRange) {
        self.0.insert((stream, range.first, range.last));
    }

    /// Adds what a journal's own events say.
    ///
    /// Errors: a durable event does not read, in words.
    pub fn read(&mut self, journal: &mut Journal, now: Stamp) -> Result<(), String> {
        let (mut record, mut scratch) = (Vec::new(), Vec::new());
        let held = journal.held(Stream::Event);
        for seq in held.into_iter().flat_map(|range| range.first.0..=range.last.0) {
            if !journal.read(now, Stream::Event, Seq(seq), &mut record).map_err(|error| error.to_string())? {
                continue;
            }
            let opened = Record::open(&record).map_err(|error| format!("event {seq}: {error}"))?;
            let payload = opened.payload(&mut scratch).map_err(|error| format!("event {seq}: {error}"))?;
            for event in batch::events(payload).filter_map(|event| event.ok()?.1) {
                event.missing().for_each(|(stream, range, _)| self.insert(stream, range));
            }
        }
        Ok(())
    }

    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any batch of a stream was named.
    pub fn has(&self, stream: Stream) -> bool {
        self.meets(stream, SeqRange { first: Seq(0), last: Seq(u64::MAX) })
    }

    /// Whether a batch was named.
    pub fn contains(&self, stream: Stream, seq: Seq) -> bool {
        self.meets(stream, SeqRange { first: seq, last: seq })
    }

    /// Whether any batch of a range was named.
    pub fn meets(&self, stream: Stream, range: SeqRange) -> bool {
        let begun = self.0.range((stream, Seq(0), Seq(0))..=(stream, range.last, Seq(u64::MAX)));
        begun.into_iter().any(|(_, _, last)| *last >= range.first)
    }
}
