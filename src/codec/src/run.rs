//! Tick-major runs, version 0: per slot the best of "as before", delta, and delta of deltas.
//!
//! ```text
//! tick    :=  interval  count  modes  residuals
//! interval    zigzag varint   milliseconds since the last tick, less the interval before that
//! count       varint          slots in this tick; a slot at or past it is absent
//! modes       2 bits a slot   four to a byte, lowest bits first, ceil(count / 4) bytes
//! residuals   zigzag varint   one for each slot whose mode is Delta or Trend, in slot order
//! ```
//!
//! | mode | bits | value |
//! |---|---|---|
//! | Same | 0 | the slot's last value |
//! | Delta | 1 | last value + residual |
//! | Trend | 2 | last value + last delta + residual |
//! | Absent | 3 | none in this tick; the slot's state stays |
//!
//! Arithmetic wraps, so every `i64` comes back, whatever the counter did. The state is two integers a
//! slot. An adaptive entropy coder takes this file's place later; the shape of its door stays.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::varint::{self, VarintError};

/// Bytes that one tick of `slots` slots takes at the most.
pub const fn tick_bytes_max(slots: usize) -> usize {
    2 * varint::BYTES_MAX + slots.div_ceil(4) + slots * varint::BYTES_MAX
}

/// Why a tick could not be decoded. The run is then lost from this tick on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes ended inside a tick.
    Truncated,
    /// An integer has no accepted form.
    Malformed,
    /// The tick names more slots than this decoder was made for.
    Slots {
        /// Slots that the tick names.
        count: u64,
        /// Slots that the decoder holds.
        max: usize,
    },
}

impl From<VarintError> for DecodeError {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Truncated => DecodeError::Truncated,
            VarintError::Malformed => DecodeError::Malformed,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("tick is cut short"),
            DecodeError::Malformed => f.write_str("tick holds a malformed integer"),
            DecodeError::Slots { count, max } => write!(f, "tick of {count} slots exceeds {max}"),
        }
    }
}

/// What both ends remember inside a run.
#[derive(Clone, Debug)]
struct Model {
    at_ms: u64,
    interval_ms: u64,
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    last: i64,
    delta: i64,
}

impl Slot {
    fn learn(&mut self, value: i64) {
        self.delta = value.wrapping_sub(self.last);
        self.last = value;
    }
}

impl Model {
    fn new(slots_max: usize) -> Model {
        Model { at_ms: 0, interval_ms: 0, slots: vec![Slot::default(); slots_max].into_boxed_slice() }
    }

    fn forget(&mut self) {
        self.at_ms = 0;
        self.interval_ms = 0;
        self.slots.fill(Slot::default());
    }

    fn learn_time(&mut self, at_ms: u64) {
        self.interval_ms = at_ms.wrapping_sub(self.at_ms);
        self.at_ms = at_ms;
    }
}

const SAME: u8 = 0;
const DELTA: u8 = 1;
const TREND: u8 = 2;
const ABSENT: u8 = 3;

/// Turns ticks into bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    model: Model,
}

impl Encoder {
    /// An encoder at the start of a run, for at most `slots_max` slots. Allocates here and never again.
    pub fn new(slots_max: usize) -> Encoder {
        Encoder { model: Model::new(slots_max) }
    }

    /// Starts a run: the next tick is a keyframe.
    pub fn open_run(&mut self) {
        self.model.forget();
    }

