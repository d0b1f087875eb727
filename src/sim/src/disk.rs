//! A folder that loses power, tears and garbles blocks, fills up and fails.
//!
//! Each file has a durable image, what the process sees, and the writes between the two. A power cut
//! builds the image that the next boot finds, in one of the ways that real cards do it:
//!
//! | [`Cut`] | what becomes of each unsynced write |
//! |---|---|
//! | `Dropped` | gone |
//! | `Torn` | all up to one, which is cut at a 512-byte sector |
//! | `Reordered` | each sector there or not, by itself |
//! | `Kept` | there: the process was killed, the machine was not |
//! | `Garbled(n)` | as `Reordered`, and the n-byte block around one of them is noise, synced bytes included (shorn flash pages: Tseng, Grupp, Swanson, DAC 2011) |
//!
//! Names follow the same rule: creations, renames and removals that were not synced happen up to some point.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::{Directory, File, Folder};

use crate::rng::Rng;

const SECTOR_BYTES: u64 = 512;

/// What a power cut does to writes in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Unsynced writes are gone.
    Dropped,
    /// A prefix of them survives, the last one torn at a sector.
    Torn,
    /// Each sector survives or not.
    Reordered,
    /// All survive.
    Kept,
    /// As `Reordered`, and one aligned block of so many bytes is noise.
    Garbled(u64),
}

impl Cut {
    /// Every kind that the journal must survive.
    pub const ALL: [Cut; 7] = [
        Cut::Dropped,
        Cut::Torn,
        Cut::Reordered,
        Cut::Kept,
        Cut::Garbled(4096),
        Cut::Garbled(16 * 1024),
        Cut::Garbled(64 * 1024),
    ];
}

/// Which calls fail with an I/O error: one in so many, zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Of writes, syncs and changes of names.
    pub changes_one_in: u64,
    /// Of opens and reads.
    pub looks_one_in: u64,
}

/// What a disk holds durably, as a backup has it.
#[derive(Clone, Debug)]
pub struct Image {
    files: BTreeMap<u64, Contents>,
    names: BTreeMap<String, u64>,
}

/// A simulated disk with one flat folder. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    rng: Rng,
    /// Counts power cycles, so that handles from before a cut stay dead.
    epoch: u64,
    files: BTreeMap<u64, Contents>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    renames: Vec<NameChange>,
    file_count: u64,
    call_count: u64,
    cut_at: Option<u64>,
    dead: bool,
    capacity_bytes: u64,
    errors: Errors,
    /// Regions that no read gets past: file, first byte, byte behind the last.
    unreadable: Vec<(u64, u64, u64)>,
    written_bytes: u64,
    sync_count: u64,
    trace: u64,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    seen: Vec<u8>,
    in_flight: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, file: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Create { name, file } => {
            names.insert(name.clone(), *file);
        }
        NameChange::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove { name } => {
            names.remove(name);
        }
    }
}

