//! Bytes on the link, whole packets of IP.

use link::channel::Carrier;
use link::client::Timing;
use wire::message::Kind;
use wire::stream::{Resolution, Shelf};
use wire::time::{BootId, Span};

use super::line::{Bill, SATELLITE};
use super::parts::{Parts, Recorder};
use super::samples::Samples;
use super::stage::{Core, Stage, settings, stamp};
use super::{DAY, Figure, HOUR};
use crate::disk::SimDisk;
use crate::fit::Fit;
use crate::rng::Rng;

const HEARTBEAT: Span = Span::minutes(15);
const BOOT: BootId = BootId(1);
const TICK: Span = Span::seconds(10);

/// Both carriers, and what they are called here.
const CARRIERS: [(Carrier, &str); 2] = [(Carrier::Datagram, "datagrams"), (Carrier::Stream, "TLS")];

/// Long enough for whatever is on its way.
const QUIET: Span = Span::minutes(2);

/// What a gateway says in a report: its hello, and batches with their heads.
const REPORT_BYTES: u64 = 200;

const KILO: f64 = 1e3;

/// A day on which a gateway has nothing to say: what it had is at the hub, and nothing is sampled.
pub(super) fn idle_day(_: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (carrier, name) in CARRIERS {
        let disk = SimDisk::new(Rng::new(seed));
        let mut stage = Stage::with_agent(&disk, settings(HEARTBEAT), BOOT, SATELLITE, carrier, seed)?;
        stage.run_until(HOUR, Stage::is_drained)?;
        stage.run_for(QUIET)?;
        let before = stage.line.bill.clone();
        stage.run_for(DAY)?;
        let bill = stage.line.bill.since(&before);
        let bar = if carrier == Carrier::Datagram { 11.0 } else { 25.0 };
        figures.push(Figure::new(format!("idle day, {name}"), bill.bytes as f64 / KILO, "kB").at_most(bar));
        figures.extend(shares(&bill, &[Kind::Ping, Kind::Pong, Kind::Receipt]));
    }
    Ok(figures)
}

/// A report from cold: a gateway that was cut off has an event to tell when it finds a way again.
pub(super) fn report(_: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    // Words that do not repeat, because a text is packed; as many as it takes for the report to have its size.
    let (mut rng, mut text) = (Rng::new(seed), String::new());
    loop {
        text.push(char::from(b'!' + rng.below(90) as u8));
        let bill = report_of(&text, seed)?;
        let said_bytes = bill.up_bytes;
        if said_bytes < REPORT_BYTES {
            continue;
        }
        let bytes = Figure::new("report of 200 B, from cold, datagrams", bill.bytes as f64, "B").at_most(430.0);
        let packets = Figure::new("  packets", bill.packet_count as f64, "");
        let payload = Figure::new("  what the gateway says", said_bytes as f64, "B");
        let kinds = [Kind::Hello, Kind::Batch, Kind::Welcome, Kind::Ack, Kind::Ping, Kind::Pong, Kind::Receipt];
        return Ok([bytes, packets, payload].into_iter().chain(shares(&bill, &kinds)).collect());
    }
}

fn report_of(text: &str, seed: u64) -> Result<Bill, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut stage = Stage::with_agent(&disk, settings(HEARTBEAT), BOOT, SATELLITE, Carrier::Datagram, seed)?;
    stage.run_until(HOUR, Stage::is_drained)?;
    stage.run_for(QUIET)?;
    stage.line.is_up = false;
    stage.run_until(HOUR, |stage| !stage.has_session())?;
    let now = stage.now();
    if let Core::Agent(agent) = &mut stage.core {
        // Of all events it is the one whose length can be chosen.
        agent.say_volatile(now, text);
    }
    stage.line.is_up = true;
    let before = stage.line.bill.clone();
    stage.run_until(HOUR, Stage::is_drained)?;
    stage.run_for(QUIET)?;
    Ok(stage.line.bill.since(&before))
}

/// Days of windows alone and of ticks alone, everything that is on the link included.
pub(super) fn days(fit: &Fit, seed: u64) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (resolution, what, bars) in [
        (Resolution::FiveMinutes, "day of windows of five minutes", [200.0, 300.0]),
        (Resolution::Raw, "day of ticks, 60 s a batch", [1150.0, 1400.0]),
    ] {
        for ((carrier, name), bar) in CARRIERS.into_iter().zip(bars) {
            let disk = SimDisk::new(Rng::new(seed));
            let recorder =
                Recorder::new(disk.folder(), Samples::new(fit, seed), &[Shelf::Series(resolution)], stamp(BOOT, 0))?;
            let link = Timing { heartbeat: HEARTBEAT, ..Timing::default() };
            let core = Core::Parts(Box::new(Parts::new(recorder, link, stamp(BOOT, 0))));
            let mut stage = Stage::new(core, BOOT, SATELLITE, carrier, seed)?;
            // The list of series goes once in a gateway's life, not once a day.
            stage.record_for(HOUR, TICK)?;
            let (before, payload_before) = (stage.line.bill.clone(), payload_bytes(&stage));
            stage.record_for(DAY, TICK)?;
            let bill = stage.line.bill.since(&before);
            figures.push(Figure::new(format!("{what}, {name}"), bill.bytes as f64 / KILO, "kB").at_most(bar));
            let payload = (payload_bytes(&stage) - payload_before) as f64 / KILO;
            figures.push(Figure::new("  payload of batches", payload, "kB"));
            figures.extend(shares(&bill, &[Kind::Batch, Kind::Ack, Kind::Receipt]));
        }
    }
    Ok(figures)
}

fn payload_bytes(stage: &Stage) -> u64 {
    if let Core::Parts(parts) = &stage.core { parts.recorder.payload_bytes } else { 0 }
}

/// What the bytes of a bill are.
fn shares(bill: &Bill, kinds: &[Kind]) -> Vec<Figure> {
    let of = |name: String, bytes: u64| Figure::new(format!("  {name}"), bytes as f64, "B");
    let mut shares = vec![
        of(format!("around {} packets", bill.packet_count), bill.around_bytes),
        of("heads of frames".into(), bill.head_bytes),
    ];
    for kind in kinds {
        let (count, bytes) = bill.kind(*kind);
        if count > 0 {
            shares.push(of(format!("{kind:?}, {count} of them"), bytes));
        }
    }
    shares
}
