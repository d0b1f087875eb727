//! Numbers as people read them: with the unit that the metric's name says, and no more digits than help.
//!
//! | name ends in | shown as |
//! |---|---|
//! | `_bytes` | `512 B`, `1.50 KiB`, `23.4 MiB` |
//! | `_seconds` | `12.50 ms`, `3.20 s`, `2h05m`, `41d03h` |
//! | `_time_seconds`, `_timestamp_seconds` | `2026-01-01 12:30` |
//! | `_ratio`, `_percent` | `42.1 %` |
//! | `_celsius`, `_volts`, `_amperes`, `_watts`, `_joules`, `_hertz`, `_dbm`, `_meters` | `41.5 °C`, `12.1 V`, `1.20 GHz` |
//! | `_zone_temp`, `_amps`, `_watt`, `_joule` | the same, as node_exporter has them |
//! | anything else | `0.42`, `1234`, `12.3 M` |
//!
//! A `_total` behind the unit is passed over, but what is counted is never a moment. A rate of bytes is per second; a rate of seconds is a share of the time, so
//! `rate(node_cpu_seconds_total[5m])` is shown in percent. What a link costs is counted as [providers do](billed). Source: Prometheus, "Metric and label naming".

use alloc::format;
use alloc::string::{String, ToString};

use crate::time::Civil;

/// How a metric's values are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, in powers of 1024.
    Bytes,
    /// A number and nothing else.
    Plain,
    /// A share of one hundred.
    Percent,
    /// A share of one.
    Ratio,
    /// A span of time.
    Seconds,
    /// A unit with a symbol, in powers of 1000.
    Symbol(&'static str),
    /// Seconds since 1970.
    Timestamp,
}

/// A unit, of the values or of their change per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The unit.
    pub unit: Unit,
    /// Whether it is per second.
    pub is_per_second: bool,
}

impl Shown {
    /// How values of the metric `name`, or their rates, are to be shown.
    pub fn of(name: &str, is_rate: bool) -> Shown {
        let (name, is_total) = name.strip_suffix("_total").map_or((name, false), |name| (name, true));
        let ends = |suffix: &str| name.ends_with(suffix);
        let unit = match () {
            () if ends("_bytes") => Unit::Bytes,
            () if !is_total && (ends("_time_seconds") || ends("_timestamp_seconds")) => Unit::Timestamp,
            () if ends("_seconds") => Unit::Seconds,
            () if ends("_ratio") => Unit::Ratio,
            () if ends("_percent") => Unit::Percent,
            () if ends("_celsius") || ends("_zone_temp") => Unit::Symbol("°C"),
            () if ends("_volts") => Unit::Symbol("V"),
            () if ends("_amperes") || ends("_amps") => Unit::Symbol("A"),
            () if ends("_watts") || ends("_watt") => Unit::Symbol("W"),
            () if ends("_joules") || ends("_joule") => Unit::Symbol("J"),
            () if ends("_hertz") => Unit::Symbol("Hz"),
            () if ends("_dbm") => Unit::Symbol("dBm"),
            () if ends("_meters") => Unit::Symbol("m"),
            () => Unit::Plain,
        };
        match unit {
            // Seconds per second have no unit left.
            Unit::Seconds | Unit::Timestamp if is_rate => Shown { unit: Unit::Ratio, is_per_second: false },
            unit => Shown { unit, is_per_second: is_rate },
        }
    }

    /// `value` with its unit.
    pub fn format(self, value: f64) -> String {
        let per = if self.is_per_second { "/s" } else { "" };
        if !value.is_finite() {
            return value.to_string();
        }
        match self.unit {
            Unit::Bytes => prefixed(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], per),
            Unit::Percent => format!("{} %{per}", fixed(value)),
            Unit::Plain if value.abs() < 1e6 => format!("{}{per}", significant(value)),
            Unit::Plain => prefixed(value, 1000.0, &["", "k", "M", "G", "T", "P", "E"], per),
            Unit::Ratio => format!("{} %{per}", fixed(value * 100.0)),
            Unit::Seconds => format!("{}{per}", seconds(value)),
            Unit::Symbol(symbol) if value.abs() < 1000.0 => format!("{} {symbol}{per}", fixed(value)),
            Unit::Symbol(symbol) => {
                prefixed(value, 1000.0, &["", "k", "M", "G", "T"], "").trim_end().to_string() + symbol + per
            }
            Unit::Timestamp if (0.0..=2e11).contains(&value) => {
                let civil = Civil::of((value * 1000.0) as u64);
                format!("{} {}", civil.date(), &civil.clock()[..5])
            }
            Unit::Timestamp => significant(value),
        }
    }
}

/// A span: the two largest units from two minutes on, seconds and their parts below.
fn seconds(value: f64) -> String {
    let size = value.abs();
    let sign = if value < 0.0 { "-" } else { "" };
    if size >= 1e13 {
        return format!("{} s", significant(value));
    }
    let whole = size as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600, whole / 60);
    match () {
        () if size == 0.0 => "0 s".to_string(),
        () if size < 0.000_999_5 => format!("{sign}{} µs", significant(size * 1e6)),
        () if size < 0.9995 => format!("{sign}{} ms", significant(size * 1e3)),
        () if size < 120.0 => format!("{sign}{} s", significant(size)),
        () if hours == 0 => format!("{sign}{minutes}m{:02}s", whole % 60),
        () if days < 2 => format!("{sign}{hours}h{:02}m", minutes % 60),
        () => format!("{sign}{days}d{:02}h", hours % 24),
    }
}

