//! What an agent says of what it could not take or keep, on a simulated disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::Agent;
use agent::agent::{Input, Output};
use agent::probe::{Reading, Source};
use agent::question::{Answer, Question};
use disk::memory::Memory;
use disk::{Directory, File};
use sim::disk::SimDisk;
use sim::rng::Rng;
use wire::event::Event;
use wire::stream::Stream;
use wire::time::{Span, Stamp};

use crate::question::{settings, stamp};

/// An agent, its disk, and the second it lives in.
struct Stage {
    agent: Agent,
    disk: SimDisk,
    now_s: u64,
}

fn reading(sections: &[(Source, &str)]) -> Box<Reading> {
    let mut reading = Box::new(Reading::new(4096));
    for (source, text) in sections {
        let filled: Result<(), ()> = reading.append(*source, b"", |bytes| {
            bytes.extend_from_slice(text.as_bytes());
            Ok(())
        });
        filled.expect("nothing fails here");
    }
    reading
}

impl Stage {
    fn new() -> Stage {
        let disk = SimDisk::new(Rng::new(1));
        let agent = Agent::open(disk.folder(), settings(10), 1, stamp(0)).expect("the simulated disk has room");
        Stage { agent, disk, now_s: 0 }
    }

    fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Answer> {
        self.agent.step(stamp(self.now_s), inputs);
        let answer = |output| if let Output::Answer { answer, .. } = output { Some(answer) } else { None };
        std::iter::from_fn(|| self.agent.poll_output()).filter_map(answer).collect()
    }

    /// A second passes and a tick is taken.
    fn tick(&mut self, reading: Box<Reading>) {
        self.now_s += 1;
        self.step([Input::Reading { at: stamp(self.now_s).uptime, reading }]);
    }

