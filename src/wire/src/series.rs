//! A metric with its labels, as text.
//!
//! Labels are kept in one canonical text, `device="sda",mode="x"`, in the order in which the probe names
//! them: the exposition format of Prometheus without its braces. Values are escaped as there: backslash,
//! double quote and line feed. Bytes that are no UTF-8 become U+FFFD.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::LABELS_BYTES_MAX;

/// How a value is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Only grows, but for a reset or a wrap: its rate is what matters.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
}

/// One series: what a slot of a tick stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series<T> {
    /// The metric's name, `node_cpu_seconds_total`.
    pub name: T,
    /// Canonical label text, empty when there are none.
    pub labels: T,
    /// How values are to be read. Numbers as in [`Kind`].
    pub kind: u8,
    /// A value `v` stands for `v * 10^scale` of the unit in the name.
    pub scale: i8,
}

impl<T> Series<T> {
    /// How values are to be read.
    pub fn kind(&self) -> Kind {
        if self.kind == Kind::Counter as u8 { Kind::Counter } else { Kind::Gauge }
    }
}

/// The labels do not fit [`LABELS_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelsTooLong;

impl fmt::Display for LabelsTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label text exceeds {LABELS_BYTES_MAX} bytes")
    }
}

/// Canonical label text under construction, in place.
pub type LabelText = heapless::String<LABELS_BYTES_MAX>;

/// Writes canonical label text for `labels` into `out`, which is cleared first. Allocates nothing.
pub fn write_labels(labels: &[(&str, &[u8])], out: &mut LabelText) -> Result<(), LabelsTooLong> {
    out.clear();
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        for text in [comma, name, "=\""] {
            out.push_str(text).map_err(|_| LabelsTooLong)?;
        }
        for chunk in value.utf8_chunks() {
            for character in chunk.valid().chars() {
                let escaped = match character {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    other => out.push(other),
                };
                escaped.map_err(|_| LabelsTooLong)?;
            }
            if !chunk.invalid().is_empty() {
                out.push(char::REPLACEMENT_CHARACTER).map_err(|_| LabelsTooLong)?;
            }
        }
        out.push('"').map_err(|_| LabelsTooLong)?;
    }
    Ok(())
}

/// The labels of a canonical text: `(name, value)` with the value unescaped. Stops at the first byte that is not
/// canonical, so hostile text gives fewer labels and nothing worse.
pub fn labels(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    rest = &after[at + 1..];
                    rest = rest.strip_prefix(',').unwrap_or(rest);
                    return Some((name, value));
                }
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn labels_come_back_whatever_is_in_them() {
        let given: [(&str, &[u8]); 3] = [("a", b"plain"), ("b", b"q\"uo\\te\n"), ("c", b"\xff,=\"")];
        let mut text = LabelText::new();
        write_labels(&given, &mut text).unwrap();
        let back: Vec<_> = labels(&text).collect();
        assert_eq!(back[0], ("a", "plain".into()));
        assert_eq!(back[1], ("b", "q\"uo\\te\n".into()));
        assert_eq!(back[2], ("c", "\u{fffd},=\"".into()));
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn a_label_that_does_not_fit_is_refused() {
        let long = [b'x'; LABELS_BYTES_MAX];
        assert_eq!(write_labels(&[("a", &long)], &mut LabelText::new()), Err(LabelsTooLong));
    }
}
