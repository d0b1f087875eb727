//! What a bad link costs and carries: the real cores of gateway and hub over an emulated link, held against their bars.
//!
//! | part | what |
//! |---|---|
//! | `line` | the link, byte by byte |
//! | `stage` | a gateway, a hub, and the link between them |
//! | `samples` | the fitted load on its way into a gateway |
//! | `parts` | a gateway of which only some streams are recorded |
//! | `price` | bytes of an idle day, of a report, of a day of windows and of ticks |
//! | `backlog` | the time that a week takes, and an alert that overtakes it |
//! | `trouble` | reconnecting, losses, changing links, a quarter of a year without any |
//! | `years` | a thousand years of outages, in which nothing is doubled or lost unsaid |
//!
//! Over datagrams every byte is that of the real programs. Over TLS it is a model: 74 bytes around what is written at once, and
//! acknowledgements where TCP would send them; `tests/lab` has the real ones.

mod backlog;
mod line;
mod parts;
mod price;
mod samples;
mod stage;
mod trouble;
mod years;

use std::fmt;

use wire::time::Span;

use crate::fit::Fit;

const HOUR: Span = Span::minutes(60);
const DAY: Span = Span::minutes(24 * 60);

/// What a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is of.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it is held to, if to anything.
    pub bar: Option<Bar>,
}

impl Figure {
    fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure { name: name.into(), value, unit, bar: None }
    }

    fn at_most(self, bar: f64) -> Figure {
        Figure { bar: Some(Bar::AtMost(bar)), ..self }
    }

    fn at_least(self, bar: f64) -> Figure {
        Figure { bar: Some(Bar::AtLeast(bar)), ..self }
    }
}

/// As one JSON object.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { name, value, unit, bar } = self;
        write!(f, "{{\"simulated\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\"")?;
        match bar {
            Some(Bar::AtMost(bar)) => write!(f, ",\"bar\":{bar}}}"),
            Some(Bar::AtLeast(bar)) => write!(f, ",\"bar\":{bar},\"at_least\":true}}"),
            None => f.write_str("}"),
        }
    }
}

/// An experiment: what it is called, and what it finds.
type Experiment = (&'static str, fn(&Fit, u64) -> Result<Vec<Figure>, String>);

const EXPERIMENTS: [Experiment; 10] = [
    ("idle", price::idle_day),
    ("report", price::report),
    ("day", price::days),
    ("week", backlog::weeks),
    ("alerts", backlog::alerts),
    ("reconnect", trouble::reconnect),
    ("poor", trouble::poor),
    ("walk", trouble::walk),
    ("tiers", trouble::tiers),
    ("quarter", trouble::quarter),
];

/// The experiment that is a world of its own.
const YEARS: &str = "years";

/// What to measure.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The first seed.
    pub seed: u64,
    /// Only the experiments of these names; all when there are none.
    pub only: &'a [String],
    /// How many gateway-years.
    pub years: u64,
    /// Is told how many of them have passed.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Runs experiments, and hands each figure to `print`.
///
/// Errors: an experiment did not come to its end, or lost something.
pub fn uplink(fit: &Fit, options: &Options<'_>, mut print: impl FnMut(&Figure)) -> Result<(), String> {
    let Options { seed, only, years, progress } = *options;
    let names: Vec<&str> = EXPERIMENTS.iter().map(|(name, _)| *name).chain([YEARS]).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no experiment is called {unknown}; there are {}", names.join(", ")));
    }
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    for (name, run) in EXPERIMENTS.iter().filter(|(name, _)| is_wanted(name)) {
        run(fit, seed).map_err(|error| format!("{name}: {error}"))?.iter().for_each(&mut print);
    }
    if is_wanted(YEARS) {
        let figures = years::years(seed, years, progress).map_err(|error| format!("{YEARS}: {error}"))?;
        figures.iter().for_each(&mut print);
    }
    Ok(())
}
