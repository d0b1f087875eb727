//! A gateway that is carried about: from one kind of link to the next, through an outage, behind a NAT that forgets.

use std::time::Duration;

use serde_json::{Value, json};

use crate::book::{Way, totals};
use crate::emulator::Change;
use crate::link::{EDGE, SATELLITE, WIRED};
use crate::network::Network;
use crate::stage::{Agent, Hub, Scratch};
use crate::{Options, show};

const STEP: Duration = Duration::from_secs(20);

/// Longer than a packet is on the satellite's way, with what waits before it.
const UNDER_WAY: Duration = Duration::from_secs(2);

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let network = Network::new(WIRED, options.mtu, options.seed)?;
    let scratch = Scratch::new()?;
    let hub = Hub::start(&network, &options.binaries, &scratch, options.is_v6)?;
    let settings = ["interval = 1s", "batch_age = 5s", "process_interval = off", "heartbeat = 10s"];
    let mut agent = Agent::new(&options.binaries, &scratch)?;
    agent.set(&settings)?;
    agent.enroll(&network, &hub)?;
    agent.run(&network)?;
    agent.wait_for_drain()?;

    let begin = network.now();
    let walk = [SATELLITE, EDGE, WIRED, SATELLITE];
    network
        .plan((0..).zip(walk).flat_map(|(step, quality)| both_ways(STEP * step, |way| Change::Quality(way, quality))));
    network.plan(both_ways(STEP * 4, Change::Cut));
    network.plan(both_ways(STEP * 5, Change::Mend));
    let mended = begin + STEP * 5;
    let is_back = agent.wait_for_ack(&network, mended)? - mended;
    let mut found = totals(&network.seen(begin));
    found["seconds_from_mended_to_ack"] = seconds(is_back);
    show("walk", "satellite_edge_wired_satellite_outage", found);

    agent.wait_for_drain()?;
    let begin = network.now();
    network.plan([(Duration::ZERO, Change::Rebind)]);
    // What is under way still arrives.
    let is_back = agent.wait_for_ack(&network, begin + UNDER_WAY)? - begin;
    let mut found = json!({ "seconds_from_rebind_to_ack": seconds(is_back) });
    agent.wait_for_drain()?;
    agent.stop()?;
    let stat: Value = serde_json::from_str(&hub.tell(&["stat", "--json"])?).map_err(|error| error.to_string())?;
    for key in ["lost", "duplicates", "gaps"] {
        found[key] = stat[key].clone();
    }
    show("walk", "rebind", found);
    drop(hub);
    scratch.remove();
    Ok(())
}

fn both_ways(later: Duration, change: impl Fn(Way) -> Change) -> [(Duration, Change); 2] {
    Way::BOTH.map(|way| (later, change(way)))
}

fn seconds(span: Duration) -> Value {
    json!((span.as_secs_f64() * 10.0).round() / 10.0)
}
