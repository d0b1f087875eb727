//! What the kernel writes to a routing socket.
//!
//! A datagram is a sequence of messages, each at a multiple of four bytes, in the byte order of the machine:
//!
//! ```text
//! offset  field     type
//! 0       length    u32   of the message with this header
//! 4       kind      u16   RTM_*, NLMSG_*
//! 6       flags     u16   NLM_F_*
//! 8       sequence  u32   of the request that is answered
//! 12      port      u32
//! 16      body            by kind; then attributes: length u16, kind u16, value, each at a multiple of four bytes
//!
//!         a link                              an address
//! 16      family    u8                        family    u8
//! 17      -         u8                        prefix    u8
//! 18      hardware  u16   ARPHRD_*            flags     u8    IFA_F_*
//! 19                                          scope     u8    RT_SCOPE_*
//! 20      index     i32                       index     u32
//! 24      flags     u32   IFF_*
//! 28      change    u32
//! 32      attributes                          attributes, from 24 on
//! ```
//!
//! Source: `netlink(7)`, `rtnetlink(7)`, linux/if_link.h, linux/if_addr.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;

const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// Bytes of an interface's name: IFNAMSIZ of linux/if.h, less the NUL.
pub const NAME_BYTES_MAX: usize = libc::IFNAMSIZ - 1;

/// What is of interest in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// An interface has an address.
    Address {
        /// The interface.
        index: u32,
        /// The address, its own and not that of the other end.
        address: IpAddr,
        /// Whether it reaches beyond the link, and is no other machine's.
        is_usable: bool,
    },
    /// An interface has an address no longer.
    AddressGone {
        /// The interface.
        index: u32,
        /// The address.
        address: IpAddr,
    },
    /// A list is at its end.
    End {
        /// Zero, or why it is not whole.
        errno: i32,
    },
    /// There is an interface.
    Link {
        /// Its number.
        index: u32,
        /// Its name, if that is text.
        name: Option<&'a str>,
        /// Whether it can carry packets: it is up, has a carrier, and no authentication is to come.
        has_carrier: bool,
    },
    /// There is an interface no longer.
    LinkGone {
        /// Its number.
        index: u32,
    },
    /// Something else.
    Other,
    /// The kernel had to drop messages.
    Overrun,
}

/// The messages of one datagram, each with whether the list that it is of changed while it was made. What is cut short is
/// left out.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = (Message<'_>, bool)> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = rest.get(..u32_at(rest, 0)? as usize)?;
        let (kind, flags) = (u16_at(message, 4)?, u16_at(message, 6)?);
        let body = message.get(HEADER_BYTES..)?;
        rest = after(rest, message.len());
        Some((parse(kind, body).unwrap_or(Message::Other), i32::from(flags) & libc::NLM_F_DUMP_INTR != 0))
    })
}

/// A request for all interfaces, or for the addresses of all.
pub fn list(kind: u16) -> Vec<u8> {
    // The kernel complains about bytes that it does not know, so each body is as long as it has to be.
    let body_bytes = if kind == libc::RTM_GETLINK { LINK_BYTES } else { ADDRESS_BYTES };
    message(kind, libc::NLM_F_DUMP, &vec![0; body_bytes])
}

/// A request; `body` is of the layout of its kind.
pub(super) fn message(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
    // Of no use for one question at a time, and the kernel puts its own port in place of none.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

fn parse(kind: u16, body: &[u8]) -> Option<Message<'_>> {
    const END: u16 = libc::NLMSG_DONE as u16;
    const ERROR: u16 = libc::NLMSG_ERROR as u16;
    const OVERRUN: u16 = libc::NLMSG_OVERRUN as u16;
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link(kind, body),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => address(kind, body),
        END | ERROR => Some(Message::End { errno: (u32_at(body, 0)? as i32).saturating_neg() }),
        OVERRUN => Some(Message::Overrun),
        _ => None,
    }
}

fn link(kind: u16, body: &[u8]) -> Option<Message<'_>> {
    const CARRIER: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP | libc::IFF_RUNNING) as u32;
    // An interface that leaves a bridge is "gone" in the words of that family.
    if i32::from(*body.first()?) != libc::AF_UNSPEC {
        return None;
    }
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let names = attributes(body.get(LINK_BYTES..)?).filter(|(kind, _)| *kind == libc::IFLA_IFNAME);
    Some(match kind {
        libc::RTM_DELLINK => Message::LinkGone { index },
        _ => Message::Link {
            index,
            name: names.last().and_then(|(_, value)| name(value)),
            has_carrier: flags & CARRIER == CARRIER,
        },
    })
}

