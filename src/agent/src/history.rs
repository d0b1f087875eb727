//! Answers from the journal: samples and events of this gateway, without a hub.

use std::collections::VecDeque;
use std::io;

use journal::Journal;
use wire::batch::{self, DictionaryMark, TickReader};
use wire::class::Class;
use wire::event::Event;
use wire::id::{Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::record::Record;
use wire::series::Series;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp};

use crate::dictionary::Dictionary;
use crate::question::{DayReport, SeriesSamples};
use crate::sampler::Batch;

/// Runs looked at for one question: those of a week, at ten seconds from tick to tick.
pub const RUN_COUNT_MAX: usize = 24 * 7;

/// Reads the dictionary that the journal holds. A list with a hole in it cannot be gone on with: the next generation starts then.
pub fn dictionary(journal: &mut Journal, now: Stamp) -> Dictionary {
    let mut dictionary = Dictionary::new(0);
    let mut is_whole = true;
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    let mut generation = 0;
    let held = journal.held(Stream::Dictionary);
    for seq in held.into_iter().flat_map(|range| range.first.0..=range.last.0) {
        let read = journal.read(now, Stream::Dictionary, Seq(seq), &mut record).unwrap_or(false);
        let opened = read.then(|| Record::open(&record).ok()).flatten();
        let payload = opened.and_then(|opened| opened.payload(&mut scratch).ok());
        let Some(opened) = payload.and_then(|payload| batch::Dictionary::open(payload).ok()) else {
            is_whole = false;
            continue;
        };
        if opened.generation > generation || opened.first == SeriesId(0) {
            generation = opened.generation;
            dictionary = Dictionary::new(generation);
            is_whole = opened.first == SeriesId(0);
        }
        for entry in opened.entries() {
            is_whole &= match entry {
                Ok((id, class, series)) if usize::from(id.0) == dictionary.count() => {
                    dictionary.restore(class, &series).is_ok()
                }
                _ => false,
            };
        }
    }
    // The last batches may be gone with the tail, and the hub may have them.
    let (next, held) = (journal.next(Stream::Dictionary), journal.held(Stream::Dictionary));
    is_whole &= held.last().is_none_or(|last| last.last.0 + 1 == next.0);
    // What is gone may have begun further lists: the lists of an era count from higher up than those before its loss.
    let of_era = ((next.0 >> 32) as u32) << 16;
    if !is_whole {
        dictionary = Dictionary::new((generation + 1).max(of_era));
    } else if next > Seq(0) && dictionary.count() == 0 {
        // Its batches are gone altogether; which generation they had is not known. Boots count up, so this is above it.
        dictionary = Dictionary::new((next.0 as u32 + 1).max(of_era));
    }
    dictionary
}

/// Samples of the series that `wants` names, since `since`: the newest `sample_count_max` of them or some more, those of the open
/// batches included, which `open` tells. The second value says whether older ones were left out.
///
/// Errors: the disk refused to read.
pub fn samples(
    journal: &mut Journal,
    open: impl Fn(Class) -> Option<Batch<Vec<u8>>>,
    dictionary: &Dictionary,
    now: Stamp,
    since: Span,
    sample_count_max: usize,
    wants: impl Fn(&Series<&str>) -> bool,
) -> io::Result<(Vec<SeriesSamples>, bool)> {
    let wanted_count = |class| dictionary.of(class).filter(&wants).count();
    let all_count = Class::ALL.map(wanted_count).iter().sum::<usize>().max(1);
    let (mut found, mut is_cut) = (Vec::new(), false);
    for class in Class::ALL.into_iter().filter(|class| wanted_count(*class) > 0) {
        // One series has about as many samples as another.
        let room = (sample_count_max * wanted_count(class)).div_ceil(all_count);
        let collected = Collected::new(dictionary, class, now, since, room, &wants);
        let (of_class, is_class_cut) = collect(journal, open(class), Stream::raw(class), now, collected)?;
        found.extend(of_class);
        is_cut |= is_class_cut;
    }
    journal.rest();
    Ok((found, is_cut))
}

