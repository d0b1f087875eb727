//! From the tail into volumes, and the tail's next generation.

use std::io;

use wire::event::{Event, LossReason};
use wire::id::Seq;
use wire::ranges::{RangeSet, SeqRange};
use wire::record::Record;
use wire::stream::{Lane, STREAM_COUNT, Shelf, Stream};
use wire::time::Stamp;

use super::{Batch, Journal, SLOT_COUNT, TAIL_BATCH_COUNT_MAX, VOLUME_BYTES_MAX, Volume, sealed_event};
use crate::entry::{HEAD_BYTES, Kind};
use crate::page::BESIDE_BYTES;
use crate::volume::{self, Name};
use crate::withheld::Withheld;

/// Batches that a volume takes, by stream and then by number.
type Volumeful = Vec<(Stream, Batch)>;

/// What lies in the tail, or a part of it.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    bytes: u64,
    count: usize,
}

impl Load {
    fn of<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Load {
        batches.into_iter().fold(Load::default(), |load, batch| Load {
            bytes: load.bytes + HEAD_BYTES as u64 + u64::from(batch.place.length),
            count: load.count + 1,
        })
    }

    fn less(self, other: Load) -> Load {
        Load { bytes: self.bytes.saturating_sub(other.bytes), count: self.count.saturating_sub(other.count) }
    }
}

impl Journal {
    /// Moves the tail's batches into volumes where there are enough of them, and starts the tail's next generation.
    pub(super) fn fold(&mut self, now: Stamp) -> io::Result<()> {
        self.commit_tail()?;
        self.reader = None;
        let mut failure = None;
        for shelf in Shelf::ALL {
            while let Some(batches) = self.foldable(shelf) {
                if let Err(error) = self.fold_shelf(now, shelf, &batches) {
                    failure = Some(error);
                    break;
                }
            }
        }
        // Many shelves, of which none has enough by itself.
        while failure.is_none() && self.is_crowded(self.load()) {
            let Some((shelf, batches)) = self.largest() else { break };
            failure = self.fold_shelf(now, shelf, &batches).err();
        }
        let shed = self.shed();
        if let (true, Some(error)) = (shed.is_empty(), failure)
            && self.is_crowded(self.load())
        {
            return Err(error);
        }
        // Evicting appends events, and a failed commit leaves them waiting.
        self.commit_tail()?;
        self.restart(now, &shed)
    }

    fn load(&self) -> Load {
        Load::of(self.lines.iter().flat_map(|line| &line.tail))
    }

    /// How full of a load the tail would be, by bytes or by number, in thousandths.
    fn fullness(&self, load: Load) -> u64 {
        (load.bytes * 1000 / self.tail.bytes_max()).max((load.count * 1000 / TAIL_BATCH_COUNT_MAX) as u64)
    }

    /// Whether the next generation would begin more than half full with so much.
    fn is_crowded(&self, load: Load) -> bool {
        self.fullness(load) > 500
    }

    /// The batches of a shelf's next volume, when it has enough to be worth a file: of runs that no longer grow.
    fn foldable(&self, shelf: Shelf) -> Option<Volumeful> {
        let is_enough = |end: &fn(&[Batch]) -> usize| {
            let lines = shelf.streams().map(|stream| &self.lines[stream.index()].tail);
            let batches = lines.flat_map(|tail| &tail[..end(tail)]);
            batches.map(|batch| u64::from(batch.place.length)).sum::<u64>() >= self.settings.fold_bytes_min
        };
        // Runs that fill the tail by themselves are cut: better in two volumes than in none.
        let ends: [fn(&[Batch]) -> usize; 2] = [closed_count, <[Batch]>::len];
        ends.into_iter().find(is_enough).map(|end| self.volumeful(shelf, end))
    }

    /// What fills the tail most of all that one shelf has for a volume, and which one it is. The dictionary is short, and stays where no eviction gets to it.
    fn largest(&self) -> Option<(Shelf, Volumeful)> {
        let largest = |end: fn(&[Batch]) -> usize| {
            let shelves = Shelf::ALL.into_iter().filter(|shelf| *shelf != Shelf::Dictionary);
            let volumefuls = shelves.map(|shelf| (shelf, self.volumeful(shelf, end)));
            volumefuls
                .filter(|(_, batches)| !batches.is_empty())
                .max_by_key(|(_, batches)| self.fullness(Load::of(batches.iter().map(|(_, batch)| batch))))
        };
        largest(closed_count).or_else(|| largest(<[Batch]>::len))
    }

