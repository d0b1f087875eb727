//! From a table to a [`Fit`].
//!
//! ```text
//! columns ──> Estimate of each: its changes as integers, their ranks as normal scores
//!        ──> Common: what all scores have in common, as factors
//!        ──> Changes: the memory that is a series' own, and its quantiles in few knots
//! ```
//!
//! A series whose changes are those of an earlier one, times a fraction, is estimated once.

use std::collections::BTreeMap;

use codec::divisor::greatest_common_divisor;
use query::render::csv::fields;

use super::normal::Normal;
use super::{CERTAIN, Changes, Fit, FitError, Knot, Motion, PERMILLE, Series};

const FACTOR_COUNT: usize = 6;
const KNOT_COUNT_MAX: usize = 29;
/// Changes that an estimate takes at the least.
const CHANGE_COUNT_MIN: usize = 20;
/// Values beyond this are refused, so that each change is an integer too.
const VALUE_MAX: u64 = 1 << 62;
/// Rises for each fall of a counter.
const RISE_COUNT_MIN: usize = 20;
/// What the factors explain of a series at the most: something is always its own.
const COMMON_MAX: f64 = 0.95;
/// A process that remembers more than this does not come back within the trace it was estimated from.
const PHI_MAX: f64 = 0.98;

impl Fit {
    /// Estimates from comma-separated text: a line of names of which the first is `timestamp_ms`, and for each tick a line of
    /// integers. The instants are not looked at: what changes, changes from line to line.
    ///
    /// Errors: it is something else, has an empty field or a decimal, or is too short.
    pub fn estimate(table: &str) -> Result<Fit, FitError> {
        let (names, columns) = columns(table)?;
        let tick_count = columns.first().map_or(0, Vec::len);
        if tick_count <= CHANGE_COUNT_MIN {
            return Err(FitError { line: tick_count + 1, wanted: "more ticks than end here" });
        }
        let mut drawn: Vec<Estimate> = Vec::new();
        let mut sources = BTreeMap::new();
        let mut series = Vec::new();
        for (name, values) in names.into_iter().zip(&columns) {
            let motion = match Estimate::of(series.len(), values) {
                None => Motion::Constant,
                Some(estimate) => match sources.get(&estimate.grains).copied() {
                    Some((source, unit)) => like(source, unit, estimate.unit),
                    None => {
                        sources.insert(estimate.grains.clone(), (series.len(), estimate.unit));
                        drawn.push(estimate);
                        // Filled in below, when all are known.
                        Motion::Constant
                    }
                },
            };
            series.push(Series { name, first: values[0], motion });
        }
        let common = Common::of(&drawn);
        for (index, estimate) in drawn.iter().enumerate() {
            let changes = estimate.changes(&columns[estimate.series], &common, index);
            series[estimate.series].motion =
                if estimate.is_counter { Motion::Counter(changes) } else { Motion::Gauge(changes) };
        }
        Ok(Fit { factors: common.factors.iter().map(|factor| permille(factor.phi())).collect(), series })
    }
}

/// The names and the columns of a table.
fn columns(table: &str) -> Result<(Vec<String>, Vec<Vec<i64>>), FitError> {
    let mut lines = table.lines();
    let mut names = fields(lines.next().unwrap_or_default());
    if names.first().map(String::as_str) != Some("timestamp_ms") {
        return Err(FitError { line: 1, wanted: "the first column is to be timestamp_ms" });
    }
    names.remove(0);
    let mut columns = vec![Vec::new(); names.len()];
    for (index, line) in lines.enumerate() {
        let told = |wanted| FitError { line: index + 2, wanted };
        let mut fields = line.split(',').skip(1);
        for column in &mut columns {
            let field = fields.next().ok_or(told("there are fewer values than line 1 has names"))?;
            let value = field.parse().ok().filter(|value: &i64| value.unsigned_abs() < VALUE_MAX);
            column.push(value.ok_or(told("each value is to be an integer below 2^62"))?);
        }
        if fields.next().is_some() {
            return Err(told("there are more values than line 1 has names"));
        }
    }
    Ok((names, columns))
}

/// What is known of a series that changes before the others are looked at.
struct Estimate {
    series: usize,
    is_counter: bool,
    /// The greatest common divisor of the changes, with the sign of the first that is not zero.
    unit: i64,
    /// The changes, in units.
    grains: Vec<i64>,
    /// Their ranks, as standard normal scores.
    scores: Vec<f64>,
}

