//! A real folder behind the door of [`disk`].
//!
//! ```text
//! /var/lib/outpost/      0700   made when missing
//! ├── lock               0600   flock while a process has the folder open; not one of its files
//! └── ...                0600   what the journal or the store wrote
//! ```
//!
//! [`Folder::open_to_look`] is the door for whoever only reads, beside an agent that runs: no lock, and nothing can be written
//! through it.
//!
//! One process has a folder open at a time: two agents that append to one journal would each number their batches from
//! what they found. The kernel lets go of the lock however the process ends, so that there is no stale lock to clean up.
//!
//! A failed sync is final for the open file it happened on. Linux reports a lost write once and then takes the page for
//! clean (`fsync(2)`, and what PostgreSQL learned from it in 2018), so a second sync would confirm bytes that never
//! reached the card. Whoever meets it writes the bytes again, to a file that was opened or created anew.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use disk::{Directory, File};
use nix::sys::statvfs::fstatvfs;

const LOCK_NAME: &str = "lock";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder that this process alone has open.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    directory: fs::File,
    /// Held for as long as the folder is open; none when no one can write to it.
    _lock: Option<fs::File>,
}

impl Folder {
    /// Opens the folder at `path` and locks it; makes it, durably, when it is missing.
    ///
    /// Errors: [`io::ErrorKind::WouldBlock`] when another process has it open; otherwise what the system said. Each
    /// message names the folder.
    pub fn open(path: &Path) -> io::Result<Arc<Folder>> {
        let path = std::path::absolute(path)?;
        create_folder(&path).map_err(|error| named(error, &path))?;
        let directory = fs::File::open(&path).map_err(|error| named(error, &path))?;
        let lock = lock(&path)?;
        Ok(Arc::new(Folder { path, directory, _lock: lock }))
    }

    /// Opens the folder at `path`, which another process may have open and write to, for reading alone. Neither it nor a file in it is
    /// made, locked or changed: whatever would is refused with [`io::ErrorKind::PermissionDenied`].
    ///
    /// Errors: what the system said, such as [`io::ErrorKind::NotFound`]. The message names the folder.
    pub fn open_to_look(path: &Path) -> io::Result<Arc<SeenFolder>> {
        let path = std::path::absolute(path)?;
        let directory = fs::File::open(&path).map_err(|error| named(error, &path))?;
        // A file opens as well as a folder does; only the listing would say that it is none.
        list(&path).map_err(|error| named(error, &path))?;
        Ok(Arc::new(SeenFolder { path, directory }))
    }
}

/// A folder that is only looked at.
#[derive(Debug)]
pub struct SeenFolder {
    path: PathBuf,
    directory: fs::File,
}

impl Directory for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = file_path(&self.path, name)?;
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if is_read_only(&error) => fs::File::open(&path)?,
            opened => opened?,
        };
        Ok(Box::new(OpenFile::new(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = file_path(&self.path, name)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(OpenFile { file, is_resized: AtomicBool::new(true), has_failed: AtomicBool::new(false) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(file_path(&self.path, from)?, file_path(&self.path, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(file_path(&self.path, name)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.directory)
    }
}

impl Directory for SeenFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(SeenFile(fs::File::open(file_path(&self.path, name)?)?)))
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn File>> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.directory)
    }
}

/// A file that is only looked at.
#[derive(Debug)]
struct SeenFile(fs::File);

impl File for SeenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "this folder is only looked at"))
}

