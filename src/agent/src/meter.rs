//! What the link costs, in the only path that sends: the [ledger](crate::budget) of the bearer in use, as the uplink asks it.
//!
//! ```text
//! journal -> uplink -> may this go? -> client -> packet -> what did it cost? -> bytes
//!                          |                                   |
//!                          +-------------> Ledger <------------+--- connection, interface
//! ```
//!
//! | of the budget | goes | waits in the journal |
//! |---|---|---|
//! | less than 70 % is used | what the tier's [policy](crate::policy) sends | |
//! | 70 % | what is critical or normal of that | bulk |
//! | 85 % | windows of that | ticks |
//! | 95 % | windows of five minutes and coarser that are new | windows of a minute, and history |
//! | the open part | what is urgent, with all that it needs | everything else; no ping, and no dial without an urgent batch |
//! | the reserve as well | nothing | everything |
//!
//! A batch is let in when it fits with the packets that it takes. A packet is asked about once more when it leaves, so that what is
//! lost on the way and sent again is bounded, too.
//!
//! Bytes are counted as they are sent and received, with what stands around them; a connection's own counters and the
//! interface's correct that. The count is kept with commits that happen anyway, and not with each: 270 bytes with every commit of a
//! minute are a seventh more for the flash to write. So a power cut may cost the count of a part in `KEEP_PART` of the budget, and
//! of a minute.

use journal::Journal;
use journal::journal::{SLOT_BYTES_MAX, SLOT_COUNT};
use link::channel::Carrier;
use link::estimator::Estimate;
use wire::event::Event;
use wire::id::Seq;
use wire::limits::FRAME_BYTES_MAX;
use wire::metric::Metric;
use wire::spent::{ByUse, Spent, USE_COUNT, Use};
use wire::stream::{Lane, STREAM_COUNT, Stream};
use wire::time::{Instant, Span, Stamp};

use crate::bearer::choice::{BEARER_COUNT_MAX, DEFAULT, Name, name};
use crate::bearer::estimates::Estimates;
use crate::bearer::{InUse, Listed};
use crate::budget::{LEDGER_BYTES_MAX, Ledger, Limit, Verdict};
use crate::policy::{Part, Pressure};
use crate::probe::Put;
use crate::question::{BearerReport, Period};

/// The journal's slots, from the end, because its own are the first: the highest step that was said with the ledger, and the
/// estimates.
const LEDGER_SLOT: usize = SLOT_COUNT - 1;
const ESTIMATES_SLOT: usize = SLOT_COUNT - 2;

/// The lowest of them.
pub const SLOTS_FROM: usize = ESTIMATES_SLOT;

/// Bytes of the largest packet.
const PACKET_BYTES_MAX: u64 = FRAME_BYTES_MAX as u64 + 100;

/// What a batch is cut to on a link of which nothing is known, and what stands around each piece.
const PIECE_BYTES: u64 = 480;
const AROUND_BYTES: u64 = Carrier::Stream.around_bytes() as u64 + 8;

/// Bytes of a dial with its greeting and welcome, at their most: some 600 besides what opens a connection.
const DIAL_BYTES: u64 = Carrier::Stream.opening_bytes() as u64 + 600;

/// What has waited for less is still new: a link that breaks and comes back is no outage.
const NEW: Span = Span::minutes(10);

/// The part of the smallest budget after which the count is kept, and how long it may wait for that.
const KEEP_PART: u64 = 400;
const KEEP_SPAN: Span = Span::minutes(15);

/// How often the series move. Between their steps they cost next to nothing.
const SERIES_SPAN: Span = Span::minutes(5);

/// What of the budget is used when the open part is.
const ALL_PER_CENT: u8 = 100;

/// What may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Closed,
    /// What waits in any lane.
    Open,
    /// What is urgent.
    Urgent,
}

impl Gate {
    /// The lanes that a packet may hold; `None` when there may be no packet.
    pub fn lanes(self) -> Option<&'static [Lane]> {
        match self {
            Gate::Closed => None,
            Gate::Open => Some(&Lane::ALL),
            Gate::Urgent => Some(&[Lane::Urgent]),
        }
    }
}

/// The ledger in the path that sends.
#[derive(Debug)]
pub struct Meter {
    bearer: Name,
    ledger: Ledger,
    limit: Limit,
    estimates: Estimates,
    /// Bytes of the batch that did not fit, by use: it is not read again until they do.
    refused_bytes: [Option<u64>; USE_COUNT],
    /// When what was refused in this step may be asked for again.
    retry_at: Option<Instant>,
    /// Batches below could not be sent while they were new.
    history: [Seq; STREAM_COUNT],
    /// Since when not everything that is new can be sent.
    away_since: Option<Instant>,
    /// Counted on the present connection.
    connection_bytes: u64,
    /// The interface that was counted last and its count, and the sum over all of them.
    interface: (String, u64),
    interface_bytes: u64,
    /// Counted since the count was kept, and when that was.
    unkept_bytes: u64,
    kept_at: Instant,
    /// The highest step that was said.
    said_per_cent: u8,
    unsaid: Option<Event>,
    /// Of each bearer that was in use since the start.
    totals: heapless::Vec<Total, BEARER_COUNT_MAX>,
    shown_at: Option<Instant>,
}

