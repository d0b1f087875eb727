//! `outpost query`: samples of this gateway, from its own journal.
//!
//! ```text
//! expression ── names that it may mean ──> agent ──> samples ── labels, steps, rates ──> table, JSON, CSV
//! ```
//!
//! The agent is asked by name; labels, steps and rates are worked out here, so that a question costs the agent no more
//! than reading.

use agent::question::{Answer, Question, SeriesSamples};
use query::selector::{Expression, NAME_LABEL, Selector};
use query::series::{Answer as Table, Point, Series, scaled};
use query::step::{self, Grid};
use query::suggest::near;
use wire::metric::{DEFINITIONS, Metric};
use wire::series::{Kind, labels};
use wire::time::{Span, Stamp};

use crate::ask::{ask, unexpected};
use crate::failure::Failure;
use crate::moment::unix_of;
use crate::state::StateFolder;

/// Samples asked for: what the agent gives at the most.
const SAMPLE_COUNT_MAX: u32 = 65_536;

/// Values of a label that are named when none of them was meant.
const VALUE_COUNT_MAX: usize = 12;

/// Values in a line of steps that a person takes in.
const STEP_COUNT: u64 = 60;

/// A question of a person on site.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// As it was typed.
    pub(crate) text: String,
    /// As it was read.
    pub(crate) expression: Expression,
    /// How far back.
    pub(crate) since: Span,
    /// From value to value; as sampled when there is none, and for a rate one that fits a line.
    pub(crate) step: Option<Span>,
}

/// Asks the agent, and makes a table of its answer.
///
/// Errors: nothing is named so, or nothing has such labels; the error names what there is.
pub(crate) fn asked(folder: &StateFolder, now: Stamp, wanted: &Wanted) -> Result<Table, Failure> {
    let names = names(&wanted.expression.selector)?;
    let (grid, mut table) = frame(now, wanted)?;
    let before_ms = grid.as_ref().map_or(0, |grid| grid.reach_ms(wanted.expression.rate_window_ms));
    let reach = Span(wanted.since.0.saturating_add(before_ms));
    let question = Question::Samples { names: names.clone(), since: reach, sample_count_max: SAMPLE_COUNT_MAX };
    let Answer::Samples { series, is_cut } = ask(folder, question)? else { return Err(unexpected()) };
    if series.is_empty() {
        return Err(Failure::Failed(format!(
            "{} has no samples in the last {}; --since reaches further back, and `outpost status` says whether ticks \
             are taken",
            list(&names, 3),
            query::duration::format(wanted.since.0)
        )));
    }
    fill(&mut table, &series, now, wanted, grid.as_ref());
    if table.series.is_empty() && !series.iter().any(|series| is_meant(&wanted.expression.selector, series)) {
        return Err(Failure::Failed(no_such_labels(&wanted.expression.selector, &series)));
    }
    if is_cut {
        table.notes.push("older samples were left out: ask for fewer series or a shorter span".to_owned());
    }
    Ok(table)
}

/// The names of the catalogue that the selector may mean: the agent takes nothing else.
fn names(selector: &Selector) -> Result<Vec<String>, Failure> {
    let is_meant = |name: &str| {
        selector.matchers().iter().filter(|matcher| matcher.label() == NAME_LABEL).all(|matcher| matcher.test(name))
    };
    let all = || DEFINITIONS.iter().map(|definition| definition.name);
    let found: Vec<String> = all().filter(|name| is_meant(name)).map(str::to_owned).collect();
    if found.is_empty() {
        let near = selector.name().map(|name| near(name, all())).unwrap_or_default();
        let what =
            selector.name().map_or("no metric has such a name".to_owned(), |name| format!("no metric is named {name}"));
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
        return Err(Failure::Failed(format!("{what}{hint}")));
    }
    // An empty list is every name, and shorter.
    Ok(if found.len() == DEFINITIONS.len() { Vec::new() } else { found })
}

/// The grid, if there is one, and the table without series.
fn frame(now: Stamp, wanted: &Wanted) -> Result<(Option<Grid>, Table), Failure> {
    // Without a calendar the boot's own clock is one that began in 1970.
    let now_ms = now.unix.map_or(now.uptime.0, |unix| unix.0);
    let is_rate = wanted.expression.rate_window_ms.is_some();
    let step_ms = match wanted.step {
        Some(step) => Some(step.0),
        None => is_rate.then(|| Grid::step_for(wanted.since.0, STEP_COUNT)),
    };
    let to_ms = step_ms.map_or(now_ms, |step_ms| now_ms / step_ms.max(1) * step_ms.max(1));
    let from_ms = to_ms.saturating_sub(wanted.since.0);
    let grid = step_ms.map(|step_ms| Grid::new(from_ms, to_ms, step_ms)).transpose();
    let grid = grid.map_err(|error| Failure::Failed(error.to_string()))?;
    let expression = wanted.text.clone();
    Ok((grid, Table { expression, is_rate, from_ms, to_ms, step_ms, series: Vec::new(), notes: Vec::new() }))
}

