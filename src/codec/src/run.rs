//! Tick-major runs: what the journal holds and the link carries.
//!
//! A run is cut into *batches*. Each batch ends by itself, so that it can be written and sent, and the next one goes on with
//! what the model knows: a batch of one tick is as dense as a batch of a hundred. A batch that is missing ends the run for
//! the reader.
//!
//! Arithmetic wraps, so every `i64` comes back, whatever the counter did.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::model::{Misfit, Model};
use crate::range::{Reader, Writer};
use crate::relation::{Edit, Search};

/// Bytes that one tick of `slots` slots takes at the most, with the end of its batch.
pub const fn tick_bytes_max(slots: usize) -> usize {
    // A value: at most 11 decisions of 12 bits each and 67 raw bits. A relation: 48 raw bits and a decision; a keyframe names all.
    64 + slots * 25 + EDIT_COUNT_MAX * 8
}

/// Relations that one tick names at the most; the rest wait for the next.
const EDIT_COUNT_MAX: usize = 512;

/// Why a tick could not be decoded. The run is then lost from this tick on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes ended inside a tick.
    Truncated,
    /// The bytes say what no encoder says.
    Malformed,
    /// The tick names more slots than this decoder was made for.
    Slots {
        /// Slots that the tick names.
        count: u64,
        /// Slots that the decoder holds.
        max: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("tick is cut short"),
            DecodeError::Malformed => f.write_str("tick is malformed"),
            DecodeError::Slots { count, max } => write!(f, "tick of {count} slots exceeds {max}"),
        }
    }
}

/// Turns ticks into bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    model: Model,
    writer: Writer,
    search: Option<Search>,
    /// What the search found; the next tick says it.
    edits: Box<heapless::Vec<Edit, EDIT_COUNT_MAX>>,
    values: Vec<Option<i64>>,
}

impl Encoder {
    /// An encoder at the start of a run, for at most `slots_max` slots. Allocates when a tick has more slots than any before.
    ///
    /// Panics: when `slots_max` exceeds 65,535.
    pub fn new(slots_max: usize) -> Encoder {
        assert!(slots_max <= usize::from(u16::MAX), "a slot's number has 16 bits");
        Encoder {
            model: Model::new(slots_max),
            writer: Writer::new(),
            search: Some(Search::default()),
            edits: Box::default(),
            values: Vec::new(),
        }
    }

    /// As [`Encoder::new`], without the search for relations between slots: two fifths less state, for slots of which little follows
    /// from one another.
    pub fn without_search(slots_max: usize) -> Encoder {
        Encoder { search: None, ..Encoder::new(slots_max) }
    }

    /// Starts a run: the next tick is a keyframe. The batch before must have been closed, or is given up. Relations that were
    /// found stay and are said again, since the slots are still the same series.
    pub fn open_run(&mut self) {
        self.edits.clear();
        self.edits.extend(self.model.all_terms().take(EDIT_COUNT_MAX));
        self.model.forget();
        self.writer = Writer::new();
    }

    /// Appends one tick to `out`. `values[slot]` is the slot's value, or `None` when it has none now.
    ///
    /// `out` grows by at most [`tick_bytes_max`] of `values.len()`, the end of the batch included.
    ///
    /// Panics: when `values` is longer than the encoder was made for.
    pub fn encode(&mut self, at_ms: u64, values: &[Option<i64>], out: &mut Vec<u8>) {
        assert!(values.len() <= self.model.slots_max(), "more slots than the encoder was made for");
        let mut coder = self.writer.on(out);
        self.model.code_more(&mut coder, true);
        self.values.clear();
        self.values.extend_from_slice(values);
        // A slot that is no longer there has no relation to speak of.
        self.edits.retain(|edit| usize::from(edit.target) < values.len());
        self.model
            .code_tick(&mut coder, &mut { at_ms }, values.len(), &self.edits, &mut self.values)
            .expect("an encoder's own tick fits");
        self.edits.clear();
        let (model, edits) = (&self.model, &mut self.edits);
        if let Some(search) = &mut self.search {
            // One that finds no room is found again.
            search.observe(
                model.changes(),
                |slot| model.terms(slot),
                |edit| {
                    let _ = edits.push(edit);
                },
            );
        }
    }

