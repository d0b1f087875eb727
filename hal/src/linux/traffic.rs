//! What the kernel counted of a TCP connection.
//!
//! ```text
//! offset  field            type   since
//! 68      rtt              u32    2.4     microseconds, smoothed
//! 100     total_retrans    u32    2.6
//! 128     bytes_received   u64    4.1
//! 136     segs_out         u32    4.2
//! 140     segs_in          u32    4.2
//! 148     min_rtt          u32    4.6     microseconds, of the last five minutes; u32::MAX is none
//! 160     delivery_rate    u64    4.9     bytes in a second; zero is none
//! 200     bytes_sent       u64    4.19
//! 208     bytes_retrans    u64    4.19
//! ```
//!
//! An older kernel gives a shorter structure. Source: `struct tcp_info` of linux/tcp.h; `tcp(7)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::libc;

/// Bytes of the structure, as far as it is read.
const BYTES: usize = 216;

/// What was counted since the connection began. What the kernel does not know is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received that were in order, without headers.
    pub received_bytes: Option<u64>,
    /// Segments received, with those that carry nothing.
    pub received_segments: Option<u32>,
    /// Bytes sent, without headers, with those sent again.
    pub sent_bytes: Option<u64>,
    /// Segments sent, with those that carry nothing.
    pub sent_segments: Option<u32>,
    /// Bytes sent again, without headers.
    pub resent_bytes: Option<u64>,
    /// Segments sent again.
    pub resent_segments: Option<u32>,
    /// The round trip, smoothed, in microseconds.
    pub round_trip_us: Option<u32>,
    /// The smallest round trip of the last minutes, in microseconds.
    pub round_trip_min_us: Option<u32>,
    /// What was delivered lately, in bytes a second.
    pub delivered_bytes_per_second: Option<u64>,
}

/// What was counted of the connection behind `socket`.
///
/// Errors: it is no TCP socket.
pub fn traffic(socket: &impl AsFd) -> io::Result<Traffic> {
    let (mut bytes, mut byte_count) = ([0_u8; BYTES], BYTES as libc::socklen_t);
    #[expect(unsafe_code, reason = "nix takes no structure that is shorter than expected")]
    // SAFETY: the kernel writes at most `byte_count` bytes to `bytes`, and to `byte_count` how many; it keeps neither pointer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut byte_count,
        )
    };
    Errno::result(result)?;
    Ok(parse(bytes.get(..byte_count as usize).unwrap_or(&bytes)))
}

fn parse(bytes: &[u8]) -> Traffic {
    let short = |at| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    Traffic {
        received_bytes: long(128),
        received_segments: short(140),
        sent_bytes: long(200),
        sent_segments: short(136),
        resent_bytes: long(208),
        resent_segments: short(100),
        round_trip_us: short(68).filter(|us| *us > 0),
        round_trip_min_us: short(148).filter(|us| *us < u32::MAX),
        delivered_bytes_per_second: long(160).filter(|rate| *rate > 0),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    /// A structure in which each field that is read is the number of its first byte.
    fn structure() -> Vec<u8> {
        let mut bytes = vec![0xff; BYTES + 16];
        for at in [68, 100, 136, 140, 148] {
            bytes[at..at + 4].copy_from_slice(&(at as u32).to_ne_bytes());
        }
        for at in [128, 160, 200, 208] {
            bytes[at..at + 8].copy_from_slice(&(at as u64).to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn fields_that_an_older_kernel_has_not_are_none() {
        let all = Traffic {
            received_bytes: Some(128),
            received_segments: Some(140),
            sent_bytes: Some(200),
            sent_segments: Some(136),
            resent_bytes: Some(208),
            resent_segments: Some(100),
            round_trip_us: Some(68),
            round_trip_min_us: Some(148),
            delivered_bytes_per_second: Some(160),
        };
        let bytes = structure();
        assert_eq!(parse(&bytes), all);
        assert_eq!(parse(&bytes[..BYTES]), all);
        // Those of 4.9 to 4.18, of 3.10, and of a kernel that says nothing.
        assert_eq!(parse(&bytes[..192]), Traffic { sent_bytes: None, resent_bytes: None, ..all });
        let oldest = Traffic { round_trip_us: Some(68), resent_segments: Some(100), ..Traffic::default() };
        assert_eq!(parse(&bytes[..104]), oldest);
        assert_eq!(parse(&[]), Traffic::default());
    }

    #[test]
    fn what_was_not_measured_is_none() {
        let mut bytes = structure();
        bytes[68..72].fill(0);
        bytes[148..152].fill(0xff);
        bytes[160..168].fill(0);
        let Traffic { round_trip_us, round_trip_min_us, delivered_bytes_per_second, .. } = parse(&bytes);
        assert_eq!((round_trip_us, round_trip_min_us, delivered_bytes_per_second), (None, None, None));
    }

    #[test]
    fn a_real_connection_is_counted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let before = traffic(&stream).unwrap();
        stream.write_all(&[7; 1000]).unwrap();
        peer.read_exact(&mut [0; 1000]).unwrap();
        peer.write_all(&[8; 300]).unwrap();
        stream.read_exact(&mut [0; 300]).unwrap();
        let after = traffic(&stream).unwrap();
        // What a kernel knows at one end it knows at the other.
        if let (Some(before), Some(sent), Some(received)) =
            (before.sent_segments, after.sent_segments, after.received_segments)
        {
            assert!(sent > before && received > 0, "{after:?}");
        }
        assert!(after.received_bytes.is_none_or(|bytes| bytes == 300), "{after:?}");
        assert!(after.sent_bytes.is_none_or(|bytes| bytes == 1000), "{after:?}");
        assert_eq!((after.resent_segments, after.resent_bytes.unwrap_or(0)), (Some(0), 0));
        assert!(after.round_trip_us.is_some());
    }

    #[test]
    fn a_socket_of_another_kind_counts_nothing() {
        assert!(traffic(&UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).is_err());
    }
}
