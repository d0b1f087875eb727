//! What a recorded trace says of its series, small enough to keep: the recording itself loops after an hour, its [`Fit`] goes
//! on for months.
//!
//! Of each series it holds how its changes are spread, how much of a change lasts into the next tick, and how much of it is
//! common: a few *factors*, of which each series follows each to some degree, stand for the load that moves all at once.
//!
//! ```text
//! factors PHI..                                                     one line, then one for each series
//! constant FIRST NAME
//! counter FIRST LOWEST HIGHEST GRAIN PHI LOADING,.. P:CHANGE,.. NAME
//! gauge   the same
//! like SERIES NUMERATOR/DENOMINATOR FIRST NAME                      its changes are those of an earlier one, times a fraction
//! ```
//!
//! PHI and LOADING are in thousandths; P is a probability in ten thousandths and CHANGE the change that so many do not
//! exceed, in grains. Two knots of one P are a jump, two of one CHANGE an atom, such as the ticks in which nothing happens.
//! The name stands last, because it may hold anything but the end of a line.

use std::collections::BTreeMap;
use std::fmt;

/// One, in what a correlation is told in.
pub const PERMILLE: i16 = 1000;

/// One, in what a knot's probability is told in.
pub const CERTAIN: u16 = 10_000;

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

/// What a trace says of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Of each factor, how much of it lasts into the next tick, in thousandths.
    pub factors: Vec<i16>,
    /// In the order of the trace's columns.
    pub series: Vec<Series>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// As the trace's first line has it.
    pub name: String,
    /// Its first value.
    pub first: i64,
    /// How it goes on.
    pub motion: Motion,
}

/// How a series goes on from its first value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Motion {
    /// Not at all.
    Constant,
    /// By changes that are never negative.
    Counter(Changes),
    /// By changes within a range.
    Gauge(Changes),
    /// By another one's changes times a fraction.
    Like {
        /// The other series, which is an earlier counter or gauge.
        source: usize,
        /// Above the line.
        numerator: i64,
        /// Below it: positive, and it divides what the source changes by, times the numerator.
        denominator: i64,
    },
}

/// How the changes of a series are spread, and what they go with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The lowest value that was seen.
    pub lowest: i64,
    /// The highest one.
    pub highest: i64,
    /// The greatest common divisor of all changes.
    pub grain: i64,
    /// How much of what no factor says lasts into the next tick, in thousandths.
    pub phi: i16,
    /// How much it follows each factor, in thousandths. The squares add up to less than one.
    pub loadings: Vec<i16>,
    /// The quantiles: 2 at least, from a probability of 0 to [`CERTAIN`], neither member ever falling.
    pub knots: Vec<Knot>,
}

/// One point of a quantile function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knot {
    /// In ten thousandths.
    pub probability: u16,
    /// In grains.
    pub change: i64,
}

/// Why a trace or a fit cannot be read: where, and what is to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitError {
    /// Counted from 1.
    pub line: usize,
    /// What is to be there.
    pub wanted: &'static str,
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.wanted)
    }
}

impl Fit {
    /// A busy host of 2 cores, 149 series at ten seconds: estimated by `cargo sim fit` from 220 ticks.
    pub fn host() -> Fit {
        Fit::parse(include_str!("fit/host.txt")).expect("a test reads the file that is built in")
    }

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

