//! `/proc/vmstat`: paging, swapping and killing, of some 190 lines the 7 that node_exporter keeps by default.

use crate::probe::put::{Put, metric};
use crate::probe::text::{fields, lines, unsigned};

/// Puts the lines the catalogue knows.
///
/// Source: `proc_vmstat(5)`; node_exporter's filter `^(oom_kill|pgpg|pswp|pg.*fault).*`.
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for line in lines(bytes) {
        // Most lines begin with other letters, and need no search.
        if !matches!(line.first(), Some(b'o' | b'p')) {
            continue;
        }
        let mut fields = fields(line);
        let (Some(key), Some(value)) = (fields.next(), fields.next().and_then(unsigned)) else { continue };
        if let Some(found) = metric(&[b"node_vmstat_", key]) {
            put(found, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    #[test]
    fn seven_lines_are_kept() {
        check(
            |put| parse(board!("vm/proc/vmstat"), put),
            7,
            &[("node_vmstat_pgfault", 4_526_136), ("node_vmstat_oom_kill", 0), ("node_vmstat_pswpout", 0)],
        );
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(|put| parse(b"pgfault\npgfault -1\npgpgin 1 2\no\n", put), 1, &[("node_vmstat_pgpgin", 1)]);
    }
}
