//! What the headers of an IP packet say, and the one thing about them that is changed: an address, by the NAT.
//!
//! Whatever is no packet of IPv4 or IPv6 with room for its headers is nothing to us.

use std::net::IpAddr;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Of TCP: nothing but an acknowledgement.
    Ack,
    /// Of TCP: the end of a connection, with or without last words.
    Close,
    /// Of TCP: the begin of a connection.
    Open,
    /// Words.
    Payload,
}

/// The headers, as far as anyone asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) protocol: u8,
    /// Where it comes from and where it goes; zeros where the protocol has no ports.
    pub(crate) ports: (u16, u16),
    pub(crate) purpose: Purpose,
    /// Bytes behind all headers.
    pub(crate) payload_bytes: usize,
}

/// Where the parts of a packet are.
struct Layout {
    is_v4: bool,
    /// Where the first address is; the second follows.
    addresses: usize,
    transport: usize,
    protocol: u8,
}

impl Layout {
    fn of(packet: &[u8]) -> Option<Layout> {
        let first = *packet.first()?;
        let layout = match first >> 4 {
            4 => {
                Layout { is_v4: true, addresses: 12, transport: usize::from(first & 15) * 4, protocol: *packet.get(9)? }
            }
            6 => Layout { is_v4: false, addresses: 8, transport: 40, protocol: *packet.get(6)? },
            _ => return None,
        };
        let least = if layout.is_v4 { 20 } else { 40 };
        (layout.transport >= least && packet.len() >= layout.transport).then_some(layout)
    }
}

/// Reads the headers.
pub(crate) fn header(packet: &[u8]) -> Option<Header> {
    let Layout { transport, protocol, .. } = Layout::of(packet)?;
    let rest = &packet[transport..];
    let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    let (header_bytes, flags) = match protocol {
        TCP => (usize::from(rest.get(12)? >> 4) * 4, *rest.get(13)?),
        UDP => (8, 0),
        _ => (0, 0),
    };
    let payload_bytes = rest.len().checked_sub(header_bytes)?;
    let purpose = match flags {
        flags if flags & SYN != 0 => Purpose::Open,
        flags if flags & (FIN | RST) != 0 => Purpose::Close,
        _ if protocol == TCP && payload_bytes == 0 => Purpose::Ack,
        _ => Purpose::Payload,
    };
    let ports = if header_bytes > 0 { (port(0)?, port(2)?) } else { (0, 0) };
    Some(Header { protocol, ports, purpose, payload_bytes })
}

/// The name of a protocol, for people.
pub(crate) fn protocol_name(protocol: u8) -> String {
    match protocol {
        TCP => "tcp".into(),
        UDP => "udp".into(),
        other => format!("ip{other}"),
    }
}

/// Which of a packet's two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// One of a packet's addresses.
pub(crate) fn address(packet: &[u8], end: End) -> Option<IpAddr> {
    let layout = Layout::of(packet)?;
    let place = place(&layout, end);
    Some(if layout.is_v4 {
        <[u8; 4]>::try_from(&packet[place]).ok()?.into()
    } else {
        <[u8; 16]>::try_from(&packet[place]).ok()?.into()
    })
}

/// Puts another address of the same family in a packet, and mends the checksums that cover it.
pub(crate) fn set_address(packet: &mut [u8], end: End, address: IpAddr) {
    let Some(layout) = Layout::of(packet) else { return };
    let new = match address {
        IpAddr::V4(address) if layout.is_v4 => address.octets().to_vec(),
        IpAddr::V6(address) if !layout.is_v4 => address.octets().to_vec(),
        _ => return,
    };
    let place = place(&layout, end);
    let old = packet[place.clone()].to_vec();
    packet[place].copy_from_slice(&new);
    if layout.is_v4 {
        mend(packet, 10, &old, &new);
    }
    match layout.protocol {
        TCP => mend(packet, layout.transport + 16, &old, &new),
        // Zero is no checksum: RFC 768.
        UDP if packet.get(layout.transport + 6..layout.transport + 8) != Some(&[0, 0]) => {
            mend(packet, layout.transport + 6, &old, &new);
        }
        ICMP_V6 => mend(packet, layout.transport + 2, &old, &new),
        _ => {}
    }
}

