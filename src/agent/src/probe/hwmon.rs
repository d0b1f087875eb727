//! `/sys/class/hwmon/<chip>`: temperatures, voltages, fans, currents and power.
//!
//! The text is that of a folder of attributes, and two lines that name the chip:
//!
//! ```text
//!  device soc:firmware/raspberrypi-hwmon     the last two parts of the real path of `device`
//!  name rpi_volt
//!  temp1_input 48312                         `<kind><number>_<property>`; thousandths, or millionths for power
//! ```
//!
//! A chip is labelled as node_exporter does: `soc:firmware_raspberrypi_hwmon`, by its device because the
//! numbers of `hwmon0` depend on the order in which modules were loaded.

use heapless::Vec;
use wire::metric::Metric;

use crate::probe::put::{Put, metric};
use crate::probe::text::{attribute, attributes, signed};

/// Bytes of a chip's or a sensor's name. The rest is cut off.
const NAME_BYTES_MAX: usize = 64;

type Name = Vec<u8, NAME_BYTES_MAX>;

/// How often an attribute is worth reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// At every tick: a measurement.
    Always,
    /// Never: nothing here knows it.
    Never,
    /// Once: a name.
    Once,
}

/// How often the file of that name in a chip's folder is worth reading.
pub fn reads(file_name: &[u8]) -> Reads {
    match Sensor::parse(file_name) {
        Some(sensor) if sensor.property == b"label" => Reads::Once,
        Some(sensor) if sensor.metric().is_some() => Reads::Always,
        None if file_name == b"name" => Reads::Once,
        _ => Reads::Never,
    }
}

/// Puts what the catalogue knows of one chip. `folder` names a chip that has neither device nor name.
///
/// Source: `Documentation/hwmon/sysfs-interface.rst`; the names of node_exporter's `hwmon` collector.
pub fn parse(folder: &[u8], text: &[u8], put: &mut Put<'_>) {
    let name = cleaned(&[attribute(text, b"name").unwrap_or_default()]);
    let chip = chip(folder, attribute(text, b"device").unwrap_or_default(), &name);
    if !name.is_empty() {
        put(Metric::HwmonChipNames, &[("chip", &chip), ("chip_name", &name)], 1);
    }
    for (attribute, value) in attributes(text) {
        let Some(sensor) = Sensor::parse(attribute) else { continue };
        if sensor.property == b"label" {
            put(Metric::HwmonSensorLabel, &[("chip", &chip), ("label", value), ("sensor", &sensor.name())], 1);
        } else if let (Some(metric), Some(value)) = (sensor.metric(), signed(value)) {
            put(metric, &[("chip", &chip), ("sensor", &sensor.name())], value);
        }
    }
}

/// The chip's label: type and name of its device, else its name, else its folder.
fn chip(folder: &[u8], device: &[u8], name: &Name) -> Name {
    let slash = device.iter().position(|byte| *byte == b'/');
    let (kind, device) = slash.map_or((&b""[..], device), |at| (&device[..at], &device[at + 1..]));
    let (kind, device) = (cleaned(&[kind]), cleaned(&[device]));
    match (kind.is_empty(), device.is_empty(), name.is_empty()) {
        (false, false, _) => cleaned(&[&kind, b"_", &device]),
        (true, false, _) => device,
        (_, true, false) => name.clone(),
        (_, true, true) => cleaned(&[folder]),
    }
}

/// Lower case, every character but `[a-z0-9:_]` an underscore, none at either end.
fn cleaned(parts: &[&[u8]]) -> Name {
    let characters = parts.iter().flat_map(|part| part.iter()).filter(|byte| !matches!(byte, 0x80..=0xbf));
    let mut name: Name = characters
        .map(|byte| match byte.to_ascii_lowercase() {
            kept @ (b'a'..=b'z' | b'0'..=b'9' | b':' | b'_') => kept,
            _ => b'_',
        })
        .skip_while(|byte| *byte == b'_')
        .take(NAME_BYTES_MAX)
        .collect();
    while name.last() == Some(&b'_') {
        name.pop();
    }
    name
}

/// An attribute's name in its parts.
struct Sensor<'a> {
    kind: &'a [u8],
    number: &'a [u8],
    property: &'a [u8],
}

