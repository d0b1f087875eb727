//! Samples put on a grid of steps: the value at each step, or the rate up to it.
//!
//! ```text
//! samples      x   x x      x        x
//! grid       |     |     |     |     |     |
//! value      -     x     x     x     x     x      the last sample in (t - lookback, t]
//! rate       -     -     r     r     r     r      over the samples in (t - window, t], two at the least
//! ```
//!
//! Values follow Prometheus. Rates differ from it on purpose: the increase between the first and the last sample of the
//! window is divided by the time between those two, and not stretched to the window's edges. A person can check such a
//! rate with two samples and a division, a counter that went up by 3 is never said to have gone up by 3.27, and a
//! device that was silent for half of the window shows the rate of the half that is known. A value below the one
//! before it is a reset: the counter began again at zero. Unless it was so near to the end of its 32 bits that it came
//! to it at about its pace: then it went on from zero (see [`crate::counter`]).

use alloc::vec::Vec;
use core::fmt;

use crate::counter::growth_over_end;
use crate::series::{Point, Series};

/// Steps of a grid. Prometheus refuses more than 11,000, and so every chart of it is made for less.
pub const STEP_COUNT_MAX: u64 = 11_000;

/// How old a value may be and still stand for a step, when steps are shorter than this. Prometheus' default.
pub const LOOKBACK_MS: u64 = 300_000;

/// What counters count in: themselves, and hundredths, thousandths and millionths of seconds.
const UNITS: [f64; 4] = [1.0, 1e-2, 1e-3, 1e-6];

/// How much faster than in the steps around it a counter may be in the one that takes it over its end.
const BURST: f64 = 8.0;

/// Moments at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    from_ms: u64,
    step_ms: u64,
    count: u64,
}

/// Why there is no such grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridError {
    /// The end is before the start.
    Backwards,
    /// More than [`STEP_COUNT_MAX`] steps.
    Fine {
        /// How many.
        count: u64,
    },
    /// A step of zero.
    Zero,
}

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GridError::Backwards => f.write_str("the end of the span is before its start"),
            GridError::Fine { count } => {
                write!(f, "{count} steps exceed {STEP_COUNT_MAX}: choose a longer step or a shorter span")
            }
            GridError::Zero => f.write_str("a step must be longer than 0"),
        }
    }
}

impl Grid {
    /// The moments from `from_ms` on, every `step_ms`, none after `to_ms`.
    pub fn new(from_ms: u64, to_ms: u64, step_ms: u64) -> Result<Grid, GridError> {
        if step_ms == 0 {
            return Err(GridError::Zero);
        }
        let count = to_ms.checked_sub(from_ms).ok_or(GridError::Backwards)? / step_ms;
        let count = count.saturating_add(1);
        if count > STEP_COUNT_MAX {
            return Err(GridError::Fine { count });
        }
        Ok(Grid { from_ms, step_ms, count })
    }

    /// The step that people would choose to see a span in at most `count` values: 1, 2, 5, 10, 15 or 30 seconds or
    /// minutes, and so on up to days.
    pub fn step_for(span_ms: u64, count: u64) -> u64 {
        const STEPS_S: [u64; 18] =
            [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];
        let least_ms = span_ms / count.max(1);
        let step_s = STEPS_S.into_iter().find(|step_s| step_s * 1000 >= least_ms);
        step_s.map_or_else(|| least_ms.div_ceil(86_400_000).saturating_mul(86_400_000), |step_s| step_s * 1000)
    }

    /// The moments, oldest first.
    pub fn times(&self) -> impl ExactSizeIterator<Item = u64> + use<> {
        let Grid { from_ms, step_ms, count } = *self;
        (0..count as usize).map(move |index| from_ms + index as u64 * step_ms)
    }

    /// How far before its first moment samples matter: to values, or to rates over a window.
    pub fn reach_ms(&self, rate_window_ms: Option<u64>) -> u64 {
        rate_window_ms.unwrap_or_else(|| self.step_ms.max(LOOKBACK_MS))
    }
}

