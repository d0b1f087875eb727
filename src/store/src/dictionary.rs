//! What the slots of a tick are called.

use wire::id::{DeviceId, JournalId};

use crate::Store;
use crate::error::StoreError;

/// A dictionary on which held runs count and that is absent, cut short, or not the one they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingDictionary {
    /// In which life of the device's journal; another than the present one cannot be asked for again.
    pub journal: JournalId,
    /// Which list.
    pub generation: u32,
}

impl Store {
    /// The dictionaries without which runs of `device` cannot be read, to be asked for by [`wire::message::Want`].
    pub fn missing_dictionaries(&self, device: DeviceId) -> Result<Vec<MissingDictionary>, StoreError> {
        let _ = device;
        unimplemented!()
    }

    /// Every metric name that any device ever named, in order: what to suggest when a name is not found.
    pub fn series_names(&self) -> Result<Vec<String>, StoreError> {
        unimplemented!()
    }
}
