//! `init`, `key` and `token`: what lets hub and machines trust each other.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use hub::fleet::Token as Kept;
use hub::request::{Reply, Request};
use identity::token::{Token, TokenError, secret_hash};
use query::time;
use serde::Serialize;
use wire::message::Fingerprint;
use wire::time::UnixTime;

use crate::args::TokenNew;
use crate::call::{Call, HubIs, Outcome};
use crate::cli::{admin, ask, nonsense, say_notes, show, show_json};
use crate::keys::Keys;
use crate::table::table;

/// Makes the folder and the key.
pub fn init(folder: &Path) -> Result<(), String> {
    let key = Keys::new(folder).init().map_err(|error| error.to_string())?;
    show(&format!("{}\n", key.fingerprint()))
}

/// Shows the key's fingerprint.
pub fn show_key(folder: &Path) -> Result<(), String> {
    let keys = Keys::new(folder);
    let present = keys.present().map_err(|error| error.to_string())?;
    let present = present.ok_or_else(|| format!("{} has no key: `outpost-hub init` makes one", folder.display()))?;
    if let Some(next) = keys.next().map_err(|error| error.to_string())? {
        say_notes(&[format!("the next key is {}", next.fingerprint())]);
    }
    show(&format!("{}\n", present.fingerprint()))
}

/// Makes the next key and has it announced.
pub fn rotate(folder: &Path) -> Result<(), String> {
    let key = key_of(ask(folder, &Call::KeyRotate)?)?;
    say_notes(&["devices hear of it when they connect; then `outpost-hub key activate`".into()]);
    show(&format!("{key}\n"))
}

/// Changes to the next key.
pub fn activate(folder: &Path, is_forced: bool) -> Result<(), String> {
    let key = key_of(ask(folder, &Call::KeyActivate { is_forced })?)?;
    say_notes(&["tokens that were made before are of no use any more: make new ones".into()]);
    show(&format!("{key}\n"))
}

fn key_of(outcome: Outcome) -> Result<Fingerprint, String> {
    match outcome {
        Outcome::Key(key) => Ok(key),
        _ => Err(nonsense()),
    }
}

/// Makes a token and shows it.
pub fn new_token(folder: &Path, new: TokenNew) -> Result<(), String> {
    let Outcome::Hub(HubIs { key, address }) = ask(folder, &Call::Hub)? else { return Err(nonsense()) };
    let token = Token::generate(key);
    let TokenNew { uses, expires_in, group, tags } = new;
    let request = Request::TokenNew { hash: secret_hash(&token.secret), uses, expires_in, group, tags };
    let Reply::Done = admin(folder, request)? else { return Err(nonsense()) };
    show(&format!("{token}\n"))?;
    let _ = writeln!(io::stderr(), "{}", instruction(&address, &hostname(), &token.to_string()));
    Ok(())
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("HUB").to_owned()
}

/// What a person does with a token.
fn instruction(address: &str, hostname: &str, token: &str) -> String {
    let parsed: Option<SocketAddr> = address.parse().ok();
    let (host, warning) = match parsed.map(|address| (address.ip(), address.port())) {
        Some((ip, port)) if ip.is_unspecified() => (format!("{hostname}:{port}"), String::new()),
        Some((ip, _)) if is_loopback(ip) => (
            address.to_owned(),
            "\nthis hub listens on loopback only; for other machines serve with --listen 0.0.0.0:7070".into(),
        ),
        _ => (address.to_owned(), String::new()),
    };
    format!("run on the machine:\n  outpost enroll {host} {token}{warning}")
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Withdraws a token.
pub fn delete_token(folder: &Path, token: &str) -> Result<(), String> {
    let Reply::Done = admin(folder, Request::TokenDelete { digits: digits(token)? })? else { return Err(nonsense()) };
    Ok(())
}

/// The digits by which the hub knows a token, from the token itself or from what a list of them shows.
fn digits(token: &str) -> Result<String, String> {
    match token.parse::<Token>() {
        Ok(token) => Ok(Fingerprint(secret_hash(&token.secret)).to_string()),
        Err(TokenError::Prefix) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(token.to_owned())
        }
        Err(TokenError::Prefix) => Err(format!("{token:?} is no HASH: `outpost-hub token list` shows them")),
        Err(error) => Err(error.to_string()),
    }
}

