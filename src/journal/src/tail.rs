//! The mirrored log: the newest entries, twice.
//!
//! `tail.a` and `tail.b` hold the same bytes. A commit is written and synced to one, then to the other, so at
//! every moment one of them is not in flight and holds all that was acknowledged. Both are preallocated, and
//! used again for the next *generation* when the log is full: its checkpoint (`Begin`, slots, carried batches,
//! `End`) is written to one file while the other still holds the generation before.
//!
//! Recovery takes the highest generation with a whole checkpoint, joins what both files hold of it, drops a last
//! commit that is not whole (nobody was told of it), and brings first one file, then the other to that image. Leftovers of a
//! dropped commit are zeroed, so that they cannot be taken for entries later.
//!
//! A file that fails is *stale*: the log goes on with the other one and restores it at the next commit.

use std::collections::BTreeMap;
use std::io;

use disk::{File, Folder};

use crate::entry::{self, HEAD_BYTES, Head, Kind, Unreadable};
use crate::wear::block_bytes;

const NAMES: [&str; 2] = ["tail.a", "tail.b"];
const CHUNK_BYTES: usize = 64 * 1024;

/// Commits between two attempts to restore a stale file: each attempt writes the whole file to a disk that is failing.
const RETRY_COMMITS: u32 = 64;

/// Where an entry lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its head.
    pub offset: u32,
    /// Bytes of its body.
    pub length: u32,
}

impl Place {
    fn entry_bytes(self) -> usize {
        HEAD_BYTES + self.length as usize
    }
}

/// The mirrored log.
#[derive(Debug)]
pub struct Tail {
    folder: Folder,
    copies: [Option<Box<dyn File>>; 2],
    stale: [bool; 2],
    /// The commit at which a stale file is tried again.
    retry_at: [u32; 2],
    /// A file that may hold a whole later generation although its sync failed. Recovery would take it before this one, so
    /// nothing is acknowledged until it has been made anew.
    ahead: Option<usize>,
    generation: u32,
    /// The highest generation that was ever begun here, so that what is left of a failed one belongs to none that follows.
    begun: u32,
    commit: u32,
    end: u64,
    bytes_max: u64,
    /// Entries of the next commit, and where its last one starts.
    pending: Vec<u8>,
    pending_last: usize,
    written_bytes: u64,
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// The log.
    pub tail: Tail,
    /// Kept entries in order.
    pub entries: Vec<(Kind, Place)>,
    /// What damage took.
    pub damage: Option<Damage>,
}

/// Bytes of the log that hold no entry although entries follow, or that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Entries from this offset on are newer than all that was lost; `u32::MAX` when none is known to be.
    pub end: u32,
    /// How much was lost, all places together.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) head: Head,
    /// Which files hold it.
    pub(crate) copies: [bool; 2],
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.head.entry_bytes()
    }
}

impl Tail {
    /// A new log whose checkpoint is `begin` and what is appended before the first commit. That commit makes its two files of
    /// `bytes_max`; until the first of them is whole and has its name, what was there before stays.
    pub fn begin(folder: &Folder, bytes_max: u64, generation: u32, begin: &[u8]) -> Tail {
        let mut tail = Tail {
            folder: folder.clone(),
            copies: [None, None],
            stale: [true, true],
            retry_at: [0, 0],
            ahead: None,
            generation,
            begun: generation,
            commit: 0,
            end: 0,
            bytes_max,
            pending: Vec::new(),
            pending_last: 0,
            written_bytes: 0,
        };
        tail.append(Kind::Begin, begin);
        tail
    }

