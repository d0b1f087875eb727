//! The answers to questions about what happened and about how much there is.

use std::collections::BTreeSet;

use hub::request::{Member, no_device};
use store::Store;
use store::events::Happened;
use wire::id::DeviceId;

use crate::call::{EventFound, EventsCall, EventsFound, StatFound};
use crate::notes;

/// Events in one answer at the most.
pub const EVENT_COUNT_MAX: u32 = 10_000;

/// What happened.
///
/// Errors: what to tell the person who asked.
pub fn events(store: &Store, members: &[Member], call: &EventsCall) -> Result<EventsFound, String> {
    let device = match &call.device {
        Some(name) => Some(find(members, name)?.id()),
        None => None,
    };
    let count_max = call.count_max.min(EVENT_COUNT_MAX) as usize;
    let found = store.events(device.as_ref().map(std::slice::from_ref), call.from, call.to, count_max);
    let found = found.map_err(|error| error.to_string())?;
    let named = |happened: Happened| {
        let member = members.iter().find(|member| member.id() == happened.device);
        let device = member.map_or_else(|| happened.device.to_string(), |member| member.device.name.clone());
        let Happened { boot, uptime, at, event, .. } = happened;
        EventFound { device, boot, uptime, at, event }
    };
    let events = found.unplaced.into_iter().chain(found.placed).map(named).collect();
    let mut notes = notes::sentences(&found.notes, members);
    if found.is_cut {
        notes.push(format!("only the newest {count_max} are shown: choose a shorter span or one device"));
    }
    if found.unknown_count > 0 {
        notes.push(format!("{} of a later version were left out: upgrade the hub", found.unknown_count));
    }
    Ok(EventsFound { events, notes })
}

/// How much is held. Reads every record.
///
/// Errors: what to tell the person who asked.
pub fn stat(store: &Store, members: &[Member]) -> Result<StatFound, String> {
    let text = |error: store::error::StoreError| error.to_string();
    let index = store.stat().map_err(text)?;
    let held = store.devices().map_err(text)?;
    let devices: BTreeSet<DeviceId> =
        members.iter().map(Member::id).chain(held.iter().map(|held| held.device)).collect();
    let mut stat = StatFound {
        devices: devices.len() as u64,
        batches: index.batch_count,
        record_bytes: index.record_bytes,
        disk_bytes: index.file_bytes,
        skipped: members.iter().map(|member| member.skipped_count).sum(),
        ..StatFound::default()
    };
    for device in devices {
        let audit = store.audit(device).map_err(text)?;
        stat.series += audit.series_count;
        stat.samples += audit.sample_count;
        stat.lost += audit.lost_count;
        stat.duplicates += audit.duplicate_count;
        stat.gaps += audit.gap_count;
        stat.waiting += audit.waiting_count;
        stat.nameless += audit.nameless_run_count;
        stat.unreadable += audit.unreadable_count;
        stat.unplaced += audit.unplaced_tick_count;
    }
    Ok(stat)
}

/// The device of this name or number.
///
/// Errors: there is none; names that are near are in the sentence.
pub fn find<'a>(members: &'a [Member], name: &str) -> Result<&'a Member, String> {
    let by_id = name.parse().ok();
    let named = members.iter().find(|member| member.device.name == name);
    let found = named.or_else(|| members.iter().find(|member| Some(member.id()) == by_id));
    found.ok_or_else(|| no_device(name, members.iter().map(|member| &member.device)))
}
