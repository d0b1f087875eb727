//! What the hub knows: samples as they were sealed, and its own small state.
//!
//! The stored unit is the sealed record of [`wire::record`], exactly as the gateway made it, under (device, journal,
//! stream, seq). Storing one twice changes nothing, late and out of order is welcome, and a batch whose predecessor or
//! dictionary has not come is simply not readable yet. Questions unpack records as they read; what was unpacked is
//! never kept. Blocks by series, digested from closed runs, come behind the same door later.
//!
//! ```text
//! commit(changes) ->  one durable transaction: records, and beside them the rows that say where to look
//!                     progress  per stream, the numbers held or lost       what is acked
//!                     run       boot, uptimes, counts, dictionary mark     what a question must read
//!                     boot      unix time less uptime                      where uptimes lie on the calendar
//!                     series    journal, generation, id -> name, labels    what slots are called
//! question        ->  runs in the span  ->  records, crc checked  ->  ticks  ->  samples of the series that match
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`change`], [`error`] | what a commit takes, and why not |
//! | [`range`], [`events`], [`latest`] | questions: samples of a span, what happened, how it stands now |
//! | [`dictionary`], [`boot`] | what slots are called; where boots lie on the calendar |
//! | [`audit`] | how much there is, and whether all of it is accounted for |
//!
//! There is no clock and no thread here. A [`Store`] may be shared: readers see the state before a commit or after it,
//! and a second commit waits for the first.
#![forbid(unsafe_code)]

pub mod audit;
pub mod boot;
pub mod change;
pub mod dictionary;
pub mod error;
pub mod events;
pub mod latest;
pub mod range;

use disk::Folder;
use wire::id::{DeviceId, JournalId};
use wire::message::Progress;
use wire::stream::STREAM_COUNT;

use crate::change::{Change, Refused};
use crate::error::StoreError;

/// Bytes of a key of the hub's state.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of a value of the hub's state: the largest is a configuration with its rules.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The format of the file that this version reads and writes.
pub const FORMAT: u32 = 0;

/// A key of the hub's state and its value.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// What the hub knows.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the store in `folder`, or makes one. `cache_bytes` bounds the pages kept in memory.
    ///
    /// Errors: the folder refuses, or holds a store of another format.
    pub fn open(folder: Folder, cache_bytes: usize) -> Result<Store, StoreError> {
        let _ = (folder, cache_bytes);
        unimplemented!()
    }

    /// Makes all changes durable in one transaction, in order, and names those that were not taken.
    ///
    /// A refused change alters nothing and stops no other. An empty answer means that every record is held, those
    /// that were held before included.
    ///
    /// Errors: nothing was changed.
    /// Panics: when a key or a value exceeds its bound.
    pub fn commit(&self, changes: &[Change]) -> Result<Vec<Refused>, StoreError> {
        let _ = changes;
        unimplemented!()
    }

    /// The value of one key of the hub's state.
    pub fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = key;
        unimplemented!()
    }

    /// Every key of the hub's state that begins with `prefix`, with its value, in order. For state that fits memory.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<StateRow>, StoreError> {
        let _ = prefix;
        unimplemented!()
    }

    /// What is held or lost of a journal, by stream; nothing for a stream of which nothing came. Goes into `Welcome`
    /// as it is, and acks are cut from it after a commit.
    pub fn progress(
        &self,
        device: DeviceId,
        journal: JournalId,
    ) -> Result<heapless::Vec<Progress, STREAM_COUNT>, StoreError> {
        let _ = (device, journal);
        unimplemented!()
    }
}
