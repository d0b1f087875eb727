//! Which slot of a tick is which series.
//!
//! An append-only list: a series keeps its slot for as long as the list lives, so a run may go on while a disk is
//! plugged in. A full list starts again as the next generation, with whatever is sampled then.
//!
//! What follows a series in one tick follows it in the next: a lookup first tries the slot after the last one found
//! and only then the table. Nothing is allocated once the list has been made.

use wire::batch::{DictionaryHash, DictionaryMark, put_dictionary, put_series};
use wire::id::SeriesId;
use wire::limits::{DICTIONARY_BYTES_MAX, LABELS_BYTES_MAX, NAME_BYTES_MAX, SERIES_COUNT_MAX};
use wire::metric::Metric;
use wire::series::{LabelText, Series, write_labels};

/// Twice the series, so that a probe is short.
const TABLE_COUNT: usize = 2 * SERIES_COUNT_MAX;
const EMPTY: u16 = u16::MAX;

/// Bytes of one entry at its longest.
const ENTRY_BYTES_MAX: usize = NAME_BYTES_MAX + LABELS_BYTES_MAX + 8;

const _: () = assert!(TABLE_COUNT.is_power_of_two());

/// The list has no room for one more series, or for labels as long as these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRefused;

/// An append-only list of series.
#[derive(Debug)]
pub struct Dictionary {
    generation: u32,
    /// The entries as [`put_series`] writes them, one after the other.
    bytes: Vec<u8>,
    /// Where each entry starts; one more for the end.
    starts: Vec<u32>,
    table: Box<[u16]>,
    hash: DictionaryHash,
    /// Entries that are in the journal already.
    written: usize,
    hint: usize,
    labels: LabelText,
    entry: Vec<u8>,
}

impl Dictionary {
    /// An empty list. Allocates here and never again.
    pub fn new(generation: u32) -> Dictionary {
        let mut starts = Vec::with_capacity(SERIES_COUNT_MAX + 1);
        starts.push(0);
        Dictionary {
            generation,
            bytes: Vec::with_capacity(DICTIONARY_BYTES_MAX),
            starts,
            table: vec![EMPTY; TABLE_COUNT].into_boxed_slice(),
            hash: DictionaryHash::default(),
            written: 0,
            hint: 0,
            labels: LabelText::new(),
            entry: Vec::with_capacity(ENTRY_BYTES_MAX),
        }
    }

    /// Forgets every entry and starts the next generation.
    pub fn renew(&mut self) {
        self.generation += 1;
        self.bytes.clear();
        self.starts.truncate(1);
        self.table.fill(EMPTY);
        self.hash = DictionaryHash::default();
        self.written = 0;
        self.hint = 0;
    }

    /// How many series there are.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether an eighth of the room or less is left.
    pub fn is_nearly_full(&self) -> bool {
        self.count() >= SERIES_COUNT_MAX / 8 * 7 || self.bytes.len() >= DICTIONARY_BYTES_MAX / 8 * 7
    }

    /// What a run that opens now counts on.
    pub fn mark(&self) -> DictionaryMark {
        DictionaryMark { generation: self.generation, count: self.count() as u16, hash: self.hash.value() }
    }

    /// The series of a slot.
    pub fn series(&self, slot: usize) -> Series<&str> {
        let mut rest = self.entry_bytes(slot);
        let mut text = || {
            let length = codec::varint::take(&mut rest).expect("entries are written by put_series") as usize;
            let (text, after) = rest.split_at(length);
            rest = after;
            core::str::from_utf8(text).expect("entries are written from text")
        };
        let (name, labels) = (text(), text());
        Series { name, labels, kind: rest[0], scale: rest[1] as i8 }
    }

    fn entry_bytes(&self, slot: usize) -> &[u8] {
        &self.bytes[self.starts[slot] as usize..self.starts[slot + 1] as usize]
    }

    /// The slot of a series, new when there is none yet.
    pub fn slot(&mut self, metric: Metric, labels: &[(&str, &[u8])]) -> Result<usize, SeriesRefused> {
        write_labels(labels, &mut self.labels).map_err(|_| SeriesRefused)?;
        self.entry.clear();
        put_series(&metric.with(&self.labels), &mut self.entry);
        if self.hint < self.count() && self.entry_bytes(self.hint) == &self.entry[..] {
            self.hint += 1;
            return Ok(self.hint - 1);
        }
        let at = self.find();
        let slot = match self.table[at] {
            EMPTY => self.insert(at)?,
            slot => usize::from(slot),
        };
        self.hint = slot + 1;
        Ok(slot)
    }

