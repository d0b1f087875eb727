//! Quantiles of as many values as there are, from a bounded number of buckets.
//!
//! A bucket counts values that are alike: those between two bounds, whose ratio is the same all over the axis. So a quantile is
//! off by a share of itself, never of the greatest value, and two sketches merge by adding counts: what comes out is what one sketch of
//! all values would be, bucket for bucket, in whatever order. Where values need more than [`BUCKET_COUNT_MAX`] buckets, each two
//! neighbours become one until they do not, and [`Sketch::error_per_mille`] says how coarse they are.
//!
//! ```text
//! .. -2  -1   0   1   2   3 ..             buckets: of zero, and on both sides of it those of magnitudes
//!              0 | 1 | 2 | 3 | 4 | 5 ..    places of magnitudes, 38 to an octave
//!                1   |   2   |   3 ..      after a collapse: half as many, bucket 1 holds places 0 and 1
//! ```
//!
//! These are the buckets of DDSketch (Masson, Rim and Lee, 2019) with the uniform collapse of UDDSketch (Epicoco et al., 2020).
//! Logarithms are DDSketch's quadratic ones, a parabola in each octave: a tenth more buckets than true ones need, a multiplication
//! to compute, and integers throughout, so the same on every machine. What else was looked at:
//!
//! - *t-digest* (Dunning, 2019) keeps tails well, but its clusters depend on the order of arrival and of merges, and it promises
//!   no error.
//! - *KLL* (Karnin, Lang and Liberty, 2016) has the best bound on ranks and flips coins; 1 % of rank may be any error of a p99
//!   with a long tail.
//! - *Moments* (Gan et al., 2018) are smallest and merge exactly, but quantiles take an optimisation in floating point, and values
//!   in a few heaps defeat it.
//! - *HDR histograms* are these buckets without a collapse: their size follows the range of values.

use alloc::vec::Vec;

/// Buckets that a sketch has at the most.
pub const BUCKET_COUNT_MAX: usize = 256;

/// How far apart the greatest and the least magnitude may be, as a ratio, while the error of values of one sign is surely 1 %.
pub const EXACT_RATIO: u64 = 100;

/// Places of magnitudes in an octave: as many as it takes for 1 %.
const OCTAVE: u64 = 38;

/// Places of all magnitudes.
const PLACE_COUNT: u64 = 64 * OCTAVE;

/// Collapses after which every value has a bucket.
const COLLAPSE_COUNT_MAX: u8 = 5;

const _: () = assert!((2 * (PLACE_COUNT >> COLLAPSE_COUNT_MAX) + 1) as usize <= BUCKET_COUNT_MAX);

/// Values that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which values: 0, or more the greater their magnitude is, with the sign of the values.
    pub key: i16,
    /// How many.
    pub count: u32,
}

/// How many values lie where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    collapse_count: u8,
    /// Those that are not empty, by their keys.
    buckets: Vec<Bucket>,
}

impl Sketch {
    /// A sketch of nothing.
    pub const fn new() -> Sketch {
        Sketch { collapse_count: 0, buckets: Vec::new() }
    }

    /// The sketch that has been collapsed so often and has these buckets, in the order of their keys; `None` if there is none.
    pub fn of(collapse_count: u8, buckets: Vec<Bucket>) -> Option<Sketch> {
        let key_max = (PLACE_COUNT >> collapse_count.min(COLLAPSE_COUNT_MAX)) as i16;
        let is_good = collapse_count <= COLLAPSE_COUNT_MAX
            && buckets.len() <= BUCKET_COUNT_MAX
            && buckets.is_sorted_by(|one, next| one.key < next.key)
            && buckets.iter().all(|bucket| bucket.count > 0 && (-key_max..=key_max).contains(&bucket.key));
        is_good.then_some(Sketch { collapse_count, buckets })
    }

    /// How often each two buckets have become one.
    pub fn collapse_count(&self) -> u8 {
        self.collapse_count
    }

    /// The buckets that are not empty, by their keys.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Sketch>() + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Forgets everything. Memory stays.
    pub fn clear(&mut self) {
        (self.collapse_count, _) = (0, self.buckets.clear());
    }

    /// Takes a value in.
    pub fn add(&mut self, value: i64) {
        self.count(Bucket { key: key(value, self.collapse_count), count: 1 });
    }

