//! The parsers of outside text, as functions of bytes.
//!
//! A target panics when what it read does not survive being written and read again. The mutation runs of the tests
//! and of cargo-fuzz call them by name.

use crate::token::Token;
use crate::{key_file, text, token};

/// A parser by its name.
pub type Target = (&'static str, fn(&[u8]));

/// What to feed.
pub const TARGETS: &[Target] = &[("key_file", key_file), ("text", text), ("token", token)];

fn key_file(bytes: &[u8]) {
    if let Ok(key) = key_file::parse(bytes) {
        let again = key_file::parse(key_file::text(&key).as_bytes()).expect("what was written is read");
        assert_eq!(again.pkcs8(), key.pkcs8());
    }
}

/// The bytes as a payload and, when they are text, as what someone typed.
fn text(bytes: &[u8]) {
    assert_eq!(text::open("fuzz", &text::seal("fuzz", bytes)).expect("what was written is read"), bytes);
    if let Ok(typed) = std::str::from_utf8(bytes) {
        let _ = text::open("fuzz", typed);
    }
}

fn token(bytes: &[u8]) {
    let Ok(given) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = given.parse::<Token>() {
        let text = token.to_string();
        assert_eq!(text.len(), token::TOKEN_CHARACTER_COUNT);
        let again: Token = text.parse().expect("what was written is read");
        assert_eq!((again.secret, again.hub), (token.secret, token.hub));
    }
}

#[cfg(test)]
mod tests {
    use wire::message::Fingerprint;

    use super::*;
    use crate::key::Key;

    #[test]
    fn no_target_panics_on_what_nearly_is_right() {
        let seeds = [
            key_file::text(&Key::generate()).into_bytes(),
            Token::generate(Fingerprint([7; 32])).to_string().into_bytes(),
            Vec::new(),
            vec![0xff; 700],
        ];
        for (_, target) in TARGETS {
            for seed in &seeds {
                target(seed);
                for at in 0..seed.len() {
                    target(&seed[..at]);
                    let mut changed = seed.clone();
                    changed[at] = changed[at].wrapping_add(at as u8 | 1);
                    target(&changed);
                }
            }
        }
    }
}
