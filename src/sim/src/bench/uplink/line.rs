//! The link of one gateway, byte by byte: its rate, its delay, the modem's queue, and what stands around a packet.
//!
//! ```text
//! packet -> queue, unless it is full -> sent at the rate -> lost, or not -> delay -> out, in order
//! ```
//!
//! Datagrams have what `identity::noise` puts around them: more for the first of each way, which shake hands. Until the gateway has
//! the hub's first, all it says is its own first again; from then on a packet's number takes as many bytes as it takes to tell it from
//! those of which no receipt has spoken. A stream stands and loses nothing; beside its packets go the acknowledgements
//! of TCP.

use std::collections::BTreeMap;

use link::channel::Carrier;
use link::receipt::{self, Number};
use wire::message::Kind;

use crate::net::End;
use crate::rng::Rng;

/// How good a link is, both ways alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quality {
    pub(super) bits_per_second: u64,
    /// One way.
    pub(super) delay_ms: u64,
    /// Of 1000 packets, how many are lost.
    pub(super) loss_1000: u64,
    /// Bytes that may wait before a packet.
    pub(super) queue_bytes: u64,
}

/// The link that all figures are held against: 20 kbit/s, 600 ms there and back.
pub(super) const SATELLITE: Quality =
    Quality { bits_per_second: 20_000, delay_ms: 300, loss_1000: 0, queue_bytes: 60_000 };
/// A cell of the second generation.
pub(super) const EDGE: Quality =
    Quality { bits_per_second: 100_000, delay_ms: 150, loss_1000: 10, queue_bytes: 60_000 };
/// A line in the ground.
pub(super) const WIRED: Quality =
    Quality { bits_per_second: 10_000_000, delay_ms: 5, loss_1000: 0, queue_bytes: 256_000 };
/// The worst that anything is to arrive over.
pub(super) const POOR: Quality = Quality { bits_per_second: 2400, delay_ms: 1000, loss_1000: 200, queue_bytes: 60_000 };

/// IPv4 and UDP.
const UDP_BYTES: u64 = 28;
/// What `identity::noise` puts around the first datagram and the others, towards the hub and back.
const FIRST_BYTES: [u64; 2] = [97, 52];
const SEALED_BYTES: [u64; 2] = [21, 18];
/// An acknowledgement of TCP with its timestamps, over IPv4.
const TCP_ACK_BYTES: u64 = 52;
/// How long TCP waits for something to acknowledge with (Linux, `TCP_DELACK_MIN`), and after how many segments it does not.
const TCP_ACK_DELAY_MS: u64 = 40;
const TCP_ACK_COUNT: u32 = 2;

/// What was handed to the link, whatever became of it: whoever sends it pays for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Bill {
    pub(super) bytes: u64,
    pub(super) packet_count: u64,
    /// Of the bytes, those that stand around packets, handshakes and acknowledgements of TCP included.
    pub(super) around_bytes: u64,
    /// Of what stands in packets, what the gateway said.
    pub(super) up_bytes: u64,
    /// Heads of frames.
    pub(super) head_bytes: u64,
    /// Messages by kind: how many frames, and their bytes without heads.
    pub(super) kinds: BTreeMap<u8, (u64, u64)>,
}

impl Bill {
    /// Bytes of the frames of one kind.
    pub(super) fn kind(&self, kind: Kind) -> (u64, u64) {
        self.kinds.get(&(kind as u8)).copied().unwrap_or_default()
    }

    /// What was added since.
    pub(super) fn since(&self, before: &Bill) -> Bill {
        let kinds = self.kinds.iter().map(|(kind, (count, bytes))| {
            let (count_before, bytes_before) = before.kinds.get(kind).copied().unwrap_or_default();
            (*kind, (count - count_before, bytes - bytes_before))
        });
        Bill {
            bytes: self.bytes - before.bytes,
            packet_count: self.packet_count - before.packet_count,
            around_bytes: self.around_bytes - before.around_bytes,
            up_bytes: self.up_bytes - before.up_bytes,
            head_bytes: self.head_bytes - before.head_bytes,
            kinds: kinds.collect(),
        }
    }
}

/// Something on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) at_ms: u64,
    /// The number of a datagram.
    pub(super) number: Option<Number>,
    pub(super) bytes: Vec<u8>,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// When it has sent everything that it was given.
    free_at_us: u64,
    said_count: Number,
    first: Vec<u8>,
    /// Whether the end that it leads to has the first datagram.
    has_first: bool,
    /// The highest datagram of which the end that speaks has a receipt.
    settled: Number,
    /// Segments of TCP that arrived and are not acknowledged, and when they are at the latest.
    unacked_count: u32,
    ack_at_ms: Option<u64>,
}