/// Puts whole series on a grid: their values, or their rates when there is a window. Of several series with one name
/// and the same labels one is made, and series without a value on the grid are left out.
pub fn align(mut series: Vec<Series>, grid: &Grid, rate_window_ms: Option<u64>) -> Vec<Series> {
    // A metric whose scale changed when an agent was upgraded is one series to the reader.
    series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    series.dedup_by(|next, kept| {
        let is_same = next.name == kept.name && next.labels == kept.labels;
        if is_same {
            kept.points.append(&mut next.points);
            kept.points.sort_by_key(|point| point.at_ms);
        }
        is_same
    });
    for one in &mut series {
        one.points = match rate_window_ms {
            Some(window_ms) => rate(&one.points, grid, window_ms),
            None => values(&one.points, grid),
        };
    }
    series.retain(|one| !one.points.is_empty());
    series
}

/// The value at each moment of the grid that has one. `points` are oldest first.
pub fn values(points: &[Point], grid: &Grid) -> Vec<Point> {
    let lookback_ms = grid.reach_ms(None);
    let mut next = 0;
    let mut found = Vec::new();
    for at_ms in grid.times() {
        next += points[next..].iter().take_while(|point| point.at_ms <= at_ms).count();
        let last = points[..next].last().filter(|point| at_ms - point.at_ms < lookback_ms);
        found.extend(last.map(|point| Point { at_ms, value: point.value }));
    }
    found
}

/// The change per second of a counter, over the window before each moment of the grid that holds two samples or more.
/// `points` are oldest first; of two at one moment the first counts.
pub fn rate(points: &[Point], grid: &Grid, window_ms: u64) -> Vec<Point> {
    let mut found = Vec::new();
    let (mut first, mut end) = (0, 0);
    // What the counter had gained up to each point since the first one, resets taken in.
    let mut gained = Vec::with_capacity(points.len());
    let mut total = 0.0;
    for index in 0..points.len() {
        total += growth(points, index);
        gained.push(total);
    }
    for at_ms in grid.times() {
        while end < points.len() && points[end].at_ms <= at_ms {
            end += 1;
        }
        while first < end && at_ms - points[first].at_ms >= window_ms {
            first += 1;
        }
        let Some(last) = end.checked_sub(1).filter(|last| *last > first) else { continue };
        let span_ms = points[last].at_ms - points[first].at_ms;
        if span_ms > 0 {
            let value = (gained[last] - gained[first]) / (span_ms as f64 / 1000.0);
            found.push(Point { at_ms, value });
        }
    }
    found
}

