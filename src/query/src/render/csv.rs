//! An answer as CSV (RFC 4180): one line a value, one column a label.
//!
//! ```text
//! time,unix_ms,name,instance,mode,value
//! 2026-01-01T00:00:00Z,1767225600000,node_cpu_seconds_total,gw-1,idle,12.5
//! ```
//!
//! The label columns are those that any series has, by name; a series without one has an empty field there. What is no
//! number is an empty field.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::render::number;
use crate::series::Answer;
use crate::time;

/// Writes an answer; the first line names the columns.
pub fn render(answer: &Answer) -> String {
    let labels: BTreeSet<&str> =
        answer.series.iter().flat_map(|series| series.labels.iter().map(|(name, _)| name.as_str())).collect();
    let mut out = String::from("time,unix_ms,name");
    for label in &labels {
        put_field(&mut out, label);
    }
    out.push_str(",value\r\n");
    for series in &answer.series {
        let mut middle = String::new();
        put_field(&mut middle, &series.name);
        for label in &labels {
            let value = series.labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value);
            put_field(&mut middle, value);
        }
        for point in &series.points {
            let value = number(point.value).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(out, "{},{}{middle},{value}\r\n", time::format(point.at_ms), point.at_ms);
        }
    }
    out
}

/// Appends a comma and a field. A field that a spreadsheet would take for a formula begins with an apostrophe, because
/// labels are what a device says: `=cmd()` must stay text.
pub fn put_field(out: &mut String, text: &str) {
    out.push(',');
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        let _ = write!(out, "\"{guard}{}\"", text.replace('"', "\"\""));
    } else {
        out.push_str(guard);
        out.push_str(text);
    }
}

/// The fields of a line, quotes taken off.
pub fn fields(line: &str) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Point, Series};
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn every_value_has_a_line_and_every_label_a_column() {
        let label = |name: &str, value: &str| (name.to_string(), value.to_string());
        let point = |at_ms, value| Point { at_ms, value };
        let answer = Answer {
            series: vec![
                Series {
                    name: "up".to_string(),
                    labels: vec![label("mode", "a,\"b\"\n"), label("instance", "gw-1")],
                    points: vec![point(0, 0.5), point(1500, f64::NAN)],
                },
                Series { name: "load".to_string(), labels: vec![label("cpu", "=1+1")], points: vec![point(0, -2.0)] },
            ],
            ..Answer::default()
        };
        let expected = concat!(
            "time,unix_ms,name,cpu,instance,mode,value\r\n",
            "1970-01-01T00:00:00Z,0,up,,gw-1,\"a,\"\"b\"\"\n\",0.5\r\n",
            "1970-01-01T00:00:01.500Z,1500,up,,gw-1,\"a,\"\"b\"\"\n\",\r\n",
            "1970-01-01T00:00:00Z,0,load,'=1+1,,,-2\r\n",
        );
        assert_eq!(render(&answer), expected);
        assert_eq!(render(&Answer::default()), "time,unix_ms,name,value\r\n");
    }
}
