use std::sync::Arc;

use disk::memory::Memory;
use journal::journal::Settings as JournalSettings;
use link::channel::Carrier;
use link::client::Timing;
use link::server::{Heard, Server};
use wire::id::DeviceId;
use wire::message::Welcome;
use wire::time::BootId;
use wire::version::{VERSION, Versions};

use super::*;
use crate::agent::{Agent, Input as AgentInput, Output, Settings};
use crate::question::{Answer, Question};
use crate::way;

const BUILD: UnixTime = UnixTime(1_767_225_600_000);

fn stamp(uptime: u64, unix: Option<u64>) -> Stamp {
    Stamp { boot: BootId(1), uptime: Instant(uptime), unix: unix.map(|unix| UnixTime(BUILD.0 + unix)) }
}

fn events(clock: &mut Clock) -> Vec<String> {
    std::iter::from_fn(|| clock.poll_event()).map(|event| event.to_string()).collect()
}

#[test]
fn a_driver_that_says_nothing_of_its_clock_is_taken_at_its_word() {
    let clock = Clock::new(BUILD);
    assert_eq!(clock.civil(stamp(5, Some(7))), stamp(5, Some(7)));
    assert_eq!(clock.civil(stamp(5, None)), stamp(5, None));
}

#[test]
fn a_clock_that_nothing_keeps_is_believed_from_the_hub_on() {
    let mut clock = Clock::new(BUILD);
    let reading = Reading { error_max: None, rtc: None };
    // A board that woke with the time of its image: plausible, and wrong.
    clock.read(stamp(1000, Some(5)), reading);
    assert_eq!(clock.civil(stamp(2000, Some(1005))), stamp(2000, None));
    let hub = HubTime { received: UnixTime(BUILD.0 + 900_300), held: Span(0) };
    clock.hear(Instant(3600), hub, Instant(3000));
    assert_eq!(clock.civil(stamp(4000, Some(3005))), stamp(4000, Some(901_000)));
    assert_eq!(events(&mut clock), ["the time is known, from the hub"]);
    let belief = clock.belief(Instant(4000)).unwrap();
    assert!((300..400).contains(&belief.uncertainty.0), "{belief:?}");
}

#[test]
fn a_clock_that_a_service_keeps_is_the_kernel_s_whatever_the_hub_says() {
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, Some(50_000)), Reading { error_max: Some(Span(20)), rtc: None });
    clock.hear(Instant(1600), HubTime { received: UnixTime(BUILD.0 + 999_000), held: Span(0) }, Instant(1500));
    assert_eq!(clock.civil(stamp(2000, Some(51_000))), stamp(2000, Some(51_000)));
    let events = events(&mut clock);
    assert!(events.len() == 1 && events[0].starts_with("the clocks disagree"), "{events:?}");
}

const FREE: Reading = Reading { error_max: None, rtc: None };

/// A server that says it is `unix` after the build, 200 ms away.
fn server(heard: u64, unix: u64) -> Told {
    let there = UnixTime(BUILD.0 + unix - 100);
    let exchange = Exchange { sent: Instant(heard - 200), received: there, answered: there, heard: Instant(heard) };
    Told::Sntp { exchange, distance: Span(30) }
}

fn believed(clock: &Clock, now: u64) -> Option<(Source, u64)> {
    clock.belief(Instant(now)).map(|belief| (belief.source, belief.unix.0 - BUILD.0))
}

#[test]
fn a_server_is_believed_until_a_receiver_and_then_the_hub_speaks() {
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, None), FREE);
    assert!(clock.wants_server(Instant(1000)));
    clock.tell(server(2000, 800_000));
    assert_eq!(believed(&clock, 2000), Some((Source::Sntp, 800_000)));
    // Half the journey, what the server may be off, and rounding.
    assert_eq!(clock.belief(Instant(2000)).unwrap().uncertainty, Span(100 + 30 + 1 + 2 + 1));
    assert!(clock.wants_server(Instant(2000)));
    let gnss = Told::Gnss { at: Instant(3000), unix: UnixTime(BUILD.0 + 800_900), uncertainty: Span(1000) };
    clock.tell(gnss);
    assert_eq!(believed(&clock, 3000), Some((Source::Gnss, 800_900)));
    assert!(!clock.wants_server(Instant(3000)));
    clock.hear(Instant(4000), HubTime { received: UnixTime(BUILD.0 + 801_900), held: Span(0) }, Instant(3800));
    assert_eq!(believed(&clock, 4000), Some((Source::Hub, 802_000)));
    assert_eq!(events(&mut clock), ["the time is known, from the SNTP"]);
}

#[test]
fn of_a_server_and_a_hub_that_disagree_the_hub_is_believed() {
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, None), FREE);
    clock.hear(Instant(1200), HubTime { received: UnixTime(BUILD.0 + 900), held: Span(0) }, Instant(1000));
    clock.tell(server(2000, 500_000));
    assert_eq!(believed(&clock, 2000), Some((Source::Hub, 1800)));
    assert!(events(&mut clock)[1].starts_with("the clocks disagree"));
}

#[test]
fn a_server_from_another_decade_places_nothing() {
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, None), FREE);
    clock.tell(server(2000, PLAUSIBLE_SPAN.0 + 1));
    let long_ago = Exchange {
        sent: Instant(2000),
        received: UnixTime(BUILD.0 - 1000),
        answered: UnixTime(BUILD.0 - 1000),
        heard: Instant(2200),
    };
    clock.tell(Told::Sntp { exchange: long_ago, distance: Span(0) });
    assert_eq!(clock.civil(stamp(3000, None)).unix, None);
    assert_eq!(events(&mut clock).len(), 1);
    assert!(clock.wants_server(Instant(3000)));
}