fn put(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

/// FNV-1a over words of eight bytes, and the length.
fn digest(trace: u64, bytes: &[u8]) -> u64 {
    let mix = |trace: u64, word: u64| (trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let (words, rest) = bytes.as_chunks();
    let trace = words.iter().fold(mix(trace, bytes.len() as u64), |trace, word| mix(trace, u64::from_le_bytes(*word)));
    rest.iter().fold(trace, |trace, byte| mix(trace, u64::from(*byte)))
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn io_error() -> io::Error {
    io::Error::other("simulated input/output error")
}

impl SimDisk {
    /// An empty disk.
    pub fn new(rng: Rng) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Platter {
            rng,
            epoch: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renames: Vec::new(),
            file_count: 0,
            call_count: 0,
            cut_at: None,
            dead: false,
            capacity_bytes: u64::MAX,
            errors: Errors::default(),
            unreadable: Vec::new(),
            written_bytes: 0,
            sync_count: 0,
            trace: 0,
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk that holds what is durable on this one.
    pub fn copy(&self) -> SimDisk {
        let (copy, file_count) = (SimDisk::new(Rng::new(0)), self.platter().file_count);
        copy.put_back(&self.image());
        copy.platter().file_count = file_count;
        copy
    }

    /// The folder as the running boot sees it. Dies with the next power cut.
    pub fn folder(&self) -> Folder {
        Arc::new(SimFolder { disk: self.clone(), epoch: self.platter().epoch })
    }

    /// Cuts the power at the `calls`-th storage call from now, 1 being the next one.
    pub fn cut_after(&self, calls: u64) {
        let mut platter = self.platter();
        platter.cut_at = Some(platter.call_count + calls);
    }

    /// Takes back a cut that has not come yet.
    pub fn never_cut(&self) {
        self.platter().cut_at = None;
    }

    /// Whether the power is off.
    pub fn is_dead(&self) -> bool {
        self.platter().dead
    }

    /// Storage calls so far that could fail: all but reads.
    pub fn call_count(&self) -> u64 {
        self.platter().call_count
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.platter().written_bytes
    }

    /// Syncs so far.
    pub fn sync_count(&self) -> u64 {
        self.platter().sync_count
    }

    /// A hash over every write, name change and sync so far.
    pub fn trace(&self) -> u64 {
        self.platter().trace
    }

    /// Sets which calls fail from now on.
    pub fn set_errors(&self, errors: Errors) {
        self.platter().errors = errors;
    }

    /// Makes one write, sync or change of a name in `n` fail; zero stops it.
    pub fn fail_one_in(&self, n: u64) {
        self.set_errors(Errors { changes_one_in: n, looks_one_in: 0 });
    }

    /// Lets every read of these bytes of a file fail, for as long as the file lives.
    ///
    /// Panics: when there is no such file.
    pub fn spoil(&self, name: &str, offset: u64, bytes: u64) {
        let mut platter = self.platter();
        let file = platter.names[name];
        platter.unreadable.push((file, offset, offset + bytes));
    }

    /// Bytes of a file; none when there is no such file.
    pub fn file_bytes(&self, name: &str) -> Option<u64> {
        let platter = self.platter();
        platter.names.get(name).map(|file| platter.files[file].seen.len() as u64)
    }

    /// Takes everything that a file held, behind everybody's back: it is gone, empty or noise.
    pub fn ruin(&self, name: &str, rng: &mut Rng) {
        match rng.below(3) {
            _ if self.file_bytes(name).is_none() => {}
            0 => {
                let mut platter = self.platter();
                platter.names.remove(name);
                platter.durable_names.remove(name);
            }
            1 => self.damage(name, Vec::clear),
            _ => self.damage(name, |bytes| rng.fill(bytes)),
        }
    }

    /// A copy of what is durable at this moment.
    pub fn image(&self) -> Image {
        let platter = self.platter();
        Image { files: platter.files.clone(), names: platter.durable_names.clone() }
    }

    /// Puts an older copy in the place of everything. The power was off meanwhile.
    pub fn put_back(&self, image: &Image) {
        let mut platter = self.platter();
        platter.files = image.files.clone();
        platter.durable_names = image.names.clone();
        platter.renames.clear();
        platter.files.values_mut().for_each(|contents| contents.in_flight.clear());
        platter.power_cycle(Cut::Dropped);
    }

    /// Sets how many bytes all files may have.
    pub fn set_capacity(&self, bytes: u64) {
        self.platter().capacity_bytes = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.platter().used_bytes()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.platter().names.keys().cloned().collect()
    }

    /// Changes bytes at rest, behind everybody's back.
    ///
    /// Panics: when there is no such file.
    pub fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut platter = self.platter();
        let file = platter.names[name];
        let contents = platter.files.get_mut(&file).expect("every name has contents");
        damage(&mut contents.durable);
        contents.seen = contents.durable.clone();
        contents.in_flight.clear();
    }

    /// Takes the power away and gives it back: what [`SimDisk::folder`] then shows is what survived.
    pub fn power_cycle(&self, cut: Cut) {
        let mut platter = self.platter();
        platter.power_cycle(cut);
    }
}

impl Platter {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[file].seen.len() as u64).sum()
    }

    fn is_failing(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.rng.one_in(one_in)
    }

    /// Fails an open or a read when its time has come.
    fn look(&mut self, epoch: u64) -> io::Result<()> {
        if self.dead || epoch != self.epoch {
            return Err(no_power());
        }
        if self.is_failing(self.errors.looks_one_in) { Err(io_error()) } else { Ok(()) }
    }

    fn is_unreadable(&self, file: u64, start: u64, end: u64) -> bool {
        self.unreadable.iter().any(|(bad, first, behind)| *bad == file && *first < end && start < *behind)
    }

    /// Counts a call that may fail, and fails it when its time has come.
    fn call(&mut self, epoch: u64, what: u64, bytes: &[u8]) -> io::Result<()> {
        if self.dead || epoch != self.epoch {
            return Err(no_power());
        }
        self.call_count += 1;
        if self.cut_at.is_some_and(|at| self.call_count >= at) {
            self.dead = true;
            return Err(no_power());
        }
        if self.is_failing(self.errors.changes_one_in) {
            return Err(io_error());
        }
        self.trace = digest(digest(self.trace, &[what as u8]), bytes);
        Ok(())
    }

    fn power_cycle(&mut self, cut: Cut) {
        let mut rng = self.rng.split();
        let happened = match cut {
            Cut::Dropped => 0,
            Cut::Kept => self.renames.len(),
            _ => rng.below(self.renames.len() as u64 + 1) as usize,
        };
        for change in &self.renames[..happened] {
            apply_name(&mut self.durable_names, change);
        }
        self.renames.clear();
        self.names = self.durable_names.clone();
        let named: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));

        let probability = *rng.choose(&[10u64, 50, 90]);
        let mut around: Vec<(u64, u64)> = Vec::new();
        for (file, contents) in &mut self.files {
            for change in &contents.in_flight {
                if let Change::Write { offset, .. } = change {
                    around.push((*file, *offset));
                }
            }
            let changes = std::mem::take(&mut contents.in_flight);
            let end = rng.below(changes.len() as u64 + 1) as usize;
            for (index, change) in changes.iter().enumerate() {
                match (cut, change) {
                    (Cut::Dropped, _) => {}
                    (Cut::Torn, _) if index > end => {}
                    (Cut::Torn, Change::Write { offset, bytes }) if index == end => {
                        let sectors = (bytes.len() as u64).div_ceil(SECTOR_BYTES);
                        let kept = (rng.below(sectors + 1) * SECTOR_BYTES).min(bytes.len() as u64);
                        put(&mut contents.durable, *offset, &bytes[..kept as usize]);
                    }
                    (Cut::Torn | Cut::Kept, Change::Write { offset, bytes }) => {
                        put(&mut contents.durable, *offset, bytes);
                    }
                    (Cut::Torn | Cut::Kept, Change::Length(length)) => {
                        contents.durable.resize(*length as usize, 0);
                    }
                    (Cut::Reordered | Cut::Garbled(_), Change::Length(length)) => {
                        if rng.below(100) < probability {
                            contents.durable.resize(*length as usize, 0);
                        }
                    }
                    (Cut::Reordered | Cut::Garbled(_), Change::Write { offset, bytes }) => {
                        let mut at = 0;
                        while at < bytes.len() {
                            let position = offset + at as u64;
                            let boundary = (position / SECTOR_BYTES + 1) * SECTOR_BYTES;
                            let next = ((boundary - offset) as usize).min(bytes.len());
                            if rng.below(100) < probability {
                                put(&mut contents.durable, position, &bytes[at..next]);
                            }
                            at = next;
                        }
                    }
                }
            }
        }
        if let (Cut::Garbled(block_bytes), false) = (cut, around.is_empty()) {
            let (file, offset) = *rng.choose(&around);
            let image = &mut self.files.get_mut(&file).expect("files in flight are kept above").durable;
            let start = (offset / block_bytes * block_bytes) as usize;
            let end = (start + block_bytes as usize).min(image.len());
            if start < end {
                rng.fill(&mut image[start..end]);
            }
        }
        for contents in self.files.values_mut() {
            contents.seen = contents.durable.clone();
        }
        self.epoch += 1;
        self.dead = false;
        self.cut_at = None;
    }
}

