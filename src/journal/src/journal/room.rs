//! What leaves the folder: the oldest when it is over its size, and what is damaged.

use std::io;

use wire::event::{self, Event, LossReason};
use wire::id::Seq;
use wire::ranges::{SeqRange, subtract};
use wire::record::Record;
use wire::time::Stamp;

use super::{Journal, VOLUME_COUNT_MAX, Volume};
use crate::entry::Unreadable;
use crate::volume::{self, Name};

impl Journal {
    /// Removes volumes until the folder is within its size.
    pub(super) fn make_room(&mut self, now: Stamp) -> io::Result<()> {
        let budget = self.settings.bytes_max - 2 * self.tail.bytes_max().min(self.settings.bytes_max / 4);
        while self.volume_bytes() > budget || self.volumes.len() > VOLUME_COUNT_MAX {
            if !self.evict_one(now)? {
                break;
            }
        }
        while self.done_bytes() > self.settings.done_bytes_max {
            let Some(index) = self.volumes.iter().position(|volume| self.is_done(volume)) else { break };
            self.remove_volume(index)?;
        }
        Ok(())
    }

    fn is_done(&self, volume: &Volume) -> bool {
        let done = &self.lines[volume.name.stream.index()].done;
        done.range_of(volume.name.range.first).is_some_and(|range| range.last >= volume.name.range.last)
    }

    fn done_bytes(&self) -> u64 {
        self.volumes.iter().filter(|volume| self.is_done(volume)).map(|volume| volume.bytes).sum()
    }

    /// Removes the least valuable volume: done before unsent, bulk before urgent, old before new. `false` when there is none.
    pub(super) fn evict_one(&mut self, now: Stamp) -> io::Result<bool> {
        let worth =
            |volume: &Volume| (!self.is_done(volume), std::cmp::Reverse(volume.name.stream), volume.name.range.first);
        let Some(index) = (0..self.volumes.len()).min_by_key(|index| worth(&self.volumes[*index])) else {
            return Ok(false);
        };
        let Name { stream, range, .. } = self.volumes[index].name;
        let unsent = subtract(range, self.lines[stream.index()].done.iter());
        if !self.has_room_for_events(unsent.len()) {
            return Ok(false);
        }
        for range in unsent {
            self.say_lost(now, stream, range, LossReason::Evicted);
        }
        // The loss is on record before it happens.
        self.commit_tail()?;
        self.remove_volume(index)?;
        Ok(true)
    }

    /// Takes a volume in that was just written.
    pub(super) fn add_volume(&mut self, volume: Volume) {
        self.volume_written_bytes += volume.bytes;
        let key = (volume.name.stream, volume.name.range.first);
        let at = self.volumes.partition_point(|other| (other.name.stream, other.name.range.first) < key);
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
        let mut saved: Vec<(Seq, Vec<u8>)> = Vec::new();
        let mut volume = self.volumes.iter_mut().find(|volume| volume.name == name);
        let is_given_up = volume.as_ref().is_some_and(|volume| volume.is_given_up(now));
        let unreadable = if is_given_up { Unreadable::Lost } else { Unreadable::Refused };
        let carved = volume::carve(&self.folder, name, unreadable, |body| {
            if let Ok(record) = Record::open(body)
                && record.header.stream == name.stream
                && name.range.first <= record.header.seq
                && record.header.seq <= name.range.last
            {
                saved.push((record.header.seq, body.to_vec()));
            }
        });
        // A file that never opens again yields nothing.
        if let Err(error) = carved
            && !is_given_up
        {
            if let Some(volume) = &mut volume {
                volume.failing_since.get_or_insert(now.uptime);
            }
            return Err(error);
        }
        saved.sort_by_key(|(seq, _)| *seq);
        saved.dedup_by_key(|(seq, _)| *seq);
        let mut replacement = None;
        if let (Some((first, _)), Some((last, _))) = (saved.first(), saved.last()) {
            let range = SeqRange { first: *first, last: *last };
            let mut rest = saved.iter();
            // The name differs from the damaged one's unless both ends were saved: then it replaces it in one rename.
            let written = volume::write(&self.folder, Name { range, ..name }, |record| {
                let Some((seq, bytes)) = rest.next() else { return Ok(None) };
                record.clear();
                record.extend_from_slice(bytes);
                Ok(Some(*seq))
            });
            replacement = Some(Volume::new(Name { range, ..name }, written?));
        }
        self.volumes.retain(|volume| volume.name != name && Some(volume.name) != replacement.map(|saved| saved.name));
        if let Some(volume) = replacement {
            self.add_volume(volume);
        }
        let text = event::text(&name.to_file_name());
        self.append_event(now, &Event::Quarantined { volume: text, saved_count: saved.len() as u32 });
        let saved = saved.iter().map(|(seq, _)| SeqRange { first: *seq, last: *seq });
        let mut known: Vec<SeqRange> = self.lines[name.stream.index()].done.iter().chain(saved).collect();
        known.sort_by_key(|range| range.first);
        for range in subtract(name.range, known.into_iter()) {
            self.say_lost(now, name.stream, range, LossReason::Damaged);
        }
        self.commit_tail()?;
        if self.volumes.iter().all(|volume| volume.name != name) {
            self.folder.remove(&name.to_file_name())?;
            self.folder.sync()?;
        }
        Ok(())
    }
}
