//! What must be true, held against the whole world.
//!
//! - A tick that became durable on a gateway is at the hub, once, with the values that the machine had then, unless its batch
//!   is named in an [`wire::event::Event::Lost`].
//! - A batch that the hub acked is there after the hub lost power.
//! - No number has a hole behind it that nobody said.

use std::collections::BTreeSet;

use wire::stream::Stream;
use wire::time::{BootId, Instant};

use crate::gateway::Gateway;
use crate::world::{Tally, World};

/// Checks a journal that was just opened: what was durable before is durable still.
pub fn check_journal(gateway: &Gateway) -> Result<(), String> {
    let Some(agent) = &gateway.agent else { return Ok(()) };
    let Some(last) = gateway.committed.last() else { return Ok(()) };
    let journal = agent.journal();
    if journal.id() != last.journal {
        return Err(format!("gw-{} opened journal {} after {}", gateway.index, journal.id(), last.journal));
    }
    if journal.durable(Stream::Raw) < last.batches.1 {
        return Err(format!(
            "gw-{} had committed raw batches below {} and reopened with {}",
            gateway.index,
            last.batches.1,
            journal.durable(Stream::Raw)
        ));
    }
    Ok(())
}

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
    let store = &world.host().running.as_ref().ok_or("the hub does not run")?.store;
    let mut tally = Tally::default();
    for gateway in world.gateways() {
        let told = |error: String| format!("gw-{}: {error}", gateway.index);
        let audit = store.audit(gateway.device).map_err(|error| told(error.to_string()))?;
        if audit.duplicate_count + audit.gap_count + audit.unreadable_count + audit.nameless_run_count > 0 {
            return Err(told(format!("{audit:?}")));
        }
        let mut seen: BTreeSet<(BootId, Instant)> = BTreeSet::new();
        let mut problem = None;
        let notes = store.ticks(gateway.device, |boot, at, series, values| {
            seen.insert((boot, at));
            for (series, value) in series.iter().zip(values) {
                let expected = gateway.load.expected(&series.name, &series.labels, boot, at);
                if *value != expected && problem.is_none() {
                    let Instant(at_ms) = at;
                    problem = Some(format!(
                        "{}{{{}}} at {at_ms} ms of boot {boot} is {value:?} and was {expected:?}",
                        series.name, series.labels
                    ));
                }
            }
        });
        let notes = notes.map_err(|error| told(error.to_string()))?;
        if let Some(problem) = problem {
            return Err(told(problem));
        }
        if audit.lost_count == 0 && notes.waiting_count > 0 {
            return Err(told(format!("{} batches wait for a predecessor that nobody lost", notes.waiting_count)));
        }
        tally.sample_count += audit.sample_count;
        tally.lost_count += audit.lost_count;

        let mut lost: Option<BTreeSet<u64>> = None;
        for committed in &gateway.committed {
            tally.tick_count += committed.ticks.len() as u64;
            let missing = committed.ticks.iter().find(|tick| !seen.contains(tick));
            let Some((boot, Instant(at_ms))) = missing else { continue };
            if audit.lost_count == 0 {
                return Err(told(format!("the tick at {at_ms} ms of boot {boot} was committed and is not at the hub")));
            }
            let lost = match &mut lost {
                Some(lost) => lost,
                none => none.insert(lost_batches(world, gateway).map_err(told)?),
            };
            let (first, end) = committed.batches;
            // A lost batch takes the rest of its run along; a run has at most an hour of ticks.
            if lost.range(..end.0).next_back().is_none_or(|near| near + 400 < first.0) {
                return Err(told(format!(
                    "the tick at {at_ms} ms of boot {boot} was committed in batches {first} to {end}, none of them is lost, and it is not at the hub"
                )));
            }
        }
    }
    Ok(tally)
}

/// The raw batches that a gateway's events said are lost.
fn lost_batches(world: &World, gateway: &Gateway) -> Result<BTreeSet<u64>, String> {
    let store = &world.host().running.as_ref().ok_or("the hub does not run")?.store;
    let events = store.lost(gateway.device).map_err(|error| error.to_string())?;
    Ok(events
        .into_iter()
        .filter(|(stream, _)| *stream == Stream::Raw)
        .flat_map(|(_, range)| range.first.0..=range.last.0.min(range.first.0 + 100_000))
        .collect())
}
