//! Values that go on as those of a recorded trace did, for as long as one likes: a [`Fit`], drawn from.
//!
//! ```text
//! factors and own noise, AR(1) -> a normal score per series -> its probability -> the quantile of the changes -> the value
//! ```
//!
//! What is kept of the trace: how often nothing changes, how much and by which grain, what rises and falls together, and how
//! long a burst lasts. What is not: sums that hold exactly, such as that a processor's modes add up to the time.

use crate::fit::{CERTAIN, Changes, Fit, Motion, Normal, PERMILLE};
use crate::rng::Rng;

/// The values of all series of a fit, tick by tick, ten seconds apart as the trace's were. The same seed gives the same on
/// every machine.
#[derive(Clone, Debug)]
pub struct Fitted {
    rng: Rng,
    normal: Normal,
    factors: Vec<Noise>,
    /// How much of each factor is in this tick.
    scores: Vec<f64>,
    series: Vec<Place>,
}

#[derive(Clone, Debug)]
enum Place {
    Constant(i64),
    Drawn(Box<Drawn>),
    Like { source: usize, first: i64, source_first: i64, numerator: i64, denominator: i64 },
}

/// A counter or a gauge.
#[derive(Clone, Debug)]
struct Drawn {
    value: i64,
    is_counter: bool,
    /// Where a gauge turns back.
    lowest: i64,
    highest: i64,
    grain: i64,
    own: Noise,
    loadings: Vec<f64>,
    /// The probability and the change, in grains.
    knots: Vec<(f64, f64)>,
}

/// Noise of variance 1 in which something lasts: `phi` of it into the next tick.
#[derive(Clone, Debug)]
struct Noise {
    at: f64,
    phi: f64,
    fresh: f64,
}

impl Noise {
    fn new(phi: i16, start: f64) -> Noise {
        let phi = part(phi);
        Noise { at: start, phi, fresh: (1.0 - phi * phi).sqrt() }
    }

    fn next(&mut self, draw: f64) -> f64 {
        self.at = self.phi * self.at + self.fresh * draw;
        self.at
    }
}

fn part(permille: i16) -> f64 {
    f64::from(permille) / f64::from(PERMILLE)
}

impl Fitted {
    /// The series before their first tick.
    pub fn new(fit: &Fit, seed: u64) -> Fitted {
        let (mut rng, normal) = (Rng::new(seed), Normal::new());
        let factors: Vec<Noise> = fit.factors.iter().map(|phi| Noise::new(*phi, draw(&mut rng, &normal))).collect();
        let series = fit
            .series
            .iter()
            .map(|series| match &series.motion {
                Motion::Constant => Place::Constant(series.first),
                Motion::Counter(changes) => Place::drawn(series.first, true, changes, draw(&mut rng, &normal)),
                Motion::Gauge(changes) => Place::drawn(series.first, false, changes, draw(&mut rng, &normal)),
                Motion::Like { source, numerator, denominator } => Place::Like {
                    source: *source,
                    first: series.first,
                    source_first: fit.series[*source].first,
                    numerator: *numerator,
                    denominator: *denominator,
                },
            })
            .collect();
        Fitted { rng, normal, scores: vec![0.0; factors.len()], factors, series }
    }

    /// The next tick's values into `values`, which is emptied first: one of each series, in the fit's order.
    pub fn tick(&mut self, values: &mut Vec<i64>) {
        values.clear();
        for (score, factor) in self.scores.iter_mut().zip(&mut self.factors) {
            *score = factor.next(draw(&mut self.rng, &self.normal));
        }
        for series in &mut self.series {
            let value = match series {
                Place::Constant(value) => *value,
                Place::Drawn(drawn) => {
                    let fresh = draw(&mut self.rng, &self.normal);
                    drawn.tick(&self.scores, fresh, &self.normal)
                }
                Place::Like { source, first, source_first, numerator, denominator } => {
                    let change = i128::from(values[*source]) - i128::from(*source_first);
                    let value = i128::from(*first) + change * i128::from(*numerator) / i128::from(*denominator);
                    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
                }
            };
            values.push(value);
        }
    }
}

