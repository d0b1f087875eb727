//! The simulated host: a disk, a store on it, and the hub's core when the power is on.

use hub::Hub;
use hub::hub::{Input, Output, Query, Rows, Ticket};
use store::Store;
use store::change::Change;
use wire::time::{BootId, Instant, Stamp, UnixTime};

use crate::disk::SimDisk;
use crate::gateway::UNIX_START;
use crate::rng::Rng;

const CACHE_BYTES: usize = 4 << 20;

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
        Host { disk: SimDisk::new(rng.split()), running: None, unix_start: UNIX_START, wake_version: 0, life: 0 }
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
        self.wake_version += 1;
        self.life += 1;
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
        let result = running.store.commit(changes);
        if self.disk.is_dead() {
            return None;
        }
        Some(match result {
            Ok(refused) => Input::Committed { ticket, refused },
            Err(error) => Input::CommitFailed { ticket, error: error.to_string() },
        })
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
