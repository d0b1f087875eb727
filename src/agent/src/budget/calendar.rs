//! Which day it is, as far as can be known, and what became of the day before.
//!
//! A clock that jumps must neither refill a budget nor keep one empty. What passes on a clock that runs evenly is time; what a
//! clock is set to is only another name for the same day.
//!
//! | the clock | the day | the account of the old day |
//! |---|---|---|
//! | runs evenly over midnight, or for a day of uptime while unknown | [`Turn::Passed`] | is closed |
//! | is set, within a boot | [`Turn::Moved`] | goes on under the new name |
//! | is later in a new boot, or when learned in one | [`Turn::Resumed`] | is closed, but for what this boot spent |
//! | is earlier in a new boot, or when learned in one | [`Turn::Returned`] | goes on under the new name, and is kept |

use query::time::{Civil, UNIX_MS_MAX};
use serde::{Deserialize, Serialize};
use wire::time::{BootId, Instant, Span, Stamp};

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;

/// Milliseconds of an hour.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// The last day of the year 9999.
pub(super) const DAY_MAX: u32 = (UNIX_MS_MAX / DAY_MS) as u32;

/// How far civil time may move against uptime between two looks and still run evenly: what the agent calls a step of the clock.
const STEP_MS: u64 = 2000;

/// What became of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The same.
    Same,
    /// Another one; see the table above.
    Moved,
    /// Another one.
    Passed,
    /// Another one.
    Resumed,
    /// Another one.
    Returned,
}

/// What a look at the clock told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether the boot is another one than at the last look.
    pub(super) is_new_boot: bool,
    /// What became of the day.
    pub(super) turn: Turn,
    /// Whether the time between the looks is what it seems.
    pub(super) is_even: bool,
}

/// The day, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calendar {
    boot: BootId,
    /// Days since 1970, of local time; assumed from the days before while the time is unknown.
    day: u32,
    /// Local civil time less uptime, in this boot.
    offset_ms: Option<i64>,
    /// When the assumed day began, while the time is unknown.
    began: Instant,
}

impl Calendar {
    /// A calendar that begins at `now`, in a zone that is so many minutes east of UTC.
    pub(super) fn new(now: Stamp, zone_minutes: i16) -> Calendar {
        let mut calendar = Calendar { boot: now.boot, day: 0, offset_ms: None, began: now.uptime };
        calendar.look(now, zone_minutes);
        calendar
    }

    /// Whether kept bytes can be a calendar.
    pub(super) fn is_whole(&self) -> bool {
        self.day <= DAY_MAX
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self, now: Stamp, zone_minutes: i16) -> Look {
        let is_new_boot = now.boot != self.boot;
        if is_new_boot {
            *self = Calendar { boot: now.boot, day: self.day, offset_ms: None, began: Instant(0) };
        }
        let told = now.unix.map(|unix| {
            let local = signed(unix.0).saturating_add(i64::from(zone_minutes) * 60_000);
            local.saturating_sub(signed(now.uptime.0))
        });
        // A clock that was known once in this boot is known.
        let Some(offset_ms) = told.or(self.offset_ms) else {
            let days = (now.uptime - self.began).0 / DAY_MS;
            self.began = self.began + Span(days * DAY_MS);
            self.day = u64::from(self.day).saturating_add(days).min(u64::from(DAY_MAX)) as u32;
            return Look { is_new_boot, turn: if days > 0 { Turn::Passed } else { Turn::Same }, is_even: !is_new_boot };
        };
        let before = self.offset_ms.replace(offset_ms);
        let is_even = before.is_some_and(|before| before.abs_diff(offset_ms) <= STEP_MS);
        let day = (self.local_ms(now.uptime) / DAY_MS).min(u64::from(DAY_MAX)) as u32;
        let turn = match before {
            _ if day == self.day => Turn::Same,
            // Slewed back over midnight: the day has begun.
            Some(_) if is_even && day < self.day => Turn::Same,
            Some(_) if is_even => Turn::Passed,
            Some(_) => Turn::Moved,
            None if day > self.day => Turn::Resumed,
            None => Turn::Returned,
        };
        if turn != Turn::Same {
            self.day = day;
        }
        Look { is_new_boot, turn, is_even }
    }

    /// Days since 1970, or since the first day while the time was never known.
    pub(super) fn day(&self) -> u32 {
        self.day
    }

    /// The billing month that the day is in, which begins on the `first_day` of civil months, or on the last where there is
    /// no such day. Months are numbered without a gap.
    pub(super) fn month(&self, first_day: u8) -> u32 {
        month(self.day, first_day)
    }

