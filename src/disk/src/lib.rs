//! The one door to a disk: a flat folder of files, handed in by the driver.
//!
//! The gateway's journal and the hub's store are the only users, `hal` and the host's driver open it on a real
//! folder, and the simulated world puts a disk behind it that loses power. Nothing else below floor 5
//! can reach storage.
//!
//! What a caller may count on is what POSIX and real cards give, no more:
//!
//! - bytes written are durable after [`File::sync`] returned `Ok`; before that, any part of them may be;
//! - a file's name, or that it is gone, is durable after [`Directory::sync`] returned `Ok`;
//! - [`Directory::rename`] replaces an existing file, and is seen whole or not at all.
#![forbid(unsafe_code)]

pub mod memory;
pub mod table;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder that is shared between the core that uses it and the driver that made it.
pub type Folder = Arc<dyn Directory>;

/// A flat folder. Names are plain, without a separator.
pub trait Directory: Debug + Send + Sync {
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing; on a read-only file system, for reading.
    ///
    /// Errors: [`io::ErrorKind::NotFound`] when there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Creates an empty file, or empties the one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Works on a full disk.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that can still be written to the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One open file.
pub trait File: Debug + Send + Sync {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// Errors: [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on, growing the file when needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file or grows it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// Errors: what was not synced before may be lost, and every later sync of this handle fails as well, because the
    /// system would confirm bytes that it has dropped. Open the file anew and write them again.
    fn sync(&self) -> io::Result<()>;
}