/// Where a file of this name is.
///
/// Errors: [`io::ErrorKind::InvalidInput`] when it would lie elsewhere, or be the lock.
fn file_path(folder: &Path, name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || matches!(name, "." | ".." | LOCK_NAME) || name.contains(['/', '\\', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for a file")));
    }
    Ok(folder.join(name))
}

fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What is no file, such as `lost+found`, and what has no name that could be asked for, is not ours.
        if entry.file_type()?.is_file()
            && let Ok(name) = entry.file_name().into_string()
            && name != LOCK_NAME
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn free_bytes(directory: &fs::File) -> io::Result<u64> {
    let status = fstatvfs(directory)?;
    // What is reserved for root is left to it: the system's own log needs a last corner too.
    Ok((status.blocks_available() as u64).saturating_mul(status.fragment_size() as u64))
}

#[derive(Debug)]
struct OpenFile {
    file: fs::File,
    /// Whether the length was set since the last sync.
    is_resized: AtomicBool,
    /// Whether a sync has failed, which no later one can make good.
    has_failed: AtomicBool,
}

impl OpenFile {
    fn new(file: fs::File) -> OpenFile {
        OpenFile { file, is_resized: AtomicBool::new(false), has_failed: AtomicBool::new(false) }
    }
}

impl File for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.is_resized.store(true, Ordering::Release);
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of this file failed: write it again"));
        }
        // fdatasync spares a write of the inode's times. POSIX has it store a new length as well, but not every file
        // system did so when the length was all that changed.
        let synced =
            if self.is_resized.swap(false, Ordering::AcqRel) { self.file.sync_all() } else { self.file.sync_data() };
        if synced.is_err() {
            self.has_failed.store(true, Ordering::Release);
        }
        synced
    }
}

/// Makes the folder and those above it, and sees to it that each is still there after a power cut.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(above) = path.parent() else { return Ok(()) };
    create_folder(above)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.and_then(|()| fs::File::open(above)?.sync_all()),
    }
}

