//! What the windows of all lengths cost: time for each sample, and memory for each series.

use std::time::{Duration, Instant};

use agent::dictionary::Dictionary;
use agent::summary::Summarizer;
use wire::class::Class;
use wire::id::Seq;
use wire::limits::{SERIES_COUNT_MAX, SKETCHED_COUNT_MAX};
use wire::metric::Metric;
use wire::time::{BootId, Span, Stamp, UnixTime};

use crate::fit::Fit;
use crate::fitted::Fitted;

const TICK: Span = Span::seconds(10);

/// Ticks of the load that are drawn; they come again and again.
const DRAWN_COUNT: usize = 360;

/// Samples that are summarized: as many as are to be in a minute.
const SAMPLE_COUNT: usize = 1_000_000;

/// The fastest of so many counts, since the machine does other things too.
const ROUND_COUNT: usize = 5;

const SAMPLES_PER_MINUTE_BAR: f64 = 1e6;

/// Summarizes the fitted load, so often that there are as many series as are asked for, and codes the windows. Returns one JSON object
/// for each count of series, without sketches and with those of as many series as may have one.
///
/// Cycles are nanoseconds times the frequency that `/proc/cpuinfo` states, which is that of the time-stamp counter, not what the
/// processor may have been boosted to.
pub fn summaries(fit: &Fit, seed: u64) -> Vec<String> {
    let cases = [150, 1000].into_iter().flat_map(|series_count| [(series_count, false), (series_count, true)]);
    cases.map(|(series_count, is_sketched)| case(fit, seed, series_count, is_sketched)).collect()
}

#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
fn case(fit: &Fit, seed: u64, series_count: usize, is_sketched: bool) -> String {
    assert!(series_count <= SERIES_COUNT_MAX, "a list has no more series");
    let mut dictionary = Dictionary::new(1);
    for index in 0..series_count {
        let is_counter = fit.is_counter(index % fit.series.len());
        let metric = if is_counter { Metric::ContextSwitches } else { Metric::MemoryCached };
        let label = index.to_string();
        dictionary.slot(metric, Class::Normal, &[("series", label.as_bytes())]).expect("the list has room");
    }
    let (mut fitted, mut drawn) = (Fitted::new(fit, seed), Vec::new());
    let rows: Vec<Vec<Option<i64>>> = (0..DRAWN_COUNT)
        .map(|_| {
            fitted.tick(&mut drawn);
            (0..series_count).map(|index| Some(drawn[index % drawn.len()])).collect()
        })
        .collect();
    let sketched_count = if is_sketched { series_count.min(SKETCHED_COUNT_MAX) } else { 0 };
    let patterns = if is_sketched { vec!["*".to_owned()] } else { Vec::new() };
    let tick_count = SAMPLE_COUNT.div_ceil(series_count);
    let (mut best, mut bytes, mut payload_bytes) = (Duration::MAX, 0, 0);
    for _ in 0..ROUND_COUNT {
        let (mut summarizer, mut payload) = (Summarizer::new(&patterns), Vec::new());
        (bytes, payload_bytes) = (0, 0);
        let begin = Instant::now();
        for tick in 0..tick_count {
            let now = stamp(tick);
            summarizer.tick(now, TICK, &dictionary, [&[], &rows[tick % DRAWN_COUNT], &[]]);
            while let Some(sealed) = summarizer.due(&dictionary.mark(), &mut payload) {
                bytes = bytes.max(summarizer.bytes());
                payload_bytes += payload.len();
                payload.clear();
                summarizer.taken(sealed.stream, Some(Seq(0)));
            }
        }
        best = best.min(begin.elapsed());
    }
    let samples = (tick_count * series_count) as f64;
    let ns = best.as_nanos() as f64 / samples;
    let cycles = megahertz().map_or("null".to_owned(), |megahertz| format!("{:.0}", ns * megahertz / 1e3));
    format!(
        "{{\"series\":{series_count},\"sketched\":{sketched_count},\"samples\":{samples},\"samples_per_minute\":{:.0},\
         \"ns_per_sample\":{ns:.1},\"cycles_per_sample\":{cycles},\"memory_bytes_per_series\":{},\
         \"payload_bytes_per_sample\":{:.3},\"bars\":{{\"samples_per_minute\":{SAMPLES_PER_MINUTE_BAR}}}}}",
        60e9 / ns,
        bytes / series_count,
        payload_bytes as f64 / samples,
    )
}

fn stamp(tick: usize) -> Stamp {
    let uptime = wire::time::Instant(tick as u64 * TICK.0);
    Stamp { boot: BootId(1), uptime, unix: Some(UnixTime(1_767_225_600_000 + uptime.0)) }
}

/// What the processor says its frequency is.
fn megahertz() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    text.lines().find_map(|line| line.strip_prefix("cpu MHz")?.split_once(':')?.1.trim().parse().ok())
}
