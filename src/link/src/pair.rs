//! Both ends in memory, under a hand-moved clock.

mod versions;

use alloc::vec::Vec;

use wire::class::Class;
use wire::frame::FrameError;
use wire::id::{JournalId, Seq};
use wire::message::{Ack, Backlog, Checksum, CloseReason, Hello, HubTime, Kind, Ping, Pong, Progress, Want, Welcome};
use wire::ranges::RangeSet;
use wire::record::{Header, Record, seal};
use wire::spent::{ByUse, USE_COUNT, Use};
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::version::{VERSION, Versions};

use crate::channel::{Carrier, Channel};
use crate::client::{Client, DownReason, Input, Output, Timing};
use crate::estimator::Estimate;
use crate::receipt::Number;
use crate::server::{Heard, Problem, Server};
use crate::talk;

fn hello() -> Hello {
    Hello {
        versions: Versions::AGENT,
        journal: JournalId(1),
        now: Stamp::default(),
        heartbeat: Timing::default().heartbeat,
        progress: Checksum::default(),
        heads: heapless::Vec::new(),
        about: Checksum::default(),
    }
}

fn welcome() -> Welcome {
    let progress = Progress { stream: Stream::raw(Class::Normal), held: RangeSet::new(), tip: None };
    Welcome {
        version: VERSION,
        hub: HubTime { received: UnixTime(1_700_000_000_000), held: Span(0) },
        progress: Some(heapless::Vec::from_slice(&[progress]).unwrap()),
        next_key: None,
        wants_about: false,
    }
}

/// A record of so many bytes or a few more.
fn record(seq: u64, bytes: usize) -> Vec<u8> {
    let mut record = Vec::new();
    let header = Header { stream: Stream::raw(Class::Normal), seq: Seq(seq), run: Seq(seq), stamp: Stamp::default() };
    seal(&header, &alloc::vec![seq as u8; bytes], false, &mut record);
    record
}

/// Client and server with what is between them carried at once: the bytes of a stream one at a time, or datagrams.
struct Pair {
    now: Instant,
    carrier: Carrier,
    client: Client,
    server: Server,
    heard: Vec<Heard>,
    told: Vec<Output>,
    counts: [Number; 2],
    /// Says of each datagram whether it is lost.
    is_lost: fn(usize) -> bool,
    datagram_count: usize,
    /// What the client's packets cost.
    spent: ByUse,
}

impl Pair {
    fn online() -> Pair {
        Pair::online_over(Carrier::Stream)
    }

    fn online_over(carrier: Carrier) -> Pair {
        let mut pair = Pair::greeting(carrier);
        pair.server.welcome(&welcome());
        pair.carry();
        assert!(matches!(pair.told.pop(), Some(Output::Up(_))));
        assert!(matches!(pair.told.pop(), Some(Output::HubTime(..))));
        pair
    }

    fn greeting(carrier: Carrier) -> Pair {
        let now = Instant(1000);
        let mut client = Client::new(Timing::default(), 1, now);
        client.handle_timeout(now);
        assert_eq!(client.poll_output(), Some(Output::Dial));
        client.handle_input(now, Input::Connected { carrier, known: Estimate::default(), hello: &hello() });
        let mut pair = Pair {
            now,
            carrier,
            client,
            server: Server::new(now, carrier, Versions::HUB),
            heard: Vec::new(),
            told: Vec::new(),
            counts: [0; 2],
            is_lost: |_| false,
            datagram_count: 0,
            spent: [0; USE_COUNT],
        };
        pair.carry();
        assert_eq!(pair.heard.pop(), Some(Heard::Hello(hello())));
        pair
    }

    fn is_lost(&mut self) -> bool {
        self.datagram_count += 1;
        (self.is_lost)(self.datagram_count)
    }

