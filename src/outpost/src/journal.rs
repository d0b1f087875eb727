//! `outpost journal`: what the journal in the state folder holds, whether it is whole, and all of it as rows.
//!
//! ```text
//! DIR/journal ── looked at, never locked or written ──> inspect ──> stat, verify
//!                                                              └──> export: dictionary ── names ──> samples as rows
//! ```
//!
//! It is the same beside an agent that runs, after it stopped, and for a folder that was copied elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent::question::Status;
use hal::linux::folder::Folder;
use journal::entry::Unreadable;
use journal::inspect::{Inspection, Part, Source, Stat, Step, TailHealth, Verdict};
use journal::wear::Wear;
use query::render::{csv, json};
use query::series::{Answer, Point, Series, scaled};
use query::unit::{Shown, Unit};
use wire::batch::{self, DictionaryHash, DictionaryMark, PayloadError, TickReader};
use wire::event::Event;
use wire::id::Seq;
use wire::ranges::SeqRange;
use wire::record::{Header, Record};
use wire::series::{Kind, labels};
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::window::WindowReader;

use crate::args::Form;
use crate::events;
use crate::failure::{Failure, remedy};
use crate::samples::place_ms;
use crate::state::StateFolder;

/// The journal's folder in the state folder.
const FOLDER: &str = "journal";

/// A file that tells a journal's folder from the state folder around it.
const TAIL: &str = "tail.a";

/// The lanes by the words for them, in the order of their urgency.
pub(crate) const LANES: [(&str, Lane); 3] = [("urgent", Lane::Urgent), ("summary", Lane::Summary), ("raw", Lane::Raw)];

/// Looks at the journal in `folder`, or at `folder` itself when that is a copied journal. What the disk refuses to read is passed
/// over and said.
pub(crate) fn look(folder: &StateFolder) -> Result<(PathBuf, Inspection), Failure> {
    let inside = folder.file(FOLDER);
    let path = if !inside.exists() && folder.file(TAIL).exists() { folder.path().to_owned() } else { inside };
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => "; no agent has kept a journal there, and --dir names another state folder",
        _ => remedy(error),
    };
    let seen = Folder::open_to_look(&path).map_err(|error| Failure::Failed(format!("{error}{}", failed(&error))))?;
    let inspection = Inspection::open(seen, Unreadable::Lost)
        .map_err(|error| Failure::Failed(format!("{}: {error}{}", path.display(), failed(&error))))?;
    Ok((path, inspection))
}

/// What a journal holds of each stream, and in all.
#[derive(Debug)]
pub(crate) struct Held {
    journal: String,
    folder: String,
    folder_bytes: u64,
    wear: Wear,
    streams: Vec<(Stream, Stat)>,
    /// Bytes written since its start, and batches that wait, as a running agent says.
    agent: Option<(u64, u64)>,
}

/// Counts what there is. `status` is what the agent says that runs with it, if one does.
pub(crate) fn held(path: &Path, inspection: &Inspection, status: Option<&Status>) -> io::Result<Held> {
    let streams = Stream::ALL.into_iter().map(|stream| Ok((stream, inspection.stat(stream)?)));
    // An agent that could not open this one keeps another.
    let status = status.filter(|status| status.journal == inspection.id());
    Ok(Held {
        journal: inspection.id().to_string(),
        folder: path.display().to_string(),
        folder_bytes: inspection.folder_bytes()?,
        wear: *inspection.wear(),
        streams: streams.collect::<io::Result<_>>()?,
        agent: status.map(|status| (status.written_bytes, status.backlog_count)),
    })
}