/// Reads the runs of a stream, newest first, until nothing more is wanted of them.
fn collect(
    journal: &mut Journal,
    open: Option<Batch<Vec<u8>>>,
    stream: Stream,
    now: Stamp,
    mut collected: Collected<'_>,
) -> io::Result<(Vec<SeriesSamples>, bool)> {
    if let Some(Batch { run: None, stamp, payload, .. }) = &open {
        collected.take(payload, true, *stamp);
        collected.end_run();
    }
    // A batch that was appended and is not durable yet is missing between the journal and the open one.
    let is_joined = journal.next(stream) == journal.durable(stream);
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    let mut end = journal.durable(stream);
    let mut run_count = 0;
    while let Some(last) = end.0.checked_sub(1).map(Seq) {
        let Some(first) = journal.run_of(now, stream, last)? else { break };
        if run_count == RUN_COUNT_MAX {
            collected.is_cut = true;
            break;
        }
        run_count += 1;
        let mut begins_before = false;
        let mut is_read = true;
        for seq in first.0..end.0 {
            is_read = journal.read(now, stream, Seq(seq), &mut record)?;
            let Some(opened) = is_read.then(|| Record::open(&record).ok()).flatten() else { break };
            let stamp = opened.header.stamp;
            let Ok(payload) = opened.payload(&mut scratch) else { break };
            let taken = collected.take(payload, seq == first.0, stamp);
            begins_before |= seq == first.0 && taken == Taken::Before;
            is_read = taken != Taken::Nothing;
            if !is_read {
                break;
            }
        }
        if let Some(Batch { run: Some(run), stamp, payload, .. }) = &open
            && *run == first
            && is_read
            && is_joined
        {
            collected.take(payload, false, *stamp);
        }
        collected.end_run();
        // What cannot be read, of a run that is damaged or of another list, says nothing of those before it.
        if begins_before || collected.is_cut {
            break;
        }
        end = first;
    }
    Ok(collected.finish())
}

/// What a batch had for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Ticks, all of them before the span.
    Before,
    /// Nothing that can be read, and so nothing behind it in its run either.
    Nothing,
    /// Ticks in the span.
    Within,
}

/// The samples of a class, in the making. Runs come newest first, the samples of each oldest first.
struct Collected<'a> {
    dictionary: &'a Dictionary,
    now: Stamp,
    since: Span,
    /// The place of each slot in `found`; `usize::MAX` when it is not wanted.
    place: Vec<usize>,
    /// Newest first until the answer is finished.
    found: Vec<SeriesSamples>,
    reader: TickReader,
    of_run: VecDeque<(usize, Stamp, i64)>,
    /// Samples that there is still room for.
    room: usize,
    is_cut: bool,
}

impl<'a> Collected<'a> {
    fn new(
        dictionary: &'a Dictionary,
        class: Class,
        now: Stamp,
        since: Span,
        room: usize,
        wants: impl Fn(&Series<&str>) -> bool,
    ) -> Collected<'a> {
        let mut place = vec![usize::MAX; SERIES_COUNT_MAX];
        let mut found: Vec<SeriesSamples> = Vec::new();
        for (slot, series) in dictionary.of(class).enumerate().filter(|(_, series)| wants(series)) {
            let Series { name, labels, kind, scale } = series;
            place[slot] = found.len();
            let series = Series { name: name.into(), labels: labels.into(), kind, scale };
            found.push(SeriesSamples { series, samples: Vec::new() });
        }
        let (reader, of_run) = (TickReader::new(), VecDeque::new());
        Collected { dictionary, now, since, place, found, reader, of_run, room, is_cut: false }
    }

    /// Takes what a batch has. The newest samples stay when there is no room for all of a run.
    fn take(&mut self, payload: &[u8], keyframe: bool, stamp: Stamp) -> Taken {
        // A run of an older generation names its slots otherwise.
        let generation = |mark: DictionaryMark| mark.generation;
        if keyframe && batch::take_mark(&mut &*payload).map(generation) != Ok(self.dictionary.mark().generation) {
            return Taken::Nothing;
        }
        let mut taken = Taken::Before;
        let Collected { reader, of_run, place, now, since, room, is_cut, .. } = self;
        let read = reader.read(payload, keyframe, |tick, values| {
            let at = stamp.at(Instant(tick.at_ms));
            if !is_within(at, *now, *since) {
                return;
            }
            taken = Taken::Within;
            for (slot, value) in values.iter().enumerate() {
                let (Some(value), true) = (value, place[slot] != usize::MAX) else { continue };
                of_run.push_back((place[slot], at, *value));
                if of_run.len() > *room {
                    of_run.pop_front();
                    *is_cut = true;
                }
            }
        });
        if read.is_ok() { taken } else { Taken::Nothing }
    }

    fn end_run(&mut self) {
        self.room -= self.of_run.len();
        for (index, stamp, value) in self.of_run.drain(..).rev() {
            self.found[index].samples.push((stamp, value));
        }
    }

    fn finish(mut self) -> (Vec<SeriesSamples>, bool) {
        self.found.iter_mut().for_each(|series| series.samples.reverse());
        self.found.retain(|series| !series.samples.is_empty());
        (self.found, self.is_cut)
    }
}

