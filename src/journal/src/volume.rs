//! Immutable redb files: written once, read guarded, carved when damaged.
//!
//! A volume holds batches of the streams of one [`Shelf`], by stream and then by number. Its name says which, and what time they
//! cover, so opening the journal need not open it:
//!
//! ```text
//! v<journal>-<shelf>-<number>-<seconds>-<stream>.<first seq>.<last seq>[-<stream>.<first seq>.<last seq>..].redb
//! ```
//!
//! Each row is a page of batches. Each of them is checked by itself, so that a file that redb gives up on still yields every batch
//! whose bytes are whole.

use std::collections::BTreeMap;
use std::io;

use disk::Folder;
use disk::table::{Frozen, Live};
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use wire::id::{JournalId, Seq};
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::{SHELF_STREAM_COUNT, Shelf, Stream};

use crate::entry::{self, Unreadable};
use crate::guard::guarded;
use crate::page::{self, Page};

/// Pages by stream and number of their first batch, then a row for the [`Total`] of each stream.
const PAGES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("pages");

/// In the place of a stream, behind all of them: what follows is not a number but the stream whose total it is.
const TOTALS: u8 = u8::MAX;

/// redb's cache for one volume. Its default is 1 GiB; reads here are mostly sequential, and the bar for the whole
/// process is 6 MB.
const CACHE_BYTES: usize = 128 * 1024;

/// What a volume's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose numbers these are.
    pub journal: JournalId,
    /// Whose streams.
    pub shelf: Shelf,
    /// Its own number on the shelf: older volumes have lower ones.
    pub number: u32,
    /// Recorded time inside.
    pub span_s: u32,
    /// By the stream's place on the shelf.
    ranges: [Option<SeqRange>; SHELF_STREAM_COUNT],
}

impl Name {
    /// The name of a volume that holds nothing yet.
    pub fn new(journal: JournalId, shelf: Shelf, number: u32, span_s: u32) -> Name {
        Name { journal, shelf, number, span_s, ranges: [None; SHELF_STREAM_COUNT] }
    }

    /// This name for a volume that holds these batches and no others.
    ///
    /// Panics: when one of them belongs on another shelf.
    pub fn holding(self, batches: impl IntoIterator<Item = (Stream, Seq)>) -> Name {
        let mut name = Name::new(self.journal, self.shelf, self.number, self.span_s);
        for (stream, seq) in batches {
            let place = self.shelf.streams().position(|of| of == stream).expect("a volume is of one shelf");
            let range = name.ranges[place].get_or_insert(SeqRange { first: seq, last: seq });
            *range = SeqRange { first: range.first.min(seq), last: range.last.max(seq) };
        }
        name
    }

    /// What is inside of each stream: its lowest and its highest number. There may be holes between.
    pub fn ranges(&self) -> impl Iterator<Item = (Stream, SeqRange)> + use<> {
        self.shelf.streams().zip(self.ranges).filter_map(|(stream, range)| Some((stream, range?)))
    }

    /// What is inside of one stream.
    pub fn range(&self, stream: Stream) -> Option<SeqRange> {
        let mut ranges = (stream.shelf() == self.shelf).then(|| self.ranges())?;
        ranges.find(|(of, _)| *of == stream).map(|(_, range)| range)
    }

    /// Whether a batch is inside, or may be.
    pub fn covers(&self, stream: Stream, seq: Seq) -> bool {
        self.range(stream).is_some_and(|range| range.first <= seq && seq <= range.last)
    }

    /// The file's name.
    pub fn to_file_name(self) -> String {
        let Name { journal, shelf, number, span_s, .. } = self;
        let ranges = self.ranges().map(|(stream, SeqRange { first, last })| {
            format!("-{:02x}.{:016x}.{:016x}", u8::from(stream), first.0, last.0)
        });
        format!("v{journal}-{shelf}-{number:08x}-{span_s:08x}{}.redb", ranges.collect::<String>())
    }

