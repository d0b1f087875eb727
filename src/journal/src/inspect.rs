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

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use disk::{File, Folder};
use wire::batch::{self, TickReader};
use wire::id::{JournalId, Seq};
use wire::ranges::{RangeSet, SeqRange, subtract};
use wire::record::Record;
use wire::stream::{Lane, STREAM_COUNT, Stream};
use wire::time::Stamp;
use wire::window::WindowReader;

use crate::entry::{self, HEAD_BYTES, Kind, Unreadable};
use crate::journal::{STATE_SLOT, WEAR_SLOT};
use crate::tail::{self, Found, damage, join, keep, open_if_there, read_from, whole_generation};
use crate::volume::{Name, Reader, VolumeError, carve};
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
    /// By stream, then by first number.
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
    /// How many volumes there are.
    pub volume_count: usize,
    /// Bytes of their files.
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

/// What [`Inspection::verify`] found in one volume, or of one stream in the tail.
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
        self.volumes.iter().map(|volume| volume.bytes).sum::<u64>() + self.tail.bytes.len() as u64
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
        for Volume { name, bytes } in self.volumes.iter().filter(|volume| volume.name.stream == stream) {
            let count = match Reader::open(&self.folder, *name).and_then(|reader| reader.count()) {
                Ok(count) => count,
                Err(VolumeError::Damaged) => match Contents::read(&self.folder, *name, self.unreadable)? {
                    Some(contents) => contents.whole.len() as u64,
                    None => continue,
                },
                Err(VolumeError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(VolumeError::Io(_)) if self.unreadable == Unreadable::Lost => 0,
                Err(VolumeError::Io(error)) => return Err(error),
            };
            stat.batch_count += count;
            stat.first = Some(stat.first.map_or(name.range.first, |first| first.min(name.range.first)));
            stat.last = stat.last.max(Some(name.range.last));
            stat.volume_count += 1;
            stat.volume_bytes += bytes;
        }
        Ok(stat)
    }

    /// The run to begin with for whoever wants what is not `before` a moment: the newest one that begins a volume, or the tail, and is.
    /// Zero when there is none.
    ///
    /// Errors: the disk refuses to read.
    pub fn run_before(&self, stream: Stream, before: impl Fn(Stamp) -> bool) -> io::Result<Seq> {
        let volumes = self.volumes.iter().filter(|volume| volume.name.stream == stream);
        let of_tail = self.tail.of(stream).first().map(|batch| batch.seq);
        let mut starts: Vec<Seq> = volumes.map(|volume| volume.name.range.first).chain(of_tail).collect();
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
        let of_stream = |volumes: &[Volume]| -> Vec<Volume> {
            volumes.iter().filter(|of| of.name.stream == stream && of.name.journal == self.id).copied().collect()
        };
        let tail = self.tail.of(stream);
        let mut volumes = of_stream(&self.volumes);
        let (mut position, mut in_tail, mut listing_count, mut is_in_tail) = (from, 0, 0, false);
        loop {
            volumes.retain(|volume| volume.name.range.last >= position);
            in_tail += tail[in_tail..].partition_point(|batch| batch.seq < position);
            match (volumes.first().copied(), tail.get(in_tail)) {
                (None, None) => return Ok(()),
                (volume, Some(batch)) if volume.is_none_or(|volume| batch.seq < volume.name.range.first) => {
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
                (Some(volume), _) => {
                    volumes.remove(0);
                    is_in_tail = false;
                    if !self.walk_volume(volume, &mut position, each)? {
                        listing_count += 1;
                        if listing_count > LISTING_COUNT_MAX {
                            let why = "volumes go faster than they can be read: try again";
                            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
                        }
                        each(Step::Gone(volume.name.range))?;
                        volumes = of_stream(&list(&self.folder)?);
                    }
                }
                (None, Some(_)) => unreachable!("without a volume the tail is next"),
            }
        }
    }

    /// Walks one volume and moves `position` behind what was seen. `false` when it is gone.
    fn walk_volume(
        &self,
        Volume { name, bytes }: Volume,
        position: &mut Seq,
        each: &mut dyn FnMut(Step<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some(contents) = Contents::read(&self.folder, name, self.unreadable)? else { return Ok(false) };
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

    /// Reads every batch, checks it and decodes it, and hands `each` what was found in each volume, and of each stream in the tail.
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
        for stream in Stream::ALL {
            let mut check = Check::new(stream, self.tail.lines[stream.index()].as_ref());
            let mut end_part = |check: &mut Check<'_>| {
                let Some(part) = check.part.take() else { return };
                verdict.volume_count += u64::from(part.source != Source::Tail);
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

impl TailHealth {
    /// Whether nothing is wrong with either file.
    pub fn is_sound(&self) -> bool {
        self.is_whole
            && self.lacking_counts == [0, 0]
            && [self.hole_bytes, self.unread_bytes, self.unknown_count] == [0, 0, 0]
    }
}

/// Volumes by stream, then by first number.
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
    volumes.sort_by_key(|volume| (volume.name.stream, volume.name.range.first, volume.name.range.last));
    Ok(volumes)
}

/// What a volume yields. A page that is damaged may hide whole batches from redb, so its bytes are searched as well.
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
    fn read(folder: &Folder, name: Name, unreadable: Unreadable) -> io::Result<Option<Contents>> {
        let mut contents =
            Contents { whole: BTreeMap::new(), seqs: BTreeSet::new(), is_broken: false, is_unread: false };
        let searched = carve(folder, name, unreadable, |body| {
            let opened = Record::open(body).ok().map(|record| record.header);
            if let Some(header) = opened.filter(|of| of.stream == name.stream && is_in(name.range, of.seq)) {
                contents.whole.entry(header.seq).or_insert_with(|| body.to_vec());
            }
        });
        let listed = match searched.map_err(VolumeError::Io) {
            Ok(()) => contents.list(folder, name),
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
    fn list(&mut self, folder: &Folder, name: Name) -> Result<(), VolumeError> {
        let mut listed = Vec::new();
        let result = Reader::open(folder, name).and_then(|reader| reader.list(&mut listed));
        let is_ours = listed.iter().all(|seq| is_in(name.range, *seq));
        self.seqs.extend(listed.into_iter().filter(|seq| is_in(name.range, *seq)));
        if is_ours { result } else { Err(VolumeError::Damaged) }
    }
}

fn is_in(range: SeqRange, seq: Seq) -> bool {
    range.first <= seq && seq <= range.last
}

fn extend(ranges: &mut Vec<SeqRange>, seq: Seq) {
    match ranges.last_mut() {
        Some(range) if range.last.0.checked_add(1) == Some(seq.0) => range.last = seq,
        _ => ranges.push(SeqRange { first: seq, last: seq }),
    }
}

/// The tail at one moment.
#[derive(Debug)]
struct Tail {
    id: Option<JournalId>,
    /// Records, one after the other.
    bytes: Vec<u8>,
    /// By stream, then by number.
    batches: Vec<Batch>,
    /// The next number of each stream and what is done of it, as far as the journal said.
    lines: [Option<(Seq, RangeSet)>; STREAM_COUNT],
    wear: Wear,
    health: TailHealth,
}

/// Where a record lies in [`Tail::bytes`].
#[derive(Clone, Copy, Debug)]
struct Batch {
    stream: Stream,
    seq: Seq,
    start: usize,
    end: usize,
}

impl Batch {
    fn entry_bytes(&self) -> u64 {
        (HEAD_BYTES + self.end - self.start) as u64
    }
}

impl Tail {
    /// Reads both files. `None` when they change meanwhile, or seem to; `is_last` takes them as they are.
    fn read(folder: &Folder, unreadable: Unreadable, is_last: bool) -> io::Result<Option<Tail>> {
        let [a, b] = tail::NAMES.map(|name| open_if_there(folder, name));
        let copies = [a?, b?];
        let mut found: [Vec<Found>; 2] = [Vec::new(), Vec::new()];
        let mut unread_bytes = 0;
        for (copy, file) in copies.iter().enumerate() {
            if let Some(file) = file {
                unread_bytes += entry::scan(&**file, unreadable, |offset, head, _| {
                    found[copy].push(Found { offset, head, copies: [copy == 0, copy == 1] });
                })?;
            }
        }
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

    fn of(&self, stream: Stream) -> &[Batch] {
        let start = self.batches.partition_point(|batch| batch.stream < stream);
        let end = self.batches.partition_point(|batch| batch.stream <= stream);
        &self.batches[start..end]
    }
}

/// Entries that a file lacks amid those that it has. What it lacks behind them is being written, or it failed and is made anew.
fn lacking_count(kept: &[Found], copy: usize) -> u64 {
    let end = kept.iter().rposition(|found| found.copies[copy]).unwrap_or(0);
    kept[..end].iter().filter(|found| !found.copies[copy]).count() as u64
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
            Stream::Raw => self.ticks.get_or_insert_default().read(payload, is_keyframe, |_, _| {}).is_ok(),
            Stream::Day | Stream::Hour | Stream::FiveMinutes | Stream::Minute => {
                self.windows.get_or_insert_default().check(payload, is_keyframe).is_ok()
            }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, MutexGuard};

    use disk::Directory;
    use wire::event::{self, Event};
    use wire::time::{BootId, Instant, Span, UnixTime};

    use super::*;
    use crate::journal::{Journal, Settings};
    use crate::volume;

    type Bytes = Arc<Mutex<Vec<u8>>>;

    /// A folder in memory.
    #[derive(Debug, Default)]
    struct Memory(Mutex<BTreeMap<String, Bytes>>);

    #[derive(Debug)]
    struct MemoryFile(Bytes);

    impl Memory {
        fn files(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
            self.0.lock().unwrap()
        }

        /// Every file and what is in it.
        fn image(&self) -> BTreeMap<String, Vec<u8>> {
            self.files().iter().map(|(name, bytes)| (name.clone(), bytes.lock().unwrap().clone())).collect()
        }

        fn flip(&self, name: &str, offset: usize) {
            self.files()[name].lock().unwrap()[offset] ^= 0x10;
        }

        fn with(image: &BTreeMap<String, Vec<u8>>) -> Arc<Memory> {
            let files = image.iter().map(|(name, bytes)| (name.clone(), Arc::new(Mutex::new(bytes.clone()))));
            Arc::new(Memory(Mutex::new(files.collect())))
        }
    }

    impl Directory for Memory {
        fn list(&self) -> io::Result<Vec<String>> {
            Ok(self.files().keys().cloned().collect())
        }
        fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
            let found = self.files().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(MemoryFile(found)))
        }
        fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.files().insert(name.to_owned(), Bytes::default());
            self.open(name)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            let file = self.files().remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.files().insert(to.to_owned(), file);
            Ok(())
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.files().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(1 << 30)
        }
    }

    impl File for MemoryFile {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().unwrap().len() as u64)
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let bytes = self.0.lock().unwrap();
            let end = offset as usize + buffer.len();
            buffer.copy_from_slice(bytes.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
        fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<()> {
            let mut bytes = self.0.lock().unwrap();
            let end = offset as usize + written.len();
            let length = bytes.len().max(end);
            bytes.resize(length, 0);
            bytes[offset as usize..end].copy_from_slice(written);
            Ok(())
        }
        fn set_len(&self, count: u64) -> io::Result<()> {
            self.0.lock().unwrap().resize(count as usize, 0);
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const SETTINGS: Settings = Settings {
        bytes_max: 8 << 20,
        tail_bytes_max: 64 << 10,
        fold_bytes_min: 16 << 10,
        done_bytes_max: 4 << 20,
        ..Settings::DEFAULT
    };

    fn stamp(second: u64) -> Stamp {
        Stamp {
            boot: BootId(7),
            uptime: Instant(second * 1000),
            unix: Some(UnixTime(1_767_225_600_000 + second * 1000)),
        }
    }

    /// A batch of an event with a text that no two of them share.
    fn payload(number: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        let text = format!("{number} {}", "x".repeat(100 + number as usize % 90));
        batch::put_event(Span(0), &Event::StorageFailed { error: event::text(&text) }, &mut payload);
        payload
    }

    /// A journal with so many batches of events, some of them in volumes.
    fn journal(memory: &Arc<Memory>, batch_count: u64) -> Journal {
        let mut journal = Journal::open(memory.clone(), SETTINGS, 5, stamp(0)).unwrap();
        for number in 0..batch_count {
            let at = stamp(number);
            journal.append(at, Stream::Event, None, at, &payload(number), false).unwrap();
            if number % 7 == 6 {
                journal.commit(at).unwrap();
            }
        }
        journal
    }

    fn inspection(memory: &Arc<Memory>) -> Inspection {
        Inspection::open(memory.clone(), Unreadable::Refused).unwrap()
    }

    /// The number and the payload of every whole batch.
    fn walked(inspection: &Inspection, stream: Stream, from: u64) -> Vec<(u64, Vec<u8>)> {
        let mut seen = Vec::new();
        let each = &mut |step: Step<'_>| {
            if let Step::Batch(record) = step {
                seen.push((record.header.seq.0, record.payload(&mut Vec::new()).unwrap().to_vec()));
            }
            Ok(())
        };
        inspection.walk(stream, Seq(from), each).unwrap();
        seen
    }

    fn appended(range: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
        range.map(|number| (number, payload(number))).collect()
    }

    fn verified(inspection: &Inspection) -> (Verdict, Vec<Part>) {
        let mut parts = Vec::new();
        let verdict = inspection.verify(|part| parts.push(part.clone())).unwrap();
        (verdict, parts)
    }

    fn first_volume(memory: &Memory) -> Name {
        memory.files().keys().filter_map(|name| Name::parse(name)).next().unwrap()
    }

    #[test]
    fn a_journal_that_is_open_elsewhere_is_seen_whole_and_not_changed() {
        let memory = Arc::new(Memory::default());
        // Its last six batches are not committed.
        let journal = journal(&memory, 1000);
        let before = memory.image();
        let inspection = inspection(&memory);
        assert_eq!(inspection.id(), journal.id());
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..994));
        assert_eq!(walked(&inspection, Stream::Event, 500), appended(500..994));
        let stat = inspection.stat(Stream::Event).unwrap();
        assert_eq!((stat.batch_count, stat.first, stat.last), (994, Some(Seq(0)), Some(Seq(993))));
        assert_eq!((stat.volume_count, stat.volume_bytes), (journal.stat().volume_count, journal.stat().volume_bytes));
        assert!(stat.volume_count > 2 && stat.tail_bytes > 0, "{stat:?}");
        assert_eq!(inspection.stat(Stream::Raw).unwrap(), Stat::default());
        let (verdict, parts) = verified(&inspection);
        assert!(verdict.is_sound, "{verdict:?} {parts:?}");
        assert_eq!((verdict.whole_count, verdict.volume_count), (994, stat.volume_count as u64));
        assert_eq!(parts.len(), stat.volume_count + 1);
        assert_eq!(memory.image(), before);
        drop(journal);
    }

    #[test]
    fn what_a_fold_moves_and_evicts_under_our_eyes_is_seen_once() {
        let memory = Arc::new(Memory::default());
        let mut journal = journal(&memory, 1000);
        let inspection = inspection(&memory);
        let evicted = first_volume(&memory).range;
        let (mut seen, mut gone, mut number) = (Vec::new(), Vec::new(), 1000);
        inspection
            .walk(Stream::Event, Seq(0), &mut |step| {
                match step {
                    Step::Batch(record) => seen.push(record.header.seq.0),
                    Step::Gone(range) => gone.push(range),
                    _ => {}
                }
                if gone.is_empty() && seen.is_empty() {
                    let second = memory.files().keys().filter(|name| name.starts_with('v')).nth(1).cloned();
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
    fn a_flipped_byte_in_a_volume_is_named_or_does_no_harm() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let name = first_volume(&memory);
        let image = memory.image();
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
            let memory = Memory::with(&image);
            memory.flip(&name.to_file_name(), offset);
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
        let bytes = memory.image()[&name.to_file_name()].clone();
        let needle = payload(40);
        let offset = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
        memory.flip(&name.to_file_name(), offset + 20);
        let (verdict, parts) = verified(&inspection(&memory));
        assert_eq!((verdict.is_sound, verdict.whole_count, verdict.damaged_count), (false, 699, 1));
        assert_eq!(parts[0].damaged, [SeqRange { first: Seq(40), last: Seq(40) }]);
        assert!(!parts[0].is_broken && verdict.missing.is_empty());
    }

    #[test]
    fn a_flipped_byte_in_one_file_of_the_tail_is_seen_and_costs_nothing() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 70));
        memory.flip("tail.b", 2000);
        let inspection = inspection(&memory);
        let (verdict, _) = verified(&inspection);
        assert_eq!((verdict.is_sound, verdict.whole_count), (false, 70));
        assert_eq!(verdict.tail.lacking_counts, [0, 1]);
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..70));
        // In both at one place it costs the batch.
        memory.flip("tail.a", 2000);
        let (verdict, _) = verified(&self::inspection(&memory));
        assert_eq!((verdict.whole_count, verdict.tail.lacking_counts, verdict.missing.len()), (69, [0, 0], 1));
        assert!(verdict.tail.hole_bytes > 100 && !verdict.is_sound);
    }

    #[test]
    fn without_a_whole_tail_there_is_still_what_volumes_and_entries_hold() {
        let memory = Arc::new(Memory::default());
        let id = journal(&memory, 700).id();
        // Both checkpoints.
        ["tail.a", "tail.b"].into_iter().for_each(|name| memory.flip(name, 30));
        let before = memory.image();
        let inspection = inspection(&memory);
        let (verdict, _) = verified(&inspection);
        assert_eq!((inspection.id(), verdict.is_sound, verdict.tail.is_whole), (id, false, false));
        assert_eq!(walked(&inspection, Stream::Event, 0), appended(0..700));
        assert_eq!(memory.image(), before);
    }

    #[test]
    fn a_volume_that_lacks_a_batch_nobody_speaks_of_is_not_sound() {
        let memory = Arc::new(Memory::default());
        drop(journal(&memory, 700));
        let name = first_volume(&memory);
        let held = walked(&inspection(&memory), Stream::Event, 0);
        let reader = Reader::open(&(memory.clone() as Folder), name).unwrap();
        let mut kept = (name.range.first.0..=name.range.last.0).filter(|seq| !(20..30).contains(seq));
        let folder: Folder = memory.clone();
        volume::write(&folder, name, |record| {
            let Some(seq) = kept.next() else { return Ok(None) };
            assert!(reader.read(Seq(seq), record).unwrap());
            Ok(Some(Seq(seq)))
        })
        .unwrap();
        let (verdict, _) = verified(&inspection(&memory));
        assert_eq!(verdict.missing, [(Stream::Event, SeqRange { first: Seq(20), last: Seq(29) })]);
        assert_eq!((verdict.is_sound, verdict.whole_count), (false, held.len() as u64 - 10));
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
            Seq(Name::parse(memory.list().unwrap().iter().rfind(|name| name.starts_with('v')).unwrap())
                .unwrap()
                .range
                .first
                .0)
        );
    }

    #[test]
    fn a_folder_without_a_journal_is_said_to_be_one() {
        let error = Inspection::open(Arc::new(Memory::default()), Unreadable::Lost).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no journal in this folder");
    }
}
