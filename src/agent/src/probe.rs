//! From the text of `/proc` and `/sys` to values of the catalogue.
//!
//! ```text
//!  driver: Reading { Stat: "cpu0 5639 ..", NetClass "eth0": "operstate up\n..", .. }
//!      │
//!      └─ parse ─> put(CpuSeconds, [cpu="0", mode="user"], 5639) ..
//! ```
//!
//! Parsers are given bytes, allocate nothing and survive anything: an odd line is skipped, and so are those a
//! newer kernel adds. Numbers are put as the kernel counts them, in the scale the catalogue gives. Counters wrap
//! where the kernel's do; those beyond 2^63 stand still.
//!
//! | file | what it reads |
//! |---|---|
//! | [`stat`], [`loadavg`], [`cpufreq`], [`pressure`] | CPUs, and what waits for them |
//! | [`meminfo`], [`vmstat`] | memory, swap and paging |
//! | [`diskstats`], [`filesystem`] | block devices; mounts |
//! | [`netdev`], [`netclass`], [`netstat`], [`sockstat`] | interfaces, protocols and sockets |
//! | [`thermal`], [`hwmon`], [`throttled`] | temperatures, voltages, fans; what slows a board down |
//! | [`processes`], [`sysctl`] | processes; limits and what is used of them |
//! | [`fuzz`] | all of them as targets |

pub mod cpufreq;
pub mod diskstats;
pub mod filesystem;
pub mod fuzz;
pub mod hwmon;
pub mod loadavg;
pub mod meminfo;
pub mod netclass;
pub mod netdev;
pub mod netstat;
pub mod pressure;
pub mod processes;
pub mod sockstat;
pub mod stat;
pub mod sysctl;
pub mod thermal;
pub mod throttled;
pub mod vmstat;

#[cfg(test)]
mod check;
mod put;
mod reading;
mod text;

pub use put::Put;
pub use reading::{READING_BYTES_MAX, Reading, SECTION_COUNT_MAX, Section, Source};

use processes::Processes;
use stat::Cpus;

/// What parsing carries from one reading to the next. Some 90 KiB; it lives as long as the boot.
#[derive(Debug, Default)]
pub struct Carry {
    /// The highest counters of each CPU.
    pub cpus: Cpus,
    /// The processes of the last walk.
    pub processes: Processes,
}

impl Carry {
    /// Nothing was read yet.
    pub const fn new() -> Carry {
        Carry { cpus: Cpus::new(), processes: Processes::new() }
    }
}

/// Puts every value of a reading, in the order of its sections.
pub fn parse(reading: &Reading, carry: &mut Carry, put: &mut Put<'_>) {
    for Section { source, instance, text } in reading.sections() {
        match source {
            Source::Cpufreq => cpufreq::parse(text, put),
            Source::Diskstats => diskstats::parse(text, put),
            Source::Filesystems => filesystem::parse(text, put),
            Source::Hwmon => hwmon::parse(instance, text, put),
            Source::KernelLog => {}
            Source::Loadavg => loadavg::parse(text, put),
            Source::Meminfo => meminfo::parse(text, put),
            Source::NetClass => netclass::parse(instance, text, put),
            Source::NetDev => netdev::parse(text, put),
            Source::Netstat => netstat::parse(text, put),
            Source::Pressure => pressure::parse(instance, text, put),
            Source::Processes => carry.processes.parse(text, reading.page_bytes(), put),
            Source::Snmp6 => netstat::parse_snmp6(text, put),
            Source::Sockstat => sockstat::parse(text, reading.page_bytes(), put),
            Source::Stat => stat::parse(text, &mut carry.cpus, put),
            Source::Sysctl => sysctl::parse(text, put),
            Source::ThermalZone => thermal::parse(instance, text, put),
            Source::Throttled => throttled::parse(text, put),
            Source::Vmstat => vmstat::parse(text, put),
        }
    }
}
