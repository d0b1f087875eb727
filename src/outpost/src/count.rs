//! What the kernel counted beneath the link: of its connection, and of the interface under it.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use hal::linux::interface::{self, Kind};
use hal::linux::traffic::{Traffic, traffic};
use smol::Timer;

use crate::link::Port;
use crate::port::LinkEvent;

/// How often is counted while a connection lasts. It is counted once more at its end.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// Bytes around a segment: TCP with its timestamps, and IP.
const AROUND_IPV4: u64 = 32 + 20;
const AROUND_IPV6: u64 = 32 + 40;

/// Counts for one connection.
pub(crate) struct Count<S> {
    /// Its socket.
    pub(crate) socket: S,
    /// The address that it leaves from, if it is known.
    pub(crate) local: Option<IpAddr>,
    /// Where `/sys` is.
    pub(crate) root: PathBuf,
}

impl<S: AsFd> Count<S> {
    /// Tells what was counted so far. What the kernel does not count is not told.
    pub(crate) async fn tell(&self, port: &Port) {
        let is_ipv6 = self.local.is_some_and(|local| local.is_ipv6());
        if let Some(bytes) = traffic(&self.socket).ok().and_then(|traffic| whole_bytes(&traffic, is_ipv6)) {
            port.tell(LinkEvent::CountedConnection(bytes)).await;
        }
        let Some(name) = self.local.and_then(interface::of_address) else { return };
        if interface::kind(&self.root, &name) == Kind::Loop {
            return;
        }
        if let Ok(counters) = interface::counters(&self.root, &name) {
            let bytes = counters.received_bytes.saturating_add(counters.sent_bytes);
            port.tell(LinkEvent::CountedInterface { name, bytes }).await;
        }
    }

    /// Tells it now and then, for ever.
    pub(crate) async fn go_on<T>(&self, port: &Port) -> T {
        loop {
            self.tell(port).await;
            Timer::after(PAUSE).await;
        }
    }
}

/// All that a connection has carried, as whole IP packets.
fn whole_bytes(traffic: &Traffic, is_ipv6: bool) -> Option<u64> {
    let around = if is_ipv6 { AROUND_IPV6 } else { AROUND_IPV4 };
    let segments = u64::from(traffic.sent_segments?) + u64::from(traffic.received_segments?);
    Some(traffic.sent_bytes? + traffic.received_bytes? + segments * around)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_in_whole_packets_or_not_at_all() {
        let traffic = Traffic {
            received_bytes: Some(1000),
            received_segments: Some(4),
            sent_bytes: Some(500),
            sent_segments: Some(6),
            ..Traffic::default()
        };
        assert_eq!(whole_bytes(&traffic, false), Some(1500 + 10 * 52));
        assert_eq!(whole_bytes(&traffic, true), Some(1500 + 10 * 72));
        assert_eq!(whole_bytes(&Traffic { sent_bytes: None, ..traffic }, false), None);
    }
}
