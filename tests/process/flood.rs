//! Ten thousand who knock and never come in, from as many addresses: the enrolled are served on, and the hub stays small.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use identity::key::Key;
use identity::key_file;
use identity::noise::handshake::Initiator;
use identity::tls;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use rustls::ClientConnection;

use super::stage::{Agent, Hub, Scratch, eventually};

const QUICK: [&str; 4] = ["interval = 1s", "batch_age = 1s", "process_interval = off", "heartbeat = 5s"];

/// Connections; of datagrams there are a quarter as many.
const COUNT: u32 = 10_000;

/// What the hub may grow by while they knock. Those that wait are 256 at the most, whatever they have begun.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

/// Descriptors of a hub with a handful of devices: those that wait, and its own.
const DESCRIPTOR_COUNT_MAX: usize = 256 + 64;

/// An address of this machine for each of them.
fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

fn knock(hub: SocketAddrV4, number: u32) -> TcpStream {
    let connection =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a descriptor is left");
    bind(connection.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source(number), 0)))
        .expect("it is this machine's");
    connect(connection.as_raw_fd(), &SockaddrIn::from(hub)).expect("the hub listens");
    connection.into()
}

/// The first bytes of a handshake that nobody goes on with.
fn client_hello(hub: &Key) -> Vec<u8> {
    let config = tls::client_config(&Key::generate(), &[hub.fingerprint()], hal::linux::realtime::now);
    let mut connection = ClientConnection::new(config, tls::server_name()).expect("a connection needs nothing");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a vector takes every byte");
    bytes
}

/// Connections that say nothing or begin a handshake, and first messages with a key each: until all have come, and then again and again
/// until `is_over`. Those of the last round are still held.
fn knock_on(hub: SocketAddrV4, key: &Key, is_over: &AtomicBool) -> VecDeque<TcpStream> {
    let (hello, stranger, their_key) = (client_hello(key), Key::generate(), key.noise_public());
    let mut connections = VecDeque::new();
    for number in (0..COUNT).cycle() {
        let is_whole = connections.len() == COUNT as usize;
        if is_whole && is_over.load(Ordering::Relaxed) {
            break;
        }
        if is_whole {
            connections.pop_front();
        }
        let mut connection = knock(hub, number);
        if number % 2 == 1 {
            // The hub may have had enough of it already.
            let _ = connection.write_all(&hello);
        }
        connections.push_back(connection);
        if number % 4 == 0 {
            let (_, call) = Initiator::new(&stranger, &their_key, b"").expect("the hub has a key");
            let socket = UdpSocket::bind((source(number), 0)).expect("it is this machine's");
            socket.send_to(&call, hub).expect("it leaves, whether or not it arrives");
        }
    }
    connections
}

fn resident_bytes(hub: &Hub) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("the hub runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number")
}

fn descriptor_count(hub: &Hub) -> usize {
    fs::read_dir(format!("/proc/{}/fd", hub.pid())).expect("the hub runs").count()
}

#[test]
fn ten_thousand_that_knock_and_never_come_in_keep_nobody_out() {
    let limit = hal::linux::descriptors::raise_limit().expect("the system says how many");
    assert!(limit > COUNT as usize + 100, "{limit} descriptors are too few to knock so often");
    let scratch = Scratch::new("flood");
    let hub = Hub::start(&scratch, "hub");
    let SocketAddr::V4(address) = hub.address() else { panic!("it listens on IPv4") };
    let key = key_file::parse(&fs::read(hub.folder().join("hub.key")).expect("a hub has a key")).expect("it wrote it");
    let over_datagrams = [&QUICK[..], &["carrier = datagram"]].concat();
    let kinds = [("stream", &QUICK[..]), ("datagram", &over_datagrams)];
    let enrolled = |time: &str| {
        kinds.map(|(name, settings)| {
            let agent = Agent::new(&scratch, &format!("{name}-{time}"), settings);
            agent.enroll(&hub);
            agent
        })
    };
    let (mut early, mut late) = (enrolled("early"), enrolled("late"));
    let deliver = |agents: &[Agent]| {
        agents.iter().for_each(|agent| agent.wait_for_ticks(1));
        agents.iter().for_each(Agent::wait_for_drain);
    };
    early.iter_mut().for_each(Agent::run);
    deliver(&early);

    let before_bytes = resident_bytes(&hub);
    let is_over = AtomicBool::new(false);
    let (during_bytes, connections) = thread::scope(|scope| {
        let knocking = scope.spawn(|| knock_on(address, &key, &is_over));
        deliver(&early);
        late.iter_mut().for_each(Agent::run);
        deliver(&late);
        is_over.store(true, Ordering::Relaxed);
        let connections = knocking.join().expect("it knocks to the end");
        (resident_bytes(&hub), connections)
    });
    // Those that gave way to others close in their own time.
    eventually("few descriptors", || (descriptor_count(&hub) <= DESCRIPTOR_COUNT_MAX).then_some(()));
    let growth_bytes = during_bytes.saturating_sub(before_bytes);
    println!("{before_bytes} bytes before, {during_bytes} while {} knock", connections.len());
    assert!(growth_bytes <= GROWTH_BYTES_MAX, "{before_bytes} bytes have grown to {during_bytes}");
    drop(connections);

    deliver(&early);
    deliver(&late);
    for key in ["lost", "duplicates", "gaps"] {
        assert_eq!(hub.stat(key), 0, "{key}: {}", hub.ask(&["stat"]));
    }
}
