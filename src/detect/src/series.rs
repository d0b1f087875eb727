//! One series, and whether it does something that it never did.
//!
//! ```text
//!            ┌─ minus what the hour leads to expect ── smoothed ─┐
//!  value ────┤                                                   ├── a record? how large? ── the larger ── alarm, then quiet
//!            └─ how seldom a value was near it ──────────────────┘
//! ```
//!
//! Both signals are scored alike: by how much they exceed what they ever were, as a fraction of an [`Envelope`] of their own
//! past. So there is one threshold for series of any size, shape and noise, nothing has to be known of its range, and the
//! longer a series is known the seldomer it alarms. A spike that comes again is no news; a beat that is missed is, since the
//! residual stays away from zero for longer than it ever did.
//!
//! # Where the numbers are from
//!
//! The development half of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating Real-time Anomaly Detection
//! Algorithms", 2015), where this scores 70: the numbers were varied at random with each other, by factors of two and more,
//! and nine of ten such sets score 68 to 71, each at its best threshold. So they are round ones from the middle. Tried and no
//! better: the fast minus the slow average of the value, its change from sample to sample, its activity; sums of signals
//! instead of the larger; more weight for a longer past.

use crate::envelope::Envelope;
use crate::mean::Mean;
use crate::measured;
use crate::rarity::Rarity;
use crate::season::Season;

/// The score from which on it is an alarm.
pub const THRESHOLD: f32 = 0.065;

/// Samples before anything is scored: a day of them at five minutes, which is a whole rhythm.
pub const WARM_UP: u16 = 288;

/// Samples without a score after an alarm: six hours at five minutes. What goes on for longer is known by then.
pub const QUIET: u16 = 72;

/// Samples over which the residual is smoothed: a spike has to be large to count as much as what lasts half an hour.
const SMOOTH: u32 = 5;

/// Samples that the level rests on.
const LEVEL: u32 = 100;

/// Below this share of the level a change is no news, however quiet the series was.
const LEAST_CHANGE: f32 = 0.02;

/// What rarity's envelope is taken wider by: before it knows much, half a step of the logarithm is no news.
const LEAST_RARITY: f32 = 0.5;

/// What is known of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detector {
    past: Option<Past>,
    warm_up_count: u16,
    quiet_count: u16,
}

const _: () = assert!(size_of::<Detector>() <= 512);

#[derive(Clone, Debug, PartialEq)]
struct Past {
    season: Season,
    level: Mean<LEVEL>,
    departure: Mean<SMOOTH>,
    departures: Envelope,
    rarity: Rarity,
    rarities: Envelope,
}

/// What is said of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// How much of a record it is: 0 for none, towards 1. Always 0 in the warm-up, in the quiet after an alarm, and for no
    /// value.
    pub score: f32,
    /// Between which values the series was expected to stay, by the time of day and what it ever did; `None` until it is known.
    /// A single value may lie outside: it counts as much as one that is nearer and lasts.
    pub expected: Option<Band>,
    /// Whether the score reaches the threshold, and by which signal.
    pub alarm: Option<Cause>,
}

/// A range of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// From here.
    pub low: f32,
    /// To here.
    pub high: f32,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is farther from where it is at this time of day than ever.
    Departure,
    /// Never was a value so rare, though it may lie within the band.
    Rarity,
}

impl Detector {
    /// Nothing known yet.
    pub fn new() -> Detector {
        Detector::default()
    }

    /// Judges a sample by all before it, and learns it.
    ///
    /// `at_s` is any count of seconds whose days have 86,400 of them. No value, or one that is no number, is passed over.
    pub fn update(&mut self, at_s: i64, value: Option<f64>) -> Verdict {
        let Some(value) = measured(value) else { return Verdict::default() };
        let (departure, rarity, expected) = self.past.get_or_insert_with(|| Past::new(value)).judge(at_s, value);
        if self.warm_up_count < WARM_UP {
            self.warm_up_count += 1;
            return Verdict::default();
        }
        if self.quiet_count > 0 {
            self.quiet_count -= 1;
            return Verdict { expected: Some(expected), ..Verdict::default() };
        }
        let (score, cause) = if departure >= rarity { (departure, Cause::Departure) } else { (rarity, Cause::Rarity) };
        let alarm = (score >= THRESHOLD).then_some(cause);
        if alarm.is_some() {
            self.quiet_count = QUIET;
        }
        Verdict { score, expected: Some(expected), alarm }
    }

    /// Whether it has seen enough to judge.
    pub fn is_warm(&self) -> bool {
        self.warm_up_count == WARM_UP
    }
}

impl Past {
    fn new(value: f32) -> Past {
        Past {
            season: Season::default(),
            level: Mean::default(),
            departure: Mean::default(),
            departures: Envelope::default(),
            rarity: Rarity::around(value),
            rarities: Envelope::default(),
        }
    }

