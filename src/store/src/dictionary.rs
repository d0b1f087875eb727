//! What the slots of a tick are called.
//!
//! A run names the list of series it counts on, how many of its entries, and their hash. Names are trusted when the
//! first entries of that list, as they are held, have that hash; entries that the list gained after the run opened
//! are trusted with them, because a list is only ever appended to. Until then the run is nameless: it is held and
//! left out of answers, which say so.

use std::collections::BTreeSet;

use redb::ReadableTable;
use wire::batch::{DictionaryHash, DictionaryMark, put_series};
use wire::class::{CLASS_COUNT, Class};
use wire::id::{DeviceId, JournalId};
use wire::limits::SERIES_COUNT_MAX;
use wire::series::Series;
use wire::window::SPANS;

use crate::Store;
use crate::error::StoreError;
use crate::run;
use crate::table::{Row, SeriesRow, View, series_of};

/// A dictionary on which held runs count and that is absent, cut short, or not the one they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingDictionary {
    /// In which life of the device's journal; another than the present one cannot be asked for again.
    pub journal: JournalId,
    /// Which list.
    pub generation: u32,
}

impl Store {
    /// The dictionaries without which runs of `device` cannot be read, to be asked for by [`wire::message::Want`].
    ///
    /// Looks at every run's index row, so ask when a device greets, not at every batch.
    pub fn missing_dictionaries(&self, device: DeviceId) -> Result<Vec<MissingDictionary>, StoreError> {
        let view = self.view()?;
        let mut missing = BTreeSet::new();
        let mut dictionary = Dictionaries::new(device);
        let mut streams = run::journals_of_ticks(&view, device)?;
        for (resolution, _) in SPANS {
            streams.extend(run::journals_of_windows(&view, device, resolution)?);
        }
        for (journal, stream, class) in streams {
            for run in run::runs(&view, device, journal, stream)? {
                let row = run?.row;
                let Some(mark) = row.mark() else { continue };
                let list = dictionary.of(&view, journal, mark.generation)?;
                if list.named(&mark, class).is_none_or(|entries| entries.len() < usize::from(row.slot_count)) {
                    missing.insert(MissingDictionary { journal, generation: mark.generation });
                }
            }
        }
        Ok(missing.into_iter().collect())
    }

    /// Every metric name that any device ever named, in order: what to suggest when a name is not found.
    pub fn series_names(&self) -> Result<Vec<String>, StoreError> {
        let view = self.view()?;
        let mut names = BTreeSet::new();
        for entry in view.series.iter()? {
            let row = SeriesRow::unpack(entry?.1.value())?;
            names.insert(row.series.name);
        }
        Ok(names.into_iter().collect())
    }
}

/// One list, as far as it is held without a hole.
#[derive(Default)]
pub(crate) struct List {
    /// Those of each class.
    entries: [Vec<Series<String>>; CLASS_COUNT],
    /// The hash of the first `n` entries at place `n`.
    hashes: Vec<u32>,
}

impl List {
    fn load(view: &View, device: DeviceId, journal: JournalId, generation: u32) -> Result<List, StoreError> {
        let mut hash = DictionaryHash::default();
        let mut list = List { entries: Default::default(), hashes: vec![hash.value()] };
        let mut bytes = Vec::new();
        let key = |id| (device.0, journal.0, generation, id);
        for entry in view.series.range(key(0)..=key(u16::MAX))? {
            let (key, row) = entry?;
            if usize::from(key.value().3) + 1 != list.hashes.len() {
                break;
            }
            let SeriesRow { class, series, .. } = SeriesRow::unpack(row.value())?;
            bytes.clear();
            let borrowed =
                Series { name: &series.name[..], labels: &series.labels[..], kind: series.kind, scale: series.scale };
            put_series(&borrowed, class, &mut bytes);
            hash.update(&bytes);
            list.entries[class.index()].push(series);
            list.hashes.push(hash.value());
        }
        assert!(list.hashes.len() <= SERIES_COUNT_MAX + 1, "ids are bounded where dictionaries are read");
        Ok(list)
    }

    /// The names of the slots of a run of a class with this mark, if they can be trusted. A slot past the end has no name.
    pub(crate) fn named(&self, mark: &DictionaryMark, class: Class) -> Option<&[Series<String>]> {
        (self.hashes.get(usize::from(mark.count)) == Some(&mark.hash)).then_some(&self.entries[class.index()])
    }
}

/// The lists of one device. Runs are read in order and a generation lasts for weeks, so the last one is enough.
pub(crate) struct Dictionaries {
    device: DeviceId,
    last: Option<((JournalId, u32), List)>,
}