impl Sensor<'_> {
    /// `temp1_input`; `temp` is number 0 without a property. Kinds that only configure a chip are no sensors here.
    fn parse(name: &[u8]) -> Option<Sensor<'_>> {
        let digits = name.iter().position(u8::is_ascii_digit).unwrap_or(name.len());
        let (kind, rest) = name.split_at(digits);
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(count);
        let property = if rest.is_empty() { rest } else { rest.strip_prefix(b"_").filter(|rest| !rest.is_empty())? };
        matches!(kind, b"curr" | b"energy" | b"fan" | b"humidity" | b"in" | b"power" | b"temp").then_some(Sensor {
            kind,
            number,
            property,
        })
    }

    /// The label `sensor`.
    fn name(&self) -> Name {
        let number = if self.number.is_empty() { b"0" } else { self.number };
        self.kind.iter().chain(number).copied().take(NAME_BYTES_MAX).collect()
    }

    /// What is measured: the property and then the unit follow the kind, `in0_input` is `in_volts`.
    fn metric(&self) -> Option<Metric> {
        // node_exporter calls this flag `in_lcrit_alarm_volts` and divides it by a thousand.
        if self.kind == b"in" && self.property == b"lcrit_alarm" {
            return Some(Metric::HwmonInLcritAlarm);
        }
        let unit: &[u8] = match self.kind {
            b"curr" => b"_amps",
            b"energy" => b"_joule_total",
            b"fan" => b"_rpm",
            b"in" => b"_volts",
            b"power" => b"_watt",
            b"temp" => b"_celsius",
            _ => b"",
        };
        match self.property {
            b"" | b"input" => metric(&[b"node_hwmon_", self.kind, unit]),
            property => metric(&[b"node_hwmon_", self.kind, b"_", property, unit]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn a_raspberry_pi_tells_its_supply_and_its_temperature() {
        let volt = b"device soc:firmware/raspberrypi-hwmon\nname rpi_volt\nin0_lcrit_alarm 1\n";
        check(
            |put| parse(b"hwmon1", volt, put),
            2,
            &[
                ("node_hwmon_chip_names{chip=\"soc:firmware_raspberrypi_hwmon\",chip_name=\"rpi_volt\"}", 1),
                ("outpost_hwmon_in_lcrit_alarm{chip=\"soc:firmware_raspberrypi_hwmon\",sensor=\"in0\"}", 1),
            ],
        );
        let thermal = b"device thermal/thermal_zone0\nname cpu_thermal\ntemp 48312\ntemp1_input 48312\n";
        check(
            |put| parse(b"hwmon0", thermal, put),
            3,
            &[
                ("node_hwmon_temp_celsius{chip=\"thermal_thermal_zone0\",sensor=\"temp0\"}", 48_312),
                ("node_hwmon_temp_celsius{chip=\"thermal_thermal_zone0\",sensor=\"temp1\"}", 48_312),
            ],
        );
    }

    #[test]
    fn a_server_board_is_read_in_full() {
        let text =
            b"device platform/nct6775.656\nname nct6798\ncurr1_input 2500\nenergy1_input 9000000\nfan2_input 1184\n\
                     in0_input 1016\npower1_average 15000000\npower1_input 14000000\ntemp1_crit 100000\n\
                     temp1_input -5500\ntemp1_label Package id 0\ntemp1_max 80000\npwm1 255\nfan2_min 0\n";
        let series = |name: &str, sensor: &str| format!("{name}{{chip=\"platform_nct6775_656\",sensor=\"{sensor}\"}}");
        check(
            |put| parse(b"hwmon2", text, put),
            11,
            &[
                (&series("node_hwmon_curr_amps", "curr1"), 2_500),
                (&series("node_hwmon_energy_joule_total", "energy1"), 9_000_000),
                (&series("node_hwmon_fan_rpm", "fan2"), 1_184),
                (&series("node_hwmon_in_volts", "in0"), 1_016),
                (&series("node_hwmon_power_average_watt", "power1"), 15_000_000),
                (&series("node_hwmon_power_watt", "power1"), 14_000_000),
                (&series("node_hwmon_temp_crit_celsius", "temp1"), 100_000),
                (&series("node_hwmon_temp_celsius", "temp1"), -5_500),
                ("node_hwmon_sensor_label{chip=\"platform_nct6775_656\",label=\"Package id 0\",sensor=\"temp1\"}", 1),
            ],
        );
    }

    #[test]
    fn a_chip_is_named_by_what_it_has() {
        let name = |text: &str| cleaned(&[text.as_bytes()]);
        assert_eq!(chip(b"hwmon3", b"nvme0", &name("nvme")), name("nvme0"));
        assert_eq!(chip(b"hwmon3", b"", &name("w1 slave°")), name("w1_slave"));
        assert_eq!(chip(b"hwmon3", b"-/-", &name("")), name("hwmon3"));
        assert_eq!(cleaned(&[&[b'x'; 200]]).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn only_known_files_are_read() {
        for (file_name, expected) in [
            ("name", Reads::Once),
            ("temp1_label", Reads::Once),
            ("temp", Reads::Always),
            ("temp1_input", Reads::Always),
            ("in0_lcrit_alarm", Reads::Always),
            ("temp1_crit_hyst", Reads::Never),
            ("temp1_", Reads::Never),
            ("temp1input", Reads::Never),
            ("pwm1", Reads::Never),
            ("uevent", Reads::Never),
            ("", Reads::Never),
        ] {
            assert_eq!(reads(file_name.as_bytes()), expected, "{file_name}");
        }
    }
}
