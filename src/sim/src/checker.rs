//! What must be true, held against the whole world.
//!
//! - A tick that became durable on a gateway is at the hub, once, with the values that the machine had then, unless its batch,
//!   or one before it in its run, is named in an [`Event::Lost`]. What is at the hub was on a gateway.
//! - Nothing is damaged where no fault damages.
//! - A batch that the hub acked is there after the hub lost power.
//! - No number has a hole behind it that nobody said.
//! - A card that is put back to an older image costs what was written since and has not reached the hub, and nothing more.

use std::collections::BTreeSet;

use agent::Agent;
use store::Store;
use store::notes::Notes;
use wire::class::{CLASS_COUNT, Class};
use wire::event::{Event, LossReason};
use wire::id::{JournalId, Seq};
use wire::ranges::SeqRange;
use wire::stream::Stream;
use wire::time::{Instant, UnixTime};

use crate::fault::Kind;
use crate::gateway::{Committed, Gateway, Tick};
use crate::losses::Losses;
use crate::world::{Tally, World};

/// Checks a hub that was just started: what it acked is held.
pub fn check_acked(world: &World) -> Result<(), String> {
    let Some(running) = &world.host().running else { return Ok(()) };
    for gateway in world.gateways() {
        for ((journal, stream), acked) in &gateway.acked {
            let progress = running.store.progress(gateway.device, *journal).map_err(|error| error.to_string())?;
            let held = progress.iter().find(|progress| progress.stream == *stream).map(|progress| &progress.held);
            for range in acked.iter() {
                let is_held =
                    held.and_then(|held| held.range_of(range.first)).is_some_and(|held| held.last >= range.last);
                if !is_held {
                    return Err(format!(
                        "gw-{} was told that {stream} {} to {} are held; the hub came back with {held:?}",
                        gateway.index, range.first, range.last
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Checks a world at rest.
pub fn check(world: &World) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for gateway in world.gateways() {
        let of_one = check_gateway(world, gateway).map_err(|error| format!("gw-{}: {error}", gateway.index))?;
        tally.tick_count += of_one.tick_count;
        tally.sample_count += of_one.sample_count;
        tally.lost_count += of_one.lost_count;
    }
    Ok(tally)
}

fn check_gateway(world: &World, gateway: &Gateway) -> Result<Tally, String> {
    let store = &world.host().running.as_ref().ok_or("the hub does not run")?.store;
    let audit = store.audit(gateway.device).map_err(|error| error.to_string())?;
    let losses = check_losses(world, gateway, store)?;
    // With both files of the tail goes the dictionary, and with a restored hub the other copy of it.
    let is_nameless = audit.nameless_run_count > 0;
    // What was on the way when a card was put back is gone, and nobody is there to say so. What is withheld is told some hours later;
    // when what follows it is lost, there is a hole until then.
    let journal = gateway.agent.as_ref().map(Agent::journal);
    let withheld_count = journal.map_or(0, |it| Stream::ALL.into_iter().map(|stream| it.withheld_count(stream)).sum());
    let gap_count = if gateway.was_put_back { 0 } else { audit.gap_count.saturating_sub(withheld_count) };
    if audit.duplicate_count + gap_count + audit.unreadable_count > 0 || is_nameless && !losses.has(Stream::Dictionary)
    {
        return Err(format!("{audit:?}"));
    }
    let (seen, copied, notes) = check_values(world, gateway, store)?;
    let waiting_count = if gateway.was_put_back { 0 } else { notes.waiting_count };
    if losses.is_empty() && audit.lost_count + waiting_count > 0 {
        return Err(format!("nothing was lost, {} are counted and {} wait", audit.lost_count, notes.waiting_count));
    }
    // Machines with copies of one card are one device.
    let machines = || world.gateways().iter().filter(|other| other.device == gateway.device);
    let is_taken = |tick: &Tick| machines().any(|machine| machine.taken.contains(tick));
    if let Some((boot, Instant(at_ms))) = seen.iter().flatten().chain(&copied).find(|tick| !is_taken(tick)) {
        return Err(format!("a tick at {at_ms} ms of boot {boot} is at the hub and was never taken"));
    }
    let mut tally = Tally { sample_count: audit.sample_count, lost_count: audit.lost_count, ..Tally::default() };
    for committed in gateway.committed.iter().chain(&gateway.delivered) {
        tally.tick_count += committed.ticks.len() as u64;
        for class in Class::ALL {
            let missing = committed.ticks.iter().find(|tick| !seen[class.index()].contains(tick));
            let Some((boot, Instant(at_ms))) = missing else { continue };
            if !is_nameless && !is_lost(world, gateway, committed, class, &losses) {
                let (first, end) = committed.batches[class.index()];
                return Err(format!(
                    "the tick at {at_ms} ms of boot {boot} was committed in a batch of {class:?} from {first} up to {end}, its run is not lost, and it is not at the hub"
                ));
            }
        }
    }
    Ok(tally)
}

/// Whether a batch of these is lost, or one that its run needs before it.
fn is_lost(world: &World, gateway: &Gateway, committed: &Committed, class: Class, losses: &Losses) -> bool {
    let (Seq(first), Seq(end)) = committed.batches[class.index()];
    let stream = Stream::raw(class);
    (first..end).map(Seq).any(|last| {
        // It may have come under a later name.
        let of = |journal: &JournalId| world.host().runs.get(&(gateway.device, *journal, stream, last)).copied();
        let runs = gateway.journals.iter().filter_map(of).chain([last]);
        runs.into_iter().any(|first| losses.meets(stream, SeqRange { first, last }))
    })
}

/// The ticks of each class at the hub, those that are copies, and what they lack.
type Seen = ([BTreeSet<Tick>; CLASS_COUNT], BTreeSet<Tick>, Notes);

/// Holds every value at the hub against the one that was.
fn check_values(world: &World, gateway: &Gateway, store: &Store) -> Result<Seen, String> {
    let hub = world.host().running.as_ref().map(|running| &running.hub);
    // A hub that was put back has forgotten what it asked for.
    let is_asked =
        world.plan().kinds.contains(&Kind::Asked) || hub.is_some_and(|hub| hub.fetches().all().next().is_some());
    let mut seen: [BTreeSet<Tick>; CLASS_COUNT] = Default::default();
    let mut copied = BTreeSet::new();
    let mut problem = None;
    let notes = store.ticks(gateway.device, |stream, boot, at, series, values| {
        let (class, is_copy) = (stream.ticks_of().expect("it has ticks"), stream.is_copy());
        let ticks = if is_copy { &mut copied } else { &mut seen[class.index()] };
        ticks.insert((boot, at));
        // What the agent counts of itself is no signal of the machine.
        let signals = series.iter().zip(values).filter(|(series, _)| !series.name.starts_with("outpost_uplink_"));
        for (series, value) in signals {
            let expected = gateway.load.expected(&series.name, &series.labels, boot, at);
            // Of what the hub asked for the others are left out.
            let is_right = *value == expected || is_asked && is_copy && value.is_none();
            if !is_right && problem.is_none() {
                let (Instant(at_ms), name, labels) = (at, &series.name, &series.labels);
                problem =
                    Some(format!("{name}{{{labels}}} at {at_ms} ms of boot {boot} is {value:?} and was {expected:?}"));
            }
        }
    });
    let notes = notes.map_err(|error| error.to_string())?;
    problem.map_or(Ok((seen, copied, notes)), Err)
}

/// What the gateway's events at the hub say is lost. Damage needs a fault that damages, or a disk that would not be read for
/// so long that it was given up.
fn check_losses(world: &World, gateway: &Gateway, store: &Store) -> Result<Losses, String> {
    let always = (UnixTime(0), UnixTime(u64::MAX));
    let events = store.events(Some(&[gateway.device]), always.0, always.1, usize::MAX);
    let events = events.map_err(|error| error.to_string())?;
    let is_damaging = gateway.has_given_up || world.plan().kinds.iter().any(|kind| Kind::DAMAGING.contains(kind));
    let mut losses = Losses::default();
    for happened in events.placed.into_iter().chain(events.unplaced) {
        if let Event::Lost { stream, range, reason } = &happened.event
            && !matches!(reason, LossReason::Evicted | LossReason::Renamed)
            && !is_damaging
        {
            return Err(format!("{stream} {} to {} are lost without cause: {reason}", range.first, range.last));
        }
        let lost = happened.event.missing().filter(|(.., is_elsewhere)| !is_elsewhere);
        lost.for_each(|(stream, range, _)| losses.insert(stream, range));
    }
    Ok(losses)
}
