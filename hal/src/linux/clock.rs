//! What the cores are handed instead of a clock and of chance.
//!
//! | from the kernel | becomes |
//! |---|---|
//! | CLOCK_BOOTTIME, which counts through suspend and never steps | [`Stamp::uptime`] |
//! | `/proc/sys/kernel/random/boot_id` | [`Stamp::boot`] |
//! | CLOCK_REALTIME through [`realtime`], when it can be true | [`Stamp::unix`] |
//! | `adjtimex(2)` | [`Discipline`] |
//! | `getrandom(2)` | [`random_seed`] |

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};
use wire::time::{BootId, Instant, Stamp, UnixTime};

use crate::linux::realtime;

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
    /// How far off the service thinks that it is, in microseconds.
    pub error_estimate_us: u64,
    /// What the kernel has still to add to it bit by bit, in microseconds.
    pub offset_us: i64,
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
        Stamp { boot: self.boot, uptime: uptime(), unix: realtime::now().filter(|unix| *unix >= PLAUSIBLE_SINCE) }
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
    (state >= 0).then(|| of_timex(state, &timex))
}

fn of_timex(state: libc::c_int, timex: &libc::timex) -> Discipline {
    #[allow(clippy::useless_conversion, reason = "the type is narrower on other architectures")]
    let offset = i64::from(timex.offset);
    Discipline {
        is_synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        error_max_us: u64::try_from(timex.maxerror).unwrap_or(0),
        error_estimate_us: u64::try_from(timex.esterror).unwrap_or(0),
        offset_us: if timex.status & libc::STA_NANO == 0 { offset } else { offset / 1000 },
    }
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
    Instant(time.num_milliseconds().try_into().expect("the kernel counts up from its boot"))
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
    fn the_kernel_says_how_far_off_its_clock_may_be() {
        if let Some(discipline) = discipline() {
            assert!(discipline.error_max_us > 0 || discipline.is_synchronised, "{discipline:?}");
        }
    }

    #[test]
    fn a_clock_is_synchronised_when_the_kernel_says_so_twice() {
        #[expect(unsafe_code, reason = "libc has no other way to a timex")]
        // SAFETY: `timex` is plain numbers, for which zeros are values.
        let zero: libc::timex = unsafe { std::mem::zeroed() };
        let timex = libc::timex { offset: -2500, maxerror: 16_000_000, esterror: 40, ..zero };
        let expected =
            Discipline { is_synchronised: true, error_max_us: 16_000_000, error_estimate_us: 40, offset_us: -2500 };
        assert_eq!(of_timex(libc::TIME_OK, &timex), expected);
        assert!(!of_timex(libc::TIME_ERROR, &timex).is_synchronised);
        assert!(!of_timex(libc::TIME_OK, &libc::timex { status: libc::STA_UNSYNC, ..timex }).is_synchronised);
        let nano = libc::timex { status: libc::STA_NANO, ..timex };
        assert_eq!(of_timex(libc::TIME_OK, &nano), Discipline { offset_us: -2, ..expected });
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
