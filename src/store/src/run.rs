//! Runs: which of them a question must read, and reading one.
//!
//! After a card was copied or put back, its journal goes on under another name, and what the hub does not hold of a run comes under that
//! one. So the batches of a run may be held under several names, some under more than one: they are one run. It is told by its number and
//! its boot, because whoever went on from the copy began runs of its own. It stands under the name with its newest batch: the copy's
//! dictionary may have gone on otherwise than that which its ticks count on.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use wire::batch::{PayloadError, TickReader};
use wire::class::Class;
use wire::id::{DeviceId, JournalId, Seq};
use wire::limits::EXTRACT_SPAN_MAX;
use wire::record::{Header, Record};
use wire::series::Kind;
use wire::stream::{Resolution, Stream};
use wire::time::{Instant, UnixTime};
use wire::window::{Window, WindowReader};

use codec::run::Tick;

use crate::boot::place;
use crate::error::StoreError;
use crate::notes::{Notes, Unreadable};
use crate::table::{BatchKey, Row, RunRow, View, streams_of};

/// One run, as the index has it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) device: DeviceId,
    pub(crate) journal: JournalId,
    pub(crate) stream: Stream,
    /// The batch that opened it.
    pub(crate) first: Seq,
    /// The last number that can belong to it: the one before the next run, if one is held.
    pub(crate) last: Seq,
    pub(crate) row: RunRow,
    /// No tick or event of it is later: the next run of the journal began then, in the same boot.
    pub(crate) until: Option<Instant>,
    /// The other names under which some of it is held.
    twins: Vec<JournalId>,
}

impl Run {
    /// One of its records, as an answer names it.
    fn unreadable(&self, seq: Seq) -> Unreadable {
        Unreadable { device: self.device, journal: self.journal, stream: self.stream, seq }
    }

    /// Whether anything in the run can lie in the span, when its boot began at `began`.
    pub(crate) fn overlaps(&self, began: UnixTime, from: UnixTime, to: UnixTime) -> bool {
        place(began, self.row.first) <= to && self.until.is_none_or(|until| place(began, until) >= from)
    }
}

/// The journals of which anything of `stream` is held or lost.
pub(crate) fn journals(view: &View, device: DeviceId, stream: Stream) -> Result<Vec<JournalId>, StoreError> {
    let mut journals = Vec::new();
    for entry in view.progress.range(streams_of(device.0))? {
        let (_, journal, number) = entry?.0.value();
        if number == u8::from(stream) {
            journals.push(JournalId(journal));
        }
    }
    Ok(journals)
}

/// A journal's stream with values of the series of a class.
pub(crate) type SeriesStream = (JournalId, Stream, Class);

/// The journals of which any ticks are held or lost, with the streams of those and their classes. Extracts of a journal come last.
pub(crate) fn journals_of_ticks(view: &View, device: DeviceId) -> Result<Vec<SeriesStream>, StoreError> {
    journals_of(view, device, Stream::ticks_of)
}

/// The journals of which any windows of this resolution are held or lost, with the streams of those and their classes.
pub(crate) fn journals_of_windows(
    view: &View,
    device: DeviceId,
    resolution: Resolution,
) -> Result<Vec<SeriesStream>, StoreError> {
    journals_of(view, device, |stream| match stream {
        Stream::Series(of, class) => (of == resolution).then_some(class),
        _ => None,
    })
}

fn journals_of(
    view: &View,
    device: DeviceId,
    class_of: impl Fn(Stream) -> Option<Class>,
) -> Result<Vec<SeriesStream>, StoreError> {
    let mut found = Vec::new();
    for entry in view.progress.range(streams_of(device.0))? {
        let (_, journal, number) = entry?.0.value();
        if let Ok(stream) = Stream::try_from(number)
            && let Some(class) = class_of(stream)
        {
            found.push((JournalId(journal), stream, class));
        }
    }
    Ok(found)
}

/// The names of a device's journal beside this one under which anything of `stream` is held or lost.
fn other_journals(
    view: &View,
    device: DeviceId,
    journal: JournalId,
    stream: Stream,
) -> Result<Vec<JournalId>, StoreError> {
    // An extract bears the boot of the ticks that it copied, so that two copies of a card may have extracts of one number and one boot.
    if stream.is_copy() {
        return Ok(Vec::new());
    }
    let mut others = journals(view, device, stream)?;
    others.retain(|other| *other != journal);
    Ok(others)
}

