//! The policy over tail and volumes: numbers, progress, slots, fold, evict, quarantine.
//!
//! - A batch gets its number when it is appended and may be sent when it is durable. A number never names two batches: what
//!   was lost with its number is skipped and said so.
//! - A batch is *done* when the hub holds it or it will never come. Done batches stay for the person on site, within
//!   [`Settings::done_bytes_max`], and go first when room is needed.
//! - What is lost is said in an [`Event::Lost`], durable before the loss.

use std::io;

use disk::Folder;
use wire::batch;
use wire::event::{self, Event, LossReason};
use wire::id::{JournalId, Seq};
use wire::ranges::{RangeSet, SeqRange};
use wire::record::{self, Header, Record};
use wire::stream::{STREAM_COUNT, Stream};
use wire::time::{Span, Stamp};

use crate::entry::{HEAD_BYTES, Kind};
use crate::tail::{Place, Tail};
use crate::volume::{self, Name, Reader, VolumeError};

/// Bytes of one slot's value.
pub const SLOT_BYTES_MAX: usize = 4096;

/// How many slots there are. Slot 0 is the journal's own.
pub const SLOT_COUNT: usize = 8;

/// Batches in the tail: at 24 bytes of index each, 96 KiB.
pub const TAIL_BATCH_COUNT_MAX: usize = 4096;

/// Volumes in the folder: 2 GiB of half a MiB each.
pub const VOLUME_COUNT_MAX: usize = 4096;

/// Numbers that are skipped when the tail was lost whole, so that none is used twice. More than a gateway writes in a
/// century at one batch a second.
const SKIP: u64 = 1 << 32;

const STATE_SLOT: usize = 0;

/// How large a journal may be. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The whole folder. At least four times `tail_bytes_max`.
    pub bytes_max: u64,
    /// Each of the two tail files.
    pub tail_bytes_max: u64,
    /// A stream is folded into a volume when so much of it is in the tail. redb costs some 130 KB a file.
    pub fold_bytes_min: u64,
    /// Volumes of which everything is done.
    pub done_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { bytes_max: 512 << 20, tail_bytes_max: 2 << 20, fold_bytes_min: 512 << 10, done_bytes_max: 16 << 20 }
    }
}

/// Why a journal could not be opened. The agent then runs from memory and says so.
#[derive(Debug)]
pub enum OpenError {
    /// The disk refused.
    Io(io::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "journal cannot be opened: {error}"),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

/// What a journal holds, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Volumes in the folder.
    pub volume_count: usize,
    /// Their bytes.
    pub volume_bytes: u64,
    /// Bytes of the tail that are used.
    pub tail_bytes: u64,
    /// Batches in the tail.
    pub tail_batch_count: usize,
    /// Batches that are not done.
    pub backlog_count: u64,
    /// Bytes written to the disk since the journal was opened.
    pub written_bytes: u64,
    /// Whether the tail is held twice, as it should be.
    pub is_mirrored: bool,
}

/// A batch in the tail.
#[derive(Clone, Copy, Debug)]
struct Batch {
    seq: Seq,
    place: Place,
    run: Seq,
}

#[derive(Clone, Copy, Debug)]
struct Volume {
    name: Name,
    bytes: u64,
}

/// One stream's numbers, progress and place in the tail.
#[derive(Debug, Default)]
struct Line {
    /// The number of the next batch.
    next: Seq,
    /// Batches below it are durable.
    durable: Seq,
    done: RangeSet,
    tail: Vec<Batch>,
}

#[derive(Debug, Default)]
struct Slot {
    value: Vec<u8>,
    is_dirty: bool,
}

/// What the gateway must not forget.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    settings: Settings,
    id: JournalId,
    tail: Tail,
    lines: [Line; STREAM_COUNT],
    /// By stream, then by first number.
    volumes: Vec<Volume>,
    slots: [Slot; SLOT_COUNT],
    reader: Option<Reader>,
    volume_written_bytes: u64,
    scratch: Vec<u8>,
}

