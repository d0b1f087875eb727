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

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Lane; LANE_COUNT] = [Lane::Urgent, Lane::Summary, Lane::Raw];

    /// The lane's place in tables of [`LANE_COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lane's word in settings and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Urgent => "urgent",
            Lane::Summary => "summary",
            Lane::Raw => "raw",
        }
    }
}

/// Streams that stand together in a journal: they share its volumes and are kept equally long. The order is that of what a batch is
/// worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// What happened.
    Event = 0,
    /// Which series there are.
    Dictionary = 1,
    /// Windows of a day.
    Day = 2,
    /// Windows of an hour.
    Hour = 3,
    /// Windows of five minutes.
    FiveMinutes = 4,
    /// Windows of a minute.
    Minute = 5,
    /// Samples at the sampling interval.
    Raw = 6,
}

/// How many shelves there are.
pub const SHELF_COUNT: usize = 7;

/// How many streams a shelf has at the most.
pub const SHELF_STREAM_COUNT: usize = 1;

impl Shelf {
    /// Every shelf, most urgent first.
    pub const ALL: [Shelf; SHELF_COUNT] =
        [Shelf::Event, Shelf::Dictionary, Shelf::Day, Shelf::Hour, Shelf::FiveMinutes, Shelf::Minute, Shelf::Raw];

    /// The lane that the shelf's batches travel in.
    pub const fn lane(self) -> Lane {
        match self {
            Shelf::Event | Shelf::Dictionary => Lane::Urgent,
            Shelf::Day | Shelf::Hour | Shelf::FiveMinutes | Shelf::Minute => Lane::Summary,
            Shelf::Raw => Lane::Raw,
        }
    }

    /// Its streams, most urgent first: [`SHELF_STREAM_COUNT`] at the most.
    pub fn streams(self) -> impl Iterator<Item = Stream> + Clone {
        Stream::ALL.into_iter().filter(move |stream| stream.shelf() == self)
    }

    /// The shelf's place in tables of [`SHELF_COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The shelf's word in settings and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Shelf::Event => "event",
            Shelf::Dictionary => "dictionary",
            Shelf::Day => "day",
            Shelf::Hour => "hour",
            Shelf::FiveMinutes => "five_minutes",
            Shelf::Minute => "minute",
            Shelf::Raw => "raw",
        }
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A sequence of batches with numbers of its own. The numbers are those on the wire and on the disk, and the order is that of
/// what a batch is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Stream {
    /// What happened: [`crate::event::Event`].
    Event = 0,
    /// Which series the slots of a tick are: [`crate::series::Series`].
    Dictionary = 1,
    /// [Windows](crate::window) of a day.
    Day = 2,
    /// Windows of an hour.
    Hour = 3,
    /// Windows of five minutes.
    FiveMinutes = 4,
    /// Windows of a minute.
    Minute = 5,
    /// Samples at the sampling interval.
    Raw = 6,
}

/// How many streams there are.
pub const STREAM_COUNT: usize = 7;

/// A stream's number is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStream(pub u8);

impl Stream {
    /// Every stream, most urgent first.
    pub const ALL: [Stream; STREAM_COUNT] = [
        Stream::Event,
        Stream::Dictionary,
        Stream::Day,
        Stream::Hour,
        Stream::FiveMinutes,
        Stream::Minute,
        Stream::Raw,
    ];

    /// Where the stream's batches stand.
    pub const fn shelf(self) -> Shelf {
        match self {
            Stream::Event => Shelf::Event,
            Stream::Dictionary => Shelf::Dictionary,
            Stream::Day => Shelf::Day,
            Stream::Hour => Shelf::Hour,
            Stream::FiveMinutes => Shelf::FiveMinutes,
            Stream::Minute => Shelf::Minute,
            Stream::Raw => Shelf::Raw,
        }
    }

    /// The lane that the stream's batches travel in.
    pub const fn lane(self) -> Lane {
        self.shelf().lane()
    }

    /// The stream's place in tables of [`STREAM_COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stream's word in tables.
    pub const fn name(self) -> &'static str {
        self.shelf().name()
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
