//! Windows where no ticks are.
//!
//! ```text
//! ticks     xxxxxxx                      xxx
//! minutes          [-][-][-]
//! hours     [------------------------][-----------------------]
//! answer    xxxxxxx  o  o  o         O   xxx                  O
//! ```
//!
//! Each series is filled by the finest windows first. A window stands at the end of each hole in its span: where ticks and finer windows
//! are silent for so long that the value before does not stand any more. Of a gauge it is the mean, as of `avg_over_time`. Of a counter it
//! is the last value, which is one that was seen, shown where the window ends and nowhere else; of one that fell, the value that it must
//! have had before stands in the middle. A moment has a value of one kind, and what stands there depends on what is held around it alone,
//! not on the span of the question.

use query::step::LOOKBACK_MS;
use wire::series::Kind;
use wire::time::{BootId, Span, UnixTime};
use wire::window::Window;

/// A shorter silence is no hole in a long window: until then the value before it stands.
pub(crate) const HOLE_MIN: Span = Span(LOOKBACK_MS);

/// One window of a series, on the calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) boot: BootId,
    pub(crate) from: UnixTime,
    /// Its end, or that of its boot.
    pub(crate) to: UnixTime,
    pub(crate) window: Window,
}

/// Time of which something is held, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from: UnixTime,
    to: UnixTime,
}

/// Where anything is held of one series.
#[derive(Debug)]
pub(crate) struct Held {
    kind: Kind,
    /// What was asked for; somewhat more before it is known.
    asked: Stretch,
    /// By time, none of them touching another.
    stretches: Vec<Stretch>,
}

/// Takes the next window of a series in, in the order in which they were made.
///
/// One that was cut in two, by a restart or a step of the clock, is whole again.
pub(crate) fn push(placed: &mut Vec<Placed>, next: Placed, span: Span) {
    match placed.last_mut() {
        Some(last) if last.boot == next.boot && last.from.0.abs_diff(next.from.0) < span.0 / 2 => {
            last.window.append(&next.window);
            last.from = last.from.min(next.from);
            last.to = last.to.max(next.to);
        }
        _ => placed.push(next),
    }
}

impl Held {
    /// Of a series whose ticks are known from [`HOLE_MIN`] before `from` until `to`. They are put in order.
    pub(crate) fn new(kind: Kind, samples: &mut [(UnixTime, i64)], from: UnixTime, to: UnixTime) -> Held {
        samples.sort_by_key(|(at, _)| *at);
        let mut stretches: Vec<Stretch> = Vec::new();
        samples.iter().for_each(|(at, _)| add(&mut stretches, Stretch { from: *at, to: *at }));
        Held { kind, asked: Stretch { from, to }, stretches }
    }

    /// Fills holes among the samples with windows that are longer than those before. Says from when to when any of them stand in what was
    /// asked for.
    pub(crate) fn fill(
        &mut self,
        samples: &mut Vec<(UnixTime, i64)>,
        mut placed: Vec<Placed>,
    ) -> Option<(UnixTime, UnixTime)> {
        placed.sort_by_key(|placed| placed.from);
        let mut fresh: Vec<(UnixTime, i64)> = Vec::new();
        let mut filled: Vec<Stretch> = Vec::new();
        let mut range: Option<(UnixTime, UnixTime)> = None;
        let mut next = 0;
        let mut reached = before(self.asked.from, HOLE_MIN);
        for (index, Placed { from, to, window, .. }) in placed.iter().enumerate() {
            // One that ended early ends where the next one begins.
            let later = placed[index + 1..].iter().map(|later| later.from).find(|later| later > from);
            let end = later.map_or(*to, |later| later.min(*to));
            let begin = reached.max(*from);
            let least_ms = hole_min_ms(to.0 - from.0, window.count);
            next += self.stretches[next..].iter().take_while(|stretch| stretch.to < begin).count();
            for (hole, is_at_end) in holes(&self.stretches[next..], begin, end) {
                if hole.to.0 - hole.from.0 + 1 < least_ms || self.kind == Kind::Counter && !is_at_end {
                    continue;
                }
                let at = if is_at_end { end } else { hole.to };
                if self.kind == Kind::Counter {
                    let before = fresh.last().copied().max(last_until(samples, *from)).filter(|_| hole.from == *from);
                    let peak = before.and_then(|(_, before)| peak(before, window));
                    // Nobody knows when it fell. Close to another value it would be a rate that never was.
                    fresh.extend(peak.map(|peak| (UnixTime(from.0 + (end.0 - from.0) / 2), peak)));
                }
                fresh.push((at, if self.kind == Kind::Counter { window.last } else { mean(window) }));
                filled.push(hole);
                if (self.asked.from..=self.asked.to).contains(&at) {
                    range = Some((range.map_or(hole.from, |(first, _)| first), at));
                }
            }
            reached = reached.max(end);
        }
        if !fresh.is_empty() {
            samples.append(&mut fresh);
            samples.sort_by_key(|(at, _)| *at);
            filled.append(&mut self.stretches);
            filled.sort_by_key(|stretch| stretch.from);
            filled.into_iter().for_each(|stretch| add(&mut self.stretches, stretch));
        }
        range
    }
}

