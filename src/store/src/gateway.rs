//! A gateway for tests: it seals dictionaries, runs of ticks and events as the real one does.

use std::sync::Arc;

use codec::run::Encoder;
use disk::Folder;
use query::selector::Selector;
use wire::batch::{DictionaryHash, DictionaryMark, put_dictionary, put_event, put_keyframe, put_series};
use wire::class::Class;
use wire::event::Event;
use wire::id::{DeviceId, JournalId, Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::record::{Header, Record, seal};
use wire::series::{Kind, Series};
use wire::stream::{Lane, Resolution, STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};
use wire::window::{Extent, SPANS, Window, WindowWriter};

use crate::Store;
use crate::change::Change;
use crate::range::{Question, Range, Target};
use disk::memory::Memory;

/// Civil time at uptime zero of boot 1 when [`Gateway::has_clock`]: 2026-01-01.
pub(crate) const BEGAN: u64 = 1_767_225_600_000;

/// Bytes of cache in tests: small, so that pages are read back.
pub(crate) const CACHE_BYTES: usize = 64 * 1024;

pub(crate) struct Gateway {
    pub(crate) device: DeviceId,
    pub(crate) journal: JournalId,
    pub(crate) boot: BootId,
    pub(crate) began: UnixTime,
    pub(crate) has_clock: bool,
    next: [u64; STREAM_COUNT],
    generation: u32,
    series: Vec<(Class, String, String)>,
    encoder: Encoder,
}

impl Gateway {
    pub(crate) fn new(device: u64) -> Gateway {
        Gateway {
            device: DeviceId(device),
            journal: JournalId(7),
            boot: BootId(1),
            began: UnixTime(BEGAN),
            has_clock: true,
            next: [0; STREAM_COUNT],
            generation: 0,
            series: Vec::new(),
            encoder: Encoder::new(SERIES_COUNT_MAX),
        }
    }

    fn stamp(&self, uptime: Instant) -> Stamp {
        let unix = self.has_clock.then_some(UnixTime(self.began.0 + uptime.0));
        Stamp { boot: self.boot, uptime, unix }
    }

    fn change(&mut self, stream: Stream, run: Option<u64>, uptime: Instant, payload: &[u8]) -> Change {
        let seq = self.next[stream.index()];
        self.next[stream.index()] += 1;
        let header = Header { stream, seq: Seq(seq), run: Seq(run.unwrap_or(seq)), stamp: self.stamp(uptime) };
        let mut record = Vec::new();
        seal(&header, payload, stream.lane() != Lane::Raw, &mut record);
        Change::Record {
            device: self.device,
            journal: self.journal,
            record,
            received: UnixTime(BEGAN + uptime.0 + 1000),
        }
    }

    /// The journal is wiped and the machine starts again.
    pub(crate) fn reimage(&mut self, journal: u32, boot: u32) {
        (self.journal, self.boot) = (JournalId(journal), BootId(boot));
        self.next = [0; STREAM_COUNT];
        self.generation = 0;
        self.series.clear();
    }

    /// The list is full: the next names open another.
    pub(crate) fn next_generation(&mut self) {
        self.generation += 1;
        self.series.clear();
    }

    pub(crate) fn skip(&mut self, stream: Stream, count: u64) {
        self.next[stream.index()] += count;
    }

    /// Names series of the normal class, scale -2, counters if the name ends in `_total`, and seals the batch that says so.
    pub(crate) fn names(&mut self, series: &[(&str, &str)]) -> Change {
        self.names_of(Class::Normal, series)
    }

    /// Names series of a class.
    pub(crate) fn names_of(&mut self, class: Class, series: &[(&str, &str)]) -> Change {
        let mut payload = Vec::new();
        put_dictionary(self.generation, SeriesId(self.series.len() as u16), &mut payload);
        for (name, labels) in series {
            put_series(&Series { name, labels, kind: kind(name) as u8, scale: -2 }, class, &mut payload);
            self.series.push((class, name.to_string(), labels.to_string()));
        }
        self.change(Stream::Dictionary, None, Instant(0), &payload)
    }

    fn mark(&self) -> DictionaryMark {
        let mut hash = DictionaryHash::default();
        for (class, name, labels) in &self.series {
            let mut entry = Vec::new();
            put_series(&Series { name, labels, kind: kind(name) as u8, scale: -2 }, *class, &mut entry);
            hash.update(&entry);
        }
        DictionaryMark { generation: self.generation, count: self.series.len() as u16, hash: hash.value() }
    }

    /// A run of `ticks`, one every ten seconds from `start_ms` of uptime on, `per_batch` to a batch. The value of a
    /// slot is [`value`].
    pub(crate) fn run(&mut self, start_ms: u64, ticks: u64, per_batch: u64) -> Vec<Change> {
        self.run_of(Class::Normal, start_ms, ticks, per_batch)
    }

    /// A run of the ticks of a class.
    pub(crate) fn run_of(&mut self, class: Class, start_ms: u64, ticks: u64, per_batch: u64) -> Vec<Change> {
        let stream = Stream::raw(class);
        let run = self.next[stream.index()];
        let slot_count = self.series.iter().filter(|(of, ..)| *of == class).count();
        self.encoder.open_run();
        let mut batches = Vec::new();
        let mut tick = 0;
        while tick < ticks {
            let opened = Instant(start_ms + tick * 10_000);
            let mut payload = Vec::new();
            if tick == 0 {
                put_keyframe(&self.mark(), 0, &mut payload);
            }
            for _ in 0..per_batch.min(ticks - tick) {
                let at_ms = start_ms + tick * 10_000;
                let values: Vec<_> = (0..slot_count).map(|slot| Some(value(slot, at_ms))).collect();
                self.encoder.encode(at_ms, &values, &mut payload);
                tick += 1;
            }
            self.encoder.close_batch(&mut payload);
            batches.push(self.change(stream, Some(run), opened, &payload));
        }
        batches
    }

    /// A run of so many windows of the normal class, three to a batch, from `start_ms` of uptime on, of ticks every ten seconds that
    /// show `value`.
    pub(crate) fn windows(
        &mut self,
        resolution: Resolution,
        start_ms: u64,
        count: u64,
        value: impl Fn(usize, u64) -> i64,
    ) -> Vec<Change> {
        let stream = Stream::Series(resolution, Class::Normal);
        let run = self.next[stream.index()];
        let names = self.series.iter().filter(|(class, ..)| *class == Class::Normal);
        let kinds: Vec<Kind> = names.map(|(_, name, _)| kind(name)).collect();
        let (_, span) = SPANS.into_iter().find(|(of, _)| *of == resolution).unwrap();
        let (mut writer, mut batches, mut opened) = (WindowWriter::new(), Vec::new(), start_ms);
        for number in 1..=count {
            let (from_ms, to_ms) = (start_ms + (number - 1) * span.0, start_ms + number * span.0);
            let of_ticks = |slot: usize| {
                let mut window = Window::default();
                for at_ms in (from_ms..to_ms).step_by(10_000) {
                    match kinds[slot] {
                        Kind::Counter => {
                            let before = at_ms.checked_sub(10_000).map(|before_ms| value(slot, before_ms));
                            window.count_up(before, value(slot, at_ms));
                        }
                        Kind::Gauge => window.gauge(value(slot, at_ms)),
                    }
                }
                window
            };
            let windows: Vec<Window> = (0..kinds.len()).map(of_ticks).collect();
            let extent = Extent { began: Instant(from_ms), tick_count: (span.0 / 10_000) as u32, lacking: Span(0) };
            writer.push(extent, &kinds, &windows);
            if number % 3 == 0 || number == count {
                let mut payload = Vec::new();
                writer.seal(batches.is_empty().then_some(&self.mark()), &mut payload);
                batches.push(self.change(stream, Some(run), Instant(opened), &payload));
                opened = to_ms;
            }
        }
        batches
    }

    pub(crate) fn event(&mut self, uptime_ms: u64, event: &Event) -> Change {
        let mut payload = Vec::new();
        put_event(Span(0), event, &mut payload);
        self.change(Stream::Event, None, Instant(uptime_ms), &payload)
    }
}

fn kind(name: &str) -> Kind {
    if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge }
}

