//! Which slot of a tick is which series.
//!
//! An append-only list: a series keeps its place for as long as the list lives, so a run may go on while a disk is
//! plugged in. A full list starts again as the next generation, with whatever is sampled then. Ticks are of one class: there
//! a series' slot is its place among those of its class.
//!
//! What follows a series in one tick follows it in the next: a lookup first tries the slot after the last one found
//! and only then the table. Nothing is allocated once the list has been made.

use wire::batch::{DictionaryHash, DictionaryMark, put_dictionary, put_series};
use wire::class::{CLASS_COUNT, Class};
use wire::id::SeriesId;
use wire::limits::{DICTIONARY_BYTES_MAX, LABELS_BYTES_MAX, NAME_BYTES_MAX, SERIES_COUNT_MAX};
use wire::metric::Metric;
use wire::series::{LabelText, Series, write_labels};

/// Twice the series, so that a probe is short.
const TABLE_COUNT: usize = 2 * SERIES_COUNT_MAX;
const EMPTY: u16 = u16::MAX;

/// Bytes of one entry at its longest.
const ENTRY_BYTES_MAX: usize = NAME_BYTES_MAX + LABELS_BYTES_MAX + 9;

const _: () = assert!(TABLE_COUNT.is_power_of_two());

/// The list has no room for one more series, or for labels as long as these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRefused;

/// Where a series' values are: in the ticks of which class, and at which place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The class.
    pub class: Class,
    /// The place among the series of the class.
    pub index: usize,
}

/// An append-only list of series.
#[derive(Debug)]
pub struct Dictionary {
    generation: u32,
    /// The entries as [`put_series`] writes them, one after the other.
    bytes: Vec<u8>,
    /// Where each entry starts; one more for the end.
    starts: Vec<u32>,
    /// Each entry's place among those of its class.
    ranks: Vec<u16>,
    /// The entries of each class.
    members: [Vec<u16>; CLASS_COUNT],
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
            ranks: Vec::with_capacity(SERIES_COUNT_MAX),
            members: std::array::from_fn(|_| Vec::with_capacity(SERIES_COUNT_MAX)),
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
        self.ranks.clear();
        self.members.iter_mut().for_each(Vec::clear);
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

    /// Every series of a class, in the order of its slots.
    pub fn of(&self, class: Class) -> impl ExactSizeIterator<Item = Series<&str>> {
        self.members[class.index()].iter().map(|entry| self.entry(usize::from(*entry)).1)
    }

    /// The series of a slot.
    pub fn series(&self, Slot { class, index }: Slot) -> Series<&str> {
        self.entry(usize::from(self.members[class.index()][index])).1
    }

    /// Every series with its class, as they came.
    pub fn entries(&self) -> impl Iterator<Item = (Class, Series<&str>)> {
        (0..self.count()).map(|entry| self.entry(entry))
    }

    fn entry(&self, entry: usize) -> (Class, Series<&str>) {
        let mut rest = self.entry_bytes(entry);
        let mut text = || {
            let length = codec::varint::take(&mut rest).expect("entries are written by put_series") as usize;
            let (text, after) = rest.split_at(length);
            rest = after;
            core::str::from_utf8(text).expect("entries are written from text")
        };
        let (name, labels) = (text(), text());
        (class_of(rest), Series { name, labels, kind: rest[0], scale: rest[1] as i8 })
    }

    fn entry_bytes(&self, entry: usize) -> &[u8] {
        &self.bytes[self.starts[entry] as usize..self.starts[entry + 1] as usize]
    }

    /// The slot of a series, new when there is none yet.
    pub fn slot(&mut self, metric: Metric, class: Class, labels: &[(&str, &[u8])]) -> Result<Slot, SeriesRefused> {
        write_labels(labels, &mut self.labels).map_err(|_| SeriesRefused)?;
        self.entry.clear();
        put_series(&metric.with(&self.labels), class, &mut self.entry);
        let mut entry = self.hint;
        if entry >= self.count() || self.entry_bytes(entry) != &self.entry[..] {
            let at = self.find();
            entry = match self.table[at] {
                EMPTY => self.insert(at)?,
                entry => usize::from(entry),
            };
        }
        self.hint = entry + 1;
        Ok(Slot { class, index: usize::from(self.ranks[entry]) })
    }

