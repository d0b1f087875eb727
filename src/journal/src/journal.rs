//! The policy over tail and volumes: numbers, progress, slots, fold, evict, quarantine.
//!
//! - A batch gets its number when it is appended and may be sent when it is durable. A number never names two batches: what
//!   was lost with its number is skipped and said so.
//! - A batch is *done* when the hub holds it or it will never come. Done batches stay for the person on site, within
//!   [`Settings::done_bytes_max`], and go first when room is needed.
//! - What is lost is said in an [`Event::Lost`], durable before the loss; what is withheld in an [`Event::Withheld`].

mod fold;
mod recover;
mod room;

use std::io;

use disk::Folder;
use wire::batch;
use wire::event::{Event, LossReason};
use wire::id::{JournalId, Seq};
use wire::ranges::{RangeSet, SeqRange};
use wire::record::{self, Header, Record};
use wire::stream::{LANE_COUNT, Resolution, SHELF_COUNT, STREAM_COUNT, Shelf, Stream};
use wire::time::{Instant, Span, Stamp};

use crate::entry::Kind;
use crate::tail::{Place, Tail};
use crate::volume::{Name, Reader, VolumeError};
use crate::wear::Wear;
use crate::withheld::Withheld;

/// Bytes of one slot's value.
pub const SLOT_BYTES_MAX: usize = 5 * 1024;

/// How many slots there are. The first two are the journal's own.
pub const SLOT_COUNT: usize = 8;

/// Batches in the tail: at 24 bytes of index each, 288 KiB. Those of ticks have some 340 bytes, and fill the tail by bytes first.
pub const TAIL_BATCH_COUNT_MAX: usize = 12 * 1024;

/// Bytes of the batches in one volume. redb's smallest file takes a little over a MiB, of which 960 KiB can be used; behind that it
/// grows in smaller steps, and of a file of two MiB a twentieth is redb's.
pub(crate) const VOLUME_BYTES_MAX: u64 = 1950 << 10;

/// Volumes in the folder: 4 GiB.
pub const VOLUME_COUNT_MAX: usize = 4096;

pub(crate) const STATE_SLOT: usize = 0;
pub(crate) const WEAR_SLOT: usize = 1;
pub(crate) const NAME_SLOT: usize = 2;
/// Slots of the journal's own.
const OWN_SLOT_COUNT: usize = 3;

/// What an event of the journal's own takes in the tail at the most, heads included.
const EVENT_ROOM_BYTES: usize = 320;

/// Events that are read to learn which losses the hub has not heard of.
const WAITING_EVENT_COUNT_MAX: u32 = 256;

/// How long a volume may refuse to be read before it counts as damaged.
const READ_PATIENCE: Span = Span::seconds(600);

/// How large a journal may be, and how long it keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The whole folder. At least four times `tail_bytes_max`.
    pub bytes_max: u64,
    /// Each of the two tail files.
    pub tail_bytes_max: u64,
    /// A shelf is folded into a volume when so much of it is in the tail. A volume takes a MiB, whatever is in it.
    pub fold_bytes_min: u64,
    /// Volumes of which everything is done.
    pub done_bytes_max: u64,
    /// What each lane may count on of the whole, in percent. Room that a lane does not use is there for the others.
    pub shares: [u8; LANE_COUNT],
    /// How much recorded time of each shelf is kept. Time in which nothing was recorded does not count, so that no clock
    /// that jumps and no year in a drawer empties a journal. What is urgent is kept until the hub holds them, whatever this says.
    pub keep: [Span; SHELF_COUNT],
}

const fn days(count: u64) -> Span {
    Span::minutes(count * 24 * 60)
}

