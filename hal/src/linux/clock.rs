//! What the cores are handed instead of a clock and of chance.
//!
//! | from the kernel | becomes |
//! |---|---|
//! | CLOCK_BOOTTIME, which counts through suspend and never steps | [`Stamp::uptime`] |
//! | `/proc/sys/kernel/random/boot_id` | [`Stamp::boot`] |
//! | CLOCK_REALTIME, when it can be true | [`Stamp::unix`] |
//! | `adjtimex(2)` | [`Discipline`] |
//! | `getrandom(2)` | [`random_seed`] |

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::time::{ClockId, clock_gettime};
use wire::time::{BootId, Instant, Stamp, UnixTime};

/// 2024-01-01T00:00:00Z. No release of Outpost is older, so a clock that says less was never set: boards without a
/// battery begin in 1970, or in the year their system image was made.
pub const PLAUSIBLE_SINCE: UnixTime = UnixTime(1_704_067_200_000);

/// The machine's clocks.
#[derive(Debug)]
pub struct Clock {
    boot: BootId,
}

/// What the kernel thinks of its civil clock (`adjtimex(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Whether a time service keeps it right.
    pub is_synchronised: bool,
    /// How far off it may be, in microseconds. Without a service this grows by 500 in a second, to 16 s.
    pub error_max_us: u64,
}

impl Clock {
    /// The clock of this boot. `root` is the machine's root folder, or a folder of copied files.
    ///
    /// Errors: the boot id cannot be read; `/proc` is not mounted.
    pub fn open(root: &Path) -> io::Result<Clock> {
        let path = root.join("proc/sys/kernel/random/boot_id");
        let text = fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Clock { boot: BootId(crc32fast::hash(text.trim().as_bytes())) })
    }

    /// This moment.
    pub fn now(&self) -> Stamp {
        Stamp { boot: self.boot, uptime: uptime(), unix: realtime().filter(|unix| *unix >= PLAUSIBLE_SINCE) }
    }
}

/// What the kernel thinks of its civil clock; nothing where a container may not ask.
pub fn discipline() -> Option<Discipline> {
    #[expect(unsafe_code, reason = "nix has no adjtimex")]
    let (state, timex) = {
        // SAFETY: `timex` is plain numbers, for which zeros are values; `modes` of zero asks the kernel to change nothing;
        // the kernel writes to the one structure it is given and keeps no pointer.
        unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&mut timex), timex)
        }
    };
    if state < 0 {
        return None;
    }
    Some(Discipline {
        is_synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        error_max_us: u64::try_from(timex.maxerror).unwrap_or(0),
    })
}

/// Eight bytes that no other start of any machine has. Waits, early in a boot, until the kernel has gathered enough;
/// the keys of the link need that as well.
///
/// Panics: when the kernel gives none for another reason, as before Linux 3.17.
pub fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    loop {
        #[expect(unsafe_code, reason = "nix has no getrandom")]
        // SAFETY: the kernel writes at most `bytes.len()` bytes to `bytes`, which outlives the call.
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        // Up to 256 bytes come whole (getrandom(2)); only the wait for the first of a boot can be interrupted.
        if count == bytes.len() as isize {
            return u64::from_ne_bytes(bytes);
        }
        assert_eq!(Errno::last(), Errno::EINTR, "the kernel gives random bytes");
    }
}

fn uptime() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME since 2.6.39");
    Instant(milliseconds(time).expect("the kernel counts up from its boot"))
}

/// The civil clock, right or wrong; nothing when it says a time before 1970.
fn realtime() -> Option<UnixTime> {
    match clock_gettime(ClockId::CLOCK_REALTIME) {
        Ok(time) => milliseconds(time).map(UnixTime),
        Err(_) => realtime_unsigned(),
    }
}

/// The civil clock with the kernel's seconds taken as unsigned.
///
/// A 32-bit libc whose `time_t` is 32 bits wide fails with EOVERFLOW from 2038-01-19 on, although the kernel behind it
/// goes on counting. Its system call of the same width drops the upper half and nothing else: unsigned, the lower half is
/// right until 2106.
fn realtime_unsigned() -> Option<UnixTime> {
    /// The kernel's `old_timespec32` on 32-bit targets and `__kernel_timespec` on 64-bit ones.
    #[repr(C)]
    struct Timespec {
        seconds: usize,
        nanoseconds: usize,
    }
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    #[expect(unsafe_code, reason = "the wrapped call is the one that fails")]
    // SAFETY: the kernel writes one structure of this layout to `time` and keeps no pointer.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut time) };
    let ms = (time.seconds as u64).checked_mul(1000)?.checked_add(time.nanoseconds as u64 / 1_000_000)?;
    (result == 0).then_some(UnixTime(ms))
}

/// A time since the zero of its clock; nothing when it lies before.
fn milliseconds(time: TimeSpec) -> Option<u64> {
    u64::try_from(time.num_milliseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::folder::tests::Scratch;

    fn root(boot_id: &str) -> Scratch {
        let scratch = Scratch::new();
        let folder = scratch.0.join("proc/sys/kernel/random");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("boot_id"), boot_id).unwrap();
        scratch
    }

    #[test]
    fn a_boot_is_named_by_the_kernel_s_text() {
        let boot = |text| Clock::open(&root(text).0).unwrap().now().boot;
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(boot("123456789\n"), BootId(0xcbf4_3926));
        assert_ne!(boot("3c1f0f9e-7a51-4b36-9f4e-6f2f7d1d2a10\n"), boot("3c1f0f9e-7a51-4b36-9f4e-6f2f7d1d2a11\n"));
    }

    #[test]
    fn a_machine_without_proc_is_named_in_the_error() {
        let error = Clock::open(&Scratch::new().0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("boot_id"), "{error}");
    }

    #[test]
    fn uptime_never_goes_back_and_is_that_of_proc() {
        let clock = Clock::open(Path::new("/")).unwrap();
        let (first, then) = (clock.now(), clock.now());
        assert!(first.uptime <= then.uptime);
        let text = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!((clock.now().uptime.0 as f64 / 1000.0 - seconds).abs() < 5.0, "{text}");
    }

    #[test]
    fn both_ways_to_the_civil_clock_agree() {
        let (wrapped, raw) = (realtime().unwrap(), realtime_unsigned().unwrap());
        assert!(raw.0.abs_diff(wrapped.0) < 5000, "{wrapped:?} {raw:?}");
    }

    #[test]
    fn a_time_before_1970_is_none() {
        assert_eq!(milliseconds(TimeSpec::new(-1, 0)), None);
        assert_eq!(milliseconds(TimeSpec::new(1_704_067_200, 999_999_999)), Some(PLAUSIBLE_SINCE.0 + 999));
    }

    #[test]
    fn the_kernel_says_how_far_off_its_clock_may_be() {
        if let Some(discipline) = discipline() {
            assert!(discipline.error_max_us > 0 || discipline.is_synchronised, "{discipline:?}");
        }
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
