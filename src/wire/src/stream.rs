//! Lanes and streams: what goes first, and what is numbered together.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::class::{CLASS_COUNT, Class};

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

/// How much time one value of a series covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// [Windows](crate::window) of a day.
    Day = 0,
    /// Windows of an hour.
    Hour = 1,
    /// Windows of five minutes.
    FiveMinutes = 2,
    /// Windows of a minute.
    Minute = 3,
    /// Samples at the sampling interval.
    Raw = 4,
}

/// How many resolutions there are.
pub const RESOLUTION_COUNT: usize = 5;

impl Resolution {
    /// Every resolution, the coarse before the fine.
    pub const ALL: [Resolution; RESOLUTION_COUNT] =
        [Resolution::Day, Resolution::Hour, Resolution::FiveMinutes, Resolution::Minute, Resolution::Raw];
}

/// Streams that stand together in a journal: they share its volumes and are kept equally long. The order is that of what a batch is
/// worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// What happened.
    Event,
    /// Which series there are.
    Dictionary,
    /// The values of all classes.
    Series(Resolution),
    /// Copies of ticks.
    Extract,
}

/// How many shelves there are.
pub const SHELF_COUNT: usize = 3 + RESOLUTION_COUNT;

/// How many streams a shelf has at the most.
pub const SHELF_STREAM_COUNT: usize = CLASS_COUNT;

impl Shelf {
    /// Every shelf, most urgent first.
    pub const ALL: [Shelf; SHELF_COUNT] = {
        let mut all = [Shelf::Extract; SHELF_COUNT];
        (all[0], all[1]) = (Shelf::Event, Shelf::Dictionary);
        let mut index = 0;
        while index < RESOLUTION_COUNT {
            all[2 + index] = Shelf::Series(Resolution::ALL[index]);
            index += 1;
        }
        all
    };

    /// The lane that the shelf's batches travel in.
    pub const fn lane(self) -> Lane {
        match self {
            Shelf::Event | Shelf::Dictionary => Lane::Urgent,
            Shelf::Series(Resolution::Raw) => Lane::Raw,
            Shelf::Series(_) | Shelf::Extract => Lane::Summary,
        }
    }

    /// Its streams, most urgent first: [`SHELF_STREAM_COUNT`] at the most.
    pub fn streams(self) -> impl Iterator<Item = Stream> + Clone {
        Stream::ALL.into_iter().filter(move |stream| stream.shelf() == self)
    }

    /// The shelf's place in tables of [`SHELF_COUNT`].
    pub const fn index(self) -> usize {
        match self {
            Shelf::Event => 0,
            Shelf::Dictionary => 1,
            Shelf::Series(resolution) => 2 + resolution as usize,
            Shelf::Extract => 2 + RESOLUTION_COUNT,
        }
    }

    /// The shelf's word in settings and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Shelf::Event => "event",
            Shelf::Dictionary => "dictionary",
            Shelf::Series(Resolution::Day) => "day",
            Shelf::Series(Resolution::Hour) => "hour",
            Shelf::Series(Resolution::FiveMinutes) => "five_minutes",
            Shelf::Series(Resolution::Minute) => "minute",
            Shelf::Series(Resolution::Raw) => "raw",
            Shelf::Extract => "extract",
        }
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A sequence of batches with numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Stream {
    /// What happened: [`crate::event::Event`].
    Event,
    /// Which series the slots of a tick are: [`crate::series::Series`].
    Dictionary,
    /// The values of the series of a class.
    Series(Resolution, Class),
    /// Ticks of a class around something that happened, copied from those of [`Stream::raw`]: they go where ticks do not.
    Extract(Class),
}

/// How many streams there are.
pub const STREAM_COUNT: usize = 2 + (RESOLUTION_COUNT + 1) * CLASS_COUNT;

/// A stream's number is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStream(pub u8);

/// The words for streams, by their numbers.
const NAMES: [&str; STREAM_COUNT] = [
    "event",
    "dictionary",
    "day_critical",
    "day_normal",
    "day_bulk",
    "hour_critical",
    "hour_normal",
    "hour_bulk",
    "five_minutes_critical",
    "five_minutes_normal",
    "five_minutes_bulk",
    "minute_critical",
    "minute_normal",
    "minute_bulk",
    "raw_critical",
    "raw_normal",
    "raw_bulk",
    "extract_critical",
    "extract_normal",
    "extract_bulk",
];