    /// Recovers the log from its files. `None` when neither holds a whole checkpoint.
    pub fn open(folder: &Folder, bytes_max: u64, unreadable: Unreadable) -> io::Result<Option<Recovery>> {
        let Scanned { copies, found, unread_bytes } = scan(folder, unreadable)?;
        let Some(generation) = found.iter().filter_map(|found| whole_generation(found)).max() else {
            return Ok(None);
        };
        let begun = found.iter().flatten().map(|found| found.head.generation).max().unwrap_or(generation);
        let seen: Vec<Found> = join(found, generation);
        let commit = seen.iter().map(|found| found.head.commit).max().unwrap_or(0);
        let kept = keep(&seen);
        let end = kept.last().map_or(0, Found::end);
        let lengths = copies.iter().flatten().filter_map(|file| file.len().ok());
        let bytes_max = lengths.chain([bytes_max]).max().unwrap_or(bytes_max);
        let mut tail = Tail {
            folder: folder.clone(),
            stale: [copies[0].is_none(), copies[1].is_none()],
            copies,
            retry_at: [0, 0],
            ahead: None,
            generation,
            begun,
            commit: commit + 1,
            end,
            bytes_max,
            pending: Vec::new(),
            pending_last: 0,
            written_bytes: 0,
        };
        let garbage_end = seen.iter().map(Found::end).max().unwrap_or(0);
        let results = [0, 1].map(|copy| tail.bring_up(copy, &kept, garbage_end));
        if let [Err(error), Err(_)] = results {
            return Err(error);
        }
        for (copy, result) in results.iter().enumerate() {
            if result.is_err() {
                // The other one holds everything; this one is made anew with a later commit.
                (tail.stale[copy], tail.copies[copy]) = (true, None);
            }
        }
        let entries = kept
            .iter()
            .map(|found| (found.head.kind, Place { offset: found.offset as u32, length: found.head.length }))
            .collect();
        let damage = if unread_bytes > 0 { Some(Damage { end: u32::MAX, bytes: unread_bytes }) } else { damage(&kept) };
        Ok(Some(Recovery { tail, entries, damage }))
    }

    /// Every sound entry that the two files hold, of whatever generation, in no order: for when no checkpoint is whole.
    ///
    /// Errors: a file that is there does not open, or does not read.
    pub fn carve(folder: &Folder, unreadable: Unreadable, mut each: impl FnMut(Head, &[u8])) -> io::Result<()> {
        for name in NAMES {
            if let Some(file) = open_if_there(folder, name)? {
                entry::scan(&*file, unreadable, |_, head, body| each(head, body))?;
            }
        }
        Ok(())
    }

    /// Brings one file to the image of the kept entries. The other one is not in flight meanwhile.
    fn bring_up(&mut self, copy: usize, kept: &[Found], garbage_end: u64) -> io::Result<()> {
        let missing: Vec<Found> = kept.iter().filter(|found| !found.copies[copy]).copied().collect();
        let is_short = match &self.copies[copy] {
            Some(file) => file.len()? < self.bytes_max,
            None => true,
        };
        let mut buffer = Vec::new();
        if is_short {
            let other = self.copies[1 - copy].take();
            let own = self.copies[copy].take();
            let sources = [own, other];
            self.build(copy, |file| {
                for found in kept {
                    read_from(sources.iter().flatten(), found, &mut buffer)?;
                    file.write_at(found.offset, &buffer)?;
                }
                Ok(())
            })?;
            let [_, other] = sources;
            self.copies[1 - copy] = other;
            return self.folder.sync();
        }
        let end = self.end;
        if missing.is_empty() && garbage_end <= end {
            return Ok(());
        }
        let file = self.copies[copy].as_ref().expect("a file that is not short is open");
        for found in &missing {
            read_from(self.copies[1 - copy].iter(), found, &mut buffer)?;
            file.write_at(found.offset, &buffer)?;
            self.written_bytes += block_bytes(found.offset, buffer.len() as u64);
        }
        if garbage_end > end {
            let zeros = vec![0; (garbage_end - end) as usize];
            file.write_at(end, &zeros)?;
        }
        file.sync()
    }

    /// As [`Tail::build`]. On a full disk the file that is to be replaced goes first, once the other one is sound.
    fn build_in_place_of(&mut self, copy: usize, fill: impl Fn(&dyn File) -> io::Result<()>) -> io::Result<()> {
        match self.build(copy, &fill) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.stale[copy] && !self.stale[1 - copy] => {
                self.copies[copy] = None;
                for name in [format!("{}.tmp", NAMES[copy]), NAMES[copy].to_owned()] {
                    match self.folder.remove(&name) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                self.folder.sync()?;
                self.build(copy, fill)
            }
            built => built,
        }
    }

