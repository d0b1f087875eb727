//! What leaves the folder: what is older than it is kept, the least valuable when there is too much, and what is damaged.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use wire::event::{self, Event, LossReason};
use wire::id::Seq;
use wire::ranges::{SeqRange, subtract};
use wire::stream::{Lane, Shelf, Stream};
use wire::time::Stamp;

use super::{Journal, VOLUME_COUNT_MAX, Volume};
use crate::entry::Unreadable;
use crate::volume::{self, Name};
use crate::wear::block_bytes;

impl Journal {
    /// Removes volumes until the folder is within its size, and what is older than the settings keep it.
    pub(super) fn make_room(&mut self, now: Stamp) -> io::Result<()> {
        while let Some(index) = self.aged(1, 1) {
            if !self.drop_volume(now, index, LossReason::Expired)? {
                break;
            }
        }
        while self.volume_bytes() > self.budget_bytes() || self.volumes.len() > VOLUME_COUNT_MAX {
            if !self.evict_one(now)? {
                break;
            }
        }
        while self.done_bytes() > self.settings.done_bytes_max {
            // Without the dictionary nothing else can be read, and a hub that was restored asks for it.
            let is_spare = |volume: &Volume| self.is_done(volume) && volume.name.shelf != Shelf::Dictionary;
            let done = (0..self.volumes.len()).filter(|index| is_spare(&self.volumes[*index]));
            let Some(index) = done.min_by_key(|index| worth(&self.volumes[*index])) else { break };
            self.remove_volume(index)?;
        }
        Ok(())
    }

    fn budget_bytes(&self) -> u64 {
        self.settings.bytes_max - 2 * self.tail.bytes_max().min(self.settings.bytes_max / 4)
    }

    fn is_done(&self, volume: &Volume) -> bool {
        volume.name.ranges().all(|(stream, range)| {
            let done = &self.lines[stream.index()].done;
            done.range_of(range.first).is_some_and(|of| of.last >= range.last)
        })
    }

    fn done_bytes(&self) -> u64 {
        self.volumes.iter().filter(|volume| self.is_done(volume)).map(|volume| volume.bytes).sum()
    }

    /// A batch that the hub does not hold, of what is dropped next: once three quarters of the room are used, or of the time for which it
    /// is kept.
    pub fn at_risk(&self) -> Option<(Stream, Seq)> {
        let is_crowded = self.volume_bytes() / 3 > self.budget_bytes() / 4;
        let index = self.aged(3, 4).or_else(|| is_crowded.then(|| self.least_valuable()).flatten())?;
        self.volumes[index].name.ranges().find_map(|(stream, range)| {
            let seq = self.lines[stream.index()].done.first_missing(range.first);
            (seq <= range.last).then_some((stream, seq))
        })
    }

    /// The oldest volume of a shelf of which newer volumes cover such a part of the time that is to be kept.
    fn aged(&self, part: u64, of: u64) -> Option<usize> {
        Shelf::ALL.into_iter().filter(|shelf| shelf.lane() != Lane::Urgent).find_map(|shelf| {
            let mut of_shelf = self.volumes.iter().enumerate().filter(|(_, volume)| volume.name.shelf == shelf);
            let (oldest, _) = of_shelf.next()?;
            let newer_s: u64 = of_shelf.map(|(_, volume)| u64::from(volume.name.span_s)).sum();
            (newer_s * 1000 >= self.settings.keep[shelf.index()].0 / of * part).then_some(oldest)
        })
    }

    /// Removes the least valuable volume. `false` when there is none that may go.
    pub(super) fn evict_one(&mut self, now: Stamp) -> io::Result<bool> {
        match self.least_valuable() {
            Some(index) => self.drop_volume(now, index, LossReason::Evicted),
            None => Ok(false),
        }
    }

