//! Where the parsers put what they find.

use heapless::Vec;
use wire::limits::NAME_BYTES_MAX;
use wire::metric::Metric;

/// Takes one value: the metric, its labels in the order of their names, and the value in the metric's scale.
pub type Put<'a> = dyn FnMut(Metric, &[(&str, &[u8])], i64) + 'a;

/// The metric whose name is these parts joined; nothing when the catalogue does not have it.
pub(super) fn metric(parts: &[&[u8]]) -> Option<Metric> {
    let mut name = Vec::<u8, NAME_BYTES_MAX>::new();
    for part in parts {
        name.extend_from_slice(part).ok()?;
    }
    Metric::named(&name)
}