    /// What the next volume of a shelf takes of the batches before `end` of each of its streams: whole runs, those first that were begun
    /// first. A run that is too long for any volume is cut.
    fn volumeful(&self, shelf: Shelf, end: impl Fn(&[Batch]) -> usize) -> Volumeful {
        let lines = shelf.streams().map(|stream| (stream, &self.lines[stream.index()].tail));
        let mut rest: Vec<(Stream, &[Batch])> = lines.map(|(stream, tail)| (stream, &tail[..end(tail)])).collect();
        let (mut taken, mut bytes) = (Volumeful::new(), 0);
        // Where a batch lies in the tail says when it was appended.
        while let Some((stream, rest)) =
            rest.iter_mut().filter(|(_, rest)| !rest.is_empty()).min_by_key(|(_, rest)| rest[0].place.offset)
        {
            let (run, after) = rest.split_at(rest.partition_point(|batch| batch.run <= rest[0].run));
            let fitting = run.iter().take_while(|batch| {
                bytes += BESIDE_BYTES as u64 + u64::from(batch.place.length);
                bytes <= VOLUME_BYTES_MAX
            });
            let fits = fitting.count();
            if fits == run.len() || taken.is_empty() {
                taken.extend(run[..fits.max(1)].iter().map(|batch| (*stream, *batch)));
            }
            if fits < run.len() {
                break;
            }
            *rest = after;
        }
        taken.sort_by_key(|(stream, batch)| (*stream, batch.seq));
        taken
    }