    /// Carries everything both ways until nobody has anything to say.
    fn carry(&mut self) {
        loop {
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Send(packet) => self.carry_up(&packet.bytes),
                    other => self.told.push(other),
                }
            }
            if let Some(packet) = self.client.poll_packet(self.now, &Lane::ALL) {
                let spent = self.spent.iter_mut().zip(packet.by_use);
                spent.for_each(|(sum, bytes)| *sum += bytes);
                self.carry_up(&packet.bytes);
            } else if let Some(packet) = self.server.poll_packet(self.now) {
                self.carry_down(&packet);
            } else {
                return;
            }
        }
    }

    fn carry_up(&mut self, packet: &[u8]) {
        let Pair { now, server, heard, .. } = self;
        // Until the hub has answered, the first comes again.
        let number = if self.counts[1] == 0 { 0 } else { self.counts[0] };
        self.counts[0] = number + 1;
        if self.carrier == Carrier::Stream {
            for byte in packet {
                server.receive(*now, None, &[*byte], |message| heard.push(message)).unwrap();
            }
        } else if !self.is_lost() {
            self.server.receive(self.now, Some(number), packet, |message| self.heard.push(message)).unwrap();
        }
    }

    fn carry_down(&mut self, packet: &[u8]) {
        let number = self.counts[1];
        self.counts[1] += 1;
        if self.carrier == Carrier::Stream {
            packet.iter().for_each(|byte| self.client.handle_input(self.now, Input::Received(&[*byte])));
        } else if !self.is_lost() {
            self.client.handle_input(self.now, Input::Datagram(number, packet));
        }
    }

    fn answer(&mut self, answer: impl FnOnce(&mut Server)) {
        answer(&mut self.server);
        self.carry();
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now + span;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now).unwrap();
        self.carry();
    }

    /// Passes time from deadline to deadline, until something is told.
    fn wait(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end && self.told.is_empty() && self.heard.is_empty() {
            let at = self.client.poll_timeout().into_iter().chain(self.server.poll_timeout()).min();
            let at = at.map_or(end, |at| at.max(self.now + Span(1)).min(end));
            self.pass(at - self.now);
        }
    }

    fn send(&mut self, seq: u64, bytes: usize) {
        self.client.send_batch(self.now, Stream::raw(Class::Normal), Seq(seq), &record(seq, bytes), Use::Raw);
        self.carry();
    }
}

fn ack(cumulative: u64) -> Ack {
    Ack { stream: Stream::raw(Class::Normal), cumulative: Seq(cumulative), ranges: heapless::Vec::new() }
}

#[test]
fn a_batch_is_in_flight_until_it_is_acked() {
    for carrier in [Carrier::Stream, Carrier::Datagram] {
        let mut pair = Pair::online_over(carrier);
        pair.send(0, 3000);
        assert_eq!(pair.heard.pop(), Some(Heard::Batch(record(0, 3000))));
        assert_eq!(pair.client.in_flight_count(), 1);
        pair.answer(|server| server.ack(&ack(1)));
        assert_eq!(pair.told, [Output::Acked(alloc::boxed::Box::new(ack(1)))]);
        assert_eq!(pair.client.in_flight_count(), 0);
    }
}

#[test]
fn what_is_urgent_goes_with_the_hello() {
    let now = Instant(1000);
    let mut client = Client::new(Timing::default(), 1, now);
    client.handle_timeout(now);
    client.handle_input(
        now,
        Input::Connected { carrier: Carrier::Datagram, known: Estimate::default(), hello: &hello() },
    );
    assert!(client.can_send(Stream::Event.lane()) && !client.can_send(Stream::raw(Class::Normal).lane()));
    let fire = record(4, 4);
    client.send_batch(now, Stream::Event, Seq(4), &fire, Use::Urgent);
    let mut server = Server::new(now, Carrier::Datagram, Versions::HUB);
    let mut heard = Vec::new();
    let packet = client.poll_packet(now, &Lane::ALL).unwrap();
    server.receive(now, Some(0), &packet.bytes, |message| heard.push(message)).unwrap();
    assert_eq!(heard, [Heard::Hello(hello()), Heard::Batch(fire)]);
    assert!(!client.can_send(Stream::Event.lane()) && !server.is_confirmed());
}

#[test]
fn a_link_that_swallows_a_batch_is_half_open_and_given_up() {
    for carrier in [Carrier::Stream, Carrier::Datagram] {
        let mut pair = Pair::online_over(carrier);
        pair.client.send_batch(pair.now, Stream::raw(Class::Normal), Seq(0), &record(0, 9), Use::Raw);
        assert!(pair.client.poll_packet(pair.now, &Lane::ALL).is_some());
        while pair.told.is_empty() {
            let at = pair.client.poll_timeout().unwrap();
            pair.now = at.max(pair.now + Span(1));
            pair.client.handle_timeout(pair.now);
            while pair.client.poll_packet(pair.now, &Lane::ALL).is_some() {}
            pair.told.extend(pair.client.poll_output());
        }
        assert_eq!(pair.told.pop(), Some(Output::HangUp(DownReason::Silent)));
        assert!(!pair.client.is_online() && pair.now - Instant(1000) <= Timing::default().answer + Span::seconds(1));
        pair.wait(Span::seconds(2));
        assert_eq!(pair.told.pop(), Some(Output::Dial));
    }
}

