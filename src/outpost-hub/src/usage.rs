//! What a device's links carried, by day and by what it was for, and how the link changed: found in the store and drawn.
//!
//! A device tells a day once, when it is over, and may claim any day and any number. So only days of the span are
//! looked at, sums saturate, and bearers, days and changes are bounded. A day of which nothing came is not known, and
//! is drawn as a gap: the record may be on its way still, or the device was off.
//!
//! | module | what |
//! |---|---|
//! | [`screen`] | bars of letters |
//! | [`svg`], [`plot`] | a drawing: the sheet, and one bearer's chart on it |
//! | [`rows`] | JSON and CSV |
//! | [`mod@unit`] | bytes as providers bill them, days as people write them, scales |

pub mod plot;
pub mod rows;
#[cfg(test)]
mod sample;
pub mod screen;
pub mod svg;
pub mod unit;

use std::collections::BTreeMap;

use hub::request::Member;
use store::Store;
use store::events::Happened;
use wire::event::Event;
use wire::time::UnixTime;

use crate::books;
use crate::call::{BearerUsage, DayUsage, LinkChange, UsageCall, UsageFound};
use crate::notes;
use crate::usage::unit::DAY_MS;

/// Days from the first to the last of a chart: a year.
pub const DAY_COUNT_MAX: u32 = 366;

/// Bearers of one device, as many as it keeps books of.
pub const BEARER_COUNT_MAX: usize = 8;

/// Changes of the link in one answer: the newest.
pub const CHANGE_COUNT_MAX: usize = 1000;

/// Records of days that are read: each day of each bearer, and once more, as a copied card says them.
const RECORD_COUNT_MAX: usize = 2 * (DAY_COUNT_MAX as usize + 1) * BEARER_COUNT_MAX;

/// The day of a moment, since 1970.
pub fn day(at: UnixTime) -> u32 {
    u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX)
}

/// Answers one question.
///
/// Errors: what to tell the person who asked.
pub fn usage(store: &Store, members: &[Member], call: &UsageCall) -> Result<UsageFound, String> {
    let member = books::find(members, &call.device)?;
    let device = &[member.id()][..];
    let to_day = day(call.to);
    let from_day = day(call.from).clamp(to_day.saturating_sub(DAY_COUNT_MAX), to_day);
    let in_span = |event: &Event| matches!(event, Event::DataUsed { day, .. } if (from_day..=to_day).contains(day));
    // What a day cost is said after it, and perhaps weeks after: by a gateway that was off.
    let (first, end) = (UnixTime(u64::from(from_day) * DAY_MS), UnixTime(u64::MAX));
    let days = store.events_where(Some(device), first, end, RECORD_COUNT_MAX, in_span);
    let days = days.map_err(|error| error.to_string())?;
    let changes = store.events_where(Some(device), call.from, call.to, CHANGE_COUNT_MAX, |event| {
        matches!(event, Event::LinkChanged { .. })
    });
    let changes = changes.map_err(|error| error.to_string())?;

    let mut notes = notes::sentences(&days.notes, members);
    if days.is_cut {
        notes.push(format!("only the newest {RECORD_COUNT_MAX} records of days were read: choose a shorter span"));
    }
    if changes.is_cut {
        notes.push(format!("only the newest {CHANGE_COUNT_MAX} changes of the link are shown: choose a shorter span"));
    }
    let count = changes.unplaced.len();
    if count > 0 {
        notes.push(format!("changes of the link in boots without a place on the calendar are left out: {count}"));
    }
    // A record names its day itself, so it needs no place on the calendar.
    let records = days.unplaced.into_iter().chain(days.placed).map(|happened| happened.event);
    let (bearers, left_out_count) = bearers(records);
    if left_out_count > 0 {
        notes.push(format!("only {BEARER_COUNT_MAX} bearers are shown; left out: {left_out_count}"));
    }
    let told = bearers.iter().flat_map(|bearer| bearer.days.keys().copied());
    let (earliest, latest) = (told.clone().min().unwrap_or(to_day), told.max().unwrap_or(from_day));
    // Before it enrolled there is nothing to miss, and today is not over.
    let first_day = from_day.max(day(member.device.enrolled)).min(earliest);
    let last_day = to_day.saturating_sub(1).max(latest).max(first_day);
    let changes = changes.placed.into_iter().filter_map(change).collect();
    Ok(UsageFound { device: member.device.name.clone(), first_day, last_day, bearers, changes, notes })
}

