//! What happened, in a span of time.

use std::collections::BTreeMap;

use wire::batch::events;
use wire::event::Event;
use wire::id::DeviceId;
use wire::stream::Stream;
use wire::time::{BootId, Instant, UnixTime};

use crate::Store;
use crate::audit;
use crate::boot::{Calendar, place};
use crate::error::StoreError;
use crate::notes::Notes;
use crate::run::{self, Walker};

/// One event, with its place in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// On which device.
    pub device: DeviceId,
    /// In which boot.
    pub boot: BootId,
    /// When, on the clock of that boot.
    pub uptime: Instant,
    /// When, on the calendar; `None` when nothing places the boot.
    pub at: Option<UnixTime>,
    /// What.
    pub event: Event,
}

/// The events of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The newest ones that lie in the span, oldest first.
    pub placed: Vec<Happened>,
    /// The last ones of boots that cannot be placed, by device and boot, in order within each.
    pub unplaced: Vec<Happened>,
    /// Whether more events lie in the span and were left out.
    pub is_cut: bool,
    /// Events that this version does not know.
    pub unknown_count: u64,
    /// What the answer lacks.
    pub notes: Notes,
}

impl Store {
    /// What happened on `devices`, or on all when `None`, from `from` to `to`: the newest `limit` of each list.
    pub fn events(
        &self,
        devices: Option<&[DeviceId]>,
        from: UnixTime,
        to: UnixTime,
        limit: usize,
    ) -> Result<Events, StoreError> {
        self.events_where(devices, from, to, limit, |_| true)
    }

    /// The same of the events alone that `is_wanted`: others take no room of theirs.
    pub fn events_where(
        &self,
        devices: Option<&[DeviceId]>,
        from: UnixTime,
        to: UnixTime,
        limit: usize,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<Events, StoreError> {
        let view = self.view()?;
        let all: Vec<DeviceId>;
        let devices = match devices {
            Some(devices) => devices,
            None => {
                all = audit::device_ids(&view)?;
                &all
            }
        };
        let mut answer = Events::default();
        let (mut placed, mut unplaced) = (BTreeMap::new(), BTreeMap::new());
        let mut walker = Walker::default();
        for &device in devices {
            let calendar = Calendar::of(&view, device)?;
            for journal in run::journals(&view, device, Stream::Event)? {
                for run in run::runs(&view, device, journal, Stream::Event)? {
                    let run = run?;
                    let began = calendar.began(run.row.boot);
                    if began.is_some_and(|began| !run.overlaps(began, from, to)) {
                        continue;
                    }
                    let Events { notes, unknown_count, is_cut, .. } = &mut answer;
                    walker.payloads(&view, &run, notes, |header, payload| {
                        let boot = header.stamp.boot;
                        let began = calendar.began(boot);
                        for (index, item) in events(payload).enumerate() {
                            let Ok((after, event)) = item else { return false };
                            let uptime = header.stamp.uptime + after;
                            let at = began.map(|began| place(began, uptime));
                            if at.is_some_and(|at| at < from || at > to) {
                                continue;
                            }
                            let Some(event) = event else {
                                *unknown_count += 1;
                                continue;
                            };
                            if !is_wanted(&event) {
                                continue;
                            }
                            let happened = Happened { device, boot, uptime, at, event };
                            let order = (at, device, boot, uptime, journal, header.seq, index);
                            let list = if at.is_some() { &mut placed } else { &mut unplaced };
                            list.insert(order, happened);
                            if list.len() > limit {
                                list.pop_first();
                                *is_cut = true;
                            }
                        }
                        true
                    })?;
                }
            }
        }
        answer.placed = placed.into_values().collect();
        answer.unplaced = unplaced.into_values().collect();
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{BEGAN, Gateway, reseal, store_of};

    fn uptimes(list: &[Happened]) -> Vec<(u64, u64)> {
        list.iter().map(|happened| (happened.device.0, happened.uptime.0)).collect()
    }

    #[test]
    fn events_of_all_devices_stand_in_the_order_of_time() {
        let (mut one, mut two) = (Gateway::new(1), Gateway::new(2));
        let missed = |count| Event::TicksMissed { count };
        let changes: Vec<_> = (0..5)
            .flat_map(|n| [one.event(n * 1000, &missed(1)), two.event(n * 1000 + 500, &Event::Stopped)])
            .collect();
        let store = store_of(&changes);
        let (from, to) = (UnixTime(BEGAN + 1000), UnixTime(BEGAN + 3000));
        let events = store.events(None, from, to, 10).unwrap();
        assert_eq!(uptimes(&events.placed), [(1, 1000), (2, 1500), (1, 2000), (2, 2500), (1, 3000)]);
        assert_eq!((events.placed[0].at, events.is_cut), (Some(from), false));
        assert_eq!(events.placed[1].event, Event::Stopped);
        let newest = store.events(Some(&[DeviceId(1)]), from, to, 2).unwrap();
        assert_eq!((uptimes(&newest.placed), newest.is_cut), (vec![(1, 2000), (1, 3000)], true));
    }

    #[test]
    fn events_that_are_not_wanted_push_no_wanted_one_out() {
        let mut gateway = Gateway::new(1);
        let missed = |count| Event::TicksMissed { count };
        let mut changes = vec![gateway.event(0, &Event::Stopped)];
        changes.extend((1..50).map(|n| gateway.event(n * 1000, &missed(1))));
        let store = store_of(&changes);
        let stopped = |event: &Event| *event == Event::Stopped;
        let found = store.events_where(None, UnixTime(0), UnixTime(u64::MAX), 1, stopped).unwrap();
        assert_eq!((uptimes(&found.placed), found.is_cut), (vec![(1, 0)], false));
    }

    #[test]
    fn events_of_a_boot_that_nothing_places_stand_apart() {
        let mut gateway = Gateway::new(1);
        gateway.has_clock = false;
        let store = store_of(&[gateway.event(5, &Event::Stopped), gateway.event(9, &Event::StorageRecovered)]);
        let events = store.events(None, UnixTime(0), UnixTime(u64::MAX), 10).unwrap();
        assert_eq!((events.placed.len(), uptimes(&events.unplaced)), (0, vec![(1, 5), (1, 9)]));
    }

    #[test]
    fn an_event_of_a_later_version_and_damage_are_counted() {
        let mut gateway = Gateway::new(1);
        let later = reseal(&gateway.event(1000, &Event::Stopped), |payload| payload[2] = 99);
        let cut = reseal(&gateway.event(2000, &Event::Stopped), |payload| payload.truncate(2));
        let store = store_of(&[later, cut, gateway.event(3000, &Event::Stopped)]);
        let events = store.events(None, UnixTime(0), UnixTime(u64::MAX), 10).unwrap();
        assert_eq!(uptimes(&events.placed), [(1, 3000)]);
        assert_eq!((events.unknown_count, events.notes.unreadable_count), (1, 1));
    }
}
