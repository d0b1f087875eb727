//! A journal whose bytes change at rest: what is damaged is never handed out, what is whole is saved, what is lost is said.
//!
//! Any file may be hit, several times, but for one of the two copies of the tail. For both see [`crate::rescue`].

use std::collections::{BTreeMap, BTreeSet};

use journal::Journal;
use wire::class::{CLASS_COUNT, Class};
use wire::id::Seq;
use wire::record::Record;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp};

use crate::disk::SimDisk;
use crate::losses::Losses;
use crate::power::SMALL;
use crate::rng::Rng;

/// How long after a refusal it is tried again: by who samples every ten seconds, and by who does once an hour.
const TRY_AGAIN: [Span; 3] = [Span::minutes(2), Span::minutes(10), Span::minutes(60)];

/// What became of the batches of one journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches that were written.
    pub written_count: u64,
    /// Batches that came back as they were.
    pub whole_count: u64,
    /// Batches that were said to be lost.
    pub lost_count: u64,
}

/// Writes a journal of some volumes, damages one to three places of its files, and reads everything back.
///
/// Errors: what went wrong, in words.
pub fn history(seed: u64) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.split());
    let now = Stamp::default();
    let later = Stamp { uptime: Instant(24 * 3_600_000), ..now };
    let mut written: BTreeMap<(Stream, Seq), Vec<u8>> = BTreeMap::new();
    let mut journal = Journal::open(disk.folder(), SMALL, seed, now).map_err(|error| error.to_string())?;
    let mut runs = [None; CLASS_COUNT];
    for index in 0..rng.between(100, 400) {
        let mut payload = vec![0; rng.between(50, 900) as usize];
        rng.fill(&mut payload);
        if index % 20 == 0 {
            runs = [None; CLASS_COUNT];
        }
        let class = *rng.choose(&Class::ALL);
        let (stream, run) = (Stream::raw(class), &mut runs[class.index()]);
        let appended = journal.append(now, stream, *run, now, &payload, false);
        let seq = appended.map_err(|error| error.to_string())?;
        run.get_or_insert(seq);
        written.insert((stream, seq), payload);
        if rng.one_in(3) {
            journal.commit(now).map_err(|error| error.to_string())?;
        }
    }
    journal.commit(now).map_err(|error| error.to_string())?;
    drop(journal);

    // The tail is held twice so that one copy may be damaged; damage to both in the newest commit looks like a commit that power
    // interrupted, and nothing on the disk could tell the difference.
    let spared = *rng.choose(&["tail.a", "tail.b"]);
    let names: Vec<String> = disk.names().into_iter().filter(|name| name != spared).collect();
    for _ in 0..rng.between(1, 3) {
        let name = rng.choose(&names).clone();
        damage(&disk, &name, &mut rng);
    }

    // A disk that will not be read is tried for long before it is given up.
    let opened = Journal::open(disk.folder(), SMALL, seed, now);
    let opened = opened.or_else(|_| Journal::open_giving_up(disk.folder(), SMALL, seed, now));
    let mut journal = opened.map_err(|error| error.to_string())?;
    let mut tally = Tally { written_count: written.len() as u64, ..Tally::default() };
    let (mut record, mut gone) = (Vec::new(), BTreeSet::new());
    for ((stream, seq), payload) in &written {
        // A place that cannot be read counts as damaged when it has refused for long enough, each time that it was tried.
        let mut at = now;
        let mut read = journal.read(at, *stream, *seq, &mut record);
        while read.is_err() && at.uptime < later.uptime {
            at = now.at((at.uptime + TRY_AGAIN[seed as usize % TRY_AGAIN.len()]).min(later.uptime));
            read = journal.read(at, *stream, *seq, &mut record);
        }
        if !read.map_err(|error| error.to_string())? {
            gone.insert((*stream, *seq));
            continue;
        }
        let opened =
            Record::open(&record).map_err(|error| format!("{stream} {seq} was handed out damaged: {error}"))?;
        let mut scratch = Vec::new();
        if opened.payload(&mut scratch).map_err(|error| error.to_string())? != &payload[..] {
            return Err(format!("{stream} {seq} came back changed"));
        }
        tally.whole_count += 1;
    }
    // What reading found is on record with the next commit.
    journal.commit(now).map_err(|error| error.to_string())?;
    let mut lost = Losses::default();
    lost.read(&mut journal, later)?;
    if let Some((stream, unsaid)) = gone.iter().find(|(stream, seq)| !lost.contains(*stream, *seq)) {
        return Err(format!("{stream} {unsaid} is gone and nobody said so"));
    }
    if let Some((stream, seq)) = written.keys().find(|(stream, seq)| journal.next(*stream) <= *seq) {
        return Err(format!("{stream} {seq} would be given out again"));
    }
    tally.lost_count = gone.len() as u64;
    Ok(tally)
}

fn damage(disk: &SimDisk, name: &str, rng: &mut Rng) {
    if let Some(bytes) = disk.file_bytes(name).filter(|bytes| *bytes > 0 && rng.one_in(5)) {
        return disk.spoil(name, rng.below(bytes) / 4096 * 4096, 4096);
    }
    disk.damage(name, |bytes| {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(4) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.truncate(at),
            kind => {
                let length = if kind == 2 { 512 } else { 4096 };
                let start = at / length * length;
                let end = (start + length).min(bytes.len());
                rng.fill(&mut bytes[start..end]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_at_rest_is_said_and_the_rest_is_saved() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // redb panics over damaged pages, and the journal's guard takes it: no need to print that.
            if !journal::guard::is_inside() {
                hook(info);
            }
        }));
        let mut total = Tally::default();
        for seed in 0..200 {
            match history(seed) {
                Ok(tally) => {
                    total.written_count += tally.written_count;
                    total.whole_count += tally.whole_count;
                    total.lost_count += tally.lost_count;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        assert!(total.lost_count > 0, "{total:?}");
        assert!(total.whole_count * 100 > total.written_count * 95, "{total:?}");
    }
}
