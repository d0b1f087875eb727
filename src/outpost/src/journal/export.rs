//! `outpost journal export`: what the journal holds of a lane as rows, batch by batch.
//!
//! ```text
//! batch -> Runs: decoded behind the one before it, named by the List that its run means -> Rows: written as CSV or JSON
//! ```
//!
//! In memory are one batch and one generation of the dictionary. What cannot be given is counted in [`Lacks`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use journal::inspect::{Inspection, Step};
use query::render::{csv, json};
use query::series::{Answer, Point, Series, scaled};
use wire::batch::{self, DictionaryHash, DictionaryMark, PayloadError, TickReader};
use wire::class::{CLASS_COUNT, Class};
use wire::event::Event;
use wire::id::Seq;
use wire::record::{Header, Record};
use wire::series::{Kind, labels};
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp};
use wire::window::{self, WindowReader};

use super::batches;
use crate::args::Form;
use crate::events;
use crate::samples::place_ms;

/// Why an export ended before its end.
#[derive(Debug)]
pub(crate) enum ExportError {
    /// The journal cannot be read.
    Journal(io::Error),
    /// The rows cannot be written.
    Output(io::Error),
}

/// What an export could not give. All in batches, but for samples and events without a date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    damaged_count: u64,
    pub(super) undecodable_count: u64,
    unnamed_count: u64,
    unplaced_count: u64,
}

impl Lacks {
    /// What is damaged, for whoever must not take the export for all there was.
    pub(crate) fn failure(&self) -> Option<String> {
        (self.damaged_count > 0).then(|| {
            format!(
                "the export lacks what is damaged in {} at least: `outpost journal verify` names it",
                places(self.damaged_count)
            )
        })
    }

    /// What else is left out, a sentence each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = [
            (
                self.undecodable_count,
                "cannot be decoded, since their run lacks others: `outpost journal verify` names them",
            ),
            (self.unnamed_count, "have samples of series that the dictionary does not name"),
        ];
        let mut notes: Vec<String> = notes
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{} {why}", batches(*count)))
            .collect();
        if self.unplaced_count > 0 {
            let count = self.unplaced_count;
            notes.push(format!("{count} samples of boots that never knew the date cannot be placed"));
        }
        notes
    }
}

fn places(count: u64) -> String {
    if count == 1 { "1 place".to_owned() } else { format!("{count} places") }
}

/// What is to be exported, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) lane: Lane,
    /// How far back; everything when there is none.
    pub(crate) since: Option<Span>,
    /// A table is for nobody here and comes as CSV.
    pub(crate) form: Form,
}

/// Writes what the journal holds of a lane, batch by batch.
pub(crate) fn export(
    inspection: &Inspection,
    now: Stamp,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<Lacks, ExportError> {
    let mut rows = Rows { now, wanted, out, output_error: None, lacks: Lacks::default() };
    match rows.put_lane(inspection) {
        Ok(()) => Ok(rows.lacks),
        Err(error) => Err(match rows.output_error {
            Some(error) => ExportError::Output(error),
            None => ExportError::Journal(error),
        }),
    }
}

/// An export in the making.
struct Rows<'a> {
    now: Stamp,
    wanted: Wanted,
    out: &'a mut dyn Write,
    /// What the output refused with: it must not be taken for the journal's.
    output_error: Option<io::Error>,
    lacks: Lacks,
}