/// The same record with another payload under a checksum that matches.
pub(crate) fn reseal(change: &Change, edit: impl Fn(&mut Vec<u8>)) -> Change {
    let Change::Record { device, journal, record, received } = change else { panic!("only records have a payload") };
    let opened = Record::open(record).unwrap();
    let mut payload = opened.payload(&mut Vec::new()).unwrap().to_vec();
    edit(&mut payload);
    let mut record = Vec::new();
    seal(&opened.header, &payload, false, &mut record);
    Change::Record { device: *device, journal: *journal, record, received: *received }
}

/// Numbers for shuffles: the same ones in every run of a test.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|index| items.swap(index, self.below(index + 1)));
    }
}

/// What slot `slot` shows at an uptime.
pub(crate) fn value(slot: usize, at_ms: u64) -> i64 {
    (at_ms / 10_000) as i64 * (slot as i64 + 1) % 977
}

pub(crate) fn folder() -> Folder {
    Arc::new(Memory::default())
}

pub(crate) fn store() -> Store {
    Store::open(folder(), CACHE_BYTES).unwrap()
}

/// A store that took `changes` in one commit and refused none.
pub(crate) fn store_of(changes: &[Change]) -> Store {
    let store = store();
    assert_eq!(store.commit(changes).unwrap(), []);
    store
}

pub(crate) fn target(device: u64) -> Target {
    let labels = vec![("instance".to_owned(), format!("gw-{device}"))];
    Target { device: DeviceId(device), labels, default_labels: Vec::new() }
}

/// All samples of devices 1 and 2 that `selector` means.
pub(crate) fn ask(store: &Store, selector: &str) -> Range {
    let selector = Selector::parse(selector).unwrap();
    let (from, to) = (UnixTime(0), UnixTime(u64::MAX));
    let question = Question { selector: &selector, targets: &[target(1), target(2)], from, to, samples_max: 1_000_000 };
    store.range(&question).unwrap()
}
