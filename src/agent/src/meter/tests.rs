//! An agent and the hub's end of its link, which takes everything, over a stream that loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use disk::Folder;
use disk::memory::Memory;
use journal::journal::Settings as JournalSettings;
use link::client::Timing;
use link::server::{Heard, Server};
use wire::class::Class;
use wire::id::DeviceId;
use wire::message::{Ack, Pong, Progress, Welcome};
use wire::ranges::RangeSet;
use wire::record::Record;
use wire::stream::Resolution;
use wire::time::{BootId, UnixTime};
use wire::version::{VERSION, Versions};

use super::*;
use crate::Agent;
use crate::agent::{Input, Output, Settings};
use crate::probe::{Reading, Source};
use crate::question::{Answer, Question};
use crate::way;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// 2026-01-01.
const FIRST_DAY: u64 = 20_454;

fn daily(bytes: u64) -> Limit {
    Limit { day_bytes: Some(bytes), ..Limit::default() }
}

/// A machine with a connection to a hub.
struct Bench {
    folder: Folder,
    limit: Limit,
    boot: u32,
    uptime_ms: u64,
    agent: Box<Agent>,
    server: Option<Server>,
    /// What the hub has of each stream.
    held: Vec<BTreeSet<u64>>,
    sent_bytes: u64,
    dial_count: u32,
    /// Whether nobody answers a dial.
    is_cut: bool,
    answer: Option<Answer>,
}

impl Bench {
    fn new(limit: Limit) -> Bench {
        let folder: Folder = Arc::new(Memory::new(64 << 20));
        let (boot, uptime_ms) = (1, 0);
        let agent = open(&folder, limit, stamp(boot, uptime_ms));
        let held = vec![BTreeSet::new(); STREAM_COUNT];
        let (server, answer) = (None, None);
        let (sent_bytes, dial_count, is_cut) = (0, 0, false);
        Bench { folder, limit, boot, uptime_ms, agent, server, held, sent_bytes, dial_count, is_cut, answer }
    }

    fn now(&self) -> Stamp {
        stamp(self.boot, self.uptime_ms)
    }