fn name(value: &[u8]) -> Option<&str> {
    let text = value.strip_suffix(&[0]).unwrap_or(value);
    let name = std::str::from_utf8(text).ok()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(['\0', '/'])).then_some(name)
}

fn address(kind: u16, body: &[u8]) -> Option<Message<'_>> {
    let [family, _, flags, scope, ..] = *body else { return None };
    let index = u32_at(body, 4)?;
    let (mut own, mut other, mut flags) = (None, None, u32::from(flags));
    for (kind, value) in attributes(body.get(ADDRESS_BYTES..)?) {
        match kind {
            // Where the link has two ends, IFA_ADDRESS is that of the other one.
            libc::IFA_LOCAL => own = ip(family, value),
            libc::IFA_ADDRESS => other = ip(family, value),
            // There are more than fit the header.
            libc::IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let address = own.or(other)?;
    Some(match kind {
        libc::RTM_DELADDR => Message::AddressGone { index, address },
        _ => Message::Address { index, address, is_usable: is_usable(address, scope, flags) },
    })
}

/// Whether packets with this address may reach the hub. One that is deprecated may (RFC 4862, 5.5.4), for want of another.
fn is_usable(address: IpAddr, scope: u8, flags: u32) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let is_tentative = flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0;
    let is_anothers = flags & libc::IFA_F_DADFAILED != 0;
    scope == libc::RT_SCOPE_UNIVERSE && !is_link_local && !address.is_loopback() && !is_tentative && !is_anothers
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))),
        libc::AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))),
        _ => None,
    }
}

/// The attributes in `rest`: kind and value.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let attribute = rest.get(..u16_at(rest, 0)?.into())?;
        let (kind, value) = (u16_at(attribute, 2)?, attribute.get(4..)?);
        rest = after(rest, attribute.len());
        Some((kind & libc::NLA_TYPE_MASK as u16, value))
    })
}