impl Estimate {
    /// `None` when nothing ever changes.
    fn of(series: usize, values: &[i64]) -> Option<Estimate> {
        let is_counter = is_counter(values);
        let change = |two: &[i64]| match two[1].wrapping_sub(two[0]) {
            // What a counter has counted since it was reset.
            fall if fall < 0 && is_counter => two[1],
            change => change,
        };
        let changes: Vec<i64> = values.windows(2).map(change).collect();
        let divisor = changes.iter().fold(0, |divisor, change| greatest_common_divisor(divisor, change.unsigned_abs()));
        let first = changes.iter().find(|change| **change != 0)?;
        let unit = i64::try_from(divisor).ok()? * first.signum();
        let grains: Vec<i64> = changes.iter().map(|change| change / unit).collect();
        let mut scores = normal_scores(&grains);
        if unit < 0 {
            scores.iter_mut().for_each(|score| *score = -*score);
        }
        Some(Estimate { series, is_counter, unit, grains, scores })
    }

    fn changes(&self, values: &[i64], common: &Common, index: usize) -> Changes {
        let loadings: Vec<f64> = common.factors.iter().map(|factor| factor.loadings[index]).collect();
        let squares: f64 = loadings.iter().map(|loading| loading * loading).sum();
        let clip = (COMMON_MAX / squares.max(COMMON_MAX)).sqrt();
        let loadings: Vec<f64> = loadings.iter().map(|loading| loading * clip).collect();
        // The own part's memory is what makes the whole series remember as it did. That of the residual would not: factors
        // of the fit do not speak to each other's next tick, those of the trace do.
        let common_memory: f64 = common.factors.iter().zip(&loadings).map(|(factor, l)| l * l * factor.phi()).sum();
        let own_memory = autocorrelation(&self.scores) - common_memory;
        let phi = (own_memory / (1.0 - squares.min(COMMON_MAX))).clamp(-PHI_MAX, PHI_MAX);
        let mut grains: Vec<i64> = self.grains.iter().map(|grain| grain * self.unit.signum()).collect();
        grains.sort_unstable();
        Changes {
            lowest: values.iter().copied().min().unwrap_or(0),
            highest: values.iter().copied().max().unwrap_or(0),
            grain: self.unit.abs(),
            phi: permille(phi),
            loadings: loadings.into_iter().map(permille).collect(),
            knots: knots(&grains),
        }
    }
}

/// Never falls, or after many rises and then far: it was reset.
fn is_counter(values: &[i64]) -> bool {
    let falls = || values.windows(2).filter(|two| two[1] < two[0]);
    let rise_count = values.windows(2).filter(|two| two[1] > two[0]).count();
    // A gauge that is zero most of the time falls far as well, but as often as it rises.
    falls().count() * RISE_COUNT_MIN <= rise_count && falls().all(|two| (0..=two[0] / 4).contains(&two[1]))
}

fn like(source: usize, source_unit: i64, unit: i64) -> Motion {
    let divisor = greatest_common_divisor(source_unit.unsigned_abs(), unit.unsigned_abs()) as i64;
    let sign = source_unit.signum();
    Motion::Like { source, numerator: unit / divisor * sign, denominator: source_unit.abs() / divisor }
}

/// What all series have in common: the principal components of their scores.
struct Common {
    factors: Vec<Factor>,
}

struct Factor {
    /// Of each tick.
    scores: Vec<f64>,
    /// Of each series.
    loadings: Vec<f64>,
}

impl Factor {
    fn phi(&self) -> f64 {
        autocorrelation(&self.scores)
    }
}

impl Common {
    fn of(estimates: &[Estimate]) -> Common {
        let count = estimates.len();
        let row = |one: &Estimate| -> Vec<f64> {
            estimates.iter().map(|other| mean_product(&one.scores, &other.scores)).collect()
        };
        let mut matrix: Vec<Vec<f64>> = estimates.iter().map(row).collect();
        let mut factors = Vec::new();
        // A factor of fewer than four is no load but a pair's own business, and its memory not theirs.
        for _ in 0..FACTOR_COUNT.min(count / 4) {
            let (power, vector) = principal(&matrix);
            for (row, part) in matrix.iter_mut().zip(&vector) {
                row.iter_mut().zip(&vector).for_each(|(cell, other)| *cell -= power * part * other);
            }
            let root = power.max(f64::MIN_POSITIVE).sqrt();
            let score = |tick: usize| {
                estimates.iter().zip(&vector).map(|(one, part)| one.scores[tick] * part).sum::<f64>() / root
            };
            factors.push(Factor {
                scores: (0..estimates[0].scores.len()).map(score).collect(),
                loadings: vector.iter().map(|part| part * root).collect(),
            });
        }
        Common { factors }
    }
}