/// What a bearer has carried since the start.
#[derive(Debug)]
struct Total {
    bearer: Name,
    spent: Spent,
    /// As the series show it.
    shown: Spent,
}

const _: () = assert!(LEDGER_BYTES_MAX + 1 < SLOT_BYTES_MAX);

impl Meter {
    /// Goes on with what the journal has kept.
    pub fn open(journal: &Journal, now: Stamp) -> Meter {
        let (said_per_cent, kept) = journal.slot(LEDGER_SLOT).split_first().map_or((0, None), |(said, ledger)| {
            // Of another version, or none: nothing was spent.
            (*said, Ledger::decode(ledger, 0))
        });
        Meter {
            bearer: name(DEFAULT).expect("it is a name"),
            ledger: kept.unwrap_or_else(|| Ledger::new(now, 0)),
            limit: Limit::default(),
            estimates: Estimates::decode(journal.slot(ESTIMATES_SLOT)).unwrap_or_default(),
            refused_bytes: [None; USE_COUNT],
            retry_at: None,
            history: Stream::table(|stream| journal.next(stream)),
            away_since: None,
            connection_bytes: 0,
            interface: Default::default(),
            interface_bytes: 0,
            unkept_bytes: 0,
            kept_at: now.uptime,
            said_per_cent,
            unsaid: None,
            totals: heapless::Vec::new(),
            shown_at: None,
        }
    }

    /// Another bearer carries the link from here on, or the same one with another limit.
    pub fn carry(&mut self, now: Stamp, in_use: &InUse) {
        if self.bearer != in_use.name {
            self.interface = Default::default();
            self.ledger.rebase(&in_use.name);
        }
        self.bearer = in_use.name.clone();
        self.limit = in_use.limit;
        self.connection_bytes = 0;
        self.refused_bytes = [None; USE_COUNT];
        self.ledger.limit(now, &self.bearer, self.limit);
    }

    /// What the bearer in use has carried since the start. One for which there is no room is counted with the first.
    fn total(&mut self) -> &mut Total {
        let found = self.totals.iter().position(|total| total.bearer == self.bearer);
        let place = found.unwrap_or_else(|| {
            let total = Total { bearer: self.bearer.clone(), spent: Spent::default(), shown: Spent::default() };
            self.totals.push(total).map_or(0, |()| self.totals.len() - 1)
        });
        &mut self.totals[place]
    }

    /// Puts what there is to keep into the journal's slots, for the next commit, when it is time or that is the `last` one; says
    /// whether it did.
    pub fn keep(&mut self, now: Stamp, journal: &mut Journal, is_last: bool) -> bool {
        let budget_bytes = self.limit.day_bytes.into_iter().chain(self.limit.month_bytes).min();
        let is_much = budget_bytes.is_some_and(|bytes| self.unkept_bytes >= bytes / KEEP_PART);
        if !(is_much || is_last || now.uptime - self.kept_at >= KEEP_SPAN) {
            return false;
        }
        (self.unkept_bytes, self.kept_at) = (0, now.uptime);
        let mut bytes = vec![self.said_per_cent];
        bytes.extend(self.ledger.encode());
        journal.set_slot(LEDGER_SLOT, &bytes);
        journal.set_slot(ESTIMATES_SLOT, &self.estimates.encode());
        true
    }

    /// What was learned of the link.
    pub fn estimate(&self) -> Estimate {
        self.estimates.of(&self.bearer)
    }

    /// The link's estimate moved.
    pub fn learn(&mut self, estimate: Estimate) {
        self.estimates.learn(&self.bearer, estimate);
    }

    /// What a batch's bytes are for.
    pub fn purpose(&self, stream: Stream, seq: Seq) -> Use {
        match stream.lane() {
            Lane::Urgent => Use::Urgent,
            _ if self.part(stream, seq) == Part::Backlog => Use::Backlog,
            Lane::Summary => Use::Summary,
            Lane::Raw => Use::Raw,
        }
    }

    /// Whether a batch could be sent while it was new.
    pub fn part(&self, stream: Stream, seq: Seq) -> Part {
        if seq < self.history[stream.index()] { Part::Backlog } else { Part::Live }
    }

