//! What happened, as a value.
//!
//! Loss is a record: what is evicted, skipped or unreadable is said here, and a gap without one of these is a bug.

use core::fmt;

use heapless::{String, Vec};
use query::series::scaled;
use query::time::Civil;
use query::unit::{Shown, billed};
use serde::{Deserialize, Serialize};

use crate::class::CLASS_COUNT;
use crate::id::JournalId;
use crate::limits::{BEARER_BYTES_MAX, BLAMED_COUNT_MAX, TEXT_BYTES_MAX, VERSION_BYTES_MAX};
use crate::ranges::SeqRange;
use crate::spent::Spent;
use crate::stream::{RESOLUTION_COUNT, Stream};
use crate::trouble::{self, Subject, Trouble};

/// A short text inside an event.
pub type Text = String<TEXT_BYTES_MAX>;

/// Batches of so many streams are withheld at the most: of windows.
pub const WITHHELD_COUNT_MAX: usize = CLASS_COUNT * (RESOLUTION_COUNT - 1);

/// A bearer's name inside an event.
pub type Bearer = String<BEARER_BYTES_MAX>;

/// Something that happened on a gateway. The order of the variants is that on the wire: add at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The agent started.
    Started {
        /// The agent's version.
        version: String<VERSION_BYTES_MAX>,
    },
    /// The agent stopped in good order.
    Stopped,
    /// Civil time moved against the clock that never steps.
    ClockStepped {
        /// By how much; positive is forwards.
        by_ms: i64,
    },
    /// Batches of a stream will never be sent.
    Lost {
        /// The stream that had them.
        stream: Stream,
        /// Which ones.
        range: SeqRange,
        /// Why.
        reason: LossReason,
    },
    /// A volume of the journal was damaged; what could be read was saved.
    Quarantined {
        /// The volume's name.
        volume: Text,
        /// Batches saved.
        saved_count: u32,
    },
    /// Ticks were due and not taken.
    TicksMissed {
        /// How many.
        count: u32,
    },
    /// Series found no place in the dictionary, or have labels that are too long.
    SeriesRefused {
        /// How many in one tick.
        count: u32,
    },
    /// The journal could not write; ticks wait in memory.
    StorageFailed {
        /// What the system said.
        error: Text,
    },
    /// The journal writes again.
    StorageRecovered,
    /// Files of the machine, or parts of them, were there and not read: they pass a limit, or no descriptor or memory was left.
    PartsUnread {
        /// How many in one tick.
        count: u32,
    },
    /// Processes found no place in a walk, or in the table of names.
    ProcessesSkipped {
        /// How many in one walk.
        count: u32,
    },
    /// Windows found no place in the journal, or are too many for a batch.
    WindowsRefused {
        /// Whose.
        stream: Stream,
        /// How many.
        count: u32,
    },
    /// Two sources of time cannot both be right.
    ClocksDisagree {
        /// Who is believed.
        believed: Word,
        /// Who is not.
        other: Word,
        /// How much later the other's time is.
        by_ms: i64,
    },
    /// The time is known for the first time in this boot.
    TimeLearned {
        /// From whom.
        source: Word,
    },
    /// A source told a time that cannot be.
    TimeRefused {
        /// Who.
        source: Word,
    },
    /// The hub held other batches under the journal's numbers, from a copy of the card or from before it was put back: the journal goes
    /// on under the name that this event came with.
    JournalRenamed {
        /// Its name until then.
        former: JournalId,
    },
    /// A day of a bearer is over, and cost this.
    DataUsed {
        /// The bearer.
        bearer: Bearer,
        /// Days since 1970.
        day: u32,
        /// What was spent.
        spent: Spent,
        /// What might have been, if there was a limit.
        budget_bytes: Option<u64>,
    },
    /// So much of a bearer's budget of the day or month is used that less is sent from here on.
    BudgetUsed {
        /// The bearer.
        bearer: Bearer,
        /// Of a hundred, how much of what is not kept for events.
        per_cent: u8,
    },
    /// Batches of windows are not sent, because what the windows are made of is: finer ones, or ticks.
    Withheld {
        /// Which ones.
        ranges: Vec<(Stream, SeqRange), WITHHELD_COUNT_MAX>,
    },
    /// The link goes over this bearer from here on, or the same one became better or worse: what is sampled and sent follows.
    LinkChanged {
        /// The bearer.
        bearer: Bearer,
        /// How good it is.
        tier: Word,
        /// Why the one before was left, if another one was in use.
        reason: Option<Word>,
    },
    /// A series does something that it never did.
    Anomaly {
        /// The series, `node_load15` or `node_thermal_zone_temp{zone="0"}`.
        series: Text,
        /// Whether the numbers are of its growth in a second.
        is_rate: bool,
        /// How much of a record it is, in thousandths: see `detect::series`.
        score_1000: u16,
        /// What was observed, the mean of a window; it and the expected ones in `10^scale` of the metric's unit.
        observed: i64,
        /// Between which values it was expected, by the time of day and all that was seen before.
        expected: (i64, i64),
        /// The exponent of ten.
        scale: i8,
    },
    /// The machine as a whole is not itself: small deviations of many metrics at once.
    HostAnomaly {
        /// As if so many metrics were off the scale, in tenths: see `detect::host`.
        score_10: u16,
        /// The metrics that carry it, the heaviest first.
        blamed: Vec<Subject, BLAMED_COUNT_MAX>,
    },
    /// A trouble that is known by name begins.
    Trouble {
        /// Which one.
        trouble: Trouble,
    },
    /// It is over.
    TroubleOver {
        /// Which one, as it was when it began.
        trouble: Trouble,
    },
    /// Anomalies and troubles came faster than they are said one by one.
    Unsaid {
        /// How many were not said.
        count: u32,
    },
    /// What the hub [asked for](crate::message::Fetch) is in the journal for it.
    Fetched {
        /// The request's number.
        number: u64,
        /// Batches of extracts, none when nothing of it is held; `None` when the request makes no sense here.
        batch_count: Option<u32>,
    },
}