#[test]
fn a_hub_that_takes_a_batch_and_never_acks_it_is_given_up() {
    let mut pair = Pair::online();
    pair.send(0, 9);
    pair.pass(Span(20));
    pair.pass(Timing::default().answer);
    assert_eq!(pair.told, [Output::HangUp(DownReason::Silent)]);
}

#[test]
fn an_idle_link_is_pinged_and_an_unanswered_ping_ends_it() {
    let mut pair = Pair::online();
    pair.pass(Timing::default().heartbeat);
    assert_eq!(pair.told.pop(), Some(Output::PingDue));
    let ping = Ping { backlog: Backlog { batch_count: 3 }, ..Ping::default() };
    pair.client.ping(pair.now, &ping);
    pair.carry();
    assert_eq!(pair.heard.pop(), Some(Heard::Ping(ping)));
    let pong = Pong { hub: HubTime { received: UnixTime(5), held: Span(2) } };
    let asked_at = pair.now;
    pair.answer(|server| server.pong(&pong));
    assert_eq!(pair.told.pop(), Some(Output::HubTime(pong.hub, asked_at)));
    pair.client.ping(pair.now, &ping);
    pair.pass(Span(20));
    pair.pass(Timing::default().answer);
    assert_eq!(pair.told.pop(), Some(Output::HangUp(DownReason::Silent)));
}

#[test]
fn a_ping_waits_for_a_batch_that_is_nearly_due_and_no_longer() {
    let heartbeat = Timing::default().heartbeat;
    let nearly = Span(heartbeat.0 * 9 / 8);
    let mut pair = Pair::online();
    pair.client.expect_batch(Some(pair.now + nearly));
    pair.pass(nearly);
    assert!(!pair.told.contains(&Output::PingDue));
    pair.send(0, 4);
    pair.answer(|server| server.ack(&ack(1)));
    pair.client.expect_batch(Some(pair.now + nearly));
    pair.pass(nearly);
    assert!(!pair.told.contains(&Output::PingDue));
    // It does not come.
    pair.pass(Span(heartbeat.0 / 8));
    assert_eq!(pair.told.pop(), Some(Output::PingDue));

    let mut pair = Pair::online();
    pair.client.expect_batch(Some(pair.now + Span(2 * heartbeat.0)));
    pair.pass(heartbeat);
    assert_eq!(pair.told.pop(), Some(Output::PingDue));
}

#[test]
fn the_window_closes_until_what_is_on_its_way_has_arrived() {
    for carrier in [Carrier::Stream, Carrier::Datagram] {
        let mut pair = Pair::online_over(carrier);
        let mut seq = 0;
        while pair.client.can_send(Stream::raw(Class::Normal).lane()) {
            pair.client.send_batch(pair.now, Stream::raw(Class::Normal), Seq(seq), &record(seq, 400), Use::Raw);
            while pair.client.poll_packet(pair.now, &Lane::ALL).is_some() {}
            seq += 1;
        }
        assert!((3..9).contains(&seq), "{seq}");
        // An alert does not wait.
        assert!(pair.client.can_send(Stream::Event.lane()));
        pair.client.send_batch(pair.now, Stream::Event, Seq(0), &record(0, 4), Use::Urgent);
        assert!(pair.client.poll_packet(pair.now, &Lane::ALL).is_some());
    }
}

#[test]
fn a_long_message_begins_with_a_large_packet() {
    let mut channel =
        Channel::new(Instant(0), Carrier::Datagram, Estimate { rate: 2000, round_trip: Span(600), loss: 0 });
    channel.send(Lane::Urgent, Kind::Ping, alloc::vec![0; 16]);
    channel.poll_packet(Instant(0), &Lane::ALL).unwrap();
    channel.receive_datagram::<FrameError>(Instant(600), 0, &[], |_| Ok(())).unwrap();
    channel.send(Lane::Raw, Kind::Batch, alloc::vec![0; 3000]);
    let sizes: Vec<usize> = core::iter::from_fn(|| channel.poll_packet(Instant(700), &Lane::ALL))
        .map(|packet| packet.bytes.len())
        .collect();
    assert_eq!(sizes, [948, 323]);
}