/// The last sample that is not after `at`.
fn last_until(samples: &[(UnixTime, i64)], at: UnixTime) -> Option<(UnixTime, i64)> {
    samples[..samples.partition_point(|(sampled, _)| *sampled <= at)].last().copied()
}

/// Adds a stretch that begins after all that are there. Ticks of which each has a minute of its own make one.
fn add(stretches: &mut Vec<Stretch>, next: Stretch) {
    match stretches.last_mut() {
        Some(last) if next.from.0 <= last.to.0.saturating_add(SILENCE_MS) => last.to = last.to.max(next.to),
        _ => stretches.push(next),
    }
}

/// A silence that is shorter is none: the shortest window spans so much.
const SILENCE_MS: u64 = 60_000;

/// The silences from `begin` to before `end`, and whether each reaches it. `stretches` are by time.
fn holes(stretches: &[Stretch], begin: UnixTime, end: UnixTime) -> impl Iterator<Item = (Stretch, bool)> {
    let inside = stretches.iter().take_while(move |stretch| stretch.from <= end).map(|stretch| (*stretch, false));
    let after = Stretch { from: end, to: end };
    let mut from = begin;
    inside.chain([(after, true)]).filter_map(move |(stretch, is_at_end)| {
        let hole = (stretch.from > from).then(|| (Stretch { from, to: UnixTime(stretch.from.0 - 1) }, is_at_end));
        from = from.max(UnixTime(stretch.to.0.saturating_add(1)));
        hole
    })
}

/// How long nothing must be held of a window's span before the window says something: twice as long as its ticks lay apart, so that slow
/// ticks leave no holes, and nearly all of a short window, because clocks that are being set right make them shorter.
fn hole_min_ms(span_ms: u64, count: u32) -> u64 {
    HOLE_MIN.0.max(2 * span_ms / u64::from(count.max(1))).min(span_ms / 10 * 9)
}

/// So long before a moment.
pub(crate) fn before(at: UnixTime, span: Span) -> UnixTime {
    UnixTime(at.0.saturating_sub(span.0))
}

/// A gauge's mean, to the precision of its values: an on and off is what it mostly was.
fn mean(window: &Window) -> i64 {
    let (sum, count) = (window.sum(), i128::from(window.count.max(1)));
    let mean = (2 * sum + sum.signum() * count) / (2 * count);
    mean.clamp(window.min.into(), window.max.into()) as i64
}

/// The value that a counter must have had before it fell, for its growth in a window to be what the window says; none, when two values
/// say all of it.
fn peak(before: i64, window: &Window) -> Option<i64> {
    let last = u64::try_from(window.last).ok()?;
    let seen = if window.last >= before { window.last.wrapping_sub(before) as u64 } else { last };
    let unseen = window.increase.checked_sub(last).filter(|_| window.increase > seen)?;
    i64::try_from(unseen).ok().and_then(|unseen| before.checked_add(unseen))
}

#[cfg(test)]
mod tests {
    use query::selector::Selector;
    use wire::stream::Resolution::{self, FiveMinutes, Hour, Minute};

