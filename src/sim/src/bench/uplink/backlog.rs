//! A backlog over the satellite's link: how long it takes, and what an alert waits that is raised meanwhile.

use link::channel::Carrier;
use wire::stream::{Resolution, Shelf, Stream};
use wire::time::{BootId, Span};

use super::line::{Quality, SATELLITE};
use super::parts::Recorder;
use super::samples::Samples;
use super::stage::{Stage, settings, stamp};
use super::{Figure, HOUR};
use crate::disk::SimDisk;
use crate::fit::Fit;
use crate::rng::Rng;

const TICK: Span = Span::seconds(10);
const WEEK_DAYS: u64 = 7;
const HEARTBEAT: Span = Span::minutes(15);

/// How long a drain is looked at.
const LOOK: Span = Span::minutes(50);
/// From one alert to the next.
const ALERT_PAUSE: Span = Span::seconds(15);
/// Runs of each loss, so that of a hundred alerts there are several.
const RUN_COUNT: u64 = 4;

/// A disk with so many days of some streams that nobody has.
pub(super) fn recorded(fit: &Fit, seed: u64, shelves: &[Shelf], days: u64) -> Result<SimDisk, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut recorder = Recorder::new(disk.folder(), Samples::new(fit, seed), shelves, stamp(BootId(1), 0))?;
    for tick in 0..days * 24 * HOUR.0 / TICK.0 {
        recorder.tick(stamp(BootId(1), tick * TICK.0)).map_err(|error| error.to_string())?;
    }
    Ok(disk)
}

/// The agent's core beside such a disk, as it begins to drain it.
pub(super) fn draining(disk: &SimDisk, quality: Quality, seed: u64) -> Result<Stage, String> {
    Stage::with_agent(disk, settings(HEARTBEAT), BootId(2), quality, Carrier::Datagram, seed)
}

/// A week, of each resolution alone and of all three in order.
pub(super) fn weeks(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    use Resolution::{FiveMinutes, Minute, Raw};
    for (resolutions, what, bar) in [
        (&[FiveMinutes][..], "week of windows of five minutes", Some(9.0)),
        (&[Minute], "week of windows of a minute", Some(40.0)),
        (&[Raw], "week of ticks", Some(65.0)),
        (&[FiveMinutes, Minute, Raw], "week of all three", None),
    ] {
        let shelves: Vec<Shelf> = resolutions.iter().copied().map(Shelf::Series).collect();
        let disk = recorded(fit, seed, &shelves, WEEK_DAYS)?;
        let mut stage = draining(&disk, SATELLITE, seed)?;
        let took_ms = stage.run_until(Span(24 * HOUR.0), Stage::is_drained)?;
        let took = Figure::new(format!("{what}, drained"), took_ms as f64 / 60_000.0, "min");
        figures.push(Figure { bar: bar.map(super::Bar::AtMost), ..took });
        figures.push(Figure::new("  records", stage.received_bytes as f64 / 1e6, "MB"));
        figures.push(Figure::new("  goodput", percent(stage.received_bytes, took_ms, SATELLITE), "% of the link"));
        let around = stage.line.bill.around_bytes as f64 / stage.line.bill.bytes as f64 * 100.0;
        figures.push(Figure::new("  around packets", around, "% of the bytes"));
    }
    Ok(figures)
}

/// Of what the link carries in a time, how much these bytes are.
fn percent(bytes: u64, took_ms: u64, quality: Quality) -> f64 {
    bytes as f64 * 8.0 / (took_ms as f64 / 1e3 * quality.bits_per_second as f64) * 100.0
}

/// Alerts while ticks are drained.
pub(super) fn alerts(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let disk = recorded(fit, seed, &[Shelf::Series(Resolution::Raw)], WEEK_DAYS)?;
    let mut figures = Vec::new();
    for (loss_1000, bar) in [(0, 1.0), (20, 2.5)] {
        let quality = Quality { loss_1000, ..SATELLITE };
        let (mut waits, mut calm_bytes, mut busy_bytes) = (Waits::default(), 0, 0);
        for run in 0..RUN_COUNT {
            let drained = |pause: Option<Span>| {
                let mut stage = draining(&disk.copy(), quality, seed + run)?;
                // The link is not known yet: that it is found is not what is asked here.
                stage.run_for(Span::minutes(2))?;
                let before = stage.received_bytes;
                pause.into_iter().for_each(|pause| stage.raise_alerts(pause));
                stage.run_for(LOOK)?;
                let bytes = stage.received_bytes - before;
                stage.raise_no_alerts();
                stage.run_for(Span::minutes(1))?;
                Ok::<_, String>((stage, bytes))
            };
            calm_bytes += drained(None)?.1;
            let (stage, bytes) = drained(Some(ALERT_PAUSE))?;
            busy_bytes += bytes;
            waits.take(&stage, Stream::Event)?;
        }
        let loss = loss_1000 as f64 / 10.0;
        figures
            .push(Figure::new(format!("alert while draining, p99, {loss} % lost"), waits.at(0.99), "s").at_most(bar));
        figures.extend(waits.figures());
        let kept = busy_bytes as f64 / calm_bytes as f64 * 100.0;
        figures.push(Figure::new("  goodput of that without alerts", kept, "%").at_least(97.0));
        let time_ms = LOOK.0 * RUN_COUNT;
        figures.push(Figure::new("  goodput", percent(busy_bytes, time_ms, SATELLITE), "% of the link"));
        figures.push(Figure::new("  without alerts", percent(calm_bytes, time_ms, SATELLITE), "% of the link"));
    }
    Ok(figures)
}

/// From the append of a batch to its arrival at the hub's core, in ms, the shortest first.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<u64>);

impl Waits {
    /// Takes those of a stream.
    ///
    /// Errors: one has not arrived.
    pub(super) fn take(&mut self, stage: &Stage, stream: Stream) -> Result<(), String> {
        for way in stage.ways(stream) {
            let arrived_ms =
                way.arrived_ms.ok_or(format!("a batch of {stream} at {} ms is not there", way.appended_ms))?;
            self.push(arrived_ms - way.appended_ms);
        }
        Ok(())
    }

    /// Takes one.
    pub(super) fn push(&mut self, wait_ms: u64) {
        let place = self.0.partition_point(|other| *other <= wait_ms);
        self.0.insert(place, wait_ms);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The wait that so many have at the most, in seconds.
    pub(super) fn at(&self, part: f64) -> f64 {
        let index = (self.0.len() as f64 * part) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).map_or(0.0, |wait| *wait as f64 / 1e3)
    }

    /// What there is to say beside the figure that has a bar.
    pub(super) fn figures(&self) -> [Figure; 4] {
        [
            Figure::new("  of", self.0.len() as f64, ""),
            Figure::new("  median", self.at(0.5), "s"),
            Figure::new("  p90", self.at(0.9), "s"),
            Figure::new("  longest", self.at(1.0), "s"),
        ]
    }
}
