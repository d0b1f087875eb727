//! A binary range coder: one symbol at a time is folded into an interval, and what is certain of its position is written.
//!
//! The carry-propagating coder of LZMA (I. Pavlov, 7-Zip; after G. N. N. Martin, "Range encoding", 1979), without its first
//! byte, which is always zero, and with zeros at the end left out: the reader takes zeros for what is missing.

use alloc::vec::Vec;

/// Bits of a probability.
pub(crate) const PROBABILITY_BITS: u32 = 12;

/// Bytes at the end that may be left out, and so bytes past the end that a sound reader may ask for.
const SLACK_BYTES: usize = 8;

const TOP: u32 = 1 << 24;

/// One half of a coder. The model is the same code for both: what it hands in is written and comes back, or is ignored
/// and read.
pub(crate) trait Coder {
    /// One decision; `one` of 4096 is the probability of `true`, neither 0 nor 4096.
    fn bit(&mut self, one: u32, bit: bool) -> bool;

    /// The lowest `count` bits of a number of which nothing is known.
    fn raw(&mut self, value: u64, count: u32) -> u64;
}

/// The writer's state between two symbols.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    low: u64,
    range: u32,
    /// The last byte that a carry can still change, and how many 0xff follow it.
    held: Option<u8>,
    full_count: usize,
    written: usize,
}

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer { low: 0, range: u32::MAX, held: None, full_count: 0, written: 0 }
    }

    pub(crate) fn on<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Writing<'a> {
        Writing { writer: self, out }
    }

    fn shift(&mut self, out: &mut Vec<u8>) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            if let Some(byte) = self.held {
                out.push(byte.wrapping_add(carry));
                self.written += 1;
            }
            for _ in 0..self.full_count {
                out.push(0xff_u8.wrapping_add(carry));
                self.written += 1;
            }
            self.full_count = 0;
            self.held = Some((self.low >> 24) as u8);
        } else {
            self.full_count += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalize(&mut self, out: &mut Vec<u8>) {
        while self.range < TOP {
            self.range <<= 8;
            self.shift(out);
        }
    }

    /// Writes what tells this interval from all others, in as few bytes as that takes. The writer starts anew.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let end = self.low + u64::from(self.range);
        let short = [24u32, 16, 8].into_iter().map(|zeros| (self.low + (1 << zeros) - 1) >> zeros << zeros);
        self.low = short.into_iter().find(|low| *low < end).unwrap_or(self.low);
        let before = self.written;
        for _ in 0..5 {
            self.shift(out);
        }
        let spare = (self.written - before).min(SLACK_BYTES - 4);
        let zeros = out.iter().rev().take(spare).take_while(|byte| **byte == 0).count();
        out.truncate(out.len() - zeros);
        *self = Writer::new();
    }
}

/// A writer with the bytes that it appends to.
pub(crate) struct Writing<'a> {
    writer: &'a mut Writer,
    out: &'a mut Vec<u8>,
}

impl Coder for Writing<'_> {
    fn bit(&mut self, one: u32, bit: bool) -> bool {
        let bound = (self.writer.range >> PROBABILITY_BITS) * one;
        if bit {
            self.writer.range = bound;
        } else {
            self.writer.low += u64::from(bound);
            self.writer.range -= bound;
        }
        self.writer.normalize(self.out);
        bit
    }

    fn raw(&mut self, value: u64, count: u32) -> u64 {
        let mut left = count;
        while left > 0 {
            let bits = left.min(16);
            left -= bits;
            self.writer.range >>= bits;
            let part = value >> left & ((1 << bits) - 1);
            self.writer.low += part * u64::from(self.writer.range);
            self.writer.normalize(self.out);
        }
        value
    }
}

/// The reader of one writer's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    range: u32,
    code: u32,
    missing: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        let mut reader = Reader { bytes, range: u32::MAX, code: 0, missing: 0 };
        for _ in 0..4 {
            reader.take();
        }
        reader
    }

    /// Whether more was asked for than any writer leaves out.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.missing > SLACK_BYTES
    }

    /// Whether there are bytes that nobody asked for: at the end of what a writer wrote there are none.
    pub(crate) fn has_rest(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn take(&mut self) {
        let byte = match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => {
                self.missing += 1;
                0
            }
        };
        self.code = self.code << 8 | u32::from(byte);
    }

    fn normalize(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.take();
        }
    }
}

impl Coder for Reader<'_> {
    fn bit(&mut self, one: u32, _: bool) -> bool {
        let bound = (self.range >> PROBABILITY_BITS) * one;
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        self.normalize();
        bit
    }

    fn raw(&mut self, _: u64, count: u32) -> u64 {
        let (mut value, mut left) = (0, count);
        while left > 0 {
            let bits = left.min(16);
            left -= bits;
            self.range >>= bits;
            // Bytes that no writer wrote can point past the last part.
            let part = (self.code / self.range).min((1 << bits) - 1);
            self.code -= part * self.range;
            value = value << bits | u64::from(part);
            self.normalize();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols of one sequence: probability and bit, or a raw number and its width.
    fn symbols(seed: u64, count: usize) -> Vec<Result<(u32, bool), (u64, u32)>> {
        let mut state = seed;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let one = |random: &mut dyn FnMut() -> u64| match random() % 4 {
            0 => 1,
            1 => 4095,
            _ => 1 + (random() % 4095) as u32,
        };
        (0..count)
            .map(|_| {
                if random() % 5 == 0 {
                    let width = (random() % 65) as u32;
                    let value = random() << 40 ^ random() << 20 ^ random();
                    Err((if width == 64 { value } else { value & ((1 << width) - 1) }, width))
                } else {
                    let one = one(&mut random);
                    Ok((one, random() % 4096 < u64::from(one)))
                }
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_read_and_a_prefix_of_other_bytes_stays() {
        for seed in 0..400 {
            let (symbols, mut writer, mut bytes) = (symbols(seed, seed as usize), Writer::new(), [0, 0].to_vec());
            for symbol in &symbols {
                match symbol {
                    Ok((one, bit)) => drop(writer.on(&mut bytes).bit(*one, *bit)),
                    Err((value, width)) => drop(writer.on(&mut bytes).raw(*value, *width)),
                }
            }
            writer.finish(&mut bytes);
            assert_eq!(bytes[..2], [0, 0]);
            let mut reader = Reader::new(&bytes[2..]);
            for symbol in &symbols {
                match symbol {
                    Ok((one, bit)) => assert_eq!(reader.bit(*one, false), *bit, "seed {seed}"),
                    Err((value, width)) => assert_eq!(reader.raw(0, *width), *value, "seed {seed}"),
                }
            }
            assert!(!reader.is_exhausted(), "seed {seed}");
        }
    }

    #[test]
    fn a_likely_bit_costs_next_to_nothing_and_an_end_a_byte_or_two() {
        let (mut writer, mut bytes) = (Writer::new(), Vec::new());
        for _ in 0..1000 {
            writer.on(&mut bytes).bit(4095, true);
        }
        writer.finish(&mut bytes);
        assert!(bytes.len() <= 2, "{}", bytes.len());
    }
}
