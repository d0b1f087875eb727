//! What a person on site may ask a running agent, and what it answers.
//!
//! The answers come from the gateway alone: from its memory and its journal, without a hub.

use serde::{Deserialize, Serialize};
use wire::event::Event;
use wire::id::{DeviceId, JournalId};
use wire::series::Series;
use wire::spent::Spent;
use wire::time::{Instant, Span, Stamp};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// How are you?
    Status,
    /// The value of every series in the last tick.
    Latest,
    /// Raw samples of every series whose name is in the list (all when empty), since so long ago, those that are in memory
    /// alone included.
    Samples {
        /// Names of metrics.
        names: Vec<String>,
        /// How far back.
        since: Span,
        /// Bound on samples in the answer: the newest come first.
        sample_count_max: u32,
    },
    /// The newest events.
    Events {
        /// How many.
        count_max: u32,
    },
    /// What does the link cost?
    Link,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Latest`] and [`Question::Samples`]: by series, in the order of the dictionary.
    Samples {
        /// The series with their samples, oldest first.
        series: Vec<SeriesSamples>,
        /// Whether the bound cut older samples off.
        is_cut: bool,
    },
    /// To [`Question::Events`]: newest first.
    Events(Vec<(Stamp, Event)>),
    /// To [`Question::Link`].
    Link(Box<LinkReport>),
    /// The journal could not be read; why.
    Failed(String),
}

/// One series and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesSamples {
    /// The series.
    pub series: Series<String>,
    /// When, by the boot's clock and by the calendar if that is known, and the value.
    pub samples: Vec<(Stamp, i64)>,
}

/// How an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Who it is at the hub; zero when it is not enrolled.
    pub device: DeviceId,
    /// Its journal's life.
    pub journal: JournalId,
    /// Its clock.
    pub now: Stamp,
    /// Since when it runs, in this boot.
    pub started: Instant,
    /// The link's state.
    pub link: String,
    /// Why the last link ended, if one did.
    pub link_ended: Option<String>,
    /// When the hub last said that something is durable.
    pub acked_at: Option<Instant>,
    /// Hub's clock less ours in ms when it was last told.
    pub hub_offset_ms: Option<i64>,
    /// Who is believed about the time, and how far it may be off.
    pub belief: Option<(String, Span)>,
    /// Ticks taken since the start.
    pub tick_count: u64,
    /// Ticks that were due and not taken since the start.
    pub missed_count: u64,
    /// Series in the last tick.
    pub series_count: u32,
    /// Durable batches that the hub does not hold and is to get.
    pub backlog_count: u64,
    /// Those that wait for a better link, or for the hub to ask.
    pub kept_count: u64,
    /// Batches sent and not acked.
    pub in_flight_count: u32,
    /// Messages of the hub of kinds that this version does not know and passed over since the start.
    pub skipped_count: u64,
    /// Bytes of the journal's volumes.
    pub volume_bytes: u64,
    /// Bytes used in the journal's tail.
    pub tail_bytes: u64,
    /// Bytes written to the disk since the start.
    pub written_bytes: u64,
    /// What the journal's last failure was, while it lasts.
    pub storage_error: Option<String>,
}

/// The link, and what its bearers cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The agent's clock.
    pub now: Stamp,
    /// The link's state.
    pub state: String,
    /// Why the last link ended, if one did.
    pub ended: Option<String>,
    /// Whether the present link runs over datagrams, if there is one.
    pub is_datagram: Option<bool>,
    /// The version of the protocol that both ends speak, while the link is up.
    pub version: Option<u16>,
    /// Messages of the hub of kinds that this version does not know and passed over since the start.
    pub skipped_count: u64,
    /// How good the link is, where bearers were chosen.
    pub tier: Option<String>,
    /// What is sampled and sent over it, in words.
    pub policy: String,
    /// The bearers, best first.
    pub bearers: Vec<BearerReport>,
}

/// One bearer and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BearerReport {
    /// Its name.
    pub name: String,
    /// How it is, in words.
    pub state: String,
    /// Bytes a second that its link carried last; zero when it is not known.
    pub rate: u32,
    /// The smallest round trip; zero when it is not known.
    pub round_trip: Span,
    /// Packets that were lost, of 1024.
    pub loss_1024: u16,
    /// Today, by UTC.
    pub day: Period,
    /// This billing month.
    pub month: Period,
    /// The day on which billing months begin.
    pub first_day: u8,
    /// Of a hundred, how much is kept for what is urgent.
    pub reserve_per_cent: u8,
    /// The step that was passed: 0, 70, 85, 95, or 100 when only what is urgent goes.
    pub used_per_cent: u8,
    /// After how long more than that goes again.
    pub opens_in: Option<Span>,
    /// The last days that are over, oldest first.
    pub days: Vec<DayReport>,
}

/// What is spent of a day or a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// By use.
    pub spent: Spent,
    /// In all; more than by use when a clock was set.
    pub used_bytes: u64,
    /// What may be spent, if there is a limit.
    pub budget_bytes: Option<u64>,
    /// What it will have been, if enough is known.
    pub forecast_bytes: Option<u64>,
}

/// A day that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayReport {
    /// Days since 1970.
    pub day: u32,
    /// What was spent.
    pub spent: Spent,
    /// What might have been.
    pub budget_bytes: Option<u64>,
}