    /// Makes one file anew beside its name, filled by `fill`, and gives it the name.
    fn build(&mut self, copy: usize, fill: impl FnOnce(&dyn File) -> io::Result<()>) -> io::Result<()> {
        let temporary = format!("{}.tmp", NAMES[copy]);
        let file = self.folder.create(&temporary)?;
        // Zeros are written, not only reserved: a later write inside the file must not need room.
        let zeros = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while at < self.bytes_max {
            let count = (self.bytes_max - at).min(CHUNK_BYTES as u64);
            file.write_at(at, &zeros[..count as usize])?;
            at += count;
        }
        fill(&*file)?;
        file.sync()?;
        self.folder.rename(&temporary, NAMES[copy])?;
        self.folder.sync()?;
        self.copies[copy] = Some(file);
        self.stale[copy] = false;
        self.written_bytes += self.bytes_max;
        Ok(())
    }

    /// Whether an entry with a body of `length` fits, and the end of a checkpoint behind it.
    pub fn fits(&self, length: usize) -> bool {
        self.end + (self.pending.len() + 2 * HEAD_BYTES + length) as u64 <= self.bytes_max
    }

    /// Bytes of the log that are used, and of those that wait for the commit.
    pub fn used_bytes(&self) -> (u64, usize) {
        (self.end, self.pending.len())
    }

    /// The size of each file.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes written to the two files since the log was opened, in whole blocks.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Whether both files hold everything.
    pub fn is_mirrored(&self) -> bool {
        self.stale == [false, false]
    }

    /// Adds an entry to the next commit and says where it will lie.
    ///
    /// Panics: when it does not fit; see [`Tail::fits`].
    pub fn append(&mut self, kind: Kind, body: &[u8]) -> Place {
        assert!(self.fits(body.len()), "the caller starts a new generation before the log is full");
        let first = self.pending.is_empty();
        if !first {
            let last = self.pending_last;
            entry::set_last(&mut self.pending[last..], false);
        }
        self.pending_last = self.pending.len();
        let place = Place { offset: self.end as u32 + self.pending_last as u32, length: body.len() as u32 };
        let head = Head {
            generation: self.generation,
            commit: self.commit,
            kind,
            first,
            last: true,
            length: body.len() as u32,
        };
        entry::put(head, body, &mut self.pending);
        place
    }

