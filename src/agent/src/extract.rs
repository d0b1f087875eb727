//! Copies of ticks that are in the journal already, as runs of their own: they go where their own runs do not, and need nothing of
//! what came before them.
//!
//! A run that is copied was encoded once and stays as it is. Its ticks are decoded from its beginning on, and those that are meant are
//! encoded again, under the names and with the rounding of their run. What happened is told by all series, what the hub asked for by those
//! that it named: the slots of the others are empty, and cost nothing.

use std::io;

use codec::run::Encoder;
use journal::Journal;
use wire::batch::{TickReader, put_keyframe, take_mark};
use wire::class::Class;
use wire::id::Seq;
use wire::limits::{BATCH_BYTES_TARGET, SERIES_COUNT_MAX};
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{Instant, Stamp, UnixTime};

use crate::context::Cut;

/// Runs that are looked through, newest first: on a link that comes and goes they are short.
const RUN_COUNT_MAX: usize = 4096;

/// Runs that are copied: those of three hours on a link that comes and goes each minute.
const COPIED_COUNT_MAX: usize = 256;

/// Copies the durable ticks of a class that `cut` means. Returns how many batches that are, which the next commit makes durable.
///
/// Errors: the journal has no room. What was appended by then stays.
pub fn copy(journal: &mut Journal, now: Stamp, class: Class, cut: &Cut) -> io::Result<usize> {
    let runs = runs(journal, now, class, &|_, (_, end)| end, &|_| Some(*cut));
    append(journal, now, class, runs, None)
}

/// As [`copy`], but of the series whose places in their class are `meant`, from one moment of the calendar to another. Of a run that counts
/// on another generation of the list than this one all series are copied: what they are called is not known here.
///
/// The span is looked for as if clocks had only gone forward.
pub fn fetch(
    journal: &mut Journal,
    now: Stamp,
    class: Class,
    (from, to): (UnixTime, UnixTime),
    generation: u32,
    meant: &[bool],
) -> io::Result<usize> {
    let dated = |stamp: Stamp| if stamp.boot == now.boot { now.at(stamp.uptime) } else { stamp };
    let cut = |stamp: Stamp| {
        let Stamp { boot, uptime, unix } = dated(stamp);
        let at = |moment: UnixTime| moment.0.saturating_add(uptime.0).checked_sub(unix?.0).map(Instant);
        Some(Cut { boot, to: at(to)?, from: at(from).unwrap_or_default() })
    };
    let stream = Stream::raw(class);
    let end_of = |journal: &mut Journal, (mut first, mut end): (Seq, Seq)| {
        let mut record = Vec::new();
        while first < end {
            let middle = Seq(first.0 + (end.0 - first.0) / 2);
            let stamp = stamp_of(journal, now, stream, middle, &mut record);
            let is_later = stamp.and_then(|stamp| dated(stamp).unix).is_some_and(|unix| unix > to);
            if is_later { end = middle } else { first = Seq(middle.0 + 1) }
        }
        end
    };
    let runs = runs(journal, now, class, &end_of, &cut);
    append(journal, now, class, runs, Some((generation, meant)))
}

/// One that may have ticks to copy: its first number, the one after its last, and what of it is meant.
type Run = (Seq, Seq, Cut);

fn append(
    journal: &mut Journal,
    now: Stamp,
    class: Class,
    runs: Vec<Run>,
    meant: Option<(u32, &[bool])>,
) -> io::Result<usize> {
    let (mut reader, mut encoder) = (TickReader::new(), Encoder::new(SERIES_COUNT_MAX));
    let mut batch_count = 0;
    for of_run in runs.into_iter().rev() {
        let mut run = None;
        for Piece { stamp, payload } in pieces(journal, now, class, &of_run, meant, &mut reader, &mut encoder) {
            let seq = journal.append(now, Stream::Extract(class), run, stamp, &payload, false)?;
            run = run.or(Some(seq));
            batch_count += 1;
        }
    }
    journal.rest();
    Ok(batch_count)
}

/// When a batch was begun, if it can be read.
fn stamp_of(journal: &mut Journal, now: Stamp, stream: Stream, seq: Seq, record: &mut Vec<u8>) -> Option<Stamp> {
    let is_read = journal.read(now, stream, seq, record).unwrap_or(false);
    is_read.then(|| Record::open(record).ok()).flatten().map(|opened| opened.header.stamp)
}

