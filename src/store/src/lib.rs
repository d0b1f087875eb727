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
//! | [`notes`] | what an answer lacks |
//! | [`dictionary`], [`boot`] | what slots are called; where boots lie on the calendar |
//! | [`audit`] | how much there is, and whether all of it is accounted for |
//! | [`fuzz`] | entry points for fuzzing |
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
mod fill;
pub mod fuzz;
#[cfg(test)]
mod gateway;
mod ingest;
pub mod latest;
pub mod notes;
pub mod range;
mod run;
mod table;

use std::io;

use disk::Folder;
use disk::table::Live;
use redb::{Database, ReadableDatabase, StorageBackend};
use wire::id::{DeviceId, JournalId};
use wire::message::{Checksum, Progress};
use wire::stream::{STREAM_COUNT, Stream};

use crate::change::{Change, Refused};
use crate::error::StoreError;
use crate::table::{META, META_FORMAT, ProgressRow, Row, STATE, Tables, View, streams_of};

/// The format of the file that this version reads and writes.
pub const FORMAT: u32 = 0;

/// The store's file.
pub const FILE_NAME: &str = "hub.redb";

/// The store's file while it is made. A power cut during creation leaves a file that no engine opens, so it gets its
/// name only when it is whole.
const NEW_FILE_NAME: &str = "hub.redb.tmp";

/// Bytes of a key of the hub's state.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of a value of the hub's state: the largest is a configuration with its rules.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A key of the hub's state and its value.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// What the hub knows.
#[derive(Debug)]
pub struct Store {
    database: Database,
    folder: Folder,
}

impl Store {
    /// Opens the store in `folder`, or makes one. `cache_bytes` bounds the pages kept in memory.
    ///
    /// Errors: the folder refuses, or holds a store of another format.
    pub fn open(folder: Folder, cache_bytes: usize) -> Result<Store, StoreError> {
        let file = match folder.open(FILE_NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = folder.create(NEW_FILE_NAME)?;
                drop(create(Live(file), cache_bytes)?);
                folder.rename(NEW_FILE_NAME, FILE_NAME)?;
                folder.sync()?;
                folder.open(FILE_NAME)?
            }
            other => other?,
        };
        if file.is_empty()? {
            // The engine would take it for a new one, and a fleet would find a hub that has forgotten it.
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{FILE_NAME} is empty")).into());
        }
        let database = engine(Live(file), cache_bytes)?;
        let found = database.begin_read()?.open_table(META)?.get(META_FORMAT)?.map_or(u32::MAX, |found| found.value());
        if found != FORMAT {
            return Err(StoreError::Format { found });
        }
        Ok(Store { database, folder })
    }

    /// Makes all changes durable in one transaction, in order, and names those that were not taken, in order too.
    ///
    /// A refused change alters nothing and stops no other. An empty answer means that every record is held, those
    /// that were held before included.
    ///
    /// Errors: none of it is acked. After [`StoreError::Engine`] the engine answers nothing until the store is opened
    /// again, because it cannot tell what of the commit reached the disk; opening finds all of the commit or none.
    /// Panics: when a key or a value exceeds its bound.
    pub fn commit(&self, changes: &[Change]) -> Result<Vec<Refused>, StoreError> {
        let transaction = self.database.begin_write()?;
        let refused = ingest::apply(&mut Tables::open(&transaction)?, changes)?;
        transaction.commit()?;
        Ok(refused)
    }

    /// The value of one key of the hub's state.
    pub fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.database.begin_read()?.open_table(STATE)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Every key of the hub's state that begins with `prefix`, with its value, in order. For state that fits memory.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<StateRow>, StoreError> {
        let table = self.database.begin_read()?.open_table(STATE)?;
        let mut rows = Vec::new();
        for entry in table.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            rows.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(rows)
    }

    /// What is held or lost of a journal, by stream; nothing for a stream of which nothing came. Goes into `Welcome`
    /// as it is, and acks are cut from it after a commit.
    pub fn progress(
        &self,
        device: DeviceId,
        journal: JournalId,
    ) -> Result<heapless::Vec<Progress, STREAM_COUNT>, StoreError> {
        let view = self.view()?;
        let mut progress = heapless::Vec::new();
        for stream in Stream::ALL {
            if let Some(bytes) = view.progress.get((device.0, journal.0, u8::from(stream)))? {
                let held = ProgressRow::unpack(bytes.value())?.held;
                let highest = held.iter().next_back().map(|range| range.last.0).unwrap_or_default();
                let record = view.record.get((device.0, journal.0, u8::from(stream), highest))?;
                // Its checksum stands first in a record. What is lost has none.
                let crc = record.and_then(|record| record.value().first_chunk().copied());
                let tip = crc.map(Checksum::from);
                progress.push(Progress { stream, held, tip }).expect("one for each stream");
            }
        }
        Ok(progress)
    }

    /// The journals of `device`: the lives its journal had, as far as anything of them is held or lost.
    pub fn journals(&self, device: DeviceId) -> Result<Vec<JournalId>, StoreError> {
        let view = self.view()?;
        let mut journals = Vec::new();
        for entry in view.progress.range(streams_of(device.0))? {
            let journal = JournalId(entry?.0.value().1);
            if journals.last() != Some(&journal) {
                journals.push(journal);
            }
        }
        Ok(journals)
    }

    pub(crate) fn view(&self) -> Result<View, StoreError> {
        View::open(&self.database)
    }

    pub(crate) fn file_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.folder.open(FILE_NAME)?.len()?)
    }
}

