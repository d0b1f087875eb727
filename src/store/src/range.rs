//! Samples of a span of time.

use std::fmt;

use query::selector::Selector;
use wire::id::{DeviceId, JournalId, Seq};
use wire::series::Series;
use wire::stream::Stream;
use wire::time::{BootId, UnixTime};

use crate::Store;
use crate::error::StoreError;

/// A device that is asked, with the labels that its series bear beside their own.
///
/// As with a Prometheus target, these labels win: a series' own label of the same name is found as
/// `exported_<name>`. Call the host `instance`, as dashboards do; `device` is what node_exporter calls a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who is asked.
    pub device: DeviceId,
    /// Its labels, name and value.
    pub labels: Vec<(String, String)>,
}

/// A question about samples.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Which series.
    pub selector: &'a Selector,
    /// Who is asked; nobody else is looked at.
    pub targets: &'a [Target],
    /// The first moment that counts.
    pub from: UnixTime,
    /// The last moment that counts.
    pub to: UnixTime,
    /// Samples that the answer may hold: its memory is 16 bytes for each.
    pub samples_max: usize,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// One for each series with a sample in the span, by device, name and labels.
    pub series: Vec<SeriesSamples>,
    /// What the answer lacks.
    pub notes: Notes,
}

/// The samples of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSamples {
    /// Whose series.
    pub device: DeviceId,
    /// Which series, with its own labels only.
    pub series: Series<String>,
    /// When and what, oldest first; a value `v` stands for `v * 10^scale`.
    pub samples: Vec<(UnixTime, i64)>,
}

/// What an answer lacks although it is held. All zero and empty when it lacks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Runs whose dictionary has not come or does not match its hash.
    pub nameless_run_count: u64,
    /// Boots that no known time places on the calendar.
    pub unplaced: Vec<Unplaced>,
    /// The first [`UNREADABLE_COUNT_MAX`] records that are damaged or that this version cannot read.
    pub unreadable: Vec<Unreadable>,
    /// How many such records there are.
    pub unreadable_count: u64,
    /// Batches that wait for the batch before them.
    pub waiting_count: u64,
}

/// Records that an answer names one by one.
pub const UNREADABLE_COUNT_MAX: usize = 16;

/// A boot that cannot be placed on the calendar yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Whose boot.
    pub device: DeviceId,
    /// Which boot.
    pub boot: BootId,
    /// Ticks held of it.
    pub tick_count: u64,
}

/// A record that is held and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose record.
    pub device: DeviceId,
    /// In which life of its journal.
    pub journal: JournalId,
    /// Of which stream.
    pub stream: Stream,
    /// Which number.
    pub seq: Seq,
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// The store failed.
    Store(StoreError),
    /// The answer exceeds what was allowed: ask for fewer series or a shorter span.
    TooManySamples {
        /// What was allowed.
        max: usize,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Store(error) => error.fmt(f),
            QueryError::TooManySamples { max } => {
                write!(f, "more than {max} samples: ask for fewer series or a shorter span")
            }
        }
    }
}

impl std::error::Error for QueryError {}

impl<E: Into<StoreError>> From<E> for QueryError {
    fn from(error: E) -> Self {
        QueryError::Store(error.into())
    }
}

impl Store {
    /// The samples of every series that is meant, oldest first.
    ///
    /// Errors: [`QueryError::TooManySamples`] as soon as the bound is passed, so a careless question costs no more
    /// than a careful one.
    pub fn range(&self, question: &Question<'_>) -> Result<Range, QueryError> {
        let _ = question;
        unimplemented!()
    }
}
