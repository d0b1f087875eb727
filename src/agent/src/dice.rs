//! Chance for the tests of this crate: SplitMix64, as in the simulator, which stands a floor above.

/// Equal seeds give equal draws.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// Whether one of `count` equal chances came true.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Up to `count_max` random bytes.
    pub(crate) fn bytes(&mut self, count_max: u64) -> Vec<u8> {
        (0..self.below(count_max + 1)).map(|_| self.bits() as u8).collect()
    }
}