fn lock(folder: &Path) -> io::Result<Option<fs::File>> {
    let path = folder.join(LOCK_NAME);
    let opened = match OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path) {
        // On a read-only file system nobody can do harm, but a lock from better days still works.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        },
        opened => opened,
    };
    let file = opened.map_err(|error| named(error, &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{} is in use: another process holds its lock", folder.display()),
        )),
        Err(TryLockError::Error(error)) => Err(named(error, &path)),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// A path that no other test uses, removed with what is in it.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Scratch {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            Scratch(std::env::temp_dir().join(format!("outpost-hal-{}-{number}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &Folder) -> Vec<String> {
        let mut names = folder.list().unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lib/outpost");
        let folder = Folder::open(&path).unwrap();
        folder.create("tail").unwrap();
        assert_eq!((mode(&scratch.0), mode(&path)), (0o700, 0o700));
        assert_eq!((mode(&path.join("tail")), mode(&path.join(LOCK_NAME))), (0o600, 0o600));
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_files() {
        let scratch = Scratch::new();
        Folder::open(&scratch.0).unwrap().create("tail").unwrap().write_at(0, b"kept").unwrap();
        let folder = Folder::open(&scratch.0).unwrap();
        let mut bytes = [0; 4];
        folder.open("tail").unwrap().read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
    }

    #[test]
    fn a_file_is_larger_than_32_bits_of_bytes() {
        let scratch = Scratch::new();
        let file = Folder::open(&scratch.0).unwrap().create("volume").unwrap();
        // Far beyond the end: a hole, which costs no disk.
        for end in [1 << 31, 1 << 32, 5 << 30] {
            file.write_at(end - 2, b"over").unwrap();
            assert_eq!(file.len().unwrap(), end + 2);
        }
        let mut bytes = [0; 6];
        file.read_at((1 << 32) - 3, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0over\0");
        file.set_len((1 << 32) + 1).unwrap();
        assert_eq!(file.len().unwrap(), (1 << 32) + 1);
    }

    #[test]
    fn what_is_written_is_read_and_the_end_is_named() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        let file = folder.create("tail").unwrap();
        file.write_at(3, b"abc").unwrap();
        file.sync().unwrap();
        file.set_len(8).unwrap();
        file.sync().unwrap();
        let mut bytes = [9; 8];
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0abc\0\0");
        assert_eq!(file.len().unwrap(), 8);
        assert_eq!(file.read_at(1, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(folder.create("tail").unwrap().is_empty().unwrap());
    }

    #[test]
    fn names_come_change_and_go() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        fs::create_dir(scratch.0.join("lost+found")).unwrap();
        for name in ["a", "b", "c"] {
            folder.create(name).unwrap();
        }
        folder.rename("a", "b").unwrap();
        folder.sync().unwrap();
        assert_eq!(names(&folder), ["b", "c"]);
        folder.remove("c").unwrap();
        assert_eq!(names(&folder), ["b"]);
        assert_eq!(folder.open("c").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.remove("c").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        for name in ["", ".", "..", "../tail", "/etc/hostname", "a/b", "a\\b", "a\0b", LOCK_NAME] {
            let refused = [
                folder.open(name).map(drop),
                folder.create(name).map(drop),
                folder.rename(name, "b"),
                folder.rename("b", name),
                folder.remove(name),
            ];
            for result in refused {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
            }
        }
    }

    #[test]
    fn a_folder_is_open_once() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        let error = Folder::open(&scratch.0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let message = error.to_string();
        assert!(message.contains(scratch.0.to_str().unwrap()) && message.contains("another process"), "{message}");
        drop(folder);
        Folder::open(&scratch.0).unwrap();
    }

    #[test]
    fn a_folder_that_is_open_elsewhere_is_looked_at_and_never_changed() {
        let scratch = Scratch::new();
        let held = Folder::open(&scratch.0).unwrap();
        held.create("tail").unwrap().write_at(0, b"kept").unwrap();
        let seen = Folder::open_to_look(&scratch.0).unwrap();
        assert_eq!(seen.list().unwrap(), ["tail"]);
        let file = seen.open("tail").unwrap();
        let mut bytes = [0; 4];
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!((&bytes, file.len().unwrap()), (b"kept", 4));
        let refused = [
            seen.create("other").map(drop),
            seen.rename("tail", "other"),
            seen.remove("tail"),
            seen.sync(),
            file.write_at(0, b"lost"),
            file.set_len(0),
            file.sync(),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(seen.open("../tail").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            (names(&held), fs::read(scratch.0.join("tail")).unwrap()),
            (vec!["tail".to_owned()], b"kept".to_vec())
        );
    }

    #[test]
    fn a_folder_to_look_at_is_not_made_and_named_in_the_error() {
        let scratch = Scratch::new();
        let error = Folder::open_to_look(&scratch.0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(scratch.0.to_str().unwrap()), "{error}");
        assert!(!scratch.0.exists());
        Folder::open(&scratch.0).unwrap().create("tail").unwrap();
        let error = Folder::open_to_look(&scratch.0.join("tail")).unwrap_err();
        assert!(error.to_string().contains("tail"), "{error}");
    }

    #[test]
    fn a_path_that_is_no_folder_is_named_in_the_error() {
        let scratch = Scratch::new();
        Folder::open(&scratch.0).unwrap().create("tail").unwrap();
        let error = Folder::open(&scratch.0.join("tail")).unwrap_err().to_string();
        assert!(error.contains("tail"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_opened_for_reading() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        // sysfs refuses to open this one for writing even to root.
        symlink("/sys/devices/system/cpu/present", scratch.0.join("frozen")).unwrap();
        let file = folder.open("frozen").unwrap();
        let mut first = [0];
        file.read_at(0, &mut first).unwrap();
        assert_eq!(&first, b"0");
        assert!(file.write_at(0, b"1").is_err());
    }

    #[test]
    fn a_sync_after_a_failed_one_fails() {
        // The null device has nothing to sync and says so.
        let file = OpenFile::new(fs::File::open("/dev/null").unwrap());
        assert_eq!(file.sync().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(file.sync().unwrap_err().to_string().contains("earlier"));
    }

    #[test]
    fn free_bytes_are_those_of_the_file_system() {
        let scratch = Scratch::new();
        let free_bytes = Folder::open(&scratch.0).unwrap().free_bytes().unwrap();
        assert!((1..1 << 60).contains(&free_bytes), "{free_bytes}");
    }
}
