//! How messages are cut for the link, and put together again.
//!
//! A *packet* is what a carrier carries at once: a datagram, or what is written to a stream in one go. It holds frames:
//!
//! ```text
//! offset  field    type
//! 0       head     u8        bits 7..6 are 10, 5..4 lane, 3 part, 2 more, 1 is 0, 0 rest
//! 1       kind     u8        wire::message::Kind
//!         message  varint    part only: which message, counted by its sender
//!         offset   varint    part only: where in the message the payload belongs
//!         length   varint    payload bytes, at most FRAME_BYTES_MAX; not there with `rest`
//!         payload            with `rest`, all that is left of the datagram
//! ```
//!
//! A frame of a whole message may be *like* the whole one right before it in its packet: of its kind, and with the same first bytes.
//! Batches that were closed together are, and acks of them.
//!
//! ```text
//! 0       head     u8        as above, with more and without part
//! 1       shared   u8        how many bytes of the message before this one begins with, 1 to SHARED_BYTES_MAX
//!         length   varint    of the other bytes, which follow
//! ```
//!
//! A message that does not fit a packet goes in parts, with `more` set on all but the last. Messages of different lanes may be
//! interleaved, so that an alert need not wait for the end of a bulk batch; over datagrams parts may arrive in any order, and
//! more than once.
//!
//! No text begins with the upper bits of a head, and no record of TLS: whoever dialled the wrong port is noticed at once.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use codec::varint;

use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::stream::Lane;

const MARK: u8 = 0b1000_0000;
const MARK_MASK: u8 = 0b1100_0000;
const PART: u8 = 1 << 3;
const MORE: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const REST: u8 = 1;

/// Bytes of what stands before a payload, at their longest: head, kind, and three numbers below [`MESSAGE_BYTES_MAX`] or 2^32.
pub const HEAD_BYTES_MAX: usize = 2 + 5 + 3 + 2;

/// Bytes that a message may begin with that the one before it began with: more than stands before the payload of a record.
pub const SHARED_BYTES_MAX: usize = 32;

/// Messages that may be in parts at a time. A sender has one of each lane, and what it says again.
const PARTIAL_COUNT_MAX: usize = 8;

/// Holes in one message; a sender has fewer packets on their way.
const RANGE_COUNT_MAX: usize = 64;

/// Numbers of whole messages that are remembered, so that a part that comes twice begins nothing.
const DONE_COUNT_MAX: usize = 32;

/// Why the peer's bytes are no frames. The link closes; nothing else is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// These bytes were not made for this protocol.
    Foreign(u8),
    /// The frame says that it is longer than allowed, or than its packet.
    FrameTooLong {
        /// What it says.
        bytes: u64,
    },
    /// The lane is not one of ours.
    Lane,
    /// A number before the payload is malformed, or not allowed on this carrier.
    Malformed,
    /// The parts of one message reach beyond [`MESSAGE_BYTES_MAX`].
    MessageTooLong,
    /// A part does not fit the others of its message.
    Part {
        /// Which message.
        message: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Foreign(byte) => write!(f, "these are not the bytes of this protocol (0x{byte:02x})"),
            FrameError::FrameTooLong { bytes } => {
                write!(f, "frame of {bytes} bytes exceeds {FRAME_BYTES_MAX}, or its packet")
            }
            FrameError::Lane => f.write_str("frame of an unknown lane"),
            FrameError::Malformed => f.write_str("head of a frame is malformed"),
            FrameError::MessageTooLong => write!(f, "message exceeds {MESSAGE_BYTES_MAX} bytes"),
            FrameError::Part { message } => write!(f, "a part of message {message} does not fit the others"),
        }
    }
}

/// Where a payload belongs in a message that goes in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which message, as its sender counts those in parts.
    pub message: u32,
    /// Where in it the payload begins.
    pub offset: u32,
    /// Whether there is more behind it.
    pub more: bool,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who goes first.
    pub lane: Lane,
    /// The message's kind.
    pub kind: u8,
    /// Where it belongs; none when it is a whole message.
    pub part: Option<Part>,
}

