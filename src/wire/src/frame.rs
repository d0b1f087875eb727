//! How messages are cut for the link, and put together again.
//!
//! ```text
//! offset  field     type
//! 0       head      u8        bits 7..4 version, 3..2 lane, 1 more, 0 skippable
//! 1       kind      u8        wire::message::Kind
//! 2       length    varint    payload bytes, at most FRAME_BYTES_MAX
//!         payload
//! ```
//!
//! A message longer than a frame goes as several with `more` set on all but the last. Frames of different
//! lanes may be interleaved, so that an alert need not wait for the end of a bulk batch; inside a lane the
//! messages keep their order. A frame of an unknown kind is passed over when it is `skippable`.

use alloc::vec::Vec;
use core::fmt;

use codec::varint;

use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::stream::{LANE_COUNT, Lane};

/// The version in the head of every frame.
pub const VERSION: u8 = 0;

const MORE: u8 = 1 << 1;
const SKIPPABLE: u8 = 1;

/// Bytes of a frame's head at its longest.
pub const HEAD_BYTES_MAX: usize = 4;

/// Why the peer's bytes are no frames. The link closes; nothing else is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The frame says that it is longer than allowed.
    FrameTooLong {
        /// What it says.
        bytes: u64,
    },
    /// The length of a frame is malformed.
    Length,
    /// The frames of a message changed kind before its end.
    Interrupted {
        /// The kind that the message began with.
        began: u8,
        /// The kind that came instead.
        came: u8,
    },
    /// The frames of one message add up to more than [`MESSAGE_BYTES_MAX`].
    MessageTooLong,
    /// The lane is not one of ours.
    Lane,
    /// The frame is of a version that this end does not speak.
    Version(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::FrameTooLong { bytes } => write!(f, "frame of {bytes} bytes exceeds {FRAME_BYTES_MAX}"),
            FrameError::Length => f.write_str("length of a frame is malformed"),
            FrameError::Interrupted { began, came } => {
                write!(f, "message of kind {began} was interrupted by kind {came}")
            }
            FrameError::MessageTooLong => write!(f, "message exceeds {MESSAGE_BYTES_MAX} bytes"),
            FrameError::Lane => f.write_str("frame of an unknown lane"),
            FrameError::Version(version) => {
                write!(f, "frame of version {version}, this end speaks version {VERSION}")
            }
        }
    }
}

