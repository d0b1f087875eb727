//! From ticks to windows: minutes, of which five make five minutes, of which twelve make an hour, of which 24 make a day.
//!
//! ```text
//! tick ──> minute ──> five minutes ──> hour ──> day        an exact merge at each arrow, when the window ends
//!             │             │            │       │
//!             └─────────────┴────────────┴───────┴──> batches of a stream each
//! ```
//!
//! Each class of series has its own windows. A window ends with the first tick of the next one. Its bounds are those of UTC once the
//! time is known, those of uptime before, so they know nothing of summer time, and each day of a leap year is one of them. When the
//! time becomes known or steps, every open window ends early, which its [extent](Extent) says as it says which ticks were missed. What
//! a power cut takes are the windows that are in no batch yet; the ticks themselves are in the journal.
//!
//! Of the series that [ask for it](crate::importance::Importance::sketched) each window has a sketch, too: of a gauge's values, of what a
//! counter grew by from tick to tick.
//!
//! Windows of all lengths take 2.5 KB of memory for a gauge and 1.1 KB for a counter at the most, half of it the model of the minutes'
//! run; sketches take up to 6.5 KB more, at a tick every 10 s.

use stats::sketch::Sketch;
use wire::batch::DictionaryMark;
use wire::class::{CLASS_COUNT, Class};
use wire::id::Seq;
use wire::limits::{RECORD_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX, SKETCHED_COUNT_MAX};
use wire::series::Kind;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::window::{Extent, SPANS, Window, WindowWriter};

use crate::dictionary::Dictionary;
use crate::importance::is_among;
use crate::watch::Ended;

const LEVEL_COUNT: usize = SPANS.len();

/// Windows in a batch, and in a run. A run that goes on over batches keeps its model in memory, which is worth it for minutes
/// alone; the other windows wait as they are, and each batch of them is a run.
const BATCHES: [(u32, u32); LEVEL_COUNT] = [(10, RUN_TICKS_MAX), (6, 6), (1, 1), (1, 1)];

/// Collects ticks into windows, and windows into batches.
#[derive(Debug)]
pub struct Summarizer {
    parts: Box<[Part; CLASS_COUNT]>,
    /// Patterns of what is sketched.
    sketched: Vec<String>,
}

/// The windows of one class.
#[derive(Debug)]
struct Part {
    class: Class,
    series: Known,
    /// When the last tick was taken, and when the next one was due then.
    ticked: Option<(Instant, Span)>,
    /// The last value of each series, for the growth of counters.
    before: Vec<Option<i64>>,
    levels: [Level; LEVEL_COUNT],
}

/// What is known of the series of a class.
#[derive(Debug, Default)]
struct Known {
    kinds: Vec<Kind>,
    /// The slots of those that are sketched.
    sketched: Vec<usize>,
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
    covered: Span,
    windows: Vec<Window>,
    /// Of those that are sketched.
    sketches: Vec<Sketch>,
    /// Windows that have ended and wait for their batch.
    ended: Vec<(Extent, Vec<Window>, Vec<Sketch>)>,
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

impl Summarizer {
    /// A summarizer before any tick, of what the metrics that these patterns stand for have quantiles.
    pub fn new(sketched: &[String]) -> Summarizer {
        Summarizer { parts: Box::new(Class::ALL.map(Part::new)), sketched: sketched.into() }
    }

    /// Takes a tick: of each class the values of its slots, at `now`, where there is one every `interval`. Batches may be
    /// [due](Summarizer::due) then.
    pub fn tick(&mut self, now: Stamp, interval: Span, dictionary: &Dictionary, values: [&[Option<i64>]; CLASS_COUNT]) {
        let mut room = SKETCHED_COUNT_MAX - self.parts.iter().map(|part| part.series.sketched.len()).sum::<usize>();
        for (part, values) in self.parts.iter_mut().zip(values).filter(|(_, values)| !values.is_empty()) {
            part.learn(dictionary, &self.sketched, &mut room);
            part.tick(now, interval, values);
        }
    }

    /// Ends every window and makes every batch due, as when the process ends or the list of series is renewed.
    pub fn end_all(&mut self) {
        for part in self.parts.iter_mut() {
            part.cover(None);
            part.end_windows(|_| true);
            part.levels.iter_mut().for_each(|level| level.run_window_count = u32::MAX);
        }
    }

