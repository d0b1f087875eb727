//! The answer to a question about samples.
//!
//! A year at ten-second ticks is three million samples of one series, and an answer in steps of a day needs none of
//! them for longer than it takes to pass them. So the grid is cut in halves until each part's samples fit the bound,
//! and the values of the parts stand in one row at the end: what is held in memory is bounded, whatever the span.

use std::collections::{BTreeMap, BTreeSet};

use hub::request::Member;
use query::selector::Expression;
use query::series::{Point, Series, scaled};
use query::step::{self, Grid};
use query::{duration, suggest};
use store::Store;
use store::notes::Notes;
use store::range::{QueryError, Question, Target};
use wire::series::Kind;
use wire::time::UnixTime;

use crate::call::{SamplesCall, SamplesFound, SeriesFound};
use crate::notes;

/// The label under which a device's name is matched and shown, as dashboards know it.
pub const INSTANCE_LABEL: &str = "instance";

/// The same name once more, on series that have no such label themselves: node_exporter calls disks and interfaces so.
pub const DEVICE_LABEL: &str = "device";

/// The label under which a device's group is matched and shown.
pub const GROUP_LABEL: &str = "group";

/// Samples that are held at once: 32 MiB of them.
pub const SAMPLE_COUNT_MAX: usize = 2 << 20;

/// Values in one answer: with their times they fit [`crate::call::OUTCOME_BYTES_MAX`] twice.
pub const VALUE_COUNT_MAX: usize = 2 << 20;

/// Names and labels of a series.
type SeriesKey = (String, Vec<(String, String)>);

/// What the devices of the fleet are called in questions and answers.
pub fn targets(members: &[Member]) -> Vec<Target> {
    let named = |label: &str, member: &Member| (label.to_owned(), member.device.name.clone());
    let group = |member: &Member| member.device.group.clone().map(|group| (GROUP_LABEL.to_owned(), group));
    members
        .iter()
        .map(|member| Target {
            device: member.id(),
            labels: [named(INSTANCE_LABEL, member)].into_iter().chain(group(member)).collect(),
            default_labels: vec![named(DEVICE_LABEL, member)],
        })
        .collect()
}

/// Answers one question.
///
/// Errors: what to tell the person who asked.
pub fn samples(store: &Store, members: &[Member], call: &SamplesCall) -> Result<SamplesFound, String> {
    samples_within(store, members, call, SAMPLE_COUNT_MAX)
}

fn samples_within(
    store: &Store,
    members: &[Member],
    call: &SamplesCall,
    samples_max: usize,
) -> Result<SamplesFound, String> {
    let text = &call.expression;
    let expression =
        Expression::parse(text).map_err(|error| format!("this is no expression:\n{}", error.pointed(text)))?;
    let mut reader = Reader {
        store,
        expression: &expression,
        targets: &targets(members),
        samples_max,
        values: BTreeMap::new(),
        value_count: 0,
        gauges: BTreeSet::new(),
        notes: Notes::default(),
    };
    match call.step {
        Some(span) => {
            let grid = Grid::new(call.from.0, call.to.0, span.0).map_err(|error| error.to_string())?;
            reader.read(call.from.0, span.0, grid.times().len() as u64)?;
        }
        None if expression.rate_window_ms.is_some() => return Err("a rate needs a step: leave out --raw".into()),
        None => reader.read_raw(call.from, call.to)?,
    }
    let Reader { values, notes, gauges, .. } = reader;
    let mut found = SamplesFound { notes: notes::sentences(&notes, members), ..SamplesFound::default() };
    found
        .notes
        .extend(gauges.iter().map(|name| format!("{name} goes up and down: rate() says something of counters only")));
    if let (Some(window_ms), Some(span)) = (expression.rate_window_ms, notes::longest_window(&notes))
        && window_ms < 2 * span.0
    {
        let span = duration::format(2 * span.0);
        found.notes.push(format!("a rate needs two values in its window: those of all windows take [{span}] at least"));
    }
    for ((name, labels), points) in values {
        let points = points.into_iter().map(|point| (point.at_ms, point.value)).collect();
        found.series.push(SeriesFound { name, labels, points });
    }
    if found.series.is_empty() {
        found.missing = missing(store, members, &expression)?;
    }
    Ok(found)
}

