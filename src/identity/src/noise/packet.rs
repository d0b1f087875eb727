//! What stands in the clear: first byte, connection and counter.
//!
//! ```text
//! first byte  packet                                   behind it
//! 0x01        handshake, message 1    to the hub       e, s, payload
//! 0x02        handshake, message 2    to the device    e, payload
//! 0x03        enrolment, message 1    to the hub       e, payload
//! 0x04        enrolment, message 2    to the device    e, s, payload
//! 0x05        enrolment, message 3    to the hub       connection 3, s, payload
//! 0x06        no such connection      to the device    connection 3
//! 0x40        transport               to the hub       connection 3, counter 1, ciphertext, tag 16
//!                                     to the device    counter 1, ciphertext, tag 16
//! 0x80 0xc0   transport                                with 2 and 3 bytes of counter
//! ```
//!
//! Any other first byte is kept for later and refused. A packet to the hub names the connection, because the sender's address changes when a
//! mobile network feels like it; a packet to a device comes to a socket that has one connection.
//!
//! Only the lowest bytes of the counter travel, most significant first: as many as tell it from every other that may be on its way. The receiver puts it
//! next to the highest that it has opened (RFC 9000 section 17.1 and appendix A).

use super::session::PACKET_COUNT_MAX;

/// Bytes of a whole packet: what every path carries, the smallest MTU of IPv6 (RFC 8200 section 5) without the headers of IPv6 and UDP.
pub const PACKET_BYTES_MAX: usize = 1280 - 40 - 8;

/// Bytes of what authenticates a packet.
pub const TAG_BYTES: usize = 16;

/// How many times longer than a first message its answer is at most (RFC 9000 section 8.1).
pub const AMPLIFICATION_MAX: usize = 3;

/// Bytes of a [`ConnectionId`].
pub const CONNECTION_BYTES: usize = 3;

/// Bytes of the longest header of a transport packet.
pub const HEADER_BYTES_MAX: usize = 1 + CONNECTION_BYTES + COUNTER_BYTES_MAX;

const COUNTER_BYTES_MAX: usize = 3;

pub(super) const HANDSHAKE_1: u8 = 1;
pub(super) const HANDSHAKE_2: u8 = 2;
pub(super) const ENROLMENT_1: u8 = 3;
pub(super) const ENROLMENT_2: u8 = 4;
pub(super) const ENROLMENT_3: u8 = 5;

/// To the device: the hub does not know this connection.
const UNKNOWN: u8 = 0x06;

/// Below these two bits a transport packet's first byte is zero.
const COUNTER_BYTES_SHIFT: u32 = 6;

/// What the hub calls a connection, as long as it lasts. The hub chooses it and nothing follows from it: a packet is believed for its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub [u8; CONNECTION_BYTES]);

/// What a packet that came to the hub claims to be, and so who gets to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToHub {
    /// For [`super::enrolment::Responder::accept`].
    Enrolment1,
    /// For the [`super::enrolment::Responder`] of this connection.
    Enrolment3(ConnectionId),
    /// For [`super::handshake::Responder::accept`].
    Handshake1,
    /// For the [`super::session::Session`] of this connection.
    Transport(ConnectionId),
}

impl ConnectionId {
    /// What a hub says to a transport packet of a connection that it does not know, as after a restart. Anyone can say it, so it is a hint
    /// for a device that hears nothing anyway. It is shorter than any packet that it answers.
    pub fn unknown(self) -> [u8; 1 + CONNECTION_BYTES] {
        let [a, b, c] = self.0;
        [UNKNOWN, a, b, c]
    }
}

impl ToHub {
    /// None when it is nothing that a device sends to a hub.
    pub fn read(packet: &[u8]) -> Option<ToHub> {
        let (&first, rest) = packet.split_first()?;
        let connection = || rest.first_chunk().copied().map(ConnectionId);
        match first {
            ENROLMENT_1 => Some(ToHub::Enrolment1),
            ENROLMENT_3 => connection().map(ToHub::Enrolment3),
            HANDSHAKE_1 => Some(ToHub::Handshake1),
            _ if counter_bytes(first).is_some() => connection().map(ToHub::Transport),
            _ => None,
        }
    }
}

