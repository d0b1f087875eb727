//! A gateway with a cable and a modem: the cable is pulled, and plugged in again.
//!
//! The modem is the emulated link; the cable is a pair of virtual interfaces beside it, on which packets cost nothing and take no time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::link::EDGE;
use crate::network::{Network, eventually};
use crate::stage::{Agent, Hub, Scratch};
use crate::{Options, show};

const SETTINGS: [&str; 6] = [
    "interval = 1s",
    "batch_age = 2s",
    "process_interval = off",
    "heartbeat = 5s",
    "bearer = eth0 wired",
    "bearer = uplink cellular datagram",
];

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let network = Network::new(EDGE, options.mtu, options.seed)?;
    lay_cable(&network)?;
    let scratch = Scratch::new()?;
    let hub = Hub::start(&network, &options.binaries, &scratch, false)?;
    let mut agent = Agent::new(&options.binaries, &scratch)?;
    agent.set(&SETTINGS)?;
    agent.enroll(&network, &hub)?;
    agent.run(&network)?;
    wait_for_bearer(&agent, "eth0")?;
    agent.wait_for_drain()?;

    let began = network.now();
    plug(&network, "down")?;
    wait_for_bearer(&agent, "uplink")?;
    let is_over = agent.wait_for_ack(&network, began + Duration::from_millis(200))? - began;
    let began = network.now();
    plug(&network, "up")?;
    wait_for_bearer(&agent, "eth0")?;
    let is_back = agent.wait_for_ack(&network, began)?.max(network.now()) - began;
    agent.wait_for_drain()?;
    agent.stop()?;
    let stat: Value = serde_json::from_str(&hub.tell(&["stat", "--json"])?).map_err(|error| error.to_string())?;
    let mut found = json!({ "seconds_from_pulled_to_ack": is_over.as_secs_f64(), "seconds_from_plugged_to_cable": is_back.as_secs_f64() });
    for key in ["lost", "duplicates", "gaps"] {
        found[key] = stat[key].clone();
    }
    show("bearers", "cable_pulled_and_plugged", found);
    drop(hub);
    scratch.remove();
    Ok(())
}

/// A second way from the gateway to the hub.
fn lay_cable(network: &Network) -> Result<(), String> {
    let ip = |namespace: &crate::netns::Namespace, words: &str| {
        namespace.run("ip", &words.split_whitespace().collect::<Vec<_>>()).map(drop)
    };
    ip(&network.gateway, &format!("link add eth0 type veth peer name cable netns {}", network.hub.path()))?;
    ip(&network.gateway, "address add 198.18.7.2/24 dev eth0")?;
    ip(&network.hub, "address add 198.18.7.1/24 dev cable")?;
    ip(&network.gateway, "link set eth0 up")?;
    ip(&network.hub, "link set cable up")?;
    ip(&network.gateway, "route add 198.19.0.1/32 via 198.18.7.1 dev eth0")
}

/// Plugs the cable in at the hub's end, or pulls it. Routes over an interface without a carrier go, and come back with it.
fn plug(network: &Network, state: &str) -> Result<(), String> {
    network.hub.run("ip", &["link", "set", "cable", state]).map(drop)
}

/// Waits until the hub answers over a bearer.
fn wait_for_bearer(agent: &Agent, name: &str) -> Result<(), String> {
    eventually(&format!("the link goes over {name}"), || {
        let report: Value = serde_json::from_str(&agent.tell(&["link", "stat", "--json"]).ok()?).ok()?;
        let bearers = report["bearers"].as_array()?;
        bearers.iter().any(|bearer| bearer["bearer"] == name && bearer["state"] == "in use").then_some(())
    })
}
