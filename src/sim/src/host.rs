//! The simulated host: a disk, a store on it, and the hub's core when the power is on.

use std::collections::BTreeMap;

use hub::Hub;
use hub::hub::{Input, Output, Query, Rows, Ticket};
use store::Store;
use store::change::Change;
use wire::id::{DeviceId, JournalId, Seq};
use wire::ranges::RangeSet;
use wire::record::Record;
use wire::stream::{Lane, STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Stamp, UnixTime};

use crate::disk::{Image, SimDisk};
use crate::gateway::UNIX_START;
use crate::rng::Rng;

const CACHE_BYTES: usize = 4 << 20;

/// The number that opened the run of a batch.
pub type Runs = BTreeMap<(DeviceId, JournalId, Stream, Seq), Seq>;

/// The simulated host.
#[derive(Debug)]
pub struct Host {
    /// Its disk.
    pub disk: SimDisk,
    /// The core and its store, while the process runs.
    pub running: Option<Running>,
    /// The calendar at the world's first moment.
    pub unix_start: UnixTime,
    /// Counts what invalidates a wake-up call that is on its way.
    pub wake_version: u64,
    /// Counts lives of the process, so that a commit of an older one is not carried out.
    pub life: u64,
    /// A copy of the disk.
    pub backup: Option<Image>,
    /// Whether rows of the state wait for a commit that has more: of years, half the time goes into what is seen of a device.
    pub puts_off_rows: bool,
    put_off: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The number that opened the run of each batch of ticks that ever came.
    pub runs: Runs,
}

/// The hub's process.
#[derive(Debug)]
pub struct Running {
    /// The core.
    pub hub: Hub,
    /// Its store.
    pub store: Store,
}

impl Host {
    /// A host that was never on.
    pub fn new(rng: &mut Rng) -> Host {
        Host {
            disk: SimDisk::new(rng.split()),
            running: None,
            unix_start: UNIX_START,
            wake_version: 0,
            life: 0,
            backup: None,
            puts_off_rows: false,
            put_off: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// The host's clock, which is right.
    pub fn stamp(&self, now_ms: u64) -> Stamp {
        Stamp { boot: BootId(1), uptime: Instant(now_ms), unix: Some(UnixTime(self.unix_start.0 + now_ms)) }
    }

    /// The process starts, with these rows added to its state first.
    ///
    /// Errors: the store does not open, in words. With the power on that must not happen.
    pub fn start(&mut self, now_ms: u64, seed_rows: &[Change]) -> Result<(), String> {
        self.life += 1;
        let store = Store::open(self.disk.folder(), CACHE_BYTES).map_err(|error| error.to_string())?;
        if !seed_rows.is_empty() {
            store.commit(seed_rows).map_err(|error| error.to_string())?;
        }
        let rows = store.scan(b"").map_err(|error| error.to_string())?;
        let (hub, unread) = Hub::open(rows, self.stamp(now_ms));
        if !unread.is_empty() {
            return Err(format!("{} rows of the hub's state do not read", unread.len()));
        }
        self.running = Some(Running { hub, store });
        Ok(())
    }

    /// The process is gone.
    pub fn end(&mut self) {
        self.running = None;
        self.put_off.clear();
        self.wake_version += 1;
        self.life += 1;
    }

    /// Copies the disk while the process runs.
    pub fn back_up(&mut self) {
        if self.running.is_some() {
            self.backup = Some(self.disk.image());
        }
    }

    /// Puts the copy in the place of the disk, if there is one. The process is gone by then.
    pub fn restore(&mut self) {
        if let Some(image) = &self.backup {
            self.disk.put_back(image);
        }
    }

    /// One step of the core and its outputs.
    pub fn step(&mut self, now_ms: u64, inputs: Vec<Input>) -> Vec<Output> {
        let now = self.stamp(now_ms);
        let Some(running) = &mut self.running else { return Vec::new() };
        running.hub.step(now, inputs);
        let mut outputs = Vec::new();
        while let Some(output) = running.hub.poll_output() {
            outputs.push(output);
        }
        outputs
    }

    /// Carries out a commit. What comes of it is an input, unless the power went meanwhile.
    pub fn commit(&mut self, ticket: Ticket, changes: &[Change]) -> Option<Input> {
        let running = self.running.as_ref()?;
        let rows = || changes.iter().filter_map(row);
        if self.puts_off_rows && rows().count() == changes.len() {
            self.put_off.extend(rows().map(|(key, value)| (key.clone(), value.clone())));
            return Some(Input::Committed { ticket, refused: Vec::new() });
        }
        rows().for_each(|(key, _)| drop(self.put_off.remove(key)));
        // Behind the others, so that what is refused keeps its place.
        let put_off = std::mem::take(&mut self.put_off).into_iter().map(|(key, value)| Change::Put { key, value });
        let all: Vec<Change> = changes.iter().cloned().chain(put_off).collect();
        let result = running.store.commit(&all);
        // When the power goes in a commit, what it stored is there all the same.
        self.note_runs(changes);
        if self.disk.is_dead() {
            return None;
        }
        Some(match result {
            Ok(refused) => Input::Committed { ticket, refused },
            Err(error) => Input::CommitFailed { ticket, error: error.to_string() },
        })
    }

    fn note_runs(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Record { device, journal, record, .. } = change
                && let Ok(Record { header, .. }) = Record::open(record)
                && header.stream.lane() == Lane::Raw
            {
                self.runs.insert((*device, *journal, header.stream, header.seq), header.run);
            }
        }
    }

    /// What is held or known to be lost of a journal, by stream. Nothing while the process does not run.
    pub fn held(&self, device: DeviceId, journal: JournalId) -> [RangeSet; STREAM_COUNT] {
        let mut held: [RangeSet; STREAM_COUNT] = Default::default();
        let progress = self.running.as_ref().and_then(|running| running.store.progress(device, journal).ok());
        for progress in progress.into_iter().flatten() {
            held[progress.stream.index()] = progress.held;
        }
        held
    }

    /// Answers a read.
    pub fn read(&self, ticket: Ticket, query: &Query) -> Option<Input> {
        let store = &self.running.as_ref()?.store;
        let Query::Progress { device, journal } = query;
        let rows = (|| {
            let missing = store.missing_dictionaries(*device).ok()?;
            let missing = missing.into_iter().filter(|missing| missing.journal == *journal);
            Some(Rows::Progress {
                progress: store.progress(*device, *journal).ok()?.into_iter().collect(),
                missing_generations: missing.map(|missing| missing.generation).collect(),
            })
        })();
        Some(Input::Rows { ticket, rows })
    }
}

/// A change's row of the state, if it is one.
fn row(change: &Change) -> Option<(&Vec<u8>, &Vec<u8>)> {
    if let Change::Put { key, value } = change { Some((key, value)) } else { None }
}
