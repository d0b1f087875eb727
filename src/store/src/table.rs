//! The tables of the file, and the rows that stand in them.
//!
//! ```text
//! table     key                                      value
//! record    device u64, journal u32, stream u8, seq  the sealed record, byte for byte
//! run       device, journal, stream, seq it opened   RunRow
//! progress  device, journal, stream                  ProgressRow
//! boot      device, boot u32                         BootRow
//! device    device                                   DeviceRow
//! series    device, journal, generation u32, id u16  SeriesRow
//! state     bytes                                    bytes: the hub's own
//! meta      text                                     u32: "format"
//! ```
//!
//! Rows are postcard. All but `record` and `state` are an index: they are written in the transaction that writes the
//! record they tell of, and say nothing that the records do not.

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, Table, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::batch::DictionaryMark;
use wire::class::Class;
use wire::id::Seq;
use wire::ranges::RangeSet;
use wire::series::Series;
use wire::time::{BootId, Instant, UnixTime};

use crate::error::StoreError;

/// Device, journal, stream, and the number of a batch or of the batch that opened a run.
pub(crate) type BatchKey = (u64, u32, u8, u64);

/// Device, journal and stream.
pub(crate) type StreamKey = (u64, u32, u8);

/// Device and boot.
pub(crate) type BootKey = (u64, u32);

/// Device, journal, generation and series.
pub(crate) type SeriesKey = (u64, u32, u32, u16);

pub(crate) const RECORD: TableDefinition<'_, BatchKey, &[u8]> = TableDefinition::new("record");
pub(crate) const RUN: TableDefinition<'_, BatchKey, &[u8]> = TableDefinition::new("run");
pub(crate) const PROGRESS: TableDefinition<'_, StreamKey, &[u8]> = TableDefinition::new("progress");
pub(crate) const BOOT: TableDefinition<'_, BootKey, &[u8]> = TableDefinition::new("boot");
pub(crate) const DEVICE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("device");
pub(crate) const SERIES: TableDefinition<'_, SeriesKey, &[u8]> = TableDefinition::new("series");
pub(crate) const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
pub(crate) const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");

/// The key of [`META`] under which the format stands.
pub(crate) const META_FORMAT: &str = "format";

/// A value of one of our tables.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// The table's name, for errors.
    const TABLE: &'static str;

    /// Whether what was read can be true.
    fn is_valid(&self) -> bool {
        true
    }

    fn pack(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a row of numbers and text always packs into memory")
    }

    fn unpack(bytes: &[u8]) -> Result<Self, StoreError> {
        match postcard::from_bytes::<Self>(bytes) {
            Ok(row) if row.is_valid() => Ok(row),
            _ => Err(StoreError::Row { table: Self::TABLE }),
        }
    }
}

/// What is held of one stream of one journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressRow {
    /// Numbers that are held or will never come.
    pub(crate) held: RangeSet,
    /// Records that are held: what `held` has more than these and those elsewhere is lost.
    pub(crate) record_count: u64,
    /// Numbers whose records are held under another name of the journal.
    pub(crate) elsewhere_count: u64,
}

impl ProgressRow {
    /// Batches that will never come and are not held.
    pub(crate) fn lost_count(&self) -> u64 {
        self.held.count().saturating_sub(self.record_count).saturating_sub(self.elsewhere_count)
    }

    /// Numbers below the highest one that are neither held nor lost.
    pub(crate) fn gap_count(&self) -> u64 {
        let end = self.held.iter().next_back().map_or(0, |range| range.last.0.saturating_add(1));
        end.saturating_sub(self.held.count())
    }
}

impl Row for ProgressRow {
    const TABLE: &'static str = "progress";

    fn is_valid(&self) -> bool {
        self.held.is_valid()
    }
}

/// What a question must know of a run before it reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRow {
    /// The boot in which its keyframe was made, or any of its batches while the keyframe has not come.
    pub(crate) boot: BootId,
    /// The earliest stamp of its batches, or its first tick when that is earlier.
    pub(crate) first: Instant,
    /// The latest stamp of its batches; ticks may be later.
    pub(crate) last: Instant,
    /// Batches held.
    pub(crate) batch_count: u32,
    /// Ticks in them.
    pub(crate) tick_count: u64,
    /// Slots of the widest tick.
    pub(crate) slot_count: u16,
    /// The dictionary it counts on, once its keyframe has come: generation, count, hash.
    pub(crate) mark: Option<(u32, u16, u32)>,
}

