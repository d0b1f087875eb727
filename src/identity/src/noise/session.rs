//! What a handshake leads to: packets sealed and opened, in any order, each once.
//!
//! ```text
//! header                     see packet.rs; authenticated, not encrypted
//! ciphertext, tag 16         ChaCha20-Poly1305 under the key of the direction, its nonce the packet's counter
//! ```
//!
//! **The counter never repeats.** It lives in the session and nowhere else, begins at 0 and only grows; [`PACKET_COUNT_MAX`] ends it long before any
//! limit of the cipher. A session is in no file: after a restart there is a new handshake, and new keys from fresh ephemeral ones.
//!
//! **What does not authenticate changes nothing.** A counter is noted as seen, and the highest moves, only after the tag has matched.

use std::fmt;

use ring::aead::{Aad, LessSafeKey};
use wire::time::Span;

use super::packet::{ConnectionId, HEADER_BYTES_MAX, PACKET_BYTES_MAX, TAG_BYTES, Truncated, put_header, read_header};
use super::refusal::{OpenError, WornOut};
use super::resolver::{aead_key, nonce};
use super::window::Window;

pub use super::window::WINDOW_COUNT;

/// Bytes of what one packet carries, whatever its header.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES_MAX - TAG_BYTES;

/// Packets in one direction after which a session wants to be renewed. At one each second, twelve days.
pub const WORN_PACKET_COUNT: u64 = 1 << 20;

/// The age at which a session wants to be renewed: whoever steals a device's memory reads a day of what was recorded.
pub const WORN_AGE: Span = Span::minutes(24 * 60);

/// Packets that a session seals at most, so that three bytes of counter are always enough.
pub const PACKET_COUNT_MAX: u64 = 1 << 23;

// Room to shake hands once more, however bad the link.
const _: () = assert!(WORN_PACKET_COUNT * 8 <= PACKET_COUNT_MAX);

/// Keys of both directions, and which packets there were.
pub struct Session {
    end: End,
    connection: ConnectionId,
    sealing: LessSafeKey,
    opening: LessSafeKey,
    /// The counter of the next packet to seal.
    next: u64,
    /// One more than the highest counter that arrived at the other end.
    acknowledged_end: u64,
    opened: Window,
    is_confirmed: bool,
}

/// A packet that was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Its number, which no other packet of this direction has.
    pub counter: u64,
    /// What was sealed.
    pub payload: &'a [u8],
}

/// Who holds the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Device,
    Hub,
}

impl Session {
    /// `keys` are for what the initiator seals and for what the responder seals.
    pub(super) fn new(end: End, keys: ([u8; 32], [u8; 32]), connection: ConnectionId, is_confirmed: bool) -> Session {
        let (up, down) = (aead_key(&keys.0), aead_key(&keys.1));
        let (sealing, opening) = match end {
            End::Device => (up, down),
            End::Hub => (down, up),
        };
        let opened = Window::default();
        Session { end, connection, sealing, opening, next: 0, acknowledged_end: 0, opened, is_confirmed }
    }

    /// What the hub calls this connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Seals at most [`PAYLOAD_BYTES_MAX`] bytes. Replaces what is in `packet`, and returns the packet's number.
    ///
    /// Errors: [`WornOut`] after [`PACKET_COUNT_MAX`] packets.
    pub fn seal(&mut self, payload: &[u8], packet: &mut Vec<u8>) -> Result<u64, WornOut> {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes fits no path", payload.len());
        let counter = self.next;
        if counter >= PACKET_COUNT_MAX {
            return Err(WornOut);
        }
        self.next += 1;
        packet.clear();
        let connection = (self.end == End::Device).then_some(self.connection);
        put_header(connection, Truncated::new(counter, self.acknowledged_end), packet);
        let header_bytes = packet.len();
        packet.extend_from_slice(payload);
        let (header, body) = packet.split_at_mut(header_bytes);
        let sealed = self.sealing.seal_in_place_separate_tag(nonce(counter), Aad::from(header), body);
        packet.extend_from_slice(sealed.expect("a packet is far shorter than 256 GiB").as_ref());
        Ok(counter)
    }

