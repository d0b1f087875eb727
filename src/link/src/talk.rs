//! Messages to bytes and back.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::frame::{Assembler, FrameError, Framed, Head, Part, Splitter};
use wire::limits::FRAME_BYTES_MAX;
use wire::message::{Close, CloseReason, Kind};
use wire::stream::Lane;

/// A message that is postcard.
pub fn body<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).expect("a vector takes every byte")
}

/// Reads a message that is postcard. `None` when it is not of that shape.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// The frames of a message for a stream, for those who have no [channel](crate::channel): an errand, a last word.
pub fn frames<T: Serialize>(kind: Kind, message: &T) -> Vec<u8> {
    raw_frames(Lane::Urgent, kind, &body(message), 0)
}

/// As [`frames`], of bytes. `number` differs between the long messages of one stream.
pub fn raw_frames(lane: Lane, kind: Kind, message: &[u8], number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    let head = Head { lane, kind: kind as u8, part: None };
    if message.len() <= FRAME_BYTES_MAX {
        head.put(message, false, &mut out);
        return out;
    }
    for (index, payload) in message.chunks(FRAME_BYTES_MAX).enumerate() {
        let offset = index * FRAME_BYTES_MAX;
        let part = Part { message: number, offset: offset as u32, more: offset + payload.len() < message.len() };
        Head { part: Some(part), ..head }.put(payload, false, &mut out);
    }
    out
}

/// The message that says why this end goes.
pub fn close(reason: CloseReason, detail: &str) -> Close {
    Close { reason, detail: wire::event::text(detail) }
}

/// The frames of [`close`].
pub fn close_frames(reason: CloseReason, detail: &str) -> Vec<u8> {
    frames(Kind::Close, &close(reason, detail))
}

/// Reads the messages of a stream, for those who have no channel. Receipts are passed over.
#[derive(Debug, Default)]
pub struct Listener {
    splitter: Splitter,
    assembler: Assembler,
}

impl Listener {
    /// Takes bytes as they arrived; call [`Listener::poll_message`] until it returns `None` before the next chunk.
    pub fn push(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
    }

    /// The next whole message.
    ///
    /// Errors: the other end does not speak this protocol.
    pub fn poll_message(&mut self) -> Result<Option<Framed>, FrameError> {
        while let Some(frame) = self.splitter.poll_frame()? {
            if frame.head.kind != Kind::Receipt as u8
                && let Some(message) = self.assembler.take(frame)?
            {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}
