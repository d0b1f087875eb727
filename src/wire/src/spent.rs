//! What bytes on a link were for.

use serde::{Deserialize, Serialize};

/// What bytes are for. The order is that of the numbers in [`Spent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Events, alerts, answers, with the packets that they need.
    Urgent = 0,
    /// Windows.
    Summary = 1,
    /// Ticks.
    Raw = 2,
    /// What could not be sent while it was new.
    Backlog = 3,
    /// Handshakes, acks, heartbeats, and what was sent again.
    Overhead = 4,
}

/// How many uses there are.
pub const USE_COUNT: usize = 5;

/// Bytes by what they are for.
pub type ByUse = [u64; USE_COUNT];

impl Use {
    /// Every use.
    pub const ALL: [Use; USE_COUNT] = [Use::Urgent, Use::Summary, Use::Raw, Use::Backlog, Use::Overhead];

    /// Its word in labels and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Use::Urgent => "urgent",
            Use::Summary => "summary",
            Use::Raw => "raw",
            Use::Backlog => "backlog",
            Use::Overhead => "overhead",
        }
    }
}

/// Bytes, as whole IP packets in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// By what they were for.
    pub by_use: ByUse,
    /// Of the machine's other programs.
    pub other: u64,
}

impl Spent {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_use.iter().fold(self.other, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Each with its word, those of other programs last.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = Use::ALL.into_iter().map(|purpose| (purpose.name(), self.by_use[purpose as usize]));
        own.chain([("other", self.other)])
    }
}
