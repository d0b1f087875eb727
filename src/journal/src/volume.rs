//! Immutable redb files: written once, read guarded, carved when damaged.
//!
//! A volume holds batches of one stream, ascending. Its name says which, and what time they cover:
//! `v<journal>-<stream>-<first seq>-<last seq>-<seconds>.redb`, so opening the journal need not open it. Each row is a page
//! of batches, each of them an [`entry`] with its own check, so that a file that redb gives up on still yields every batch whose bytes are whole.

use std::io;

use disk::Folder;
use disk::table::{Frozen, Live};
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use wire::id::{JournalId, Seq};
use wire::ranges::SeqRange;
use wire::stream::Stream;

use crate::entry::{self, HEAD_BYTES, Kind, Unreadable};
use crate::guard::guarded;
use crate::page::{self, Page};

/// Pages by the number of their first batch.
const PAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pages");

/// How many batches there are, as a number in the place of a page.
const COUNT_KEY: u64 = u64::MAX;

/// redb's cache for one volume. Its default is 1 GiB; reads here are mostly sequential, and the bar for the whole
/// process is 6 MB.
const CACHE_BYTES: usize = 128 * 1024;

/// What a volume's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose numbers these are.
    pub journal: JournalId,
    /// The stream.
    pub stream: Stream,
    /// The lowest and highest number inside; there may be holes between.
    pub range: SeqRange,
    /// Recorded time inside.
    pub span_s: u32,
}

impl Name {
    /// The file's name.
    pub fn to_file_name(self) -> String {
        let Name { journal, stream, range, span_s } = self;
        format!("v{journal}-{stream}-{:016x}-{:016x}-{span_s:08x}.redb", range.first.0, range.last.0)
    }

    /// Reads a file's name. `None` when it is not a volume's.
    pub fn parse(file_name: &str) -> Option<Name> {
        let mut parts = file_name.strip_prefix('v')?.strip_suffix(".redb")?.split('-');
        let number = |text: &str, digits| (text.len() == digits).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        let journal = JournalId(number(parts.next()?, 8)? as u32);
        let word = parts.next()?;
        let stream = Stream::ALL.into_iter().find(|stream| stream.name() == word)?;
        let first = Seq(number(parts.next()?, 16)?);
        let last = Seq(number(parts.next()?, 16)?);
        let span_s = number(parts.next()?, 8)? as u32;
        let name = Name { journal, stream, range: SeqRange { first, last }, span_s };
        (first <= last && parts.next().is_none()).then_some(name)
    }
}

/// Why a volume could not be used.
#[derive(Debug)]
pub enum VolumeError {
    /// The file is damaged.
    Damaged,
    /// The disk failed or is full.
    Io(io::Error),
}

impl From<io::Error> for VolumeError {
    fn from(error: io::Error) -> Self {
        VolumeError::Io(error)
    }
}

fn from_redb(error: redb::Error) -> VolumeError {
    match error {
        // redb reports a header that makes no sense and a file that ends too soon as I/O errors of these kinds.
        redb::Error::Io(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            VolumeError::Io(error)
        }
        _ => VolumeError::Damaged,
    }
}

/// Writes a volume: the batches that `next` puts into the buffer, ascending, until it says `None`. Returns the file's size.
///
/// Errors: nothing under the volume's name exists then.
pub fn write(
    folder: &Folder,
    name: Name,
    mut next: impl FnMut(&mut Vec<u8>) -> io::Result<Option<Seq>>,
) -> io::Result<u64> {
    let file_name = name.to_file_name();
    let temporary = format!("{file_name}.tmp");
    let result = (|| -> Result<u64, VolumeError> {
        let file = folder.create(&temporary)?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Live(file))
            .map_err(|e| from_redb(e.into()))?;
        let transaction = database.begin_write().map_err(|e| from_redb(e.into()))?;
        {
            let mut table = transaction.open_table(PAGES).map_err(|e| from_redb(e.into()))?;
            let (mut record, mut page, mut bytes, mut count) = (Vec::new(), Page::default(), Vec::new(), 0u64);
            let mut put = |page: &mut Page| -> Result<(), VolumeError> {
                if let Some(first) = page.take(&mut bytes) {
                    table.insert(first.0, &bytes[..]).map_err(|e| from_redb(e.into()))?;
                }
                Ok(())
            };
            while let Some(seq) = next(&mut record)? {
                if !page.fits(record.len()) {
                    put(&mut page)?;
                }
                page.push(seq, &record);
                count += 1;
            }
            put(&mut page)?;
            table.insert(COUNT_KEY, &count.to_le_bytes()[..]).map_err(|e| from_redb(e.into()))?;
        }
        transaction.commit().map_err(|e| from_redb(e.into()))?;
        drop(database);
        let file = folder.open(&temporary)?;
        file.sync()?;
        let bytes = file.len()?;
        folder.rename(&temporary, &file_name)?;
        folder.sync()?;
        Ok(bytes)
    })();
    if result.is_err() {
        // What is left of it is removed now, or when the journal is opened next.
        let _ = folder.remove(&temporary);
    }
    result.map_err(|error| match error {
        VolumeError::Io(error) => error,
        VolumeError::Damaged => io::Error::other("redb refused to write a volume"),
    })
}

