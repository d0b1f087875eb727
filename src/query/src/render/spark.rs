//! A series as one line of blocks, eight heights each.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::series::Point;

/// The mean of the points in each of `width` equal parts of the span, as a block of one to eight eighths.
pub(crate) fn line(points: &[Point], from_ms: u64, to_ms: u64, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let span_ms = to_ms.saturating_sub(from_ms).max(1);
    let place = |at_ms: u64| {
        let part = u128::from(at_ms.saturating_sub(from_ms)) * width as u128 / u128::from(span_ms);
        part.min(width as u128 - 1) as usize
    };
    let mut sums = vec![(0.0, 0u32); width];
    // Where points stand further apart than the parts are wide, a point holds until the next one is due; then a part
    // without a value is a gap and not a rounding.
    let interval_ms = median_interval_ms(points).unwrap_or(span_ms);
    for (index, point) in points.iter().enumerate() {
        let due_ms = point.at_ms.saturating_add(interval_ms);
        let next_ms = points.get(index + 1).map_or(due_ms, |next| next.at_ms.min(due_ms));
        let until_ms = next_ms.saturating_sub(1).min(to_ms).max(point.at_ms);
        for (sum, count) in &mut sums[place(point.at_ms)..=place(until_ms)] {
            *sum += point.value;
            *count += 1;
        }
    }
    let mean = |(sum, count): &(f64, u32)| Some(sum / f64::from(*count)).filter(|mean| mean.is_finite());
    let means: Vec<Option<f64>> = sums.iter().map(mean).collect();
    let known = means.iter().flatten().copied();
    let (min, max) = (known.clone().fold(f64::INFINITY, f64::min), known.fold(f64::NEG_INFINITY, f64::max));
    let block = |mean: f64| match max - min {
        // A line that does not move lies on the ground when it is zero, else in the middle.
        range if !(range > 0.0 && range.is_finite()) => BLOCKS[if mean == 0.0 { 0 } else { 3 }],
        range => BLOCKS[(((mean - min) / range * 8.0) as usize).min(7)],
    };
    means.into_iter().map(|mean| mean.map_or(' ', block)).collect()
}

fn median_interval_ms(points: &[Point]) -> Option<u64> {
    let mut intervals: Vec<u64> = points.windows(2).map(|pair| pair[1].at_ms.saturating_sub(pair[0].at_ms)).collect();
    intervals.sort_unstable();
    intervals.get(intervals.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_is_as_wide_as_asked_whatever_the_points() {
        let point = |at_ms, value| Point { at_ms, value };
        let check = |points: &[Point], expected| assert_eq!(line(points, 100, 900, 8), expected);
        check(&[], "        ");
        check(&[point(100, 1.0)], "▄▄▄▄▄▄▄▄");
        check(&[point(100, 0.0), point(200, 7.0), point(700, 3.0)], "▁█    ▄ ");
        check(&[point(0, 1.0), point(5000, 2.0)], "▁▁▁▁▁▁▁█");
        check(&[point(100, f64::NAN), point(200, f64::MAX), point(300, f64::MIN)], " ▄▄     ");
    }
}