    fn fold_shelf(&mut self, now: Stamp, shelf: Shelf, batches: &Volumeful) -> io::Result<()> {
        let newest = self.volumes.iter().rfind(|volume| volume.name.shelf == shelf);
        let number = newest.map_or(0, |newest| newest.name.number.wrapping_add(1));
        let name = Name::new(self.born, shelf, number, self.span_s(batches)?);
        let name = name.holding(batches.iter().map(|(stream, batch)| (*stream, batch.seq)));
        loop {
            let mut rest = batches.iter();
            let tail = &self.tail;
            let written = volume::write(&self.folder, name, |record| {
                for (stream, batch) in rest.by_ref() {
                    match tail.read(batch.place, record) {
                        Ok(()) => return Ok(Some((*stream, batch.seq))),
                        // Found missing when it is read, and said then.
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                        Err(error) => return Err(error),
                    }
                }
                Ok(None)
            });
            match written {
                Ok(bytes) => {
                    self.add_volume(Volume::new(name, bytes));
                    for stream in shelf.streams() {
                        self.lines[stream.index()].tail.retain(|batch| !name.covers(stream, batch.seq));
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !self.evict_one(now)? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Recorded time of a volume's batches: of the stream that has most of it, from stamp to stamp, as long as it is the same boot's.
    fn span_s(&self, batches: &Volumeful) -> io::Result<u32> {
        let (mut span_ms, mut longest_ms, mut before, mut body) = (0, 0, None::<(Stream, Stamp)>, Vec::new());
        for (stream, batch) in batches {
            match self.tail.read(batch.place, &mut body) {
                Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
                _ => {}
            }
            let Ok(record) = Record::open(&body) else { continue };
            let stamp = record.header.stamp;
            match before {
                Some((of, before)) if of == *stream && before.boot == stamp.boot => {
                    span_ms += (stamp.uptime - before.uptime).0;
                }
                Some((of, _)) if of == *stream => {}
                _ => span_ms = 0,
            }
            longest_ms = longest_ms.max(span_ms);
            before = Some((*stream, stamp));
        }
        Ok(u32::try_from(longest_ms / 1000).unwrap_or(u32::MAX))
    }

    /// What must leave the tail so that its next generation begins at most half full, although no volume took it: the oldest,
    /// bulk before urgent, and of what is urgent nothing that is unsent. Returns, per stream, how many of its oldest batches go.
    fn shed(&self) -> Vec<(Stream, usize)> {
        let mut load = self.load();
        let mut shed = Vec::new();
        for stream in Stream::ALL.into_iter().rev() {
            if !self.is_crowded(load) {
                break;
            }
            let mut count = 0;
            let mut last_run = None;
            let line = &self.lines[stream.index()];
            for batch in &line.tail {
                if stream.lane() == Lane::Urgent && !line.done.contains(batch.seq) {
                    break;
                }
                // The rest of a cut run could not be decoded.
                if !self.is_crowded(load) && last_run != Some(batch.run) {
                    break;
                }
                last_run = Some(batch.run);
                load = load.less(Load::of([batch]));
                count += 1;
            }
            if count > 0 {
                shed.push((stream, count));
            }
        }
        shed
    }

    /// Writes the tail's next generation: slots, every batch but those of `shed`, and the events that say what is lost with them.
    fn restart(&mut self, now: Stamp, shed: &[(Stream, usize)]) -> io::Result<()> {
        let mut dones: [RangeSet; STREAM_COUNT] = std::array::from_fn(|index| self.lines[index].done.clone());
        let mut skip = [0; STREAM_COUNT];
        let mut sealed = Vec::new();
        let next_before = self.lines[Stream::Event.index()].next;
        let noted = |stream: Stream, range| dones[stream.index()].insert_range(range).is_ok();
        sealed.extend(self.withheld.event(noted).map(|event| sealed_event(next_before, now, &event)));
        for (stream, count) in shed {
            skip[stream.index()] = *count;
            let seqs = self.lines[stream.index()].tail[..*count].iter().map(|batch| batch.seq);
            for range in unsent(seqs, &dones[stream.index()]) {
                let _ = dones[stream.index()].insert_range(range);
                let event = Event::Lost { stream: *stream, range, reason: LossReason::Evicted };
                sealed.push(sealed_event(Seq(next_before.0 + sealed.len() as u64), now, &event));
            }
        }

        // The state in the checkpoint is the one after the loss; it holds only once the checkpoint does.
        for (line, done) in self.lines.iter_mut().zip(&mut dones) {
            std::mem::swap(&mut line.done, done);
        }
        self.lines[Stream::Event.index()].next = Seq(next_before.0 + sealed.len() as u64);
        match self.write_checkpoint(skip, next_before, &sealed) {
            Ok(tails) => {
                for (line, tail) in self.lines.iter_mut().zip(tails) {
                    line.tail = tail;
                    line.durable = line.next;
                }
                self.slots.iter_mut().for_each(|slot| slot.is_dirty = false);
                self.withheld = Withheld::default();
                Ok(())
            }
            Err(error) => {
                self.lines[Stream::Event.index()].next = next_before;
                for (line, done) in self.lines.iter_mut().zip(dones) {
                    line.done = done;
                }
                Err(error)
            }
        }
    }

    /// Writes slots, batches without the oldest `skip` of each stream, and sealed events numbered from `first_event` on. Returns
    /// where the batches lie now.
    fn write_checkpoint(
        &mut self,
        skip: [usize; STREAM_COUNT],
        first_event: Seq,
        sealed: &[Vec<u8>],
    ) -> io::Result<[Vec<Batch>; STREAM_COUNT]> {
        let slots: Vec<Vec<u8>> = (0..SLOT_COUNT).map(|number| self.slot_body(number)).collect();
        let lines = self.lines.iter().zip(skip).enumerate();
        let mut kept: Vec<(usize, Batch)> = lines
            .flat_map(|(index, (line, skip))| line.tail[skip..].iter().map(move |batch| (index, *batch)))
            .collect();
        // The order in which they were appended stays that in which they lie there.
        kept.sort_by_key(|(_, batch)| batch.place.offset);
        let mut restart = self.tail.restart(&self.born.0.to_le_bytes(), kept.iter().map(|(_, batch)| batch.place))?;
        for slot in slots.iter().filter(|slot| slot.len() > 1) {
            restart.put(Kind::Slot, slot)?;
        }
        let mut tails: [Vec<Batch>; STREAM_COUNT] = Default::default();
        let mut body = Vec::new();
        for (index, batch) in kept {
            match restart.carry(batch.place, &mut body) {
                Ok(place) => tails[index].push(Batch { place, ..batch }),
                // Damaged in both files: found missing later, and said then.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
        for (seq, bytes) in (first_event.0..).map(Seq).zip(sealed) {
            let place = restart.put(Kind::Batch, bytes)?;
            tails[Stream::Event.index()].push(Batch { seq, place, run: seq });
        }
        restart.finish()?;
        Ok(tails)
    }
}

/// How many of the oldest batches are of runs that no longer grow.
fn closed_count(batches: &[Batch]) -> usize {
    batches.last().map_or(0, |last| batches.partition_point(|batch| batch.run < last.run))
}

/// The ranges of ascending `seqs` that are not in `done`.
fn unsent(seqs: impl Iterator<Item = Seq>, done: &RangeSet) -> Vec<SeqRange> {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for seq in seqs.filter(|seq| !done.contains(*seq)) {
        match ranges.last_mut() {
            Some(range) if range.last.0 + 1 == seq.0 => range.last = seq,
            _ => ranges.push(SeqRange { first: seq, last: seq }),
        }
    }
    ranges
}