fn fill(table: &mut Table, series: &[SeriesSamples], now: Stamp, wanted: &Wanted, grid: Option<&Grid>) {
    let mut unplaced_count = 0;
    let mut is_gauge = false;
    let mut placed = Vec::new();
    for found in series.iter().filter(|series| is_meant(&wanted.expression.selector, series)) {
        let mut points = Vec::with_capacity(found.samples.len());
        for (stamp, value) in &found.samples {
            match place_ms(*stamp, now) {
                Some(at_ms) => points.push(Point { at_ms, value: scaled(*value, found.series.scale) }),
                None => unplaced_count += 1,
            }
        }
        // A clock that was set back puts later samples before earlier ones.
        points.sort_by_key(|point| point.at_ms);
        is_gauge |= found.series.kind() == Kind::Gauge;
        let labels = labels(&found.series.labels).map(|(name, value)| (name.to_owned(), value)).collect();
        placed.push(Series { name: found.series.name.clone(), labels, points });
    }
    table.series = match grid {
        Some(grid) => step::align(placed, grid, wanted.expression.rate_window_ms),
        None => {
            placed.iter_mut().for_each(|series| series.points.retain(|point| point.at_ms >= table.from_ms));
            placed.retain(|series| !series.points.is_empty());
            placed
        }
    };
    if table.series.is_empty() && grid.is_some() && !series.is_empty() {
        let what = if table.is_rate { "two samples in its window" } else { "a sample" };
        table.notes.push(format!("no step has {what}: a shorter --step ends nearer to now"));
    }
    if unplaced_count > 0 {
        table.notes.push(format!("{unplaced_count} samples of boots that never knew the date cannot be placed"));
    }
    if is_gauge && table.is_rate {
        table.notes.push("rate is made for counters; of a gauge it takes every fall for a reset".to_owned());
    }
}

/// Where a sample is on the table's axis.
pub(crate) fn place_ms(stamp: Stamp, now: Stamp) -> Option<u64> {
    match now.unix {
        Some(_) => unix_of(stamp, now).map(|unix| unix.0),
        None => (stamp.boot == now.boot).then_some(stamp.uptime.0),
    }
}

fn is_meant(selector: &Selector, series: &SeriesSamples) -> bool {
    let labels: Vec<(&str, String)> = labels(&series.series.labels).collect();
    selector.matches(&series.series.name, labels.iter().map(|(name, value)| (*name, value.as_str())))
}

/// Says which values there are of the labels that the selector looks at.
fn no_such_labels(selector: &Selector, series: &[SeriesSamples]) -> String {
    let mut text = "no series has such labels".to_owned();
    for matcher in selector.matchers().iter().filter(|matcher| matcher.label() != NAME_LABEL) {
        let mut values: Vec<String> = series
            .iter()
            .flat_map(|series| labels(&series.series.labels))
            .filter(|(name, _)| *name == matcher.label())
            .map(|(_, value)| format!("{value:?}"))
            .collect();
        values.sort();
        values.dedup();
        text += &match values.is_empty() {
            true => format!("; no label is named {}", matcher.label()),
            false => format!("; {} is {}", matcher.label(), list(&values, VALUE_COUNT_MAX)),
        };
    }
    text
}

