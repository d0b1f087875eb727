//! Windows to bytes and back: the payload of a batch of one of the [summary streams](crate::stream::Lane::Summary):
//!
//! ```text
//! keyframe only: what the run counts on, as in crate::batch
//! oddities  count varint, ( window varint, series << 1 | what varint, value varint )*
//!           what 0: ticks of the series, when they are not those of the window; 1: what a counter grew by, when that is not
//!           its last value less the one before: it was reset
//! ticks     a batch of codec::run, a tick for each window; at: the uptime at which it began
//!           slot 0    ticks that the window holds
//!           then, series after series,
//!           counter   last
//!           gauge     last, last - min, max - last, sum - ticks * last
//! ```
//!
//! A run opens with one tick more than it has windows: each counter's value before the first, so that what it grew by follows
//! everywhere from two values that are there. Arithmetic wraps.

use alloc::vec::Vec;

use codec::run::{Decoder, Encoder};
use codec::varint;

use super::Window;
use crate::batch::{DictionaryMark, PayloadError, put_mark, take_mark};
use crate::limits::{RUN_TICKS_MAX, SERIES_COUNT_MAX};
use crate::series::Kind;
use crate::time::Instant;

/// Slots of a gauge, the wider kind.
const WIDTH_MAX: usize = 4;

const SLOT_COUNT_MAX: usize = 1 + WIDTH_MAX * SERIES_COUNT_MAX;

fn width(kind: Kind) -> usize {
    match kind {
        Kind::Counter => 1,
        Kind::Gauge => WIDTH_MAX,
    }
}