    /// Whether a batch is worth reading: what did not fit last time does now.
    pub fn is_open(&mut self, now: Stamp, stream: Stream, seq: Seq, waiting_bytes: usize) -> bool {
        let purpose = self.purpose(stream, seq);
        self.refused_bytes[purpose as usize].is_none_or(|bytes| self.lets_in(now, purpose, bytes, waiting_bytes))
    }

    /// Whether a batch may be sent behind the bytes that wait.
    pub fn lets_in(&mut self, now: Stamp, purpose: Use, bytes: u64, waiting_bytes: usize) -> bool {
        // Its last packet is asked about as if it were as large as can be.
        let whole_bytes = with_packets(bytes) + with_packets(waiting_bytes as u64) + PACKET_BYTES_MAX;
        let may = self.may(now, purpose, whole_bytes);
        self.refused_bytes[purpose as usize] = (!may).then_some(bytes);
        may
    }

    /// What the next packet may hold.
    pub fn gate(&mut self, now: Stamp) -> Gate {
        if self.may(now, Use::Overhead, PACKET_BYTES_MAX) {
            Gate::Open
        } else if self.may(now, Use::Urgent, PACKET_BYTES_MAX) {
            Gate::Urgent
        } else {
            Gate::Closed
        }
    }

    /// Whether to dial, and to keep a link alive, given whether something urgent waits.
    pub fn may_dial(&mut self, now: Stamp, is_urgent: bool) -> bool {
        self.may(now, Use::Overhead, DIAL_BYTES) || is_urgent && self.may(now, Use::Urgent, DIAL_BYTES)
    }

    fn may(&mut self, now: Stamp, purpose: Use, bytes: u64) -> bool {
        match self.ledger.may_send(now, &self.bearer, purpose, bytes) {
            Verdict::Yes => true,
            Verdict::NotBefore(at) => {
                self.retry_at = Some(self.retry_at.map_or(at, |before| before.min(at)));
                false
            }
        }
    }

    /// A step begins: what was refused before is asked for again.
    pub fn begin(&mut self) {
        self.retry_at = None;
    }

    /// When something that was refused may be asked for again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A packet left, or bytes came, with all that stands around them. What an urgent batch needs in a budget that is used up
    /// is as urgent.
    pub fn spend(&mut self, now: Stamp, by_use: ByUse, is_urgent: bool) {
        let needs_reserve = is_urgent && !self.may(now, Use::Overhead, PACKET_BYTES_MAX);
        for purpose in Use::ALL {
            let bytes = by_use[purpose as usize];
            let purpose = if purpose == Use::Overhead && needs_reserve { Use::Urgent } else { purpose };
            if bytes > 0 {
                self.ledger.spend(now, &self.bearer, purpose, bytes);
                self.connection_bytes = self.connection_bytes.saturating_add(bytes);
                self.unkept_bytes = self.unkept_bytes.saturating_add(bytes);
                let line = &mut self.total().spent.by_use[purpose as usize];
                *line = line.saturating_add(bytes);
            }
        }
    }

    /// As [`Meter::spend`], of what came or went besides batches.
    pub fn spend_overhead(&mut self, now: Stamp, bytes: u64, is_urgent: bool) {
        let mut by_use = [0; USE_COUNT];
        by_use[Use::Overhead as usize] = bytes;
        self.spend(now, by_use, is_urgent);
    }

    /// A connection stands, and has cost what it takes to open one.
    pub fn connected(&mut self, now: Stamp, carrier: Carrier, is_urgent: bool) {
        self.connection_bytes = 0;
        self.spend_overhead(now, carrier.opening_bytes() as u64, is_urgent);
    }

    /// The present connection has carried so much in all, as its own counters say. What is more than was counted here was
    /// handshakes, acks and what was sent again beneath.
    pub fn count_connection(&mut self, now: Stamp, bytes: u64, is_urgent: bool) {
        self.spend_overhead(now, bytes.saturating_sub(self.connection_bytes), is_urgent);
    }

    /// An interface has carried so much in all, for every program. What one had carried before the link came to it is not ours.
    pub fn count_interface(&mut self, now: Stamp, name: String, bytes: u64) {
        let (before_name, before_bytes) = std::mem::replace(&mut self.interface, (name, bytes));
        let is_known = before_name == self.interface.0;
        let passed = if is_known { bytes.checked_sub(before_bytes).unwrap_or(bytes) } else { 0 };
        self.interface_bytes = self.interface_bytes.saturating_add(passed);
        let other = self.ledger.reconcile(now, &self.bearer, self.interface_bytes);
        self.unkept_bytes = self.unkept_bytes.saturating_add(other);
        let spent = &mut self.total().spent;
        spent.other = spent.other.saturating_add(other);
    }

