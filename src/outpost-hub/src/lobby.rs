//! Who is connected and has not shown an enrolled key yet: a bounded set.
//!
//! A connection that was never finished costs its owner nothing and the hub a file descriptor, so there is a bound on
//! those that wait. At the bound the oldest of the source that has the most gives way: whoever floods the hub from one
//! place throws out only itself, and a gateway whose handshake takes two seconds over 2G is not the oldest of the
//! most.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use hub::session::PeerId;
use tokio::sync::oneshot;

/// Connections that may wait at once.
pub const WAITING_COUNT_MAX: usize = 256;

/// Connections of strangers, oldest first: the numbers of peers only grow.
#[derive(Debug, Default)]
pub struct Lobby {
    waiting: BTreeMap<PeerId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    source: IpAddr,
    evict: oneshot::Sender<()>,
}

impl Lobby {
    /// Lets a connection wait. What comes back resolves with `Ok` when it has to give way to another; it resolves with
    /// an error once it waits no longer.
    pub fn enter(&mut self, peer: PeerId, address: IpAddr) -> oneshot::Receiver<()> {
        if self.waiting.len() >= WAITING_COUNT_MAX {
            self.evict();
        }
        let (evict, evicted) = oneshot::channel();
        self.waiting.insert(peer, Waiting { source: source(address), evict });
        assert!(self.waiting.len() <= WAITING_COUNT_MAX, "one leaves for each that comes");
        evicted
    }

    /// The connection waits no longer: it is closed, or its key is that of a device.
    pub fn leave(&mut self, peer: PeerId) {
        self.waiting.remove(&peer);
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Tells the oldest of the source that has the most to give way. Whether there is anyone to tell.
    pub fn evict(&mut self) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for waiting in self.waiting.values() {
            *counts.entry(waiting.source).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let oldest = self.waiting.iter().find(|(_, waiting)| counts.get(&waiting.source).copied() == most);
        let Some(peer) = oldest.map(|(peer, _)| *peer) else { return false };
        if let Some(waiting) = self.waiting.remove(&peer) {
            // The task may have ended by itself meanwhile.
            let _ = waiting.evict.send(());
        }
        true
    }

    /// Tells all to give way.
    pub fn clear(&mut self) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            let _ = waiting.evict.send(());
        }
    }
}

/// Where a connection comes from, as far as one person's reach goes: an address, or the /64 that any IPv6 host has to
/// itself.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_flood_from_one_place_throws_out_only_itself() {
        let mut lobby = Lobby::default();
        let mut gateway = lobby.enter(PeerId(0), address("192.0.2.1"));
        let mut flood: Vec<_> = (1..1000).map(|number| lobby.enter(PeerId(number), address("203.0.113.9"))).collect();
        assert_eq!(lobby.count(), WAITING_COUNT_MAX);
        assert!(gateway.try_recv().is_err());
        let evicted =
            flood.iter_mut().map(|evicted| evicted.try_recv().is_ok()).take_while(|is_evicted| *is_evicted).count();
        assert_eq!(evicted, 1000 - WAITING_COUNT_MAX);
    }

    #[test]
    fn among_equals_the_oldest_gives_way() {
        let mut lobby = Lobby::default();
        let mut all: Vec<_> = (0..=WAITING_COUNT_MAX as u64)
            .map(|number| lobby.enter(PeerId(number), IpAddr::from((number as u32).to_be_bytes())))
            .collect();
        let evicted: Vec<bool> = all.iter_mut().map(|evicted| evicted.try_recv().is_ok()).collect();
        assert_eq!((evicted[0], evicted.iter().filter(|evicted| **evicted).count()), (true, 1));
    }

    #[test]
    fn one_after_the_other_is_told_until_nobody_is_left() {
        let mut lobby = Lobby::default();
        let mut all: Vec<_> = (0..4).map(|number| lobby.enter(PeerId(number), address("192.0.2.1"))).collect();
        assert!(lobby.evict());
        lobby.clear();
        assert!(!lobby.evict());
        assert!(all.iter_mut().all(|evicted| evicted.try_recv().is_ok()));
    }

    #[test]
    fn whoever_left_is_not_told_to_go() {
        let mut lobby = Lobby::default();
        let mut evicted = lobby.enter(PeerId(1), address("::1"));
        lobby.leave(PeerId(1));
        assert_eq!(evicted.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(lobby.count(), 0);
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_one_source() {
        assert_eq!(source(address("2001:db8::1")), source(address("2001:db8::ffff:1")));
        assert_ne!(source(address("2001:db8::1")), source(address("2001:db8:0:1::1")));
        assert_eq!(source(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
