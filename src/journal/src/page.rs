//! Batches of a volume, so many together that they fill what redb gives them.
//!
//! redb cuts its pages in half when they are full and rounds long values up to a power of two of them: batches by themselves
//! take nearly twice their bytes. A row of a volume is a *page* of consecutive batches, by stream and then by number, keyed by the
//! first of them.
//!
//! ```text
//! count varint, ( stream u8, number varint, bytes varint )*, entries      a number is less the one before it in the stream
//! ```
//!
//! An entry is a record behind a head by which it is found when pages are damaged. The record's own checksum says whether it is whole.
//!
//! ```text
//! offset  field   type
//! 0       magic   4 bytes    "OPB\xf0"
//! 4       length  u24 LE     of the record
//! 7       record
//! ```

use codec::varint;
use wire::id::Seq;
use wire::record::Record;
use wire::stream::Stream;

use crate::entry::{BODY_BYTES_MAX, MAGIC_FIRST};

/// A batch of a volume.
pub(crate) type Key = (Stream, Seq);

/// Bytes that a batch takes in a page beside its record, about.
pub(crate) const BESIDE_BYTES: usize = HEAD_BYTES + 4;

const HEAD_BYTES: usize = 7;

const MAGIC: [u8; 4] = [MAGIC_FIRST, b'P', b'B', 0xf0];

/// Bytes of a page that takes no more batches: with what redb adds, eight of its pages. Smaller ones leave it more gaps.
const BYTES_MAX: usize = 32 * 1024 - 256;

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page {
    first: Option<Key>,
    last: Option<Key>,
    count: u64,
    index: Vec<u8>,
    entries: Vec<u8>,
}

impl Page {
    /// Whether a record of so many bytes has a place: the first one always has.
    pub(crate) fn fits(&self, record_bytes: usize) -> bool {
        let bytes = self.index.len() + self.entries.len() + record_bytes + HEAD_BYTES;
        self.first.is_none() || bytes + 1 + 3 * varint::BYTES_MAX <= BYTES_MAX
    }

    /// Adds a record; streams ascend, and numbers in each of them.
    pub(crate) fn push(&mut self, (stream, seq): Key, record: &[u8]) {
        assert!(record.len() <= BODY_BYTES_MAX, "records are bounded where they are made");
        let before = self.last.filter(|(of, _)| *of == stream).map_or(0, |(_, before)| before.0);
        self.first.get_or_insert((stream, seq));
        self.index.push(stream.into());
        varint::put(&mut self.index, seq.0.wrapping_sub(before));
        varint::put(&mut self.index, (HEAD_BYTES + record.len()) as u64);
        self.entries.extend_from_slice(&MAGIC);
        self.entries.extend_from_slice(&(record.len() as u32).to_le_bytes()[..3]);
        self.entries.extend_from_slice(record);
        (self.last, self.count) = (Some((stream, seq)), self.count + 1);
    }

    /// The page's key and bytes, if there is something in it; it is empty then.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Option<Key> {
        let first = self.first.take()?;
        self.last = None;
        out.clear();
        varint::put(out, std::mem::take(&mut self.count));
        out.append(&mut self.index);
        out.append(&mut self.entries);
        Some(first)
    }
}

/// The batches of a page: which one, and the entry's bytes as they lie there. `None` stands for an index that makes no sense, and
/// is the last.
pub(crate) fn batches(page: &[u8]) -> impl Iterator<Item = Option<(Key, &[u8])>> {
    let mut index = page;
    let count = varint::take(&mut index).unwrap_or(u64::MAX);
    let mut rest = index;
    let is_whole = count <= page.len() as u64 && (0..count).all(|_| take_place(&mut rest).is_some());
    let (mut left, mut before) = (if is_whole { count } else { 1 }, None::<Key>);
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let mut next = || {
            let (stream, delta, length) = take_place(&mut index).filter(|_| is_whole)?;
            let (bytes, after) = rest.split_at_checked(length)?;
            rest = after;
            let behind = before.filter(|(of, _)| *of == stream).map_or(0, |(_, before)| before.0);
            let key = (stream, Seq(behind.checked_add(delta)?));
            before = Some(key);
            Some((key, bytes))
        };
        let item = next();
        if item.is_none() {
            left = 0;
        }
        Some(item)
    })
}

