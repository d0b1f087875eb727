//! Windows to bytes and back: the payload of a batch of one of the [summary streams](crate::stream::Lane::Summary):
//!
//! ```text
//! keyframe only: what the run counts on, as in crate::batch
//! oddities  count << 1 | whether there are sketches varint, ( window varint, what varint, value varint )*
//!           what 0: seconds of the window's span that its ticks do not cover, when there are any
//!                1 + (series << 1): ticks of the series, when they are not those of the window
//!                2 + (series << 1): what a counter grew by, when that is not its last value less the one before
//! sketches  if there are: length varint, as in sketches.rs
//! ticks     a batch of codec::run, a tick for each window; at: the uptime at which it began
//!           slot 0    ticks that the window holds
//!           then, series after series,
//!           counter   last
//!           gauge     last, last - min, max - last, sum less what it is likely to be, part of its greatest spread less 8
//! ```
//!
//! A run opens with one tick more than it has windows: each counter's value before the first, so that what it grew by follows
//! everywhere from two values that are there. Arithmetic wraps.

use alloc::vec::Vec;

use codec::run::{Decoder, Encoder};
use codec::varint;

use stats::sketch::Sketch;

use super::sketches::{self, Sketches};
use super::{Extent, Spread, Window};
use crate::batch::{DictionaryMark, PayloadError, put_mark, take_mark};
use crate::limits::{RUN_TICKS_MAX, SERIES_COUNT_MAX};
use crate::series::Kind;
use crate::time::{Instant, Span};

/// Slots of a gauge, the wider kind.
const WIDTH_MAX: usize = 5;

const SLOT_COUNT_MAX: usize = 1 + WIDTH_MAX * SERIES_COUNT_MAX;

fn width(kind: Kind) -> usize {
    match kind {
        Kind::Counter => 1,
        Kind::Gauge => WIDTH_MAX,
    }
}

/// What an oddity says.
const LACKS: u64 = 0;

fn ticks_of(series: usize) -> u64 {
    1 + ((series as u64) << 1)
}

fn increase_of(series: usize) -> u64 {
    2 + ((series as u64) << 1)
}

/// Turns windows into the payloads of batches.
#[derive(Debug)]
pub struct WindowWriter {
    encoder: Encoder,
    is_opened: bool,
    /// The last value of each series in this run.
    previous: Vec<Option<i64>>,
    values: Vec<Option<i64>>,
    oddities: Vec<u8>,
    oddity_count: u64,
    sketches: Vec<u8>,
    ticks: Vec<u8>,
    window_count: u32,
}

impl Default for WindowWriter {
    fn default() -> Self {
        WindowWriter::new()
    }
}

impl WindowWriter {
    /// A writer before its run.
    pub fn new() -> WindowWriter {
        WindowWriter {
            encoder: Encoder::without_search(SLOT_COUNT_MAX),
            is_opened: false,
            previous: Vec::new(),
            values: Vec::new(),
            oddities: Vec::new(),
            oddity_count: 0,
            sketches: Vec::new(),
            ticks: Vec::new(),
            window_count: 0,
        }
    }

    /// Windows in the open batch.
    pub fn window_count(&self) -> u32 {
        self.window_count
    }

    /// Bytes that the open batch has so far.
    pub fn bytes(&self) -> usize {
        self.oddities.len() + self.sketches.len() + self.ticks.len()
    }

    /// Bytes of memory that it takes now.
    pub fn state_bytes(&self) -> usize {
        self.encoder.state_bytes()
            + self.previous.capacity() * size_of::<Option<i64>>()
            + self.values.capacity() * size_of::<Option<i64>>()
            + self.oddities.capacity()
            + self.sketches.capacity()
            + self.ticks.capacity()
    }

    /// Adds the sketch of a series' values to the windows that are pushed next; the series in their order.
    pub fn push_sketch(&mut self, series: usize, sketch: &Sketch) {
        sketches::put(self.window_count, series, sketch, &mut self.sketches);
    }

