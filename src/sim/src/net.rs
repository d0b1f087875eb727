//! Connections that delay, trickle, split, break and hang.
//!
//! A connection carries bytes both ways in order. It can be *cut*, and both ends hear of it, or *hang*: what is said from
//! then on is swallowed and nobody hears anything, as behind a NAT that has forgotten the flow.

use std::collections::BTreeMap;

use hub::session::PeerId;

use crate::rng::Rng;

/// What the link is like for as long as nothing happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// One way, in ms.
    pub delay_ms: u64,
    /// Bytes a second, each way.
    pub bytes_per_second: u64,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The gateway's.
    Gateway,
    /// The hub's.
    Hub,
}

/// One connection.
#[derive(Clone, Debug)]
struct Connection {
    gateway: usize,
    quality: Quality,
    is_hanging: bool,
    /// When each direction has carried what it was given; towards the hub first.
    free_at_ms: [u64; 2],
    /// Whether each end still knows of it.
    is_open: [bool; 2],
}

/// All connections.
#[derive(Debug, Default)]
pub struct Net {
    connections: BTreeMap<PeerId, Connection>,
    count: u64,
}

impl Net {
    /// A new connection of a gateway.
    pub fn connect(&mut self, gateway: usize, quality: Quality) -> PeerId {
        self.count += 1;
        let peer = PeerId(self.count);
        let connection = Connection { gateway, quality, is_hanging: false, free_at_ms: [0, 0], is_open: [true, true] };
        self.connections.insert(peer, connection);
        peer
    }

    /// Whether an end still has the connection.
    pub fn is_open(&self, peer: PeerId, end: End) -> bool {
        self.connections.get(&peer).is_some_and(|connection| connection.is_open[end as usize])
    }

    /// The gateway at the other end.
    pub fn gateway(&self, peer: PeerId) -> Option<usize> {
        self.connections.get(&peer).map(|connection| connection.gateway)
    }

    /// When, and in which pieces, what an end says arrives at the other; nothing when it is swallowed.
    pub fn say(&mut self, peer: PeerId, from: End, bytes: &[u8], now_ms: u64, rng: &mut Rng) -> Vec<(u64, Vec<u8>)> {
        let Some(connection) = self.connections.get_mut(&peer) else { return Vec::new() };
        if connection.is_hanging || !connection.is_open[from as usize] {
            return Vec::new();
        }
        let free_at_ms = &mut connection.free_at_ms[from as usize];
        *free_at_ms = (*free_at_ms).max(now_ms) + bytes.len() as u64 * 1000 / connection.quality.bytes_per_second;
        let arrives_ms = *free_at_ms + connection.quality.delay_ms;
        if bytes.len() > 1 && rng.one_in(8) {
            let (front, back) = bytes.split_at(rng.between(1, bytes.len() as u64 - 1) as usize);
            // What is said next must not arrive between the pieces.
            *free_at_ms += 1;
            return vec![(arrives_ms, front.to_vec()), (arrives_ms + 1, back.to_vec())];
        }
        vec![(arrives_ms, bytes.to_vec())]
    }

    /// When the other end hears that this one has closed; `None` when it never does.
    pub fn close(&mut self, peer: PeerId, from: End, now_ms: u64) -> Option<u64> {
        let connection = self.connections.get_mut(&peer)?;
        connection.is_open[from as usize] = false;
        let heard = (!connection.is_hanging && connection.is_open[1 - from as usize])
            .then(|| connection.free_at_ms[from as usize].max(now_ms) + connection.quality.delay_ms + 2);
        if connection.is_open == [false, false] {
            self.connections.remove(&peer);
        }
        heard
    }

    /// An end has heard that the other has closed.
    pub fn closed(&mut self, peer: PeerId, end: End) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.is_open[end as usize] = false;
            if connection.is_open == [false, false] {
                self.connections.remove(&peer);
            }
        }
    }

    /// Swallows everything from now on.
    pub fn hang(&mut self, peer: PeerId) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.is_hanging = true;
        }
    }

    /// The connections that an end of a gateway, or of the hub, still has.
    pub fn open_at(&self, end: End, gateway: Option<usize>) -> Vec<PeerId> {
        self.connections
            .iter()
            .filter(|(_, connection)| {
                connection.is_open[end as usize] && gateway.is_none_or(|gateway| connection.gateway == gateway)
            })
            .map(|(peer, _)| *peer)
            .collect()
    }
}
