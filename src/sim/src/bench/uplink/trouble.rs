//! Links that go, that lose, and that change; a quarter of a year without any.

use agent::bearer::choice::{Choice, Kind, name};
use agent::policy::Pressure;
use agent::tier::{Technology, Tier};
use link::channel::Carrier;
use store::audit::Audit;
use wire::class::{CLASS_COUNT, Class};
use wire::event::{Event, LossReason};
use wire::ranges::SeqRange;
use wire::stream::{Resolution, STREAM_COUNT, Shelf, Stream};
use wire::time::{BootId, Span, UnixTime};

use super::backlog::{Waits, draining, recorded};
use super::line::{EDGE, POOR, SATELLITE, WIRED};
use super::samples::Samples;
use super::stage::{DEVICE, Stage, settings};
use super::{DAY, Figure, HOUR};
use crate::disk::SimDisk;
use crate::fit::Fit;
use crate::rng::Rng;

const TICK: Span = Span::seconds(10);
const HEARTBEAT: Span = Span::minutes(15);
const BOOT: BootId = BootId(1);

/// Outages after which it is measured how soon an alert is there.
const OUTAGE_COUNT: u64 = 50;

/// An alert is raised while there is no link: from the first dial that finds one again to its arrival.
pub(super) fn reconnect(_: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut stage = Stage::with_agent(&disk, settings(HEARTBEAT), BOOT, SATELLITE, Carrier::Datagram, seed)?;
    stage.run_until(HOUR, Stage::is_drained)?;
    let mut rng = Rng::new(seed);
    let (mut from_dial, mut from_mended) = (Waits::default(), Waits::default());
    for _ in 0..OUTAGE_COUNT {
        stage.line.is_up = false;
        stage.alert();
        stage.run_for(Span(rng.between(120_000, 1_200_000)))?;
        stage.line.is_up = true;
        let mended_ms = stage.now_ms();
        stage.run_until(HOUR, Stage::is_drained)?;
        let arrived_ms = stage.ways(Stream::Event).filter_map(|way| way.arrived_ms).max().unwrap_or_default();
        from_mended.push(arrived_ms - mended_ms);
        // One that was dialling meanwhile is not at its beginning.
        if stage.dialled_ms >= mended_ms {
            from_dial.push(arrived_ms - stage.dialled_ms);
        }
        stage.run_for(Span::minutes(2))?;
    }
    let longest =
        Figure::new("from a dial to the first alert, longest, datagrams", from_dial.at(1.0), "s").at_most(0.8);
    let of = Figure::new("  of", from_dial.count() as f64, "");
    let mended = Figure::new("  from the end of the outage, median", from_mended.at(0.5), "s");
    Ok(vec![longest, of, mended, Figure::new("  from the end of the outage, longest", from_mended.at(1.0), "s")])
}

/// Half a day over the worst link, on which hours are all that is sent besides events.
pub(super) fn poor(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut settings = settings(HEARTBEAT);
    let hours = [Some(Resolution::Hour); CLASS_COUNT];
    let changed = settings.way.policies.change(|policy| (policy.live, policy.backlog) = (hours, hours));
    changed.map_err(|error| error.to_string())?;
    let mut stage = Stage::with_agent(&disk, settings, BOOT, POOR, Carrier::Datagram, seed)?;
    stage.sample(Samples::new(fit, seed), TICK);
    stage.raise_alerts(Span::minutes(5));
    stage.run_for(Span(12 * HOUR.0))?;
    stage.raise_no_alerts();
    stage.stop_sampling();
    stage.run_for(HOUR)?;
    let mut figures = Vec::new();
    for (stream, what) in [
        (Stream::Event, "alert"),
        (Stream::Series(Resolution::Hour, Class::Critical), "hour's window, critical"),
        (Stream::Series(Resolution::Hour, Class::Normal), "hour's window, normal"),
    ] {
        let mut waits = Waits::default();
        waits.take(&stage, stream)?;
        figures.push(Figure::new(format!("2.4 kbit/s, 2 s, 20 % lost: {what}, p99"), waits.at(0.99), "s"));
        figures.extend(waits.figures());
    }
    Ok(figures)
}