impl RunRow {
    /// The dictionary the run counts on, once its keyframe has come.
    pub(crate) fn mark(&self) -> Option<DictionaryMark> {
        self.mark.map(|(generation, count, hash)| DictionaryMark { generation, count, hash })
    }
}

impl Row for RunRow {
    const TABLE: &'static str = "run";
}

/// Where a boot lies on the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootRow {
    /// The latest of its stamps that has a believable civil half.
    pub(crate) anchor: Option<(Instant, UnixTime)>,
    /// When the first of its batches arrived.
    pub(crate) received: UnixTime,
}

impl Row for BootRow {
    const TABLE: &'static str = "boot";
}

/// How much is held of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRow {
    /// When its last batch arrived.
    pub(crate) received: UnixTime,
    pub(crate) batch_count: u64,
    pub(crate) sample_count: u64,
    pub(crate) record_bytes: u64,
    /// Batches whose payload this version cannot read.
    pub(crate) unreadable_count: u64,
}

impl Row for DeviceRow {
    const TABLE: &'static str = "device";
}

/// One entry of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeriesRow {
    /// The batch that brought it. Of two entries for one place the later batch's counts, whichever arrived first.
    pub(crate) seq: Seq,
    pub(crate) class: Class,
    pub(crate) series: Series<String>,
}

impl Row for SeriesRow {
    const TABLE: &'static str = "series";
}

/// All tables but the hub's own state, as they were at one moment.
pub(crate) struct View {
    pub(crate) record: ReadOnlyTable<BatchKey, &'static [u8]>,
    pub(crate) run: ReadOnlyTable<BatchKey, &'static [u8]>,
    pub(crate) progress: ReadOnlyTable<StreamKey, &'static [u8]>,
    pub(crate) boot: ReadOnlyTable<BootKey, &'static [u8]>,
    pub(crate) device: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) series: ReadOnlyTable<SeriesKey, &'static [u8]>,
}

impl View {
    pub(crate) fn open(database: &redb::Database) -> Result<View, StoreError> {
        let transaction: ReadTransaction = database.begin_read()?;
        Ok(View {
            record: transaction.open_table(RECORD)?,
            run: transaction.open_table(RUN)?,
            progress: transaction.open_table(PROGRESS)?,
            boot: transaction.open_table(BOOT)?,
            device: transaction.open_table(DEVICE)?,
            series: transaction.open_table(SERIES)?,
        })
    }
}

/// All tables inside a write transaction. The first to open them in a file makes them.
pub(crate) struct Tables<'t> {
    pub(crate) record: Table<'t, BatchKey, &'static [u8]>,
    pub(crate) run: Table<'t, BatchKey, &'static [u8]>,
    pub(crate) progress: Table<'t, StreamKey, &'static [u8]>,
    pub(crate) boot: Table<'t, BootKey, &'static [u8]>,
    pub(crate) device: Table<'t, u64, &'static [u8]>,
    pub(crate) series: Table<'t, SeriesKey, &'static [u8]>,
    pub(crate) state: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, StoreError> {
        Ok(Tables {
            record: transaction.open_table(RECORD)?,
            run: transaction.open_table(RUN)?,
            progress: transaction.open_table(PROGRESS)?,
            boot: transaction.open_table(BOOT)?,
            device: transaction.open_table(DEVICE)?,
            series: transaction.open_table(SERIES)?,
            state: transaction.open_table(STATE)?,
        })
    }
}

/// Every key of a device in [`RECORD`] and [`RUN`].
pub(crate) fn batches_of(device: u64) -> std::ops::RangeInclusive<BatchKey> {
    (device, 0, 0, 0)..=(device, u32::MAX, u8::MAX, u64::MAX)
}

/// Every key of a device in [`PROGRESS`].
pub(crate) fn streams_of(device: u64) -> std::ops::RangeInclusive<StreamKey> {
    (device, 0, 0)..=(device, u32::MAX, u8::MAX)
}

/// Every key of a device in [`BOOT`].
pub(crate) fn boots_of(device: u64) -> std::ops::RangeInclusive<BootKey> {
    (device, 0)..=(device, u32::MAX)
}

/// Every key of a device in [`SERIES`].
pub(crate) fn series_of(device: u64) -> std::ops::RangeInclusive<SeriesKey> {
    (device, 0, 0, 0)..=(device, u32::MAX, u32::MAX, u16::MAX)
}
