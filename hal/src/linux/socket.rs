//! What std cannot set on a TCP connection.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use wire::time::Span;

/// Has the kernel give a connection up when what was sent is not acknowledged for `timeout`.
///
/// Without it a write into a dead link is retried for a quarter of an hour (`tcp_retries2`), and the connection stays
/// open on this side for as long. Source: RFC 5482; `tcp(7)`, TCP_USER_TIMEOUT.
///
/// Errors: what the system said; the connection works without.
pub fn set_user_timeout(socket: &impl AsFd, timeout: Span) -> io::Result<()> {
    let timeout_ms = u32::try_from(timeout.0).unwrap_or(u32::MAX);
    setsockopt(&socket.as_fd(), TcpUserTimeout, &timeout_ms)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket};

    use super::*;

    #[test]
    fn a_tcp_socket_takes_the_timeout() {
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        set_user_timeout(&stream, Span::seconds(60)).unwrap();
        assert_eq!(getsockopt(&stream, TcpUserTimeout), Ok(60_000));
    }

    #[test]
    fn a_socket_of_another_kind_refuses_it() {
        assert!(set_user_timeout(&UnixStream::pair().unwrap().0, Span::seconds(60)).is_err());
    }
}
