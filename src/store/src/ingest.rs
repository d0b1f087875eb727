//! One transaction of changes.
//!
//! A link that drains a backlog brings tens of batches of one run at a time, so the small rows beside the records are
//! held in a [`Draft`] and written once, at the end.

use std::collections::BTreeMap;

use redb::ReadableTable;
use wire::batch::{Dictionary, PayloadError, TickReader, events, take_mark};
use wire::id::{DeviceId, JournalId};
use wire::ranges::SeqRange;
use wire::record::{Header, Record};
use wire::series::Series;
use wire::stream::{Resolution, Stream};
use wire::time::{Instant, UnixTime};

use crate::boot::is_believable;
use crate::change::{Change, Refused, RefusedReason};
use crate::error::StoreError;
use crate::table::{
    BatchKey, BootKey, BootRow, DeviceRow, ProgressRow, Row, RunRow, SeriesRow, StreamKey, Tables, batches_of,
    boots_of, series_of, streams_of,
};
use crate::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Applies `changes` in order and names those that were not taken. The caller commits, or drops all of it on an error.
pub(crate) fn apply(tables: &mut Tables<'_>, changes: &[Change]) -> Result<Vec<Refused>, StoreError> {
    let mut draft = Draft { tables, rows: Rows::default(), reader: None, scratch: Vec::new() };
    let mut refused = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let taken = match change {
            Change::Delete { key } => {
                draft.tables.state.remove(&key[..])?;
                Ok(())
            }
            Change::Forget { device } => {
                draft.forget(*device)?;
                Ok(())
            }
            Change::Lost { device, journal, stream, range, is_elsewhere } => {
                draft.lost((device.0, journal.0, (*stream).into()), *range, *is_elsewhere)?
            }
            Change::Put { key, value } => {
                assert!(key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX, "the hub bounds its own state");
                draft.tables.state.insert(&key[..], &value[..])?;
                Ok(())
            }
            Change::Record { device, journal, record, received } => {
                draft.record(*device, *journal, record, *received)?
            }
        };
        if let Err(reason) = taken {
            refused.push(Refused { index, reason });
        }
    }
    draft.write()?;
    Ok(refused)
}

struct Draft<'a, 't> {
    tables: &'a mut Tables<'t>,
    rows: Rows,
    /// Made for the first batch of ticks: it holds two tables of [`wire::limits::SERIES_COUNT_MAX`].
    reader: Option<Box<TickReader>>,
    scratch: Vec<u8>,
}

/// Rows that were read or made in this transaction and not yet written.
#[derive(Default)]
struct Rows {
    boot: BTreeMap<BootKey, BootRow>,
    device: BTreeMap<u64, DeviceRow>,
    progress: BTreeMap<StreamKey, ProgressRow>,
    run: BTreeMap<BatchKey, RunRow>,
}

/// The row of `$key`: from the draft, or from its table, or a new one.
macro_rules! row {
    ($draft:ident.$table:ident[$key:expr], $new:expr) => {{
        let key = $key;
        if !$draft.rows.$table.contains_key(&key) {
            let row = match $draft.tables.$table.get(&key)? {
                Some(bytes) => Row::unpack(bytes.value())?,
                None => $new,
            };
            $draft.rows.$table.insert(key, row);
        }
        $draft.rows.$table.get_mut(&key).expect("the row was inserted above")
    }};
}

