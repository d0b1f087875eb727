//! Ends that no binary of this version is: of another version, with an unknown key, or speaking nonsense inside of TLS. The right side is
//! told why, and nobody else is harmed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use identity::key::Key;
use identity::token::Token;
use identity::{key_file, tls};
use link::talk::{self, Listener};
use rustls::{ClientConnection, ServerConnection, Stream};
use wire::id::JournalId;
use wire::message::{Close, CloseReason, Enroll, Fingerprint, Hello, Kind};
use wire::time::Span;
use wire::version::Versions;

use super::stage::{Agent, Hub, Scratch, eventually};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = off"];

fn hello(versions: Versions) -> Vec<u8> {
    let hello = Hello { versions, journal: JournalId(1), heartbeat: Span::seconds(60), ..Hello::default() };
    talk::frames(Kind::Hello, &hello)
}

fn enroll(versions: Versions, token: &Token) -> Vec<u8> {
    let enroll = Enroll { versions, secret: token.secret, hostname: Default::default(), agent: Default::default() };
    talk::frames(Kind::Enroll, &enroll)
}

/// Says `words` to the hub with a key that it does not know, and returns its last words.
fn refusal(hub: SocketAddr, pin: Fingerprint, words: &[u8]) -> Close {
    let config = tls::client_config(&Key::generate(), &[pin], hal::linux::realtime::now);
    let mut connection = ClientConnection::new(config, tls::server_name()).expect("a connection needs nothing");
    let mut socket = TcpStream::connect(hub).expect("the hub listens");
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(words).expect("the hub takes bytes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the hub ends what it refuses");
    let mut listener = Listener::default();
    listener.push(&answer);
    let framed = listener.poll_message().expect("it speaks in frames").expect("it says why");
    assert_eq!(Kind::from_number(framed.kind), Some(Kind::Close));
    talk::read(&framed.bytes).expect("it says so in words of this version")
}

#[test]
fn a_stranger_is_told_why_and_the_enrolled_go_on() {
    let scratch = Scratch::new("strangers");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);

    let text = hub.token(&[]);
    let token: Token = text.parse().expect("the hub makes tokens");
    let later = Versions { lowest: 7, highest: 9 };
    for words in [hello(later), enroll(later, &token)] {
        let close = refusal(hub.address(), token.hub, &words);
        assert_eq!(close.reason, CloseReason::Version);
        assert_eq!(&close.detail[..], format!("device speaks 7 to 9, hub speaks {}", Versions::HUB));
    }
    assert_eq!(
        refusal(hub.address(), token.hub, &hello(Versions { lowest: 0, highest: 3 })).reason,
        CloseReason::UnknownKey
    );
    let garbage = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n";
    assert_eq!(refusal(hub.address(), token.hub, garbage).reason, CloseReason::Protocol);

    // The token has lost no use by it.
    let friend = Agent::new(&scratch, "friend", &QUICK);
    let (is_good, words) = friend.ask(&["enroll", &hub.address().to_string(), &text]);
    assert!(is_good, "{words}");
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    assert_eq!(hub.stat("gaps"), 0);
}

/// Takes one connection in place of a hub, with its key, and refuses it as a hub of another version does.
fn refuse_once(listener: &TcpListener, key: &Key) {
    let (mut socket, _) = listener.accept().expect("the agent dials");
    let mut connection =
        ServerConnection::new(tls::server_config(key, hal::linux::realtime::now)).expect("a connection needs nothing");
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut greeting = [0; 1024];
    assert!(stream.read(&mut greeting).expect("the agent greets") > 0);
    let words = talk::close_frames(CloseReason::Version, "device speaks 1, hub speaks 9");
    stream.write_all(&words).expect("the agent takes bytes");
    stream.conn.send_close_notify();
    stream.flush().expect("the agent takes bytes");
    // Until the other end has read all: closing with unread bytes resets the connection, and the words with it.
    while let Ok(1..) = stream.read(&mut greeting) {}
}

#[test]
fn an_agent_whose_hub_has_another_version_says_so_and_keeps_everything() {
    let scratch = Scratch::new("newer-hub");
    let mut hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();

    hub.kill();
    let bytes = std::fs::read(hub.folder().join("hub.key")).expect("a hub has a key");
    let key = key_file::parse(&bytes).expect("the hub wrote it");
    let listener = TcpListener::bind(hub.address()).expect("the hub is gone");
    refuse_once(&listener, &key);
    drop(listener);
    let why = eventually("the agent says why the link ended", || {
        let status = agent.status()?;
        status["link_ended"].as_str().filter(|why| why.contains("upgrade the older one")).map(str::to_owned)
    });
    assert!(why.contains("hub speaks 9"), "{why}");
    agent.wait_for_ticks(2);

    hub.run();
    agent.kill();
    agent.run();
    agent.wait_for_drain();
    for key in ["lost", "duplicates", "gaps"] {
        assert_eq!(hub.stat(key), 0, "{key}: {}", hub.ask(&["stat"]));
    }
}
