//! What batches hold: ticks, windows, series, events, and the record around them.

use codec::near::EXACT;
use codec::run::Encoder;
use link::talk;
use stats::sketch::Sketch;
use wire::batch::{self, Dictionary, DictionaryMark, TickReader, put_dictionary, put_event, put_keyframe, put_series};
use wire::class::Class;
use wire::event::{self, Event, LossReason};
use wire::id::{JournalId, Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::ranges::SeqRange;
use wire::record::{Header, Record, seal};
use wire::series::{Kind, Series};
use wire::spent::Spent;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp};
use wire::trouble::{Trouble, subject};
use wire::window::{Extent, SPANS, Spread, Window, WindowReader, WindowWriter};

use super::Golden;
use super::message::NOW;

pub(super) fn all() -> impl Iterator<Item = Golden> {
    let records = ticks().into_iter().chain(windows()).chain([dictionary(), record_without_a_date()]);
    events().into_iter().map(happened).chain(records)
}

const MARK: DictionaryMark = DictionaryMark { generation: 3, count: 3, hash: 0x5eed_cafe };

fn header(stream: Stream, seq: u64, run: u64) -> Header {
    Header { stream, seq: Seq(seq), run: Seq(run), stamp: NOW.at(Instant(NOW.uptime.0 - 30_000)) }
}

fn sealed(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    seal(header, payload, false, &mut bytes);
    bytes
}

/// The payload of a record that was sealed under this header.
fn opened(bytes: &[u8], header: &Header) -> Option<Vec<u8>> {
    let record = Record::open(bytes).ok().filter(|record| record.header == *header)?;
    record.payload(&mut Vec::new()).ok().map(<[u8]>::to_vec)
}

/// A counter, a gauge that falls below zero, and one that is not always there.
fn tick(number: u64) -> [Option<i64>; 3] {
    let n = number as i64;
    [Some(1_000_000 + 17 * n), Some(40 - n * n), (number % 3 == 1).then_some(-1)]
}

fn at_ms(number: u64) -> u64 {
    3_570_000 + 10_000 * number + number % 2
}

/// The first batch of a run.
pub(super) fn ticks_record() -> Vec<u8> {
    let [first, _] = ticks();
    first.bytes
}

/// A batch that opens a run, and the one behind it in the run, each of four ticks.
fn ticks() -> [Golden; 2] {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::new(SERIES_COUNT_MAX);
    put_keyframe(&MARK, EXACT, &mut first);
    for (payload, numbers) in [(&mut first, 0..4), (&mut second, 4..8)] {
        numbers.for_each(|number| encoder.encode(at_ms(number), &tick(number), payload));
        encoder.close_batch(payload);
    }
    let expected: Vec<_> = (0..8).map(|number| (at_ms(number), tick(number).to_vec())).collect();
    let reads = move |payloads: &[&[u8]]| {
        let (mut reader, mut seen) = (TickReader::new(), Vec::new());
        let is_read = payloads.iter().enumerate().all(|(index, payload)| {
            reader.read(payload, index == 0, |tick, values| seen.push((tick.at_ms, values.to_vec()))).is_ok()
        });
        is_read && seen == expected[..4 * payloads.len()] && reader.mark() == MARK && reader.precision() == EXACT
    };
    let stream = Stream::raw(Class::Normal);
    let (keyframe, successor) = (header(stream, 300, 300), header(stream, 301, 300));
    let (bytes, reads_one, opening) = ((sealed(&keyframe, &first), sealed(&successor, &second)), reads.clone(), first);
    [
        Golden::new("record/ticks", bytes.0, move |bytes| {
            opened(bytes, &keyframe).is_some_and(|payload| reads_one(&[&payload]))
        }),
        Golden::new("record/ticks_of_the_same_run", bytes.1, move |bytes| {
            opened(bytes, &successor).is_some_and(|payload| reads(&[&opening, &payload]))
        }),
    ]
}

