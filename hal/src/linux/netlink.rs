//! What becomes of the network's interfaces, told by the kernel when it happens.
//!
//! A routing socket ([`Watch`]) brings datagrams, [`Interfaces`] makes changes of them. Whoever waits does it for the socket
//! to be readable, and takes what there is:
//!
//! ```text
//! loop {
//!     watch.receive(&mut interfaces)      until it would block
//!     interfaces.poll_output()            until there is none
//! }
//! ```
//!
//! Routes are not watched: what is bound to an interface finds its own, and a busy router's are many.

pub mod interfaces;
pub mod message;

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use self::interfaces::{Input, Interfaces};

/// Bytes of a datagram. The kernel fills pages of up to 8 KiB, and makes a message of an interface with dozens of virtual
/// functions longer only for those who ask for them. One that is longer still counts as lost.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;

/// A routing socket, which never blocks.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// Begins to watch the interfaces of this process's network namespace. Needs no privilege.
    ///
    /// Errors: those of `socket(2)` and `bind(2)`; a kernel or a container without routing sockets.
    pub fn open() -> io::Result<Watch> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
        Ok(Watch { socket })
    }

    /// Hands `interfaces` one datagram, and sends what they ask for.
    ///
    /// Errors: `WouldBlock` when there is none, which is the time to wait for one. After any other, nothing is known of
    /// interfaces; the kernel is asked anew with the next call, which is better made after a while.
    pub fn receive(&self, interfaces: &mut Interfaces) -> io::Result<()> {
        let socket = self.socket.as_raw_fd();
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        // The sender is the kernel: others need CAP_NET_ADMIN to send to this protocol's sockets.
        let input = match recv(socket, &mut datagram, MsgFlags::MSG_TRUNC) {
            Ok(byte_count) => datagram.get(..byte_count).map_or(Input::Lost, Input::Received),
            Err(Errno::ENOBUFS) => Input::Lost,
            Err(Errno::EAGAIN) => {
                let Some(request) = interfaces.poll_request() else { return Err(Errno::EAGAIN.into()) };
                send(socket, &request, MsgFlags::empty())?;
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        };
        interfaces.handle_input(input).map_err(io::Error::other)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::thread;

    use nix::poll::{PollFd, PollFlags, poll};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::RcvBuf;

    use super::interfaces::{Change, Interface};
    use super::message::tests::attribute;
    use super::message::{Message, message, messages};
    use super::*;

    /// Ten seconds, in which the kernel says what happened at once.
    const PATIENCE_MS: u16 = 10_000;

    /// The number of the loop interface in every namespace.
    const LOOP: u32 = 1;

    /// Runs `test` on a thread with a network of its own, where it may change everything. Where this process may not have one, and
    /// so is not root, there is nothing to run.
    pub(in crate::linux) fn in_namespace(test: impl FnOnce() + Send) {
        thread::scope(|scope| {
            scope.spawn(|| {
                if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
                    test();
                }
            });
        });
    }

    /// Sets the loop interface of this thread's network up, with that MTU.
    pub(in crate::linux) fn set_up_loop(mtu_bytes: u32) {
        let mtu = attribute(libc::IFLA_MTU, &mtu_bytes.to_ne_bytes());
        command(libc::RTM_NEWLINK, 0, &[link(true), mtu].concat());
    }

    /// Has the kernel do something.
    fn command(kind: u16, flags: i32, body: &[u8]) {
        let watch = Watch::open().unwrap();
        send(watch.as_fd().as_raw_fd(), &message(kind, flags, body), MsgFlags::empty()).unwrap();
    }

    /// What sets the loop interface up or down.
    fn link(is_up: bool) -> Vec<u8> {
        let flags = if is_up { libc::IFF_UP as u32 } else { 0 };
        [[0; 4], LOOP.to_ne_bytes(), flags.to_ne_bytes(), (libc::IFF_UP as u32).to_ne_bytes()].concat()
    }

    fn wait(watch: &Watch) {
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PATIENCE_MS), Ok(1), "the kernel says nothing");
    }

    /// What is told next.
    fn next(watch: &Watch, interfaces: &mut Interfaces) -> Change {
        loop {
            match watch.receive(interfaces) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(change) = interfaces.poll_output() {
                        return change;
                    }
                    wait(watch);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn lo(has_carrier: bool, ipv4: Option<[u8; 4]>) -> Change {
        let interface = Interface { index: LOOP, has_carrier, ipv4: ipv4.map(Into::into), ipv6: None };
        Change::Changed { name: "lo".to_owned(), interface }
    }

    #[test]
    fn the_loop_is_among_the_real_ones() {
        let (watch, mut interfaces) = (Watch::open().unwrap(), Interfaces::new());
        let first = next(&watch, &mut interfaces);
        assert!(matches!(&first, Change::Changed { name, interface: Interface { index: LOOP, .. } } if name == "lo"));
        assert!(interfaces.is_settled());
    }

    #[test]
    fn the_kernel_lists_the_loop_s_addresses() {
        let watch = Watch::open().unwrap();
        send(watch.as_fd().as_raw_fd(), &message::list(libc::RTM_GETADDR), MsgFlags::empty()).unwrap();
        let mut is_listed = false;
        loop {
            wait(&watch);
            let mut datagram = [0; DATAGRAM_BYTES_MAX];
            let byte_count = recv(watch.as_fd().as_raw_fd(), &mut datagram, MsgFlags::MSG_TRUNC).unwrap();
            for (message, _) in messages(&datagram[..byte_count]) {
                match message {
                    Message::Address { index: LOOP, address, is_usable: false } => {
                        is_listed |= address.to_string() == "127.0.0.1";
                    }
                    Message::End { errno: 0 } => {
                        assert!(is_listed);
                        return;
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn changes_are_told_when_they_happen() {
        in_namespace(|| {
            let (watch, mut interfaces) = (Watch::open().unwrap(), Interfaces::new());
            assert_eq!(next(&watch, &mut interfaces), lo(false, None));
            command(libc::RTM_NEWLINK, 0, &link(true));
            assert_eq!(next(&watch, &mut interfaces), lo(true, None));
            let head = [[libc::AF_INET as u8, 32, 0, libc::RT_SCOPE_UNIVERSE], LOOP.to_ne_bytes()].concat();
            let address = [head, attribute(libc::IFA_LOCAL, &[192, 0, 2, 1])].concat();
            command(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &address);
            assert_eq!(next(&watch, &mut interfaces), lo(true, Some([192, 0, 2, 1])));
            command(libc::RTM_DELADDR, 0, &address);
            assert_eq!(next(&watch, &mut interfaces), lo(true, None));
        });
    }

    #[test]
    fn after_a_flood_the_last_state_is_told() {
        in_namespace(|| {
            let (watch, mut interfaces) = (Watch::open().unwrap(), Interfaces::new());
            setsockopt(&watch, RcvBuf, &0).unwrap();
            assert_eq!(next(&watch, &mut interfaces), lo(false, None));
            for round in 0..=100 {
                command(libc::RTM_NEWLINK, 0, &link(round % 2 == 0));
            }
            assert_eq!(recv(watch.as_fd().as_raw_fd(), &mut [0; 64], MsgFlags::empty()), Err(Errno::ENOBUFS));
            interfaces.handle_input(Input::Lost).unwrap();
            assert_eq!(next(&watch, &mut interfaces), lo(true, None));
        });
    }
}