/// Adds the names among `others` under which some of the run is held; `None` when it stands under one of those.
fn join(view: &View, others: &[JournalId], mut run: Run) -> Result<Option<Run>, StoreError> {
    let place = |row: &RunRow, journal| (Reverse(row.last), journal);
    for &other in others {
        let Some(bytes) = view.run.get(&(run.device.0, other.0, u8::from(run.stream), run.first.0))? else { continue };
        let row = RunRow::unpack(bytes.value())?;
        if row.boot != run.row.boot {
            continue;
        }
        if place(&row, other) < place(&run.row, run.journal) {
            return Ok(None);
        }
        run.row.mark = run.row.mark.or(row.mark);
        run.twins.push(other);
    }
    Ok(Some(run))
}

/// The runs of one stream, oldest first.
pub(crate) fn runs(
    view: &View,
    device: DeviceId,
    journal: JournalId,
    stream: Stream,
) -> Result<impl Iterator<Item = Result<Run, StoreError>>, StoreError> {
    let key = |seq| (device.0, journal.0, u8::from(stream), seq);
    let mut rows = view.run.range::<BatchKey>(key(0)..=key(u64::MAX))?.map(|entry| {
        let (key, bytes) = entry?;
        Ok::<_, StoreError>((Seq(key.value().3), RunRow::unpack(bytes.value())?))
    });
    let mut ahead = rows.next();
    let all = std::iter::from_fn(move || {
        let (first, row) = match ahead.take()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        ahead = rows.next();
        let next = ahead.as_ref().and_then(|next| next.as_ref().ok());
        let last = next.map_or(Seq(u64::MAX), |(next, _)| Seq(next.0 - 1));
        let until = if stream.is_copy() {
            // Those after it may be of earlier ticks.
            Some(row.last + EXTRACT_SPAN_MAX)
        } else {
            next.filter(|(_, next)| next.boot == row.boot).map(|(_, next)| next.first)
        };
        Some(Ok(Run { device, journal, stream, first, last, row, until, twins: Vec::new() }))
    });
    let others = other_journals(view, device, journal, stream)?;
    Ok(all.filter_map(move |run| run.and_then(|run| join(view, &others, run)).transpose()))
}

/// The newest run of a stream, and those before it, newest first. Without [`Run::until`].
pub(crate) fn runs_backwards(
    view: &View,
    device: DeviceId,
    journal: JournalId,
    stream: Stream,
) -> Result<impl Iterator<Item = Result<Run, StoreError>>, StoreError> {
    let key = |seq| (device.0, journal.0, u8::from(stream), seq);
    let mut last = Seq(u64::MAX);
    let others = other_journals(view, device, journal, stream)?;
    let all = view.run.range::<BatchKey>(key(0)..=key(u64::MAX))?.rev().map(move |entry| {
        let (key, bytes) = entry?;
        let (first, row) = (Seq(key.value().3), RunRow::unpack(bytes.value())?);
        let run = Run { device, journal, stream, first, last, row, until: None, twins: Vec::new() };
        last = Seq(first.0.saturating_sub(1));
        Ok(run)
    });
    Ok(all.filter_map(move |run: Result<Run, StoreError>| run.and_then(|run| join(view, &others, run)).transpose()))
}

/// Reads records, and runs of them. Made once for a question: it holds some tables of a whole dictionary's size.
#[derive(Default)]
pub(crate) struct Walker {
    reader: TickReader,
    /// Made for the first window: most questions see none.
    windows: Option<Box<WindowReader>>,
    scratch: Vec<u8>,
}

impl Walker {
    /// Hands every tick of a run that can be read to `each`, oldest first, until `each` says that it has enough.
    ///
    /// A record that is damaged, or that does not follow the one before it, ends the run: what comes after it waits,
    /// and both are counted in `notes`.
    pub(crate) fn ticks(
        &mut self,
        view: &View,
        run: &Run,
        notes: &mut Notes,
        mut each: impl FnMut(Tick, &[Option<i64>]) -> bool,
    ) -> Result<(), StoreError> {
        let Walker { reader, scratch, .. } = self;
        for_each_payload(view, run, notes, scratch, |payload, is_keyframe| {
            let mut enough = false;
            reader.read(payload, is_keyframe, |tick, values| enough = enough || !each(tick, values))?;
            Ok(!enough)
        })
    }

