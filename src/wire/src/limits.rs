//! Every capacity, with its unit and its reason.
//!
//! Whoever fills one of these has a case for "full": refuse, evict and say so, or wait.

use crate::time::Span;

/// Series in one generation of a gateway's dictionary. A server of 64 cores and 40 disks has some 1,700.
pub const SERIES_COUNT_MAX: usize = 4096;

/// Series of which quantiles are kept. A sketch takes up to 2 KB, and there are four of each.
pub const SKETCHED_COUNT_MAX: usize = 32;

/// Bytes of the state that an encoder keeps for a run of [`SERIES_COUNT_MAX`] series; for the 150 of a small machine it is 58 KB.
/// A decoder keeps less.
pub const CODEC_BYTES_MAX: usize = 1536 * 1024;

/// Bytes of the names and labels of all series of one generation.
pub const DICTIONARY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a series' label text, `name="value"` pairs with their commas. The longest seen in the field are mount
/// points under `/var/lib/kubelet`, near 200.
pub const LABELS_BYTES_MAX: usize = 320;

/// Time that an [extract](crate::stream::Stream::Extract) covers: a question about later ticks need not look at it.
pub const EXTRACT_SPAN_MAX: Span = Span::minutes(180);

/// Bytes of the selector by which the hub asks for series: with what stands beside it, it fits a frame.
pub const SELECTOR_BYTES_MAX: usize = 512;

/// Bytes of a metric's name.
pub const NAME_BYTES_MAX: usize = 96;

/// Ticks in one run: an hour at ten seconds. A damaged batch costs the rest of its run, so runs stay short.
pub const RUN_TICKS_MAX: u32 = 360;

/// Bytes of a whole record: a batch just short of its target, one more tick of [`SERIES_COUNT_MAX`] series at their longest, and
/// its header.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;

/// Bytes at which a batch of ticks is closed early. Several batches fit into one group commit.
pub const BATCH_BYTES_TARGET: usize = 8 * 1024;

/// Bytes of one message on the link: a record with its checksum, or a welcome with every range.
pub const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 4;

/// Bytes of one frame's payload, so that a frame with its header fits a path datagram of 1,280 bytes (the
/// smallest MTU of IPv6, RFC 8200 section 5) under either carrier.
pub const FRAME_BYTES_MAX: usize = 1180;

/// Ranges in a set of sequence numbers. Newest-first draining leaves two or three; each lost datagram one more.
pub const RANGES_COUNT_MAX: usize = 32;

/// Ranges above the cumulative number in one ack.
pub const ACK_RANGES_MAX: usize = 8;

/// Batches sent and not yet acked on one link.
pub const IN_FLIGHT_COUNT_MAX: usize = 64;

/// Bytes sent and not yet acked on one link, or one batch that is longer.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of packets on their way: half of what a link may take of a small machine's memory. It fills 420 kbit/s over a
/// satellite of 600 ms.
pub const WINDOW_BYTES_MAX: usize = 32_000;

/// Bytes of a host name (RFC 1035 section 2.3.4) or of a device's name at the hub.
pub const HOSTNAME_BYTES_MAX: usize = 255;

/// Bytes of a bearer's name: IFNAMSIZ of linux/if.h, less the NUL.
pub const BEARER_BYTES_MAX: usize = 15;

/// Bytes of a version string.
pub const VERSION_BYTES_MAX: usize = 64;

/// Bytes of a free text inside an event or a close.
pub const TEXT_BYTES_MAX: usize = 200;

/// Bytes of the name of what has a trouble. Mount points of gateways are short; a longer one is cut.
pub const SUBJECT_BYTES_MAX: usize = 64;

/// Series of a gateway that a detector looks at: 308 bytes each.
pub const WATCHED_COUNT_MAX: usize = 32;

/// Metrics that are named when a machine as a whole is not itself.
pub const BLAMED_COUNT_MAX: usize = 5;

// A batch that was closed at its target, with one more tick at its longest, is still a record.
const _: () = assert!(BATCH_BYTES_TARGET + codec::run::tick_bytes_max(SERIES_COUNT_MAX) + 512 <= RECORD_BYTES_MAX);
const _: () = assert!(SERIES_COUNT_MAX <= u16::MAX as usize);
const _: () = assert!(MESSAGE_BYTES_MAX < 1 << 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_of_as_many_series_as_there_may_be_keeps_within_its_bound() {
        let mut encoder = codec::run::Encoder::new(SERIES_COUNT_MAX);
        let mut out = alloc::vec::Vec::new();
        for tick in 0..40 {
            let value = |slot: usize| Some((slot as i64 + 3) * tick * tick % 1_000_003);
            let values: alloc::vec::Vec<Option<i64>> = (0..SERIES_COUNT_MAX).map(value).collect();
            encoder.encode(tick as u64, &values, &mut out);
        }
        let bytes = encoder.state_bytes();
        assert!((CODEC_BYTES_MAX / 2..=CODEC_BYTES_MAX).contains(&bytes), "{bytes}");
    }
}
