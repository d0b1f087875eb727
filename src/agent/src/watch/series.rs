//! Series of which a person wants to hear when they do what they never did.
//!
//! They are looked at an hour at a time: a detector alarms on records, which come all the same, if seldom. At five minutes of
//! time a series has three in a month that mean nothing, at an hour less than one.

use detect::series::{Detector, Verdict};
use wire::event::{Event, text};
use wire::limits::WATCHED_COUNT_MAX;
use wire::series::{Kind, Series};

use super::{Ended, Marks, NOTHING, at_s, level, written};
use crate::dictionary::{Dictionary, Slot};
use crate::importance::is_among;

/// Digits that are kept of a rate, behind the point.
const RATE_DIGITS: i8 = 3;

/// The series that are watched.
#[derive(Debug)]
pub struct SeriesWatch {
    patterns: Vec<String>,
    marks: Marks,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Its name and labels, by which it is found again when the list of series starts again.
    hash: u64,
    detector: Detector,
}

impl SeriesWatch {
    /// Watches the metrics that one of the patterns stands for.
    pub fn new(patterns: &[String]) -> SeriesWatch {
        SeriesWatch { patterns: patterns.to_vec(), marks: Marks::default(), watched: Vec::new() }
    }

    /// The slots have other names from here on.
    pub fn renew(&mut self) {
        self.marks.renew();
    }

    /// Takes the windows of an hour.
    pub fn take(&mut self, dictionary: &Dictionary, ended: &Ended<'_>, say: &mut dyn FnMut(Event)) {
        let SeriesWatch { patterns, marks, watched } = self;
        let marks = marks.of(dictionary, ended.class, |series| mark(patterns, watched, &series));
        for (index, (window, mark)) in ended.windows.iter().zip(marks).enumerate() {
            let Some(watched) = watched.get_mut(usize::from(*mark)) else { continue };
            let series = dictionary.series(Slot { class: ended.class, index });
            let is_rate = series.kind() == Kind::Counter;
            let value = level(window, is_rate, ended.span);
            let verdict = watched.detector.update(at_s(ended.began), value);
            if let (Some(value), Some(_)) = (value, verdict.alarm) {
                say(anomaly(&series, is_rate, value, &verdict));
            }
        }
    }
}

/// The place of a series among those that are watched.
fn mark(patterns: &[String], watched: &mut Vec<Watched>, series: &Series<&str>) -> u8 {
    if !is_among(patterns, series.name) {
        return NOTHING;
    }
    let hash = hash(series);
    let known = watched.iter().position(|known| known.hash == hash);
    let place = known.or_else(|| {
        (watched.len() < WATCHED_COUNT_MAX).then(|| {
            watched.push(Watched { hash, detector: Detector::new() });
            watched.len() - 1
        })
    });
    place.map_or(NOTHING, |place| place as u8)
}

const _: () = assert!(WATCHED_COUNT_MAX < NOTHING as usize);

/// FNV-1a over name and labels.
fn hash(series: &Series<&str>) -> u64 {
    let bytes = series.name.bytes().chain([0]).chain(series.labels.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn anomaly(series: &Series<&str>, is_rate: bool, value: f64, verdict: &Verdict) -> Event {
    let Series { name, labels, scale, .. } = *series;
    let digits = if is_rate { RATE_DIGITS } else { 0 };
    let fixed = |value: f64| (if is_rate { value * 1e3 } else { value }).round() as i64;
    let (low, high) = verdict.expected.map_or((0.0, 0.0), |band| (band.low, band.high));
    Event::Anomaly {
        series: text(&written(name, labels)),
        is_rate,
        score_1000: (verdict.score * 1000.0) as u16,
        observed: fixed(value),
        expected: (fixed(low.into()), fixed(high.into())),
        scale: scale - digits,
    }
}
