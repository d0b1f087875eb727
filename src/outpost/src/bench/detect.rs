//! The anomaly detection on recorded series and hosts.
//!
//! | | read | written |
//! |---|---|---|
//! | a series | `timestamp,value` (as of the Numenta Anomaly Benchmark) | `timestamp,value,anomaly_score` |
//! | a host | `t` in seconds, then a column for each metric (as of the Application Server Dataset) | `row,score,top` |
//!
//! A line is a step, whatever the times say: they may come again or leave gaps, and tell only the hour of the day. An empty
//! field is a missing value.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use detect::host::{self, HostScore};
use detect::series::{self, Detector};
use query::render::csv::{fields, put_field};
use query::time::TimeError;

use crate::failure::Failure;

/// Metrics named in a line of a host's scores.
const BLAMED_MAX: usize = 5;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// All metrics of a host.
    Host,
    /// One series.
    Series,
}

/// What `bench detect` and `bench detect-host` were asked.
#[derive(Debug)]
pub(crate) struct DetectArgs {
    /// What it is.
    pub(crate) subject: Subject,
    /// What was recorded.
    pub(crate) path: PathBuf,
    /// Where the scores go.
    pub(crate) out: PathBuf,
}

/// What came of it.
struct Scored {
    text: String,
    samples: usize,
    alarms: usize,
    state_bytes: usize,
    elapsed: Duration,
}

/// The threshold that ships, as a line.
pub(crate) fn threshold(subject: Subject) -> String {
    match subject {
        Subject::Host => format!("{}\n", host::THRESHOLD),
        Subject::Series => format!("{}\n", series::THRESHOLD),
    }
}

/// Scores a file into another one. Returns one JSON object of the figures.
///
/// Errors: the file cannot be read, or is not of its shape: says where, and what was expected; the other cannot be written.
pub(crate) fn run(args: &DetectArgs) -> Result<String, Failure> {
    let text = std::fs::read_to_string(&args.path).map_err(|error| Failure::at(&args.path, &error))?;
    let scored = match args.subject {
        Subject::Host => score_host(&text),
        Subject::Series => score_series(&text),
    };
    let scored = scored.map_err(|what| at_line(&args.path, &what))?;
    std::fs::write(&args.out, &scored.text).map_err(|error| Failure::at(&args.out, &error))?;
    Ok(format!(
        "{{\"samples\":{},\"alarms\":{},\"ns_per_sample\":{:.1},\"state_bytes\":{}}}\n",
        scored.samples,
        scored.alarms,
        scored.elapsed.as_nanos() as f64 / scored.samples.max(1) as f64,
        scored.state_bytes,
    ))
}

fn at_line(path: &Path, what: &str) -> Failure {
    Failure::Failed(format!("{}: {what}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
fn score_series(text: &str) -> Result<Scored, String> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("timestamp,value") {
        return Err("line 1: the columns are to be timestamp,value".to_owned());
    }
    let mut rows = Vec::new();
    for (index, line) in lines.enumerate() {
        let told = |what: &str| format!("line {}: {what}", index + 2);
        let (time, value) = line.split_once(',').ok_or_else(|| told("expected timestamp,value"))?;
        let at_s = seconds(time).map_err(|error| told(&error.to_string()))?;
        rows.push((line, at_s, number(value).map_err(|what| told(&what))?));
    }

    let mut detector = Detector::new();
    let begin = Instant::now();
    let verdicts: Vec<_> = rows.iter().map(|(_, at_s, value)| detector.update(*at_s, *value)).collect();
    let elapsed = begin.elapsed();

    let mut text = "timestamp,value,anomaly_score\n".to_owned();
    for ((line, ..), verdict) in rows.iter().zip(&verdicts) {
        let _ = writeln!(text, "{},{}", line.trim_end(), verdict.score);
    }
    let alarms = verdicts.iter().filter(|verdict| verdict.alarm.is_some()).count();
    Ok(Scored { text, samples: rows.len(), alarms, state_bytes: size_of::<Detector>(), elapsed })
}

#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
fn score_host(text: &str) -> Result<Scored, String> {
    let mut lines = text.lines();
    let names = fields(lines.next().unwrap_or_default().trim_end());
    let ("t", names) = names.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest)) else {
        return Err("line 1: the first column is to be t, in seconds".to_owned());
    };
    let mut rows = Vec::new();
    for (index, line) in lines.enumerate() {
        let told = |what: &str| format!("line {}: {what}", index + 2);
        let mut columns = line.trim_end().split(',');
        let at_s = columns.next().and_then(|time| time.parse().ok()).ok_or_else(|| told("t is to be whole seconds"))?;
        let values: Vec<_> = columns.map(number).collect::<Result<_, _>>().map_err(|what| told(&what))?;
        if values.len() != names.len() {
            return Err(told(&format!("{} values where line 1 names {}", values.len(), names.len())));
        }
        rows.push((at_s, values));
    }

    let mut host = HostScore::new(names.len());
    let (mut text, mut alarms, mut elapsed) = ("row,score,top\n".to_owned(), 0, Duration::ZERO);
    for (row, (at_s, values)) in rows.iter().enumerate() {
        let begin = Instant::now();
        let verdict = host.update(*at_s, values);
        elapsed += begin.elapsed();
        alarms += usize::from(verdict.is_alarm);
        let _ = write!(text, "{row},{}", verdict.score);
        let top: Vec<&str> = host.blamed().into_iter().take(BLAMED_MAX).map(|index| names[index].as_str()).collect();
        put_field(&mut text, &top.join(";"));
        text.push('\n');
    }
    let samples = rows.len() * names.len();
    Ok(Scored { text, samples, alarms, state_bytes: names.len() * host::METRIC_BYTES, elapsed })
}

