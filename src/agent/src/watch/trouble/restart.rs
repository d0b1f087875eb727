//! Services that end and are started again, and machines that do.
//!
//! A service is a child of the first process. Walks see but who lives at the moment, so it is in a loop when its processes were new
//! each time that it was seen. What a timer starts each minute was new as well, but a whole number of minutes after the one before.

use serde::{Deserialize, Serialize};
use wire::time::{BootId, Instant, Span};
use wire::trouble::Trouble;

use super::{Say, Table};
use crate::probe::processes::Started;
use crate::watch::lasting::{Lasting, Patience};

/// Sightings of new processes, one after the other, that make a loop.
const SIGHTING_COUNT: u32 = 5;

/// Two sightings that are farther apart are none of one loop.
const APART_MAX: Span = Span::minutes(5);

/// How far from whole minutes a timer's process may start.
const TIMER_JITTER: Span = Span::seconds(2);

/// A service that has run for so long is out of it.
const LOOP: Patience = Patience { hold: Span(0), rest: Span::minutes(15) };

/// What is known of services that were started of late.
#[derive(Debug, Default)]
pub(super) struct Restarts(Table<Service>);

#[derive(Debug, Default)]
struct Service {
    started: Instant,
    first: Instant,
    seen: Instant,
    count: u32,
    is_looping: bool,
    lasting: Lasting,
}

impl Restarts {
    pub(super) fn walk<'a>(&mut self, now: Instant, started: impl Iterator<Item = Started<'a>>) {
        for Started { name, at } in started {
            let Some(service) = self.0.entry(name) else { continue };
            let since = Span(at.0.abs_diff(service.started.0));
            let beside_minute = Span((since.0 + TIMER_JITTER.0) % Span::minutes(1).0);
            let is_timer = since.0 >= Span::minutes(1).0 - TIMER_JITTER.0 && beside_minute <= Span(2 * TIMER_JITTER.0);
            if service.count == 0 || is_timer || now - service.seen > APART_MAX {
                (service.count, service.first) = (0, at);
            }
            service.count += 1;
            (service.started, service.seen) = (at, now);
            service.is_looping |= service.count >= SIGHTING_COUNT;
        }
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        for (name, service) in self.0.iter_mut() {
            service.is_looping &= now - service.seen <= APART_MAX;
            let (count, within) = (service.count, now - service.first);
            let looping = || Trouble::RestartLoop { group: Some(name.clone()), count, within };
            service.lasting.update(now, service.is_looping, LOOP, |change| say(looping(), change));
        }
        self.0.retain(|service| now - service.seen <= APART_MAX || service.lasting.is_said());
    }
}

/// A boot that lasts for longer is none of a loop.
const SHORT_BOOT: Span = Span::minutes(15);

/// Short boots, one after the other, that make a loop.
const SHORT_BOOT_COUNT: u32 = 3;

/// How the boots of late ended: kept over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    boot: BootId,
    /// How long this one has lasted, as far as it matters.
    lasted: Span,
    /// Short ones before it, and how long they lasted together.
    short_count: u32,
    short: Span,
}

impl Boots {
    /// Goes on with what was kept, if something was.
    pub fn decode(kept: &[u8]) -> Boots {
        postcard::from_bytes(kept).unwrap_or_default()
    }

    /// What is to be kept. It changes a few times in each boot.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("numbers have bytes")
    }

    /// The process starts. Says whether the machine restarts again and again.
    pub fn start(&mut self, boot: BootId) -> Option<Trouble> {
        if boot == self.boot {
            return None;
        }
        let is_short = self.boot != BootId::default() && self.lasted < SHORT_BOOT;
        let (short_count, short) =
            if is_short { (self.short_count + 1, self.short + self.lasted) } else { (0, Span(0)) };
        *self = Boots { boot, lasted: Span(0), short_count, short };
        // Each time that there are twice as many: a machine that starts again and again can afford little.
        let times = self.short_count / SHORT_BOOT_COUNT;
        let is_news = self.short_count.is_multiple_of(SHORT_BOOT_COUNT) && times.is_power_of_two();
        is_news.then(|| self.trouble())
    }

    /// The process still runs, to the minute, so that little is written. Says which loop is over with that.
    pub fn lasts(&mut self, now: Instant) -> Option<Trouble> {
        self.lasted = Span((now.0 / 60_000 * 60_000).min(SHORT_BOOT.0));
        if self.lasted < SHORT_BOOT || self.short_count == 0 {
            return None;
        }
        let over = (self.short_count >= SHORT_BOOT_COUNT).then(|| self.trouble());
        (self.short_count, self.short) = (0, Span(0));
        over
    }

    fn trouble(&self) -> Trouble {
        Trouble::RestartLoop { group: None, count: self.short_count, within: self.short }
    }
}