impl Journal {
    /// Opens the journal in `folder`, or starts one whose id comes from `seed`. Whatever is in the folder, damaged or not,
    /// it opens; what was lost is in events by then.
    ///
    /// Errors: the disk refuses reads or writes altogether.
    pub fn open(folder: Folder, settings: Settings, seed: u64, now: Stamp) -> Result<Journal, OpenError> {
        assert!(settings.bytes_max >= 4 * settings.tail_bytes_max, "the tail leaves room for volumes");
        let names = folder.list()?;
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            folder.remove(name)?;
        }
        let mut volumes: Vec<Volume> = Vec::new();
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            let bytes = folder.open(&name.to_file_name()).and_then(|file| file.len()).unwrap_or(0);
            volumes.push(Volume { name, bytes });
        }
        volumes.sort_by_key(|volume| (volume.name.stream, volume.name.range.first));

        let recovery = match Tail::open(&folder, settings.tail_bytes_max)? {
            Some(recovery) => recovery,
            None => return Journal::start(folder, settings, seed, now, volumes),
        };
        let mut journal = Journal::empty(folder, settings, JournalId(0), recovery.tail);
        let mut body = Vec::new();
        for (kind, place) in &recovery.entries {
            match journal.tail.read(*place, &mut body) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(error.into()),
            }
            match kind {
                Kind::Begin => journal.id = JournalId(begin_id(&body)),
                Kind::End => {}
                Kind::Slot => journal.recover_slot(&body),
                Kind::Batch => journal.recover_batch(*place, &body),
            }
        }
        let id = journal.id;
        journal.volumes = volumes.into_iter().filter(|volume| volume.name.journal == id).collect();
        journal.settle();
        journal.check_newest(now);
        journal.say_holes(now);
        Ok(journal)
    }

    fn empty(folder: Folder, settings: Settings, id: JournalId, tail: Tail) -> Journal {
        Journal {
            folder,
            settings,
            id,
            tail,
            lines: Default::default(),
            volumes: Vec::new(),
            slots: Default::default(),
            reader: None,
            volume_written_bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// Starts a tail where there is none: a new journal, or one whose tail was lost whole.
    fn start(
        folder: Folder,
        settings: Settings,
        seed: u64,
        now: Stamp,
        volumes: Vec<Volume>,
    ) -> Result<Journal, OpenError> {
        let mut carved: Vec<(Header, Vec<u8>)> = Vec::new();
        let mut old_id = volumes.last().map(|volume| volume.name.journal);
        Tail::carve(&folder, |kind, body| match kind {
            Kind::Begin => old_id = old_id.or(Some(JournalId(begin_id(body)))),
            Kind::Batch => {
                if let Ok(record) = Record::open(body) {
                    carved.push((record.header, body.to_vec()));
                }
            }
            Kind::Slot | Kind::End => {}
        })?;
        let id = old_id.unwrap_or(JournalId((seed >> 32) as u32 ^ seed as u32));
        let begin = id.0.to_le_bytes();
        let tail = Tail::create(&folder, settings.tail_bytes_max, seed as u32 >> 1, &begin)?;
        let mut journal = Journal::empty(folder, settings, id, tail);
        journal.volumes = volumes.into_iter().filter(|volume| volume.name.journal == id).collect();
        if old_id.is_none() {
            return Ok(journal);
        }
        carved.sort_by_key(|(header, _)| (header.stream, header.seq));
        carved.dedup_by_key(|(header, _)| (header.stream, header.seq));
        for (header, body) in &carved {
            let covered = journal.volumes.iter().any(|v| covers(v, header.stream, header.seq));
            if !covered && journal.tail.fits(body.len()) {
                let place = journal.tail.append(Kind::Batch, body);
                journal.recover_batch(place, body);
            }
        }
        journal.settle();
        journal.skip_unknown(now);
        journal.commit(now)?;
        journal.say_holes(now);
        Ok(journal)
    }

    /// Skips numbers that may have been given out and of which nothing is left.
    fn skip_unknown(&mut self, now: Stamp) {
        for stream in Stream::ALL {
            let line = &mut self.lines[stream.index()];
            let range = SeqRange { first: line.next, last: Seq(line.next.0 + SKIP - 1) };
            line.next = Seq(line.next.0 + SKIP);
            line.durable = line.next;
            self.say_lost(now, stream, range, LossReason::Damaged);
        }
    }

    fn recover_slot(&mut self, body: &[u8]) {
        let Some((number, value)) = body.split_first() else { return };
        if usize::from(*number) >= SLOT_COUNT {
            return;
        }
        self.slots[usize::from(*number)].value = value.to_vec();
        if usize::from(*number) == STATE_SLOT {
            self.recover_state(value);
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

    fn recover_batch(&mut self, place: Place, body: &[u8]) {
        // An entry whose own check holds and whose record's does not was never a record of ours.
        let Ok(record) = Record::open(body) else { return };
        let Header { stream, seq, run, .. } = record.header;
        let line = &mut self.lines[stream.index()];
        line.next = line.next.max(Seq(seq.0 + 1));
        line.tail.push(Batch { seq, place, run });
    }

    /// Puts recovered numbers in order: what a volume holds already is not in the tail, and all of it is durable.
    fn settle(&mut self) {
        for stream in Stream::ALL {
            let volumes = self.volumes.iter().filter(|volume| volume.name.stream == stream);
            let last = volumes.clone().map(|volume| volume.name.range.last.0 + 1).max().unwrap_or(0);
            let line = &mut self.lines[stream.index()];
            line.tail.sort_by_key(|batch| batch.seq);
            line.tail.dedup_by_key(|batch| batch.seq);
            line.tail.retain(|batch| !volumes.clone().any(|volume| covers(volume, stream, batch.seq)));
            line.next = line.next.max(Seq(last));
            line.durable = line.next;
        }
    }

    /// Opens the newest volume of each stream; the rest are checked when they are first read.
    fn check_newest(&mut self, now: Stamp) {
        for stream in Stream::ALL {
            let newest = self.volumes.iter().rposition(|volume| volume.name.stream == stream);
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

    fn holes(&self, stream: Stream) -> Vec<SeqRange> {
        let line = &self.lines[stream.index()];
        let volumes = self.volumes.iter().filter(|volume| volume.name.stream == stream);
        let mut known: Vec<SeqRange> = volumes.map(|volume| volume.name.range).chain(line.done.iter()).collect();
        known.extend(line.tail.iter().map(|batch| SeqRange { first: batch.seq, last: batch.seq }));
        known.sort_by_key(|range| range.first);
        let (mut holes, mut at) = (Vec::new(), 0);
        for range in known {
            if range.first.0 > at {
                holes.push(SeqRange { first: Seq(at), last: Seq(range.first.0 - 1) });
            }
            at = at.max(range.last.0.saturating_add(1));
        }
        if line.durable.0 > at {
            holes.push(SeqRange { first: Seq(at), last: Seq(line.durable.0 - 1) });
        }
        holes
    }

    /// Which life of the journal this is.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The number that the next batch of `stream` will have.
    pub fn next(&self, stream: Stream) -> Seq {
        self.lines[stream.index()].next
    }

    /// Batches of `stream` below this number are durable and may be sent.
    pub fn durable(&self, stream: Stream) -> Seq {
        self.lines[stream.index()].durable
    }

    /// The batches of `stream` that the hub holds or that will never come.
    pub fn done(&self, stream: Stream) -> &RangeSet {
        &self.lines[stream.index()].done
    }

    /// Durable batches that are not done.
    pub fn backlog_count(&self) -> u64 {
        self.lines.iter().map(|line| line.durable.0.saturating_sub(line.done.count())).sum()
    }

    /// What the journal holds, for people.
    pub fn stat(&self) -> Stat {
        Stat {
            volume_count: self.volumes.len(),
            volume_bytes: self.volume_bytes(),
            tail_bytes: self.tail.used_bytes().0,
            tail_batch_count: self.lines.iter().map(|line| line.tail.len()).sum(),
            backlog_count: self.backlog_count(),
            written_bytes: self.tail.written_bytes() + self.volume_written_bytes,
            is_mirrored: self.tail.is_mirrored(),
        }
    }

    fn volume_bytes(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.bytes).sum()
    }

    /// Adds a batch to the next commit and gives it its number. `run` is the number of the batch that opened its run,
    /// `None` when this one does. `text` asks for compression.
    ///
    /// Errors: the journal has no room and the disk lets none be made. Nothing was added, no number was used.
    pub fn append(
        &mut self,
        now: Stamp,
        stream: Stream,
        run: Option<Seq>,
        stamp: Stamp,
        payload: &[u8],
        text: bool,
    ) -> io::Result<Seq> {
        let tail_batch_count: usize = self.lines.iter().map(|line| line.tail.len()).sum();
        // Room for the batch itself, for the event that names what was dropped for it, and for the state.
        let needed = payload.len() + 2 * SLOT_BYTES_MAX;
        if !self.tail.fits(needed) || tail_batch_count >= TAIL_BATCH_COUNT_MAX {
            self.fold(now)?;
            if !self.tail.fits(needed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(self.append_fitting(stream, run, stamp, payload, text))
    }

    fn append_fitting(&mut self, stream: Stream, run: Option<Seq>, stamp: Stamp, payload: &[u8], text: bool) -> Seq {
        let line = &mut self.lines[stream.index()];
        let seq = line.next;
        let run = run.unwrap_or(seq);
        self.scratch.clear();
        record::seal(&Header { stream, seq, run, stamp }, payload, text, &mut self.scratch);
        let place = self.tail.append(Kind::Batch, &self.scratch);
        line.tail.push(Batch { seq, place, run });
        line.next = Seq(seq.0 + 1);
        seq
    }

    fn append_event(&mut self, now: Stamp, event: &Event) {
        let mut payload = Vec::new();
        batch::put_event(Span(0), event, &mut payload);
        if self.has_room_for_event() {
            self.append_fitting(Stream::Event, None, now, &payload, false);
        }
    }

    /// Whether an event and the state that goes with it fit into the tail as it is.
    fn has_room_for_event(&self) -> bool {
        self.tail.fits(1024 + self.slot_body(STATE_SLOT).len())
    }

    /// Whether batches wait for a commit, and not only progress that may ride with the next one.
    pub fn has_uncommitted_batches(&self) -> bool {
        self.lines.iter().any(|line| line.durable < line.next)
    }

    /// Makes everything appended so far durable, then makes room if the folder is over its size.
    ///
    /// Errors: nothing new is durable; what was appended stays and the next commit tries again.
    pub fn commit(&mut self, now: Stamp) -> io::Result<()> {
        self.commit_tail()?;
        self.make_room(now)
    }

    fn commit_tail(&mut self) -> io::Result<()> {
        for number in 0..SLOT_COUNT {
            if self.slots[number].is_dirty {
                let body = self.slot_body(number);
                if self.tail.fits(body.len()) {
                    self.tail.append(Kind::Slot, &body);
                    self.slots[number].is_dirty = false;
                }
            }
        }
        self.tail.commit()?;
        for line in &mut self.lines {
            line.durable = line.next;
        }
        Ok(())
    }

    fn slot_body(&self, number: usize) -> Vec<u8> {
        let mut body = vec![number as u8];
        if number == STATE_SLOT {
            for stream in Stream::ALL {
                let line = &self.lines[stream.index()];
                let state = (stream, line.next, line.done.clone());
                body = postcard::to_extend(&state, body).expect("a vector takes every byte");
            }
        } else {
            body.extend_from_slice(&self.slots[number].value);
        }
        body
    }

    /// The value of a slot, empty when it was never set.
    pub fn slot(&self, number: usize) -> &[u8] {
        assert!(number != STATE_SLOT, "slot 0 is the journal's own");
        &self.slots[number].value
    }

    /// Sets a slot; durable with the next commit.
    ///
    /// Panics: when the value exceeds [`SLOT_BYTES_MAX`].
    pub fn set_slot(&mut self, number: usize, value: &[u8]) {
        assert!(number != STATE_SLOT && value.len() < SLOT_BYTES_MAX, "slots are small and 0 is the journal's own");
        if self.slots[number].value != value {
            self.slots[number].value.clear();
            self.slots[number].value.extend_from_slice(value);
            self.slots[number].is_dirty = true;
        }
    }

    /// Notes that the hub holds `range`. Rides with the next commit: a power cut before it costs a resend, and the hub
    /// drops what it knows.
    pub fn ack(&mut self, stream: Stream, range: SeqRange) {
        let line = &mut self.lines[stream.index()];
        let Some(last) = line.durable.0.checked_sub(1) else { return };
        let range = SeqRange { first: range.first, last: range.last.min(Seq(last)) };
        if range.first <= range.last && line.done.insert_range(range).is_ok() {
            self.slots[STATE_SLOT].is_dirty = true;
        }
    }

    /// Takes the hub's word for what it holds of `stream`: a hub that was restored from a backup may hold less than it acked.
    /// What neither has any more is said to be lost, once more if it was said before and the hub has not heard it.
    pub fn adopt(&mut self, now: Stamp, stream: Stream, held: &RangeSet) {
        self.lines[stream.index()].done = RangeSet::new();
        for range in held.iter() {
            self.ack(stream, range);
        }
        self.slots[STATE_SLOT].is_dirty = true;
        for range in self.holes(stream) {
            self.say_lost(now, stream, range, LossReason::Damaged);
        }
    }

    /// Gives no number below `seq` out again: the hub has seen numbers that this journal does not know, because the
    /// card was put back to an older image.
    pub fn skip_to(&mut self, stream: Stream, seq: Seq) {
        let line = &mut self.lines[stream.index()];
        if line.next < seq && line.durable == line.next {
            let unused = SeqRange { first: line.next, last: Seq(seq.0 - 1) };
            line.next = seq;
            line.durable = seq;
            let _ = line.done.insert_range(unused);
            self.slots[STATE_SLOT].is_dirty = true;
        }
    }

    /// The number that opened the run of a durable batch. `None` when the journal does not hold it.
    pub fn run_of(&mut self, now: Stamp, stream: Stream, seq: Seq) -> io::Result<Option<Seq>> {
        let line = &self.lines[stream.index()];
        if let Ok(index) = line.tail.binary_search_by_key(&seq, |batch| batch.seq) {
            return Ok(Some(line.tail[index].run));
        }
        let mut record = Vec::new();
        if !self.read(now, stream, seq, &mut record)? {
            return Ok(None);
        }
        Ok(Record::open(&record).ok().map(|record| record.header.run))
    }

    /// Reads a durable batch, a sealed record, into `record`. `false` when the journal does not hold it, or no longer:
    /// a batch that turns out to be damaged is declared lost.
    ///
    /// Errors: the disk refuses to read; try again later.
    pub fn read(&mut self, now: Stamp, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> io::Result<bool> {
        let line = &self.lines[stream.index()];
        if seq >= line.durable {
            return Ok(false);
        }
        if let Ok(index) = line.tail.binary_search_by_key(&seq, |batch| batch.seq) {
            let place = line.tail[index].place;
            match self.tail.read(place, record) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.lines[stream.index()].tail.remove(index);
                    self.say_lost(now, stream, SeqRange { first: seq, last: seq }, LossReason::Damaged);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(volume) = self.volumes.iter().find(|volume| covers(volume, stream, seq)) else {
            return Ok(false);
        };
        let name = volume.name;
        match self.read_volume(name, seq, record) {
            Ok(found) => Ok(found),
            Err(VolumeError::Io(error)) => {
                // redb refuses everything after one failed read: the next attempt opens the volume anew.
                self.reader = None;
                Err(error)
            }
            Err(VolumeError::Damaged) => {
                self.quarantine(now, name)?;
                let Some(volume) = self.volumes.iter().find(|volume| covers(volume, stream, seq)) else {
                    return Ok(false);
                };
                Ok(self.read_volume(volume.name, seq, record).unwrap_or(false))
            }
        }
    }

    fn read_volume(&mut self, name: Name, seq: Seq, record: &mut Vec<u8>) -> Result<bool, VolumeError> {
        if self.reader.as_ref().is_none_or(|reader| reader.name != name) {
            self.reader = None;
            self.reader = Some(Reader::open(&self.folder, name)?);
        }
        let reader = self.reader.as_ref().expect("opened above");
        reader.read(seq, record)
    }

    /// Closes what reading opened. Reading opens it again.
    pub fn rest(&mut self) {
        self.reader = None;
    }

    /// Declares a batch lost that should be there and is not.
    pub fn declare_lost(&mut self, now: Stamp, stream: Stream, range: SeqRange) {
        self.say_lost(now, stream, range, LossReason::Damaged);
    }

    /// Notes a loss in progress and says it in an event, both durable with the next commit.
    fn say_lost(&mut self, now: Stamp, stream: Stream, range: SeqRange, reason: LossReason) {
        // What cannot be said now, or does not fit the set, is found missing again later, and said then.
        if !self.has_room_for_event() {
            return;
        }
        if self.lines[stream.index()].done.insert_range(range).is_err() {
            return;
        }
        self.slots[STATE_SLOT].is_dirty = true;
        self.append_event(now, &Event::Lost { stream, range, reason });
    }

    /// The lowest number that the journal still holds of `stream`, done or not.
    pub fn oldest(&self, stream: Stream) -> Seq {
        let volume = self.volumes.iter().find(|volume| volume.name.stream == stream);
        let line = &self.lines[stream.index()];
        let first = volume.map(|volume| volume.name.range.first).or(line.tail.first().map(|batch| batch.seq));
        first.unwrap_or(line.next)
    }

    /// What the journal holds of `stream`, done or not, lowest first. Inside the range of a volume there may be holes.
    pub fn held(&self, stream: Stream) -> Vec<SeqRange> {
        let volumes = self.volumes.iter().filter(|volume| volume.name.stream == stream);
        let mut held: Vec<SeqRange> = volumes.map(|volume| volume.name.range).collect();
        for batch in self.lines[stream.index()].tail.iter().filter(|batch| batch.seq < self.durable(stream)) {
            match held.last_mut() {
                Some(range) if range.last.0 + 1 == batch.seq.0 => range.last = batch.seq,
                _ => held.push(SeqRange { first: batch.seq, last: batch.seq }),
            }
        }
        held
    }

    /// Moves the tail's batches into volumes where there are enough of them, and starts the tail's next generation.
    fn fold(&mut self, now: Stamp) -> io::Result<()> {
        self.commit_tail()?;
        self.reader = None;
        let mut failure = None;
        for stream in Stream::ALL {
            let count = self.foldable(stream);
            if count > 0
                && let Err(error) = self.fold_stream(now, stream, count)
            {
                failure = Some(error);
            }
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

    /// How many of the oldest batches of `stream` in the tail make a volume: whole runs, none that still grows.
    fn foldable(&self, stream: Stream) -> usize {
        let batches = &self.lines[stream.index()].tail;
        let bytes = |batches: &[Batch]| batches.iter().map(|batch| u64::from(batch.place.length)).sum::<u64>();
        let open = batches.last().map(|last| batches.partition_point(|batch| batch.run < last.run)).unwrap_or(0);
        // A run that fills the tail by itself is cut: better in two volumes than in none.
        let end = if bytes(&batches[..open]) >= self.settings.fold_bytes_min { open } else { batches.len() };
        if bytes(&batches[..end]) >= self.settings.fold_bytes_min { end } else { 0 }
    }

    fn fold_stream(&mut self, now: Stamp, stream: Stream, count: usize) -> io::Result<()> {
        let batches: Vec<Batch> = self.lines[stream.index()].tail[..count].to_vec();
        let range = SeqRange { first: batches[0].seq, last: batches[count - 1].seq };
        let name = Name { journal: self.id, stream, range };
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
                    self.volume_written_bytes += bytes;
                    let at = self.volumes.partition_point(|volume| {
                        (volume.name.stream, volume.name.range.first) < (stream, range.first)
                    });
                    self.volumes.insert(at, Volume { name, bytes });
                    self.lines[stream.index()].tail.drain(..count);
                    return Ok(());
                }
                Err(VolumeError::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
                    if !self.evict_one(now)? {
                        return Err(error);
                    }
                }
                Err(VolumeError::Io(error)) => return Err(error),
                Err(VolumeError::Damaged) => return Err(io::Error::other("redb refused to write a volume")),
            }
        }
    }

    fn carried_bytes(&self) -> u64 {
        let batches = self.lines.iter().flat_map(|line| &line.tail);
        batches.map(|batch| HEAD_BYTES as u64 + u64::from(batch.place.length)).sum()
    }

    /// What must leave the tail so that its next generation begins at most half full, although no volume took it: the oldest,
    /// bulk before urgent. Returns, per stream, how many of its oldest batches go.
    fn shed(&self) -> Vec<(Stream, usize)> {
        let mut excess = self.carried_bytes().saturating_sub(self.tail.bytes_max() / 2);
        let mut shed = Vec::new();
        for stream in Stream::ALL.into_iter().rev() {
            if excess == 0 {
                break;
            }
            let mut count = 0;
            let mut last_run = None;
            for batch in &self.lines[stream.index()].tail {
                // The rest of a cut run could not be decoded.
                if excess == 0 && last_run != Some(batch.run) {
                    break;
                }
                last_run = Some(batch.run);
                excess = excess.saturating_sub(HEAD_BYTES as u64 + u64::from(batch.place.length));
                count += 1;
            }
            shed.push((stream, count));
        }
        shed
    }

    fn restart(&mut self, now: Stamp, shed: &[(Stream, usize)]) -> io::Result<()> {
        let mut events = Vec::new();
        let mut dones: [RangeSet; STREAM_COUNT] = std::array::from_fn(|index| self.lines[index].done.clone());
        let mut skip = [0; STREAM_COUNT];
        for (stream, count) in shed {
            skip[stream.index()] = *count;
            let line = &self.lines[stream.index()];
            for range in unsent(line.tail[..*count].iter().map(|batch| batch.seq), &line.done) {
                let _ = dones[stream.index()].insert_range(range);
                events.push(Event::Lost { stream: *stream, range, reason: LossReason::Evicted });
            }
        }
        let mut sealed = Vec::new();
        let event_line = &self.lines[Stream::Event.index()];
        for (index, event) in events.iter().enumerate() {
            let seq = Seq(event_line.next.0 + index as u64);
            let mut payload = Vec::new();
            batch::put_event(Span(0), event, &mut payload);
            let mut bytes = Vec::new();
            let header = Header { stream: Stream::Event, seq, run: seq, stamp: now };
            record::seal(&header, &payload, false, &mut bytes);
            sealed.push((seq, bytes));
        }

        // The state in the checkpoint is the one after the loss; it holds only once the checkpoint does.
        for (line, done) in self.lines.iter_mut().zip(&mut dones) {
            std::mem::swap(&mut line.done, done);
        }
        let next_before = self.lines[Stream::Event.index()].next;
        self.lines[Stream::Event.index()].next = Seq(next_before.0 + sealed.len() as u64);
        let slots: Vec<Vec<u8>> = (0..SLOT_COUNT).map(|number| self.slot_body(number)).collect();

        let written = (|| {
            let mut tails: [Vec<Batch>; STREAM_COUNT] = Default::default();
            let mut restart = self.tail.restart(&self.id.0.to_le_bytes())?;
            for slot in slots.iter().filter(|slot| slot.len() > 1) {
                restart.put(Kind::Slot, slot)?;
            }
            let mut body = Vec::new();
            for (index, line) in self.lines.iter().enumerate() {
                for batch in &line.tail[skip[index]..] {
                    match restart.carry(batch.place, &mut body) {
                        Ok(place) => tails[index].push(Batch { place, ..*batch }),
                        // Damaged in the file that is read: found missing later, and said then.
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            for (seq, bytes) in &sealed {
                let place = restart.put(Kind::Batch, bytes)?;
                tails[Stream::Event.index()].push(Batch { seq: *seq, place, run: *seq });
            }
            restart.finish()?;
            Ok(tails)
        })();
        match written {
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

    /// Removes volumes until the folder is within its size.
    fn make_room(&mut self, now: Stamp) -> io::Result<()> {
        let budget = self.settings.bytes_max - 2 * self.tail.bytes_max().min(self.settings.bytes_max / 4);
        while self.volume_bytes() > budget || self.volumes.len() > VOLUME_COUNT_MAX {
            if !self.evict_one(now)? {
                break;
            }
        }
        while self.done_bytes() > self.settings.done_bytes_max {
            let Some(index) = self.volumes.iter().position(|volume| self.is_done(volume)) else { break };
            self.remove_volume(index)?;
        }
        Ok(())
    }

    fn is_done(&self, volume: &Volume) -> bool {
        let done = &self.lines[volume.name.stream.index()].done;
        done.range_of(volume.name.range.first).is_some_and(|range| range.last >= volume.name.range.last)
    }

    fn done_bytes(&self) -> u64 {
        self.volumes.iter().filter(|volume| self.is_done(volume)).map(|volume| volume.bytes).sum()
    }

    /// Removes the least valuable volume: done before unsent, bulk before urgent, old before new. `false` when there is none.
    fn evict_one(&mut self, now: Stamp) -> io::Result<bool> {
        let worth =
            |volume: &Volume| (!self.is_done(volume), std::cmp::Reverse(volume.name.stream), volume.name.range.first);
        let Some(index) = (0..self.volumes.len()).min_by_key(|index| worth(&self.volumes[*index])) else {
            return Ok(false);
        };
        if !self.has_room_for_event() {
            return Ok(false);
        }
        let Name { stream, range, .. } = self.volumes[index].name;
        let line = &self.lines[stream.index()];
        for range in missing(range, &line.done) {
            self.say_lost(now, stream, range, LossReason::Evicted);
        }
        // The loss is on record before it happens.
        self.commit_tail()?;
        self.remove_volume(index)?;
        Ok(true)
    }

    fn remove_volume(&mut self, index: usize) -> io::Result<()> {
        let name = self.volumes[index].name;
        if self.reader.as_ref().is_some_and(|reader| reader.name == name) {
            self.reader = None;
        }
        self.folder.remove(&name.to_file_name())?;
        self.volumes.remove(index);
        self.folder.sync()
    }

    /// Saves what a damaged volume still yields into a new one, says what is lost, and removes it.
    ///
    /// Errors: the disk does not take the new volume, or the tail has no room to say what is lost. Nothing was changed.
    fn quarantine(&mut self, now: Stamp, name: Name) -> io::Result<()> {
        self.reader = None;
        if !self.has_room_for_event() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut saved: Vec<(Seq, Vec<u8>)> = Vec::new();
        volume::carve(&self.folder, name, |body| {
            if let Ok(record) = Record::open(body)
                && record.header.stream == name.stream
                && name.range.first <= record.header.seq
                && record.header.seq <= name.range.last
            {
                saved.push((record.header.seq, body.to_vec()));
            }
        })?;
        saved.sort_by_key(|(seq, _)| *seq);
        saved.dedup_by_key(|(seq, _)| *seq);
        let mut replacement = None;
        if let (Some((first, _)), Some((last, _))) = (saved.first(), saved.last()) {
            let range = SeqRange { first: *first, last: *last };
            let mut rest = saved.iter();
            // The name differs from the damaged one's unless both ends were saved: then it replaces it in one rename.
            let written = volume::write(&self.folder, Name { range, ..name }, |record| {
                let Some((seq, bytes)) = rest.next() else { return Ok(None) };
                record.clear();
                record.extend_from_slice(bytes);
                Ok(Some(*seq))
            });
            match written {
                Ok(bytes) => replacement = Some(Volume { name: Name { range, ..name }, bytes }),
                Err(VolumeError::Io(error)) => return Err(error),
                Err(VolumeError::Damaged) => return Err(io::Error::other("redb refused to write a volume")),
            }
        }
        self.volumes.retain(|volume| volume.name != name && Some(volume.name) != replacement.map(|saved| saved.name));
        if let Some(volume) = replacement {
            self.volume_written_bytes += volume.bytes;
            let key = (volume.name.stream, volume.name.range.first);
            let at = self.volumes.partition_point(|other| (other.name.stream, other.name.range.first) < key);
            self.volumes.insert(at, volume);
        }
        let text = event::text(&name.to_file_name());
        self.append_event(now, &Event::Quarantined { volume: text, saved_count: saved.len() as u32 });
        let mut gone = self.lines[name.stream.index()].done.clone();
        for (seq, _) in &saved {
            // A set without room leaves a number out, which is then said to be lost although it was saved: sent all the same.
            let _ = gone.insert(*seq);
        }
        for range in missing(name.range, &gone) {
            self.say_lost(now, name.stream, range, LossReason::Damaged);
        }
        self.commit_tail()?;
        if self.volumes.iter().all(|volume| volume.name != name) {
            self.folder.remove(&name.to_file_name())?;
            self.folder.sync()?;
        }
        Ok(())
    }
}

fn begin_id(body: &[u8]) -> u32 {
    body.get(..4).map_or(0, |id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
}

fn covers(volume: &Volume, stream: Stream, seq: Seq) -> bool {
    volume.name.stream == stream && volume.name.range.first <= seq && seq <= volume.name.range.last
}

/// The parts of `range` that are not in `done`.
fn missing(range: SeqRange, done: &RangeSet) -> Vec<SeqRange> {
    let (mut found, mut at) = (Vec::new(), range.first.0);
    for have in done.iter().filter(|have| have.last >= range.first && have.first <= range.last) {
        if have.first.0 > at {
            found.push(SeqRange { first: Seq(at), last: Seq(have.first.0 - 1) });
        }
        at = have.last.0.saturating_add(1);
    }
    if at <= range.last.0 {
        found.push(SeqRange { first: Seq(at), last: range.last });
    }
    found
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
