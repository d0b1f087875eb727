//! Too little of everything: ticks go on or are said to be missed, the journal stays whole, and it recovers by itself.

use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = 1s"];

/// Runs an agent behind limits until it has taken ticks, and then without them until all has arrived.
fn check(name: &str, limits: &str) {
    let scratch = Scratch::new(name);
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK).behind(limits);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(4);
    agent.stop();

    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    for key in ["lost", "duplicates", "gaps"] {
        assert_eq!(hub.stat(key), 0, "{key}");
    }
}

#[test]
fn few_file_descriptors() {
    check("descriptors", "ulimit -n 24");
}

#[test]
fn little_memory() {
    check("memory", "ulimit -v 120000");
}

#[test]
fn all_processors_taken() {
    check(
        "processors",
        "for i in 1 2 3 4 5 6; do (timeout 20 sh -c 'while :; do :; done' &) ; done; renice -n 19 $$ >/dev/null",
    );
}
