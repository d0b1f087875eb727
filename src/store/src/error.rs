//! Why the store could not answer or commit.

use std::fmt;
use std::io;

/// The store could not do what it was asked for. Nothing was changed.
#[derive(Debug)]
pub enum StoreError {
    /// The engine failed: the disk refused, or its file is damaged.
    Engine(Box<redb::Error>),
    /// The folder refused an operation on the store's file.
    Folder(io::Error),
    /// The store was written by another version of the hub.
    Format {
        /// The format that the file carries.
        found: u32,
    },
    /// A row of the index does not read: its file is damaged.
    Row {
        /// Which table it stands in.
        table: &'static str,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Engine(error) => write!(f, "store: {error}"),
            StoreError::Folder(error) => write!(f, "store's folder: {error}"),
            StoreError::Format { found } => {
                write!(f, "store is of format {found}, this hub reads format {}", crate::FORMAT)
            }
            StoreError::Row { table } => write!(f, "store: a row of table {table} does not read: its file is damaged"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        StoreError::Folder(error)
    }
}

macro_rules! from_engine {
    ($($error:ident)*) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                StoreError::Engine(Box::new(error.into()))
            }
        })*
    };
}

from_engine! { CommitError DatabaseError StorageError TableError TransactionError }
