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

mod estimate;
mod normal;

pub(crate) use normal::Normal;

use std::fmt;

/// One, in what a correlation is told in.
pub const PERMILLE: i16 = 1000;

/// One, in what a knot's probability is told in.
pub const CERTAIN: u16 = 10_000;

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

#[cfg(test)]
mod tests {
    use super::estimate::tests::table;
    use super::*;

    #[test]
    fn a_fit_is_read_back_as_it_was_printed() {
        let fit = Fit::estimate(&table()).unwrap();
        assert_eq!(Fit::parse(&fit.to_string()).unwrap(), fit);
        let host = include_str!("fit/host.txt");
        assert_eq!(Fit::host().to_string(), host);
        assert!(host.len() < 40_000);
    }

    #[test]
    fn what_is_no_fit_is_said_with_its_line() {
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
    }
}
