//! kill -9 of either, the link cut and mended: afterwards the hub holds every sample that was committed, once.

use sim::rng::Rng;

use super::proxy::Proxy;
use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 4] = ["interval = 1s", "batch_age = 1s", "process_interval = off", "heartbeat = 5s"];

pub(super) fn check_all_there(hub: &Hub, agent: &Agent) {
    for key in ["lost", "duplicates", "gaps"] {
        assert_eq!(hub.stat(key), 0, "{key}: {}", hub.ask(&["stat"]));
    }
    // The journal keeps what the hub holds for the person on site, so both can be asked for the same.
    let (mut committed, mut stored) = (agent.moments("node_load1"), hub.moments("node_load1"));
    committed.sort_unstable();
    stored.sort_unstable();
    // Ticks are a second apart; the two clocks of a stamp are read one after the other, so a moment may be off by a few ms.
    const OFF_MS: u64 = 100;
    // The newest ticks may be in the agent's memory alone.
    let newest = *stored.last().expect("the hub holds ticks");
    committed.retain(|moment| *moment < newest + OFF_MS);
    assert!(committed.len() >= 3, "{committed:?} of {:?} at the hub", stored);
    let at_hub = |moment: u64| stored.iter().filter(|stored| stored.abs_diff(moment) < OFF_MS).count();
    let wrong: Vec<_> =
        committed.iter().map(|moment| (*moment, at_hub(*moment))).filter(|(_, count)| *count != 1).collect();
    assert!(wrong.is_empty(), "of {} moments these are not at the hub once: {wrong:?}", committed.len());
}

#[test]
fn every_committed_sample_is_there_once_whoever_is_killed() {
    let scratch = Scratch::new("kill");
    let mut hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    let mut rng = Rng::new(20_261_120);
    for _ in 0..6 {
        agent.wait_for_ticks(rng.below(3));
        match rng.below(3) {
            0 => {
                agent.kill();
                agent.run();
            }
            1 => {
                hub.kill();
                agent.wait_for_ticks(1);
                hub.run();
            }
            _ => {
                hub.kill();
                agent.kill();
                agent.run();
                hub.run();
            }
        }
    }
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
}

#[test]
fn a_backlog_of_a_cut_link_arrives_when_it_is_mended() {
    let scratch = Scratch::new("cut");
    let hub = Hub::start(&scratch, "hub");
    let proxy = Proxy::start(hub.address());
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    let (is_good, words) = agent.ask(&["enroll", &proxy.address.to_string(), &hub.token(&[])]);
    assert!(is_good, "{words}");
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    for _ in 0..2 {
        proxy.cut();
        agent.wait_for_ticks(4);
        assert!(agent.figure("backlog_count") > 0);
        proxy.mend();
        agent.wait_for_drain();
    }
    check_all_there(&hub, &agent);
}
