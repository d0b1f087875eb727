//! Sketches of the windows of a batch: `( window varint, series varint, sketch )*`, in the order of the windows and their series.
//!
//! ```text
//! sketch    collapses varint, buckets varint, ( place << 1 | is one varint, count - 2 varint unless it is one )*
//!           place of the first: its key, zigzagged; of the others: buckets that are left out before it
//! ```

use alloc::vec::Vec;

use codec::varint;
use stats::sketch::{BUCKET_COUNT_MAX, Bucket, Sketch};

use crate::batch::PayloadError;

/// Appends the sketch of a series in a window.
pub(super) fn put(window: u32, series: usize, sketch: &Sketch, out: &mut Vec<u8>) {
    let buckets = sketch.buckets();
    for number in [window.into(), series as u64, sketch.collapse_count().into(), buckets.len() as u64] {
        varint::put(out, number);
    }
    let mut before: Option<i16> = None;
    for Bucket { key, count } in buckets {
        let place = match before.replace(*key) {
            Some(before) => (key - before - 1) as u64,
            None => varint::zigzag((*key).into()),
        };
        varint::put(out, place << 1 | u64::from(*count == 1));
        if *count > 1 {
            varint::put(out, (count - 2).into());
        }
    }
}

/// The sketches of one batch, in order.
pub(super) struct Sketches<'a> {
    rest: &'a [u8],
    next: Option<(u64, u64, Sketch)>,
}

impl<'a> Sketches<'a> {
    /// Reads the first of them.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Sketches<'a>, PayloadError> {
        let mut sketches = Sketches { rest: bytes, next: None };
        sketches.advance()?;
        Ok(sketches)
    }

    /// That of this series in this window, if there is one.
    pub(super) fn take_for(&mut self, window: u64, series: usize) -> Result<Option<Sketch>, PayloadError> {
        let Some((_, _, sketch)) = self.next.take_if(|(of, its, _)| (*of, *its) == (window, series as u64)) else {
            return Ok(None);
        };
        self.advance()?;
        Ok(Some(sketch))
    }

    fn advance(&mut self) -> Result<(), PayloadError> {
        if !self.rest.is_empty() {
            let (window, series) = (self.number()?, self.number()?);
            self.next = Some((window, series, self.sketch()?.ok_or(PayloadError::Malformed)?));
        }
        Ok(())
    }

    fn sketch(&mut self) -> Result<Option<Sketch>, PayloadError> {
        let (collapse_count, bucket_count) = (self.number()?, self.number()?);
        let Ok(collapse_count) = u8::try_from(collapse_count) else { return Ok(None) };
        if bucket_count > BUCKET_COUNT_MAX as u64 {
            return Ok(None);
        }
        let mut buckets: Vec<Bucket> = Vec::with_capacity(bucket_count as usize);
        for _ in 0..bucket_count {
            let token = self.number()?;
            let key = match buckets.last() {
                Some(before) => i64::from(before.key).saturating_add_unsigned((token >> 1) + 1),
                None => varint::unzigzag(token >> 1),
            };
            let count = if token & 1 == 1 { 1 } else { self.number()?.saturating_add(2) };
            let (Ok(key), Ok(count)) = (i16::try_from(key), u32::try_from(count)) else { return Ok(None) };
            buckets.push(Bucket { key, count });
        }
        Ok(Sketch::of(collapse_count, buckets))
    }

    fn number(&mut self) -> Result<u64, PayloadError> {
        varint::take(&mut self.rest).map_err(|_| PayloadError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = i64>) -> Sketch {
        let mut sketch = Sketch::new();
        values.into_iter().for_each(|value| sketch.add(value));
        sketch
    }

    #[test]
    fn sketches_come_back_and_take_few_bytes() {
        let given = [
            (0, 3, sketch([5])),
            (0, 9, sketch((0..400).map(|value| value * value - 70))),
            (2, 0, sketch((0..63).map(|bits| 1 << bits).chain([0, -1, i64::MIN]))),
            (2, 1, sketch((0..3000).map(|value| (value % 90) << (value % 50)))),
        ];
        let mut bytes = Vec::new();
        given.iter().for_each(|(window, series, sketch)| put(*window, *series, sketch, &mut bytes));
        let mut sketches = Sketches::open(&bytes).unwrap();
        for window in 0..3 {
            for series in 0..10 {
                let expected = given.iter().find(|(of, its, _)| (u64::from(*of), *its) == (window, series));
                let found = sketches.take_for(window, series).unwrap();
                assert_eq!(found.as_ref(), expected.map(|(.., sketch)| sketch), "{window} {series}");
            }
        }
        // An hour of a temperature.
        bytes.clear();
        put(0, 0, &sketch((0..360).map(|tick| 52_000 + tick * 7 % 4000)), &mut bytes);
        assert!(bytes.len() <= 16, "{bytes:?}");
    }

    #[test]
    fn bytes_of_no_writer_end_in_an_error_or_in_sketches() {
        let mut bytes = Vec::new();
        (0..3).for_each(|window| put(window, 2, &sketch([-9, 4, 4, 5, 800, 1 << 50]), &mut bytes));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut garbled = bytes.clone();
                garbled[at] ^= 1 << bit;
                for garbled in [&garbled[..], &garbled[..=at]] {
                    let Ok(mut sketches) = Sketches::open(garbled) else { continue };
                    (0..3).for_each(|window| drop(sketches.take_for(window, 2)));
                }
            }
        }
    }
}
