//! From readings to batches of ticks.
//!
//! A tick's values go into the open batch as they come. The batch is closed when it is old or large enough, or its run ends;
//! until then it is in memory, and a power cut costs it.

use codec::near;
use codec::run::Encoder;
use wire::batch::put_keyframe;
use wire::id::Seq;
use wire::limits::{BATCH_BYTES_TARGET, RECORD_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX};
use wire::metric::Metric;
use wire::series::Kind;
use wire::time::{Instant, Span, Stamp};

use crate::dictionary::Dictionary;
use crate::importance::Importance;

/// Collects ticks into batches.
#[derive(Debug)]
pub struct Sampler {
    dictionary: Dictionary,
    encoder: Encoder,
    importance: Importance,
    /// Significant bits of each slot in this run; exact behind the end.
    bits: Vec<u8>,
    values: Vec<Option<i64>>,
    /// The values as they are encoded, when they are rounded.
    shown: Vec<Option<i64>>,
    payload: Vec<u8>,
    opened: Option<Stamp>,
    tick_count: u32,
    run: Run,
    run_tick_count: u32,
    refused_count: u32,
}

/// Where the current run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// The next tick opens one.
    Ended,
    /// The open batch is its keyframe.
    Opening,
    /// Its keyframe has this number.
    Open(Seq),
}

impl Sampler {
    /// A sampler that goes on with a dictionary, and rounds as `importance` says.
    pub fn new(dictionary: Dictionary, importance: Importance) -> Sampler {
        Sampler {
            dictionary,
            encoder: Encoder::new(SERIES_COUNT_MAX),
            importance,
            bits: Vec::new(),
            shown: Vec::new(),
            values: Vec::with_capacity(SERIES_COUNT_MAX),
            payload: Vec::with_capacity(RECORD_BYTES_MAX),
            opened: None,
            tick_count: 0,
            run: Run::Ended,
            run_tick_count: 0,
            refused_count: 0,
        }
    }

    /// The dictionary, for those who write it and those who ask it.
    pub fn dictionary(&mut self) -> &mut Dictionary {
        &mut self.dictionary
    }

    /// The value of each slot in the last tick, not rounded.
    pub fn latest(&self) -> (&Dictionary, &[Option<i64>]) {
        (&self.dictionary, &self.values)
    }

    /// Ticks in the open batch.
    pub fn open_tick_count(&self) -> u32 {
        self.tick_count
    }

    /// Begins a tick: every slot is absent.
    pub fn begin(&mut self) {
        self.values.clear();
        self.values.resize(self.dictionary.count(), None);
        self.dictionary.rewind();
        self.refused_count = 0;
    }

    /// Puts one value into the tick.
    pub fn put(&mut self, metric: Metric, labels: &[(&str, &[u8])], value: i64) {
        match self.dictionary.slot(metric, labels) {
            Ok(slot) => {
                if slot >= self.values.len() {
                    self.values.resize(slot + 1, None);
                }
                self.values[slot] = Some(value);
            }
            Err(_) => self.refused_count += 1,
        }
    }

    /// How many series found no place in the tick that was begun last.
    pub fn refused_count(&self) -> u32 {
        self.refused_count
    }

