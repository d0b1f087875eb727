//! One bearer's accounts, and what they allow.

use serde::{Deserialize, Serialize};
use wire::spent::{Spent, USE_COUNT, Use};
use wire::time::{Instant, Span};

use super::account::Account;
use super::calendar::{Calendar, DAY_MAX, DAY_MS, HOUR_MS, Turn};
use super::profile::{PROFILE_BYTES_MAX, Profile};
use super::{Limit, Record, Standing, Verdict};
use crate::bearer::choice::{NAME_BYTES_MAX, Name};
use crate::policy::Pressure;

/// Of a thousand of the open part, where a step begins: the design's 70, 85 and 95 %.
const STEPS: [(u64, Pressure); 3] = [(950, Pressure::Spent), (850, Pressure::Short), (700, Pressure::Tight)];

/// How far below its beginning a step ends: less than a heartbeat's day, more than a rounding.
const STEP_HYSTERESIS: u64 = 50;

/// How much more of ours than of the interface's is put down to packets on their way. More is our own error, which must
/// not hide other programs' traffic for ever.
const EXCESS_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a kept book at their most.
pub(super) const BOOK_BYTES_MAX: usize = {
    let account = 5 + 10 + 2 * 10 * (USE_COUNT + 1) + 1 + 5 + 10;
    1 + NAME_BYTES_MAX + 2 * account + PROFILE_BYTES_MAX + 11 + 1
};

/// One bearer's accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    pub(super) name: Name,
    day: Account,
    month: Account,
    profile: Profile,
    /// What the day was expected to cost when it began.
    forecast_bytes: Option<u64>,
    /// By which the month is named: kept, so that a restart before the settings are known names it alike.
    first_day: u8,
    #[serde(skip)]
    limit: Limit,
    #[serde(skip)]
    pressure: Pressure,
    #[serde(skip)]
    interface: Interface,
}

/// The comparison with the interface's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Interface {
    /// What it had counted, the last time.
    counted_bytes: Option<u64>,
    /// What we have counted since.
    ours_bytes: u64,
}

/// One period's limit, and what of it is gone.
#[derive(Clone, Copy, Debug)]
struct Period {
    limit_bytes: u64,
    used_bytes: u64,
    urgent_bytes: u64,
    /// What is still to come, as far as is known.
    rest_bytes: Option<u64>,
    left: Span,
}

impl Book {
    pub(super) fn new(name: Name, calendar: &Calendar) -> Book {
        Book {
            name,
            day: Account::new(calendar.day()),
            month: Account::new(calendar.month(Limit::default().first_day)),
            profile: Profile::default(),
            forecast_bytes: None,
            first_day: Limit::default().first_day,
            limit: Limit::default(),
            pressure: Pressure::None,
            interface: Interface::default(),
        }
    }

    /// Whether kept bytes can be a book.
    pub(super) fn is_whole(&self) -> bool {
        !self.name.is_empty() && self.profile.is_whole() && self.day.number <= DAY_MAX
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.day_bytes.is_some() || self.limit.month_bytes.is_some()
    }

    pub(super) fn month_bytes(&self) -> u64 {
        self.month.used()
    }

    /// Sets the limit; `month` is the present one by it. Another first day is another name for the month.
    pub(super) fn set_limit(&mut self, limit: Limit, month: u32) {
        if limit.first_day != self.first_day {
            self.month.turn(Turn::Moved, month);
            self.first_day = limit.first_day;
        }
        self.limit = limit;
    }

    pub(super) fn boot(&mut self) {
        self.day.boot();
        self.month.boot();
    }

    pub(super) fn pass_hour(&mut self, hour: Option<u64>, is_even: bool) {
        self.profile.pass(hour, is_even);
    }

    /// The day is another one than `old`. Hands out the day that was closed, when anything was spent in it.
    pub(super) fn turn(&mut self, now: Instant, turn: Turn, old: u32, calendar: &Calendar) -> Option<Record> {
        self.month.turn(turn, calendar.month(self.first_day));
        let spent = self.day.turn(turn, calendar.day())?;
        let forecast_bytes = std::mem::replace(&mut self.forecast_bytes, self.profile.rest(calendar.day_left(now)));
        let record =
            Record { bearer: self.name.clone(), day: old, spent, budget_bytes: self.limit.day_bytes, forecast_bytes };
        (spent != Spent::default()).then_some(record)
    }

    pub(super) fn spend(&mut self, purpose: Use, bytes: u64) {
        self.day.spend(purpose, bytes);
        self.month.spend(purpose, bytes);
        self.interface.ours_bytes = self.interface.ours_bytes.saturating_add(bytes);
        // The backlog is no habit: an outage's history must not be expected again tomorrow.
        if purpose != Use::Backlog {
            self.profile.spend(bytes);
        }
    }

    pub(super) fn rebase(&mut self) {
        self.interface = Interface::default();
    }