impl Settings {
    /// Ticks for two weeks, and for longer ever coarser windows.
    pub const DEFAULT: Settings = Settings {
        bytes_max: 512 << 20,
        tail_bytes_max: 4 << 20,
        fold_bytes_min: 900 << 10,
        done_bytes_max: 16 << 20,
        shares: [10, 30, 60],
        keep: {
            let mut keep = [days(3650); SHELF_COUNT];
            keep[Shelf::Series(Resolution::Raw).index()] = days(14);
            keep[Shelf::Series(Resolution::Minute).index()] = days(30);
            keep[Shelf::Series(Resolution::FiveMinutes).index()] = days(90);
            keep[Shelf::Series(Resolution::Hour).index()] = days(730);
            keep[Shelf::Extract.index()] = days(90);
            keep
        },
    };
}

impl Default for Settings {
    fn default() -> Self {
        Settings::DEFAULT
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
    /// Bytes written to the disk since the journal was opened, in whole blocks.
    pub written_bytes: u64,
    /// The same over all lives of the journal, and by the day.
    pub wear: Wear,
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
    /// How the disk refuses to read it.
    refusals: Option<Refusals>,
}

impl Volume {
    fn new(name: Name, bytes: u64) -> Volume {
        Volume { name, bytes, refusals: None }
    }

    fn is_given_up(&self, now: Stamp) -> bool {
        self.refusals.is_some_and(|Refusals { first, since, count, .. }| {
            let is_many = count >= REFUSAL_COUNT && now.uptime - first >= READ_PATIENCE;
            is_many || now.uptime - since >= READ_PATIENCE
        })
    }

    /// The disk refuses to read it. Of two refusals that lie far apart nobody knows what was between them: whoever looks at what is old
    /// looks at it seldom.
    fn fail(&mut self, now: Stamp) {
        let new = Refusals { first: now.uptime, since: now.uptime, last: now.uptime, count: 0 };
        let refusals = self.refusals.get_or_insert(new);
        if now.uptime - refusals.last >= Span(READ_PATIENCE.0 / 2) {
            refusals.since = now.uptime;
        }
        refusals.last = now.uptime;
        refusals.count = refusals.count.saturating_add(1);
    }
}

/// Reads of a volume that the disk refused, and none between them that it allowed.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    first: Instant,
    /// The first of those that follow one another closely.
    since: Instant,
    last: Instant,
    count: u32,
}

/// So many refusals without a success are enough, however far apart: a machine may look but once an hour.
const REFUSAL_COUNT: u32 = 5;

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
    /// The name in its files.
    born: JournalId,
    /// The name that the hub knows it by: another one since its numbers were found to be somebody else's too.
    id: JournalId,
    tail: Tail,
    lines: Box<[Line; STREAM_COUNT]>,
    /// By shelf, then by number.
    volumes: Vec<Volume>,
    slots: [Slot; SLOT_COUNT],
    withheld: Withheld,
    reader: Option<Reader>,
    volume_written_bytes: u64,
    wear: Wear,
    /// When `wear` was noted, and what had been written by then.
    worn: (Instant, u64),
    scratch: Vec<u8>,
}

// Part of the agent, which is built on a small stack.
const _: () = assert!(size_of::<Journal>() <= 6 << 10);