impl Held {
    /// For people.
    pub(crate) fn screen(&self) -> String {
        let mut out = format!("journal   {} in {}\n", self.journal, self.folder);
        // Writing to a string does not fail.
        let _ = writeln!(out, "folder    {} in all", bytes(self.folder_bytes));
        let Wear { written_bytes, day_ms, day_bytes, last_day_bytes, .. } = self.wear;
        let _ = writeln!(
            out,
            "flash     {} written in the last {}, {} in the day before that, {} since the journal began",
            bytes(day_bytes),
            query::duration::format(day_ms / 60_000 * 60_000),
            bytes(last_day_bytes),
            bytes(written_bytes)
        );
        if let Some((written_bytes, backlog_count)) = self.agent {
            let written = bytes(written_bytes);
            let _ = writeln!(out, "agent     {written} written since its start, {} waiting", batches(backlog_count));
        }
        let row = |cells: [&str; 6]| {
            let [stream, count, first, last, volumes, tail] = cells;
            format!("{stream:<12}  {count:>9}  {first:>14}  {last:>14}  {volumes:>10}  {tail:>11}\n")
        };
        out.push('\n');
        out += &row(["stream", "batches", "first", "last", "in volumes", "in the tail"]);
        for (stream, stat) in &self.streams {
            let number = |seq: Option<Seq>| seq.map_or("-".to_owned(), |seq| seq.0.to_string());
            out += &row([
                stream.name(),
                &stat.batch_count.to_string(),
                &number(stat.first),
                &number(stat.last),
                &bytes(stat.volume_bytes),
                &bytes(stat.tail_bytes),
            ]);
        }
        out
    }

    /// For programs, in one line. What is not known is `null`.
    pub(crate) fn json(&self) -> String {
        let or_null = |value: Option<u64>| value.map_or("null".to_owned(), |value| value.to_string());
        let streams = self.streams.iter().map(|(stream, stat)| {
            let (first, last) = (or_null(stat.first.map(|seq| seq.0)), or_null(stat.last.map(|seq| seq.0)));
            format!(
                "{{\"stream\":\"{stream}\",\"batch_count\":{},\"first\":{first},\"last\":{last},\"volume_count\":{},\
                 \"volume_bytes\":{},\"tail_bytes\":{}}}",
                stat.batch_count, stat.volume_count, stat.volume_bytes, stat.tail_bytes
            )
        });
        format!(
            "{{\"journal\":\"{}\",\"folder\":{},\"folder_bytes\":{},\"flash\":{{\"day_ms\":{},\"day_bytes\":{},\
             \"last_day_bytes\":{},\"all_bytes\":{}}},\"written_bytes\":{},\"backlog_count\":{},\"streams\":[{}]}}\n",
            self.journal,
            quoted(&self.folder),
            self.folder_bytes,
            self.wear.day_ms,
            self.wear.day_bytes,
            self.wear.last_day_bytes,
            self.wear.written_bytes,
            or_null(self.agent.map(|(written_bytes, _)| written_bytes)),
            or_null(self.agent.map(|(_, backlog_count)| backlog_count)),
            streams.collect::<Vec<_>>().join(",")
        )
    }
}

/// Verifies a journal. `progress` is told how many bytes are done, of how many. The answer is what was found, in the form asked for, and
/// whether all is sound.
pub(crate) fn verified(
    inspection: &Inspection,
    is_json: bool,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<(String, bool)> {
    let (mut found, mut done_bytes) = (Vec::new(), 0);
    let all_bytes = inspection.held_bytes();
    let verdict = inspection.verify(|part| {
        if !part.is_sound() || !part.cuts.is_empty() {
            found.push(if is_json { part_json(part) } else { part_lines(part) });
        }
        done_bytes += part.bytes;
        progress(done_bytes, all_bytes.max(done_bytes));
    })?;
    let text = if is_json {
        verdict_json(inspection, &verdict, &found)
    } else {
        tail_lines(&verdict.tail) + &found.concat() + &verdict_lines(&verdict)
    };
    Ok((text, verdict.is_sound))
}

fn place(part: &Part) -> String {
    match part.source {
        Source::Tail => format!("tail, {} stream", part.stream),
        Source::Volume(name) => name.to_file_name(),
    }
}

fn part_lines(part: &Part) -> String {
    let (place, mut out) = (place(part), String::new());
    let mut say = |what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{place}: {what}");
    };
    if part.is_unread {
        say("the disk refuses to read some of it".to_owned());
    }
    if part.is_broken {
        say(format!("its pages are damaged; {} in it are still whole", batches(part.whole_count)));
    }
    for range in &part.damaged {
        say(format!("DAMAGED: {}", numbers(*range)));
    }
    for cut in &part.cuts {
        let (rest, run, lacking) = (numbers(cut.range), cut.run.0, cut.lacking.0);
        say(match (cut.lacking == cut.range.first, cut.is_known) {
            (true, _) => format!("UNDECODABLE: {rest} of the run that begins with {run}, although whole"),
            (_, true) => {
                format!("cut: {rest} of the run that begins with {run}, whose {lacking} has left, as it should")
            }
            (_, false) => format!("CUT: {rest} of the run that begins with {run} cannot be decoded without {lacking}"),
        });
    }
    out
}

