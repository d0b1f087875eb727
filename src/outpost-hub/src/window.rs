//! How much of one peer's words may wait for the disk.
//!
//! What a peer sends counts against its window until the commit that may hold it is done. A gateway keeps to a window
//! of its own, which is smaller; one that does not, by a defect or on purpose, waits here, and the others do not wait
//! for it.
//!
//! ```text
//! arrived ----------> commit begins ----------> commit ends: room again
//!     \---> nothing waits for a commit: room again at once
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::session::PeerId;
use tokio::sync::Semaphore;
use wire::limits::{IN_FLIGHT_BYTES_MAX, MESSAGE_BYTES_MAX};

use crate::peer::CHUNK_BYTES_MAX;

/// Bytes of one peer that wait for a commit: what a gateway sends without an ack, and a longest message for the heads of
/// frames and for pings.
pub const WINDOW_BYTES: usize = IN_FLIGHT_BYTES_MAX + MESSAGE_BYTES_MAX;

const _: () = assert!(CHUNK_BYTES_MAX <= WINDOW_BYTES);

/// The room that one peer has left.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// What of each peer waits.
#[derive(Debug, Default)]
pub struct Windows {
    rooms: BTreeMap<PeerId, Room>,
    arrived: BTreeMap<PeerId, usize>,
    committing: BTreeMap<PeerId, usize>,
}

impl Room {
    /// All the room of a peer that has said nothing yet.
    #[expect(clippy::new_without_default, reason = "a room is as large as it is on purpose")]
    pub fn new() -> Room {
        Room(Arc::new(Semaphore::new(WINDOW_BYTES)))
    }

    /// Waits until there is room for `bytes`, at most [`CHUNK_BYTES_MAX`], and takes it.
    pub async fn take(&self, bytes: usize) {
        let count = u32::try_from(bytes).expect("chunks are bounded");
        self.0.acquire_many(count).await.expect("the semaphore is never closed").forget();
    }
}

impl Room {
    /// Takes room for `bytes`, if there is any: who sends datagrams does not wait, what finds no room is lost.
    pub fn try_take(&self, bytes: usize) -> bool {
        let count = u32::try_from(bytes).expect("datagrams are bounded");
        self.0.try_acquire_many(count).map(|permits| permits.forget()).is_ok()
    }
}

impl Windows {
    /// A peer came.
    pub fn add(&mut self, peer: PeerId, room: Room) {
        self.rooms.insert(peer, room);
    }

    /// A peer went.
    pub fn remove(&mut self, peer: PeerId) {
        self.rooms.remove(&peer);
    }

    /// Bytes of a peer, for which it took room, reach the core.
    pub fn arrived(&mut self, peer: PeerId, bytes: usize) {
        *self.arrived.entry(peer).or_default() += bytes;
    }

    /// All that arrived goes with the commit that begins.
    pub fn commit_began(&mut self) {
        assert!(self.committing.is_empty(), "there is one commit at a time");
        self.committing = std::mem::take(&mut self.arrived);
    }

    /// The commit is done, well or not.
    pub fn commit_ended(&mut self) {
        let settled = std::mem::take(&mut self.committing);
        self.give_back(settled);
    }

    /// No commit is on its way, so nothing that arrived waits for one.
    pub fn nothing_waits(&mut self) {
        let settled = std::mem::take(&mut self.arrived);
        self.give_back(settled);
    }

    fn give_back(&self, settled: BTreeMap<PeerId, usize>) {
        for (peer, bytes) in settled {
            if let Some(room) = self.rooms.get(&peer) {
                room.0.add_permits(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(count: u64) -> (Windows, Vec<Room>) {
        let mut windows = Windows::default();
        let rooms: Vec<Room> = (0..count).map(|_| Room::new()).collect();
        rooms.iter().zip(0..).for_each(|(room, number)| windows.add(PeerId(number), room.clone()));
        (windows, rooms)
    }

    /// Takes as much as there is.
    fn fill(windows: &mut Windows, room: &Room, peer: PeerId) -> usize {
        let bytes = room.0.available_permits();
        room.0.try_acquire_many(bytes as u32).unwrap().forget();
        windows.arrived(peer, bytes);
        bytes
    }

    #[test]
    fn what_arrives_during_a_commit_waits_for_the_next() {
        let (mut windows, rooms) = windows(1);
        let take = |windows: &mut Windows, bytes: u32| {
            rooms[0].0.try_acquire_many(bytes).unwrap().forget();
            windows.arrived(PeerId(0), bytes as usize);
        };
        take(&mut windows, 100);
        windows.commit_began();
        take(&mut windows, 30);
        windows.commit_ended();
        assert_eq!(rooms[0].0.available_permits(), WINDOW_BYTES - 30);
        windows.commit_began();
        windows.commit_ended();
        assert_eq!(rooms[0].0.available_permits(), WINDOW_BYTES);
    }

    #[test]
    fn words_that_need_no_commit_hold_no_room() {
        let (mut windows, rooms) = windows(1);
        fill(&mut windows, &rooms[0], PeerId(0));
        windows.nothing_waits();
        assert_eq!(rooms[0].0.available_permits(), WINDOW_BYTES);
    }

    #[test]
    fn a_peer_that_sends_too_much_waits_alone() {
        let (mut windows, rooms) = windows(2);
        assert_eq!(fill(&mut windows, &rooms[0], PeerId(0)), WINDOW_BYTES);
        assert!(rooms[0].0.try_acquire().is_err());
        assert!(rooms[1].0.try_acquire().is_ok());
        windows.remove(PeerId(0));
        windows.nothing_waits();
        assert_eq!(rooms[0].0.available_permits(), 0);
    }
}
