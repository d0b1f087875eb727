//! The series codec on a recorded trace.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use codec::run::{Decoder, Encoder};

use super::trace::Trace;
use crate::failure::Failure;

/// What `bench codec` was asked.
#[derive(Debug)]
pub(crate) struct CodecArgs {
    /// The trace.
    pub(crate) path: PathBuf,
    /// Ticks in a batch.
    pub(crate) ticks_per_batch: usize,
    /// Rows that are coded before anything is counted.
    pub(crate) warmup_rows: usize,
}

#[derive(Default)]
struct Sums {
    ticks: usize,
    samples: usize,
    bytes: usize,
    encode: Duration,
    decode: Duration,
}

/// Codes the trace as one run and reads it back. Returns one JSON object of the figures over the rows after the warm-up.
///
/// Errors: the trace cannot be read, has nothing after the warm-up, or does not come back as it was.
#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
pub(crate) fn run(args: &CodecArgs) -> Result<String, Failure> {
    let trace = Trace::read(&args.path)?;
    if trace.rows.len() <= args.warmup_rows {
        let rows = trace.rows.len();
        return Err(Failure::Failed(format!("the trace has {rows} rows, and none is left after the warm-up")));
    }
    let series = trace.names.len();
    let (mut encoder, mut decoder) = (Encoder::new(series), Decoder::new(series));
    let (mut values, mut bytes, mut sums) = (vec![None; series], Vec::new(), Sums::default());
    let (warmup, counted) = trace.rows.split_at(args.warmup_rows);
    let batches = warmup.chunks(args.ticks_per_batch).map(|rows| (rows, false));
    for (rows, is_counted) in batches.chain(counted.chunks(args.ticks_per_batch).map(|rows| (rows, true))) {
        bytes.clear();
        let begin = Instant::now();
        for (at_ms, row) in rows {
            encoder.encode(*at_ms, row, &mut bytes);
        }
        encoder.close_batch(&mut bytes);
        let encode = begin.elapsed();

        let mut decode = Duration::ZERO;
        let mut batch = decoder.batch(&bytes);
        for (at_ms, row) in rows {
            let begin = Instant::now();
            let tick = batch.next(&mut values);
            decode += begin.elapsed();
            let is_same = tick.is_ok_and(|tick| tick.is_some_and(|tick| tick.at_ms == *at_ms)) && values == *row;
            if !is_same {
                return Err(Failure::Failed(format!("the row of {at_ms} did not come back as it was")));
            }
        }
        if batch.next(&mut values) != Ok(None) {
            return Err(Failure::Failed("a batch did not end where it was closed".to_owned()));
        }
        if is_counted {
            sums.ticks += rows.len();
            sums.samples += rows.iter().map(|(_, row)| row.iter().flatten().count()).sum::<usize>();
            sums.bytes += bytes.len();
            sums.encode += encode;
            sums.decode += decode;
        }
    }
    let a_sample = |sum: f64| sum / sums.samples.max(1) as f64;
    Ok(format!(
        "{{\"series\":{series},\"ticks\":{},\"samples\":{},\"bytes\":{},\"bytes_per_sample\":{:.4},\
         \"encode_ns_per_sample\":{:.1},\"decode_ns_per_sample\":{:.1},\"state_bytes\":{},\"roundtrip\":\"ok\"}}\n",
        sums.ticks,
        sums.samples,
        sums.bytes,
        a_sample(sums.bytes as f64),
        a_sample(sums.encode.as_nanos() as f64),
        a_sample(sums.decode.as_nanos() as f64),
        encoder.state_bytes(),
    ))
}
