//! A question to a time server, and its answer.
//!
//! ```text
//! offset  field              in a question            in an answer
//! 0       leap, version, mode  0, 4, 3 (client)       leap 3 is a server without the time; mode 4 is a server
//! 1       stratum            0                        1..=15; 0 is a word to the client (kiss-o'-death)
//! 4       root delay         0                        to the server's own source and back, s in 16.16
//! 8       root dispersion    0                        what else the server may be off, s in 16.16
//! 12      reference          0                        of stratum 0: the word
//! 24      originate          0                        the question's transmit
//! 32      receive            0                        when the question arrived, s since 1900 in 32.32
//! 40      transmit           a cookie                 when the answer left
//! ```
//!
//! The cookie is chance: who did not see the question cannot answer it, and the server learns nothing of this machine's clock.
//!
//! Source: RFC 4330, RFC 5905 section 7.3 and 7.4; the cookie: draft-ietf-ntp-data-minimization.

use core::fmt;

use wire::time::{Span, UnixTime};

/// Bytes of a question, and the least of an answer: what may follow are extensions and a checksum with a key.
pub const PACKET_BYTES: usize = 48;

/// Leap 0, version 4, mode 3.
const CLIENT: u8 = 0x23;

/// Seconds from 1900 to 1970.
const UNIX_EPOCH_S: u64 = 2_208_988_800;

/// A question that was asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    cookie: u64,
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the question arrived.
    pub received: UnixTime,
    /// When the answer left.
    pub answered: UnixTime,
    /// How far the server's own clock may be off, as it says.
    pub distance: Span,
}

/// Why a packet tells no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The server wants to hear nothing of this machine any more.
    Denied,
    /// It answers another question, or none: wait for the one that does.
    Foreign,
    /// The server does not know the time.
    Ignorant,
    /// The server wants to be asked more rarely.
    TooOften,
}

impl Question {
    /// A question with a cookie that nobody can guess.
    pub fn new(cookie: u64) -> Question {
        Question { cookie }
    }

    /// Its bytes.
    pub fn packet(&self) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = CLIENT;
        packet[40..].copy_from_slice(&self.cookie.to_be_bytes());
        packet
    }

    /// Reads a packet as the answer. Timestamps name no era of 136 years: the moment is the one nearest to `build`.
    pub fn read(&self, packet: &[u8], build: UnixTime) -> Result<Answer, NoAnswer> {
        let packet: &[u8; PACKET_BYTES] = packet.first_chunk().ok_or(NoAnswer::Foreign)?;
        let word = |offset: usize| u32::from_be_bytes(packet[offset..offset + 4].try_into().expect("four bytes"));
        let timestamp = |offset: usize| u64::from(word(offset)) << 32 | u64::from(word(offset + 4));
        let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
        if timestamp(24) != self.cookie || mode != 4 || !(3..=4).contains(&version) {
            return Err(NoAnswer::Foreign);
        }
        let (received, answered) = (timestamp(32), timestamp(40));
        match (packet[1], &packet[12..16]) {
            (0, b"DENY" | b"RSTR") => Err(NoAnswer::Denied),
            (0, b"RATE") => Err(NoAnswer::TooOften),
            (1..=15, _) if leap != 3 && received != 0 && answered != 0 => Ok(Answer {
                received: unix(received, build),
                answered: unix(answered, build),
                distance: Span(milliseconds(u64::from(word(4)) / 2 + u64::from(word(8)))),
            }),
            _ => Err(NoAnswer::Ignorant),
        }
    }
}

/// Seconds in 16.16, rounded up.
fn milliseconds(seconds: u64) -> u64 {
    (seconds * 1000).div_ceil(1 << 16)
}

