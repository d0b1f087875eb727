//! From ticks to windows: minutes, of which five make five minutes, of which twelve make an hour, of which 24 make a day.
//!
//! ```text
//! tick ──> minute ──> five minutes ──> hour ──> day        an exact merge at each arrow, when the window ends
//!             │             │            │       │
//!             └─────────────┴────────────┴───────┴──> batches of a stream each
//! ```
//!
//! Each class of series has its own windows. A window ends with the first tick of the next one. Its bounds are those of UTC once the time is known, those of uptime
//! before; when the time becomes known or steps, every open window ends early, which its count of ticks says. What a power cut
//! takes are the windows that are in no batch yet; the ticks themselves are in the journal.

use wire::batch::DictionaryMark;
use wire::class::{CLASS_COUNT, Class};
use wire::id::Seq;
use wire::limits::{RECORD_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX};
use wire::series::Kind;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::window::{SPANS, Window, WindowWriter};

use crate::dictionary::Dictionary;
use crate::watch::Ended;

const LEVEL_COUNT: usize = SPANS.len();

/// Windows in a batch, and in a run. A run that goes on over batches keeps its model in memory, which is worth it for minutes
/// alone; the other windows wait as they are, and each batch of them is a run.
const BATCHES: [(u32, u32); LEVEL_COUNT] = [(10, RUN_TICKS_MAX), (6, 6), (1, 1), (1, 1)];

/// Collects ticks into windows, and windows into batches.
#[derive(Debug)]
pub struct Summarizer {
    parts: Box<[Part; CLASS_COUNT]>,
}

/// The windows of one class.
#[derive(Debug)]
struct Part {
    class: Class,
    kinds: Vec<Kind>,
    /// The last value of each series, for the growth of counters.
    before: Vec<Option<i64>>,
    levels: [Level; LEVEL_COUNT],
}

/// Where a window lies: its number, on the calendar or since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    is_civil: bool,
    number: u64,
}

/// The windows of one length.
#[derive(Debug)]
struct Level {
    stream: Stream,
    span: Span,
    batch_window_count: u32,
    run_window_count_max: u32,
    place: Option<Place>,
    /// When the open window began, and when it ends.
    began: Stamp,
    ends_at: Instant,
    tick_count: u32,
    windows: Vec<Window>,
    /// Windows that have ended and wait for their batch: when they began, their ticks, and the windows.
    ended: Vec<(Instant, u32, Vec<Window>)>,
    /// The open run's writer.
    writer: Option<WindowWriter>,
    /// When the open batch began.
    opened: Option<Stamp>,
    run: Option<Seq>,
    run_window_count: u32,
    /// Whether the last of those that have ended was not handed out yet.
    is_fresh: bool,
}

/// A batch that is ready for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its stream.
    pub stream: Stream,
    /// The number that opened its run; `None` when it does.
    pub run: Option<Seq>,
    /// When its first window began.
    pub stamp: Stamp,
    /// Its windows.
    pub window_count: u32,
}

impl Default for Summarizer {
    fn default() -> Self {
        Summarizer::new()
    }
}

impl Summarizer {
    /// A summarizer before any tick.
    pub fn new() -> Summarizer {
        Summarizer { parts: Box::new(Class::ALL.map(Part::new)) }
    }

    /// Takes a tick: of each class the values of its slots, at `now`. Batches may be [due](Summarizer::due) then.
    pub fn tick(&mut self, now: Stamp, dictionary: &Dictionary, values: [&[Option<i64>]; CLASS_COUNT]) {
        for (part, values) in self.parts.iter_mut().zip(values).filter(|(_, values)| !values.is_empty()) {
            part.tick(now, dictionary, values);
        }
    }

    /// Ends every window and makes every batch due, as when the process ends or the list of series is renewed.
    pub fn end_all(&mut self) {
        for part in self.parts.iter_mut() {
            part.end_windows(|_| true);
            part.levels.iter_mut().for_each(|level| level.run_window_count = u32::MAX);
        }
    }

