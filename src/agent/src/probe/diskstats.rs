//! `/proc/diskstats`: what each block device did.
//!
//! Memory disks, loop devices, floppies and the partitions of plain disks are left out as node_exporter does by default; what
//! a partition did is counted in its disk.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, unsigned};

/// A sector here is 512 bytes, whatever the device's own is (`Documentation/block/stat.rst`).
const SECTOR_BYTES: i64 = 512;

/// The columns after the device's name. Kernels before 4.18 have no discards, before 5.5 no flushes. Times are in
/// milliseconds; the wide ones wrap at 2^32 on 32-bit kernels, which is passed on.
const COLUMNS: [(Metric, i64); 17] = [
    (Metric::DiskReadsCompleted, 1),
    (Metric::DiskReadsMerged, 1),
    (Metric::DiskReadBytes, SECTOR_BYTES),
    (Metric::DiskReadTime, 1),
    (Metric::DiskWritesCompleted, 1),
    (Metric::DiskWritesMerged, 1),
    (Metric::DiskWrittenBytes, SECTOR_BYTES),
    (Metric::DiskWriteTime, 1),
    (Metric::DiskIoNow, 1),
    (Metric::DiskIoTime, 1),
    (Metric::DiskIoTimeWeighted, 1),
    (Metric::DiskDiscardsCompleted, 1),
    (Metric::DiskDiscardsMerged, 1),
    (Metric::DiskDiscardedSectors, 1),
    (Metric::DiskDiscardTime, 1),
    (Metric::DiskFlushRequests, 1),
    (Metric::DiskFlushRequestsTime, 1),
];

/// Puts the columns of every device that is not excluded.
///
/// Source: `Documentation/admin-guide/iostats.rst`.
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for line in lines(bytes) {
        // Before the name stand the device's two numbers.
        let mut fields = fields(line).skip(2);
        let Some(device) = fields.next().filter(|device| !is_excluded(device)) else { continue };
        for ((metric, factor), value) in COLUMNS.iter().zip(fields.map_while(unsigned)) {
            put(*metric, &[("device", device)], value.saturating_mul(*factor));
        }
    }
}

/// `^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`, node_exporter's default.
fn is_excluded(device: &[u8]) -> bool {
    match without_number(device) {
        Some(b"ram" | b"loop" | b"fd") => true,
        Some([b'h' | b's' | b'v', b'd', b'a'..=b'z'] | [b'x', b'v', b'd', b'a'..=b'z']) => true,
        Some(base) => is_nvme_partition(base),
        None => false,
    }
}

/// Whether this is `nvme0n1p`, the name of a partition without its number.
fn is_nvme_partition(base: &[u8]) -> bool {
    let namespace = base.strip_suffix(b"p").and_then(without_number);
    let controller = namespace.and_then(|namespace| namespace.strip_suffix(b"n")).and_then(without_number);
    controller == Some(b"nvme")
}

/// What stands before the number at the end; nothing when there is none.
fn without_number(name: &[u8]) -> Option<&[u8]> {
    let end = name.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    (end < name.len()).then(|| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    #[test]
    fn a_virtual_disk_is_read_in_full() {
        check(
            |put| parse(board!("vm/proc/diskstats"), put),
            2 * 17,
            &[
                ("node_disk_reads_completed_total{device=\"vda\"}", 71_200),
                ("node_disk_read_bytes_total{device=\"vda\"}", 9_361_066 * 512),
                ("node_disk_read_time_seconds_total{device=\"vda\"}", 55_041),
                ("node_disk_io_time_weighted_seconds_total{device=\"vda\"}", 60_562),
                ("node_disk_discarded_sectors_total{device=\"vda\"}", 512_920),
                ("node_disk_flush_requests_time_seconds_total{device=\"vda\"}", 32),
                ("node_disk_io_now{device=\"zram0\"}", 0),
            ],
        );
    }

    #[test]
    fn an_old_kernel_has_fewer_columns() {
        let line = b"   8       0 sda 9 8 4294967295 6 5 4 3 2 1 10 11\n";
        check(
            |put| parse(line, put),
            11,
            &[
                ("node_disk_read_bytes_total{device=\"sda\"}", 4_294_967_295 * 512),
                ("node_disk_io_time_weighted_seconds_total{device=\"sda\"}", 11),
            ],
        );
    }

    #[test]
    fn partitions_and_memory_disks_are_left_out() {
        for device in ["ram0", "loop12", "fd0", "sda1", "hdb2", "vda15", "xvda1", "nvme0n1p2", "nvme10n12p3"] {
            assert!(is_excluded(device.as_bytes()), "{device}");
        }
        for device in ["sda", "mmcblk0", "mmcblk0p2", "nvme0n1", "dm-0", "md127", "zram0", "sr0", "nvmen1p1", "1"] {
            assert!(!is_excluded(device.as_bytes()), "{device}");
        }
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(
            |put| parse(b"8 0\n8\n8 0 sda x 1\n8 0 sdb 3 x\n", put),
            1,
            &[("node_disk_reads_completed_total{device=\"sdb\"}", 3)],
        );
    }
}