    /// Makes what was appended durable in both files, or in the one that still works.
    ///
    /// Errors: both files failed. What was appended stays, and the next commit tries again.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.end == 0 {
            return self.create();
        }
        self.fall_back()?;
        let before = self.stale;
        let results = [self.write_copy(0), self.write_copy(1)];
        for (copy, result) in results.iter().enumerate() {
            if result.is_err() {
                // A handle whose sync failed once never syncs again: see disk::File::sync.
                self.copies[copy] = None;
            }
        }
        let [Err(error), Err(_)] = results else {
            self.stale = results.map(|result| result.is_err());
            self.end += self.pending.len() as u64;
            self.pending.clear();
            self.commit += 1;
            return Ok(());
        };
        // Neither file holds this commit for certain; each still holds what it held before.
        self.stale = before;
        Err(error)
    }

    /// Makes the two files of a log that has none: what waits is its checkpoint.
    fn create(&mut self) -> io::Result<()> {
        let mut image = self.pending.clone();
        entry::set_last(&mut image[self.pending_last..], false);
        let end = Head { generation: self.generation, commit: 0, kind: Kind::End, first: false, last: true, length: 0 };
        entry::put(end, &[], &mut image);
        let results = [0, 1].map(|copy| self.build_in_place_of(copy, |file| file.write_at(0, &image)));
        if let [Err(error), Err(_)] = results {
            return Err(error);
        }
        self.end = image.len() as u64;
        self.pending.clear();
        self.commit = 1;
        Ok(())
    }

    /// Makes a file anew that may hold a generation which this one must not be replaced by.
    fn fall_back(&mut self) -> io::Result<()> {
        let Some(copy) = self.ahead else { return Ok(()) };
        self.restore(copy)?;
        self.ahead = None;
        Ok(())
    }

    fn write_copy(&mut self, copy: usize) -> io::Result<()> {
        if self.stale[copy] {
            if self.commit < self.retry_at[copy] {
                return Err(io::Error::other("this file of the tail log failed before"));
            }
            self.retry_at[copy] = self.commit + RETRY_COMMITS;
            self.restore(copy)?;
        }
        self.reopen(copy)?;
        let file = self.copies[copy].as_ref().expect("opened above");
        file.write_at(self.end, &self.pending)?;
        file.sync()?;
        self.written_bytes += block_bytes(self.end, self.pending.len() as u64);
        Ok(())
    }

    /// Opens a file that was given up.
    fn reopen(&mut self, copy: usize) -> io::Result<()> {
        if self.copies[copy].is_none() {
            self.copies[copy] = Some(self.folder.open(NAMES[copy])?);
        }
        Ok(())
    }

    /// Makes a stale file anew from the other one.
    fn restore(&mut self, copy: usize) -> io::Result<()> {
        self.reopen(1 - copy)?;
        let source = self.copies[1 - copy].take();
        let end = self.end;
        let result = self.build_in_place_of(copy, |file| {
            let source = source.as_ref().ok_or_else(|| io::Error::other("no sound copy of the tail log"))?;
            copy_bytes(&**source, file, end)
        });
        self.copies[1 - copy] = source;
        result
    }

    /// Reads the body of a durable entry into `body`, from whichever file holds it sound.
    ///
    /// Errors: neither does, or the power is off.
    pub fn read(&self, place: Place, body: &mut Vec<u8>) -> io::Result<()> {
        let mut failure = io::Error::other("no sound copy of the tail log");
        for (copy, file) in self.copies.iter().enumerate() {
            if self.stale[copy] && !self.stale[1 - copy] {
                continue;
            }
            let reopened;
            let file = match file {
                Some(file) => file,
                None => match self.folder.open(NAMES[copy]) {
                    Ok(file) => {
                        reopened = file;
                        &reopened
                    }
                    Err(error) => {
                        failure = error;
                        continue;
                    }
                },
            };
            match self.read_entry(&**file, place, body) {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Starts the next generation, which takes `carried` entries over from this one. Nothing may wait for a commit.
    pub fn restart(&mut self, begin: &[u8], carried: impl Iterator<Item = Place>) -> io::Result<Restart<'_>> {
        assert!(self.pending.is_empty(), "commit before the next generation");
        self.fall_back()?;
        // The file that is written first must not be the only sound one.
        let target = if self.stale[1] { 1 } else { 0 };
        self.reopen(target)?;
        self.reopen(1 - target)?;
        let mut saved = BTreeMap::new();
        let mut body = Vec::new();
        for place in carried {
            let is_damaged = self.read_copy(1 - target, place, &mut body).is_err();
            if is_damaged && !self.stale[target] && self.read_copy(target, place, &mut body).is_ok() {
                saved.insert(place.offset, std::mem::take(&mut body));
            }
        }
        self.begun += 1;
        let generation = self.begun;
        let mut restart = Restart { tail: self, target, generation, at: 0, chunk: Vec::new(), chunk_last: 0, saved };
        restart.put(Kind::Begin, begin)?;
        Ok(restart)
    }

    /// Reads the body of a durable entry from one open file.
    ///
    /// Errors: of kind `InvalidData`, the entry is damaged there.
    fn read_copy(&self, copy: usize, place: Place, body: &mut Vec<u8>) -> io::Result<()> {
        let file = self.copies[copy].as_ref().ok_or_else(|| io::Error::other("no sound copy of the tail log"))?;
        self.read_entry(&**file, place, body)
    }

    fn read_entry(&self, file: &dyn File, place: Place, body: &mut Vec<u8>) -> io::Result<()> {
        body.clear();
        body.resize(place.entry_bytes(), 0);
        file.read_at(place.offset.into(), body)?;
        match entry::parse(body) {
            Some((head, _)) if head.length == place.length && head.generation == self.generation => {
                body.drain(..HEAD_BYTES);
                Ok(())
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "tail entry is damaged")),
        }
    }
}