    /// How many series had a value in the last tick.
    pub fn live_count(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// Whether the list is nearly full, and a quarter of it or more of series that are gone: its next generation has room.
    ///
    /// A list that is full of what is there stays: a generation of its own for each tick would wear the disk out.
    pub fn is_renewal_due(&self) -> bool {
        let count = self.values.len();
        self.dictionary.is_nearly_full() && count > 0 && self.live_count() <= count / 4 * 3
    }

    /// Starts the dictionary's next generation, between two ticks; the open run must have ended.
    pub fn renew(&mut self) {
        assert!(self.opened.is_none() && self.run == Run::Ended, "a run counts on one generation");
        self.dictionary.renew();
        self.encoder = Encoder::new(SERIES_COUNT_MAX);
        self.values.clear();
    }

    /// Ends the tick: it becomes part of the open batch, or opens one.
    pub fn end(&mut self, now: Stamp) {
        if self.run == Run::Ended {
            self.run = Run::Opening;
            self.run_tick_count = 0;
            self.encoder.open_run();
            self.choose_bits();
            put_keyframe(&self.dictionary.mark(), &self.bits, &mut self.payload);
        }
        self.opened.get_or_insert(now);
        self.round();
        let values = if self.bits.is_empty() { &self.values } else { &self.shown };
        self.encoder.encode(now.uptime.0, values, &mut self.payload);
        self.tick_count += 1;
        self.run_tick_count += 1;
    }

    /// How far each slot is rounded is settled when a run opens, and said in it.
    fn choose_bits(&mut self) {
        self.bits.clear();
        self.shown.clear();
        if !self.importance.is_exact() {
            let (dictionary, importance) = (&self.dictionary, &self.importance);
            self.bits.extend((0..dictionary.count()).map(|slot| importance.bits(dictionary.series(slot).name)));
        }
    }

    /// Rounds the tick that ends; what counters showed last is in `shown`.
    fn round(&mut self) {
        if self.bits.is_empty() {
            return;
        }
        self.shown.resize(self.values.len(), None);
        for (slot, (shown, value)) in self.shown.iter_mut().zip(&self.values).enumerate() {
            let bits = self.bits.get(slot).copied().unwrap_or(near::EXACT);
            let Some(value) = *value else {
                *shown = None;
                continue;
            };
            *shown = Some(match (self.dictionary.series(slot).kind(), *shown) {
                (Kind::Gauge, _) => near::gauge(value, bits),
                // A run opens with what is true.
                (Kind::Counter, None) => value,
                (Kind::Counter, Some(shown)) => near::counter(shown, value, bits),
            });
        }
    }

    /// Whether the open batch should be closed, given how old batches may become.
    pub fn is_due(&self, now: Instant, age_max: Span) -> bool {
        let Some(opened) = self.opened else { return false };
        now - opened.uptime >= age_max
            || self.payload.len() >= BATCH_BYTES_TARGET
            || self.run_tick_count >= RUN_TICKS_MAX
    }

    /// When the open batch is due by its age.
    pub fn due_at(&self, age_max: Span) -> Option<Instant> {
        self.opened.map(|opened| opened.uptime + age_max)
    }

    /// Ends the open batch: its run's opening number (`None` for a keyframe), its stamp, its payload. It is written and
    /// [closed](Sampler::close_batch) then, or [lost](Sampler::lose_batch).
    pub fn seal_batch(&mut self) -> Option<(Option<Seq>, Stamp, &[u8])> {
        let stamp = self.opened?;
        self.encoder.close_batch(&mut self.payload);
        Some((self.run(), stamp, &self.payload))
    }

    /// What [`Sampler::seal_batch`] would hand out, while the batch goes on.
    pub fn copy_batch(&self) -> Option<(Option<Seq>, Stamp, Vec<u8>)> {
        let stamp = self.opened?;
        let mut payload = self.payload.clone();
        self.encoder.close_copy(&mut payload);
        Some((self.run(), stamp, payload))
    }

    /// The open batch was written under this number; the next one is empty.
    pub fn close_batch(&mut self, seq: Seq) {
        if self.run == Run::Opening {
            self.run = Run::Open(seq);
        }
        self.drop_batch();
        if self.run_tick_count >= RUN_TICKS_MAX {
            self.run = Run::Ended;
        }
    }

    /// The open batch could not be written; its ticks are gone, and with them the run's model. Returns how many.
    pub fn lose_batch(&mut self) -> u32 {
        self.run = Run::Ended;
        self.drop_batch()
    }

    fn drop_batch(&mut self) -> u32 {
        self.payload.clear();
        self.opened = None;
        core::mem::take(&mut self.tick_count)
    }

    /// Ends the run: the next batch is a keyframe.
    ///
    /// Panics: when a batch is open; close it first.
    pub fn end_run(&mut self) {
        assert!(self.opened.is_none(), "a batch belongs to the run it was opened in");
        self.run = Run::Ended;
    }

    /// The number that opened the run which goes on, if one does.
    pub fn run(&self) -> Option<Seq> {
        if let Run::Open(seq) = self.run { Some(seq) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::batch::TickReader;
    use wire::time::{BootId, UnixTime};

    fn at(tick: u64) -> Stamp {
        Stamp { boot: BootId(1), uptime: Instant(tick * 10_000), unix: Some(UnixTime(tick * 10_000)) }
    }

    /// Samples a counter and a gauge, and reads back what the hub gets, with the bits of both.
    fn sampled(bits: [u8; 3], values: &[[i64; 2]]) -> (Vec<[i64; 2]>, [u8; 2], usize) {
        let importance = Importance { bits, ..Importance::default() };
        let mut sampler = Sampler::new(Dictionary::new(1), importance);
        for (tick, [counter, gauge]) in values.iter().enumerate() {
            sampler.begin();
            sampler.put(Metric::named(b"node_vmstat_pgfault").unwrap(), &[], *counter);
            sampler.put(Metric::named(b"node_memory_Cached_bytes").unwrap(), &[], *gauge);
            sampler.end(at(tick as u64));
        }
        let (_, _, payload) = sampler.seal_batch().unwrap();
        let (mut reader, mut seen) = (TickReader::new(), Vec::new());
        reader.read(payload, true, |_, values| seen.push([values[0].unwrap(), values[1].unwrap()])).unwrap();
        (seen, [reader.precision(0), reader.precision(1)], payload.len())
    }

    #[test]
    fn bulk_is_rounded_only_when_asked_and_the_run_says_how_far() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as i64
        };
        let mut counter = 1 << 40;
        let mut next = || {
            counter += random();
            [counter, (1 << 30) + random()]
        };
        let mut values: Vec<[i64; 2]> = (0..300).map(|_| next()).collect();
        // It rests where it got to.
        values.extend([[values[299][0], 5]; 3]);
        let (exact, precision, exact_bytes) = sampled([0; 3], &values);
        assert_eq!((exact, precision), (values.clone(), [0, 0]));

        let (rounded, precision, rounded_bytes) = sampled([0, 0, near::bits(100)], &values);
        assert_eq!(precision, [8, 8]);
        assert!(rounded_bytes * 4 < exact_bytes * 3, "{rounded_bytes} {exact_bytes}");
        assert_eq!((rounded[0], rounded[302]), ([values[0][0], near::gauge(values[0][1], 8)], values[302]));
        for (shown, value) in rounded.iter().zip(&values) {
            assert!(shown[1].abs_diff(value[1]) * 100 <= value[1] as u64);
            assert!(shown[0] <= value[0] && value[0] - shown[0] < 1 << 18, "{shown:?} {value:?}");
        }
    }
}
