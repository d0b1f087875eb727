//! What time it is, who says so, and how sure that is.
//!
//! Sources tell civil time against uptime, each with an uncertainty that grows as the crystal drifts. Of those that are
//! plausible, the moment that most of them allow wins (Marzullo's algorithm, 1984), at equal votes that of the most trusted;
//! the most trusted of those that allow it is believed.
//!
//! | source, most trusted first | uncertainty |
//! |---|---|
//! | kernel, synchronised | its own maximum error |
//! | hub | half the round trip of the best of the last eight exchanges |
//! | GNSS | as the receiver's port says |
//! | SNTP | as the hub, and what the server itself may be off; nobody vouches for it |
//! | modem | [2 s](MODEM_UNCERTAINTY) |
//! | RTC | [10 min](RTC_UNCERTAINTY) |
//!
//! Whoever is unsure by more than [`VAGUE`] has no rank: of such, the surest is believed. A boot in which nobody was believed
//! does not know the time, and says so: nothing is ever stored as 1970.

pub mod nmea;
pub mod sntp;
pub mod source;

use core::fmt;

use heapless::Deque;
use wire::time::{Instant, Span, UnixTime};

use self::source::{Estimate, Exchange, Filter, SOURCE_COUNT, Source};

/// What a modem's network time may be off: it comes in whole seconds, and late. 3GPP TS 22.042 clause 4 expects no more than an
/// order of minutes; a network that is so far off is outvoted, or at least said to disagree, as soon as there is another source.
pub const MODEM_UNCERTAINTY: Span = Span::seconds(2);

/// What a real-time clock may be off that runs: a minute a year at 2 ppm, ten minutes for one that nobody set for long.
pub const RTC_UNCERTAINTY: Span = Span::minutes(10);

/// A source that is less sure has no rank.
pub const VAGUE: Span = Span::seconds(10);

/// How far after the best lower bound a civil time may lie: a shelf's and a service's life, and less than the 1,024 weeks
/// (19.6 years) by which a GPS receiver errs when its week number rolls over.
pub const PLAUSIBLE_SPAN: Span = Span::minutes(10 * 365 * 24 * 60);

/// A change by more than this is a step: the agent's bound, which slews of 500 ppm (RFC 5905) reach in an hour.
pub const STEP: Span = Span::seconds(2);

/// Outcomes that wait.
pub const OUTCOME_COUNT_MAX: usize = 8;

/// Between what civil times lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// When the program was built: no time is earlier.
    pub build: UnixTime,
    /// What was last known before this boot, from the journal. It may have been wrong, so it refuses nothing that is earlier.
    pub last_known: Option<UnixTime>,
    /// How long after the later of both a time may be.
    pub span: Span,
}

/// What a source tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A receiver's time, at `now`.
    Gnss {
        /// The time.
        unix: UnixTime,
        /// How far it may be off.
        uncertainty: Span,
    },
    /// An exchange with the hub.
    Hub(Exchange),
    /// The kernel's clock, when adjtimex says that it is synchronised.
    Kernel {
        /// The time.
        unix: UnixTime,
        /// adjtimex's maximum error.
        error_max: Span,
    },
    /// adjtimex says that the kernel's clock is not synchronised, or no longer.
    KernelUnsynchronised,
    /// The modem's network time.
    Modem(UnixTime),
    /// The real-time clock.
    Rtc(UnixTime),
    /// An exchange with a time server.
    Sntp {
        /// The exchange.
        exchange: Exchange,
        /// How far the server may be off, as it says.
        distance: Span,
    },
}

/// Why a time was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is before the program was built.
    BeforeBuild,
    /// The answer took less time than it was worked on, or came before its question.
    Impossible,
    /// It is long after the best lower bound.
    TooLate,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Two sources cannot both be right. Said once until they can.
    Disagreed {
        /// Who is believed.
        believed: Source,
        /// Who is not.
        other: Source,
        /// How much later the other's time is.
        by_ms: i64,
    },
    /// The time is known for the first time in this boot.
    Learned {
        /// From whom.
        source: Source,
    },
    /// A source's time was refused. Said once until it is plausible.
    Refused {
        /// The source.
        source: Source,
        /// Why.
        refusal: Refusal,
    },
    /// The time is another one than was believed.
    Stepped {
        /// How much later.
        by_ms: i64,
    },
}

/// What is believed at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belief {
    /// The time.
    pub unix: UnixTime,
    /// How far it may be off.
    pub uncertainty: Span,
    /// Who says so.
    pub source: Source,
}

/// The time of one boot.
#[derive(Debug)]
pub struct Timekeeper {
    bounds: Bounds,
    /// The last that each source told, but for those with a filter.
    told: [Option<Estimate>; SOURCE_COUNT],
    hub: Filter,
    sntp: Filter,
    belief: Option<(Source, Estimate)>,
    /// A bit for each source that is said to disagree, and to be refused.
    disagreeing: u8,
    refused: u8,
    outcomes: Deque<Outcome, OUTCOME_COUNT_MAX>,
}

const _: () = assert!(size_of::<Timekeeper>() <= 1024);

impl Timekeeper {
    /// A boot that does not know the time.
    pub fn new(bounds: Bounds) -> Timekeeper {
        Timekeeper {
            bounds,
            told: [None; SOURCE_COUNT],
            hub: Filter::default(),
            sntp: Filter::default(),
            belief: None,
            disagreeing: 0,
            refused: 0,
            outcomes: Deque::new(),
        }
    }