    /// As [`Walker::ticks`], but hands every window of a run to `each`: when it began, the slot of its series, what it did.
    pub(crate) fn windows(
        &mut self,
        view: &View,
        run: &Run,
        kinds: &[Kind],
        notes: &mut Notes,
        mut each: impl FnMut(Instant, usize, &Window) -> bool,
    ) -> Result<(), StoreError> {
        let Walker { windows, scratch, .. } = self;
        let reader = windows.get_or_insert_default();
        for_each_payload(view, run, notes, scratch, |payload, is_keyframe| {
            let mut enough = false;
            reader.read(payload, is_keyframe, kinds, |extent, slot, window| {
                enough = enough || !each(extent.began, slot, window);
            })?;
            Ok(!enough)
        })
    }

    /// Hands the payload of every record of a run to `each`, each on its own: for streams whose batches do not build
    /// on each other. `each` says whether it could read it.
    pub(crate) fn payloads(
        &mut self,
        view: &View,
        run: &Run,
        notes: &mut Notes,
        mut each: impl FnMut(&Header, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        for_each_record(view, run, notes, |notes, seq, record| {
            if !record.payload(&mut self.scratch).is_ok_and(|payload| each(&record.header, payload)) {
                notes.add_unreadable(run.unreadable(seq));
            }
            true
        })
    }
}

/// Hands the payload of each record of a run to `each`, as long as each follows the one before it, and whether it is the keyframe. `each`
/// says whether it wants more.
fn for_each_payload(
    view: &View,
    run: &Run,
    notes: &mut Notes,
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(&[u8], bool) -> Result<bool, PayloadError>,
) -> Result<(), StoreError> {
    let mut next = Some(run.first);
    for_each_record(view, run, notes, |notes, seq, record| {
        let header = record.header;
        let follows = next == Some(seq) && header.run == run.first && header.stamp.boot == run.row.boot;
        if !follows {
            next = None;
            notes.waiting_count += 1;
            return true;
        }
        let read = record.payload(scratch).ok().map(|payload| each(payload, header.is_keyframe()));
        let Some(Ok(wants_more)) = read else {
            next = None;
            notes.add_unreadable(run.unreadable(seq));
            return true;
        };
        next = Some(Seq(seq.0.saturating_add(1)));
        wants_more
    })
}

/// Hands every record of a run that passes its checksum to `each`, in order, while `each` says that it wants more.
fn for_each_record(
    view: &View,
    run: &Run,
    notes: &mut Notes,
    mut each: impl FnMut(&mut Notes, Seq, &Record<'_>) -> bool,
) -> Result<(), StoreError> {
    let key = |seq: Seq| (run.device.0, run.journal.0, u8::from(run.stream), seq.0);
    let mut elsewhere = held_elsewhere(view, run)?;
    for entry in view.record.range::<BatchKey>(key(run.first)..=key(run.last))? {
        let (key, bytes) = entry?;
        let seq = Seq(key.value().3);
        let later = elsewhere.split_off(&seq);
        for (seq, bytes) in std::mem::replace(&mut elsewhere, later) {
            if open(run, seq, &bytes).is_some_and(|record| !each(notes, seq, &record)) {
                return Ok(());
            }
        }
        let twin = elsewhere.remove(&seq);
        match open(run, seq, bytes.value()).or_else(|| open(run, seq, twin.as_ref()?)) {
            Some(record) => {
                if !each(notes, seq, &record) {
                    return Ok(());
                }
            }
            None => notes.add_unreadable(run.unreadable(seq)),
        }
    }
    for (seq, bytes) in elsewhere {
        if open(run, seq, &bytes).is_some_and(|record| !each(notes, seq, &record)) {
            break;
        }
    }
    Ok(())
}

/// A record of a run.
///
/// Reads of the engine verify nothing, so the gateway's checksum is what tells damage at rest. The number is compared because a record in
/// the place of another one is damage too.
fn open<'a>(run: &Run, seq: Seq, bytes: &'a [u8]) -> Option<Record<'a>> {
    let record = Record::open(bytes).ok()?;
    (record.header.seq == seq && record.header.stream == run.stream).then_some(record)
}

/// The records of a run that are held under its other names and can be read.
fn held_elsewhere(view: &View, run: &Run) -> Result<BTreeMap<Seq, Vec<u8>>, StoreError> {
    let mut held = BTreeMap::new();
    for twin in &run.twins {
        let key = |seq: u64| (run.device.0, twin.0, u8::from(run.stream), seq);
        for entry in view.record.range::<BatchKey>(key(run.first.0)..=key(u64::MAX))? {
            let (key, bytes) = entry?;
            let seq = Seq(key.value().3);
            match open(run, seq, bytes.value()) {
                Some(record) if record.header.run != run.first => break,
                Some(_) => drop(held.insert(seq, bytes.value().to_vec())),
                None => {}
            }
        }
    }
    Ok(held)
}
