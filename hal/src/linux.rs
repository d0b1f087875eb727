//! What is Linux about the machine.

pub mod binding;
pub mod capacity;
pub mod clock;
pub mod descriptors;
pub mod folder;
pub mod fuzz;
pub mod interface;
pub mod kept_file;
pub mod kernel_log;
pub mod line;
pub mod log;
pub mod memory;
pub mod netlink;
pub mod processes;
pub mod realtime;
pub mod rtc;
pub mod socket;
pub mod sysfs;
pub mod terminal;
pub mod traffic;

use nix::unistd::{SysconfVar, sysconf};

/// Bytes of a page of memory: 4096, or 16384 and 65536 on some 64-bit ARM kernels.
pub fn page_bytes() -> u32 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(4096)
}
