//! Opening: whatever is in the folder becomes a journal.

use std::collections::BTreeMap;
use std::io;

use disk::Folder;
use wire::event::LossReason;
use wire::id::{JournalId, Seq};
use wire::ranges::{RangeSet, SeqRange, subtract};
use wire::record::{Header, Record};
use wire::stream::{STREAM_COUNT, Shelf, Stream};
use wire::time::Stamp;

use super::{
    Batch, Journal, NAME_SLOT, OpenError, SLOT_BYTES_MAX, SLOT_COUNT, STATE_SLOT, Settings, Volume, WEAR_SLOT,
};
use crate::entry::{HEAD_BYTES, Kind, Unreadable};
use crate::tail::{Place, Tail};
use crate::volume::{Name, Reader, VolumeError};
use crate::wear::Wear;

/// The upper half of a number says how often the tail was lost before: its *era*. Numbers of a lost tail were of an earlier one.
/// At one batch a second an era lasts a century.
const ERA_BITS: u32 = 32;

/// An empty file that says by its name, `era-<journal>-<era>`, what must outlive even the tail.
const MARK_PREFIX: &str = "era-";

/// Room in a rescued tail for the slots and for the events that say what is lost.
const RESCUE_ROOM_BYTES: usize = 4 * SLOT_BYTES_MAX;

impl Journal {
    /// Opens the journal in `folder`, or starts one whose id comes from `seed`. Whatever is in the folder, damaged or not,
    /// it opens; what was lost is in events by then.
    ///
    /// Errors: the disk refuses a read or a write. Nothing is lost by that; try again later.
    pub fn open(folder: Folder, settings: Settings, seed: u64, now: Stamp) -> Result<Journal, OpenError> {
        Journal::open_with(folder, settings, seed, now, Unreadable::Refused)
    }

    /// As [`Journal::open`], but what the disk refuses to read is given up and said to be lost: for when it was tried
    /// for long enough.
    ///
    /// Errors: the disk refuses writes, or reads altogether.
    pub fn open_giving_up(folder: Folder, settings: Settings, seed: u64, now: Stamp) -> Result<Journal, OpenError> {
        Journal::open_with(folder, settings, seed, now, Unreadable::Lost)
    }