impl Draft<'_, '_> {
    fn record(
        &mut self,
        device: DeviceId,
        journal: JournalId,
        bytes: &[u8],
        received: UnixTime,
    ) -> Result<Result<(), RefusedReason>, StoreError> {
        let record = match Record::open(bytes) {
            Ok(record) => record,
            Err(error) => return Ok(Err(error.into())),
        };
        let header = record.header;
        let stream_key = (device.0, journal.0, header.stream.into());
        let key = (device.0, journal.0, header.stream.into(), header.seq.0);
        let progress = row!(self.progress[stream_key], ProgressRow::default());
        // A number that was declared lost is a member and has no record: it is welcome after all.
        if progress.held.contains(header.seq) {
            let held = self.tables.record.get(&key)?.map(|held| Held::of(held.value(), bytes));
            match held {
                None => {}
                Some(Held::Same) => return Ok(Ok(())),
                Some(Held::Other) => return Ok(Err(RefusedReason::Conflict)),
                Some(Held::Damaged) => {
                    self.tables.record.insert(&key, bytes)?;
                    self.read(device, journal, &record)?;
                    return Ok(Ok(()));
                }
            }
        }
        if let Err(full) = progress.held.insert(header.seq) {
            return Ok(Err(full.into()));
        }
        progress.record_count += 1;
        self.tables.record.insert(&key, bytes)?;

        let content = self.read(device, journal, &record)?;
        self.note_boot(device, &header, received)?;
        self.note_run(device, journal, &header, &content)?;
        let row = row!(self.device[device.0], DeviceRow::default());
        row.received = row.received.max(received);
        row.batch_count += 1;
        row.sample_count += content.sample_count;
        row.record_bytes += bytes.len() as u64;
        row.unreadable_count += u64::from(!content.is_readable);
        Ok(Ok(()))
    }

    fn lost(
        &mut self,
        key: StreamKey,
        range: SeqRange,
        is_elsewhere: bool,
    ) -> Result<Result<(), RefusedReason>, StoreError> {
        let progress = row!(self.progress[key], ProgressRow::default());
        let before = progress.held.count();
        let inserted = progress.held.insert_range(range).map_err(RefusedReason::from);
        if is_elsewhere {
            progress.elsewhere_count += progress.held.count() - before;
        }
        Ok(inserted)
    }

    fn forget(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let device = device.0;
        self.rows.boot.retain(|key, _| key.0 != device);
        self.rows.device.remove(&device);
        self.rows.progress.retain(|key, _| key.0 != device);
        self.rows.run.retain(|key, _| key.0 != device);
        self.tables.record.retain_in(batches_of(device), |_, _| false)?;
        self.tables.run.retain_in(batches_of(device), |_, _| false)?;
        self.tables.progress.retain_in(streams_of(device), |_, _| false)?;
        self.tables.boot.retain_in(boots_of(device), |_, _| false)?;
        self.tables.series.retain_in(series_of(device), |_, _| false)?;
        self.tables.device.remove(device)?;
        Ok(())
    }

    /// Looks into the payload as far as a batch alone can tell. What does not read is counted and kept as it is:
    /// another version may read it, and the gateway has nothing better to send.
    fn read(&mut self, device: DeviceId, journal: JournalId, record: &Record<'_>) -> Result<Content, StoreError> {
        let mut content = Content { is_readable: true, ..Content::default() };
        let header = record.header;
        let Ok(payload) = record.payload(&mut self.scratch) else {
            content.is_readable = false;
            return Ok(content);
        };
        match header.stream {
            Stream::Dictionary => {
                let Ok(dictionary) = Dictionary::open(payload) else {
                    content.is_readable = false;
                    return Ok(content);
                };
                for entry in dictionary.entries() {
                    let Ok((id, class, series)) = entry else {
                        content.is_readable = false;
                        break;
                    };
                    let key = (device.0, journal.0, dictionary.generation, id.0);
                    let have = match self.tables.series.get(&key)? {
                        Some(bytes) => Some(SeriesRow::unpack(bytes.value())?.seq),
                        None => None,
                    };
                    if have.is_none_or(|seq| seq < header.seq) {
                        let series = owned(&series);
                        self.tables.series.insert(&key, &SeriesRow { seq: header.seq, class, series }.pack()[..])?;
                    }
                }
            }
            Stream::Event => content.is_readable = events(payload).all(|event| event.is_ok()),
            Stream::Series(Resolution::Raw, _) | Stream::Extract(_) => {
                let reader = self.reader.get_or_insert_default();
                let read = content.count_ticks(reader, payload, header.is_keyframe());
                content.is_readable = read.is_ok();
                if header.is_keyframe() && content.tick_count + u64::from(content.is_readable) > 0 {
                    let mark = reader.mark();
                    content.mark = Some((mark.generation, mark.count, mark.hash));
                }
            }
            // Kept as they are until somebody asks: which columns they have says the dictionary, which may come later.
            Stream::Series(..) => {
                if header.is_keyframe() {
                    let mark = take_mark(&mut &*payload);
                    content.is_readable = mark.is_ok();
                    content.mark = mark.ok().map(|mark| (mark.generation, mark.count, mark.hash));
                }
            }
        }
        Ok(content)
    }