/// An open volume.
#[derive(Debug)]
pub struct Reader {
    /// What it holds.
    pub name: Name,
    /// `None` only while it is dropped.
    database: Option<Database>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // redb reads pages when it closes, too.
        let _ = guarded(|| self.database = None);
    }
}

impl Reader {
    /// Opens a volume; it is never written.
    pub fn open(folder: &Folder, name: Name) -> Result<Reader, VolumeError> {
        let file = Frozen::new(folder.open(&name.to_file_name())?)?;
        let opened = guarded(move || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file));
        match opened {
            Ok(Ok(database)) => Ok(Reader { name, database: Some(database) }),
            Ok(Err(error)) => Err(from_redb(error.into())),
            Err(_) => Err(VolumeError::Damaged),
        }
    }

    fn table(&self) -> Result<ReadOnlyTable<u64, &'static [u8]>, redb::Error> {
        let database = self.database.as_ref().expect("it is open while it lives");
        Ok(database.begin_read()?.open_table(PAGES)?)
    }

    /// Reads one record into `record`; `false` when the volume has none of that number.
    pub fn read(&self, seq: Seq, record: &mut Vec<u8>) -> Result<bool, VolumeError> {
        let found = guarded(|| -> Result<Option<bool>, redb::Error> {
            let table = self.table()?;
            let Some(page) = table.range(..=seq.0)?.next_back() else { return Ok(None) };
            let (key, page) = page?;
            for batch in page::batches(Seq(key.value()), page.value()) {
                let Some((found, bytes)) = batch else { return Ok(Some(false)) };
                if found == seq {
                    let Some((_, body)) = entry::parse(bytes) else { return Ok(Some(false)) };
                    record.clear();
                    record.extend_from_slice(body);
                    return Ok(Some(true));
                }
            }
            Ok(None)
        });
        match found {
            Ok(Ok(None)) => Ok(false),
            Ok(Ok(Some(true))) => Ok(true),
            Ok(Err(error)) => Err(from_redb(error)),
            Ok(Ok(Some(false))) | Err(_) => Err(VolumeError::Damaged),
        }
    }

    /// Appends the number of every record to `seqs`, ascending; none is read.
    ///
    /// Errors: those before the damage were appended.
    pub fn list(&self, seqs: &mut Vec<Seq>) -> Result<(), VolumeError> {
        let listed = guarded(|| -> Result<bool, redb::Error> {
            for item in self.table()?.range(..COUNT_KEY)? {
                let (key, page) = item?;
                for batch in page::batches(Seq(key.value()), page.value()) {
                    // Pages that point back at each other would be walked for ever.
                    match batch {
                        Some((seq, _)) if seqs.last().is_none_or(|last| *last < seq) => seqs.push(seq),
                        _ => return Ok(false),
                    }
                }
            }
            Ok(true)
        });
        match listed {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(from_redb(error)),
            Ok(Ok(false)) | Err(_) => Err(VolumeError::Damaged),
        }
    }

    /// How many records it says that it holds; none of them is read.
    pub fn count(&self) -> Result<u64, VolumeError> {
        let counted = guarded(|| -> Result<Option<u64>, redb::Error> {
            let count = self.table()?.get(COUNT_KEY)?;
            Ok(count.and_then(|count| Some(u64::from_le_bytes(count.value().try_into().ok()?))))
        });
        let count = counted.map_err(|_| VolumeError::Damaged)?.map_err(from_redb)?;
        count.ok_or(VolumeError::Damaged)
    }

    /// Reads every batch and checks it. Returns how many there are.
    pub fn verify(&self) -> Result<u64, VolumeError> {
        let checked = guarded(|| -> Result<Option<u64>, redb::Error> {
            let table = self.table()?;
            let mut count = 0;
            for item in table.range(..COUNT_KEY)? {
                let (key, page) = item?;
                for batch in page::batches(Seq(key.value()), page.value()) {
                    if batch.and_then(|(_, bytes)| entry::parse(bytes)).is_none() {
                        return Ok(None);
                    }
                    count += 1;
                }
            }
            Ok(Some(count))
        });
        match checked {
            Ok(Ok(Some(count))) => Ok(count),
            Ok(Err(error)) => Err(from_redb(error)),
            Ok(Ok(None)) | Err(_) => Err(VolumeError::Damaged),
        }
    }
}

/// Hands every whole batch of a damaged volume to `each`, in the order in which they lie there: its body is a sealed record.
///
/// Errors: it does not open, or does not read.
pub fn carve(folder: &Folder, name: Name, unreadable: Unreadable, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let file = folder.open(&name.to_file_name())?;
    entry::scan(&*file, unreadable, |_, head, body| {
        if head.kind == Kind::Batch && head.generation == 0 && body.len() > HEAD_BYTES {
            each(body);
        }
    })?;
    Ok(())
}