/// Windows of each length, the first with a sketch, the last of which lacks some: of a counter that is reset in the second, and of a gauge
/// that has fewer ticks than the window.
fn windows() -> impl Iterator<Item = Golden> {
    let kinds = [Kind::Counter, Kind::Gauge];
    SPANS.into_iter().map(move |(resolution, span)| {
        let windows = |number: u64| {
            let up = 100 * (number as i64 + 1) - 150 * i64::from(number == 1);
            let mut gauge = Window::default();
            [-5, 40 + number as i64, 12].into_iter().for_each(|value| gauge.gauge(value));
            [Window { count: 6, last: up, increase: 90 + number, ..Window::default() }, gauge]
        };
        let extent = move |number: u64| Extent {
            began: Instant(NOW.uptime.0 + number * span.0),
            tick_count: 6,
            lacking: Span::seconds(20 * (number / 2)),
        };
        let mut writer = WindowWriter::new();
        let mut sketch = Sketch::new();
        [-5, 40, 40, 12].into_iter().for_each(|value| sketch.add(value));
        writer.push_sketch(1, &sketch);
        (0..3).for_each(|number| writer.push(extent(number), &kinds, &windows(number)));
        let mut payload = Vec::new();
        writer.seal(Some(&MARK), &mut payload);
        let header = header(Stream::Series(resolution, Class::Normal), 7, 7);
        let name = format!("record/windows/{resolution:?}").to_lowercase();
        Golden::new(name, sealed(&header, &payload), move |bytes| {
            let Some(payload) = opened(bytes, &header) else { return false };
            let (mut reader, mut seen) = (WindowReader::new(), Vec::new());
            let each = |extent, series, window: &Window, sketch: Option<&Sketch>| {
                seen.push((extent, series, *window, sketch.cloned()));
            };
            let read = reader.read_with_sketches(&payload, true, &kinds, each);
            let expected = (0..3).flat_map(|number| {
                let [counter, gauge] = windows(number);
                let sketch = (number == 0).then(|| sketch.clone());
                [(extent(number), 0, counter, None), (extent(number), 1, gauge, sketch)]
            });
            read.is_ok()
                && reader.mark() == MARK
                && seen.into_iter().map(without_spread).eq(expected.map(without_spread))
        })
    })
}

/// A window as it was read or written, but for how far its values lie from their mean: who reads it has bounds of that, which are those of
/// the gauge above.
fn without_spread(
    (extent, series, window, sketch): (Extent, usize, Window, Option<Sketch>),
) -> (Extent, usize, Window, Option<Sketch>, bool) {
    let bounds = window.variance();
    let is_spread = bounds.most > 0.0 && bounds.most < bounds.least * 1.3;
    (extent, series, Window { spread: Spread::default(), ..window }, sketch, is_spread)
}

fn dictionary() -> Golden {
    let entries = [
        (Class::Critical, Series { name: "node_load1", labels: "", kind: Kind::Gauge as u8, scale: -2 }),
        (
            Class::Normal,
            Series {
                name: "node_cpu_seconds_total",
                labels: "cpu=\"0\",mode=\"user\"",
                kind: Kind::Counter as u8,
                scale: -2,
            },
        ),
        (Class::Bulk, Series { name: "outpost_uplink_bytes_total", labels: "", kind: Kind::Counter as u8, scale: 0 }),
    ];
    let mut payload = Vec::new();
    put_dictionary(3, SeriesId(40), &mut payload);
    entries.iter().for_each(|(class, series)| put_series(series, *class, &mut payload));
    let header = header(Stream::Dictionary, 1, 1);
    Golden::new("record/dictionary", sealed(&header, &payload), move |bytes| {
        let Some(payload) = opened(bytes, &header) else { return false };
        let Ok(dictionary) = Dictionary::open(&payload) else { return false };
        let expected = (40..).zip(&entries).map(|(id, (class, series))| Ok((SeriesId(id), *class, series.clone())));
        dictionary.generation == 3 && dictionary.entries().eq(expected)
    })
}

/// A record of a gateway that does not know the date, so that nothing of its stamp is left out on the link.
fn record_without_a_date() -> Golden {
    let header = Header { stamp: Stamp { unix: None, ..NOW }, ..header(Stream::Event, 1 << 32, 1 << 32) };
    let mut payload = Vec::new();
    put_event(Span(0), &Event::Stopped, &mut payload);
    Golden::new("record/without_a_date", sealed(&header, &payload), move |bytes| {
        opened(bytes, &header).as_ref() == Some(&payload)
    })
}

/// An event that goes with a hello.
pub(super) fn event_record() -> Vec<u8> {
    let mut payload = Vec::new();
    put_event(Span(0), &Event::TicksMissed { count: 3 }, &mut payload);
    sealed(&header(Stream::Event, 2, 2), &payload)
}

fn said(text: &str) -> Event {
    Event::StorageFailed { error: event::text(text) }
}