    use super::*;
    use crate::Store;
    use crate::change::Change;
    use crate::gateway::{BEGAN, Gateway, Random, ask, store, store_of, target, value};
    use crate::notes::Windowed;
    use crate::range::{QueryError, Question, Range};

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn check(range: &Range, expected: impl IntoIterator<Item = (u64, i64)>) {
        let samples = |range: &Range| range.series.iter().flat_map(|series| series.samples.clone()).collect::<Vec<_>>();
        let expected: Vec<_> = expected.into_iter().map(|(at_ms, value)| (UnixTime(BEGAN + at_ms), value)).collect();
        assert_eq!(samples(range), expected);
    }

    fn ticks(slot: usize, from_ms: u64, to_ms: u64) -> impl Iterator<Item = (u64, i64)> {
        (from_ms..to_ms).step_by(10_000).map(move |at_ms| (at_ms, value(slot, at_ms)))
    }

    /// The means of the first series, at the ends of windows.
    fn means(span_ms: u64, from_ms: u64, to_ms: u64) -> impl Iterator<Item = (u64, i64)> {
        (from_ms..to_ms).step_by(span_ms as usize).map(move |began_ms| {
            let values: Vec<i64> = ticks(0, began_ms, began_ms + span_ms).map(|(_, value)| value).collect();
            let mean = values.iter().sum::<i64>() as f64 / values.len() as f64;
            (began_ms + span_ms, mean.round() as i64)
        })
    }

    fn windowed(resolution: Resolution, from_ms: u64, to_ms: u64) -> Windowed {
        let [from, to] = [from_ms, to_ms].map(|at_ms| UnixTime(BEGAN + at_ms));
        Windowed { device: Gateway::new(1).device, resolution, from, to }
    }

