//! How much a series matters: its class, by the name of its metric, and whether quantiles of it are kept.
//!
//! What is sent first follows from it, and what is kept less exact on a poor link.

use wire::class::{CLASS_COUNT, Class};
use wire::metric::{DEFINITIONS, Metric};

/// Patterns of metrics' names, where `*` stands for anything: the classes that ship.
const CRITICAL: [&str; 13] = [
    "node_boot_time_seconds",
    "node_disk_io_time_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_device_error",
    "node_filesystem_readonly",
    "node_filesystem_size_bytes",
    "node_load1",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_network_carrier",
    "node_network_up",
    "node_thermal_zone_temp",
    "outpost_throttled*",
];
// Not `node_netstat_*` and `node_vmstat_*`: they follow interfaces and disks, and parted from these the classes cost 12 % and not 6.
const BULK: [&str; 8] = [
    "namedprocess_*",
    "node_cpu_guest_seconds_total",
    "node_cpu_scaling_*",
    "node_disk_discard*",
    "node_disk_flush_*",
    "node_memory_*",
    "node_pressure_*",
    "node_sockstat_*",
];

/// Patterns of what a person wants to hear of when it does what it never did: few, because records come all the same.
const WATCHED: [&str; 5] = [
    "node_filesystem_avail_bytes",
    "node_load15",
    "node_memory_MemAvailable_bytes",
    "node_sockstat_TCP_inuse",
    "node_thermal_zone_temp",
];

/// Which series are in which class, how many significant bits each class keeps, and which series are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importance {
    /// Patterns of what is critical, whatever else it is.
    pub critical: Vec<String>,
    /// Patterns of what is bulk.
    pub bulk: Vec<String>,
    /// Patterns of what quantiles are kept of, as far as there is [room](wire::limits::SKETCHED_COUNT_MAX).
    pub sketched: Vec<String>,
    /// [Significant bits](codec::near) of each class; all exact unless somebody asks for less.
    pub bits: [u8; CLASS_COUNT],
    /// Patterns of what is [watched](crate::watch::series).
    pub watched: Vec<String>,
}

impl Default for Importance {
    fn default() -> Importance {
        Importance {
            critical: CRITICAL.map(str::to_owned).into(),
            bulk: BULK.map(str::to_owned).into(),
            sketched: Vec::new(),
            bits: [codec::near::EXACT; CLASS_COUNT],
            watched: WATCHED.map(str::to_owned).into(),
        }
    }
}

impl Importance {
    /// The class of a metric.
    pub fn class(&self, name: &str) -> Class {
        if is_among(&self.critical, name) {
            Class::Critical
        } else if is_among(&self.bulk, name) {
            Class::Bulk
        } else {
            Class::Normal
        }
    }

    /// The class of every metric.
    pub(crate) fn classes(&self) -> Classes {
        Classes(DEFINITIONS.iter().map(|definition| self.class(definition.name)).collect())
    }
}

/// The class of every metric: patterns are matched once.
#[derive(Debug)]
pub(crate) struct Classes(Box<[Class]>);

impl Classes {
    pub(crate) fn of(&self, metric: Metric) -> Class {
        self.0[metric as usize]
    }
}

/// Whether one of them stands for `name`.
pub(crate) fn is_among(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| is_match(pattern, name))
}

/// Whether `name` is what `pattern` stands for. Linear in both but for the stars.
fn is_match(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((front, rest)) => name.strip_prefix(front).is_some_and(|name| {
            rest.is_empty() || (0..=name.len()).any(|at| name.is_char_boundary(at) && is_match(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_that_ships_is_of_a_metric() {
        for pattern in CRITICAL.iter().chain(&BULK).chain(&WATCHED) {
            assert!(DEFINITIONS.iter().any(|definition| is_match(pattern, definition.name)), "{pattern}");
        }
    }

    #[test]
    fn what_is_critical_is_so_whatever_else_it_is() {
        let importance = Importance::default();
        let class = |name| importance.class(name);
        assert_eq!(class("node_memory_MemAvailable_bytes"), Class::Critical);
        assert_eq!(class("node_memory_Cached_bytes"), Class::Bulk);
        assert_eq!(["node_cpu_seconds_total", "node_vmstat_pgfault"].map(class), [Class::Normal; 2]);
        let classes = importance.classes();
        let metrics = [Metric::Load1, Metric::Load5, Metric::MemoryCached];
        assert_eq!(metrics.map(|metric| classes.of(metric)), Class::ALL);
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("*", "", true),
            ("a**b*", "aüb", true),
            ("", "a", false),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }
}
