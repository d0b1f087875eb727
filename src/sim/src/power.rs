//! A journal alone under the crash disk, and what must hold after every boot.
//!
//! The history is told by a seed: batches of all streams, commits, acks, slots, and power cuts at any storage call, also in the
//! middle of recovery. [`Ledger`] knows what was acknowledged and what the journal said is lost.

use std::collections::{BTreeMap, BTreeSet};

use journal::Journal;
use journal::journal::Settings;
use wire::batch;
use wire::class::Class;
use wire::event::Event;
use wire::id::{JournalId, Seq};
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{BootId, Instant, Stamp};

use crate::disk::{Cut, SimDisk};
use crate::losses::Losses;
use crate::rng::Rng;

/// A journal small enough to fold, evict and wrap within a short history.
pub const SMALL: Settings = Settings {
    bytes_max: 4 << 20,
    tail_bytes_max: 64 << 10,
    fold_bytes_min: 16 << 10,
    done_bytes_max: 1 << 20,
    ..Settings::DEFAULT
};

/// What one history did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Power cuts.
    pub cut_count: u64,
    /// Batches that were acknowledged as durable.
    pub acknowledged_count: u64,
    /// Volumes written, at least.
    pub volume_count: u64,
}

/// What must be true, whatever happens.
#[derive(Debug, Default)]
pub struct Ledger {
    id: Option<JournalId>,
    /// Acknowledged batches: the payload's checksum.
    durable: BTreeMap<(Stream, Seq), u32>,
    /// Appended and not yet acknowledged: any of them may survive.
    pending: BTreeMap<(Stream, Seq), u32>,
    /// Said to be lost in a durable event.
    lost: Losses,
    done: BTreeSet<(Stream, Seq)>,
}

impl Ledger {
    fn appended(&mut self, stream: Stream, seq: Seq, payload: &[u8]) -> Result<(), String> {
        if self.durable.contains_key(&(stream, seq)) {
            return Err(format!("{stream} {seq} was given out twice"));
        }
        self.pending.insert((stream, seq), crc32(payload));
        Ok(())
    }

    fn committed(&mut self) {
        self.durable.append(&mut self.pending);
    }

    /// Checks a journal that was just opened, or is asked in between.
    pub fn check(&mut self, journal: &mut Journal, now: Stamp) -> Result<(), String> {
        if *self.id.get_or_insert(journal.id()) != journal.id() {
            return Err(format!("the journal became {} after {:?}", journal.id(), self.id));
        }
        let mut record = Vec::new();
        self.lost.read(journal, now)?;
        // A batch in flight at the cut either survived, and then for good, or its number is free again.
        for (key @ (stream, seq), crc) in std::mem::take(&mut self.pending) {
            let read = journal.read(now, stream, seq, &mut record).map_err(|error| error.to_string())?;
            if read && payload_crc(&record)? == crc {
                self.durable.insert(key, crc);
            }
        }
        for ((stream, seq), crc) in &self.durable {
            let read = journal.read(now, *stream, *seq, &mut record).map_err(|error| error.to_string())?;
            let is_excused = self.lost.contains(*stream, *seq) || self.done.contains(&(*stream, *seq));
            match read {
                true if payload_crc(&record)? != *crc => return Err(format!("{stream} {seq} came back changed")),
                false if !is_excused => return Err(format!("{stream} {seq} was acknowledged and is gone unsaid")),
                _ => {}
            }
            if journal.next(*stream) <= *seq {
                return Err(format!("{stream} {seq} would be given out again"));
            }
        }
        Ok(())
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut hash = wire::batch::DictionaryHash::default();
    hash.update(bytes);
    hash.value()
}

fn payload_crc(record: &[u8]) -> Result<u32, String> {
    let record = Record::open(record).map_err(|error| format!("a damaged record was handed out: {error}"))?;
    Ok(crc32(record.payload(&mut Vec::new()).map_err(|error| error.to_string())?))
}

/// Plays one history with cuts of one kind. Every boot lasts at most `calls_max` storage calls.
///
/// Errors: what went wrong, in words.
pub fn history(seed: u64, cut: Cut, boot_count: u32, calls_max: u64) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.split());
    let mut ledger = Ledger::default();
    let mut tally = Tally::default();
    for boot in 0..boot_count {
        let now = Stamp { boot: BootId(boot), uptime: Instant(0), unix: None };
        // Three boots in ten lose power again before they are up.
        let is_cut_early = boot > 0 && rng.below(10) < 3;
        disk.cut_after(if is_cut_early { rng.between(1, 40) } else { rng.between(1, calls_max) });
        if let Ok(mut journal) = Journal::open(disk.folder(), SMALL, seed, now) {
            ledger.check(&mut journal, now)?;
            live(&mut journal, &mut ledger, &mut rng, now, &mut tally)?;
            tally.volume_count += journal.stat().volume_count as u64;
        }
        if !disk.is_dead() {
            return Err("the journal stopped although the power was on".into());
        }
        tally.cut_count += 1;
        disk.power_cycle(cut);
    }
    let now = Stamp::default();
    let mut journal = Journal::open(disk.folder(), SMALL, seed, now).map_err(|error| error.to_string())?;
    ledger.check(&mut journal, now)?;
    Ok(tally)
}

