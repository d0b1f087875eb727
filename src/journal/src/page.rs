//! Batches of a volume, so many together that they fill what redb gives them.
//!
//! redb cuts its pages in half when they are full and rounds long values up to a power of two of them: batches by themselves
//! take nearly twice their bytes. A row of a volume is a *page* of consecutive batches, keyed by the number of the first.
//!
//! ```text
//! count varint, ( number less the one before, or than the key varint, bytes varint )*, entries
//! ```

use codec::varint;
use wire::id::Seq;

use crate::entry::{self, Head, Kind};

/// Bytes of a page that takes no more batches: with what redb adds, eight of its pages. Smaller ones leave it more gaps.
const BYTES_MAX: usize = 32 * 1024 - 256;

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page {
    first: Option<Seq>,
    last: Seq,
    count: u64,
    index: Vec<u8>,
    entries: Vec<u8>,
}

impl Page {
    /// Whether a record of so many bytes has a place: the first one always has.
    pub(crate) fn fits(&self, record_bytes: usize) -> bool {
        let bytes = self.index.len() + self.entries.len() + record_bytes + entry::HEAD_BYTES;
        self.first.is_none() || bytes + 3 * varint::BYTES_MAX <= BYTES_MAX
    }

    /// Adds a record; numbers ascend.
    pub(crate) fn push(&mut self, seq: Seq, record: &[u8]) {
        let before = *self.first.get_or_insert(seq);
        let before = if self.count == 0 { before } else { self.last };
        let start = self.entries.len();
        let length = record.len() as u32;
        let head = Head { generation: 0, commit: 0, kind: Kind::Batch, first: false, last: false, length };
        entry::put(head, record, &mut self.entries);
        varint::put(&mut self.index, seq.0.wrapping_sub(before.0));
        varint::put(&mut self.index, (self.entries.len() - start) as u64);
        (self.last, self.count) = (seq, self.count + 1);
    }

    /// The page's key and bytes, if there is something in it; it is empty then.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Option<Seq> {
        let first = self.first.take()?;
        out.clear();
        varint::put(out, std::mem::take(&mut self.count));
        out.append(&mut self.index);
        out.append(&mut self.entries);
        Some(first)
    }
}

/// The batches of a page: number, and the entry's bytes as they lie there. `None` stands for an index that makes no sense, and
/// is the last.
pub(crate) fn batches(key: Seq, page: &[u8]) -> impl Iterator<Item = Option<(Seq, &[u8])>> {
    let mut index = page;
    let count = varint::take(&mut index).unwrap_or(u64::MAX);
    let mut rest = index;
    let is_whole = count <= page.len() as u64 && (0..2 * count).all(|_| varint::take(&mut rest).is_ok());
    let (mut left, mut before) = (if is_whole { count } else { 1 }, key);
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let mut next = || {
            let delta = varint::take(&mut index).ok().filter(|_| is_whole)?;
            let length = usize::try_from(varint::take(&mut index).ok()?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            rest = after;
            before = Seq(before.0.checked_add(delta)?);
            Some((before, bytes))
        };
        let item = next();
        if item.is_none() {
            left = 0;
        }
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seqs: &[u64]) -> Vec<u8> {
        let mut page = Page::default();
        for seq in seqs {
            page.push(Seq(*seq), &vec![*seq as u8; *seq as usize % 100]);
        }
        let mut bytes = Vec::new();
        assert_eq!(page.take(&mut bytes), Some(Seq(seqs[0])));
        assert_eq!(page.take(&mut Vec::new()), None);
        bytes
    }

    #[test]
    fn batches_come_back_with_their_numbers_holes_and_all() {
        let seqs = [7, 8, 10, 1 << 40, u64::MAX - 1];
        let bytes = page(&seqs);
        let back: Vec<_> = batches(Seq(7), &bytes).map(Option::unwrap).collect();
        assert_eq!(back.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), seqs);
        for (seq, entry) in back {
            assert_eq!(entry::parse(entry).unwrap().1, vec![seq.0 as u8; seq.0 as usize % 100]);
        }
    }

    #[test]
    fn a_page_fills_what_redb_gives_it_and_no_more() {
        for record_bytes in [1, 30, 700, 5000, 40_000] {
            let (mut page, mut bytes, mut seq) = (Page::default(), Vec::new(), 1 << 50);
            while page.fits(record_bytes) {
                page.push(Seq(seq), &vec![1; record_bytes]);
                seq += 1 << 40;
            }
            page.take(&mut bytes);
            assert!(bytes.len() <= BYTES_MAX.max(record_bytes + 64), "{record_bytes}: {}", bytes.len());
            assert!(bytes.len() + 2 * record_bytes + 100 > BYTES_MAX.min(bytes.len() + record_bytes), "{record_bytes}");
        }
    }

    #[test]
    fn a_damaged_index_ends_the_page_and_never_panics() {
        let sound = page(&[3, 4, 5, 60, 61]);
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                assert!(batches(Seq(3), &bytes).count() <= bytes.len());
                assert!(batches(Seq(u64::MAX), &sound[..at]).last().is_none_or(|last| last.is_none()));
            }
        }
    }
}