impl Head {
    /// Bytes of a frame with this head and a payload of so many.
    pub fn frame_bytes(&self, payload_bytes: usize) -> usize {
        let part = |part: Part| varint::len(part.message.into()) + varint::len(part.offset.into());
        2 + self.part.map_or(0, part) + varint::len(payload_bytes as u64) + payload_bytes
    }

    /// Appends a frame. `is_rest` says that nothing follows it in its datagram.
    ///
    /// Panics: when the payload exceeds [`FRAME_BYTES_MAX`].
    pub fn put(&self, payload: &[u8], is_rest: bool, out: &mut Vec<u8>) {
        self.put_like(0, payload, is_rest, out);
    }

    /// As [`Head::put`], of a whole message that begins with the same `shared` bytes as the one right before it in the packet, which is
    /// of the same kind. The frame is as long as one of so many bytes less.
    ///
    /// Panics: as [`Head::put`]; when more than [`SHARED_BYTES_MAX`] are shared, or it is a part.
    pub fn put_like(&self, shared: usize, payload: &[u8], is_rest: bool, out: &mut Vec<u8>) {
        assert!(
            shared <= SHARED_BYTES_MAX && (shared == 0 || self.part.is_none()),
            "only what is whole shares a front"
        );
        assert!(payload.len() <= FRAME_BYTES_MAX, "frames are bounded where they are cut");
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            MARK | (self.lane as u8) << 4
                | flag(self.part.is_some(), PART)
                | flag(shared > 0 || self.part.is_some_and(|part| part.more), MORE)
                | flag(is_rest, REST),
        );
        out.push(if shared > 0 { shared as u8 } else { self.kind });
        if let Some(part) = self.part {
            varint::put(out, part.message.into());
            varint::put(out, part.offset.into());
        }
        let own = &payload[shared..];
        if !is_rest {
            varint::put(out, own.len() as u64);
        }
        out.extend_from_slice(own);
    }
}

/// A frame as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What stood before the payload.
    pub head: Head,
    /// How many bytes of the message before this one come before the payload.
    pub shared: usize,
    /// The payload.
    pub payload: &'a [u8],
}

/// Where a frame lies among bytes.
struct Place {
    head: Head,
    shared: usize,
    payload: Range<usize>,
}

impl Place {
    fn frame(self, bytes: &[u8]) -> Frame<'_> {
        Frame { head: self.head, shared: self.shared, payload: &bytes[self.payload] }
    }
}

/// The next frame of `bytes`; `None` when it is not whole yet. `before` is the kind of the frame before it.
///
/// Errors: the peer does not speak this protocol.
fn take(bytes: &[u8], before: Option<u8>, is_datagram: bool) -> Result<Option<Place>, FrameError> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    if first & MARK_MASK != MARK {
        return Err(FrameError::Foreign(first));
    }
    if first & RESERVED != 0 {
        return Err(FrameError::Malformed);
    }
    let Some(lane) = Lane::ALL.get(usize::from(first >> 4 & 3)).copied() else { return Err(FrameError::Lane) };
    let Some((&second, mut rest)) = rest.split_first() else { return Ok(None) };
    let (kind, shared) = match (first & (PART | MORE), before) {
        (MORE, Some(before)) if (1..=SHARED_BYTES_MAX).contains(&second.into()) => (before, second.into()),
        (MORE, _) => return Err(FrameError::Malformed),
        _ => (second, 0),
    };
    let mut number = || match varint::take(&mut rest) {
        Ok(number) => Ok(Some(number)),
        Err(varint::VarintError::Truncated) => Ok(None),
        Err(varint::VarintError::Malformed) => Err(FrameError::Malformed),
    };
    let mut part = None;
    if first & PART != 0 {
        let Some(message) = number()? else { return Ok(None) };
        let Some(offset) = number()? else { return Ok(None) };
        let message = u32::try_from(message).map_err(|_| FrameError::Malformed)?;
        if offset > MESSAGE_BYTES_MAX as u64 {
            return Err(FrameError::MessageTooLong);
        }
        part = Some(Part { message, offset: offset as u32, more: first & MORE != 0 });
    }
    let length = match (first & REST != 0, is_datagram) {
        (true, true) => rest.len() as u64,
        (true, false) => return Err(FrameError::Malformed),
        (false, _) => match number()? {
            Some(length) => length,
            None => return Ok(None),
        },
    };
    if length > FRAME_BYTES_MAX as u64 || is_datagram && length > rest.len() as u64 {
        return Err(FrameError::FrameTooLong { bytes: length });
    }
    let start = bytes.len() - rest.len();
    let end = start + length as usize;
    let head = Head { lane, kind, part };
    Ok((end <= bytes.len()).then_some(Place { head, shared, payload: start..end }))
}

