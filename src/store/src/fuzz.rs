//! Entry points for fuzzing: what arrives at the store from outside. None of them may panic.

use std::sync::Arc;

use query::selector::Selector;
use wire::id::{DeviceId, JournalId, Seq};
use wire::record::{Header, seal};
use wire::stream::Stream;
use wire::time::{BootId, Instant, Stamp, UnixTime};

use crate::Store;
use crate::change::Change;
use crate::range;
use disk::memory::Memory;

/// What a target does with the bytes.
pub type Target = fn(&[u8]);

/// Every target, with its name.
pub const TARGETS: &[(&str, Target)] = &[("store_records", records)];

/// Stores the bytes as records whose checksums are right, and asks everything about them.
///
/// ```text
/// offset  field     meaning
/// 0       stream    number of the stream, modulo 8; 7 is a record of raw bytes
/// 1       behind    how far behind it the run's keyframe is, modulo 4
/// 2       uptime    seconds
/// 3       length    bytes of payload, then the next record
/// ```
fn records(mut bytes: &[u8]) {
    let device = DeviceId(1);
    let mut changes = Vec::new();
    let mut next = 0;
    while let [stream, behind, uptime, length, rest @ ..] = bytes {
        let (payload, after) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = after;
        let record = match Stream::try_from(stream % 8) {
            Ok(stream) => {
                let unix = Some(UnixTime(1_767_225_600_000 + u64::from(*uptime)));
                let stamp = Stamp { boot: BootId(1), uptime: Instant(u64::from(*uptime) * 1000), unix };
                let run = Seq(u64::saturating_sub(next, u64::from(behind % 4)));
                let mut record = Vec::new();
                seal(&Header { stream, seq: Seq(next), run, stamp }, payload, false, &mut record);
                record
            }
            Err(_) => payload.to_vec(),
        };
        next += 1;
        changes.push(Change::Record { device, journal: JournalId(1), record, received: UnixTime(0) });
    }
    let store = Store::open(Arc::new(Memory::default()), 1024 * 1024).expect("memory never refuses");
    store.commit(&changes).expect("memory never refuses");
    let selector = Selector::parse("{__name__=~\".+\"}").expect("it is a selector");
    let targets = [range::Target { device, labels: Vec::new(), default_labels: Vec::new() }];
    let (from, to) = (UnixTime(0), UnixTime(u64::MAX));
    // Too many samples is an answer too.
    let _ = store.range(&range::Question { selector: &selector, targets: &targets, from, to, samples_max: 10_000 });
    store.events(None, from, to, 100).expect("memory never refuses");
    store.latest(device).expect("memory never refuses");
    store.missing_dictionaries(device).expect("memory never refuses");
    store.audit(device).expect("memory never refuses");
    store.stat().expect("memory never refuses");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_end_in_an_answer() {
        let mut seed = 3u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..600).map(|_| random() >> (random() % 8)).collect();
            TARGETS.iter().for_each(|(_, target)| target(&bytes));
        }
    }
}