    /// Appends the window of every series, that of series `n` at `windows[n]`.
    pub fn push(&mut self, extent: Extent, kinds: &[Kind], windows: &[Window]) {
        let Extent { began: at, tick_count, lacking } = extent;
        if !self.is_opened {
            self.is_opened = true;
            self.values.clear();
            self.values.push(Some(0));
            for (window, kind) in windows.iter().zip(kinds) {
                let before = match kind {
                    Kind::Counter => window.last.wrapping_sub(window.increase as i64),
                    Kind::Gauge => window.last,
                };
                let before = (window.count > 0).then_some(before);
                self.previous.push(before);
                self.put(*kind, before.map(|before| [before, 0, 0, 0, 0]));
            }
            self.encoder.encode(at.0, &self.values, &mut self.ticks);
        }
        if lacking >= Span::seconds(1) {
            self.put_oddity(LACKS, lacking.0 / 1000);
        }
        self.previous.resize(windows.len().max(self.previous.len()), None);
        self.values.clear();
        self.values.push(Some(tick_count.into()));
        for (index, (window, kind)) in windows.iter().zip(kinds).enumerate() {
            if window.count == 0 {
                self.put(*kind, None);
                continue;
            }
            if window.count != tick_count {
                self.put_oddity(ticks_of(index), window.count.into());
            }
            let before = self.previous[index].replace(window.last);
            if *kind == Kind::Counter && window.increase != grown(before, window.last) {
                self.put_oddity(increase_of(index), window.increase);
            }
            let last = window.last;
            let (below, above) = (last.wrapping_sub(window.min), window.max.wrapping_sub(last));
            let sum = (window.sum_bits as i64).wrapping_sub(likely_sum(window.count, last, below, above));
            let part = if window.is_settled() { 0 } else { i64::from(window.part()) - LIKELY_PART };
            self.put(*kind, Some([last, below, above, sum, part]));
        }
        self.encoder.encode(at.0, &self.values, &mut self.ticks);
        self.window_count += 1;
    }

    fn put(&mut self, kind: Kind, values: Option<[i64; WIDTH_MAX]>) {
        self.values.extend((0..width(kind)).map(|index| values.map(|values| values[index])));
    }

    fn put_oddity(&mut self, what: u64, value: u64) {
        for number in [self.window_count.into(), what, value] {
            varint::put(&mut self.oddities, number);
        }
        self.oddity_count += 1;
    }

    /// Ends the batch: appends its payload to `out`, with `mark` in front if it opens its run. The next batch goes on in the
    /// same run.
    pub fn seal(&mut self, mark: Option<&DictionaryMark>, out: &mut Vec<u8>) {
        self.encoder.close_batch(&mut self.ticks);
        if let Some(mark) = mark {
            put_mark(mark, out);
        }
        varint::put(out, self.oddity_count << 1 | u64::from(!self.sketches.is_empty()));
        out.append(&mut self.oddities);
        if !self.sketches.is_empty() {
            varint::put(out, self.sketches.len() as u64);
            out.append(&mut self.sketches);
        }
        out.append(&mut self.ticks);
        (self.oddity_count, self.window_count) = (0, 0);
    }
}

/// What the values of a gauge add up to if their mean is in the middle between the least and the greatest.
fn likely_sum(count: u32, last: i64, below: i64, above: i64) -> i64 {
    let twice = above.wrapping_sub(below).wrapping_mul(count.into());
    last.wrapping_mul(count.into()).wrapping_add(twice >> 1)
}

/// The part of its greatest spread that a gauge is likely to have.
const LIKELY_PART: i64 = 8;

/// What a counter is taken to have grown by when nothing else is said.
fn grown(before: Option<i64>, last: i64) -> u64 {
    before.map_or(0, |before| last.wrapping_sub(before) as u64)
}

/// Unpacks a run of windows, batch by batch.
#[derive(Debug)]
pub struct WindowReader {
    decoder: Decoder,
    values: Vec<Option<i64>>,
    previous: Vec<Option<i64>>,
    mark: DictionaryMark,
}

impl Default for WindowReader {
    fn default() -> Self {
        WindowReader::new()
    }
}

impl WindowReader {
    /// A reader before any run.
    pub fn new() -> WindowReader {
        WindowReader {
            decoder: Decoder::new(SLOT_COUNT_MAX),
            values: alloc::vec![None; SLOT_COUNT_MAX],
            previous: Vec::new(),
            mark: DictionaryMark::default(),
        }
    }

    /// What the open run counts on.
    pub fn mark(&self) -> DictionaryMark {
        self.mark
    }

