//! What a day costs, by its weekday, and how it is spread over its hours: so what is still to come.
//!
//! Seven levels and one shape of 24 hours, not 168 averages: on eight simulated weeks of a policy's steady bytes the forecast at
//! noon errs by 1.6 % with either. Where weekends cost a third or three times as much, it errs by 2.7 and 3.5 against 1.6 %, but
//! eight bearers fit a journal's slot. (The 24 hours alone err by 32 % there.)

use serde::{Deserialize, Serialize};
use wire::time::Span;

use super::calendar::HOUR_MS;

const HOUR_COUNT: usize = 24;
const WEEKDAY_COUNT: usize = 7;

/// Weight of a new day in an hour's average: a quarter, so that a change of policy is believed within days.
const HOUR_WEIGHT: u64 = 4;

/// Weight of a new day in its weekday's level: a half, because it comes once a week.
const WEEKDAY_WEIGHT: u64 = 2;

/// Hours that must be known before there is a forecast at all.
const KNOWN_COUNT_MIN: u32 = 6;

/// Bytes of a day at their most: an hour's average is 32 bits.
const DAY_BYTES_MAX: u64 = HOUR_COUNT as u64 * u32::MAX as u64;

/// Bytes of a kept profile at their most.
pub(super) const PROFILE_BYTES_MAX: usize = 24 * 5 + 5 + 7 * 10 + 1 + 11 + 1 + 5 + 10 + 1;

/// The averages, and the day and hour that are not over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Profile {
    hours: [u32; HOUR_COUNT],
    /// A bit for each hour of the day that has an average.
    known_hours: u32,
    weekdays: [u64; WEEKDAY_COUNT],
    /// A bit for each weekday that has a level.
    known_weekdays: u8,
    /// The hour, since 1970, and whether all of it was seen.
    hour: Option<u64>,
    is_whole: bool,
    hour_bytes: u32,
    day_bytes: u64,
    /// Hours of the day that were seen whole.
    hour_count: u8,
}

impl Profile {
    /// Whether kept bytes can be a profile.
    pub(super) fn is_whole(&self) -> bool {
        let is_possible = |bytes: &u64| *bytes <= DAY_BYTES_MAX;
        let are_possible = self.weekdays.iter().chain([&self.day_bytes]).all(is_possible);
        are_possible && self.known_hours < 1 << HOUR_COUNT && self.known_weekdays < 1 << WEEKDAY_COUNT
    }

    /// Adds to the hour.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.hour_bytes = self.hour_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Time passed; `hour` is `None` while it is unknown, and `is_even` when the clock ran since the last time.
    pub(super) fn pass(&mut self, hour: Option<u64>, is_even: bool) {
        if hour == self.hour && is_even {
            return;
        }
        if let (Some(before), Some(now), true) = (self.hour, hour, is_even)
            && now > before
        {
            if self.is_whole {
                self.learn(before, self.hour_bytes);
            }
            // Of hours in which nothing happened, the last day is enough.
            let silent = (before + 1).max(now.saturating_sub(HOUR_COUNT as u64))..now;
            silent.for_each(|hour| self.learn(hour, 0));
        }
        self.is_whole = is_even && self.hour.is_some();
        self.hour = hour;
        self.hour_bytes = 0;
    }

    /// What `left` of the day costs; `None` before enough is known. While the hour is unknown, that of an hour is the mean.
    pub(super) fn rest(&self, left: Span) -> Option<u64> {
        let mean = self.mean()?;
        let hours = (left.0.div_ceil(HOUR_MS) as usize).clamp(1, HOUR_COUNT);
        let of_hour = |hour: usize| u128::from(if self.known_hours & 1 << hour == 0 { mean } else { self.hours[hour] });
        let all: u128 = (0..HOUR_COUNT).map(of_hour).sum();
        let later: u128 = (HOUR_COUNT - hours + 1..HOUR_COUNT).map(of_hour).sum();
        let level = self.hour.and_then(|hour| self.level(hour)).map_or(all, u128::from);
        let scaled = |bytes: u128| (bytes * level).checked_div(all).unwrap_or(0);
        // An hour that has cost what it costs costs no more, and of one that has not there is only a part left.
        let this = scaled(of_hour(HOUR_COUNT - hours));
        let part = this * u128::from(left.0.saturating_sub((hours as u64 - 1) * HOUR_MS)) / u128::from(HOUR_MS);
        let begun = part.min(this.saturating_sub(u128::from(self.hour_bytes)));
        u64::try_from(scaled(later) + begun).ok()
    }

    /// What so many days after this one cost.
    pub(super) fn days(&self, count: u32) -> Option<u64> {
        let mean = u64::from(self.mean()?) * HOUR_COUNT as u64;
        let level = |days: u64| {
            self.hour.and_then(|hour| self.level(hour.saturating_add(days * HOUR_COUNT as u64))).unwrap_or(mean)
        };
        Some((1..=u64::from(count)).map(level).fold(0, u64::saturating_add))
    }

    /// The level of the weekday that an hour is in.
    fn level(&self, hour: u64) -> Option<u64> {
        let weekday = weekday(hour);
        (self.known_weekdays & 1 << weekday != 0).then(|| self.weekdays[weekday])
    }

    /// The mean of the hours that are known.
    fn mean(&self) -> Option<u32> {
        let count = self.known_hours.count_ones();
        let sum: u64 = self.hours.iter().map(|average| u64::from(*average)).sum();
        (count >= KNOWN_COUNT_MIN).then(|| (sum / u64::from(count)) as u32)
    }

