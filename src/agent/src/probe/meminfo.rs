//! `/proc/meminfo`: memory and swap.
//!
//! `Active(anon):  1532 kB` is `node_memory_Active_anon_bytes`, and a line without a unit keeps its name. A line
//! that the catalogue does not know is skipped: kernels gain one every few years.

use crate::probe::put::{Put, metric};
use crate::probe::text::{fields, lines, split_once, unsigned};

/// The kernel's "kB" are KiB.
const KIB: i64 = 1024;

/// Puts every line the catalogue knows.
///
/// Source: `Documentation/filesystems/proc.rst`, "meminfo".
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for line in lines(bytes) {
        let Some((key, rest)) = split_once(line, b':') else { continue };
        let mut rest = fields(rest);
        let Some(value) = rest.next().and_then(unsigned) else { continue };
        let (factor, suffix): (i64, &[u8]) = if rest.next() == Some(b"kB") { (KIB, b"_bytes") } else { (1, b"") };
        let found = match split_once(key, b'(') {
            Some((key, detail)) => {
                let detail = detail.strip_suffix(b")").unwrap_or(detail);
                metric(&[b"node_memory_", key, b"_", detail, suffix])
            }
            None => metric(&[b"node_memory_", key, suffix]),
        };
        if let Some(found) = found {
            put(found, &[], value.saturating_mul(factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    fn line_count(text: &[u8]) -> usize {
        lines(text).filter(|line| !line.is_empty()).count()
    }

    #[test]
    fn every_line_of_every_board_is_known() {
        for text in [
            &board!("armv7/proc/meminfo")[..],
            board!("imx6/proc/meminfo"),
            board!("pi4/proc/meminfo"),
            board!("pizero/proc/meminfo"),
            board!("vm/proc/meminfo"),
        ] {
            check(|put| parse(text, put), line_count(text), &[]);
        }
    }

    #[test]
    fn kilobytes_become_bytes_and_pages_stay_a_count() {
        check(
            |put| parse(b"MemTotal: 8 kB\nActive(anon):  3 kB\nHugePages_Total:  7\nHugepagesize: 2048 kB\n", put),
            4,
            &[
                ("node_memory_MemTotal_bytes", 8 * 1024),
                ("node_memory_Active_anon_bytes", 3 * 1024),
                ("node_memory_HugePages_Total", 7),
                ("node_memory_Hugepagesize_bytes", 2048 * 1024),
            ],
        );
    }

    #[test]
    fn a_32_bit_kernel_has_high_and_low_memory() {
        check(
            |put| parse(board!("armv7/proc/meminfo"), put),
            line_count(board!("armv7/proc/meminfo")),
            &[("node_memory_HighTotal_bytes", 262_144 * 1024), ("node_memory_LowFree_bytes", 121_652 * 1024)],
        );
    }

    #[test]
    fn what_is_not_a_line_of_meminfo_is_skipped() {
        check(|put| parse(b"MemTotal: lots kB\n: 3 kB\nActive(: 3 kB\nMemFree 3\nNews: 1 kB\n", put), 0, &[]);
    }
}
