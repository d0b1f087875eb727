//! From the tail into volumes, and the tail's next generation.

use std::io;

use wire::event::{Event, LossReason};
use wire::id::Seq;
use wire::ranges::{RangeSet, SeqRange};
use wire::record::Record;
use wire::stream::{Lane, STREAM_COUNT, Stream};
use wire::time::Stamp;

use super::{Batch, Journal, SLOT_COUNT, TAIL_BATCH_COUNT_MAX, VOLUME_BYTES_MAX, Volume, sealed_event};
use crate::entry::{HEAD_BYTES, Kind};
use crate::volume::{self, Name};

impl Journal {
    /// Moves the tail's batches into volumes where there are enough of them, and starts the tail's next generation.
    pub(super) fn fold(&mut self, now: Stamp) -> io::Result<()> {
        self.commit_tail()?;
        self.reader = None;
        let mut failure = None;
        for stream in Stream::ALL {
            loop {
                let count = self.foldable(stream);
                if count == 0 {
                    break;
                }
                if let Err(error) = self.fold_stream(now, stream, count) {
                    failure = Some(error);
                    break;
                }
            }
        }
        // Many streams, of which none has enough by itself.
        while failure.is_none() && self.carried_bytes() > self.tail.bytes_max() / 2 {
            let Some((stream, count)) = self.largest_closed() else { break };
            failure = self.fold_stream(now, stream, count).err();
        }
        let shed = self.shed();
        if let (true, Some(error)) = (shed.is_empty(), failure)
            && self.carried_bytes() > self.tail.bytes_max() / 2
        {
            return Err(error);
        }
        // Evicting appends events, and a failed commit leaves them waiting.
        self.commit_tail()?;
        self.restart(now, &shed)
    }

    /// How many of the oldest batches of `stream` in the tail make a volume: whole runs, none that still grows, and enough of them in
    /// bytes or in number to be worth a file.
    fn foldable(&self, stream: Stream) -> usize {
        let batches = &self.lines[stream.index()].tail;
        let is_enough = |batches: &[Batch]| {
            let bytes: u64 = batches.iter().map(|batch| u64::from(batch.place.length)).sum();
            // When the tail is full by number, one stream at least has its share of it.
            bytes >= self.settings.fold_bytes_min || batches.len() >= TAIL_BATCH_COUNT_MAX / STREAM_COUNT
        };
        let open = closed_count(batches);
        // A run that fills the tail by itself is cut: better in two volumes than in none.
        let end = [open, batches.len()].into_iter().find(|end| is_enough(&batches[..*end])).unwrap_or(0);
        whole_volume(&batches[..end])
    }

    /// The stream with the most bytes in runs that no longer grow, and how many of its batches those are. The dictionary is short,
    /// and stays where no eviction gets to it.
    fn largest_closed(&self) -> Option<(Stream, usize)> {
        let streams = Stream::ALL.into_iter().filter(|stream| *stream != Stream::Dictionary);
        let closed = streams.map(|stream| {
            let batches = &self.lines[stream.index()].tail;
            let count = closed_count(batches);
            let count = whole_volume(&batches[..count]);
            (batches[..count].iter().map(|batch| u64::from(batch.place.length)).sum::<u64>(), (stream, count))
        });
        closed.filter(|(bytes, _)| *bytes > 0).max().map(|(_, found)| found)
    }

    fn fold_stream(&mut self, now: Stamp, stream: Stream, count: usize) -> io::Result<()> {
        let batches: Vec<Batch> = self.lines[stream.index()].tail[..count].to_vec();
        let range = SeqRange { first: batches[0].seq, last: batches[count - 1].seq };
        let name = Name { journal: self.id, stream, range, span_s: self.span_s(&batches)? };
        loop {
            let mut rest = batches.iter();
            let tail = &self.tail;
            let written = volume::write(&self.folder, name, |record| {
                for batch in rest.by_ref() {
                    match tail.read(batch.place, record) {
                        Ok(()) => return Ok(Some(batch.seq)),
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
                    self.lines[stream.index()].tail.drain(..count);
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

    /// Recorded time of consecutive batches: from stamp to stamp, as long as it is the same boot's.
    fn span_s(&self, batches: &[Batch]) -> io::Result<u32> {
        let (mut span_ms, mut before, mut body) = (0, None::<Stamp>, Vec::new());
        for batch in batches {
            match self.tail.read(batch.place, &mut body) {
                Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
                _ => {}
            }
            let Ok(record) = Record::open(&body) else { continue };
            let stamp = record.header.stamp;
            if let Some(before) = before.filter(|before| before.boot == stamp.boot) {
                span_ms += (stamp.uptime - before.uptime).0;
            }
            before = Some(stamp);
        }
        Ok(u32::try_from(span_ms / 1000).unwrap_or(u32::MAX))
    }

    fn carried_bytes(&self) -> u64 {
        let batches = self.lines.iter().flat_map(|line| &line.tail);
        batches.map(|batch| HEAD_BYTES as u64 + u64::from(batch.place.length)).sum()
    }

    /// What must leave the tail so that its next generation begins at most half full, although no volume took it: the oldest,
    /// bulk before urgent, and of what is urgent nothing that is unsent. Returns, per stream, how many of its oldest batches go.
    fn shed(&self) -> Vec<(Stream, usize)> {
        let mut excess = self.carried_bytes().saturating_sub(self.tail.bytes_max() / 2);
        let mut shed = Vec::new();
        for stream in Stream::ALL.into_iter().rev() {
            if excess == 0 {
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
                if excess == 0 && last_run != Some(batch.run) {
                    break;
                }
                last_run = Some(batch.run);
                excess = excess.saturating_sub(HEAD_BYTES as u64 + u64::from(batch.place.length));
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
        for (stream, count) in shed {
            skip[stream.index()] = *count;
            let line = &self.lines[stream.index()];
            for range in unsent(line.tail[..*count].iter().map(|batch| batch.seq), &line.done) {
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
        let kept = || self.lines.iter().zip(skip).flat_map(|(line, skip)| &line.tail[skip..]);
        let mut restart = self.tail.restart(&self.id.0.to_le_bytes(), kept().map(|batch| batch.place))?;
        for slot in slots.iter().filter(|slot| slot.len() > 1) {
            restart.put(Kind::Slot, slot)?;
        }
        let mut tails: [Vec<Batch>; STREAM_COUNT] = Default::default();
        let mut body = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            for batch in &line.tail[skip[index]..] {
                match restart.carry(batch.place, &mut body) {
                    Ok(place) => tails[index].push(Batch { place, ..*batch }),
                    // Damaged in both files: found missing later, and said then.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Err(error) => return Err(error),
                }
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

/// How many of these batches one volume takes: whole runs, if one of them ends inside it.
fn whole_volume(batches: &[Batch]) -> usize {
    let mut bytes = 0;
    let fits = batches.partition_point(|batch| {
        bytes += HEAD_BYTES as u64 + u64::from(batch.place.length);
        bytes <= VOLUME_BYTES_MAX
    });
    match batches.get(fits) {
        None => fits,
        Some(next) => match batches.partition_point(|batch| batch.run < next.run) {
            0 => fits.max(1),
            whole => whole,
        },
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