/// From one kind of link to the next while two weeks are drained.
pub(super) fn walk(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let disk = recorded(fit, seed, &[Shelf::Series(Resolution::Raw)], 14)?;
    let mut stage = draining(&disk, SATELLITE, seed)?;
    let begin = Span::minutes(5);
    for (seconds, quality) in [(0, EDGE), (120, WIRED), (124, SATELLITE)] {
        stage.change_after(Span(begin.0 + seconds * 1000), quality);
    }
    stage.raise_alerts(Span::seconds(5));
    stage.run_for(Span::minutes(20))?;
    let left_count = stage.journal().backlog_count();
    stage.raise_no_alerts();
    let took_ms = stage.run_until(Span(24 * HOUR.0), Stage::is_drained)?;
    let mut waits = Waits::default();
    waits.take(&stage, Stream::Event)?;
    let audit = audit(&stage)?;
    let lost = (audit.lost_count + audit.gap_count + audit.waiting_count) as f64;
    let mut figures = vec![
        Figure::new("satellite, EDGE, wired, satellite: batches lost", lost, "").at_most(0.0),
        Figure::new("  samples twice", audit.duplicate_count as f64, "").at_most(0.0),
        Figure::new("  samples there", audit.sample_count as f64, ""),
        Figure::new("  batches left when the walk was over", left_count as f64, ""),
        Figure::new("  minutes until they were there", took_ms as f64 / 60_000.0, "min"),
        Figure::new("  longest wait of an alert", waits.at(1.0), "s"),
    ];
    figures.extend(waits.figures());
    Ok(figures)
}

/// The same walk with the bearers that go with it, on each of which its own policy holds.
pub(super) fn tiers(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    const NAMES: [&str; 3] = ["eth0", "wwan0", "sat0"];
    let choice = |(interface, kind)| Choice::new(name(interface).expect("a short word"), kind, Carrier::Datagram);
    let disk = SimDisk::new(Rng::new(seed));
    let mut settings = settings(HEARTBEAT);
    let kinds = [Kind::Wired, Kind::Cellular, Kind::Satellite];
    settings.way.bearers.choices = NAMES.into_iter().zip(kinds).map(choice).collect();
    let policies = settings.way.policies.clone();
    let mut stage = Stage::with_agent(&disk, settings, BOOT, SATELLITE, Carrier::Datagram, seed)?;
    stage.sample(Samples::new(fit, seed), TICK);
    stage.run_for(Span(6 * HOUR.0))?;
    stage.raise_alerts(Span::seconds(5));
    let mut settled = Waits::default();
    for (usable, modem, quality, tier, stay) in [
        ("sat0", None, SATELLITE, Tier::Satellite, Span::minutes(5)),
        ("wwan0", Some(Technology::Second), EDGE, Tier::Edge, Span::minutes(5)),
        ("eth0", None, WIRED, Tier::Wired, Span::seconds(4)),
        ("sat0", None, SATELLITE, Tier::Satellite, Span::minutes(5)),
    ] {
        let expected = policies.policy(tier, Pressure::None);
        stage.switch(&NAMES, usable, modem, quality);
        let took_ms = stage.run_until(HOUR, |stage| stage.policy() == Some(&expected));
        settled.push(took_ms.map_err(|error| format!("{tier}: {error}"))?);
        stage.run_for(stay)?;
    }
    stage.raise_no_alerts();
    stage.stop_sampling();
    stage.run_for(Span::minutes(15))?;
    let mut waits = Waits::default();
    waits.take(&stage, Stream::Event)?;
    stage.switch(&NAMES, "eth0", None, WIRED);
    stage.run_until(HOUR, |stage| stage.is_drained() && stage.policy() == Some(policies.of(Tier::Wired)))?;
    stage.run_for(Span::minutes(15))?;
    let audit = audit(&stage)?;
    let lost = (audit.lost_count + audit.gap_count + audit.waiting_count) as f64;
    let mut figures = vec![
        Figure::new("the same over bearers of each kind: until the policy holds, longest", settled.at(1.0), "s")
            .at_most(60.0),
        Figure::new("  batches lost", lost, "").at_most(0.0),
        Figure::new("  samples twice", audit.duplicate_count as f64, "").at_most(0.0),
        Figure::new("  samples there, once it is on the wire again", audit.sample_count as f64, ""),
        Figure::new("  longest wait of an alert", waits.at(1.0), "s"),
    ];
    figures.extend(waits.figures());
    Ok(figures)
}

