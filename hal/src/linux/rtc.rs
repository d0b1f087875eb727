//! What the real-time clocks say: chips that count on a battery while the machine is off.

use std::fs;
use std::path::Path;

use wire::time::UnixTime;

use crate::linux::clock::PLAUSIBLE_SINCE;
use crate::linux::sysfs;

/// Clocks that are asked. Boards have one in the processor and one with a battery.
const CLOCK_COUNT_MAX: usize = 4;

/// The time of the first clock that was ever set: one without a battery begins in 1970 or 2000, and one whose battery is empty
/// says so with an error. `root` is the machine's root folder, or a folder of copied files.
///
/// The kernel reads the chip for this, over a slow bus, which takes milliseconds. It takes the chip to count UTC: where another
/// system has set it to local time, this is off by hours. Source: `Documentation/ABI/testing/sysfs-class-rtc`.
pub fn time(root: &Path) -> Option<UnixTime> {
    let folder = root.join("sys/class/rtc");
    let clocks = sysfs::names(&folder).into_iter().take(CLOCK_COUNT_MAX);
    let mut times = clocks.filter_map(|name| {
        let text = fs::read_to_string(folder.join(name).join("since_epoch")).ok()?;
        text.trim().parse::<u64>().ok()?.checked_mul(1000).map(UnixTime)
    });
    times.find(|time| *time >= PLAUSIBLE_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::folder::tests::Scratch;

    fn check(clocks: &[(&str, &str)], expected: Option<u64>) {
        let scratch = Scratch::new();
        for (name, text) in clocks {
            let folder = scratch.0.join("sys/class/rtc").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("since_epoch"), text).unwrap();
        }
        assert_eq!(time(&scratch.0), expected.map(UnixTime), "{clocks:?}");
    }

    #[test]
    fn a_clock_counts_seconds() {
        check(&[("rtc0", "1767225600\n")], Some(1_767_225_600_000));
        // After 2038.
        check(&[("rtc0", "2272147200\n")], Some(2_272_147_200_000));
    }

    #[test]
    fn a_clock_that_was_never_set_says_nothing() {
        check(&[], None);
        check(&[("rtc0", "17\n")], None);
        check(&[("rtc0", "946684800\n")], None);
        check(&[("rtc0", "-5\n")], None);
        check(&[("rtc0", "")], None);
        check(&[("rtc0", "99999999999999999999\n")], None);
    }

    #[test]
    fn the_clock_with_a_battery_may_be_the_second() {
        check(&[("rtc0", "17\n"), ("rtc1", "1767225600\n")], Some(1_767_225_600_000));
        check(&[("rtc0", "1767225600\n"), ("rtc1", "1767225900\n")], Some(1_767_225_600_000));
    }

    #[test]
    fn a_real_clock_says_a_time_that_can_be_true() {
        assert!(time(Path::new("/")).is_none_or(|time| time >= PLAUSIBLE_SINCE));
    }
}