/// The lowest bytes of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truncated {
    pub(super) lowest: u64,
    pub(super) bytes: usize,
}

impl Truncated {
    /// `acknowledged_end` is one more than the highest counter that is known to have arrived, 0 if none.
    pub(super) fn new(counter: u64, acknowledged_end: u64) -> Truncated {
        assert!((acknowledged_end..PACKET_COUNT_MAX).contains(&counter));
        let unacknowledged_count = counter + 1 - acknowledged_end;
        let bytes = match unacknowledged_count {
            0..=0x80 => 1,
            0x81..=0x8000 => 2,
            _ => COUNTER_BYTES_MAX,
        };
        Truncated { lowest: counter & (span(bytes) - 1), bytes }
    }

    /// The counter with these lowest bytes that is nearest to the one expected next.
    pub(super) fn restore(self, expected: u64) -> u64 {
        let span = span(self.bytes);
        let candidate = expected & !(span - 1) | self.lowest;
        if candidate + span / 2 <= expected && candidate < COUNTER_MAX - span {
            candidate + span
        } else if candidate > expected + span / 2 && candidate >= span {
            candidate - span
        } else {
            candidate
        }
    }
}

/// Far above every counter, and as far below where one could overflow.
const COUNTER_MAX: u64 = 1 << 62;

// Half of what the longest form tells apart, so that a counter is clear even when nothing was ever acknowledged.
const _: () = assert!(PACKET_COUNT_MAX <= 1 << (8 * COUNTER_BYTES_MAX - 1));

/// How many counters so many bytes tell apart.
fn span(bytes: usize) -> u64 {
    1 << (8 * bytes)
}

/// How many bytes of counter follow, when it is a transport packet.
fn counter_bytes(first: u8) -> Option<usize> {
    let bytes = usize::from(first >> COUNTER_BYTES_SHIFT);
    (bytes > 0 && first.trailing_zeros() >= COUNTER_BYTES_SHIFT).then_some(bytes)
}

/// Appends the header of a transport packet.
pub(super) fn put_header(connection: Option<ConnectionId>, counter: Truncated, packet: &mut Vec<u8>) {
    packet.push((counter.bytes as u8) << COUNTER_BYTES_SHIFT);
    if let Some(ConnectionId(bytes)) = connection {
        packet.extend_from_slice(&bytes);
    }
    packet.extend_from_slice(&counter.lowest.to_be_bytes()[8 - counter.bytes..]);
}

