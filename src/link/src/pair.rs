//! Both ends in memory, under a hand-moved clock.

use alloc::vec::Vec;

use wire::id::{DeviceId, JournalId, Seq};
use wire::message::{Ack, Backlog, CloseReason, Hello, Pong, Progress, Welcome};
use wire::ranges::RangeSet;
use wire::stream::Stream;
use wire::time::{Instant, Span, Stamp, UnixTime};

use crate::client::{Client, DownReason, Input, Output, Timing};
use crate::server::{Heard, Problem, Server};

fn hello() -> Hello {
    Hello {
        versions: (0, 0),
        device: DeviceId(7),
        journal: JournalId(1),
        now: Stamp::default(),
        heartbeat: Timing::default().heartbeat,
        heads: heapless::Vec::new(),
        backlog: Backlog::default(),
        agent: "0.1.0".try_into().unwrap(),
        hostname: "gw-1".try_into().unwrap(),
    }
}

fn welcome() -> Welcome {
    let progress = Progress { stream: Stream::Raw, held: RangeSet::new() };
    Welcome {
        version: 0,
        hub: UnixTime(1_700_000_000_000),
        progress: heapless::Vec::from_slice(&[progress]).unwrap(),
        next_key: None,
    }
}

/// Client and server with the bytes between them carried one at a time.
struct Pair {
    now: Instant,
    client: Client,
    server: Server,
    heard: Vec<Heard>,
    told: Vec<Output>,
}

impl Pair {
    fn online() -> Pair {
        let mut pair = Pair::greeting();
        let bytes = pair.server.welcome(&welcome());
        pair.answer(&bytes);
        assert!(matches!(pair.told.pop(), Some(Output::Up(_))));
        pair
    }

    fn greeting() -> Pair {
        let now = Instant(1000);
        let mut client = Client::new(Timing::default(), 1, now);
        client.handle_timeout(now);
        assert_eq!(client.poll_output(), Some(Output::Dial));
        client.handle_input(now, Input::Connected(&hello()));
        let mut pair = Pair { now, client, server: Server::new(now), heard: Vec::new(), told: Vec::new() };
        pair.carry();
        assert_eq!(pair.heard.pop(), Some(Heard::Hello(hello())));
        pair
    }

    fn carry(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(bytes) => {
                    for byte in bytes {
                        let heard = &mut self.heard;
                        self.server.receive(self.now, &[byte], |message| heard.push(message)).unwrap();
                    }
                }
                other => self.told.push(other),
            }
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.client.handle_input(self.now, Input::Received(&[*byte]));
        }
        self.carry();
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now + span;
        self.client.handle_timeout(self.now);
        self.carry();
    }
}

fn ack(cumulative: u64) -> Ack {
    Ack { stream: Stream::Raw, cumulative: Seq(cumulative), ranges: heapless::Vec::new() }
}

#[test]
fn a_batch_is_in_flight_until_it_is_acked() {
    let mut pair = Pair::online();
    pair.client.send_batch(pair.now, Stream::Raw, Seq(0), &[9; 3000]);
    pair.carry();
    assert_eq!(pair.heard.pop(), Some(Heard::Batch([9; 3000].to_vec())));
    assert_eq!(pair.client.in_flight_count(), 1);
    let bytes = pair.server.ack(&ack(1));
    pair.answer(&bytes);
    assert_eq!(pair.told, [Output::Acked(ack(1))]);
    assert_eq!(pair.client.in_flight_count(), 0);
}

#[test]
fn a_link_that_swallows_a_batch_is_half_open_and_given_up() {
    let mut pair = Pair::online();
    pair.client.send_batch(pair.now, Stream::Raw, Seq(0), b"batch");
    pair.pass(Timing::default().answer);
    assert_eq!(pair.told, [Output::HangUp(DownReason::Silent)]);
    assert!(!pair.client.is_online());
    pair.pass(Span::seconds(2));
    assert_eq!(pair.told.pop(), Some(Output::Dial));
}

