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
    /// Of each window that was read.
    extents: Vec<(Resolution, Extent)>,
    sketches: Vec<(Resolution, usize, Sketch)>,
}

impl Bench {
    /// A counter and a gauge.
    fn new() -> Bench {
        let mut dictionary = Dictionary::new(1);
        dictionary.slot(Metric::ContextSwitches, Class::Normal, &[]).unwrap();
        dictionary.slot(Metric::Load1, Class::Normal, &[]).unwrap();
        let readers = std::array::from_fn(|_| WindowReader::new());
        Bench {
            dictionary,
            summarizer: Summarizer::new(&[]),
            readers,
            next: 0,
            extents: Vec::new(),
            sketches: Vec::new(),
        }
    }

    fn tick(&mut self, at: Stamp, values: [i64; 2]) {
        self.tick_every(10, at, values);
    }

    fn tick_every(&mut self, interval_s: u64, at: Stamp, values: [i64; 2]) {
        let values = values.map(Some);
        self.summarizer.tick(at, Span::seconds(interval_s), &self.dictionary, [&[], &values, &[]]);
    }

    /// Every window of the batches that are due, as the hub reads them.
    fn windows(&mut self) -> Vec<(Resolution, u64, usize, Window)> {
        let (mut found, mut payload) = (Vec::new(), Vec::new());
        while let Some(sealed) = self.summarizer.due(&self.dictionary.mark(), &mut payload) {
            let Stream::Series(resolution, Class::Normal) = sealed.stream else { unreachable!() };
            let index = SPANS.iter().position(|(of, _)| *of == resolution).unwrap();
            let each = |extent: Extent, series, window: &Window, sketch: Option<&Sketch>| {
                let civil = sealed.stamp.at(extent.began);
                let at_ms = civil.unix.map_or(extent.began.0, |unix| unix.0);
                self.extents.push((resolution, extent));
                found.push((resolution, at_ms, series, *window));
                self.sketches.extend(sketch.map(|sketch| (resolution, series, sketch.clone())));
            };
            let kinds = [Kind::Counter, Kind::Gauge];
            self.readers[index].read_with_sketches(&payload, sealed.run.is_none(), &kinds, each).unwrap();
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
        assert_eq!(of(1).map(|(.., window)| u64::from(window.count)).sum::<u64>(), 24 * 360 + 100, "{resolution:?}");
        assert!(of(0).skip(1).all(|(_, at_ms, ..)| at_ms % span.0 == 0), "{resolution:?}");
        let (_, _, _, second) = of(1).nth(if resolution == Resolution::Day { 0 } else { 1 }).unwrap();
        assert_eq!((second.min, second.max, second.sum()), (0, 5, i128::from(second.count) * 15 / 6), "{resolution:?}");
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
    let values: [&[_]; CLASS_COUNT] = [&[], &[Some(1), Some(2)], &[Some(3)]];
    bench.summarizer.tick(stamp(0, Some(NOON_MS)), Span::seconds(10), &bench.dictionary, values);
    bench.summarizer.end_all();
    let (mut streams, mut payload) = (Vec::new(), Vec::new());
    while let Some(sealed) = bench.summarizer.due(&bench.dictionary.mark(), &mut payload) {
        streams.push(sealed.stream);
        bench.summarizer.taken(sealed.stream, None);
    }
    let of = |class| SPANS.map(|(resolution, _)| Stream::Series(resolution, class));
    assert_eq!(streams, [of(Class::Normal), of(Class::Bulk)].concat());
}

/// Takes ticks at these seconds of noon's minute and later, and says of each window how many of how many ticks it has and for how
/// many seconds none.
fn covered(ticks: &[(u64, u64)], expected: &[(Resolution, [u64; 3])]) {
    let mut bench = Bench::new();
    for (at_s, interval_s) in ticks {
        bench.tick_every(*interval_s, stamp(86_403 + at_s, Some(NOON_MS + at_s * 1000)), [*at_s as i64, 1]);
        bench.windows();
    }
    bench.summarizer.end_all();
    bench.windows();
    let mut said: Vec<_> = bench.extents.iter().step_by(2).copied().collect();
    said.sort_by_key(|(resolution, extent)| (SPANS.iter().position(|(of, _)| of == resolution), extent.began));
    let said = said.into_iter().map(|(resolution, extent)| {
        let span = SPANS.iter().find(|(of, _)| *of == resolution).unwrap().1;
        let due_count = extent.due_count(span);
        (resolution, [extent.tick_count.into(), due_count.into(), extent.lacking.0 / 1000])
    });
    let said: Vec<_> = said.filter(|(resolution, _)| expected.iter().any(|(of, _)| of == resolution)).collect();
    assert_eq!(said, expected);
}

/// Ticks from one second to another.
fn every(interval_s: u64, seconds: std::ops::Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    seconds.step_by(interval_s as usize).map(move |at_s| (at_s, interval_s))
}

#[test]
fn a_window_says_how_many_of_its_ticks_are_missing() {
    use Resolution::{FiveMinutes, Minute};
    let all: Vec<_> = every(10, 0..300).collect();
    covered(&all, &[[(Minute, [6, 6, 0]); 5].as_slice(), &[(FiveMinutes, [30, 30, 0])]].concat());
    // Two are missed, and a minute has none.
    let some: Vec<_> = all.iter().copied().filter(|(at_s, _)| ![70, 80].contains(at_s) && at_s / 60 != 3).collect();
    let minutes = [[6, 6, 0], [4, 6, 20], [6, 6, 0], [6, 6, 0]].map(|of| (Minute, of));
    covered(&some, &[minutes.as_slice(), &[(FiveMinutes, [22, 30, 80])]].concat());
    // The first boot was at 2:20, and the process ended at 3:30.
    let short: Vec<_> = every(10, 140..210).collect();
    covered(&short, &[(Minute, [4, 6, 20]), (Minute, [3, 6, 30]), (FiveMinutes, [7, 30, 230])]);
    // Intervals that do not part a minute, and some that are longer.
    covered(&every(7, 0..300).collect::<Vec<_>>(), &[(FiveMinutes, [43, 43, 0])]);
    covered(&every(7, 0..119).collect::<Vec<_>>(), &[(Minute, [9, 9, 0]), (Minute, [8, 8, 1])]);
    covered(
        &every(120, 0..300).collect::<Vec<_>>(),
        &[[(Minute, [1, 1, 0]); 3].as_slice(), &[(FiveMinutes, [3, 3, 0])]].concat(),
    );
}

#[test]
fn a_change_of_pace_is_no_gap_and_neither_is_a_late_tick() {
    use Resolution::{FiveMinutes, Minute};
    let slower: Vec<_> = every(10, 0..150).chain(every(60, 180..300)).collect();
    covered(&slower, &[(FiveMinutes, [17, 17, 0])]);
    let faster: Vec<_> = every(60, 0..121).chain(every(10, 130..300)).collect();
    covered(&faster, &[(FiveMinutes, [20, 20, 0])]);
    covered(&[(0, 10), (10, 10), (24, 10), (30, 10), (40, 10), (50, 10)], &[(Minute, [6, 6, 0])]);
}

#[test]
fn a_step_of_the_clock_cuts_windows_and_says_so() {
    let mut bench = Bench::new();
    for tick in 0..12 {
        // Half an hour ahead after the first minute and a half.
        let step_ms = if tick < 9 { 0 } else { 1_800_000 };
        bench.tick(stamp(tick * 10, Some(NOON_MS + tick * 10_000 + step_ms)), [1, 1]);
    }
    bench.summarizer.end_all();
    bench.windows();
    let minutes = bench.extents.iter().step_by(2).filter(|(resolution, _)| *resolution == Resolution::Minute);
    let said: Vec<_> = minutes.map(|(_, extent)| (extent.tick_count, extent.lacking)).collect();
    assert_eq!(said, [(6, Span(0)), (3, Span::seconds(30)), (3, Span::seconds(30))]);
}

#[test]
fn an_end_of_32_bits_is_growth_and_a_boot_begins_anew() {
    const END: i64 = 1 << 32;
    let mut bench = Bench::new();
    for (at_s, value) in [(0, END - 300), (10, END - 100), (20, 100), (30, 400)] {
        bench.tick(stamp(at_s, Some(NOON_MS + at_s * 1000)), [value, 1]);
    }
    bench.summarizer.end_all();
    let mut found = bench.windows();
    // Another process, of another boot: what went before is not known to it.
    bench.summarizer = Summarizer::new(&[]);
    for (at_s, value) in [(5, 50), (15, 80), (25, 20)] {
        let now = Stamp { boot: BootId(2), ..stamp(at_s, Some(NOON_MS + 60_000 + at_s * 1000)) };
        bench.tick(now, [value, 1]);
    }
    bench.summarizer.end_all();
    found.extend(bench.windows());
    let minutes = found.iter().filter(|found| (found.0, found.2) == (Resolution::Minute, 0));
    let said: Vec<_> = minutes.map(|(.., window)| (window.count, window.last, window.increase)).collect();
    assert_eq!(said, [(4, 400, 700), (3, 20, 50)]);
}

#[test]
fn a_leap_day_is_a_day_and_the_day_after_it_another() {
    // 2028-02-28T00:00:00Z, and three days.
    const BEGIN_MS: u64 = 1_835_308_800_000;
    let mut bench = Bench::new();
    let mut found = Vec::new();
    for hour in 0..=72 {
        bench.tick_every(3600, stamp(5000 + hour * 3600, Some(BEGIN_MS + hour * 3_600_000)), [hour as i64, 1]);
        found.extend(bench.windows());
    }
    let days = found.iter().filter(|found| (found.0, found.2) == (Resolution::Day, 0));
    let days: Vec<_> = days.map(|(_, at_ms, _, window)| (*at_ms, window.count, window.increase)).collect();
    let day = |number: u64, increase| (BEGIN_MS + number * 86_400_000, 24, increase);
    assert_eq!(days, [day(0, 23), day(1, 24), day(2, 24)]);
}

#[test]
fn what_asks_for_it_has_quantiles_in_windows_of_every_length() {
    let mut bench = Bench::new();
    bench.summarizer = Summarizer::new(&["node_load*".to_owned(), "node_context_switches_total".to_owned()]);
    let (mut counted, mut grown, mut gauged) = (0, Sketch::new(), Sketch::new());
    for tick in 0..360 {
        let (growth, value) = (tick * tick % 700, tick * 37 % 1000);
        counted += growth;
        if tick > 0 {
            grown.add(growth);
        }
        gauged.add(value);
        bench.tick(stamp(tick as u64 * 10, Some(NOON_MS + tick as u64 * 10_000)), [counted, value]);
        bench.windows();
    }
    bench.summarizer.end_all();
    bench.windows();
    for (resolution, _) in SPANS {
        for (series, whole) in [&grown, &gauged].into_iter().enumerate() {
            let mut merged = Sketch::new();
            let of = bench.sketches.iter().filter(|(of, its, _)| (*of, *its) == (resolution, series));
            of.for_each(|(.., sketch)| merged.merge(sketch));
            assert_eq!(merged, *whole, "{resolution:?} {series}");
        }
    }
}

#[test]
fn as_many_series_are_sketched_as_there_is_room_for() {
    let mut dictionary = Dictionary::new(1);
    let count = SKETCHED_COUNT_MAX + 9;
    for index in 0..count {
        let label = index.to_string();
        dictionary.slot(Metric::NetworkMtu, Class::Normal, &[("device", label.as_bytes())]).unwrap();
    }
    let (mut summarizer, mut payload) = (Summarizer::new(&["*".to_owned()]), Vec::new());
    let values = vec![Some(1500); count];
    summarizer.tick(stamp(0, Some(NOON_MS)), Span::seconds(10), &dictionary, [&[], &values, &[]]);
    summarizer.end_all();
    let sealed = summarizer.due(&dictionary.mark(), &mut payload).unwrap();
    let (mut seen_count, kinds) = (0, vec![Kind::Gauge; count]);
    let each = |_, _, _: &Window, sketch: Option<&Sketch>| seen_count += usize::from(sketch.is_some());
    WindowReader::new().read_with_sketches(&payload, sealed.run.is_none(), &kinds, each).unwrap();
    assert_eq!(seen_count, SKETCHED_COUNT_MAX);
}

#[test]
fn memory_is_what_it_is_stated_to_be() {
    let bytes = |metric: Metric, count: usize, sketched: &[String]| {
        let mut dictionary = Dictionary::new(1);
        for index in 0..count {
            let label = index.to_string();
            dictionary.slot(metric, Class::Normal, &[("device", label.as_bytes())]).unwrap();
        }
        let (mut summarizer, mut payload, mut most) = (Summarizer::new(sketched), Vec::new(), 0);
        for tick in 0..400 {
            let value = |slot: usize| Some((tick * (slot as i64 + 3) * 7919 % 1_000_003) + tick * 1_000_003);
            let values: Vec<_> = (0..count).map(value).collect();
            let now = stamp(tick as u64 * 10, Some(NOON_MS + tick as u64 * 10_000));
            summarizer.tick(now, Span::seconds(10), &dictionary, [&[], &values, &[]]);
            while let Some(sealed) = summarizer.due(&dictionary.mark(), &mut payload) {
                most = most.max(summarizer.bytes());
                payload.clear();
                summarizer.taken(sealed.stream, Some(Seq(1)));
            }
        }
        most
    };
    let all = &["*".to_owned()][..];
    let more = |metric, sketched: &[String], few, many| {
        (bytes(metric, many, sketched) - bytes(metric, few, sketched)) / (many - few)
    };
    let (gauge, counter) = (Metric::NetworkMtu, Metric::NetworkReceiveBytes);
    let plain = [gauge, counter].map(|metric| more(metric, &[], 100, 200));
    assert!(plain[0] <= 2500 && plain[1] <= 1100, "{plain:?}");
    let sketched = more(gauge, all, 10, 30) - more(gauge, &[], 10, 30);
    assert!(sketched <= 6500, "{sketched}");
}
