//! Whether all that a journal holds is whole and can be decoded, and what it lacks is known to have left.
//!
//! Batches come by in the order of their numbers, and each is decoded behind the one before it, as whoever reads the run would do.

use std::collections::BTreeSet;
use std::io;

use wire::batch::{self, TickReader};
use wire::id::Seq;
use wire::ranges::{RangeSet, SeqRange, subtract};
use wire::record::Record;
use wire::stream::{Lane, Resolution, Stream};
use wire::window::WindowReader;

use super::tail::TailHealth;
use super::{Inspection, Source, Step, is_in};
use crate::volume::Name;

/// What [`Inspection::verify`] found of one stream in one volume, or in the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The stream.
    pub stream: Stream,
    /// Where it was looked at.
    pub source: Source,
    /// Bytes that were looked at, as in [`Step::Open`].
    pub bytes: u64,
    /// Batches that are whole.
    pub whole_count: u64,
    /// Numbers of the batches that are damaged.
    pub damaged: Vec<SeqRange>,
    /// Whole batches that cannot be decoded, by run.
    pub cuts: Vec<Cut>,
    /// Whether the volume's pages are damaged, so that redb does not find all that is in it.
    pub is_broken: bool,
    /// Whether the disk refused to read some of it.
    pub is_unread: bool,
}

/// Batches of a run that are whole and cannot be decoded, because the codec's state goes from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number that opened the run.
    pub run: Seq,
    /// The first batch that would be needed: one that is missing or damaged, or itself what cannot be decoded.
    pub lacking: Seq,
    /// The batches that cannot be decoded for that.
    pub range: SeqRange,
    /// Whether the journal knows of it: the hub holds what is lacking, or it was said to be lost.
    pub is_known: bool,
}

/// All that [`Inspection::verify`] found, summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How the tail's two files are.
    pub tail: TailHealth,
    /// Volumes that were looked at.
    pub volume_count: u64,
    /// Whole batches.
    pub whole_count: u64,
    /// Damaged batches.
    pub damaged_count: u64,
    /// Whole batches that cannot be decoded.
    pub undecodable_count: u64,
    /// Numbers that were given out, are not here, and of which the journal does not say that they are sent or lost.
    pub missing: Vec<(Stream, SeqRange)>,
    /// Whether all is as the journal believes: whole, decodable, and what is missing is known to be.
    pub is_sound: bool,
}

impl Inspection {
    /// Reads every batch, checks it and decodes it, and hands `each` what was found of each stream in each volume, and in the tail.
    ///
    /// Errors: the disk refuses to read, and that was not to be passed over.
    pub fn verify(&self, mut each: impl FnMut(&Part)) -> io::Result<Verdict> {
        let mut verdict = Verdict {
            tail: self.tail.health,
            volume_count: 0,
            whole_count: 0,
            damaged_count: 0,
            undecodable_count: 0,
            missing: Vec::new(),
            is_sound: self.tail.health.is_sound(),
        };
        // Streams share them.
        let mut volumes = BTreeSet::new();
        for stream in Stream::ALL {
            let mut check = Check::new(stream, self.tail.lines[stream.index()].as_ref());
            let mut end_part = |check: &mut Check<'_>| {
                let Some(part) = check.part.take() else { return };
                if let Source::Volume(Name { shelf, number, .. }) = part.source {
                    volumes.insert((shelf, number));
                }
                verdict.whole_count += part.whole_count;
                verdict.damaged_count += part.damaged.iter().map(SeqRange::count).sum::<u64>();
                verdict.undecodable_count += part.cuts.iter().map(|cut| cut.range.count()).sum::<u64>();
                verdict.is_sound &= part.is_sound();
                each(&part);
            };
            self.walk(stream, Seq(0), &mut |step| {
                if matches!(step, Step::Open { .. }) {
                    end_part(&mut check);
                }
                check.take(step);
                Ok(())
            })?;
            end_part(&mut check);
            verdict.missing.extend(check.finish().into_iter().map(|range| (stream, range)));
        }
        verdict.volume_count = volumes.len() as u64;
        verdict.is_sound &= verdict.missing.is_empty();
        Ok(verdict)
    }
}

impl Part {
    /// Whether all of it is whole, and can be decoded or is known not to be.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && !self.is_broken && !self.is_unread && self.cuts.iter().all(|cut| cut.is_known)
    }
}

