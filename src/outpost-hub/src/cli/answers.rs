//! `query`, `events` and `stat`: what the store knows.

use std::path::Path;

use query::render::{csv, json, table as samples_table};
use query::selector::Expression;
use query::series::{Answer, Point, Series};
use query::time;
use query::unit::{Shown, Unit};
use serde::Serialize;

use crate::args::Format;
use crate::call::{Call, EventFound, EventsCall, Outcome, SamplesCall, SamplesFound, StatFound};
use crate::cli::{ask, nonsense, say_notes, show, show_json};
use crate::table::table;

/// Shows what was measured.
pub fn query(folder: &Path, call: SamplesCall, format: Format) -> Result<(), String> {
    let Outcome::Samples(found) = ask(folder, &Call::Samples(call.clone()))? else { return Err(nonsense()) };
    let missing = found.missing.clone();
    let mut answer = answer(call, found);
    // Programs find the notes in the answer, people in front of it.
    say_notes(&answer.notes);
    if format != Format::Json {
        answer.notes.clear();
    }
    match (missing, format) {
        (Some(missing), Format::Json) => show(&(json::render(&answer) + "\n")).and(Err(missing)),
        (Some(missing), _) => Err(missing),
        (None, Format::Csv) => show(&csv::render(&answer)),
        (None, Format::Json) => show(&(json::render(&answer) + "\n")),
        (None, Format::Steps) => show(&samples_table::steps(&answer).unwrap_or_else(|| samples_table::render(&answer))),
        (None, Format::Table) => show(&samples_table::render(&answer)),
    }
}

fn answer(call: SamplesCall, found: SamplesFound) -> Answer {
    let points = |points: Vec<(u64, f64)>| points.into_iter().map(|(at_ms, value)| Point { at_ms, value }).collect();
    let series = found.series.into_iter().map(|series| Series {
        name: series.name,
        labels: series.labels,
        points: points(series.points),
    });
    Answer {
        is_rate: Expression::parse(&call.expression).is_ok_and(|expression| expression.rate_window_ms.is_some()),
        expression: call.expression,
        from_ms: call.from.0,
        to_ms: call.to.0,
        step_ms: call.step.map(|step| step.0),
        series: series.collect(),
        notes: found.notes,
    }
}

/// Shows what happened.
pub fn events(folder: &Path, call: EventsCall, is_json: bool) -> Result<(), String> {
    let Outcome::Events(found) = ask(folder, &Call::Events(call))? else { return Err(nonsense()) };
    if is_json {
        let events = found.events.iter().map(EventShown::of).collect();
        return show_json(&EventsShown { events, notes: &found.notes });
    }
    say_notes(&found.notes);
    if found.events.is_empty() {
        return show("nothing happened in this span\n");
    }
    let rows: Vec<Vec<String>> = found.events.iter().map(event_row).collect();
    show(&table(&["TIME (UTC)", "DEVICE", "EVENT"], &rows))
}

fn event_row(found: &EventFound) -> Vec<String> {
    let at = match found.at {
        Some(at) => time::format(at.0 / 1000 * 1000),
        None => format!("boot {} +{} s", found.boot, found.uptime.0 / 1000),
    };
    vec![at, found.device.clone(), found.event.to_string()]
}

#[derive(Debug, Serialize)]
struct EventsShown<'a> {
    events: Vec<EventShown<'a>>,
    notes: &'a [String],
}

/// An event as JSON shows it.
#[derive(Debug, Serialize)]
struct EventShown<'a> {
    at_ms: Option<u64>,
    device: &'a str,
    boot: String,
    uptime_ms: u64,
    text: String,
    event: &'a wire::event::Event,
}

impl EventShown<'_> {
    fn of(found: &EventFound) -> EventShown<'_> {
        EventShown {
            at_ms: found.at.map(|at| at.0),
            device: &found.device,
            boot: found.boot.to_string(),
            uptime_ms: found.uptime.0,
            text: found.event.to_string(),
            event: &found.event,
        }
    }
}

/// Shows how much is held.
pub fn stat(folder: &Path, is_json: bool) -> Result<(), String> {
    let Outcome::Stat(stat) = ask(folder, &Call::Stat)? else { return Err(nonsense()) };
    if is_json {
        return show_json(&stat);
    }
    show(&stat_text(&stat))
}

fn stat_text(stat: &StatFound) -> String {
    let bytes = Shown { unit: Unit::Bytes, is_per_second: false };
    let mut rows = vec![
        ("devices", stat.devices.to_string()),
        ("series", stat.series.to_string()),
        ("samples", stat.samples.to_string()),
        ("batches", stat.batches.to_string()),
        ("lost", stat.lost.to_string()),
        ("duplicates", stat.duplicates.to_string()),
        ("gaps", stat.gaps.to_string()),
    ];
    // Of these nobody has heard as long as all is well.
    let rare = [
        ("waiting for the batch before", stat.waiting),
        ("runs without names", stat.nameless),
        ("unreadable records", stat.unreadable),
        ("ticks without a time", stat.unplaced),
        ("messages of a later version", stat.skipped),
    ];
    rows.extend(rare.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name, count.to_string())));
    rows.push(("records", bytes.format(stat.record_bytes as f64)));
    rows.push(("on disk", bytes.format(stat.disk_bytes as f64)));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use wire::event::Event;
    use wire::time::{BootId, Instant, UnixTime};

    use super::*;

    #[test]
    fn what_is_held_is_a_line_each_and_json_in_one() {
        let stat = StatFound { devices: 3, samples: 12, record_bytes: 1536, waiting: 2, ..StatFound::default() };
        let text = stat_text(&stat);
        assert!(text.contains("samples                       12\n"), "{text}");
        assert!(text.contains("waiting for the batch before  2\n") && !text.contains("unreadable"), "{text}");
        assert!(text.contains("records                       1.50 KiB\n"), "{text}");
        let line = serde_json::to_string(&stat).unwrap();
        assert!(line.starts_with(
            "{\"devices\":3,\"series\":0,\"samples\":12,\"batches\":0,\"lost\":0,\"duplicates\":0,\"gaps\":0,"
        ));
    }

    #[test]
    fn an_event_without_a_place_shows_its_boot() {
        let mut found = EventFound {
            device: "gw-1".into(),
            boot: BootId(0xab),
            uptime: Instant(61_500),
            at: None,
            event: Event::Stopped,
        };
        assert_eq!(event_row(&found), ["boot 000000ab +61 s", "gw-1", "agent stopped"]);
        found.at = Some(UnixTime(1_767_225_600_999));
        assert_eq!(event_row(&found)[0], "2026-01-01T00:00:00Z");
        let line = serde_json::to_string(&EventShown::of(&found)).unwrap();
        assert_eq!(
            line,
            "{\"at_ms\":1767225600999,\"device\":\"gw-1\",\"boot\":\"000000ab\",\"uptime_ms\":61500,\
             \"text\":\"agent stopped\",\"event\":\"Stopped\"}"
        );
    }
}
