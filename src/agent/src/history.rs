//! Answers from the journal: samples and events of this gateway, without a hub.

use std::io;

use journal::Journal;
use wire::batch::{self, TickReader};
use wire::event::Event;
use wire::id::{Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::record::Record;
use wire::series::Series;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::dictionary::Dictionary;
use crate::question::SeriesSamples;

/// Runs looked at for one question: a week of hours.
const RUN_COUNT_MAX: usize = 24 * 7;

/// Reads the dictionary that the journal holds. A list with a hole in it cannot be gone on with: the next generation starts then.
pub fn dictionary(journal: &mut Journal, now: Stamp) -> Dictionary {
    let mut dictionary = Dictionary::new(0);
    let mut is_whole = true;
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    let mut generation = 0;
    for seq in journal.oldest(Stream::Dictionary).0..journal.durable(Stream::Dictionary).0 {
        let read = journal.read(now, Stream::Dictionary, Seq(seq), &mut record).unwrap_or(false);
        let Some(payload) = read.then(|| Record::open(&record).ok()).flatten() else {
            is_whole = false;
            continue;
        };
        let Ok(payload) = payload.payload(&mut scratch) else { continue };
        let Ok(opened) = batch::Dictionary::open(payload) else { continue };
        if opened.generation > generation || opened.first == SeriesId(0) {
            generation = opened.generation;
            dictionary = Dictionary::new(generation);
            is_whole = opened.first == SeriesId(0);
        }
        for entry in opened.entries() {
            is_whole &= match entry {
                Ok((id, series)) if usize::from(id.0) == dictionary.count() => dictionary.restore(&series).is_ok(),
                _ => false,
            };
        }
    }
    if !is_whole {
        dictionary = Dictionary::new(generation + 1);
    } else if journal.next(Stream::Dictionary) > Seq(0) && dictionary.count() == 0 {
        // Its batches are gone altogether; which generation they had is not known. Boots count up, so this is above it.
        dictionary = Dictionary::new(journal.next(Stream::Dictionary).0 as u32 + 1);
    }
    dictionary
}

/// Samples of the series that `wants` names, since `since`, at most `sample_count_max`, newest runs first until the bound.
/// The second value says whether the bound was met.
///
/// Errors: the disk refused to read.
pub fn samples(
    journal: &mut Journal,
    dictionary: &Dictionary,
    now: Stamp,
    since: Span,
    sample_count_max: usize,
    wants: impl Fn(&Series<&str>) -> bool,
) -> io::Result<(Vec<SeriesSamples>, bool)> {
    let wanted: Vec<usize> = (0..dictionary.count()).filter(|slot| wants(&dictionary.series(*slot))).collect();
    let mut found: Vec<SeriesSamples> = Vec::with_capacity(wanted.len());
    for slot in &wanted {
        let Series { name, labels, kind, scale } = dictionary.series(*slot);
        let series = Series { name: name.into(), labels: labels.into(), kind, scale };
        found.push(SeriesSamples { series, samples: Vec::new() });
    }
    let mut place = vec![usize::MAX; SERIES_COUNT_MAX];
    wanted.iter().enumerate().for_each(|(index, slot)| place[*slot] = index);

    let (mut reader, mut record, mut scratch) = (TickReader::new(), Vec::new(), Vec::new());
    let (mut end, mut sample_count, mut is_cut) = (journal.durable(Stream::Raw), 0, false);
    for _ in 0..RUN_COUNT_MAX {
        let Some(last) = end.0.checked_sub(1).map(Seq) else { break };
        let Some(first) = journal.run_of(now, Stream::Raw, last)? else { break };
        let mut oldest_wanted = false;
        let mut of_run: Vec<(usize, Stamp, i64)> = Vec::new();
        for seq in first.0..end.0 {
            if !journal.read(now, Stream::Raw, Seq(seq), &mut record)? {
                break;
            }
            let Ok(opened) = Record::open(&record) else { break };
            let stamp = opened.header.stamp;
            let Ok(payload) = opened.payload(&mut scratch) else { break };
            let read = reader.read(payload, seq == first.0, |tick, values| {
                let at = at_instant(stamp, Instant(tick.at_ms));
                if is_within(at, now, since) {
                    oldest_wanted |= seq == first.0;
                    for (slot, value) in values.iter().enumerate() {
                        if let (Some(value), true) = (value, place[slot] != usize::MAX) {
                            of_run.push((place[slot], at, *value));
                        }
                    }
                }
            });
            if read.is_err() || reader.mark().generation != dictionary.mark().generation {
                break;
            }
        }
        sample_count += of_run.len();
        if sample_count > sample_count_max {
            is_cut = true;
            break;
        }
        // Runs come newest first, the samples of each oldest first.
        for (index, stamp, value) in of_run.into_iter().rev() {
            found[index].samples.push((stamp, value));
        }
        if !oldest_wanted {
            break;
        }
        end = first;
    }
    journal.rest();
    for series in &mut found {
        series.samples.reverse();
    }
    found.retain(|series| !series.samples.is_empty());
    Ok((found, is_cut))
}

/// The newest events, newest first.
///
/// Errors: the disk refused to read.
pub fn events(journal: &mut Journal, now: Stamp, count_max: usize) -> io::Result<Vec<(Stamp, Event)>> {
    let (mut found, mut record, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    let range = journal.oldest(Stream::Event).0..journal.durable(Stream::Event).0;
    for seq in range.rev() {
        if found.len() >= count_max {
            break;
        }
        if !journal.read(now, Stream::Event, Seq(seq), &mut record)? {
            continue;
        }
        let Ok(opened) = Record::open(&record) else { continue };
        let stamp = opened.header.stamp;
        let Ok(payload) = opened.payload(&mut scratch) else { continue };
        let mut of_batch: Vec<(Stamp, Event)> = batch::events(payload)
            .filter_map(Result::ok)
            .filter_map(|(after, event)| Some((at_instant(stamp, stamp.uptime + after), event?)))
            .collect();
        of_batch.reverse();
        found.extend(of_batch);
    }
    journal.rest();
    found.truncate(count_max);
    Ok(found)
}

/// `stamp` moved to another instant of its boot.
fn at_instant(stamp: Stamp, uptime: Instant) -> Stamp {
    let unix = stamp.unix.map(|unix| UnixTime((unix.0 + uptime.0).saturating_sub(stamp.uptime.0)));
    Stamp { uptime, unix, ..stamp }
}

/// Whether `at` is at most `since` before `now`, by the boot's clock, or by the calendar for another boot's.
fn is_within(at: Stamp, now: Stamp, since: Span) -> bool {
    if at.boot == now.boot {
        return at.uptime + since >= now.uptime;
    }
    match (at.unix, now.unix) {
        (Some(at), Some(now)) => at.0.saturating_add(since.0) >= now.0,
        // Another boot, and no calendar to tell how long ago: better shown than hidden.
        _ => true,
    }
}