    /// Reads a file's name. `None` when it is not a volume's.
    pub fn parse(file_name: &str) -> Option<Name> {
        let mut words = file_name.strip_prefix('v')?.strip_suffix(".redb")?.split('-');
        let number = |text| u64::from_str_radix(text, 16).ok();
        let journal = JournalId(number(words.next()?)? as u32);
        let word = words.next()?;
        let shelf = Shelf::ALL.into_iter().find(|shelf| shelf.name() == word)?;
        let name = Name::new(journal, shelf, number(words.next()?)? as u32, number(words.next()?)? as u32);
        let mut batches = Vec::new();
        for word in words {
            let mut numbers = word.split('.').map(number);
            let stream = Stream::try_from(numbers.next()?? as u8).ok().filter(|stream| stream.shelf() == shelf)?;
            for seq in numbers {
                batches.push((stream, Seq(seq?)));
            }
        }
        let name = name.holding(batches);
        // There is one way to write it.
        (name.ranges().next().is_some() && name.to_file_name() == file_name).then_some(name)
    }
}

/// What a volume holds of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Batches.
    pub batch_count: u64,
    /// Their bytes, with what lies around each of them.
    pub bytes: u64,
}

impl Total {
    /// With one more batch.
    pub(crate) fn with(self, record: &[u8]) -> Total {
        let bytes = self.bytes + (record.len() + page::BESIDE_BYTES) as u64;
        Total { batch_count: self.batch_count + 1, bytes }
    }

    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.batch_count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Total> {
        let (count, rest) = bytes.split_first_chunk()?;
        let batch_count = u64::from_le_bytes(*count);
        Some(Total { batch_count, bytes: u64::from_le_bytes(rest.try_into().ok()?) })
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

/// Writes a volume: the batches that `next` puts into the buffer, by stream and then by number, until it says `None`. Returns the
/// file's size.
///
/// Errors: nothing under the volume's name exists then.
pub fn write(
    folder: &Folder,
    name: Name,
    mut next: impl FnMut(&mut Vec<u8>) -> io::Result<Option<(Stream, Seq)>>,
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
            let (mut record, mut page, mut bytes) = (Vec::new(), Page::default(), Vec::new());
            let mut totals: BTreeMap<Stream, Total> = BTreeMap::new();
            let mut put = |page: &mut Page| -> Result<(), VolumeError> {
                if let Some((stream, seq)) = page.take(&mut bytes) {
                    table.insert((stream.into(), seq.0), &bytes[..]).map_err(|e| from_redb(e.into()))?;
                }
                Ok(())
            };
            while let Some((stream, seq)) = next(&mut record)? {
                if !page.fits(record.len()) {
                    put(&mut page)?;
                }
                page.push((stream, seq), &record);
                let total = totals.entry(stream).or_default();
                *total = total.with(&record);
            }
            put(&mut page)?;
            for (stream, total) in totals {
                let key = (TOTALS, u64::from(u8::from(stream)));
                table.insert(key, &total.to_bytes()[..]).map_err(|e| from_redb(e.into()))?;
            }
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

    fn table(&self) -> Result<ReadOnlyTable<(u8, u64), &'static [u8]>, redb::Error> {
        let database = self.database.as_ref().expect("it is open while it lives");
        Ok(database.begin_read()?.open_table(PAGES)?)
    }

    /// Reads one record into `record`; `false` when the volume has none of that number.
    pub fn read(&self, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> Result<bool, VolumeError> {
        let found = guarded(|| -> Result<Option<bool>, redb::Error> {
            let table = self.table()?;
            let Some(page) = table.range(..=(stream.into(), seq.0))?.next_back() else { return Ok(None) };
            let (_, page) = page?;
            for batch in page::batches(page.value()) {
                let Some((found, bytes)) = batch else { return Ok(Some(false)) };
                if found == (stream, seq) {
                    let Some((bytes, _)) = page::parse(bytes) else { return Ok(Some(false)) };
                    record.clear();
                    record.extend_from_slice(bytes);
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

    /// Appends every batch to `keys`, by stream and then by number; none is read.
    ///
    /// Errors: those before the damage were appended.
    pub fn list(&self, keys: &mut Vec<(Stream, Seq)>) -> Result<(), VolumeError> {
        let listed = guarded(|| -> Result<bool, redb::Error> {
            for item in self.table()?.range(..(TOTALS, 0))? {
                for batch in page::batches(item?.1.value()) {
                    // Pages that point back at each other would be walked for ever.
                    match batch {
                        Some((key, _)) if keys.last().is_none_or(|last| *last < key) => keys.push(key),
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

    /// What it says that it holds of a stream; no batch is read.
    pub fn total(&self, stream: Stream) -> Result<Total, VolumeError> {
        let read = guarded(|| -> Result<Option<Total>, redb::Error> {
            let total = self.table()?.get((TOTALS, u64::from(u8::from(stream))))?;
            Ok(total.and_then(|total| Total::from_bytes(total.value())))
        });
        read.map_err(|_| VolumeError::Damaged)?.map_err(from_redb)?.ok_or(VolumeError::Damaged)
    }

    /// Reads every batch and checks it. Returns how many there are.
    pub fn verify(&self) -> Result<u64, VolumeError> {
        let checked = guarded(|| -> Result<Option<u64>, redb::Error> {
            let mut count = 0;
            for item in self.table()?.range(..(TOTALS, 0))? {
                for batch in page::batches(item?.1.value()) {
                    if batch.and_then(|(_, bytes)| page::parse(bytes)).is_none() {
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

/// Hands every whole batch of a damaged volume to `each`, in the order in which they lie there: the sealed record, and what it says.
///
/// Errors: it does not open, or does not read.
pub fn carve(
    folder: &Folder,
    name: Name,
    unreadable: Unreadable,
    mut each: impl FnMut(&[u8], Record<'_>),
) -> io::Result<()> {
    let file = folder.open(&name.to_file_name())?;
    entry::search(&*file, unreadable, |_, bytes| {
        let (bytes, record) = page::parse(bytes)?;
        if name.covers(record.header.stream, record.header.seq) {
            each(bytes, record);
        }
        Some(page::entry_bytes(bytes))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use wire::class::Class;
    use wire::stream::Resolution;

    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_in_no_other_way() {
        let streams =
            Shelf::Series(Resolution::Raw).streams().flat_map(|stream| [(stream, Seq(7)), (stream, Seq(u64::MAX))]);
        let name = Name::new(JournalId(u32::MAX), Shelf::Series(Resolution::Raw), 9, 3600).holding(streams);
        let text = name.to_file_name();
        assert_eq!(Name::parse(&text), Some(name));
        assert!(text.len() + ".tmp".len() <= 255, "{}", text.len());
        for (from, to) in
            [("v", "w"), ("raw", "event"), ("00000009", "9"), ("00000e10", "00000E10"), ("0007.", "0007.0")]
        {
            assert_eq!(Name::parse(&text.replacen(from, to, 1)), None, "{from} {to}");
        }
        assert_eq!(Name::parse("v00000001-raw-00000000-00000000.redb"), None);
        assert_eq!(Name::parse("v00000001-event-00000000-00000000-00.0000000000000002.0000000000000001.redb"), None);
    }

    #[test]
    fn a_batch_of_another_stream_or_number_is_not_inside() {
        let [normal, bulk] = [Class::Normal, Class::Bulk].map(Stream::raw);
        let name = Name::new(JournalId(1), normal.shelf(), 0, 0);
        let name = name.holding([(normal, Seq(5)), (bulk, Seq(9)), (normal, Seq(3))]);
        assert_eq!([2, 3, 4, 5, 6].map(|seq| name.covers(normal, Seq(seq))), [false, true, true, true, false]);
        assert!(name.covers(bulk, Seq(9)) && !name.covers(bulk, Seq(4)));
        assert!([Stream::Event, Stream::raw(Class::Critical)].iter().all(|stream| !name.covers(*stream, Seq(4))));
    }
}
