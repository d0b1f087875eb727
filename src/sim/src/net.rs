//! Connections that delay, trickle, split, break and hang; datagrams that are lost, late and doubled.
//!
//! A connection carries bytes both ways in order. It can be *cut*, and both ends hear of it, or *hang*: what is said from
//! then on is swallowed and nobody hears anything, as behind a NAT that has forgotten the flow.
//!
//! Datagrams stand for those of a session whose handshake is the first of each way: until the gateway has the hub's first, all that
//! it says is its own first again, and the hub answers that with its first again. Nobody hears of the other's end.

use std::collections::BTreeMap;

use hub::session::PeerId;
use link::channel::Carrier;
use link::receipt::Number;

use crate::rng::Rng;

/// What the link is like for as long as nothing happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// One way, in ms.
    pub delay_ms: u64,
    /// Bytes a second, each way.
    pub bytes_per_second: u64,
    /// Of 1000 datagrams, how many are lost.
    pub loss_1000: u64,
    /// What carries packets.
    pub carrier: Carrier,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The gateway's.
    Gateway,
    /// The hub's.
    Hub,
}

impl End {
    /// The other one.
    pub fn other(self) -> End {
        match self {
            End::Gateway => End::Hub,
            End::Hub => End::Gateway,
        }
    }
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
    /// Datagrams that each end has said, and the first of them.
    said: [(Number, Vec<u8>); 2],
    /// Whether each end has the other's first.
    has_first: [bool; 2],
}

/// Something on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives.
    pub at_ms: u64,
    /// The number of a datagram.
    pub number: Option<Number>,
    /// What.
    pub bytes: Vec<u8>,
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
        let connection = Connection {
            gateway,
            quality,
            is_hanging: false,
            free_at_ms: [0, 0],
            is_open: [true, true],
            said: Default::default(),
            has_first: [false; 2],
        };
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
    pub fn say(&mut self, peer: PeerId, from: End, bytes: &[u8], now_ms: u64, rng: &mut Rng) -> Vec<Arrival> {
        let Some(connection) = self.connections.get_mut(&peer) else { return Vec::new() };
        if !connection.is_open[from as usize] {
            return Vec::new();
        }
        if connection.quality.carrier == Carrier::Datagram {
            return connection.say_datagram(from, bytes, now_ms, rng);
        }
        if connection.is_hanging {
            return Vec::new();
        }
        let free_at_ms = &mut connection.free_at_ms[from as usize];
        *free_at_ms = (*free_at_ms).max(now_ms) + bytes.len() as u64 * 1000 / connection.quality.bytes_per_second;
        let at_ms = *free_at_ms + connection.quality.delay_ms;
        let arrival = |at_ms, bytes: &[u8]| Arrival { at_ms, number: None, bytes: bytes.to_vec() };
        if bytes.len() > 1 && rng.one_in(8) {
            let (front, back) = bytes.split_at(rng.between(1, bytes.len() as u64 - 1) as usize);
            // What is said next must not arrive between the pieces.
            *free_at_ms += 1;
            return vec![arrival(at_ms, front), arrival(at_ms + 1, back)];
        }
        vec![arrival(at_ms, bytes)]
    }

    /// A datagram arrives. Whether it is news to the end, and what the session answers by itself.
    pub fn arrive(
        &mut self,
        peer: PeerId,
        at: End,
        number: Number,
        now_ms: u64,
        rng: &mut Rng,
    ) -> (bool, Vec<Arrival>) {
        let Some(connection) = self.connections.get_mut(&peer) else { return (false, Vec::new()) };
        let had_first = connection.has_first[at as usize];
        if number > 0 {
            // What cannot be opened yet is dropped.
            return (had_first, Vec::new());
        }
        connection.has_first[at as usize] = true;
        let (said_count, first) = connection.said[at as usize].clone();
        let again = if had_first && at == End::Hub && said_count > 0 {
            connection.carry(at, 0, &first, now_ms, rng)
        } else {
            Vec::new()
        };
        (!had_first, again)
    }

    /// When the other end hears that this one has closed; `None` when it never does.
    pub fn close(&mut self, peer: PeerId, from: End, now_ms: u64) -> Option<u64> {
        let connection = self.connections.get_mut(&peer)?;
        connection.is_open[from as usize] = false;
        let is_told = connection.quality.carrier == Carrier::Stream && !connection.is_hanging;
        let heard = (is_told && connection.is_open[1 - from as usize])
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

    /// Carries again what is said from now on. A connection has given up meanwhile; a session knows of nothing.
    pub fn resume(&mut self, peer: PeerId) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.is_hanging &= connection.quality.carrier == Carrier::Stream;
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

impl Connection {
    fn say_datagram(&mut self, from: End, bytes: &[u8], now_ms: u64, rng: &mut Rng) -> Vec<Arrival> {
        let (number, first) = &mut self.said[from as usize];
        if *number == 0 {
            *first = bytes.to_vec();
        }
        if from == End::Gateway && !self.has_first[End::Gateway as usize] {
            let first = first.clone();
            *number = 1;
            return self.carry(from, 0, &first, now_ms, rng);
        }
        let said = *number;
        *number += 1;
        self.carry(from, said, bytes, now_ms, rng)
    }

    fn carry(&mut self, from: End, number: Number, bytes: &[u8], now_ms: u64, rng: &mut Rng) -> Vec<Arrival> {
        let Quality { delay_ms, bytes_per_second, loss_1000, carrier } = self.quality;
        let free_at_ms = &mut self.free_at_ms[from as usize];
        let byte_count = (bytes.len() + carrier.around_bytes()) as u64;
        *free_at_ms = (*free_at_ms).max(now_ms) + byte_count * 1000 / bytes_per_second;
        let mut arrivals = Vec::new();
        if self.is_hanging || rng.between(0, 999) < loss_1000 {
            return arrivals;
        }
        let late_ms = if rng.one_in(16) { rng.between(0, 2 * delay_ms) } else { 0 };
        let arrival = Arrival { at_ms: *free_at_ms + delay_ms + late_ms, number: Some(number), bytes: bytes.to_vec() };
        if rng.one_in(64) {
            arrivals.push(Arrival { at_ms: arrival.at_ms + rng.between(1, 3 * delay_ms + 1), ..arrival.clone() });
        }
        arrivals.push(arrival);
        arrivals
    }
}
