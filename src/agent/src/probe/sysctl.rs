//! `/proc/sys`: limits, and what is used of them.
//!
//! The text is that of a folder of attributes, named by their path below `/proc/sys`.

use wire::metric::Metric;

use crate::probe::put::Put;
use crate::probe::text::{attributes, fields, unsigned};

/// The attributes to render, in this order.
pub const ATTRIBUTES: [&str; 7] = [
    "fs/file-nr",
    "kernel/pid_max",
    "kernel/random/entropy_avail",
    "kernel/random/poolsize",
    "kernel/threads-max",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
];

/// Puts the attributes that are there.
///
/// Source: `Documentation/admin-guide/sysctl`; `random(4)`; `Documentation/networking/nf_conntrack-sysctl.rst`.
pub fn parse(text: &[u8], put: &mut Put<'_>) {
    for (attribute, value) in attributes(text) {
        let metric = match attribute {
            b"fs/file-nr" => {
                parse_file_nr(value, put);
                continue;
            }
            b"kernel/pid_max" => Metric::ProcessesMaxProcesses,
            b"kernel/random/entropy_avail" => Metric::EntropyAvailable,
            b"kernel/random/poolsize" => Metric::EntropyPoolSize,
            b"kernel/threads-max" => Metric::ProcessesMaxThreads,
            b"net/netfilter/nf_conntrack_count" => Metric::ConntrackEntries,
            b"net/netfilter/nf_conntrack_max" => Metric::ConntrackEntriesLimit,
            _ => continue,
        };
        if let Some(value) = unsigned(value) {
            put(metric, &[], value);
        }
    }
}

/// Allocated, free (always 0 since 2.6), maximum. The maximum is 2^63 - 1 where nobody set one.
fn parse_file_nr(value: &[u8], put: &mut Put<'_>) {
    let numbers = fields(value).map(unsigned);
    for (metric, number) in [Some(Metric::FilefdAllocated), None, Some(Metric::FilefdMaximum)].into_iter().zip(numbers)
    {
        if let (Some(metric), Some(number)) = (metric, number) {
            put(metric, &[], number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::check;

    #[test]
    fn every_attribute_is_read() {
        let text = b"fs/file-nr 430\t0\t9223372036854775807\nkernel/pid_max 32768\nkernel/random/entropy_avail 256\n\
                     kernel/random/poolsize 256\nkernel/threads-max 192730\nnet/netfilter/nf_conntrack_count 7\n\
                     net/netfilter/nf_conntrack_max 262144\n";
        check(
            |put| parse(text, put),
            8,
            &[
                ("node_filefd_allocated", 430),
                ("node_filefd_maximum", i64::MAX),
                ("node_processes_max_processes", 32_768),
                ("node_entropy_available_bits", 256),
                ("node_nf_conntrack_entries", 7),
            ],
        );
    }

    #[test]
    fn odd_values_are_skipped() {
        check(|put| parse(b"fs/file-nr 430\nkernel/pid_max many\nkernel/osrelease 6\n", put), 1, &[]);
    }
}