    /// Takes a whole hour, and with its last one a whole day.
    fn learn(&mut self, hour: u64, bytes: u32) {
        let place = (hour % HOUR_COUNT as u64) as usize;
        let is_known = self.known_hours & 1 << place != 0;
        let weight = if is_known { HOUR_WEIGHT } else { 1 };
        self.hours[place] = average(u64::from(self.hours[place]), u64::from(bytes), weight) as u32;
        self.known_hours |= 1 << place;
        if place == 0 {
            (self.day_bytes, self.hour_count) = (0, 0);
        }
        self.day_bytes = (self.day_bytes + u64::from(bytes)).min(DAY_BYTES_MAX);
        self.hour_count = self.hour_count.saturating_add(1);
        if place == HOUR_COUNT - 1 && usize::from(self.hour_count) == HOUR_COUNT {
            let weekday = weekday(hour);
            let is_known = self.known_weekdays & 1 << weekday != 0;
            let weight = if is_known { WEEKDAY_WEIGHT } else { 1 };
            self.weekdays[weekday] = average(self.weekdays[weekday], self.day_bytes, weight);
            self.known_weekdays |= 1 << weekday;
        }
    }
}

fn weekday(hour: u64) -> usize {
    (hour / HOUR_COUNT as u64) as usize % WEEKDAY_COUNT
}

/// `before`, moved by one part in `weight` of the way to `new`.
fn average(before: u64, new: u64, weight: u64) -> u64 {
    let step = before.abs_diff(new) / weight;
    if new >= before { before + step } else { before - step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// Bytes of an hour: a base, a working day's questions, and chance; a weekend costs `weekend` per cent.
    fn bytes(dice: &mut Dice, hour: u64, weekend: u64) -> u64 {
        let questions = if (8..18).contains(&(hour % 24)) { 30_000 } else { 0 };
        let scale = if hour / 24 % 7 < 2 { weekend } else { 100 };
        (20_000 + questions) * (80 + dice.below(41)) / 100 * scale / 100
    }

    /// The mean error of forecasts of the whole day at noon, in per mille, after four weeks to learn: ours, and that of one
    /// average for each hour of the week.
    fn errors(seed: u64, weekend: u64) -> [u64; 2] {
        let mut dice = Dice(seed);
        let (mut profile, mut week, mut day, mut noon) = (Profile::default(), [0; 168], 0, [0; 2]);
        let mut errors = [0; 2];
        for hour in 0..56 * 24 {
            profile.pass(Some(hour), true);
            if hour % 24 == 12 {
                let of_week: u64 = (hour..hour + 12).map(|hour| week[hour as usize % 168]).sum();
                noon = [day + profile.rest(Span(12 * HOUR_MS)).unwrap_or(0), day + of_week];
            }
            let bytes = bytes(&mut dice, hour, weekend);
            profile.spend(bytes);
            day += bytes;
            let of_week = &mut week[hour as usize % 168];
            *of_week = average(*of_week, bytes, if hour < 168 { 1 } else { 4 });
            if hour % 24 == 23 {
                let error = noon.map(|forecast| forecast.abs_diff(day) * 1000 / day);
                errors.iter_mut().zip(error).filter(|_| hour >= 28 * 24).for_each(|(sum, error)| *sum += error);
                day = 0;
            }
        }
        errors.map(|sum| sum / 28)
    }

    #[test]
    fn it_forecasts_as_well_as_an_average_for_each_hour_of_the_week() {
        for weekend in [100, 33, 300] {
            let all = (0..20).map(|seed| errors(seed, weekend));
            let [ours, of_week] =
                all.fold([0, 0], |sum, error| [sum[0] + error[0], sum[1] + error[1]]).map(|sum| sum / 20);
            assert!(ours <= of_week + 20, "{weekend} %: {ours} and {of_week} per mille");
        }
    }

    #[test]
    fn there_is_no_forecast_before_six_hours_and_a_good_one_after_a_day() {
        let mut profile = Profile::default();
        for hour in 0..49 {
            profile.pass(Some(hour), hour > 0);
            // Of the first hour nobody knows whether it was seen whole.
            assert_eq!(profile.rest(Span(HOUR_MS)).is_some(), hour >= 7, "{hour}");
            if hour < 48 {
                profile.spend(1000);
            }
        }
        assert_eq!(profile.rest(Span(24 * HOUR_MS)), Some(24_000));
        assert_eq!(profile.rest(Span(HOUR_MS * 3 / 2)), Some(1500));
        assert_eq!(profile.days(30), Some(30 * 24_000));
        // The hour that is not over costs what is left of it, in bytes or in time.
        profile.spend(700);
        assert_eq!(profile.rest(Span(HOUR_MS * 3 / 2)), Some(1300));
        assert_eq!(profile.rest(Span(HOUR_MS * 5 / 4)), Some(1250));
    }

    #[test]
    fn an_hour_that_was_not_seen_whole_teaches_nothing() {
        let mut profile = Profile::default();
        profile.pass(Some(5), false);
        profile.spend(9_000_000);
        profile.pass(Some(6), true);
        assert_eq!(profile.known_hours, 0);
        profile.spend(10);
        profile.pass(Some(500), false);
        profile.pass(None, true);
        profile.pass(Some(501), true);
        assert_eq!(profile.known_hours, 0);
        profile.pass(Some(502), true);
        profile.pass(Some(504), true);
        assert_eq!((profile.known_hours.count_ones(), profile.hours), (2, [0; HOUR_COUNT]));
    }
}