/// The frames of a whole datagram. Ends after the first error.
pub fn frames(datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, FrameError>> {
    let (mut rest, mut before) = (datagram, None);
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = core::mem::take(&mut rest);
        Some(take(bytes, before, true).and_then(|taken| {
            let place = taken.ok_or(FrameError::Malformed)?;
            (rest, before) = (&bytes[place.payload.end..], Some(place.head.kind));
            Ok(place.frame(bytes))
        }))
    })
}

/// Cuts the bytes of a stream into frames. Holds at most one frame that is not whole, beside the last chunk.
#[derive(Debug, Default)]
pub struct Splitter {
    input: Vec<u8>,
    taken: usize,
    /// The kind of the frame that was taken last.
    before: Option<u8>,
}

impl Splitter {
    /// Appends bytes as they arrived. Call [`Splitter::poll_frame`] until it returns `None` before the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.input.drain(..self.taken);
        self.taken = 0;
        self.input.extend_from_slice(chunk);
    }

    /// The next whole frame, if there is one.
    ///
    /// Errors: the peer does not speak this protocol; nothing after it can be read.
    pub fn poll_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let bytes = &self.input[self.taken..];
        let Some(place) = take(bytes, self.before, false)? else { return Ok(None) };
        self.taken += place.payload.end;
        self.before = Some(place.head.kind);
        Ok(Some(place.frame(bytes)))
    }

    /// Bytes of frames that were handed out since the last chunk.
    pub fn taken(&self) -> usize {
        self.taken
    }
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// The message's kind.
    pub kind: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Puts messages together from frames in any order.
#[derive(Debug, Default)]
pub struct Assembler {
    /// What the whole message before the next frame began with.
    front: heapless::Vec<u8, SHARED_BYTES_MAX>,
    /// Oldest first.
    partial: Vec<Partial>,
    /// Numbers of messages that were in parts and are whole.
    done: heapless::Deque<u32, DONE_COUNT_MAX>,
}

#[derive(Debug)]
struct Partial {
    message: u32,
    kind: u8,
    bytes: Vec<u8>,
    /// What is there, in order, neither touching nor overlapping.
    have: heapless::Vec<(u32, u32), RANGE_COUNT_MAX>,
    end: Option<u32>,
}

impl Assembler {
    /// Takes a frame. Returns the message that it completes.
    ///
    /// Errors: the frame does not fit those before it.
    pub fn take(&mut self, frame: Frame<'_>) -> Result<Option<Framed>, FrameError> {
        let Head { kind, part, .. } = frame.head;
        let Some(part) = part else {
            let shared = self.front.get(..frame.shared).ok_or(FrameError::Malformed)?;
            let bytes = [shared, frame.payload].concat();
            if bytes.len() > FRAME_BYTES_MAX {
                return Err(FrameError::FrameTooLong { bytes: bytes.len() as u64 });
            }
            self.front.clear();
            self.front.extend(bytes.iter().take(SHARED_BYTES_MAX).copied());
            return Ok(Some(Framed { kind, bytes }));
        };
        if self.done.iter().any(|done| *done == part.message) {
            return Ok(None);
        }
        let place = match self.partial.iter().position(|partial| partial.message == part.message) {
            Some(place) => place,
            None => {
                if self.partial.len() == PARTIAL_COUNT_MAX {
                    // Of a sender that keeps to its lanes this one will never be whole.
                    self.partial.remove(0);
                }
                let partial =
                    Partial { message: part.message, kind, bytes: Vec::new(), have: heapless::Vec::new(), end: None };
                self.partial.push(partial);
                self.partial.len() - 1
            }
        };
        if !self.partial[place].add(kind, part, frame.payload)? {
            return Ok(None);
        }
        let Partial { message, bytes, .. } = self.partial.remove(place);
        if self.done.is_full() {
            self.done.pop_front();
        }
        self.done.push_back(message).expect("one went");
        Ok(Some(Framed { kind, bytes }))
    }
}

