//! Messages to frames and back.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::frame;
use wire::message::{Close, CloseReason, Kind};
use wire::stream::Lane;

/// The frames of a message that is postcard.
pub fn frames<T: Serialize>(kind: Kind, body: &T) -> Vec<u8> {
    let message = postcard::to_allocvec(body).expect("a vector takes every byte");
    raw_frames(Lane::Urgent, kind, &message)
}

/// The frames of a message that is bytes already.
pub fn raw_frames(lane: Lane, kind: Kind, message: &[u8]) -> Vec<u8> {
    let frame_count = message.len().div_ceil(wire::limits::FRAME_BYTES_MAX).max(1);
    let mut out = Vec::with_capacity(message.len() + frame_count * frame::HEAD_BYTES_MAX);
    frame::cut(lane, kind as u8, false, message, &mut out);
    out
}

/// The frames of a [`Close`].
pub fn close_frames(reason: CloseReason, detail: &str) -> Vec<u8> {
    frames(Kind::Close, &Close { reason, detail: wire::event::text(detail) })
}

/// Reads a message that is postcard. `None` when it is not of that shape.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