/// The link, and the session over it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) quality: Quality,
    pub(super) is_up: bool,
    pub(super) bill: Bill,
    carrier: Carrier,
    rng: Rng,
    /// By the end that speaks.
    ways: [Way; 2],
}

impl Line {
    pub(super) fn new(quality: Quality, carrier: Carrier, rng: Rng) -> Line {
        Line { quality, is_up: true, bill: Bill::default(), carrier, rng, ways: Default::default() }
    }

    pub(super) fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// A new session. What waits in the modem still goes out before it.
    pub(super) fn open(&mut self) {
        for way in &mut self.ways {
            *way = Way { free_at_us: way.free_at_us, ..Way::default() };
        }
    }

    /// Goes on over another link. What waited for the old one is gone; what was on its way arrives.
    pub(super) fn change(&mut self, quality: Quality, now_ms: u64) {
        self.quality = quality;
        self.ways.iter_mut().for_each(|way| way.free_at_us = now_ms * 1000);
    }

    /// An end says a packet; none when it does not arrive.
    pub(super) fn say(&mut self, from: End, bytes: Vec<u8>, now_ms: u64) -> Option<Arrival> {
        let way = &mut self.ways[from as usize];
        if self.carrier == Carrier::Stream {
            // What is said acknowledges what was heard.
            let heard = &mut self.ways[from.other() as usize];
            (heard.unacked_count, heard.ack_at_ms) = (0, None);
            let at_ms = self.carry(from, &bytes, self.carrier.around_bytes() as u64, now_ms)?;
            return Some(Arrival { at_ms, number: None, bytes });
        }
        if way.said_count == 0 {
            way.first.clone_from(&bytes);
        }
        let is_calling = from == End::Gateway && !self.ways[End::Hub as usize].has_first;
        let number = if is_calling { 0 } else { self.ways[from as usize].said_count };
        self.ways[from as usize].said_count = number + 1;
        self.say_datagram(from, number, bytes, now_ms)
    }

    fn say_datagram(&mut self, from: End, number: Number, bytes: Vec<u8>, now_ms: u64) -> Option<Arrival> {
        let around = match number {
            0 => FIRST_BYTES[from as usize],
            _ if number - self.ways[from as usize].settled <= 0x80 => SEALED_BYTES[from as usize],
            _ => SEALED_BYTES[from as usize] + 1,
        };
        let at_ms = self.carry(from, &bytes, UDP_BYTES + around, now_ms)?;
        Some(Arrival { at_ms, number: Some(number), bytes })
    }

    /// A datagram arrives. Whether it is news to the end, and what the session answers by itself.
    pub(super) fn arrive(&mut self, at: End, number: Number, bytes: &[u8], now_ms: u64) -> (bool, Option<Arrival>) {
        let own = &mut self.ways[at as usize];
        own.settled = own.settled.max(receipt::highest_arrived(bytes).unwrap_or(0));
        let way = &mut self.ways[at.other() as usize];
        let had_first = way.has_first;
        way.has_first |= number == 0;
        if number > 0 {
            // What cannot be opened yet is dropped.
            return (had_first, None);
        }
        let back = &self.ways[at as usize];
        let is_asked_again = had_first && at == End::Hub && back.said_count > 0;
        let again = is_asked_again.then(|| back.first.clone());
        (!had_first, again.and_then(|first| self.say_datagram(at, 0, first, now_ms)))
    }

    /// A segment of TCP arrived at an end: when it is acknowledged unless something is said before.
    pub(super) fn heard(&mut self, at: End, now_ms: u64) -> Option<u64> {
        let way = &mut self.ways[at.other() as usize];
        way.unacked_count += 1;
        let delay_ms = if way.unacked_count >= TCP_ACK_COUNT { 0 } else { TCP_ACK_DELAY_MS };
        way.ack_at_ms = Some(now_ms + delay_ms);
        way.ack_at_ms
    }

    /// The time to acknowledge has come.
    pub(super) fn acknowledge(&mut self, at: End, now_ms: u64) {
        let way = &mut self.ways[at.other() as usize];
        if way.ack_at_ms == Some(now_ms) {
            (way.unacked_count, way.ack_at_ms) = (0, None);
            let _ = self.carry(at, &[], TCP_ACK_BYTES, now_ms);
        }
    }