#[derive(Debug)]
struct SimFolder {
    disk: SimDisk,
    epoch: u64,
}

impl SimFolder {
    fn file(&self, file: u64) -> Box<dyn File> {
        Box::new(SimFile { disk: self.disk.clone(), epoch: self.epoch, file, has_failed: AtomicBool::new(false) })
    }
}

impl Directory for SimFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut platter = self.disk.platter();
        platter.look(self.epoch)?;
        Ok(platter.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut platter = self.disk.platter();
        platter.look(self.epoch)?;
        let file = *platter.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(platter);
        Ok(self.file(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut platter = self.disk.platter();
        platter.call(self.epoch, 1, name.as_bytes())?;
        if platter.used_bytes() >= platter.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.file_count += 1;
        let file = platter.file_count;
        platter.files.insert(file, Contents::default());
        let change = NameChange::Create { name: name.into(), file };
        apply_name(&mut platter.names, &change);
        platter.renames.push(change);
        drop(platter);
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.disk.platter();
        platter.call(self.epoch, 2, to.as_bytes())?;
        if !platter.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Rename { from: from.into(), to: to.into() };
        apply_name(&mut platter.names, &change);
        platter.renames.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut platter = self.disk.platter();
        platter.call(self.epoch, 3, name.as_bytes())?;
        if !platter.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Remove { name: name.into() };
        apply_name(&mut platter.names, &change);
        platter.renames.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.disk.platter();
        platter.call(self.epoch, 4, &[])?;
        platter.sync_count += 1;
        platter.durable_names = platter.names.clone();
        platter.renames.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let platter = self.disk.platter();
        Ok(platter.capacity_bytes.saturating_sub(platter.used_bytes()))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    epoch: u64,
    file: u64,
    /// A sync failed: no later one succeeds.
    has_failed: AtomicBool,
}

impl SimFile {
    fn change(&self, what: u64, bytes: &[u8], grown: u64, change: impl FnOnce(&mut Contents)) -> io::Result<()> {
        let mut platter = self.disk.platter();
        let platter = &mut *platter;
        if platter.dead || platter.epoch != self.epoch {
            return Err(no_power());
        }
        let used = platter.used_bytes();
        let contents = platter.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let more = grown.saturating_sub(contents.seen.len() as u64);
        if more > 0 && used + more > platter.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // The change is in flight when the power goes during its own call.
        change(contents);
        platter.written_bytes += bytes.len() as u64;
        platter.call(self.epoch, what, bytes)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let platter = self.disk.platter();
        if platter.dead || platter.epoch != self.epoch {
            return Err(no_power());
        }
        Ok(platter.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?.seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut platter = self.disk.platter();
        platter.look(self.epoch)?;
        if platter.is_unreadable(self.file, offset, offset.saturating_add(buffer.len() as u64)) {
            return Err(io_error());
        }
        let seen = &platter.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?.seen;
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= seen.len() as u64);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(&seen[offset as usize..end as usize]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(5, bytes, offset + bytes.len() as u64, |contents| {
            put(&mut contents.seen, offset, bytes);
            contents.in_flight.push(Change::Write { offset, bytes: bytes.to_vec() });
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(6, &[], bytes, |contents| {
            contents.seen.resize(bytes as usize, 0);
            contents.in_flight.push(Change::Length(bytes));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.disk.platter();
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync of this handle failed"));
        }
        if let Err(error) = platter.call(self.epoch, 7, &[]) {
            self.has_failed.store(true, Ordering::Relaxed);
            return Err(error);
        }
        platter.sync_count += 1;
        let contents = platter.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        for change in std::mem::take(&mut contents.in_flight) {
            match change {
                Change::Write { offset, bytes } => put(&mut contents.durable, offset, &bytes),
                Change::Length(length) => contents.durable.resize(length as usize, 0),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Folder, name: &str) -> Vec<u8> {
        let file = folder.open(name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn synced_bytes_survive_and_others_may_not() {
        let disk = SimDisk::new(Rng::new(1));
        let folder = disk.folder();
        let file = folder.create("a").unwrap();
        file.write_at(0, b"kept").unwrap();
        file.sync().unwrap();
        folder.sync().unwrap();
        file.write_at(4, b"lost").unwrap();
        folder.create("b").unwrap();
        disk.power_cycle(Cut::Dropped);
        assert!(file.len().is_err(), "a handle from before the cut is dead");
        assert_eq!(disk.names(), ["a"]);
        assert_eq!(read(&disk.folder(), "a"), b"kept");
    }

    #[test]
    fn a_garbled_block_takes_synced_neighbours_with_it() {
        let disk = SimDisk::new(Rng::new(2));
        let folder = disk.folder();
        let file = folder.create("a").unwrap();
        file.write_at(0, &[7; 3 * 4096]).unwrap();
        file.sync().unwrap();
        folder.sync().unwrap();
        file.write_at(5000, b"x").unwrap();
        disk.power_cycle(Cut::Garbled(4096));
        let bytes = read(&disk.folder(), "a");
        assert!(bytes[..4096].iter().all(|byte| *byte == 7));
        assert!(bytes[4096..8192].iter().any(|byte| *byte != 7));
        assert!(bytes[8192..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_spoiled_place_is_never_read_again_and_its_neighbours_are() {
        let disk = SimDisk::new(Rng::new(4));
        let folder = disk.folder();
        let file = folder.create("a").unwrap();
        file.write_at(0, &[7; 300]).unwrap();
        disk.spoil("a", 100, 100);
        file.write_at(100, &[8; 100]).unwrap();
        let mut buffer = [0; 100];
        let outcomes = [0, 50, 150, 200].map(|offset| file.read_at(offset, &mut buffer).is_ok());
        assert_eq!(outcomes, [true, false, false, true]);
    }

    #[test]
    fn what_is_put_back_is_what_was_durable_when_it_was_copied() {
        let disk = SimDisk::new(Rng::new(5));
        let file = disk.folder().create("a").unwrap();
        file.write_at(0, b"old").unwrap();
        file.sync().unwrap();
        disk.folder().sync().unwrap();
        file.write_at(0, b"new").unwrap();
        let image = disk.image();
        file.sync().unwrap();
        disk.folder().remove("a").unwrap();
        disk.put_back(&image);
        assert_eq!(read(&disk.folder(), "a"), b"old");
        assert!(file.len().is_err(), "a handle from before is dead");
    }

    #[test]
    fn a_full_disk_refuses_growth_and_still_removes() {
        let disk = SimDisk::new(Rng::new(3));
        disk.set_capacity(100);
        let folder = disk.folder();
        let file = folder.create("a").unwrap();
        file.write_at(0, &[0; 100]).unwrap();
        assert_eq!(file.write_at(100, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(0, b"x").unwrap();
        folder.remove("a").unwrap();
        assert_eq!(folder.free_bytes().unwrap(), 100);
    }
}