impl Rows<'_> {
    fn put_lane(&mut self, inspection: &Inspection) -> io::Result<()> {
        match self.wanted.lane {
            Lane::Raw | Lane::Summary => self.put_samples(inspection)?,
            Lane::Urgent => self.put_events(inspection)?,
        }
        let flushed = self.out.flush();
        self.noted(flushed)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let written = self.out.write_all(text.as_bytes());
        self.noted(written)
    }

    fn noted(&mut self, result: io::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            let kind = error.kind();
            self.output_error = Some(error);
            kind.into()
        })
    }

    fn is_json(&self) -> bool {
        self.wanted.form == Form::Json
    }

    fn put_header(&mut self, header: &str) -> io::Result<()> {
        if self.is_json() { Ok(()) } else { self.put(header) }
    }

    /// Notes what is damaged. Gives back a batch that is whole.
    fn whole<'r>(&mut self, step: Step<'r>) -> Option<Record<'r>> {
        match step {
            Step::Batch(record) => return Some(record),
            Step::Broken | Step::Damaged(_) | Step::Unread => self.lacks.damaged_count += 1,
            Step::Gone(_) | Step::Open { .. } => {}
        }
        None
    }

    /// The number to begin with.
    fn start(&self, inspection: &Inspection, stream: Stream) -> io::Result<Seq> {
        let Some(from_ms) = self.since_ms() else { return Ok(Seq(0)) };
        inspection.run_before(stream, |stamp| place_ms(stamp, self.now).is_some_and(|at_ms| at_ms < from_ms))
    }

    fn since_ms(&self) -> Option<u64> {
        let now_ms = self.now.unix.map_or(self.now.uptime.0, |unix| unix.0);
        self.wanted.since.map(|since| now_ms.saturating_sub(since.0))
    }

    fn put_events(&mut self, inspection: &Inspection) -> io::Result<()> {
        self.put_header(events::CSV_HEADER)?;
        let start = self.start(inspection, Stream::Event)?;
        let mut scratch = Vec::new();
        inspection.walk(Stream::Event, start, &mut |step| {
            let Some(record) = self.whole(step) else { return Ok(()) };
            let stamp = record.header.stamp;
            let Ok(payload) = record.payload(&mut scratch) else {
                self.lacks.undecodable_count += 1;
                return Ok(());
            };
            let mut of_batch: Vec<(Stamp, Event)> = Vec::new();
            for event in batch::events(payload) {
                match event {
                    Ok((after, Some(event))) => of_batch.push((stamp.at(stamp.uptime + after), event)),
                    // Of another release.
                    Ok((_, None)) => {}
                    Err(_) => self.lacks.undecodable_count += 1,
                }
            }
            of_batch.retain(|(at, _)| self.wanted.since.is_none_or(|since| events::is_within(*at, self.now, since)));
            self.put(&match self.is_json() {
                true => events::json(&of_batch, self.now),
                false => events::csv(&of_batch, self.now),
            })
        })
    }

    fn put_samples(&mut self, inspection: &Inspection) -> io::Result<()> {
        let lane = self.wanted.lane;
        let columns = columns(inspection, if lane == Lane::Summary { &WINDOW_LABELS } else { &[] })?;
        let header = csv::render(&Answer { series: vec![columns.clone()], ..Answer::default() });
        self.put_header(&header)?;
        // What an extract copied is, or was, among the ticks.
        let is_wanted = |stream: &Stream| stream.lane() == lane && !stream.is_copy();
        for stream in Stream::ALL.into_iter().filter(is_wanted) {
            let mut runs = Runs::new(inspection);
            let start = self.start(inspection, stream)?;
            inspection.walk(stream, start, &mut |step| {
                let Some(record) = self.whole(step) else { return Ok(()) };
                let (now, from_ms) = (self.now, self.since_ms());
                let place = |stamp| place_ms(stamp, now);
                let Some((mut answer, unplaced_count)) = runs.read(record, place, from_ms, &mut self.lacks)? else {
                    return Ok(());
                };
                self.lacks.unplaced_count += unplaced_count;
                if answer.series.is_empty() {
                    return Ok(());
                }
                if self.is_json() {
                    return self.put(&(json::render(&answer) + "\n"));
                }
                // Without points it adds its columns and no row.
                answer.series.push(columns.clone());
                self.put(&csv::render(&answer)[header.len()..])
            })?;
        }
        Ok(())
    }
}

/// Labels that say which window a row is of, and what of it.
const WINDOW_LABELS: [&str; 2] = ["window", "statistic"];

/// Quantiles that are exported of windows with a sketch, in thousandths.
const QUANTILES: [(&str, u32); 3] = [("p50", 500), ("p95", 950), ("p99", 990)];