#[test]
fn whatever_is_lost_every_batch_arrives() {
    // Not in step with anything.
    const fn chance(n: usize) -> u32 {
        (n as u32).wrapping_mul(2_654_435_761) >> 20 & 1023
    }
    let losses: [fn(usize) -> bool; 4] =
        [|n| chance(n) < 51, |n| chance(n) < 205, |n| chance(n) < 307, |n| (20..28).contains(&n)];
    for is_lost in losses {
        let mut pair = Pair::online_over(Carrier::Datagram);
        pair.is_lost = is_lost;
        let (mut seq, mut acked) = (0, 0);
        while acked < 60 {
            while seq < 60 && pair.client.can_send(Stream::raw(Class::Normal).lane()) {
                pair.client.send_batch(pair.now, Stream::raw(Class::Normal), Seq(seq), &record(seq, 900), Use::Raw);
                seq += 1;
            }
            pair.wait(Span(700));
            for heard in pair.heard.split_off(0) {
                match heard {
                    Heard::Batch(record) => {
                        let Seq(seq) = Record::open(&record).unwrap().header.seq;
                        // Parts come in any order, but nothing overtakes so far that the set could not be cumulative here.
                        acked = acked.max(seq + 1);
                        pair.server.ack(&ack(acked));
                    }
                    Heard::Ping(ping) => {
                        assert!(ping.wants_acks);
                        pair.server.ack(&ack(acked));
                        pair.server.pong(&Pong::default());
                    }
                    other => panic!("{other:?}"),
                }
            }
            for told in pair.told.split_off(0) {
                match told {
                    Output::PingDue => {
                        pair.client.ping(pair.now, &Ping::default());
                    }
                    Output::Acked(_) | Output::HubTime(..) => {}
                    other => panic!("{other:?} after {:?}", pair.now),
                }
            }
        }
    }
}

