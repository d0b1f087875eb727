//! `/sys/class/net/<interface>`: whether an interface is up, and what its link is.
//!
//! An attribute that does not apply cannot be read (`carrier` of an interface that is down, `speed` of a loop), and
//! its metric is absent then, as with node_exporter.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{attributes, signed};

/// The attributes to render, in this order.
pub const ATTRIBUTES: [&str; 6] =
    ["operstate", "carrier", "carrier_changes", "mtu", "speed", "statistics/rx_nohandler"];

/// `speed` is in Mbit/s.
const BYTES_PER_MEGABIT: i64 = 1_000_000 / 8;

/// Puts the attributes of one interface.
///
/// An unknown speed is -1 in sysfs and -125000 here, as in node_exporter 1.5.
/// Source: `Documentation/ABI/testing/sysfs-class-net`.
pub fn parse(interface: &[u8], text: &[u8], put: &mut Put<'_>) {
    for (attribute, value) in attributes(text) {
        let number = || signed(value);
        let (metric, value) = match attribute {
            b"operstate" => (Metric::NetworkUp, Some(i64::from(value == b"up"))),
            b"carrier" => (Metric::NetworkCarrier, number()),
            b"carrier_changes" => (Metric::NetworkCarrierChanges, number()),
            b"mtu" => (Metric::NetworkMtu, number()),
            b"speed" => (Metric::NetworkSpeed, number().map(|speed| speed.saturating_mul(BYTES_PER_MEGABIT))),
            b"statistics/rx_nohandler" => (Metric::NetworkReceiveNohandler, number()),
            _ => continue,
        };
        if let Some(value) = value {
            put(metric, &[("device", interface)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn an_interface_is_read_in_full() {
        let text = b"operstate up\ncarrier 1\ncarrier_changes 2\nmtu 1500\nspeed 1000\nstatistics/rx_nohandler 3\n";
        check(
            |put| parse(b"eth0", text, put),
            6,
            &[
                ("node_network_up{device=\"eth0\"}", 1),
                ("node_network_carrier{device=\"eth0\"}", 1),
                ("node_network_carrier_changes_total{device=\"eth0\"}", 2),
                ("node_network_mtu_bytes{device=\"eth0\"}", 1500),
                ("node_network_speed_bytes{device=\"eth0\"}", 125_000_000),
                ("node_network_receive_nohandler_total{device=\"eth0\"}", 3),
            ],
        );
    }

    #[test]
    fn an_interface_that_is_down_has_less_to_say() {
        check(
            |put| parse(b"ifb0", b"operstate down\nmtu many\nspeed -1\n", put),
            2,
            &[("node_network_up{device=\"ifb0\"}", 0), ("node_network_speed_bytes{device=\"ifb0\"}", -125_000)],
        );
    }
}
