//! The fitted load as node_exporter would export it, for the encoders of others.
//!
//! ```text
//! kind,counter,gauge,..
//! timestamp_ms,"node_cpu_seconds_total{cpu=""0"",mode=""user""}",node_load1,..
//! 1750000000000,31.71,1.32,..
//! ```
//!
//! From the second line on it is a trace, as `outpost bench codec` reads it. Names, labels and units are those of node_exporter:
//! what is a few jiffies to the kernel is a fraction of a second on other people's wires.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::fit::{Fit, Motion};
use crate::fitted::Fitted;

/// When the first tick is: 2025-06-15T15:06:40Z.
const BEGIN_MS: u64 = 1_750_000_000_000;

/// Writes so many ticks that are `interval_ms` apart.
///
/// Errors: what `out` said.
pub fn write(fit: &Fit, seed: u64, tick_count: u64, interval_ms: u64, out: &mut impl Write) -> io::Result<()> {
    let exported: Vec<Exported> = fit.names().map(Exported::of).collect();
    // Of what never changed, the name says what it is.
    let is_counter = |(index, series): (usize, &Exported)| match fit.series[index].motion {
        Motion::Constant => series.name.contains("_total"),
        _ => fit.is_counter(index),
    };
    let kinds = exported.iter().enumerate().map(|place| if is_counter(place) { ",counter" } else { ",gauge" });
    writeln!(out, "kind{}", kinds.collect::<String>())?;
    let quoted = |series: &Exported| format!(",\"{}\"", series.name.replace('"', "\"\""));
    writeln!(out, "timestamp_ms{}", exported.iter().map(quoted).collect::<String>())?;
    let (mut fitted, mut values) = (Fitted::new(fit, seed), Vec::new());
    for tick in 0..tick_count {
        fitted.tick(&mut values);
        let mut line = (BEGIN_MS + tick * interval_ms).to_string();
        for (series, value) in exported.iter().zip(&values) {
            line.push(',');
            series.unit.put(*value, &mut line);
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// How one of the kernel's series is called and counted elsewhere.
struct Exported {
    /// With its labels.
    name: String,
    unit: Unit,
}

/// What one of the kernel's counts is worth: `factor / 10^digits`.
struct Unit {
    factor: i64,
    digits: u32,
}

const ONE: Unit = Unit { factor: 1, digits: 0 };
const HUNDREDTHS: Unit = Unit { factor: 1, digits: 2 };
const THOUSANDTHS: Unit = Unit { factor: 1, digits: 3 };
const MILLIONTHS: Unit = Unit { factor: 1, digits: 6 };
const SECTORS: Unit = Unit { factor: 512, digits: 0 };
const KIBIBYTES: Unit = Unit { factor: 1024, digits: 0 };
const BLOCKS: Unit = Unit { factor: 4096, digits: 0 };

impl Unit {
    /// As the shortest decimal.
    fn put(&self, value: i64, line: &mut String) {
        let value = i128::from(value) * i128::from(self.factor);
        let (power, digits) = (10u128.pow(self.digits), self.digits as usize);
        let (whole, rest) = (value.unsigned_abs() / power, value.unsigned_abs() % power);
        let sign = if value < 0 { "-" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(line, "{sign}{whole}");
        if rest > 0 {
            let _ = write!(line, ".{}", format!("{rest:0digits$}").trim_end_matches('0'));
        }
    }
}

impl Exported {
    fn of(name: &str) -> Exported {
        let (family, field) = name.split_once('.').unwrap_or(("", name));
        let (name, unit) = match family {
            "" => plain(field),
            "fs" => filesystem(field),
            "Ip" | "IpExt" | "Tcp" | "TcpExt" | "Udp" => (format!("node_netstat_{family}_{field}"), ONE),
            "mem" => (format!("node_memory_{}_bytes", field.replace('(', "_").replace(')', "")), KIBIBYTES),
            "psi" => (format!("node_pressure_{}_seconds_total", pressure(field)), MILLIONTHS),
            "sock" => (format!("node_sockstat_{}", field.replace('.', "_")), ONE),
            "softirq" => (format!("node_softirqs_functions_total{{type=\"{field}\"}}"), ONE),
            "vda" => disk(family, field),
            "vm" => (format!("node_vmstat_{field}"), ONE),
            _ => match family.strip_prefix("cpu") {
                Some(cpu) => (format!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{field}\"}}"), HUNDREDTHS),
                None => (network(family, field), ONE),
            },
        };
        Exported { name, unit }
    }
}

fn plain(name: &str) -> (String, Unit) {
    match name {
        "ctxt" => ("node_context_switches_total".into(), ONE),
        "file_nr" => ("node_filefd_allocated".into(), ONE),
        "forks" | "intr" => (format!("node_{name}_total"), ONE),
        "load1" | "load5" | "load15" => (format!("node_{name}"), HUNDREDTHS),
        "uptime" => ("node_uptime_seconds".into(), HUNDREDTHS),
        _ => (format!("node_{name}"), ONE),
    }
}

fn filesystem(field: &str) -> (String, Unit) {
    let (metric, unit) = match field {
        "bavail" => ("avail_bytes", BLOCKS),
        "bfree" => ("free_bytes", BLOCKS),
        _ => ("files_free", ONE),
    };
    (format!("node_filesystem_{metric}{{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"}}"), unit)
}

fn pressure(field: &str) -> String {
    field.replace(".some", "_waiting").replace(".full", "_stalled")
}

fn disk(device: &str, field: &str) -> (String, Unit) {
    let (metric, unit) = match field {
        "dc_ios" => ("discards_completed_total", ONE),
        "dc_merges" => ("discards_merged_total", ONE),
        "dc_sectors" => ("discarded_sectors_total", ONE),
        "dc_ticks" => ("discard_time_seconds_total", THOUSANDTHS),
        "fl_ios" => ("flush_requests_total", ONE),
        "fl_ticks" => ("flush_requests_time_seconds_total", THOUSANDTHS),
        "in_flight" => ("io_now", ONE),
        "io_ticks" => ("io_time_seconds_total", THOUSANDTHS),
        "rd_ios" => ("reads_completed_total", ONE),
        "rd_merges" => ("reads_merged_total", ONE),
        "rd_sectors" => ("read_bytes_total", SECTORS),
        "rd_ticks" => ("read_time_seconds_total", THOUSANDTHS),
        "time_in_queue" => ("io_time_weighted_seconds_total", THOUSANDTHS),
        "wr_ios" => ("writes_completed_total", ONE),
        "wr_merges" => ("writes_merged_total", ONE),
        "wr_sectors" => ("written_bytes_total", SECTORS),
        "wr_ticks" => ("write_time_seconds_total", THOUSANDTHS),
        other => (other, ONE),
    };
    (format!("node_disk_{metric}{{device=\"{device}\"}}"), unit)
}

fn network(device: &str, field: &str) -> String {
    let metric = field.replace("rx_", "receive_").replace("tx_", "transmit_");
    format!("node_network_{metric}_total{{device=\"{device}\"}}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(name: &str, value: i64, expected_name: &str, expected_value: &str) {
        let series = Exported::of(name);
        let mut text = String::new();
        series.unit.put(value, &mut text);
        assert_eq!((series.name.as_str(), text.as_str()), (expected_name, expected_value));
    }

    #[test]
    fn a_series_has_the_name_and_the_unit_that_node_exporter_gives_it() {
        check("cpu1.user", 3171, "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}", "31.71");
        check("mem.Active(anon)", 3, "node_memory_Active_anon_bytes", "3072");
        check("psi.io.full", 1_500_000, "node_pressure_io_stalled_seconds_total", "1.5");
        check("vda.wr_sectors", 2, "node_disk_written_bytes_total{device=\"vda\"}", "1024");
        check("eth0.rx_bytes", -7, "node_network_receive_bytes_total{device=\"eth0\"}", "-7");
        check("load1", -5, "node_load1", "-0.05");
        check("sock.TCP.tw", 0, "node_sockstat_TCP_tw", "0");
    }

    #[test]
    fn no_two_series_of_the_host_become_one() {
        let fit = Fit::host();
        let names: BTreeSet<String> = fit.names().map(|name| Exported::of(name).name).collect();
        assert_eq!(names.len(), fit.series.len());
    }

    #[test]
    fn there_is_a_line_for_the_kinds_one_for_the_names_and_one_a_tick() {
        let fit = Fit::parse("factors\ncounter 5 0 9 2 0  0:1,10000:1 cpu0.user\ngauge 7 7 7 1 0  0:0,10000:0 load1\n");
        let mut out = Vec::new();
        write(&fit.unwrap(), 1, 2, 10_000, &mut out).unwrap();
        let expected = "kind,counter,gauge\n\
            timestamp_ms,\"node_cpu_seconds_total{cpu=\"\"0\"\",mode=\"\"user\"\"}\",\"node_load1\"\n\
            1750000000000,0.07,0.07\n1750000010000,0.09,0.07\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
