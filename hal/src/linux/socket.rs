//! What std cannot set on a socket.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{IpMtu, TcpUserTimeout};
use nix::sys::socket::{getsockopt, setsockopt};
use wire::time::Span;

use self::option::{Ipv6MtuDiscovery, MtuDiscovery};

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

/// Has datagrams go whole or not at all. From then on sending one that [`is_too_long`] for the path fails, once the kernel knows
/// or a router has said so.
///
/// A datagram in fragments is lost with any of them, and many carriers' routers drop fragments. Source: `ip(7)`,
/// IP_MTU_DISCOVER; RFC 8899, 3.
///
/// Errors: what the system said; datagrams may be cut then.
pub fn forbid_fragments(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(&socket.as_fd(), MtuDiscovery, &libc::IP_PMTUDISC_DO)?;
    match setsockopt(&socket.as_fd(), Ipv6MtuDiscovery, &libc::IPV6_PMTUDISC_DO) {
        // It is one of IPv4.
        Err(Errno::ENOPROTOOPT) => Ok(()),
        result => Ok(result?),
    }
}

/// Bytes of the longest IP packet that the kernel believes to fit the path of a connected socket; nothing when it is not connected.
pub fn path_mtu_bytes(socket: &impl AsFd) -> Option<u32> {
    getsockopt(&socket.as_fd(), IpMtu).ok().and_then(|bytes| u32::try_from(bytes).ok())
}

/// Whether a datagram was refused because it does not fit the path: EMSGSIZE. [`path_mtu_bytes`] is what does.
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Options that nix has not.
mod option {
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};

    sockopt_impl!(MtuDiscovery, Both, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int);
    sockopt_impl!(Ipv6MtuDiscovery, Both, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;
    use crate::linux::netlink::tests::{in_namespace, set_up_loop};

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

    #[test]
    fn datagrams_of_both_families_are_kept_whole() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(path_mtu_bytes(&socket), None);
        forbid_fragments(&socket).unwrap();
        assert_eq!(getsockopt(&socket, MtuDiscovery), Ok(libc::IP_PMTUDISC_DO));
        if let Ok(socket) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
            forbid_fragments(&socket).unwrap();
            assert_eq!(getsockopt(&socket, Ipv6MtuDiscovery), Ok(libc::IPV6_PMTUDISC_DO));
            socket.connect(socket.local_addr().unwrap()).unwrap();
            assert!(path_mtu_bytes(&socket).is_some_and(|bytes| bytes >= 1280));
        }
        assert!(forbid_fragments(&UnixStream::pair().unwrap().0).is_err());
    }

    #[test]
    fn a_datagram_that_does_not_fit_the_path_is_refused() {
        const MTU_BYTES: usize = 1500;
        const HEADER_BYTES: usize = 28;
        in_namespace(|| {
            set_up_loop(MTU_BYTES as u32);
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(socket.local_addr().unwrap()).unwrap();
            let (fitting, longer) = ([7; MTU_BYTES - HEADER_BYTES], [7; MTU_BYTES - HEADER_BYTES + 1]);
            assert_eq!(socket.send(&longer).unwrap(), longer.len(), "in fragments");
            forbid_fragments(&socket).unwrap();
            assert_eq!(socket.send(&fitting).unwrap(), fitting.len());
            assert!(is_too_long(&socket.send(&longer).unwrap_err()));
            assert_eq!(path_mtu_bytes(&socket), Some(MTU_BYTES as u32));
        });
    }
}
