//! What an answer lacks.

use wire::id::{DeviceId, JournalId, Seq};
use wire::stream::{Resolution, Stream};
use wire::time::{BootId, UnixTime};

/// Records that an answer names one by one.
pub const UNREADABLE_COUNT_MAX: usize = 16;

/// What an answer lacks. All zero and empty when it lacks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Runs whose dictionary has not come or does not match its hash.
    pub nameless_run_count: u64,
    /// Boots that no known time places on the calendar.
    pub unplaced: Vec<Unplaced>,
    /// The first [`UNREADABLE_COUNT_MAX`] records that are damaged or that this version cannot read.
    pub unreadable: Vec<Unreadable>,
    /// How many such records there are.
    pub unreadable_count: u64,
    /// Batches that wait for the batch before them.
    pub waiting_count: u64,
    /// Where windows stand for ticks that have not come, one for each device and length, the short ones first.
    pub windowed: Vec<Windowed>,
}

/// Where windows of one length stand for ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windowed {
    /// Whose.
    pub device: DeviceId,
    /// Of which length.
    pub resolution: Resolution,
    /// The first moment that is one of them.
    pub from: UnixTime,
    /// The last.
    pub to: UnixTime,
}

/// A boot that cannot be placed on the calendar yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Whose boot.
    pub device: DeviceId,
    /// Which boot.
    pub boot: BootId,
    /// Ticks held of it.
    pub tick_count: u64,
}

/// A record that is held and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose record.
    pub device: DeviceId,
    /// In which life of its journal.
    pub journal: JournalId,
    /// Of which stream.
    pub stream: Stream,
    /// Which number.
    pub seq: Seq,
}

impl Notes {
    /// Counts a record that is held and cannot be read.
    pub(crate) fn add_unreadable(&mut self, record: Unreadable) {
        self.unreadable_count += 1;
        if self.unreadable.len() < UNREADABLE_COUNT_MAX {
            self.unreadable.push(record);
        }
    }
}
