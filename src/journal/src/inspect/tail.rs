//! The tail at one moment, while its journal may go on: both files read, and one whole generation of them kept.

use std::io;

use disk::{File, Folder};
use wire::id::{JournalId, Seq};
use wire::ranges::RangeSet;
use wire::record::Record;
use wire::stream::{STREAM_COUNT, Stream};

use crate::entry::{HEAD_BYTES, Kind, Unreadable};
use crate::journal::{STATE_SLOT, WEAR_SLOT};
use crate::tail::{Found, Scanned, damage, join, keep, read_from, scan, whole_generation};
use crate::wear::Wear;

/// How the tail's two files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailHealth {
    /// Whether one of them holds a whole checkpoint. Otherwise batches of every age were gathered from both.
    pub is_whole: bool,
    /// Bytes between entries that hold none although they should: in neither file.
    pub hole_bytes: u64,
    /// Bytes of both files that the disk refused to read.
    pub unread_bytes: u64,
    /// Entries that `tail.a`, and that `tail.b`, lacks amid those that it has. The other file holds them.
    pub lacking_counts: [u64; 2],
    /// Entries that are whole and hold no batch that this version knows.
    pub unknown_count: u64,
}

/// The tail at one moment.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) id: Option<JournalId>,
    /// Records, one after the other.
    pub(super) bytes: Vec<u8>,
    /// By stream, then by number.
    batches: Vec<Batch>,
    /// The next number of each stream and what is done of it, as far as the journal said.
    pub(super) lines: [Option<(Seq, RangeSet)>; STREAM_COUNT],
    pub(super) wear: Wear,
    pub(super) health: TailHealth,
}

/// Where a record lies in [`Tail::bytes`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    stream: Stream,
    pub(super) seq: Seq,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl TailHealth {
    /// Whether nothing is wrong with either file.
    pub fn is_sound(&self) -> bool {
        self.is_whole
            && self.lacking_counts == [0, 0]
            && [self.hole_bytes, self.unread_bytes, self.unknown_count] == [0, 0, 0]
    }
}

impl Tail {
    /// Reads both files. `None` when they change meanwhile, or seem to; `is_last` takes them as they are.
    pub(super) fn read(folder: &Folder, unreadable: Unreadable, is_last: bool) -> io::Result<Option<Tail>> {
        let Scanned { copies, found, unread_bytes } = scan(folder, unreadable)?;
        let generation = found.iter().filter_map(|found| whole_generation(found)).max();
        let newest = found.iter().flatten().map(|found| found.head.generation).max();
        // Between two generations neither file may seem whole, or the newer one is not yet.
        let is_changing = newest.is_some() && generation != newest;
        if is_changing && !is_last {
            return Ok(None);
        }
        let health = TailHealth {
            is_whole: generation.is_some(),
            hole_bytes: 0,
            unread_bytes,
            lacking_counts: [0, 0],
            unknown_count: 0,
        };
        let lines = std::array::from_fn(|_| None);
        let mut tail = Tail { id: None, bytes: Vec::new(), batches: Vec::new(), lines, wear: Wear::default(), health };
        let kept: Vec<Found> = match generation {
            Some(generation) => {
                let kept = keep(&join(found, generation));
                tail.health.hole_bytes = damage(&kept).map_or(0, |damage| damage.bytes);
                // While a fold goes over a file it lacks what is not yet there again.
                if !is_changing {
                    tail.health.lacking_counts = [0, 1].map(|copy| lacking_count(&kept, copy));
                }
                kept
            }
            None => {
                let mut kept = found.concat();
                kept.sort_by_key(|found| (found.head.generation, found.head.commit));
                kept
            }
        };
        for found in &kept {
            if !tail.take(&copies, found) && !is_last {
                return Ok(None);
            }
        }
        tail.batches.sort_by_key(|batch| (batch.stream, batch.seq));
        tail.batches.dedup_by_key(|batch| (batch.stream, batch.seq));
        if tail.health.is_whole {
            // A journal says nothing of a stream until there is progress.
            tail.lines.iter_mut().for_each(|line| *line = Some(line.take().unwrap_or_default()));
        }
        Ok(Some(tail))
    }

