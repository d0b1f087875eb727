//! Windows: what a series did in a minute, in five, in an hour, in a day.

mod payload;
mod sketches;
mod spread;

use query::counter::growth_over_end;

use crate::stream::{Resolution, Stream};
use crate::time::{Instant, Span};

pub use payload::{WindowReader, WindowWriter};
pub use spread::{Bounds, Spread};

/// What a window of each resolution spans, shortest first.
pub const SPANS: [(Resolution, Span); 4] = [
    (Resolution::Minute, Span::minutes(1)),
    (Resolution::FiveMinutes, Span::minutes(5)),
    (Resolution::Hour, Span::minutes(60)),
    (Resolution::Day, Span::minutes(24 * 60)),
];

/// What the windows of a stream span, if it is one of windows.
pub fn span(stream: Stream) -> Option<Span> {
    let Stream::Series(of, _) = stream else { return None };
    SPANS.into_iter().find(|(resolution, _)| *resolution == of).map(|(_, span)| span)
}

/// Where a window lies, and how much of it its ticks cover: the same for all series of a class.
///
/// A tick covers the time to the next one if that comes when it is due, and else the time until it was due. So a window of which
/// ticks were missed, or that was cut by a boot, a step of the clock or a new list of series, lacks some of its span, and one in which
/// the sampling slowed down lacks none. What a window lacks is what its parts lack, and the parts that are not there.
///
/// A counter's growth is told by two values, so it goes over what is lacking between them; a rate is that growth over the whole span, or
/// over the time between two last values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// When it began.
    pub began: Instant,
    /// Ticks that it holds.
    pub tick_count: u32,
    /// How much of its span its ticks do not cover; on the link in whole seconds, what is left over being taken for covered.
    pub lacking: Span,
}

impl Extent {
    /// How much of a window of this `span` its ticks cover.
    pub fn covered(&self, span: Span) -> Span {
        Span(span.0.saturating_sub(self.lacking.0))
    }

    /// How many ticks it would have if they covered all of `span`: 6, of which there may be 4.
    pub fn due_count(&self, span: Span) -> u32 {
        let covered_ms = self.covered(span).0.max(1);
        let due_count = u64::from(self.tick_count).saturating_mul(span.0).saturating_add(covered_ms / 2) / covered_ms;
        u32::try_from(due_count).unwrap_or(u32::MAX)
    }
}

/// What a counter grows by from tick to tick at the most when it comes to its end: 27 MB a second at a tick every 10 s. One that falls
/// by less than nearly all of its range was reset.
const TICK_GROWTH_MAX: f64 = 268_435_456.0;

/// What one series did in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Ticks in which it had a value; with none of them nothing else holds.
    pub count: u32,
    /// Its last value.
    pub last: i64,
    /// A counter's growth from the last value before the window to the last one in it, over resets and the end of 32 bits. Windows that follow
    /// one another share these values, so a rate over any number of them is exact, and no first value is needed.
    pub increase: u64,
    /// A gauge's lowest value.
    pub min: i64,
    /// A gauge's highest value.
    pub max: i64,
    /// A gauge's sum, modulo 2^64: see [`Window::sum`].
    pub sum_bits: u64,
    /// How far a gauge's values lie from their mean: see [`Window::variance`].
    pub spread: Spread,
}

// There are ten of them for each series: see agent::summary.
const _: () = assert!(size_of::<Window>() <= 72);

impl Window {
    /// Takes a counter's next value in; `before` is the one before it, if one is known.
    ///
    /// One that fell in this boot came to its end and went on, or it was reset and has grown from zero since: see [`query::counter`].
    pub fn count_up(&mut self, before: Option<i64>, value: i64) {
        let over_end = |before: i64| growth_over_end(before as f64, value as f64, 1.0, TICK_GROWTH_MAX);
        let grown = match before {
            Some(before) if value >= before => value.wrapping_sub(before) as u64,
            Some(before) => over_end(before).map_or(value as u64, |grown| grown as u64),
            None => 0,
        };
        self.count += 1;
        self.last = value;
        self.increase = self.increase.wrapping_add(grown);
    }

    /// Takes a gauge's next value in.
    pub fn gauge(&mut self, value: i64) {
        self.append(&Window {
            count: 1,
            last: value,
            increase: 0,
            min: value,
            max: value,
            sum_bits: value as u64,
            spread: Spread::of_value(value),
        });
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
            spread: if is_first { later.spread } else { Spread::of_both(self, later) },
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
    fn how_many_ticks_were_due_follows_from_what_they_cover() {
        let check = |tick_count, lacking_s, expected| {
            let extent = Extent { began: Instant(0), tick_count, lacking: Span::seconds(lacking_s) };
            assert_eq!(extent.due_count(Span::minutes(1)), expected, "{extent:?}");
        };
        check(6, 0, 6);
        check(4, 20, 6);
        // Half a minute of a tick every 10 s, and half a minute of one.
        check(4, 0, 4);
        check(0, 60, 0);
        check(u32::MAX, u64::MAX / 1000, u32::MAX);
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

    #[test]
    fn a_counter_grows_over_its_end_and_from_zero_after_a_reset() {
        let end = 1i64 << 32;
        let check = |values: &[i64], expected: u64| {
            let (mut window, mut before) = (Window::default(), None);
            for value in values {
                window.count_up(before.replace(*value), *value);
            }
            assert_eq!(window.increase, expected, "{values:?}");
        };
        check(&[end - 100, end - 1, 5, 70], 170);
        check(&[(end - 100) * 512, 512], 101 * 512);
        check(&[end - 100, 50, 7, 20], 150 + 7 + 13);
        check(&[end / 2, 50, end - 10, 20], 50 + (end as u64 - 60) + 30);
        // 64 bits that are read as fewer.
        check(&[i64::MAX, i64::MIN], 1 << 63);
    }
}