/// 90 days without a link, and all that is left of them over it then.
pub(super) fn quarter(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut stage = Stage::with_agent(&disk, settings(HEARTBEAT), BOOT, SATELLITE, Carrier::Datagram, seed)?;
    let samples = Samples::new(fit, seed);
    let class_counts = samples.class_counts();
    let series_count = samples.series_count() as u64;
    stage.line.is_up = false;
    stage.sample(samples, TICK);
    stage.run_for(Span(90 * DAY.0))?;
    stage.stop_sampling();
    stage.run_for(HOUR)?;
    let mut recorded = [0; STREAM_COUNT];
    Stream::ALL.into_iter().for_each(|stream| recorded[stream.index()] = stage.journal().next(stream).0);
    let (tick_count, ticks) = stage.ticks();
    let ticks = ticks.to_vec();
    stage.line.is_up = true;
    let took_ms = stage.run_until(Span(30 * DAY.0), Stage::is_drained)?;
    let (audit, sample_count) = (audit(&stage)?, machine_sample_count(&stage)?);
    let losses = losses(&stage)?;
    let mut figures = Vec::new();
    let (mut lost_all, mut unsaid) = (0, 0);
    let held = stage.host.held(DEVICE, stage.journal().id());
    for stream in Stream::ALL {
        // The hub counts what it heard is lost among what need not come any more.
        let lost: u64 = losses[stream.index()].iter().map(SeqRange::count).sum();
        let held = held[stream.index()].count() - lost;
        // Of events those that say what is lost are younger; one that waits for a ping is not written yet.
        let recorded =
            if stream == Stream::Event { stage.journal().durable(stream).0 } else { recorded[stream.index()] };
        if recorded > 0 {
            figures.push(Figure::new(format!("  {stream}: recorded"), recorded as f64, "batches"));
            figures.push(Figure::new(format!("  {stream}: at the hub"), held as f64, "batches"));
        }
        lost_all += lost;
        unsaid += recorded.abs_diff(held + lost);
    }
    let lost_ticks = |class: Class| -> u64 {
        let lost = losses[Stream::raw(class).index()].iter().flat_map(|range| range.first.0..=range.last.0);
        lost.filter_map(|seq| ticks.get(seq as usize)).map(|count| u64::from(*count)).sum()
    };
    let owed = Class::ALL.into_iter().map(|class| (tick_count - lost_ticks(class)) * class_counts[class.index()]);
    let owed_samples: u64 = owed.sum();
    let mut head = vec![
        Figure::new("90 days without a link: batches neither there nor said to be lost", unsaid as f64, "")
            .at_most(0.0),
        Figure::new("  samples missing", owed_samples.abs_diff(sample_count) as f64, "").at_most(0.0),
        Figure::new("  samples twice", audit.duplicate_count as f64, "").at_most(0.0),
        Figure::new("  samples at the hub", sample_count as f64, ""),
        Figure::new("  samples taken", (tick_count * series_count) as f64, ""),
        Figure::new("  batches thinned by the rule", lost_all as f64, ""),
        Figure::new("  the drain", took_ms as f64 / 3_600_000.0, "h"),
    ];
    head.append(&mut figures);
    Ok(head)
}

fn audit(stage: &Stage) -> Result<Audit, String> {
    let running = stage.host.running.as_ref().ok_or("the hub does not run")?;
    running.store.audit(DEVICE).map_err(|error| error.to_string())
}

/// Samples at the hub of what the machine showed; the agent has series of its own.
fn machine_sample_count(stage: &Stage) -> Result<u64, String> {
    let running = stage.host.running.as_ref().ok_or("the hub does not run")?;
    let mut count = 0;
    let counted = running.store.ticks(DEVICE, |_, _, _, series, values| {
        let of_machine =
            series.iter().zip(values).filter(|(series, value)| series.name.starts_with("node_") && value.is_some());
        count += of_machine.count() as u64;
    });
    counted.map(|_| count).map_err(|error| error.to_string())
}

/// What events at the hub say is lost, by stream.
///
/// Errors: something is lost for another reason than that it was old enough.
fn losses(stage: &Stage) -> Result<[Vec<SeqRange>; STREAM_COUNT], String> {
    let running = stage.host.running.as_ref().ok_or("the hub does not run")?;
    let events = running.store.events(Some(&[DEVICE]), UnixTime(0), UnixTime(u64::MAX), usize::MAX);
    let events = events.map_err(|error| error.to_string())?;
    let mut losses: [Vec<SeqRange>; STREAM_COUNT] = Default::default();
    for happened in events.placed.into_iter().chain(events.unplaced) {
        let Event::Lost { stream, range, reason } = happened.event else { continue };
        if reason != LossReason::Expired {
            return Err(format!("{stream} {} to {} are lost {reason}", range.first, range.last));
        }
        losses[stream.index()].push(range);
    }
    Ok(losses)
}