impl Event {
    /// Whether the ticks around it are worth their bytes where ticks are not sent: they show what the machine was busy with.
    pub fn wants_context(&self) -> bool {
        matches!(
            self,
            Event::StorageFailed { .. }
                | Event::TicksMissed { .. }
                | Event::Anomaly { .. }
                | Event::HostAnomaly { .. }
                | Event::Trouble { .. }
        )
    }

    /// The batches of which it says that they will never come, and whether the hub has what they say elsewhere.
    pub fn missing(&self) -> impl Iterator<Item = (Stream, SeqRange, bool)> + '_ {
        let (one, more): (_, &[(Stream, SeqRange)]) = match self {
            Event::Lost { stream, range, reason } => (Some((*stream, *range, *reason == LossReason::Renamed)), &[]),
            Event::Withheld { ranges } => (None, ranges),
            _ => (None, &[]),
        };
        one.into_iter().chain(more.iter().map(|(stream, range)| (*stream, *range, true)))
    }
}

/// Why batches will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossReason {
    /// Room was needed, and they were the least valuable.
    Evicted,
    /// They were damaged at rest.
    Damaged,
    /// Memory ran out while the journal could not write.
    Refused,
    /// They were kept for as long as the settings ask; windows of the same time stay longer.
    Expired,
    /// They are not lost: the hub holds them under the journal's former name.
    Renamed,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Evicted => "to make room",
            LossReason::Damaged => "damaged on the disk",
            LossReason::Refused => "memory was full while the disk refused writes",
            LossReason::Expired => "older than the settings keep them",
            LossReason::Renamed => "the hub has them under the journal's former name",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { version } => write!(f, "agent {version} started"),
            Event::Stopped => f.write_str("agent stopped"),
            Event::ClockStepped { by_ms } => write!(f, "clock stepped by {by_ms} ms"),
            Event::Lost { stream, range, reason } => {
                write!(f, "{} {stream} batches lost ({} to {}): {reason}", range.count(), range.first, range.last)
            }
            Event::Quarantined { volume, saved_count } => {
                write!(f, "volume {volume} was damaged and set aside; {saved_count} batches were saved from it")
            }
            Event::TicksMissed { count } => write!(f, "{count} ticks were due and not taken"),
            Event::SeriesRefused { count } => {
                write!(f, "{count} series are not sampled: there are too many, or their labels are too long")
            }
            Event::StorageFailed { error } => write!(f, "journal cannot write, keeping ticks in memory: {error}"),
            Event::StorageRecovered => f.write_str("journal writes again"),
            Event::PartsUnread { count } => {
                write!(
                    f,
                    "{count} parts of the machine are not read: they pass a limit, or no descriptor or memory is left"
                )
            }
            Event::ProcessesSkipped { count } => {
                write!(f, "{count} processes are not counted by name: there are too many")
            }
            Event::ClocksDisagree { believed, other, by_ms } => {
                write!(f, "the clocks disagree: {other} is {by_ms} ms after {believed}, which is believed")
            }
            Event::TimeLearned { source } => write!(f, "the time is known, from the {source}"),
            Event::TimeRefused { source } => write!(f, "the {source} told a time that cannot be, and is not believed"),
            Event::JournalRenamed { former } => write!(
                f,
                "the hub held other batches under the numbers of journal {former}: the card was copied or put back to an \
                 older image; going on under another name"
            ),
            Event::WindowsRefused { stream, count } => {
                write!(f, "{count} {stream} windows are lost: the journal has no room, or there are too many series")
            }
            Event::DataUsed { bearer, day, spent, budget_bytes } => {
                let date = Civil::of_day(*day).date();
                write!(f, "bearer {bearer} carried {}", billed(spent.total()))?;
                if let Some(budget_bytes) = budget_bytes {
                    write!(f, " of {}", billed(*budget_bytes))?;
                }
                write!(f, " on {date}")?;
                let parts = spent.parts().filter(|(_, count)| *count > 0);
                parts.enumerate().try_for_each(|(index, (name, count))| {
                    write!(f, "{} {} {name}", if index == 0 { ":" } else { "," }, billed(count))
                })
            }
            Event::Withheld { ranges } => {
                let count: u64 = ranges.iter().map(|(_, range)| range.count()).sum();
                write!(f, "{count} batches of windows are not sent: the hub has what they are made of")
            }
            Event::LinkChanged { bearer, tier, reason: None } => write!(f, "the link over {bearer} is {tier}"),
            Event::LinkChanged { bearer, tier, reason: Some(reason) } => {
                write!(f, "the link goes over {bearer}, which is {tier}; the one before {reason}")
            }
            Event::Anomaly { series, is_rate, observed, expected: (low, high), scale, .. } => {
                let name = series.split('{').next().unwrap_or_default();
                let shown = |value: &i64| Shown::of(name, *is_rate).format(scaled(*value, *scale));
                write!(
                    f,
                    "{series} is {}, and never was like that: {} to {} is usual",
                    shown(observed),
                    shown(low),
                    shown(high)
                )
            }
            Event::HostAnomaly { blamed, .. } => {
                f.write_str("the machine is not itself")?;
                let mut blamed = blamed.iter();
                blamed.next().map_or(Ok(()), |first| write!(f, ", most of all {first}"))?;
                blamed.try_for_each(|next| write!(f, ", {next}"))
            }
            Event::Trouble { trouble } => trouble.fmt(f),
            Event::TroubleOver { trouble } => trouble::over(trouble, f),
            Event::Unsaid { count } => {
                write!(f, "{count} more anomalies and troubles came too fast to be said one by one")
            }
            Event::Fetched { number, batch_count: None } => {
                write!(f, "request {number} of the hub makes no sense here")
            }
            Event::Fetched { number, batch_count: Some(0) } => {
                write!(f, "request {number} of the hub: nothing of it is held")
            }
            Event::Fetched { number, batch_count: Some(count) } => {
                write!(f, "request {number} of the hub: {count} batches of ticks are copied for it")
            }
            Event::BudgetUsed { bearer, per_cent: 100 } => {
                write!(f, "the budget of bearer {bearer} is used up: only events are sent, from what is kept for them")
            }
            Event::BudgetUsed { bearer, per_cent } => {
                write!(f, "{per_cent} % of the budget of bearer {bearer} are used: {}", eased(*per_cent))
            }
        }
    }
}