    /// Whether one batch can be unpacked, where it is not known what its slots are. The state goes on as after
    /// [`WindowReader::read`], but for the growth of counters.
    pub fn check(&mut self, mut payload: &[u8], keyframe: bool) -> Result<(), PayloadError> {
        if keyframe {
            self.mark = take_mark(&mut payload)?;
            self.decoder.open_run();
        }
        let (_, sketches) = Oddities::take(&mut payload)?;
        Sketches::open(sketches)?;
        let mut batch = self.decoder.batch(payload);
        for _ in 0..=RUN_TICKS_MAX + 1 {
            if batch.next(&mut self.values).map_err(PayloadError::Tick)?.is_none() {
                return Ok(());
            }
        }
        Err(PayloadError::Malformed)
    }

    /// Hands each window of one batch to `each`, oldest first: its extent, the series' number, what it did. `kinds` are those
    /// of the dictionary that the run's mark names. `keyframe` says that the batch opens a run; without it the batch must be
    /// the successor of the one read before.
    pub fn read(
        &mut self,
        payload: &[u8],
        keyframe: bool,
        kinds: &[Kind],
        mut each: impl FnMut(Extent, usize, &Window),
    ) -> Result<(), PayloadError> {
        self.read_with_sketches(payload, keyframe, kinds, |extent, series, window, _| each(extent, series, window))
    }

    /// As [`WindowReader::read`], with the sketch of each window that has one.
    pub fn read_with_sketches(
        &mut self,
        mut payload: &[u8],
        keyframe: bool,
        kinds: &[Kind],
        mut each: impl FnMut(Extent, usize, &Window, Option<&Sketch>),
    ) -> Result<(), PayloadError> {
        if keyframe {
            self.mark = take_mark(&mut payload)?;
            self.decoder.open_run();
            self.previous.clear();
        }
        let (mut oddities, sketches) = Oddities::take(&mut payload)?;
        let mut sketches = Sketches::open(sketches)?;
        let WindowReader { decoder, values, previous, .. } = self;
        let mut batch = decoder.batch(payload);
        let opening_count = u64::from(keyframe);
        for number in 0..=u64::from(RUN_TICKS_MAX) + opening_count {
            let Some(tick) = batch.next(values).map_err(PayloadError::Tick)? else { return Ok(()) };
            let (count, mut rest) = values[..tick.count].split_first().ok_or(PayloadError::Malformed)?;
            let tick_count = count.and_then(|count| u32::try_from(count).ok()).ok_or(PayloadError::Malformed)?;
            let mut extent = Extent { began: Instant(tick.at_ms), tick_count, lacking: Span(0) };
            if let Some(window_number) = number.checked_sub(opening_count) {
                let lacking_s = oddities.take_for(window_number, LACKS).unwrap_or(0);
                extent.lacking = Span(lacking_s.saturating_mul(1000));
            }
            for (series, kind) in kinds.iter().enumerate() {
                let Some((columns, after)) = rest.split_at_checked(width(*kind)) else { break };
                rest = after;
                if previous.len() == series {
                    previous.push(None);
                }
                // The tick in front of the windows says only what was before.
                let Some(window_number) = number.checked_sub(opening_count) else {
                    previous[series] = columns[0];
                    continue;
                };
                let odd_count = oddities.take_for(window_number, ticks_of(series));
                let odd_increase = oddities.take_for(window_number, increase_of(series));
                let sketch = sketches.take_for(window_number, series)?;
                let Some(last) = columns[0] else { continue };
                let before = previous[series].replace(last);
                let count = odd_count.map_or(Ok(tick_count), u32::try_from).map_err(|_| PayloadError::Malformed)?;
                let mut window = Window { count, last, ..Window::default() };
                match columns {
                    [_, below, above, sum, part] => {
                        let (below, above) = (below.unwrap_or(0), above.unwrap_or(0));
                        window.min = last.wrapping_sub(below);
                        window.max = last.wrapping_add(above);
                        let sum = sum.unwrap_or(0).wrapping_add(likely_sum(count, last, below, above));
                        window.sum_bits = sum as u64;
                        let part = part.unwrap_or(0).saturating_add(LIKELY_PART);
                        window.spread = Spread::of_part(part.clamp(0, i64::from(u8::MAX)) as u8, &window);
                    }
                    _ => window.increase = odd_increase.unwrap_or(grown(before, last)),
                }
                each(extent, series, &window, sketch.as_ref());
            }
            if !rest.is_empty() {
                return Err(PayloadError::Malformed);
            }
        }
        Err(PayloadError::Malformed)
    }
}