impl Stream {
    /// Every stream, most urgent first: in each lane by class, and the coarse before the fine. Extracts follow the windows of what is
    /// critical: they are small, and say why an alert came.
    pub const ALL: [Stream; STREAM_COUNT] = {
        use Class::{Bulk, Critical, Normal};
        use Resolution::{Day, FiveMinutes, Hour, Minute, Raw};
        [
            Stream::Event,
            Stream::Dictionary,
            Stream::Series(Day, Critical),
            Stream::Series(Hour, Critical),
            Stream::Series(FiveMinutes, Critical),
            Stream::Series(Minute, Critical),
            Stream::Extract(Critical),
            Stream::Extract(Normal),
            Stream::Extract(Bulk),
            Stream::Series(Day, Normal),
            Stream::Series(Hour, Normal),
            Stream::Series(FiveMinutes, Normal),
            Stream::Series(Minute, Normal),
            Stream::Series(Day, Bulk),
            Stream::Series(Hour, Bulk),
            Stream::Series(FiveMinutes, Bulk),
            Stream::Series(Minute, Bulk),
            Stream::Series(Raw, Critical),
            Stream::Series(Raw, Normal),
            Stream::Series(Raw, Bulk),
        ]
    };

    /// A table of what holds of each stream, by [index](Stream::index), which is not the order of [`Stream::ALL`].
    pub fn table<T>(mut each: impl FnMut(Stream) -> T) -> [T; STREAM_COUNT] {
        core::array::from_fn(|index| each(Stream::try_from(index as u8).expect("every index is a stream's")))
    }

    /// The ticks of a class.
    pub const fn raw(class: Class) -> Stream {
        Stream::Series(Resolution::Raw, class)
    }

    /// Whether the stream's ticks are copies of those of another.
    pub const fn is_copy(self) -> bool {
        matches!(self, Stream::Extract(_))
    }

    /// The class of which the stream has ticks.
    pub const fn ticks_of(self) -> Option<Class> {
        match self {
            Stream::Series(Resolution::Raw, class) | Stream::Extract(class) => Some(class),
            _ => None,
        }
    }

    /// Where the stream's batches stand.
    pub const fn shelf(self) -> Shelf {
        match self {
            Stream::Event => Shelf::Event,
            Stream::Dictionary => Shelf::Dictionary,
            Stream::Series(resolution, _) => Shelf::Series(resolution),
            Stream::Extract(_) => Shelf::Extract,
        }
    }

    /// The lane that the stream's batches travel in.
    pub const fn lane(self) -> Lane {
        self.shelf().lane()
    }

    /// The stream's number on the wire and on the disk, and its place in tables of [`STREAM_COUNT`].
    pub const fn index(self) -> usize {
        match self {
            Stream::Event => 0,
            Stream::Dictionary => 1,
            Stream::Series(resolution, class) => 2 + CLASS_COUNT * resolution as usize + class as usize,
            Stream::Extract(class) => 2 + CLASS_COUNT * RESOLUTION_COUNT + class as usize,
        }
    }

    /// The stream's word in tables.
    pub const fn name(self) -> &'static str {
        NAMES[self.index()]
    }
}

impl From<Stream> for u8 {
    fn from(stream: Stream) -> u8 {
        stream.index() as u8
    }
}

impl TryFrom<u8> for Stream {
    type Error = UnknownStream;

    fn try_from(number: u8) -> Result<Stream, UnknownStream> {
        Stream::ALL.into_iter().find(|stream| u8::from(*stream) == number).ok_or(UnknownStream(number))
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

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;

    use super::*;

    #[test]
    fn every_stream_has_a_number_and_a_word_and_stands_on_a_shelf() {
        let numbers: BTreeSet<usize> = Stream::ALL.into_iter().map(Stream::index).collect();
        assert_eq!(numbers, (0..STREAM_COUNT).collect());
        for stream in Stream::ALL {
            assert_eq!(Stream::try_from(u8::from(stream)), Ok(stream));
            assert_eq!(Stream::table(|stream| stream)[stream.index()], stream);
            assert!(stream.name().starts_with(stream.shelf().name()));
        }
        assert_eq!(Stream::try_from(20), Err(UnknownStream(20)));
        assert_eq!(Shelf::ALL.map(Shelf::index), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Shelf::ALL.map(|shelf| shelf.streams().count()), [1, 1, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn lanes_come_before_classes_and_classes_before_resolutions() {
        let order = |stream: &Stream| match *stream {
            Stream::Series(resolution, class) => (stream.lane(), class as usize, resolution as usize),
            Stream::Extract(class) => (stream.lane(), Class::Critical as usize, RESOLUTION_COUNT + class as usize),
            _ => (stream.lane(), stream.index(), 0),
        };
        assert!(Stream::ALL.is_sorted_by_key(order));
        for stream in &Stream::ALL[2..] {
            let (Stream::Series(_, class) | Stream::Extract(class)) = stream else { unreachable!() };
            assert!(stream.name().ends_with(&format!("_{class:?}").to_lowercase()));
        }
    }
}