#[test]
fn nobody_is_asked_while_the_kernel_s_clock_is_kept_or_the_hub_has_spoken_lately() {
    let mut clock = Clock::new(BUILD);
    assert!(!clock.wants_server(Instant(0)));
    clock.read(stamp(1000, Some(50_000)), Reading { error_max: Some(Span(20)), rtc: None });
    assert!(!clock.wants_server(Instant(1000)));
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, None), Reading { error_max: None, rtc: Some(UnixTime(BUILD.0 + 1)) });
    assert!(clock.wants_server(Instant(1000)));
    clock.hear(Instant(1600), HubTime { received: UnixTime(BUILD.0 + 1), held: Span(0) }, Instant(1500));
    assert!(!clock.wants_server(Instant(86_400_000)));
    assert!(clock.wants_server(Instant(2 * 86_400_000)));
}

#[test]
fn a_chip_from_the_last_century_is_refused_and_said() {
    let mut clock = Clock::new(BUILD);
    clock.read(stamp(1000, None), Reading { error_max: None, rtc: Some(UnixTime(86_400_000)) });
    assert_eq!(clock.civil(stamp(1000, None)).unix, None);
    assert_eq!(events(&mut clock).len(), 1);
}

/// An agent on a machine whose clock nothing keeps, and perhaps a hub that is `hub_unix` after the build.
struct Bench {
    agent: Box<Agent>,
    hub_unix: Option<u64>,
}

impl Bench {
    fn new() -> Bench {
        let settings = Settings {
            device: DeviceId(1),
            version: "0.1.0".into(),
            hostname: "gw".into(),
            build: BUILD,
            journal: JournalSettings { bytes_max: 32 << 20, tail_bytes_max: 1 << 20, ..JournalSettings::DEFAULT },
            link: Timing::default(),
            has_hub: true,
            interval: Span::seconds(10),
            importance: Default::default(),
            wear_budget_bytes: u64::MAX,
            around: Default::default(),
            way: Box::new(way::Settings::simple(
                (Span::minutes(5), Span::minutes(5)),
                Span::minutes(10),
                Default::default(),
            )),
        };
        let agent = Agent::open(Arc::new(Memory::new(64 << 20)), settings, 7, stamp(0, None)).unwrap();
        Bench { agent: Box::new(agent), hub_unix: None }
    }

    /// Takes an input, and says whose time a person on site is shown, and which.
    fn step(&mut self, uptime: u64, input: AgentInput) -> Option<(String, u64)> {
        let mut inputs = vec![input];
        let mut server = Server::new(Instant(uptime), Carrier::Stream, Versions::HUB);
        while !inputs.is_empty() {
            self.agent.step(stamp(uptime, None), std::mem::take(&mut inputs));
            while let Some(output) = self.agent.poll_output() {
                match (output, self.hub_unix) {
                    (Output::Dial { .. }, Some(_)) => inputs.push(AgentInput::Connected(Carrier::Stream)),
                    (Output::Dial { .. }, None) => inputs.push(AgentInput::Disconnected(None)),
                    (Output::Send(bytes), Some(unix)) => {
                        let mut has_greeted = false;
                        let heard = |heard| has_greeted |= matches!(heard, Heard::Hello(_));
                        server.receive(Instant(uptime), None, &bytes, heard).unwrap();
                        if has_greeted {
                            let hub = HubTime { received: UnixTime(BUILD.0 + unix), held: Span(0) };
                            server.welcome(&Welcome { version: VERSION, hub, ..Welcome::default() });
                        }
                    }
                    _ => {}
                }
            }
            while let Some(bytes) = server.poll_packet(Instant(uptime)) {
                inputs.push(AgentInput::Received(bytes));
            }
        }
        self.agent.step(stamp(uptime, None), [AgentInput::Ask { id: 1, question: Question::Status }]);
        let answers = std::iter::from_fn(|| self.agent.poll_output());
        let status = answers.into_iter().find_map(|output| match output {
            Output::Answer { answer: Answer::Status(status), .. } => Some(status),
            _ => None,
        });
        let status = status.expect("it answers at once");
        Some((status.belief?.0, status.now.unix?.0 - BUILD.0))
    }
}

#[test]
fn a_person_is_shown_whose_time_it_is_and_the_hub_s_is_the_best() {
    let mut bench = Bench::new();
    let said = |source: &str, unix| Some((source.to_owned(), unix));
    assert_eq!(bench.step(1000, AgentInput::Clock(FREE)), None);
    assert!(bench.agent.wants_time_server(Instant(1000)));
    let lie = server(2000, PLAUSIBLE_SPAN.0 + 1000);
    assert_eq!(bench.step(2000, AgentInput::Told(lie)), None);
    assert_eq!(bench.step(3000, AgentInput::Told(server(3000, 800_000))), said("SNTP", 800_000));
    let gnss = Told::Gnss { at: Instant(4000), unix: UnixTime(BUILD.0 + 801_500), uncertainty: Span(1000) };
    assert_eq!(bench.step(4000, AgentInput::Told(gnss)), said("GNSS", 801_500));
    assert!(!bench.agent.wants_time_server(Instant(4000)));
    bench.hub_unix = Some(840_700);
    assert_eq!(bench.step(44_000, AgentInput::Redial), said("hub", 840_700));
    let server = server(45_000, 999_000);
    assert_eq!(bench.step(45_000, AgentInput::Told(server)), said("hub", 841_700));
}
