//! `/proc/net/dev`: what each interface received and sent.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, split_once, unsigned};

/// The columns after the interface's name. What a driver counts in `dev->stats` wraps at 2^32 on 32-bit kernels, while
/// others, such as the loop, count in 64 bits there as well; either is passed on.
const COLUMNS: [Metric; 16] = [
    Metric::NetworkReceiveBytes,
    Metric::NetworkReceivePackets,
    Metric::NetworkReceiveErrs,
    Metric::NetworkReceiveDrop,
    Metric::NetworkReceiveFifo,
    Metric::NetworkReceiveFrame,
    Metric::NetworkReceiveCompressed,
    Metric::NetworkReceiveMulticast,
    Metric::NetworkTransmitBytes,
    Metric::NetworkTransmitPackets,
    Metric::NetworkTransmitErrs,
    Metric::NetworkTransmitDrop,
    Metric::NetworkTransmitFifo,
    Metric::NetworkTransmitColls,
    Metric::NetworkTransmitCarrier,
    Metric::NetworkTransmitCompressed,
];

/// Puts the columns of every interface.
///
/// Source: `proc_pid_net(5)`; `dev_seq_printf_stats` of the kernel, which adds up the errors node_exporter adds up.
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for (interface, counters) in entries(bytes) {
        for (metric, value) in COLUMNS.iter().zip(fields(counters).map_while(unsigned)) {
            put(*metric, &[("device", interface)], value);
        }
    }
}

/// The names of all interfaces, in the kernel's order. The driver looks into `/sys` again when they change.
pub fn interfaces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    entries(bytes).map(|(interface, _)| interface)
}

/// Each interface with its counters. Old kernels leave no space after the colon; the two lines of headings have none.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(bytes)
        .filter_map(|line| split_once(line, b':'))
        .map(|(name, counters)| (name.trim_ascii(), counters))
        .filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    #[test]
    fn every_interface_is_read_in_full() {
        check(
            |put| parse(board!("pi4/proc/net/dev"), put),
            3 * 16,
            &[
                ("node_network_receive_bytes_total{device=\"eth0\"}", 918_273_645),
                ("node_network_receive_multicast_total{device=\"eth0\"}", 10_231),
                ("node_network_transmit_compressed_total{device=\"lo\"}", 0),
                ("node_network_transmit_packets_total{device=\"wlan0\"}", 0),
            ],
        );
        assert!(interfaces(board!("pi4/proc/net/dev")).eq([&b"lo"[..], b"eth0", b"wlan0"]));
    }

    #[test]
    fn a_missing_space_after_the_colon_is_no_matter() {
        check(
            |put| parse(b"ppp0:4294967295 7", put),
            2,
            &[
                ("node_network_receive_bytes_total{device=\"ppp0\"}", 4_294_967_295),
                ("node_network_receive_packets_total{device=\"ppp0\"}", 7),
            ],
        );
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(|put| parse(b"face |bytes\n: 1 2\neth0 1 2\neth1: x\neth2:", put), 0, &[]);
    }
}
