//! `/proc/net/sockstat` and `/proc/net/sockstat6`: sockets in use.

use crate::probe::put::{Put, metric};
use crate::probe::text::{fields, lines, split_once, unsigned};

/// Puts what the catalogue knows. `mem` counts pages of `page_bytes`, and is put as bytes as well.
///
/// Source: `proc_pid_net(5)`; `sockstat_seq_show` of the kernel.
pub fn parse(bytes: &[u8], page_bytes: u32, put: &mut Put<'_>) {
    for line in lines(bytes) {
        let Some((protocol, rest)) = split_once(line, b':') else { continue };
        let mut fields = fields(rest);
        while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
            let Some(value) = unsigned(value) else { continue };
            if let Some(found) = metric(&[b"node_sockstat_", protocol, b"_", key]) {
                put(found, &[], value);
            }
            if let Some(found) = metric(&[b"node_sockstat_", protocol, b"_", key, b"_bytes"]) {
                put(found, &[], value.saturating_mul(i64::from(page_bytes)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{board, check};

    #[test]
    fn a_machine_is_read_in_full() {
        check(
            |put| {
                parse(board!("vm/proc/net/sockstat"), 4096, put);
                parse(board!("vm/proc/net/sockstat6"), 4096, put);
            },
            20,
            &[
                ("node_sockstat_sockets_used", 12),
                ("node_sockstat_TCP_alloc", 2),
                ("node_sockstat_TCP_mem", 137),
                ("node_sockstat_TCP_mem_bytes", 137 * 4096),
                ("node_sockstat_FRAG6_memory", 0),
            ],
        );
    }

    #[test]
    fn odd_lines_are_skipped() {
        check(
            |put| parse(b"TCP inuse 1\nTCP: inuse\nUDP: inuse x mem 1\n", 1 << 16, put),
            2,
            &[("node_sockstat_UDP_mem", 1), ("node_sockstat_UDP_mem_bytes", 65_536)],
        );
    }
}
