//! `/proc/loadavg`: the load averages.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{decimal, fields};

/// Puts the three averages.
///
/// Source: `proc_loadavg(5)`.
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for (metric, field) in [Metric::Load1, Metric::Load5, Metric::Load15].into_iter().zip(fields(bytes)) {
        if let Some(value) = decimal(field, 2) {
            put(metric, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn three_averages_are_read() {
        let expected = [("node_load1", 52), ("node_load5", 158), ("node_load15", 1_059)];
        check(|put| parse(b"0.52 1.58 10.59 2/213 90311\n", put), 3, &expected);
    }

    #[test]
    fn a_file_cut_short_gives_what_it_has() {
        check(|put| parse(b"0.52 1.", put), 2, &[("node_load1", 52), ("node_load5", 100)]);
    }
}