/// The oddities of one batch, in order.
struct Oddities<'a> {
    rest: &'a [u8],
    left: u64,
    next: Option<(u64, u64, u64)>,
}

impl<'a> Oddities<'a> {
    /// Takes them off the front of a payload, and the bytes of sketches.
    fn take(payload: &mut &'a [u8]) -> Result<(Oddities<'a>, &'a [u8]), PayloadError> {
        let number = |payload: &mut &'a [u8]| varint::take(payload).map_err(|_| PayloadError::Malformed);
        let front = number(payload)?;
        let count = front >> 1;
        let rest = *payload;
        for _ in 0..count {
            for _ in 0..3 {
                number(payload)?;
            }
        }
        let mut oddities = Oddities { rest, left: count, next: None };
        oddities.advance();
        let length = if front & 1 == 1 { number(payload)? } else { 0 };
        let length = usize::try_from(length).map_err(|_| PayloadError::Malformed)?;
        let (sketches, rest) = payload.split_at_checked(length).ok_or(PayloadError::Malformed)?;
        *payload = rest;
        Ok((oddities, sketches))
    }

    fn advance(&mut self) {
        self.next = None;
        if self.left > 0 {
            self.left -= 1;
            let mut number = || varint::take(&mut self.rest).unwrap_or(u64::MAX);
            self.next = Some((number(), number(), number()));
        }
    }

