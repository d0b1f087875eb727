//! `/sys/class/thermal/<zone>`: temperatures as the kernel's thermal framework sees them.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{attribute, signed};

/// The attributes to render; [`CONSTANT`] does not change.
pub const ATTRIBUTES: [&str; 1] = ["temp"];

/// The attribute that is read once.
pub const CONSTANT: &str = "type";

/// Puts the temperature of a zone, in thousandths of a degree Celsius, below zero as well.
///
/// `zone` is the folder's name, of which the label holds the number.
/// Source: `Documentation/ABI/testing/sysfs-class-thermal`.
pub fn parse(zone: &[u8], text: &[u8], put: &mut Put<'_>) {
    let number = zone.strip_prefix(b"thermal_zone").unwrap_or(zone);
    let kind = attribute(text, CONSTANT.as_bytes()).unwrap_or_default();
    if let Some(temperature) = attribute(text, b"temp").and_then(signed) {
        put(Metric::ThermalZoneTemp, &[("type", kind), ("zone", number)], temperature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn a_zone_is_read() {
        check(
            |put| parse(b"thermal_zone0", b"type cpu-thermal\ntemp 48312\n", put),
            1,
            &[("node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"0\"}", 48_312)],
        );
    }

    #[test]
    fn frost_is_below_zero_and_a_zone_that_fails_is_absent() {
        check(
            |put| parse(b"thermal_zone3", b"type x\ntemp -12500\n", put),
            1,
            &[("node_thermal_zone_temp{type=\"x\",zone=\"3\"}", -12_500)],
        );
        check(|put| parse(b"thermal_zone3", b"type x\n", put), 0, &[]);
    }
}