    /// The list of series starts again: so do the slots. Everything that was open must have been taken.
    pub fn renew(&mut self) {
        *self = Summarizer::new();
    }

    /// Hands out the windows of five minutes and longer that have ended since the last time, before their batches are due.
    pub fn take_ended(&mut self, mut each: impl FnMut(&Ended<'_>)) {
        for part in self.parts.iter_mut() {
            for level in &mut part.levels {
                let (true, Stream::Series(resolution, class)) = (std::mem::take(&mut level.is_fresh), level.stream)
                else {
                    continue;
                };
                let (Some((began, _, windows)), Some(opened)) = (level.ended.last(), level.opened) else { continue };
                let (began, covered) = (opened.at(*began), level.span);
                each(&Ended { resolution, class, began, covered, windows });
            }
        }
    }

    /// The next batch that is due, if one is: its payload is appended to `out`. It is written and
    /// [taken](Summarizer::taken), or lost.
    pub fn due(&mut self, mark: &DictionaryMark, out: &mut Vec<u8>) -> Option<Sealed> {
        self.parts.iter_mut().find_map(|part| part.due(mark, out))
    }

    /// When the next batch of the streams that are `wanted` will be due, if ticks go on: a tick later at the most.
    pub fn due_at(&self, wanted: impl Fn(Stream) -> bool) -> Option<Instant> {
        let levels = self.parts.iter().flat_map(|part| &part.levels).filter(|level| wanted(level.stream));
        levels.filter_map(Level::due_at).min()
    }

    /// The batch that was due last has this number now; `None`: it was lost, and its run with it.
    pub fn taken(&mut self, stream: Stream, seq: Option<Seq>) {
        if let Some(level) = self.levels().find(|level| level.stream == stream) {
            level.run = level.run.or(seq).filter(|_| seq.is_some());
            if level.run.is_none() || level.is_over() {
                level.end_run();
            }
        }
    }

    /// The runs that go on: the stream and the opening number of each.
    pub fn runs(&self) -> Vec<(Stream, Seq)> {
        let levels = self.parts.iter().flat_map(|part| &part.levels);
        levels.filter_map(|level| Some((level.stream, level.run?))).collect()
    }

    /// Makes the next batch of a stream the last of its run: what follows can be sent before it.
    pub fn end_run(&mut self, stream: Stream) {
        if let Some(level) = self.levels().find(|level| level.stream == stream) {
            if level.opened.is_some() {
                level.run_window_count = u32::MAX;
            } else {
                level.end_run();
            }
        }
    }

    fn levels(&mut self) -> impl Iterator<Item = &mut Level> {
        self.parts.iter_mut().flat_map(|part| &mut part.levels)
    }
}

impl Part {
    fn new(class: Class) -> Part {
        let level = |index: usize| Level {
            stream: Stream::Series(SPANS[index].0, class),
            span: SPANS[index].1,
            batch_window_count: BATCHES[index].0,
            run_window_count_max: BATCHES[index].1,
            place: None,
            began: Stamp::default(),
            ends_at: Instant(0),
            tick_count: 0,
            windows: Vec::new(),
            ended: Vec::new(),
            writer: None,
            opened: None,
            run: None,
            run_window_count: 0,
            is_fresh: false,
        };
        Part { class, kinds: Vec::new(), before: Vec::new(), levels: std::array::from_fn(level) }
    }

    fn tick(&mut self, now: Stamp, dictionary: &Dictionary, values: &[Option<i64>]) {
        self.end_windows(|level| level.place != Some(place(now, level.span)));
        self.kinds.extend(dictionary.of(self.class).skip(self.kinds.len()).map(|series| series.kind()));
        self.before.resize(self.kinds.len(), None);
        let minute = &mut self.levels[0];
        minute.begin(now, 1, values.len());
        for (slot, value) in values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let before = self.before[slot].replace(value);
            match self.kinds[slot] {
                Kind::Counter => minute.windows[slot].count_up(before, value),
                Kind::Gauge => minute.windows[slot].gauge(value),
            }
        }
    }

