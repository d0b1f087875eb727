//! Where a value is going: the median of the slopes between all pairs of its latest points.
//!
//! So up to a quarter of the points may be anything, and a jump is no trend (Sen, "Estimates of the regression coefficient based
//! on Kendall's tau", 1968).

use wire::time::{Instant, Span};

/// Points that are kept.
pub const POINT_COUNT: usize = 24;

/// Steps of a hundred that go the same way where there is a trend.
const STEADY_PERCENT: usize = 85;

const PAIR_COUNT: usize = POINT_COUNT * (POINT_COUNT - 1) / 2;

/// The latest points of one value, each the last one of a step of time.
#[derive(Clone, Debug)]
pub struct Trend {
    step: Span,
    points: heapless::Vec<f32, POINT_COUNT>,
    ends_at: Option<Instant>,
    latest: f32,
}

impl Trend {
    /// No points yet, and one every so often.
    pub fn every(step: Span) -> Trend {
        Trend { step, points: heapless::Vec::new(), ends_at: None, latest: 0.0 }
    }

    /// Takes the value of now. Returns whether that ended a step, which made a point. A hole of several steps ends what was known.
    pub fn add(&mut self, now: Instant, value: f32) -> bool {
        let latest = std::mem::replace(&mut self.latest, value);
        let Some(ends_at) = self.ends_at.filter(|ends_at| now < *ends_at + Span(2 * self.step.0)) else {
            self.points.clear();
            self.ends_at = Some(now + self.step);
            return false;
        };
        if now < ends_at {
            return false;
        }
        if self.points.is_full() {
            self.points.remove(0);
        }
        self.points.push(latest).expect("room was made");
        self.ends_at = Some(ends_at + self.step);
        true
    }

    /// The points, oldest first.
    pub fn points(&self) -> &[f32] {
        &self.points
    }

    /// Their slope in a minute; 0 when there are fewer than two.
    pub fn slope(&self) -> f32 {
        slope(&self.points) / (self.step.0 as f32 / 60_000.0)
    }
}

/// Whether nearly all steps from point to point go the way that `is_on` says: what goes up and down has no trend.
pub fn is_steady(points: &[f32], is_on: impl Fn(f32) -> bool) -> bool {
    let on_count = points.windows(2).filter(|pair| is_on(pair[1] - pair[0])).count();
    on_count * 100 >= points.len().saturating_sub(1) * STEADY_PERCENT
}

/// The slope from point to point.
pub fn slope(points: &[f32]) -> f32 {
    let mut slopes = heapless::Vec::<f32, PAIR_COUNT>::new();
    for (index, early) in points.iter().enumerate().take(POINT_COUNT) {
        for (later, late) in points.iter().enumerate().take(POINT_COUNT).skip(index + 1) {
            slopes.push((late - early) / (later - index) as f32).expect("there is room for each pair");
        }
    }
    slopes.sort_unstable_by(f32::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_no_trend_and_a_line_is_one_whatever_lies_beside_it() {
        let jump: Vec<f32> = (0..24).map(|point| if point < 18 { 10.0 } else { 500.0 }).collect();
        assert_eq!(slope(&jump), 0.0);
        let line: Vec<f32> = (0..24).map(|point| if point % 6 == 5 { 1e9 } else { 3.0 * point as f32 }).collect();
        assert!((slope(&line) - 3.0).abs() < 0.5, "{}", slope(&line));
        assert_eq!((slope(&[]), slope(&[1.0])), (0.0, 0.0));
    }

    #[test]
    fn what_goes_up_and_down_is_not_steady() {
        let falls = |step: f32| step < 0.0;
        let teeth: Vec<f32> = (0..24).map(|point| -((point % 4) as f32)).collect();
        assert!(!is_steady(&teeth, falls) && is_steady(&[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 4.0, 2.0], falls));
        assert!(!is_steady(&[5.0; 24], falls) && is_steady(&[], falls));
    }

    #[test]
    fn a_point_is_the_last_value_of_its_step_and_a_hole_starts_again() {
        let mut trend = Trend::every(Span::minutes(2));
        let at = |second: u64| Instant(second * 1000);
        let made = (0..61).filter(|tick| trend.add(at(tick * 10), *tick as f32)).count();
        assert_eq!((made, trend.points()), (5, &[11.0, 23.0, 35.0, 47.0, 59.0][..]));
        assert_eq!(trend.slope(), 6.0);
        assert!(!trend.add(at(2000), 7.0));
        assert_eq!((trend.points().len(), trend.slope()), (0, 0.0));
    }
}