/// The newest events, newest first.
///
/// Errors: the disk refused to read.
pub fn events(journal: &mut Journal, now: Stamp, count_max: usize) -> io::Result<Vec<(Stamp, Event)>> {
    let (mut found, mut record, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    let held = journal.held(Stream::Event);
    for seq in held.into_iter().rev().flat_map(|range| (range.first.0..=range.last.0).rev()) {
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
            .filter_map(|(after, event)| Some((stamp.at(stamp.uptime + after), event?)))
            .collect();
        of_batch.reverse();
        found.extend(of_batch);
    }
    journal.rest();
    found.truncate(count_max);
    Ok(found)
}

/// Events among which the days of a bearer are looked for.
const DAY_EVENT_COUNT_MAX: usize = 2000;

/// Days of a bearer for one report.
pub const DAY_COUNT_MAX: usize = 14;

/// What the last days of a bearer cost, oldest first, as the newest events say.
///
/// Errors: the disk refused to read.
pub fn days(journal: &mut Journal, now: Stamp, name: &str) -> io::Result<Vec<DayReport>> {
    let of_day = |(_, event)| match event {
        Event::DataUsed { bearer, day, spent, budget_bytes } if bearer == name => {
            Some(DayReport { day, spent, budget_bytes })
        }
        _ => None,
    };
    let newest = events(journal, now, DAY_EVENT_COUNT_MAX)?.into_iter().filter_map(of_day);
    let mut days: Vec<DayReport> = newest.take(DAY_COUNT_MAX).collect();
    days.reverse();
    Ok(days)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::Folder;
    use disk::memory::Memory;
    use journal::journal::Settings;
    use wire::metric::Metric;

    use super::*;

    #[test]
    fn a_list_that_may_have_been_lost_with_the_tail_is_never_begun_again() {
        let folder: Folder = Arc::new(Memory::default());
        let (now, mut generations) = (Stamp::default(), Vec::new());
        for metric in [Metric::Load1, Metric::Load5, Metric::Load15, Metric::UplinkBytes] {
            let settings = Settings { tail_bytes_max: 256 << 10, ..Settings::DEFAULT };
            let mut journal = Journal::open(folder.clone(), settings, 1, now).unwrap();
            let mut list = dictionary(&mut journal, now);
            generations.push(list.mark().generation);
            list.slot(metric, Class::Normal, &[]).unwrap();
            let mut payload = Vec::new();
            list.take_news(1 << 10, &mut payload);
            journal.append(now, Stream::Dictionary, None, now, &payload, true).unwrap();
            journal.commit(now).unwrap();
            drop(journal);
            for name in ["tail.a", "tail.b"] {
                let file = folder.open(name).unwrap();
                file.write_at(0, &vec![0xff; file.len().unwrap() as usize]).unwrap();
            }
        }
        assert!(generations.is_sorted_by(|before, after| before < after), "{generations:?}");
    }
}