/// What a counter grew by to one of its points from the one before.
fn growth(points: &[Point], index: usize) -> f64 {
    let step = |index: usize| Some((points.get(index.checked_sub(1)?)?, points.get(index)?));
    let Some((before, point)) = step(index) else { return 0.0 };
    if point.value >= before.value {
        return point.value - before.value;
    }
    // Whether the machine was booted in between is not known, but how fast the counter is, before or behind.
    let pace = |(from, to): (&Point, &Point)| (to.value - from.value) / (to.at_ms - from.at_ms).max(1) as f64;
    let paces = [index.checked_sub(1), index.checked_add(1)].map(|index| index.and_then(step).map_or(0.0, pace));
    let most = BURST * paces[0].max(paces[1]) * (point.at_ms - before.at_ms) as f64;
    let over_end = |unit: f64| growth_over_end(before.value, point.value, unit, most);
    UNITS.into_iter().find_map(over_end).unwrap_or(point.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn points(list: &[(u64, f64)]) -> Vec<Point> {
        list.iter().map(|(at_s, value)| Point { at_ms: at_s * 1000, value: *value }).collect()
    }

    fn grid(from_s: u64, to_s: u64, step_s: u64) -> Grid {
        Grid::new(from_s * 1000, to_s * 1000, step_s * 1000).unwrap()
    }

    #[test]
    fn a_step_has_the_last_value_that_is_not_too_old() {
        let samples = points(&[(10, 1.0), (20, 2.0), (25, 3.0), (700, 4.0)]);
        let values = values(&samples, &grid(0, 720, 60));
        let expected = [(60, 3.0), (120, 3.0), (180, 3.0), (240, 3.0), (300, 3.0), (720, 4.0)];
        assert_eq!(values, points(&expected));
    }

    #[test]
    fn the_moment_itself_counts_and_the_edge_of_the_lookback_does_not() {
        let samples = points(&[(100, 1.0)]);
        assert_eq!(values(&samples, &grid(100, 100, 1)).len(), 1);
        assert_eq!(values(&samples, &grid(399, 399, 1)).len(), 1);
        assert_eq!(values(&samples, &grid(400, 400, 1)).len(), 0);
        assert_eq!(values(&samples, &grid(400, 1000, 600)).len(), 1);
    }

    #[test]
    fn a_rate_is_the_increase_over_the_time_it_took() {
        let samples = points(&[(0, 0.0), (10, 30.0), (20, 60.0), (30, 90.0)]);
        let check = |window_s: u64, expected: &[(u64, f64)]| {
            assert_eq!(rate(&samples, &grid(0, 60, 20), window_s * 1000), points(expected));
        };
        check(30, &[(20, 3.0), (40, 3.0)]);
        check(300, &[(20, 3.0), (40, 3.0), (60, 3.0)]);
        check(10, &[]);
    }

    #[test]
    fn a_counter_that_began_again_loses_only_what_nobody_saw() {
        let samples = points(&[(0, 100.0), (10, 110.0), (20, 5.0), (30, 15.0)]);
        assert_eq!(rate(&samples, &grid(30, 30, 10), 60_000), points(&[(30, 25.0 / 30.0)]));
        // A reset before the window does not reach into it.
        assert_eq!(rate(&samples, &grid(30, 30, 10), 15_000), points(&[(30, 1.0)]));
    }

    #[test]
    fn a_counter_that_came_to_the_end_of_its_bits_went_on() {
        let end = 4_294_967_296.0;
        let check = |unit: f64, list: &[(u64, f64)], expected: f64| {
            let list: Vec<_> = list.iter().map(|(at_s, value)| (*at_s, value * unit)).collect();
            let found = rate(&points(&list), &grid(30, 30, 10), 60_000)[0].value;
            assert!((found - expected * unit).abs() < 1e-6 * expected * unit, "{found} {expected} {unit}");
        };
        for unit in [1.0, 1e-2, 1e-3, 512.0] {
            check(unit, &[(0, end - 900.0), (10, end - 400.0), (20, 200.0), (30, 900.0)], 60.0);
            // It was near to its end, but not so near: it was reset.
            check(unit, &[(0, end * 0.9), (10, end * 0.9 + 500.0), (20, 100.0), (30, 600.0)], 1100.0 / 30.0);
            // Its end and a boot in one window.
            check(unit, &[(0, end - 400.0), (10, 200.0), (20, 700.0), (30, 60.0)], 1160.0 / 30.0);
        }
    }

    #[test]
    fn two_samples_at_one_moment_divide_by_nothing() {
        let samples = points(&[(10, 1.0), (10, 2.0)]);
        assert_eq!(rate(&samples, &grid(10, 10, 10), 60_000), []);
    }

    #[test]
    fn series_of_one_name_become_one_and_those_without_a_value_none() {
        let series = |label: &str, list: &[(u64, f64)]| Series {
            name: "up".to_string(),
            labels: vec![("instance".to_string(), label.to_string())],
            points: points(list),
        };
        let given = vec![series("b", &[(60, 2.0)]), series("a", &[(5000, 1.0)]), series("b", &[(0, 1.0)])];
        assert_eq!(align(given.clone(), &grid(0, 60, 60), None), [series("b", &[(0, 1.0), (60, 2.0)])]);
        assert_eq!(align(given, &grid(60, 60, 60), Some(120_000)), [series("b", &[(60, 1.0 / 60.0)])]);
    }

    #[test]
    fn a_grid_is_bounded() {
        assert_eq!(Grid::new(0, 10, 0), Err(GridError::Zero));
        assert_eq!(Grid::new(11, 10, 1), Err(GridError::Backwards));
        assert_eq!(Grid::new(0, STEP_COUNT_MAX, 1), Err(GridError::Fine { count: STEP_COUNT_MAX + 1 }));
        assert_eq!(Grid::new(0, u64::MAX, 1), Err(GridError::Fine { count: u64::MAX }));
        assert_eq!(Grid::new(5, 17, 5).unwrap().times().collect::<Vec<_>>(), [5, 10, 15]);
    }

    #[test]
    fn a_step_is_one_that_people_would_choose() {
        assert_eq!(Grid::step_for(3_600_000, 60), 60_000);
        assert_eq!(Grid::step_for(86_400_000, 60), 1_800_000);
        assert_eq!(Grid::step_for(100, 60), 1000);
        assert_eq!(Grid::step_for(365 * 86_400_000, 60), 7 * 86_400_000);
    }
}
