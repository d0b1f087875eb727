//! The state folder: what one life of the agent leaves to the next.
//!
//! ```text
//! /var/lib/outpost/          0700
//! ├── journal/               what was sampled and happened: the journal's own
//! ├── device.key             0600   who this device is
//! ├── device.key.next        0600   who it will be; only while its key rotates
//! ├── device.id              its number at the hub; there when it is enrolled
//! ├── hub.address            host:port
//! ├── hub.pins               fingerprints of the hub's keys, one a line
//! └── agent.sock             0600   where a running agent answers
//! ```
//!
//! A file is written beside its name, synced and renamed, and then the folder is synced: after a power cut it holds
//! what it held before or what it was to hold, and nothing else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Bytes of any file here but the journal's: all are a line or two.
const FILE_BYTES_MAX: u64 = 4096;

/// Where the system's agent has its state.
const SYSTEM_FOLDER: &str = "/var/lib/outpost";

/// The state folder.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// The folder at `path`, or where it is by default: `/var/lib/outpost` for root, otherwise
    /// `$XDG_STATE_HOME/outpost`. Nothing is made yet.
    ///
    /// Errors: there is no home folder either.
    pub(crate) fn at(path: Option<PathBuf>) -> Result<StateFolder, Failure> {
        let path = match path {
            Some(path) => path,
            None if is_root() => PathBuf::from(SYSTEM_FOLDER),
            None => home_folder("XDG_STATE_HOME", ".local/state")?,
        };
        std::path::absolute(&path).map(|path| StateFolder { path }).map_err(|error| Failure::at(Path::new("."), &error))
    }

    /// Makes the folder, for its owner alone, when it is missing.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| Failure::at(&self.path, &error))
    }

    /// Where the folder is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this folder is another than that of the system's agent, which there is: a person who forgot `sudo` meant
    /// that.
    pub(crate) fn is_beside_system(&self) -> bool {
        self.path != Path::new(SYSTEM_FOLDER) && Path::new(SYSTEM_FOLDER).is_dir()
    }

    /// Where a file of it is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a file holds; `None` when there is none.
    ///
    /// Errors: the system refused, or the file is longer than any of ours.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it exceeds {FILE_BYTES_MAX} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Has a file hold `bytes`, durably and for its owner alone.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.file(&format!("{name}.tmp"));
        // One that a power cut left behind may be another's to read.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.file(name))?;
        self.sync()
    }

    /// Gives a file another name, durably; it replaces what had that name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))?;
        self.sync()
    }

    /// Removes a file, durably. One that is not there is removed already.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Where the settings are by default: `/etc/outpost` for root, otherwise `$XDG_CONFIG_HOME/outpost`.
///
/// Errors: there is no home folder either.
pub(crate) fn config_folder() -> Result<PathBuf, Failure> {
    if is_root() { Ok(PathBuf::from("/etc/outpost")) } else { home_folder("XDG_CONFIG_HOME", ".config") }
}

fn home_folder(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    // A relative path in either is to be ignored (XDG Base Directory Specification).
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
        .map(|base| base.join("outpost"))
        .ok_or_else(|| {
            Failure::Failed("there is no home folder ($HOME is not set): name a folder with --dir".to_owned())
        })
}

/// Whether this process may do everything: the owner of its own entry in `/proc` is its effective user (`proc(5)`).
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A state folder that no other test uses, removed with what is in it.
    pub(crate) struct Scratch(pub(crate) StateFolder);

    impl Scratch {
        pub(crate) fn new() -> Scratch {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("outpost-state-{}-{number}", std::process::id()));
            let folder = StateFolder::at(Some(path)).unwrap();
            folder.create().unwrap();
            Scratch(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.path());
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_read_and_for_its_owner_alone() {
        let Scratch(folder) = &Scratch::new();
        assert_eq!(folder.read("device.id").unwrap(), None);
        folder.write("device.id", b"one").unwrap();
        folder.write("device.id", b"two").unwrap();
        assert_eq!(folder.read("device.id").unwrap().unwrap(), b"two");
        assert_eq!((mode(folder.path()), mode(&folder.file("device.id"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_power_cut_left_behind_is_neither_read_nor_kept() {
        let Scratch(folder) = &Scratch::new();
        fs::write(folder.file("hub.pins.tmp"), b"half a li").unwrap();
        assert_eq!(folder.read("hub.pins").unwrap(), None);
        folder.write("hub.pins", b"whole").unwrap();
        assert!(!folder.file("hub.pins.tmp").exists());
        assert_eq!(mode(&folder.file("hub.pins")), 0o600);
    }

    #[test]
    fn a_file_that_is_gone_is_removed_already() {
        let Scratch(folder) = &Scratch::new();
        folder.write("device.id", b"x").unwrap();
        folder.remove("device.id").unwrap();
        folder.remove("device.id").unwrap();
        assert_eq!(folder.read("device.id").unwrap(), None);
    }

    #[test]
    fn a_file_longer_than_any_of_ours_is_not_read_whole() {
        let Scratch(folder) = &Scratch::new();
        fs::write(folder.file("device.key"), vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(folder.read("device.key").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
