//! A folder in memory: for a gateway whose file system takes no writes, for fuzz targets and for tests. A disk that loses power is
//! the simulator's.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Directory, File};

/// A folder in memory.
#[derive(Debug)]
pub struct Memory {
    files: Mutex<BTreeMap<String, MemoryFile>>,
    room: Arc<AtomicU64>,
    refuses: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Bytes that all files together may still grow by.
    room: Arc<AtomicU64>,
    refuses: Arc<AtomicBool>,
}

impl Default for Memory {
    /// One that is never full.
    fn default() -> Memory {
        Memory::new(u64::MAX)
    }
}

impl Memory {
    /// An empty folder whose files take `bytes_max` together.
    pub fn new(bytes_max: u64) -> Memory {
        Memory { files: Mutex::default(), room: Arc::new(AtomicU64::new(bytes_max)), refuses: Arc::default() }
    }

    /// From now on every write fails; or no longer.
    pub fn refuse_writes(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }
}

impl MemoryFile {
    fn accept_write(&self) -> io::Result<()> {
        if self.refuses.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Makes the file this long.
    fn resize(&self, bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
        let (grown, shrunk) = (len.saturating_sub(bytes.len()) as u64, bytes.len().saturating_sub(len) as u64);
        let change = |room: u64| room.checked_sub(grown).map(|room| room.saturating_add(shrunk));
        let full = |_| io::Error::from(io::ErrorKind::StorageFull);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).map_err(full)?;
        bytes.resize(len, 0);
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if Arc::strong_count(&self.bytes) == 1 {
            let _ = self.resize(&mut std::mem::take(&mut *lock(&self.bytes)), 0);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.files).keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = lock(&self.files).get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = MemoryFile { bytes: Arc::default(), room: self.room.clone(), refuses: self.refuses.clone() };
        lock(&self.files).insert(name.to_owned(), file.clone());
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.files).remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.room.load(Ordering::Relaxed))
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = lock(&self.bytes);
        let from = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, given: &[u8]) -> io::Result<()> {
        self.accept_write()?;
        let mut bytes = lock(&self.bytes);
        let (start, end) = (offset as usize, offset as usize + given.len());
        if bytes.len() < end {
            self.resize(&mut bytes, end)?;
        }
        bytes[start..end].copy_from_slice(given);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.accept_write()?;
        self.resize(&mut lock(&self.bytes), len as usize)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_no_more_than_the_folder_has_and_give_it_back() {
        let memory = Memory::new(100);
        let file = memory.create("a").unwrap();
        file.write_at(20, &[7; 40]).unwrap();
        assert_eq!((file.len().unwrap(), memory.free_bytes().unwrap()), (60, 40));
        assert_eq!(memory.create("b").unwrap().set_len(41).unwrap_err().kind(), io::ErrorKind::StorageFull);
        // Bytes that are there already take no room.
        file.write_at(0, &[1; 60]).unwrap();
        memory.rename("a", "c").unwrap();
        memory.remove("c").unwrap();
        assert_eq!(memory.free_bytes().unwrap(), 40);
        drop(file);
        assert_eq!(memory.free_bytes().unwrap(), 100);
    }
}