    /// Whether everything that is new can be sent. `true` is returned when that is so again after so long that what waits is
    /// history; [mark it](Meter::mark_history) then.
    pub fn notice(&mut self, now: Stamp, can_send: bool) -> bool {
        if !can_send {
            self.away_since.get_or_insert(now.uptime);
            return false;
        }
        self.away_since.take().is_some_and(|since| now.uptime - since > NEW)
    }

    /// What there is by now is history.
    pub fn mark_history(&mut self, journal: &Journal) {
        self.history = Stream::table(|stream| journal.next(stream));
    }

    /// What is to be said: a day that is over, or a step that was passed. What finds no room comes [back](Meter::unsay).
    pub fn poll_event(&mut self, now: Stamp) -> Option<Event> {
        if let Some(event) = self.unsaid.take() {
            return Some(event);
        }
        let used_per_cent = self.used_per_cent(now);
        if let Some(record) = self.ledger.poll_record() {
            let (day, spent, budget_bytes) = (record.day, record.spent, record.budget_bytes);
            return Some(Event::DataUsed { bearer: record.bearer, day, spent, budget_bytes });
        }
        let is_news = used_per_cent > std::mem::replace(&mut self.said_per_cent, used_per_cent);
        is_news.then(|| Event::BudgetUsed { bearer: self.bearer.clone(), per_cent: used_per_cent })
    }

    /// An event found no room.
    pub fn unsay(&mut self, event: Event) {
        self.unsaid = Some(event);
    }

    /// Whether no step is passed.
    pub fn is_at_ease(&mut self, now: Stamp) -> bool {
        self.used_per_cent(now) == 0
    }

    /// The step that was passed, of a hundred.
    fn used_per_cent(&mut self, now: Stamp) -> u8 {
        let pressure = self.pressure(now);
        if self.may(now, Use::Overhead, PACKET_BYTES_MAX) { per_cent(pressure) } else { ALL_PER_CENT }
    }

    /// The step of the budget that was passed.
    pub fn pressure(&mut self, now: Stamp) -> Pressure {
        self.ledger.standing(now, &self.bearer).map_or(Pressure::None, |standing| standing.pressure)
    }

    /// Puts the series of what was spent since the start.
    pub fn put(&mut self, now: Instant, put: &mut Put<'_>) {
        if self.shown_at.is_none_or(|at| now - at >= SERIES_SPAN) {
            self.totals.iter_mut().for_each(|total| total.shown = total.spent);
            self.shown_at = Some(now);
        }
        for Total { bearer, shown, .. } in &self.totals {
            for (word, bytes) in shown.parts().filter(|(_, bytes)| *bytes > 0) {
                let labels = [("bearer", bearer.as_bytes()), ("use", word.as_bytes())];
                put(Metric::UplinkBytes, &labels, i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
    }

    /// The accounts of a bearer, without the days before, for a person. `None` when there are more bearers than have room.
    pub fn report(&mut self, now: Stamp, listed: &Listed) -> Option<BearerReport> {
        self.ledger.limit(now, &listed.name, listed.limit);
        let standing = self.ledger.standing(now, &listed.name)?;
        let opens_in = match self.ledger.may_send(now, &listed.name, Use::Overhead, PACKET_BYTES_MAX) {
            Verdict::NotBefore(at) => Some(at - now.uptime),
            Verdict::Yes => None,
        };
        let used_per_cent = if opens_in.is_some() { ALL_PER_CENT } else { per_cent(standing.pressure) };
        let Estimate { rate, round_trip, loss } = self.estimates.of(&listed.name);
        let period = |spent, used_bytes, budget_bytes, forecast_bytes| Period {
            spent,
            used_bytes,
            budget_bytes,
            forecast_bytes,
        };
        let Limit { day_bytes, month_bytes, first_day, reserve_per_cent } = listed.limit;
        Some(BearerReport {
            name: listed.name.as_str().to_owned(),
            state: listed.to_string(),
            rate,
            round_trip,
            loss_1024: loss,
            day: period(standing.day, standing.day_bytes, day_bytes, standing.day_forecast_bytes),
            month: period(standing.month, standing.month_bytes, month_bytes, standing.month_forecast_bytes),
            first_day,
            reserve_per_cent,
            used_per_cent,
            opens_in,
            days: Vec::new(),
        })
    }
}

/// Where a step is.
fn per_cent(pressure: Pressure) -> u8 {
    match pressure {
        Pressure::None => 0,
        Pressure::Tight => 70,
        Pressure::Short => 85,
        Pressure::Spent => 95,
    }
}

/// What so many bytes come to in packets.
fn with_packets(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(PIECE_BYTES) * AROUND_BYTES
}

#[cfg(test)]
mod tests;