    fn open_with(
        folder: Folder,
        settings: Settings,
        seed: u64,
        now: Stamp,
        unreadable: Unreadable,
    ) -> Result<Journal, OpenError> {
        assert!(settings.bytes_max >= 4 * settings.tail_bytes_max, "the tail leaves room for volumes");
        let names = folder.list()?;
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            folder.remove(name)?;
        }
        let mut volumes: Vec<Volume> = Vec::new();
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            let bytes = folder.open(&name.to_file_name()).and_then(|file| file.len()).unwrap_or(0);
            volumes.push(Volume::new(name, bytes));
        }
        volumes.sort_by_key(|volume| (volume.name.shelf, volume.name.number));

        let recovery = match Tail::open(&folder, settings.tail_bytes_max, unreadable)? {
            Some(recovery) => recovery,
            None => return Journal::rescue(folder, settings, seed, now, volumes, unreadable),
        };
        let mut journal = Journal::empty(folder, settings, JournalId(0), recovery.tail, now);
        let damage_end = recovery.damage.map_or(0, |damage| damage.end);
        // Streams whose newest number was perhaps in a damaged place: nothing behind it names a number of theirs.
        let mut is_unsure = [recovery.damage.is_some(); STREAM_COUNT];
        let mut body = Vec::new();
        for (kind, place) in &recovery.entries {
            match journal.tail.read(*place, &mut body) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(error.into()),
            }
            let is_behind_damage = place.offset >= damage_end;
            match kind {
                Kind::Begin => {
                    journal.born = JournalId(begin_id(&body));
                    journal.id = journal.born;
                }
                Kind::End => {}
                Kind::Slot => {
                    journal.recover_slot(&body);
                    if is_behind_damage && body.first() == Some(&(STATE_SLOT as u8)) {
                        is_unsure = [false; STREAM_COUNT];
                    }
                }
                Kind::Batch => {
                    let stream = journal.recover_batch(*place, &body);
                    if let Some(stream) = stream.filter(|_| is_behind_damage) {
                        is_unsure[stream.index()] = false;
                    }
                }
            }
        }
        let id = journal.born;
        journal.volumes = volumes.into_iter().filter(|volume| volume.name.journal == id).collect();
        journal.settle();
        if let Some(damage) = recovery.damage {
            journal.skip(&is_unsure, damage.bytes.div_ceil(HEAD_BYTES as u64));
        }
        journal.check_newest(now);
        journal.say_holes(now);
        Ok(journal)
    }

    fn empty(folder: Folder, settings: Settings, id: JournalId, tail: Tail, now: Stamp) -> Journal {
        Journal {
            folder,
            settings,
            born: id,
            id,
            tail,
            lines: Default::default(),
            volumes: Vec::new(),
            slots: Default::default(),
            withheld: Default::default(),
            reader: None,
            volume_written_bytes: 0,
            wear: Wear::default(),
            worn: (now.uptime, 0),
            scratch: Vec::new(),
        }
    }

    /// Starts a tail where none is whole: a new journal, or one whose tail was lost. Then numbers may have been given out of which
    /// nothing is left, and the next era begins.
    fn rescue(
        folder: Folder,
        settings: Settings,
        seed: u64,
        now: Stamp,
        volumes: Vec<Volume>,
        unreadable: Unreadable,
    ) -> Result<Journal, OpenError> {
        let carved = Carved::read(&folder, unreadable)?;
        let marks: Vec<Mark> = folder.list()?.iter().filter_map(|name| Mark::parse(name)).collect();
        let mark = marks.iter().max_by_key(|mark| mark.era);
        let new_id = JournalId((seed >> 32) as u32 ^ seed as u32);
        let of_volumes = volumes.last().map(|volume| volume.name.journal);
        let old_id = carved.id.or(mark.map(|mark| mark.journal)).or(of_volumes);
        let id = old_id.unwrap_or(new_id);
        let generation = carved.generation.map_or(seed as u32 >> 1, |generation| generation.wrapping_add(1));
        let tail = Tail::begin(&folder, settings.tail_bytes_max, generation, &id.0.to_le_bytes());
        let mut journal = Journal::empty(folder, settings, id, tail, now);
        journal.volumes = volumes.into_iter().filter(|volume| volume.name.journal == id).collect();
        let mut era = 0;
        if old_id.is_some() {
            journal.take_carved(&carved);
            journal.settle();
            let seen = journal.lines.iter().map(|line| (line.next.0 >> ERA_BITS) as u32);
            era = seen.chain(marks.iter().map(|mark| mark.era)).max().map_or(0, |last| last.saturating_add(1));
            journal.begin_era(era);
            journal.say_holes(now);
        }
        let mark = Mark { journal: id, era };
        if old_id.is_some() {
            // Before any number of the era can be given out.
            journal.put(mark)?;
        }
        journal.commit(now)?;
        if old_id.is_none() {
            // Not before there is a journal: a mark alone would say that one was lost.
            journal.put(mark)?;
        }
        for old in marks.iter().filter(|old| **old != mark) {
            journal.folder.remove(&old.to_file_name())?;
        }
        Ok(journal)
    }

    fn put(&self, mark: Mark) -> io::Result<()> {
        self.folder.create(&mark.to_file_name())?;
        self.folder.sync()
    }

    fn take_carved(&mut self, carved: &Carved) {
        carved.slots.iter().for_each(|body| self.recover_slot(body));
        self.slots.iter_mut().for_each(|slot| slot.is_dirty = !slot.value.is_empty());
        for ((stream, seq), body) in &carved.batches {
            let is_covered = self.volumes.iter().any(|volume| volume.name.covers(*stream, *seq));
            if !is_covered && self.tail.fits(body.len() + RESCUE_ROOM_BYTES) {
                let place = self.tail.append(Kind::Batch, body);
                self.recover_batch(place, body);
            }
            let line = &mut self.lines[stream.index()];
            line.next = line.next.max(Seq(seq.0 + 1));
        }
    }

    /// Numbers between the last known one and the era's first are holes, and are said to be lost as such.
    fn begin_era(&mut self, era: u32) {
        for line in self.lines.iter_mut() {
            line.next = Seq(u64::from(era) << ERA_BITS);
            line.durable = line.next;
        }
        self.slots[STATE_SLOT].is_dirty = true;
    }

    /// Gives the next `count` numbers of the streams in `which` to nobody. They are holes, and are said to be lost as such.
    fn skip(&mut self, which: &[bool; STREAM_COUNT], count: u64) {
        for (line, _) in self.lines.iter_mut().zip(which).filter(|(_, is_meant)| **is_meant) {
            line.next = Seq(line.next.0.saturating_add(count));
            line.durable = line.next;
        }
        self.slots[STATE_SLOT].is_dirty = true;
    }

    fn recover_slot(&mut self, body: &[u8]) {
        let Some((number, value)) = body.split_first() else { return };
        if usize::from(*number) >= SLOT_COUNT {
            return;
        }
        self.slots[usize::from(*number)].value = value.to_vec();
        match usize::from(*number) {
            STATE_SLOT => self.recover_state(value),
            WEAR_SLOT => self.wear = postcard::from_bytes(value).unwrap_or_default(),
            NAME_SLOT => self.id = JournalId(begin_id(value)),
            _ => {}
        }
    }

    fn recover_state(&mut self, value: &[u8]) {
        let mut rest = value;
        while let Ok(((stream, next, done), after)) = postcard::take_from_bytes::<(Stream, Seq, RangeSet)>(rest) {
            rest = after;
            let line = &mut self.lines[stream.index()];
            line.next = line.next.max(next);
            if done.is_valid() {
                line.done = done;
            }
        }
    }

    /// Returns the stream. `None` when the body is no record: its entry's own check held, so it was never one of ours.
    fn recover_batch(&mut self, place: Place, body: &[u8]) -> Option<Stream> {
        let Header { stream, seq, run, .. } = Record::open(body).ok()?.header;
        let line = &mut self.lines[stream.index()];
        line.next = line.next.max(Seq(seq.0 + 1));
        line.tail.push(Batch { seq, place, run });
        Some(stream)
    }

    /// Puts recovered numbers in order: what a volume holds already is not in the tail, and all of it is durable.
    fn settle(&mut self) {
        for stream in Stream::ALL {
            let ranges: Vec<SeqRange> = self.ranges(stream).collect();
            let end = ranges.iter().map(|range| range.last.0.saturating_add(1)).max().unwrap_or(0);
            let line = &mut self.lines[stream.index()];
            line.tail.sort_by_key(|batch| batch.seq);
            line.tail.dedup_by_key(|batch| batch.seq);
            line.tail.retain(|batch| !ranges.iter().any(|range| range.first <= batch.seq && batch.seq <= range.last));
            line.next = line.next.max(Seq(end));
            line.durable = line.next;
        }
    }

    /// Opens the newest volume of each shelf; the rest are checked when they are first read.
    fn check_newest(&mut self, now: Stamp) {
        for shelf in Shelf::ALL {
            let newest = self.volumes.iter().rposition(|volume| volume.name.shelf == shelf);
            let Some(index) = newest else { continue };
            let name = self.volumes[index].name;
            let checked = Reader::open(&self.folder, name).and_then(|reader| reader.verify());
            if matches!(checked, Err(VolumeError::Damaged)) {
                // What cannot be saved now is tried again when it is read.
                let _ = self.quarantine(now, name);
            }
        }
    }

    /// Declares lost what is neither done nor held.
    fn say_holes(&mut self, now: Stamp) {
        for stream in Stream::ALL {
            for range in self.holes(stream) {
                self.say_lost(now, stream, range, LossReason::Damaged);
            }
        }
    }

    /// Durable numbers that are neither done nor held.
    pub(super) fn holes(&self, stream: Stream) -> Vec<SeqRange> {
        let line = &self.lines[stream.index()];
        let Some(last) = line.durable.0.checked_sub(1) else { return Vec::new() };
        let mut known: Vec<SeqRange> = self.ranges(stream).chain(line.done.iter()).collect();
        known.extend(line.tail.iter().map(|batch| SeqRange { first: batch.seq, last: batch.seq }));
        known.sort_by_key(|range| range.first);
        subtract(SeqRange { first: Seq(0), last: Seq(last) }, known.into_iter())
    }
}