    /// Ends the batch: `out` is whole. The run goes on with the next tick.
    pub fn close_batch(&mut self, out: &mut Vec<u8>) {
        self.model.code_more(&mut self.writer.on(out), false);
        self.writer.finish(out);
    }

    /// Appends what [`Encoder::close_batch`] would, to a copy of the batch that is read while it is open.
    pub fn close_copy(&self, out: &mut Vec<u8>) {
        let mut writer = self.writer.clone();
        self.model.code_end(&mut writer.on(out));
        writer.finish(out);
    }

    /// Bytes of state that a run of so many slots takes now: the model, the search, what waits.
    pub fn state_bytes(&self) -> usize {
        self.model.bytes()
            + self.search.as_ref().map_or(0, Search::bytes)
            + size_of::<Encoder>()
            + size_of_val(&*self.edits)
            + size_of_val(&self.values[..])
    }
}

/// One decoded tick: when it was, and how many slots it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The instant that was handed to [`Encoder::encode`].
    pub at_ms: u64,
    /// Length of the `values` that were handed to [`Encoder::encode`].
    pub count: usize,
}

/// Turns bytes back into ticks.
#[derive(Clone, Debug)]
pub struct Decoder {
    model: Model,
}

impl Decoder {
    /// A decoder at the start of a run, for at most `slots_max` slots.
    pub fn new(slots_max: usize) -> Decoder {
        Decoder { model: Model::new(slots_max) }
    }

    /// Starts a run: the next batch must begin with a keyframe.
    pub fn open_run(&mut self) {
        self.model.forget();
    }

    /// Begins a batch: all of its bytes and nothing else.
    pub fn batch<'a>(&'a mut self, bytes: &'a [u8]) -> Batch<'a> {
        Batch { model: &mut self.model, reader: Reader::new(bytes) }
    }
}

/// A batch that is read tick by tick. That its bytes are whole is for others to check: garbled ones may decode to garbage.
/// One that is not read to its end leaves the run unreadable from there on.
#[derive(Debug)]
pub struct Batch<'a> {
    model: &'a mut Model,
    reader: Reader<'a>,
}

