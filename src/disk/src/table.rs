//! redb over a [`File`]: as it is, or read-only with every write kept in memory.
//!
//! redb opens a backend for writing only, and opening alone dirties the file's header. A volume that must
//! never change again is therefore opened as [`Frozen`]: what redb writes goes to a small overlay
//! and is forgotten with it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use redb::StorageBackend;

use crate::File;

/// A file that redb reads and writes.
#[derive(Debug)]
pub struct Live(pub Box<dyn File>);

impl StorageBackend for Live {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// A file that redb believes to write and that never changes.
#[derive(Debug)]
pub struct Frozen {
    file: Box<dyn File>,
    overlay: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

const PAGE_BYTES: usize = 4096;

/// Pages that redb may dirty in a file it only reads: the header and, on a file that was not closed in good order, its
/// repair. More means that the file is damaged.
const PAGE_COUNT_MAX: usize = 64;

impl Frozen {
    /// Wraps `file`, which is never written.
    pub fn new(file: Box<dyn File>) -> io::Result<Frozen> {
        let len = file.len()?;
        Ok(Frozen { file, overlay: Mutex::new(Overlay { len, pages: BTreeMap::new() }) })
    }

    fn overlay(&self) -> std::sync::MutexGuard<'_, Overlay> {
        // The overlay is whole whenever the lock is free, whoever panicked while it was held.
        self.overlay.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads below the overlay; what lies past the end of the file reads as zeros.
    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let have = self.file.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        out[have..].fill(0);
        if have == 0 { Ok(()) } else { self.file.read_at(offset, &mut out[..have]) }
    }
}

/// The parts of `offset..offset + len` by page: page number, offset in the page, range in the buffer.
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == len {
            return None;
        }
        let position = offset + at as u64;
        let inside = (position % PAGE_BYTES as u64) as usize;
        let count = (PAGE_BYTES - inside).min(len - at);
        let part = (position / PAGE_BYTES as u64, inside, at..at + count);
        at += count;
        Some(part)
    })
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.overlay().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let overlay = self.overlay();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > overlay.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(offset, out)?;
        for (page, inside, part) in pages(offset, out.len()) {
            if let Some(bytes) = overlay.pages.get(&page) {
                let count = part.len();
                out[part].copy_from_slice(&bytes[inside..inside + count]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.overlay().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut overlay = self.overlay();
        for (page, inside, part) in pages(offset, data.len()) {
            if !overlay.pages.contains_key(&page) {
                if overlay.pages.len() == PAGE_COUNT_MAX {
                    let why = "a frozen file was written to as if it needed repair";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                let mut bytes = Box::new([0; PAGE_BYTES]);
                self.read_file(page * PAGE_BYTES as u64, &mut bytes[..])?;
                overlay.pages.insert(page, bytes);
            }
            let bytes = overlay.pages.get_mut(&page).expect("the page was inserted above");
            let count = part.len();
            bytes[inside..inside + count].copy_from_slice(&data[part]);
        }
        Ok(())
    }
}