    /// Takes an entry back that a former life of the process wrote to the journal.
    pub fn restore(&mut self, series: &Series<&str>) -> Result<(), SeriesRefused> {
        self.entry.clear();
        put_series(series, &mut self.entry);
        let at = self.find();
        self.insert(at)?;
        self.written = self.count();
        Ok(())
    }

    /// A tick begins: its first series is likely the list's first.
    pub fn rewind(&mut self) {
        self.hint = 0;
    }

    /// The place in the table where `entry` is or would be.
    fn find(&self) -> usize {
        let mut at = fnv1a(&self.entry) as usize % TABLE_COUNT;
        while self.table[at] != EMPTY && self.entry_bytes(usize::from(self.table[at])) != &self.entry[..] {
            at = (at + 1) % TABLE_COUNT;
        }
        at
    }

    fn insert(&mut self, at: usize) -> Result<usize, SeriesRefused> {
        let slot = self.count();
        if slot == SERIES_COUNT_MAX || self.bytes.len() + self.entry.len() > DICTIONARY_BYTES_MAX {
            return Err(SeriesRefused);
        }
        self.bytes.extend_from_slice(&self.entry);
        self.starts.push(self.bytes.len() as u32);
        self.table[at] = slot as u16;
        self.hash.update(&self.entry);
        Ok(slot)
    }

    /// Whether entries wait to be written to the journal.
    pub fn has_news(&self) -> bool {
        self.written < self.count()
    }

    /// Puts the next unwritten entries into a dictionary payload of at most `bytes_max` and some, and counts them as written.
    pub fn take_news(&mut self, bytes_max: usize, payload: &mut Vec<u8>) {
        payload.clear();
        put_dictionary(self.generation, SeriesId(self.written as u16), payload);
        while self.has_news() && payload.len() < bytes_max {
            payload.extend_from_slice(self.entry_bytes(self.written));
            self.written += 1;
        }
    }
}

/// FNV-1a, 32 bits (Fowler, Noll, Vo). A crafted collision only makes a probe longer.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::batch;

    #[test]
    fn a_series_keeps_its_slot_in_any_order() {
        let mut dictionary = Dictionary::new(0);
        let name = |index: usize| format!("{index}");
        for index in 0..300 {
            assert_eq!(dictionary.slot(Metric::CpuSeconds, &[("cpu", name(index).as_bytes())]), Ok(index));
        }
        for index in (0..300).rev().chain(0..300) {
            assert_eq!(dictionary.slot(Metric::CpuSeconds, &[("cpu", name(index).as_bytes())]), Ok(index));
        }
        assert_eq!(dictionary.series(7).labels, "cpu=\"7\"");
    }

    #[test]
    fn what_is_written_is_what_the_mark_counts_on() {
        let mut dictionary = Dictionary::new(4);
        for index in 0..50u8 {
            dictionary.slot(Metric::Load1, &[("a", &[b'a' + index % 26, b'0' + index / 26])]).unwrap();
        }
        let (mut payload, mut hash, mut count) = (Vec::new(), DictionaryHash::default(), 0);
        let mut restored = Dictionary::new(4);
        while dictionary.has_news() {
            dictionary.take_news(200, &mut payload);
            let opened = batch::Dictionary::open(&payload).unwrap();
            assert_eq!((opened.generation, usize::from(opened.first.0)), (4, count));
            for entry in opened.entries() {
                let (_, series) = entry.unwrap();
                let mut bytes = Vec::new();
                put_series(&series, &mut bytes);
                hash.update(&bytes);
                restored.restore(&series).unwrap();
                count += 1;
            }
        }
        assert_eq!(dictionary.mark(), DictionaryMark { generation: 4, count: 50, hash: hash.value() });
        assert_eq!(restored.mark(), dictionary.mark());
        assert!(!restored.has_news());
    }

    #[test]
    fn a_full_list_refuses_and_a_renewed_one_takes() {
        let mut dictionary = Dictionary::new(0);
        for index in 0..SERIES_COUNT_MAX {
            dictionary.slot(Metric::Load1, &[("i", index.to_string().as_bytes())]).unwrap();
        }
        assert_eq!(dictionary.slot(Metric::Load1, &[]), Err(SeriesRefused));
        assert_eq!(dictionary.slot(Metric::Load1, &[("i", b"17")]), Ok(17));
        dictionary.renew();
        assert_eq!(dictionary.slot(Metric::Load1, &[]), Ok(0));
        assert_eq!(dictionary.mark().generation, 1);
    }
}