    /// When a packet comes out, if it does.
    fn carry(&mut self, from: End, packet: &[u8], around_bytes: u64, now_ms: u64) -> Option<u64> {
        let bytes = packet.len() as u64 + around_bytes;
        self.bill.bytes += bytes;
        self.bill.packet_count += 1;
        self.bill.around_bytes += around_bytes;
        self.bill.up_bytes += if from == End::Gateway { packet.len() as u64 } else { 0 };
        self.bill.head_bytes += packet.len() as u64;
        for frame in wire::frame::frames(packet).map_while(Result::ok) {
            let (count, kind_bytes) = self.bill.kinds.entry(frame.head.kind).or_default();
            *count += 1;
            *kind_bytes += frame.payload.len() as u64;
            self.bill.head_bytes -= frame.payload.len() as u64;
        }
        let Quality { bits_per_second, delay_ms, loss_1000, queue_bytes } = self.quality;
        let way = &mut self.ways[from as usize];
        let begin_us = way.free_at_us.max(now_ms * 1000);
        let waiting_bytes = (begin_us - now_ms * 1000) * bits_per_second / 8_000_000;
        if !self.is_up || waiting_bytes + bytes > queue_bytes {
            return None;
        }
        way.free_at_us = begin_us + bytes * 8_000_000 / bits_per_second;
        let is_lost = self.carrier == Carrier::Datagram && self.rng.below(1000) < loss_1000;
        (!is_lost).then_some(way.free_at_us.div_ceil(1000) + delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(carrier: Carrier) -> Line {
        Line::new(SATELLITE, carrier, Rng::new(1))
    }

    /// Carries the handshake.
    fn open(line: &mut Line) {
        for from in [End::Gateway, End::Hub] {
            let Arrival { at_ms, number, .. } = line.say(from, vec![1], 0).expect("nothing is lost");
            assert_eq!((number, line.arrive(from.other(), 0, &[], at_ms).0), (Some(0), true));
        }
    }

    #[test]
    fn a_datagram_takes_its_time_on_the_air_and_then_the_delay() {
        let mut line = line(Carrier::Datagram);
        open(&mut line);
        let (before, begin_ms) = (line.bill.clone(), 10_000);
        let arrivals =
            [500, 500].map(|bytes| line.say(End::Gateway, vec![0; bytes], begin_ms).map(|on_way| on_way.at_ms));
        // 549 bytes are 219.6 ms of 20 kbit/s.
        assert_eq!(arrivals, [Some(begin_ms + 220 + 300), Some(begin_ms + 440 + 300)]);
        assert_eq!(line.bill.since(&before).bytes, 2 * (500 + 28 + 21));
        assert_eq!(line.bill.since(&before).around_bytes, 2 * (28 + 21));
    }

    #[test]
    fn what_the_modem_has_no_room_for_is_paid_for_and_gone() {
        let mut line = line(Carrier::Datagram);
        open(&mut line);
        let arrived_count = (0..200).filter(|_| line.say(End::Gateway, vec![0; 951], 10_000).is_some()).count();
        assert_eq!(arrived_count, 60);
        assert!(line.say(End::Gateway, vec![0; 951], 20_000).is_some());
    }

    #[test]
    fn until_the_hub_has_answered_the_first_comes_again_and_is_answered_again() {
        let mut line = line(Carrier::Datagram);
        for word in [1, 2] {
            let said = line.say(End::Gateway, vec![word], 0).expect("nothing is lost");
            assert_eq!(said.number, Some(0));
        }
        assert!(line.arrive(End::Hub, 0, &[], 500).0);
        line.say(End::Hub, vec![3], 500).expect("nothing is lost");
        let (is_news, again) = line.arrive(End::Hub, 0, &[], 600);
        assert_eq!((is_news, again.map(|again| again.bytes)), (false, Some(vec![3])));
        assert!(line.arrive(End::Gateway, 0, &[], 900).0);
        assert_eq!(line.say(End::Gateway, vec![4], 900).and_then(|said| said.number), Some(1));
    }

    #[test]
    fn tcp_acknowledges_the_second_segment_at_once_and_a_lone_one_when_nothing_is_said() {
        let mut line = line(Carrier::Stream);
        assert_eq!([line.heard(End::Hub, 0), line.heard(End::Hub, 5)], [Some(40), Some(5)]);
        line.acknowledge(End::Hub, 5);
        assert_eq!(line.bill.bytes, 52);
        line.acknowledge(End::Hub, 40);
        line.heard(End::Hub, 100);
        line.say(End::Hub, vec![1], 110);
        line.acknowledge(End::Hub, 140);
        assert_eq!(line.bill.bytes, 52 + 75);
    }
}
