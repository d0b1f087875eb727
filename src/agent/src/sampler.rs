//! From readings to batches of ticks.
//!
//! A tick's values go into the open batch as they come. The batch is closed when it is old or large enough, or its run ends;
//! until then it is in memory, and a power cut costs it.

use codec::run::Encoder;
use wire::batch::put_mark;
use wire::id::Seq;
use wire::limits::{BATCH_BYTES_TARGET, RECORD_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX};
use wire::metric::Metric;
use wire::time::{Instant, Span, Stamp};

use crate::dictionary::Dictionary;

/// Collects ticks into batches.
#[derive(Debug)]
pub struct Sampler {
    dictionary: Dictionary,
    encoder: Encoder,
    values: Vec<Option<i64>>,
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
    /// A sampler that goes on with a dictionary.
    pub fn new(dictionary: Dictionary) -> Sampler {
        Sampler {
            dictionary,
            encoder: Encoder::new(SERIES_COUNT_MAX),
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

    /// The value of each slot in the last tick.
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
            put_mark(&self.dictionary.mark(), &mut self.payload);
        }
        self.opened.get_or_insert(now);
        self.encoder.encode(now.uptime.0, &self.values, &mut self.payload);
        self.tick_count += 1;
        self.run_tick_count += 1;
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
