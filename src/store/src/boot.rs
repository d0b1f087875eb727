//! Where boots lie on the calendar.

use wire::id::DeviceId;
use wire::time::{BootId, UnixTime};

use crate::Store;
use crate::error::StoreError;

/// The earliest civil time that is believed, 2024-01-01: an earlier clock was never set.
pub const UNIX_TIME_MIN: UnixTime = UnixTime(1_704_067_200_000);

/// One boot of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Which boot.
    pub boot: BootId,
    /// Unix time less uptime in milliseconds, as the latest of its batches with a believable clock had it; `None`
    /// when no batch had one.
    pub offset_ms: Option<i64>,
    /// When the first of its batches arrived at the hub: a boot without an offset began before that.
    pub received: UnixTime,
}

impl Store {
    /// The boots of `device`, by their number, which says nothing about their order.
    pub fn boots(&self, device: DeviceId) -> Result<Vec<Boot>, StoreError> {
        let _ = device;
        unimplemented!()
    }
}