/// What follows on the first `count` bytes, from the next multiple of four on.
fn after(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count.next_multiple_of(4)..).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What says that there is an interface.
    pub(in super::super) fn link(index: u32, name: &str, has_carrier: bool) -> Vec<u8> {
        let flags = if has_carrier { 0x1_1043_u32 } else { 0x1003 };
        let mut body = [[0, 0, 1, 0], index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat();
        body.extend(attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()));
        // The transmit queue's length, which nobody asked for.
        body.extend(attribute(13, &[232, 3, 0, 0]));
        message(libc::RTM_NEWLINK, 0, &body)
    }

    /// What says that an interface has an address that is usable.
    pub(in super::super) fn address(index: u32, text: &str) -> Vec<u8> {
        scoped(index, text, libc::RT_SCOPE_UNIVERSE, 0)
    }

    fn scoped(index: u32, text: &str, scope: u8, flags: u32) -> Vec<u8> {
        let (family, value) = match text.parse().unwrap() {
            IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
        };
        let mut body = vec![family as u8, 24, flags as u8, scope];
        body.extend(index.to_ne_bytes());
        body.extend(attribute(libc::IFA_ADDRESS, &value));
        body.extend(attribute(libc::IFA_FLAGS, &flags.to_ne_bytes()));
        message(libc::RTM_NEWADDR, 0, &body)
    }

    /// What says that the subject of a message is gone.
    pub(in super::super) fn gone(message: &[u8]) -> Vec<u8> {
        let mut gone = message.to_vec();
        let kind = u16_at(message, 4).unwrap() + 1;
        gone[4..6].copy_from_slice(&kind.to_ne_bytes());
        gone
    }

    /// The end of a list.
    pub(in super::super) fn end(errno: i32) -> Vec<u8> {
        message(if errno == 0 { libc::NLMSG_DONE } else { libc::NLMSG_ERROR } as u16, 0, &(-errno).to_ne_bytes())
    }

    pub(in super::super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut attribute = (4 + value.len() as u16).to_ne_bytes().to_vec();
        attribute.extend(kind.to_ne_bytes());
        attribute.extend(value);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    }

    fn only(datagram: &[u8]) -> Message<'_> {
        let mut messages = messages(datagram);
        let (first, rest) = (messages.next().unwrap(), messages.next());
        assert_eq!((first.1, rest), (false, None));
        first.0
    }

    fn is_usable(text: &str, scope: u8, flags: u32) -> bool {
        let datagram = scoped(1, text, scope, flags);
        matches!(only(&datagram), Message::Address { is_usable: true, .. })
    }

    #[test]
    fn a_datagram_is_read_message_by_message() {
        let wwan = link(7, "wwan0", true);
        let datagram = [wwan.clone(), gone(&wwan), address(7, "2001:db8::1"), end(0)].concat();
        let messages: Vec<_> = messages(&datagram).map(|(message, _)| message).collect();
        let address = "2001:db8::1".parse().unwrap();
        assert_eq!(
            messages,
            [
                Message::Link { index: 7, name: Some("wwan0"), has_carrier: true },
                Message::LinkGone { index: 7 },
                Message::Address { index: 7, address, is_usable: true },
                Message::End { errno: 0 },
            ]
        );
    }

    #[test]
    fn a_cut_message_is_left_out() {
        let (lo, eth0) = (link(1, "lo", true), link(2, "eth0", true));
        let datagram = [&lo[..], &eth0].concat();
        for byte_count in 0..datagram.len() {
            assert_eq!(messages(&datagram[..byte_count]).count(), usize::from(byte_count >= lo.len()));
        }
    }

    #[test]
    fn an_address_counts_when_it_reaches_beyond_the_link() {
        assert!(is_usable("10.64.0.3", libc::RT_SCOPE_UNIVERSE, libc::IFA_F_PERMANENT));
        assert!(is_usable("fd00::1", libc::RT_SCOPE_UNIVERSE, libc::IFA_F_DEPRECATED));
        assert!(!is_usable("10.64.0.3", libc::RT_SCOPE_LINK, 0));
        assert!(!is_usable("169.254.7.1", libc::RT_SCOPE_UNIVERSE, 0), "as busybox's zcip sets it");
        assert!(!is_usable("127.0.0.1", libc::RT_SCOPE_HOST, 0));
        assert!(!is_usable("fe80::1", libc::RT_SCOPE_LINK, 0));
    }

    #[test]
    fn an_address_counts_when_it_is_known_to_be_nobody_else_s() {
        let (tentative, optimistic) = (libc::IFA_F_TENTATIVE, libc::IFA_F_OPTIMISTIC);
        assert!(!is_usable("2001:db8::1", libc::RT_SCOPE_UNIVERSE, tentative));
        assert!(is_usable("2001:db8::1", libc::RT_SCOPE_UNIVERSE, tentative | optimistic));
        assert!(!is_usable("2001:db8::1", libc::RT_SCOPE_UNIVERSE, libc::IFA_F_DADFAILED));
    }

    #[test]
    fn of_two_ends_the_own_one_counts() {
        let (own, other) = (attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]), attribute(libc::IFA_ADDRESS, &[10, 0, 0, 2]));
        for attributes in [[own.clone(), other.clone()].concat(), [other, own].concat()] {
            let body = [&[2, 32, 0, 0, 9, 9, 9, 9], &attributes[..]].concat();
            let datagram = message(libc::RTM_NEWADDR, 0, &body);
            let Message::Address { address, .. } = only(&datagram) else { panic!("an address") };
            assert_eq!(address.to_string(), "10.0.0.1");
        }
    }

    #[test]
    fn an_interface_that_leaves_a_bridge_is_still_there() {
        let mut datagram = gone(&link(2, "eth0", true));
        datagram[HEADER_BYTES] = libc::AF_BRIDGE as u8;
        assert_eq!(only(&datagram), Message::Other);
    }

    #[test]
    fn a_carrier_without_authentication_is_none() {
        // IFF_UP and IFF_LOWER_UP: a wireless interface whose operstate is dormant.
        let mut datagram = link(3, "wlan0", true);
        datagram[HEADER_BYTES + 8..][..4].copy_from_slice(&0x1_0001_u32.to_ne_bytes());
        assert_eq!(only(&datagram), Message::Link { index: 3, name: Some("wlan0"), has_carrier: false });
    }

    #[test]
    fn a_name_that_is_no_text_is_none() {
        for name in ["", "sixteen_letters_", "a/b"] {
            assert_eq!(only(&link(3, name, false)), Message::Link { index: 3, name: None, has_carrier: false });
        }
    }
}
