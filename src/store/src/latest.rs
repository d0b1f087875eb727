//! How a device stood when it was last heard of.

use wire::id::DeviceId;
use wire::series::Series;
use wire::time::{BootId, Instant, UnixTime};

use crate::Store;
use crate::boot::{Calendar, place};
use crate::dictionary::Dictionaries;
use crate::error::StoreError;
use crate::notes::Notes;
use crate::run::{self, Walker};

/// The newest tick of a device, as far as it has come: a class that lags behind the others is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// In which boot.
    pub boot: BootId,
    /// When, on the clock of that boot.
    pub uptime: Instant,
    /// When, on the calendar; `None` when nothing places the boot.
    pub at: Option<UnixTime>,
    /// Every series with a value in that tick.
    pub values: Vec<(Series<String>, i64)>,
}

/// Runs that are tried, newest first, before a journal is given up: one may wait for its keyframe, one for its names.
const RUN_COUNT_MAX: usize = 4;

impl Store {
    /// The newest tick of `device` that can be read; `None` when there is none.
    ///
    /// Of several journals the one whose tick lies latest on the calendar counts; a boot that nothing places stands
    /// where its first batch arrived at the hub.
    pub fn latest(&self, device: DeviceId) -> Result<Option<Latest>, StoreError> {
        let view = self.view()?;
        let calendar = Calendar::of(&view, device)?;
        let mut dictionaries = Dictionaries::new(device);
        let mut walker = Walker::default();
        let mut newest: Option<(UnixTime, Latest)> = None;
        for (journal, stream, class) in run::journals_of_ticks(&view, device)? {
            // Extracts are of some earlier time.
            if stream.is_copy() {
                continue;
            }
            for run in run::runs_backwards(&view, device, journal, stream)?.take(RUN_COUNT_MAX) {
                let run = run?;
                let Some(mark) = run.row.mark() else { continue };
                let Some(names) = dictionaries.of(&view, journal, mark.generation)?.named(&mark, class) else {
                    continue;
                };
                let (mut last, mut values) = (None, Vec::new());
                walker.ticks(&view, &run, &mut Notes::default(), |tick, now| {
                    last = Some(Instant(tick.at_ms));
                    values.clear();
                    values.extend_from_slice(now);
                    true
                })?;
                let Some(uptime) = last else { continue };
                let boot = run.row.boot;
                let at = calendar.began(boot).map(|began| place(began, uptime));
                let order = at.unwrap_or_else(|| calendar.received(boot));
                let values = names.iter().zip(&values).filter_map(|(name, value)| Some((name.clone(), (*value)?)));
                match &mut newest {
                    // Another class of the same tick.
                    Some((_, have)) if (have.boot, have.uptime) == (boot, uptime) => have.values.extend(values),
                    Some((have, _)) if *have > order => {}
                    _ => newest = Some((order, Latest { boot, uptime, at, values: values.collect() })),
                }
                break;
            }
        }
        Ok(newest.map(|(_, latest)| latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::class::Class;

    use crate::gateway::{BEGAN, Gateway, store_of, value};

    #[test]
    fn the_newest_tick_that_reads_is_shown_with_its_names() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", ""), ("load", "")])];
        changes.extend(gateway.run(0, 10, 3));
        // Of the newest run the keyframe has not come yet.
        changes.extend_from_slice(&gateway.run(100_000, 10, 3)[1..]);
        let store = store_of(&changes);
        let latest = store.latest(gateway.device).unwrap().unwrap();
        assert_eq!((latest.uptime, latest.at), (Instant(90_000), Some(UnixTime(BEGAN + 90_000))));
        let values: Vec<_> = latest.values.iter().map(|(series, value)| (&series.name[..], *value)).collect();
        assert_eq!(values, [("up", value(0, 90_000)), ("load", value(1, 90_000))]);
        assert_eq!(store.latest(DeviceId(9)).unwrap(), None);
    }

    #[test]
    fn the_newest_of_two_journals_counts_even_before_its_clock_is_set() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", "")])];
        changes.extend(gateway.run(0, 3, 3));
        gateway.reimage(2, 5);
        gateway.has_clock = false;
        changes.push(gateway.names(&[("up", "")]));
        changes.extend(gateway.run(60_000, 3, 3));
        for change in &mut changes[2..] {
            let crate::change::Change::Record { received, .. } = change else { continue };
            received.0 += 3_600_000;
        }
        let latest = store_of(&changes).latest(gateway.device).unwrap().unwrap();
        assert_eq!((latest.boot, latest.uptime, latest.at), (BootId(5), Instant(80_000), None));
    }

    #[test]
    fn of_the_newest_tick_those_classes_are_shown_that_have_come() {
        let mut gateway = Gateway::new(1);
        let mut changes =
            vec![gateway.names_of(Class::Critical, &[("up", "")]), gateway.names_of(Class::Bulk, &[("cache", "")])];
        changes.extend(gateway.run_of(Class::Critical, 0, 3, 3));
        changes.extend(gateway.run_of(Class::Bulk, 0, 3, 3));
        let latest = |changes: &[_]| {
            let Latest { uptime, values, .. } = store_of(changes).latest(DeviceId(1)).unwrap().unwrap();
            (uptime.0, values.into_iter().map(|(series, value)| (series.name, value)).collect::<Vec<_>>())
        };
        let (at_20, at_30) = (value(0, 20_000), value(0, 30_000));
        assert_eq!(latest(&changes), (20_000, vec![("up".to_owned(), at_20), ("cache".to_owned(), at_20)]));
        changes.extend(gateway.run_of(Class::Critical, 30_000, 1, 1));
        assert_eq!(latest(&changes), (30_000, vec![("up".to_owned(), at_30)]));
    }
}
