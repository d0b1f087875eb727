//! Who is let in, who is not, and what each is told. Nobody else is harmed.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::stage::{Agent, Hub, Scratch, eventually};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = off"];

fn refused(agent: &Agent, hub: &Hub, token: &str, why: &str) {
    let (is_good, words) = agent.ask(&["enroll", &hub.address().to_string(), token]);
    assert!(!is_good, "{words}");
    assert!(words.contains(why), "{words:?} does not say {why:?}");
}

#[test]
fn each_wrong_way_in_is_told_so_and_the_enrolled_go_on() {
    let scratch = Scratch::new("admission");
    let (hub, other) = (Hub::start(&scratch, "hub"), Hub::start(&scratch, "other"));
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);

    let stranger = Agent::new(&scratch, "stranger", &QUICK);
    let used = hub.token(&[]);
    let friend = Agent::new(&scratch, "friend", &QUICK);
    let (is_good, words) = friend.ask(&["enroll", &hub.address().to_string(), &used]);
    assert!(is_good, "{words}");
    refused(&stranger, &hub, &used, "no use left");
    // A token of another hub names that hub's key.
    refused(&stranger, &hub, &other.token(&[]), "has key");
    refused(&stranger, &hub, &hub.token(&["--expires", "1ms"]), "has expired");
    refused(&stranger, &hub, "op1_nonsense", "token");
    let mut mistyped = hub.token(&[]);
    let last = mistyped.pop();
    mistyped.push(if last == Some('0') { '1' } else { '0' });
    refused(&stranger, &hub, &mistyped, "token");

    let mut garbage = TcpStream::connect(hub.address()).expect("the hub listens");
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").expect("it takes bytes");
    let mut answer = Vec::new();
    // An alert, or nothing at all; an end in any case.
    let _ = garbage.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));

    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    assert_eq!(hub.stat("gaps"), 0);
}

#[test]
fn a_revoked_device_is_told_so_and_a_device_that_leaves_is_retired() {
    let scratch = Scratch::new("leave");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &[&QUICK[..], &["hostname = gw-1"]].concat());
    let leaver = Agent::new(&scratch, "leaver", &[&QUICK[..], &["hostname = gw-2"]].concat());
    agent.enroll(&hub);
    leaver.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();

    let (is_good, words) = leaver.ask(&["leave"]);
    assert!(is_good, "{words}");
    assert!(!hub.tell(&["fleet"]).contains("gw-2"));
    assert!(hub.tell(&["fleet", "--all"]).contains("gw-2"));

    hub.tell(&["device", "rename", "gw-1", "pump-7"]);
    hub.tell(&["device", "tag", "pump-7", "site=north"]);
    let fleet = hub.tell(&["fleet"]);
    assert!(fleet.contains("pump-7") && fleet.contains("north"), "{fleet}");
    hub.tell(&["device", "revoke", "pump-7"]);
    eventually("the agent says that it was revoked", || {
        agent.status().filter(|status| status["link_ended"].as_str().is_some_and(|why| why.contains("revoked")))
    });
    // It goes on sampling, for the person on site.
    agent.wait_for_ticks(2);
}

#[test]
fn keys_rotate_on_both_ends() {
    let scratch = Scratch::new("rotate");
    let mut hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    let (is_good, words) = agent.ask(&["key", "rotate"]);
    assert!(is_good, "{words}");
    agent.wait_for_ticks(2);
    agent.wait_for_drain();

    let before = hub.tell(&["key", "show"]);
    hub.tell(&["key", "rotate"]);
    // It is refused, and says who is missing, until the agent has heard of the key.
    eventually("the agent knows the next key", || {
        hub.ask(&["key", "activate"]);
        (hub.tell(&["key", "show"]) != before).then_some(())
    });
    hub.kill();
    hub.run();
    assert_ne!(hub.tell(&["key", "show"]), before);
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
}

#[test]
fn a_question_for_what_does_not_exist_suggests_names() {
    let scratch = Scratch::new("suggest");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &[&QUICK[..], &["hostname = gw-1"]].concat());
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(3);
    agent.wait_for_drain();
    assert!(hub.ask(&["query", "node_lod1"]).contains("node_load1"));
    assert!(hub.ask(&["query", "node_load1{device=\"gw-2\"}"]).contains("gw-1"));
    let (_, words) = agent.ask(&["query", "node_lod1"]);
    assert!(words.contains("node_load1"), "{words}");
    let table = hub.tell(&["query", "node_load1{device=\"gw-1\"}", "--since", "1h", "--step", "1m"]);
    assert!(table.contains("node_load1"), "{table}");
}
