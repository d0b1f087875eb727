//! Entry points for fuzzing: the parsers of text that people and programs hand in. None of them may panic.

use crate::selector::{Expression, Selector};
use crate::{duration, suggest, time};

/// What a target does with the bytes.
pub type Target = fn(&[u8]);

/// Every target, with its name.
pub const TARGETS: &[(&str, Target)] =
    &[("query_duration", duration_text), ("query_selector", selector_text), ("query_time", time_text)];

/// Any text is a duration that is written and read back as it was, or an error.
fn duration_text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(span_ms) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(span_ms)), Ok(span_ms), "{text}");
    }
}

/// Any text is an expression that decides on a series, or an error that points into the text.
fn selector_text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    match Expression::parse(text) {
        Ok(expression) => {
            let labels = [("instance", "gw-1"), ("mode", text)];
            expression.selector.matches("node_load1", labels.into_iter());
            suggest::near(expression.selector.name().unwrap_or(text), ["node_load1", text].into_iter());
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.at), "{error}");
            error.pointed(text);
        }
    }
    if let Ok(selector) = Selector::parse(text) {
        selector.allows([("instance", text)].into_iter());
    }
}

/// Any text is a moment that is written and read back as it was, or an error.
fn time_text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(unix_ms) = time::parse(text, 1_767_225_600_000) {
        assert_eq!(time::parse(&time::format(unix_ms), 0), Ok(unix_ms), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn random_text_ends_in_an_answer() {
        const WORDS: [&str; 26] = [
            "up",
            "{",
            "}",
            "=",
            "!=",
            "=~",
            "!~",
            "\"",
            "'",
            "`",
            "\\",
            ",",
            "rate",
            "(",
            ")",
            "[",
            "]",
            "5m",
            "1h",
            "-",
            "é",
            "2026-01-01",
            "T00:00",
            "Z",
            ".*",
            " ",
        ];
        let mut seed = 9u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..random() % 12 {
                match random() % 8 {
                    0 => text.push(random() as u8),
                    _ => text.extend_from_slice(WORDS[random() % WORDS.len()].as_bytes()),
                }
            }
            TARGETS.iter().for_each(|(_, target)| target(&text));
        }
    }
}