/// Appends the frames of one message to `out`.
///
/// Panics: when the message exceeds [`MESSAGE_BYTES_MAX`].
pub fn cut(lane: Lane, kind: u8, skippable: bool, message: &[u8], out: &mut Vec<u8>) {
    assert!(message.len() <= MESSAGE_BYTES_MAX, "messages are bounded where they are made");
    let head = (VERSION << 4) | ((lane as u8) << 2) | if skippable { SKIPPABLE } else { 0 };
    let mut rest = message;
    loop {
        let (part, after) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
        out.push(if after.is_empty() { head } else { head | MORE });
        out.push(kind);
        varint::put(out, part.len() as u64);
        out.extend_from_slice(part);
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The message's kind.
    pub kind: u8,
    /// Whether it may be passed over when the kind is unknown.
    pub skippable: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Puts messages together from the peer's bytes. Holds at most one frame and one message per lane.
#[derive(Debug, Default)]
pub struct Assembler {
    input: Vec<u8>,
    taken: usize,
    parts: [Part; LANE_COUNT],
    done: Option<usize>,
}

#[derive(Debug, Default)]
struct Part {
    kind: Option<u8>,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Appends bytes as they arrived. Call [`Assembler::poll_message`] until it returns `None` before the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.input.drain(..self.taken);
        self.taken = 0;
        self.input.extend_from_slice(chunk);
    }

    /// The next whole message, if there is one.
    ///
    /// Errors: the peer does not speak this protocol; nothing after it can be read.
    pub fn poll_message(&mut self) -> Result<Option<Framed<'_>>, FrameError> {
        if let Some(lane) = self.done.take() {
            self.parts[lane].bytes.clear();
            self.parts[lane].kind = None;
        }
        while let Some((head, kind, payload)) = self.take_frame()? {
            let lane = usize::from(head >> 2 & 3);
            let part = self.parts.get_mut(lane).ok_or(FrameError::Lane)?;
            let began = *part.kind.get_or_insert(kind);
            if began != kind {
                return Err(FrameError::Interrupted { began, came: kind });
            }
            if part.bytes.len() + payload.len() > MESSAGE_BYTES_MAX {
                return Err(FrameError::MessageTooLong);
            }
            part.bytes.extend_from_slice(&self.input[payload]);
            if head & MORE == 0 {
                self.done = Some(lane);
                let part = &self.parts[lane];
                return Ok(Some(Framed { kind, skippable: head & SKIPPABLE != 0, bytes: &part.bytes }));
            }
        }
        Ok(None)
    }

    fn take_frame(&mut self) -> Result<Option<(u8, u8, core::ops::Range<usize>)>, FrameError> {
        let rest = &self.input[self.taken..];
        let Some((&head, after)) = rest.split_first() else { return Ok(None) };
        if head >> 4 != VERSION {
            return Err(FrameError::Version(head >> 4));
        }
        let Some((&kind, mut after)) = after.split_first() else { return Ok(None) };
        let length = match varint::take(&mut after) {
            Ok(length) => length,
            Err(varint::VarintError::Truncated) => return Ok(None),
            Err(varint::VarintError::Malformed) => return Err(FrameError::Length),
        };
        if length > FRAME_BYTES_MAX as u64 {
            return Err(FrameError::FrameTooLong { bytes: length });
        }
        let length = length as usize;
        if after.len() < length {
            return Ok(None);
        }
        let start = self.input.len() - after.len();
        self.taken = start + length;
        Ok(Some((head, kind, start..start + length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(assembler: &mut Assembler, bytes: &[u8], chunk: usize) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
        let mut messages = Vec::new();
        for chunk in bytes.chunks(chunk) {
            assembler.push(chunk);
            while let Some(framed) = assembler.poll_message()? {
                messages.push((framed.kind, framed.bytes.to_vec()));
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_back_split_at_any_byte() {
        let long: Vec<u8> = (0..5000u32).map(|byte| byte as u8).collect();
        let mut bytes = Vec::new();
        cut(Lane::Raw, 3, false, &long, &mut bytes);
        cut(Lane::Urgent, 4, true, b"", &mut bytes);
        cut(Lane::Raw, 3, false, &long[..FRAME_BYTES_MAX], &mut bytes);
        for chunk in [1, 2, 7, 1183, bytes.len()] {
            let messages = read(&mut Assembler::default(), &bytes, chunk).unwrap();
            assert_eq!(messages.len(), 3);
            assert_eq!(messages[0], (3, long.clone()));
            assert_eq!(messages[1], (4, Vec::new()));
        }
    }

    #[test]
    fn an_urgent_message_passes_between_the_frames_of_a_bulk_one() {
        let (mut bulk, mut urgent) = (Vec::new(), Vec::new());
        cut(Lane::Raw, 3, false, &[9; 3000], &mut bulk);
        cut(Lane::Urgent, 4, false, b"now", &mut urgent);
        let first = FRAME_BYTES_MAX + HEAD_BYTES_MAX;
        let mut bytes = bulk[..first].to_vec();
        bytes.extend_from_slice(&urgent);
        bytes.extend_from_slice(&bulk[first..]);
        let messages = read(&mut Assembler::default(), &bytes, 100).unwrap();
        assert_eq!(messages[0], (4, b"now".to_vec()));
        assert_eq!(messages[1], (3, alloc::vec![9; 3000]));
    }

    #[test]
    fn each_kind_of_nonsense_is_named() {
        let check = |bytes: &[u8], error| assert_eq!(read(&mut Assembler::default(), bytes, 9), Err(error));
        check(&[0x10, 3, 0], FrameError::Version(1));
        check(b"GET / HTTP/1.1\r\n", FrameError::Version(4));
        check(&[0x0c, 3, 0], FrameError::Lane);
        check(&[0, 3, 0xff, 0xff, 0x7f], FrameError::FrameTooLong { bytes: 0x1f_ffff });
        check(&[0, 3, 0x80, 0x00], FrameError::Length);
        check(&[MORE, 3, 0, 0, 4, 0], FrameError::Interrupted { began: 3, came: 4 });
        let endless: Vec<u8> = (0..=MESSAGE_BYTES_MAX / 1180)
            .flat_map(|_| [alloc::vec![MORE, 3, 0x9c, 9], alloc::vec![0; 1180]].concat())
            .collect();
        check(&endless, FrameError::MessageTooLong);
    }
}
