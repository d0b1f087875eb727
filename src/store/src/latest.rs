//! How a device stood when it was last heard of.

use wire::id::DeviceId;
use wire::series::Series;
use wire::time::{BootId, Instant, UnixTime};

use crate::Store;
use crate::error::StoreError;

/// The newest tick of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// In which boot.
    pub boot: BootId,
    /// When, on the clock of that boot.
    pub uptime: Instant,
    /// When, on the calendar; `None` when nothing places the boot.
    pub at: Option<UnixTime>,
    /// Every series with a value in that tick.
    pub values: Vec<(Series<String>, i64)>,
}

impl Store {
    /// The newest tick of `device` that can be read; `None` when there is none.
    pub fn latest(&self, device: DeviceId) -> Result<Option<Latest>, StoreError> {
        let _ = device;
        unimplemented!()
    }
}