    /// Takes what a source tells at `now`.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let instant = |unix, uncertainty| Some(Estimate::at(now, unix, uncertainty));
        let (source, estimate) = match input {
            Input::Gnss { unix, uncertainty } => (Source::Gnss, instant(unix, uncertainty)),
            Input::Hub(exchange) => (Source::Hub, exchange.estimate()),
            Input::Kernel { unix, error_max } => (Source::Kernel, instant(unix, error_max)),
            Input::KernelUnsynchronised => {
                self.told[Source::Kernel as usize] = None;
                self.decide(now);
                return;
            }
            Input::Modem(unix) => (Source::Modem, instant(unix, MODEM_UNCERTAINTY)),
            Input::Rtc(unix) => (Source::Rtc, instant(unix, RTC_UNCERTAINTY)),
            Input::Sntp { exchange, distance } => {
                (Source::Sntp, exchange.estimate().map(|estimate| estimate.widened(distance)))
            }
        };
        match estimate.ok_or(Refusal::Impossible).and_then(|estimate| self.plausible(now, estimate)) {
            Ok(estimate) => {
                self.refused &= !source.bit();
                match source {
                    Source::Hub => self.hub.add(estimate),
                    Source::Sntp => self.sntp.add(estimate),
                    _ => self.told[source as usize] = Some(estimate),
                }
                self.decide(now);
            }
            Err(refusal) => {
                if self.refused & source.bit() == 0 {
                    self.refused |= source.bit();
                    self.say(Outcome::Refused { source, refusal });
                }
            }
        }
    }

    /// What came of it, oldest first. When nobody asks, the oldest are forgotten.
    pub fn poll_output(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// The time, if anybody was believed in this boot.
    pub fn belief(&self, now: Instant) -> Option<Belief> {
        let (source, estimate) = self.belief?;
        Some(Belief { unix: estimate.unix(now), uncertainty: estimate.uncertainty(now), source })
    }

    fn plausible(&self, now: Instant, estimate: Estimate) -> Result<Estimate, Refusal> {
        let unix = estimate.unix(now);
        let known = self.belief(now).map(|belief| belief.unix).max(self.bounds.last_known);
        let lower = known.map_or(self.bounds.build, |known| known.max(self.bounds.build));
        if unix < self.bounds.build {
            Err(Refusal::BeforeBuild)
        } else if unix.0 > lower.0.saturating_add(self.bounds.span.0) {
            Err(Refusal::TooLate)
        } else {
            Ok(estimate)
        }
    }

    fn decide(&mut self, now: Instant) {
        // Without any source what was believed is still the best guess, and ages.
        let Some((source, estimate)) = self.winner(now) else { return };
        match self.belief.replace((source, estimate)) {
            None => self.say(Outcome::Learned { source }),
            Some((_, before)) => {
                let by_ms = estimate.offset_ms.saturating_sub(before.offset_ms);
                if by_ms.unsigned_abs() > STEP.0 {
                    self.say(Outcome::Stepped { by_ms });
                }
            }
        }
        for other in Source::ALL {
            let Some(candidate) = self.candidate(now, other) else { continue };
            if candidate.agrees(&estimate, now) {
                self.disagreeing &= !other.bit();
            } else if self.disagreeing & other.bit() == 0 {
                self.disagreeing |= other.bit();
                let by_ms = candidate.offset_ms.saturating_sub(estimate.offset_ms);
                self.say(Outcome::Disagreed { believed: source, other, by_ms });
            }
        }
    }

    /// Who is to be believed.
    fn winner(&self, now: Instant) -> Option<(Source, Estimate)> {
        let candidates = || Source::ALL.into_iter().filter_map(|source| Some((source, self.candidate(now, source)?)));
        let trust = |(source, estimate): &(Source, Estimate)| {
            let uncertainty = estimate.uncertainty(now);
            let rank = if uncertainty > VAGUE { None } else { Some(*source) };
            (rank.is_none(), rank, uncertainty)
        };
        // The moment that most allow is the earliest of somebody.
        let moments = candidates().map(|(_, estimate)| {
            let earliest_ms = estimate.earliest_ms(now);
            let allowing = || candidates().filter(|(_, other)| other.allows(earliest_ms, now));
            (allowing().count(), allowing().min_by_key(trust).expect("its own"))
        });
        let best = moments.min_by_key(|(count, first)| (usize::MAX - count, trust(first)));
        best.map(|(_, first)| first)
    }

    fn candidate(&self, now: Instant, source: Source) -> Option<Estimate> {
        match source {
            Source::Hub => self.hub.best(now),
            Source::Sntp => self.sntp.best(now),
            _ => self.told[source as usize],
        }
    }

    fn say(&mut self, outcome: Outcome) {
        if self.outcomes.is_full() {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(outcome).expect("room was made");
    }
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, within) = (query::time::format(self.unix.0), query::duration::format(self.uncertainty.0));
        write!(f, "{time} by {}, within {within}", self.source)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::BeforeBuild => "it is before this program was built",
            Refusal::Impossible => "its answer cannot have taken that long",
            Refusal::TooLate => "it is years after the last known time",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Disagreed { believed, other, by_ms } => {
                write!(f, "{other} is {by_ms} ms off {believed}, which is believed")
            }
            Outcome::Learned { source } => write!(f, "time learned from {source}"),
            Outcome::Refused { source, refusal } => write!(f, "time of {source} refused: {refusal}"),
            Outcome::Stepped { by_ms } => write!(f, "clock stepped by {by_ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests;
