//! How seldom a value was near this one: a histogram over the range that was seen, and the logarithm of a share.
//!
//! A series that only ever was idle or busy is caught half way between by nothing else, and one that was at its bottom once
//! a day by nothing else when it stays there. Each value is split between the two nearest places, so that it does not matter
//! on which side of a border it fell: with borders the score in the development data depended on their number.

/// Places in the range, the first at its bottom and the last at its top; 10 to 32 find as much.
const PLACES: usize = 16;

/// Values that are remembered; then half of them is forgotten.
const MEMORY: f32 = 8192.0;

/// How far around its first value the range begins, as a share of it: what changes by less than a fiftieth stays near it.
const LEAST_REACH: f32 = 0.15;

/// Which values were seen how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rarity {
    low: f32,
    high: f32,
    total: f32,
    places: [f32; PLACES],
}

impl Rarity {
    /// Nothing seen but that the range is around this value.
    pub fn around(value: f32) -> Rarity {
        let reach = value.abs() * LEAST_REACH + f32::MIN_POSITIVE;
        Rarity { low: value - reach, high: value + reach, total: 0.0, places: [0.0; PLACES] }
    }

    /// Counts a value. Returns how rare its like has been: the logarithm of how many values there were to one such.
    pub fn admit(&mut self, value: f32) -> f32 {
        if value < self.low || value > self.high {
            self.widen(value);
        }
        let (place, way) = self.place(value);
        let seen = self.places[place] * (1.0 - way) + self.places[place + 1] * way;
        let rarity = libm::logf((self.total + PLACES as f32) / (seen + 1.0));
        self.places[place] += 1.0 - way;
        self.places[place + 1] += way;
        self.total += 1.0;
        if self.total >= MEMORY {
            self.total /= 2.0;
            self.places.iter_mut().for_each(|seen| *seen /= 2.0);
        }
        rarity
    }

    /// The place at or below a value in the range, never the last, and how far it is on its way to the next.
    fn place(&self, value: f32) -> (usize, f32) {
        let along = (value - self.low) / (self.high - self.low) * (PLACES - 1) as f32;
        let place = (along as usize).min(PLACES - 2);
        (place, (along - place as f32).clamp(0.0, 1.0))
    }

    fn widen(&mut self, value: f32) {
        let old = *self;
        self.low = old.low.min(value);
        self.high = old.high.max(value);
        self.places = [0.0; PLACES];
        for (index, seen) in old.places.iter().enumerate() {
            let middle = old.low + (old.high - old.low) * (index as f32 / (PLACES - 1) as f32);
            let (place, way) = self.place(middle);
            self.places[place] += seen * (1.0 - way);
            self.places[place + 1] += seen * way;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_way_between_two_habits_is_rare() {
        let mut rarity = Rarity::around(10.0);
        for step in 0..1000 {
            rarity.admit(if step / 10 % 2 == 0 { 10.0 } else { 90.0 });
        }
        assert!(rarity.clone().admit(10.0) < 1.5);
        assert!(rarity.admit(50.0) > 6.0);
    }

    #[test]
    fn a_wider_range_forgets_nothing() {
        let mut rarity = Rarity::around(1.0);
        for step in 0..100 {
            rarity.admit(step as f32);
        }
        let seen: f32 = rarity.places.iter().sum();
        assert!((seen - 100.0).abs() < 1e-3, "{seen}");
        assert_eq!(rarity.total, 100.0);
    }

    #[test]
    fn a_hair_beside_a_constant_is_not_rare() {
        let mut rarity = Rarity::around(1e9);
        for _ in 0..1000 {
            rarity.admit(1e9);
        }
        assert!(rarity.admit(1e9 + 64.0) < 1.0);
    }
}