/// A trouble of each kind, in the order of their numbers.
fn troubles() -> Vec<Trouble> {
    let (mountpoint, group, interface) = (subject(b"/var/log"), subject(b"webd"), subject(b"eth0"));
    let (hour, minute) = (Span::minutes(60), Span::minutes(1));
    vec![
        Trouble::DiskFilling { mountpoint: mountpoint.clone(), left: hour },
        Trouble::MemoryLeak { group: group.clone(), bytes: 1 << 30, grown_bytes: 1 << 20, within: hour },
        Trouble::RestartLoop { group: Some(group.clone()), count: 5, within: minute },
        Trouble::SlowedDown { condition: subject(b"under_voltage") },
        Trouble::ReadOnly { mountpoint },
        Trouble::CardErrors { count: 2, line: event::text("mmc0: error -110") },
        Trouble::Flapping { interface: interface.clone(), count: 6, within: minute },
        Trouble::ModemOffline { interface },
        Trouble::OutOfMemory { count: 1, victim: Some(group) },
        Trouble::StuckOnIo { load_100: 840, blocked_count: 8 },
    ]
}

/// An event of each kind, in the order of their numbers.
fn events() -> Vec<Event> {
    let word = |text: &str| text.try_into().expect("a short word");
    let bearer = || "wwan0".try_into().expect("a short name");
    let stream = Stream::raw(Class::Bulk);
    let lost = |reason| Event::Lost { stream, range: SeqRange { first: Seq(5), last: Seq(u64::MAX) }, reason };
    let events = vec![
        Event::Started { version: "0.1.0".try_into().expect("a short version") },
        Event::Stopped,
        Event::ClockStepped { by_ms: -86_400_000 },
        lost(LossReason::Evicted),
        Event::Quarantined { volume: event::text("raw-00000007.redb"), saved_count: 300 },
        Event::TicksMissed { count: 3 },
        Event::SeriesRefused { count: 200 },
        said("No space left on device (os error 28)"),
        Event::StorageRecovered,
        Event::PartsUnread { count: 2 },
        Event::ProcessesSkipped { count: 70_000 },
        Event::WindowsRefused { stream, count: 4 },
        Event::ClocksDisagree { believed: word("hub"), other: word("rtc"), by_ms: 1 << 40 },
        Event::TimeLearned { source: word("kernel") },
        Event::TimeRefused { source: word("rtc") },
        Event::JournalRenamed { former: JournalId(0x6a6f_7572) },
        Event::DataUsed {
            bearer: bearer(),
            day: 20_454,
            spent: Spent { by_use: [1, 200, 30_000, 4_000_000, 500], other: 6 },
            budget_bytes: Some(1 << 20),
        },
        Event::BudgetUsed { bearer: bearer(), per_cent: 85 },
        Event::Withheld { ranges: [(stream, SeqRange { first: Seq(3), last: Seq(300) })].into_iter().collect() },
        Event::LinkChanged { bearer: bearer(), tier: word("EDGE"), reason: Some(word("vanished")) },
        Event::Anomaly {
            series: event::text("node_thermal_zone_temp{zone=\"0\"}"),
            is_rate: false,
            score_1000: 140,
            observed: 81_500,
            expected: (-4000, 62_000),
            scale: -3,
        },
        Event::HostAnomaly { score_10: 63, blamed: [subject(b"node_load1")].into_iter().collect() },
        Event::Trouble { trouble: troubles().remove(0) },
        Event::TroubleOver { trouble: troubles().remove(4) },
        Event::Unsaid { count: 92 },
        Event::Fetched { number: 300, batch_count: Some(12) },
    ];
    let numbers = events.iter().map(|event| talk::body(event)[0]);
    assert!(numbers.eq(0..events.len() as u8), "a kind is missing");
    let next = [&[events.len() as u8][..], &[0; 64]].concat();
    assert!(talk::read::<Event>(&next).is_none(), "there is a kind that is not pinned");
    let numbers: Vec<u8> = troubles().iter().map(|trouble| talk::body(trouble)[0]).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u8), "a trouble is missing");
    let next = [&[numbers.len() as u8][..], &[0; 64]].concat();
    assert!(talk::read::<Trouble>(&next).is_none(), "there is a trouble that is not pinned");
    let others = troubles().into_iter().skip(1).map(|trouble| Event::Trouble { trouble });
    let reasons = (1..=u8::MAX).map_while(|number| talk::read::<LossReason>(&[number]));
    events.into_iter().chain(reasons.map(lost)).chain(others).collect()
}

fn happened(event: Event) -> Golden {
    let words = format!("{event:?}");
    let kind = words.split([' ', '{']).next().expect("it has a name");
    let name = match &event {
        Event::Lost { reason, .. } => format!("event/Lost/{reason:?}"),
        Event::Trouble { trouble } => format!("event/Trouble/{}", trouble.word()),
        _ => format!("event/{kind}"),
    };
    let mut payload = Vec::new();
    put_event(Span(1234), &event, &mut payload);
    Golden::new(name, payload, move |bytes| batch::events(bytes).eq([Ok((Span(1234), Some(event.clone())))]))
}
