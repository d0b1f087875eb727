//! What the kernel's log and its counters say of cards that fail and of memory that ran out.
//!
//! ```text
//!  3,812,98765432,-;mmcblk0: error -110 transferring data, sector 2048, nr 8
//!  priority and facility, number, microseconds since boot, flags; the message
//! ```
//!
//! Source: `Documentation/ABI/testing/dev-kmsg`; messages of `drivers/mmc`, `block/blk-core.c`, `fs/ext4/super.c` and `mm/oom_kill.c`.

use wire::event::{Text, text};
use wire::time::{Instant, Span};
use wire::trouble::{Subject, Trouble, subject};

use super::Say;
use crate::watch::lasting::{Lasting, Patience};

/// Less important messages, from `notice` on, are no errors (`include/linux/kern_levels.h`).
const WARNING: u32 = 4;

/// Both words of one pair say that a card or disk has failed, in small letters.
const ERRORS: [(&str, &str); 6] = [
    ("mmc", "error"),
    ("mmc", "timeout"),
    ("mmc", "crc"),
    ("i/o error", "dev "),
    ("ext4-fs error", ""),
    ("jbd2", "i/o error"),
];

/// Drives that are empty, and devices that are none.
const NO_CARDS: [&str; 4] = ["dev fd", "dev sr", "dev loop", "dev nbd"];

const CARD: Patience = Patience { hold: Span(0), rest: Span::minutes(60) };

/// A container that runs against its own bound time and again is said once.
const MEMORY: Patience = Patience { hold: Span(0), rest: Span::minutes(60) };

/// What the kernel said since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    error_count: u32,
    error_line: Text,
    card: Lasting,
    memory: Lasting,
    killed: Option<i64>,
    killed_count: u32,
    victim: Option<Subject>,
}

impl Kernel {
    /// Takes records of `/dev/kmsg`.
    pub(super) fn read(&mut self, records: &[u8]) {
        for record in records.split(|byte| *byte == b'\n') {
            let Some((message, level)) = message(record) else { continue };
            if let Some((_, victim)) = message.split_once("Killed process ") {
                let name =
                    victim.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name);
                self.victim = Some(subject(name.as_bytes()));
            }
            let lower = message.to_ascii_lowercase();
            let is_error = |(one, other): &(&str, &str)| lower.contains(one) && lower.contains(other);
            let is_none = NO_CARDS.iter().any(|device| lower.contains(device));
            if level <= WARNING && !is_none && ERRORS.iter().any(is_error) {
                if self.error_count == 0 {
                    self.error_line = text(message);
                }
                self.error_count = self.error_count.saturating_add(1);
            }
        }
    }

    /// Takes how many processes the kernel has killed for want of memory.
    pub(super) fn put_killed(&mut self, count: i64) {
        let before = self.killed.replace(count).unwrap_or(count);
        self.killed_count = u32::try_from(count.saturating_sub(before).max(0)).unwrap_or(u32::MAX);
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        let count = std::mem::take(&mut self.error_count);
        let errors = || Trouble::CardErrors { count, line: self.error_line.clone() };
        self.card.update(now, count > 0, CARD, |change| say(errors(), change));
        let count = std::mem::take(&mut self.killed_count);
        let killed = || Trouble::OutOfMemory { count, victim: self.victim.clone() };
        self.memory.update(now, count > 0, MEMORY, |change| say(killed(), change));
    }
}

/// The message of a record, and its level. Lines that go on with a record before have none.
fn message(record: &[u8]) -> Option<(&str, u32)> {
    let (head, message) = str::from_utf8(record).ok()?.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    Some((message, priority & 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_log_is_borne() {
        let mut kernel = Kernel::default();
        let pieces: [&[u8]; 8] = [b"3,1,2,-;", b"mmc", b"error", b"Killed process ", b"(", b")", b"\n", b"\xff\0"];
        let mut random = 1u64;
        let mut records = Vec::new();
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            records.extend_from_slice(pieces[(random >> 60) as usize % pieces.len()]);
        }
        kernel.read(&records);
        assert!(kernel.error_count > 0 && kernel.victim.is_some());
        let mut said = 0;
        kernel.end_tick(Instant(0), &mut |_, _| {
            said += 1;
            true
        });
        assert_eq!(said, 1);
    }

    #[test]
    fn a_counter_that_begins_anew_is_no_kill() {
        let mut kernel = Kernel::default();
        for (count, expected) in [(7, 0), (7, 0), (9, 2), (1, 0), (i64::MIN, 0), (i64::MAX, u32::MAX)] {
            kernel.put_killed(count);
            assert_eq!(kernel.killed_count, expected);
        }
    }
}