/// A word in an event, such as the name of a source.
pub type Word = heapless::String<16>;

/// What waits from a step on.
fn eased(per_cent: u8) -> &'static str {
    match per_cent {
        ..85 => "bulk waits",
        85..95 => "bulk and ticks wait",
        _ => "bulk, ticks, windows of a minute and history wait",
    }
}

/// `text` cut to fit an event, at a character.
pub fn text(text: &str) -> Text {
    let mut cut = Text::new();
    for character in text.chars() {
        if cut.push(character).is_err() {
            break;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_day_cost_is_said_in_one_line() {
        let spent = Spent { by_use: [300, 0, 0, 0, 50 << 10], other: 7 };
        let bearer = Bearer::try_from("wwan0").unwrap();
        let event = Event::DataUsed { bearer, day: 20_512, spent, budget_bytes: Some(1 << 20) };
        let text = "bearer wwan0 carried 51.5 KB of 1.05 MB on 2026-02-28: 300 B urgent, 51.2 KB overhead, 7 B other";
        assert_eq!(event.to_string(), text);
    }

    #[test]
    fn each_step_of_a_budget_says_what_waits() {
        let said = |per_cent| Event::BudgetUsed { bearer: "wwan0".try_into().unwrap(), per_cent }.to_string();
        assert_eq!(said(70), "70 % of the budget of bearer wwan0 are used: bulk waits");
        assert!(said(85).ends_with("bulk and ticks wait") && said(95).contains("windows of a minute"));
        assert!(said(100).contains("used up: only events"));
    }
}
