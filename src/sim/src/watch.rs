//! What the agent notices of a machine of which the truth is known: nothing in normal weeks, and each trouble in its time.

use std::sync::Arc;

use agent::Agent;
use agent::agent::{Input, Output, Settings};
use agent::probe::Reading;
use agent::question::{Answer, Question};
use agent::way;
use disk::memory::Memory;
use link::client::Timing;
use wire::event::Event;
use wire::id::DeviceId;
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use crate::machine::{Machine, Trouble};

const DAY_S: u64 = 86_400;
const HOUR_S: u64 = 3600;

/// A Monday.
const BEGIN_S: u64 = 1_767_571_200;

/// How many events are asked for each hour.
const EVENT_COUNT_MAX: u32 = 100;

/// Days after which the detectors are warm: those of series see an hour at a time, and need 288 of them.
pub const WARM_DAYS: u64 = 14;

/// What was noticed: seconds since the beginning, and what.
pub type Noticed = Vec<(u64, Event)>;

/// An agent without a hub that watches a machine, a tick every so often.
struct Watched {
    agent: Box<Agent>,
    folder: Arc<Memory>,
    machine: Machine,
    reading: Option<Box<Reading>>,
    interval_s: u64,
    now_s: u64,
    noticed: Noticed,
}

impl Watched {
    fn new(seed: u64, interval_s: u64) -> Result<Watched, String> {
        let folder = Arc::new(Memory::default());
        Ok(Watched {
            agent: open(&folder, seed, (0, interval_s))?,
            folder,
            machine: Machine::new(seed),
            reading: Some(Box::new(Reading::new(4096))),
            interval_s,
            now_s: 0,
            noticed: Vec::new(),
        })
    }

    /// The process ends without a word, and another one starts.
    fn restart(&mut self, seed: u64) -> Result<(), String> {
        self.agent = open(&self.folder, seed, (self.now_s, self.interval_s))?;
        Ok(())
    }

    /// Lets the machine live until `end_s`.
    fn live(&mut self, end_s: u64) {
        while self.now_s < end_s {
            self.now_s += self.interval_s;
            let (now, walks) = (stamp(self.now_s), self.now_s.is_multiple_of(60));
            let mut reading = self.reading.take().unwrap_or_else(|| Box::new(Reading::new(4096)));
            self.machine.tick(BEGIN_S + self.now_s, self.now_s, self.interval_s, walks, &mut reading);
            let mut inputs = vec![Input::Reading { at: now.uptime, reading }];
            if self.now_s.is_multiple_of(HOUR_S) {
                inputs.push(Input::Ask { id: 0, question: Question::Events { count_max: EVENT_COUNT_MAX } });
            }
            self.agent.step(now, inputs);
            while let Some(output) = self.agent.poll_output() {
                match output {
                    Output::Reading(reading) => self.reading = Some(reading),
                    Output::Answer { answer: Answer::Events(events), .. } => self.note(events),
                    _ => {}
                }
            }
        }
    }

    /// Lets a trouble befall the machine until two hours after it should be noticed.
    fn befallen(&mut self, trouble: Trouble) -> Found {
        let (begin_s, said_before, stated_s) = (self.now_s, self.noticed.len(), stated_s(trouble));
        self.machine.befall(Some(trouble));
        self.live(begin_s + stated_s + 2 * HOUR_S);
        self.machine.befall(None);
        let said = self.noticed[said_before..].to_vec();
        let first = said.iter().find(|(at_s, event)| *at_s >= begin_s && names(event, trouble));
        Found { trouble, delay_s: first.map(|(at_s, _)| at_s - begin_s), stated_s, said }
    }

    /// Keeps what is new of the last events.
    fn note(&mut self, events: Vec<(Stamp, Event)>) {
        let since_s = self.now_s - HOUR_S;
        for (stamp, event) in events.into_iter().rev() {
            let at_s = stamp.uptime.0 / 1000;
            let is_of_watch = matches!(
                event,
                Event::Anomaly { .. }
                    | Event::HostAnomaly { .. }
                    | Event::Trouble { .. }
                    | Event::TroubleOver { .. }
                    | Event::Unsaid { .. }
            );
            if at_s > since_s && is_of_watch {
                self.noticed.push((at_s, event));
            }
        }
    }
}

fn settings(interval_s: u64) -> Settings {
    Settings {
        device: DeviceId(0),
        version: "0.1.0-sim".into(),
        hostname: "gw".into(),
        build: UnixTime(0),
        journal: journal::journal::Settings { bytes_max: 64 << 20, ..Default::default() },
        link: Timing::default(),
        has_hub: false,
        interval: Span::seconds(interval_s),
        way: Box::new(way::Settings::simple(
            (Span::minutes(10), Span::minutes(10)),
            Span::minutes(1),
            Default::default(),
        )),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
    }
}

fn open(folder: &Arc<Memory>, seed: u64, (now_s, interval_s): (u64, u64)) -> Result<Box<Agent>, String> {
    let opened = Agent::open(Arc::<Memory>::clone(folder), settings(interval_s), seed, stamp(now_s));
    opened.map(Box::new).map_err(|error| error.to_string())
}

