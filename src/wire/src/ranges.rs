//! A bounded set of sequence numbers, kept as ranges.
//!
//! Progress on a stream is such a set, not a cursor: with the newest run sent first, the acked numbers are
//! `0..=a`, then a hole, then `b..=c`. Every number inside a range is a member; ranges neither touch nor
//! overlap, and are in order.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::id::Seq;
use crate::limits::RANGES_COUNT_MAX;

/// An inclusive range of sequence numbers. One that ends before it starts is refused when it is read from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(Seq, Seq)")]
pub struct SeqRange {
    /// The lowest member.
    pub first: Seq,
    /// The highest member, not below `first`.
    pub last: Seq,
}

/// A range ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackwardRange;

impl fmt::Display for BackwardRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("range ends before it starts")
    }
}

impl TryFrom<(Seq, Seq)> for SeqRange {
    type Error = BackwardRange;

    fn try_from((first, last): (Seq, Seq)) -> Result<SeqRange, BackwardRange> {
        if first <= last { Ok(SeqRange { first, last }) } else { Err(BackwardRange) }
    }
}

impl SeqRange {
    /// How many numbers the range has.
    pub fn count(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }
}

/// The parts of `range` that none of `known` covers; `known` ascends by its first numbers and may overlap.
pub fn subtract(range: SeqRange, known: impl Iterator<Item = SeqRange>) -> alloc::vec::Vec<SeqRange> {
    let (mut left, mut at) = (alloc::vec::Vec::new(), Some(range.first));
    for have in known.filter(|have| have.last >= range.first && have.first <= range.last) {
        let Some(first) = at else { break };
        if have.first > first {
            left.push(SeqRange { first, last: Seq(have.first.0 - 1) });
        }
        at = have.last.0.checked_add(1).map(|next| first.max(Seq(next)));
    }
    if let Some(first) = at.filter(|first| *first <= range.last) {
        left.push(SeqRange { first, last: range.last });
    }
    left
}

/// A set of sequence numbers in at most [`RANGES_COUNT_MAX`] ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    ranges: Vec<SeqRange, RANGES_COUNT_MAX>,
}

/// The set has no room for one more range. The numbers were not added; whoever sent them sends them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangesFull;

impl RangeSet {
    /// The empty set.
    pub const fn new() -> RangeSet {
        RangeSet { ranges: Vec::new() }
    }