/// The moment of a timestamp that is less than 68 years from `near`, or 1970 if that is later.
fn unix(timestamp: u64, near: UnixTime) -> UnixTime {
    let near_s = near.0 / 1000 + UNIX_EPOCH_S;
    let ahead_s = ((timestamp >> 32) as u32).wrapping_sub(near_s as u32).cast_signed();
    let unix_s = near_s.saturating_add_signed(i64::from(ahead_s)).saturating_sub(UNIX_EPOCH_S);
    let fraction = u64::from(timestamp as u32);
    UnixTime(unix_s * 1000 + ((fraction * 1000) >> 32))
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoAnswer::Denied => "it refuses to serve this machine",
            NoAnswer::Foreign => "it answers another question",
            NoAnswer::Ignorant => "it does not know the time itself",
            NoAnswer::TooOften => "it wants to be asked more rarely",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-01, and that in an NTP timestamp's seconds.
    const BUILD: UnixTime = UnixTime(1_704_067_200_000);
    const BUILD_S: u64 = 1_704_067_200 + UNIX_EPOCH_S;

    const QUESTION: Question = Question { cookie: 0x0123_4567_89ab_cdef };

    /// An honest answer of a server of stratum 2, received at `seconds` and a half, and sent a quarter of a second later.
    fn honest(seconds: u32) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[..4].copy_from_slice(&[0x24, 2, 0, 0xec]);
        packet[4..8].copy_from_slice(&0x0000_8000_u32.to_be_bytes());
        packet[8..12].copy_from_slice(&0x0000_4000_u32.to_be_bytes());
        packet[24..32].copy_from_slice(&QUESTION.cookie.to_be_bytes());
        packet[32..36].copy_from_slice(&seconds.to_be_bytes());
        packet[36..40].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
        packet[40..44].copy_from_slice(&seconds.to_be_bytes());
        packet[44..48].copy_from_slice(&0xc000_0000_u32.to_be_bytes());
        packet
    }

    /// What is made of an honest answer with these bytes put in.
    fn check(offset: usize, bytes: &[u8], expected: Result<(), NoAnswer>) {
        let mut packet = honest(BUILD_S as u32);
        packet[offset..offset + bytes.len()].copy_from_slice(bytes);
        assert_eq!(QUESTION.read(&packet, BUILD).map(drop), expected, "{bytes:02x?} at {offset}");
    }

    #[test]
    fn a_question_shows_a_cookie_and_nothing_of_this_machine() {
        let packet = QUESTION.packet();
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|byte| *byte == 0));
        assert_eq!(packet[40..], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    }

    #[test]
    fn an_honest_answer_is_read_with_what_its_server_may_be_off() {
        let answer = QUESTION.read(&honest(BUILD_S as u32 + 60), BUILD).unwrap();
        let expected = Answer {
            received: UnixTime(BUILD.0 + 60_500),
            answered: UnixTime(BUILD.0 + 60_750),
            // Half of half a second, and a quarter.
            distance: Span(500),
        };
        assert_eq!(answer, expected);
        let with_extension = [&honest(BUILD_S as u32 + 60)[..], &[7; 20]].concat();
        assert_eq!(QUESTION.read(&with_extension, BUILD), Ok(expected));
    }

    #[test]
    fn timestamps_go_on_when_their_era_ends() {
        let unix_s = |seconds| QUESTION.read(&honest(seconds), BUILD).unwrap().received.0 / 1000;
        // 2036-02-07T06:28:15Z, and the second after.
        assert_eq!(unix_s(u32::MAX), 2_085_978_495);
        assert_eq!(unix_s(0), 2_085_978_496);
        assert_eq!(unix_s(1 << 30), 2_085_978_496 + (1 << 30));
        // A server that was never set.
        assert_eq!(unix_s(UNIX_EPOCH_S as u32), 0);
        assert_eq!(unix_s(UNIX_EPOCH_S as u32 - 1), 0);
    }

    #[test]
    fn what_answers_another_question_is_waited_past() {
        check(24, &[1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xee], Err(NoAnswer::Foreign));
        check(0, &[0x23], Err(NoAnswer::Foreign));
        check(0, &[0x25], Err(NoAnswer::Foreign));
        check(0, &[0x14], Err(NoAnswer::Foreign));
        check(0, &[0x2c], Err(NoAnswer::Foreign));
        check(0, &[0x1c], Ok(()));
        assert_eq!(QUESTION.read(&honest(1)[..47], BUILD), Err(NoAnswer::Foreign));
        assert_eq!(QUESTION.read(&QUESTION.packet(), BUILD), Err(NoAnswer::Foreign));
    }

    #[test]
    fn a_server_that_does_not_know_the_time_is_not_believed() {
        check(0, &[0xe4], Err(NoAnswer::Ignorant));
        check(0, &[0x64], Ok(()));
        check(1, &[0], Err(NoAnswer::Ignorant));
        check(1, &[15], Ok(()));
        check(1, &[16], Err(NoAnswer::Ignorant));
        check(32, &[0; 8], Err(NoAnswer::Ignorant));
        check(40, &[0; 8], Err(NoAnswer::Ignorant));
    }

    #[test]
    fn a_kiss_is_heard_from_whoever_saw_the_question() {
        for (word, expected) in
            [(b"DENY", NoAnswer::Denied), (b"RSTR", NoAnswer::Denied), (b"RATE", NoAnswer::TooOften)]
        {
            let mut packet = honest(0);
            packet[..2].copy_from_slice(&[0xe4, 0]);
            packet[12..16].copy_from_slice(word);
            assert_eq!(QUESTION.read(&packet, BUILD), Err(expected));
            assert_eq!(Question::new(5).read(&packet, BUILD), Err(NoAnswer::Foreign));
        }
    }
}
