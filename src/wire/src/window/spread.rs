//! How far the values of a gauge lie from their mean.
//!
//! The gateway keeps the sum of their squares modulo 2^128. So merges are exact, and so is `count * squares - sum^2`, which is the
//! variance times `count^2`, as long as `count * (max - min)` is less than 2^64.
//!
//! On the link squares would cost two fifths of what all the rest does. What goes there is what they add to what is known already: values
//! between `min` and `max` with this mean have a variance of at most `(max - mean) * (mean - min)` (Bhatia and Davis, A Better Bound on
//! the Variance, 2000), and what is said is in which sixteenth of the root of that bound the deviation lies. So a reader has two numbers
//! between which it is, no further apart than a 32nd of `max - min`; of two values, and of values that are all the same, it has the
//! deviation itself.

use super::Window;

/// Parts of the greatest deviation that can be.
const PARTS: u8 = 16;

/// How far values lie from their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// As who saw the values knows it: the sum of their squares modulo 2^128, the lower half first.
    Squares([u64; 2]),
    /// As a reader knows it: within bounds, the sum of the squares of their distances from their mean.
    Within(Bounds),
}

/// What a number is at the least and at the most, up to the rounding of an `f64`. The same, if it is known exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// It is no less.
    pub least: f64,
    /// It is no more.
    pub most: f64,
}

impl Bounds {
    fn map(self, change: impl Fn(f64) -> f64) -> Bounds {
        Bounds { least: change(self.least), most: change(self.most) }
    }
}

impl Default for Spread {
    fn default() -> Spread {
        Spread::of(0)
    }
}

impl Spread {
    fn of(squares: u128) -> Spread {
        Spread::Squares([squares as u64, (squares >> 64) as u64])
    }

    /// That of one value.
    pub(super) fn of_value(value: i64) -> Spread {
        Spread::of(square(value))
    }

    /// That of the values of two windows.
    pub(super) fn of_both(one: &Window, other: &Window) -> Spread {
        if let (Spread::Squares(its), Spread::Squares(others)) = (one.spread, other.spread) {
            return Spread::of(whole(its).wrapping_add(whole(others)));
        }
        let (its, others) = (one.distances(), other.distances());
        // What lies between two means adds to what lies around each (Chan, Golub and LeVeque, 1979).
        let (its_count, others_count) = (f64::from(one.count), f64::from(other.count));
        let apart = (one.sum() * i128::from(other.count) - other.sum() * i128::from(one.count)) as f64;
        let between = apart * apart / (its_count * others_count * (its_count + others_count));
        Spread::Within(Bounds { least: its.least + others.least + between, most: its.most + others.most + between })
    }

    /// That of which a [part](Window::part) is known, of a window with everything else.
    pub(super) fn of_part(part: u8, window: &Window) -> Spread {
        if window.is_settled() {
            return Spread::of(match window.count {
                2 => square(window.min) + square(window.max),
                count => square(window.min).wrapping_mul(count.into()),
            });
        }
        let part = part.min(PARTS - 1);
        Spread::Within(Bounds { least: share(part), most: share(part + 1) }.map(|share| window.greatest() * share))
    }
}

impl Window {
    /// A gauge's variance, the square of the standard deviation of its values.
    pub fn variance(&self) -> Bounds {
        self.distances().map(|distances| distances / f64::from(self.count.max(1)))
    }

    /// The sum of the squares of the values' distances from their mean.
    fn distances(&self) -> Bounds {
        match self.spread {
            Spread::Squares(squares) => {
                let (count, sum) = (self.count.max(1), self.sum() as u128);
                let distances = whole(squares).wrapping_mul(count.into()).wrapping_sub(sum.wrapping_mul(sum));
                let distances = distances as f64 / f64::from(count);
                Bounds { least: distances, most: distances }
            }
            Spread::Within(bounds) => bounds,
        }
    }

    /// What that is at the most, for the minimum, the maximum and the mean that there are.
    fn greatest(&self) -> f64 {
        let (sum, count) = (self.sum(), i128::from(self.count));
        let (below, above) = (sum - count * i128::from(self.min), count * i128::from(self.max) - sum);
        below as f64 * above as f64 / f64::from(self.count.max(1))
    }

