//! Series-major blocks: what a chart reads is one series over a day, and nothing else of the block is unpacked for it.
//!
//! ```text
//! block     tick count varint, column count varint, bytes of the times varint, head of each column, times, columns
//! head      bytes << 2 | has gaps varint                 the column stands by itself
//!           column << 2 | 2 varint, first value,         its changes are those of that column, which stands by itself,
//!           numerator, denominator: zigzag varints       times a fraction
//! times     a column without gaps
//! column    of each tick: where there are gaps, is there a value; its residual in the column's own model
//! ```
//!
//! What the kernel counts twice (the loopback's receive and transmit, sectors and kilobytes) is found and said once. Other
//! relations between series would make a chart unpack its neighbours.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::divisor::greatest_common_divisor;
use crate::model::Column;
use crate::range::{Reader, Writer};
use crate::varint;

/// Ticks of one block: a day of seconds, and some more for a day whose clock was set back.
pub const TICK_COUNT_MAX: usize = 100_000;

/// Columns of one block.
pub const COLUMN_COUNT_MAX: usize = 65_535;

/// Why a block could not be read: other bytes than a writer wrote, although their checksum may have matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The bytes ended early.
    Truncated,
    /// The bytes say what no writer says.
    Malformed,
    /// There is no such column.
    NoColumn,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BlockError::Truncated => "block is cut short",
            BlockError::Malformed => "block is malformed",
            BlockError::NoColumn => "block has no such column",
        })
    }
}

/// How a column is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// By itself.
    Own(Place),
    /// As another one that stands by itself: `first + (other - other's first) * fraction`.
    Like { column: usize, first: i64, fraction: Fraction },
}

/// Where a column that stands by itself lies behind the times, and whether it has ticks without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: usize,
    length: usize,
    has_gaps: bool,
}

const GAPS: usize = 1;
const LIKE: usize = 2;

/// A fraction in lowest terms; the denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fraction {
    numerator: i64,
    denominator: i64,
}

/// What two columns have in common of which one follows from the other: a hash of where values are and of the changes
/// since the first, in units of their greatest common divisor.
#[derive(Clone, Copy, Debug)]
struct Shape {
    first: i64,
    /// The divisor, with the sign of the first change that is not zero.
    unit: i64,
    hash: u64,
}

impl Shape {
    /// `None` when nothing changes, or by more than an `i64` holds.
    fn of(values: &[Option<i64>]) -> Option<Shape> {
        let first = values.iter().flatten().next().copied()?;
        let mut unit = 0u64;
        let mut is_falling = None;
        for value in values.iter().flatten() {
            let change = value.checked_sub(first).filter(|change| *change != i64::MIN)?;
            unit = greatest_common_divisor(unit, change.unsigned_abs());
            if change != 0 {
                is_falling.get_or_insert(change < 0);
            }
        }
        let unit = i64::try_from(unit).ok()?;
        let unit = if is_falling? { -unit } else { unit };
        let mut hash = 0u64;
        for value in values {
            let word = value.map_or(u64::MAX, |value| ((value - first) / unit) as u64);
            hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        Some(Shape { first, unit, hash })
    }

    /// What this one's changes are, divided by those of `other`.
    fn over(&self, other: &Shape) -> Option<Fraction> {
        let divisor = greatest_common_divisor(self.unit.unsigned_abs(), other.unit.unsigned_abs());
        let divisor = i64::try_from(divisor).ok()?;
        let sign = other.unit.signum();
        Some(Fraction { numerator: self.unit / divisor * sign, denominator: (other.unit / divisor).checked_abs()? })
    }
}

/// A value of a column that is like another; `None` when no writer would have said so.
fn follow(value: i64, other_first: i64, first: i64, fraction: Fraction) -> Option<i64> {
    let change = (i128::from(value) - i128::from(other_first)).checked_mul(fraction.numerator.into())?;
    let denominator = i128::from(fraction.denominator);
    if change % denominator != 0 {
        return None;
    }
    i64::try_from(change / denominator + i128::from(first)).ok()
}

/// Makes a block, column by column.
#[derive(Debug)]
pub struct Builder {
    tick_count: usize,
    heads: Vec<Head>,
    /// The columns that stand by themselves and change, by the hash of their shape.
    shapes: BTreeMap<u64, (usize, Shape)>,
    times_length: usize,
    /// The times and the columns.
    body: Vec<u8>,
    scratch: Vec<Option<i64>>,
}

impl Builder {
    /// A block of these instants, in ms since whatever the caller counts from, in any order.
    ///
    /// Panics: when there are more than [`TICK_COUNT_MAX`].
    pub fn new(times: &[u64]) -> Builder {
        assert!(times.len() <= TICK_COUNT_MAX, "a block holds a day");
        let mut builder = Builder {
            tick_count: times.len(),
            heads: Vec::new(),
            shapes: BTreeMap::new(),
            times_length: 0,
            body: Vec::new(),
            scratch: Vec::new(),
        };
        builder.times_length = builder.append(times.iter().map(|at_ms| Some(*at_ms as i64)), false);
        builder
    }