/// The check of one stream, batch by batch.
struct Check<'a> {
    stream: Stream,
    line: Option<&'a (Seq, RangeSet)>,
    part: Option<Part>,
    /// Numbers in the open part, of whole batches and of others.
    seen: BTreeSet<Seq>,
    /// The number behind the last one seen.
    position: Seq,
    missing: Vec<SeqRange>,
    gone: Vec<SeqRange>,
    ticks: Option<TickReader>,
    windows: Option<WindowReader>,
    /// The run that is read, and the number it goes on with.
    run: Option<(Seq, Seq)>,
    /// The run that cannot be read any more, and the first number it lacks.
    cut: Option<(Seq, Seq)>,
}

impl<'a> Check<'a> {
    fn new(stream: Stream, line: Option<&'a (Seq, RangeSet)>) -> Check<'a> {
        Check {
            stream,
            line,
            part: None,
            seen: BTreeSet::new(),
            position: Seq(0),
            missing: Vec::new(),
            gone: Vec::new(),
            ticks: None,
            windows: None,
            run: None,
            cut: None,
        }
    }

    fn take(&mut self, step: Step<'_>) {
        let stream = self.stream;
        match step {
            Step::Gone(range) => return self.gone.push(range),
            Step::Open { source, bytes } => {
                let (damaged, cuts) = (Vec::new(), Vec::new());
                let (is_broken, is_unread, whole_count) = (false, false, 0);
                self.part = Some(Part { stream, source, bytes, whole_count, damaged, cuts, is_broken, is_unread });
                self.seen.clear();
                return;
            }
            _ => {}
        }
        let Some(mut part) = self.part.take() else { return };
        match step {
            Step::Batch(record) => {
                self.arrive(record.header.seq);
                part.whole_count += 1;
                self.decode(record, &mut part);
            }
            Step::Broken => part.is_broken = true,
            Step::Damaged(seq) => {
                self.arrive(seq);
                extend(&mut part.damaged, seq);
            }
            Step::Unread => part.is_unread = true,
            Step::Gone(_) | Step::Open { .. } => {}
        }
        self.part = Some(part);
    }

    fn arrive(&mut self, seq: Seq) {
        self.miss_until(seq);
        self.seen.insert(seq);
        self.position = Seq(seq.0.saturating_add(1));
    }

    fn miss_until(&mut self, seq: Seq) {
        if let (true, Some(last)) = (self.position < seq, seq.0.checked_sub(1)) {
            self.missing.push(SeqRange { first: self.position, last: Seq(last) });
        }
    }

    fn decode(&mut self, record: Record<'_>, part: &mut Part) {
        let header = record.header;
        let lacking = match self.run {
            _ if self.cut.is_some_and(|(run, _)| run == header.run) => self.cut.map(|(_, lacking)| lacking),
            _ if self.stream.lane() == Lane::Urgent || header.is_keyframe() => None,
            Some((run, next)) if run == header.run => (next != header.seq).then_some(next),
            // The batch that opened the run did not come by.
            _ => Some(header.run),
        };
        let lacking = lacking.or_else(|| (!self.is_decoded(record)).then_some(header.seq));
        let Some(lacking) = lacking else {
            self.run = Some((header.run, Seq(header.seq.0.saturating_add(1))));
            return;
        };
        self.cut = Some((header.run, lacking));
        self.run = None;
        match part.cuts.last_mut() {
            Some(cut) if cut.run == header.run && cut.lacking == lacking => cut.range.last = header.seq,
            _ => {
                let is_done = self.line.is_some_and(|(_, done)| done.contains(lacking));
                // What is here and damaged is never known: it would be said otherwise.
                let is_here = self.seen.contains(&lacking) || part.damaged.iter().any(|range| is_in(*range, lacking));
                let is_gone = self.gone.iter().any(|range| is_in(*range, lacking));
                let range = SeqRange { first: header.seq, last: header.seq };
                let is_known = (is_done || is_gone) && !is_here;
                part.cuts.push(Cut { run: header.run, lacking, range, is_known });
            }
        }
    }

    /// Whether the payload says what a payload of its stream can say.
    fn is_decoded(&mut self, record: Record<'_>) -> bool {
        let mut scratch = Vec::new();
        let Ok(payload) = record.payload(&mut scratch) else { return false };
        let is_keyframe = record.header.is_keyframe();
        match self.stream {
            Stream::Event => batch::events(payload).all(|event| event.is_ok()),
            Stream::Dictionary => {
                batch::Dictionary::open(payload).is_ok_and(|list| list.entries().all(|entry| entry.is_ok()))
            }
            Stream::Series(Resolution::Raw, _) | Stream::Extract(_) => {
                self.ticks.get_or_insert_default().read(payload, is_keyframe, |_, _| {}).is_ok()
            }
            Stream::Series(..) => self.windows.get_or_insert_default().check(payload, is_keyframe).is_ok(),
        }
    }

    /// Numbers that are missing, and should not be.
    fn finish(mut self) -> Vec<SeqRange> {
        let Some((next, done)) = self.line else { return Vec::new() };
        self.miss_until(*next);
        let mut known: Vec<SeqRange> = done.iter().chain(self.gone).collect();
        known.sort_by_key(|range| range.first);
        self.missing.into_iter().flat_map(|range| subtract(range, known.iter().copied())).collect()
    }
}

fn extend(ranges: &mut Vec<SeqRange>, seq: Seq) {
    match ranges.last_mut() {
        Some(range) if range.last.0.checked_add(1) == Some(seq.0) => range.last = seq,
        _ => ranges.push(SeqRange { first: seq, last: seq }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::Folder;
    use disk::memory::Memory;

    use super::*;
    use crate::inspect::fixture::{
        appended, first_volume, flip, image, inspection, journal, made_of, payload, verified, walked,
    };
    use crate::volume::{self, Reader};

    #[test]
    fn a_flipped_byte_in_a_volume_is_named_or_does_no_harm() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let name = first_volume(&memory);
        let image = image(&memory);
        // Behind that redb has made room and used none of it.
        let bytes = image[&name.to_file_name()].len().min(96 << 10);
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !crate::guard::is_inside() {
                print(panic);
            }
        }));
        let mut named_count = 0;
        for offset in (0..bytes).step_by(509) {
            let memory = made_of(&image);
            flip(&memory, &name.to_file_name(), offset);
            let inspection = inspection(&memory);
            let (verdict, parts) = verified(&inspection);
            let seen = walked(&inspection, Stream::Event, 0);
            let is_named = parts.iter().any(|part| part.source == Source::Volume(name) && !part.is_sound());
            assert!(verdict.is_sound != is_named, "{offset}: {verdict:?}");
            assert!(is_named || seen == appended(0..700), "{offset}");
            assert!(seen.len() >= 699, "{offset}: a byte costs one batch at the most, not {}", 700 - seen.len());
            named_count += u32::from(is_named);
        }
        assert!(named_count > 20, "{named_count}");
    }

    #[test]
    fn a_batch_that_is_damaged_is_named_by_its_number() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let name = first_volume(&memory);
        let bytes = image(&memory)[&name.to_file_name()].clone();
        let needle = payload(40);
        let offset = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
        flip(&memory, &name.to_file_name(), offset + 20);
        let (verdict, parts) = verified(&inspection(&memory));
        assert_eq!((verdict.is_sound, verdict.whole_count, verdict.damaged_count), (false, 699, 1));
        assert_eq!(parts[0].damaged, [SeqRange { first: Seq(40), last: Seq(40) }]);
        assert!(!parts[0].is_broken && verdict.missing.is_empty());
    }

    #[test]
    fn a_volume_that_lacks_a_batch_nobody_speaks_of_is_not_sound() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let name = first_volume(&memory);
        let held = walked(&inspection(&memory), Stream::Event, 0);
        let reader = Reader::open(&(memory.clone() as Folder), name).unwrap();
        let range = name.range(Stream::Event).unwrap();
        let mut kept = (range.first.0..=range.last.0).filter(|seq| !(20..30).contains(seq));
        let folder: Folder = memory.clone();
        volume::write(&folder, name, |record| {
            let Some(seq) = kept.next() else { return Ok(None) };
            assert!(reader.read(Stream::Event, Seq(seq), record).unwrap());
            Ok(Some((Stream::Event, Seq(seq))))
        })
        .unwrap();
        let (verdict, _) = verified(&inspection(&memory));
        assert_eq!(verdict.missing, [(Stream::Event, SeqRange { first: Seq(20), last: Seq(29) })]);
        assert_eq!((verdict.is_sound, verdict.whole_count), (false, held.len() as u64 - 10));
    }
}