    /// The list of series starts again: so do the slots. Everything that was open must have been taken.
    pub fn renew(&mut self) {
        *self.parts = Class::ALL.map(Part::new);
    }

    /// Hands out the windows of five minutes and longer that have ended since the last time, before their batches are due.
    pub fn take_ended(&mut self, mut each: impl FnMut(&Ended<'_>)) {
        for part in self.parts.iter_mut() {
            for level in &mut part.levels {
                let (true, Stream::Series(resolution, class)) = (std::mem::take(&mut level.is_fresh), level.stream)
                else {
                    continue;
                };
                let (Some((extent, windows, _)), Some(opened)) = (level.ended.last(), level.opened) else { continue };
                let (began, span) = (opened.at(extent.began), level.span);
                if !Ended::is_cut(*extent, span) {
                    each(&Ended { resolution, class, began, span, windows });
                }
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

    /// Bytes of memory that all of it takes now.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.parts) + self.parts.iter().map(Part::bytes).sum::<usize>()
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
            covered: Span(0),
            windows: Vec::new(),
            sketches: Vec::new(),
            ended: Vec::new(),
            writer: None,
            opened: None,
            run: None,
            run_window_count: 0,
            is_fresh: false,
        };
        let levels = std::array::from_fn(level);
        Part { class, series: Known::default(), ticked: None, before: Vec::new(), levels }
    }

    fn bytes(&self) -> usize {
        self.series.kinds.capacity() * size_of::<Kind>()
            + self.series.sketched.capacity() * size_of::<usize>()
            + self.before.capacity() * size_of::<Option<i64>>()
            + self.levels.iter().map(Level::bytes).sum::<usize>()
    }

    /// Takes note of series that are new.
    fn learn(&mut self, dictionary: &Dictionary, sketched: &[String], room: &mut usize) {
        for series in dictionary.of(self.class).skip(self.series.kinds.len()) {
            if *room > 0 && is_among(sketched, series.name) {
                self.series.sketched.push(self.series.kinds.len());
                *room -= 1;
            }
            self.series.kinds.push(series.kind());
        }
        self.before.resize(self.series.kinds.len(), None);
    }

    fn tick(&mut self, now: Stamp, interval: Span, values: &[Option<i64>]) {
        let covered = self.cover(Some((now.uptime, interval)));
        self.end_windows(|level| level.place != Some(place(now, level.span)));
        self.levels.iter_mut().for_each(|level| level.open(now, covered));
        let Level { windows, sketches, .. } = self.levels[0].take(1, values.len(), &self.series);
        let mut sketched = self.series.sketched.iter().zip(sketches).peekable();
        for (slot, value) in values.iter().enumerate() {
            let sketch = sketched.next_if(|(its, _)| **its == slot).map(|(_, sketch)| sketch);
            let Some(value) = *value else { continue };
            let before = self.before[slot].replace(value);
            let window = &mut windows[slot];
            let shown = match self.series.kinds[slot] {
                Kind::Counter => {
                    let increase = window.increase;
                    window.count_up(before, value);
                    before.map(|_| window.increase.wrapping_sub(increase) as i64)
                }
                Kind::Gauge => {
                    window.gauge(value);
                    Some(value)
                }
            };
            if let (Some(sketch), Some(shown)) = (sketch, shown) {
                sketch.add(shown);
            }
        }
    }

    /// Now that it is known when the next tick came, if one did: what the last one covers of the open windows. Returns from when to
    /// when that is, for windows that begin in between.
    fn cover(&mut self, next: Option<(Instant, Span)>) -> (Instant, Instant) {
        let Some((from, due_after)) = std::mem::replace(&mut self.ticked, next) else { return Default::default() };
        let until = match next {
            // Half of the interval is what a tick may be late, and the slower of two paces is the one in which it can be.
            Some((at, interval)) if (at - from).0 <= interval.max(due_after).0 * 3 / 2 => at,
            _ => from + due_after,
        };
        for level in &mut self.levels {
            level.covered = level.covered + (until.min(level.ends_at) - from);
        }
        (from, until)
    }

    /// Ends the windows of each level that `is_over`, the short ones first, so that the long ones have them.
    fn end_windows(&mut self, is_over: impl Fn(&Level) -> bool) {
        for index in 0..LEVEL_COUNT {
            let (level, above) = self.levels.split_at_mut(index + 1);
            let level = &mut level[index];
            if level.place.is_none() || !is_over(level) {
                continue;
            }
            if let Some(above) = above.first_mut() {
                above.take(level.tick_count, level.windows.len(), &self.series);
                above.windows.iter_mut().zip(&level.windows).for_each(|(window, part)| window.append(part));
                above.sketches.iter_mut().zip(&level.sketches).for_each(|(sketch, part)| sketch.merge(part));
            }
            level.end(&self.series);
        }
    }

    fn due(&mut self, mark: &DictionaryMark, out: &mut Vec<u8>) -> Option<Sealed> {
        let series = &self.series;
        self.levels.iter_mut().find_map(|level| {
            if !level.ended.is_empty() && level.is_over() {
                let writer = level.writer.get_or_insert_default();
                level
                    .ended
                    .drain(..)
                    .for_each(|(extent, windows, sketches)| series.write(extent, &windows, &sketches, writer));
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

impl Known {
    fn write(&self, extent: Extent, windows: &[Window], sketches: &[Sketch], writer: &mut WindowWriter) {
        for (slot, sketch) in self.sketched.iter().zip(sketches).filter(|(_, sketch)| !sketch.buckets().is_empty()) {
            writer.push_sketch(*slot, sketch);
        }
        writer.push(extent, &self.kinds, windows);
    }
}

impl Level {
    fn bytes(&self) -> usize {
        let of = |windows: &Vec<Window>, sketches: &[Sketch]| {
            windows.capacity() * size_of::<Window>() + sketches.iter().map(Sketch::bytes).sum::<usize>()
        };
        let ended = self.ended.iter().map(|(_, windows, sketches)| of(windows, sketches));
        of(&self.windows, &self.sketches)
            + ended.sum::<usize>()
            + self.writer.as_ref().map_or(0, WindowWriter::state_bytes)
    }

    /// Opens the window that `at` lies in, unless it is open. What the last tick `covered` of it is counted, if that tick is of a window
    /// before.
    fn open(&mut self, at: Stamp, (from, until): (Instant, Instant)) {
        if self.place.is_none() {
            self.place = Some(place(at, self.span));
            self.began = began(at, self.span);
            self.ends_at = at.uptime + Span(self.span.0 - clock_ms(at) % self.span.0);
            self.covered = if from < self.began.uptime { until - self.began.uptime } else { Span(0) };
        }
    }

    /// Takes ticks in, before their values.
    fn take(&mut self, tick_count: u32, series_count: usize, series: &Known) -> &mut Level {
        self.tick_count = self.tick_count.saturating_add(tick_count);
        if self.windows.len() < series_count {
            if self.windows.capacity() == 0 {
                self.windows.reserve_exact(series_count);
            }
            self.windows.resize(series_count.min(SERIES_COUNT_MAX), Window::default());
        }
        self.sketches.resize_with(series.sketched.len(), Sketch::new);
        self
    }

    fn end(&mut self, series: &Known) {
        let lacking = Span(self.span.0.saturating_sub(self.covered.0));
        let extent = Extent { began: self.began.uptime, tick_count: self.tick_count, lacking };
        // Only such a run holds its model from batch to batch.
        if self.batch_window_count < self.run_window_count_max {
            let writer = self.writer.get_or_insert_default();
            series.write(extent, &self.windows, &self.sketches, writer);
        } else {
            self.ended.push((extent, self.windows.clone(), self.sketches.clone()));
        }
        self.opened.get_or_insert(self.began);
        self.run_window_count = self.run_window_count.saturating_add(1);
        self.is_fresh = true;
        (self.place, self.tick_count) = (None, 0);
        self.windows.fill(Window::default());
        self.sketches.iter_mut().for_each(Sketch::clear);
    }

    /// When the open window ends and its batch is full with it; of one that is not, when that would be.
    fn due_at(&self) -> Option<Instant> {
        let closed_count =
            self.ended.len() as u64 + self.writer.as_ref().map_or(0, |writer| writer.window_count().into());
        let later_count = u64::from(self.batch_window_count).saturating_sub(closed_count + 1);
        self.place.map(|_| self.ends_at + Span(self.span.0 * later_count))
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
mod tests;
