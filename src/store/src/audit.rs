//! How much there is, and whether all of it is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use codec::run::Tick;
use redb::ReadableTable;
use wire::batch::{Dictionary, events};
use wire::class::{CLASS_COUNT, Class};
use wire::id::DeviceId;
use wire::ranges::SeqRange;
use wire::series::Series;
use wire::stream::Stream;
use wire::time::{BootId, Instant, UnixTime};

use crate::Store;
use crate::boot::Calendar;
use crate::dictionary::{Dictionaries, distinct_series_count};
use crate::error::StoreError;
use crate::notes::Notes;
use crate::run::{self, Run, Walker};
use crate::table::{DeviceRow, ProgressRow, Row, View, streams_of};

/// How much the store holds, from its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Devices of which anything is held.
    pub device_count: u64,
    /// Series, each device's counted by name and labels.
    pub series_count: u64,
    /// Samples in batches whose payload reads.
    pub sample_count: u64,
    /// Batches.
    pub batch_count: u64,
    /// Batches that will never come and are not held.
    pub lost_count: u64,
    /// Bytes of all sealed records.
    pub record_bytes: u64,
    /// Bytes of the store's file.
    pub file_bytes: u64,
}

/// How much the store holds of one device, from its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStat {
    /// Which device.
    pub device: DeviceId,
    /// When its last batch arrived.
    pub received: UnixTime,
    /// Batches.
    pub batch_count: u64,
    /// Samples in batches whose payload reads.
    pub sample_count: u64,
    /// Bytes of its sealed records.
    pub record_bytes: u64,
    /// Batches whose payload this version cannot read.
    pub unreadable_count: u64,
}

/// What reading every record of a device found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Series with a sample.
    pub series_count: u64,
    /// Samples that were read and have a name; not those of extracts, which are copies.
    pub sample_count: u64,
    /// Samples that another of the same series, boot and instant precedes. Zero, or a bug.
    pub duplicate_count: u64,
    /// Batches below the highest number held that are neither held nor lost.
    pub gap_count: u64,
    /// Batches that will never come and are not held.
    pub lost_count: u64,
    /// Batches that wait for the batch before them.
    pub waiting_count: u64,
    /// Runs whose dictionary has not come or does not match.
    pub nameless_run_count: u64,
    /// Records that are damaged or that this version cannot read.
    pub unreadable_count: u64,
    /// Ticks of boots that nothing places on the calendar.
    pub unplaced_tick_count: u64,
}

impl Store {
    /// How much is held in all.
    pub fn stat(&self) -> Result<Stat, StoreError> {
        let view = self.view()?;
        let mut stat = Stat { file_bytes: self.file_bytes()?, ..Stat::default() };
        for entry in view.device.iter()? {
            let (device, bytes) = entry?;
            let row = DeviceRow::unpack(bytes.value())?;
            stat.device_count += 1;
            stat.series_count += distinct_series_count(&view, DeviceId(device.value()))?;
            stat.batch_count += row.batch_count;
            stat.sample_count += row.sample_count;
            stat.record_bytes += row.record_bytes;
        }
        for entry in view.progress.iter()? {
            stat.lost_count = stat.lost_count.saturating_add(ProgressRow::unpack(entry?.1.value())?.lost_count());
        }
        Ok(stat)
    }

    /// How much is held of each device, by its number.
    pub fn devices(&self) -> Result<Vec<DeviceStat>, StoreError> {
        let view = self.view()?;
        let mut devices = Vec::new();
        for entry in view.device.iter()? {
            let (device, bytes) = entry?;
            let row = DeviceRow::unpack(bytes.value())?;
            devices.push(DeviceStat {
                device: DeviceId(device.value()),
                received: row.received,
                batch_count: row.batch_count,
                sample_count: row.sample_count,
                record_bytes: row.record_bytes,
                unreadable_count: row.unreadable_count,
            });
        }
        Ok(devices)
    }