fn draw(rng: &mut Rng, normal: &Normal) -> f64 {
    // 53 bits, and half of one so that it is never 0 or 1.
    normal.quantile(((rng.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64)
}

impl Place {
    fn drawn(value: i64, is_counter: bool, changes: &Changes, start: f64) -> Place {
        // An hour has not seen all that a quarter of a year sees, but what never was negative is not to become so.
        let margin = changes.highest.saturating_sub(changes.lowest) / 4;
        let floor = if changes.lowest >= 0 { 0 } else { i64::MIN };
        let loadings: Vec<f64> = changes.loadings.iter().map(|loading| part(*loading)).collect();
        let own = (1.0 - loadings.iter().map(|loading| loading * loading).sum::<f64>()).max(0.0).sqrt();
        // The own noise stands last, as a factor of which nobody else has a part.
        let loadings = loadings.into_iter().chain([own]).collect();
        Place::Drawn(Box::new(Drawn {
            value,
            is_counter,
            lowest: changes.lowest.saturating_sub(margin).max(floor),
            highest: changes.highest.saturating_add(margin),
            grain: changes.grain,
            own: Noise::new(changes.phi, start),
            loadings,
            knots: changes
                .knots
                .iter()
                .map(|knot| (f64::from(knot.probability) / f64::from(CERTAIN), knot.change as f64))
                .collect(),
        }))
    }
}

impl Drawn {
    fn tick(&mut self, scores: &[f64], fresh: f64, normal: &Normal) -> i64 {
        let own = self.own.next(fresh);
        let parts = scores.iter().chain([&own]).zip(&self.loadings);
        let score = parts.fold(0.0, |sum, (score, loading)| sum + score * loading);
        let change = self.quantile(normal.probability(score)).saturating_mul(self.grain);
        self.value = self.value.saturating_add(if self.is_counter { change } else { self.turned(change) });
        self.value
    }

    /// The change that so many do not exceed, in grains.
    fn quantile(&self, probability: f64) -> i64 {
        let index = self.knots.partition_point(|knot| knot.0 <= probability).clamp(1, self.knots.len() - 1);
        let ((from, low), (to, high)) = (self.knots[index - 1], self.knots[index]);
        let at = if to > from { ((probability - from) / (to - from)).min(1.0) } else { 1.0 };
        let change = low + (high - low) * at;
        (if change < 0.0 { change - 0.5 } else { change + 0.5 }) as i64
    }

    /// A gauge's change, turned round where it would leave the range: so how often and how much it moves stays as it was.
    fn turned(&self, change: i64) -> i64 {
        let range = self.lowest..=self.highest;
        let is_inside = |change: i64| self.value.checked_add(change).is_some_and(|value| range.contains(&value));
        if is_inside(change) {
            return change;
        }
        let back = change.saturating_neg();
        if is_inside(back) {
            return back;
        }
        // It is wider than the range: to the middle, in whole grains.
        (self.lowest.midpoint(self.highest).saturating_sub(self.value)) / self.grain * self.grain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that bursts drive, one of them heavy-tailed; a gauge in pages; half of the first; a rare event.
    fn table() -> Vec<Vec<i64>> {
        let mut rng = Rng::new(3);
        let (mut row, mut burst) = (vec![50, 0, 4000, 7, 0], 0);
        (0..1200)
            .map(|_| {
                burst = if rng.one_in(6) { rng.below(14) } else { burst };
                let bytes = if rng.one_in(4) { 0 } else { 6 * rng.below(1 << burst) as i64 };
                row[0] += bytes;
                row[1] += (burst + rng.below(3)) as i64;
                row[2] = (row[2] + 4 * rng.between(0, 20) as i64 - 40).clamp(0, 8000);
                row[3] -= bytes / 2;
                row[4] += i64::from(rng.one_in(40));
                row.clone()
            })
            .collect()
    }

    fn fit(rows: &[Vec<i64>]) -> Fit {
        let mut text = "timestamp_ms,bytes,events,pages,half,rare\n".to_owned();
        for row in rows {
            text += &row.iter().fold("0".to_owned(), |line, value| format!("{line},{value}"));
            text.push('\n');
        }
        Fit::estimate(&text).unwrap()
    }

    fn drawn(fit: &Fit, seed: u64, tick_count: usize) -> Vec<Vec<i64>> {
        let mut fitted = Fitted::new(fit, seed);
        let mut values = Vec::new();
        (0..tick_count)
            .map(|_| {
                fitted.tick(&mut values);
                values.clone()
            })
            .collect()
    }

    fn changes(rows: &[Vec<i64>], series: usize) -> Vec<f64> {
        rows.windows(2).map(|two| (two[1][series] - two[0][series]) as f64).collect()
    }

    fn mean(of: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = of.len() as f64;
        of.sum::<f64>() / count
    }

    #[test]
    fn each_series_changes_as_often_and_as_much_as_it_did() {
        let rows = table();
        let drawn = drawn(&fit(&rows), 1, 300_000);
        for series in 0..5 {
            let (was, is) = (changes(&rows, series), changes(&drawn, series));
            let zeros = |changes: &[f64]| mean(changes.iter().map(|change| f64::from(u8::from(*change == 0.0))));
            let size = |changes: &[f64]| mean(changes.iter().map(|change| change.abs()));
            assert!((zeros(&was) - zeros(&is)).abs() < 0.01, "{series}: {} {}", zeros(&was), zeros(&is));
            assert!((size(&was) / size(&is) - 1.0).abs() < 0.05, "{series}: {} {}", size(&was), size(&is));
        }
    }

    #[test]
    fn what_moves_together_and_what_lasts_still_does() {
        let rows = table();
        let drawn = drawn(&fit(&rows), 1, 60_000);
        let correlation = |one: &[f64], other: &[f64]| {
            let (a, b) = (mean(one.iter().copied()), mean(other.iter().copied()));
            let product = |x: &[f64], p: f64, y: &[f64], q: f64| mean(x.iter().zip(y).map(|(x, y)| (x - p) * (y - q)));
            product(one, a, other, b) / (product(one, a, one, a) * product(other, b, other, b)).sqrt()
        };
        let lasting = |rows: &[Vec<i64>]| {
            let events = changes(rows, 1);
            correlation(&events[1..], &events[..events.len() - 1])
        };
        let together = |rows: &[Vec<i64>]| correlation(&changes(rows, 0), &changes(rows, 1));
        assert!(lasting(&rows) > 0.7 && lasting(&drawn) > 0.6, "{} {}", lasting(&rows), lasting(&drawn));
        assert!(together(&rows) > 0.4 && together(&drawn) > 0.3, "{} {}", together(&rows), together(&drawn));
    }

    #[test]
    fn counters_never_fall_and_gauges_stay_in_their_range_and_on_their_grain() {
        let fit = fit(&table());
        let rows = drawn(&fit, 2, 200_000);
        for two in rows.windows(2) {
            assert!(two[0][0] <= two[1][0] && two[0][1] <= two[1][1] && two[0][4] <= two[1][4]);
            assert_eq!(two[1][0] % 6, 50 % 6);
            assert!((0..=10_000).contains(&two[1][2]) && two[1][2] % 4 == 0, "{}", two[1][2]);
            assert_eq!(two[1][3], 7 - (two[1][0] - 50) / 2);
        }
        assert!(fit.is_counter(0) && !fit.is_counter(2) && !fit.is_counter(3));
    }

    #[test]
    fn a_change_wider_than_the_range_ends_in_its_middle() {
        let fit = Fit::parse("factors\ngauge 3 0 9 3 0  0:-40,10000:40 a\n").unwrap();
        let rows = drawn(&fit, 1, 1000);
        assert!(rows.iter().all(|row| (0..=11).contains(&row[0]) && row[0] % 3 == 0), "{rows:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_gives_others() {
        let host = Fit::host();
        assert_eq!(drawn(&host, 5, 50), drawn(&host, 5, 50));
        assert_ne!(drawn(&host, 5, 50), drawn(&host, 6, 50));
        // FNV-1a: what changes it changes every long run, and it is the same on every machine.
        let hash = drawn(&host, 5, 1000)
            .concat()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, value| (hash ^ *value as u64).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 17_419_340_140_323_869_574);
    }
}