fn engine(backend: impl StorageBackend, cache_bytes: usize) -> Result<Database, StoreError> {
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?)
}

/// A new file with every table, all of them empty.
fn create(backend: impl StorageBackend, cache_bytes: usize) -> Result<Database, StoreError> {
    let database = engine(backend, cache_bytes)?;
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::RefusedReason;
    use crate::gateway::{CACHE_BYTES, Gateway, folder, store, store_of};
    use disk::memory::Memory;
    use std::sync::Arc;
    use wire::class::Class;
    use wire::id::Seq;
    use wire::limits::RANGES_COUNT_MAX;
    use wire::ranges::SeqRange;

    fn held(store: &Store, stream: Stream) -> Vec<(u64, u64)> {
        let progress = store.progress(DeviceId(1), JournalId(7)).unwrap();
        let held = progress.iter().find(|progress| progress.stream == stream);
        held.map_or(Vec::new(), |progress| progress.held.iter().map(|range| (range.first.0, range.last.0)).collect())
    }

    #[test]
    fn state_is_set_found_by_prefix_and_removed() {
        let store = store();
        let put = |key: &str| Change::Put { key: key.as_bytes().to_vec(), value: key.to_uppercase().into_bytes() };
        store.commit(&[put("a/2"), put("a/1"), put("b/1"), Change::Delete { key: b"none".to_vec() }]).unwrap();
        assert_eq!(store.state(b"a/1").unwrap(), Some(b"A/1".to_vec()));
        let keys: Vec<_> = store.scan(b"a/").unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"a/1", b"a/2"]);
        store.commit(&[Change::Delete { key: b"a/1".to_vec() }]).unwrap();
        assert_eq!(store.state(b"a/1").unwrap(), None);
        assert_eq!(store.scan(b"").unwrap().len(), 2);
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let folder = folder();
        let mut gateway = Gateway::new(1);
        let changes = gateway.run(0, 30, 10);
        Store::open(folder.clone(), CACHE_BYTES).unwrap().commit(&changes).unwrap();
        let store = Store::open(folder.clone(), CACHE_BYTES).unwrap();
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 2)]);
        assert_eq!(folder.list().unwrap(), [FILE_NAME]);
        assert!(store.stat().unwrap().file_bytes > 0);
    }

    #[test]
    fn a_creation_that_was_cut_short_is_begun_again() {
        let folder = folder();
        folder.create(NEW_FILE_NAME).unwrap().write_at(0, b"half a header").unwrap();
        Store::open(folder.clone(), CACHE_BYTES).unwrap();
        assert_eq!(folder.list().unwrap(), [FILE_NAME]);
    }

    #[test]
    fn an_empty_file_is_not_taken_for_a_new_store() {
        let folder = folder();
        folder.create(FILE_NAME).unwrap();
        assert!(matches!(Store::open(folder, CACHE_BYTES), Err(StoreError::Folder(_))));
    }

    #[test]
    fn a_store_of_another_format_is_left_alone() {
        let folder = folder();
        let database = create(Live(folder.create(FILE_NAME).unwrap()), CACHE_BYTES).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(META_FORMAT, 9).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Store::open(folder, CACHE_BYTES).unwrap_err();
        assert_eq!(error.to_string(), "store is of format 9, this hub reads format 0");
    }

    #[test]
    fn a_store_may_be_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<Store>();
    }

    #[test]
    fn a_disk_that_refuses_loses_nothing_and_the_store_goes_on_when_opened_again() {
        let memory = Arc::new(Memory::default());
        let mut gateway = Gateway::new(1);
        let (first, second) = (gateway.run(0, 30, 10), gateway.run(300_000, 30, 10));
        let store = Store::open(memory.clone(), CACHE_BYTES).unwrap();
        store.commit(&first).unwrap();
        memory.refuse_writes(true);
        assert!(matches!(store.commit(&second), Err(StoreError::Engine(_))));
        memory.refuse_writes(false);
        assert!(matches!(store.commit(&second), Err(StoreError::Engine(_))));
        drop(store);
        let store = Store::open(memory, CACHE_BYTES).unwrap();
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 2)]);
        assert_eq!(store.commit(&second).unwrap(), []);
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 5)]);
    }

    #[test]
    fn a_record_damaged_at_rest_is_replaced_when_it_comes_again() {
        let changes = Gateway::new(1).run(0, 30, 10);
        let store = store_of(&changes);
        let transaction = store.database.begin_write().unwrap();
        let key = (1, 7, u8::from(Stream::raw(Class::Normal)), 1);
        transaction.open_table(crate::table::RECORD).unwrap().insert(key, &b"no longer a record"[..]).unwrap();
        transaction.commit().unwrap();
        assert_eq!(store.audit(DeviceId(1)).unwrap().unreadable_count, 1);
        assert_eq!(store.commit(&changes).unwrap(), []);
        assert_eq!(store.audit(DeviceId(1)).unwrap().unreadable_count, 0);
        assert_eq!(store.stat().unwrap().batch_count, 3);
    }

    #[test]
    fn a_record_stored_twice_is_stored_once() {
        let mut gateway = Gateway::new(1);
        let changes = gateway.run(0, 30, 10);
        let store = store_of(&changes);
        let before = store.stat().unwrap();
        assert_eq!(store.commit(&[&changes[..], &changes[1..2]].concat()).unwrap(), []);
        assert_eq!((before.batch_count, store.stat().unwrap().batch_count), (3, 3));
    }

    #[test]
    fn another_record_under_a_number_that_is_held_is_refused_and_named() {
        let first = Gateway::new(1).run(0, 10, 10);
        let clone = Gateway::new(1).run(5_000, 10, 10);
        let store = store_of(&first);
        let refused = store.commit(&clone).unwrap();
        assert_eq!(refused, [Refused { index: 0, reason: RefusedReason::Conflict }]);
        assert_eq!(store.stat().unwrap().batch_count, 1);
    }

    #[test]
    fn damage_is_refused_and_its_neighbours_are_taken() {
        let mut changes = Gateway::new(1).run(0, 30, 10);
        let Change::Record { record, .. } = &mut changes[1] else { unreachable!() };
        *record.last_mut().unwrap() ^= 1;
        let store = store();
        let refused = store.commit(&changes).unwrap();
        assert!(matches!(refused[..], [Refused { index: 1, reason: RefusedReason::Record(_) }]));
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 0), (2, 2)]);
    }

    #[test]
    fn a_hole_too_many_refuses_one_record_and_takes_it_later() {
        let mut gateway = Gateway::new(1);
        let all = gateway.run(0, 10 * (2 * RANGES_COUNT_MAX as u64 + 2), 10);
        let odd: Vec<_> = all.iter().skip(1).step_by(2).cloned().collect();
        let store = store();
        let refused = store.commit(&odd).unwrap();
        assert_eq!(refused, [Refused { index: RANGES_COUNT_MAX, reason: RefusedReason::RangesFull }]);
        assert_eq!(store.stat().unwrap().batch_count, RANGES_COUNT_MAX as u64);
        assert_eq!(store.commit(&all).unwrap(), []);
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, all.len() as u64 - 1)]);
    }

    #[test]
    fn lost_numbers_count_as_progress_and_a_record_that_comes_after_all_is_kept() {
        let mut gateway = Gateway::new(1);
        let changes = gateway.run(0, 100, 10);
        let lost = |first, last| Change::Lost {
            device: gateway.device,
            journal: gateway.journal,
            stream: Stream::raw(Class::Normal),
            range: SeqRange { first: Seq(first), last: Seq(last) },
            is_elsewhere: false,
        };
        let store = store_of(&[changes[0].clone(), lost(1, 4), lost(4, 5)]);
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 5)]);
        assert_eq!(store.stat().unwrap().lost_count, 5);
        store.commit(&changes[3..4]).unwrap();
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(0, 5)]);
        let stat = store.stat().unwrap();
        assert_eq!((stat.lost_count, stat.batch_count), (4, 2));
    }

    #[test]
    fn a_forgotten_device_leaves_nothing_and_its_neighbour_stays() {
        let (mut one, mut two) = (Gateway::new(1), Gateway::new(2));
        let changes = [vec![one.names(&[("up", "")])], one.run(0, 30, 10), two.run(0, 30, 10)].concat();
        let store = store_of(&changes);
        // In one transaction with what came before and comes after it.
        let again = one.run(300_000, 30, 10);
        let changes = [again[..1].to_vec(), vec![Change::Forget { device: one.device }], again[1..2].to_vec()].concat();
        store.commit(&changes).unwrap();
        assert_eq!(held(&store, Stream::raw(Class::Normal)), [(4, 4)]);
        assert_eq!(held(&store, Stream::Dictionary), []);
        let batches: Vec<_> = store.devices().unwrap().iter().map(|stat| stat.batch_count).collect();
        assert_eq!(batches, [1, 3]);
        assert_eq!(store.stat().unwrap().series_count, 0);
    }
}
