//! What is mounted, and how full it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::probe::filesystem::{self, Mount};
use agent::probe::{Reading, Source};
use hal::linux::capacity::{self, Capacity, Inquiry};
use hal::linux::kept_file::{Fit, Handles, KeptFile, Shape};

use crate::sampling::section::append;

/// How long all network mounts together may take to answer. Half the smallest interval of sampling.
pub(super) const NETWORK_WAIT: Duration = Duration::from_millis(500);

/// Mounts that are asked for.
const MOUNT_COUNT_MAX: usize = 128;

/// Bytes of the list of mounts: a host of containers has a thousand lines, all but a few of them excluded.
const LIST_BYTES_MAX: usize = 256 * 1024;

/// The mounts of one machine.
#[derive(Debug)]
pub(super) struct Mounts {
    root: PathBuf,
    lists: [KeptFile; 2],
    text: Vec<u8>,
    inquiry: Inquiry,
}

impl Mounts {
    /// The mounts of the machine whose root folder is `root`.
    pub(super) fn new(root: &Path, handles: &Arc<Handles>) -> Mounts {
        // What the first process has mounted, as node_exporter asks; a service may live in a namespace of its own.
        let lists = ["proc/1/mounts", "proc/self/mounts"]
            .map(|path| KeptFile::new(root.join(path), Shape::Records, LIST_BYTES_MAX, handles));
        Mounts { root: root.to_owned(), lists, text: Vec::new(), inquiry: Inquiry::new() }
    }

    /// Appends a line for each mount that is not excluded, and waits [`NETWORK_WAIT`] at most.
    pub(super) fn read_into(&mut self, reading: &mut Reading) {
        self.text.clear();
        let [first, own] = &mut self.lists;
        match first.read_into(&mut self.text).or_else(|_| own.read_into(&mut self.text)) {
            Ok(Fit::Whole) => {}
            Ok(Fit::Cut) => reading.refuse(),
            Err(_) => return,
        }
        let mounts = distinct(&self.text, reading);
        let path = |mount: &Mount<'_>| path_below(&self.root, mount.mount_point);
        let may_wait = |mount: &Mount<'_>| capacity::may_wait(mount.fstype);
        for path in mounts.iter().filter(|mount| may_wait(mount)).filter_map(path) {
            self.inquiry.ask(&path);
        }
        let deadline = Instant::now() + NETWORK_WAIT;
        append(Source::Filesystems, "", reading, |out| {
            for mount in &mounts {
                let capacity = path(mount).and_then(|path| {
                    if may_wait(mount) {
                        self.inquiry.answer(&path, deadline.saturating_duration_since(Instant::now()))
                    } else {
                        capacity::capacity(&path).ok()
                    }
                });
                filesystem::write_line(mount, capacity.map(probed).as_ref(), out);
            }
            Ok(())
        });
    }
}

/// Each mount once, although the kernel lists one that is mounted over itself twice. Those that pass a bound are counted.
fn distinct<'a>(text: &'a [u8], reading: &mut Reading) -> Vec<Mount<'a>> {
    let mut mounts: Vec<Mount<'_>> = Vec::new();
    for mount in filesystem::mounts(text) {
        if mounts.iter().any(|other| is_same(other, &mount)) {
            continue;
        }
        if mounts.len() == MOUNT_COUNT_MAX || filesystem::unescape(mount.mount_point).is_none() {
            reading.refuse();
        } else {
            mounts.push(mount);
        }
    }
    mounts
}

fn is_same(mount: &Mount<'_>, other: &Mount<'_>) -> bool {
    (mount.device, mount.mount_point, mount.fstype) == (other.device, other.mount_point, other.fstype)
}

/// Where a mount point of the machine is below `root`; nothing when it is longer than a label may be.
fn path_below(root: &Path, mount_point: &[u8]) -> Option<PathBuf> {
    let plain = filesystem::unescape(mount_point)?;
    let relative = plain.strip_prefix(b"/").unwrap_or(&plain);
    Some(root.join(OsStr::from_bytes(relative)))
}

/// The core's word for it: it knows no ports.
fn probed(capacity: Capacity) -> filesystem::Capacity {
    filesystem::Capacity {
        block_bytes: capacity.block_bytes,
        blocks: capacity.blocks,
        blocks_free: capacity.blocks_free,
        blocks_available: capacity.blocks_available,
        files: capacity.files,
        files_free: capacity.files_free,
    }
}
