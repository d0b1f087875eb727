//! What the link costs, as the agent says and as the hub can ask.

use serde_json::Value;

use super::stage::{Agent, Hub, Scratch, eventually};

const QUICK: [&str; 5] =
    ["interval = 1s", "batch_age = 1s", "process_interval = off", "budget_day = 900MB", "budget_reserve = 20%"];

fn spending(agent: &Agent) -> Value {
    let (is_good, words) = agent.ask(&["link", "stat", "--json"]);
    assert!(is_good, "{words}");
    serde_json::from_str(&words).unwrap_or_else(|error| panic!("{error}: {words}"))
}

#[test]
fn what_the_link_costs_is_counted_over_restarts_and_known_at_the_hub() {
    let scratch = Scratch::new("spending");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(3);
    agent.wait_for_drain();
    let before = spending(&agent);
    assert_eq!((&before["carrier"], &before["link"]), (&"tls".into(), &"online".into()), "{before}");
    let today = &before["bearers"][0]["today"];
    assert_eq!(today["budget_bytes"], 900_000_000);
    for purpose in ["urgent", "overhead"] {
        assert!(today["by_use"][purpose].as_u64().is_some_and(|bytes| bytes > 500), "{purpose}: {before}");
    }
    let used = |spending: &Value| spending["bearers"][0]["today"]["used_bytes"].as_u64().unwrap();
    agent.wait_for_ticks(3);
    agent.stop();
    agent.run();
    agent.wait_for_ticks(3);
    agent.wait_for_drain();
    assert!(used(&spending(&agent)) > used(&before), "{before}");

    let (is_good, screen) = agent.ask(&["link", "stat"]);
    assert!(is_good && screen.contains("20 % are kept for events"), "{screen}");
    let chart = eventually("the series at the hub", || {
        let chart = hub.ask(&["query", "outpost_uplink_bytes_total", "--since", "1h"]);
        chart.contains("urgent").then_some(chart)
    });
    assert!(chart.contains("overhead"), "{chart}");
}