/// A checkpoint under construction in one file, while the other still holds the generation before.
#[derive(Debug)]
pub struct Restart<'a> {
    tail: &'a mut Tail,
    target: usize,
    generation: u32,
    /// Bytes already in the file; `chunk` follows.
    at: u64,
    chunk: Vec<u8>,
    chunk_last: usize,
    /// Bodies to carry, by offset, that are sound only in the file that is overwritten.
    saved: BTreeMap<u32, Vec<u8>>,
}

impl Restart<'_> {
    /// Adds an entry and says where it lies.
    pub fn put(&mut self, kind: Kind, body: &[u8]) -> io::Result<Place> {
        if self.chunk.len() + HEAD_BYTES + body.len() > CHUNK_BYTES {
            self.flush()?;
        }
        let place = Place { offset: (self.at + self.chunk.len() as u64) as u32, length: body.len() as u32 };
        self.chunk_last = self.chunk.len();
        let head = Head {
            generation: self.generation,
            commit: 0,
            kind,
            first: kind == Kind::Begin,
            last: kind == Kind::End,
            length: body.len() as u32,
        };
        entry::put(head, body, &mut self.chunk);
        Ok(place)
    }

    /// Adds a batch of the generation before, one of those that [`Tail::restart`] was told of.
    ///
    /// Errors: of kind `InvalidData`, neither file holds it sound.
    pub fn carry(&mut self, place: Place, body: &mut Vec<u8>) -> io::Result<Place> {
        match self.saved.remove(&place.offset) {
            Some(saved) => *body = saved,
            None => self.tail.read_copy(1 - self.target, place, body)?,
        }
        self.put(Kind::Batch, body)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.at + self.chunk.len() as u64 > self.tail.bytes_max {
            return Err(io::Error::other("checkpoint exceeds the tail log"));
        }
        let file = self.tail.copies[self.target].as_ref().expect("opened by restart");
        // From here on this file holds no whole generation until `finish`.
        self.tail.stale[self.target] = true;
        file.write_at(self.at, &self.chunk)?;
        self.tail.written_bytes += block_bytes(self.at, self.chunk.len() as u64);
        self.at += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    /// Makes the new generation durable in one file, then in the other.
    ///
    /// Errors: the first file failed; the generation before goes on in the other one.
    pub fn finish(mut self) -> io::Result<()> {
        self.put(Kind::End, &[])?;
        self.tail.ahead = Some(self.target);
        self.flush()?;
        let (tail, target) = (self.tail, self.target);
        if let Err(error) = tail.copies[target].as_ref().expect("opened by restart").sync() {
            tail.copies[target] = None;
            return Err(error);
        }
        tail.stale[target] = false;
        tail.ahead = None;
        tail.generation = self.generation;
        tail.commit = 1;
        tail.retry_at = [0, 0];
        tail.end = self.at;
        let other = 1 - target;
        let copied = match (&tail.copies[target], &tail.copies[other]) {
            (Some(from), Some(to)) if !tail.stale[other] => {
                copy_bytes(&**from, &**to, self.at).and_then(|()| to.sync())
            }
            _ => Err(io::Error::other("stale")),
        };
        tail.written_bytes += block_bytes(0, self.at);
        // A file that failed here is made anew by the next commit.
        tail.stale[other] = copied.is_err();
        if copied.is_err() {
            tail.copies[other] = None;
        }
        Ok(())
    }
}

/// A file, or none when there is none. Any other refusal must not be taken for a missing file: a new one would replace it.
/// What the two files hold, as they are.
pub(crate) struct Scanned {
    pub(crate) copies: [Option<Box<dyn File>>; 2],
    /// The sound entries of each file, of whatever generation.
    pub(crate) found: [Vec<Found>; 2],
    pub(crate) unread_bytes: u64,
}

/// Searches both files for entries.
pub(crate) fn scan(folder: &Folder, unreadable: Unreadable) -> io::Result<Scanned> {
    let [a, b] = NAMES.map(|name| open_if_there(folder, name));
    let copies = [a?, b?];
    let mut found: [Vec<Found>; 2] = [Vec::new(), Vec::new()];
    let mut unread_bytes = 0;
    for (copy, file) in copies.iter().enumerate() {
        if let Some(file) = file {
            unread_bytes += entry::scan(&**file, unreadable, |offset, head, _| {
                found[copy].push(Found { offset, head, copies: [copy == 0, copy == 1] });
            })?;
        }
    }
    Ok(Scanned { copies, found, unread_bytes })
}

