//! What each bearer may cost in a day and a billing month, and the gate in the only path that sends.
//!
//! Bytes are whole IP packets. The caller says what each of them was for; what the interface's own counters have more than that
//! is other programs' traffic, which is charged too, because it is on the same bill.
//!
//! ```text
//! 0 %                     70 %       85 %    95 % 100 % of the open part
//! |------------------------|----------|--------|---|-------------------|
//!       everything           Tight      Short   Spent    reserve: urgent alone
//! ```
//!
//! The reserve belongs to what is urgent, whatever else was spent, other programs included. A step that is passed before its time
//! makes the [policy](crate::policy) thriftier; one that is passed as forecast does not, unless it is the last. A step holds
//! until its period is over: what eases within a day would only be spent again.
//!
//! What a clock that jumps does to it is told in `calendar.rs`. Kept in a journal's slot:
//!
//! ```text
//! offset  field     type      meaning
//! 0       version   u8        1
//! 1       calendar  postcard  boot, day, offset, beginning of an assumed day
//!         books     postcard  up to 8: name, accounts of the day and the month, profile
//! ```

mod account;
mod book;
mod calendar;
mod profile;

use heapless::{Deque, Vec};
use serde::{Deserialize, Serialize};
use wire::spent::{Spent, Use};
use wire::time::{Instant, Stamp};

use self::book::Book;
use self::calendar::{Calendar, Look, Turn};
use crate::bearer::choice::{BEARER_COUNT_MAX, Name, name};
use crate::policy::Pressure;

const VERSION: u8 = 1;

/// Bytes of a ledger with eight bearers whose numbers are as long as can be; with two bearers it is some 500.
pub const LEDGER_BYTES_MAX: usize = 36 + BEARER_COUNT_MAX * book::BOOK_BYTES_MAX;

/// Records that wait for a batch: one for each bearer, when a day is over.
pub const RECORD_COUNT_MAX: usize = BEARER_COUNT_MAX;

/// What a bearer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes in a day; `None` is no limit.
    pub day_bytes: Option<u64>,
    /// Bytes in a billing month.
    pub month_bytes: Option<u64>,
    /// The day on which billing months begin, 1 to 31; the last of shorter months.
    pub first_day: u8,
    /// Of a hundred, how much only urgent things may use.
    pub reserve_per_cent: u8,
}

impl Default for Limit {
    fn default() -> Limit {
        // The design's reserve: on 1 MB a day it is room for 300 alerts with a dial each.
        Limit { day_bytes: None, month_bytes: None, first_day: 1, reserve_per_cent: 10 }
    }
}

/// The gate's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not before then; ask again.
    NotBefore(Instant),
    /// It may be sent.
    Yes,
}

/// One bearer's day, for a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The bearer.
    pub bearer: Name,
    /// Days since 1970, of local time; assumed when the time was never known.
    pub day: u32,
    /// What was spent, by use.
    pub spent: Spent,
    /// What might have been.
    pub budget_bytes: Option<u64>,
    /// What was expected when the day began, if enough was known.
    pub forecast_bytes: Option<u64>,
}

impl Record {
    /// How much more was forecast than spent, of a hundred; less is negative.
    pub fn forecast_error_per_cent(&self) -> Option<i64> {
        let (forecast, spent) = (i128::from(self.forecast_bytes?), i128::from(self.spent.total().max(1)));
        i64::try_from((forecast - spent) * 100 / spent).ok()
    }
}

/// How a bearer's money stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Spent today, also before the clock was set to what is today.
    pub day_bytes: u64,
    /// Spent this billing month.
    pub month_bytes: u64,
    /// Today's by use.
    pub day: Spent,
    /// The month's by use.
    pub month: Spent,
    /// What today will have cost, if enough is known.
    pub day_forecast_bytes: Option<u64>,
    /// What the month will have cost.
    pub month_forecast_bytes: Option<u64>,
    /// The step that was passed.
    pub pressure: Pressure,
}

/// The accounts of all bearers.
#[derive(Debug)]
pub struct Ledger {
    zone_minutes: i16,
    calendar: Calendar,
    books: Vec<Book, BEARER_COUNT_MAX>,
    records: Deque<Record, RECORD_COUNT_MAX>,
    /// Bytes of bearers that found no place.
    uncounted_bytes: u64,
}

const _: () = assert!(size_of::<Ledger>() <= 6 << 10);
const _: () = assert!(LEDGER_BYTES_MAX < journal::journal::SLOT_BYTES_MAX);

impl Ledger {
    /// A ledger in which nothing was spent. Days begin at midnight so many minutes east of UTC.
    pub fn new(now: Stamp, zone_minutes: i16) -> Ledger {
        let calendar = Calendar::new(now, zone_minutes);
        Ledger { zone_minutes, calendar, books: Vec::new(), records: Deque::new(), uncounted_bytes: 0 }
    }

