//! How much there is, and whether all of it is accounted for.

use wire::id::DeviceId;
use wire::time::UnixTime;

use crate::Store;
use crate::error::StoreError;

/// How much the store holds, from its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Devices of which anything is held.
    pub device_count: u64,
    /// Series, each device's counted by name and labels.
    pub series_count: u64,
    /// Samples in batches whose payload reads.
    pub sample_count: u64,
    /// Batches.
    pub batch_count: u64,
    /// Batches that will never come and are not held.
    pub lost_count: u64,
    /// Bytes of all sealed records.
    pub record_bytes: u64,
    /// Bytes of the store's file.
    pub file_bytes: u64,
}

/// How much the store holds of one device, from its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStat {
    /// Which device.
    pub device: DeviceId,
    /// When its last batch arrived.
    pub received: UnixTime,
    /// Batches.
    pub batch_count: u64,
    /// Samples in batches whose payload reads.
    pub sample_count: u64,
    /// Bytes of its sealed records.
    pub record_bytes: u64,
}

/// What reading every record of a device found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Series with a sample.
    pub series_count: u64,
    /// Samples that were read and have a name.
    pub sample_count: u64,
    /// Samples that another of the same series, boot and instant precedes. Zero, or a bug.
    pub duplicate_count: u64,
    /// Batches below the highest number held that are neither held nor lost.
    pub gap_count: u64,
    /// Batches that will never come and are not held.
    pub lost_count: u64,
    /// Batches that wait for the batch before them.
    pub waiting_count: u64,
    /// Runs whose dictionary has not come or does not match.
    pub nameless_run_count: u64,
    /// Records that are damaged or that this version cannot read.
    pub unreadable_count: u64,
    /// Ticks of boots that nothing places on the calendar.
    pub unplaced_tick_count: u64,
}

impl Store {
    /// How much is held in all.
    pub fn stat(&self) -> Result<Stat, StoreError> {
        unimplemented!()
    }

    /// How much is held of each device, by its number.
    pub fn devices(&self) -> Result<Vec<DeviceStat>, StoreError> {
        unimplemented!()
    }

    /// Reads every record of `device` and counts what it finds. As slow as that sounds.
    pub fn audit(&self, device: DeviceId) -> Result<Audit, StoreError> {
        let _ = device;
        unimplemented!()
    }
}
