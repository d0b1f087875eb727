//! A journal as whoever only looks sees it: beside an agent that runs, after it stopped, or in a copy of its folder.
//!
//! ```text
//! open    tail.a, tail.b -> one whole generation, in memory        then the names of the volumes
//! walk    of one stream: volumes and tail in the order of their numbers, one volume open at a time
//! ```
//!
//! Nothing is written, locked or repaired. The agent may go on meanwhile:
//!
//! - What a fold moves is in the tail first and in a volume then. So the tail is read before the volumes are listed, and what both
//!   hold is seen once.
//! - A tail whose generation changes while it is read, and a volume that is gone when it is opened, are looked for again, a bounded
//!   number of times.
//!
//! In memory are the tail and one volume, both bounded by the journal's settings.

#[cfg(test)]
mod fixture;
mod tail;
mod verify;

pub use tail::TailHealth;
pub use verify::{Cut, Part, Verdict};

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use disk::Folder;
use wire::id::{JournalId, Seq};
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::{Shelf, Stream};
use wire::time::Stamp;

use self::tail::{Batch, Tail};
use crate::entry::Unreadable;
use crate::volume::{Name, Reader, Total, VolumeError, carve};
use crate::wear::Wear;

/// How often a tail that changes is read. A fold writes each of its files once, and is over by then.
const ATTEMPT_COUNT_MAX: u32 = 8;

/// How often the volumes are listed again in one walk. Each time the agent has evicted or replaced one under our eyes.
const LISTING_COUNT_MAX: u32 = 256;

/// A journal's folder, looked at.
#[derive(Debug)]
pub struct Inspection {
    folder: Folder,
    unreadable: Unreadable,
    id: JournalId,
    tail: Tail,
    /// By shelf, then by number.
    volumes: Vec<Volume>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Volume {
    name: Name,
    bytes: u64,
}

/// What a journal holds of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Batches in volumes and in the tail.
    pub batch_count: u64,
    /// The lowest number of them.
    pub first: Option<Seq>,
    /// The highest.
    pub last: Option<Seq>,
    /// Bytes of the batches in volumes, with what lies around each of them.
    pub volume_bytes: u64,
    /// Bytes of the batches in the tail, heads included, counted once.
    pub tail_bytes: u64,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the tail.
    Tail,
    /// In this volume.
    Volume(Name),
}

/// What a walk comes by.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A batch that is whole.
    Batch(Record<'a>),
    /// This volume's pages are damaged: redb does not find all that is in it. What its bytes still hold follows.
    Broken,
    /// Of this batch the number is left and no more.
    Damaged(Seq),
    /// A volume that was there and is not any more: the agent evicted it, or put another in its place.
    Gone(SeqRange),
    /// What follows lies here.
    Open {
        /// Where.
        source: Source,
        /// Bytes of the volume's file, or of the tail's batches of the stream.
        bytes: u64,
    },
    /// The disk refuses to read what is left of a volume. Only when that was not to end the walk.
    Unread,
}