/// The days that records tell, by bearer, and how many bearers found no room.
///
/// A copied card says a day twice, and the half of one when it was copied within it: the greater stands.
fn bearers(records: impl Iterator<Item = Event>) -> (Vec<BearerUsage>, usize) {
    let mut by_name: BTreeMap<String, BTreeMap<u32, DayUsage>> = BTreeMap::new();
    for record in records {
        let Event::DataUsed { bearer, day, spent, budget_bytes } = record else { continue };
        let told = by_name.entry(bearer.as_str().to_owned()).or_default();
        let stands = told.get(&day).is_some_and(|before| before.spent.total() > spent.total());
        if !stands {
            told.insert(day, DayUsage { spent, budget_bytes });
        }
    }
    let left_out_count = by_name.len().saturating_sub(BEARER_COUNT_MAX);
    let bearers = by_name.into_iter().take(BEARER_COUNT_MAX).map(|(name, days)| BearerUsage { name, days });
    (bearers.collect(), left_out_count)
}

fn change(happened: Happened) -> Option<LinkChange> {
    let Event::LinkChanged { bearer, tier, reason } = happened.event else { return None };
    let text = |word: &str| word.to_owned();
    Some(LinkChange { at: happened.at?, bearer: text(&bearer), tier: text(&tier), reason: reason.as_deref().map(text) })
}

#[cfg(test)]
mod tests {
    use hal::linux::folder::Folder;
    use store::change::Change;
    use wire::id::JournalId;
    use wire::spent::Spent;

    use super::*;
    use crate::machine::{BEGAN, Machine};
    use crate::scratch::Scratch;

    const FIRST: u32 = (BEGAN / DAY_MS) as u32;

    fn used(bearer: &str, day: u32, bytes: u64) -> Event {
        let spent = Spent { by_use: [0, 0, bytes, 0, 0], other: 0 };
        Event::DataUsed { bearer: bearer.try_into().unwrap(), day, spent, budget_bytes: None }
    }

    fn changed(bearer: &str, tier: &str, reason: Option<&str>) -> Event {
        let reason = reason.map(|reason| reason.try_into().unwrap());
        Event::LinkChanged { bearer: bearer.try_into().unwrap(), tier: tier.try_into().unwrap(), reason }
    }

    /// What is found of ten days of a device that said these events, each so many days after it enrolled.
    fn found(events: &[(u64, Event)]) -> UsageFound {
        let scratch = Scratch::new();
        let store = Store::open(Folder::open(&scratch.0).unwrap(), 1 << 20).unwrap();
        let mut machine = Machine::new();
        let (device, received) = (machine.device(), UnixTime(BEGAN));
        let records = events.iter().map(|(after, event)| machine.event(after * DAY_MS, event));
        let changes: Vec<_> =
            records.map(|record| Change::Record { device, journal: JournalId(7), record, received }).collect();
        assert_eq!(store.commit(&changes).unwrap(), []);
        let (from, to) = (UnixTime(BEGAN - 20 * DAY_MS), UnixTime(BEGAN + 10 * DAY_MS));
        usage(&store, &[machine.member("gw-1")], &UsageCall { device: "gw-1".into(), from, to }).unwrap()
    }

