//! Mounts, and what `statfs(2)` says of each.
//!
//! The driver asks this file which mounts there are, asks the kernel about each, and renders what it hears as a line of
//! the reading; the simulated world renders the same lines.
//!
//! ```text
//!  /dev/sda1 /srv/a\040b ext4 ro 4096 262144 9000 8000 65536 60000
//!  device    mount point type │  block bytes, blocks, free, available, files, files free
//!                             rw, or ro
//!  //nas/x   /mnt/nas    cifs rw error                    no answer, or an error
//! ```
//!
//! A mount point keeps the kernel's octal escapes in a line, and loses them in its label.

use std::io::Write as _;

use heapless::Vec;
use wire::limits::LABELS_BYTES_MAX;
use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, unsigned};

/// A line of `/proc/<pid>/mounts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// What is mounted: `/dev/sda1`.
    pub device: &'a [u8],
    /// Where, with the kernel's octal escapes: see [`unescape`].
    pub mount_point: &'a [u8],
    /// The file system's type.
    pub fstype: &'a [u8],
    /// Whether the mount is read-only.
    pub is_read_only: bool,
}

/// What `statfs(2)` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of a block: `f_bsize`.
    pub block_bytes: u64,
    /// Blocks in total.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Blocks free for others than root.
    pub blocks_available: u64,
    /// Inodes in total.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
}

/// A mount point without octal escapes.
pub type Unescaped = Vec<u8, LABELS_BYTES_MAX>;

/// The mounts that node_exporter keeps by default, in the kernel's order. Asking about others is useless, or
/// harmful: an automount point would mount what it stands for.
///
/// Source: `fstab(5)`; node_exporter 1.5, `filesystem_linux.go`.
pub fn mounts(bytes: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    lines(bytes).filter_map(|line| {
        let mut fields = fields(line);
        let (device, mount_point, fstype) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next()?;
        let is_read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
        let is_kept = !is_excluded_mount_point(mount_point) && !is_excluded_type(fstype);
        is_kept.then_some(Mount { device, mount_point, fstype, is_read_only })
    })
}

/// Appends one mount's line. Without a capacity it says `error`.
pub fn write_line(mount: &Mount<'_>, capacity: Option<&Capacity>, out: &mut std::vec::Vec<u8>) {
    for part in [mount.device, mount.mount_point, mount.fstype] {
        out.extend_from_slice(part);
        out.push(b' ');
    }
    out.extend_from_slice(if mount.is_read_only { b"ro " } else { b"rw " });
    let written = match capacity {
        None => out.write_all(b"error\n"),
        Some(c) => writeln!(
            out,
            "{} {} {} {} {} {}",
            c.block_bytes, c.blocks, c.blocks_free, c.blocks_available, c.files, c.files_free
        ),
    };
    written.expect("writing into memory does not fail");
}

/// Puts the numbers of every line of [`write_line`].
pub fn parse(bytes: &[u8], put: &mut Put<'_>) {
    for line in lines(bytes) {
        let mut fields = fields(line);
        let (Some(device), Some(mount_point), Some(fstype), Some(access)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(mount_point) = unescape(mount_point) else { continue };
        let labels = [("device", device), ("fstype", fstype), ("mountpoint", mount_point.as_slice())];
        let mut numbers = fields.map_while(unsigned);
        let mut next = || numbers.next();
        let capacity = (next(), next(), next(), next(), next(), next());
        let is_known = matches!(capacity, (Some(_), Some(_), Some(_), Some(_), Some(_), Some(_)));
        put(Metric::FilesystemDeviceError, &labels, i64::from(!is_known));
        let (Some(block_bytes), Some(blocks), Some(free), Some(available), Some(files), Some(files_free)) = capacity
        else {
            continue;
        };
        put(Metric::FilesystemSize, &labels, blocks.saturating_mul(block_bytes));
        put(Metric::FilesystemFree, &labels, free.saturating_mul(block_bytes));
        put(Metric::FilesystemAvail, &labels, available.saturating_mul(block_bytes));
        put(Metric::FilesystemFiles, &labels, files);
        put(Metric::FilesystemFilesFree, &labels, files_free);
        put(Metric::FilesystemReadonly, &labels, i64::from(access == b"ro"));
    }
}

/// The text with its octal escapes replaced: `\040` space, `\011` tab, `\012` line feed, `\134` backslash (`fstab(5)`). Nothing
/// when it is longer than any label may be.
pub fn unescape(text: &[u8]) -> Option<Unescaped> {
    let mut plain = Unescaped::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            _ => (*first, after),
        };
        plain.push(byte).ok()?;
        rest = after;
    }
    Some(plain)
}

/// `^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`
fn is_excluded_mount_point(mount_point: &[u8]) -> bool {
    let is_at_or_below =
        |folder: &[u8]| mount_point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let is_below = |folder: &[u8]| mount_point.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    [&b"/dev"[..], b"/proc", b"/sys"].into_iter().any(is_at_or_below)
        || [&b"/run/credentials/"[..], b"/var/lib/docker/", b"/var/lib/containers/storage/"].into_iter().any(is_below)
}