impl Batch<'_> {
    /// The next tick, its values in `values[..tick.count]`; `None` behind the last one.
    ///
    /// The work is bounded by the number of slots, but likely ticks take next to no bytes: who reads what a stranger wrote
    /// counts them. After an error the decoder's state means nothing until the next [`Decoder::open_run`].
    ///
    /// Panics: when `values` is shorter than the decoder was made for.
    pub fn next(&mut self, values: &mut [Option<i64>]) -> Result<Option<Tick>, DecodeError> {
        assert!(values.len() >= self.model.slots_max(), "fewer values than the decoder was made for");
        let mut tick = Ok(None);
        if self.model.code_more(&mut self.reader, false) {
            let mut at_ms = 0;
            let count = self.model.code_tick(&mut self.reader, &mut at_ms, 0, &[], values);
            tick = count.map(|count| Some(Tick { at_ms, count }));
        }
        if self.reader.is_exhausted() {
            return Err(DecodeError::Truncated);
        }
        if tick == Ok(None) && self.reader.has_rest() {
            return Err(DecodeError::Malformed);
        }
        tick.map_err(|misfit| match misfit {
            Misfit::Slots(count) => DecodeError::Slots { count, max: self.model.slots_max() },
            Misfit::Relation => DecodeError::Malformed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    type Row = (u64, Vec<Option<i64>>);

    /// Encodes rows, so many to a batch, and reads them back. Returns the bytes of each batch.
    fn check(rows: &[Row], per_batch: usize) -> Vec<Vec<u8>> {
        let slots_max = rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let (mut encoder, mut decoder) = (Encoder::new(slots_max), Decoder::new(slots_max));
        let (mut decoded, mut batches) = (vec![None; slots_max], Vec::new());
        for rows in rows.chunks(per_batch) {
            let mut bytes = Vec::new();
            for (at_ms, values) in rows {
                let before = bytes.len();
                encoder.encode(*at_ms, values, &mut bytes);
                assert!(bytes.len() - before <= tick_bytes_max(values.len()));
                let mut copy = bytes.clone();
                encoder.close_copy(&mut copy);
                assert!(copy.len() - before <= tick_bytes_max(values.len()));
                assert_eq!(
                    read(&mut decoder.clone(), &copy, slots_max).unwrap().last(),
                    Some(&(*at_ms, values.clone()))
                );
            }
            encoder.close_batch(&mut bytes);
            let mut batch = decoder.batch(&bytes);
            for (at_ms, values) in rows {
                let tick = batch.next(&mut decoded).unwrap();
                assert_eq!(tick, Some(Tick { at_ms: *at_ms, count: values.len() }));
                assert_eq!(decoded[..values.len()], values[..]);
            }
            assert_eq!(batch.next(&mut decoded), Ok(None));
            batches.push(bytes);
        }
        batches
    }

    fn read(decoder: &mut Decoder, bytes: &[u8], slots_max: usize) -> Result<Vec<Row>, DecodeError> {
        let (mut rows, mut values, mut batch) = (Vec::new(), vec![None; slots_max], decoder.batch(bytes));
        while let Some(tick) = batch.next(&mut values)? {
            rows.push((tick.at_ms, values[..tick.count].to_vec()));
            if rows.len() > 1000 {
                break;
            }
        }
        Ok(rows)
    }

    fn random(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        }
    }

    /// Counters, gauges, resets, wraps, gaps, series that come and go, and rows of noise.
    fn rows(seed: u64, count: usize) -> Vec<Row> {
        let mut random = random(seed);
        let (mut at_ms, mut values, slots) = (random(1 << 20), vec![0i64; 40], 1 + random(40) as usize);
        (0..count)
            .map(|_| {
                at_ms = if random(50) == 0 { random(1 << 30) << random(34) } else { at_ms.wrapping_add(10_000) };
                for (slot, value) in values.iter_mut().enumerate() {
                    *value = match slot % 5 {
                        0 => value.wrapping_add(random(1 << (slot % 31)) as i64),
                        1 => random(1000) as i64 - 500,
                        2 => value.wrapping_add(4096 * (random(9) as i64 - 4)),
                        3 => *value,
                        _ => ((random(1 << 31) << 33) ^ (random(1 << 31) << 10)) as i64,
                    };
                    if random(200) == 0 {
                        *value = [0, i64::MAX, i64::MIN, -1, 1][random(5) as usize];
                    }
                }
                values[slots / 2] = values[0].wrapping_mul(3);
                let shown = if random(20) == 0 { random(slots as u64 + 1) as usize } else { slots };
                let is_there = |gap: u64, value: i64| (gap != 0).then_some(value);
                (at_ms, values[..shown].iter().map(|value| is_there(random(60), *value)).collect())
            })
            .collect()
    }

    #[test]
    fn every_value_comes_back_whatever_the_series_do() {
        for seed in 0..60 {
            check(&rows(seed, 150), 1 + seed as usize % 7);
        }
    }

    #[test]
    fn what_happens_to_a_series_inside_a_run_is_no_more_than_a_dear_tick() {
        type Series = fn(u64) -> Option<i64>;
        let happenings: [(&str, Series); 7] = [
            ("appears", |tick| (tick >= 50).then_some(tick as i64 * 1000)),
            ("vanishes", |tick| (tick < 50).then_some(tick as i64 * 1000)),
            ("is missing now and then", |tick| (tick % 7 != 0).then_some(tick as i64 * 1000)),
            ("is reset", |tick| Some((tick as i64 % 50) * 1000)),
            ("wraps at 2^32", |tick| Some(((1u64 << 32) - 50_000 + tick * 1000) as u32 as i64)),
            ("wraps at 2^64", |tick| Some((u64::MAX - 50_000 + 1).wrapping_add(tick * 1000) as i64)),
            ("changes its decimal scale", |tick| Some(tick as i64 * if tick < 50 { 1000 } else { 10_000 })),
        ];
        for (what, series) in happenings {
            let rows: Vec<Row> = (0..100).map(|tick| (tick * 10_000, vec![Some(5), series(tick), Some(-1)])).collect();
            let batches = check(&rows, 1);
            let late: usize = batches[60..].iter().map(Vec::len).sum();
            assert!(late <= 40 * 4, "a series that {what} takes {late} bytes");
        }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        // FNV-1a over all batches: what changes it changes the format.
        const GOLDEN: [u64; 3] = [5_938_522_468_885_254_285, 5_879_837_031_372_845_151, 5_355_074_613_109_032_547];
        let hash = |seed| {
            let bytes = check(&rows(seed, 200), 4).concat();
            bytes
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
        };
        assert_eq!([hash(1), hash(2), hash(3)], GOLDEN);
    }

    #[test]
    fn extremes_come_back() {
        let extremes = [i64::MIN, i64::MAX, 0, -1, 1, i64::MIN + 1, i64::MAX - 1];
        let rows: Vec<Row> = (0..49)
            .map(|i| (u64::MAX - i, vec![Some(extremes[i as usize % 7]), Some(extremes[i as usize / 7])]))
            .collect();
        check(&rows, 1);
        check(&[(0, vec![]), (0, vec![None; 3]), (5, vec![Some(1); 3]), (6, vec![])], 2);
    }

    #[test]
    fn a_batch_of_one_tick_is_nearly_as_dense_as_a_batch_of_many() {
        let rows: Vec<Row> = (0..300u64)
            .map(|tick| {
                let noise =
                    |slot: u64| tick.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(slot << 50) >> (20 + slot);
                (tick * 10_000, (0..30).map(|slot| Some((tick * 1000 + noise(slot) % 777) as i64)).collect())
            })
            .collect();
        let size = |per_batch| check(&rows, per_batch).concat().len();
        let (one, many) = (size(1), size(100));
        assert!(one < many + 300 * 2, "{one} {many}");
    }

    #[test]
    fn what_follows_from_another_slot_and_what_never_changes_cost_nothing() {
        let mut random = random(3);
        let mut counter = 0;
        let rows: Vec<Row> = (0..200)
            .map(|tick| {
                counter += random(1 << 20) as i64;
                (tick * 10_000, vec![Some(counter), Some(7), Some(3 * counter + 5), Some(-counter), Some(12)])
            })
            .collect();
        let batches = check(&rows, 1);
        let late: usize = batches[100..].iter().map(Vec::len).sum();
        // Twenty bits of noise a tick, and the end of a batch.
        assert!(late <= 100 * 5, "{late}");
    }

    #[test]
    fn a_run_that_is_opened_again_knows_its_relations_and_nothing_else() {
        let rows = rows(5, 120);
        let slots_max = 40;
        let mut encoder = Encoder::new(slots_max);
        for _ in 0..3 {
            encoder.open_run();
            let (mut decoder, mut bytes) = (Decoder::new(slots_max), Vec::new());
            rows.iter().for_each(|(at_ms, values)| encoder.encode(*at_ms, values, &mut bytes));
            encoder.close_batch(&mut bytes);
            assert_eq!(read(&mut decoder, &bytes, slots_max).unwrap(), rows);
        }
    }

    #[test]
    fn bytes_of_no_encoder_end_in_an_error_or_in_ticks_never_in_a_panic() {
        let mut random = random(1);
        for _ in 0..3_000 {
            let bytes: Vec<u8> = (0..random(200)).map(|_| random(256) as u8).collect();
            let _ = read(&mut Decoder::new(32), &bytes, 32);
        }
        let sound = check(&rows(9, 30), 30).concat();
        for _ in 0..3_000 {
            let mut bytes = sound.clone();
            let at = random(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random(8);
            let _ = read(&mut Decoder::new(40), &bytes, 40);
        }
    }

    #[test]
    fn a_batch_with_bytes_behind_its_end_is_refused() {
        let bytes = check(&rows(4, 30), 30).concat();
        let longer = [&bytes[..], &[0; 9]].concat();
        assert_eq!(read(&mut Decoder::new(40), &longer, 40), Err(DecodeError::Malformed));
        assert!(read(&mut Decoder::new(40), &[], 40).is_err());
    }

    #[test]
    fn a_tick_with_too_many_slots_says_how_many() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(9);
        encoder.encode(0, &[None; 9], &mut bytes);
        encoder.close_batch(&mut bytes);
        let error = Decoder::new(8).batch(&bytes).next(&mut [None; 8]);
        assert_eq!(error, Err(DecodeError::Slots { count: 9, max: 8 }));
    }
}
