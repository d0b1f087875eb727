//! Copies of ticks that are in the journal already, as runs of their own: they go where their own runs do not, and need nothing of
//! what came before them.
//!
//! A run that is copied was encoded once and stays as it is. Its ticks are decoded from its beginning on, and those that are meant are
//! encoded again, under the names and with the rounding of their run.

use std::io;

use codec::run::Encoder;
use journal::Journal;
use wire::batch::{TickReader, put_keyframe};
use wire::class::Class;
use wire::id::Seq;
use wire::limits::{BATCH_BYTES_TARGET, SERIES_COUNT_MAX};
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{Instant, Stamp};

use crate::context::Cut;

/// Runs that are looked through, newest first: those of two days, at ten seconds from tick to tick.
const RUN_COUNT_MAX: usize = 48;

/// Copies the durable ticks of a class that `cut` means. Returns how many batches that are, which the next commit makes durable.
///
/// Errors: the journal has no room. What was appended by then stays.
pub fn copy(journal: &mut Journal, now: Stamp, class: Class, cut: &Cut) -> io::Result<usize> {
    let (mut reader, mut encoder) = (TickReader::new(), Encoder::new(SERIES_COUNT_MAX));
    let mut batch_count = 0;
    for (first, end) in runs(journal, now, class, cut).into_iter().rev() {
        let mut run = None;
        for Piece { stamp, payload } in pieces(journal, now, class, (first, end), cut, &mut reader, &mut encoder) {
            let seq = journal.append(now, Stream::Extract(class), run, stamp, &payload, false)?;
            run = run.or(Some(seq));
            batch_count += 1;
        }
    }
    journal.rest();
    Ok(batch_count)
}

/// The runs that may have ticks of the cut, newest first: their first numbers, and those after their last. What cannot be read is passed
/// over.
fn runs(journal: &mut Journal, now: Stamp, class: Class, cut: &Cut) -> Vec<(Seq, Seq)> {
    let stream = Stream::raw(class);
    let (mut runs, mut record, mut run_count) = (Vec::new(), Vec::new(), 0);
    for range in journal.held(stream).into_iter().rev() {
        let mut end = Seq(range.last.0.saturating_add(1)).min(journal.durable(stream));
        while range.first < end && run_count < RUN_COUNT_MAX {
            run_count += 1;
            let Ok(Some(first)) = journal.run_of(now, stream, Seq(end.0 - 1)) else { break };
            if first < range.first || !journal.read(now, stream, first, &mut record).unwrap_or(false) {
                break;
            }
            let Ok(opened) = Record::open(&record) else { break };
            let Stamp { boot, uptime, .. } = opened.header.stamp;
            if boot == cut.boot && uptime <= cut.to {
                runs.push((first, end));
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
    (first, end): (Seq, Seq),
    cut: &Cut,
    reader: &mut TickReader,
    encoder: &mut Encoder,
) -> Vec<Piece> {
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    let mut pieces: Vec<Piece> = Vec::new();
    let mut is_open = false;
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
        let read = reader.read(payload, is_keyframe, |tick, values| {
            if (cut.from..=cut.to).contains(&Instant(tick.at_ms)) {
                ticks.push((tick.at_ms, values.to_vec()));
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
    use wire::time::{BootId, UnixTime};

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
