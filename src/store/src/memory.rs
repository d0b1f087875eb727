//! A folder in memory, for fuzz targets and tests. It forgets nothing, and fails only when told to; a disk that loses
//! power is the simulator's.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::{Directory, File};

/// A folder in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    files: Mutex<BTreeMap<String, MemoryFile>>,
    refuses: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
    refuses: Arc<AtomicBool>,
}

#[cfg(test)]
impl Memory {
    /// From now on every write fails, as on a full disk; or no longer.
    pub(crate) fn refuse_writes(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }
}

impl MemoryFile {
    fn accept_write(&self) -> io::Result<()> {
        if self.refuses.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
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
        let file = MemoryFile { bytes: Arc::default(), refuses: self.refuses.clone() };
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
        Ok(u64::MAX)
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
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(given);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.accept_write()?;
        lock(&self.bytes).resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