/// The first of some words, and how many more there are.
fn list(words: &[String], count_max: usize) -> String {
    let shown = words.iter().take(count_max).cloned().collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(count_max) {
        0 if words.is_empty() => "this machine".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What the catalogue says of the metrics in a table, a line each: what a person may not know by heart.
pub(crate) fn help(table: &Table) -> String {
    let mut names: Vec<&str> = table.series.iter().map(|series| series.name.as_str()).collect();
    names.dedup();
    match names[..] {
        [name] => {
            Metric::named(name.as_bytes()).map_or(String::new(), |metric| format!("{}\n", metric.definition().help))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use wire::series::Series as WireSeries;
    use wire::time::{BootId, Instant, UnixTime};

    use super::*;

    const NOW: Stamp = Stamp { boot: BootId(7), uptime: Instant(600_000), unix: Some(UnixTime(1_767_225_600_000)) };

    fn wanted(text: &str, since_s: u64, step_s: Option<u64>) -> Wanted {
        Wanted {
            text: text.to_owned(),
            expression: Expression::parse(text).unwrap(),
            since: Span::seconds(since_s),
            step: step_s.map(Span::seconds),
        }
    }

    /// One sample each ten seconds of the last ten minutes: the tick's number.
    fn series(name: &str, labels: &str, kind: Kind) -> SeriesSamples {
        let samples = (1..=60).map(|tick| (Stamp { uptime: Instant(tick * 10_000), ..NOW }, tick as i64)).collect();
        let series = WireSeries { name: name.to_owned(), labels: labels.to_owned(), kind: kind as u8, scale: -1 };
        SeriesSamples { series, samples }
    }

    fn filled(wanted: &Wanted, series: &[SeriesSamples]) -> Table {
        let (grid, mut table) = frame(NOW, wanted).unwrap();
        fill(&mut table, series, NOW, wanted, grid.as_ref());
        table
    }

    #[test]
    fn samples_are_scaled_and_placed_as_they_were_taken() {
        let table = filled(&wanted("node_load1", 20, None), &[series("node_load1", "", Kind::Gauge)]);
        let points: Vec<(u64, f64)> = table.series[0].points.iter().map(|point| (point.at_ms, point.value)).collect();
        let now = 1_767_225_600_000;
        assert_eq!(points, [(now - 20_000, 5.8), (now - 10_000, 5.9), (now, 6.0)]);
        assert_eq!((table.step_ms, table.notes.len()), (None, 0));
    }

    #[test]
    fn labels_choose_and_steps_thin_out() {
        let all = [
            series("node_cpu_seconds_total", "cpu=\"0\",mode=\"idle\"", Kind::Counter),
            series("node_cpu_seconds_total", "cpu=\"1\",mode=\"idle\"", Kind::Counter),
        ];
        let table = filled(&wanted("node_cpu_seconds_total{cpu=\"1\"}", 300, Some(60)), &all);
        assert_eq!(table.series.len(), 1);
        assert_eq!(
            table.series[0].labels,
            [("cpu".to_owned(), "1".to_owned()), ("mode".to_owned(), "idle".to_owned())]
        );
        assert_eq!(table.series[0].points.len(), 6);
        let rate = filled(&wanted("rate(node_cpu_seconds_total{cpu=\"1\"}[1m])", 300, Some(60)), &all);
        assert!(rate.series[0].points.iter().all(|point| (point.value - 0.01).abs() < 1e-9), "{rate:?}");
        assert!(rate.notes.is_empty());
    }

    #[test]
    fn a_rate_of_a_gauge_is_answered_with_a_note() {
        let table = filled(&wanted("rate(node_load1[1m])", 300, None), &[series("node_load1", "", Kind::Gauge)]);
        assert!(table.notes[0].contains("made for counters"));
        assert_eq!(table.step_ms, Some(5000));
    }

    #[test]
    fn a_name_that_does_not_exist_is_answered_with_those_near_it() {
        let error = names(&Selector::parse("node_laod1").unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("no metric is named node_laod1; did you mean node_load1"), "{error}");
        let error = names(&Selector::parse("{__name__=~\"x.*\"}").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "no metric has such a name");
    }

    #[test]
    fn a_pattern_asks_for_every_name_that_it_means() {
        let asked = |text| names(&Selector::parse(text).unwrap()).unwrap();
        assert_eq!(asked("{__name__=~\"node_load.*\"}"), ["node_load1", "node_load15", "node_load5"]);
        assert_eq!(asked("{mode=\"idle\"}"), Vec::<String>::new());
    }

    #[test]
    fn labels_that_no_series_has_are_answered_with_those_there_are() {
        let all = [series("node_cpu_seconds_total", "cpu=\"0\",mode=\"idle\"", Kind::Counter)];
        let selector = Selector::parse("node_cpu_seconds_total{mode=\"idel\",core=\"0\"}").unwrap();
        assert!(!is_meant(&selector, &all[0]));
        let text = no_such_labels(&selector, &all);
        assert_eq!(text, "no series has such labels; mode is \"idle\"; no label is named core");
    }

    #[test]
    fn a_machine_without_a_date_is_asked_by_its_own_clock() {
        let now = Stamp { unix: None, ..NOW };
        assert_eq!(place_ms(Stamp { uptime: Instant(5), ..now }, now), Some(5));
        assert_eq!(place_ms(Stamp { boot: BootId(6), ..now }, now), None);
        let (_, table) = frame(now, &wanted("node_load1", 60, None)).unwrap();
        assert_eq!((table.from_ms, table.to_ms), (540_000, 600_000));
    }
}