    /// Names of the series, in their order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.series.iter().map(|series| series.name.as_str())
    }

    /// Whether a series never falls. One that never changes does not, whatever it counts.
    ///
    /// Panics: when there is no such series.
    pub fn is_counter(&self, index: usize) -> bool {
        match self.series[index].motion {
            Motion::Constant | Motion::Counter(_) => true,
            Motion::Gauge(_) => false,
            Motion::Like { source, numerator, .. } => numerator > 0 && self.is_counter(source),
        }
    }

    /// Reads the text that [`Fit`] is displayed as.
    ///
    /// Errors: it is not such a text; nothing that is read breaks what the members' docs promise.
    pub fn parse(text: &str) -> Result<Fit, FitError> {
        let mut lines = text.lines();
        let first = lines.next().and_then(|line| line.strip_prefix("factors"));
        let factors = first.and_then(|words| words.split_whitespace().map(correlation).collect());
        let factors = factors.ok_or(FitError { line: 1, wanted: "`factors` and the phi of each are to stand here" })?;
        let mut fit = Fit { factors, series: Vec::new() };
        for (index, line) in lines.enumerate() {
            let series = fit.series(line).map_err(|wanted| FitError { line: index + 2, wanted })?;
            fit.series.push(series);
        }
        Ok(fit)
    }

    fn series(&self, line: &str) -> Result<Series, &'static str> {
        let (kind, rest) = line.split_once(' ').ok_or("a kind, its numbers and a name are to stand here")?;
        let count = match kind {
            "constant" => 1,
            "counter" | "gauge" => 7,
            "like" => 3,
            _ => return Err("the kind is to be constant, counter, gauge or like"),
        };
        let mut words: Vec<&str> = rest.splitn(count + 1, ' ').collect();
        let name = words.pop().filter(|name| !name.is_empty() && words.len() == count);
        let name = name.ok_or("there are fewer numbers than the kind has, or there is no name")?.to_owned();
        let integer = |word: &str| word.parse::<i64>().map_err(|_| "the numbers are to be integers");
        let (first, motion) = match kind {
            "constant" => (integer(words[0])?, Motion::Constant),
            "like" => (integer(words[2])?, self.like(words[0], words[1])?),
            _ => {
                let changes = Changes {
                    lowest: integer(words[1])?,
                    highest: integer(words[2])?,
                    grain: integer(words[3])?,
                    phi: correlation(words[4]).ok_or("phi is to be from -1000 to 1000")?,
                    loadings: list(words[5], correlation).ok_or("loadings are to be from -1000 to 1000")?,
                    knots: list(words[6], knot).ok_or("knots are to be probability:change")?,
                };
                changes.check(kind == "counter", self.factors.len())?;
                (integer(words[0])?, if kind == "counter" { Motion::Counter(changes) } else { Motion::Gauge(changes) })
            }
        };
        Ok(Series { name, first, motion })
    }

    fn like(&self, source: &str, fraction: &str) -> Result<Motion, &'static str> {
        let source: usize = source.parse().map_err(|_| "the source is to be a series' place")?;
        let (above, below) = fraction.split_once('/').ok_or("the fraction is to be numerator/denominator")?;
        let (Ok(numerator), Ok(denominator)) = (above.parse::<i64>(), below.parse::<i64>()) else {
            return Err("the fraction is to be of integers");
        };
        let motion = self.series.get(source).map(|series| &series.motion);
        let Some(Motion::Counter(changes) | Motion::Gauge(changes)) = motion else {
            return Err("the source is to be an earlier counter or gauge");
        };
        let is_whole =
            denominator > 0 && (i128::from(changes.grain) * i128::from(numerator)) % i128::from(denominator) == 0;
        if !is_whole {
            return Err("the fraction is to make integers of the source's changes");
        }
        Ok(Motion::Like { source, numerator, denominator })
    }
}

impl Changes {
    fn check(&self, is_counter: bool, factor_count: usize) -> Result<(), &'static str> {
        let squares: i64 = self.loadings.iter().map(|loading| i64::from(*loading).pow(2)).sum();
        if self.loadings.len() != factor_count || squares > i64::from(PERMILLE).pow(2) {
            return Err("each factor is to have a loading, and their squares are not to exceed one");
        }
        if self.grain < 1 || self.lowest > self.highest {
            return Err("the grain is to be positive, and the lowest value no higher than the highest");
        }
        let (knots, ends) = (&self.knots, self.knots.first().zip(self.knots.last()));
        let is_whole = ends.is_some_and(|(first, last)| first.probability == 0 && last.probability == CERTAIN);
        let is_rising =
            knots.windows(2).all(|two| two[0].probability <= two[1].probability && two[0].change <= two[1].change);
        let fits = knots.iter().all(|knot| knot.change.checked_mul(self.grain).is_some());
        if !(is_whole && is_rising && fits) {
            return Err("knots are to rise from probability 0 to 10000");
        }
        if is_counter && knots[0].change < 0 {
            return Err("a counter's changes are not to be negative");
        }
        Ok(())
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("factors")?;
        self.factors.iter().try_for_each(|phi| write!(f, " {phi}"))?;
        writeln!(f)?;
        for Series { name, first, motion } in &self.series {
            match motion {
                Motion::Constant => write!(f, "constant {first}")?,
                Motion::Counter(changes) => write!(f, "counter {first} {changes}")?,
                Motion::Gauge(changes) => write!(f, "gauge {first} {changes}")?,
                Motion::Like { source, numerator, denominator } => {
                    write!(f, "like {source} {numerator}/{denominator} {first}")?;
                }
            }
            writeln!(f, " {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} ", self.lowest, self.highest, self.grain, self.phi)?;
        let comma = |index| if index == 0 { "" } else { "," };
        self.loadings.iter().enumerate().try_for_each(|(index, loading)| write!(f, "{}{loading}", comma(index)))?;
        f.write_str(" ")?;
        let mut knots = self.knots.iter().enumerate();
        knots.try_for_each(|(index, knot)| write!(f, "{}{}:{}", comma(index), knot.probability, knot.change))
    }
}

fn correlation(word: &str) -> Option<i16> {
    word.parse().ok().filter(|thousandths| (-PERMILLE..=PERMILLE).contains(thousandths))
}

fn knot(word: &str) -> Option<Knot> {
    let (probability, change) = word.split_once(':')?;
    Some(Knot { probability: probability.parse().ok()?, change: change.parse().ok()? })
}