    /// Appends one tick to `out`. `values[slot]` is the slot's value, or `None` when it has none now.
    ///
    /// `out` grows by at most [`tick_bytes_max`] of `values.len()`.
    ///
    /// Panics: when `values` is longer than the encoder was made for.
    pub fn encode(&mut self, at_ms: u64, values: &[Option<i64>], out: &mut Vec<u8>) {
        assert!(values.len() <= self.model.slots.len(), "more slots than the encoder was made for");
        let interval_ms = at_ms.wrapping_sub(self.model.at_ms);
        varint::put_signed(out, interval_ms.wrapping_sub(self.model.interval_ms) as i64);
        self.model.learn_time(at_ms);

        varint::put(out, values.len() as u64);
        let modes_at = out.len();
        out.resize(modes_at + values.len().div_ceil(4), 0);
        for (index, value) in values.iter().enumerate() {
            let slot = &mut self.model.slots[index];
            let mode = match *value {
                None => ABSENT,
                Some(value) => {
                    let delta = value.wrapping_sub(slot.last);
                    let trend = delta.wrapping_sub(slot.delta);
                    slot.learn(value);
                    if delta == 0 {
                        SAME
                    } else if varint::signed_bytes(delta) <= varint::signed_bytes(trend) {
                        varint::put_signed(out, delta);
                        DELTA
                    } else {
                        varint::put_signed(out, trend);
                        TREND
                    }
                }
            };
            out[modes_at + index / 4] |= mode << (2 * (index % 4));
        }
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

    /// Starts a run: the next tick must be a keyframe.
    pub fn open_run(&mut self) {
        self.model.forget();
    }

    /// Takes one tick off the front of `input` and writes its values to `values[..tick.count]`.
    ///
    /// Work is bounded by the number of slots, whatever the bytes say. After an error the decoder's
    /// state means nothing until the next [`Decoder::open_run`].
    ///
    /// Panics: when `values` is shorter than the decoder was made for.
    pub fn decode(&mut self, input: &mut &[u8], values: &mut [Option<i64>]) -> Result<Tick, DecodeError> {
        assert!(values.len() >= self.model.slots.len(), "fewer values than the decoder was made for");
        let change = varint::take_signed(input)?;
        let interval_ms = self.model.interval_ms.wrapping_add(change as u64);
        self.model.learn_time(self.model.at_ms.wrapping_add(interval_ms));

        let count = varint::take(input)?;
        let max = self.model.slots.len();
        if count > max as u64 {
            return Err(DecodeError::Slots { count, max });
        }
        let count = count as usize;
        let modes_bytes = count.div_ceil(4);
        if input.len() < modes_bytes {
            return Err(DecodeError::Truncated);
        }
        let (modes, mut residuals) = input.split_at(modes_bytes);
        for index in 0..count {
            let slot = &mut self.model.slots[index];
            let value = match (modes[index / 4] >> (2 * (index % 4))) & 3 {
                SAME => Some(slot.last),
                DELTA => Some(slot.last.wrapping_add(varint::take_signed(&mut residuals)?)),
                TREND => {
                    let trend = varint::take_signed(&mut residuals)?;
                    Some(slot.last.wrapping_add(slot.delta).wrapping_add(trend))
                }
                _ => None,
            };
            if let Some(value) = value {
                slot.learn(value);
            }
            values[index] = value;
        }
        *input = residuals;
        Ok(Tick { at_ms: self.model.at_ms, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ticks: &[(u64, &[Option<i64>])]) -> usize {
        let slots_max = ticks.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let mut encoder = Encoder::new(slots_max);
        let mut bytes = Vec::new();
        for (at_ms, values) in ticks {
            let before = bytes.len();
            encoder.encode(*at_ms, values, &mut bytes);
            assert!(bytes.len() - before <= tick_bytes_max(values.len()));
        }
        let mut decoder = Decoder::new(slots_max);
        let mut decoded = vec![None; slots_max];
        let mut input = &bytes[..];
        for (at_ms, values) in ticks {
            let tick = decoder.decode(&mut input, &mut decoded).unwrap();
            assert_eq!(tick, Tick { at_ms: *at_ms, count: values.len() });
            assert_eq!(&decoded[..tick.count], *values);
        }
        assert!(input.is_empty());
        bytes.len()
    }

    #[test]
    fn values_come_back_over_wraps_resets_and_gaps() {
        check(&[
            (10_000, &[Some(i64::MAX), Some(0), None]),
            (20_000, &[Some(i64::MIN), None, Some(7), Some(-1)]),
            (19_000, &[Some(0), Some(5), Some(7)]),
            (u64::MAX, &[None, None]),
            (0, &[Some(i64::MIN), Some(i64::MAX), Some(0), Some(0), Some(0)]),
        ]);
    }

    #[test]
    fn a_steady_counter_costs_a_byte_and_an_unchanged_gauge_two_bits() {
        let mut encoder = Encoder::new(4);
        let mut bytes = Vec::new();
        for tick in 0..3 {
            encoder.encode(tick * 10_000, &[Some(7_000 * tick as i64); 4], &mut bytes);
        }
        let before = bytes.len();
        encoder.encode(30_000, &[Some(21_000); 4], &mut bytes);
        assert_eq!(bytes.len() - before, 1 + 1 + 1 + 4);
        let before = bytes.len();
        encoder.encode(40_000, &[Some(21_000); 4], &mut bytes);
        assert_eq!(bytes.len() - before, 1 + 1 + 1);
    }

    #[test]
    fn random_bytes_end_in_an_error_or_a_tick_never_in_a_panic() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..64).map(|_| random()).collect();
            let mut decoder = Decoder::new(32);
            let mut values = [None; 32];
            let mut input = &bytes[..];
            while !input.is_empty() && decoder.decode(&mut input, &mut values).is_ok() {}
        }
    }

    #[test]
    fn a_tick_with_too_many_slots_says_how_many() {
        let mut bytes = Vec::new();
        Encoder::new(9).encode(0, &[None; 9], &mut bytes);
        let error = Decoder::new(8).decode(&mut &bytes[..], &mut [None; 8]);
        assert_eq!(error, Err(DecodeError::Slots { count: 9, max: 8 }));
    }
}