/// What two tail files still yield when neither holds a whole checkpoint.
#[derive(Default)]
struct Carved {
    id: Option<JournalId>,
    /// The highest one that was begun.
    generation: Option<u32>,
    /// The newest body of each slot.
    slots: Vec<Vec<u8>>,
    batches: BTreeMap<(Stream, Seq), Vec<u8>>,
}

impl Carved {
    fn read(folder: &Folder, unreadable: Unreadable) -> io::Result<Carved> {
        let mut carved = Carved::default();
        let mut newest: BTreeMap<u8, ((u32, u32), Vec<u8>)> = BTreeMap::new();
        let mut begun = None;
        Tail::carve(folder, unreadable, |head, body| {
            carved.generation = carved.generation.max(Some(head.generation));
            match head.kind {
                Kind::Begin => begun = begun.max(Some((head.generation, begin_id(body)))),
                Kind::Batch => {
                    if let Ok(record) = Record::open(body) {
                        carved.batches.entry((record.header.stream, record.header.seq)).or_insert(body.to_vec());
                    }
                }
                Kind::Slot => {
                    let age = (head.generation, head.commit);
                    let number = body.first().copied().unwrap_or_default();
                    if newest.get(&number).is_none_or(|(known, _)| *known <= age) {
                        newest.insert(number, (age, body.to_vec()));
                    }
                }
                Kind::End => {}
            }
        })?;
        carved.id = begun.map(|(_, id)| JournalId(id));
        carved.slots = newest.into_values().map(|(_, body)| body).collect();
        Ok(carved)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    journal: JournalId,
    era: u32,
}

impl Mark {
    fn to_file_name(self) -> String {
        format!("{MARK_PREFIX}{}-{:08x}", self.journal, self.era)
    }

    fn parse(file_name: &str) -> Option<Mark> {
        let (journal, era) = file_name.strip_prefix(MARK_PREFIX)?.split_once('-')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(Mark { journal: JournalId(number(journal)?), era: number(era)? })
    }
}

fn begin_id(body: &[u8]) -> u32 {
    body.get(..4).map_or(0, |id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
}
