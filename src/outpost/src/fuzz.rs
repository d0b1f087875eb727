//! The parsers of outside bytes, as functions of bytes. None of them may panic.

use smol::io::Cursor;

use crate::address::Address;
use crate::bench::trace::Trace;
use crate::enrolment;
use crate::local::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request};
use crate::settings::Settings;

/// A parser by its name.
pub type Target = (&'static str, fn(&[u8]));

/// What to feed.
pub const TARGETS: &[Target] = &[
    ("address", address),
    ("local_reply", reply),
    ("local_request", request),
    ("pins", pins),
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

fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Settings::parse(text) {
        assert!((1..=text.lines().count()).contains(&error.line), "{error}");
    }
}

fn trace(bytes: &[u8]) {
    let _ = Trace::unpack(bytes);
}