fn place(layout: &Layout, end: End) -> std::ops::Range<usize> {
    let length = if layout.is_v4 { 4 } else { 16 };
    let begin = layout.addresses + if end == End::Destination { length } else { 0 };
    begin..begin + length
}

/// Changes a checksum by what changed under it: HC' = ~(~HC + ~m + m'), RFC 1624.
fn mend(packet: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    let Some(field) = packet.get_mut(at..at + 2) else { return };
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    };
    let mut sum = u32::from(!u16::from_be_bytes([field[0], field[1]]));
    sum += words(old).into_iter().map(|word| u32::from(!word)).sum::<u32>();
    sum += words(new).into_iter().map(u32::from).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    field.copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of TCP over IPv4 with these flags and so much behind them; its checksums are right.
    fn packet(flags: u8, payload_bytes: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, TCP, 0, 0, 198, 18, 0, 2, 198, 19, 0, 1];
        packet.extend([0xc0, 0x01, 0x1b, 0x9e, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend(vec![b'x'; payload_bytes]);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        let sum = !sum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let sum = !sum_of_tcp(&packet);
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The sum in one's complement, by the book: RFC 1071.
    fn sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn sum_of_tcp(packet: &[u8]) -> u16 {
        let length = (packet.len() - 20) as u16;
        let pseudo = [&packet[12..20], &[0, TCP], &length.to_be_bytes()].concat();
        sum(&[&pseudo, &packet[20..]].concat())
    }

    #[test]
    fn a_packet_is_told_by_its_flags_and_its_length() {
        for (flags, payload_bytes, purpose) in [
            (SYN, 0, Purpose::Open),
            (SYN | 0x10, 0, Purpose::Open),
            (0x10, 0, Purpose::Ack),
            (0x18, 5, Purpose::Payload),
            (FIN | 0x10, 0, Purpose::Close),
            (RST, 0, Purpose::Close),
        ] {
            let expected = Header { protocol: TCP, ports: (0xc001, 7070), purpose, payload_bytes };
            assert_eq!(header(&packet(flags, payload_bytes)), Some(expected));
        }
    }

    #[test]
    fn what_has_no_room_for_its_headers_is_nothing() {
        let whole = packet(0x18, 0);
        for length in 0..whole.len() {
            assert_eq!(header(&whole[..length]).map(|header| header.payload_bytes), None, "{length}");
        }
        assert_eq!(header(&[0x20; 60]), None);
    }

    #[test]
    fn the_checksums_hold_after_an_address_was_changed() {
        let mut packet = packet(0x18, 5);
        let public: IpAddr = "198.18.1.77".parse().unwrap();
        set_address(&mut packet, End::Source, public);
        assert_eq!(address(&packet, End::Source), Some(public));
        assert_eq!(address(&packet, End::Destination), Some("198.19.0.1".parse().unwrap()));
        assert_eq!((sum(&packet[..20]), sum_of_tcp(&packet)), (0xffff, 0xffff));
        // An address of the other family is not put in.
        let before = packet.clone();
        set_address(&mut packet, End::Source, "2001:2::1".parse().unwrap());
        assert_eq!(packet, before);
    }

    #[test]
    fn a_datagram_of_ipv6_is_told_and_changed_too() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 12, UDP, 64];
        packet.extend([0; 32]);
        packet.extend([0, 1, 0, 2, 0, 12, 0x12, 0x34, 1, 2, 3, 4]);
        let expected = Header { protocol: UDP, ports: (1, 2), purpose: Purpose::Payload, payload_bytes: 4 };
        assert_eq!(header(&packet), Some(expected));
        let address_there: IpAddr = "2001:2:0:1::9".parse().unwrap();
        let before = sum(&packet[8..]);
        set_address(&mut packet, End::Destination, address_there);
        assert_eq!(address(&packet, End::Destination), Some(address_there));
        // The sum over the addresses and the checksum stays what it was.
        assert_eq!(sum(&packet[8..]), before);
    }
}