fn tail_lines(tail: &TailHealth) -> String {
    let mut out = String::new();
    let mut say = |is_so: bool, what: String| {
        if is_so {
            out = format!("{out}tail: {what}\n");
        }
    };
    say(!tail.is_whole, "LOST: neither of its files is whole; what they still hold is counted below".to_owned());
    say(tail.unread_bytes > 0, format!("the disk refuses to read {} of its files", bytes(tail.unread_bytes)));
    say(tail.hole_bytes > 0, format!("DAMAGED: {} of it in both files", bytes(tail.hole_bytes)));
    for (name, count) in [TAIL, "tail.b"].into_iter().zip(tail.lacking_counts) {
        say(count > 0, format!("{name} lacks {count} entries that the other file has; nothing is lost by that"));
    }
    say(tail.unknown_count > 0, format!("{} entries of another release", tail.unknown_count));
    out
}

fn verdict_lines(verdict: &Verdict) -> String {
    let mut out = String::new();
    for (stream, range) in &verdict.missing {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{stream} stream: MISSING: {}, and the journal does not know", numbers(*range));
    }
    let volumes = match verdict.volume_count {
        1 => "1 volume".to_owned(),
        count => format!("{count} volumes"),
    };
    let whole = batches(verdict.whole_count);
    let undecodable = match verdict.undecodable_count {
        0 => "all of them decoded".to_owned(),
        count => format!("{count} of them not to be decoded"),
    };
    let damaged = verdict.damaged_count;
    let _ = writeln!(out, "{volumes} and the tail: {whole} whole, {undecodable}; {damaged} damaged");
    out
}

fn part_json(part: &Part) -> String {
    let cuts = part.cuts.iter().map(|cut| {
        let SeqRange { first, last } = cut.range;
        format!(
            "{{\"run\":{},\"lacking\":{},\"first\":{},\"last\":{},\"is_known\":{}}}",
            cut.run.0, cut.lacking.0, first.0, last.0, cut.is_known
        )
    });
    let volume = match part.source {
        Source::Tail => "null".to_owned(),
        Source::Volume(name) => quoted(&name.to_file_name()),
    };
    format!(
        "{{\"stream\":\"{}\",\"volume\":{volume},\"whole_count\":{},\"is_broken\":{},\"is_unread\":{},\"damaged\":[{}],\"cuts\":[{}]}}",
        part.stream,
        part.whole_count,
        part.is_broken,
        part.is_unread,
        part.damaged.iter().map(|range| format!("[{},{}]", range.first.0, range.last.0)).collect::<Vec<_>>().join(","),
        cuts.collect::<Vec<_>>().join(",")
    )
}