/// Seconds since 1970. A time without a zone is taken for UTC: it is the hour of the day that counts.
fn seconds(text: &str) -> Result<i64, TimeError> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(TimeError::Form);
    }
    let unix_ms = match query::time::parse(text, 0) {
        Err(TimeError::Zone) => query::time::parse(&format!("{text}Z"), 0),
        read => read,
    };
    unix_ms.map(|unix_ms| (unix_ms / 1000) as i64)
}

fn number(text: &str) -> Result<Option<f64>, String> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(scored: Result<Scored, String>) -> String {
        scored.err().unwrap_or_default()
    }

    #[test]
    fn a_series_is_written_back_with_a_score_a_line() {
        let mut series = "timestamp,value\n".to_owned();
        for step in 0..600 {
            let value = if step == 500 { 90.0 } else { 20.0 };
            let _ =
                writeln!(series, "2026-01-{:02} {:02}:{:02}:00,{value}", 1 + step / 288, step / 12 % 24, step * 5 % 60);
        }
        series += "2026-01-03 02:00:00,\n2026-01-03 02:00:00,20.0\n";
        let scored = score_series(&series).unwrap();
        assert_eq!((scored.samples, scored.alarms), (602, 1));
        let lines: Vec<&str> = scored.text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (603, "timestamp,value,anomaly_score"));
        assert_eq!(lines[1], "2026-01-01 00:00:00,20,0");
        assert!(lines[501].starts_with("2026-01-02 17:40:00,90,0."), "{}", lines[501]);
        assert_eq!(lines[601], "2026-01-03 02:00:00,,0");
    }

    #[test]
    fn a_host_is_scored_with_who_is_to_blame() {
        let mut recorded = "t,cpu,\"disk,io\",idle\n".to_owned();
        for row in 0..400 {
            let wave = if row == 390 { 9 } else { row % 3 };
            let _ = writeln!(recorded, "{},{wave},{},5", row * 300, 10 * wave);
        }
        let scored = score_host(&recorded).unwrap();
        assert_eq!(scored.samples, 1200);
        let line = scored.text.lines().nth(391).unwrap();
        let columns = fields(line);
        assert_eq!((columns.len(), columns[0].as_str(), columns[2].as_str()), (3, "390", "cpu;disk,io"), "{line}");
    }

    #[test]
    fn what_is_no_recording_is_said_with_its_line() {
        assert!(error(score_series("time,value\n")).starts_with("line 1: "));
        assert!(error(score_series("timestamp,value\n2026-01-01 00:00:00\n")).starts_with("line 2: "));
        assert!(error(score_series("timestamp,value\n2026-01-01 00:00:00,1\nnow,1\n")).starts_with("line 3: "));
        assert_eq!(error(score_series("timestamp,value\n1767225600,x\n")), "line 2: \"x\" is not a number");
        assert!(error(score_host("m1,m2\n")).starts_with("line 1: "));
        assert!(error(score_host("")).starts_with("line 1: "));
        assert_eq!(error(score_host("t,a,b\n0,1,2\n300,1\n")), "line 3: 1 values where line 1 names 2");
        assert!(error(score_host("t,a\nx,1\n")).starts_with("line 2: "));
    }
}
