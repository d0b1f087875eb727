//! Messages that wait to be sent, cut into packets: the urgent first, and what was lost before what was never sent.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use wire::frame::{Head, Part, SHARED_BYTES_MAX};
use wire::limits::FRAME_BYTES_MAX;
use wire::message::Kind;
use wire::spent::Use;
use wire::stream::{LANE_COUNT, Lane};

/// The smallest part of a message that is worth a frame of its own.
const PART_BYTES_MIN: usize = 64;

/// A frame that is on its way, kept until it has arrived.
#[derive(Debug)]
pub struct Kept {
    head: Head,
    payload: Vec<u8>,
    label: Label,
    /// How many bytes it begins with that the frame before it in the packet began with.
    shared: usize,
}

/// What its sender calls a message; several may have the same.
pub type Tag = u32;

/// What its sender says of a message.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// What it is called.
    pub tag: Tag,
    /// What its bytes are for.
    pub purpose: Use,
}

impl Label {
    /// Of a message that nobody asks about.
    pub const NONE: Label = Label { tag: 0, purpose: Use::Overhead };
}

impl Kept {
    /// Which message it is of, and how many bytes of it.
    pub fn tagged_bytes(&self) -> (Tag, usize) {
        (self.label.tag, self.payload.len())
    }

    /// What it is for, and its bytes with its head.
    pub fn cost(&self) -> (Use, usize) {
        (self.label.purpose, self.head.frame_bytes(self.payload.len() - self.shared))
    }

    /// How many bytes a frame behind this one need not say again.
    fn shared_with(&self, next: &Kept) -> usize {
        if self.head.part.is_some() || next.head.part.is_some() || self.head.kind != next.head.kind {
            return 0;
        }
        let both = self.payload.iter().zip(&next.payload).take(SHARED_BYTES_MAX);
        both.take_while(|(one, other)| one == other).count()
    }

    /// What stands before its payload.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

/// Messages and frames that wait.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: [Waiting; LANE_COUNT],
    message_count: u32,
}

#[derive(Debug, Default)]
struct Waiting {
    lost: VecDeque<Kept>,
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    head: Head,
    bytes: Vec<u8>,
    /// The next part, once it goes in parts.
    part: Option<Part>,
    label: Label,
}

impl Message {
    fn left_bytes(&self) -> usize {
        self.bytes.len() - self.part.map_or(0, |part| part.offset as usize)
    }
}

/// A packet that is ready.
#[derive(Debug)]
pub struct Packet {
    /// Its frames, as bytes.
    pub bytes: Vec<u8>,
    /// Its frames, to be said again.
    pub kept: Vec<Kept>,
    /// Whether what was to go first found room.
    pub has_first: bool,
}

impl Outbox {
    /// Puts a message behind those of its lane.
    pub fn push(&mut self, lane: Lane, kind: Kind, bytes: Vec<u8>, label: Label) {
        let head = Head { lane, kind: kind as u8, part: None };
        self.lanes[lane.index()].messages.push_back(Message { head, bytes, part: None, label });
    }

    /// Puts frames that were lost before everything else of their lanes.
    pub fn put_back(&mut self, kept: Vec<Kept>) {
        for mut frame in kept.into_iter().rev() {
            frame.label.purpose = Use::Overhead;
            frame.shared = 0;
            self.lanes[frame.head.lane.index()].lost.push_front(frame);
        }
    }

    /// Bytes that wait in a lane.
    pub fn waiting_bytes(&self, lane: Lane) -> usize {
        let Waiting { lost, messages } = &self.lanes[lane.index()];
        let lost: usize = lost.iter().map(|frame| frame.payload.len()).sum();
        lost + messages.iter().map(Message::left_bytes).sum::<usize>()
    }

    /// Bytes that wait in all lanes.
    pub fn all_waiting_bytes(&self) -> usize {
        Lane::ALL.into_iter().map(|lane| self.waiting_bytes(lane)).sum()
    }