    pub(super) fn reconcile(&mut self, counted_bytes: u64) -> u64 {
        let before = self.interface.counted_bytes.replace(counted_bytes);
        let ours = std::mem::take(&mut self.interface.ours_bytes);
        let Some(before) = before else { return 0 };
        // An interface that was made anew counts from zero.
        let all = counted_bytes.checked_sub(before).unwrap_or(counted_bytes);
        let other = all.saturating_sub(ours);
        self.interface.ours_bytes = ours.saturating_sub(all).min(EXCESS_BYTES_MAX);
        self.day.spend_other(other);
        self.month.spend_other(other);
        self.profile.spend(other);
        other
    }

    pub(super) fn may_send(&self, calendar: &Calendar, now: Instant, purpose: Use, bytes: u64) -> Verdict {
        let refused = self.periods(calendar, now).filter_map(|period| self.refuses(&period, purpose, bytes));
        match refused.max() {
            Some(pause) => Verdict::NotBefore(now + pause),
            None => Verdict::Yes,
        }
    }

    pub(super) fn standing(&self, calendar: &Calendar, now: Instant) -> Standing {
        let rests = self.rests(calendar, now);
        Standing {
            day_bytes: self.day.used(),
            month_bytes: self.month.used(),
            day: *self.day.own(),
            month: *self.month.own(),
            day_forecast_bytes: rests.map(|(day, _)| self.day.used().saturating_add(day)),
            month_forecast_bytes: rests.map(|(_, month)| self.month.used().saturating_add(month)),
            pressure: self.pressure,
        }
    }

    /// Takes the step that was passed.
    pub(super) fn press(&mut self, calendar: &Calendar, now: Instant) {
        let periods: heapless::Vec<Period, 2> = self.periods(calendar, now).collect();
        // What is spent as forecast is spent in time; the last step is no matter of forecasts.
        let is_early = |period: &Period| {
            let forecast = period.rest_bytes.map(|rest| period.used_bytes.saturating_add(rest));
            forecast.is_none_or(|forecast| forecast > self.open_bytes(period))
        };
        let is_entered = |(from, step): &(u64, Pressure)| {
            let is_passed = |period: &Period| self.used_per_mille(period) >= *from;
            periods.iter().any(|period| is_passed(period) && (*step == Pressure::Spent || is_early(period)))
        };
        let is_held = |(from, step): &(u64, Pressure)| {
            let is_near = |period: &Period| self.used_per_mille(period) >= from - STEP_HYSTERESIS;
            *step <= self.pressure && periods.iter().any(is_near)
        };
        let passed = STEPS.into_iter().find(|step| is_entered(step) || is_held(step));
        self.pressure = passed.map_or(Pressure::None, |(_, step)| step);
    }

    /// How long a period refuses.
    fn refuses(&self, period: &Period, purpose: Use, bytes: u64) -> Option<Span> {
        let open = self.open_bytes(period);
        let after = period.used_bytes.saturating_add(bytes);
        match purpose {
            Use::Urgent => {
                let reserve = period.limit_bytes - open;
                let is_within = after <= period.limit_bytes || period.urgent_bytes.saturating_add(bytes) <= reserve;
                (!is_within).then_some(period.left)
            }
            _ if after > open => Some(period.left),
            // History leaves room for what is still to come. An hour later less is to come.
            Use::Backlog if after.saturating_add(period.rest_bytes.unwrap_or(0)) > open => {
                Some(period.left.min(Span(HOUR_MS)))
            }
            _ => None,
        }
    }

    /// What is not reserved.
    fn open_bytes(&self, period: &Period) -> u64 {
        let reserve_per_cent = u128::from(self.limit.reserve_per_cent.min(100));
        (u128::from(period.limit_bytes) * (100 - reserve_per_cent) / 100) as u64
    }

    fn used_per_mille(&self, period: &Period) -> u64 {
        let used = u128::from(period.used_bytes) * 1000 / u128::from(self.open_bytes(period).max(1));
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    /// The periods that have a limit.
    fn periods(&self, calendar: &Calendar, now: Instant) -> impl Iterator<Item = Period> {
        let rests = self.rests(calendar, now);
        let day_left = calendar.day_left(now);
        let month_left = Span(day_left.0 + u64::from(calendar.days_left(self.first_day)) * DAY_MS);
        let period = |limit: Option<u64>, account: &Account, rest_bytes, left| {
            let (used_bytes, urgent_bytes) = (account.used(), account.own().by_use[Use::Urgent as usize]);
            limit.map(|limit_bytes| Period { limit_bytes, used_bytes, urgent_bytes, rest_bytes, left })
        };
        let day = period(self.limit.day_bytes, &self.day, rests.map(|(day, _)| day), day_left);
        let month = period(self.limit.month_bytes, &self.month, rests.map(|(_, month)| month), month_left);
        [day, month].into_iter().flatten()
    }

    /// What the rest of the day and of the month will cost.
    fn rests(&self, calendar: &Calendar, now: Instant) -> Option<(u64, u64)> {
        let day = self.profile.rest(calendar.day_left(now))?;
        Some((day, day.saturating_add(self.profile.days(calendar.days_left(self.first_day))?)))
    }
}