    /// What the events of `device` said will never come.
    pub fn lost(&self, device: DeviceId) -> Result<Vec<(Stream, SeqRange)>, StoreError> {
        let view = self.view()?;
        let (mut walker, mut notes, mut lost) = (Walker::default(), Notes::default(), Vec::new());
        for journal in run::journals(&view, device, Stream::Event)? {
            for run in run::runs(&view, device, journal, Stream::Event)? {
                walker.payloads(&view, &run?, &mut notes, |_, payload| {
                    events(payload).filter_map(|event| event.ok()?.1).for_each(|event| {
                        lost.extend(event.missing().map(|(stream, range, _)| (stream, range)));
                    });
                    true
                })?;
            }
        }
        Ok(lost)
    }

    /// Hands every tick of `device` that reads and whose names can be trusted to `each`, class by class: its stream, its boot, its
    /// instant, the series of its slots, their values. In the order of journals, classes and runs.
    pub fn ticks(
        &self,
        device: DeviceId,
        mut each: impl FnMut(Stream, BootId, Instant, &[Series<String>], &[Option<i64>]),
    ) -> Result<Notes, StoreError> {
        let view = self.view()?;
        let mut auditor = Auditor { view: &view, device, walker: Walker::default(), audit: Audit::default() };
        auditor.each_tick(|_, run, names, tick, values| {
            if let Some(names) = names {
                each(run.stream, run.row.boot, Instant(tick.at_ms), names, values);
            }
        })
    }

    /// Reads every record of `device` and counts what it finds. As slow as that sounds.
    pub fn audit(&self, device: DeviceId) -> Result<Audit, StoreError> {
        let view = self.view()?;
        let mut auditor = Auditor { view: &view, device, walker: Walker::default(), audit: Audit::default() };
        auditor.progress()?;
        auditor.ticks()?;
        auditor.other_streams()?;
        Ok(auditor.audit)
    }
}

/// Every device of which anything is held.
pub(crate) fn device_ids(view: &View) -> Result<Vec<DeviceId>, StoreError> {
    view.device.iter()?.map(|entry| Ok(DeviceId(entry?.0.value()))).collect()
}

struct Auditor<'v> {
    view: &'v View,
    device: DeviceId,
    walker: Walker,
    audit: Audit,
}

/// A tick's place in a device's life.
type Moment = (BootId, u64);

/// A sample's place: its tick, and its series by name and labels.
type SampleKey = (Moment, String, String);

