//! The civil clock, also after 2038.
//!
//! Where `time_t` has 32 bits, the C library fails from 2038-01-19 on, and std, which stands on it, panics: musl's 32-bit
//! targets as Rust knows them. So the kernel is asked itself:
//!
//! | kernel | call | its seconds |
//! |---|---|---|
//! | 64 bits | `clock_gettime` | 64 bits |
//! | 32 bits, since 5.1 | `clock_gettime64` | 64 bits |
//! | 32 bits, before | `clock_gettime` | the lower half of them: taken as unsigned, right until 2106 |

use nix::libc;
use wire::time::UnixTime;

/// How wide the seconds are that the kernel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// For as long as anyone cares.
    Full,
    /// The lower 32 bits, right until 2106-02-07.
    Lower32,
}

/// What the civil clock says, right or wrong; nothing when it is a time before 1970.
pub fn now() -> Option<UnixTime> {
    read()?.0
}

/// What [`now`] stands on; nothing when the kernel refuses both calls.
pub fn width() -> Option<Width> {
    Some(read()?.1)
}

/// `__kernel_timespec`: the same on all machines.
#[repr(C)]
#[derive(Default)]
struct Wide {
    seconds: i64,
    nanoseconds: i64,
}

/// `old_timespec32` of 32-bit machines, whose signed seconds turn negative in 2038.
#[repr(C)]
#[derive(Default)]
struct Narrow {
    seconds: u32,
    nanoseconds: u32,
}

/// The call that fills a [`Wide`]. `clock_gettime64` has this number on every 32-bit machine.
const WIDE_CALL: libc::c_long = if cfg!(target_pointer_width = "64") { libc::SYS_clock_gettime } else { 403 };

fn read() -> Option<(Option<UnixTime>, Width)> {
    if let Some(Wide { seconds, nanoseconds }) = call(WIDE_CALL) {
        return Some((unix(seconds, nanoseconds), Width::Full));
    }
    // Whatever the reason: filters of containers refuse calls that they do not know with other errors than ENOSYS.
    if cfg!(target_pointer_width = "64") {
        return None;
    }
    let Narrow { seconds, nanoseconds } = call(libc::SYS_clock_gettime)?;
    Some((unix(seconds.into(), nanoseconds.into()), Width::Lower32))
}

/// What the kernel writes in answer to `number`, which must be a call that fills a `T`.
fn call<T: Default>(number: libc::c_long) -> Option<T> {
    let mut time = T::default();
    #[expect(unsafe_code, reason = "the wrapped calls are those that fail")]
    // SAFETY: the kernel writes one structure of this layout to `time` and keeps no pointer.
    let result = unsafe { libc::syscall(number, libc::CLOCK_REALTIME, &raw mut time) };
    (result == 0).then_some(time)
}

fn unix(seconds: i64, nanoseconds: i64) -> Option<UnixTime> {
    let ms = u64::try_from(seconds).ok()?.checked_mul(1000)?;
    ms.checked_add(u64::try_from(nanoseconds).ok()? / 1_000_000).map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what std says is what is compared")]
    fn the_kernel_and_std_agree_for_as_long_as_std_can_say() {
        let std = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(now().unwrap().0.abs_diff(std.as_millis() as u64) < 60_000);
        assert_eq!(width(), Some(Width::Full));
    }

    #[test]
    fn both_calls_of_a_32_bit_kernel_agree() {
        if cfg!(target_pointer_width = "32") {
            let Narrow { seconds, nanoseconds } = call(libc::SYS_clock_gettime).unwrap();
            let narrow = unix(seconds.into(), nanoseconds.into()).unwrap();
            assert!(now().unwrap().0.abs_diff(narrow.0) < 60_000);
        }
    }

    #[test]
    fn the_lower_half_is_right_until_2106() {
        let at = |seconds: i32| unix((seconds as u32).into(), 999_999_999);
        assert_eq!(at(i32::MAX), Some(UnixTime(2_147_483_647_999)));
        assert_eq!(at(i32::MIN), Some(UnixTime(2_147_483_648_999)), "2038-01-19T03:14:08Z");
        // 2042-01-01T00:00:00Z.
        assert_eq!(at(2_272_147_200_u32 as i32), Some(UnixTime(2_272_147_200_999)));
        assert_eq!(at(-1), Some(UnixTime(4_294_967_295_999)), "2106-02-07T06:28:15Z");
    }

    #[test]
    fn a_time_before_1970_is_none() {
        assert_eq!(unix(-1, 0), None);
        assert_eq!(unix(i64::MAX, 0), None);
        assert_eq!(unix(0, 999_999), Some(UnixTime(0)));
    }
}