    /// Ends the windows of each level that `is_over`, the short ones first, so that the long ones have them.
    fn end_windows(&mut self, is_over: impl Fn(&Level) -> bool) {
        for index in 0..LEVEL_COUNT {
            let (level, above) = self.levels.split_at_mut(index + 1);
            let level = &mut level[index];
            if level.tick_count == 0 || !is_over(level) {
                continue;
            }
            if let Some(above) = above.first_mut() {
                above.begin(level.began, level.tick_count, level.windows.len());
                above.windows.iter_mut().zip(&level.windows).for_each(|(window, part)| window.append(part));
            }
            level.end(&self.kinds);
        }
    }

    fn due(&mut self, mark: &DictionaryMark, out: &mut Vec<u8>) -> Option<Sealed> {
        let kinds = &self.kinds;
        self.levels.iter_mut().find_map(|level| {
            if !level.ended.is_empty() && level.is_over() {
                let writer = level.writer.get_or_insert_default();
                level.ended.drain(..).for_each(|(at, count, windows)| writer.push(at, count, kinds, &windows));
            }
            let is_over = level.is_over();
            let writer = level.writer.as_mut()?;
            let is_full = writer.window_count() >= level.batch_window_count || writer.bytes() >= RECORD_BYTES_MAX / 2;
            if writer.window_count() == 0 || !is_full && !is_over {
                return None;
            }
            let stamp = level.opened.take()?;
            let window_count = writer.window_count();
            let run = level.run;
            writer.seal(run.is_none().then_some(mark), out);
            Some(Sealed { stream: level.stream, run, stamp, window_count })
        })
    }
}

impl Level {
    /// Takes ticks in that were taken at `at`: the first ones open the window.
    fn begin(&mut self, at: Stamp, tick_count: u32, series_count: usize) {
        if self.tick_count == 0 {
            self.place = Some(place(at, self.span));
            self.began = began(at, self.span);
            self.ends_at = at.uptime + Span(self.span.0 - clock_ms(at) % self.span.0);
        }
        self.tick_count = self.tick_count.saturating_add(tick_count);
        if self.windows.len() < series_count {
            if self.windows.capacity() == 0 {
                self.windows.reserve_exact(series_count);
            }
            self.windows.resize(series_count.min(SERIES_COUNT_MAX), Window::default());
        }
    }

    fn end(&mut self, kinds: &[Kind]) {
        // Only such a run holds its model from batch to batch.
        if self.batch_window_count < self.run_window_count_max {
            let writer = self.writer.get_or_insert_default();
            writer.push(self.began.uptime, self.tick_count, kinds, &self.windows);
        } else {
            self.ended.push((self.began.uptime, self.tick_count, self.windows.clone()));
        }
        self.opened.get_or_insert(self.began);
        self.run_window_count = self.run_window_count.saturating_add(1);
        self.is_fresh = true;
        self.tick_count = 0;
        self.windows.fill(Window::default());
    }

    /// When the open window ends and its batch is full with it; of one that is not, when that would be.
    fn due_at(&self) -> Option<Instant> {
        let closed_count =
            self.ended.len() as u64 + self.writer.as_ref().map_or(0, |writer| writer.window_count().into());
        let later_count = u64::from(self.batch_window_count).saturating_sub(closed_count + 1);
        (self.tick_count > 0).then(|| self.ends_at + Span(self.span.0 * later_count))
    }

    /// Whether its run has all the windows that it may have.
    fn is_over(&self) -> bool {
        self.run_window_count >= self.run_window_count_max
    }

    /// The next window opens a run.
    fn end_run(&mut self) {
        (self.writer, self.run, self.run_window_count) = (None, None, 0);
    }
}

/// The window of this length that a moment lies in.
fn place(at: Stamp, span: Span) -> Place {
    match at.unix {
        Some(unix) => Place { is_civil: true, number: unix.0 / span.0 },
        None => Place { is_civil: false, number: at.uptime.0 / span.0 },
    }
}

