//! The token: what a person carries from the hub to a new machine.
//!
//! ```text
//! op1_ + base32 of      offset  field     bytes
//!                       0       secret    16     shown to the hub once, over the link that it opens
//!                       16      hub       32     fingerprint of the hub's key, which the machine pins
//!                       48      checksum  4      see text.rs
//! ```
//!
//! 88 letters and digits with one underscore: a double click selects it whole, a shell does not touch it, and a
//! slip is noticed on the machine, before a wrong secret is used up at the hub. Because the hub's fingerprint
//! travels with it, there is no first connection that trusts whoever answers.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use wire::message::Fingerprint;

use crate::text::{self, TextError};

/// Bytes of a token's secret: 128 bits cannot be tried out.
pub const SECRET_BYTES: usize = 16;

/// Characters of a whole token.
pub const TOKEN_CHARACTER_COUNT: usize = PREFIX.len() + text::character_count(SECRET_BYTES + 32 + text::CHECKSUM_BYTES);

const PREFIX: &str = "op1_";

/// What lets one machine enroll at one hub.
#[derive(Clone)]
pub struct Token {
    /// What the hub recognizes the token by. It keeps only the [`secret_hash`].
    pub secret: [u8; SECRET_BYTES],
    /// The key that the hub will prove to hold.
    pub hub: Fingerprint,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// This character is in no token.
    Character {
        /// What was read.
        character: char,
        /// Where, counted from 1.
        place: usize,
    },
    /// Every character may be in a token, but together they are none.
    Checksum,
    /// A part is missing, or something was copied with it.
    Length {
        /// How many characters were read.
        count: usize,
    },
    /// It does not begin like one.
    Prefix,
}

impl Token {
    /// A new token for the hub whose key has this fingerprint.
    ///
    /// Panics: when the kernel gives no random bytes at all.
    pub fn generate(hub: Fingerprint) -> Token {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).expect("the kernel gives random bytes");
        Token { secret, hub }
    }
}

/// What the hub stores of a token: enough to recognize it, useless to whoever reads the store. The secret is random
/// and long, so it needs neither salt nor a slow hash.
pub fn secret_hash(secret: &[u8; SECRET_BYTES]) -> [u8; 32] {
    digest(&SHA256, secret).as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

impl fmt::Display for Token {
    /// The whole token, secret included: for the person who asked for it, not for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", text::seal(PREFIX, &[&self.secret[..], &self.hub.0].concat()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token {{ secret: .., hub: {} }}", self.hub)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads what [`fmt::Display`] wrote, in capitals too, with white space around it.
    fn from_str(given: &str) -> Result<Token, TokenError> {
        let given = given.trim();
        let sealed = match given.split_at_checked(PREFIX.len()) {
            Some((prefix, sealed)) if prefix.eq_ignore_ascii_case(PREFIX) => sealed,
            _ => return Err(TokenError::Prefix),
        };
        // A stray character says more than the length that it changes.
        let payload = match text::open(PREFIX, sealed) {
            Ok(payload) => payload,
            Err(TextError::Character { character, place }) => {
                return Err(TokenError::Character { character, place: PREFIX.len() + place });
            }
            Err(TextError::Checksum) if given.len() != TOKEN_CHARACTER_COUNT => {
                return Err(TokenError::Length { count: given.len() });
            }
            Err(TextError::Checksum) => return Err(TokenError::Checksum),
        };
        match payload.split_first_chunk() {
            Some((secret, hub)) if hub.len() == 32 => {
                Ok(Token { secret: *secret, hub: Fingerprint(hub.try_into().expect("its length was checked above")) })
            }
            _ => Err(TokenError::Length { count: given.len() }),
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Character { character, place } => {
                write!(f, "the token has {character:?} as character {place}, which no token has: copy it again")
            }
            TokenError::Checksum => f.write_str("the token is mistyped, its checksum does not match: copy it again"),
            TokenError::Length { count } => {
                write!(f, "the token has {count} characters and a whole one {TOKEN_CHARACTER_COUNT}: copy it again")
            }
            TokenError::Prefix => write!(f, "a token begins with `{PREFIX}`: `outpost-hub token new` makes one"),
        }
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token { secret: *b"0123456789abcdef", hub: Fingerprint([0xa5; 32]) }
    }

    fn check(given: &str, expected: TokenError) {
        assert_eq!(given.parse::<Token>().expect_err("it is no token"), expected);
    }

    #[test]
    fn a_token_comes_back_from_its_text() {
        let text = token().to_string();
        assert_eq!(text.len(), TOKEN_CHARACTER_COUNT);
        for given in [text.clone(), text.to_uppercase(), format!("  {text}\n")] {
            let read: Token = given.parse().unwrap();
            assert_eq!((read.secret, read.hub), (token().secret, token().hub));
        }
    }

    #[test]
    fn a_double_click_selects_a_token_whole() {
        assert!(token().to_string().chars().all(|character| character.is_ascii_alphanumeric() || character == '_'));
    }

    #[test]
    fn each_kind_of_slip_is_named() {
        let text = token().to_string();
        check("", TokenError::Prefix);
        check("https://hub.example", TokenError::Prefix);
        check("öp1_", TokenError::Prefix);
        check("op1_", TokenError::Length { count: 4 });
        check(&text[..80], TokenError::Length { count: 80 });
        check(&format!("{text}{text}"), TokenError::Character { character: '_', place: 92 });
        check(&format!("{}-{}", &text[..20], &text[21..]), TokenError::Character { character: '-', place: 21 });
        let last = if text.ends_with('0') { "g" } else { "0" };
        check(&format!("{}{last}", &text[..87]), TokenError::Checksum);
        let short = format!("{PREFIX}{}", text::seal(PREFIX, b"short"));
        check(&short, TokenError::Length { count: short.len() });
    }

    #[test]
    fn the_secret_is_not_in_what_is_printed_for_debugging() {
        let printed = format!("{:?}", token());
        assert!(!printed.contains("48") && printed.contains("secret: .."), "{printed}");
    }

    #[test]
    fn two_tokens_have_different_secrets() {
        let hub = Fingerprint([1; 32]);
        assert_ne!(Token::generate(hub).secret, Token::generate(hub).secret);
        assert_ne!(secret_hash(&[0; 16]), secret_hash(&[1; 16]));
    }
}