/// The greatest eigenvalue of a symmetric matrix and its vector of length 1, by power iteration.
fn principal(matrix: &[Vec<f64>]) -> (f64, Vec<f64>) {
    // No two parts are the same, so that it is not at right angles to what is looked for.
    let mut vector: Vec<f64> = (0..matrix.len()).map(|index| 1.0 + 1.0 / (index + 2) as f64).collect();
    let mut power = 0.0;
    for _ in 0..500 {
        let next: Vec<f64> = matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        power = next.iter().map(|part| part * part).sum::<f64>().sqrt();
        if power < 1e-9 {
            return (0.0, vec![0.0; matrix.len()]);
        }
        vector = next.iter().map(|part| part / power).collect();
    }
    (power, vector)
}

fn mean_product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() / one.len() as f64
}

fn autocorrelation(scores: &[f64]) -> f64 {
    let power: f64 = scores.iter().map(|score| score * score).sum();
    let lagged: f64 = scores.windows(2).map(|two| two[0] * two[1]).sum();
    if power > 0.0 { (lagged / power).clamp(-PHI_MAX, PHI_MAX) } else { 0.0 }
}

fn permille(part: f64) -> i16 {
    // Towards zero, so that clipped squares stay below one.
    (part * f64::from(PERMILLE)) as i16
}

/// The ranks of changes as scores of mean 0 and variance 1; equal ones share theirs.
fn normal_scores(changes: &[i64]) -> Vec<f64> {
    let normal = Normal::new();
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|index| changes[*index]);
    let mut scores = vec![0.0; changes.len()];
    for run in order.chunk_by(|one, other| changes[*one] == changes[*other]) {
        let before = changes.iter().filter(|change| **change < changes[run[0]]).count();
        let middle = (before as f64 + run.len() as f64 / 2.0) / changes.len() as f64;
        run.iter().for_each(|index| scores[*index] = normal.quantile(middle));
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    scores.iter_mut().for_each(|score| *score -= mean);
    let deviation = mean_product(&scores, &scores).sqrt();
    if deviation < 1e-9 {
        // Every change is the same: it goes with nothing.
        return vec![0.0; changes.len()];
    }
    scores.iter_mut().for_each(|score| *score /= deviation);
    scores
}

/// The quantile function of sorted changes in as many knots as there may be: those that miss most are set first.
fn knots(sorted: &[i64]) -> Vec<Knot> {
    let points = steps(sorted);
    let mut chosen = vec![0, points.len() - 1];
    // How often nothing happens is to be right, and no line is to run into it.
    let around = |index: usize| &points[index.saturating_sub(1)..points.len().min(index + 2)];
    chosen.extend((0..points.len()).filter(|index| around(*index).iter().any(|point| point.1 == 0)));
    chosen.sort_unstable();
    chosen.dedup();
    let miss = Miss::of(sorted);
    while chosen.len() < KNOT_COUNT_MAX {
        let worst = chosen.windows(2).map(|two| miss.between(&points, two[0], two[1]));
        let worst = worst.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(sum, _)| *sum > 1e-4);
        let Some((_, index)) = worst else { break };
        chosen.push(index);
        chosen.sort_unstable();
    }
    let knot = |index: &usize| {
        let (probability, change) = points[*index];
        Knot { probability: (probability * f64::from(CERTAIN)).round() as u16, change }
    };
    let mut knots: Vec<Knot> = chosen.iter().map(knot).collect();
    knots.dedup();
    knots
}

/// The quantile function as it was seen: a value seen often has a probability of its own, one seen once is a point of a line.
fn steps(sorted: &[i64]) -> Vec<(f64, i64)> {
    let (count, mut before, mut points) = (sorted.len() as f64, 0.0, vec![(0.0, sorted[0])]);
    for run in sorted.chunk_by(|one, other| one == other) {
        let length = run.len() as f64;
        if run.len() == 1 && run[0] != 0 {
            points.push(((before + 0.5) / count, run[0]));
        } else {
            points.push((before / count, run[0]));
            points.push(((before + length) / count, run[0]));
        }
        before += length;
    }
    points.push((1.0, sorted[sorted.len() - 1]));
    points.dedup();
    points
}

