//! What is not as it should be, found on the gateway: troubles that are known by name, and what no series or the machine as a whole
//! ever did.
//!
//! ```text
//!  tick ───> trouble ──────────────────────────────────────┐
//!                                                          ├──> limit ──> Event, urgent, with the ticks around it
//!  tick ──> summary ─┬─ windows of an hour ───> series ────┤
//!                    └─ windows of five minutes ─> host ───┘
//! ```
//!
//! The detectors (`detect`) learn from windows, which the journal keeps: what a start does not know is learned from these again.

use std::collections::VecDeque;

use journal::Journal;
use wire::class::{CLASS_COUNT, Class};
use wire::event::Event;
use wire::stream::Resolution;
use wire::time::{Instant, Span, Stamp};
use wire::trouble::Trouble;
use wire::window::{Extent, Window};

use crate::dictionary::Dictionary;
use crate::importance::Importance;
use crate::probe::{self, Carry, Put, Reading, Source};

use host::HostWatch;
use lasting::Change;
use limit::Limit;
use series::SeriesWatch;
use trouble::Troubles;

pub mod host;
pub mod lasting;
pub mod limit;
mod past;
pub mod series;
pub mod trend;
pub mod trouble;

/// Batches of windows from which a process learns that has just started: of a month and of four days, which is what detectors
/// remember.
const HOURS_LEARNED: usize = 30 * 24;
const FIVE_MINUTES_LEARNED: usize = 4 * 24 * 2;

/// Events that wait to be said. With the [limit] no more come in a step.
const EVENT_COUNT_MAX: usize = 16;

/// Windows of one class that have just ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Of which resolution they are.
    pub resolution: Resolution,
    /// The class.
    pub class: Class,
    /// When they began.
    pub began: Stamp,
    /// How long that is.
    pub span: Span,
    /// The window of each series, by its slot.
    pub windows: &'a [Window],
}

impl Ended<'_> {
    /// Whether windows lack so much of their span that they are not to be held against others: means are of another time of day then, and
    /// growth is of less time or, over a gap, of more.
    pub fn is_cut(extent: Extent, span: Span) -> bool {
        extent.lacking.0 > span.0 / 5
    }
}

/// Everything that is watched.
#[derive(Debug)]
pub struct Watch {
    troubles: Troubles,
    series: SeriesWatch,
    host: HostWatch,
    limit: Limit,
    events: VecDeque<Event>,
}

impl Watch {
    /// A watch that knows nothing yet. `importance` says which series are watched.
    pub fn new(importance: &Importance) -> Watch {
        Watch {
            troubles: Troubles::default(),
            series: SeriesWatch::new(&importance.watched),
            host: HostWatch::default(),
            limit: Limit::default(),
            events: VecDeque::new(),
        }
    }

    /// Looks at a tick's reading, and puts every value of it.
    pub fn look(&mut self, now: Instant, reading: &Reading, carry: &mut Carry, put: &mut Put<'_>) {
        let Watch { troubles, limit, events, .. } = self;
        probe::parse(reading, carry, &mut |metric, labels, value| {
            troubles.put(metric, labels, value);
            put(metric, labels, value);
        });
        let log = reading.sections().filter(|section| section.source == Source::KernelLog);
        log.for_each(|section| troubles.read_log(section.text));
        troubles.put_started(now, carry.processes.take_started());
        troubles.end_tick(now, &mut |trouble, change| push(events, limit, now, event(trouble, change)));
    }

    /// Takes a trouble that was found elsewhere.
    pub fn note(&mut self, now: Instant, trouble: Trouble, change: Change) {
        push(&mut self.events, &mut self.limit, now, event(trouble, change));
    }

    /// Takes windows that have ended, oldest first. `dictionary` names their slots.
    pub fn take(&mut self, now: Instant, dictionary: &Dictionary, ended: &Ended<'_>) {
        let Watch { series, host, limit, events, .. } = self;
        let mut say = |event| {
            if !push(events, limit, now, event) {
                limit.count(now);
            }
        };
        match ended.resolution {
            Resolution::Hour => series.take(dictionary, ended, &mut say),
            Resolution::FiveMinutes => {
                host.add(dictionary, ended);
                host.judge_before(at_s(ended.began), &mut say);
            }
            _ => {}
        }
    }

    /// Learns from the windows that the journal holds of earlier days, and says nothing. What cannot be read, or is of another list
    /// of series, teaches nothing.
    pub fn learn_from(&mut self, journal: &mut Journal, now: Stamp, dictionary: &Dictionary) {
        let Watch { series, host, .. } = self;
        for class in Class::ALL {
            past::windows(journal, now, dictionary, (Resolution::Hour, class), HOURS_LEARNED, |ended| {
                series.take(dictionary, ended, &mut |_| {});
            });
            past::windows(journal, now, dictionary, (Resolution::FiveMinutes, class), FIVE_MINUTES_LEARNED, |ended| {
                host.add(dictionary, ended);
            });
        }
        host.judge_before(i64::MAX, &mut |_| {});
        journal.rest();
    }

    /// The list of series starts again: slots have other names.
    pub fn renew(&mut self) {
        self.series.renew();
        self.host.renew();
    }

    /// What is to be said next.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let unsaid = || self.limit.poll(now).map(|count| Event::Unsaid { count });
        self.events.pop_front().or_else(unsaid)
    }
}

fn event(trouble: Trouble, change: Change) -> Event {
    match change {
        Change::Begins => Event::Trouble { trouble },
        Change::Ends => Event::TroubleOver { trouble },
    }
}

/// Whether an event may be said. The end of what was said may.
fn push(events: &mut VecDeque<Event>, limit: &mut Limit, now: Instant, event: Event) -> bool {
    let is_end = matches!(event, Event::TroubleOver { .. });
    let is_said = events.len() < EVENT_COUNT_MAX && (is_end || limit.admits(now));
    if is_said {
        events.push_back(event);
    }
    is_said
}

/// Seconds by which a detector knows the time of day: those of the calendar, of the boot where it is not known.
fn at_s(at: Stamp) -> i64 {
    at.unix.map_or(at.uptime.0, |unix| unix.0) as i64 / 1000
}

/// The mean of a gauge, or what a counter grew by in a second; nothing of a window without ticks.
fn level(window: &Window, is_counter: bool, span: Span) -> Option<f64> {
    if window.count == 0 {
        return None;
    }
    let value = if is_counter {
        window.increase as f64 * 1000.0 / span.0 as f64
    } else {
        window.sum() as f64 / f64::from(window.count)
    };
    Some(value)
}

/// A series as people write it.
fn written(name: &str, labels: &str) -> String {
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") }
}

/// For each slot of each class, what it is to somebody; grows with the list.
#[derive(Debug)]
struct Marks([Vec<u8>; CLASS_COUNT]);

/// A slot that is nothing to them.
const NOTHING: u8 = u8::MAX;

impl Default for Marks {
    fn default() -> Marks {
        Marks(std::array::from_fn(|_| Vec::new()))
    }
}

impl Marks {
    /// The marks of a class, those of new slots made by `mark`.
    fn of(
        &mut self,
        dictionary: &Dictionary,
        class: Class,
        mark: impl FnMut(wire::series::Series<&str>) -> u8,
    ) -> &[u8] {
        let marks = &mut self.0[class.index()];
        let known_count = marks.len();
        marks.extend(dictionary.of(class).skip(known_count).map(mark));
        marks
    }

    fn renew(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }
}
