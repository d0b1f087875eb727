//! The store on the hub's disk, shared by all threads that may block, and opened again after the disk failed it.
//!
//! The engine trusts nothing in memory once a write has failed: from then on it refuses until its file is opened anew.
//! Readers hold the store while they read, so that the old one is gone before the new one looks at the file.

use std::io;
use std::sync::RwLock;

use disk::Folder;
use store::change::{Change, Refused};
use store::error::StoreError;
use store::{StateRow, Store};

/// Bytes of the store's pages that are kept in memory.
const CACHE_BYTES: usize = 32 << 20;

/// The store, or nothing while it does not open.
#[derive(Debug)]
pub struct StoreHandle {
    folder: Folder,
    store: RwLock<Option<Store>>,
}

impl StoreHandle {
    /// Opens the store in `folder`, or makes one.
    ///
    /// Errors: as of [`Store::open`].
    pub fn open(folder: Folder) -> Result<StoreHandle, StoreError> {
        let store = Store::open(folder.clone(), CACHE_BYTES)?;
        Ok(StoreHandle { folder, store: RwLock::new(Some(store)) })
    }

    /// Asks the store.
    ///
    /// Errors: it is not open.
    pub fn read<T>(&self, ask: impl FnOnce(&Store) -> T) -> Result<T, StoreError> {
        let store = self.store.read().expect("a panic ends the process");
        let closed =
            || io::Error::new(io::ErrorKind::NotConnected, "it does not open since a write failed: see the log");
        Ok(ask(store.as_ref().ok_or_else(closed)?))
    }

    /// As [`Store::commit`].
    ///
    /// Errors: nothing was changed, and the store is of no use before [`StoreHandle::reopen`].
    pub fn commit(&self, changes: &[Change]) -> Result<Vec<Refused>, StoreError> {
        self.read(|store| store.commit(changes))?
    }

    /// Every row of the hub's state.
    pub fn state(&self) -> Result<Vec<StateRow>, StoreError> {
        self.read(|store| store.scan(b""))?
    }

    /// Closes the store, when those who read have read, and opens it again. Returns every row of the hub's state.
    pub fn reopen(&self) -> Result<Vec<StateRow>, StoreError> {
        let mut store = self.store.write().expect("a panic ends the process");
        drop(store.take());
        let opened = Store::open(self.folder.clone(), CACHE_BYTES)?;
        let state = opened.scan(b"")?;
        *store = Some(opened);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn open(scratch: &Scratch) -> StoreHandle {
        StoreHandle::open(hal::linux::folder::Folder::open(&scratch.0).unwrap()).unwrap()
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let scratch = Scratch::new();
        let store = open(&scratch);
        let row = (b"key".to_vec(), b"value".to_vec());
        store.commit(&[Change::Put { key: row.0.clone(), value: row.1.clone() }]).unwrap();
        assert_eq!(store.reopen().unwrap(), store.state().unwrap());
        assert_eq!(store.state().unwrap(), [row]);
        // It was never unlocked meanwhile.
        assert!(hal::linux::folder::Folder::open(&scratch.0).is_err());
    }

    #[test]
    fn a_store_that_does_not_open_says_so_and_opens_when_it_can() {
        let scratch = Scratch::new();
        let store = open(&scratch);
        let file = scratch.0.join(store::FILE_NAME);
        let away = scratch.0.join("away");
        std::fs::rename(&file, &away).unwrap();
        std::fs::write(&file, b"").unwrap();
        assert!(store.reopen().is_err());
        let error = store.state().unwrap_err().to_string();
        assert!(error.contains("does not open"), "{error}");
        std::fs::rename(&away, &file).unwrap();
        assert_eq!(store.reopen().unwrap(), []);
    }
}
