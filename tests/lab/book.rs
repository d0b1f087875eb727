//! Who was seen on the link: every packet with its time, and what they add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::link::Fate;
use crate::packet::{Header, Purpose, protocol_name};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// To the gateway.
    Down,
    /// To the hub.
    Up,
}

impl Way {
    /// As they are numbered.
    pub(crate) const BOTH: [Way; 2] = [Way::Down, Way::Up];
}

/// A packet that was handed to the link, whatever became of it: whoever sends it pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) way: Way,
    pub(crate) header: Header,
    /// The whole packet.
    pub(crate) bytes: usize,
    pub(crate) fate: Fate,
}

impl Seen {
    /// The hub's port: what tells a flow, since the gateway's differs from connection to connection.
    pub(crate) fn port(&self) -> u16 {
        if self.way == Way::Up { self.header.ports.1 } else { self.header.ports.0 }
    }
}

/// What packets add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Of them, those that open and close connections.
    pub(crate) open_close_packets: u64,
    /// Of them, nothing but acknowledgements.
    pub(crate) ack_packets: u64,
    pub(crate) ack_bytes: u64,
    /// Behind all headers.
    pub(crate) payload_bytes: u64,
    /// Of them, those that did not come out.
    pub(crate) dropped_packets: u64,
}

impl Sum {
    /// Of those of `seen` that `is_meant`.
    pub(crate) fn of<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Sum {
        let mut sum = Sum::default();
        for one in seen {
            let purpose = one.header.purpose;
            let is_ack = u64::from(purpose == Purpose::Ack);
            sum.packets += 1;
            sum.bytes += one.bytes as u64;
            sum.open_close_packets += u64::from(matches!(purpose, Purpose::Open | Purpose::Close));
            sum.ack_packets += is_ack;
            sum.ack_bytes += is_ack * one.bytes as u64;
            sum.payload_bytes += one.header.payload_bytes as u64;
            sum.dropped_packets += u64::from(!matches!(one.fate, Fate::Arrives(_)));
        }
        sum
    }

    fn json(self) -> Value {
        json!({
            "packets": self.packets,
            "bytes": self.bytes,
            "open_close_packets": self.open_close_packets,
            "ack_packets": self.ack_packets,
            "ack_bytes": self.ack_bytes,
            "payload_bytes": self.payload_bytes,
            "dropped_packets": self.dropped_packets,
        })
    }
}

/// All of them both ways, and each flow by itself, for machines.
pub(crate) fn totals(seen: &[Seen]) -> Value {
    let both = |seen: &[&Seen]| {
        let of = |way: Way| Sum::of(seen.iter().copied().filter(|one| one.way == way));
        let all = Sum::of(seen.iter().copied());
        json!({ "bytes": all.bytes, "packets": all.packets, "up": of(Way::Up).json(), "down": of(Way::Down).json() })
    };
    let mut flows: BTreeMap<String, Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        flows.entry(format!("{}/{}", protocol_name(one.header.protocol), one.port())).or_default().push(one);
    }
    let mut totals = both(&seen.iter().collect::<Vec<_>>());
    totals["flows"] = flows.iter().map(|(name, seen)| (name.clone(), both(seen))).collect();
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(way: Way, purpose: Purpose, bytes: usize, fate: Fate) -> Seen {
        let ports = if way == Way::Up { (50_000, 7070) } else { (7070, 50_000) };
        let header = Header { protocol: 6, ports, purpose, payload_bytes: bytes.saturating_sub(52) };
        Seen { at: Duration::ZERO, way, header, bytes, fate }
    }

    #[test]
    fn both_ways_of_a_connection_are_one_flow_and_what_is_lost_is_paid_for() {
        let arrives = Fate::Arrives(Duration::ZERO);
        let totals = totals(&[
            seen(Way::Up, Purpose::Open, 60, arrives),
            seen(Way::Down, Purpose::Open, 60, arrives),
            seen(Way::Up, Purpose::Ack, 52, arrives),
            seen(Way::Up, Purpose::Payload, 252, Fate::Lost),
        ]);
        assert_eq!(totals["bytes"], 424);
        assert_eq!(totals["flows"]["tcp/7070"]["up"]["bytes"], 364);
        assert_eq!(totals["up"]["open_close_packets"], 1);
        assert_eq!(totals["up"]["ack_bytes"], 52);
        assert_eq!(totals["up"]["payload_bytes"], 208);
        assert_eq!((&totals["up"]["dropped_packets"], &totals["down"]["dropped_packets"]), (&json!(1), &json!(0)));
    }
}