    /// The volume to go first: what is done before what is not; of that, what belongs to the lane that is furthest over its share; the
    /// fine before the coarse, the old before the new. What is urgent and unsent may not go, nor the dictionary while its lane has its
    /// share.
    fn least_valuable(&self) -> Option<usize> {
        let over = Lane::ALL.map(|lane| {
            let bytes =
                self.volumes.iter().filter(|volume| volume.name.shelf.lane() == lane).map(|volume| volume.bytes);
            let share = self.budget_bytes() * u64::from(self.settings.shares[lane.index()]) / 100;
            bytes.sum::<u64>() as i64 - share as i64
        });
        let key = |volume: &Volume| {
            let is_done = self.is_done(volume);
            let over = if is_done { 0 } else { over[volume.name.shelf.lane().index()] };
            (!is_done, Reverse(over), worth(volume))
        };
        let may_go = |volume: &Volume| match volume.name.shelf {
            Shelf::Dictionary => self.is_done(volume) && over[Lane::Urgent.index()] > 0,
            Shelf::Event => self.is_done(volume),
            _ => true,
        };
        let candidates = (0..self.volumes.len()).filter(|index| may_go(&self.volumes[*index]));
        candidates.min_by_key(|index| key(&self.volumes[*index]))
    }

    /// Removes a volume, when there is room to say what is lost with it.
    fn drop_volume(&mut self, now: Stamp, index: usize, reason: LossReason) -> io::Result<bool> {
        self.tell_withheld(now);
        let ranges = self.volumes[index].name.ranges();
        let unsent: Vec<(Stream, SeqRange)> = ranges.flat_map(|(stream, range)| self.unsent(stream, range)).collect();
        if !self.has_room_for_events(unsent.len()) {
            return Ok(false);
        }
        for (stream, range) in unsent {
            self.say_lost(now, stream, range, reason);
        }
        // The loss is on record before it happens.
        self.commit_tail()?;
        self.remove_volume(index)?;
        Ok(true)
    }

    fn unsent(&self, stream: Stream, range: SeqRange) -> Vec<(Stream, SeqRange)> {
        let unsent = subtract(range, self.lines[stream.index()].done.iter());
        unsent.into_iter().map(|range| (stream, range)).collect()
    }

    /// Takes a volume in that was just written.
    pub(super) fn add_volume(&mut self, volume: Volume) {
        self.volume_written_bytes += block_bytes(0, volume.bytes);
        let key = (volume.name.shelf, volume.name.number);
        let at = self.volumes.partition_point(|other| (other.name.shelf, other.name.number) < key);
        self.volumes.insert(at, volume);
    }

    fn remove_volume(&mut self, index: usize) -> io::Result<()> {
        let name = self.volumes[index].name;
        if self.reader.as_ref().is_some_and(|reader| reader.name == name) {
            self.reader = None;
        }
        self.folder.remove(&name.to_file_name())?;
        self.volumes.remove(index);
        self.folder.sync()
    }

    /// Saves what a damaged volume still yields into a new one, says what is lost, and removes it.
    ///
    /// Errors: the disk does not take the new volume, or the tail has no room to say what is lost. Nothing was changed.
    pub(super) fn quarantine(&mut self, now: Stamp, name: Name) -> io::Result<()> {
        self.reader = None;
        if !self.has_room_for_events(2) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut saved: BTreeMap<(Stream, Seq), Vec<u8>> = BTreeMap::new();
        let mut volume = self.volumes.iter_mut().find(|volume| volume.name == name);
        let is_given_up = volume.as_ref().is_some_and(|volume| volume.is_given_up(now));
        let unreadable = if is_given_up { Unreadable::Lost } else { Unreadable::Refused };
        let carved = volume::carve(&self.folder, name, unreadable, |bytes, record| {
            saved.entry((record.header.stream, record.header.seq)).or_insert_with(|| bytes.to_vec());
        });
        // A file that never opens again yields nothing.
        if let Err(error) = carved
            && !is_given_up
        {
            if let Some(volume) = &mut volume {
                volume.fail(now);
            }
            return Err(error);
        }
        let mut replacement = None;
        if !saved.is_empty() {
            // The name differs from the damaged one's unless both ends were saved: then it replaces it in one rename.
            let name = name.holding(saved.keys().copied());
            let mut rest = saved.iter();
            let written = volume::write(&self.folder, name, |record| {
                let Some((key, bytes)) = rest.next() else { return Ok(None) };
                record.clone_from(bytes);
                Ok(Some(*key))
            });
            replacement = Some(Volume::new(name, written?));
        }
        self.volumes.retain(|volume| volume.name != name && Some(volume.name) != replacement.map(|saved| saved.name));
        if let Some(volume) = replacement {
            self.add_volume(volume);
        }
        let text = event::text(&name.to_file_name());
        self.append_event(now, &Event::Quarantined { volume: text, saved_count: saved.len() as u32 });
        for (stream, range) in name.ranges() {
            let saved =
                saved.keys().filter(|(of, _)| *of == stream).map(|(_, seq)| SeqRange { first: *seq, last: *seq });
            let mut known: Vec<SeqRange> = self.lines[stream.index()].done.iter().chain(saved).collect();
            known.sort_by_key(|range| range.first);
            for range in subtract(range, known.into_iter()) {
                self.say_lost(now, stream, range, LossReason::Damaged);
            }
        }
        self.commit_tail()?;
        if self.volumes.iter().all(|volume| volume.name != name) {
            self.folder.remove(&name.to_file_name())?;
            self.folder.sync()?;
        }
        Ok(())
    }
}

