//! `/proc/pressure/<resource>`: how long work waited for CPU, memory or I/O.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, unsigned};

/// Puts the totals of one resource, in microseconds; averages are left to whoever asks.
///
/// `some` is waiting and `full` is stalled. `full` of `cpu` is always zero for the whole machine and not put.
/// Source: `Documentation/accounting/psi.rst`.
pub fn parse(resource: &[u8], text: &[u8], put: &mut Put<'_>) {
    for line in lines(text) {
        let mut fields = fields(line);
        let metric = match (resource, fields.next()) {
            (b"cpu", Some(b"some")) => Metric::PressureCpuWaiting,
            (b"io", Some(b"some")) => Metric::PressureIoWaiting,
            (b"io", Some(b"full")) => Metric::PressureIoStalled,
            (b"irq", Some(b"full")) => Metric::PressureIrqStalled,
            (b"memory", Some(b"some")) => Metric::PressureMemoryWaiting,
            (b"memory", Some(b"full")) => Metric::PressureMemoryStalled,
            _ => continue,
        };
        if let Some(total) = fields.find_map(|field| field.strip_prefix(b"total=")).and_then(unsigned) {
            put(metric, &[], total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    const TEXT: &[u8] = b"some avg10=0.15 avg60=0.71 avg300=0.45 total=7069973\n\
                          full avg10=0.15 avg60=0.71 avg300=0.44 total=6793180\n";

    #[test]
    fn totals_are_microseconds() {
        check(
            |put| parse(b"io", TEXT, put),
            2,
            &[
                ("node_pressure_io_waiting_seconds_total", 7_069_973),
                ("node_pressure_io_stalled_seconds_total", 6_793_180),
            ],
        );
        check(|put| parse(b"cpu", TEXT, put), 1, &[("node_pressure_cpu_waiting_seconds_total", 7_069_973)]);
        check(|put| parse(b"irq", TEXT, put), 1, &[("node_pressure_irq_stalled_seconds_total", 6_793_180)]);
    }

    #[test]
    fn other_resources_and_odd_lines_are_skipped() {
        check(|put| parse(b"tea", TEXT, put), 0, &[]);
        check(|put| parse(b"io", b"some avg10=1\nfull total=-1\ntotal=3\n", put), 0, &[]);
    }
}