    /// Ticks from the tenth minute to the twentieth, minutes until the thirtieth, and two hours.
    fn patchwork() -> (Gateway, Vec<Change>) {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("load", "")])];
        changes.extend(gateway.run(10 * MINUTE_MS, 60, 20));
        changes.extend(gateway.windows(Minute, 0, 30, value));
        changes.extend(gateway.windows(Hour, 0, 2, value));
        (gateway, changes)
    }

    #[test]
    fn where_no_ticks_are_the_finest_windows_stand_and_the_answer_says_so() {
        let (_, changes) = patchwork();
        let range = ask(&store_of(&changes), "load");
        let expected = means(MINUTE_MS, 0, 10 * MINUTE_MS - MINUTE_MS)
            // The first tick stands at the end of the minute before it.
            .chain([(10 * MINUTE_MS - 1, means(MINUTE_MS, 9 * MINUTE_MS, 10 * MINUTE_MS).next().unwrap().1)])
            .chain(ticks(0, 10 * MINUTE_MS, 20 * MINUTE_MS))
            .chain(means(MINUTE_MS, 20 * MINUTE_MS, 30 * MINUTE_MS))
            .chain(means(HOUR_MS, 0, 2 * HOUR_MS));
        check(&range, expected);
        let minutes = windowed(Minute, 0, 30 * MINUTE_MS);
        let hours = windowed(Hour, 30 * MINUTE_MS, 2 * HOUR_MS);
        assert_eq!(range.notes.windowed, [minutes, hours]);
    }

    #[test]
    fn windows_of_a_span_whose_ticks_are_there_say_nothing() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("load", ""), ("ticks_total", "")])];
        changes.extend(gateway.run(0, 360, 20));
        let ticks_only = ask(&store_of(&changes), "{__name__=~\".+\"}");
        for resolution in [Minute, FiveMinutes, Hour] {
            let (_, span) = wire::window::SPANS.into_iter().find(|(of, _)| *of == resolution).unwrap();
            changes.extend(gateway.windows(resolution, 0, HOUR_MS / span.0, value));
        }
        assert_eq!(ask(&store_of(&changes), "{__name__=~\".+\"}"), ticks_only);
    }

    #[test]
    fn what_stands_at_a_moment_does_not_depend_on_the_span_asked_for() {
        let (_, changes) = patchwork();
        let store = store_of(&changes);
        let whole = ask(&store, "load").series.remove(0).samples;
        let (selector, mut random) = (Selector::parse("load").unwrap(), Random(3));
        for _ in 0..500 {
            let from = UnixTime(BEGAN + random.below(130 * 60) as u64 * 1000);
            let to = UnixTime(from.0 + random.below(130 * 60) as u64 * 1000);
            let question = Question { selector: &selector, targets: &[target(1)], from, to, samples_max: 2000 };
            let part = store.range(&question).unwrap();
            let samples = part.series.first().map_or(Vec::new(), |series| series.samples.clone());
            let expected: Vec<_> = whole.iter().copied().filter(|(at, _)| (from..=to).contains(at)).collect();
            assert_eq!(samples, expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_counter_shows_values_that_were_and_loses_no_growth_when_it_falls() {
        // It begins again twice: in the third minute, and in the sixth.
        let counter = |_, at_ms: u64| match at_ms / 10_000 {
            tick @ 0..14 => 1000 + tick as i64 * 7,
            tick @ 14..33 => tick as i64 - 14,
            tick => 5 * (tick as i64 - 33),
        };
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("ticks_total", "")])];
        changes.extend(gateway.windows(Minute, 0, 10, counter));
        let range = ask(&store_of(&changes), "ticks_total");
        let last = |minute: u64| (minute * MINUTE_MS, counter(0, minute * MINUTE_MS - 10_000));
        let expected = [last(1), last(2), (5 * MINUTE_MS / 2, 1091), last(3), last(4), last(5)];
        let expected = expected.into_iter().chain([(11 * MINUTE_MS / 2, 18)]).chain((6..=10).map(last));
        check(&range, expected);
    }

    #[test]
    fn a_window_that_a_restart_cut_in_two_is_whole() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("load", "")])];
        // Both parts began in the same minute; here both have all of its ticks.
        changes.extend(gateway.windows(Minute, 0, 2, |_, _| 10));
        changes.extend(gateway.windows(Minute, MINUTE_MS + 20, 1, |_, _| 30));
        let store = store_of(&changes);
        check(&ask(&store, "load"), [(MINUTE_MS, 10), (2 * MINUTE_MS + 20, 20)]);
    }

    #[test]
    fn a_window_ends_with_its_boot() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("load", "")])];
        changes.extend(gateway.windows(Hour, 0, 1, |_, _| 10));
        (gateway.boot, gateway.began) = (BootId(2), UnixTime(BEGAN + 20 * MINUTE_MS));
        changes.extend(gateway.windows(Minute, 0, 1, |_, _| 30));
        check(&ask(&store_of(&changes), "load"), [(20 * MINUTE_MS - 1, 10), (21 * MINUTE_MS, 30)]);
    }

    #[test]
    fn an_on_and_off_is_what_it_mostly_was() {
        let of = |values: &[i64]| {
            let mut window = Window::default();
            values.iter().for_each(|value| window.gauge(*value));
            mean(&window)
        };
        let means = [of(&[1, 1, 0]), of(&[0, 0, 1]), of(&[-3, -4]), of(&[i64::MAX; 3]), of(&[i64::MIN, i64::MIN + 2])];
        assert_eq!(means, [1, 0, -4, i64::MAX, i64::MIN + 1]);
    }

    #[test]
    fn windows_in_any_order_and_twice_give_the_same_answer() {
        let (gateway, changes) = patchwork();
        let (expected, mut random) = (ask(&store_of(&changes), "load"), Random(1));
        for _ in 0..20 {
            let mut shuffled = [&changes[..], &changes[..7]].concat();
            random.shuffle(&mut shuffled);
            let store = store();
            for part in shuffled.chunks(1 + random.below(9)) {
                assert_eq!(store.commit(part).unwrap(), []);
            }
            assert_eq!(ask(&store, "load"), expected);
        }
        // Without their names they wait, and the hub knows what to ask for.
        let store = store_of(&changes[1..]);
        assert_eq!(
            (ask(&store, "load").series, store.missing_dictionaries(gateway.device).unwrap().len()),
            (vec![], 1)
        );
    }

    #[test]
    fn windows_count_against_the_bound() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("load", "")]);
        let store: Store = store_of(&[vec![names], gateway.windows(Minute, 0, 300, value)].concat());
        let (selector, to) = (Selector::parse("load").unwrap(), UnixTime(BEGAN + 1000 * MINUTE_MS));
        let ask = |samples_max| {
            let question =
                Question { selector: &selector, targets: &[target(1)], from: UnixTime(BEGAN), to, samples_max };
            store.range(&question)
        };
        assert!(matches!(ask(600), Err(QueryError::TooManySamples { max: 600 })));
        assert_eq!(ask(3000).unwrap().series[0].samples.len(), 300);
    }
}
