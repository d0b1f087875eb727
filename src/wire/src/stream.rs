//! Lanes and streams: what goes first, and what is numbered together.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Who goes first on the link. The order is that of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Events, alert transitions, verdict changes, and the dictionary without which nothing is read.
    Urgent = 0,
    /// Windows.
    Summary = 1,
    /// Ticks as they were sampled. Gives way first.
    Raw = 2,
}

/// How many lanes there are.
pub const LANE_COUNT: usize = 3;

/// A sequence of batches with numbers of its own. The numbers are those on the wire and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Stream {
    /// What happened: [`crate::event::Event`].
    Event = 0,
    /// Which series the slots of a tick are: [`crate::series::Series`].
    Dictionary = 1,
    /// Samples at the sampling interval.
    Raw = 2,
}

/// How many streams there are.
pub const STREAM_COUNT: usize = 3;

/// A stream's number is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStream(pub u8);

impl Stream {
    /// Every stream, most urgent first.
    pub const ALL: [Stream; STREAM_COUNT] = [Stream::Event, Stream::Dictionary, Stream::Raw];

    /// The lane that the stream's batches travel in.
    pub const fn lane(self) -> Lane {
        match self {
            Stream::Event | Stream::Dictionary => Lane::Urgent,
            Stream::Raw => Lane::Raw,
        }
    }

    /// The stream's place in tables of [`STREAM_COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stream's word in file names and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Event => "event",
            Stream::Dictionary => "dictionary",
            Stream::Raw => "raw",
        }
    }
}

impl From<Stream> for u8 {
    fn from(stream: Stream) -> u8 {
        stream as u8
    }
}

impl TryFrom<u8> for Stream {
    type Error = UnknownStream;

    fn try_from(number: u8) -> Result<Stream, UnknownStream> {
        Stream::ALL.into_iter().find(|stream| *stream as u8 == number).ok_or(UnknownStream(number))
    }
}

impl fmt::Display for UnknownStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} is not known to this version", self.0)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
