//! A recorded trace: comma-separated text, gzipped or not, as integers.
//!
//! The first row names the columns and the first column is `timestamp_ms`. A column of decimals becomes integers with the
//! one scale that gives back each of its values to the last bit, so nothing is rounded.

use std::path::Path;

use query::render::csv::fields;

use crate::failure::Failure;

/// Digits behind the point up to which a column is taken for decimals.
const SCALE_MAX: u32 = 9;

/// A trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Names of the series.
    pub(crate) names: Vec<String>,
    /// When, and the value of each series; an empty field is a missing value.
    pub(crate) rows: Vec<(u64, Vec<Option<i64>>)>,
}

impl Trace {
    /// Reads a file.
    ///
    /// Errors: it cannot be read, or is no trace: says where, and what was expected.
    pub(crate) fn read(path: &Path) -> Result<Trace, Failure> {
        let bytes = std::fs::read(path).map_err(|error| Failure::at(path, &error))?;
        Trace::unpack(&bytes).map_err(|what| Failure::Failed(format!("{}: {what}", path.display())))
    }

    /// Reads a file's bytes.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Trace, String> {
        let unpacked = if bytes.starts_with(&GZIP_MAGIC) { gunzip(bytes)? } else { bytes.to_vec() };
        Trace::parse(&String::from_utf8(unpacked).map_err(|_| "this is not text")?)
    }

    fn parse(text: &str) -> Result<Trace, String> {
        let mut lines = text.lines();
        let mut names = fields(lines.next().unwrap_or_default());
        if names.first().map(String::as_str) != Some("timestamp_ms") {
            return Err("line 1: the first column is to be timestamp_ms".to_owned());
        }
        names.remove(0);
        let (mut times, mut columns) = (Vec::new(), vec![Vec::new(); names.len()]);
        for (index, line) in lines.enumerate() {
            let told = |what: &str| format!("line {}: {what}", index + 2);
            let mut fields = fields(line).into_iter();
            let time = fields.next().and_then(|field| field.parse().ok());
            times.push(time.ok_or_else(|| told("timestamp_ms is to be a number"))?);
            if fields.len() != columns.len() {
                return Err(told(&format!("{} values where line 1 names {}", fields.len(), columns.len())));
            }
            columns.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
        }
        let columns: Vec<Vec<Option<i64>>> = names
            .iter()
            .zip(&columns)
            .map(|(name, column)| integers(column).ok_or_else(|| format!("column {name}: not all of it is numbers")))
            .collect::<Result<_, _>>()?;
        let row = |index: usize| columns.iter().map(|column| column[index]).collect();
        Ok(Trace { names, rows: times.into_iter().enumerate().map(|(index, time)| (time, row(index))).collect() })
    }
}

/// A column as integers: as they are; else times the smallest power of ten that gives each value back; else as the order of
/// all binary64 numbers has them. `None` when it is not of numbers.
fn integers(column: &[String]) -> Option<Vec<Option<i64>>> {
    fn each<T>(column: &[String], read: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
        column.iter().map(|field| if field.is_empty() { Some(None) } else { read(field).map(Some) }).collect()
    }
    if let Some(whole) = each(column, |field| field.parse().ok()) {
        return Some(whole);
    }
    let numbers: Vec<Option<f64>> = each(column, |field| field.parse().ok())?;
    // A source that counts in milliseconds says seconds either by dividing or by multiplying, and the last bit differs.
    let by_division = |value: f64, power: f64| value / power;
    let by_product = |value: f64, power: f64| value * (1.0 / power);
    for scale in 0..=SCALE_MAX {
        let power = 10f64.powi(scale as i32);
        for back in [by_division, by_product] {
            let whole = |value: f64| {
                let whole = (value * power).round();
                (whole.abs() < 2f64.powi(62) && back(whole, power).to_bits() == value.to_bits()).then_some(whole as i64)
            };
            let scaled: Option<Vec<Option<i64>>> =
                numbers.iter().map(|value| value.map_or(Some(None), |value| whole(value).map(Some))).collect();
            if scaled.is_some() {
                return scaled;
            }
        }
    }
    Some(numbers.into_iter().map(|value| value.map(in_order)).collect())
}

/// The place of a number in the order of all of them.
fn in_order(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks a gzip file of one member (RFC 1952).
fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // A flag, and how long the field is that it announces.
    type Field = (u8, fn(&[u8]) -> Option<usize>);
    const FIELDS: [Field; 4] = [
        (4, |rest| Some(2 + usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?])))),
        (8, |rest| Some(rest.iter().position(|byte| *byte == 0)? + 1)),
        (16, |rest| Some(rest.iter().position(|byte| *byte == 0)? + 1)),
        (2, |_| Some(2)),
    ];
    let damaged = || "the gzip file is damaged".to_owned();
    let flags = *bytes.get(3).ok_or_else(damaged)?;
    let mut rest = bytes.get(10..).ok_or_else(damaged)?;
    for (flag, length) in FIELDS {
        if flags & flag != 0 {
            rest = length(rest).and_then(|length| rest.get(length..)).ok_or_else(damaged)?;
        }
    }
    miniz_oxide::inflate::decompress_to_vec(rest).map_err(|error| format!("the gzip file is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_with_its_quotes_gaps_and_decimals() {
        let text = "timestamp_ms,a,\"b{x=\"\"1\"\",y=\"\"2\"\"}\",c\n10,7,0.25,1e3\n20,,0.5,2.5e+03\n";
        let trace = Trace::parse(text).unwrap();
        assert_eq!(trace.names, ["a", "b{x=1,y=2}", "c"]);
        assert_eq!(trace.rows, [(10, vec![Some(7), Some(25), Some(1000)]), (20, vec![None, Some(50), Some(2500)])]);
    }

    #[test]
    fn what_is_no_trace_is_said_with_its_line() {
        let error = |text| Trace::parse(text).unwrap_err();
        assert!(error("time,a\n").starts_with("line 1: "));
        assert_eq!(error("timestamp_ms,a\n1,2\n2,3,4\n"), "line 3: 2 values where line 1 names 1");
        assert_eq!(error("timestamp_ms,a\n1,x\n"), "column a: not all of it is numbers");
    }

    #[test]
    fn a_number_that_a_product_made_is_a_whole_one_in_its_scale() {
        let column = |values: &[&str]| integers(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            column(&["7.1930000000000005", "8.5", "33.919000000000004"]),
            Some(vec![Some(7193), Some(8500), Some(33919)])
        );
        assert_eq!(column(&["0.1", "0.2"]), Some(vec![Some(1), Some(2)]));
        // No scale gives these back; their order does.
        let odd = column(&["0.30000000000000004", "1e-300", "-1e-300"]).unwrap();
        assert!(odd[0] > odd[1] && odd[1] > odd[2], "{odd:?}");
    }

    #[test]
    fn a_gzip_file_is_unpacked_and_a_damaged_one_refused() {
        // printf 'timestamp_ms,a\n1,2\n' | gzip -9n
        let stored = miniz_oxide::deflate::compress_to_vec(b"timestamp_ms,a\n1,2\n", 9);
        let packed = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 2, 3][..], b"name\0", &stored, &[0; 8]].concat();
        assert_eq!(gunzip(&packed).unwrap(), b"timestamp_ms,a\n1,2\n");
        assert!(gunzip(&packed[..20]).is_err());
        assert!(gunzip(&packed[..3]).is_err());
    }
}