/// A series without a name that has every label of every list and those of `more`, so that all rows have the same columns.
fn columns(inspection: &Inspection, more: &[&str]) -> io::Result<Series> {
    let mut names: BTreeSet<String> = more.iter().map(|name| (*name).to_owned()).collect();
    let mut scratch = Vec::new();
    inspection.walk(Stream::Dictionary, Seq(0), &mut |step| {
        let Step::Batch(record) = step else { return Ok(()) };
        let Ok(payload) = record.payload(&mut scratch) else { return Ok(()) };
        let Ok(list) = batch::Dictionary::open(payload) else { return Ok(()) };
        for (_, _, series) in list.entries().map_while(Result::ok) {
            names.extend(labels(series.labels).map(|(name, _)| name.to_owned()));
        }
        Ok(())
    })?;
    let labels = names.into_iter().map(|name| (name, String::new())).collect();
    Ok(Series { name: String::new(), labels, points: Vec::new() })
}

/// A generation of the dictionary, as far as the journal has it.
struct List {
    generation: u32,
    classes: [Slots; CLASS_COUNT],
    /// The hash of the first so many entries.
    hashes: Vec<u32>,
    hash: DictionaryHash,
}

/// What the slots of a class are.
#[derive(Default)]
struct Slots {
    /// Each with its decimal scale; without points but while a batch is read.
    series: Vec<(Series, i8)>,
    kinds: Vec<Kind>,
}

impl List {
    fn new(generation: u32) -> List {
        let hash = DictionaryHash::default();
        List { generation, classes: Default::default(), hashes: vec![hash.value()], hash }
    }

    fn is_meant(&self, mark: DictionaryMark) -> bool {
        self.generation == mark.generation && self.hashes.get(usize::from(mark.count)) == Some(&mark.hash)
    }

    fn push(&mut self, class: Class, series: &wire::series::Series<&str>) {
        let mut entry = Vec::new();
        batch::put_series(series, class, &mut entry);
        self.hash.update(&entry);
        self.hashes.push(self.hash.value());
        let labels = labels(series.labels).map(|(name, value)| (name.to_owned(), value)).collect();
        let slots = &mut self.classes[class.index()];
        slots.series.push((Series { name: series.name.to_owned(), labels, points: Vec::new() }, series.scale));
        slots.kinds.push(series.kind());
    }

    /// Finds the list that a run means. A generation may have been begun twice; the hash tells which.
    fn find(inspection: &Inspection, mark: DictionaryMark) -> io::Result<Option<List>> {
        let (mut list, mut is_over) = (None::<List>, false);
        let mut scratch = Vec::new();
        inspection.walk(Stream::Dictionary, Seq(0), &mut |step| {
            let Step::Batch(record) = step else { return Ok(()) };
            let Ok(payload) = record.payload(&mut scratch) else { return Ok(()) };
            let Ok(opened) = batch::Dictionary::open(payload) else { return Ok(()) };
            if is_over || opened.generation != mark.generation {
                return Ok(());
            }
            if opened.first.0 == 0 {
                is_over = list.as_ref().is_some_and(|list| list.is_meant(mark));
                if is_over {
                    return Ok(());
                }
                list = Some(List::new(mark.generation));
            }
            for (id, class, series) in opened.entries().map_while(Result::ok) {
                // What follows a hole is not known by its place.
                if let Some(list) = list.as_mut().filter(|list| list.hashes.len() == usize::from(id.0) + 1) {
                    list.push(class, &series);
                }
            }
            Ok(())
        })?;
        Ok(list.filter(|list| list.is_meant(mark)))
    }
}

/// Runs, unpacked batch by batch.
struct Runs<'a> {
    inspection: &'a Inspection,
    ticks: TickReader,
    windows: WindowReader,
    /// The run that is read, and the number it goes on with.
    run: Option<(Seq, Seq)>,
    list: Option<List>,
}