/// The runs that may have ticks to copy, newest first; `end_of` says where to begin in numbers that are held without a hole, and `cut` what
/// is meant of a run that began then. What cannot be read is passed over.
fn runs(
    journal: &mut Journal,
    now: Stamp,
    class: Class,
    end_of: &dyn Fn(&mut Journal, (Seq, Seq)) -> Seq,
    cut: &dyn Fn(Stamp) -> Option<Cut>,
) -> Vec<Run> {
    let stream = Stream::raw(class);
    let (mut runs, mut record, mut run_count) = (Vec::new(), Vec::new(), 0);
    for range in journal.held(stream).into_iter().rev() {
        let end = Seq(range.last.0.saturating_add(1)).min(journal.durable(stream));
        let mut end = end_of(journal, (range.first, end));
        while range.first < end && run_count < RUN_COUNT_MAX && runs.len() < COPIED_COUNT_MAX {
            run_count += 1;
            let Ok(Some(first)) = journal.run_of(now, stream, Seq(end.0 - 1)) else { break };
            let stamp = stamp_of(journal, now, stream, first, &mut record).filter(|_| first >= range.first);
            let Some(stamp @ Stamp { boot, uptime, .. }) = stamp else { break };
            let Some(cut) = cut(stamp) else {
                end = first;
                continue;
            };
            if boot == cut.boot && uptime <= cut.to {
                runs.push((first, end, cut));
            }
            // Of an earlier boot nothing is meant, once one of its own was found.
            let is_before = if boot == cut.boot { uptime <= cut.from } else { !runs.is_empty() };
            if is_before {
                return runs;
            }
            end = first;
        }
    }
    runs
}

/// A batch in the making.
struct Piece {
    stamp: Stamp,
    payload: Vec<u8>,
}