    /// Appends the next column.
    ///
    /// Panics: when it has not as many values as the block has ticks, or there are [`COLUMN_COUNT_MAX`] already.
    pub fn push(&mut self, values: &[Option<i64>]) {
        assert!(values.len() == self.tick_count, "a column has a value or nothing for each tick");
        assert!(self.heads.len() < COLUMN_COUNT_MAX, "a column's number has 16 bits");
        let shape = Shape::of(values);
        if let Some(head) = shape.and_then(|shape| self.like(&shape, values)) {
            self.heads.push(head);
            return;
        }
        if let Some(shape) = shape {
            self.shapes.insert(shape.hash, (self.heads.len(), shape));
        }
        let (start, has_gaps) = (self.body.len() - self.times_length, values.contains(&None));
        let length = self.append(values.iter().copied(), has_gaps);
        self.heads.push(Head::Own(Place { start, length, has_gaps }));
    }

    /// The column that this one follows from, if there is one. A hash may lie, so every value is compared.
    fn like(&mut self, shape: &Shape, values: &[Option<i64>]) -> Option<Head> {
        let (column, other) = *self.shapes.get(&shape.hash)?;
        let fraction = shape.over(&other)?;
        let Head::Own(place) = self.heads[column] else { return None };
        read_column(&self.body[self.times_length..], place, self.tick_count, &mut self.scratch).ok()?;
        let follows = self.scratch.iter().zip(values).all(|(from, to)| match (from, to) {
            (Some(from), Some(to)) => follow(*from, other.first, shape.first, fraction) == Some(*to),
            (None, None) => true,
            _ => false,
        });
        follows.then_some(Head::Like { column, first: shape.first, fraction })
    }

    fn append(&mut self, values: impl Iterator<Item = Option<i64>>, has_gaps: bool) -> usize {
        let before = self.body.len();
        let (mut column, mut writer) = (Column::new(), Writer::new());
        for value in values {
            let mut coder = writer.on(&mut self.body);
            match value {
                Some(value) if !has_gaps => _ = column.code_value(&mut coder, value),
                _ => _ = column.code(&mut coder, value),
            }
        }
        writer.finish(&mut self.body);
        self.body.len() - before
    }