/// Plays one short history once for every storage call in it, with the power cut at that call and `image_count` images of
/// what survived, and reopens each. Returns how many images were opened.
///
/// Errors: what went wrong, in words.
pub fn every_call(seed: u64, calls_max: u64, image_count: u64) -> Result<u64, String> {
    let mut opened = 0;
    for call in 1..=calls_max {
        for cut in Cut::ALL {
            for image in 0..image_count {
                let told = |error| format!("call {call}, {cut:?}, image {image}: {error}");
                // The story is the same each time; only the disk's chance differs from image to image.
                let disk = SimDisk::new(Rng::new(seed ^ image << 32));
                let (mut rng, mut ledger, now) = (Rng::new(seed), Ledger::default(), Stamp::default());
                disk.cut_after(call);
                if let Ok(mut journal) = Journal::open(disk.folder(), SMALL, seed, now) {
                    live(&mut journal, &mut ledger, &mut rng, now, &mut Tally::default()).map_err(told)?;
                }
                disk.power_cycle(cut);
                let mut journal =
                    Journal::open(disk.folder(), SMALL, seed, now).map_err(|error| told(error.to_string()))?;
                ledger.check(&mut journal, now).map_err(told)?;
                opened += 1;
            }
        }
    }
    Ok(opened)
}

/// Writes until the power goes.
fn live(
    journal: &mut Journal,
    ledger: &mut Ledger,
    rng: &mut Rng,
    now: Stamp,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut runs: BTreeMap<Stream, Seq> = BTreeMap::new();
    loop {
        for _ in 0..rng.between(1, 4) {
            let stream = if rng.one_in(8) { Stream::Event } else { Stream::raw(*rng.choose(&Class::ALL)) };
            let mut payload = vec![0; rng.between(10, 1200) as usize];
            rng.fill(&mut payload);
            if stream == Stream::Event {
                payload.clear();
                batch::put_event(wire::time::Span(1), &Event::TicksMissed { count: rng.bits() as u32 }, &mut payload);
            } else if rng.one_in(10) {
                runs.remove(&stream);
            }
            let opened = runs.get(&stream).copied();
            let durable = journal.durable(stream);
            let Ok(seq) = journal.append(now, stream, opened, now, &payload, false) else { return Ok(()) };
            // Appending may have folded, and folding commits what waited.
            if journal.durable(stream) > durable {
                ledger.committed();
            }
            if stream != Stream::Event {
                runs.entry(stream).or_insert(seq);
            }
            ledger.appended(stream, seq, &payload)?;
        }
        if rng.one_in(20) {
            let mut value = vec![0; 30];
            rng.fill(&mut value);
            journal.set_slot(3, &value);
        }
        if rng.one_in(4) {
            let stream = Stream::raw(*rng.choose(&Class::ALL));
            let next = journal.durable(stream).0;
            if next > 0 {
                let first = rng.below(next);
                let range = SeqRange { first: Seq(first), last: Seq((first + rng.below(20)).min(next - 1)) };
                journal.ack(stream, range);
                ledger.done.extend((range.first.0..=range.last.0).map(|seq| (stream, Seq(seq))));
            }
        }
        let before = ledger.pending.len() as u64;
        if journal.commit(now).is_err() {
            return Ok(());
        }
        ledger.committed();
        tally.acknowledged_count += before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_at_every_storage_call_of_a_short_history_opens_again_whole() {
        // 420 calls reach past the first fold and the checkpoint after it.
        assert_eq!(every_call(5, 420, 2), Ok(420 * Cut::ALL.len() as u64 * 2));
    }

    #[test]
    fn no_acknowledged_batch_is_lost_in_any_kind_of_cut() {
        for cut in Cut::ALL {
            let mut total = Tally::default();
            for seed in 0..12 {
                match history(seed, cut, 12, 500) {
                    Ok(tally) => {
                        total.cut_count += tally.cut_count;
                        total.acknowledged_count += tally.acknowledged_count;
                        total.volume_count += tally.volume_count;
                    }
                    Err(error) => panic!("{cut:?} seed {seed}: {error}"),
                }
            }
            assert!(total.acknowledged_count > 1000, "{cut:?}: {total:?}");
            assert!(total.volume_count > 0, "{cut:?}: {total:?}");
        }
    }

    #[test]
    fn a_tail_full_of_small_batches_is_folded_and_not_written_again_and_again() {
        let (disk, now) = (SimDisk::new(Rng::new(1)), Stamp::default());
        let mut journal = Journal::open(disk.folder(), Settings::default(), 1, now).unwrap();
        let mut run = None;
        for index in 0..36_000u32 {
            let opened = run.filter(|_| index % 360 != 0);
            let seq = journal.append(now, Stream::raw(Class::Normal), opened, now, &[7; 60], false).unwrap();
            run = opened.or(Some(seq));
            if index % 30 == 29 {
                journal.commit(now).unwrap();
            }
            assert!(journal.stat().tail_batch_count <= journal::journal::TAIL_BATCH_COUNT_MAX);
        }
        // The tail's two files, for each of 1,200 commits a block or two in both, volumes, and little that was carried.
        assert!(journal.stat().written_bytes < 28 << 20, "{:?}", journal.stat());
        assert!(journal.stat().volume_count >= 2, "{:?}", journal.stat());
    }
}