    /// What is said of this in this window, if something is.
    fn take_for(&mut self, window: u64, what: u64) -> Option<u64> {
        let (of, key, value) = self.next?;
        if (of, key) != (window, what) {
            return None;
        }
        self.advance();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const MARK: DictionaryMark = DictionaryMark { generation: 3, count: 2, hash: 9 };

    type Row = (Extent, Vec<Window>);

    /// As a reader has it.
    fn read(window: Window) -> Window {
        Window { spread: Spread::of_part(window.part(), &window), ..window }
    }

    fn extent(began_ms: u64, tick_count: u32, lacking_s: u64) -> Extent {
        Extent { began: Instant(began_ms), tick_count, lacking: Span::seconds(lacking_s) }
    }

    fn counter(count: u32, last: i64, increase: u64) -> Window {
        Window { count, last, increase, ..Window::default() }
    }

    fn gauge(values: &[i64]) -> Window {
        let mut window = Window::default();
        values.iter().for_each(|value| window.gauge(*value));
        window
    }

    /// Writes rows, so many to a batch, and reads them back.
    fn check(kinds: &[Kind], rows: &[Row], per_batch: usize) -> Vec<Vec<u8>> {
        let (mut writer, mut reader, mut batches) = (WindowWriter::new(), WindowReader::new(), Vec::new());
        let mut checked = WindowReader::new();
        for (number, rows) in rows.chunks(per_batch).enumerate() {
            rows.iter().for_each(|(extent, windows)| writer.push(*extent, kinds, windows));
            assert_eq!(writer.window_count() as usize, rows.len());
            let mut payload = Vec::new();
            writer.seal((number == 0).then_some(&MARK), &mut payload);
            let mut seen = Vec::new();
            let each = |extent, series, window: &Window| seen.push((extent, series, *window));
            reader.read(&payload, number == 0, kinds, each).unwrap();
            checked.check(&payload, number == 0).unwrap();
            assert_eq!(reader.mark(), MARK);
            let of = |row: &Row| {
                let (extent, windows) = (row.0, row.1.clone());
                windows.into_iter().enumerate().map(move |(series, window)| (extent, series, read(window)))
            };
            let expected: Vec<_> = rows.iter().flat_map(of).filter(|(.., window)| window.count > 0).collect();
            assert_eq!(seen, expected);
            batches.push(payload);
        }
        batches
    }

    #[test]
    fn windows_come_back_over_resets_gaps_and_series_that_come_later() {
        let kinds = [Kind::Counter, Kind::Gauge, Kind::Counter];
        let none = Window::default();
        let rows: Vec<Row> = vec![
            (extent(0, 6, 0), vec![counter(6, 700, 60), gauge(&[3, -1, 8])]),
            (extent(60_000, 6, 0), vec![counter(6, 900, 200), gauge(&[3; 6])]),
            (extent(120_000, 6, 20), vec![counter(4, 20, 120), none]),
            (extent(180_000, 5, 3), vec![none, gauge(&[i64::MAX, i64::MIN]), counter(2, 50, 0)]),
            (extent(240_000, 6, 0), vec![counter(6, 50, 30), gauge(&[i64::MIN; 6]), counter(6, 51, 1)]),
            (extent(300_000, 6, 60), vec![counter(6, -5, 77), gauge(&[0; 6]), counter(6, i64::MAX, u64::MAX)]),
        ];
        for per_batch in [1, 2, 6] {
            check(&kinds, &rows, per_batch);
        }
        check(&[], &[(extent(5, 0, 0), vec![])], 1);
    }

    #[test]
    fn sketches_come_with_their_windows_and_cost_nothing_where_there_are_none() {
        let (kinds, windows) = ([Kind::Gauge; 3], [gauge(&[7; 6]); 3]);
        let written = |has_sketches: bool| {
            let (mut writer, mut payload) = (WindowWriter::new(), Vec::new());
            for minute in 0..4 {
                for series in [0, 2].into_iter().filter(|series| has_sketches && (minute + series) % 3 > 0) {
                    let mut sketch = Sketch::new();
                    (0..6).for_each(|value| sketch.add(value * minute as i64 + series as i64));
                    writer.push_sketch(series, &sketch);
                }
                writer.push(extent(minute as u64 * 60_000, 6, 0), &kinds, &windows);
            }
            writer.seal(Some(&MARK), &mut payload);
            payload
        };
        let payload = written(true);
        let (mut reader, mut seen) = (WindowReader::new(), Vec::new());
        let each = |extent: Extent, series: usize, _: &Window, sketch: Option<&Sketch>| {
            seen.extend(sketch.map(|sketch| (extent.began.0 / 60_000, series, sketch.quantile(1000))));
        };
        reader.read_with_sketches(&payload, true, &kinds, each).unwrap();
        let expected = [(0, 2, 2.0), (1, 0, 5.0), (2, 0, 10.0), (2, 2, 12.0), (3, 2, 17.0)];
        assert_eq!(seen, expected.map(|(minute, series, greatest)| (minute, series, Some(greatest))));
        WindowReader::new().check(&payload, true).unwrap();
        let plain = written(false);
        WindowReader::new()
            .read_with_sketches(&plain, true, &kinds, |_, _, _, sketch| assert_eq!(sketch, None))
            .unwrap();
        // Their length, and 9 bytes each at the most.
        assert!(payload.len() <= plain.len() + 1 + 5 * 18, "{} {}", payload.len(), plain.len());
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: i64| {
            let windows = vec![counter(6, minute * minute * 700, 90), gauge(&[minute * 31 % 17, -minute, 5])];
            (extent(minute as u64 * 60_000, 6, 0), windows)
        };
        let rows: Vec<Row> = (0..40).map(row).collect();
        // FNV-1a over all batches: what changes it changes the format.
        let bytes = check(&kinds, &rows, 7).concat();
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 4_275_188_020_839_373_248);
    }

    #[test]
    fn what_does_not_change_costs_next_to_nothing() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: u64| (extent(minute * 60_000, 6, 0), vec![counter(6, 1 << 40, 0), gauge(&[1 << 40; 6])]);
        let rows: Vec<Row> = (0..300).map(row).collect();
        let batches = check(&kinds, &rows, 10);
        assert!(batches[1..].iter().all(|batch| batch.len() <= 8), "{batches:?}");
    }

    #[test]
    fn bytes_of_no_writer_end_in_an_error_or_in_windows() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: i64| {
            (extent(minute as u64, 6, minute as u64 % 2), vec![counter(5, minute * 7, 9), gauge(&[minute, 3])])
        };
        let payload = check(&kinds, &(0..9).map(row).collect::<Vec<Row>>(), 9).remove(0);
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut bytes = payload.clone();
                bytes[at] ^= 1 << bit;
                let _ = WindowReader::new().read(&bytes, true, &kinds, |_, _, _| {});
                let _ = WindowReader::new().read(&payload[..at], true, &kinds[..1], |_, _, _| {});
            }
        }
    }
}