/// Of two volumes of which neither matters more to the hub, the lesser goes first.
fn worth(volume: &Volume) -> (Reverse<Shelf>, u32) {
    (Reverse(volume.name.shelf), volume.name.number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::Directory;
    use disk::memory::Memory;
    use wire::batch;
    use wire::class::Class;
    use wire::id::JournalId;
    use wire::record::Record;
    use wire::stream::{Resolution, SHELF_COUNT};
    use wire::time::{Instant, Span, UnixTime};

    use super::*;
    use crate::journal::Settings;

    const SETTINGS: Settings = Settings {
        bytes_max: 4 << 20,
        tail_bytes_max: 64 << 10,
        fold_bytes_min: 16 << 10,
        done_bytes_max: 4 << 20,
        keep: [Span(u64::MAX); SHELF_COUNT],
        ..Settings::DEFAULT
    };

    /// Volumes are at least a MiB, so shares are of many.
    const LARGE: Settings = Settings { tail_bytes_max: 1 << 20, fold_bytes_min: 400 << 10, ..SETTINGS };

    const RAW: Stream = Stream::raw(Class::Normal);
    const MINUTE: Stream = Stream::Series(Resolution::Minute, Class::Normal);

    struct Bench {
        journal: Journal,
        minute: u64,
    }

    impl Bench {
        fn new(settings: Settings, disk_bytes: u64) -> Bench {
            let folder = Arc::new(Memory::new(disk_bytes));
            Bench { journal: Journal::open(folder, settings, 1, Stamp::default()).unwrap(), minute: 0 }
        }

        /// A minute later, whatever the calendar says.
        fn now(&mut self) -> Stamp {
            self.minute += 1;
            let unix = Some(UnixTime(self.minute % 7 * 86_400_000_000));
            Stamp { uptime: Instant(self.minute * 60_000), unix, ..Stamp::default() }
        }

        fn append(&mut self, stream: Stream, payload: &[u8]) {
            let now = self.now();
            self.journal.append(now, stream, None, now, payload, false).unwrap();
            self.journal.commit(now).unwrap();
        }

        fn append_event(&mut self, count: u32) {
            let mut payload = Vec::new();
            batch::put_event(Span(0), &Event::TicksMissed { count }, &mut payload);
            self.append(Stream::Event, &payload);
        }

        /// Every event that can be read.
        fn events(&mut self) -> Vec<Event> {
            let (now, mut record, mut scratch, mut events) = (self.now(), Vec::new(), Vec::new(), Vec::new());
            for seq in 0..self.journal.durable(Stream::Event).0 {
                if self.journal.read(now, Stream::Event, Seq(seq), &mut record).unwrap() {
                    let payload = Record::open(&record).unwrap().payload(&mut scratch).unwrap().to_vec();
                    events.extend(batch::events(&payload).filter_map(|event| event.unwrap().1));
                }
            }
            events
        }

        /// Of one stream, how many batches were said lost for this reason.
        fn lost_count(&mut self, of: Stream, why: LossReason) -> u64 {
            let lost = self.events().into_iter().filter_map(|event| match event {
                Event::Lost { stream, range, reason } if stream == of && reason == why => Some(range.count()),
                _ => None,
            });
            lost.sum()
        }

        fn held_count(&self, stream: Stream) -> u64 {
            self.journal.held(stream).iter().map(SeqRange::count).sum()
        }

        fn volume_bytes(&self, of: Lane) -> u64 {
            self.journal.volumes.iter().filter(|v| v.name.shelf.lane() == of).map(|volume| volume.bytes).sum()
        }
    }

    #[test]
    fn what_is_older_than_it_is_kept_goes_and_the_unsent_of_it_is_said() {
        let mut settings = SETTINGS;
        settings.bytes_max = 64 << 20;
        settings.keep[RAW.shelf().index()] = Span::minutes(300);
        let mut bench = Bench::new(settings, u64::MAX);
        (0..1000).for_each(|_| bench.append(RAW, &[7; 400]));
        let held = bench.held_count(RAW);
        // Whole volumes go, so a little more than asked for stays.
        assert!((300..450).contains(&held), "{held}");
        assert_eq!(bench.lost_count(RAW, LossReason::Expired), 1000 - held);
        assert_eq!(bench.lost_count(RAW, LossReason::Evicted), 0);

        // What the hub holds goes without a word.
        let all = SeqRange { first: Seq(0), last: Seq(999) };
        bench.journal.ack(RAW, all);
        (0..300).for_each(|_| bench.append(RAW, &[7; 400]));
        assert_eq!(bench.lost_count(RAW, LossReason::Expired), 1000 - held);
        assert!(bench.held_count(RAW) < 450);
    }

    #[test]
    fn room_is_made_in_the_lane_that_is_over_its_share_and_never_of_unsent_events() {
        let mut bench = Bench::new(Settings { bytes_max: 20 << 20, shares: [10, 70, 20], ..LARGE }, u64::MAX);
        for index in 0..8000u32 {
            bench.append(RAW, &[1; 4000]);
            bench.append(MINUTE, &[2; 500]);
            if index % 4 == 0 {
                bench.append_event(index);
            }
        }
        let events = bench.events();
        let missed = events.iter().filter(|event| matches!(event, Event::TicksMissed { .. })).count();
        assert_eq!(missed, 2000);
        assert!(bench.lost_count(RAW, LossReason::Evicted) > 2000);
        // Windows have less than their share, so none of them had to go for ticks.
        assert_eq!(bench.lost_count(MINUTE, LossReason::Evicted), 0);
        assert!(bench.volume_bytes(Lane::Summary) > bench.volume_bytes(Lane::Raw) / 2);
        let stat = bench.journal.stat();
        assert!(stat.volume_bytes <= 20 << 20, "{stat:?}");
    }

    #[test]
    fn the_folder_shrinks_when_what_waited_was_sent() {
        let mut bench = Bench::new(Settings { bytes_max: 64 << 20, done_bytes_max: 3 << 20, ..SETTINGS }, u64::MAX);
        (0..2000).for_each(|_| bench.append(RAW, &[7; 1000]));
        assert!(bench.journal.stat().volume_bytes > 20 << 20);
        bench.journal.ack(RAW, SeqRange { first: Seq(0), last: Seq(1999) });
        bench.append(RAW, &[7; 1000]);
        assert!(bench.journal.stat().volume_bytes <= 3 << 20, "{:?}", bench.journal.stat());
    }

    #[test]
    fn on_a_full_disk_events_have_room_and_ticks_make_it() {
        // Room for the tail, twice, and for no volume.
        let mut bench = Bench::new(SETTINGS, 2 * SETTINGS.tail_bytes_max + (100 << 10));
        for index in 0..1500u32 {
            bench.append(RAW, &[1; 900]);
            if index % 15 == 0 {
                bench.append_event(index);
            }
        }
        let missed = |event: &&Event| matches!(event, Event::TicksMissed { .. });
        assert_eq!(bench.events().iter().filter(missed).count(), 100);
        assert_eq!(bench.journal.stat().volume_count, 0);
        let held = bench.held_count(RAW);
        assert_eq!((held > 20, bench.lost_count(RAW, LossReason::Evicted) + held), (true, 1500));
    }

    #[test]
    fn many_streams_of_which_none_has_enough_are_folded_together() {
        let mut bench = Bench::new(Settings { bytes_max: 96 << 20, fold_bytes_min: 60 << 10, ..SETTINGS }, u64::MAX);
        for _ in 0..130 {
            Stream::ALL[2..].iter().for_each(|stream| bench.append(*stream, &[3; 300]));
        }
        assert!(bench.journal.stat().volume_count > 3, "{:?}", bench.journal.stat());
        assert_eq!(bench.events(), []);
        assert!(Stream::ALL[2..].iter().all(|stream| bench.held_count(*stream) == 130));
        assert_ne!(bench.journal.id(), JournalId(0));
    }

    /// Batches of a minute in all three classes of ticks, in runs of twenty minutes.
    fn append_classes(bench: &mut Bench, minutes: u64) {
        for minute in 0..minutes {
            let now = bench.now();
            for class in Class::ALL {
                let stream = Stream::raw(class);
                let next = bench.journal.next(stream);
                let run = (minute % 20 > 0).then(|| Seq(next.0 - minute % 20));
                bench.journal.append(now, stream, run, now, &[class as u8; 200], false).unwrap();
            }
            bench.journal.commit(now).unwrap();
        }
    }

    #[test]
    fn the_classes_of_a_resolution_share_volumes_of_one_time() {
        let mut bench = Bench::new(Settings { bytes_max: 64 << 20, fold_bytes_min: 30 << 10, ..SETTINGS }, u64::MAX);
        append_classes(&mut bench, 400);
        assert!(bench.journal.stat().volume_count >= 4);
        for volume in &bench.journal.volumes {
            let ranges: Vec<SeqRange> = volume.name.ranges().map(|(_, range)| range).collect();
            assert!(
                ranges.len() == 3 && ranges.iter().all(|range| *range == ranges[0]),
                "{}",
                volume.name.to_file_name()
            );
            // Of twenty minutes nineteen pass between the first stamp and the last.
            assert_eq!(u64::from(volume.name.span_s), (ranges[0].count() - 1) * 60);
        }
        let (now, mut record) = (bench.now(), Vec::new());
        for stream in Class::ALL.map(Stream::raw) {
            for seq in (0..400).map(Seq) {
                assert!(bench.journal.read(now, stream, seq, &mut record).unwrap());
                assert_eq!(Record::open(&record).unwrap().header.seq, seq);
            }
        }
        assert!(bench.events().is_empty());
    }

    #[test]
    fn a_volume_is_done_when_all_of_its_streams_are_and_says_of_each_what_is_lost() {
        let mut settings = SETTINGS;
        settings.bytes_max = 64 << 20;
        let mut bench = Bench::new(Settings { done_bytes_max: 0, fold_bytes_min: 40 << 10, ..settings }, u64::MAX);
        append_classes(&mut bench, 400);
        let [critical, normal, bulk] = Class::ALL.map(Stream::raw);
        let all = SeqRange { first: Seq(0), last: Seq(399) };
        [critical, normal].iter().for_each(|stream| bench.journal.ack(*stream, all));
        let count = bench.journal.stat().volume_count;
        let now = bench.now();
        bench.journal.commit(now).unwrap();
        assert_eq!(bench.journal.stat().volume_count, count);
        // What the hub holds of it goes without a word.
        let evicted = bench.journal.volumes[0].name.range(bulk).unwrap();
        assert!(bench.journal.evict_one(now).unwrap());
        assert_eq!(bench.events(), [Event::Lost { stream: bulk, range: evicted, reason: LossReason::Evicted }]);
        bench.journal.ack(bulk, all);
        bench.journal.commit(now).unwrap();
        assert_eq!(bench.journal.stat().volume_count, 0);
    }

    #[test]
    fn what_is_damaged_in_a_volume_is_said_of_its_stream_alone() {
        let memory = Arc::new(Memory::new(u64::MAX));
        let settings = Settings { bytes_max: 64 << 20, fold_bytes_min: 40 << 10, ..SETTINGS };
        let journal = Journal::open(memory.clone(), settings, 1, Stamp::default()).unwrap();
        let mut bench = Bench { journal, minute: 0 };
        append_classes(&mut bench, 100);
        let name = bench.journal.volumes[0].name.to_file_name();
        let file = memory.open(&name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        let bulk = Stream::raw(Class::Bulk);
        let at = bytes.windows(200).position(|window| window == [Class::Bulk as u8; 200]).unwrap();
        file.write_at(at as u64, &[0]).unwrap();
        let (now, mut record) = (bench.now(), Vec::new());
        let lost: Vec<(Stream, u64)> = Class::ALL
            .into_iter()
            .flat_map(|class| (0..100).map(move |seq| (Stream::raw(class), seq)))
            .filter(|(stream, seq)| !bench.journal.read(now, *stream, Seq(*seq), &mut record).unwrap())
            .collect();
        assert!(lost.len() == 1 && lost[0].0 == bulk, "{lost:?}");
        let range = SeqRange { first: Seq(lost[0].1), last: Seq(lost[0].1) };
        bench.journal.commit(now).unwrap();
        let events = bench.events();
        assert!(matches!(events[0], Event::Quarantined { .. }), "{events:?}");
        assert_eq!(events[1..], [Event::Lost { stream: bulk, range, reason: LossReason::Damaged }]);
    }
}