impl Partial {
    /// Whether the message is whole now.
    fn add(&mut self, kind: u8, part: Part, payload: &[u8]) -> Result<bool, FrameError> {
        let misfit = FrameError::Part { message: self.message };
        let (start, end) = (part.offset, part.offset + payload.len() as u32);
        if end as usize > MESSAGE_BYTES_MAX {
            return Err(FrameError::MessageTooLong);
        }
        let is_beyond = self.end.is_some_and(|known| if part.more { end > known } else { end != known });
        let is_short = !part.more && self.bytes.len() > end as usize;
        if kind != self.kind || is_beyond || is_short {
            return Err(misfit);
        }
        if !part.more {
            self.end = Some(end);
        }
        if self.bytes.len() < end as usize {
            self.bytes.resize(end as usize, 0);
        }
        self.bytes[start as usize..end as usize].copy_from_slice(payload);
        let first = self.have.partition_point(|have| have.1 < start);
        let last = self.have.partition_point(|have| have.0 <= end);
        let mut joined = (start, end);
        for _ in first..last {
            let have = self.have.remove(first);
            joined = (joined.0.min(have.0), joined.1.max(have.1));
        }
        self.have.insert(first, joined).map_err(|_| misfit)?;
        Ok(self.end.is_some_and(|end| self.have[..] == [(0, end)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lane: Lane, kind: u8) -> Head {
        Head { lane, kind, part: None }
    }

    /// The frames of a message in parts of so many bytes.
    fn parts(head: Head, number: u32, message: &[u8], bytes: usize) -> Vec<Vec<u8>> {
        let count = message.len().div_ceil(bytes);
        let frame = |(index, payload): (usize, &[u8])| {
            let part = Part { message: number, offset: (index * bytes) as u32, more: index + 1 < count };
            let mut out = Vec::new();
            Head { part: Some(part), ..head }.put(payload, false, &mut out);
            out
        };
        message.chunks(bytes).enumerate().map(frame).collect()
    }

    fn read(bytes: &[u8], chunk: usize) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
        let (mut splitter, mut assembler, mut messages) = (Splitter::default(), Assembler::default(), Vec::new());
        for chunk in bytes.chunks(chunk) {
            splitter.push(chunk);
            while let Some(frame) = splitter.poll_frame()? {
                messages.extend(assembler.take(frame)?.map(|framed| (framed.kind, framed.bytes)));
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_back_split_at_any_byte() {
        let long: Vec<u8> = (0..5000u32).map(|byte| byte as u8).collect();
        let mut bytes = parts(head(Lane::Raw, 3), 0, &long, FRAME_BYTES_MAX).concat();
        head(Lane::Urgent, 4).put(b"", false, &mut bytes);
        head(Lane::Raw, 3).put(&long[..FRAME_BYTES_MAX], false, &mut bytes);
        for chunk in [1, 2, 7, 1183, bytes.len()] {
            let messages = read(&bytes, chunk).unwrap();
            assert_eq!(messages.len(), 3);
            assert_eq!(messages[0], (3, long.clone()));
            assert_eq!(messages[1], (4, Vec::new()));
        }
    }

    #[test]
    fn an_urgent_message_passes_between_the_parts_of_a_bulk_one() {
        let mut frames = parts(head(Lane::Raw, 3), 0, &[9; 3000], 1000);
        let mut urgent = Vec::new();
        head(Lane::Urgent, 4).put(b"now", false, &mut urgent);
        frames.insert(1, urgent);
        let messages = read(&frames.concat(), 100).unwrap();
        assert_eq!(messages, [(4, b"now".to_vec()), (3, alloc::vec![9; 3000])]);
    }

    #[test]
    fn parts_in_any_order_and_twice_make_one_message() {
        let long: Vec<u8> = (0..900u32).map(|byte| (byte / 3) as u8).collect();
        let mut pieces = parts(head(Lane::Raw, 3), 7, &long, 100);
        for round in 0..40 {
            let count = pieces.len();
            pieces.rotate_left(round % count);
            pieces.swap(0, (round * 5) % count);
            let mut assembler = Assembler::default();
            let mut whole = Vec::new();
            for piece in pieces.iter().chain(&pieces) {
                for frame in frames(piece) {
                    whole.extend(assembler.take(frame.unwrap()).unwrap());
                }
            }
            assert_eq!(whole, [Framed { kind: 3, bytes: long.clone() }]);
            assert!(assembler.partial.is_empty());
        }
    }

    #[test]
    fn the_last_frame_of_a_datagram_needs_no_length() {
        let mut datagram = Vec::new();
        head(Lane::Urgent, 5).put(b"ping", false, &mut datagram);
        head(Lane::Raw, 3).put(&[1; 300], true, &mut datagram);
        assert_eq!(datagram.len(), 2 + 1 + 4 + 2 + 300);
        let read: Vec<_> = frames(&datagram).map(Result::unwrap).collect();
        assert_eq!((read[0].payload, read[1].payload.len()), (&b"ping"[..], 300));
        assert_eq!(Splitter::default().poll_frame(), Ok(None));
        assert_eq!(self::read(&datagram, 9), Err(FrameError::Malformed));
    }

    #[test]
    fn messages_that_are_never_finished_take_no_more_room() {
        let mut assembler = Assembler::default();
        for message in 0..1000 {
            let part = Some(Part { message, offset: 0, more: true });
            let frame = Frame { head: Head { part, ..head(Lane::Raw, 3) }, shared: 0, payload: b"x" };
            assert_eq!(assembler.take(frame), Ok(None));
        }
        assert_eq!(assembler.partial.len(), PARTIAL_COUNT_MAX);
    }

    #[test]
    fn a_message_need_not_say_again_what_the_one_before_it_began_with() {
        let mut bytes = Vec::new();
        head(Lane::Summary, 3).put(b"same front, one", false, &mut bytes);
        head(Lane::Raw, 3).put_like(12, b"same front, other", false, &mut bytes);
        assert_eq!(bytes.len(), 18 + head(Lane::Raw, 3).frame_bytes(5));
        for chunk in [1, 5, bytes.len()] {
            let expected = [(3, b"same front, one".to_vec()), (3, b"same front, other".to_vec())];
            assert_eq!(read(&bytes, chunk).as_deref(), Ok(&expected[..]));
        }
        assert_eq!(read(&bytes[18..], 99), Err(FrameError::Malformed));
        for shared in [0, 16, SHARED_BYTES_MAX as u8 + 1] {
            bytes[19] = shared;
            assert_eq!(read(&bytes, 99), Err(FrameError::Malformed), "{shared}");
        }
    }

    #[test]
    fn each_kind_of_nonsense_is_named() {
        let check = |bytes: &[u8], error| assert_eq!(read(bytes, 9), Err(error));
        check(b"GET / HTTP/1.1\r\n", FrameError::Foreign(b'G'));
        check(&[0x16, 3, 3], FrameError::Foreign(0x16));
        check(&[0xb0, 3, 0], FrameError::Lane);
        check(&[0x80, 3, 0xff, 0xff, 0x7f], FrameError::FrameTooLong { bytes: 0x1f_ffff });
        check(&[0x80, 3, 0x80, 0x00], FrameError::Malformed);
        check(&[0x84, 3, 0], FrameError::Malformed);
        let part = |kind, offset: u32, more, payload: &[u8]| {
            let mut out = Vec::new();
            Head { part: Some(Part { message: 1, offset, more }), ..head(Lane::Raw, kind) }
                .put(payload, false, &mut out);
            out
        };
        let misfit = FrameError::Part { message: 1 };
        check(&[part(3, 0, true, b"abc"), part(4, 3, false, b"d")].concat(), misfit);
        check(&[part(3, 4, false, b"d"), part(3, 3, true, b"abc")].concat(), misfit);
        check(&[part(3, 3, true, b"abc"), part(3, 0, false, b"d")].concat(), misfit);
        check(&part(3, MESSAGE_BYTES_MAX as u32, true, b"a"), FrameError::MessageTooLong);
        assert_eq!(frames(&[0x80, 3, 5, 1]).next(), Some(Err(FrameError::FrameTooLong { bytes: 5 })));
        assert_eq!(frames(&[0x80]).next(), Some(Err(FrameError::Malformed)));
    }
}
