//! Round counts of bytes, days as people write them, and the scale that a chart is drawn on.

use query::time::Civil;
use query::unit::billed;
use wire::spent::Spent;

use crate::call::BearerUsage;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// A budget beyond so many times the fullest day is not drawn: under it no bar could be seen.
const BUDGET_FACTOR_MAX: u64 = 3;

/// Steps of an axis at the least.
const STEP_COUNT_MIN: u64 = 3;

/// Bytes as they are [billed], without zeros that say nothing: `1.5 KB`, `2 MB`.
pub fn round_bytes(count: u128) -> String {
    let text = billed(count);
    let Some((number, unit)) = text.split_once(' ').filter(|(number, _)| number.contains('.')) else { return text };
    format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

/// A day since 1970: `2026-01-31`.
pub fn date(day: u32) -> String {
    Civil::of_day(day).date()
}

/// How far a chart reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Bytes at the far end, at least one.
    pub end_bytes: u64,
    /// Whether all budgets lie on it.
    pub has_budget: bool,
}

impl Scale {
    /// The scale of a bearer's chart: to its fullest day, and to its budget if that does not press the bars flat.
    pub fn of(bearer: &BearerUsage) -> Scale {
        let fullest = bearer.days.values().map(|day| day.spent.total()).max().unwrap_or_default().max(1);
        let budget = bearer.days.values().filter_map(|day| day.budget_bytes).max().unwrap_or_default();
        let has_budget = budget <= fullest.saturating_mul(BUDGET_FACTOR_MAX);
        Scale { end_bytes: if has_budget { fullest.max(budget) } else { fullest }, has_budget }
    }

    /// Bytes between the lines of an axis: 1, 2 or 5 and zeros, so that 8 steps at the most reach the end.
    pub fn step(&self) -> u64 {
        let most = (self.end_bytes / STEP_COUNT_MIN).max(1);
        let power = 10u64.pow(most.ilog10());
        let factor = [5, 2].into_iter().find(|factor| most / power >= *factor).unwrap_or(1);
        factor * power
    }
}

/// What a bearer carried in all its days, by use and together.
pub fn sums(bearer: &BearerUsage) -> (Vec<(&'static str, u128)>, u128) {
    let mut sums: Vec<(&str, u128)> = Spent::default().parts().map(|(name, _)| (name, 0)).collect();
    for day in bearer.days.values() {
        for ((_, sum), (_, bytes)) in sums.iter_mut().zip(day.spent.parts()) {
            *sum += u128::from(bytes);
        }
    }
    let total = sums.iter().map(|(_, sum)| sum).sum();
    (sums, total)
}

/// Where `bytes` lie on a length of which `end_bytes` is the end, at most there.
pub fn place(bytes: u64, end_bytes: u64, length: f64) -> f64 {
    (bytes as f64 / end_bytes as f64).min(1.0) * length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::DayUsage;

    #[test]
    fn round_counts_have_no_zeros_that_say_nothing() {
        assert_eq!([1500, 2_000_000, 7, 100_000].map(round_bytes), ["1.5 KB", "2 MB", "7 B", "100 KB"]);
    }

    #[test]
    fn steps_of_an_axis_are_round_and_few() {
        for end_bytes in [1, 2, 3, 4, 5, 7, 9, 10, 16, 99, 100, 101, 12_345, 999_999, u64::MAX] {
            let step = Scale { end_bytes, has_budget: true }.step();
            let digits = step.to_string();
            assert!(["1", "2", "5"].contains(&digits.trim_end_matches('0')), "{end_bytes}: {step}");
            assert!(end_bytes.div_ceil(step) <= 8, "{end_bytes}: {step}");
        }
    }

    #[test]
    fn a_budget_beyond_all_bars_does_not_press_them_flat() {
        let of = |bytes, budget| {
            let day = DayUsage { spent: Spent { other: bytes, ..Spent::default() }, budget_bytes: Some(budget) };
            Scale::of(&BearerUsage { name: "wwan0".into(), days: [(1, day)].into() })
        };
        assert_eq!(of(100, 300), Scale { end_bytes: 300, has_budget: true });
        assert_eq!(of(100, 301), Scale { end_bytes: 100, has_budget: false });
        assert_eq!(of(0, 0), Scale { end_bytes: 1, has_budget: true });
        assert_eq!(of(u64::MAX, u64::MAX).end_bytes, u64::MAX);
    }
}