#[test]
fn an_ack_for_a_batch_never_sent_is_told_and_takes_nothing_out_of_flight() {
    let mut pair = Pair::online();
    pair.send(5, 9);
    pair.answer(|server| server.ack(&ack(5)));
    assert_eq!(pair.client.in_flight_count(), 1);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_final_one_waits_long() {
    let mut pair = Pair::online();
    pair.answer(|server| server.close(CloseReason::Revoked, "by admin"));
    let Some(Output::HangUp(DownReason::Refused(close))) = pair.told.pop() else { panic!("no refusal") };
    assert_eq!((close.reason, &close.detail[..]), (CloseReason::Revoked, "by admin"));
    assert!(pair.client.poll_timeout().unwrap() - pair.now >= Span::minutes(7));
}

#[test]
fn garbage_closes_the_link_on_the_side_that_hears_it() {
    let mut pair = Pair::online();
    pair.client.handle_input(pair.now, Input::Received(b"HTTP/1.1 400 Bad Request\r\n"));
    pair.carry();
    assert!(matches!(pair.told.pop(), Some(Output::HangUp(DownReason::Garbage(_)))));

    let mut server = Server::new(Instant(0), Carrier::Stream, Versions::HUB);
    let problem = server.receive(Instant(0), None, b"GET / HTTP/1.1\r\n", |_| panic!("nothing was said"));
    assert!(matches!(problem, Err(Problem::Protocol(_))));
    let mut server = Server::new(Instant(0), Carrier::Stream, Versions::HUB);
    let batch = talk::raw_frames(wire::stream::Lane::Raw, wire::message::Kind::Batch, b"early", 0);
    let problem = server.receive(Instant(0), None, &batch, |_| panic!("nothing was said"));
    assert_eq!(problem, Err(Problem::Protocol("message Batch out of place".into())));
}

#[test]
fn a_silent_peer_is_given_up_sooner_before_its_first_words() {
    let mut server = Server::new(Instant(0), Carrier::Stream, Versions::HUB);
    assert_eq!(server.poll_timeout(), Some(Instant(30_000)));
    assert_eq!(server.handle_timeout(Instant(30_000)), Err(Problem::Silent));
    let mut pair = Pair::online();
    pair.pass(Span(20));
    assert_eq!(pair.server.poll_timeout(), Some(Instant(1000) + Span::seconds(180)));
}

#[test]
fn a_refused_client_waits_until_it_is_told_to_dial() {
    let mut pair = Pair::online();
    pair.answer(|server| server.close(CloseReason::UnknownKey, ""));
    assert!(matches!(pair.told.pop(), Some(Output::HangUp(DownReason::Refused(_)))));
    pair.now = pair.now + Span::minutes(5);
    pair.client.handle_timeout(pair.now);
    assert_eq!(pair.client.poll_output(), None);
    pair.client.redial(pair.now);
    pair.client.handle_timeout(pair.now);
    assert_eq!(pair.client.poll_output(), Some(Output::Dial));
    // A connection that is under way is left alone.
    pair.client.redial(pair.now);
    pair.client.handle_timeout(pair.now);
    assert_eq!(pair.client.poll_output(), None);
}

#[test]
fn each_packet_says_what_it_costs_and_what_is_sent_again_is_overhead() {
    let mut pair = Pair::online_over(Carrier::Datagram);
    let opened = pair.spent;
    assert!(opened[Use::Overhead as usize] > 0 && opened[Use::Raw as usize] == 0, "{opened:?}");
    pair.is_lost = |_| true;
    pair.send(0, 400);
    let around = Carrier::Datagram.around_bytes() as u64;
    let lost = pair.spent;
    assert!((400 + around..440 + around).contains(&lost[Use::Raw as usize]), "{lost:?}");
    pair.is_lost = |_| false;
    while pair.heard.is_empty() {
        let at = pair.client.poll_timeout().unwrap();
        pair.pass(at - pair.now);
    }
    assert_eq!(pair.spent[Use::Raw as usize], lost[Use::Raw as usize]);
    assert!(pair.spent[Use::Overhead as usize] >= opened[Use::Overhead as usize] + 400 + around, "{:?}", pair.spent);
}

#[test]
fn what_waits_in_a_closed_lane_stays_and_an_alert_passes() {
    let mut pair = Pair::online_over(Carrier::Datagram);
    pair.client.send_batch(pair.now, Stream::raw(Class::Normal), Seq(0), &record(0, 400), Use::Raw);
    let waiting_bytes = pair.client.waiting_bytes();
    assert!(waiting_bytes > 400 && pair.client.poll_packet(pair.now, &[Lane::Urgent]).is_none());
    pair.client.send_batch(pair.now, Stream::Event, Seq(0), &record(0, 4), Use::Urgent);
    let packet = pair.client.poll_packet(pair.now, &[Lane::Urgent]).expect("an alert waits for nothing");
    assert_eq!(packet.by_use[Use::Urgent as usize], (packet.bytes.len() + Carrier::Datagram.around_bytes()) as u64);
    assert_eq!(pair.client.poll_packet(pair.now, &[Lane::Urgent]), None);
    assert_eq!(pair.client.waiting_bytes(), waiting_bytes);
    let packet = pair.client.poll_packet(pair.now, &Lane::ALL);
    assert!(packet.is_some_and(|packet| packet.by_use[Use::Raw as usize] > 200));
}

#[test]
fn a_client_that_is_held_neither_pings_nor_dials() {
    let mut pair = Pair::online();
    pair.client.hold(true);
    pair.pass(Timing::default().heartbeat);
    assert!(pair.told.is_empty());
    pair.client.handle_input(pair.now, Input::Disconnected);
    let later = pair.now + Span::minutes(60);
    pair.client.handle_timeout(later);
    assert_eq!(pair.client.poll_output(), Some(Output::HangUp(DownReason::Disconnected)));
    assert_eq!((pair.client.poll_output(), pair.client.poll_timeout()), (None, None));
    assert_eq!(pair.client.state_name(), "held");
    pair.client.hold(false);
    pair.client.handle_timeout(later);
    assert_eq!(pair.client.poll_output(), Some(Output::Dial));
}

#[test]
fn a_client_of_which_no_packet_is_taken_wakes_nobody_for_one() {
    let mut pair = Pair::online();
    pair.server.want(&Want { generation: 3 });
    let packet = pair.server.poll_packet(pair.now).unwrap();
    pair.client.handle_input(pair.now, Input::Received(&packet));
    let due_at = pair.client.poll_timeout().unwrap();
    assert!(due_at <= pair.now + Span(20), "its receipt is due");
    pair.client.close(true);
    assert!(pair.client.poll_timeout().unwrap() > pair.now + Span::seconds(10));
    pair.client.close(false);
    assert_eq!(pair.client.poll_timeout(), Some(due_at));
}
