//! Processes that take more and more memory.

use wire::time::{Instant, Span};
use wire::trouble::Trouble;

use super::{Say, Table};
use crate::watch::lasting::{Lasting, Patience};
use crate::watch::trend::{Trend, is_steady, slope};

const STEP: Span = Span::minutes(30);

/// Points from which on it may be a leak: six hours. What fills a cache is done by then.
const POINTS_MIN: usize = 12;

/// What it must have grown by: a share of itself, and of all memory.
const OWN_SHARE: f32 = 0.25;
const TOTAL_SHARE: f32 = 0.02;

/// The growth of the later half must be so much of that of the earlier one: a cache that fills slows down.
const STEADY: f32 = 0.6;

const LEAK: Patience = Patience { hold: Span(0), rest: Span::minutes(180) };

/// What is known of the processes of each name.
#[derive(Debug, Default)]
pub(super) struct Leaks {
    groups: Table<Group>,
    total: f32,
}

#[derive(Debug)]
struct Group {
    rss: Option<f32>,
    latest: f32,
    seen: Instant,
    trend: Trend,
    lasting: Lasting,
    is_leaking: bool,
}

impl Default for Group {
    fn default() -> Self {
        let trend = Trend::every(STEP);
        Group { rss: None, latest: 0.0, seen: Instant(0), trend, lasting: Lasting::default(), is_leaking: false }
    }
}

impl Leaks {
    pub(super) fn put(&mut self, name: &[u8], rss: i64) {
        // Who holds less than that can have no leak that matters yet, and needs no place.
        if (rss as f32) < self.total * TOTAL_SHARE {
            return;
        }
        if let Some(group) = self.groups.entry(name) {
            group.rss = Some(rss as f32);
        }
    }

    pub(super) fn put_total(&mut self, total: i64) {
        self.total = total as f32;
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        let total = self.total;
        for (name, group) in self.groups.iter_mut() {
            if let Some(rss) = group.rss.take() {
                (group.latest, group.seen) = (rss, now);
                if group.trend.add(now, rss) {
                    group.is_leaking = is_leak(group.trend.points(), total);
                }
            }
            let (latest, points) = (group.latest, group.trend.points());
            let leak = || Trouble::MemoryLeak {
                group: name.clone(),
                bytes: latest as u64,
                grown_bytes: (latest - points.first().copied().unwrap_or_default()).max(0.0) as u64,
                within: Span(STEP.0 * points.len() as u64),
            };
            group.lasting.update(now, group.is_leaking, LEAK, |change| say(leak(), change));
            // A name that is gone has no leak.
            group.is_leaking &= now - group.seen < STEP;
        }
        self.groups.retain(|group| now - group.seen < Span(2 * STEP.0) || group.lasting.is_said());
    }
}

fn is_leak(points: &[f32], total: f32) -> bool {
    let Some(points) = points.len().checked_sub(POINTS_MIN).map(|begin| &points[begin..]) else { return false };
    let grown = points[points.len() - 1] - points[0];
    let (early, late) = points.split_at(points.len() / 2);
    grown > points[0] * OWN_SHARE
        && grown > total * TOTAL_SHARE
        && is_steady(points, |step| step > 0.0)
        && slope(late) > slope(early) * STEADY
}
