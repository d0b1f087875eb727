//! Sockets that leave through one network interface.
//!
//! | the kernel | a socket is bound to | which holds for |
//! |---|---|---|
//! | since 5.7, or with CAP_NET_RAW | the device (`SO_BINDTODEVICE`) | whatever comes and goes |
//! | before, without | an address of it, and the device for datagrams (`IP_UNICAST_IF`) | the source of packets, and where datagrams leave |
//!
//! A connection that is only bound to an address leaves where the system's routes lead: by that interface when there is a rule
//! for its source, as network managers set them for a second uplink.
//!
//! Source: `socket(7)`, `ip(7)`.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket};

use self::option::{Ipv6UnicastInterface, UnicastInterface};

/// The interface to leave through.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// Its name.
    pub interface: &'a str,
    /// An address of it, for peers of IPv4 and a kernel that binds to nothing else.
    pub ipv4: Option<Ipv4Addr>,
    /// The same for peers of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An address of the interface.
    Address,
    /// The interface.
    Device,
    /// Nothing: it leaves where the system's routes lead.
    System,
}

impl<'a> Via<'a> {
    /// An interface with the addresses that it has now. An address that is good on its own wire alone is taken when there is no other.
    pub fn of(interface: &'a str) -> Via<'a> {
        let mut via = Via { interface, ipv4: None, ipv6: None };
        for own in getifaddrs().into_iter().flatten().filter(|own| own.interface_name == interface) {
            let Some(address) = own.address else { continue };
            via.ipv4 = via.ipv4.or(address.as_sockaddr_in().map(|own| own.ip()));
            let ipv6 = address.as_sockaddr_in6().map(|own| own.ip());
            via.ipv6 = ipv6.filter(|_| via.ipv6.is_none_or(|known| known.is_unicast_link_local())).or(via.ipv6);
        }
        via
    }
}

/// Begins to connect to `remote`. The stream never blocks; it is connected, or has failed with what `take_error` says, as soon as
/// it is writable.
///
/// Errors: there is no such interface, or none with an address where that is needed; no route to `remote`.
pub fn tcp(remote: SocketAddr, via: Option<&Via<'_>>) -> io::Result<(TcpStream, Binding)> {
    let (socket, binding) = open(SockType::Stream, remote, via)?;
    Ok((TcpStream::from(socket), binding))
}

/// A socket for datagrams to and from `remote`. It never blocks.
///
/// Errors: as for [`tcp`].
pub fn udp(remote: SocketAddr, via: Option<&Via<'_>>) -> io::Result<(UdpSocket, Binding)> {
    let (socket, binding) = open(SockType::Datagram, remote, via)?;
    Ok((UdpSocket::from(socket), binding))
}

fn open(kind: SockType, remote: SocketAddr, via: Option<&Via<'_>>) -> io::Result<(OwnedFd, Binding)> {
    let family = if remote.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    let binding = match via {
        Some(via) => bind_to(&socket, remote, via)?,
        None => Binding::System,
    };
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(remote)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok((socket, binding)),
        Err(errno) => Err(errno.into()),
    }
}

fn bind_to(socket: &OwnedFd, remote: SocketAddr, via: &Via<'_>) -> io::Result<Binding> {
    match setsockopt(socket, BindToDevice, &OsString::from(via.interface)) {
        Ok(()) => Ok(Binding::Device),
        Err(Errno::EPERM) => {
            let own = match remote {
                SocketAddr::V4(_) => via.ipv4.map(IpAddr::V4),
                SocketAddr::V6(_) => via.ipv6.map(IpAddr::V6),
            };
            bind_to_address(socket, via.interface, own.ok_or(Errno::EADDRNOTAVAIL)?)?;
            Ok(Binding::Address)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn bind_to_address(socket: &OwnedFd, interface: &str, own: IpAddr) -> nix::Result<()> {
    // Alone among options, both take the number in the network's byte order.
    let index = if_nametoindex(interface)?.to_be();
    match own {
        IpAddr::V4(_) => setsockopt(socket, UnicastInterface, &index)?,
        IpAddr::V6(_) => setsockopt(socket, Ipv6UnicastInterface, &index)?,
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(own, 0)))
}

/// Options that nix has not.
mod option {
    use nix::{libc, setsockopt_impl, sockopt_impl};

    sockopt_impl!(UnicastInterface, SetOnly, libc::IPPROTO_IP, libc::IP_UNICAST_IF, u32);
    sockopt_impl!(Ipv6UnicastInterface, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF, u32);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, poll};
    use nix::sys::socket::getsockopt;

    use super::*;

    const LOOP: Via<'_> = Via { interface: "lo", ipv4: Some(Ipv4Addr::LOCALHOST), ipv6: Some(Ipv6Addr::LOCALHOST) };

    fn check_connection(via: Option<&Via<'_>>) -> Binding {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (stream, binding) = tcp(listener.local_addr().unwrap(), via).unwrap();
        let accepted = listener.accept().unwrap().0;
        let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
        assert_eq!(poll(&mut fds, 10_000_u16), Ok(1));
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(stream.peer_addr().unwrap(), accepted.local_addr().unwrap());
        let bound_to = getsockopt(&stream, BindToDevice).unwrap();
        assert_eq!(bound_to, if binding == Binding::Device { "lo" } else { "" });
        binding
    }

    #[test]
    fn a_connection_is_bound_to_its_interface_or_says_that_it_is_not() {
        assert_ne!(check_connection(Some(&LOOP)), Binding::System);
        assert_eq!(check_connection(None), Binding::System);
    }

    #[test]
    fn datagrams_are_bound_to_their_interface() {
        let hub = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (socket, binding) = udp(hub.local_addr().unwrap(), Some(&LOOP)).unwrap();
        assert_ne!(binding, Binding::System);
        socket.send(b"news").unwrap();
        let mut bytes = [0; 9];
        assert_eq!(hub.recv_from(&mut bytes).unwrap(), (4, socket.local_addr().unwrap()));
        assert_eq!(socket.recv(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_interface_is_known_with_its_addresses() {
        assert_eq!(Via::of("lo").ipv4, Some(Ipv4Addr::LOCALHOST));
        let none = Via::of("outpost-none");
        assert_eq!((none.ipv4, none.ipv6), (None, None));
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let via = Via { interface: "outpost-none", ..LOOP };
        assert!(udp((Ipv4Addr::LOCALHOST, 9).into(), Some(&via)).is_err());
    }

    #[test]
    fn a_socket_is_bound_to_an_address_where_it_cannot_be_to_a_device() {
        let flags = SockFlag::SOCK_CLOEXEC;
        for (kind, address) in [(SockType::Stream, [127, 0, 0, 1]), (SockType::Datagram, [127, 0, 0, 2])] {
            let socket = socket(AddressFamily::Inet, kind, flags, None).unwrap();
            bind_to_address(&socket, "lo", address.into()).unwrap();
            assert_eq!(UdpSocket::from(socket).local_addr().unwrap().ip(), IpAddr::from(address));
        }
        if let Ok(socket) = socket(AddressFamily::Inet6, SockType::Datagram, flags, None) {
            // A machine may have IPv6 and no address of it.
            let bound = bind_to_address(&socket, "lo", Ipv6Addr::LOCALHOST.into());
            assert!(matches!(bound, Ok(()) | Err(Errno::EADDRNOTAVAIL)), "{bound:?}");
        }
    }
}
