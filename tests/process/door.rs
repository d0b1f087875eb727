//! Enrolment over datagrams, where nothing else reaches the hub: whatever is lost, whoever comes with the wrong token, and whatever
//! strangers throw at that door.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use identity::key::Key;
use identity::noise::enrolment::Initiator;
use identity::noise::packet::AMPLIFICATION_MAX;
use identity::token::Token;
use sim::rng::Rng;

use super::kill::check_all_there;
use super::relay::{self, Way};
use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 5] =
    ["interval = 1s", "batch_age = 1s", "process_interval = off", "heartbeat = 5s", "carrier = datagram"];

fn enroll(agent: &Agent, address: SocketAddr, token: &str) {
    let (is_good, words) = agent.ask(&["enroll", &address.to_string(), token]);
    assert!(is_good, "{words}");
}

fn check_refused(agent: &Agent, address: SocketAddr, token: &str, why: &str) {
    let (is_good, words) = agent.ask(&["enroll", &address.to_string(), token]);
    assert!(!is_good && words.contains(why), "{words:?} does not say {why:?}");
}

#[test]
fn a_machine_comes_in_and_delivers_where_only_datagrams_pass() {
    let scratch = Scratch::new("door");
    let hub = Hub::start(&scratch, "hub");
    // The first of each way is lost, and everything after comes twice.
    let address = relay::start(hub.address(), |_, index| if index == 0 { 0 } else { 2 });
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    enroll(&agent, address, &hub.token(&[]));
    agent.run();
    agent.wait_for_ticks(5);
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
    assert_eq!(agent.status().expect("it runs")["link"], "online");
}

#[test]
fn an_answer_that_is_lost_is_given_again_and_costs_no_second_use() {
    let scratch = Scratch::new("lost-answer");
    let hub = Hub::start(&scratch, "hub");
    // To the device: message 2 is the first, the answer the second.
    let address = relay::start(hub.address(), |way, index| usize::from(way == Way::ToHub || index != 1));
    let agent = Agent::new(&scratch, "agent", &[&QUICK[..], &["hostname = gw-1"]].concat());
    let token = hub.token(&[]);
    enroll(&agent, address, &token);
    // Nor does asking once more.
    enroll(&agent, hub.address(), &token);
    let fleet = hub.tell(&["fleet"]);
    assert!(fleet.contains("gw-1") && !fleet.contains("gw-1-2"), "{fleet}");
    check_refused(&Agent::new(&scratch, "other", &QUICK), hub.address(), &token, "no use left");
}

#[test]
fn each_wrong_token_is_told_so_in_the_words_of_tls() {
    let scratch = Scratch::new("wrong-token");
    let (hub, other) = (Hub::start(&scratch, "hub"), Hub::start(&scratch, "other"));
    let stranger = Agent::new(&scratch, "stranger", &QUICK);
    let refuse = |token: &str, why| check_refused(&stranger, hub.address(), token, why);
    let token: Token = hub.token(&[]).parse().expect("a hub makes tokens");
    refuse(&Token::generate(token.hub).to_string(), "does not know this token");
    refuse(&hub.token(&["--expires", "1ms"]), "has expired");
    // A token of another hub names that hub's key.
    refuse(&other.token(&[]), "has key");
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");
    check_refused(&stranger, nobody, &token.to_string(), "nothing listens at");
    assert!(hub.tell(&["fleet", "--json"]).trim().len() < 3, "nobody came in");
    enroll(&stranger, hub.address(), &token.to_string());
}

/// Says each packet to the hub, and returns how many bytes came back meanwhile: no more than they are worth.
fn answered_bytes(socket: &UdpSocket, packets: &[Vec<u8>]) -> usize {
    let mut answer = [0; 2000];
    let mut count = 0;
    for packet in packets {
        socket.send(packet).expect("loopback takes it");
        while let Ok(bytes) = socket.recv(&mut answer) {
            count += bytes;
        }
    }
    let said_bytes: usize = packets.iter().map(Vec::len).sum();
    assert!(count <= AMPLIFICATION_MAX * said_bytes, "{count} bytes answer {said_bytes}");
    count
}

#[test]
fn strangers_at_the_door_get_little_and_lock_nobody_out() {
    let scratch = Scratch::new("strangers");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    let token: Token = hub.token(&["--uses", "2"]).parse().expect("a hub makes tokens");
    enroll(&agent, hub.address(), &token.to_string());
    agent.run();
    agent.wait_for_ticks(1);

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.connect(hub.address()).expect("loopback is connected");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("sockets have timeouts");
    let stranger = Key::generate();
    let honest = Initiator::new(&stranger, &token).1;
    let mut rng = Rng::new(20_261_121);
    let noise: Vec<Vec<u8>> = (0..500)
        .map(|_| {
            let mut bytes = honest[..rng.below(honest.len() as u64 + 1) as usize].to_vec();
            let mut tail = vec![0; rng.below(200) as usize];
            rng.fill(&mut tail);
            bytes.extend(tail);
            // Each kind of packet has its turn.
            if let Some(first) = bytes.first_mut() {
                *first = *rng.choose(&[1, 3, 5, 0x40, 0x80, 0xc0]);
            }
            bytes
        })
        .collect();
    answered_bytes(&socket, &noise);
    // One call that is played again and again, and more calls than the hub keeps.
    assert!(answered_bytes(&socket, &vec![honest; 20]) > 0);
    let calls: Vec<Vec<u8>> = (0..400).map(|_| Initiator::new(&stranger, &token).1).collect();
    answered_bytes(&socket, &calls);

    let friend = Agent::new(&scratch, "friend", &QUICK);
    enroll(&friend, hub.address(), &token.to_string());
    agent.wait_for_ticks(1);
    agent.wait_for_drain();
    assert_eq!(hub.stat("gaps"), 0);
}
