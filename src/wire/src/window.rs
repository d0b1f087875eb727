//! Windows: what a series did in a minute, in five, in an hour, in a day.

mod payload;

use crate::stream::Resolution;
use crate::time::Span;

pub use payload::{WindowReader, WindowWriter};

/// What a window of each resolution spans, shortest first.
pub const SPANS: [(Resolution, Span); 4] = [
    (Resolution::Minute, Span::minutes(1)),
    (Resolution::FiveMinutes, Span::minutes(5)),
    (Resolution::Hour, Span::minutes(60)),
    (Resolution::Day, Span::minutes(24 * 60)),
];

/// What one series did in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Ticks in which it had a value; with none of them nothing else holds.
    pub count: u32,
    /// Its last value.
    pub last: i64,
    /// A counter's growth from the last value before the window to the last one in it, resets taken into account.
    pub increase: u64,
    /// A gauge's lowest value.
    pub min: i64,
    /// A gauge's highest value.
    pub max: i64,
    /// A gauge's sum, modulo 2^64: see [`Window::sum`].
    pub sum_bits: u64,
}

impl Window {
    /// Takes a counter's next value in; `before` is the one before it, if one is known.
    ///
    /// One that fell was reset, and has grown from zero since.
    pub fn count_up(&mut self, before: Option<i64>, value: i64) {
        let grown = match before {
            Some(before) if value >= before => value.wrapping_sub(before),
            Some(_) => value,
            None => 0,
        };
        self.count += 1;
        self.last = value;
        self.increase = self.increase.wrapping_add(grown as u64);
    }

    /// Takes a gauge's next value in.
    pub fn gauge(&mut self, value: i64) {
        let window = Window { count: 1, last: value, min: value, max: value, sum_bits: value as u64, increase: 0 };
        self.append(&window);
    }

    /// Takes a later window in: what comes out is the window of both spans.
    pub fn append(&mut self, later: &Window) {
        if later.count == 0 {
            return;
        }
        let is_first = self.count == 0;
        *self = Window {
            count: self.count.saturating_add(later.count),
            last: later.last,
            increase: self.increase.wrapping_add(later.increase),
            min: if is_first { later.min } else { self.min.min(later.min) },
            max: if is_first { later.max } else { self.max.max(later.max) },
            sum_bits: self.sum_bits.wrapping_add(later.sum_bits),
        };
    }

    /// A gauge's sum: the one number between `count * min` and `count * max` with these bits. Exact as long as those are less
    /// than 2^64 apart.
    pub fn sum(&self) -> i128 {
        let least = i128::from(self.min) * i128::from(self.count);
        least + i128::from(self.sum_bits.wrapping_sub(least as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(values: &[i64]) -> Window {
        let mut window = Window::default();
        values.iter().for_each(|value| window.gauge(*value));
        window
    }

    #[test]
    fn a_window_of_windows_is_the_window_of_their_values() {
        let values = [5, -7, i64::MAX / 2, 0, 12];
        for split in 0..=values.len() {
            let (mut front, back) = (gauge(&values[..split]), gauge(&values[split..]));
            front.append(&back);
            assert_eq!(front, gauge(&values));
        }
        let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
        assert_eq!(gauge(&values).sum(), sum);
        assert_eq!(gauge(&[i64::MAX; 2]).sum(), 2 * i128::from(i64::MAX));
        assert_eq!(gauge(&[i64::MIN; 3]).sum(), 3 * i128::from(i64::MIN));

        let mut whole = Window::default();
        let mut parts = [Window::default(); 2];
        let mut before = Some(90);
        for (index, value) in [100, 130, 10, 40].into_iter().enumerate() {
            whole.count_up(before, value);
            parts[index / 2].count_up(before, value);
            before = Some(value);
        }
        let [mut front, back] = parts;
        front.append(&back);
        assert_eq!((front, whole.increase), (whole, 10 + 30 + 10 + 30));
    }
}
