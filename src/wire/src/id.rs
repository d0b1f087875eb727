//! Newtypes of the numbers that name things, so that two of them side by side cannot be swapped.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A gateway or server. The first eight bytes of the fingerprint of the key it enrolled with; it keeps this
/// number when its key rotates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(pub u64);

/// One life of a device's journal. A re-imaged gateway has another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JournalId(pub u32);

/// A batch within its stream and journal: 0, 1, 2 and so on. Never names two different batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// A series within one generation of a gateway's dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u16);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = core::num::ParseIntError;

    /// Reads what [`fmt::Display`] wrote: 16 hexadecimal digits.
    fn from_str(text: &str) -> Result<DeviceId, Self::Err> {
        if text.len() != 16 {
            return Err(u8::from_str_radix("", 16).expect_err("an empty string is no number"));
        }
        u64::from_str_radix(text, 16).map(DeviceId)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