fn verdict_json(inspection: &Inspection, verdict: &Verdict, parts: &[String]) -> String {
    let tail = verdict.tail;
    let missing = verdict.missing.iter().map(|(stream, range)| {
        format!("{{\"stream\":\"{stream}\",\"first\":{},\"last\":{}}}", range.first.0, range.last.0)
    });
    format!(
        "{{\"journal\":\"{}\",\"is_sound\":{},\"volume_count\":{},\"whole_count\":{},\"damaged_count\":{},\"undecodable_count\":{},\
         \"tail\":{{\"is_whole\":{},\"hole_bytes\":{},\"unread_bytes\":{},\"lacking_counts\":[{},{}],\"unknown_count\":{}}},\
         \"missing\":[{}],\"parts\":[{}]}}\n",
        inspection.id(),
        verdict.is_sound,
        verdict.volume_count,
        verdict.whole_count,
        verdict.damaged_count,
        verdict.undecodable_count,
        tail.is_whole,
        tail.hole_bytes,
        tail.unread_bytes,
        tail.lacking_counts[0],
        tail.lacking_counts[1],
        tail.unknown_count,
        missing.collect::<Vec<_>>().join(","),
        parts.join(",")
    )
}

fn numbers(range: SeqRange) -> String {
    match range.first == range.last {
        true => format!("batch {}", range.first.0),
        false => format!("batches {} to {}", range.first.0, range.last.0),
    }
}

fn batches(count: u64) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{count} batches") }
}