/// The counter of a transport packet, and how many bytes of header stand before the rest, which is a tag at least.
pub(super) fn read_header(packet: &[u8], has_connection: bool) -> Option<(Truncated, usize)> {
    let bytes = counter_bytes(*packet.first()?)?;
    let begin = 1 + if has_connection { CONNECTION_BYTES } else { 0 };
    let end = begin + bytes;
    if !(end + TAG_BYTES..=PACKET_BYTES_MAX).contains(&packet.len()) {
        return None;
    }
    let lowest = packet[begin..end].iter().fold(0, |lowest, &byte| lowest << 8 | u64::from(byte));
    Some((Truncated { lowest, bytes }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: ConnectionId = ConnectionId([0xc0, 0xff, 0xee]);

    fn check_header(connection: Option<ConnectionId>, counter: u64, acknowledged_end: u64, golden: &[u8]) {
        let (mut packet, truncated) = (Vec::new(), Truncated::new(counter, acknowledged_end));
        put_header(connection, truncated, &mut packet);
        assert_eq!(packet, golden);
        packet.extend_from_slice(&[0; TAG_BYTES]);
        assert_eq!(read_header(&packet, connection.is_some()), Some((truncated, golden.len())));
        assert_eq!(truncated.restore(acknowledged_end), counter);
        if let Some(connection) = connection {
            assert_eq!(ToHub::read(&packet), Some(ToHub::Transport(connection)));
        }
        for length in 0..packet.len() {
            assert_eq!(read_header(&packet[..length], connection.is_some()), None);
        }
    }

    #[test]
    fn the_header_to_the_hub_is_these_bytes() {
        check_header(Some(CONNECTION), 0, 0, &[0x40, 0xc0, 0xff, 0xee, 0x00]);
        check_header(Some(CONNECTION), 0x1234, 0x1200, &[0x40, 0xc0, 0xff, 0xee, 0x34]);
        check_header(Some(CONNECTION), 0x1234, 0, &[0x80, 0xc0, 0xff, 0xee, 0x12, 0x34]);
        check_header(Some(CONNECTION), 0x12_3456, 0, &[0xc0, 0xc0, 0xff, 0xee, 0x12, 0x34, 0x56]);
    }

    #[test]
    fn the_header_to_the_device_is_these_bytes() {
        check_header(None, 127, 0, &[0x40, 0x7f]);
        check_header(None, 128, 0, &[0x80, 0x00, 0x80]);
        check_header(None, 0x7fff, 0, &[0x80, 0x7f, 0xff]);
        check_header(None, 0x8000, 0, &[0xc0, 0x00, 0x80, 0x00]);
        check_header(None, PACKET_COUNT_MAX - 1, 0, &[0xc0, 0x7f, 0xff, 0xff]);
    }

    #[test]
    fn a_packet_longer_than_any_path_carries_is_none() {
        let mut packet = vec![0x40; PACKET_BYTES_MAX];
        assert!(read_header(&packet, true).is_some());
        packet.push(0);
        assert_eq!(read_header(&packet, true), None);
    }

    #[test]
    fn the_hub_sorts_packets_by_their_first_byte() {
        for first in 0..=u8::MAX {
            let claimed = ToHub::read(&[first, 0xc0, 0xff, 0xee]);
            let expected = match first {
                1 => Some(ToHub::Handshake1),
                3 => Some(ToHub::Enrolment1),
                5 => Some(ToHub::Enrolment3(CONNECTION)),
                0x40 | 0x80 | 0xc0 => Some(ToHub::Transport(CONNECTION)),
                _ => None,
            };
            assert_eq!(claimed, expected, "{first:#04x}");
        }
        assert_eq!(ToHub::read(&[]), None);
        assert_eq!(ToHub::read(&[0x40, 1, 2]), None);
        assert_eq!(ToHub::read(&[5, 1, 2]), None);
    }

    #[test]
    fn the_example_of_rfc_9000_is_restored() {
        // Appendix A.3.
        assert_eq!(Truncated { lowest: 0x9b32, bytes: 2 }.restore(0xa82f_30ea + 1), 0xa82f_9b32);
        // Appendix A.2: 0x734f packets outstanding take 16 bits, 0x1004b take 24.
        assert_eq!(Truncated::new(0x734e, 0).bytes, 2);
        assert_eq!(Truncated::new(0x1_004a, 0).bytes, 3);
    }

    #[test]
    fn a_counter_is_restored_on_both_sides_of_every_wrap() {
        for bytes in 1..=COUNTER_BYTES_MAX {
            let (span, half) = (span(bytes), span(bytes) / 2);
            for wrap in [span, 2 * span, 1 << 24, 1 << 32] {
                for expected in wrap - 2..=wrap + 2 {
                    for counter in [expected + 1 - half, wrap - 1, wrap, wrap + 1, expected, expected + half] {
                        let truncated = Truncated { lowest: counter % span, bytes };
                        assert_eq!(truncated.restore(expected), counter, "{counter} of {expected}");
                    }
                }
            }
            // Nothing is below zero.
            assert_eq!(Truncated { lowest: span - 1, bytes }.restore(0), span - 1);
        }
    }
}
