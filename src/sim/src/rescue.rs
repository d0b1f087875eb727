//! A journal that loses both copies of its tail, or the same place in both: no number is given out twice, what is left is
//! kept, and what is gone is said. The power may fail again at any call of the rescue.

use std::collections::{BTreeMap, BTreeSet};

use journal::Journal;
use journal::entry;
use journal::volume::Name;
use wire::batch;
use wire::class::Class;
use wire::event::Event;
use wire::id::Seq;
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{Span, Stamp};

use crate::disk::{Cut, SimDisk};
use crate::power::SMALL;
use crate::rng::Rng;

/// The two files of the journal's tail.
pub const TAILS: [&str; 2] = ["tail.a", "tail.b"];

/// Plays one history: write, damage, open with power cuts, check; several times.
///
/// Errors: what went wrong, in words.
pub fn history(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.split());
    let mut known: BTreeMap<(Stream, Seq), Vec<u8>> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    let mut journal = open(&disk, seed)?;
    for _ in 0..4 {
        write(&mut journal, &mut known, &mut rng)?;
        drop(journal);
        let volumes: Vec<Name> = disk.names().iter().filter_map(|name| Name::parse(name)).collect();
        damage_both(&disk, &mut rng);
        for _ in 0..rng.below(4) {
            disk.cut_after(rng.between(1, 60));
            let _ = Journal::open(disk.folder(), SMALL, seed, Stamp::default());
            disk.power_cycle(*rng.choose(&Cut::ALL));
        }
        journal = open(&disk, seed)?;
        check(&mut journal, &known, &volumes, &mut gone)?;
    }
    Ok(())
}

fn open(disk: &SimDisk, seed: u64) -> Result<Journal, String> {
    Journal::open(disk.folder(), SMALL, seed, Stamp::default()).map_err(|error| error.to_string())
}

fn write(journal: &mut Journal, known: &mut BTreeMap<(Stream, Seq), Vec<u8>>, rng: &mut Rng) -> Result<(), String> {
    let now = Stamp::default();
    let mut runs: BTreeMap<Stream, Seq> = BTreeMap::new();
    for _ in 0..rng.between(5, 150) {
        let mut payload = Vec::new();
        let stream = if rng.one_in(6) { Stream::Event } else { Stream::raw(*rng.choose(&Class::ALL)) };
        if stream == Stream::Event {
            batch::put_event(Span(1), &Event::TicksMissed { count: rng.bits() as u32 }, &mut payload);
        } else {
            payload.resize(rng.between(50, 900) as usize, 0);
            rng.fill(&mut payload);
        }
        if rng.one_in(20) {
            runs.remove(&stream);
        }
        let opened = runs.get(&stream).copied();
        let seq = journal.append(now, stream, opened, now, &payload, false).map_err(|error| error.to_string())?;
        if stream != Stream::Event {
            runs.entry(stream).or_insert(seq);
        }
        if known.insert((stream, seq), payload).is_some() {
            return Err(format!("{stream} {seq} was given out twice"));
        }
        journal.commit(now).map_err(|error| error.to_string())?;
    }
    if rng.one_in(2) {
        let last = Seq(journal.durable(Stream::raw(Class::Normal)).0 / 2);
        journal.ack(Stream::raw(Class::Normal), SeqRange { first: Seq(0), last });
        journal.commit(now).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Ruins both tails, or garbles one place in both that is older than the newest commit. Of that nothing but the hub could know
/// that it was ever made.
fn damage_both(disk: &SimDisk, rng: &mut Rng) {
    let newest = newest_commit(disk);
    let at = rng.below(newest.max(1)) as usize;
    let length = rng.between(1, 4096) as usize;
    let is_whole = rng.below(4) < 3;
    for name in TAILS {
        if is_whole {
            disk.ruin(name, rng);
        } else {
            disk.damage(name, |bytes| rng.fill(&mut bytes[at..(at + length).min(newest as usize)]));
        }
    }
}

/// Where the newest commit begins.
fn newest_commit(disk: &SimDisk) -> u64 {
    let file = disk.folder().open(TAILS[0]).expect("a journal has its tail");
    let mut entries = Vec::new();
    let found = |offset, head: entry::Head, _: &[u8]| entries.push((head.generation, head.commit, offset));
    entry::scan(&*file, entry::Unreadable::Refused, found).expect("it reads");
    let newest = entries.iter().map(|(generation, commit, _)| (*generation, *commit)).max();
    let of_newest = entries.iter().filter(|(generation, commit, _)| Some((*generation, *commit)) == newest);
    of_newest.map(|(_, _, offset)| *offset).min().unwrap_or(0)
}

fn check(
    journal: &mut Journal,
    known: &BTreeMap<(Stream, Seq), Vec<u8>>,
    volumes: &[Name],
    gone: &mut BTreeSet<(Stream, Seq)>,
) -> Result<(), String> {
    let now = Stamp::default();
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    for ((stream, seq), payload) in known {
        if journal.next(*stream) <= *seq {
            return Err(format!("{stream} {seq} would be given out again"));
        }
        if !journal.read(now, *stream, *seq, &mut record).map_err(|error| error.to_string())? {
            // A volume's range may have holes of an earlier loss.
            if gone.insert((*stream, *seq)) && volumes.iter().any(|name| name.covers(*stream, *seq)) {
                return Err(format!("{stream} {seq} was in a volume and went with the tail"));
            }
            continue;
        }
        let opened =
            Record::open(&record).map_err(|error| format!("{stream} {seq} was handed out damaged: {error}"))?;
        if opened.payload(&mut scratch).map_err(|error| error.to_string())? != &payload[..] {
            return Err(format!("{stream} {seq} came back changed"));
        }
    }
    journal.commit(now).map_err(|error| error.to_string())?;
    match gone.iter().find(|(stream, seq)| !journal.done(*stream).contains(*seq)) {
        Some((stream, seq)) => Err(format!("{stream} {seq} is gone and nobody said so")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use wire::stream::STREAM_COUNT;

    use super::*;

    #[test]
    fn a_journal_that_was_never_whole_has_lost_nothing() {
        for (calls, cut) in (1..60).flat_map(|calls| Cut::ALL.map(|cut| (calls, cut))) {
            let disk = SimDisk::new(Rng::new(calls));
            disk.cut_after(calls);
            let _ = open(&disk, 1);
            disk.power_cycle(cut);
            let journal = open(&disk, 2).unwrap();
            assert_eq!(Stream::ALL.map(|stream| journal.next(stream)), [Seq(0); STREAM_COUNT], "{calls} {cut:?}");
        }
    }

    #[test]
    fn a_journal_without_its_tail_gives_no_number_out_twice() {
        for seed in 0..400 {
            history(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}
