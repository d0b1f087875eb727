//! `outpost journal`: what the journal in the state folder holds, whether it is whole, and all of it as rows.
//!
//! ```text
//! DIR/journal ── looked at, never locked or written ──> inspect ──> stat, verify
//!                                                              └──> export: dictionary ── names ──> samples as rows
//! ```
//!
//! It is the same beside an agent that runs, after it stopped, and for a folder that was copied elsewhere.

mod export;
#[cfg(test)]
mod fixture;
mod verify;

pub(crate) use export::{ExportError, Wanted, export};
pub(crate) use verify::verified;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use agent::question::Status;
use hal::linux::folder::Folder;
use journal::entry::Unreadable;
use journal::inspect::{Inspection, Stat};
use journal::wear::Wear;
use query::render::json;
use query::unit::{Shown, Unit};
use wire::id::Seq;
use wire::stream::{Lane, Shelf, Stream};

use crate::failure::{Failure, remedy};
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
    /// Of each shelf, how many volumes there are and the bytes of their files.
    volumes: Vec<(Shelf, usize, u64)>,
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
        volumes: Shelf::ALL
            .map(|shelf| (shelf, inspection.volumes(shelf)))
            .map(|(shelf, (count, bytes))| (shelf, count, bytes))
            .into(),
        agent: status.map(|status| (status.written_bytes, status.backlog_count)),
    })
}

impl Held {
    /// For people.
    pub(crate) fn screen(&self) -> String {
        let mut out = format!("journal   {} in {}\n", self.journal, self.folder);
        // Writing to a string does not fail.
        let _ = writeln!(out, "folder    {} in all", bytes(self.folder_bytes));
        let (count, volume_bytes) =
            self.volumes.iter().fold((0, 0), |(count, sum), (_, of, bytes)| (count + of, sum + bytes));
        let _ = writeln!(out, "volumes   {count}, {} in all", bytes(volume_bytes));
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
                "{{\"stream\":\"{stream}\",\"batch_count\":{},\"first\":{first},\"last\":{last},\"volume_bytes\":{},\
                 \"tail_bytes\":{}}}",
                stat.batch_count, stat.volume_bytes, stat.tail_bytes
            )
        });
        let volumes = self
            .volumes
            .iter()
            .map(|(shelf, count, bytes)| format!("{{\"shelf\":\"{shelf}\",\"count\":{count},\"bytes\":{bytes}}}"));
        format!(
            "{{\"journal\":\"{}\",\"folder\":{},\"folder_bytes\":{},\"flash\":{{\"day_ms\":{},\"day_bytes\":{},\
             \"last_day_bytes\":{},\"all_bytes\":{}}},\"written_bytes\":{},\"backlog_count\":{},\"streams\":[{}],\
             \"volumes\":[{}]}}\n",
            self.journal,
            quoted(&self.folder),
            self.folder_bytes,
            self.wear.day_ms,
            self.wear.day_bytes,
            self.wear.last_day_bytes,
            self.wear.written_bytes,
            or_null(self.agent.map(|(written_bytes, _)| written_bytes)),
            or_null(self.agent.map(|(_, backlog_count)| backlog_count)),
            streams.collect::<Vec<_>>().join(","),
            volumes.collect::<Vec<_>>().join(",")
        )
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

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::id::JournalId;

    use super::fixture::filled;
    use super::*;
    use crate::state::tests::Scratch;

    #[test]
    fn what_there_is_is_counted_with_and_without_an_agent() {
        let Scratch(folder) = &Scratch::new();
        let (held, journal) = filled(folder);
        let (path, inspection) = look(folder).unwrap();
        let screen = super::held(&path, &inspection, None).unwrap().screen();
        let rows: Vec<Vec<&str>> = screen
            .lines()
            .skip(6)
            .map(|line| line.split_whitespace().take(4).collect())
            .filter(|row: &Vec<&str>| row[1] != "0")
            .collect();
        assert_eq!(rows, [["event", "1", "0", "0"], ["dictionary", "2", "0", "1"], ["raw_normal", "3", "0", "2"]]);
        assert!(!screen.contains("agent"), "{screen}");
        let json = super::held(&path, &inspection, None).unwrap().json();
        let first = r#""written_bytes":null,"backlog_count":null,"streams":[{"stream":"event","batch_count":1,"first":0,"last":0,"volume_bytes":0,"tail_bytes":"#;
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