/// Three digits and the largest prefix that leaves one before the point.
fn prefixed(value: f64, base: f64, prefixes: &[&str], per: &str) -> String {
    let mut rest = value;
    let mut index = 0;
    // What would be shown as 1024 MiB is a GiB.
    while rest.abs() >= base * 0.9995 && index + 1 < prefixes.len() {
        rest /= base;
        index += 1;
    }
    let number = if index == 0 { significant(rest) } else { three(rest) };
    let text = format!("{number} {}{per}", prefixes[index]);
    text.trim_end().to_string()
}

/// One digit behind the point: for values that are compared down a column.
fn fixed(value: f64) -> String {
    let text = format!("{value:.1}");
    if text == "-0.0" { "0.0".to_string() } else { text }
}

/// Three digits, four before the point at the most.
fn three(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A whole number whole, anything else with two digits behind the point, or as many as it takes to say something.
fn significant(value: f64) -> String {
    let size = value.abs();
    if size < 1e15 && value % 1.0 == 0.0 {
        return format!("{}", value as i64);
    }
    match size {
        _ if !(1e-6..1e15).contains(&size) => format!("{value:.2e}"),
        _ if size < 0.000_995 => format!("{value:.6}"),
        _ if size < 0.099_5 => format!("{value:.4}"),
        _ if size < 999.5 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// The units of what is billed.
const BILLED: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];

/// A count of bytes as providers bill them, in decimal units with three digits: `999 B`, `1.00 KB`, `23.4 MB`.
pub fn billed(count: impl Into<u128>) -> String {
    let mut value = count.into() as f64;
    let mut names = BILLED.iter().peekable();
    while let Some(name) = names.next() {
        if value < 999.5 || names.peek().is_none() {
            let decimals = match value {
                _ if *name == BILLED[0] => 0,
                ..9.995 => 2,
                ..99.95 => 1,
                _ => 0,
            };
            return format!("{value:.decimals$} {name}");
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: f64, expected: &str) {
        assert_eq!(Shown::of(name, false).format(value), expected, "{name} {value}");
    }

    fn check_rate(name: &str, value: f64, expected: &str) {
        assert_eq!(Shown::of(name, true).format(value), expected, "{name} {value}");
    }

    #[test]
    fn bytes_have_binary_prefixes() {
        check("x_bytes", 0.0, "0 B");
        check("x_bytes", 512.0, "512 B");
        check("x_bytes", 1536.0, "1.50 KiB");
        check("x_bytes", 24_536_678.0, "23.4 MiB");
        check("x_bytes", 1_073_741_823.0, "1.00 GiB");
        check("x_bytes_total", -2048.0, "-2.00 KiB");
        check("x_bytes", f64::MAX, &format!("{:.0} EiB", f64::MAX / 1024f64.powi(6)));
        check_rate("x_bytes_total", 2048.0, "2.00 KiB/s");
    }

    #[test]
    fn seconds_are_spans_and_their_rate_is_a_share() {
        check("x_seconds", 0.0, "0 s");
        check("x_seconds", 0.000_35, "350 µs");
        check("x_seconds", 0.0125, "12.50 ms");
        check("x_seconds", 0.9999, "1.00 s");
        check("x_seconds", 59.5, "59.50 s");
        check("x_seconds", -200.0, "-3m20s");
        check("x_seconds_total", 7500.0, "2h05m");
        check("x_seconds_total", 3_553_200.0, "41d03h");
        check("x_seconds", 1e300, "1.00e300 s");
        check_rate("node_cpu_seconds_total", 0.4213, "42.1 %");
        check("node_boot_time_seconds", 1_767_225_600.0, "2026-01-01 00:00");
        check("node_boot_time_seconds", -1.0, "-1");
        check("node_disk_io_time_seconds_total", 7500.0, "2h05m");
        check_rate("node_disk_io_time_seconds_total", 0.4213, "42.1 %");
    }

    #[test]
    fn other_units_have_their_symbols() {
        check("x_ratio", 0.0523, "5.2 %");
        check("x_percent", 99.96, "100.0 %");
        check("x_celsius", -0.04, "0.0 °C");
        check("x_celsius", 41.46, "41.5 °C");
        check("x_hertz", 1_200_000_000.0, "1.20 GHz");
        check("x_volts", 12.06, "12.1 V");
        check("node_thermal_zone_temp", 48.312, "48.3 °C");
        check("node_hwmon_curr_amps", 2.5, "2.5 A");
        check("node_hwmon_power_average_watt", 15.0, "15.0 W");
        check("node_hwmon_energy_joule_total", 9000.0, "9.00 kJ");
    }

    #[test]
    fn plain_numbers_have_the_digits_that_help() {
        check("x", 0.0, "0");
        check("x", 0.4213, "0.42");
        check("x", 1.0, "1");
        check("x", 12.345, "12.35");
        check("x", 1234.5, "1234");
        check("x", 123_456.0, "123456");
        check("x", 123_456.7, "123457");
        check("x", 12_345_678.0, "12.3 M");
        check("x", 0.000_012_3, "0.000012");
        check("x", 1e-9, "1.00e-9");
        check("x", f64::NAN, "NaN");
        check_rate("x_total", 3.5, "3.50/s");
    }

    #[test]
    fn what_is_billed_has_three_digits_and_decimal_units() {
        let check = |count: u64, expected| assert_eq!(billed(count), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.00 KB");
        check(9_994, "9.99 KB");
        check(9_996, "10.0 KB");
        check(99_960, "100 KB");
        check(999_499, "999 KB");
        check(999_500, "1.00 MB");
        check(u64::MAX, "18.4 EB");
        assert_eq!(billed(8 * u128::from(u64::MAX)), "148 EB");
    }
}