fn stamp(now_s: u64) -> Stamp {
    let unix = Some(UnixTime((BEGIN_S + now_s) * 1000));
    Stamp { boot: BootId(1), uptime: Instant(now_s * 1000), unix }
}

/// What is noticed in so many days of a machine that nothing befalls, with a tick every `interval_s`.
///
/// Errors: the journal does not open.
pub fn normal(seed: u64, days: u64, interval_s: u64) -> Result<Noticed, String> {
    let mut watched = Watched::new(seed, interval_s)?;
    watched.live(days * DAY_S);
    Ok(watched.noticed)
}

/// How one trouble was noticed.
#[derive(Clone, Debug)]
pub struct Found {
    /// What befell the machine.
    pub trouble: Trouble,
    /// After how many seconds it was noticed; `None`: not while it lasted.
    pub delay_s: Option<u64>,
    /// Within how many it should be.
    pub stated_s: u64,
    /// Everything that was said until it was mended.
    pub said: Noticed,
}

impl Found {
    /// Whether it was noticed within its time.
    pub fn is_in_time(&self) -> bool {
        self.delay_s.is_some_and(|delay_s| delay_s <= self.stated_s)
    }
}

/// One trouble after another, each on a day of its own, after [`WARM_DAYS`] of nothing.
///
/// Errors: the journal does not open.
pub fn troubles(seed: u64, interval_s: u64) -> Result<Vec<Found>, String> {
    let mut watched = Watched::new(seed, interval_s)?;
    watched.live(WARM_DAYS * DAY_S);
    let mut found = Vec::new();
    for trouble in Trouble::ALL {
        // At different times of the day.
        let begin_s = watched.now_s + HOUR_S * (seed + found.len() as u64 * 5) % (12 * HOUR_S) / HOUR_S * HOUR_S + 600;
        watched.live(begin_s);
        found.push(watched.befallen(trouble));
        // What is left of it is over by the next noon.
        watched.live((watched.now_s / DAY_S + 2) * DAY_S);
    }
    Ok(found)
}

/// A trouble on an evening after [`WARM_DAYS`] of nothing, an hour after the process was killed and another one started.
///
/// Errors: the journal does not open.
pub fn after_restart(seed: u64, interval_s: u64, trouble: Trouble) -> Result<Found, String> {
    let mut watched = Watched::new(seed, interval_s)?;
    watched.live(WARM_DAYS * DAY_S + 20 * HOUR_S);
    watched.restart(seed + 1)?;
    watched.live(watched.now_s + HOUR_S);
    Ok(watched.befallen(trouble))
}

/// Within how many seconds a trouble is to be noticed: what `agent::watch` states, and of what has no name three windows.
fn stated_s(trouble: Trouble) -> u64 {
    match trouble {
        Trouble::WeakSupply | Trouble::ReadOnly | Trouble::CardErrors | Trouble::OutOfMemory => 60,
        Trouble::Flapping | Trouble::ModemOffline => 120,
        Trouble::StuckOnIo => 360,
        Trouble::RestartLoop => 600,
        Trouble::Miner => 900,
        Trouble::FanStops => 3 * HOUR_S,
        // It is looked at when less than a third is left.
        Trouble::DiskFills => 6000,
        Trouble::Leak => 6 * HOUR_S + 1800,
    }
}

/// Whether an event tells of a trouble.
fn names(event: &Event, trouble: Trouble) -> bool {
    match event {
        Event::Anomaly { series, .. } => trouble == Trouble::FanStops && series.starts_with("node_thermal_zone_temp"),
        Event::HostAnomaly { .. } => trouble == Trouble::Miner,
        Event::Trouble { trouble: told } => {
            told.word()
                == match trouble {
                    Trouble::DiskFills => "disk_filling",
                    Trouble::Leak => "memory_leak",
                    Trouble::RestartLoop => "restart_loop",
                    Trouble::WeakSupply => "slowed_down",
                    Trouble::ReadOnly => "read_only",
                    Trouble::CardErrors => "card_errors",
                    Trouble::Flapping => "flapping",
                    Trouble::ModemOffline => "modem_offline",
                    Trouble::OutOfMemory => "out_of_memory",
                    Trouble::StuckOnIo => "stuck_on_io",
                    Trouble::FanStops | Trouble::Miner => return false,
                }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_noticed_in_its_time() {
        for found in troubles(1, 60).unwrap() {
            assert!(found.is_in_time(), "{found:#?}");
        }
    }

    #[test]
    fn a_process_that_starts_anew_knows_what_the_one_before_knew() {
        for trouble in [Trouble::FanStops, Trouble::Miner] {
            let found = after_restart(2, 60, trouble).unwrap();
            assert!(found.is_in_time(), "{found:#?}");
        }
    }

    #[test]
    fn a_normal_month_is_quiet() {
        let noticed = normal(1, 30, 60).unwrap();
        assert!(noticed.len() <= 3, "{noticed:#?}");
    }
}
