//! Adaptive probabilities of one decision, and three of them mixed.
//!
//! Mixing in the logistic domain with weights that learn is M. Mahoney's (PAQ, lpaq): each context says how sure it is, and
//! the weights learn which of them to believe. All in integers, so that both ends agree on every machine.

use crate::range::{Coder, PROBABILITY_BITS};

const ONE: i32 = 1 << PROBABILITY_BITS;

/// How far a probability moves, in 1/65536 of the way, by how often it was used: 1 / (count + 1.6), as a mean would, then in longer
/// steps to the 1/32 of a moving one.
const RATES: [i32; 16] = [
    40_960, 25_206, 18_204, 14_246, 11_702, 9_929, 8_623, 7_620, 6_826, 6_182, 4_681, 3_972, 3_344, 2_839, 2_413, 2_048,
];

/// The probability of a decision: 12 bits of it, less one half, over 4 bits of how often it was used. Zero knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bit(u16);

impl Bit {
    /// Of 4096, between 1 and 4095.
    fn one(self) -> i32 {
        i32::from((self.0 >> 4) ^ 0x800).clamp(1, ONE - 1)
    }

    fn learn(&mut self, bit: bool) {
        let (one, count) = (i32::from((self.0 >> 4) ^ 0x800), self.0 & 15);
        let target = if bit { ONE - 1 } else { 0 };
        // Rounds away from where it is, so that it gets to the end.
        let step = (target - one) * RATES[usize::from(count)];
        let one = one + if step > 0 { (step + 0xffff) >> 16 } else { step >> 16 };
        self.0 = (one as u16 ^ 0x800) << 4 | (count + 1).min(15);
    }

    /// Codes one decision.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let bit = coder.bit(self.one() as u32, bit);
        self.learn(bit);
        bit
    }
}

/// How many contexts are mixed.
pub(crate) const CONTEXT_COUNT: usize = 3;

/// Weights of contexts, in 1/65536; zero stands for 0.41, so that one that was never used is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixer([i32; CONTEXT_COUNT]);

const WEIGHT: i32 = 27_000;
const WEIGHT_MAX: i32 = 4 << 16;
/// How fast weights learn, in 1/16384 of error times certainty.
const LEARNING: i32 = 6;

impl Mixer {
    /// Codes one decision in all its contexts.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, contexts: [&mut Bit; CONTEXT_COUNT], bit: bool) -> bool {
        let stretched = contexts.each_ref().map(|context| stretch(context.one()));
        let parts = stretched.iter().zip(&self.0);
        let dot: i64 = parts.map(|(stretched, weight)| i64::from(*stretched) * i64::from(weight + WEIGHT)).sum();
        let one = squash((dot >> 16) as i32);
        let bit = coder.bit(one as u32, bit);
        let error = if bit { ONE - one } else { -one };
        for (weight, stretched) in self.0.iter_mut().zip(stretched) {
            let step = (stretched * error * LEARNING + 0x2000) >> 14;
            *weight = (*weight + step).clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
        contexts.into_iter().for_each(|context| context.learn(bit));
        bit
    }
}

/// 4096 / (1 + e^-x) for x in 1/256, at every 128th.
const LOGISTIC: [i32; 33] = [
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
    3975, 4024, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
];

const STRETCH_MAX: i32 = 2047;

const fn squash(x: i32) -> i32 {
    if x >= STRETCH_MAX {
        return ONE - 1;
    }
    if x <= -STRETCH_MAX {
        return 1;
    }
    let (index, part) = (((x >> 7) + 16) as usize, x & 127);
    (LOGISTIC[index] * (128 - part) + LOGISTIC[index + 1] * part + 64) >> 7
}

/// The smallest x of which [`squash`] is at least the index.
static STRETCH: [i16; ONE as usize] = {
    let mut table = [STRETCH_MAX as i16; ONE as usize];
    let (mut one, mut x) = (0, -STRETCH_MAX);
    while x <= STRETCH_MAX {
        let reached = squash(x);
        while one <= reached as usize {
            table[one] = x as i16;
            one += 1;
        }
        x += 1;
    }
    table
};

fn stretch(one: i32) -> i32 {
    STRETCH[one as usize].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cost(f64);

    impl Coder for Cost {
        fn bit(&mut self, one: u32, bit: bool) -> bool {
            assert!((1..4096).contains(&one));
            let one = f64::from(one) / 4096.0;
            self.0 -= if bit { one } else { 1.0 - one }.log2();
            bit
        }
        fn raw(&mut self, value: u64, _: u32) -> u64 {
            value
        }
    }

    #[test]
    fn stretch_and_squash_are_each_others_inverse() {
        for one in 1..ONE {
            assert!((squash(stretch(one)) - one).abs() <= 3, "{one}");
        }
    }

    #[test]
    fn a_bit_that_is_always_the_same_becomes_free_and_a_fair_one_stays_dear() {
        for same in [true, false] {
            let (mut cost, mut bit) = (Cost(0.0), Bit::default());
            for _ in 0..200 {
                bit.code(&mut cost, same);
            }
            assert!(cost.0 < 6.0, "{}", cost.0);
        }
        let (mut cost, mut bit) = (Cost(0.0), Bit::default());
        for index in 0..1000u32 {
            bit.code(&mut cost, index.wrapping_mul(2_654_435_761) >> 31 == 1);
        }
        assert!((990.0..1100.0).contains(&cost.0), "{}", cost.0);
    }

    #[test]
    fn the_best_of_the_contexts_is_believed() {
        let (mut cost, mut mixer, mut shared) = (Cost(0.0), Mixer::default(), [Bit::default(); 2]);
        let mut own = [Bit::default(); 2];
        for index in 0..2000 {
            let [one, other] = &mut shared;
            mixer.code(&mut cost, [&mut own[index % 2], one, other], index % 2 == 0);
        }
        assert!(cost.0 < 60.0, "{}", cost.0);
    }
}
