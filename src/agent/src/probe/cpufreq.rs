//! `/sys/devices/system/cpu/cpufreq/<policy>`: how fast each CPU may run, and does.
//!
//! CPUs that share a clock share a policy; each of them gets the policy's values.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{attribute, attributes, fields, unsigned};

/// The attributes to render. `cpuinfo_cur_freq` is left out: only root may read it, and the hardware is asked each time.
pub const ATTRIBUTES: [&str; 3] = ["scaling_cur_freq", "scaling_max_freq", "scaling_min_freq"];

/// The attributes that are read once: the CPUs of the policy that are online, and the hardware's limits.
pub const CONSTANTS: [&str; 3] = ["affected_cpus", "cpuinfo_max_freq", "cpuinfo_min_freq"];

/// The kernel counts in kHz.
const KHZ: i64 = 1000;

/// Puts the frequencies of one policy for each of its CPUs.
///
/// Source: `Documentation/admin-guide/pm/cpufreq.rst`.
pub fn parse(text: &[u8], put: &mut Put<'_>) {
    let cpus = attribute(text, b"affected_cpus").unwrap_or_default();
    for (attribute, value) in attributes(text) {
        let metric = match attribute {
            b"cpuinfo_max_freq" => Metric::CpuFrequencyMax,
            b"cpuinfo_min_freq" => Metric::CpuFrequencyMin,
            b"scaling_cur_freq" => Metric::CpuScalingFrequency,
            b"scaling_max_freq" => Metric::CpuScalingFrequencyMax,
            b"scaling_min_freq" => Metric::CpuScalingFrequencyMin,
            _ => continue,
        };
        // A driver that does not know says `<unknown>`.
        let Some(value) = unsigned(value) else { continue };
        for cpu in fields(cpus) {
            put(metric, &[("cpu", cpu)], value.saturating_mul(KHZ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn every_cpu_of_a_policy_gets_its_values() {
        let text = b"affected_cpus 0 1 2 3\ncpuinfo_max_freq 1500000\ncpuinfo_min_freq 600000\n\
                     scaling_cur_freq 700000\nscaling_max_freq <unknown>\n";
        check(
            |put| parse(text, put),
            3 * 4,
            &[
                ("node_cpu_scaling_frequency_hertz{cpu=\"3\"}", 700_000_000),
                ("node_cpu_frequency_max_hertz{cpu=\"0\"}", 1_500_000_000),
            ],
        );
    }

    #[test]
    fn a_policy_without_cpus_puts_nothing() {
        check(|put| parse(b"scaling_cur_freq 700000\n", put), 0, &[]);
    }
}