    /// The ranges, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = SeqRange> + '_ {
        self.ranges.iter().copied()
    }

    /// Whether no number is a member.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `seq` is a member.
    pub fn contains(&self, seq: Seq) -> bool {
        self.range_of(seq).is_some()
    }

    /// The range that holds `seq`.
    pub fn range_of(&self, seq: Seq) -> Option<SeqRange> {
        self.iter().find(|range| range.first <= seq && seq <= range.last)
    }

    /// The lowest number that is no member.
    pub fn cumulative(&self) -> Seq {
        self.first_missing(Seq(0))
    }

    /// The lowest number from `from` on that is no member.
    pub fn first_missing(&self, from: Seq) -> Seq {
        self.range_of(from).map_or(from, |range| Seq(range.last.0.saturating_add(1)))
    }

    /// The highest number below `end` that is no member.
    pub fn last_missing_below(&self, end: Seq) -> Option<Seq> {
        let candidate = Seq(end.0.checked_sub(1)?);
        match self.range_of(candidate) {
            None => Some(candidate),
            Some(range) => range.first.0.checked_sub(1).map(Seq),
        }
    }

    /// How many numbers are members.
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |sum, range| sum.saturating_add(range.count()))
    }

    /// Adds one number.
    pub fn insert(&mut self, seq: Seq) -> Result<(), RangesFull> {
        self.insert_range(SeqRange { first: seq, last: seq })
    }

    /// Adds every number of `range`, joining it with the ranges that it touches.
    pub fn insert_range(&mut self, range: SeqRange) -> Result<(), RangesFull> {
        assert!(range.first <= range.last, "a range ends at or after its start");
        let start = self.ranges.partition_point(|have| have.last.0.saturating_add(1) < range.first.0);
        let end = self.ranges.partition_point(|have| have.first.0 <= range.last.0.saturating_add(1));
        if start == end {
            return self.ranges.insert(start, range).map_err(|_| RangesFull);
        }
        let joined = SeqRange {
            first: self.ranges[start].first.min(range.first),
            last: self.ranges[end - 1].last.max(range.last),
        };
        self.ranges[start] = joined;
        for index in (start + 1..end).rev() {
            self.ranges.remove(index);
        }
        Ok(())
    }

    /// Adds every member of `other`; ranges that find no room are left out.
    pub fn insert_all(&mut self, other: &RangeSet) {
        for range in other.iter() {
            // A number left out is one that is sent again and found to be known: never a loss.
            let _ = self.insert_range(range);
        }
    }

    /// Whether the invariant of this type holds. False only for a value that came from outside.
    pub fn is_valid(&self) -> bool {
        self.ranges.iter().all(|range| range.first <= range.last)
            && self.ranges.windows(2).all(|pair| pair[0].last.0.saturating_add(1) < pair[1].first.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        let mut set = RangeSet::new();
        for (first, last) in ranges {
            set.insert_range(SeqRange { first: Seq(*first), last: Seq(*last) }).unwrap();
        }
        set
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(set(&[(0, 3), (8, 9), (4, 7)]), set(&[(0, 9)]));
        assert_eq!(set(&[(5, 5), (3, 3), (4, 4)]), set(&[(3, 5)]));
        assert_eq!(set(&[(u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX)]).count(), 2);
    }

    #[test]
    fn a_backward_range_is_refused_when_it_is_read() {
        assert!(postcard::from_bytes::<SeqRange>(&[3, 3]).is_ok());
        assert!(postcard::from_bytes::<SeqRange>(&[3, 2]).is_err());
    }

    #[test]
    fn the_neighbours_of_a_hole_are_found() {
        let set = set(&[(0, 3), (8, 9)]);
        assert_eq!(set.cumulative(), Seq(4));
        assert_eq!(set.first_missing(Seq(8)), Seq(10));
        assert_eq!(set.last_missing_below(Seq(10)), Some(Seq(7)));
        assert_eq!(set.last_missing_below(Seq(4)), None);
        assert_eq!(set.last_missing_below(Seq(0)), None);
    }

    #[test]
    fn a_full_set_refuses_a_new_range_and_still_joins() {
        let mut full = RangeSet::new();
        for index in 0..RANGES_COUNT_MAX as u64 {
            full.insert(Seq(index * 10)).unwrap();
        }
        assert_eq!(full.insert(Seq(5)), Err(RangesFull));
        assert_eq!(full.insert(Seq(1)), Ok(()));
        assert!(full.is_valid());
    }

    #[test]
    fn what_is_left_of_a_range_is_what_nothing_covers() {
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        let left = |known: &[SeqRange]| subtract(range(10, 20), known.iter().copied());
        assert_eq!(left(&[]), [range(10, 20)]);
        assert_eq!(left(&[range(0, 9), range(21, 30)]), [range(10, 20)]);
        assert_eq!(left(&[range(0, 12), range(11, 11), range(15, 16)]), [range(13, 14), range(17, 20)]);
        assert_eq!(left(&[range(5, u64::MAX), range(18, 19)]), []);
    }

    #[test]
    fn it_agrees_with_a_plain_set() {
        let mut random = 7u64;
        for _ in 0..200 {
            let (mut set, mut plain) = (RangeSet::new(), BTreeSet::new());
            for _ in 0..60 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let first = (random >> 40) % 64;
                let last = first + (random >> 20) % 4;
                if set.insert_range(SeqRange { first: Seq(first), last: Seq(last) }).is_ok() {
                    plain.extend(first..=last);
                }
                assert!(set.is_valid());
            }
            assert_eq!(set.count(), plain.len() as u64);
            assert!((0..70).all(|seq| set.contains(Seq(seq)) == plain.contains(&seq)));
        }
    }
}