/// One place of the index: the stream, how far the number is from the one before it, and the entry's bytes.
fn take_place(index: &mut &[u8]) -> Option<(Stream, u64, usize)> {
    let (number, rest) = index.split_first()?;
    *index = rest;
    let stream = Stream::try_from(*number).ok()?;
    Some((stream, varint::take(index).ok()?, usize::try_from(varint::take(index).ok()?).ok()?))
}

/// The record in the entry at the front of `bytes`, if it is whole.
pub(crate) fn parse(bytes: &[u8]) -> Option<(&[u8], Record<'_>)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], 0]) as usize;
    if head[..4] != MAGIC || length > BODY_BYTES_MAX {
        return None;
    }
    let bytes = rest.get(..length)?;
    Some((bytes, Record::open(bytes).ok()?))
}

/// Bytes of an entry with a record of so many.
pub(crate) fn entry_bytes(record: &[u8]) -> usize {
    HEAD_BYTES + record.len()
}

#[cfg(test)]
mod tests {
    use wire::record::{Header, seal};
    use wire::time::Stamp;

    use super::*;

    fn record((stream, seq): Key) -> Vec<u8> {
        let mut record = Vec::new();
        let header = Header { stream, seq, run: seq, stamp: Stamp::default() };
        seal(&header, &vec![seq.0 as u8; seq.0 as usize % 100], false, &mut record);
        record
    }

    fn page(keys: &[Key]) -> Vec<u8> {
        let mut page = Page::default();
        keys.iter().for_each(|key| page.push(*key, &record(*key)));
        let mut bytes = Vec::new();
        assert_eq!(page.take(&mut bytes), Some(keys[0]));
        assert_eq!(page.take(&mut Vec::new()), None);
        bytes
    }

    const STREAMS: [Stream; 2] = [Stream::Event, Stream::Dictionary];

    #[test]
    fn batches_come_back_with_their_numbers_holes_and_all() {
        let keys = STREAMS.map(|stream| [7, 8, 10, 1 << 40, u64::MAX - 1].map(|seq| (stream, Seq(seq)))).concat();
        let bytes = page(&keys);
        let back: Vec<_> = batches(&bytes).map(Option::unwrap).collect();
        assert_eq!(back.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
        for (key, entry) in back {
            assert_eq!(parse(entry).unwrap().0, record(key));
        }
    }

    #[test]
    fn a_page_fills_what_redb_gives_it_and_no_more() {
        for record_bytes in [1, 30, 700, 5000, 40_000] {
            let (mut page, mut bytes, mut seq) = (Page::default(), Vec::new(), 1 << 50);
            while page.fits(record_bytes) {
                page.push((Stream::Event, Seq(seq)), &vec![1; record_bytes]);
                seq += 1 << 40;
            }
            page.take(&mut bytes);
            assert!(bytes.len() <= BYTES_MAX.max(record_bytes + 64), "{record_bytes}: {}", bytes.len());
            assert!(bytes.len() + 2 * record_bytes + 100 > BYTES_MAX.min(bytes.len() + record_bytes), "{record_bytes}");
        }
    }

    #[test]
    fn a_damaged_index_ends_the_page_and_never_panics() {
        let sound = page(&STREAMS.map(|stream| [3, 4, 5, 60, 61].map(|seq| (stream, Seq(seq)))).concat());
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                assert!(batches(&bytes).count() <= bytes.len());
            }
            assert!(batches(&sound[..at]).last().is_none_or(|last| last.is_none()));
        }
    }

    #[test]
    fn no_entry_with_a_flipped_bit_is_whole() {
        let mut bytes = page(&[(Stream::Event, Seq(99))]);
        let entry = bytes.len() - entry_bytes(&record((Stream::Event, Seq(99))));
        for bit in entry * 8..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes[entry..]).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