/// Shows which tokens there are.
pub fn list_tokens(folder: &Path, now: UnixTime, is_json: bool) -> Result<(), String> {
    let Reply::Tokens(mut tokens) = admin(folder, Request::Tokens)? else { return Err(nonsense()) };
    tokens.sort_by_key(|token| std::cmp::Reverse(token.made));
    let shown: Vec<Shown> = tokens.into_iter().map(|token| Shown::of(token, now)).collect();
    if is_json {
        return show_json(&shown);
    }
    if shown.is_empty() {
        return show("no tokens: `outpost-hub token new` makes one\n");
    }
    let rows: Vec<Vec<String>> = shown.iter().map(Shown::row).collect();
    show(&table(&["HASH", "STATE", "USES", "END", "MADE", "GROUP", "TAGS"], &rows))
}

/// A token as it is shown: what it opens is not in it.
#[derive(Debug, Serialize)]
struct Shown {
    hash: String,
    state: &'static str,
    uses_left: u32,
    expires_ms: Option<u64>,
    made_ms: u64,
    group: Option<String>,
    tags: std::collections::BTreeMap<String, String>,
}

impl Shown {
    fn of(token: Kept, now: UnixTime) -> Shown {
        let is_past = token.expires.is_some_and(|expires| expires <= now);
        Shown {
            hash: Fingerprint(token.hash).to_string(),
            state: match token.uses_left {
                0 => "used",
                _ if is_past => "expired",
                _ => "open",
            },
            uses_left: token.uses_left,
            expires_ms: token.expires.map(|expires| expires.0),
            made_ms: token.made.0,
            group: token.group,
            tags: token.tags,
        }
    }

    fn row(&self) -> Vec<String> {
        let moment = |ms: u64| time::format(ms / 1000 * 1000);
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            self.hash.chars().take(8).collect(),
            self.state.into(),
            self.uses_left.to_string(),
            self.expires_ms.map_or("never".into(), moment),
            moment(self.made_ms),
            self.group.clone().unwrap_or_default(),
            tags.join(" "),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_machine_names_an_address_that_it_can_reach() {
        let check = |address, expected: &str| {
            let text = instruction(address, "hub.example", "op1_x");
            assert!(text.contains(&format!("  outpost enroll {expected} op1_x")), "{text}");
            text
        };
        assert!(!check("192.0.2.1:7070", "192.0.2.1:7070").contains("loopback"));
        check("0.0.0.0:7070", "hub.example:7070");
        check("[::]:80", "hub.example:80");
        assert!(check("127.0.0.1:7070", "127.0.0.1:7070").contains("--listen 0.0.0.0:7070"));
        assert!(check("[::1]:7070", "[::1]:7070").contains("loopback"));
    }

    #[test]
    fn a_token_is_named_by_itself_or_by_its_hash() {
        let token = Token::generate(Fingerprint([1; 32]));
        let hash = Fingerprint(secret_hash(&token.secret)).to_string();
        assert_eq!(digits(&token.to_string()), Ok(hash.clone()));
        assert_eq!(digits(&hash[..8]), Ok(hash[..8].to_owned()));
        assert!(digits("op1_x").unwrap_err().contains("a whole one"));
        assert!(digits("3g").unwrap_err().contains("token list"));
        assert!(digits("").unwrap_err().contains("token list"));
    }

    #[test]
    fn a_token_that_lets_nobody_in_any_more_says_why() {
        let token = |uses_left, expires| Kept {
            hash: [0xab; 32],
            uses_left,
            expires,
            group: None,
            tags: std::collections::BTreeMap::from([("a".into(), "b".into())]),
            made: UnixTime(1_767_225_600_123),
        };
        let now = UnixTime(1_767_225_700_000);
        assert_eq!(Shown::of(token(1, None), now).state, "open");
        assert_eq!(Shown::of(token(0, None), now).state, "used");
        let row = Shown::of(token(2, Some(now)), now).row();
        assert_eq!(row, ["abababab", "expired", "2", "2026-01-01T00:01:40Z", "2026-01-01T00:00:00Z", "", "a=b"]);
    }
}