impl Dictionaries {
    pub(crate) fn new(device: DeviceId) -> Dictionaries {
        Dictionaries { device, last: None }
    }

    pub(crate) fn of(&mut self, view: &View, journal: JournalId, generation: u32) -> Result<&List, StoreError> {
        let key = (journal, generation);
        if self.last.as_ref().is_none_or(|(have, _)| *have != key) {
            self.last = Some((key, List::load(view, self.device, journal, generation)?));
        }
        Ok(&self.last.as_ref().expect("the list was loaded above").1)
    }
}

/// Series that the lists of `device` name, each counted once by name and labels.
pub(crate) fn distinct_series_count(view: &View, device: DeviceId) -> Result<u64, StoreError> {
    let mut names = BTreeSet::new();
    for entry in view.series.range(series_of(device.0))? {
        let series = SeriesRow::unpack(entry?.1.value())?.series;
        names.insert((series.name, series.labels));
    }
    Ok(names.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Gateway, ask, reseal, store, store_of};

    #[test]
    fn a_run_is_nameless_until_its_dictionary_comes() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", ""), ("load", "")]);
        let store = store_of(&gateway.run(0, 6, 2));
        let missing = MissingDictionary { journal: gateway.journal, generation: 0 };
        assert_eq!(store.missing_dictionaries(gateway.device).unwrap(), [missing]);
        assert_eq!(ask(&store, "up").notes.nameless_run_count, 1);
        store.commit(&[names]).unwrap();
        assert_eq!(store.missing_dictionaries(gateway.device).unwrap(), []);
        assert_eq!(ask(&store, "up").series[0].samples.len(), 6);
        assert_eq!(store.series_names().unwrap(), ["load", "up"]);
    }

    #[test]
    fn names_that_do_not_have_the_hash_of_the_run_are_not_believed() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", "a=\"1\"")]);
        let run = gateway.run(0, 6, 2);
        let wrong = reseal(&names, |payload| *payload.iter_mut().find(|byte| **byte == b'1').unwrap() = b'2');
        let store = store_of(&[vec![wrong], run].concat());
        assert_eq!(ask(&store, "up").series.len(), 0);
        assert_eq!(store.missing_dictionaries(gateway.device).unwrap().len(), 1);
        // The gateway says its names again, under the next number.
        gateway.next_generation();
        let again = gateway.names(&[("up", "a=\"1\"")]);
        let again = reseal(&again, |payload| payload[0] = 0);
        store.commit(&[again]).unwrap();
        assert_eq!(ask(&store, "up{a=\"1\"}").series.len(), 1);
        assert_eq!(store.missing_dictionaries(gateway.device).unwrap(), []);
    }

    #[test]
    fn of_two_names_for_one_place_the_later_batch_counts_in_either_order() {
        let mut gateway = Gateway::new(1);
        let first = gateway.names(&[("old", "")]);
        gateway.next_generation();
        let second = reseal(&gateway.names(&[("new", "")]), |payload| payload[0] = 0);
        for changes in [[first.clone(), second.clone()], [second, first]] {
            assert_eq!(store_of(&changes).series_names().unwrap(), ["new"]);
        }
    }

    #[test]
    fn a_list_that_grew_names_old_runs_and_new_ones() {
        let mut gateway = Gateway::new(1);
        let first = gateway.names(&[("a", "")]);
        let old = gateway.run(0, 3, 3);
        let second = gateway.names(&[("b", "")]);
        let new = gateway.run(30_000, 3, 3);
        let store = store_of(&[old, new, vec![second]].concat());
        assert_eq!(ask(&store, "b").notes.nameless_run_count, 2);
        store.commit(&[first]).unwrap();
        assert_eq!(ask(&store, "a").series[0].samples.len(), 6);
        assert_eq!(ask(&store, "b").series[0].samples.len(), 3);
    }

    #[test]
    fn each_generation_names_its_own_runs() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![];
        for (generation, name) in ["x", "y", "z"].into_iter().enumerate() {
            if generation > 0 {
                gateway.next_generation();
            }
            changes.push(gateway.names(&[(name, ""), ("up", "")]));
            changes.extend(gateway.run(generation as u64 * 30_000, 3, 3));
        }
        let store = store_of(&changes);
        assert_eq!(ask(&store, "up").series[0].samples.len(), 9);
        for name in ["x", "y", "z"] {
            assert_eq!(ask(&store, name).series[0].samples.len(), 3);
        }
        assert_eq!(store.stat().unwrap().series_count, 4);
    }

    #[test]
    fn a_store_without_dictionaries_misses_none() {
        assert_eq!(store().missing_dictionaries(DeviceId(1)).unwrap(), []);
    }
}
