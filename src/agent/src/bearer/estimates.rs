//! What was learned of each bearer's link, so that the first dial after a restart begins where the last link was.
//!
//! Kept in a journal's slot:
//!
//! ```text
//! offset  field    type      meaning
//! 0       version  u8        1
//! 1       entries  postcard  up to 8 of Entry, the last used first
//! ```

use heapless::Vec;
use link::estimator::Estimate;
use serde::{Deserialize, Serialize};
use wire::time::Span;

use super::choice::{BEARER_COUNT_MAX, Name};

const VERSION: u8 = 1;

/// What is known of the links of the bearers that were used last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimates {
    entries: Vec<Entry, BEARER_COUNT_MAX>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: Name,
    rate: u32,
    round_trip_ms: u32,
    loss_1024: u16,
}

impl Estimates {
    /// Reads what [`Estimates::encode`] wrote. Anything else is as if nothing were known: it is only a hint.
    pub fn decode(bytes: &[u8]) -> Option<Estimates> {
        let (&VERSION, packed) = bytes.split_first()? else { return None };
        let (entries, rest) = postcard::take_from_bytes::<Vec<Entry, BEARER_COUNT_MAX>>(packed).ok()?;
        let is_whole = |(place, entry): (usize, &Entry)| {
            entry.loss_1024 <= 1024 && entries[..place].iter().all(|other| other.name != entry.name)
        };
        (rest.is_empty() && entries.iter().enumerate().all(is_whole)).then_some(Estimates { entries })
    }

    /// All of it, in some 25 bytes for each bearer.
    pub fn encode(&self) -> std::vec::Vec<u8> {
        postcard::to_extend(&self.entries, vec![VERSION]).expect("a vector takes every byte")
    }

    /// What is known of one bearer's link; nothing is zeros.
    pub fn of(&self, name: &str) -> Estimate {
        let found = self.entries.iter().find(|entry| entry.name == name);
        found.map_or(Estimate::default(), |entry| Estimate {
            rate: entry.rate,
            round_trip: Span(entry.round_trip_ms.into()),
            loss: entry.loss_1024,
        })
    }

    /// Takes what is known now. The one that was used longest ago makes room.
    pub fn learn(&mut self, name: &Name, estimate: Estimate) {
        self.entries.retain(|entry| entry.name != *name);
        if self.entries.is_full() {
            self.entries.pop();
        }
        let entry = Entry {
            name: name.clone(),
            rate: estimate.rate,
            round_trip_ms: estimate.round_trip.0.try_into().unwrap_or(u32::MAX),
            loss_1024: estimate.loss.min(1024),
        };
        self.entries.insert(0, entry).expect("room was made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::choice::name;
    use crate::dice::Dice;

    const EDGE: Estimate = Estimate { rate: 9000, round_trip: Span(412), loss: 17 };

    fn known(count: u32) -> Estimates {
        let mut estimates = Estimates::default();
        (0..count).for_each(|number| estimates.learn(&name(&format!("wwan{number}")).unwrap(), EDGE));
        estimates
    }

    #[test]
    fn they_come_back_and_the_last_used_stay() {
        let estimates = known(20);
        let read = Estimates::decode(&estimates.encode()).unwrap();
        assert_eq!(read, estimates);
        assert_eq!(
            [read.of("wwan19"), read.of("wwan11"), read.of("eth0")],
            [EDGE, Estimate::default(), Default::default()]
        );
        assert!(known(1).encode().len() <= 16, "{}", known(1).encode().len());
    }

    #[test]
    fn any_bytes_are_refused_or_estimates() {
        let (good, mut dice) = (known(3).encode(), Dice(1));
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = if dice.one_in(2) { dice.bytes(64) } else { good.clone() };
            if let Some(place) = (!bytes.is_empty()).then(|| dice.below(bytes.len() as u64) as usize) {
                bytes[place] = dice.bits() as u8;
            }
            if let Some(estimates) = Estimates::decode(&bytes) {
                assert_eq!(Estimates::decode(&estimates.encode()), Some(estimates));
                accepted += 1;
            }
        }
        assert!(accepted > 100, "{accepted}");
    }
}