    /// How much of a record a value is by either signal, and what was expected; and learns it.
    fn judge(&mut self, at_s: i64, value: f32) -> (f32, f32, Band) {
        self.level.add(value);
        let level = self.level.value();
        let expected = self.season.expected(at_s, level);
        let residual = value - expected;
        self.season.learn(at_s, level, residual);

        self.departure.add(residual);
        let departure = self.departure.value();
        let floor = level.abs() * LEAST_CHANGE + f32::MIN_POSITIVE;
        let departure_record = self.departures.outside(departure, floor);
        let band = Band { low: expected + self.departures.low(), high: expected + self.departures.high() };
        self.departures.admit(departure);

        let rarity = self.rarity.admit(value);
        let rarity_record = self.rarities.above(rarity, LEAST_RARITY);
        self.rarities.admit(rarity);
        (departure_record, rarity_record, band)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const STEP_S: i64 = 300;
    const DAY: i64 = 288;

    /// Noise between -1 and 1, the same for the same step.
    fn noise(step: i64) -> f64 {
        let mixed = (step as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Busy by day, idle at night.
    fn daily(step: i64) -> f64 {
        if (8..18).contains(&(step / 12 % 24)) { 60.0 + 5.0 * noise(step) } else { 10.0 + noise(step) }
    }

    /// The steps at which a series alarms.
    fn alarms(steps: i64, value: impl Fn(i64) -> f64) -> Vec<i64> {
        let mut detector = Detector::new();
        (0..steps).filter(|step| detector.update(step * STEP_S, Some(value(*step))).alarm.is_some()).collect()
    }

    #[test]
    fn a_constant_never_alarms() {
        for constant in [0.0, 45.0, -1e18] {
            assert_eq!(alarms(30 * DAY, |_| constant), []);
        }
    }

    #[test]
    fn a_step_is_noticed_once() {
        let stepped = |step| if step < 5 * DAY { 20.0 + noise(step) } else { 40.0 + noise(step) };
        assert_eq!(alarms(10 * DAY, stepped), [5 * DAY]);
    }

    #[test]
    fn a_change_of_less_than_a_hundredth_is_no_news() {
        assert_eq!(alarms(10 * DAY, |step| if step < 5 * DAY { 1e9 } else { 1.005e9 }), []);
    }

    #[test]
    fn a_daily_rhythm_is_no_anomaly() {
        assert_eq!(alarms(30 * DAY, daily), []);
    }

    #[test]
    fn a_beat_that_is_missed_is_noticed_within_two_hours() {
        let missed = 9 * DAY;
        let found = alarms(10 * DAY, |step| if step >= missed { 10.0 + noise(step) } else { daily(step) });
        let begin = missed + 8 * 12;
        assert!(matches!(found[..], [at] if (begin..begin + 24).contains(&at)), "{found:?}");
    }

    #[test]
    fn a_value_between_two_habits_is_rare() {
        let mut detector = Detector::new();
        for step in 0..5 * DAY {
            detector.update(step * STEP_S, Some(if step % 7 < 4 { 10.0 } else { 90.0 }));
        }
        let verdict = detector.update(5 * DAY * STEP_S, Some(50.0));
        assert_eq!(verdict.alarm, Some(Cause::Rarity));
        let band = verdict.expected.unwrap();
        assert!(band.low < 50.0 && band.high > 50.0, "{band:?}");
    }

    #[test]
    fn nothing_is_said_before_the_warm_up_and_nothing_after_an_alarm_for_a_while() {
        let mut detector = Detector::new();
        for step in 0..i64::from(WARM_UP) {
            assert!(!detector.is_warm());
            let value = if step == 100 { 1e6 } else { 1.0 };
            assert_eq!(detector.update(step * STEP_S, Some(value)), Verdict::default());
        }
        assert!(detector.is_warm());
        let found = alarms(4 * DAY, |step| if step < 2 * DAY { 1.0 } else { 1e3 * (step as f64).powi(2) });
        assert!(found.windows(2).all(|pair| pair[1] - pair[0] > i64::from(QUIET)), "{found:?}");
        assert_eq!(found[0], 2 * DAY);
    }

    #[test]
    fn missing_values_are_passed_over() {
        let mut detector = Detector::new();
        for step in 0..5 * DAY {
            detector.update(step * STEP_S, Some(daily(step)));
        }
        let before = detector.clone();
        for missing in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            assert_eq!(detector.update(5 * DAY * STEP_S, missing), Verdict::default());
        }
        assert_eq!(detector, before);
    }

    #[test]
    fn hostile_values_give_a_score_from_0_to_1() {
        let hostile = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0, -0.0, i64::MAX as f64, i64::MIN as f64, 1e-310, 1.0];
        let mut detector = Detector::new();
        for step in 0..20_000i64 {
            let at_s = if step % 3 == 0 { i64::MIN + step } else { i64::MAX - step };
            let value = hostile[(noise(step).abs() * hostile.len() as f64) as usize % hostile.len()];
            let verdict = detector.update(at_s, Some(value));
            assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            assert!(verdict.expected.is_none_or(|band| band.low <= band.high), "{verdict:?}");
        }
    }

    #[test]
    fn the_same_samples_give_the_same_scores_to_the_last_bit_on_every_machine() {
        let mut detector = Detector::new();
        let checksum = (0..10 * DAY).fold(0u64, |checksum, step| {
            let grown = daily(step) * (1.0 + step as f64 / 1e3);
            let score = detector.update(step * STEP_S, Some(grown)).score;
            (checksum ^ u64::from(score.to_bits())).wrapping_mul(0x100_0000_01B3)
        });
        assert_eq!(checksum, 0x244a_c4bb_5163_68e1, "{checksum:#x}");
    }
}
