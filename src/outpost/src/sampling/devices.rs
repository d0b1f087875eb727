//! What is below `/sys`: interfaces, temperatures, voltages, frequencies.
//!
//! Looking for it costs hundreds of calls, reading it a few dozen. So interfaces are looked for when `/proc/net/dev` names
//! others than before, and everything is every [`SCAN_INTERVAL`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::probe::hwmon::{self, Reads};
use agent::probe::{Reading, Source, cpufreq, netclass, netdev, thermal};
use hal::linux::kept_file::{Handles, KeptFile, Shape};
use hal::linux::sysfs::{self, Attributes};

use crate::sampling::section::{append, append_file};

/// How often `/sys` is looked through although nothing seems to have changed.
const SCAN_INTERVAL: Duration = Duration::from_secs(600);

/// Interfaces whose attributes are read. A host with more has them from containers that come and go.
const INTERFACE_COUNT_MAX: usize = 64;

/// Bytes of the firmware's flags: eight digits.
const THROTTLED_BYTES_MAX: usize = 64;

/// The devices of one machine, as of the last look.
#[derive(Debug)]
pub(super) struct Devices {
    sys: PathBuf,
    handles: Arc<Handles>,
    scanned: Option<Instant>,
    /// The names of all interfaces, and the attributes of the first of them.
    interfaces: Vec<Vec<u8>>,
    net: Vec<(String, Attributes)>,
    others: Vec<(Source, String, Attributes)>,
    throttled: Option<KeptFile>,
}

impl Devices {
    /// The devices below `sys`. Nothing is looked for yet.
    pub(super) fn new(sys: PathBuf, handles: &Arc<Handles>) -> Devices {
        Devices {
            sys,
            handles: Arc::clone(handles),
            scanned: None,
            interfaces: Vec::new(),
            net: Vec::new(),
            others: Vec::new(),
            throttled: None,
        }
    }

    /// Appends what the devices say. `reading` already holds what `/proc/net/dev` says.
    pub(super) fn read_into(&mut self, reading: &mut Reading) {
        self.scan(reading);
        self.renew_gone();
        for (name, attributes) in &mut self.net {
            append(Source::NetClass, name, reading, |out| attributes.read_into(out));
        }
        for _ in INTERFACE_COUNT_MAX..self.interfaces.len() {
            reading.refuse();
        }
        for (source, name, attributes) in &mut self.others {
            append(*source, name, reading, |out| attributes.read_into(out));
        }
        if let Some(throttled) = &mut self.throttled {
            append_file(Source::Throttled, "", throttled, reading);
        }
    }

    /// Looks for what may have come or gone. The files of the last look are closed before others are opened.
    fn scan(&mut self, reading: &Reading) {
        let section = reading.sections().find(|section| section.source == Source::NetDev);
        let interfaces = || netdev::interfaces(section.map(|section| section.text).unwrap_or_default());
        let is_due = self.scanned.is_none_or(|scanned| scanned.elapsed() >= SCAN_INTERVAL);
        if is_due || !interfaces().eq(self.interfaces.iter().map(Vec::as_slice)) {
            self.interfaces = interfaces().map(<[u8]>::to_vec).collect();
            self.net.clear();
            self.net = self.found_interfaces();
        }
        if is_due {
            self.scanned = Some(Instant::now());
            self.others.clear();
            self.others = self.found_others();
            self.throttled = throttled(&self.sys, &self.handles);
        }
    }

    /// A device that is gone makes room for the one that has its name now, whose type and chip may be others. Without one
    /// it is left to the next look.
    fn renew_gone(&mut self) {
        for (source, name, attributes) in &mut self.others {
            if attributes.is_gone() {
                *attributes = found(*source, &self.sys.join(parent(*source)).join(name), &self.handles);
            }
        }
        self.others.retain(|(.., attributes)| !attributes.is_empty());
    }

    fn found_interfaces(&self) -> Vec<(String, Attributes)> {
        let names = self.interfaces.iter().filter_map(|name| str::from_utf8(name).ok());
        let found = names.take(INTERFACE_COUNT_MAX).map(|name| {
            let folder = self.sys.join("class/net").join(name);
            (name.to_owned(), Attributes::of(&folder, &[], &netclass::ATTRIBUTES, &self.handles))
        });
        found.collect()
    }

    fn found_others(&self) -> Vec<(Source, String, Attributes)> {
        let mut all = Vec::new();
        for (source, prefix) in
            [(Source::ThermalZone, "thermal_zone"), (Source::Cpufreq, "policy"), (Source::Hwmon, "")]
        {
            let parent = self.sys.join(parent(source));
            for name in sysfs::names(&parent).into_iter().filter(|name| name.starts_with(prefix)) {
                let attributes = found(source, &parent.join(&name), &self.handles);
                if !attributes.is_empty() {
                    all.push((source, name, attributes));
                }
            }
        }
        all
    }
}

/// Where devices of a kind have their folders below `/sys`.
fn parent(source: Source) -> &'static str {
    match source {
        Source::Cpufreq => "devices/system/cpu/cpufreq",
        Source::Hwmon => "class/hwmon",
        Source::ThermalZone => "class/thermal",
        _ => unreachable!("{source:?} is no kind of device"),
    }
}

/// What is read of the device in `folder`; nothing when there is none.
fn found(source: Source, folder: &Path, handles: &Arc<Handles>) -> Attributes {
    match source {
        _ if !folder.is_dir() => Attributes::new(handles),
        Source::Cpufreq => Attributes::of(folder, &cpufreq::CONSTANTS, &cpufreq::ATTRIBUTES, handles),
        Source::ThermalZone => Attributes::of(folder, &[thermal::CONSTANT], &thermal::ATTRIBUTES, handles),
        _ => chip(folder, handles),
    }
}

/// What a chip measures. Old drivers keep their files with the device, so that its folder is looked through as well.
fn chip(folder: &Path, handles: &Arc<Handles>) -> Attributes {
    let mut attributes = Attributes::new(handles);
    let link = folder.join("device");
    if let Some(device) = sysfs::device(&link) {
        attributes.state("device", device.as_bytes());
    }
    attributes.remember("name", folder.join("name"));
    for folder in [folder, &link] {
        for name in sysfs::file_names(folder) {
            match hwmon::reads(name.as_bytes()) {
                Reads::Always if !attributes.has(&name) => attributes.measure(&name, folder.join(&name)),
                Reads::Once if name != "name" => attributes.remember(&name, folder.join(&name)),
                _ => {}
            }
        }
    }
    attributes
}

/// The firmware's word on throttling: `platform/soc/soc:firmware`, or with the bus' address in both names on newer boards.
fn throttled(sys: &Path, handles: &Arc<Handles>) -> Option<KeptFile> {
    let platform = sys.join("devices/platform");
    let buses = sysfs::names(&platform).into_iter().filter(|name| name.starts_with("soc"));
    let mut paths = buses.map(|bus| platform.join(&bus).join(format!("{bus}:firmware/get_throttled")));
    paths.find(|path| path.exists()).map(|path| KeptFile::new(path, Shape::Whole, THROTTLED_BYTES_MAX, handles))
}
