//! Which versions of the messages an end speaks, and how two ends agree on one.
//!
//! ```text
//! gateway   Hello    versions 2 to 4   ->   hub, which speaks 1 to 3
//!                                      <-   Welcome  version 3, the highest that both speak
//!                                           or Close Version, with what the hub speaks
//! ```
//!
//! What is said before they agree is the same in every version: the heads of frames, the numbers of [kinds](crate::message::Kind), the
//! body of a `Close`, and that `Hello` and `Enroll` begin with [`Versions`]. A hello only grows at its end, so an older hub reads it;
//! what goes with it is in the words of the lowest version that it offers.
//!
//! Both ends carry what was agreed, for a version that has to be written or read otherwise than the next. The bytes of a version are
//! pinned in `tests/golden` and are never edited: a change of them is a new version.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The version that this build speaks best.
pub const VERSION: u16 = 1;

/// The first version that is pinned.
const FIRST: u16 = 1;

/// How many versions a hub speaks: gateways are upgraded long after it.
const HUB_COUNT: u16 = 3;

/// A range of versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
}

impl Versions {
    /// What an agent speaks. The hub is upgraded before it and knows what came before, so one is enough.
    pub const AGENT: Versions = Versions { lowest: VERSION, highest: VERSION };

    /// What a hub speaks.
    pub const HUB: Versions = Versions {
        lowest: if VERSION < FIRST + HUB_COUNT { FIRST } else { VERSION + 1 - HUB_COUNT },
        highest: VERSION,
    };

    /// The highest version of both.
    pub fn agreed(self, other: Versions) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    /// Whether a version is one of these.
    pub fn contains(self, version: u16) -> bool {
        (self.lowest..=self.highest).contains(&version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Versions { lowest, highest } if lowest == highest => write!(f, "{lowest}"),
            Versions { lowest, highest } => write!(f, "{lowest} to {highest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_that_both_speak_is_agreed_on() {
        let hub = Versions { lowest: 2, highest: 4 };
        let agreed = |lowest, highest| hub.agreed(Versions { lowest, highest });
        assert_eq!([agreed(1, 2), agreed(1, 3), agreed(3, 9), agreed(4, 4)], [Some(2), Some(3), Some(4), Some(4)]);
        assert_eq!([agreed(0, 1), agreed(5, 9), agreed(u16::MAX, 0), agreed(4, 3)], [None; 4]);
    }
}