impl<'a> Runs<'a> {
    fn new(inspection: &'a Inspection) -> Runs<'a> {
        Runs { inspection, ticks: TickReader::new(), windows: WindowReader::new(), run: None, list: None }
    }

    /// The samples of one batch that `place` puts at `from_ms` or later, and how many it cannot put anywhere.
    fn read(
        &mut self,
        record: Record<'_>,
        place: impl Fn(Stamp) -> Option<u64>,
        from_ms: Option<u64>,
        lacks: &mut Lacks,
    ) -> io::Result<Option<(Answer, u64)>> {
        let header = record.header;
        let is_next = header.is_keyframe() || self.run == Some((header.run, header.seq));
        self.run = None;
        let mut scratch = Vec::new();
        let Some(payload) = record.payload(&mut scratch).ok().filter(|_| is_next) else {
            lacks.undecodable_count += 1;
            return Ok(None);
        };
        if header.is_keyframe()
            && let Ok(mark) = batch::take_mark(&mut &*payload)
            && !self.list.as_ref().is_some_and(|list| list.is_meant(mark))
        {
            self.list = List::find(self.inspection, mark)?;
        }
        let mut placed = Placed { unplaced_count: 0, from_ms, at_ms: None };
        let place = |at| place(header.stamp.at(at));
        let slots = match header.stream {
            Stream::Series(_, class) => self.list.as_mut().map(|list| &mut list.classes[class.index()]),
            _ => None,
        };
        let (read, series) = match (header.stream.lane(), slots) {
            (Lane::Summary, Some(slots)) => windows(&mut self.windows, &header, payload, slots, &mut placed, place),
            // Without the list it is not known what its columns are.
            (Lane::Summary, None) => {
                lacks.unnamed_count += 1;
                return Ok(None);
            }
            (_, slots) => {
                let slots = slots.map_or(&mut [][..], |slots| &mut slots.series[..]);
                let mut has_unnamed = false;
                let read = self.ticks.read(payload, header.is_keyframe(), |tick, values| {
                    placed.at_ms = place(Instant(tick.at_ms));
                    has_unnamed |= values.iter().skip(slots.len()).any(Option::is_some);
                    for (value, (series, scale)) in values.iter().zip(slots.iter_mut()) {
                        if let Some(value) = value {
                            series.points.extend(placed.point(scaled(*value, *scale)));
                        }
                    }
                });
                lacks.unnamed_count += u64::from(has_unnamed);
                let with_points = slots.iter_mut().filter(|(series, _)| !series.points.is_empty());
                let series: Vec<Series> = with_points
                    .map(|(series, _)| {
                        let points = std::mem::take(&mut series.points);
                        Series { name: series.name.clone(), labels: series.labels.clone(), points }
                    })
                    .collect();
                (read, series)
            }
        };
        match read {
            Ok(()) => self.run = Some((header.run, Seq(header.seq.0.saturating_add(1)))),
            // The ticks before the one that cannot be decoded are as good as any.
            Err(_) => lacks.undecodable_count += 1,
        }
        let points = || series.iter().flat_map(|series| series.points.iter().map(|point| point.at_ms));
        let (from_ms, to_ms) = (points().min().unwrap_or(0), points().max().unwrap_or(0));
        let expression = header.stream.shelf().name().to_owned();
        let answer = Answer { expression, from_ms, to_ms, series, ..Answer::default() };
        Ok(Some((answer, placed.unplaced_count)))
    }
}

/// The moment that is read, and how many values cannot be put anywhere.
struct Placed {
    unplaced_count: u64,
    from_ms: Option<u64>,
    at_ms: Option<u64>,
}

impl Placed {
    /// A value at that moment, if it is wanted.
    fn point(&mut self, value: f64) -> Option<Point> {
        let Some(at_ms) = self.at_ms else {
            self.unplaced_count += 1;
            return None;
        };
        self.from_ms.is_none_or(|from_ms| at_ms >= from_ms).then_some(Point { at_ms, value })
    }
}

/// The statistics of a batch's windows, each a series of its own.
fn windows(
    reader: &mut WindowReader,
    header: &Header,
    payload: &[u8],
    slots: &Slots,
    placed: &mut Placed,
    place: impl Fn(Instant) -> Option<u64>,
) -> (Result<(), PayloadError>, Vec<Series>) {
    let mut found: BTreeMap<(usize, &str), Vec<Point>> = BTreeMap::new();
    let span = window::span(header.stream).unwrap_or_default();
    let read =
        reader.read_with_sketches(payload, header.is_keyframe(), &slots.kinds, |extent, index, window, sketch| {
            placed.at_ms = place(extent.began);
            let scale = slots.series[index].1;
            let mut put = |statistic, value| found.entry((index, statistic)).or_default().extend(placed.point(value));
            put("count", window.count.into());
            put("due", extent.due_count(span).into());
            put("last", scaled(window.last, scale));
            match slots.kinds[index] {
                Kind::Counter => put("increase", scaled(window.increase as i64, scale)),
                Kind::Gauge => {
                    put("min", scaled(window.min, scale));
                    put("max", scaled(window.max, scale));
                    put("mean", window.sum() as f64 / f64::from(window.count) * scaled(1, scale));
                    put("stddev_least", window.variance().least.sqrt() * scaled(1, scale));
                    put("stddev_most", window.variance().most.sqrt() * scaled(1, scale));
                }
            }
            for (statistic, per_mille) in QUANTILES {
                if let Some(value) = sketch.and_then(|sketch| sketch.quantile(per_mille)) {
                    put(statistic, value * scaled(1, scale));
                }
            }
            if let Some(sketch) = sketch {
                put("quantile_error", f64::from(sketch.error_per_mille()) / 1000.0);
            }
        });
    let series = found.into_iter().filter(|(_, points)| !points.is_empty()).map(|((index, statistic), points)| {
        let mut series = Series { points, ..slots.series[index].0.clone() };
        let values = [header.stream.shelf().name(), statistic];
        series.labels.extend(WINDOW_LABELS.into_iter().zip(values).map(|(name, value)| (name.into(), value.into())));
        series
    });
    (read, series.collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use stats::sketch::Sketch;
    use wire::class::Class;
    use wire::stream::Resolution;
    use wire::window::{Extent, Window, WindowWriter};

    use super::*;
    use crate::journal::FOLDER;
    use crate::journal::fixture::{append_run, at, exported, filled, opened, put_list, run, verified};
    use crate::state::StateFolder;
    use crate::state::tests::Scratch;

    fn image(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    const ROWS: &str = "time,unix_ms,name,cpu,device,value\r\n\
                        2025-12-31T23:58:30Z,1767225510000,node_load1,,,0.4\r\n\
                        2025-12-31T23:58:30Z,1767225510000,node_cpu_seconds_total,0,,7\r\n\
                        2025-12-31T23:58:31Z,1767225511000,node_load1,,,0.5\r\n\
                        2025-12-31T23:58:40Z,1767225520000,node_up,,\"a,b\",1\r\n";

    #[test]
    fn an_export_beside_an_agent_is_what_was_appended_and_changes_nothing() {
        let Scratch(folder) = &Scratch::new();
        let (held, journal) = filled(folder);
        let before = image(&folder.file(FOLDER));
        assert_eq!(exported(folder, Lane::Raw, None, Form::Table), (ROWS.to_owned(), Lacks::default()));
        let (json, _) = exported(folder, Lane::Raw, None, Form::Json);
        let last = r#"{"expression":"raw","from_ms":1767225520000,"to_ms":1767225520000,"step_ms":null,"series":[{"name":"node_up","labels":{"device":"a,b"},"points":[[1767225520000,1]]}],"notes":[]}"#;
        assert_eq!((json.lines().count(), json.lines().last()), (3, Some(last)));
        let events = "time,unix_ms,boot,uptime_ms,kind,text\r\n\
                      2025-12-31T23:58:21.500Z,1767225501500,00000007,1500,ticks_missed,\"3 ticks were due and not taken\"\r\n";
        assert_eq!(exported(folder, Lane::Urgent, None, Form::Csv).0, events);
        assert_eq!(exported(folder, Lane::Urgent, None, Form::Json).0.lines().count(), 1);
        let summary = exported(folder, Lane::Summary, None, Form::Csv).0;
        assert_eq!(summary, "time,unix_ms,name,cpu,device,statistic,window,value\r\n");
        assert_eq!(exported(folder, Lane::Summary, None, Form::Json).0, "");
        assert_eq!(image(&folder.file(FOLDER)), before);
        drop((held, journal));
        // After it stopped, and a copy of the journal alone.
        assert_eq!(exported(folder, Lane::Raw, None, Form::Csv).0, ROWS);
        let copy = StateFolder::at(Some(folder.file(FOLDER))).unwrap();
        assert_eq!(exported(&copy, Lane::Raw, None, Form::Csv).0, ROWS);
        assert_eq!(image(&folder.file(FOLDER)), before);
    }

    #[test]
    fn windows_are_exported_a_row_for_each_statistic() {
        let Scratch(folder) = &Scratch::new();
        let (_held, mut journal) = opened(folder);
        let mark = put_list(&mut journal, 0, &[("node_load1", "")]);
        let (mut writer, mut window, mut payload) = (WindowWriter::new(), Window::default(), Vec::new());
        let mut sketch = Sketch::new();
        for value in [10, 30, 20] {
            window.gauge(value);
            sketch.add(value);
        }
        writer.push_sketch(0, &sketch);
        let extent = Extent { began: at(0).uptime, tick_count: 3, lacking: Span::seconds(30) };
        writer.push(extent, &[Kind::Gauge], &[window]);
        writer.seal(Some(&mark), &mut payload);
        journal
            .append(at(60), Stream::Series(Resolution::Minute, Class::Normal), None, at(0), &payload, false)
            .unwrap();
        journal.commit(at(60)).unwrap();
        let rows = [
            "count,minute,3",
            "due,minute,6",
            "last,minute,2",
            "max,minute,3",
            "mean,minute,2",
            "min,minute,1",
            "p50,minute,2",
            "p95,minute,3",
            "p99,minute,3",
            "quantile_error,minute,0.01",
            "stddev_least,minute,0.8125",
            "stddev_most,minute,0.875",
        ];
        let mut rows: Vec<String> =
            rows.map(|row| format!("2025-12-31T23:58:20Z,1767225500000,node_load1,{row}")).into();
        rows.insert(0, "time,unix_ms,name,statistic,window,value".to_owned());
        let (exported, lacks) = exported(folder, Lane::Summary, None, Form::Csv);
        assert_eq!(
            (exported.lines().collect::<Vec<_>>(), lacks),
            (rows.iter().map(String::as_str).collect(), Lacks::default())
        );
        assert!(verified(folder).1);
    }

    #[test]
    fn since_leaves_out_what_is_older() {
        let Scratch(folder) = &Scratch::new();
        drop(filled(folder));
        let (rows, lacks) = exported(folder, Lane::Raw, Some(89), Form::Csv);
        let expected: Vec<&str> =
            ROWS.lines().enumerate().filter(|(row, _)| !(1..3).contains(row)).map(|(_, row)| row).collect();
        assert_eq!((rows.lines().collect::<Vec<_>>(), lacks), (expected, Lacks::default()));
        assert_eq!(exported(folder, Lane::Urgent, Some(98), Form::Csv).0.lines().count(), 1);
        assert_eq!(exported(folder, Lane::Urgent, Some(99), Form::Csv).0.lines().count(), 2);
    }

    #[test]
    fn a_run_of_which_no_list_is_known_is_said_to_be_left_out() {
        let Scratch(folder) = &Scratch::new();
        let (held, mut journal) = filled(folder);
        let mark = DictionaryMark { generation: 1, count: 1, hash: 99 };
        append_run(&mut journal, 40, &run(mark, 40, &[&[Some(1)], &[Some(2)]]));
        journal.commit(at(50)).unwrap();
        drop((held, journal));
        let (rows, lacks) = exported(folder, Lane::Raw, None, Form::Csv);
        assert_eq!((rows.as_str(), lacks.unnamed_count, lacks.failure()), (ROWS, 2, None));
        assert_eq!(lacks.notes(), ["2 batches have samples of series that the dictionary does not name"]);
    }
}