    /// Days of the billing month that are left after this one.
    pub(super) fn days_left(&self, first_day: u8) -> u32 {
        let this = self.month(first_day);
        let (mut least, mut most) = (0_u32, 30);
        // Asked before each packet, and a day's month takes a division or two.
        while least < most {
            let middle = (least + most).div_ceil(2);
            if month(self.day + middle, first_day) == this { least = middle } else { most = middle - 1 }
        }
        least
    }

    /// Hours since 1970, if the time is known.
    pub(super) fn hour(&self, now: Instant) -> Option<u64> {
        self.offset_ms.map(|_| self.local_ms(now) / HOUR_MS)
    }

    /// How much of the day is left.
    pub(super) fn day_left(&self, now: Instant) -> Span {
        match self.offset_ms {
            Some(_) => Span(((u64::from(self.day) + 1) * DAY_MS).saturating_sub(self.local_ms(now)).clamp(1, DAY_MS)),
            None => Span(DAY_MS - (now - self.began).0.min(DAY_MS - 1)),
        }
    }

    fn local_ms(&self, now: Instant) -> u64 {
        signed(now.0).saturating_add(self.offset_ms.unwrap_or(0)).max(0).unsigned_abs()
    }
}

fn month(day: u32, first_day: u8) -> u32 {
    let civil = Civil::of_day;
    let today = civil(day);
    let has_begun = today.day >= u32::from(first_day) || civil(day + 1).day == 1;
    today.year * 12 + today.month - u32::from(!has_begun)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::UnixTime;

    fn stamp(boot: u32, uptime_h: u64, unix_h: Option<u64>) -> Stamp {
        let unix = unix_h.map(|hours| UnixTime(hours * HOUR_MS));
        Stamp { boot: BootId(boot), uptime: Instant(uptime_h * HOUR_MS), unix }
    }

    #[test]
    fn what_passes_is_time_and_what_is_set_is_a_name() {
        let mut calendar = Calendar::new(stamp(1, 0, Some(100 * 24 + 23)), 0);
        for (now, turn, day) in [
            (stamp(1, 1, Some(101 * 24)), Turn::Passed, 101),
            (stamp(1, 2, Some(500 * 24)), Turn::Moved, 500),
            (stamp(1, 3, Some(101 * 24 + 2)), Turn::Moved, 101),
            (stamp(1, 4, None), Turn::Same, 101),
            (stamp(1, 30, None), Turn::Passed, 102),
            (stamp(2, 0, None), Turn::Same, 102),
            (stamp(2, 23, None), Turn::Same, 102),
            (stamp(2, 25, None), Turn::Passed, 103),
            (stamp(2, 26, Some(110 * 24)), Turn::Resumed, 110),
            (stamp(3, 0, Some(50 * 24)), Turn::Returned, 50),
            (stamp(4, 0, Some(50 * 24)), Turn::Same, 50),
        ] {
            assert_eq!((calendar.look(now, 0).turn, calendar.day()), (turn, day), "{now:?}");
        }
    }

    #[test]
    fn midnight_is_that_of_the_zone() {
        let evening = stamp(1, 5, Some(100 * 24 + 22));
        let mut calendar = Calendar::new(evening, 120);
        assert_eq!((calendar.day(), calendar.day_left(evening.uptime)), (101, Span(DAY_MS)));
        assert_eq!(Calendar::new(evening, -60).day_left(evening.uptime), Span(3 * HOUR_MS));
        assert_eq!(calendar.look(evening.at(Instant(29 * HOUR_MS - 1)), 120).turn, Turn::Same);
        assert_eq!(calendar.look(evening.at(Instant(29 * HOUR_MS)), 120).turn, Turn::Passed);
    }

    #[test]
    fn a_billing_month_begins_on_its_day_or_on_the_last() {
        // 2024-01-30 is day 19752; February has 29 days.
        let months =
            |first_day| (19_752..19_752 + 62).filter(move |day| month(*day, first_day) != month(day - 1, first_day));
        let dates = |first_day| -> Vec<String> { months(first_day).map(|day| Civil::of_day(day).date()).collect() };
        assert_eq!(dates(1), ["2024-02-01", "2024-03-01"]);
        assert_eq!(dates(15), ["2024-02-15", "2024-03-15"]);
        assert_eq!(dates(31), ["2024-01-31", "2024-02-29", "2024-03-31"]);
        for day in 0..=DAY_MAX {
            let step = if day == 0 { 0 } else { month(day, 29) - month(day - 1, 29) };
            assert!(step <= 1, "{day}");
        }
    }

    #[test]
    fn the_days_left_lead_to_the_next_month() {
        for day in 19_000..19_800 {
            let mut calendar = Calendar::new(stamp(1, 0, Some(day * 24)), 0);
            let (month, left) = (calendar.month(20), calendar.days_left(20));
            calendar.look(stamp(1, u64::from(left + 1) * 24, None), 0);
            assert_eq!(calendar.month(20), month + 1);
        }
    }
}
