//! The link over datagrams: everything arrives, whoever is killed and whatever the network thinks of it.

use super::kill::check_all_there;
use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 5] =
    ["interval = 1s", "batch_age = 1s", "process_interval = off", "heartbeat = 5s", "carrier = datagram"];

#[test]
fn over_datagrams_everything_arrives_whoever_is_killed() {
    let scratch = Scratch::new("datagram");
    let mut hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    agent.kill();
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    hub.kill();
    agent.wait_for_ticks(2);
    hub.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
    hub.kill();
    agent.wait_for_ticks(1);
    hub.run();
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
}
