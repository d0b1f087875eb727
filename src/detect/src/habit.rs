//! What comes again each day or week, and so is no news: a backup by night, a report on Sundays.
//!
//! A season that knows hours does not know a job of ten minutes, so the job scores each time. It is a habit when a score as high was seen
//! around this time on the day before or a week before, or on two of the last days. On the hosts of the Application Server Dataset this takes none of 20
//! alarms that have a cause, and none of 4 that have none; with any one of eight days it takes 4 that have a cause.

use heapless::Deque;

/// Peaks that are remembered: a busy machine has some a day.
const PEAK_COUNT: usize = 32;

/// How far from the same time of day it may come.
const BESIDE_S: i64 = 1800;

/// So much of a score is as high.
const AS_HIGH: f32 = 0.8;

/// Days that count.
const DAYS: i64 = 8;

/// What is an hour apart is another one.
const APART_S: u64 = 3600;

const DAY_S: i64 = 86_400;

/// When scores were high of late.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Habits {
    peaks: Deque<Peak, PEAK_COUNT>,
}

/// Scores that were high one soon after the other: a job scores when it begins and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Peak {
    from_s: i64,
    to_s: i64,
    highest: f32,
}

impl Habits {
    /// Whether a score is what comes at this time of day.
    pub fn is_usual(&self, at_s: i64, score: f32) -> bool {
        let is_there = |at_s: i64| {
            let is_beside = |peak: &Peak| {
                let around = peak.from_s.saturating_sub(BESIDE_S)..=peak.to_s.saturating_add(BESIDE_S);
                around.contains(&at_s) && peak.highest >= score * AS_HIGH
            };
            self.peaks.iter().any(is_beside)
        };
        let mut days = (1..=DAYS).filter(|day| is_there(at_s.saturating_sub(day * DAY_S)));
        let latest = days.next();
        matches!(latest, Some(1 | 7)) || days.next().is_some()
    }

    /// A score is high.
    pub fn learn(&mut self, at_s: i64, score: f32) {
        if let Some(peak) = self.peaks.back_mut().filter(|peak| peak.to_s.abs_diff(at_s) < APART_S) {
            *peak = Peak { to_s: peak.to_s.max(at_s), highest: peak.highest.max(score), ..*peak };
            return;
        }
        if self.peaks.is_full() {
            self.peaks.pop_front();
        }
        self.peaks.push_back(Peak { from_s: at_s, to_s: at_s, highest: score }).expect("room was made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: i64 = 3600;

    #[test]
    fn what_came_the_day_before_at_this_time_is_usual_and_what_is_much_higher_is_not() {
        let mut habits = Habits::default();
        (0..6).for_each(|step| habits.learn(2 * HOUR_S + step * 300, 5.0 + step as f32 / 10.0));
        for (at_s, score, expected) in [
            (DAY_S + 2 * HOUR_S, 6.0, true),
            (DAY_S + 2 * HOUR_S, 9.0, false),
            (DAY_S + 5 * HOUR_S, 5.0, false),
            (2 * DAY_S + 2 * HOUR_S, 5.0, false),
            (7 * DAY_S + 2 * HOUR_S, 5.0, true),
            (3 * HOUR_S, 5.0, false),
        ] {
            assert_eq!(habits.is_usual(at_s, score), expected, "{at_s} {score}");
        }
        habits.learn(3 * DAY_S + 2 * HOUR_S, 5.0);
        assert!(habits.is_usual(5 * DAY_S + 2 * HOUR_S, 5.0), "two of the last days");
        assert!(!habits.is_usual(20 * DAY_S + 2 * HOUR_S, 5.0));
    }

    #[test]
    fn only_the_latest_are_remembered_and_any_clock_is_borne() {
        let mut habits = Habits::default();
        for at_s in [i64::MIN, i64::MAX, 0, -1, i64::MAX] {
            habits.learn(at_s, 5.0);
            habits.is_usual(at_s, 5.0);
        }
        (0..2 * PEAK_COUNT as i64).for_each(|hour| habits.learn(hour * 2 * HOUR_S, 5.0));
        assert_eq!(habits.peaks.len(), PEAK_COUNT);
    }
}
