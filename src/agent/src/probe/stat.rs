//! `/proc/stat`: what each CPU did, and what the kernel counted since boot.
//!
//! The counters of a CPU may step back by a jiffy or two (`proc_stat(5)` says so of `iowait`, and `idle` does it when
//! a core leaves deep sleep), which would read as a reset to zero. So the highest value seen is
//! held, as node_exporter does; when `idle` falls by three seconds the CPU was unplugged and counts anew.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, unsigned};

/// CPUs whose counters are held. Those with higher numbers are passed through.
pub const CPU_COUNT_MAX: usize = 128;

/// Three seconds at USER_HZ 100: node_exporter's limit.
const RESET_JIFFIES: i64 = 300;

/// The columns of a CPU's line, in their order; the guests' time is contained in that of `user` and `nice`.
const COLUMNS: [(Metric, &[u8]); 10] = [
    (Metric::CpuSeconds, b"user"),
    (Metric::CpuSeconds, b"nice"),
    (Metric::CpuSeconds, b"system"),
    (Metric::CpuSeconds, b"idle"),
    (Metric::CpuSeconds, b"iowait"),
    (Metric::CpuSeconds, b"irq"),
    (Metric::CpuSeconds, b"softirq"),
    (Metric::CpuSeconds, b"steal"),
    (Metric::CpuGuestSeconds, b"user"),
    (Metric::CpuGuestSeconds, b"nice"),
];

const IDLE: usize = 3;

/// The highest counters seen of each CPU.
#[derive(Debug)]
pub struct Cpus {
    jiffies: [[i64; COLUMNS.len()]; CPU_COUNT_MAX],
}

impl Cpus {
    /// No CPU was seen yet.
    pub const fn new() -> Cpus {
        Cpus { jiffies: [[0; COLUMNS.len()]; CPU_COUNT_MAX] }
    }

    /// Raises `now` to the highest counters seen.
    fn hold(&mut self, cpu: i64, now: &mut [i64]) {
        let Some(held) = usize::try_from(cpu).ok().and_then(|cpu| self.jiffies.get_mut(cpu)) else { return };
        if now.get(IDLE).is_some_and(|idle| held[IDLE] - idle >= RESET_JIFFIES) {
            *held = [0; COLUMNS.len()];
        }
        for (held, now) in held.iter_mut().zip(now) {
            *held = (*held).max(*now);
            *now = *held;
        }
    }
}

impl Default for Cpus {
    fn default() -> Cpus {
        Cpus::new()
    }
}

/// Puts what each CPU did, and the kernel's totals.
///
/// Source: `Documentation/filesystems/proc.rst`, "Miscellaneous kernel statistics in /proc/stat"; `proc_stat(5)`.
pub fn parse(bytes: &[u8], cpus: &mut Cpus, put: &mut Put<'_>) {
    for line in lines(bytes) {
        let mut fields = fields(line);
        let Some(key) = fields.next() else { continue };
        if let Some(number) = key.strip_prefix(b"cpu") {
            if let Some(cpu) = unsigned(number) {
                parse_cpu(number, cpu, fields, cpus, put);
            }
            continue;
        }
        let metric = match key {
            b"btime" => Metric::BootTime,
            b"ctxt" => Metric::ContextSwitches,
            // The total comes first; the counters of each line of interrupt follow.
            b"intr" => Metric::Interrupts,
            b"processes" => Metric::Forks,
            b"procs_blocked" => Metric::ProcsBlocked,
            b"procs_running" => Metric::ProcsRunning,
            _ => continue,
        };
        if let Some(value) = fields.next().and_then(unsigned) {
            put(metric, &[], value);
        }
    }
}

fn parse_cpu<'a>(number: &[u8], cpu: i64, fields: impl Iterator<Item = &'a [u8]>, cpus: &mut Cpus, put: &mut Put<'_>) {
    let mut jiffies = [0; COLUMNS.len()];
    let mut count = 0;
    for (slot, value) in jiffies.iter_mut().zip(fields.map_while(unsigned)) {
        *slot = value;
        count += 1;
    }
    // Kernels before 2.6.33 have fewer columns.
    let jiffies = &mut jiffies[..count];
    cpus.hold(cpu, jiffies);
    for ((metric, mode), value) in COLUMNS.iter().zip(jiffies) {
        put(*metric, &[("cpu", number), ("mode", mode)], *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check, values};

    fn idle(cpus: &mut Cpus, line: &str) -> i64 {
        values(|put| parse(line.as_bytes(), cpus, put))["node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"]
    }

    #[test]
    fn a_raspberry_pi_is_read_in_full() {
        check(
            |put| parse(board!("pi4/proc/stat"), &mut Cpus::new(), put),
            4 * 10 + 6,
            &[
                ("node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 301_522),
                ("node_cpu_seconds_total{cpu=\"3\",mode=\"softirq\"}", 1_204),
                ("node_cpu_guest_seconds_total{cpu=\"1\",mode=\"nice\"}", 0),
                ("node_intr_total", 293_041_177),
                ("node_context_switches_total", 512_904_331),
                ("node_boot_time_seconds", 1_717_400_213),
                ("node_forks_total", 90_311),
                ("node_procs_running", 1),
                ("node_procs_blocked", 0),
            ],
        );
    }

    #[test]
    fn a_counter_that_steps_back_is_held() {
        let mut cpus = Cpus::new();
        assert_eq!(idle(&mut cpus, "cpu0 1 1 1 5000 0"), 5000);
        assert_eq!(idle(&mut cpus, "cpu0 1 1 1 4998 0"), 5000);
        assert_eq!(idle(&mut cpus, "cpu0 1 1 1 5001 0"), 5001);
    }

    #[test]
    fn a_cpu_that_was_unplugged_counts_anew() {
        let mut cpus = Cpus::new();
        assert_eq!(idle(&mut cpus, "cpu0 900 1 1 5000 0"), 5000);
        assert_eq!(idle(&mut cpus, "cpu0 2 0 0 7 0"), 7);
        assert_eq!(cpus.jiffies[0][0], 2);
    }

    #[test]
    fn a_cpu_beyond_the_bound_is_passed_through() {
        let line = "cpu4096 1 1 1 5000 0";
        check(
            |put| parse(line.as_bytes(), &mut Cpus::new(), put),
            5,
            &[("node_cpu_seconds_total{cpu=\"4096\",mode=\"idle\"}", 5000)],
        );
    }

    #[test]
    fn the_line_of_all_cpus_and_odd_lines_are_skipped() {
        let text = b"cpu  1 2 3 4\ncpux 1\nintr\nctxt many\n\nsoftirq 9 9\nprocesses 7";
        check(|put| parse(text, &mut Cpus::new(), put), 1, &[("node_forks_total", 7)]);
    }
}