    fn totals(found: &UsageFound) -> Vec<(&str, u32, u64)> {
        let days = |bearer: &BearerUsage| bearer.days.clone().into_iter();
        let all = found.bearers.iter().flat_map(|bearer| days(bearer).map(|day| (bearer.name.as_str(), day)));
        all.map(|(name, (day, usage))| (name, day - FIRST, usage.spent.total())).collect()
    }

    #[test]
    fn a_day_is_found_under_the_bearer_that_carried_it_however_late_it_is_said() {
        let events =
            [(1, used("wwan0", FIRST, 10)), (9, used("wwan0", FIRST + 2, 30)), (20, used("eth0", FIRST + 3, 40))];
        let found = found(&events);
        assert_eq!(totals(&found), [("eth0", 3, 40), ("wwan0", 0, 10), ("wwan0", 2, 30)]);
        assert_eq!((found.device.as_str(), found.notes.len()), ("gw-1", 0));
    }

    #[test]
    fn a_chart_begins_when_the_device_enrolled_and_ends_with_the_last_day_that_is_over() {
        let span = |found: UsageFound| (found.first_day, found.last_day);
        assert_eq!(span(found(&[])), (FIRST, FIRST + 9));
        assert_eq!(span(found(&[(1, used("wwan0", FIRST - 3, 1))])), (FIRST - 3, FIRST + 9));
        // East of Greenwich a day is over before it is here.
        assert_eq!(span(found(&[(9, used("wwan0", FIRST + 10, 1))])), (FIRST, FIRST + 10));
    }

    #[test]
    fn a_day_that_was_said_twice_counts_once() {
        let events = [(1, used("wwan0", FIRST, 10)), (2, used("wwan0", FIRST, 30)), (3, used("wwan0", FIRST, 20))];
        assert_eq!(totals(&found(&events)), [("wwan0", 0, 30)]);
    }

    #[test]
    fn days_and_numbers_that_cannot_be_are_bounded() {
        let mut events = vec![
            (1, used("wwan0", u32::MAX, 1)),
            (1, used("wwan0", 0, 1)),
            (1, used("wwan0", FIRST - 21, 1)),
            (1, used("wwan0", FIRST + 11, 1)),
            (1, used("a", FIRST, u64::MAX)),
        ];
        events.extend((0..20).map(|number| (1, used(&format!("b{number}"), FIRST, 1))));
        let found = found(&events);
        assert_eq!(found.bearers.len(), BEARER_COUNT_MAX);
        assert_eq!(totals(&found)[0], ("a", 0, u64::MAX));
        assert!(found.bearers.iter().all(|bearer| bearer.days.len() == 1));
        assert_eq!(found.notes, ["only 8 bearers are shown; left out: 13"]);
    }

    #[test]
    fn changes_of_the_link_stand_in_the_order_of_time_and_others_push_none_out() {
        let mut events = vec![(1, changed("wwan0", "LTE", None)), (4, changed("eth0", "wired", Some("vanished")))];
        events.extend((0..30).map(|_| (2, Event::Stopped)));
        events.push((11, changed("wwan0", "3G", None)));
        let found = found(&events);
        let shown: Vec<_> = found.changes.iter().map(|change| (day(change.at) - FIRST, &*change.bearer)).collect();
        assert_eq!(shown, [(1, "wwan0"), (4, "eth0")]);
        assert_eq!(found.changes[1].reason.as_deref(), Some("vanished"));
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let scratch = Scratch::new();
        let store = Store::open(Folder::open(&scratch.0).unwrap(), 1 << 20).unwrap();
        let call = UsageCall { device: "gw-9".into(), from: UnixTime(0), to: UnixTime(u64::MAX) };
        assert!(usage(&store, &[Machine::new().member("gw-1")], &call).unwrap_err().contains("gw-9"));
        let call = UsageCall { device: "gw-1".into(), ..call };
        let found = usage(&store, &[Machine::new().member("gw-1")], &call).unwrap();
        assert!(found.last_day - found.first_day <= DAY_COUNT_MAX);
    }
}
