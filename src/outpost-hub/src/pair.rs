//! The serving process and machines, over real sockets of loopback.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use hal::linux::folder::Folder;
use hub::request::{Member, Reply, Request};
use identity::tls::wrong_hub;
use identity::token::{Token, secret_hash};
use tokio::sync::oneshot;
use wire::class::Class;
use wire::event::{Event, LossReason};
use wire::id::Seq;
use wire::message::{Backlog, CloseReason, Fingerprint, Kind, Ping, Pong, Welcome};
use wire::ranges::SeqRange;
use wire::stream::Stream;
use wire::time::{Span, UnixTime};

use crate::call::{self, Call, EventsCall, Outcome, SamplesCall, SamplesFound, StatFound};
use crate::full_folder::FullFolder;
use crate::lobby::WAITING_COUNT_MAX;
use crate::machine::{BEGAN, Machine};
use crate::scratch::Scratch;
use crate::server::{Server, Settings};

struct Hub {
    folder: Scratch,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    fn start() -> Hub {
        Hub::start_in(Scratch::new())
    }

    fn start_in(folder: Scratch) -> Hub {
        Hub::start_on(folder, |path| Ok(Folder::open(path)?))
    }

    /// A hub whose store is on a disk that `store_folder` opens.
    fn start_on(folder: Scratch, store_folder: impl FnOnce(&Path) -> io::Result<disk::Folder> + Send + 'static) -> Hub {
        let settings = Settings { folder: folder.0.clone(), listen: "127.0.0.1:0".into() };
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::open_on(&settings, store_folder).unwrap();
                ready.send(server.address()).unwrap();
                let stop = async { drop(stopped.await) };
                server.run(stop).await;
            });
        });
        let address = address.recv().unwrap();
        Hub { folder, address, stop: Some(stop), thread: Some(thread) }
    }

    fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    fn restart(mut self) -> Hub {
        self.stop();
        let folder = std::mem::replace(&mut self.folder, Scratch::new());
        Hub::start_in(folder)
    }

    fn ask(&self, call: Call) -> Outcome {
        call::ask(&self.folder.0, &call).unwrap()
    }

    fn key(&self) -> Fingerprint {
        let Outcome::Hub(hub) = self.ask(Call::Hub) else { panic!("it was asked who it is") };
        hub.key
    }

    fn token(&self, uses: u32, expires_in: Option<Span>) -> Token {
        let token = Token::generate(self.key());
        let hash = secret_hash(&token.secret);
        let request = Request::TokenNew { hash, uses, expires_in, group: Some("pumps".into()), tags: [].into() };
        assert_eq!(self.ask(Call::Admin(request)), Outcome::Admin(Reply::Done));
        token
    }

    /// A machine that is enrolled.
    fn machine(&self) -> Machine {
        let machine = Machine::new();
        let enrolled = machine.enroll(self.address, &self.token(1, None)).unwrap();
        assert_eq!(enrolled.device, machine.device());
        machine
    }

    fn members(&self) -> Vec<Member> {
        let Outcome::Admin(Reply::Fleet(members)) = self.ask(Call::Admin(Request::Fleet)) else { panic!("a fleet") };
        members
    }

    fn stat(&self) -> StatFound {
        let Outcome::Stat(stat) = self.ask(Call::Stat) else { panic!("how much there is") };
        stat
    }

    fn samples(&self, expression: &str, step: Option<Span>) -> SamplesFound {
        let (from, to) = (UnixTime(BEGAN), UnixTime(BEGAN + 600_000));
        match self.ask(Call::Samples(SamplesCall { expression: expression.into(), from, to, step })) {
            Outcome::Samples(found) => found,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_second_hub_in_one_folder_is_told_and_the_first_one_answers_on() {
    let hub = Hub::start();
    let key = hub.key();
    let settings = Settings { folder: hub.folder.0.clone(), listen: "127.0.0.1:0".into() };
    let error = Server::open(&settings).unwrap_err().to_string();
    assert!(error.starts_with("another outpost-hub serves"), "{error}");
    assert_eq!(hub.key(), key);
}

#[test]
fn a_batch_is_held_once_however_often_it_is_sent() {
    let hub = Hub::start();
    let mut machine = hub.machine();
    let (names, first, second) = (machine.names(&["node_load1"]), machine.run(0, 30), machine.run(300_000, 30));

    let mut link = machine.greet(hub.address, hub.key());
    let welcome: Welcome = link.hear(Kind::Welcome);
    // A machine that takes the hub to hold nothing is right.
    assert!(welcome.progress.is_none() && welcome.hub.received.0 > BEGAN && welcome.wants_about);
    for record in [&names, &first, &second] {
        link.send_batch(record);
    }
    link.hear_acks(Stream::raw(Class::Normal), 2);
    drop(link);

    // The acks were lost: all of it is sent again, on another link and to another process.
    let hub = hub.restart();
    let mut link = machine.greet(hub.address, hub.key());
    let welcome: Welcome = link.hear(Kind::Welcome);
    let held: Vec<_> =
        welcome.progress.iter().flatten().map(|progress| (progress.stream, progress.held.count())).collect();
    assert_eq!(held, [(Stream::Dictionary, 1), (Stream::raw(Class::Normal), 2)]);
    for record in [&names, &first, &second] {
        link.send_batch(record);
    }
    link.hear_acks(Stream::raw(Class::Normal), 2);
    let stat = hub.stat();
    assert_eq!((stat.devices, stat.series, stat.samples), (1, 1, 60));
    assert_eq!((stat.batches, stat.lost, stat.duplicates, stat.gaps), (3, 0, 0, 0));
}

#[test]
fn each_refusal_has_its_reason_and_harms_nobody_else() {
    let hub = Hub::start();
    let good = hub.machine();
    let mut link = good.greet(hub.address, hub.key());
    let _: Welcome = link.hear(Kind::Welcome);

    let stranger = Machine::new();
    let enroll = |token: &Token| stranger.enroll(hub.address, token).unwrap_err();
    assert_eq!(stranger.greet(hub.address, hub.key()).hear_close(), CloseReason::UnknownKey);
    assert_eq!(enroll(&Token::generate(hub.key())), CloseReason::TokenUnknown);
    assert_eq!(enroll(&hub.token(1, Some(Span(0)))), CloseReason::TokenExpired);
    let used = hub.token(1, None);
    Machine::new().enroll(hub.address, &used).unwrap();
    assert_eq!(enroll(&used), CloseReason::TokenUsed);

    // More than fits any buffer on the way: the reason still comes through.
    let mut garbage = stranger.connect(hub.address, hub.key()).unwrap();
    garbage.write(&[0xff; 100_000]);
    assert_eq!(garbage.hear_close(), CloseReason::Protocol);
    let mut record = Machine::new().run(0, 3);
    record[9] ^= 1;
    let damaged = hub.machine();
    let mut damaged_link = damaged.greet(hub.address, hub.key());
    let _: Welcome = damaged_link.hear(Kind::Welcome);
    damaged_link.send_batch(&record);
    assert_eq!(damaged_link.hear_close(), CloseReason::Protocol);
    std::io::Write::write_all(&mut TcpStream::connect(hub.address).unwrap(), b"GET / HTTP/1.1\r\n\r\n").unwrap();

    let revoked = hub.machine();
    let revoked_link = revoked.greet(hub.address, hub.key());
    let request = Request::Revoke { device: revoked.device().to_string() };
    assert_eq!(hub.ask(Call::Admin(request)), Outcome::Admin(Reply::Done));
    drop(revoked_link);
    assert_eq!(revoked.greet(hub.address, hub.key()).hear_close(), CloseReason::Revoked);

    link.say(Kind::Ping, &Ping { backlog: Backlog { batch_count: 2 }, ..Ping::default() });
    let _: Pong = link.hear(Kind::Pong);
    let online: Vec<_> =
        hub.members().iter().filter(|member| member.is_online).map(|member| member.device.id).collect();
    assert_eq!(online, [good.device()]);
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let hub = Hub::start();
    let machine = hub.machine();
    let _silent: Vec<TcpStream> =
        (0..WAITING_COUNT_MAX + 20).map(|_| TcpStream::connect(hub.address).unwrap()).collect();
    let mut link = machine.greet(hub.address, hub.key());
    let _: Welcome = link.hear(Kind::Welcome);
}

#[test]
fn of_many_links_of_one_machine_the_newest_holds() {
    let hub = Hub::start();
    let machine = hub.machine();
    let mut first = machine.greet(hub.address, hub.key());
    let _: Welcome = first.hear(Kind::Welcome);
    // These never say hello, as if a cut left them half open.
    let _half_open: Vec<_> = (0..10).map(|_| machine.connect(hub.address, hub.key()).unwrap()).collect();
    let mut last = machine.greet(hub.address, hub.key());
    let _: Welcome = last.hear(Kind::Welcome);
    assert_eq!(hub.members().iter().filter(|member| member.is_online).count(), 1);
}

#[test]
fn whoever_is_connected_is_told_when_the_hub_closes_down() {
    let mut hub = Hub::start();
    let machine = hub.machine();
    let mut link = machine.greet(hub.address, hub.key());
    let _: Welcome = link.hear(Kind::Welcome);
    let told = std::thread::spawn(move || link.hear_close());
    hub.stop();
    assert_eq!(told.join().unwrap(), CloseReason::Shutdown);
    let error = call::ask(&hub.folder.0, &Call::Hub).unwrap_err().to_string();
    assert!(error.contains("no hub serves"), "{error}");
    // When it was last heard survives.
    let hub = hub.restart();
    assert!(hub.members()[0].device.heard.is_some_and(|heard| heard.0 > BEGAN));
}

#[test]
fn a_key_changes_when_all_who_are_active_know_the_next() {
    let hub = Hub::start();
    let (old, machine) = (hub.key(), hub.machine());
    let mut link = machine.greet(hub.address, old);
    let welcome: Welcome = link.hear(Kind::Welcome);
    assert_eq!(welcome.next_key, None);

    let Outcome::Key(next) = hub.ask(Call::KeyRotate) else { panic!("a key") };
    assert_eq!(link.hear_close(), CloseReason::Shutdown);
    let refused = hub.ask(Call::KeyActivate { is_forced: false });
    assert!(matches!(&refused, Outcome::Refused(text) if text.contains("gw")), "{refused:?}");

    // The announcement survives a restart.
    let hub = hub.restart();
    let mut link = machine.greet(hub.address, old);
    let welcome: Welcome = link.hear(Kind::Welcome);
    assert_eq!(welcome.next_key, Some(next));
    assert_eq!(hub.ask(Call::KeyActivate { is_forced: false }), Outcome::Key(next));
    assert_eq!(link.hear_close(), CloseReason::Shutdown);

    let error = machine.connect(hub.address, old).map(drop).unwrap_err();
    assert_eq!(wrong_hub(&error).map(|wrong| wrong.shown), Some(next));
    let mut link = machine.greet(hub.address, next);
    let welcome: Welcome = link.hear(Kind::Welcome);
    assert_eq!((welcome.next_key, hub.key()), (None, next));
    assert!(matches!(hub.ask(Call::KeyActivate { is_forced: true }), Outcome::Refused(_)));
}

#[test]
fn a_question_is_answered_under_the_device_s_name_and_a_slip_is_named() {
    let hub = Hub::start();
    let mut machine = hub.machine();
    let records = [machine.names(&["node_load1", "up_total"]), machine.run(0, 60)];
    let mut link = machine.greet(hub.address, hub.key());
    let _: Welcome = link.hear(Kind::Welcome);
    for record in &records {
        link.send_batch(record);
    }
    link.hear_acks(Stream::raw(Class::Normal), 1);

    let found = hub.samples("node_load1{device=\"gw\"}", Some(Span::minutes(1)));
    let labels =
        [("instance", "gw"), ("group", "pumps"), ("device", "gw")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!((found.series.len(), &found.series[0].labels[..]), (1, &labels[..]));
    assert_eq!(found.series[0].points[..2], [(BEGAN, 0.0), (BEGAN + 60_000, 6.0)]);
    assert_eq!((&found.notes, &found.missing), (&vec![], &None));
    assert_eq!(hub.samples("node_load1", None).series[0].points.len(), 60);
    let found = hub.samples("rate(up_total[1m])", Some(Span::minutes(5)));
    assert_eq!(found.series[0].points, [(BEGAN + 300_000, 0.1), (BEGAN + 600_000, 0.1)]);

    let missing = |expression| hub.samples(expression, None).missing.unwrap_or_default();
    assert_eq!(missing("node_laod1"), "no device has a metric called node_laod1; did you mean node_load1?");
    assert_eq!(missing("up_totl{device=\"sda\"}"), "no device has a metric called up_totl; did you mean up_total?");
    assert_eq!(missing("node_load1{device=\"gv\"}"), "there is no device called gv; did you mean gw?");
    assert_eq!(missing("node_load1{group=~\"x.*\"}"), "there is no group");
    assert_eq!(missing("node_load1{x=\"y\"}"), "");
    let found = hub.samples("rate(node_load1[1m])", Some(Span::minutes(1)));
    assert!(found.notes[0].contains("counters only"), "{:?}", found.notes);
}

#[test]
fn what_happened_is_told_and_what_will_never_come_counts_as_lost() {
    let hub = Hub::start();
    let mut machine = hub.machine();
    let range = SeqRange { first: Seq(0), last: Seq(4) };
    let lost = Event::Lost { stream: Stream::raw(Class::Normal), range, reason: LossReason::Evicted };
    let records = [machine.event(0, &Event::Stopped), machine.event(5000, &lost)];
    let mut link = machine.greet(hub.address, hub.key());
    let _: Welcome = link.hear(Kind::Welcome);
    for record in &records {
        link.send_batch(record);
    }
    link.hear_acks(Stream::raw(Class::Normal), 5);

    let ask = |device: Option<&str>, count_max| {
        let (from, to) = (UnixTime(BEGAN), UnixTime(BEGAN + 600_000));
        hub.ask(Call::Events(EventsCall { device: device.map(str::to_owned), from, to, count_max }))
    };
    let Outcome::Events(all) = ask(Some("gw"), 10) else { panic!("events") };
    let told: Vec<_> = all.events.iter().map(|event| (event.at, &event.event)).collect();
    assert_eq!(told, [(Some(UnixTime(BEGAN)), &Event::Stopped), (Some(UnixTime(BEGAN + 5000)), &lost)]);
    let Outcome::Events(newest) = ask(None, 1) else { panic!("events") };
    assert_eq!((&newest.events[..], newest.notes.len()), (&all.events[1..], 1));
    assert_eq!(ask(Some("gv"), 1), Outcome::Refused("no device is called gv; did you mean gw?".into()));
    assert_eq!((hub.stat().lost, hub.stat().gaps), (5, 0));
}

#[test]
fn a_full_disk_sends_everyone_away_and_nothing_acknowledged_is_lost() {
    let is_full = Arc::new(AtomicBool::new(false));
    let flag = is_full.clone();
    let hub = Hub::start_on(Scratch::new(), |path| Ok(Arc::new(FullFolder(Folder::open(path)?, flag))));
    let mut machine = hub.machine();
    let token = hub.token(1, None);
    let records = [machine.names(&["node_load1"]), machine.run(0, 30)];
    let (mut link, idle) = (machine.greet(hub.address, hub.key()), hub.machine());
    let mut idle_link = idle.greet(hub.address, hub.key());
    let (_, _): (Welcome, Welcome) = (link.hear(Kind::Welcome), idle_link.hear(Kind::Welcome));
    link.send_batch(&records[0]);
    link.hear_acks(Stream::Dictionary, 1);

    is_full.store(true, Ordering::Relaxed);
    link.send_batch(&records[1]);
    assert_eq!(link.hear_close(), CloseReason::Busy);
    assert_eq!(idle_link.hear_close(), CloseReason::Busy);
    // Whoever comes meanwhile is turned away and does not wait in line.
    for _ in 0..4 {
        assert_eq!(machine.greet(hub.address, hub.key()).hear_close(), CloseReason::Busy);
    }
    let request = Request::Rename { device: "gw".into(), name: "pump".into() };
    let refused = hub.ask(Call::Admin(request.clone()));
    assert!(
        matches!(&refused, Outcome::Admin(Reply::Refused(text)) if text.contains("not done: store: I/O error")),
        "{refused:?}"
    );
    is_full.store(false, Ordering::Relaxed);
    let renamed = std::iter::repeat_with(|| hub.ask(Call::Admin(request.clone())))
        .find(|outcome| !matches!(outcome, Outcome::Admin(Reply::Refused(_))));
    assert_eq!(renamed, Some(Outcome::Admin(Reply::Done)));

    // The new core knows what was durable and nothing else.
    let mut link = machine.greet(hub.address, hub.key());
    let welcome: Welcome = link.hear(Kind::Welcome);
    let held: Vec<_> = welcome.progress.iter().flatten().map(|progress| progress.stream).collect();
    assert_eq!(held, [Stream::Dictionary]);
    link.send_batch(&records[1]);
    link.hear_acks(Stream::raw(Class::Normal), 1);
    Machine::new().enroll(hub.address, &token).unwrap();
    let stat = hub.stat();
    assert_eq!((stat.samples, stat.batches, stat.duplicates, stat.gaps), (30, 2, 0, 0));
}