    fn note_boot(&mut self, device: DeviceId, header: &Header, received: UnixTime) -> Result<(), StoreError> {
        let stamp = header.stamp;
        let row = row!(self.boot[(device.0, stamp.boot.0)], BootRow { anchor: None, received });
        row.received = row.received.min(received);
        if let Some(unix) = stamp.unix.filter(|unix| is_believable(*unix, stamp.uptime, received)) {
            row.anchor = row.anchor.max(Some((stamp.uptime, unix)));
        }
        Ok(())
    }

    fn note_run(
        &mut self,
        device: DeviceId,
        journal: JournalId,
        header: &Header,
        content: &Content,
    ) -> Result<(), StoreError> {
        let uptime = header.stamp.uptime;
        let new = RunRow {
            boot: header.stamp.boot,
            first: uptime,
            last: uptime,
            batch_count: 0,
            tick_count: 0,
            slot_count: 0,
            mark: None,
        };
        let row = row!(self.run[(device.0, journal.0, header.stream.into(), header.run.0)], new);
        row.first = row.first.min(uptime).min(content.first_tick.unwrap_or(uptime));
        row.last = row.last.max(uptime);
        row.batch_count = row.batch_count.saturating_add(1);
        row.tick_count += content.tick_count;
        row.slot_count = row.slot_count.max(content.slot_count);
        if header.is_keyframe() {
            row.boot = header.stamp.boot;
            row.mark = content.mark;
        }
        Ok(())
    }

    fn write(self) -> Result<(), StoreError> {
        for (key, row) in &self.rows.boot {
            self.tables.boot.insert(key, &row.pack()[..])?;
        }
        for (key, row) in &self.rows.device {
            self.tables.device.insert(key, &row.pack()[..])?;
        }
        for (key, row) in &self.rows.progress {
            self.tables.progress.insert(key, &row.pack()[..])?;
        }
        for (key, row) in &self.rows.run {
            self.tables.run.insert(key, &row.pack()[..])?;
        }
        Ok(())
    }
}

fn owned(series: &Series<&str>) -> Series<String> {
    Series { name: series.name.to_owned(), labels: series.labels.to_owned(), kind: series.kind, scale: series.scale }
}

/// What is held under the number of a record that comes.
enum Held {
    /// A record no longer: it was damaged at rest, and here it is again.
    Damaged,
    Other,
    Same,
}

impl Held {
    fn of(held: &[u8], bytes: &[u8]) -> Held {
        match Record::open(held) {
            _ if held == bytes => Held::Same,
            Ok(_) => Held::Other,
            Err(_) => Held::Damaged,
        }
    }
}

/// What one batch says without its neighbours.
#[derive(Default)]
struct Content {
    is_readable: bool,
    sample_count: u64,
    tick_count: u64,
    slot_count: u16,
    /// When the first tick was; known in a keyframe only.
    first_tick: Option<Instant>,
    mark: Option<(u32, u16, u32)>,
}

impl Content {
    /// Counts ticks and samples. The codec writes *which* slots have values apart from the values, so the counts are
    /// right even where the values are not, in a batch whose predecessors have not been read.
    fn count_ticks(&mut self, reader: &mut TickReader, payload: &[u8], keyframe: bool) -> Result<(), PayloadError> {
        reader.read(payload, keyframe, |tick, values| {
            if keyframe && self.tick_count == 0 {
                self.first_tick = Some(Instant(tick.at_ms));
            }
            self.tick_count += 1;
            self.sample_count += values.iter().flatten().count() as u64;
            self.slot_count = self.slot_count.max(tick.count as u16);
        })
    }
}