fn open_if_there(folder: &Folder, name: &str) -> io::Result<Option<Box<dyn File>>> {
    match folder.open(name) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn copy_bytes(from: &dyn File, to: &dyn File, end: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < end {
        let count = (end - at).min(CHUNK_BYTES as u64) as usize;
        from.read_at(at, &mut chunk[..count])?;
        to.write_at(at, &chunk[..count])?;
        at += count as u64;
    }
    Ok(())
}

pub(crate) fn read_from<'a>(
    files: impl Iterator<Item = &'a Box<dyn File>>,
    found: &Found,
    entry: &mut Vec<u8>,
) -> io::Result<()> {
    for file in files {
        entry.clear();
        entry.resize(found.head.entry_bytes() as usize, 0);
        if file.read_at(found.offset, entry).is_ok() && entry::parse(entry).is_some_and(|(head, _)| head == found.head)
        {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "an entry of the tail log changed while it was recovered"))
}

/// The highest generation of which this file holds a whole checkpoint.
pub(crate) fn whole_generation(found: &[Found]) -> Option<u32> {
    let generations = found.iter().filter(|found| found.offset == 0 && found.head.kind == Kind::Begin);
    generations
        .map(|found| found.head.generation)
        .filter(|generation| {
            let mut end = 0;
            for found in found.iter().filter(|found| found.head.generation == *generation) {
                if found.offset != end {
                    return false;
                }
                if found.head.kind == Kind::End {
                    return true;
                }
                end = found.end();
            }
            false
        })
        .max()
}

/// What both files hold of one generation, by offset.
pub(crate) fn join(found: [Vec<Found>; 2], generation: u32) -> Vec<Found> {
    let mut all: Vec<Found> = found.into_iter().flatten().filter(|found| found.head.generation == generation).collect();
    // Of two entries at one offset the one of the later commit comes first.
    all.sort_by_key(|found| (found.offset, u32::MAX - found.head.commit, !found.head.last));
    let mut joined: Vec<Found> = Vec::with_capacity(all.len() / 2);
    for found in all {
        match joined.last_mut() {
            Some(last) if last.offset == found.offset && last.head == found.head => {
                last.copies = [last.copies[0] || found.copies[0], last.copies[1] || found.copies[1]];
            }
            _ => joined.push(found),
        }
    }
    joined
}

/// The entries to keep, in order. A hole between them is damage: see [`damage`].
pub(crate) fn keep(seen: &[Found]) -> Vec<Found> {
    let newest = seen.iter().map(|found| found.head.commit).max().unwrap_or(0);
    let mut kept: Vec<Found> = Vec::with_capacity(seen.len());
    let mut end = 0;
    for found in seen {
        let commit = kept.last().map_or(0, |last: &Found| last.head.commit);
        // Behind the newest commit may lie leftovers of an older one; two entries never share a byte.
        if found.offset >= end && found.head.commit >= commit {
            end = found.end();
            kept.push(*found);
        }
    }
    let start = kept.partition_point(|found| found.head.commit < newest);
    if newest > 0 && !is_whole(&kept[start..]) {
        kept.truncate(start);
    }
    kept
}

/// The holes between kept entries.
pub(crate) fn damage(kept: &[Found]) -> Option<Damage> {
    let holes = kept.windows(2).filter(|pair| pair[0].end() < pair[1].offset);
    holes.fold(None, |damage: Option<Damage>, pair| {
        let bytes = damage.map_or(0, |damage| damage.bytes) + pair[1].offset - pair[0].end();
        Some(Damage { end: pair[1].offset as u32, bytes })
    })
}

/// Whether these entries of one commit are all of it.
fn is_whole(commit: &[Found]) -> bool {
    commit.first().is_some_and(|found| found.head.first)
        && commit.last().is_some_and(|found| found.head.last)
        && commit.windows(2).all(|pair| pair[0].end() == pair[1].offset)
}
