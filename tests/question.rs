//! What a person on site is answered, by an agent on a simulated disk.

use agent::Agent;
use agent::agent::{Input, Output, Settings};
use agent::probe::{Reading, Source};
use agent::question::{Answer, Question, SeriesSamples};
use sim::disk::SimDisk;
use sim::rng::Rng;
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

pub(super) fn stamp(uptime_s: u64) -> Stamp {
    let uptime_ms = uptime_s * 1000;
    Stamp { boot: BootId(1), uptime: Instant(uptime_ms), unix: Some(UnixTime(1_800_000_000_000 + uptime_ms)) }
}

pub(super) fn settings(batch_age_s: u64) -> Settings {
    Settings {
        device: wire::id::DeviceId(0),
        version: "0.1.0".into(),
        hostname: "gw".into(),
        build: wire::time::UnixTime(0),
        journal: sim::power::SMALL,
        link: link::client::Timing::default(),
        has_hub: false,
        interval: Span::seconds(10),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
        way: Box::new(agent::way::Settings::simple(
            (Span::seconds(batch_age_s), Span::seconds(batch_age_s)),
            Span::seconds(60),
            Default::default(),
        )),
    }
}

fn opened(settings: Settings) -> Agent {
    Agent::open(SimDisk::new(Rng::new(1)).folder(), settings, 1, stamp(0)).expect("the simulated disk has room")
}

fn agent(batch_age_s: u64) -> Agent {
    opened(settings(batch_age_s))
}

/// A tick each second, in which the load averages are the tick's number.
fn tick(agent: &mut Agent, ticks: std::ops::Range<u64>) {
    for number in ticks {
        let mut reading = Box::new(Reading::new(4096));
        let text = format!("{number}.00 {number}.00 {number}.00 1/1 1\n");
        let filled: Result<(), ()> = reading.append(Source::Loadavg, b"", |bytes| {
            bytes.extend_from_slice(text.as_bytes());
            Ok(())
        });
        filled.expect("nothing fails here");
        agent.step(stamp(number), [Input::Reading { at: stamp(number).uptime, reading }]);
        while agent.poll_output().is_some() {}
    }
}

fn ask(agent: &mut Agent, now_s: u64, question: Question) -> (Vec<SeriesSamples>, bool) {
    agent.step(stamp(now_s), [Input::Ask { id: 1, question }]);
    while let Some(output) = agent.poll_output() {
        if let Output::Answer { answer: Answer::Samples { series, is_cut }, .. } = output {
            return (series, is_cut);
        }
    }
    panic!("a question has an answer in the same step")
}

fn check(agent: &mut Agent, now_s: u64, since_s: u64, sample_count_max: u32, expected: std::ops::Range<u64>) {
    let question =
        Question::Samples { names: vec!["node_load1".into()], since: Span::seconds(since_s), sample_count_max };
    let (series, is_cut) = ask(agent, now_s, question);
    let found: Vec<(Instant, i64)> = series[0].samples.iter().map(|(at, value)| (at.uptime, *value)).collect();
    let expected: Vec<(Instant, i64)> = expected.map(|number| (Instant(number * 1000), number as i64 * 100)).collect();
    assert_eq!(found, expected);
    assert_eq!(is_cut, found.len() == sample_count_max as usize);
}

#[test]
fn samples_of_the_open_batch_are_answered_with_those_of_the_journal() {
    // Opening its run, and going on with one.
    let mut agent = agent(10);
    tick(&mut agent, 1..6);
    check(&mut agent, 6, 60, 100, 1..6);
    tick(&mut agent, 6..45);
    check(&mut agent, 45, 600, 100, 1..45);
    check(&mut agent, 45, 20, 100, 25..45);
    // Over the end of a run, which has 360 ticks.
    tick(&mut agent, 45..800);
    check(&mut agent, 800, 2000, 10_000, 1..800);
    check(&mut agent, 800, 500, 10_000, 300..800);
}

#[test]
fn the_newest_samples_are_answered_when_there_is_no_room_for_all() {
    let mut agent = agent(10);
    tick(&mut agent, 1..800);
    for count in [1, 5, 100, 500] {
        check(&mut agent, 800, 2000, count, 800 - u64::from(count)..800);
    }
}

#[test]
fn the_latest_values_have_the_time_of_their_tick() {
    let mut agent = agent(60);
    tick(&mut agent, 1..8);
    let (series, _) = ask(&mut agent, 9, Question::Latest);
    assert_eq!(series.len(), 3);
    assert!(series.iter().all(|series| series.samples == [(stamp(7), 700)]), "{series:?}");
}

#[test]
fn a_link_that_is_down_says_why_in_the_words_of_the_port() {
    let mut agent = opened(Settings { has_hub: true, ..settings(60) });
    let mut now_s = 0;
    for (reason, expected) in [(Some("nothing listens there"), "nothing listens there"), (None, "connection lost")] {
        while !std::iter::from_fn(|| agent.poll_output()).any(|output| matches!(output, Output::Dial { .. })) {
            now_s += 60;
            assert!(now_s < 3600, "an agent dials again");
            agent.step(stamp(now_s), []);
        }
        let ask = Input::Ask { id: 1, question: Question::Status };
        agent.step(stamp(now_s), [Input::Disconnected(reason.map(str::to_owned)), ask]);
        let status = std::iter::from_fn(|| agent.poll_output()).find_map(|output| match output {
            Output::Answer { answer: Answer::Status(status), .. } => Some(status),
            _ => None,
        });
        assert_eq!(status.and_then(|status| status.link_ended).as_deref(), Some(expected));
    }
}

#[test]
fn an_answer_that_reaches_back_over_too_many_runs_says_that_it_is_cut() {
    let mut agent = opened(Settings { journal: journal::journal::Settings::default(), ..settings(600) });
    let (run_ticks, run_count) = (u64::from(wire::limits::RUN_TICKS_MAX), agent::history::RUN_COUNT_MAX as u64);
    let tick_count = run_ticks * (run_count + 2);
    tick(&mut agent, 1..tick_count);
    let question = |since| Question::Samples { names: vec!["node_load1".into()], since, sample_count_max: u32::MAX };
    let (series, is_cut) = ask(&mut agent, tick_count, question(Span::seconds(tick_count)));
    let count = series[0].samples.len() as u64;
    assert!(is_cut && (run_ticks * run_count..tick_count - 1).contains(&count), "{count}");
    let (series, is_cut) = ask(&mut agent, tick_count, question(Span::seconds(run_ticks * (run_count - 2))));
    assert_eq!((series[0].samples.len() as u64, is_cut), (run_ticks * (run_count - 2), false));
}
