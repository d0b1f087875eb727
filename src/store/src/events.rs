//! What happened, in a span of time.

use wire::event::Event;
use wire::id::DeviceId;
use wire::time::{BootId, Instant, UnixTime};

use crate::Store;
use crate::error::StoreError;
use crate::range::Notes;

/// One event, with its place in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// On which device.
    pub device: DeviceId,
    /// In which boot.
    pub boot: BootId,
    /// When, on the clock of that boot.
    pub uptime: Instant,
    /// When, on the calendar; `None` when nothing places the boot.
    pub at: Option<UnixTime>,
    /// What.
    pub event: Event,
}

/// The events of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The newest ones that lie in the span, oldest first.
    pub placed: Vec<Happened>,
    /// The newest ones of boots that cannot be placed, by device and boot, in order within each.
    pub unplaced: Vec<Happened>,
    /// Whether older events lie in the span and were left out.
    pub is_cut: bool,
    /// Events that this version does not know.
    pub unknown_count: u64,
    /// What the answer lacks.
    pub notes: Notes,
}

impl Store {
    /// What happened on `devices`, or on all when `None`, from `from` to `to`: the newest `limit` of each list.
    pub fn events(
        &self,
        devices: Option<&[DeviceId]>,
        from: UnixTime,
        to: UnixTime,
        limit: usize,
    ) -> Result<Events, StoreError> {
        let _ = (devices, from, to, limit);
        unimplemented!()
    }
}
