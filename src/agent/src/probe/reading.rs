//! Everything the core learns about the machine in one tick, as the bytes the kernel gave.
//!
//! ```text
//!  bytes      cpu  15140 8943 ..│eth0│operstate up\ncarrier 1 ..│hwmon0│name cpu_thermal\n ..
//!  sections   Stat              │NetClass, "eth0"              │Hwmon, "hwmon0"
//! ```
//!
//! One buffer serves every tick, so that a quiet machine is sampled without an allocation. The simulated world
//! fills a reading with the same text.

use core::ops::Range;

/// Bytes of one reading, and what its buffer can grow to but for the file that passes it. A large host with a thousand
/// processes needs some 200 KiB.
pub const READING_BYTES_MAX: usize = 1024 * 1024;

/// Sections of one reading: some 20 files, and a section for each interface, chip, zone and frequency policy.
pub const SECTION_COUNT_MAX: usize = 256;

/// What a section holds the text of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `/sys/devices/system/cpu/cpufreq/<instance>` as attributes.
    Cpufreq,
    /// `/proc/diskstats`.
    Diskstats,
    /// What `statfs(2)` says of each mount: see [`filesystem`](crate::probe::filesystem).
    Filesystems,
    /// `/sys/class/hwmon/<instance>` as attributes: see [`hwmon`](crate::probe::hwmon).
    Hwmon,
    /// New records of `/dev/kmsg`, which hold no values: see [`trouble`](crate::watch::trouble).
    KernelLog,
    /// `/proc/loadavg`.
    Loadavg,
    /// `/proc/meminfo`.
    Meminfo,
    /// `/sys/class/net/<instance>` as attributes.
    NetClass,
    /// `/proc/net/dev`.
    NetDev,
    /// `/proc/net/netstat` or `/proc/net/snmp`.
    Netstat,
    /// `/proc/pressure/<instance>`.
    Pressure,
    /// The first fields of `/proc/<pid>/stat` of every process: see [`processes`](crate::probe::processes).
    Processes,
    /// `/proc/net/snmp6`.
    Snmp6,
    /// `/proc/net/sockstat` or `/proc/net/sockstat6`.
    Sockstat,
    /// `/proc/stat`.
    Stat,
    /// `/proc/sys` as attributes: see [`sysctl`](crate::probe::sysctl).
    Sysctl,
    /// `/sys/class/thermal/<instance>` as attributes.
    ThermalZone,
    /// `get_throttled` of a Raspberry Pi's firmware.
    Throttled,
    /// `/proc/vmstat`.
    Vmstat,
}

/// A part of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// What the text is of.
    pub source: Source,
    /// Which one, where there are several: `eth0`. Else empty.
    pub instance: &'a [u8],
    /// What the kernel gave, or lines `name value` where the source is a folder of attributes.
    pub text: &'a [u8],
}

/// One tick's sections, in the order of reading.
#[derive(Debug)]
pub struct Reading {
    bytes: Vec<u8>,
    ranges: Vec<Ranges>,
    page_bytes: u32,
    refused_count: u32,
}

#[derive(Debug)]
struct Ranges {
    source: Source,
    instance: Range<usize>,
    text: Range<usize>,
}

impl Reading {
    /// An empty reading of a machine whose pages have `page_bytes`: the kernel counts some memory in pages.
    pub fn new(page_bytes: u32) -> Reading {
        Reading { bytes: Vec::new(), ranges: Vec::with_capacity(SECTION_COUNT_MAX), page_bytes, refused_count: 0 }
    }

    /// Empties it and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
        self.refused_count = 0;
    }

    /// Appends a section whose text `fill` appends to the buffer it is handed; it must not touch what stands before.
    ///
    /// Nothing is appended when `fill` fails, which is how a missing file looks, and when the section passes a bound,
    /// which is counted. Errors: those of `fill`.
    pub fn append<E>(
        &mut self,
        source: Source,
        instance: &[u8],
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(instance);
        let middle = self.bytes.len();
        let filled = fill(&mut self.bytes);
        let end = self.bytes.len();
        assert!(end >= middle, "a section was filled by removing from the buffer");
        if filled.is_err() {
            self.bytes.truncate(start);
        } else if end > READING_BYTES_MAX || self.ranges.len() == SECTION_COUNT_MAX {
            self.bytes.truncate(start);
            self.refuse();
        } else {
            self.ranges.push(Ranges { source, instance: start..middle, text: middle..end });
        }
        filled
    }

    /// Counts something that was there and is not in the reading.
    pub fn refuse(&mut self) {
        self.refused_count = self.refused_count.saturating_add(1);
    }

    /// Sections and parts of files that were there and found no room. The core says so in an event.
    pub fn refused_count(&self) -> u32 {
        self.refused_count
    }

    /// Bytes of a page of the machine's memory.
    pub fn page_bytes(&self) -> u32 {
        self.page_bytes
    }

    /// The sections, in the order in which they were appended.
    pub fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        self.ranges.iter().map(|ranges| Section {
            source: ranges.source,
            instance: &self.bytes[ranges.instance.clone()],
            text: &self.bytes[ranges.text.clone()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(reading: &mut Reading, instance: &[u8], text: &[u8]) {
        let filled: Result<(), ()> = reading.append(Source::NetClass, instance, |bytes| {
            bytes.extend_from_slice(text);
            Ok(())
        });
        filled.unwrap();
    }

    #[test]
    fn sections_come_back_in_order() {
        let mut reading = Reading::new(4096);
        append(&mut reading, b"eth0", b"operstate up\n");
        append(&mut reading, b"", b"x");
        let sections: Vec<_> = reading.sections().map(|section| (section.instance, section.text)).collect();
        assert_eq!(sections, [(&b"eth0"[..], &b"operstate up\n"[..]), (b"", b"x")]);
        reading.clear();
        assert_eq!(reading.sections().count(), 0);
    }

    #[test]
    fn a_file_that_fails_leaves_nothing_behind() {
        let mut reading = Reading::new(4096);
        let failed = reading.append(Source::Stat, b"", |bytes| {
            bytes.extend_from_slice(b"half a li");
            Err("gone")
        });
        assert_eq!(failed, Err("gone"));
        append(&mut reading, b"", b"whole");
        assert_eq!(reading.sections().map(|section| section.text).collect::<Vec<_>>(), [b"whole"]);
        assert_eq!(reading.refused_count(), 0);
    }

    #[test]
    fn what_passes_a_bound_is_counted_and_left_out() {
        let mut reading = Reading::new(4096);
        append(&mut reading, b"", &vec![b'x'; READING_BYTES_MAX]);
        append(&mut reading, b"", b"x");
        assert_eq!((reading.sections().count(), reading.refused_count()), (1, 1));
        reading.clear();
        for _ in 0..=SECTION_COUNT_MAX {
            append(&mut reading, b"", b"x");
        }
        assert_eq!((reading.sections().count(), reading.refused_count()), (SECTION_COUNT_MAX, 1));
    }
}