/// What is meant of one run, in batches of a new one.
fn pieces(
    journal: &mut Journal,
    now: Stamp,
    class: Class,
    (first, end, cut): &Run,
    meant: Option<(u32, &[bool])>,
    reader: &mut TickReader,
    encoder: &mut Encoder,
) -> Vec<Piece> {
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut is_open, mut is_named) = (false, false);
    for seq in first.0..end.0 {
        // What follows a hole cannot be decoded.
        if !journal.read(now, Stream::raw(class), Seq(seq), &mut record).unwrap_or(false) {
            break;
        }
        let Ok(opened) = Record::open(&record) else { break };
        let (stamp, is_keyframe) = (opened.header.stamp, opened.header.is_keyframe());
        if stamp.uptime > cut.to {
            break;
        }
        let Ok(payload) = opened.payload(&mut scratch) else { break };
        let mut ticks = Vec::new();
        if is_keyframe {
            is_named = take_mark(&mut &*payload).is_ok_and(|mark| meant.is_some_and(|(of, _)| of == mark.generation));
        }
        let read = reader.read(payload, is_keyframe, |tick, values| {
            if (cut.from..=cut.to).contains(&Instant(tick.at_ms)) {
                let mut values = values.to_vec();
                if let Some((_, meant)) = meant.filter(|_| is_named) {
                    let others = values.iter_mut().enumerate().filter(|(slot, _)| !meant.get(*slot).unwrap_or(&false));
                    others.for_each(|(_, value)| *value = None);
                }
                if values.iter().any(Option::is_some) {
                    ticks.push((tick.at_ms, values));
                }
            }
        });
        for (at_ms, values) in ticks {
            if !is_open {
                let mut payload = Vec::new();
                if pieces.is_empty() {
                    encoder.open_run();
                    put_keyframe(&reader.mark(), reader.precision(), &mut payload);
                }
                pieces.push(Piece { stamp: stamp.at(Instant(at_ms)), payload });
                is_open = true;
            }
            let payload = &mut pieces.last_mut().expect("one is open").payload;
            encoder.encode(at_ms, &values, payload);
            if payload.len() >= BATCH_BYTES_TARGET {
                encoder.close_batch(payload);
                is_open = false;
            }
        }
        if read.is_err() {
            break;
        }
    }
    if is_open {
        encoder.close_batch(&mut pieces.last_mut().expect("one is open").payload);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::memory::Memory;
    use journal::journal::Settings;
    use wire::metric::Metric;
    use wire::time::BootId;

    use super::*;
    use crate::dictionary::Dictionary;
    use crate::importance::Importance;
    use crate::sampler::{Batch, Sampler};

    const CLASS: Class = Class::Critical;

    fn at(boot: u32, tick: u64) -> Stamp {
        Stamp { boot: BootId(boot), uptime: Instant(tick * 10_000), unix: Some(UnixTime(1 << 40)) }
    }

    /// Ticks of a boot with their own numbers as values, in batches of six and runs of `run` ticks.
    fn record(journal: &mut Journal, boot: u32, ticks: std::ops::Range<u64>, run: u64) {
        let mut sampler = Sampler::new(Dictionary::new(1), &Importance::default());
        let end = ticks.end;
        for tick in ticks {
            sampler.begin();
            sampler.put(Metric::Load1, &[], i64::from(boot) * 100_000 + tick as i64);
            sampler.end(at(boot, tick));
            if tick % 6 == 5 || tick + 1 == end {
                let append = |Batch { stream, run, stamp, payload }: Batch<&[u8]>| {
                    journal.append(stamp, stream, run, stamp, payload, false)
                };
                sampler.close(append).unwrap();
            }
            if tick % run == run - 1 {
                sampler.end_run();
            }
        }
        journal.commit(at(boot, end)).unwrap();
    }

    /// The ticks of each run of the extract, told by their values.
    fn extracted(journal: &mut Journal, now: Stamp) -> Vec<Vec<i64>> {
        journal.commit(now).unwrap();
        let (mut reader, mut record, mut scratch) = (TickReader::new(), Vec::new(), Vec::new());
        let mut runs: Vec<Vec<i64>> = Vec::new();
        for seq in 0..journal.durable(Stream::Extract(CLASS)).0 {
            assert!(journal.read(now, Stream::Extract(CLASS), Seq(seq), &mut record).unwrap());
            let opened = Record::open(&record).unwrap();
            if opened.header.is_keyframe() {
                runs.push(Vec::new());
            }
            let run = runs.last_mut().unwrap();
            let mut each = |tick: codec::run::Tick, values: &[Option<i64>]| {
                assert_eq!(tick.at_ms / 10_000, values[0].unwrap() as u64 % 100_000);
                run.push(values[0].unwrap());
            };
            let is_keyframe = opened.header.is_keyframe();
            reader.read(opened.payload(&mut scratch).unwrap(), is_keyframe, &mut each).unwrap();
        }
        runs
    }

    fn journal() -> Journal {
        Journal::open(Arc::new(Memory::default()), Settings::DEFAULT, 1, at(1, 0)).unwrap()
    }

    fn cut(boot: u32, ticks: std::ops::RangeInclusive<u64>) -> Cut {
        Cut { boot: BootId(boot), from: at(boot, *ticks.start()).uptime, to: at(boot, *ticks.end()).uptime }
    }

    #[test]
    fn ticks_of_a_span_come_as_runs_of_their_own() {
        let (mut journal, now) = (journal(), at(1, 1000));
        record(&mut journal, 1, 0..1000, 300);
        assert_eq!(copy(&mut journal, now, CLASS, &cut(1, 580..=620)).unwrap(), 2);
        let runs = extracted(&mut journal, now);
        assert_eq!(runs, [(100_580..100_600).collect::<Vec<_>>(), (100_600..=100_620).collect()]);
        // What the journal does not hold is no error.
        assert_eq!(copy(&mut journal, now, CLASS, &cut(1, 1200..=1300)).unwrap(), 0);
        assert_eq!(copy(&mut journal, now, CLASS, &cut(7, 0..=1300)).unwrap(), 0);
        assert_eq!(copy(&mut journal, now, Class::Bulk, &cut(1, 580..=620)).unwrap(), 0);
    }

    #[test]
    fn what_a_boot_left_when_it_ended_is_found_behind_the_next_one() {
        let (mut journal, now) = (journal(), at(2, 20));
        record(&mut journal, 1, 0..100, 300);
        record(&mut journal, 2, 3..20, 300);
        copy(&mut journal, now, CLASS, &cut(1, 90..=150)).unwrap();
        assert_eq!(extracted(&mut journal, now), [(100_090..100_100).collect::<Vec<_>>()]);
    }

    /// As [`at`], on a calendar on which each boot began a million seconds after the one before.
    fn dated(boot: u32, tick: u64) -> Stamp {
        Stamp { unix: Some(unix(boot, tick)), ..at(boot, tick) }
    }

    fn unix(boot: u32, tick: u64) -> UnixTime {
        UnixTime(u64::from(boot) * 1_000_000_000 + tick * 10_000)
    }

    /// What a request for a span gets, of the second of two series alone.
    fn fetched(journal: &mut Journal, now: Stamp, from: UnixTime, to: UnixTime) -> Vec<Vec<i64>> {
        let before = journal.next(Stream::Extract(CLASS)).0;
        fetch(journal, now, CLASS, (from, to), 1, &[false, true]).unwrap();
        journal.commit(now).unwrap();
        let (mut reader, mut record, mut scratch) = (TickReader::new(), Vec::new(), Vec::new());
        let mut runs: Vec<Vec<i64>> = Vec::new();
        for seq in before..journal.durable(Stream::Extract(CLASS)).0 {
            assert!(journal.read(now, Stream::Extract(CLASS), Seq(seq), &mut record).unwrap());
            let opened = Record::open(&record).unwrap();
            if opened.header.is_keyframe() {
                runs.push(Vec::new());
            }
            let is_keyframe = opened.header.is_keyframe();
            let each = |_, values: &[Option<i64>]| {
                assert_eq!(values[0], None);
                runs.last_mut().unwrap().push(values[1].unwrap());
            };
            reader.read(opened.payload(&mut scratch).unwrap(), is_keyframe, each).unwrap();
        }
        runs
    }

    #[test]
    fn of_a_span_of_the_calendar_the_series_that_are_meant_are_found_in_any_boot() {
        let mut journal = journal();
        for boot in 1..=4 {
            let mut sampler = Sampler::new(Dictionary::new(1), &Importance::default());
            for tick in 0..2000 {
                sampler.begin();
                sampler.put(Metric::Load1, &[("n", b"0")], 7);
                sampler.put(Metric::Load1, &[("n", b"1")], i64::from(boot) * 100_000 + tick as i64);
                sampler.end(dated(boot, tick));
                if tick % 6 == 5 {
                    let append = |Batch { stream, run, stamp, payload }: Batch<&[u8]>| {
                        journal.append(stamp, stream, run, stamp, payload, false)
                    };
                    sampler.close(append).unwrap();
                }
                if tick % 300 == 299 {
                    sampler.end_run();
                }
            }
            journal.commit(dated(boot, 2000)).unwrap();
        }
        let now = dated(4, 2000);
        for boot in 1..=4 {
            let base = i64::from(boot) * 100_000;
            let runs = fetched(&mut journal, now, unix(boot, 250), unix(boot, 310));
            let expected = [(base + 250..base + 300).collect::<Vec<_>>(), (base + 300..=base + 310).collect()];
            assert_eq!(runs, expected, "{boot}");
            let runs = fetched(&mut journal, now, unix(boot, 1990), UnixTime(unix(boot, 3000).0));
            assert_eq!(runs.concat().first(), Some(&(base + 1990)), "{boot}");
        }
        // Between two boots, before all of them, and at the end of time.
        for (from, to) in [(unix(2, 5000), unix(2, 6000)), (UnixTime(0), UnixTime(5)), (UnixTime(!0), UnixTime(!0))] {
            assert_eq!(fetched(&mut journal, now, from, to), [[0; 0]; 0], "{from:?}");
        }
    }

    #[test]
    fn what_is_large_comes_in_several_batches() {
        let (mut journal, now) = (journal(), at(1, 400));
        let mut sampler = Sampler::new(Dictionary::new(1), &Importance::default());
        let mut random = 1_u64;
        for tick in 0..200 {
            sampler.begin();
            for cpu in 0..64 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let value = if cpu == 0 { 100_000 + tick } else { (random >> 1) as i64 };
                sampler.put(Metric::Load1, &[("cpu", cpu.to_string().as_bytes())], value);
            }
            sampler.end(at(1, tick as u64));
            let append =
                |batch: Batch<&[u8]>| journal.append(now, batch.stream, batch.run, batch.stamp, batch.payload, false);
            sampler.close(append).unwrap();
        }
        journal.commit(now).unwrap();
        assert!(copy(&mut journal, now, CLASS, &cut(1, 0..=400)).unwrap() > 3);
        assert_eq!(extracted(&mut journal, now), [(100_000..100_200).collect::<Vec<_>>()]);
    }
}