    /// Whether a lane has nothing to send.
    pub fn is_empty(&self, lane: Lane) -> bool {
        let Waiting { lost, messages } = &self.lanes[lane.index()];
        lost.is_empty() && messages.is_empty()
    }

    /// The next packet, of at most `bytes_max` bytes: `first`, if it fits, then what waits in the open lanes. The last frame of a
    /// datagram goes without its length.
    pub fn packet(
        &mut self,
        first: Option<(Kind, &[u8])>,
        open: &[Lane],
        bytes_max: usize,
        is_datagram: bool,
    ) -> Packet {
        let first_head = |kind| Head { lane: Lane::Urgent, kind: kind as u8, part: None };
        let first_bytes = first.map_or(0, |(kind, body)| first_head(kind).frame_bytes(body.len()));
        let mut room = bytes_max.saturating_sub(first_bytes);
        let mut kept: Vec<Kept> = Vec::new();
        for lane in open {
            while let Some(mut frame) = self.lanes[lane.index()].next(room, kept.is_empty(), &mut self.message_count) {
                frame.shared = kept.last().map_or(0, |before| before.shared_with(&frame));
                room = room.saturating_sub(frame.cost().1);
                kept.push(frame);
            }
        }
        let frame_bytes: usize = kept.iter().map(|frame| frame.cost().1).sum();
        let first = first.filter(|_| kept.is_empty() || first_bytes + frame_bytes <= bytes_max);
        let mut bytes = Vec::with_capacity(first_bytes + frame_bytes);
        if let Some((kind, body)) = first {
            first_head(kind).put(body, is_datagram && kept.is_empty(), &mut bytes);
        }
        for (index, frame) in kept.iter().enumerate() {
            let is_rest = is_datagram && index + 1 == kept.len();
            frame.head.put_like(frame.shared, &frame.payload, is_rest, &mut bytes);
        }
        Packet { bytes, kept, has_first: first.is_some() }
    }
}

impl Waiting {
    /// The next frame that fits; one always does into a packet that is empty.
    fn next(&mut self, room: usize, is_empty: bool, message_count: &mut u32) -> Option<Kept> {
        if let Some(frame) = self.lost.front() {
            let fits = is_empty || frame.head.frame_bytes(frame.payload.len()) <= room;
            return if fits { self.lost.pop_front() } else { None };
        }
        let message = self.messages.front_mut()?;
        if message.part.is_none()
            && message.bytes.len() <= FRAME_BYTES_MAX
            && message.head.frame_bytes(message.bytes.len()) <= room
        {
            let Message { head, bytes, label, .. } = self.messages.pop_front()?;
            return Some(Kept { head, payload: bytes, label, shared: 0 });
        }
        let part = message.part.unwrap_or(Part { message: message_count.wrapping_add(1), offset: 0, more: true });
        let mut head = Head { part: Some(part), ..message.head };
        let label = message.label;
        let left = &message.bytes[part.offset as usize..];
        let around = head.frame_bytes(FRAME_BYTES_MAX) - FRAME_BYTES_MAX;
        let room = room.saturating_sub(around).min(FRAME_BYTES_MAX);
        let least = PART_BYTES_MIN.min(left.len());
        if room < least && !is_empty {
            return None;
        }
        let payload = left[..room.max(least).min(left.len())].to_vec();
        let next = Part { offset: part.offset + payload.len() as u32, ..part };
        *message_count = part.message;
        message.part = Some(next);
        if next.offset as usize == message.bytes.len() {
            head.part = Some(Part { more: false, ..part });
            self.messages.pop_front();
        }
        Some(Kept { head, payload, label, shared: 0 })
    }
}

#[cfg(test)]
mod tests {
    use wire::frame::{Assembler, frames};

    use super::*;

