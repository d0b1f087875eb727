//! Troubles of gateways that are known by name, told from the samples of each tick.
//!
//! | trouble | holds when | said within |
//! |---|---|---|
//! | disk filling | the trend of 24 minutes fills it in 2 hours and 30 % are left, or that of 6 hours in a day and 40 % | 26 minutes, 6.5 hours |
//! | memory leak | in 6 hours or more the processes of a name have grown all the time, by a quarter and by 2 % of all memory | 6.5 hours |
//! | restart loop | a service had none but new processes in 5 walks, or a machine's boots lasted a quarter of an hour or less 3 times | 10 minutes |
//! | slowed down | the firmware or a voltage's sensor says so | a tick |
//! | read-only | a file system that took writes for half an hour takes none | a tick |
//! | card errors | the kernel's log has them | a tick |
//! | flapping | 6 changes of the carrier, less one every other minute | a tick after the sixth |
//! | modem offline | a modem's interface that had a carrier has none | a minute |
//! | out of memory | the kernel counts a process that it killed, over an hour without one | a tick |
//! | stuck on I/O | a load of 1.5 for each processor, half of it waiting, and the processors idle, for 3 minutes | 4 minutes |
//! | clock jump | civil time moved against the boot's clock by two seconds: `Event::ClockStepped` | a tick |
//!
//! None needs a warm-up but those that look at a trend. A trouble that lasts is said when it begins and when it is over.

use wire::metric::Metric;
use wire::time::{Instant, Span};
use wire::trouble::{Subject, Trouble, subject};

use disk::Disks;
use interface::Interfaces;
use kernel::Kernel;
use memory::Leaks;
use restart::Restarts;
use stuck::Stuck;

use super::lasting::{Change, Lasting, Patience};
use crate::probe::processes::Started;

mod disk;
mod interface;
mod kernel;
mod memory;
mod restart;
mod stuck;

pub use restart::Boots;

/// Takes a trouble that begins or is over, and says whether it was heard.
pub type Say<'a> = dyn FnMut(Trouble, Change) -> bool + 'a;

/// Subjects of each kind that are looked at; further ones are not.
const SUBJECT_COUNT_MAX: usize = 16;

/// How long the firmware must be content again.
const BOARD: Patience = Patience { hold: Span(0), rest: Span::minutes(5) };

/// Everything that is looked for.
#[derive(Debug, Default)]
pub struct Troubles {
    disks: Disks,
    leaks: Leaks,
    restarts: Restarts,
    board: Table<Condition>,
    kernel: Kernel,
    interfaces: Interfaces,
    stuck: Stuck,
}

#[derive(Debug, Default)]
struct Condition {
    is_met: bool,
    lasting: Lasting,
}

impl Troubles {
    /// Takes a sample of a tick.
    pub fn put(&mut self, metric: Metric, labels: &[(&str, &[u8])], value: i64) {
        match metric {
            Metric::FilesystemAvail | Metric::FilesystemSize | Metric::FilesystemReadonly => {
                self.disks.put(metric, label(labels, "mountpoint"), value);
            }
            Metric::GroupMemory => self.leaks.put(label(labels, "groupname"), value),
            Metric::MemoryMemTotal => self.leaks.put_total(value),
            Metric::NetworkCarrier | Metric::NetworkCarrierChanges => {
                self.interfaces.put(metric, label(labels, "device"), value);
            }
            Metric::Throttled => self.put_condition(label(labels, "condition"), value),
            Metric::HwmonInLcritAlarm => self.put_condition(b"under_voltage", value),
            Metric::VmstatOomKill => self.kernel.put_killed(value),
            Metric::Load1 | Metric::ProcsBlocked | Metric::CpuSeconds | Metric::ProcessesState => {
                self.stuck.put(metric, labels, value);
            }
            _ => {}
        }
    }

    fn put_condition(&mut self, condition: &[u8], value: i64) {
        if let Some(condition) = self.board.entry(condition) {
            condition.is_met |= value != 0;
        }
    }

    /// Takes new records of the kernel's log.
    pub fn read_log(&mut self, records: &[u8]) {
        self.kernel.read(records);
    }

    /// Takes the processes of services that a walk found to be new.
    pub fn put_started<'a>(&mut self, now: Instant, started: impl Iterator<Item = Started<'a>>) {
        self.restarts.walk(now, started);
    }

    /// Everything of this tick was put.
    pub fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        self.disks.end_tick(now, say);
        self.leaks.end_tick(now, say);
        self.restarts.end_tick(now, say);
        self.interfaces.end_tick(now, say);
        self.kernel.end_tick(now, say);
        self.stuck.end_tick(now, say);
        for (name, condition) in self.board.iter_mut() {
            let is_met = std::mem::take(&mut condition.is_met);
            let trouble = || Trouble::SlowedDown { condition: name.clone() };
            condition.lasting.update(now, is_met, BOARD, |change| say(trouble(), change));
        }
    }
}

/// What is known of each subject.
#[derive(Debug)]
struct Table<State>(heapless::Vec<(Subject, State), SUBJECT_COUNT_MAX>);

impl<State> Default for Table<State> {
    fn default() -> Self {
        Table(heapless::Vec::new())
    }
}

impl<State: Default> Table<State> {
    /// What is known of a subject, nothing at first. `None`: there are too many.
    fn entry(&mut self, name: &[u8]) -> Option<&mut State> {
        let is_it = |known: &Subject| known.as_bytes() == name;
        let known = self.0.iter().position(|(known, _)| is_it(known));
        let index = known.or_else(|| {
            // A name that was cut is found by what is left of it.
            let name = subject(name);
            let index = self.0.iter().position(|(known, _)| *known == name);
            index.or_else(|| self.0.push((name, State::default())).ok().map(|()| self.0.len() - 1))
        })?;
        Some(&mut self.0[index].1)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (&Subject, &mut State)> {
        self.0.iter_mut().map(|(name, state)| (&*name, state))
    }

    /// Keeps those that `is_of_use` says.
    fn retain(&mut self, mut is_of_use: impl FnMut(&State) -> bool) {
        self.0.retain(|(_, state)| is_of_use(state));
    }
}

/// The value of a label; empty when there is none.
fn label<'a>(labels: &[(&str, &'a [u8])], name: &str) -> &'a [u8] {
    labels.iter().find(|(key, _)| *key == name).map_or(b"", |(_, value)| value)
}

#[cfg(test)]
mod tests;
