//! The catalogue of host metrics.
//!
//! Names, units and labels are node_exporter's for what node_exporter has, so that dashboards the world
//! already owns work on the hub unchanged; what we add follows the same rules and starts with `outpost_`. A value is an integer of
//! `10^scale` of the unit in the name: a counter of jiffies at USER_HZ 100 is `_seconds_total` with scale -2.
//!
//! The number of a variant never leaves the process: a dictionary carries names.

use crate::series::{Kind, Series};

/// What the catalogue says of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The metric's name.
    pub name: &'static str,
    /// How values are to be read.
    pub kind: Kind,
    /// A value `v` stands for `v * 10^scale`.
    pub scale: i8,
    /// One line for people.
    pub help: &'static str,
}

impl Metric {
    /// What the catalogue says of this metric.
    pub fn definition(self) -> &'static Definition {
        &DEFINITIONS[self as usize]
    }

    /// This metric with canonical label text.
    pub fn with<'a>(self, labels: &'a str) -> Series<&'a str> {
        let definition = self.definition();
        Series { name: definition.name, labels, kind: definition.kind as u8, scale: definition.scale }
    }
}

macro_rules! catalogue {
    ($($variant:ident $name:literal $kind:ident $scale:literal $help:literal;)*) => {
        /// A metric of the catalogue, alphabetical by probe.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        /// Every definition, in the order of the variants.
        pub const DEFINITIONS: &[Definition] = &[
            $(Definition { name: $name, kind: Kind::$kind, scale: $scale, help: $help },)*
        ];

        impl Metric {
            /// Every metric, in order.
            pub const ALL: &[Metric] = &[$(Metric::$variant,)*];
        }
    };
}

catalogue! {
    CpuSeconds "node_cpu_seconds_total" Counter -2 "Seconds the CPUs spent in each mode.";
    Load1 "node_load1" Gauge -2 "1m load average.";
    Load5 "node_load5" Gauge -2 "5m load average.";
    Load15 "node_load15" Gauge -2 "15m load average.";
}