impl Auditor<'_> {
    fn progress(&mut self) -> Result<(), StoreError> {
        for entry in self.view.progress.range(streams_of(self.device.0))? {
            let row = ProgressRow::unpack(entry?.1.value())?;
            self.audit.gap_count = self.audit.gap_count.saturating_add(row.gap_count());
            self.audit.lost_count = self.audit.lost_count.saturating_add(row.lost_count());
        }
        Ok(())
    }

    /// Counts samples in one pass. One that is not later than every sample of its series and boot before it may be there twice;
    /// an honest journal has none, so only such moments are remembered and looked at again.
    fn ticks(&mut self) -> Result<(), StoreError> {
        let calendar = Calendar::of(self.view, self.device)?;
        let mut newest: BTreeMap<Series<String>, BTreeMap<BootId, u64>> = BTreeMap::new();
        let mut unplaced = [0; CLASS_COUNT];
        let mut suspects: BTreeSet<Moment> = BTreeSet::new();
        let mut audit = self.audit;
        let notes = self.each_tick(|class, run, names, tick, values| {
            let boot = run.row.boot;
            let Some(names) = names.filter(|_| !run.stream.is_copy()) else { return };
            unplaced[class.index()] += u64::from(calendar.began(boot).is_none());
            for (name, _) in names.iter().zip(values).filter(|(_, value)| value.is_some()) {
                audit.sample_count += 1;
                let of_boots = match newest.get_mut(name) {
                    Some(of_boots) => of_boots,
                    None => newest.entry(name.clone()).or_default(),
                };
                match of_boots.get_mut(&boot) {
                    Some(last) if tick.at_ms > *last => *last = tick.at_ms,
                    Some(_) => {
                        suspects.insert((boot, tick.at_ms));
                    }
                    None => {
                        of_boots.insert(boot, tick.at_ms);
                    }
                }
            }
        })?;
        audit.series_count = newest.len() as u64;
        // A tick has a part in each class.
        audit.unplaced_tick_count += unplaced.into_iter().max().unwrap_or(0);
        audit.waiting_count += notes.waiting_count;
        audit.unreadable_count += notes.unreadable_count;
        audit.nameless_run_count += notes.nameless_run_count;
        if !suspects.is_empty() {
            audit.duplicate_count = self.duplicate_count(&suspects)?;
        }
        self.audit = audit;
        Ok(())
    }

    fn duplicate_count(&mut self, suspects: &BTreeSet<Moment>) -> Result<u64, StoreError> {
        let mut seen: BTreeSet<SampleKey> = BTreeSet::new();
        let mut count = 0;
        self.each_tick(|_, run, names, tick, values| {
            let moment = (run.row.boot, tick.at_ms);
            if !suspects.contains(&moment) || run.stream.is_copy() {
                return;
            }
            for (name, value) in names.unwrap_or(&[]).iter().zip(values) {
                if value.is_some() && !seen.insert((moment, name.name.clone(), name.labels.clone())) {
                    count += 1;
                }
            }
        })?;
        Ok(count)
    }

    /// Hands every tick that reads to `each`, with the names of its slots when they can be trusted.
    fn each_tick(
        &mut self,
        mut each: impl FnMut(Class, &Run, Option<&[Series<String>]>, Tick, &[Option<i64>]),
    ) -> Result<Notes, StoreError> {
        let mut notes = Notes::default();
        let mut dictionaries = Dictionaries::new(self.device);
        for (journal, stream, class) in run::journals_of_ticks(self.view, self.device)? {
            for run in run::runs(self.view, self.device, journal, stream)? {
                let run = run?;
                let names = match run.row.mark() {
                    Some(mark) => dictionaries.of(self.view, journal, mark.generation)?.named(&mark, class),
                    None => None,
                };
                notes.nameless_run_count += u64::from(run.row.mark.is_some() && names.is_none());
                self.walker.ticks(self.view, &run, &mut notes, |tick, values| {
                    each(class, &run, names, tick, values);
                    true
                })?;
            }
        }
        Ok(notes)
    }

    fn other_streams(&mut self) -> Result<(), StoreError> {
        let mut notes = Notes::default();
        for stream in [Stream::Event, Stream::Dictionary] {
            for journal in run::journals(self.view, self.device, stream)? {
                for run in run::runs(self.view, self.device, journal, stream)? {
                    self.walker.payloads(self.view, &run?, &mut notes, |_, payload| match stream {
                        Stream::Dictionary => Dictionary::open(payload)
                            .is_ok_and(|dictionary| dictionary.entries().all(|entry| entry.is_ok())),
                        _ => events(payload).all(|event| event.is_ok()),
                    })?;
                }
            }
        }
        self.audit.unreadable_count += notes.unreadable_count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::gateway::{Gateway, reseal, store_of};
    use wire::event::Event;
    use wire::id::{JournalId, Seq};
    use wire::ranges::SeqRange;

    #[test]
    fn all_is_accounted_for() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", ""), ("load", "")])];
        changes.extend(gateway.run(0, 30, 10));
        gateway.skip(Stream::raw(Class::Normal), 4);
        changes.push(Change::Lost {
            device: gateway.device,
            journal: gateway.journal,
            stream: Stream::raw(Class::Normal),
            range: SeqRange { first: Seq(4), last: Seq(5) },
            is_elsewhere: false,
        });
        changes.extend(gateway.run(300_000, 30, 10));
        changes.push(gateway.event(1, &Event::Stopped));
        changes.push(reseal(&gateway.event(2, &Event::Stopped), |payload| payload.truncate(1)));
        let store = store_of(&changes);
        let expected = Audit {
            series_count: 2,
            sample_count: 120,
            gap_count: 2,
            lost_count: 2,
            unreadable_count: 1,
            ..Audit::default()
        };
        assert_eq!(store.audit(gateway.device).unwrap(), expected);
        let stat = store.stat().unwrap();
        assert_eq!((stat.device_count, stat.series_count, stat.sample_count), (1, 2, 120));
        assert_eq!((stat.batch_count, stat.lost_count), (9, 2));
        assert_eq!(store.devices().unwrap()[0].unreadable_count, 1);
    }

    #[test]
    fn a_sample_that_is_there_twice_is_found() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", ""), ("load", "")])];
        changes.extend(gateway.run(0, 30, 10));
        // Three ticks of the run again, in a run of their own.
        changes.extend(gateway.run(100_000, 3, 3));
        // Another boot has the same uptimes and no duplicates.
        gateway.boot = BootId(2);
        changes.extend(gateway.run(0, 30, 10));
        let audit = store_of(&changes).audit(gateway.device).unwrap();
        assert_eq!((audit.sample_count, audit.duplicate_count), (126, 6));
    }

    /// The same change under another name of the journal.
    fn renamed(change: &Change, name: u32) -> Change {
        let mut change = change.clone();
        let Change::Record { journal, .. } = &mut change else { panic!("{change:?}") };
        *journal = JournalId(name);
        change
    }

    #[test]
    fn a_run_that_came_under_two_names_is_read_once_and_whole() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", ""), ("load", "")]);
        let run = gateway.run(0, 30, 6);
        let check = |first: &[usize], second: &[usize], sample_count, waiting_count| {
            for (one, other) in [(7, 9), (9, 7)] {
                let of = |name: u32, batches: &[usize]| {
                    let batches = batches.iter().map(|batch| &run[*batch]);
                    [&names].into_iter().chain(batches).map(|change| renamed(change, name)).collect::<Vec<_>>()
                };
                let audit = store_of(&[of(one, first), of(other, second)].concat()).audit(gateway.device).unwrap();
                assert_eq!((audit.sample_count, audit.duplicate_count), (sample_count, 0), "{first:?}, {second:?}");
                assert_eq!((audit.waiting_count, audit.unreadable_count), (waiting_count, 0), "{first:?}, {second:?}");
            }
        };
        check(&[0, 1, 2, 3, 4], &[], 60, 0);
        check(&[0, 1, 2, 3, 4], &[1, 2], 60, 0);
        check(&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4], 60, 0);
        check(&[0, 1, 4], &[2, 3], 60, 0);
        check(&[0, 2], &[1, 3, 4], 60, 0);
        check(&[0, 1], &[3, 4], 24, 2);
        check(&[1, 2], &[3, 4], 0, 4);
    }

    #[test]
    fn two_runs_of_one_number_are_two() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", "")])];
        changes.extend(gateway.run(0, 30, 10));
        gateway.reimage(8, 2);
        changes.push(gateway.names(&[("up", "")]));
        changes.extend(gateway.run(0, 20, 10));
        let audit = store_of(&changes).audit(gateway.device).unwrap();
        assert_eq!((audit.sample_count, audit.duplicate_count, audit.waiting_count), (50, 0, 0));
    }

    #[test]
    fn the_parts_of_a_tick_are_one_tick_and_a_series_is_in_one_of_them() {
        let mut gateway = Gateway::new(1);
        gateway.has_clock = false;
        let names = [("up", ""), ("load", ""), ("cache", ""), ("up", "")];
        let lists = [(Class::Critical, &names[..1]), (Class::Normal, &names[1..2]), (Class::Bulk, &names[2..])];
        let mut changes = lists.map(|(class, names)| gateway.names_of(class, names)).to_vec();
        Class::ALL.iter().for_each(|class| changes.extend(gateway.run_of(*class, 0, 30, 10)));
        let store = store_of(&changes);
        let audit = store.audit(gateway.device).unwrap();
        assert_eq!((audit.sample_count, audit.duplicate_count, audit.unplaced_tick_count), (120, 30, 30));
        let mut seen = [0; CLASS_COUNT];
        let count =
            |stream: Stream, _, _, series: &[_], _: &[_]| seen[stream.ticks_of().unwrap().index()] += series.len();
        store.ticks(gateway.device, count).unwrap();
        assert_eq!(seen, [30, 30, 60]);
    }

    #[test]
    fn an_empty_store_has_nothing_and_says_so() {
        let store = store_of(&[]);
        assert_eq!(store.audit(DeviceId(1)).unwrap(), Audit::default());
        assert_eq!(Stat { file_bytes: 0, ..store.stat().unwrap() }, Stat::default());
    }
}