/// What an oddity says, in the lowest bit.
const TICKS: u64 = 0;
const INCREASE: u64 = 1;

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
        self.oddities.len() + self.ticks.len()
    }

    /// Appends the window of every series, that of series `n` at `windows[n]`, which began at `at` and holds `tick_count` ticks.
    pub fn push(&mut self, at: Instant, tick_count: u32, kinds: &[Kind], windows: &[Window]) {
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
                self.put(*kind, before.map(|before| [before, 0, 0, 0]));
            }
            self.encoder.encode(at.0, &self.values, &mut self.ticks);
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
                self.put_oddity(index, TICKS, window.count.into());
            }
            let before = self.previous[index].replace(window.last);
            if *kind == Kind::Counter && window.increase != grown(before, window.last) {
                self.put_oddity(index, INCREASE, window.increase);
            }
            let last = window.last;
            let sum = (window.sum_bits as i64).wrapping_sub(last.wrapping_mul(window.count.into()));
            self.put(*kind, Some([last, last.wrapping_sub(window.min), window.max.wrapping_sub(last), sum]));
        }
        self.encoder.encode(at.0, &self.values, &mut self.ticks);
        self.window_count += 1;
    }

    fn put(&mut self, kind: Kind, values: Option<[i64; WIDTH_MAX]>) {
        self.values.extend((0..width(kind)).map(|index| values.map(|values| values[index])));
    }

    fn put_oddity(&mut self, series: usize, what: u64, value: u64) {
        for number in [self.window_count.into(), (series as u64) << 1 | what, value] {
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
        varint::put(out, self.oddity_count);
        out.append(&mut self.oddities);
        out.append(&mut self.ticks);
        (self.oddity_count, self.window_count) = (0, 0);
    }
}

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
        Oddities::take(&mut payload)?;
        let mut batch = self.decoder.batch(payload);
        for _ in 0..=RUN_TICKS_MAX + 1 {
            if batch.next(&mut self.values).map_err(PayloadError::Tick)?.is_none() {
                return Ok(());
            }
        }
        Err(PayloadError::Malformed)
    }

    /// Hands each window of one batch to `each`, oldest first: when it began, the series' number, what it did. `kinds` are those
    /// of the dictionary that the run's mark names. `keyframe` says that the batch opens a run; without it the batch must be
    /// the successor of the one read before.
    pub fn read(
        &mut self,
        mut payload: &[u8],
        keyframe: bool,
        kinds: &[Kind],
        mut each: impl FnMut(Instant, usize, &Window),
    ) -> Result<(), PayloadError> {
        if keyframe {
            self.mark = take_mark(&mut payload)?;
            self.decoder.open_run();
            self.previous.clear();
        }
        let mut oddities = Oddities::take(&mut payload)?;
        let WindowReader { decoder, values, previous, .. } = self;
        let mut batch = decoder.batch(payload);
        let opening_count = u64::from(keyframe);
        for number in 0..=u64::from(RUN_TICKS_MAX) + opening_count {
            let Some(tick) = batch.next(values).map_err(PayloadError::Tick)? else { return Ok(()) };
            let (count, mut rest) = values[..tick.count].split_first().ok_or(PayloadError::Malformed)?;
            let tick_count = count.ok_or(PayloadError::Malformed)?;
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
                let mut odd = |what| oddities.take_for(window_number, series, what);
                let (odd_count, odd_increase) = (odd(TICKS), odd(INCREASE));
                let Some(last) = columns[0] else { continue };
                let before = previous[series].replace(last);
                let count = odd_count.map_or(u32::try_from(tick_count), u32::try_from);
                let mut window =
                    Window { count: count.map_err(|_| PayloadError::Malformed)?, last, ..Window::default() };
                match columns {
                    [_, below, above, sum] => {
                        window.min = last.wrapping_sub(below.unwrap_or(0));
                        window.max = last.wrapping_add(above.unwrap_or(0));
                        window.sum_bits = sum.unwrap_or(0).wrapping_add(last.wrapping_mul(window.count.into())) as u64;
                    }
                    _ => window.increase = odd_increase.unwrap_or(grown(before, last)),
                }
                each(Instant(tick.at_ms), series, &window);
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
    /// Takes them off the front of a payload.
    fn take(payload: &mut &'a [u8]) -> Result<Oddities<'a>, PayloadError> {
        let number = |payload: &mut &'a [u8]| varint::take(payload).map_err(|_| PayloadError::Malformed);
        let count = number(payload)?;
        let rest = *payload;
        for _ in 0..count {
            for _ in 0..3 {
                number(payload)?;
            }
        }
        let mut oddities = Oddities { rest, left: count, next: None };
        oddities.advance();
        Ok(oddities)
    }

    fn advance(&mut self) {
        self.next = None;
        if self.left > 0 {
            self.left -= 1;
            let mut number = || varint::take(&mut self.rest).unwrap_or(u64::MAX);
            self.next = Some((number(), number(), number()));
        }
    }

    /// What is said of this series in this window, if something is.
    fn take_for(&mut self, window: u64, series: usize, what: u64) -> Option<u64> {
        let (of, key, value) = self.next?;
        if (of, key) != (window, (series as u64) << 1 | what) {
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

    type Row = (Instant, u32, Vec<Window>);

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
            rows.iter().for_each(|(at, count, windows)| writer.push(*at, *count, kinds, windows));
            assert_eq!(writer.window_count() as usize, rows.len());
            let mut payload = Vec::new();
            writer.seal((number == 0).then_some(&MARK), &mut payload);
            let mut seen = Vec::new();
            let each = |at, series, window: &Window| seen.push((at, series, *window));
            reader.read(&payload, number == 0, kinds, each).unwrap();
            checked.check(&payload, number == 0).unwrap();
            assert_eq!(reader.mark(), MARK);
            let of = |row: &Row| {
                let (at, windows) = (row.0, row.2.clone());
                windows.into_iter().enumerate().map(move |(series, window)| (at, series, window))
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
            (Instant(0), 6, vec![counter(6, 700, 60), gauge(&[3, -1, 8])]),
            (Instant(60_000), 6, vec![counter(6, 900, 200), gauge(&[3; 6])]),
            (Instant(120_000), 6, vec![counter(4, 20, 120), none]),
            (Instant(180_000), 5, vec![none, gauge(&[i64::MAX, i64::MIN]), counter(2, 50, 0)]),
            (Instant(240_000), 6, vec![counter(6, 50, 30), gauge(&[i64::MIN; 6]), counter(6, 51, 1)]),
            (Instant(300_000), 6, vec![counter(6, -5, 77), gauge(&[0; 6]), counter(6, i64::MAX, u64::MAX)]),
        ];
        for per_batch in [1, 2, 6] {
            check(&kinds, &rows, per_batch);
        }
        check(&[], &[(Instant(5), 0, vec![])], 1);
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: i64| {
            let windows = vec![counter(6, minute * minute * 700, 90), gauge(&[minute * 31 % 17, -minute, 5])];
            (Instant(minute as u64 * 60_000), 6, windows)
        };
        let rows: Vec<Row> = (0..40).map(row).collect();
        // FNV-1a over all batches: what changes it changes the format.
        let bytes = check(&kinds, &rows, 7).concat();
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 3_964_449_824_892_956_035);
    }

    #[test]
    fn what_does_not_change_costs_next_to_nothing() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: u64| (Instant(minute * 60_000), 6, vec![counter(6, 1 << 40, 0), gauge(&[1 << 40; 6])]);
        let rows: Vec<Row> = (0..300).map(row).collect();
        let batches = check(&kinds, &rows, 10);
        assert!(batches[1..].iter().all(|batch| batch.len() <= 8), "{batches:?}");
    }

    #[test]
    fn bytes_of_no_writer_end_in_an_error_or_in_windows() {
        let kinds = [Kind::Counter, Kind::Gauge];
        let row = |minute: i64| (Instant(minute as u64), 6, vec![counter(5, minute * 7, 9), gauge(&[minute, 3])]);
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