    /// Takes all values of another in.
    pub fn merge(&mut self, other: &Sketch) {
        while self.collapse_count < other.collapse_count {
            self.collapse();
        }
        for bucket in &other.buckets {
            let collapse_count = self.collapse_count - other.collapse_count;
            self.count(Bucket { key: collapsed(bucket.key, collapse_count), ..*bucket });
        }
    }

    /// How many values there are.
    pub fn value_count(&self) -> u64 {
        self.buckets.iter().map(|bucket| u64::from(bucket.count)).sum()
    }

    /// The least value that so many thousandths of all are not above: the median is that of 500. Off by
    /// [`Sketch::error_per_mille`] of itself at the most. `None` of nothing.
    pub fn quantile(&self, per_mille: u32) -> Option<f64> {
        let rank = (self.value_count() * u64::from(per_mille.min(1000))).div_ceil(1000).max(1);
        let mut counted = 0;
        let bucket = self.buckets.iter().find(|bucket| {
            counted += u64::from(bucket.count);
            counted >= rank
        })?;
        Some(middle(bucket.key, self.collapse_count))
    }

    /// What a quantile may be off by, in thousandths of itself.
    pub fn error_per_mille(&self) -> u32 {
        // Buckets are widest where an octave begins; in this one they are far wider than the integers in them.
        let begin = 40 * OCTAVE;
        let (least, end) = (least_at(begin), least_at(begin + (1 << self.collapse_count)));
        ((end - least) * 1000).div_ceil(end + least) as u32
    }

    fn count(&mut self, more: Bucket) {
        match self.buckets.binary_search_by_key(&more.key, |bucket| bucket.key) {
            Ok(index) => self.buckets[index].count = self.buckets[index].count.saturating_add(more.count),
            Err(index) => {
                let bucket_count = self.buckets.len();
                if bucket_count == self.buckets.capacity() {
                    // One more than there may be, for as long as it takes to collapse.
                    self.buckets.reserve_exact(bucket_count.max(4).min(BUCKET_COUNT_MAX + 1 - bucket_count));
                }
                self.buckets.insert(index, more);
            }
        }
        while self.buckets.len() > BUCKET_COUNT_MAX {
            self.collapse();
        }
    }

    /// Makes one of each two buckets.
    fn collapse(&mut self) {
        self.collapse_count += 1;
        self.buckets.iter_mut().for_each(|bucket| bucket.key = collapsed(bucket.key, 1));
        self.buckets.dedup_by(|next, kept| {
            let is_same = next.key == kept.key;
            kept.count = kept.count.saturating_add(if is_same { next.count } else { 0 });
            is_same
        });
    }
}

/// The place of a magnitude that is not zero.
fn place(magnitude: u64) -> u64 {
    let octave = magnitude.ilog2();
    // How far it is into the octave, in 2^-31, and the parabola through both ends of it: (4 - x) x / 3.
    let into = (magnitude << (63 - octave) & (u64::MAX >> 1)) >> 32;
    let place = (into * ((4 << 31) - into) / 3) >> 31;
    u64::from(octave) * OCTAVE + ((place * OCTAVE) >> 31)
}

fn key(value: i64, collapse_count: u8) -> i16 {
    match value.unsigned_abs() {
        0 => 0,
        magnitude => (1 + (place(magnitude) >> collapse_count)) as i16 * value.signum() as i16,
    }
}

/// The key of the bucket that takes the place of this one's after so many collapses.
fn collapsed(key: i16, collapse_count: u8) -> i16 {
    match key {
        0 => 0,
        _ => (1 + ((key.abs() - 1) >> collapse_count)) * key.signum(),
    }
}

/// The least magnitude at this place or a later one.
fn least_at(wanted: u64) -> u64 {
    let (mut least, mut most) = (1, u64::MAX);
    while least < most {
        let middle = least + (most - least) / 2;
        if place(middle) < wanted { least = middle + 1 } else { most = middle }
    }
    least
}

/// What is off from each value of a bucket by the least share: the harmonic mean of the outer ones.
fn middle(key: i16, collapse_count: u8) -> f64 {
    let Some(index) = u64::from(key.unsigned_abs()).checked_sub(1) else { return 0.0 };
    let least = least_at(index << collapse_count);
    let most = least_at((index + 1) << collapse_count).saturating_sub(1).max(least);
    let share = least as f64 / (least as f64 + most as f64);
    f64::from(key.signum()) * 2.0 * share * most as f64
}

#[cfg(test)]
mod tests;
