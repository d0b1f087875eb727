//! What the hub asks a gateway for.

use serde_json::Value;

use super::stage::{Agent, Hub, Scratch, eventually};

/// What was asked for, as the hub lists it.
fn listed(hub: &Hub) -> Vec<Value> {
    serde_json::from_str(&hub.tell(&["fetch", "--json"])).expect("the list is JSON")
}

#[test]
fn what_the_hub_asks_for_is_answered_when_the_gateway_comes() {
    let scratch = Scratch::new("fetch");
    let hub = Hub::start(&scratch, "hub");
    assert!(hub.tell(&["fetch"]).contains("nothing was asked for"));
    let quick = ["interval = 1s", "batch_age = 1s", "process_interval = off", "hostname = gw-1"];
    let mut agent = Agent::new(&scratch, "agent", &quick);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(5);
    agent.wait_for_drain();
    agent.stop();

    // It is off.
    let said = hub.tell(&["fetch", "gw-1", "node_load.*", "--since", "10m"]);
    assert!(said.starts_with("request ") && said.contains("asked when it connects, within 7d"), "{said}");
    hub.tell(&["fetch", "gw-1", "node_load1", "--from", "-2d", "--to", "-47h"]);
    hub.tell(&["fetch", "gw-1", "node_load1", "--since", "1m"]);
    let withdrawn = listed(&hub)[2]["number"].to_string();
    hub.tell(&["fetch", "--withdraw", &withdrawn]);
    for (asked, state) in listed(&hub).iter().zip(["open", "open", "withdrawn"]) {
        assert_eq!(asked["state"], state, "{asked}");
    }

    agent.run();
    let answered = eventually("both answers", || {
        let all = listed(&hub);
        all[..2].iter().all(|asked| asked["state"] == "answered").then_some(all)
    });
    assert!(answered[0]["batches"].as_u64().is_some_and(|count| count > 0), "{answered:?}");
    assert_eq!((&answered[1]["batches"], &answered[2]["state"]), (&0.into(), &"withdrawn".into()));
    agent.wait_for_drain();
    // The copies count once.
    assert_eq!(hub.stat("duplicates"), 0);
    let table = hub.tell(&["fetch"]);
    assert!(table.contains("the device holds nothing of it") && table.contains("copied"), "{table}");

    let refused = |arguments: &[&str]| hub.ask(&[&["fetch"], arguments].concat());
    assert!(refused(&["gw-2", "up"]).contains("no device is called gw-2; did you mean gw-1?"));
    assert!(refused(&["gw-1", "up", "--since", "1d"]).contains("3h at the most"));
    assert!(refused(&["--withdraw", &withdrawn]).contains("no open request has the number"));
}