struct Reader<'a> {
    store: &'a Store,
    expression: &'a Expression,
    targets: &'a [Target],
    samples_max: usize,
    values: BTreeMap<SeriesKey, Vec<Point>>,
    value_count: usize,
    /// Names of series that are no counters and whose rate was asked for.
    gauges: BTreeSet<String>,
    notes: Notes,
}

impl Reader<'_> {
    /// Reads `count` steps from `from_ms` on.
    fn read(&mut self, from_ms: u64, step_ms: u64, count: u64) -> Result<(), String> {
        let to_ms = from_ms + (count - 1) * step_ms;
        let grid = Grid::new(from_ms, to_ms, step_ms).expect("it is a part of one that was made");
        let window_ms = self.expression.rate_window_ms;
        let reach_ms = grid.reach_ms(window_ms);
        match self.between(UnixTime(from_ms.saturating_sub(reach_ms)), UnixTime(to_ms)) {
            Ok(series) => self.keep(step::align(series, &grid, window_ms)),
            Err(QueryError::TooManySamples { .. }) if count > 1 => {
                let half = count / 2;
                self.read(from_ms, step_ms, half)?;
                self.read(from_ms + half * step_ms, step_ms, count - half)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_raw(&mut self, from: UnixTime, to: UnixTime) -> Result<(), String> {
        let series = self.between(from, to).map_err(|error| match error {
            QueryError::TooManySamples { .. } => format!("{error}, or for values at steps (--step 1h)"),
            QueryError::Store(_) => error.to_string(),
        })?;
        self.keep(series)
    }

    fn between(&mut self, from: UnixTime, to: UnixTime) -> Result<Vec<Series>, QueryError> {
        let selector = &self.expression.selector;
        let question = Question { selector, targets: self.targets, from, to, samples_max: self.samples_max };
        let range = self.store.range(&question)?;
        notes::merge(&mut self.notes, range.notes);
        let mut all = Vec::with_capacity(range.series.len());
        for found in range.series {
            let Some(target) = self.targets.iter().find(|target| target.device == found.device) else { continue };
            if self.expression.rate_window_ms.is_some() && found.series.kind() == Kind::Gauge {
                self.gauges.insert(found.series.name.clone());
            }
            let point = |(at, value): (UnixTime, i64)| Point { at_ms: at.0, value: scaled(value, found.series.scale) };
            let points = found.samples.into_iter().map(point).collect();
            all.push(Series { labels: target.labels_of(&found.series), name: found.series.name, points });
        }
        Ok(all)
    }

    fn keep(&mut self, series: Vec<Series>) -> Result<(), String> {
        for one in series {
            self.value_count += one.points.len();
            if self.value_count > VALUE_COUNT_MAX {
                return Err(format!("more than {VALUE_COUNT_MAX} values: choose a longer --step or fewer series"));
            }
            self.values.entry((one.name, one.labels)).or_default().extend(one.points);
        }
        Ok(())
    }
}

/// Why nothing was found: what was asked for does not exist. None when it exists and is silent in the span.
fn missing(store: &Store, members: &[Member], expression: &Expression) -> Result<Option<String>, String> {
    if members.is_empty() {
        return Ok(Some("no device has enrolled yet: `outpost-hub token new` makes what lets one in".into()));
    }
    // The metric first: what has another name may well have the label that nothing here has.
    let names = store.series_names().map_err(|error| error.to_string())?;
    if let Some(wanted) = expression.selector.name().filter(|wanted| !names.iter().any(|name| name == wanted)) {
        let near = suggest::near(wanted, names.iter().map(String::as_str));
        return Ok(Some(format!("no device has a metric called {wanted}{}", did_you_mean(&near))));
    }
    let devices: Vec<Option<&str>> = members.iter().map(|member| Some(member.device.name.as_str())).collect();
    let labels = [
        (INSTANCE_LABEL, devices.clone()),
        (DEVICE_LABEL, devices),
        (GROUP_LABEL, members.iter().map(|member| member.device.group.as_deref()).collect()),
    ];
    for matcher in expression.selector.matchers() {
        for (label, names) in &labels {
            if matcher.label() == *label && !names.iter().any(|name| matcher.test(name.unwrap_or_default())) {
                let wanted = matcher.equal().map_or(String::new(), |wanted| format!(" called {wanted}"));
                let near = suggest::near(matcher.equal().unwrap_or_default(), names.iter().flatten().copied());
                return Ok(Some(format!("there is no {label}{wanted}{}", did_you_mean(&near))));
            }
        }
    }
    Ok(None)
}

fn did_you_mean(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use hal::linux::folder::Folder;
    use store::change::Change;
    use wire::id::JournalId;
    use wire::time::Span;

    use super::*;
    use crate::machine::{BEGAN, Machine, TICK_MS};
    use crate::scratch::Scratch;

    /// A store that holds an hour of two series of one machine, and the machine as the fleet has it.
    fn store(scratch: &Scratch) -> (Store, Vec<Member>) {
        let store = Store::open(Folder::open(&scratch.0).unwrap(), 1 << 20).unwrap();
        let mut machine = Machine::new();
        let mut records = vec![machine.names(&["node_load1", "ticks_total"])];
        records.extend((0..6).map(|part| machine.run(part * 60 * TICK_MS, 60)));
        let (device, received) = (machine.device(), UnixTime(BEGAN));
        let change = |record| Change::Record { device, journal: JournalId(7), record, received };
        assert_eq!(store.commit(&records.into_iter().map(change).collect::<Vec<_>>()).unwrap(), []);
        (store, vec![machine.member("gw-1")])
    }

    fn call(expression: &str, step: Option<Span>) -> SamplesCall {
        let (from, to) = (UnixTime(BEGAN), UnixTime(BEGAN + 3_600_000));
        SamplesCall { expression: expression.into(), from, to, step }
    }

    #[test]
    fn an_answer_in_parts_is_the_answer_in_one() {
        let scratch = Scratch::new();
        let (store, members) = store(&scratch);
        for expression in ["node_load1", "{__name__=~\".+\"}", "rate(ticks_total[5m])"] {
            let call = call(expression, Some(Span::minutes(1)));
            let whole = samples(&store, &members, &call).unwrap();
            assert!(!whole.series.is_empty());
            for samples_max in [500, 150, 80] {
                assert_eq!(samples_within(&store, &members, &call, samples_max), Ok(whole.clone()), "{expression}");
            }
        }
    }

    #[test]
    fn an_answer_that_no_parts_make_smaller_is_refused() {
        let scratch = Scratch::new();
        let (store, members) = store(&scratch);
        let raw = samples_within(&store, &members, &call("node_load1", None), 100).unwrap_err();
        assert!(raw.contains("more than 100 samples") && raw.contains("--step"), "{raw}");
        let one_step = samples_within(&store, &members, &call("node_load1", Some(Span::minutes(30))), 10).unwrap_err();
        assert!(one_step.contains("more than 10 samples"), "{one_step}");
        let fine = samples(&store, &members, &call("node_load1", Some(Span(1)))).unwrap_err();
        assert!(fine.contains("3600001 steps"), "{fine}");
        assert!(samples(&store, &members, &call("rate(ticks_total[1m])", None)).unwrap_err().contains("--raw"));
        assert!(samples(&store, &members, &call("node_load1{", None)).unwrap_err().contains('^'));
    }

    #[test]
    fn an_empty_fleet_says_how_to_begin() {
        let scratch = Scratch::new();
        let (store, _) = store(&scratch);
        let missing = samples(&store, &[], &call("node_load1", None)).unwrap().missing.unwrap();
        assert!(missing.contains("token new"), "{missing}");
    }
}