impl Journal {
    /// Which life of the journal this is, at the hub.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// Goes on as another life: somebody else gave out the same numbers, from a copy of this journal or after it was put back to an
    /// older image. What the hub was known to hold, it holds under the former name, which is said. The rest is sent under the new one, and
    /// the dictionary again. No run may go on.
    pub fn rename(&mut self, now: Stamp, id: JournalId) {
        self.id = id;
        self.slots[NAME_SLOT].is_dirty = true;
        self.slots[STATE_SLOT].is_dirty = true;
        self.lines[Stream::Dictionary.index()].done = RangeSet::new();
        for stream in Stream::ALL {
            for range in std::mem::take(&mut self.lines[stream.index()].done).iter() {
                self.say_lost(now, stream, range, LossReason::Renamed);
            }
        }
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

    /// Durable batches that are neither done nor withheld.
    pub fn backlog_count(&self) -> u64 {
        Stream::ALL.into_iter().map(|stream| self.waiting_count(stream)).sum()
    }

    /// Durable batches of a stream that are neither done nor withheld.
    pub fn waiting_count(&self, stream: Stream) -> u64 {
        let line = &self.lines[stream.index()];
        line.durable.0.saturating_sub(line.done.count() + self.withheld.count(stream))
    }

    /// What the journal holds, for people.
    pub fn stat(&self) -> Stat {
        Stat {
            volume_count: self.volumes.len(),
            volume_bytes: self.volume_bytes(),
            tail_bytes: self.tail.used_bytes().0,
            tail_batch_count: self.lines.iter().map(|line| line.tail.len()).sum(),
            backlog_count: self.backlog_count(),
            written_bytes: self.written_bytes(),
            wear: self.wear,
            is_mirrored: self.tail.is_mirrored(),
        }
    }

    fn written_bytes(&self) -> u64 {
        self.tail.written_bytes() + self.volume_written_bytes
    }

    /// What was written, over all lives of the journal.
    pub fn wear(&self) -> &Wear {
        &self.wear
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
        if self.has_room_for_events(1) {
            let mut payload = Vec::new();
            batch::put_event(Span(0), event, &mut payload);
            self.append_fitting(Stream::Event, None, now, &payload, false);
        }
    }

    /// Whether so many events and the state that goes with them fit into the tail as it is.
    fn has_room_for_events(&self, count: usize) -> bool {
        self.tail.fits(count * EVENT_ROOM_BYTES + SLOT_BYTES_MAX)
    }

    /// Whether batches wait for a commit, and not only progress that may ride with the next one.
    pub fn has_uncommitted_batches(&self) -> bool {
        self.lines.iter().any(|line| line.durable < line.next)
    }

    /// Makes everything appended so far durable, then makes room if the folder is over its size.
    ///
    /// Errors: nothing new is durable; what was appended stays and the next commit tries again.
    pub fn commit(&mut self, now: Stamp) -> io::Result<()> {
        self.note_wear(now);
        self.commit_tail()?;
        self.make_room(now)
    }

    /// What was written since the last commit, as of this one: what it writes itself is noted by the next.
    fn note_wear(&mut self, now: Stamp) {
        let written_bytes = self.written_bytes();
        let (noted, before) = std::mem::replace(&mut self.worn, (now.uptime, written_bytes));
        self.wear.note(now.uptime - noted, written_bytes - before);
        self.slots[WEAR_SLOT].is_dirty = true;
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
        for line in self.lines.iter_mut() {
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
        } else if number == WEAR_SLOT {
            body = postcard::to_extend(&self.wear, body).expect("a vector takes every byte");
        } else if number == NAME_SLOT {
            body.extend_from_slice(&self.id.0.to_le_bytes());
        } else {
            body.extend_from_slice(&self.slots[number].value);
        }
        body
    }

    /// The value of a slot, empty when it was never set.
    pub fn slot(&self, number: usize) -> &[u8] {
        assert!(number >= OWN_SLOT_COUNT, "the first slots are the journal's own");
        &self.slots[number].value
    }

    /// Sets a slot; durable with the next commit.
    ///
    /// Panics: when the value exceeds [`SLOT_BYTES_MAX`].
    pub fn set_slot(&mut self, number: usize, value: &[u8]) {
        assert!(number >= OWN_SLOT_COUNT, "the first slots are the journal's own");
        assert!(value.len() < SLOT_BYTES_MAX, "slots are small");
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
    /// What neither has any more is said to be lost, once more if it was said before and the hub has not heard it; what still
    /// waits to be said to the hub is not said twice. The event stream goes first, so that it is known what waits.
    pub fn adopt(&mut self, now: Stamp, stream: Stream, held: &RangeSet) {
        self.lines[stream.index()].done = RangeSet::new();
        for range in held.iter() {
            self.ack(stream, range);
        }
        self.slots[STATE_SLOT].is_dirty = true;
        if self.holes(stream).is_empty() {
            return;
        }
        for range in self.waiting_losses(now, stream) {
            // One that finds no room is a hole, and said again.
            let _ = self.lines[stream.index()].done.insert_range(range);
        }
        for range in self.holes(stream) {
            self.say_lost(now, stream, range, LossReason::Damaged);
        }
    }

    /// The losses of a stream of which the hub has not heard yet: those in the newest events that are not done.
    fn waiting_losses(&mut self, now: Stamp, stream: Stream) -> Vec<SeqRange> {
        let (mut losses, mut record, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = self.durable(Stream::Event);
        for _ in 0..WAITING_EVENT_COUNT_MAX {
            let Some(seq) = self.done(Stream::Event).last_missing_below(end) else { break };
            end = seq;
            if !self.read_held(now, Stream::Event, seq, &mut record).unwrap_or(false) {
                end = self.hole_of(Stream::Event, seq).first;
                continue;
            }
            let Some(payload) = Record::open(&record).ok().and_then(|record| record.payload(&mut scratch).ok()) else {
                continue;
            };
            let events = batch::events(payload).filter_map(|event| event.ok()?.1);
            events.for_each(|event| {
                losses.extend(event.missing().filter(|(of, ..)| *of == stream).map(|(_, range, _)| range));
            });
        }
        losses
    }

    /// Keeps a batch back, the newest of its stream: the hub has what it says in others. That is [told](Journal::tell_withheld) later,
    /// with its neighbours, and before anything of it is dropped.
    pub fn withhold(&mut self, now: Stamp, stream: Stream, seq: Seq) {
        if !self.withheld.add(now.uptime, stream, seq) {
            self.tell_withheld(now);
            self.withheld.add(now.uptime, stream, seq);
        }
    }

    /// Says which batches are withheld: they are done. Both are durable with the next commit. Without room to say it they are sent
    /// like others.
    pub fn tell_withheld(&mut self, now: Stamp) {
        let withheld = std::mem::take(&mut self.withheld);
        if !self.has_room_for_events(1) {
            return;
        }
        let lines = &mut self.lines;
        if let Some(event) = withheld.event(|stream, range| lines[stream.index()].done.insert_range(range).is_ok()) {
            self.slots[STATE_SLOT].is_dirty = true;
            self.append_event(now, &event);
        }
    }

    /// When it is time to [tell](Journal::tell_withheld) what is withheld.
    pub fn withheld_due_at(&self) -> Option<Instant> {
        self.withheld.due_at()
    }

    /// Whether a batch is withheld, and the hub does not know it yet.
    pub fn is_withheld(&self, stream: Stream, seq: Seq) -> bool {
        self.withheld.contains(stream, seq)
    }

    /// How many batches of a stream are withheld, of which the hub does not know yet.
    pub fn withheld_count(&self, stream: Stream) -> u64 {
        self.withheld.count(stream)
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

    /// Reads a durable batch, a sealed record, into `record`. `false` when the journal does not hold it, or no longer: what
    /// should be there and is not is declared lost.
    ///
    /// Errors: the disk refuses to read; try again later.
    pub fn read(&mut self, now: Stamp, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> io::Result<bool> {
        if seq >= self.durable(stream) {
            return Ok(false);
        }
        let is_read = self.read_held(now, stream, seq, record)?;
        if !is_read && !self.done(stream).contains(seq) {
            let hole = self.hole_of(stream, seq);
            self.say_lost(now, stream, hole, LossReason::Damaged);
        }
        Ok(is_read)
    }

    /// The numbers around one that is not there, which are not there either: an era that was skipped has billions.
    fn hole_of(&self, stream: Stream, seq: Seq) -> SeqRange {
        let alone = SeqRange { first: seq, last: seq };
        let holds = |hole: &SeqRange| hole.first <= seq && seq <= hole.last;
        self.holes(stream).into_iter().find(holds).unwrap_or(alone)
    }

    fn read_held(&mut self, now: Stamp, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> io::Result<bool> {
        let line = &self.lines[stream.index()];
        if let Ok(index) = line.tail.binary_search_by_key(&seq, |batch| batch.seq) {
            let place = line.tail[index].place;
            match self.tail.read(place, record) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.lines[stream.index()].tail.remove(index);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(index) = self.volumes.iter().position(|volume| volume.name.covers(stream, seq)) else {
            return Ok(false);
        };
        let name = self.volumes[index].name;
        match self.read_volume(name, stream, seq, record) {
            Ok(is_found) if is_found || self.done(stream).contains(seq) => {
                self.volumes[index].refusals = None;
                return Ok(is_found);
            }
            // A damaged page can hide batches from redb, and it does not notice: their bytes may be whole.
            Ok(_) => {}
            Err(VolumeError::Io(error)) => {
                // redb refuses everything after one failed read: the next attempt opens the volume anew.
                self.reader = None;
                self.volumes[index].fail(now);
                if !self.volumes[index].is_given_up(now) {
                    return Err(error);
                }
            }
            Err(VolumeError::Damaged) => {}
        }
        self.quarantine(now, name)?;
        let Some(volume) = self.volumes.iter().find(|volume| volume.name.covers(stream, seq)) else {
            return Ok(false);
        };
        Ok(self.read_volume(volume.name, stream, seq, record).unwrap_or(false))
    }

    fn read_volume(&mut self, name: Name, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> Result<bool, VolumeError> {
        if self.reader.as_ref().is_none_or(|reader| reader.name != name) {
            self.reader = None;
            self.reader = Some(Reader::open(&self.folder, name)?);
        }
        let reader = self.reader.as_ref().expect("opened above");
        reader.read(stream, seq, record)
    }

    /// Closes what reading opened. Reading opens it again.
    pub fn rest(&mut self) {
        self.reader = None;
    }

    /// Notes a loss in progress and says it in an event, both durable with the next commit.
    fn say_lost(&mut self, now: Stamp, stream: Stream, range: SeqRange, reason: LossReason) {
        // What cannot be said now, or does not fit the set, is found missing again later, and said then.
        if !self.has_room_for_events(1) {
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
        let line = &self.lines[stream.index()];
        let of_volumes = self.ranges(stream).next().map(|range| range.first);
        of_volumes.or(line.tail.first().map(|batch| batch.seq)).unwrap_or(line.next)
    }

    /// What the journal holds of `stream`, done or not, lowest first. Inside the range of a volume there may be holes.
    pub fn held(&self, stream: Stream) -> Vec<SeqRange> {
        let mut held: Vec<SeqRange> = self.ranges(stream).collect();
        for batch in self.lines[stream.index()].tail.iter().filter(|batch| batch.seq < self.durable(stream)) {
            match held.last_mut() {
                Some(range) if range.last.0 + 1 == batch.seq.0 => range.last = batch.seq,
                _ => held.push(SeqRange { first: batch.seq, last: batch.seq }),
            }
        }
        held
    }

    /// What the volumes hold of a stream, lowest first.
    fn ranges(&self, stream: Stream) -> impl Iterator<Item = SeqRange> {
        self.volumes.iter().filter_map(move |volume| volume.name.range(stream))
    }
}

/// An event as a record: a batch of one, which is its own run.
fn sealed_event(seq: Seq, now: Stamp, event: &Event) -> Vec<u8> {
    let (mut payload, mut record) = (Vec::new(), Vec::new());
    batch::put_event(Span(0), event, &mut payload);
    record::seal(&Header { stream: Stream::Event, seq, run: seq, stamp: now }, &payload, false, &mut record);
    record
}
