//! Answers as text: for people a table, for programs JSON and CSV.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | one line a series with a sparkline, or one line a step |
//! | [`json`] | everything, in a fixed order of fields |
//! | [`csv`] | one line a value (RFC 4180) |
//!
//! What a device says of itself reaches a person's terminal here, so control characters are shown and never sent.

pub mod csv;
pub mod json;
mod spark;
pub mod table;

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// `text` with its control characters spelled out, for whoever shows what a device said.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            // Besides the control characters those that change the direction of what follows them.
            _ if character.is_control()
                || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}

/// The shortest text that reads back as the same number, or `None` for what is no number.
pub(crate) fn number(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let text = format!("{value:?}");
    Some(text.strip_suffix(".0").map(String::from).unwrap_or(text))
}
