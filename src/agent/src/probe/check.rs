//! What the parsers' tests share: values as the lines a person would write.

use std::collections::BTreeMap;

use wire::series::{LabelText, write_labels};

use crate::probe::put::Put;

/// Every value that `parse` puts, by `name` or `name{labels}`. No series may be put twice.
pub(super) fn values(parse: impl FnOnce(&mut Put<'_>)) -> BTreeMap<String, i64> {
    let mut values = BTreeMap::new();
    parse(&mut |metric, labels, value| {
        let mut text = LabelText::new();
        write_labels(labels, &mut text).unwrap();
        let name = metric.definition().name;
        let series = if text.is_empty() { name.to_owned() } else { format!("{name}{{{text}}}") };
        assert_eq!(values.insert(series.clone(), value), None, "{series} was put twice");
    });
    values
}

/// Compares some of the values that `parse` puts, and their count.
pub(super) fn check(parse: impl FnOnce(&mut Put<'_>), count: usize, expected: &[(&str, i64)]) {
    let values = values(parse);
    for (series, value) in expected {
        assert_eq!(values.get(*series), Some(value), "{series} in {values:#?}");
    }
    assert_eq!(values.len(), count, "{values:#?}");
}

/// A file of a board under `tests/proc`.
macro_rules! board {
    ($path:literal) => {
        include_bytes!(concat!("../../../../tests/proc/", $path))
    };
}
pub(super) use board;