    /// Everything that waits, in packets of so many bytes: their sizes, and the messages that they carry.
    fn drain(outbox: &mut Outbox, bytes_max: usize) -> (Vec<usize>, Vec<Vec<u8>>) {
        let (mut sizes, mut messages, mut assembler) = (Vec::new(), Vec::new(), Assembler::default());
        while outbox.all_waiting_bytes() > 0 {
            let packet = outbox.packet(None, &Lane::ALL, bytes_max, true);
            sizes.push(packet.bytes.len());
            for frame in frames(&packet.bytes) {
                messages.extend(assembler.take(frame.unwrap()).unwrap().map(|framed| framed.bytes));
            }
        }
        (sizes, messages)
    }

    #[test]
    fn the_urgent_goes_first_and_small_messages_share_a_packet() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Raw, Kind::Batch, alloc::vec![2; 1000], Label::NONE);
        outbox.push(Lane::Summary, Kind::Batch, alloc::vec![1; 90], Label::NONE);
        outbox.push(Lane::Urgent, Kind::Batch, alloc::vec![0; 60], Label::NONE);
        let (sizes, messages) = drain(&mut outbox, 470);
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [60, 90, 1000]);
        assert!(sizes.iter().all(|size| *size <= 470) && sizes.len() == 3, "{sizes:?}");
    }

    #[test]
    fn an_alert_passes_a_message_that_is_half_sent() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Raw, Kind::Batch, alloc::vec![2; 5000], Label::NONE);
        let first = outbox.packet(None, &Lane::ALL, 470, true);
        outbox.push(Lane::Urgent, Kind::Batch, alloc::vec![0; 60], Label::NONE);
        let second = outbox.packet(None, &[Lane::Urgent], 470, true);
        assert_eq!((first.bytes.len(), second.bytes.len()), (468, 62));
    }

    #[test]
    fn what_was_lost_goes_before_what_was_never_sent() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Raw, Kind::Batch, alloc::vec![1; 100], Label::NONE);
        outbox.push(Lane::Raw, Kind::Batch, alloc::vec![2; 100], Label::NONE);
        outbox.push(Lane::Raw, Kind::Batch, alloc::vec![3; 100], Label::NONE);
        let lost = outbox.packet(None, &Lane::ALL, 210, true);
        assert_eq!(lost.kept.len(), 2);
        outbox.put_back(lost.kept);
        let (_, messages) = drain(&mut outbox, 470);
        assert_eq!(messages.iter().map(|message| message[0]).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn messages_that_begin_alike_say_so_once_in_each_packet() {
        let (mut outbox, whole_bytes) = (Outbox::default(), 2 + 1 + 40);
        let messages: Vec<Vec<u8>> = (1..4).map(|own| [[7; 30], [own; 30]].concat()[20..].to_vec()).collect();
        messages.iter().for_each(|message| outbox.push(Lane::Raw, Kind::Batch, message.clone(), Label::NONE));
        let together = outbox.packet(None, &Lane::ALL, 470, true);
        assert_eq!(together.bytes.len(), whole_bytes + (whole_bytes - 10) + (whole_bytes - 10 - 1));
        outbox.put_back(together.kept);
        // Alone in their packets they say all.
        assert_eq!(drain(&mut outbox, whole_bytes), ([whole_bytes - 1; 3].to_vec(), messages));
    }

    #[test]
    fn any_message_goes_through_packets_of_any_size() {
        for bytes_max in [80, 81, 127, 256, 1200] {
            let mut outbox = Outbox::default();
            let sizes = [0, 1, 63, 64, 65, 1179, 1180, 1181, 20_000];
            for (index, size) in sizes.iter().enumerate() {
                outbox.push(Lane::ALL[index % 3], Kind::Batch, alloc::vec![index as u8; *size], Label::NONE);
            }
            outbox.push(Lane::Raw, Kind::Batch, alloc::vec![7], Label::NONE);
            let (_, messages) = drain(&mut outbox, bytes_max);
            let total: usize = messages.iter().map(Vec::len).sum();
            assert_eq!((total, messages.len()), (sizes.iter().sum::<usize>() + 1, sizes.len() + 1), "{bytes_max}");
        }
    }
}