    /// The process ends without a word, and another one starts.
    fn restart(&mut self) {
        self.server = None;
        self.agent = open(&self.folder, self.limit, self.now());
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs = inputs;
        loop {
            self.agent.step(self.now(), std::mem::take(&mut inputs));
            while let Some(output) = self.agent.poll_output() {
                match output {
                    Output::Dial { .. } => {
                        self.dial_count += 1;
                        if self.is_cut {
                            continue;
                        }
                        self.server = Some(Server::new(Instant(self.uptime_ms), Carrier::Stream, Versions::HUB));
                        inputs.push(Input::Connected(Carrier::Stream));
                    }
                    Output::Send(bytes) => self.hear(&bytes),
                    Output::HangUp => self.server = None,
                    Output::Answer { answer, .. } => self.answer = Some(answer),
                    _ => {}
                }
            }
            if let Some(server) = &mut self.server {
                while let Some(bytes) = server.poll_packet(Instant(self.uptime_ms)) {
                    inputs.push(Input::Received(bytes));
                }
            }
            if inputs.is_empty() {
                return;
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.sent_bytes += (bytes.len() + Carrier::Stream.around_bytes()) as u64;
        let Some(server) = &mut self.server else { return };
        let mut all = Vec::new();
        server
            .receive(Instant(self.uptime_ms), None, bytes, |heard| all.push(heard))
            .expect("the agent keeps the rules");
        for heard in all {
            match heard {
                Heard::Hello(_) => {
                    let held = |stream: Stream| Progress { stream, held: set(&self.held[stream.index()]), tip: None };
                    let progress = Some(Stream::ALL.into_iter().map(held).collect());
                    server.welcome(&Welcome { version: VERSION, progress, ..Welcome::default() });
                }
                Heard::Batch(record) => {
                    let header = Record::open(&record).expect("it is whole").header;
                    let held = &mut self.held[header.stream.index()];
                    held.insert(header.seq.0);
                    let mut ranges = heapless::Vec::new();
                    set(held).iter().take(8).for_each(|range| ranges.push(range).expect("there are eight at most"));
                    server.ack(&Ack { stream: header.stream, cumulative: Seq(0), ranges });
                }
                Heard::Ping(_) => server.pong(&Pong::default()),
                _ => {}
            }
        }
    }

    /// A tick each minute, in which every value is another one.
    fn live(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.uptime_ms += MINUTE_MS;
            let mut reading = Box::new(Reading::new(4096));
            let mut text = String::new();
            for index in 0..60 {
                let noise = (self.uptime_ms + index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30;
                text += &format!("pgfault_{index} {noise}\n");
                text += &format!("cpu{index} {noise} 0 {} 0 0 0 0 0 0 0\n", noise >> 7);
            }
            let filled: Result<(), ()> = reading.append(Source::Stat, b"", |bytes| {
                bytes.extend_from_slice(text.as_bytes());
                Ok(())
            });
            filled.expect("nothing fails here");
            self.step(vec![Input::Reading { at: Instant(self.uptime_ms), reading }]);
        }
    }

    fn ask(&mut self, question: Question) -> Answer {
        self.step(vec![Input::Ask { id: 1, question }]);
        self.answer.take().expect("it answers at once")
    }

    fn report(&mut self) -> BearerReport {
        let Answer::Link(mut report) = self.ask(Question::Link) else { panic!("another answer") };
        report.bearers.remove(0)
    }

    /// Batches of a stream that wait.
    fn waiting_count(&self, stream: Stream) -> u64 {
        self.agent.journal().waiting_count(stream)
    }
}

fn interface(bytes: u64) -> Input {
    Input::CountedInterface { name: "wwan0".into(), bytes }
}

fn set(held: &BTreeSet<u64>) -> RangeSet {
    let mut set = RangeSet::new();
    for seq in held {
        let range = wire::ranges::SeqRange { first: Seq(*seq), last: Seq(*seq) };
        set.insert_range(range).expect("what is held here has few holes");
    }
    set
}

fn stamp(boot: u32, uptime_ms: u64) -> Stamp {
    let unix = Some(UnixTime(FIRST_DAY * DAY_MS + uptime_ms));
    Stamp { boot: BootId(boot), uptime: Instant(uptime_ms), unix }
}

fn open(folder: &Folder, limit: Limit, now: Stamp) -> Box<Agent> {
    let settings = Settings {
        device: DeviceId(1),
        version: "0.1.0".into(),
        hostname: "gw".into(),
        build: UnixTime(0),
        journal: JournalSettings { bytes_max: 32 << 20, tail_bytes_max: 1 << 20, ..JournalSettings::DEFAULT },
        link: Timing::default(),
        has_hub: true,
        interval: Span::seconds(10),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
        way: Box::new(way::Settings::simple((Span::minutes(5), Span::minutes(5)), Span::minutes(10), limit)),
    };
    Box::new(Agent::open(folder.clone(), settings, 7, now).expect("memory has room"))
}

/// Lives until the last hour of a day, of whose open part other programs use what is left.
fn used_up() -> Bench {
    let mut bench = Bench::new(daily(60_000));
    bench.live(23 * 60);
    let left = 54_000 - bench.report().day.used_bytes;
    bench.step(vec![interface(0)]);
    bench.step(vec![interface(left)]);
    assert_eq!(bench.report().used_per_cent, 100);
    bench
}

#[test]
fn bulk_stops_before_events_and_waits_for_another_day() {
    let mut bench = used_up();
    let report = bench.report();
    assert!(report.day.used_bytes <= 60_000 * 95 / 100 && bench.sent_bytes < report.day.used_bytes, "{report:?}");
    assert_eq!(report.opens_in, Some(Span::minutes(60)));
    let (waiting_count, batch_count) =
        (bench.waiting_count(Stream::raw(Class::Normal)), bench.agent.journal().next(Stream::raw(Class::Normal)).0);
    assert!(waiting_count > batch_count / 5 && bench.waiting_count(Stream::Event) == 0, "{waiting_count}");
    assert_eq!(batch_count, waiting_count + bench.held[Stream::raw(Class::Normal).index()].len() as u64);
    // A person lifts the budget.
    bench.limit = Limit::default();
    bench.restart();
    bench.live(10);
    assert_eq!(bench.agent.backlog_count(), 0);
    assert!(bench.report().day.spent.by_use[Use::Backlog as usize] > 10_000);
}

#[test]
fn an_event_passes_on_the_reserve_and_dials_for_it() {
    let mut bench = used_up();
    // The series of what other programs use is news as well.
    bench.live(10);
    let before = bench.report().day.spent.by_use[Use::Urgent as usize];
    bench.step(vec![Input::Missed(1)]);
    assert_eq!(bench.agent.link_words(), "online");
    assert_eq!(bench.waiting_count(Stream::Event), 0);
    // The hub gives up a link on which nothing is said.
    bench.server = None;
    bench.step(vec![Input::Disconnected(None)]);
    let (dial_count, state) = (bench.dial_count, bench.agent.link_words());
    bench.live(30);
    assert_eq!((bench.dial_count, state.starts_with("held")), (dial_count, true), "{state}");
    bench.step(vec![Input::Missed(1)]);
    bench.step(Vec::new());
    assert_eq!((bench.dial_count, bench.waiting_count(Stream::Event)), (dial_count + 1, 0));
    // With all that it needs.
    let spent = bench.report().day.spent.by_use[Use::Urgent as usize] - before;
    assert!(spent > Carrier::Stream.opening_bytes() as u64, "{spent}");
}

#[test]
fn behind_the_reserve_nothing_goes() {
    let mut bench = used_up();
    for count in 1..200 {
        bench.step(vec![Input::Missed(count)]);
    }
    let (sent_bytes, report) = (bench.sent_bytes, bench.report());
    assert!(bench.waiting_count(Stream::Event) > 100);
    bench.step(vec![Input::Missed(1)]);
    bench.live(5);
    assert_eq!(bench.sent_bytes, sent_bytes);
    assert!((59_000 - PACKET_BYTES_MAX..=60_000).contains(&report.day.used_bytes), "{report:?}");
    bench.live(60);
    assert_eq!(bench.waiting_count(Stream::Event), 0);
}

#[test]
fn an_outage_ends_the_runs_when_it_does_however_many_dials_fail_meanwhile() {
    let minutes = Stream::Series(Resolution::Minute, Class::Normal);
    let mut bench = Bench::new(Limit::default());
    bench.live(61);
    let batch_count = |bench: &Bench| bench.agent.journal().next(minutes).0;
    let (batches_before, dials_before) = (batch_count(&bench), bench.dial_count);
    bench.is_cut = true;
    bench.step(vec![Input::Disconnected(None)]);
    bench.live(300);
    assert!(bench.dial_count >= dials_before + 10, "{}", bench.dial_count);
    // Ten windows each.
    assert_eq!(batch_count(&bench) - batches_before, 30);
    bench.is_cut = false;
    bench.live(60);
    assert_eq!(bench.waiting_count(minutes), 0);
    // The batch that was open ended early.
    assert!((36..=37).contains(&(batch_count(&bench) - batches_before)));
}

#[test]
fn what_the_kernel_sent_again_and_other_programs_sent_counts() {
    let mut bench = Bench::new(daily(1_000_000));
    bench.live(30);
    let before = bench.report().day;
    // All of it went over this connection.
    bench.step(vec![Input::CountedConnection(before.used_bytes), interface(5_000_000)]);
    assert_eq!(bench.report().day.used_bytes, before.used_bytes);
    bench.step(vec![Input::CountedConnection(before.used_bytes + 700)]);
    bench.step(vec![interface(5_000_000 + 700 + 40_000)]);
    let after = bench.report().day;
    assert_eq!(after.spent.by_use[Use::Overhead as usize] - before.spent.by_use[Use::Overhead as usize], 700);
    assert_eq!(after.spent.other, 40_000);
    // The link goes over another interface.
    bench.step(vec![Input::CountedInterface { name: "eth0".into(), bytes: 9_000_000_000 }]);
    assert_eq!(bench.report().day.spent.other, 40_000);
}

#[test]
fn a_restart_keeps_the_count_but_for_what_no_commit_has_seen() {
    let mut bench = Bench::new(daily(1_000_000));
    bench.live(120);
    let before = bench.report();
    bench.restart();
    let after = bench.report();
    let forgotten = before.day.used_bytes - after.day.used_bytes;
    assert!(forgotten <= before.day.used_bytes / 10, "{before:?} {after:?}");
    assert!(before.rate > 0 && after.rate > 0 && after.round_trip.0 > 0);
    // Another boot on the same day.
    (bench.boot, bench.server) = (2, None);
    bench.agent = open(&bench.folder, bench.limit, bench.now());
    assert_eq!(bench.report().day.used_bytes, after.day.used_bytes);
}

#[test]
fn a_day_that_is_over_is_told_and_another_begins() {
    let mut bench = used_up();
    let used = bench.report().day.spent;
    bench.live(62);
    let report = bench.report();
    let [day] = report.days[..] else { panic!("{report:?}") };
    assert_eq!((u64::from(day.day), day.budget_bytes), (FIRST_DAY, Some(60_000)));
    assert!(day.spent.total() >= used.total() && day.spent.total() <= 60_000);
    assert!(report.day.used_bytes < 30_000 && report.used_per_cent == 0, "{report:?}");
    assert_eq!(bench.waiting_count(Stream::Event), 0);
}

#[test]
fn each_step_is_said_once() {
    let mut bench = used_up();
    let Answer::Events(events) = bench.ask(Question::Events { count_max: 100 }) else { panic!("another answer") };
    let steps: Vec<u8> = events
        .into_iter()
        .rev()
        .filter_map(|(_, event)| if let Event::BudgetUsed { per_cent, .. } = event { Some(per_cent) } else { None })
        .collect();
    assert!(steps.is_sorted() && steps.last() == Some(&100) && steps.len() <= 4, "{steps:?}");
}

#[test]
fn what_was_spent_is_a_series_of_its_own() {
    let mut bench = Bench::new(Limit::default());
    bench.live(30);
    let shown = |bench: &mut Bench, purpose: &str| {
        let Answer::Samples { series, .. } = bench.ask(Question::Latest) else { panic!("another answer") };
        let labels = format!("bearer=\"default\",use=\"{purpose}\"");
        let mut found = series.into_iter().filter(|series| series.series.name == "outpost_uplink_bytes_total");
        found.find(|series| series.series.labels == labels).map(|series| series.samples[0].1)
    };
    let raw = shown(&mut bench, "raw").expect("ticks were sent");
    bench.live(30);
    assert!(shown(&mut bench, "raw").is_some_and(|later| later > raw) && shown(&mut bench, "backlog").is_none());
}

#[test]
fn what_could_not_be_sent_while_it_was_new_is_told_stream_by_stream() {
    let now = stamp(1, 0);
    let mut journal = Journal::open(Arc::new(Memory::new(64 << 20)), JournalSettings::DEFAULT, 1, now).unwrap();
    let mut meter = Meter::open(&journal, now);
    // Of no two streams as many.
    for (count, stream) in (1..).zip(Stream::ALL) {
        for _ in 0..count {
            journal.append(now, stream, None, now, b"batch", false).unwrap();
        }
    }
    meter.mark_history(&journal);
    for stream in Stream::ALL {
        let next = journal.next(stream);
        let part = |seq| meter.part(stream, seq);
        assert_eq!([part(Seq(next.0 - 1)), part(next)], [Part::Backlog, Part::Live], "{stream}");
    }
}