    /// Appends the block to `out`.
    pub fn finish(self, out: &mut Vec<u8>) {
        for number in [self.tick_count, self.heads.len(), self.times_length] {
            varint::put(out, number as u64);
        }
        for head in &self.heads {
            match *head {
                Head::Own(place) => varint::put(out, (place.length << 2 | usize::from(place.has_gaps)) as u64),
                Head::Like { column, first, fraction } => {
                    varint::put(out, (column << 2 | LIKE) as u64);
                    for number in [first, fraction.numerator, fraction.denominator] {
                        varint::put(out, varint::zigzag(number));
                    }
                }
            }
        }
        out.extend_from_slice(&self.body);
    }
}

/// A block that is read.
#[derive(Debug)]
pub struct Block<'a> {
    tick_count: usize,
    times: &'a [u8],
    heads: Vec<Head>,
    columns: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads the heads. Memory: 48 bytes a column, of which there are no more than bytes.
    pub fn open(mut bytes: &'a [u8]) -> Result<Block<'a>, BlockError> {
        let tick_count = number(&mut bytes, TICK_COUNT_MAX)?;
        let column_count = number(&mut bytes, COLUMN_COUNT_MAX)?;
        let times_length = number(&mut bytes, usize::MAX)?;
        let mut heads: Vec<Head> = Vec::with_capacity(column_count.min(bytes.len()));
        let mut start: usize = 0;
        for _ in 0..column_count {
            let word = number(&mut bytes, usize::MAX)?;
            if word & LIKE == 0 {
                let length = word >> 2;
                heads.push(Head::Own(Place { start, length, has_gaps: word & GAPS != 0 }));
                start = start.checked_add(length).ok_or(BlockError::Malformed)?;
                continue;
            }
            let mut signed = || varint::take(&mut bytes).map(varint::unzigzag).map_err(|_| BlockError::Truncated);
            let (first, numerator, denominator) = (signed()?, signed()?, signed()?);
            let column = word >> 2;
            if denominator <= 0 || !matches!(heads.get(column), Some(Head::Own(_))) {
                return Err(BlockError::Malformed);
            }
            heads.push(Head::Like { column, first, fraction: Fraction { numerator, denominator } });
        }
        let (times, columns) = bytes.split_at_checked(times_length).ok_or(BlockError::Truncated)?;
        if columns.len() != start {
            return Err(BlockError::Truncated);
        }
        Ok(Block { tick_count, times, heads, columns })
    }

    /// Ticks of the block.
    pub fn tick_count(&self) -> usize {
        self.tick_count
    }

    /// Columns of the block.
    pub fn column_count(&self) -> usize {
        self.heads.len()
    }

    /// The instant of each tick, into `times`, which is emptied first. `scratch` is memory to use again.
    pub fn times(&self, times: &mut Vec<u64>, scratch: &mut Vec<Option<i64>>) -> Result<(), BlockError> {
        let place = Place { start: 0, length: self.times.len(), has_gaps: false };
        read_column(self.times, place, self.tick_count, scratch)?;
        times.clear();
        for at_ms in scratch.iter() {
            times.push(at_ms.ok_or(BlockError::Malformed)? as u64);
        }
        Ok(())
    }

    /// One column's value in each tick, into `values`, which is emptied first. Unpacks one column.
    pub fn column(&self, column: usize, values: &mut Vec<Option<i64>>) -> Result<(), BlockError> {
        match *self.heads.get(column).ok_or(BlockError::NoColumn)? {
            Head::Own(place) => read_column(self.columns, place, self.tick_count, values),
            Head::Like { column, first, fraction } => {
                let Head::Own(place) = self.heads[column] else { return Err(BlockError::Malformed) };
                read_column(self.columns, place, self.tick_count, values)?;
                let Some(other_first) = values.iter().flatten().next().copied() else { return Ok(()) };
                for value in values.iter_mut().flatten() {
                    *value = follow(*value, other_first, first, fraction).ok_or(BlockError::Malformed)?;
                }
                Ok(())
            }
        }
    }
}

fn number(bytes: &mut &[u8], max: usize) -> Result<usize, BlockError> {
    let number = varint::take(bytes).map_err(|_| BlockError::Truncated)?;
    usize::try_from(number).ok().filter(|number| *number <= max).ok_or(BlockError::Malformed)
}

/// Unpacks a column that stands by itself.
fn read_column(
    columns: &[u8],
    place: Place,
    tick_count: usize,
    values: &mut Vec<Option<i64>>,
) -> Result<(), BlockError> {
    values.clear();
    let Place { start, length, has_gaps } = place;
    let (mut column, mut reader) = (Column::new(), Reader::new(&columns[start..start + length]));
    for _ in 0..tick_count {
        values.push(if has_gaps { column.code(&mut reader, None) } else { Some(column.code_value(&mut reader, 0)) });
    }
    if reader.is_exhausted() {
        return Err(BlockError::Truncated);
    }
    if reader.has_rest() {
        return Err(BlockError::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn block(times: &[u64], columns: &[Vec<Option<i64>>]) -> Vec<u8> {
        let mut builder = Builder::new(times);
        columns.iter().for_each(|values| builder.push(values));
        let mut bytes = Vec::new();
        builder.finish(&mut bytes);
        bytes
    }

    /// Writes a block and reads every column back, last first. Returns its bytes.
    fn check(times: &[u64], columns: &[Vec<Option<i64>>]) -> Vec<u8> {
        let bytes = block(times, columns);
        let read = Block::open(&bytes).unwrap();
        assert_eq!((read.tick_count(), read.column_count()), (times.len(), columns.len()));
        let (mut back, mut values) = (Vec::new(), Vec::new());
        read.times(&mut back, &mut values).unwrap();
        assert_eq!(back, times);
        for (index, column) in columns.iter().enumerate().rev() {
            read.column(index, &mut values).unwrap();
            assert_eq!(&values, column, "column {index}");
        }
        assert_eq!(read.column(columns.len(), &mut values), Err(BlockError::NoColumn));
        bytes
    }

    fn random(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        }
    }

    #[test]
    fn every_value_comes_back_whatever_is_in_the_columns() {
        for seed in 0..40 {
            let mut random = random(seed);
            let count = random(400) as usize;
            let times: Vec<u64> = (0..count as u64)
                .map(|tick| if random(90) == 0 { random(1 << 31) << 33 } else { tick * 10_000 + random(2) })
                .collect();
            let columns: Vec<Vec<Option<i64>>> = (0..random(12))
                .map(|column| {
                    let mut value = 0i64;
                    let mut next = || {
                        value = match column % 5 {
                            0 => value.wrapping_add(random(1 << 20) as i64),
                            1 => random(1000) as i64 - 500,
                            2 => [i64::MIN, i64::MAX, 0, -1][random(4) as usize],
                            3 => 7,
                            _ => value + 4096 * (random(9) as i64 - 4),
                        };
                        (random(20) != 0).then_some(value)
                    };
                    (0..count).map(|_| next()).collect()
                })
                .collect();
            check(&times, &columns);
        }
        check(&[], &[]);
        check(&[], &[vec![], vec![]]);
        check(&[5, 6], &[vec![None, None], vec![Some(1), None], vec![None, None]]);
    }

    #[test]
    fn a_column_that_follows_from_another_takes_a_few_bytes() {
        let mut random = random(2);
        let mut value = 0;
        let sectors: Vec<i64> = (0..2000)
            .map(|_| {
                value += 8 * random(500) as i64;
                value
            })
            .collect();
        let gap = |index: usize, value: i64| (index != 700).then_some(value);
        let column = |of: &dyn Fn(i64) -> i64| -> Vec<Option<i64>> {
            sectors.iter().enumerate().map(|(index, value)| gap(index, of(*value))).collect()
        };
        let times: Vec<u64> = (0..2000).map(|tick| tick * 10_000).collect();
        let one = check(&times, &[column(&|value| value)]).len();
        let all = [
            column(&|value| value),
            column(&|value| value / 2 + 77),
            column(&|value| 5 - 3 * value),
            column(&|value| value / 4 * 3),
        ];
        let four = check(&times, &all).len();
        assert!(four - one < 3 * 10, "{one} {four}");
        // One value beside the rule, and the column stands by itself.
        let mut odd = column(&|value| value);
        odd[1999] = odd[1999].map(|value| value + 1);
        assert!(check(&times, &[column(&|value| value), odd]).len() > one + one / 2);
    }

    #[test]
    fn changes_that_pass_an_integer_stand_by_themselves() {
        let (low, high) = (vec![Some(i64::MIN), Some(i64::MAX)], vec![Some(i64::MAX), Some(i64::MIN)]);
        check(&[0, 1], &[low.clone(), low, high]);
        let half: Vec<Option<i64>> = vec![Some(0), Some(i64::MIN)];
        check(&[0, 1], &[half.clone(), half, vec![Some(0), Some(1 << 62)]]);
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let mut random = random(9);
        let mut value = 0;
        let mut next = || {
            value += random(1 << 12) as i64;
            Some(value)
        };
        let columns: Vec<Vec<Option<i64>>> = (0..3).map(|_| (0..500).map(|_| next()).collect()).collect();
        let times: Vec<u64> = (0..500).map(|tick| tick * 10_000).collect();
        let hash = check(&times, &columns)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 13_637_966_290_891_049_111);
    }

    #[test]
    fn bytes_of_no_writer_end_in_an_error_or_in_values_never_in_a_panic() {
        let mut random = random(1);
        let column = |factor: i64| -> Vec<Option<i64>> { (0..60).map(|tick| Some(tick * tick * factor)).collect() };
        let times: Vec<u64> = (0..60).collect();
        let sound = block(&times, &[column(1), column(3), column(-2), vec![None; 60]]);
        let read = |bytes: &[u8]| {
            let Ok(block) = Block::open(bytes) else { return };
            let mut values = Vec::new();
            let _ = block.times(&mut Vec::new(), &mut values);
            (0..block.column_count()).for_each(|column| _ = block.column(column, &mut values));
        };
        for _ in 0..3_000 {
            let mut bytes = sound.clone();
            let at = random(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random(8);
            read(&bytes);
            read(&sound[..at]);
            read(&(0..random(60)).map(|_| random(256) as u8).collect::<Vec<u8>>());
        }
    }
}
