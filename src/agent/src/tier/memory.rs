//! What is remembered of each bearer over restarts, so that a link begins where it was and no timer from nothing.
//!
//! Kept in a journal's slot:
//!
//! ```text
//! offset  field    type      meaning
//! 0       version  u8        1
//! 1       entries  postcard  up to 8 of Remembered, the last used first
//! ```

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{Bearer, Technology, Tier, Window};
use crate::bearer::choice::{BEARER_COUNT_MAX, NAME_BYTES_MAX, Name};

const VERSION: u8 = 1;

/// Bytes of a memory: name, tier, technology, two varints of 32 bits and one of 16 for each bearer.
pub const MEMORY_BYTES_MAX: usize = 2 + BEARER_COUNT_MAX * (1 + NAME_BYTES_MAX + 1 + 2 + 5 + 5 + 3);

/// Weight of a new window in the averages: an eighth, as in TCP's smoothed round trip (RFC 6298).
const WEIGHT: u32 = 8;

/// One bearer, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its name.
    pub name: Name,
    /// Its tier; never offline.
    pub tier: Tier,
    /// What the modem spoke.
    pub technology: Option<Technology>,
    /// Average of what was acked while there was enough to send; zero when there never was.
    pub goodput_bps: u32,
    /// The smallest round trip, which rises slowly: what a first timer is made of.
    pub round_trip_min_ms: u32,
    /// Average of the loss.
    pub loss_per_mille: u16,
}

/// What is remembered of the bearers that were used last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    entries: Vec<Remembered, BEARER_COUNT_MAX>,
}

impl Memory {
    /// Reads what [`Memory::encode`] wrote. Anything else is no memory: it is only a hint.
    pub fn decode(bytes: &[u8]) -> Option<Memory> {
        let (&VERSION, packed) = bytes.split_first()? else { return None };
        let (entries, rest) = postcard::take_from_bytes::<Vec<Remembered, BEARER_COUNT_MAX>>(packed).ok()?;
        let is_whole = |(place, entry): (usize, &Remembered)| {
            let is_first = entries[..place].iter().all(|other| other.name != entry.name);
            is_first && !entry.name.is_empty() && entry.tier != Tier::Offline && entry.loss_per_mille <= 1000
        };
        (rest.is_empty() && entries.iter().enumerate().all(is_whole)).then_some(Memory { entries })
    }

    /// The memory in at most [`MEMORY_BYTES_MAX`] bytes.
    pub fn encode(&self) -> std::vec::Vec<u8> {
        let bytes = postcard::to_extend(&self.entries, vec![VERSION]).expect("a vector takes every byte");
        assert!(bytes.len() <= MEMORY_BYTES_MAX);
        bytes
    }

    /// What is remembered of one bearer.
    pub fn of(&self, name: &str) -> Option<&Remembered> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Takes a window of the bearer in use. The one that was used longest ago makes room.
    pub(super) fn learn(&mut self, bearer: &Bearer, tier: Tier, window: Window) {
        let found = self.entries.iter().position(|entry| entry.name == bearer.name);
        let before = match found {
            Some(place) => Some(self.entries.remove(place)),
            None if self.entries.is_full() => {
                self.entries.pop();
                None
            }
            None => None,
        };
        let mut entry = before.filter(|it| it.technology == bearer.technology).unwrap_or(Remembered {
            name: bearer.name.clone(),
            tier,
            technology: bearer.technology,
            goodput_bps: 0,
            round_trip_min_ms: window.round_trip_min_ms,
            loss_per_mille: 0,
        });
        entry.tier = tier;
        if entry.goodput_bps == 0 && !window.is_app_limited {
            entry.goodput_bps = window.goodput_bps;
        } else if !window.is_app_limited || window.goodput_bps > entry.goodput_bps {
            entry.goodput_bps = average(entry.goodput_bps, window.goodput_bps);
        }
        let risen = average(entry.round_trip_min_ms, window.round_trip_min_ms);
        entry.round_trip_min_ms = risen.min(window.round_trip_min_ms);
        entry.loss_per_mille =
            average(u32::from(entry.loss_per_mille), u32::from(window.loss_per_mille.min(1000))) as u16;
        self.entries.insert(0, entry).expect("room was made");
    }
}

/// `before`, moved by an eighth of the way to `new`, and by one at least.
fn average(before: u32, new: u32) -> u32 {
    let step = before.abs_diff(new).div_ceil(WEIGHT);
    if new >= before { before + step } else { before - step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::choice::{Kind, name};
    use crate::dice::Dice;

    fn learn(memory: &mut Memory, bearer: &str, goodput_bps: u32) {
        let bearer = Bearer {
            name: name(bearer).unwrap(),
            kind: Kind::Cellular,
            is_metered: true,
            technology: Some(Technology::Third),
        };
        let window =
            Window { goodput_bps, is_app_limited: false, round_trip_min_ms: u32::MAX, loss_per_mille: u16::MAX };
        memory.learn(&bearer, Tier::Satellite, window);
    }

    #[test]
    fn it_survives_a_restart_within_its_bytes() {
        let mut memory = Memory::default();
        for number in 0..40 {
            learn(&mut memory, &format!("interface-{:05}", number % 20), u32::MAX);
            let bytes = memory.encode();
            assert!(bytes.len() <= MEMORY_BYTES_MAX);
            assert_eq!(Memory::decode(&bytes), Some(memory.clone()));
        }
        assert_eq!(memory.entries.len(), BEARER_COUNT_MAX);
        assert!(memory.of("interface-00019").is_some() && memory.of("interface-00011").is_none());
    }

    #[test]
    fn any_bytes_are_refused_or_a_memory() {
        let mut memory = Memory::default();
        ["eth0", "wwan0", "sat0"].iter().for_each(|bearer| learn(&mut memory, bearer, 70_000));
        let good = memory.encode();
        let mut dice = Dice(1);
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = if dice.one_in(2) { dice.bytes(64) } else { good.clone() };
            if let Some(place) = (!bytes.is_empty()).then(|| dice.below(bytes.len() as u64) as usize) {
                bytes[place] = dice.bits() as u8;
                bytes.truncate(bytes.len() - usize::from(dice.one_in(4)));
            }
            if let Some(memory) = Memory::decode(&bytes) {
                assert_eq!(Memory::decode(&memory.encode()), Some(memory));
                accepted += 1;
            }
        }
        assert!(accepted > 100, "{accepted}");
        assert_eq!(Memory::decode(&[good, vec![0]].concat()), None);
    }

    #[test]
    fn averages_arrive() {
        let arrive = |from, to| (0..300).fold(from, |value, _| average(value, to));
        assert_eq!([arrive(0, 1000), arrive(1000, 0), arrive(0, u32::MAX), arrive(5, 5)], [1000, 0, u32::MAX, 5]);
    }
}
