//! The parsers of outside bytes, as functions of bytes. None of them may panic.

use smol::io::Cursor;

use crate::address::Address;
use crate::bench::trace::Trace;
use crate::enrolment;
use crate::local::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request};
use crate::proxy::{Answer, Proxy};
use crate::settings::Settings;

/// A parser by its name.
pub type Target = (&'static str, fn(&[u8]));

/// What to feed.
pub const TARGETS: &[Target] = &[
    ("address", address),
    ("local_reply", reply),
    ("local_request", request),
    ("pins", pins),
    ("proxy", proxy),
    ("proxy_answer", proxy_answer),
    ("settings", settings),
    ("trace", trace),
];

fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address), "{text}");
    }
}

fn reply(bytes: &[u8]) {
    let _ = smol::block_on(local::read::<Reply>(&mut Cursor::new(bytes), REPLY_BYTES_MAX));
}

fn request(bytes: &[u8]) {
    let _ = smol::block_on(local::read::<Request>(&mut Cursor::new(bytes), REQUEST_BYTES_MAX));
}

fn pins(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(pins) = enrolment::pins(text) {
        assert_eq!(enrolment::pins(&enrolment::pins_text(&pins)), Ok(pins));
    }
}

fn proxy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = text.parse::<Proxy>();
}

/// The bytes at once, and one by one: both times they say the same.
fn proxy_answer(bytes: &[u8]) {
    let whole = Answer::default().receive(bytes);
    let mut answer = Answer::default();
    let mut one_by_one = bytes.iter().map(|byte| answer.receive(&[*byte]));
    let first = one_by_one.find(|said| !matches!(said, Ok(None)));
    match (whole, first) {
        (Ok(Some(whole)), Some(Ok(Some(first)))) => assert_eq!(whole, first),
        (Ok(None), first) => assert!(first.is_none()),
        // A tunnel that speaks of itself is refused when that comes along, and is another matter when it comes later.
        (Err(_), first) => assert!(matches!(first, Some(Err(_) | Ok(Some((200..=299, _)))))),
        (Ok(Some(whole)), first) => panic!("{whole:?} and {first:?}"),
    }
}

fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Settings::parse(text) {
        assert!((1..=text.lines().count()).contains(&error.line), "{error}");
    }
}

fn trace(bytes: &[u8]) {
    let _ = Trace::unpack(bytes);
}
