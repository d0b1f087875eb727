//! The tier of each bearer over restarts, so that what is sampled and sent begins where it was. What the link itself measured is
//! among the [estimates](crate::bearer::estimates).
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

use super::{Bearer, Technology, Tier};
use crate::bearer::choice::{BEARER_COUNT_MAX, NAME_BYTES_MAX, Name};

const VERSION: u8 = 1;

/// Bytes of a memory: name, tier and technology of each bearer.
pub const MEMORY_BYTES_MAX: usize = 2 + BEARER_COUNT_MAX * (1 + NAME_BYTES_MAX + 1 + 2);

/// One bearer, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its name.
    pub name: Name,
    /// Its tier; never offline.
    pub tier: Tier,
    /// What the modem spoke.
    pub technology: Option<Technology>,
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
            is_first && !entry.name.is_empty() && entry.tier != Tier::Offline
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

    /// Takes the tier of the bearer in use. The one that was used longest ago makes room.
    pub(super) fn learn(&mut self, bearer: &Bearer, tier: Tier) {
        self.entries.retain(|entry| entry.name != bearer.name);
        if self.entries.is_full() {
            self.entries.pop();
        }
        let entry = Remembered { name: bearer.name.clone(), tier, technology: bearer.technology };
        self.entries.insert(0, entry).expect("room was made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::choice::{Kind, name};
    use crate::dice::Dice;

    fn learn(memory: &mut Memory, bearer: &str) {
        let bearer = Bearer {
            name: name(bearer).unwrap(),
            kind: Kind::Cellular,
            is_metered: true,
            technology: Some(Technology::Third),
        };
        memory.learn(&bearer, Tier::Satellite);
    }

    #[test]
    fn it_survives_a_restart_within_its_bytes() {
        let mut memory = Memory::default();
        for number in 0..40 {
            learn(&mut memory, &format!("interface-{:05}", number % 20));
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
        ["eth0", "wwan0", "sat0"].iter().for_each(|bearer| learn(&mut memory, bearer));
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
}
