//! Cards that are copied, or put back to an older image: numbers that two machines give out, and nothing that is lost by it.

use super::kill::check_all_there;
use super::stage::{Agent, Hub, Scratch, eventually};

const QUICK: [&str; 4] = ["interval = 1s", "batch_age = 1s", "process_interval = off", "heartbeat = 5s"];

#[test]
fn a_card_that_is_put_back_loses_nothing_of_what_comes_after() {
    let scratch = Scratch::new("put-back");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    agent.stop();
    let image = agent.copy(&scratch, "image");
    agent.run();
    agent.wait_for_ticks(4);
    agent.wait_for_drain();
    agent.stop();

    agent.put_back(&image);
    agent.run();
    agent.wait_for_ticks(6);
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
    assert!(agent.log().contains("was the card copied or put back"), "{}", agent.log());
}

#[test]
fn a_copied_card_is_found_and_both_machines_ticks_are_kept() {
    let scratch = Scratch::new("copied");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    agent.stop();
    let mut copy = agent.copy(&scratch, "copy");
    agent.run();
    copy.run();
    eventually("the hub says that the card was copied", || {
        hub.ask(&["fleet", "--json"]).contains("\"cloned\":true").then_some(())
    });
    copy.stop();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    let stored = hub.moments("node_load1");
    let newest = stored.iter().max().copied();
    let is_there = |moment: &u64| stored.iter().any(|stored| stored.abs_diff(*moment) < 100);
    let missing: Vec<u64> =
        agent.moments("node_load1").into_iter().filter(|moment| Some(*moment) <= newest && !is_there(moment)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(hub.stat("gaps"), 0, "{}", hub.ask(&["stat"]));
}