/// What a line misses: as much as the mean sees of it, and as much as bits do.
struct Miss {
    mean: f64,
    mean_bits: f64,
}

impl Miss {
    fn of(sorted: &[i64]) -> Miss {
        let mean = |of: fn(f64) -> f64| {
            sorted.iter().map(|change| of(*change as f64).abs()).sum::<f64>() / sorted.len() as f64
        };
        Miss { mean: mean(|change| change), mean_bits: mean(bits) }
    }

    /// The sum between two points, and the point between them that is missed most.
    fn between(&self, points: &[(f64, i64)], first: usize, last: usize) -> (f64, usize) {
        let ((from, low), (to, high)) = (points[first], points[last]);
        let (mut sum, mut worst) = (0.0, (0.0, first));
        for index in first + 1..last {
            let (probability, change) = (points[index].0, points[index].1 as f64);
            let at = if to > from { (probability - from) / (to - from) } else { 0.0 };
            let line = low as f64 + (high - low) as f64 * at;
            let miss = (line - change).abs() / self.mean + (bits(line) - bits(change)).abs() / self.mean_bits;
            sum += miss * (points[index + 1].0 - points[index - 1].0) / 2.0;
            if miss > worst.0 {
                worst = (miss, index);
            }
        }
        (sum, worst.1)
    }
}

fn bits(change: f64) -> f64 {
    (1.0 + change.abs()).log2().copysign(change)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Series of every kind.
    pub(in crate::fit) fn table() -> String {
        let mut rng = Rng::new(1);
        let (mut bytes, mut pages, mut rare) = (1000, 500, 3);
        let mut text = "timestamp_ms,bytes,\"x{a=\"\"1\"\",b=2}\",pages,half less,rare,again,clock\n".to_owned();
        for tick in 0..300 {
            let width = rng.below(16);
            bytes += if rng.one_in(3) { 0 } else { 6 * rng.below(1 << width) as i64 };
            pages = (pages + 4 * rng.between(0, 20) as i64 - 40).clamp(0, 1000);
            rare += i64::from(rng.one_in(100));
            text += &format!("{tick},{bytes},7,{pages},{},{rare},{bytes},{}\n", 9 - bytes / 2, 1000 * tick);
        }
        text
    }

    #[test]
    fn what_is_constant_counts_moves_or_follows_is_told_apart() {
        let fit = Fit::estimate(&table()).unwrap();
        assert_eq!(
            fit.names().collect::<Vec<_>>(),
            ["bytes", "x{a=1,b=2}", "pages", "half less", "rare", "again", "clock"]
        );
        let kinds: Vec<String> = fit
            .series
            .iter()
            .map(|series| match &series.motion {
                Motion::Constant => "constant".to_owned(),
                Motion::Counter(changes) => format!("counter {}", changes.grain),
                Motion::Gauge(changes) => format!("gauge {}", changes.grain),
                Motion::Like { source, numerator, denominator } => format!("{source} {numerator}/{denominator}"),
            })
            .collect();
        assert_eq!(kinds, ["counter 6", "constant", "gauge 4", "0 -1/2", "counter 1", "0 1/1", "counter 1000"]);
        assert_eq!((0..7).filter(|index| fit.is_counter(*index)).collect::<Vec<_>>(), [0, 1, 4, 5, 6]);
    }

    #[test]
    fn a_counter_may_be_reset_and_a_gauge_may_fall_far() {
        let rising: Vec<i64> = (800..900).collect();
        assert!(is_counter(&[&rising[..], &[3, 4]].concat()));
        assert!(!is_counter(&[&rising[..], &[700]].concat()));
        assert!(!is_counter(&[&[0; 100][..], &[1, 0]].concat()));
    }

    #[test]
    fn what_is_no_table_is_said_with_its_line() {
        let table = |text: &str| Fit::estimate(text).unwrap_err().to_string();
        assert_eq!(table("time,a\n"), "line 1: the first column is to be timestamp_ms");
        assert_eq!(table("timestamp_ms,a\n1,2\n2,2.5\n"), "line 3: each value is to be an integer below 2^62");
        assert_eq!(table("timestamp_ms,a\n1,2,3\n"), "line 2: there are more values than line 1 has names");
        assert_eq!(table("timestamp_ms,a\n1,2\n"), "line 2: more ticks than end here");
    }
}