    fn events(&mut self) -> Vec<Event> {
        let answers = self.step([Input::Ask { id: 1, question: Question::Events { count_max: 1000 } }]);
        let Some(Answer::Events(events)) = answers.into_iter().next() else { panic!("a question has its answer") };
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn said_missed_count(&mut self) -> u64 {
        let missed = |event| if let Event::TicksMissed { count } = event { u64::from(count) } else { 0 };
        self.events().into_iter().map(missed).sum()
    }
}

#[test]
fn ticks_missed_on_a_disk_that_fails_are_said_when_it_works_again() {
    let mut stage = Stage::new();
    let text: String = (0..100).map(|number| format!("eth{number}: 1 2 3\n")).collect();
    stage.tick(reading(&[(Source::NetDev, &text)]));
    stage.disk.fail_one_in(1);
    // The journal takes what fits into its memory, and then nothing more.
    while stage.agent.missed_count() == 0 && stage.now_s < 100_000 {
        let text = text.replace('2', &stage.now_s.to_string());
        stage.tick(reading(&[(Source::NetDev, &text)]));
    }
    stage.step([Input::Missed(7)]);
    assert!(stage.agent.missed_count() > 7);
    stage.disk.fail_one_in(0);
    for _ in 0..60 {
        stage.tick(reading(&[(Source::NetDev, &text)]));
    }
    assert_eq!(stage.said_missed_count(), stage.agent.missed_count());
    let recovered = stage.events().into_iter().filter(|event| *event == Event::StorageRecovered).count();
    assert_eq!(recovered, 1);
}

#[test]
fn ticks_that_were_not_taken_are_said_at_once() {
    let mut stage = Stage::new();
    stage.step([Input::Missed(0)]);
    assert_eq!(stage.said_missed_count(), 0);
    stage.step([Input::Missed(2), Input::Missed(3)]);
    assert_eq!(stage.events()[0], Event::TicksMissed { count: 5 });
}

#[test]
fn ticks_that_waited_for_the_core_keep_their_times() {
    let mut stage = Stage::new();
    stage.now_s = 30;
    let at = |at_s| Input::Reading { at: stamp(at_s).uptime, reading: reading(&[(Source::Loadavg, "1 1 1")]) };
    // The last two are a driver's fault: before the tick before them, and still to come.
    stage.step([at(10), at(20), at(15), at(40)]);
    let question =
        Question::Samples { names: vec!["node_load1".into()], since: Span::seconds(60), sample_count_max: 9 };
    let Some(Answer::Samples { series, .. }) = stage.step([Input::Ask { id: 1, question }]).pop() else {
        panic!("a question has its answer")
    };
    let stamps: Vec<Stamp> = series[0].samples.iter().map(|(stamp, _)| *stamp).collect();
    assert_eq!(stamps, [stamp(10), stamp(20), stamp(20), stamp(30)]);
}

#[test]
fn what_there_is_no_room_for_is_said_once_while_it_lasts() {
    let mut stage = Stage::new();
    let long = format!("{}: 1 2\nlo: 1 2\n", "x".repeat(400));
    for number in 0..300 {
        // The processes are walked through every tenth tick.
        let walk = [(Source::Processes, "skipped 9\n")];
        let mut reading = reading(if number % 10 == 0 { &walk[..] } else { &[] });
        let filled: Result<(), ()> = reading.append(Source::NetDev, b"", |bytes| {
            bytes.extend_from_slice(long.as_bytes());
            Ok(())
        });
        filled.expect("nothing fails here");
        reading.refuse();
        stage.tick(reading);
    }
    let events = stage.events();
    let expected =
        [Event::ProcessesSkipped { count: 9 }, Event::PartsUnread { count: 1 }, Event::SeriesRefused { count: 2 }];
    assert_eq!(events[..3], expected);
    assert_eq!(events.len(), 4, "{events:?}");
    // Labels that are too long are no reason to begin the list again.
    assert_eq!(stage.agent.journal().next(Stream::Dictionary).0, 1);
}

#[test]
fn series_that_come_and_go_find_room_and_the_list_is_not_begun_again_without_need() {
    let mut stage = Stage::new();
    for number in 0..1000 {
        let text: String = (0..100).map(|place| format!("veth{}: 1 2 3\n", number * 50 + place)).collect();
        stage.tick(reading(&[(Source::NetDev, &text)]));
    }
    assert!(!stage.events().iter().any(|event| matches!(event, Event::SeriesRefused { .. })));

    // More than there is room for, and all of it there.
    let mut stage = Stage::new();
    let text: String = (0..3000).map(|place| format!("veth{place}: 1 2\n")).collect();
    for number in 0..100 {
        let load = [(Source::NetDev, text.as_str()), (Source::Loadavg, "1 1 1")];
        stage.tick(reading(&load[..1 + number % 2]));
    }
    let refused = |event: &&Event| matches!(event, Event::SeriesRefused { .. });
    assert_eq!(stage.events().iter().filter(refused).count(), 1);
    assert!(stage.agent.journal().next(Stream::Dictionary).0 < 20);
}

/// A folder whose file system becomes read-only, as ext4 does after errors of its card.
#[derive(Debug)]
struct Remounted {
    folder: disk::Folder,
    is_read_only: Arc<AtomicBool>,
}

#[derive(Debug)]
struct RemountedFile {
    file: Box<dyn File>,
    is_read_only: Arc<AtomicBool>,
}

fn writable(is_read_only: &AtomicBool) -> io::Result<()> {
    if is_read_only.load(Ordering::Relaxed) { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
}

impl Remounted {
    fn wrapped(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(RemountedFile { file, is_read_only: self.is_read_only.clone() })
    }
}

impl Directory for Remounted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrapped(self.folder.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        writable(&self.is_read_only)?;
        Ok(self.wrapped(self.folder.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        writable(&self.is_read_only)?;
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        writable(&self.is_read_only)?;
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        writable(&self.is_read_only)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}

impl File for RemountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        writable(&self.is_read_only)?;
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        writable(&self.is_read_only)?;
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        writable(&self.is_read_only)?;
        self.file.sync()
    }
}

#[test]
fn a_file_system_that_becomes_read_only_asks_for_a_journal_in_memory_and_counts_what_that_costs() {
    let is_read_only = Arc::new(AtomicBool::new(false));
    let folder = SimDisk::new(Rng::new(1)).folder();
    let folder = Arc::new(Remounted { folder, is_read_only: is_read_only.clone() });
    let mut agent = Agent::open(folder, settings(10), 1, stamp(0)).expect("it takes writes");
    let mut is_asked_for = Vec::new();
    for second in 1..=30 {
        is_read_only.store(second > 15, Ordering::Relaxed);
        let text = reading(&[(Source::Loadavg, "0.10 0.20 0.30 1/234 5678\n")]);
        agent.step(stamp(second), [Input::Reading { at: stamp(second).uptime, reading: text }]);
        while let Some(output) = agent.poll_output() {
            if matches!(output, Output::ReadOnly) {
                is_asked_for.push(second);
            }
        }
    }
    assert_eq!(is_asked_for.len(), 1, "{is_asked_for:?}");
    // Ticks 11 to 30: what came after the last batch that was committed.
    assert!((15..=20).contains(&agent.volatile_tick_count()), "{}", agent.volatile_tick_count());
    drop(agent);

    let memory = Arc::new(Memory::new(8 << 20));
    let mut agent = Agent::open(memory, settings(10), 3, stamp(31)).expect("memory has room");
    agent.say_volatile(stamp(31), "read-only");
    agent.step(stamp(32), [Input::Ask { id: 1, question: Question::Status }]);
    let outputs = std::iter::from_fn(|| agent.poll_output());
    let status = outputs.filter_map(|output| match output {
        Output::Answer { answer: Answer::Status(status), .. } => Some(status),
        _ => None,
    });
    assert_eq!(status.last().expect("a question has its answer").storage_error.as_deref(), Some("read-only"));
}