fn list<T>(words: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    words.split(',').filter(|word| !word.is_empty()).map(read).collect()
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

/// The fields of a line, quotes taken off (RFC 4180).
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut is_quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("there is always one").push(character),
        }
    }
    fields
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

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The standard normal distribution as a table. Made of nothing but sums and products, which are the same to the last bit on
/// every machine; logarithms are not.
#[derive(Clone, Debug)]
pub(crate) struct Normal {
    below: Vec<f64>,
}

/// Where the table begins and ends: beyond it is one of 10^15.
const END: f64 = 8.0;
const STEPS_PER_ONE: f64 = 128.0;

impl Normal {
    pub(crate) fn new() -> Normal {
        let density = |at: f64| exp_of_negative(at * at / 2.0);
        let (step, mut sum) = (1.0 / STEPS_PER_ONE, 0.0);
        let mut below = vec![0.0];
        for index in 0..(2.0 * END * STEPS_PER_ONE) as usize {
            let at = index as f64 * step - END;
            // Simpson's rule.
            sum += density(at) + 4.0 * density(at + step / 2.0) + density(at + step);
            below.push(sum);
        }
        below.iter_mut().for_each(|part| *part /= sum);
        Normal { below }
    }

    /// The probability of less than `at`.
    pub(crate) fn probability(&self, at: f64) -> f64 {
        let place = ((at + END) * STEPS_PER_ONE).clamp(0.0, (self.below.len() - 2) as f64);
        let index = place as usize;
        let (low, high) = (self.below[index], self.below[index + 1]);
        low + (high - low) * (place - index as f64)
    }

    /// What is not exceeded with this probability.
    pub(crate) fn quantile(&self, probability: f64) -> f64 {
        let index = self.below.partition_point(|below| *below <= probability).clamp(1, self.below.len() - 1);
        let (low, high) = (self.below[index - 1], self.below[index]);
        let part = if high > low { (probability - low) / (high - low) } else { 0.0 };
        ((index - 1) as f64 + part) / STEPS_PER_ONE - END
    }
}

/// e to the power of `-of`, for 0 to 32.
fn exp_of_negative(of: f64) -> f64 {
    let small = -of / 1024.0;
    let series = (1..8).rev().fold(1.0, |sum, term| 1.0 + sum * small / f64::from(term));
    (0..10).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn table() -> String {
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
    fn a_fit_is_read_back_as_it_was_printed() {
        let fit = Fit::estimate(&table()).unwrap();
        assert_eq!(Fit::parse(&fit.to_string()).unwrap(), fit);
        let host = include_str!("fit/host.txt");
        assert_eq!(Fit::host().to_string(), host);
        assert!(host.len() < 40_000);
    }

    #[test]
    fn what_is_no_fit_or_no_table_is_said_with_its_line() {
        let fit =
            |line: &str| Fit::parse(&format!("factors 5\ncounter 0 0 9 2 0 7 0:0,10000:4 a\n{line}")).unwrap_err();
        assert_eq!(Fit::parse("").unwrap_err().line, 1);
        let wrong = [
            "counter 1",
            "constant x a",
            "constant 5 ",
            "like 1 1/2 0 b",
            "like 0 1/4 0 b",
            "like 0 1/0 0 b",
            "gauge 0 0 9 0 0 7 0:0,10000:4 b",
            "gauge 0 9 0 1 0 7 0:0,10000:4 b",
            "gauge 0 0 9 1 0 7 0:0,9:4 b",
            "gauge 0 0 9 1 0 7,8 0:0,10000:4 b",
            "gauge 0 0 9 1 0 1001 0:0,10000:4 b",
            "gauge 0 0 9 1 0 7 0:5,10000:4 b",
            "counter 0 0 9 1 0 7 0:-1,10000:4 b",
            "gauge 0 0 9 9 0 7 0:0,10000:9223372036854775807 b",
            "",
        ];
        wrong.iter().for_each(|line| assert_eq!(fit(&format!("{line}\n")).line, 3, "{line}"));
        assert_eq!(fit("sum 5 b").to_string(), "line 3: the kind is to be constant, counter, gauge or like");
        let table = |text: &str| Fit::estimate(text).unwrap_err().to_string();
        assert_eq!(table("time,a\n"), "line 1: the first column is to be timestamp_ms");
        assert_eq!(table("timestamp_ms,a\n1,2\n2,2.5\n"), "line 3: each value is to be an integer below 2^62");
        assert_eq!(table("timestamp_ms,a\n1,2,3\n"), "line 2: there are more values than line 1 has names");
        assert_eq!(table("timestamp_ms,a\n1,2\n"), "line 2: more ticks than end here");
    }

    #[test]
    fn the_normal_distribution_is_as_the_books_have_it() {
        let normal = Normal::new();
        for (at, probability) in [(-3.0, 0.001_349_9), (-1.0, 0.158_655_3), (0.0, 0.5), (1.96, 0.975_002_1)] {
            assert!((normal.probability(at) - probability).abs() < 1e-6, "{at}");
            assert!((normal.quantile(probability) - at).abs() < 1e-4, "{at}");
        }
    }
}