/// When that window began. One that began before the boot began with it.
fn began(at: Stamp, span: Span) -> Stamp {
    at.at(Instant(at.uptime.0.saturating_sub(clock_ms(at) % span.0)))
}

/// The clock by which windows are bounded.
fn clock_ms(at: Stamp) -> u64 {
    at.unix.map_or(at.uptime.0, |UnixTime(unix_ms)| unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::metric::Metric;
    use wire::stream::Resolution;
    use wire::time::BootId;
    use wire::window::WindowReader;

    const MINUTE: Stream = Stream::Series(Resolution::Minute, Class::Normal);
    const NOON_MS: u64 = 1_767_225_600_000 + 12 * 3_600_000;

    fn stamp(uptime_s: u64, unix_ms: Option<u64>) -> Stamp {
        Stamp { boot: BootId(1), uptime: Instant(uptime_s * 1000), unix: unix_ms.map(UnixTime) }
    }

    struct Bench {
        dictionary: Dictionary,
        summarizer: Summarizer,
        readers: [WindowReader; LEVEL_COUNT],
        next: u64,
    }

    impl Bench {
        /// A counter and a gauge.
        fn new() -> Bench {
            let mut dictionary = Dictionary::new(1);
            dictionary.slot(Metric::ContextSwitches, Class::Normal, &[]).unwrap();
            dictionary.slot(Metric::Load1, Class::Normal, &[]).unwrap();
            let readers = std::array::from_fn(|_| WindowReader::new());
            Bench { dictionary, summarizer: Summarizer::new(), readers, next: 0 }
        }

        fn tick(&mut self, at: Stamp, values: [i64; 2]) {
            self.summarizer.tick(at, &self.dictionary, [&[], &values.map(Some), &[]]);
        }

        /// Every window of the batches that are due, as the hub reads them.
        fn windows(&mut self) -> Vec<(Resolution, u64, usize, Window)> {
            let (mut found, mut payload) = (Vec::new(), Vec::new());
            while let Some(sealed) = self.summarizer.due(&self.dictionary.mark(), &mut payload) {
                let Stream::Series(resolution, Class::Normal) = sealed.stream else { unreachable!() };
                let index = SPANS.iter().position(|(of, _)| *of == resolution).unwrap();
                let each = |at: Instant, series, window: &Window| {
                    let civil = sealed.stamp.at(at);
                    found.push((resolution, civil.unix.map_or(at.0, |unix| unix.0), series, *window));
                };
                let kinds = [Kind::Counter, Kind::Gauge];
                self.readers[index].read(&payload, sealed.run.is_none(), &kinds, each).unwrap();
                self.summarizer.taken(sealed.stream, Some(Seq(self.next)));
                self.next += 1;
                payload.clear();
            }
            found
        }
    }

    #[test]
    fn windows_of_every_length_say_what_the_ticks_did() {
        let mut bench = Bench::new();
        let mut found = Vec::new();
        // A day and a bit, from a quarter to twelve on.
        let start_ms = NOON_MS - 900_000;
        for tick in 0..(24 * 360 + 100) {
            let at = stamp(1000 + tick * 10, Some(start_ms + tick * 10_000));
            bench.tick(at, [tick as i64 * 5, (tick % 6) as i64]);
            found.extend(bench.windows());
        }
        bench.summarizer.end_all();
        found.extend(bench.windows());
        for (resolution, span) in SPANS {
            let of = |series| found.iter().filter(move |found| found.0 == resolution && found.2 == series);
            let grown: u64 = of(0).map(|(.., window)| window.increase).sum();
            assert_eq!(grown, (24 * 360 + 99) * 5, "{resolution:?}");
            assert_eq!(
                of(1).map(|(.., window)| u64::from(window.count)).sum::<u64>(),
                24 * 360 + 100,
                "{resolution:?}"
            );
            assert!(of(0).skip(1).all(|(_, at_ms, ..)| at_ms % span.0 == 0), "{resolution:?}");
            let (_, _, _, second) = of(1).nth(if resolution == Resolution::Day { 0 } else { 1 }).unwrap();
            assert_eq!(
                (second.min, second.max, second.sum()),
                (0, 5, i128::from(second.count) * 15 / 6),
                "{resolution:?}"
            );
        }
        let hour = found.iter().filter(|found| found.0 == Resolution::Hour).nth(2).unwrap();
        assert_eq!((hour.1, hour.3.count, hour.3.increase), (NOON_MS, 360, 1800));
    }

    #[test]
    fn when_a_batch_will_be_due_is_known_to_the_tick() {
        let mut bench = Bench::new();
        assert_eq!(bench.summarizer.due_at(|_| true), None);
        for tick in 0..5 * 360 {
            let at = stamp(1000 + tick * 10, Some(NOON_MS - 777_000 + tick * 10_000));
            let due_at = bench.summarizer.due_at(|_| true);
            bench.tick(at, [tick as i64 * 5, 1]);
            let is_due = due_at.is_some_and(|due_at| due_at <= at.uptime);
            assert_eq!(!bench.windows().is_empty(), is_due, "{tick}");
        }
    }

    #[test]
    fn a_clock_that_becomes_known_or_steps_ends_every_window_early() {
        let mut bench = Bench::new();
        bench.tick(stamp(10, None), [1, 1]);
        bench.tick(stamp(20, None), [3, 1]);
        bench.tick(stamp(30, Some(NOON_MS)), [6, 9]);
        bench.tick(stamp(40, Some(NOON_MS - 86_400_000)), [10, 2]);
        bench.summarizer.end_all();
        let found = bench.windows();
        let of = |resolution| -> Vec<_> {
            let counters = found.iter().filter(|found| (found.0, found.2) == (resolution, 0));
            counters.map(|(_, at_ms, _, window)| (*at_ms, window.count, window.increase)).collect()
        };
        for resolution in [Resolution::Minute, Resolution::Hour, Resolution::Day] {
            let counts: Vec<_> = of(resolution).iter().map(|(_, count, increase)| (*count, *increase)).collect();
            assert_eq!(counts, [(2, 2), (1, 3), (1, 4)], "{resolution:?}");
        }
    }

    #[test]
    fn a_run_goes_on_over_batches_and_ends_when_it_is_told_to() {
        let mut bench = Bench::new();
        let (mut payload, mut runs) = (Vec::new(), Vec::new());
        for tick in 0..6 * 45 {
            bench.tick(stamp(tick * 10, Some(NOON_MS + tick * 10_000)), [tick as i64, 1]);
            while let Some(sealed) = bench.summarizer.due(&bench.dictionary.mark(), &mut payload) {
                if sealed.stream == MINUTE {
                    runs.push((sealed.run, sealed.window_count));
                }
                // The second one is lost.
                let seq = Some(Seq(runs.len() as u64)).filter(|_| runs.len() != 2);
                bench.summarizer.taken(sealed.stream, seq);
            }
            if tick == 6 * 34 {
                bench.summarizer.end_run(MINUTE);
            }
        }
        assert_eq!(runs, [(None, 10), (Some(Seq(1)), 10), (None, 10), (Some(Seq(3)), 4), (None, 10)]);
    }

    #[test]
    fn each_class_has_its_own_batches_and_one_without_series_none() {
        let mut bench = Bench::new();
        bench.dictionary.slot(Metric::MemoryCached, Class::Bulk, &[]).unwrap();
        bench.summarizer.tick(stamp(0, Some(NOON_MS)), &bench.dictionary, [&[], &[Some(1), Some(2)], &[Some(3)]]);
        bench.summarizer.end_all();
        let (mut streams, mut payload) = (Vec::new(), Vec::new());
        while let Some(sealed) = bench.summarizer.due(&bench.dictionary.mark(), &mut payload) {
            streams.push(sealed.stream);
            bench.summarizer.taken(sealed.stream, None);
        }
        let of = |class| SPANS.map(|(resolution, _)| Stream::Series(resolution, class));
        assert_eq!(streams, [of(Class::Normal), of(Class::Bulk)].concat());
    }
}
