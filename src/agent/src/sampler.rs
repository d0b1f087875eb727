//! From readings to batches of ticks, of each class its own.
//!
//! A tick's values go into the open batches as they come. They are closed together when they are old or one of them is large
//! enough, or their runs end; until then they are in memory, and a power cut costs them. A class without a series has no batch.

use codec::near;
use codec::run::Encoder;
use wire::batch::put_keyframe;
use wire::class::{CLASS_COUNT, Class};
use wire::id::Seq;
use wire::limits::{BATCH_BYTES_TARGET, RECORD_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX};
use wire::metric::Metric;
use wire::series::Kind;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp};

use crate::dictionary::Dictionary;
use crate::importance::{Classes, Importance};

/// Collects ticks into batches.
#[derive(Debug)]
pub struct Sampler {
    dictionary: Dictionary,
    classes: Classes,
    parts: Box<[Part; CLASS_COUNT]>,
    /// When the first tick of the open batches was taken.
    opened: Option<Stamp>,
    tick_count: u32,
    run_tick_count: u32,
    run_tick_count_max: u32,
    refused_count: u32,
}

/// The ticks of one class.
#[derive(Debug)]
struct Part {
    class: Class,
    encoder: Encoder,
    /// Significant bits of each value.
    bits: u8,
    values: Vec<Option<i64>>,
    /// The values as they are encoded, when they are rounded.
    shown: Vec<Option<i64>>,
    payload: Vec<u8>,
    opened: Option<Stamp>,
    run: Run,
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

impl Run {
    fn first(self) -> Option<Seq> {
        if let Run::Open(seq) = self { Some(seq) } else { None }
    }
}

/// A batch of ticks for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<P> {
    /// Its stream.
    pub stream: Stream,
    /// The number that opened its run; `None` when it does.
    pub run: Option<Seq>,
    /// When its first tick was taken.
    pub stamp: Stamp,
    /// Its bytes.
    pub payload: P,
}

impl Sampler {
    /// A sampler that goes on with a dictionary, and rounds as `importance` says. When the classes are no longer those of the
    /// dictionary, its next generation begins.
    pub fn new(mut dictionary: Dictionary, importance: &Importance) -> Sampler {
        if dictionary.entries().any(|(class, series)| class != importance.class(series.name)) {
            dictionary.renew();
        }
        let part = |class: Class| Part {
            class,
            encoder: Encoder::new(SERIES_COUNT_MAX),
            bits: importance.bits[class.index()],
            values: Vec::with_capacity(SERIES_COUNT_MAX),
            shown: Vec::new(),
            payload: Vec::with_capacity(RECORD_BYTES_MAX),
            opened: None,
            run: Run::Ended,
        };
        Sampler {
            dictionary,
            classes: importance.classes(),
            parts: Box::new(Class::ALL.map(part)),
            opened: None,
            tick_count: 0,
            run_tick_count: 0,
            run_tick_count_max: RUN_TICKS_MAX,
            refused_count: 0,
        }
    }

    /// The dictionary, for those who write it and those who ask it.
    pub fn dictionary(&mut self) -> &mut Dictionary {
        &mut self.dictionary
    }

    /// The values of the last tick, not rounded: of each class those of its slots.
    pub fn latest(&self) -> (&Dictionary, [&[Option<i64>]; CLASS_COUNT]) {
        (&self.dictionary, self.parts.each_ref().map(|part| &part.values[..]))
    }

    /// Ticks in the open batches.
    pub fn open_tick_count(&self) -> u32 {
        self.tick_count
    }

    /// Begins a tick: every slot is absent.
    pub fn begin(&mut self) {
        for part in self.parts.iter_mut() {
            part.values.clear();
            part.values.resize(self.dictionary.of(part.class).len(), None);
        }
        self.dictionary.rewind();
        self.refused_count = 0;
    }