#[test]
fn an_idle_link_is_pinged_and_an_unanswered_ping_ends_it() {
    let mut pair = Pair::online();
    pair.pass(Timing::default().heartbeat);
    assert_eq!(pair.told.pop(), Some(Output::PingDue));
    let ping = wire::message::Ping { now: Stamp::default(), backlog: Backlog { batch_count: 3 } };
    pair.client.ping(pair.now, &ping);
    pair.carry();
    assert_eq!(pair.heard.pop(), Some(Heard::Ping(ping)));
    let pong = Pong { hub: UnixTime(5) };
    let bytes = pair.server.pong(&pong);
    pair.answer(&bytes);
    assert_eq!(pair.told.pop(), Some(Output::HubTime(pong)));
    pair.client.ping(pair.now, &ping);
    pair.pass(Timing::default().answer);
    assert_eq!(pair.told.pop(), Some(Output::HangUp(DownReason::Silent)));
}

#[test]
fn the_window_closes_and_one_batch_of_any_size_always_fits() {
    let mut pair = Pair::online();
    let mut seq = 0;
    while pair.client.can_send(8000) {
        pair.client.send_batch(pair.now, Stream::Raw, Seq(seq), &[1; 8000]);
        pair.carry();
        seq += 1;
    }
    assert_eq!(seq, 8);
    let bytes = pair.server.ack(&ack(8));
    pair.answer(&bytes);
    assert!(pair.client.can_send(1 << 20));
}

#[test]
fn an_ack_for_a_batch_never_sent_is_told_and_takes_nothing_out_of_flight() {
    let mut pair = Pair::online();
    pair.client.send_batch(pair.now, Stream::Raw, Seq(5), b"batch");
    pair.carry();
    let bytes = pair.server.ack(&ack(5));
    pair.answer(&bytes);
    assert_eq!(pair.client.in_flight_count(), 1);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_final_one_waits_long() {
    let mut pair = Pair::online();
    let bytes = pair.server.close(CloseReason::Revoked, "by admin");
    pair.answer(&bytes);
    let Some(Output::HangUp(DownReason::Refused(close))) = pair.told.pop() else { panic!("no refusal") };
    assert_eq!((close.reason, &close.detail[..]), (CloseReason::Revoked, "by admin"));
    assert!(pair.client.poll_timeout().unwrap() - pair.now >= Span::minutes(7));
}

#[test]
fn a_hub_that_would_speak_another_version_is_given_up() {
    let mut pair = Pair::greeting();
    let bytes = pair.server.welcome(&Welcome { version: 7, ..welcome() });
    pair.answer(&bytes);
    let Some(Output::HangUp(reason)) = pair.told.pop() else { panic!("it was taken") };
    assert_eq!(alloc::format!("{reason}"), "the hub speaks version 7, this device version 0: upgrade the older one");
}

#[test]
fn garbage_closes_the_link_on_the_side_that_hears_it() {
    let mut pair = Pair::online();
    pair.answer(b"HTTP/1.1 400 Bad Request\r\n");
    assert!(matches!(pair.told.pop(), Some(Output::HangUp(DownReason::Garbage(_)))));

    let mut server = Server::new(Instant(0));
    let problem = server.receive(Instant(0), b"GET / HTTP/1.1\r\n", |_| panic!("nothing was said"));
    assert!(matches!(problem, Err(Problem::Protocol(_))));
    let mut server = Server::new(Instant(0));
    let batch = crate::talk::raw_frames(wire::stream::Lane::Raw, wire::message::Kind::Batch, b"early");
    let problem = server.receive(Instant(0), &batch, |_| panic!("nothing was said"));
    assert_eq!(problem, Err(Problem::Protocol("message Batch out of place".into())));
}

#[test]
fn a_silent_peer_is_given_up_sooner_before_its_first_words() {
    let mut server = Server::new(Instant(0));
    assert_eq!(server.poll_timeout(), Some(Instant(30_000)));
    assert_eq!(server.handle_timeout(Instant(30_000)), Err(Problem::Silent));
    let pair = Pair::online();
    assert_eq!(pair.server.poll_timeout(), Some(pair.now + Span::seconds(180)));
}

#[test]
fn a_refused_client_waits_until_it_is_told_to_dial() {
    let mut pair = Pair::online();
    let bytes = pair.server.close(CloseReason::UnknownKey, "");
    pair.answer(&bytes);
    assert!(matches!(pair.told.pop(), Some(Output::HangUp(DownReason::Refused(_)))));
    pair.pass(Span::minutes(5));
    assert_eq!(pair.told, []);
    pair.client.redial(pair.now);
    pair.pass(Span(0));
    assert_eq!(pair.told, [Output::Dial]);
    // A connection that is under way is left alone.
    pair.client.redial(pair.now);
    pair.pass(Span(0));
    assert_eq!(pair.told, [Output::Dial]);
}