fn is_excluded_type(fstype: &[u8]) -> bool {
    matches!(
        fstype,
        b"autofs"
            | b"binfmt_misc"
            | b"bpf"
            | b"cgroup"
            | b"cgroup2"
            | b"configfs"
            | b"debugfs"
            | b"devpts"
            | b"devtmpfs"
            | b"fusectl"
            | b"hugetlbfs"
            | b"iso9660"
            | b"mqueue"
            | b"nsfs"
            | b"overlay"
            | b"proc"
            | b"procfs"
            | b"pstore"
            | b"rpc_pipefs"
            | b"securityfs"
            | b"selinuxfs"
            | b"squashfs"
            | b"sysfs"
            | b"tracefs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    const CAPACITY: Capacity = Capacity {
        block_bytes: 4096,
        blocks: 262_144,
        blocks_free: 9_000,
        blocks_available: 8_000,
        files: 65_536,
        files_free: 60_000,
    };

    #[test]
    fn a_mount_is_rendered_and_read_back() {
        let mount = Mount { device: b"/dev/sda1", mount_point: b"/srv/a\\040b", fstype: b"ext4", is_read_only: true };
        let mut text = std::vec::Vec::new();
        write_line(&mount, Some(&CAPACITY), &mut text);
        let labels = "{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/srv/a b\"}";
        check(
            |put| parse(&text, put),
            7,
            &[
                (&format!("node_filesystem_size_bytes{labels}"), 262_144 * 4096),
                (&format!("node_filesystem_free_bytes{labels}"), 9_000 * 4096),
                (&format!("node_filesystem_avail_bytes{labels}"), 8_000 * 4096),
                (&format!("node_filesystem_files{labels}"), 65_536),
                (&format!("node_filesystem_files_free{labels}"), 60_000),
                (&format!("node_filesystem_readonly{labels}"), 1),
                (&format!("node_filesystem_device_error{labels}"), 0),
            ],
        );
    }

    #[test]
    fn a_mount_that_does_not_answer_is_a_device_error() {
        let mount = Mount { device: b"//nas/x", mount_point: b"/mnt/nas", fstype: b"cifs", is_read_only: false };
        let mut text = std::vec::Vec::new();
        write_line(&mount, None, &mut text);
        check(
            |put| parse(&text, put),
            1,
            &[("node_filesystem_device_error{device=\"//nas/x\",fstype=\"cifs\",mountpoint=\"/mnt/nas\"}", 1)],
        );
    }

    #[test]
    fn the_kernels_own_mounts_are_left_out() {
        let points: std::vec::Vec<_> =
            mounts(board!("pi4/proc/1/mounts")).map(|mount| (mount.mount_point, mount.is_read_only)).collect();
        assert_eq!(
            points,
            [
                (&b"/"[..], false),
                (b"/run", false),
                (b"/run/lock", false),
                (b"/boot/firmware", true),
                (b"/mnt/usb\\040stick", false),
                (b"/mnt/nas", false),
            ]
        );
    }

    #[test]
    fn a_root_that_is_read_only_is_kept_and_what_lies_over_it_is_not() {
        let points: std::vec::Vec<_> =
            mounts(board!("imx6/proc/1/mounts")).map(|mount| (mount.mount_point, mount.is_read_only)).collect();
        assert_eq!(
            points,
            [
                (&b"/"[..], true),
                (b"/run", false),
                (b"/var/volatile", false),
                (b"/data", false),
                (b"/mnt/calibration", true),
            ]
        );
    }

    #[test]
    fn exclusion_ends_at_a_part_of_the_path() {
        for point in ["/dev", "/dev/shm", "/proc/x", "/sys", "/var/lib/docker/overlay2/1", "/run/credentials/a.service"]
        {
            assert!(is_excluded_mount_point(point.as_bytes()), "{point}");
        }
        for point in ["/", "/device", "/var/lib/docker", "/run/credentials", "/srv/dev", "/system"] {
            assert!(!is_excluded_mount_point(point.as_bytes()), "{point}");
        }
    }

    #[test]
    fn escapes_are_octal_and_a_lone_backslash_stays() {
        let plain = |text: &[u8]| unescape(text).unwrap();
        assert_eq!(plain(b"/a\\040b\\011c\\134d"), b"/a b\tc\\d");
        assert_eq!(plain(b"/a\\4x\\"), b"/a\\4x\\");
        assert_eq!(unescape(&[b'x'; LABELS_BYTES_MAX + 1]), None);
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(
            |put| parse(b"/dev/sda1 / ext4\n\n/dev/sdb1 /b ext4 rw 1 2 3\n", put),
            1,
            &[("node_filesystem_device_error{device=\"/dev/sdb1\",fstype=\"ext4\",mountpoint=\"/b\"}", 1)],
        );
        assert_eq!(mounts(b"/dev/sda1 / ext4\n/dev/sdb1\n\n").count(), 0);
    }
}