    /// Whether the rest says what it is.
    pub(super) fn is_settled(&self) -> bool {
        self.count <= 2 || self.min == self.max
    }

    /// In which part of the greatest deviation its own lies; 0 where that says nothing.
    pub(super) fn part(&self) -> u8 {
        if self.is_settled() {
            return 0;
        }
        let its_share = self.distances().least / self.greatest();
        (1..PARTS).take_while(|part| its_share >= share(*part)).count() as u8
    }
}

/// Of the greatest variance, that of so many parts of its root.
fn share(part: u8) -> f64 {
    let root = f64::from(part) / f64::from(PARTS);
    root * root
}

fn square(value: i64) -> u128 {
    let value = u128::from(value.unsigned_abs());
    value * value
}

fn whole(halves: [u64; 2]) -> u128 {
    u128::from(halves[1]) << 64 | u128::from(halves[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn window(values: &[i64]) -> Window {
        let mut window = Window::default();
        values.iter().for_each(|value| window.gauge(*value));
        window
    }

    /// As a reader has it.
    fn read(window: &Window) -> Window {
        Window { spread: Spread::of_part(window.part(), window), ..*window }
    }

    /// Values of all kinds: even, with few far away, and all but constant.
    fn drawn() -> impl Iterator<Item = Vec<i64>> {
        let mut state = 1u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64
        };
        (0..300).map(move |round| {
            let offset = if round % 2 == 0 { 1 << 61 } else { -7 };
            let value = |_| match (round % 3, next() % 1000) {
                (0, value) => offset + value,
                (1, value) => offset + value.pow(4) / 1_000_000,
                (_, value) => offset + value / 998,
            };
            (0..3 + round % 40).map(value).collect()
        })
    }

    #[test]
    fn the_variance_of_what_was_seen_is_exact() {
        for offset in [0, -3, 1 << 61, i64::MIN] {
            let values = [2, 4, 4, 4, 5, 5, 7, 9].map(|value| value + offset);
            let exactly = Bounds { least: 4.0, most: 4.0 };
            assert_eq!(window(&values).variance(), exactly);
            let (mut front, back) = (window(&values[..3]), window(&values[3..]));
            front.append(&back);
            assert_eq!((front, front.variance()), (window(&values), exactly));
        }
    }

    #[test]
    fn a_reader_has_bounds_that_hold_and_are_near_one_another() {
        for values in drawn() {
            let seen = window(&values);
            let (exact, bounds) = (seen.variance().least, read(&seen).variance());
            assert!(bounds.least <= exact * (1.0 + 1e-9) && exact <= bounds.most * (1.0 + 1e-9), "{values:?}");
            let apart = bounds.most.sqrt() - bounds.least.sqrt();
            assert!(apart <= (seen.max - seen.min) as f64 / 32.0 * (1.0 + 1e-9), "{values:?}");
        }
    }

    #[test]
    fn what_a_reader_merges_is_still_within_its_bounds() {
        let (mut all, mut seen, mut merged) = (Vec::new(), Window::default(), Window::default());
        for values in drawn().filter(|values| values[0] < 1 << 60) {
            let part = window(&values);
            seen.append(&part);
            merged.append(&read(&part));
            all.extend(values);
        }
        assert_eq!(seen, window(&all));
        let (exact, bounds) = (seen.variance().least, merged.variance());
        assert!(bounds.least < exact && exact < bounds.most && bounds.most < bounds.least * 1.2, "{exact} {bounds:?}");
    }

    #[test]
    fn two_values_and_equal_ones_are_known_to_a_reader_too() {
        for values in [&[-5, 9][..], &[4], &[7; 9], &[i64::MIN, i64::MAX], &[i64::MIN; 5]] {
            assert_eq!(read(&window(values)), window(values));
        }
        assert_eq!(window(&[]).variance(), Bounds { least: 0.0, most: 0.0 });
    }
}