    /// Takes one entry in. `false` when it is not there any more.
    fn take(&mut self, copies: &[Option<Box<dyn File>>; 2], found: &Found) -> bool {
        let mut bytes = Vec::new();
        if read_from(copies.iter().flatten(), found, &mut bytes).is_err() {
            return false;
        }
        let body = &bytes[HEAD_BYTES..];
        match found.head.kind {
            Kind::Batch => match Record::open(body) {
                Ok(Record { header, .. }) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(body);
                    let end = self.bytes.len();
                    self.batches.push(Batch { stream: header.stream, seq: header.seq, start, end });
                }
                Err(_) => self.health.unknown_count += 1,
            },
            Kind::Begin => self.id = body.first_chunk().map(|id| JournalId(u32::from_le_bytes(*id))),
            Kind::End => {}
            Kind::Slot => {
                let (number, value) = body.split_first().unwrap_or((&u8::MAX, &[]));
                match usize::from(*number) {
                    STATE_SLOT => self.take_state(value),
                    WEAR_SLOT => self.wear = postcard::from_bytes(value).unwrap_or_default(),
                    _ => {}
                }
            }
        }
        true
    }

    fn take_state(&mut self, mut state: &[u8]) {
        while let Ok(((stream, next, done), rest)) = postcard::take_from_bytes::<(Stream, Seq, RangeSet)>(state) {
            state = rest;
            if done.is_valid() {
                self.lines[stream.index()] = Some((next, done));
            }
        }
    }

    pub(super) fn of(&self, stream: Stream) -> &[Batch] {
        let start = self.batches.partition_point(|batch| batch.stream < stream);
        let end = self.batches.partition_point(|batch| batch.stream <= stream);
        &self.batches[start..end]
    }
}

impl Batch {
    pub(super) fn entry_bytes(&self) -> u64 {
        (HEAD_BYTES + self.end - self.start) as u64
    }
}

/// Entries that a file lacks amid those that it has. What it lacks behind them is being written, or it failed and is made anew.
fn lacking_count(kept: &[Found], copy: usize) -> u64 {
    let end = kept.iter().rposition(|found| found.copies[copy]).unwrap_or(0);
    kept[..end].iter().filter(|found| !found.copies[copy]).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::memory::Memory;

    use super::*;
    use crate::inspect::fixture::{appended, flip, image, inspection, journal, verified, walked};

    #[test]
    fn a_flipped_byte_in_one_file_of_the_tail_is_seen_and_costs_nothing() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 70));
        flip(&memory, "tail.b", 2000);
        let inspection = inspection(&memory);
        let (verdict, _) = verified(&inspection);
        assert_eq!((verdict.is_sound, verdict.whole_count), (false, 70));
        assert_eq!(verdict.tail.lacking_counts, [0, 1]);
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..70));
        // In both at one place it costs the batch.
        flip(&memory, "tail.a", 2000);
        let (verdict, _) = verified(&crate::inspect::fixture::inspection(&memory));
        assert_eq!((verdict.whole_count, verdict.tail.lacking_counts, verdict.missing.len()), (69, [0, 0], 1));
        assert!(verdict.tail.hole_bytes > 100 && !verdict.is_sound);
    }

    #[test]
    fn without_a_whole_tail_there_is_still_what_volumes_and_entries_hold() {
        let memory = Arc::new(Memory::default());
        let id = journal(&memory, 700).id();
        // Both checkpoints.
        ["tail.a", "tail.b"].into_iter().for_each(|name| flip(&memory, name, 30));
        let before = image(&memory);
        let inspection = inspection(&memory);
        let (verdict, _) = verified(&inspection);
        assert_eq!((inspection.id(), verdict.is_sound, verdict.tail.is_whole), (id, false, false));
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..700));
        assert_eq!(image(&memory), before);
    }
}
