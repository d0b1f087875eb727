//! The link through an HTTP proxy, and what a person is told when the proxy makes no way.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use super::kill::check_all_there;
use super::proxy::carry;
use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = off"];

/// A name that only the proxy knows, and a port at which the hub does not listen.
const HUB: &str = "hub.behind.invalid:443";

/// A proxy that knows one hub.
struct Tunnel {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// Starts one on a port that is free: it says `answer`, and when that is yes it carries bytes to `hub`. Its threads end with the process.
    fn start(hub: SocketAddr, answer: &'static str) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let heard = heads.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().filter_map(Result::ok) {
                let mut lines = BufReader::new(near.try_clone().expect("sockets clone")).lines();
                let head: Vec<String> =
                    lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(head.join("\n"));
                let _ = (&near).write_all(answer.as_bytes());
                if answer.starts_with("HTTP/1.1 200") {
                    let far = TcpStream::connect(hub).expect("the hub listens");
                    let (near_too, far_too) =
                        (near.try_clone().expect("sockets clone"), far.try_clone().expect("sockets clone"));
                    std::thread::spawn(move || carry(near, far));
                    std::thread::spawn(move || carry(far_too, near_too));
                }
            }
        });
        Tunnel { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[test]
fn a_hub_that_only_the_proxy_finds_is_enrolled_at_and_delivered_to() {
    let scratch = Scratch::new("tunnel");
    let hub = Hub::start(&scratch, "hub");
    let tunnel = Tunnel::start(hub.address(), "HTTP/1.1 200 Connection established\r\nVia: 1.1 tunnel\r\n\r\n");
    let setting = format!("proxy = http://pump:s%40lt@{}", tunnel.address);
    let mut agent = Agent::new(&scratch, "agent", &[&QUICK[..], &[&setting]].concat());
    let (is_good, words) = agent.ask(&["enroll", HUB, &hub.token(&[])]);
    assert!(is_good, "{words}");
    agent.run();
    agent.wait_for_ticks(5);
    agent.wait_for_drain();
    check_all_there(&hub, &agent);
    let (is_good, words) = agent.ask(&["key", "rotate"]);
    assert!(is_good, "{words}");
    // `printf pump:s@lt | base64`
    let head = format!("CONNECT {HUB} HTTP/1.1\nHost: {HUB}\nProxy-Authorization: Basic cHVtcDpzQGx0");
    let heads = tunnel.heads();
    assert!(heads.len() >= 3 && heads.iter().all(|heard| *heard == head), "{heads:?}");
    assert!(!agent.log().contains("s@lt") && !agent.log().contains("s%40lt"), "{}", agent.log());
}

#[test]
fn a_proxy_that_makes_no_way_is_quoted_with_what_to_do() {
    let scratch = Scratch::new("no-tunnel");
    let hub = Hub::start(&scratch, "hub");
    let token = hub.token(&[]);
    for (answer, expected) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required: it does not take"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno\n", "502 Bad Gateway: it cannot reach"),
        ("220 mail.example.com\r\n", "does not answer as an HTTP proxy does"),
        ("", "hung up without an answer"),
    ] {
        let tunnel = Tunnel::start(hub.address(), answer);
        let setting = format!("proxy = http://pump:secret@{}", tunnel.address);
        let agent = Agent::new(&scratch, "agent", &[&setting]);
        let (is_good, words) = agent.ask(&["enroll", HUB, &token]);
        let proxy = format!("the proxy at {}: ", tunnel.address);
        assert!(!is_good && words.contains(&proxy) && words.contains(expected), "{words}");
        assert!(!words.contains("secret"), "{words}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");
    let agent = Agent::new(&scratch, "agent", &[&format!("proxy = http://{nobody}")]);
    let (is_good, words) = agent.ask(&["enroll", HUB, &token]);
    assert!(!is_good && words.contains("is `proxy` in the settings right?"), "{words}");
}
