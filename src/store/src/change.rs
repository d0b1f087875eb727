//! What a commit takes, and what it may refuse.

use std::fmt;

use wire::id::{DeviceId, JournalId};
use wire::ranges::{RangesFull, SeqRange};
use wire::record::RecordError;
use wire::stream::Stream;
use wire::time::UnixTime;

/// One change to what the hub knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Removes a key of the hub's state; one that is absent stays so.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Erases everything that a device ever sent, and what is known of its journals. Its keys in the state stay.
    Forget {
        /// Which device.
        device: DeviceId,
    },
    /// Batches that will never come: what [`wire::event::Event::missing`] said. A record that is held stays.
    Lost {
        /// Whose.
        device: DeviceId,
        /// In which life of its journal.
        journal: JournalId,
        /// Of which stream.
        stream: Stream,
        /// Which numbers.
        range: SeqRange,
        /// Whether what they say is held in others, and so not lost at all.
        is_elsewhere: bool,
    },
    /// Sets a key of the hub's state.
    Put {
        /// The key, at most [`crate::KEY_BYTES_MAX`].
        key: Vec<u8>,
        /// The value, at most [`crate::VALUE_BYTES_MAX`].
        value: Vec<u8>,
    },
    /// One sealed record. Storing it again changes nothing.
    Record {
        /// Who sent it.
        device: DeviceId,
        /// Whose numbers it carries.
        journal: JournalId,
        /// The record as it was sealed; its checksum is verified again.
        record: Vec<u8>,
        /// The hub's clock when it arrived.
        received: UnixTime,
    },
}

/// A change that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the slice that was handed to the commit.
    pub index: usize,
    /// Why.
    pub reason: RefusedReason,
}

/// Why a change was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// Another record is held under this number; it stays. Two machines speak for one device (a cloned card), or the
    /// device used a number twice. The number is part of the progress, so it is acked and not sent again.
    Conflict,
    /// The numbers held have no room for one more range: see [`wire::limits::RANGES_COUNT_MAX`]. Neither a record nor a
    /// loss is acked then; they are sent again, when older holes are closed.
    RangesFull,
    /// The bytes are no record that this version reads. Its number is not known, so nothing is acked.
    Record(RecordError),
}

impl From<RangesFull> for RefusedReason {
    fn from(_: RangesFull) -> Self {
        RefusedReason::RangesFull
    }
}

impl From<RecordError> for RefusedReason {
    fn from(error: RecordError) -> Self {
        RefusedReason::Record(error)
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedReason::Conflict => f.write_str("another record is held under this number: is a card cloned?"),
            RefusedReason::RangesFull => {
                f.write_str("too many holes in the numbers held: older batches must come first")
            }
            RefusedReason::Record(error) => error.fmt(f),
        }
    }
}
