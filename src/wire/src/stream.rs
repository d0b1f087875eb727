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

    /// The lane that the stream's batches travel in.
    pub const fn lane(self) -> Lane {
        match self {
            Stream::Event | Stream::Dictionary => Lane::Urgent,
            Stream::Day | Stream::Hour | Stream::FiveMinutes | Stream::Minute => Lane::Summary,
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
            Stream::Day => "day",
            Stream::Hour => "hour",
            Stream::FiveMinutes => "five_minutes",
            Stream::Minute => "minute",
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