    /// Takes an entry back that a former life of the process wrote to the journal.
    pub fn restore(&mut self, class: Class, series: &Series<&str>) -> Result<(), SeriesRefused> {
        self.entry.clear();
        put_series(series, class, &mut self.entry);
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
        let entry = self.count();
        if entry == SERIES_COUNT_MAX || self.bytes.len() + self.entry.len() > DICTIONARY_BYTES_MAX {
            return Err(SeriesRefused);
        }
        self.bytes.extend_from_slice(&self.entry);
        self.starts.push(self.bytes.len() as u32);
        self.table[at] = entry as u16;
        self.hash.update(&self.entry);
        let members = &mut self.members[class_of(&self.entry).index()];
        self.ranks.push(members.len() as u16);
        members.push(entry as u16);
        Ok(entry)
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

/// The class that an entry ends with.
fn class_of(entry: &[u8]) -> Class {
    let class = entry.last().map(|class| Class::try_from(*class));
    class.and_then(Result::ok).expect("entries are written by put_series")
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
        for index in (0..300).chain((0..300).rev()).chain(0..300) {
            let class = Class::ALL[index % 3];
            let slot = dictionary.slot(Metric::CpuSeconds, class, &[("cpu", name(index).as_bytes())]);
            assert_eq!(slot, Ok(Slot { class, index: index / 3 }));
        }
        assert_eq!(dictionary.series(Slot { class: Class::Normal, index: 2 }).labels, "cpu=\"7\"");
        assert_eq!(dictionary.of(Class::Bulk).nth(2).unwrap().labels, "cpu=\"8\"");
    }

    #[test]
    fn what_is_written_is_what_the_mark_counts_on() {
        let mut dictionary = Dictionary::new(4);
        for index in 0..50u8 {
            let label: (&str, &[u8]) = ("a", &[b'a' + index % 26, b'0' + index / 26]);
            dictionary.slot(Metric::Load1, Class::ALL[usize::from(index) % 3], &[label]).unwrap();
        }
        let (mut payload, mut hash, mut count) = (Vec::new(), DictionaryHash::default(), 0);
        let mut restored = Dictionary::new(4);
        while dictionary.has_news() {
            dictionary.take_news(200, &mut payload);
            let opened = batch::Dictionary::open(&payload).unwrap();
            assert_eq!((opened.generation, usize::from(opened.first.0)), (4, count));
            for entry in opened.entries() {
                let (_, class, series) = entry.unwrap();
                let mut bytes = Vec::new();
                put_series(&series, class, &mut bytes);
                hash.update(&bytes);
                restored.restore(class, &series).unwrap();
                count += 1;
            }
        }
        assert_eq!(dictionary.mark(), DictionaryMark { generation: 4, count: 50, hash: hash.value() });
        assert_eq!(restored.mark(), dictionary.mark());
        assert!(restored.entries().eq(dictionary.entries()));
        assert!(!restored.has_news());
    }

    #[test]
    fn a_full_list_refuses_and_a_renewed_one_takes() {
        let mut dictionary = Dictionary::new(0);
        let critical = |index| Ok(Slot { class: Class::Critical, index });
        let mut slot = |labels: &[(&str, &[u8])]| dictionary.slot(Metric::Load1, Class::Critical, labels);
        for index in 0..SERIES_COUNT_MAX {
            slot(&[("i", index.to_string().as_bytes())]).unwrap();
        }
        assert_eq!(slot(&[]), Err(SeriesRefused));
        assert_eq!(slot(&[("i", b"17")]), critical(17));
        dictionary.renew();
        assert_eq!(dictionary.slot(Metric::Load1, Class::Critical, &[]), critical(0));
        assert_eq!(dictionary.mark().generation, 1);
    }
}
