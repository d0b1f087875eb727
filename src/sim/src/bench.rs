//! What the fitted load costs: a day of it as the block that a chart reads and as the run that a link carries, months of it in a
//! journal, the windows that are made of it, and all of it over a bad link.

mod journal;
mod summaries;
mod uplink;

use std::time::{Duration, Instant};

use codec::block::{Block, Builder};
use codec::run::Encoder;

use crate::fit::Fit;
use crate::fitted::Fitted;

pub use journal::{fill, journal};
pub use summaries::summaries;
pub use uplink::{Bar, Figure, Options, uplink};

/// Ticks of a day, and the time between two.
const DAY_TICKS: usize = 8640;
const TICK_MS: u64 = 10_000;

/// How often each column is read; the best time counts, since the machine does other things too.
const READ_COUNT: usize = 5;

/// Ticks of the run that are coded before any is counted, and that are counted: as many as of the trace the fit is from.
const WARMUP_TICKS: usize = 150;
const COUNTED_TICKS: usize = 70;

const BYTES_PER_SAMPLE_BAR: f64 = 0.95;
const ONE_SERIES_MS_BAR: f64 = 1.0;

/// Writes so many days, each as a block, and reads every column of them back. Returns one JSON object of the figures.
///
/// `one_series_ms` is the time to open a block and read one column. `run_bytes_per_sample` is what the first ticks take as a
/// run of one tick a batch, to be held against `outpost bench codec --ticks-per-batch 1 --warmup-rows 150` on a trace.
///
/// Errors: a block does not come back as it was.
#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
pub fn block(fit: &Fit, seed: u64, day_count: usize) -> Result<String, String> {
    let mut fitted = Fitted::new(fit, seed);
    let (mut values, mut column) = (Vec::new(), Vec::new());
    let (mut byte_count, mut draw, mut write, mut reads) = (0, Duration::ZERO, Duration::ZERO, Vec::new());
    for day in 0..day_count {
        let times: Vec<u64> = (0..DAY_TICKS).map(|tick| (day * DAY_TICKS + tick) as u64 * TICK_MS).collect();
        let mut columns: Vec<Vec<Option<i64>>> = vec![Vec::with_capacity(DAY_TICKS); fit.series.len()];
        let begin = Instant::now();
        for _ in &times {
            fitted.tick(&mut values);
            columns.iter_mut().zip(&values).for_each(|(column, value)| column.push(Some(*value)));
        }
        draw += begin.elapsed();

        let begin = Instant::now();
        let mut bytes = Vec::new();
        let mut builder = Builder::new(&times);
        columns.iter().for_each(|values| builder.push(values));
        builder.finish(&mut bytes);
        write += begin.elapsed();
        byte_count += bytes.len();

        let differs = || format!("day {day} did not come back as it was");
        let mut back = Vec::new();
        let opened = Block::open(&bytes).map_err(|error| error.to_string())?;
        opened.times(&mut back, &mut column).map_err(|error| error.to_string())?;
        if back != times || opened.column_count() != columns.len() {
            return Err(differs());
        }
        for (index, expected) in columns.iter().enumerate() {
            let mut best = Duration::MAX;
            for _ in 0..READ_COUNT {
                let begin = Instant::now();
                let read = Block::open(&bytes).and_then(|block| block.column(index, &mut column));
                best = best.min(begin.elapsed());
                read.map_err(|error| error.to_string())?;
            }
            if column != *expected {
                return Err(differs());
            }
            reads.push(best);
        }
    }
    reads.sort_unstable();
    let milliseconds = |index: usize| reads.get(index).map_or(0.0, |read| read.as_secs_f64() * 1e3);
    let ticks = DAY_TICKS * day_count;
    let samples = ticks * fit.series.len();
    let a_sample = |sum: f64| sum / samples.max(1) as f64;
    Ok(format!(
        "{{\"series\":{},\"ticks\":{ticks},\"samples\":{samples},\"bytes\":{byte_count},\"bytes_per_sample\":{:.4},\
         \"one_series_ms\":{{\"median\":{:.3},\"worst\":{:.3}}},\"write_ns_per_sample\":{:.1},\
         \"draw_ns_per_sample\":{:.1},\"run_bytes_per_sample\":{:.4},\"roundtrip\":\"ok\",\
         \"bars\":{{\"bytes_per_sample\":{BYTES_PER_SAMPLE_BAR},\"one_series_ms\":{ONE_SERIES_MS_BAR}}}}}",
        fit.series.len(),
        a_sample(byte_count as f64),
        milliseconds(reads.len() / 2),
        milliseconds(reads.len().saturating_sub(1)),
        a_sample(write.as_nanos() as f64),
        a_sample(draw.as_nanos() as f64),
        run_bytes_per_sample(fit, seed, COUNTED_TICKS),
    ))
}

/// Bytes a sample of so many ticks after the warm-up, coded as a run of one tick a batch.
pub fn run_bytes_per_sample(fit: &Fit, seed: u64, tick_count: usize) -> f64 {
    let (mut fitted, mut encoder) = (Fitted::new(fit, seed), Encoder::new(fit.series.len()));
    let (mut values, mut row, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for tick in 0..WARMUP_TICKS + tick_count {
        if tick == WARMUP_TICKS {
            bytes.clear();
        }
        fitted.tick(&mut values);
        row.clear();
        row.extend(values.iter().copied().map(Some));
        encoder.encode(tick as u64 * TICK_MS, &row, &mut bytes);
        encoder.close_batch(&mut bytes);
    }
    bytes.len() as f64 / (tick_count * fit.series.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fitted_host_costs_no_less_than_the_recorded_one_and_not_much_more() {
        // 70 ticks of the trace after 150 took 0.678 as a run of one tick a batch (`outpost bench codec`).
        let costs: Vec<f64> = (0..4).map(|seed| run_bytes_per_sample(&Fit::host(), seed, COUNTED_TICKS)).collect();
        let mean = costs.iter().sum::<f64>() / costs.len() as f64;
        assert!((0.678..0.678 * 1.3).contains(&mean), "{costs:?}");
    }
}