    /// Opens a packet in place. A refused one leaves nothing of use in `packet`, and the session as it was.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let (truncated, header_bytes) = read_header(packet, self.end == End::Hub).ok_or(OpenError::Malformed)?;
        let counter = truncated.restore(self.opened.end());
        self.opened.check(counter)?;
        let (header, body) = packet.split_at_mut(header_bytes);
        let opened = self.opening.open_in_place(nonce(counter), Aad::from(header), body);
        let payload = opened.map_err(|_| OpenError::Unauthentic)?;
        self.opened.note(counter);
        self.is_confirmed = true;
        Ok(Opened { counter, payload })
    }

    /// Notes that the other end has opened the packet of this number, from which on fewer bytes tell the next ones apart. It stands in
    /// no packet here: the link's acks say it. A number that was not given out yet means nothing.
    pub fn acknowledge(&mut self, counter: u64) {
        if counter < self.next {
            self.acknowledged_end = self.acknowledged_end.max(counter + 1);
        }
    }

    /// Whether the other end is there now, and not only in a recording of an earlier handshake: see [`super::handshake::Responder`].
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// Whether it is time to shake hands again, at this age. Until there is a new session this one goes on.
    pub fn is_worn(&self, age: Span) -> bool {
        age >= WORN_AGE || self.next.max(self.opened.end()) >= WORN_PACKET_COUNT
    }
}