    /// Reads what [`Ledger::encode`] wrote. Anything else is no ledger: begin with a new one, and say so.
    pub fn decode(bytes: &[u8], zone_minutes: i16) -> Option<Ledger> {
        let (&VERSION, packed) = bytes.split_first()? else { return None };
        let ((calendar, books), rest) =
            postcard::take_from_bytes::<(Calendar, Vec<Book, BEARER_COUNT_MAX>)>(packed).ok()?;
        let is_first = |place: usize| books[..place].iter().all(|other: &Book| other.name != books[place].name);
        let are_whole = (0..books.len()).all(|place| is_first(place) && books[place].is_whole());
        (rest.is_empty() && calendar.is_whole() && are_whole).then(|| Ledger {
            zone_minutes,
            calendar,
            books,
            records: Deque::new(),
            uncounted_bytes: 0,
        })
    }

    /// The ledger in at most [`LEDGER_BYTES_MAX`] bytes.
    pub fn encode(&self) -> std::vec::Vec<u8> {
        let bytes =
            postcard::to_extend(&(&self.calendar, &self.books), vec![VERSION]).expect("a vector takes every byte");
        assert!(bytes.len() <= LEDGER_BYTES_MAX);
        bytes
    }

    /// Sets what a bearer may cost. Without, it is counted and not limited.
    pub fn limit(&mut self, now: Stamp, bearer: &str, limit: Limit) {
        self.pass(now);
        let Some(place) = self.place(bearer) else { return };
        let month = self.calendar.month(limit.first_day);
        self.books[place].set_limit(limit, month);
        self.books[place].press(&self.calendar, now.uptime);
    }

    /// Whether so many bytes may be sent over a bearer. Ask for pieces, with their packets: more than the whole open part of a
    /// day in one piece is never allowed.
    pub fn may_send(&mut self, now: Stamp, bearer: &str, purpose: Use, bytes: u64) -> Verdict {
        self.pass(now);
        match self.place(bearer) {
            Some(place) => self.books[place].may_send(&self.calendar, now.uptime, purpose, bytes),
            None => Verdict::Yes,
        }
    }

    /// Bytes were sent or received over a bearer.
    pub fn spend(&mut self, now: Stamp, bearer: &str, purpose: Use, bytes: u64) {
        self.pass(now);
        match self.place(bearer) {
            Some(place) => {
                self.books[place].spend(purpose, bytes);
                self.books[place].press(&self.calendar, now.uptime);
            }
            None => self.uncounted_bytes = self.uncounted_bytes.saturating_add(bytes),
        }
    }

    /// The link comes back to a bearer: what its interface counted meanwhile was not the link's.
    pub fn rebase(&mut self, bearer: &str) {
        if let Some(place) = self.place(bearer) {
            self.books[place].rebase();
        }
    }

    /// Takes what the interface itself has counted, in both directions. Returns how much of it was other programs' since the
    /// last time, which is charged to the bearer. The first time after a start only begins the comparison.
    pub fn reconcile(&mut self, now: Stamp, bearer: &str, interface_bytes: u64) -> u64 {
        self.pass(now);
        let Some(place) = self.place(bearer) else { return 0 };
        let other = self.books[place].reconcile(interface_bytes);
        self.books[place].press(&self.calendar, now.uptime);
        other
    }

    /// How a bearer stands.
    pub fn standing(&mut self, now: Stamp, bearer: &str) -> Option<Standing> {
        self.pass(now);
        let book = self.books.iter().find(|book| book.name == bearer)?;
        Some(book.standing(&self.calendar, now.uptime))
    }

    /// A day that is over. When nobody asks, the oldest is forgotten.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Bytes that were counted nowhere, since the start, because there are more bearers than have room.
    pub fn uncounted_bytes(&self) -> u64 {
        self.uncounted_bytes
    }

    /// Lets time pass.
    fn pass(&mut self, now: Stamp) {
        let old = self.calendar.day();
        let Look { is_new_boot, turn, is_even } = self.calendar.look(now, self.zone_minutes);
        let hour = self.calendar.hour(now.uptime);
        for book in &mut self.books {
            if is_new_boot {
                book.boot();
            }
            book.pass_hour(hour, is_even);
            if turn == Turn::Same {
                continue;
            }
            if let Some(record) = book.turn(now.uptime, turn, old, &self.calendar) {
                if self.records.is_full() {
                    self.records.pop_front();
                }
                self.records.push_back(record).expect("room was made");
            }
            book.press(&self.calendar, now.uptime);
        }
    }

    /// The place of a bearer's book. The one without a limit that was spent least on this month makes room.
    fn place(&mut self, bearer: &str) -> Option<usize> {
        if let Some(place) = self.books.iter().position(|book| book.name == bearer) {
            return Some(place);
        }
        let book = Book::new(name(bearer)?, &self.calendar);
        if self.books.is_full() {
            let unlimited = self.books.iter().enumerate().filter(|(_, book)| !book.is_limited());
            let (place, _) = unlimited.min_by_key(|(_, book)| book.month_bytes())?;
            self.books[place] = book;
            return Some(place);
        }
        self.books.push(book).expect("it is not full");
        Some(self.books.len() - 1)
    }
}

#[cfg(test)]
mod tests;