fn bytes(count: u64) -> String {
    Shown { unit: Unit::Bytes, is_per_second: false }.format(count as f64)
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    json::put_text(&mut out, text);
    out
}

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
    undecodable_count: u64,
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
                    Ok((after, Some(event))) => of_batch.push((at_instant(stamp, stamp.uptime + after), event)),
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
        for stream in Stream::ALL.into_iter().filter(|stream| stream.lane() == lane) {
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

/// A series without a name that has every label of every list and those of `more`, so that all rows have the same columns.
fn columns(inspection: &Inspection, more: &[&str]) -> io::Result<Series> {
    let mut names: BTreeSet<String> = more.iter().map(|name| (*name).to_owned()).collect();
    let mut scratch = Vec::new();
    inspection.walk(Stream::Dictionary, Seq(0), &mut |step| {
        let Step::Batch(record) = step else { return Ok(()) };
        let Ok(payload) = record.payload(&mut scratch) else { return Ok(()) };
        let Ok(list) = batch::Dictionary::open(payload) else { return Ok(()) };
        for (_, series) in list.entries().map_while(Result::ok) {
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
    /// Each with its decimal scale; without points but while a batch is read.
    slots: Vec<(Series, i8)>,
    kinds: Vec<Kind>,
    /// The hash of the first so many entries.
    hashes: Vec<u32>,
    hash: DictionaryHash,
}

impl List {
    fn new(generation: u32) -> List {
        let hash = DictionaryHash::default();
        List { generation, slots: Vec::new(), kinds: Vec::new(), hashes: vec![hash.value()], hash }
    }

    fn is_meant(&self, mark: DictionaryMark) -> bool {
        self.generation == mark.generation && self.hashes.get(usize::from(mark.count)) == Some(&mark.hash)
    }

    fn push(&mut self, series: &wire::series::Series<&str>) {
        let mut entry = Vec::new();
        batch::put_series(series, &mut entry);
        self.hash.update(&entry);
        self.hashes.push(self.hash.value());
        let labels = labels(series.labels).map(|(name, value)| (name.to_owned(), value)).collect();
        self.slots.push((Series { name: series.name.to_owned(), labels, points: Vec::new() }, series.scale));
        self.kinds.push(series.kind());
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
            for (id, series) in opened.entries().map_while(Result::ok) {
                // What follows a hole is not known by its place.
                if let Some(list) = list.as_mut().filter(|list| list.slots.len() == usize::from(id.0)) {
                    list.push(&series);
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
        let place = |at| place(at_instant(header.stamp, at));
        let (read, series) = match (header.stream.lane(), &mut self.list) {
            (Lane::Summary, Some(list)) => windows(&mut self.windows, &header, payload, list, &mut placed, place),
            // Without the list it is not known what its columns are.
            (Lane::Summary, None) => {
                lacks.unnamed_count += 1;
                return Ok(None);
            }
            (_, list) => {
                let slots = list.as_mut().map_or(&mut [][..], |list| &mut list.slots[..]);
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
        let expression = header.stream.name().to_owned();
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
    list: &List,
    placed: &mut Placed,
    place: impl Fn(Instant) -> Option<u64>,
) -> (Result<(), PayloadError>, Vec<Series>) {
    let mut found: BTreeMap<(usize, &str), Vec<Point>> = BTreeMap::new();
    let read = reader.read(payload, header.is_keyframe(), &list.kinds, |at, index, window| {
        placed.at_ms = place(at);
        let scale = list.slots[index].1;
        let mut put = |statistic, value| found.entry((index, statistic)).or_default().extend(placed.point(value));
        put("count", window.count.into());
        put("last", scaled(window.last, scale));
        match list.kinds[index] {
            Kind::Counter => put("increase", scaled(window.increase as i64, scale)),
            Kind::Gauge => {
                put("min", scaled(window.min, scale));
                put("max", scaled(window.max, scale));
                put("mean", window.sum() as f64 / f64::from(window.count) * scaled(1, scale));
            }
        }
    });
    let series = found.into_iter().filter(|(_, points)| !points.is_empty()).map(|((index, statistic), points)| {
        let mut series = Series { points, ..list.slots[index].0.clone() };
        let values = [header.stream.name(), statistic];
        series.labels.extend(WINDOW_LABELS.into_iter().zip(values).map(|(name, value)| (name.into(), value.into())));
        series
    });
    (read, series.collect())
}

/// `stamp` moved to another instant of its boot.
fn at_instant(stamp: Stamp, uptime: Instant) -> Stamp {
    let unix = stamp.unix.map(|unix| UnixTime(unix.0.saturating_add(uptime.0).saturating_sub(stamp.uptime.0)));
    Stamp { uptime, unix, ..stamp }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use codec::run::Encoder;
    use journal::Journal;
    use journal::journal::Settings;
    use journal::volume::{self, Name};
    use wire::id::{JournalId, SeriesId};
    use wire::record::seal;
    use wire::series::Series as WireSeries;
    use wire::time::BootId;
    use wire::window::{Window, WindowWriter};

    use super::*;
    use crate::state::tests::Scratch;

    const NOW: Stamp = Stamp { boot: BootId(7), uptime: Instant(100_000), unix: Some(UnixTime(1_767_225_600_000)) };

    fn at(second: u64) -> Stamp {
        Stamp { uptime: Instant(second * 1000), unix: Some(UnixTime(1_767_225_500_000 + second * 1000)), ..NOW }
    }

    /// The state folder's journal, open as an agent has it.
    fn opened(folder: &StateFolder) -> (Arc<Folder>, Journal) {
        let held = Folder::open(&folder.file(FOLDER)).unwrap();
        let journal = Journal::open(held.clone(), Settings::default(), 5, at(0)).unwrap();
        (held, journal)
    }

    /// Appends a list of series, each with the decimal scale -1, and says what a run that opens now counts on.
    fn put_list(journal: &mut Journal, generation: u32, series: &[(&str, &str)]) -> DictionaryMark {
        let (mut payload, mut hash) = (Vec::new(), DictionaryHash::default());
        batch::put_dictionary(generation, SeriesId(0), &mut payload);
        for (name, labels) in series {
            let start = payload.len();
            batch::put_series(&WireSeries { name, labels, kind: 1, scale: -1 }, &mut payload);
            hash.update(&payload[start..]);
        }
        journal.append(at(0), Stream::Dictionary, None, at(0), &payload, true).unwrap();
        DictionaryMark { generation, count: series.len() as u16, hash: hash.value() }
    }

    /// The payloads of a run, a tick each, one second apart from `second` on.
    fn run(mark: DictionaryMark, second: u64, ticks: &[&[Option<i64>]]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(16);
        encoder.open_run();
        let batches = ticks.iter().enumerate().map(|(index, values)| {
            let mut payload = Vec::new();
            if index == 0 {
                batch::put_keyframe(&mark, &[], &mut payload);
            }
            encoder.encode((second + index as u64) * 1000, values, &mut payload);
            encoder.close_batch(&mut payload);
            payload
        });
        batches.collect()
    }

    fn append_run(journal: &mut Journal, second: u64, payloads: &[Vec<u8>]) {
        let mut run = None;
        for (second, payload) in (second..).zip(payloads) {
            let seq = journal.append(at(second), Stream::Raw, run, at(second), payload, false).unwrap();
            run.get_or_insert(seq);
        }
    }

    fn exported(folder: &StateFolder, lane: Lane, since_s: Option<u64>, form: Form) -> (String, Lacks) {
        let (_, inspection) = look(folder).unwrap();
        let mut out = Vec::new();
        let wanted = Wanted { lane, since: since_s.map(Span::seconds), form };
        let lacks = export(&inspection, NOW, wanted, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), lacks)
    }

    fn verified(folder: &StateFolder) -> (String, bool) {
        super::verified(&look(folder).unwrap().1, false, |done_bytes, all_bytes| assert!(done_bytes <= all_bytes))
            .unwrap()
    }

    fn image(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    /// Two runs of two lists, and an event.
    fn filled(folder: &StateFolder) -> (Arc<Folder>, Journal) {
        let (held, mut journal) = opened(folder);
        let mut payload = Vec::new();
        batch::put_event(Span(500), &Event::TicksMissed { count: 3 }, &mut payload);
        journal.append(at(1), Stream::Event, None, at(1), &payload, false).unwrap();
        let mark = put_list(&mut journal, 0, &[("node_load1", ""), ("node_cpu_seconds_total", "cpu=\"0\"")]);
        append_run(&mut journal, 10, &run(mark, 10, &[&[Some(4), Some(70)], &[Some(5), None]]));
        let mark = put_list(&mut journal, 1, &[("node_up", "device=\"a,b\"")]);
        append_run(&mut journal, 20, &run(mark, 20, &[&[Some(10)]]));
        journal.commit(at(30)).unwrap();
        (held, journal)
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
        [10, 30, 20].into_iter().for_each(|value| window.gauge(value));
        writer.push(at(0).uptime, 3, &[Kind::Gauge], &[window]);
        writer.seal(Some(&mark), &mut payload);
        journal.append(at(60), Stream::Minute, None, at(0), &payload, false).unwrap();
        journal.commit(at(60)).unwrap();
        let mut rows: Vec<String> =
            ["count,minute,3", "last,minute,2", "max,minute,3", "mean,minute,2", "min,minute,1"]
                .map(|row| format!("2025-12-31T23:58:20Z,1767225500000,node_load1,{row}"))
                .into();
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

    /// A journal whose volume of raw batches holds a run of five without its third, and may have said so.
    fn cut(folder: &StateFolder) -> Name {
        let (held, mut journal) = opened(folder);
        let mark = put_list(&mut journal, 0, &[("node_load1", "")]);
        journal.commit(at(1)).unwrap();
        let values: Vec<[Option<i64>; 1]> = (0..5).map(|value| [Some(value * 3)]).collect();
        let payloads = run(mark, 10, &values.iter().map(|values| &values[..]).collect::<Vec<_>>());
        let range = SeqRange { first: Seq(0), last: Seq(4) };
        let name = Name { journal: journal.id(), stream: Stream::Raw, range, span_s: 0 };
        let mut rest = [0, 1, 3, 4].into_iter();
        volume::write(&(held as disk::Folder), name, |record| {
            let Some(seq) = rest.next() else { return Ok(None) };
            record.clear();
            let header = Header { stream: Stream::Raw, seq: Seq(seq), run: Seq(0), stamp: at(10 + seq) };
            seal(&header, &payloads[seq as usize], false, record);
            Ok(Some(Seq(seq)))
        })
        .unwrap();
        name
    }

    #[test]
    fn a_batch_that_is_missing_in_a_run_names_the_rest_that_cannot_be_decoded() {
        let Scratch(folder) = &Scratch::new();
        let name = cut(folder);
        let (text, is_sound) = verified(folder);
        let expected = format!(
            "{}: CUT: batches 3 to 4 of the run that begins with 0 cannot be decoded without 2\n\
             raw stream: MISSING: batch 2, and the journal does not know\n\
             1 volume and the tail: 5 batches whole, 2 of them not to be decoded; 0 damaged\n",
            name.to_file_name()
        );
        assert_eq!((text, is_sound), (expected, false));
        let (rows, lacks) = exported(folder, Lane::Raw, None, Form::Csv);
        assert_eq!((rows.lines().count(), lacks.undecodable_count, lacks.failure()), (3, 2, None));
        let (json, _) = super::verified(&look(folder).unwrap().1, true, |_, _| {}).unwrap();
        let cut = r#""damaged":[],"cuts":[{"run":0,"lacking":2,"first":3,"last":4,"is_known":false}]}]}"#;
        assert!(json.contains(r#""missing":[{"stream":"raw","first":2,"last":2}]"#) && json.contains(cut), "{json}");
        // An agent finds it missing and says so; then it is known.
        let (held, mut journal) = opened(folder);
        assert!(!journal.read(at(60), Stream::Raw, Seq(2), &mut Vec::new()).unwrap());
        journal.commit(at(60)).unwrap();
        drop((held, journal));
        let (text, is_sound) = verified(folder);
        assert!(is_sound && text.contains("whose 2 has left, as it should"), "{text}");
    }

    #[test]
    fn a_flipped_byte_in_a_volume_is_named_and_what_is_left_is_exported() {
        let Scratch(folder) = &Scratch::new();
        let name = cut(folder);
        let path = folder.file(FOLDER).join(name.to_file_name());
        let mut bytes = fs::read(&path).unwrap();
        // In the body of the first entry that lies there.
        let entry = bytes.windows(4).position(|window| window == b"OPJ\xf0").unwrap();
        bytes[entry + 25] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (text, is_sound) = verified(folder);
        assert!(!is_sound && text.contains(&format!("{}: DAMAGED: batch ", name.to_file_name())), "{text}");
        let (_, lacks) = exported(folder, Lane::Raw, None, Form::Csv);
        assert!(lacks.failure().unwrap().contains("damaged in 1 place"), "{lacks:?}");
    }

    #[test]
    fn what_there_is_is_counted_with_and_without_an_agent() {
        let Scratch(folder) = &Scratch::new();
        let (held, journal) = filled(folder);
        let (path, inspection) = look(folder).unwrap();
        let screen = super::held(&path, &inspection, None).unwrap().screen();
        let rows: Vec<Vec<&str>> = screen
            .lines()
            .skip(5)
            .map(|line| line.split_whitespace().take(4).collect())
            .filter(|row: &Vec<&str>| row[1] != "0")
            .collect();
        assert_eq!(rows, [["event", "1", "0", "0"], ["dictionary", "2", "0", "1"], ["raw", "3", "0", "2"]]);
        assert!(!screen.contains("agent"), "{screen}");
        let json = super::held(&path, &inspection, None).unwrap().json();
        let first = r#""written_bytes":null,"backlog_count":null,"streams":[{"stream":"event","batch_count":1,"first":0,"last":0,"volume_count":0,"volume_bytes":0,"tail_bytes":"#;
        assert!(json.contains(first), "{json}");
        let with_agent = Held { agent: Some((1 << 20, 1)), ..super::held(&path, &inspection, None).unwrap() };
        assert!(with_agent.screen().contains("agent     1.00 MiB written since its start, 1 batch waiting\n"));
        assert_ne!(inspection.id(), JournalId(0));
        drop((held, journal));
    }

    #[test]
    fn a_folder_without_a_journal_is_named_and_not_made() {
        let Scratch(folder) = &Scratch::new();
        let error = look(folder).unwrap_err().to_string();
        assert!(
            error.contains(folder.path().to_str().unwrap()) && error.contains("no agent has kept a journal"),
            "{error}"
        );
        assert!(!folder.file(FOLDER).exists());
        fs::create_dir(folder.file(FOLDER)).unwrap();
        let error = look(folder).unwrap_err().to_string();
        assert!(error.contains("there is no journal in this folder") && error.contains("--dir"), "{error}");
    }
}