impl Inspection {
    /// Looks at the journal in `folder`. `unreadable` says whether what the disk refuses to read ends this and every walk, or is
    /// passed over and said so.
    ///
    /// Errors: of kind `NotFound`, the folder holds no journal; otherwise the disk refuses to read, or the tail changes faster than it can
    /// be read.
    pub fn open(folder: Folder, unreadable: Unreadable) -> io::Result<Inspection> {
        for attempt in 1..=ATTEMPT_COUNT_MAX {
            let before = list(&folder)?;
            let Some(tail) = Tail::read(&folder, unreadable, attempt == ATTEMPT_COUNT_MAX)? else { continue };
            let mut volumes = list(&folder)?;
            if before != volumes && attempt < ATTEMPT_COUNT_MAX {
                continue;
            }
            let of_volumes = volumes.last().map(|volume| volume.name.journal);
            let Some(id) = tail.id.or(of_volumes) else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "there is no journal in this folder"));
            };
            volumes.retain(|volume| volume.name.journal == id);
            return Ok(Inspection { folder, unreadable, id, tail, volumes });
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the journal changes faster than it can be read: try again"))
    }

    /// Which life of the journal this is.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// What was written over all lives of the journal, as of its last commit but one.
    pub fn wear(&self) -> &Wear {
        &self.tail.wear
    }

    /// Bytes of everything in the folder.
    pub fn folder_bytes(&self) -> io::Result<u64> {
        let names = self.folder.list()?;
        // One that is gone takes no room.
        Ok(names.iter().filter_map(|name| self.folder.open(name).and_then(|file| file.len()).ok()).sum())
    }

    /// Bytes that walks through all streams read.
    pub fn held_bytes(&self) -> u64 {
        let of_volumes = self.volumes.iter().map(|volume| volume.name.ranges().count() as u64 * volume.bytes);
        of_volumes.sum::<u64>() + self.tail.bytes.len() as u64
    }

    /// How many volumes a shelf has, and the bytes of their files.
    pub fn volumes(&self, shelf: Shelf) -> (usize, u64) {
        let of_shelf = self.volumes.iter().filter(|volume| volume.name.shelf == shelf);
        of_shelf.fold((0, 0), |(count, bytes), volume| (count + 1, bytes + volume.bytes))
    }

    /// What there is of `stream`. Batches of a volume are counted as it says; none is read.
    ///
    /// Errors: the disk refuses to read.
    pub fn stat(&self, stream: Stream) -> io::Result<Stat> {
        let batches = self.tail.of(stream);
        let mut stat = Stat {
            batch_count: batches.len() as u64,
            first: batches.first().map(|batch| batch.seq),
            last: batches.last().map(|batch| batch.seq),
            tail_bytes: batches.iter().map(Batch::entry_bytes).sum(),
            ..Stat::default()
        };
        for (range, Volume { name, .. }) in of(&self.volumes, stream) {
            let total = match Reader::open(&self.folder, name).and_then(|reader| reader.total(stream)) {
                Ok(total) => total,
                Err(VolumeError::Damaged) => match Contents::read(&self.folder, name, stream, self.unreadable)? {
                    Some(contents) => contents.total(),
                    None => continue,
                },
                Err(VolumeError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(VolumeError::Io(_)) if self.unreadable == Unreadable::Lost => Total::default(),
                Err(VolumeError::Io(error)) => return Err(error),
            };
            stat.batch_count += total.batch_count;
            stat.first = Some(stat.first.map_or(range.first, |first| first.min(range.first)));
            stat.last = stat.last.max(Some(range.last));
            stat.volume_bytes += total.bytes;
        }
        Ok(stat)
    }

    /// The run to begin with for whoever wants what is not `before` a moment: the newest one that begins a volume, or the tail, and is.
    /// Zero when there is none.
    ///
    /// Errors: the disk refuses to read.
    pub fn run_before(&self, stream: Stream, before: impl Fn(Stamp) -> bool) -> io::Result<Seq> {
        let of_tail = self.tail.of(stream).first().map(|batch| batch.seq);
        let of_volumes = of(&self.volumes, stream).into_iter().map(|(range, _)| range.first);
        let mut starts: Vec<Seq> = of_volumes.chain(of_tail).collect();
        starts.sort();
        while let Some(start) = starts.pop() {
            let mut run = None;
            let ended = self.walk(stream, start, &mut |step| match step {
                Step::Batch(record) => {
                    run = before(record.header.stamp).then_some(record.header.run);
                    Err(io::ErrorKind::Interrupted.into())
                }
                _ => Ok(()),
            });
            match ended {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if let Some(run) = run {
                return Ok(run);
            }
        }
        Ok(Seq(0))
    }

    /// Hands `each` what there is of `stream` from number `from` on, lowest first. A number is seen once.
    ///
    /// Errors: what `each` says, at once; or the disk refuses to read.
    pub fn walk(&self, stream: Stream, from: Seq, each: &mut dyn FnMut(Step<'_>) -> io::Result<()>) -> io::Result<()> {
        let tail = self.tail.of(stream);
        let mut volumes = of(&self.volumes, stream);
        let (mut position, mut in_tail, mut listing_count, mut is_in_tail) = (from, 0, 0, false);
        loop {
            volumes.retain(|(range, _)| range.last >= position);
            in_tail += tail[in_tail..].partition_point(|batch| batch.seq < position);
            match (volumes.first().copied(), tail.get(in_tail)) {
                (None, None) => return Ok(()),
                (volume, Some(batch)) if volume.is_none_or(|(range, _)| batch.seq < range.first) => {
                    if !is_in_tail {
                        let bytes = tail.iter().map(Batch::entry_bytes).sum();
                        each(Step::Open { source: Source::Tail, bytes })?;
                        is_in_tail = true;
                    }
                    let record = Record::open(&self.tail.bytes[batch.start..batch.end]);
                    each(record.map_or(Step::Damaged(batch.seq), Step::Batch))?;
                    position = Seq(batch.seq.0.saturating_add(1));
                    in_tail += 1;
                }
                (Some((range, volume)), _) => {
                    volumes.remove(0);
                    is_in_tail = false;
                    if !self.walk_volume(volume, stream, &mut position, each)? {
                        listing_count += 1;
                        if listing_count > LISTING_COUNT_MAX {
                            let why = "volumes go faster than they can be read: try again";
                            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
                        }
                        each(Step::Gone(range))?;
                        let mut listed = list(&self.folder)?;
                        listed.retain(|volume| volume.name.journal == self.id);
                        volumes = of(&listed, stream);
                    }
                }
                (None, Some(_)) => unreachable!("without a volume the tail is next"),
            }
        }
    }

    /// Walks one stream of a volume and moves `position` behind what was seen. `false` when it is gone.
    fn walk_volume(
        &self,
        Volume { name, bytes }: Volume,
        stream: Stream,
        position: &mut Seq,
        each: &mut dyn FnMut(Step<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some(contents) = Contents::read(&self.folder, name, stream, self.unreadable)? else { return Ok(false) };
        each(Step::Open { source: Source::Volume(name), bytes })?;
        if contents.is_broken {
            each(Step::Broken)?;
        }
        if contents.is_unread {
            each(Step::Unread)?;
        }
        for seq in contents.seqs.range(*position..) {
            let opened = contents.whole.get(seq).and_then(|record| Record::open(record).ok());
            each(opened.map_or(Step::Damaged(*seq), Step::Batch))?;
            *position = Seq(seq.0.saturating_add(1));
        }
        Ok(true)
    }
}

/// Volumes by shelf, then by number.
fn list(folder: &Folder) -> io::Result<Vec<Volume>> {
    let mut volumes = Vec::new();
    for name in folder.list()?.iter().filter_map(|name| Name::parse(name)) {
        match folder.open(&name.to_file_name()).and_then(|file| file.len()) {
            Ok(bytes) => volumes.push(Volume { name, bytes }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Said when it is read.
            Err(_) => volumes.push(Volume { name, bytes: 0 }),
        }
    }
    volumes.sort_by_key(|volume| (volume.name.shelf, volume.name.number));
    Ok(volumes)
}

/// Those with batches of one stream, and which numbers of it: lowest first.
fn of(volumes: &[Volume], stream: Stream) -> Vec<(SeqRange, Volume)> {
    let ranges = volumes.iter().filter_map(|volume| Some((volume.name.range(stream)?, *volume)));
    let mut found: Vec<(SeqRange, Volume)> = ranges.collect();
    found.sort_by_key(|(range, _)| (range.first, range.last));
    found
}

/// What a volume yields of one stream. A page that is damaged may hide whole batches from redb, so its bytes are searched as well.
struct Contents {
    /// Every whole batch in its bytes.
    whole: BTreeMap<Seq, Vec<u8>>,
    /// Their numbers, and those of which redb knows nothing more.
    seqs: BTreeSet<Seq>,
    is_broken: bool,
    is_unread: bool,
}

impl Contents {
    /// `None` when the volume is gone.
    fn read(folder: &Folder, name: Name, stream: Stream, unreadable: Unreadable) -> io::Result<Option<Contents>> {
        let mut contents =
            Contents { whole: BTreeMap::new(), seqs: BTreeSet::new(), is_broken: false, is_unread: false };
        let searched = carve(folder, name, unreadable, |bytes, record| {
            if record.header.stream == stream {
                contents.whole.entry(record.header.seq).or_insert_with(|| bytes.to_vec());
            }
        });
        let listed = match searched.map_err(VolumeError::Io) {
            Ok(()) => contents.list(folder, name, stream),
            Err(error) => Err(error),
        };
        match listed {
            Ok(()) => {}
            Err(VolumeError::Damaged) => contents.is_broken = true,
            Err(VolumeError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(VolumeError::Io(_)) if unreadable == Unreadable::Lost => contents.is_unread = true,
            Err(VolumeError::Io(error)) => return Err(error),
        }
        contents.is_broken |= contents.whole.keys().any(|seq| !contents.seqs.contains(seq));
        contents.seqs.extend(contents.whole.keys());
        Ok(Some(contents))
    }

    /// Asks redb for every number.
    fn list(&mut self, folder: &Folder, name: Name, stream: Stream) -> Result<(), VolumeError> {
        let mut listed = Vec::new();
        let result = Reader::open(folder, name).and_then(|reader| reader.list(&mut listed));
        let count = listed.len();
        listed.retain(|(of, seq)| name.covers(*of, *seq));
        let is_ours = listed.len() == count;
        self.seqs.extend(listed.into_iter().filter(|(of, _)| *of == stream).map(|(_, seq)| seq));
        if is_ours { result } else { Err(VolumeError::Damaged) }
    }

    fn total(&self) -> Total {
        self.whole.values().fold(Total::default(), |total, record| total.with(record))
    }
}

fn is_in(range: SeqRange, seq: Seq) -> bool {
    range.first <= seq && seq <= range.last
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::Directory;
    use disk::memory::Memory;
    use wire::class::Class;
    use wire::time::Instant;

    use super::fixture::{appended, first_volume, image, inspection, journal, payload, stamp, verified, walked};
    use super::*;

    #[test]
    fn a_journal_that_is_open_elsewhere_is_seen_whole_and_not_changed() {
        let memory = Arc::new(Memory::default());
        // Its last six batches are not committed.
        let journal = journal(&memory, 1000);
        let before = image(&memory);
        let inspection = inspection(&memory);
        assert_eq!(inspection.id(), journal.id());
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..994));
        assert_eq!(walked(&inspection, Stream::Event, 500), appended(500..994));
        let stat = inspection.stat(Stream::Event).unwrap();
        assert_eq!((stat.batch_count, stat.first, stat.last), (994, Some(Seq(0)), Some(Seq(993))));
        let (volume_count, volume_bytes) = inspection.volumes(Shelf::Event);
        assert_eq!((volume_count, volume_bytes), (journal.stat().volume_count, journal.stat().volume_bytes));
        assert!(volume_count > 2 && stat.tail_bytes > 0 && stat.volume_bytes > 100 << 10, "{stat:?}");
        assert!(stat.volume_bytes < volume_bytes);
        assert_eq!(inspection.stat(Stream::raw(Class::Normal)).unwrap(), Stat::default());
        let (verdict, parts) = verified(&inspection);
        assert!(verdict.is_sound, "{verdict:?} {parts:?}");
        assert_eq!((verdict.whole_count, verdict.volume_count), (994, volume_count as u64));
        assert_eq!(parts.len(), volume_count + 1);
        assert_eq!(image(&memory), before);
        drop(journal);
    }

    #[test]
    fn what_a_fold_moves_and_evicts_under_our_eyes_is_seen_once() {
        let memory = Arc::new(Memory::default());
        let mut journal = journal(&memory, 1000);
        let inspection = inspection(&memory);
        let evicted = first_volume(&memory).range(Stream::Event).unwrap();
        let (mut seen, mut gone, mut number) = (Vec::new(), Vec::new(), 1000);
        inspection
            .walk(Stream::Event, Seq(0), &mut |step| {
                match step {
                    Step::Batch(record) => seen.push(record.header.seq.0),
                    Step::Gone(range) => gone.push(range),
                    _ => {}
                }
                if gone.is_empty() && seen.is_empty() {
                    let second = memory.list().unwrap().into_iter().filter(|name| name.starts_with('v')).nth(1);
                    memory.remove(&second.unwrap()).unwrap();
                }
                // Enough for the tail's next generations.
                if number < 2000 {
                    journal.append(stamp(number), Stream::Event, None, stamp(number), &payload(number), false).unwrap();
                    journal.commit(stamp(number)).unwrap();
                    number += 1;
                }
                Ok(())
            })
            .unwrap();
        assert!(gone.len() == 1 && gone[0].first.0 == evicted.last.0 + 1, "{gone:?}");
        let expected: Vec<u64> = (0..=evicted.last.0).chain(gone[0].last.0 + 1..994).collect();
        assert!(seen.starts_with(&expected), "{seen:?}");
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_newest_place_that_begins_before_a_moment_is_found() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let inspection = inspection(&memory);
        let before = |second| inspection.run_before(Stream::Event, |at| at.uptime < Instant(second * 1000)).unwrap();
        assert_eq!(before(0), Seq(0));
        let of_tail = inspection.tail.of(Stream::Event)[0].seq;
        assert_eq!(before(10_000), of_tail);
        assert_eq!(
            before(of_tail.0),
            Name::parse(memory.list().unwrap().iter().rfind(|name| name.starts_with('v')).unwrap())
                .unwrap()
                .range(Stream::Event)
                .unwrap()
                .first
        );
    }

    #[test]
    fn a_folder_without_a_journal_is_said_to_be_one() {
        let error = Inspection::open(Arc::new(Memory::default()), Unreadable::Lost).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no journal in this folder");
    }
}
