//! An answer as JSON (RFC 8259), in one line with a fixed order of fields.
//!
//! ```text
//! {"expression":"node_load1","from_ms":..,"to_ms":..,"step_ms":60000,
//!  "series":[{"name":"node_load1","labels":{"instance":"gw-1"},"points":[[1767225600000,0.42],..]},..],
//!  "notes":[".."]}
//! ```
//!
//! Moments are milliseconds since 1970. Numbers are the shortest that read back as the same double; what is no number
//! is `null`. `step_ms` is `null` when the values are as they were sampled.

use alloc::string::{String, ToString};
use core::fmt::Write;

use crate::render::number;
use crate::series::Answer;

/// Writes an answer.
pub fn render(answer: &Answer) -> String {
    let mut out = String::from("{\"expression\":");
    put_text(&mut out, &answer.expression);
    let step_ms = answer.step_ms.map_or_else(|| "null".to_string(), |step_ms| step_ms.to_string());
    // Writing to a string does not fail.
    let _ = write!(out, ",\"from_ms\":{},\"to_ms\":{},\"step_ms\":{step_ms},\"series\":", answer.from_ms, answer.to_ms);
    put_list(&mut out, &answer.series, |out, series| {
        out.push_str("{\"name\":");
        put_text(out, &series.name);
        out.push_str(",\"labels\":{");
        for (index, (name, value)) in series.labels.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            put_text(out, name);
            out.push(':');
            put_text(out, value);
        }
        out.push_str("},\"points\":");
        put_list(out, &series.points, |out, point| {
            let value = number(point.value);
            let _ = write!(out, "[{},{}]", point.at_ms, value.as_deref().unwrap_or("null"));
        });
        out.push('}');
    });
    out.push_str(",\"notes\":");
    put_list(&mut out, &answer.notes, |out, note| put_text(out, note));
    out.push('}');
    out
}

fn put_list<T>(out: &mut String, items: &[T], mut put: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        put(out, item);
    }
    out.push(']');
}

/// Appends `text` as a JSON string.
pub fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character < ' ' || character == '\u{7f}' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Point, Series};
    use alloc::vec;

    #[test]
    fn an_answer_has_its_fields_in_order() {
        let mut answer = Answer {
            expression: "up{a=\"b\"}".to_string(),
            from_ms: 1,
            to_ms: 9,
            step_ms: Some(4),
            series: vec![Series {
                name: "up".to_string(),
                labels: vec![("a".to_string(), "q\"\\\n\u{1}é".to_string()), ("b".to_string(), String::new())],
                points: [0.1, 1.0, 1e300, -0.0, f64::NAN, 1e-7].map(|value| Point { at_ms: 5, value }).to_vec(),
            }],
            notes: vec!["one".to_string(), "two".to_string()],
            ..Answer::default()
        };
        let expected = concat!(
            r#"{"expression":"up{a=\"b\"}","from_ms":1,"to_ms":9,"step_ms":4,"#,
            r#""series":[{"name":"up","labels":{"a":"q\"\\\n\u0001é","b":""},"#,
            r#""points":[[5,0.1],[5,1],[5,1e300],[5,-0],[5,null],[5,1e-7]]}],"notes":["one","two"]}"#
        );
        assert_eq!(render(&answer), expected);
        answer = Answer::default();
        let empty = r#"{"expression":"","from_ms":0,"to_ms":0,"step_ms":null,"series":[],"notes":[]}"#;
        assert_eq!(render(&answer), empty);
    }
}