    /// Puts one value into the tick.
    pub fn put(&mut self, metric: Metric, labels: &[(&str, &[u8])], value: i64) {
        match self.dictionary.slot(metric, self.classes.of(metric), labels) {
            Ok(slot) => {
                let values = &mut self.parts[slot.class.index()].values;
                if slot.index >= values.len() {
                    values.resize(slot.index + 1, None);
                }
                values[slot.index] = Some(value);
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
        self.parts.iter().map(|part| part.values.iter().flatten().count()).sum()
    }

    /// Whether the list is nearly full, and a quarter of it or more of series that are gone: its next generation has room.
    ///
    /// A list that is full of what is there stays: a generation of its own for each tick would wear the disk out.
    pub fn is_renewal_due(&self) -> bool {
        let count: usize = self.parts.iter().map(|part| part.values.len()).sum();
        self.dictionary.is_nearly_full() && count > 0 && self.live_count() <= count / 4 * 3
    }

    /// Starts the dictionary's next generation, between two ticks; the open runs must have ended.
    pub fn renew(&mut self) {
        self.dictionary.renew();
        for part in self.parts.iter_mut() {
            assert!(part.opened.is_none() && part.run == Run::Ended, "a run counts on one generation");
            part.encoder = Encoder::new(SERIES_COUNT_MAX);
            part.values.clear();
        }
    }

    /// Ends the tick: it becomes part of the open batches, or opens them.
    pub fn end(&mut self, now: Stamp) {
        for part in self.parts.iter_mut().filter(|part| !part.values.is_empty()) {
            part.end(now, &self.dictionary);
        }
        self.opened.get_or_insert(now);
        self.tick_count += 1;
        self.run_tick_count += 1;
    }

    /// Whether the open batches should be closed, given how old they may become.
    pub fn is_due(&self, now: Instant, age_max: Span) -> bool {
        let Some(opened) = self.opened else { return false };
        now - opened.uptime >= age_max
            || self.parts.iter().any(|part| part.payload.len() >= BATCH_BYTES_TARGET)
            || self.run_tick_count >= self.run_tick_count_max
    }

    /// How many ticks a run may have, at most [`RUN_TICKS_MAX`].
    pub fn set_run_length(&mut self, tick_count_max: u32) {
        self.run_tick_count_max = tick_count_max.min(RUN_TICKS_MAX);
    }

    /// When the open batches are due by their age.
    pub fn due_at(&self, age_max: Span) -> Option<Instant> {
        self.opened.map(|opened| opened.uptime + age_max)
    }

    /// Ends the open batches, the most important first: `append` writes each and says its number. Returns how many there were.
    ///
    /// Errors: what `append` says, at once. The ticks of what is not written are gone, and with them the models of their runs.
    pub fn close<E>(&mut self, mut append: impl FnMut(Batch<&[u8]>) -> Result<Seq, E>) -> Result<usize, E> {
        let mut count = 0;
        for part in self.parts.iter_mut() {
            let Some(stamp) = part.opened else { continue };
            part.encoder.close_batch(&mut part.payload);
            let (stream, run) = (Stream::raw(part.class), part.run.first());
            match append(Batch { stream, run, stamp, payload: &part.payload }) {
                Ok(seq) => part.run = Run::Open(run.unwrap_or(seq)),
                Err(error) => {
                    self.lose();
                    return Err(error);
                }
            }
            part.drop_batch();
            count += 1;
        }
        (self.opened, self.tick_count) = (None, 0);
        if self.run_tick_count >= self.run_tick_count_max {
            self.end_run();
        }
        Ok(count)
    }

    /// What [`Sampler::close`] would write of a class, while the batch goes on.
    pub fn copy(&self, class: Class) -> Option<Batch<Vec<u8>>> {
        let part = &self.parts[class.index()];
        let mut payload = part.payload.clone();
        let stamp = part.opened?;
        part.encoder.close_copy(&mut payload);
        Some(Batch { stream: Stream::raw(class), run: part.run.first(), stamp, payload })
    }

    /// The open batches cannot be written; their ticks are gone, and with them the models of their runs. Returns how many.
    pub fn lose(&mut self) -> u32 {
        for part in self.parts.iter_mut().filter(|part| part.opened.is_some()) {
            part.drop_batch();
            part.run = Run::Ended;
        }
        self.opened = None;
        core::mem::take(&mut self.tick_count)
    }

    /// Ends the runs: the next batches are keyframes.
    ///
    /// Panics: when a batch is open; close it first.
    pub fn end_run(&mut self) {
        for part in self.parts.iter_mut() {
            assert!(part.opened.is_none(), "a batch belongs to the run it was opened in");
            part.run = Run::Ended;
        }
        self.run_tick_count = 0;
    }

    /// The number that opened the run of a class which goes on, if one does.
    pub fn run(&self, class: Class) -> Option<Seq> {
        self.parts[class.index()].run.first()
    }
}

impl Part {
    fn end(&mut self, now: Stamp, dictionary: &Dictionary) {
        if self.run == Run::Ended {
            self.run = Run::Opening;
            self.encoder.open_run();
            self.shown.clear();
            put_keyframe(&dictionary.mark(), self.bits, &mut self.payload);
        }
        self.opened.get_or_insert(now);
        if self.bits != near::EXACT {
            self.round(dictionary);
        }
        let values = if self.bits == near::EXACT { &self.values } else { &self.shown };
        self.encoder.encode(now.uptime.0, values, &mut self.payload);
    }

    /// Rounds the tick that ends; what counters showed last is in `shown`.
    fn round(&mut self, dictionary: &Dictionary) {
        self.shown.resize(self.values.len(), None);
        for ((shown, value), series) in self.shown.iter_mut().zip(&self.values).zip(dictionary.of(self.class)) {
            let Some(value) = *value else {
                *shown = None;
                continue;
            };
            *shown = Some(match (series.kind(), *shown) {
                (Kind::Gauge, _) => near::gauge(value, self.bits),
                // A run opens with what is true.
                (Kind::Counter, None) => value,
                (Kind::Counter, Some(shown)) => near::counter(shown, value, self.bits),
            });
        }
    }

    fn drop_batch(&mut self) {
        self.payload.clear();
        self.opened = None;
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

    /// Samples a counter and a gauge, and reads back what the hub gets, with their bits.
    fn sampled(bits: [u8; 3], values: &[[i64; 2]]) -> (Vec<[i64; 2]>, u8, usize) {
        let importance = Importance { bits, ..Importance::default() };
        let mut sampler = Sampler::new(Dictionary::new(1), &importance);
        for (tick, [counter, gauge]) in values.iter().enumerate() {
            sampler.begin();
            sampler.put(Metric::PressureCpuWaiting, &[], *counter);
            sampler.put(Metric::MemoryCached, &[], *gauge);
            sampler.end(at(tick as u64));
        }
        let payload = sampler.copy(Class::Bulk).unwrap().payload;
        let (mut reader, mut seen) = (TickReader::new(), Vec::new());
        reader.read(&payload, true, |_, values| seen.push([values[0].unwrap(), values[1].unwrap()])).unwrap();
        (seen, reader.precision(), payload.len())
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
        assert_eq!((exact, precision), (values.clone(), 0));

        let (rounded, precision, rounded_bytes) = sampled([0, 0, near::bits(100)], &values);
        assert_eq!(precision, 8);
        assert!(rounded_bytes * 4 < exact_bytes * 3, "{rounded_bytes} {exact_bytes}");
        assert_eq!((rounded[0], rounded[302]), ([values[0][0], near::gauge(values[0][1], 8)], values[302]));
        for (shown, value) in rounded.iter().zip(&values) {
            assert!(shown[1].abs_diff(value[1]) * 100 <= value[1] as u64);
            assert!(shown[0] <= value[0] && value[0] - shown[0] < 1 << 18, "{shown:?} {value:?}");
        }
    }

    /// What the batches that are closed now are: stream, run, stamp and ticks of each.
    fn closed(sampler: &mut Sampler, seq: u64) -> Vec<(Stream, Option<Seq>, u64)> {
        let mut batches = Vec::new();
        let append = |batch: Batch<&[u8]>| {
            batches.push((batch.stream, batch.run, batch.stamp.uptime.0 / 10_000));
            Ok::<_, ()>(Seq(seq))
        };
        assert_eq!(sampler.close(append), Ok(batches.len()));
        batches
    }

    fn tick(sampler: &mut Sampler, tick: u64, metrics: &[Metric]) {
        sampler.begin();
        metrics.iter().for_each(|metric| sampler.put(*metric, &[], 1));
        sampler.end(at(tick));
    }

    const CRITICAL: Metric = Metric::Load1;
    const BULK: Metric = Metric::MemoryCached;

    #[test]
    fn a_class_has_batches_from_its_first_series_on_and_runs_end_together() {
        let mut sampler = Sampler::new(Dictionary::new(1), &Importance::default());
        let [critical, _, bulk] = Class::ALL.map(Stream::raw);
        (0..2).for_each(|number| tick(&mut sampler, number, &[CRITICAL]));
        tick(&mut sampler, 2, &[BULK, CRITICAL]);
        assert_eq!(closed(&mut sampler, 7), [(critical, None, 0), (bulk, None, 2)]);
        // A series that is gone keeps its slot, and its class its batches.
        tick(&mut sampler, 3, &[CRITICAL]);
        assert_eq!(closed(&mut sampler, 8), [(critical, Some(Seq(7)), 3), (bulk, Some(Seq(7)), 3)]);
        (4..RUN_TICKS_MAX.into()).for_each(|number| tick(&mut sampler, number, &[CRITICAL]));
        assert!(sampler.is_due(at(4).uptime, Span::minutes(600)));
        closed(&mut sampler, 9);
        tick(&mut sampler, 400, &[BULK]);
        assert_eq!(closed(&mut sampler, 10), [(critical, None, 400), (bulk, None, 400)]);
    }

    #[test]
    fn what_is_not_written_ends_its_run_and_no_other() {
        let mut sampler = Sampler::new(Dictionary::new(1), &Importance::default());
        tick(&mut sampler, 0, &[CRITICAL, BULK]);
        closed(&mut sampler, 0);
        tick(&mut sampler, 1, &[CRITICAL, BULK]);
        let is_critical =
            |batch: Batch<&[u8]>| if batch.stream == Stream::raw(Class::Critical) { Ok(Seq(1)) } else { Err(()) };
        assert_eq!((sampler.close(is_critical), sampler.open_tick_count()), (Err(()), 0));
        assert_eq!(Class::ALL.map(|class| sampler.run(class)), [Some(Seq(0)), None, None]);
        tick(&mut sampler, 2, &[CRITICAL, BULK]);
        assert_eq!(closed(&mut sampler, 2).iter().map(|batch| batch.1).collect::<Vec<_>>(), [Some(Seq(0)), None]);
    }

    #[test]
    fn other_classes_begin_another_generation() {
        let list = || {
            let mut dictionary = Dictionary::new(4);
            dictionary.slot(BULK, Class::Bulk, &[]).unwrap();
            dictionary
        };
        let generation = |importance| Sampler::new(list(), &importance).dictionary().mark().generation;
        assert_eq!(generation(Importance::default()), 4);
        assert_eq!(generation(Importance { bulk: Vec::new(), ..Importance::default() }), 5);
    }
}