impl fmt::Debug for Session {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { connection, next, opened, .. } = self;
        write!(f, "Session({connection:?}, {next} sealed, {opened:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: ConnectionId = ConnectionId([1, 2, 3]);

    /// The device's end and the hub's.
    fn pair() -> (Session, Session) {
        let keys = ([1; 32], [2; 32]);
        (Session::new(End::Device, keys, CONNECTION, true), Session::new(End::Hub, keys, CONNECTION, false))
    }

    fn sealed(session: &mut Session, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        session.seal(payload, &mut packet).unwrap();
        packet
    }

    fn open(session: &mut Session, packet: &[u8]) -> Result<(u64, Vec<u8>), OpenError> {
        let mut packet = packet.to_vec();
        session.open(&mut packet).map(|opened| (opened.counter, opened.payload.to_vec()))
    }

    #[test]
    fn packets_go_both_ways_and_cost_21_bytes_up_and_18_down() {
        let (mut device, mut hub) = pair();
        for counter in 0..100 {
            let packet = sealed(&mut device, b"up");
            assert_eq!(packet.len(), 21 + 2);
            assert_eq!(open(&mut hub, &packet), Ok((counter, b"up".to_vec())));
            let packet = sealed(&mut hub, b"down");
            assert_eq!(packet.len(), 18 + 4);
            assert_eq!(open(&mut device, &packet), Ok((counter, b"down".to_vec())));
        }
    }

    #[test]
    fn an_empty_and_the_longest_payload_come_through() {
        let (mut device, mut hub) = pair();
        device.next = PACKET_COUNT_MAX - 2;
        hub.opened.note(PACKET_COUNT_MAX - 3);
        for payload in [&[][..], &[7; PAYLOAD_BYTES_MAX]] {
            let packet = sealed(&mut device, payload);
            assert_eq!(packet.len(), HEADER_BYTES_MAX + TAG_BYTES + payload.len());
            assert_eq!(open(&mut hub, &packet).unwrap().1, payload);
        }
    }

    #[test]
    fn a_packet_opens_once() {
        let (mut device, mut hub) = pair();
        let packet = sealed(&mut device, b"once");
        assert!(open(&mut hub, &packet).is_ok());
        assert_eq!(open(&mut hub, &packet), Err(OpenError::Replayed { counter: 0 }));
        // Nor does it at the end that sealed it.
        assert!(open(&mut device, &packet).is_err());
    }

    #[test]
    fn packets_open_in_any_order_within_the_window_and_not_below_it() {
        let (mut device, mut hub) = pair();
        let packets: Vec<_> = (0..300).map(|_| sealed(&mut device, b"")).collect();
        assert!(open(&mut hub, &packets[299]).is_ok());
        for counter in (172..299).rev() {
            assert_eq!(open(&mut hub, &packets[counter]).unwrap().0, counter as u64);
        }
        assert_eq!(open(&mut hub, &packets[171]), Err(OpenError::Late { counter: 171, end: 300 }));
        assert_eq!(open(&mut hub, &packets[299]), Err(OpenError::Replayed { counter: 299 }));
    }

    #[test]
    fn a_counter_grows_as_long_as_it_must_and_no_longer() {
        let (mut device, mut hub) = pair();
        for counter in 0..70_000 {
            let packet = sealed(&mut device, b"");
            let expected_bytes = match counter {
                0..0x80 => 21,
                0x80..0x8000 => 22,
                _ => 23,
            };
            assert_eq!(packet.len(), expected_bytes, "{counter}");
            // One in fifty arrives, and the hub's acks do not.
            if counter % 50 == 0 {
                assert_eq!(open(&mut hub, &packet).unwrap().0, counter);
            }
        }
        device.acknowledge(69_950);
        assert_eq!(sealed(&mut device, b"").len(), 21);
    }

    #[test]
    fn a_short_counter_is_restored_across_every_wrap_of_one_and_two_bytes() {
        let (mut device, mut hub) = pair();
        for counter in 0..140_000 {
            let packet = sealed(&mut device, b"");
            if counter % 100 == 0 {
                assert_eq!(packet.len(), 21);
                assert_eq!(open(&mut hub, &packet).unwrap().0, counter);
                device.acknowledge(counter);
            }
        }
    }

    #[test]
    fn an_ack_of_what_was_never_sealed_means_nothing() {
        let (mut device, _) = pair();
        device.acknowledge(0);
        device.acknowledge(u64::MAX);
        assert_eq!(device.acknowledged_end, 0);
        assert_eq!(sealed(&mut device, b"").len(), 21);
    }

    #[test]
    fn a_changed_or_shortened_packet_changes_nothing() {
        let (mut device, mut hub) = pair();
        let honest = sealed(&mut device, b"payload");
        for at in 0..honest.len() {
            for bit in 0..8 {
                let mut changed = honest.clone();
                changed[at] ^= 1 << bit;
                assert!(matches!(open(&mut hub, &changed), Err(OpenError::Unauthentic | OpenError::Malformed)));
            }
            assert!(open(&mut hub, &honest[..at]).is_err());
        }
        assert_eq!(open(&mut hub, &[&honest[..], &[0]].concat()), Err(OpenError::Unauthentic));
        assert!(!hub.is_confirmed());
        assert_eq!(hub.opened.end(), 0);
        assert!(open(&mut hub, &honest).is_ok());
    }

    #[test]
    fn a_packet_of_another_session_is_refused() {
        let (mut device, _) = pair();
        let mut hub = Session::new(End::Hub, ([3; 32], [4; 32]), CONNECTION, false);
        assert_eq!(open(&mut hub, &sealed(&mut device, b"up")), Err(OpenError::Unauthentic));
    }

    #[test]
    fn the_first_packet_that_opens_confirms_the_session() {
        let (mut device, mut hub) = pair();
        assert!(device.is_confirmed() && !hub.is_confirmed());
        assert!(open(&mut hub, &[0x40; 40]).is_err());
        assert!(!hub.is_confirmed());
        open(&mut hub, &sealed(&mut device, b"")).unwrap();
        assert!(hub.is_confirmed());
    }

    #[test]
    fn a_session_is_worn_after_a_day_or_a_million_packets_either_way() {
        let (mut device, mut hub) = pair();
        assert!(!device.is_worn(Span(WORN_AGE.0 - 1)));
        assert!(device.is_worn(WORN_AGE));
        device.next = WORN_PACKET_COUNT - 1;
        assert!(!device.is_worn(Span(0)));
        let packet = sealed(&mut device, b"");
        assert!(device.is_worn(Span(0)) && !hub.is_worn(Span(0)));
        hub.opened.note(WORN_PACKET_COUNT - 2);
        open(&mut hub, &packet).unwrap();
        assert!(hub.is_worn(Span(0)));
    }

    #[test]
    fn a_session_seals_no_packet_beyond_its_last() {
        let (mut device, _) = pair();
        device.next = PACKET_COUNT_MAX - 1;
        let mut packet = Vec::new();
        assert_eq!(device.seal(b"last", &mut packet), Ok(PACKET_COUNT_MAX - 1));
        for _ in 0..2 {
            assert_eq!(device.seal(b"one more", &mut packet), Err(WornOut));
        }
    }

    #[test]
    fn what_is_printed_for_debugging_shows_no_key() {
        let (device, _) = pair();
        let expected = "Session(ConnectionId([1, 2, 3]), 0 sealed, Window { end: 0, seen: 0 })";
        assert_eq!(format!("{device:?}"), expected);
    }
}
