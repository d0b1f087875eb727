//! `/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6`: the counters of the protocols.
//!
//! ```text
//!  Tcp: RtoAlgorithm RtoMin .. InSegs OutSegs ..        Ip6InOctets     128
//!  Tcp: 1            200    .. 3485   2174    ..        Icmp6InMsgs     1
//! ```
//!
//! Of some 400 the catalogue holds the 40 that node_exporter keeps by default.

use crate::probe::put::{Put, metric};
use crate::probe::text::{fields, lines, split_once, unsigned};

/// Puts what the catalogue knows of `netstat` or `snmp`, whose lines come in pairs: names, then values.
///
/// Source: `proc_pid_net(5)`; `Documentation/networking/snmp_counter.rst`.
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    let mut names: Option<(&[u8], &[u8])> = None;
    for line in lines(bytes) {
        let Some((protocol, rest)) = split_once(line, b':') else { continue };
        match names.take() {
            Some((named, names)) if named == protocol => parse_pair(protocol, names, rest, put),
            _ => names = Some((protocol, rest)),
        }
    }
}

/// Puts what the catalogue knows of `snmp6`, whose lines hold one counter each.
///
/// Source: `Documentation/networking/snmp_counter.rst`; `snmp6_seq_show` of the kernel.
pub fn parse_snmp6(bytes: &[u8], put: &mut Put<'_>) {
    for line in lines(bytes) {
        let mut fields = fields(line);
        let (Some(key), Some(value)) = (fields.next(), fields.next().and_then(unsigned)) else { continue };
        let Some(six) = key.iter().position(|byte| *byte == b'6') else { continue };
        let (protocol, name) = key.split_at(six + 1);
        put_counter(protocol, name, value, put);
    }
}

fn parse_pair(protocol: &[u8], names: &[u8], values: &[u8], put: &mut Put<'_>) {
    // Two long lines of which the catalogue has nothing; every name of them would be searched for.
    if matches!(protocol, b"IcmpMsg" | b"MPTcpExt") {
        return;
    }
    for (name, value) in fields(names).zip(fields(values)) {
        // `Tcp: MaxConn` is -1, and not kept.
        if let Some(value) = unsigned(value) {
            put_counter(protocol, name, value, put);
        }
    }
}

fn put_counter(protocol: &[u8], name: &[u8], value: i64, put: &mut Put<'_>) {
    if let Some(found) = metric(&[b"node_netstat_", protocol, b"_", name]) {
        put(found, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    #[test]
    fn a_machine_is_read_in_full() {
        check(
            |put| {
                parse(board!("vm/proc/net/netstat"), put);
                parse(board!("vm/proc/net/snmp"), put);
                parse_snmp6(board!("vm/proc/net/snmp6"), put);
            },
            40,
            &[
                ("node_netstat_TcpExt_TCPTimeouts", 2),
                ("node_netstat_IpExt_InOctets", 269_664_419),
                ("node_netstat_Tcp_InSegs", 7_795),
                ("node_netstat_Tcp_CurrEstab", 0),
                ("node_netstat_Ip_Forwarding", 2),
                ("node_netstat_Udp_OutDatagrams", 98),
                ("node_netstat_Ip6_OutOctets", 880),
                ("node_netstat_UdpLite6_InErrors", 0),
            ],
        );
    }

    #[test]
    fn a_line_without_its_pair_is_skipped() {
        let text = b"Tcp: InSegs\nUdp: InDatagrams NoPorts\nUdp: 7\nTcp: 1\n";
        check(|put| parse(text, put), 1, &[("node_netstat_Udp_InDatagrams", 7)]);
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(|put| parse_snmp6(b"Ip6InOctets\nInOctets 1\n6 1\nIp6InOctets x\n", put), 0, &[]);
    }
}
