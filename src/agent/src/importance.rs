//! How much a series matters: its class, by the name of its metric.
//!
//! What is kept less exact on a poor link follows from it.

/// The classes, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What a person is woken for.
    Critical = 0,
    /// What a person looks at to understand.
    Normal = 1,
    /// What only an expert asks for, afterwards.
    Bulk = 2,
}

/// How many classes there are.
pub const CLASS_COUNT: usize = 3;

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
const BULK: [&str; 10] = [
    "namedprocess_*",
    "node_cpu_guest_seconds_total",
    "node_cpu_scaling_*",
    "node_disk_discard*",
    "node_disk_flush_*",
    "node_memory_*",
    "node_netstat_*",
    "node_pressure_*",
    "node_sockstat_*",
    "node_vmstat_*",
];

/// Which series are in which class, and how many significant bits each class keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importance {
    /// Patterns of what is critical, whatever else it is.
    pub critical: Vec<String>,
    /// Patterns of what is bulk.
    pub bulk: Vec<String>,
    /// [Significant bits](codec::near) of each class; all exact unless somebody asks for less.
    pub bits: [u8; CLASS_COUNT],
}

impl Default for Importance {
    fn default() -> Importance {
        Importance {
            critical: CRITICAL.map(str::to_owned).into(),
            bulk: BULK.map(str::to_owned).into(),
            bits: [codec::near::EXACT; CLASS_COUNT],
        }
    }
}

impl Importance {
    /// The class of a metric.
    pub fn class(&self, name: &str) -> Class {
        let is_among = |patterns: &[String]| patterns.iter().any(|pattern| is_match(pattern, name));
        if is_among(&self.critical) {
            Class::Critical
        } else if is_among(&self.bulk) {
            Class::Bulk
        } else {
            Class::Normal
        }
    }

    /// The significant bits that a metric's series keep.
    pub fn bits(&self, name: &str) -> u8 {
        self.bits[self.class(name) as usize]
    }

    /// Whether every class is kept exact.
    pub fn is_exact(&self) -> bool {
        self.bits.iter().all(|bits| *bits == codec::near::EXACT)
    }
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
    use wire::metric::DEFINITIONS;

    #[test]
    fn every_pattern_that_ships_is_of_a_metric() {
        for pattern in CRITICAL.iter().chain(&BULK) {
            assert!(DEFINITIONS.iter().any(|definition| is_match(pattern, definition.name)), "{pattern}");
        }
    }

    #[test]
    fn what_is_critical_is_so_whatever_else_it_is() {
        let importance = Importance { bits: [0, 9, 7], ..Importance::default() };
        let class = |name| importance.class(name);
        assert_eq!(class("node_memory_MemAvailable_bytes"), Class::Critical);
        assert_eq!(class("node_memory_Cached_bytes"), Class::Bulk);
        assert_eq!(class("node_cpu_seconds_total"), Class::Normal);
        assert_eq!(["node_load1", "node_load5", "node_vmstat_pgfault"].map(|name| importance.bits(name)), [0, 9, 7]);
        assert!(Importance::default().is_exact() && !importance.is_exact());
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
