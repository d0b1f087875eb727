//! The hub's keys in its folder.
//!
//! ```text
//! hub.key         0600   the key that the fleet has pinned
//! hub.key.next    0600   the key that the fleet is told of, from `key rotate` to `key activate`
//! hub.key.old     0600   the key before the present one: with it a wrong change can be taken back by hand
//! ```
//!
//! Each appears whole or not at all: written beside its name, synced, renamed, and the folder synced.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use identity::key::Key;
use identity::key_file::{self, KeyFileError};
use identity::tls::server_config;
use tokio_rustls::rustls::ServerConfig;
use wire::message::DatagramKey;

const PRESENT: &str = "hub.key";
const NEXT: &str = "hub.key.next";
const OLD: &str = "hub.key.old";

/// As what the hub shows itself from now on.
#[derive(Debug)]
pub struct Shown {
    /// In TLS.
    pub tls: Arc<ServerConfig>,
    /// On datagrams: the key that shakes hands, and its public half.
    pub key: Key,
    /// The public half on datagrams.
    pub datagram_key: DatagramKey,
}

impl Shown {
    /// A hub with this key.
    pub fn new(key: Key) -> Arc<Shown> {
        let tls = server_config(&key, hal::linux::realtime::now);
        let datagram_key = DatagramKey(key.noise_public());
        Arc::new(Shown { tls, key, datagram_key })
    }
}

/// The hub's folder, as far as keys go.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
}

/// Why a key could not be read or written.
#[derive(Debug)]
pub enum KeysError {
    /// There is no next key to change to.
    NoNext,
    /// The file is there and holds no key.
    Read {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyFileError,
    },
    /// The system refused.
    System {
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl Keys {
    /// The keys in `folder`.
    pub fn new(folder: &Path) -> Keys {
        Keys { folder: folder.to_owned() }
    }

    /// The present key, if there is one.
    pub fn present(&self) -> Result<Option<Key>, KeysError> {
        self.read(PRESENT)
    }

    /// The key that the hub is going to change to, if there is one.
    pub fn next(&self) -> Result<Option<Key>, KeysError> {
        self.read(NEXT)
    }

    /// Makes the first key, and the folder when it is missing. A key that is there stays.
    pub fn init(&self) -> Result<Key, KeysError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| KeysError::System { path: self.folder.clone(), error })?;
        match self.present()? {
            Some(key) => Ok(key),
            None => self.write(PRESENT, Key::generate()),
        }
    }

    /// Makes the next key. One that is there stays: the fleet may know it already.
    pub fn make_next(&self) -> Result<Key, KeysError> {
        match self.next()? {
            Some(key) => Ok(key),
            None => self.write(NEXT, Key::generate()),
        }
    }

    /// Makes the next key the present one, and returns it. The present one is kept as the old one.
    pub fn activate(&self) -> Result<Key, KeysError> {
        let next = self.next()?.ok_or(KeysError::NoNext)?;
        if let Some(present) = self.present()? {
            self.write(OLD, present)?;
        }
        self.rename(NEXT, PRESENT)?;
        Ok(next)
    }

    fn read(&self, name: &str) -> Result<Option<Key>, KeysError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KeysError::System { path, error }),
            Ok(bytes) => match key_file::parse(&bytes) {
                Ok(key) => Ok(Some(key)),
                Err(error) => Err(KeysError::Read { path, error }),
            },
        }
    }

    fn write(&self, name: &str, key: Key) -> Result<Key, KeysError> {
        let unfinished = format!("{name}.tmp");
        let path = self.folder.join(&unfinished);
        let written = (|| {
            // One that a crash left may have been made with other rights.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(key_file::text(&key).as_bytes())?;
            file.sync_all()
        })();
        written.map_err(|error| KeysError::System { path, error })?;
        self.rename(&unfinished, name)?;
        Ok(key)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), KeysError> {
        let path = self.folder.join(to);
        let renamed = fs::rename(self.folder.join(from), &path).and_then(|()| File::open(&self.folder)?.sync_all());
        renamed.map_err(|error| KeysError::System { path, error })
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::NoNext => {
                f.write_str("there is no next key: `outpost-hub key rotate` makes one and tells the fleet")
            }
            KeysError::Read { path, error } => write!(f, "{}: {error}", path.display()),
            KeysError::System { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let scratch = Scratch::new();
        let keys = Keys::new(&scratch.0.join("deep/hub"));
        assert!(keys.present().unwrap().is_none());
        let made = keys.init().unwrap().fingerprint();
        assert_eq!(keys.init().unwrap().fingerprint(), made);
        assert_eq!(keys.present().unwrap().unwrap().fingerprint(), made);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&keys.folder), mode(&keys.folder.join(PRESENT))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&keys.folder).unwrap().count(), 1);
    }

    #[test]
    fn a_key_changes_in_two_steps_and_the_old_one_is_kept() {
        let scratch = Scratch::new();
        let keys = Keys::new(&scratch.0);
        let first = keys.init().unwrap().fingerprint();
        assert!(matches!(keys.activate(), Err(KeysError::NoNext)));
        let next = keys.make_next().unwrap().fingerprint();
        assert_eq!(keys.make_next().unwrap().fingerprint(), next);
        assert_eq!(keys.present().unwrap().unwrap().fingerprint(), first);
        assert_eq!(keys.activate().unwrap().fingerprint(), next);
        assert_eq!(keys.present().unwrap().unwrap().fingerprint(), next);
        assert!(keys.next().unwrap().is_none());
        assert_eq!(keys.read(OLD).unwrap().unwrap().fingerprint(), first);
    }

    #[test]
    fn a_key_that_was_half_written_is_written_again() {
        let scratch = Scratch::new();
        let keys = Keys::new(&scratch.0);
        fs::create_dir_all(&scratch.0).unwrap();
        fs::write(scratch.0.join("hub.key.tmp"), "outpost-k").unwrap();
        keys.init().unwrap();
        assert!(keys.present().unwrap().is_some());
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        let scratch = Scratch::new();
        fs::create_dir_all(&scratch.0).unwrap();
        fs::write(scratch.0.join(PRESENT), "").unwrap();
        let error = Keys::new(&scratch.0).init().unwrap_err().to_string();
        assert!(error.contains("hub.key") && error.contains("is empty"), "{error}");
    }
}
