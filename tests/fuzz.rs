//! Every parser of outside bytes over a corpus and seeded mutations of it.
//!
//! `OUTPOST_MUTATION_COUNT` sets how many mutations each target sees. What a mutation breaks is printed as bytes, and goes into the
//! corpus of the target's own crate.

use std::sync::Arc;

use codec::run::{Decoder, Encoder};
use disk::Directory;
use journal::Journal;
use link::client::{Client, Input, Timing};
use link::server::Server;
use sim::disk::SimDisk;
use sim::rng::Rng;
use wire::batch::{self, TickReader};
use wire::event::Event;
use wire::frame::Assembler;
use wire::id::{Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::message::{Kind, Welcome};
use wire::record::{Header, Record, seal};
use wire::series::Series;
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp};

type Target = (&'static str, fn(&[u8]));

/// The parsers that belong to no one crate's own list.
const TARGETS: &[Target] = &[
    ("client", client),
    ("dictionary", dictionary),
    ("events", events),
    ("frames", frames),
    ("journal", journal),
    ("record", record),
    ("server", server),
    ("ticks", ticks),
];

fn frames(bytes: &[u8]) {
    let mut assembler = Assembler::default();
    assembler.push(bytes);
    while let Ok(Some(_)) = assembler.poll_message() {}
}

fn server(bytes: &[u8]) {
    let mut server = Server::new(Instant(0));
    let _ = server.receive(Instant(1), bytes, |_| {});
    let _ = server.handle_timeout(Instant(2));
}

fn client(bytes: &[u8]) {
    let mut client = Client::new(Timing::default(), 1, Instant(0));
    client.handle_timeout(Instant(0));
    client.handle_input(Instant(0), Input::Connected(&hello()));
    client.handle_input(Instant(1), Input::Received(bytes));
    while client.poll_output().is_some() {}
    client.handle_timeout(Instant(100_000));
}

fn record(bytes: &[u8]) {
    let mut scratch = Vec::new();
    let mut resealed = bytes.to_vec();
    if let Some(crc) = resealed.get_mut(..4) {
        // Behind a right checksum the header and the payload are read in earnest.
        let body = &bytes[4..];
        let mut hash = batch::DictionaryHash::default();
        hash.update(body);
        crc.copy_from_slice(&hash.value().to_le_bytes());
    }
    for bytes in [bytes, &resealed] {
        if let Ok(record) = Record::open(bytes) {
            let _ = record.payload(&mut scratch);
        }
    }
}

fn events(bytes: &[u8]) {
    batch::events(bytes).filter_map(Result::ok).filter_map(|(_, event)| event).for_each(|event| {
        // What is read can be said, and written again.
        assert!(!event.to_string().is_empty());
        batch::put_event(Span(0), &event, &mut Vec::new());
    });
}

fn dictionary(bytes: &[u8]) {
    if let Ok(dictionary) = batch::Dictionary::open(bytes) {
        for (id, series) in dictionary.entries().filter_map(Result::ok) {
            assert!(usize::from(id.0) < SERIES_COUNT_MAX);
            wire::series::labels(series.labels).for_each(drop);
        }
    }
}

fn ticks(bytes: &[u8]) {
    let mut reader = TickReader::new();
    let _ = reader.read(bytes, true, |_, _| {});
    let mut decoder = Decoder::new(64);
    let (mut values, mut rest) = ([None; 64], bytes);
    while !rest.is_empty() && decoder.decode(&mut rest, &mut values).is_ok() {}
}

/// The bytes stand in both tail files and in a volume: the journal opens all the same.
fn journal(bytes: &[u8]) {
    let disk = SimDisk::new(Rng::new(1));
    let folder: Arc<dyn Directory> = disk.folder();
    for name in ["tail.a", "tail.b", "v00000000-raw-0000000000000000-0000000000000003.redb"] {
        let file = folder.create(name).expect("the simulated disk has room");
        file.write_at(0, bytes).expect("the simulated disk has room");
    }
    let journal = Journal::open(folder, sim::power::SMALL, 1, Stamp::default());
    assert!(journal.is_ok(), "a journal always opens");
}

fn hello() -> wire::message::Hello {
    wire::message::Hello {
        versions: (0, 0),
        device: wire::id::DeviceId(1),
        journal: wire::id::JournalId(1),
        now: Stamp::default(),
        heartbeat: Span::seconds(60),
        heads: Default::default(),
        backlog: Default::default(),
        agent: Default::default(),
        hostname: Default::default(),
    }
}

/// Honest bytes of every kind: what mutations start from.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus: Vec<Vec<u8>> = vec![Vec::new(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 300], vec![0; 300]];
    let mut payload = Vec::new();
    batch::put_event(Span(3), &Event::TicksMissed { count: 4 }, &mut payload);
    batch::put_event(Span(9), &Event::StorageFailed { error: wire::event::text("no space left") }, &mut payload);
    corpus.push(payload.clone());
    let header = Header { stream: Stream::Event, seq: Seq(7), run: Seq(7), stamp: Stamp::default() };
    let mut sealed = Vec::new();
    seal(&header, &payload, true, &mut sealed);
    corpus.push(sealed.clone());
    corpus.push(link::talk::raw_frames(Lane::Urgent, Kind::Batch, &sealed));

    let mut names = Vec::new();
    batch::put_dictionary(1, SeriesId(0), &mut names);
    for index in 0..20 {
        let labels = format!("device=\"sd{index}\"");
        let series = Series { name: "node_disk_read_bytes_total", labels: &labels, kind: 0, scale: 0 };
        batch::put_series(&series, &mut names);
    }
    let mut sealed = Vec::new();
    seal(&Header { stream: Stream::Dictionary, ..header }, &names, true, &mut sealed);
    corpus.push(sealed);
    corpus.push(names);

    let mut ticks = Vec::new();
    batch::put_mark(&batch::DictionaryMark { generation: 1, count: 20, hash: 5 }, &mut ticks);
    let mut encoder = Encoder::new(64);
    for tick in 0..6 {
        let values: Vec<Option<i64>> = (0..20).map(|slot| (slot != tick).then_some(tick * slot * 1000)).collect();
        encoder.encode(10_000 * tick as u64, &values, &mut ticks);
    }
    corpus.push(ticks);

    corpus.push(link::talk::frames(Kind::Hello, &hello()));
    let welcome = Welcome { version: 0, hub: wire::time::UnixTime(1), progress: Default::default(), next_key: None };
    corpus.push(link::talk::frames(Kind::Welcome, &welcome));
    corpus.push(link::talk::close_frames(wire::message::CloseReason::Busy, "later"));
    corpus.push(tail_file());
    corpus
}

/// The front of a real tail file.
fn tail_file() -> Vec<u8> {
    let disk = SimDisk::new(Rng::new(2));
    let mut journal =
        Journal::open(disk.folder(), sim::power::SMALL, 1, Stamp::default()).expect("the simulated disk has room");
    for _ in 0..3 {
        let appended = journal.append(Stamp::default(), Stream::Raw, None, Stamp::default(), &[7; 50], false);
        appended.expect("the simulated disk has room");
        journal.commit(Stamp::default()).expect("the simulated disk has room");
    }
    let file = disk.folder().open("tail.a").expect("a journal has a tail");
    let mut bytes = vec![0; 600];
    file.read_at(0, &mut bytes).expect("a tail is longer");
    bytes
}

fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.between(1, 4) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = *rng.choose(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => bytes.truncate(at),
            3 => {
                let mut noise = vec![0; rng.below(9) as usize];
                rng.fill(&mut noise);
                bytes.splice(at..at, noise);
            }
            4 if at < bytes.len() => {
                let end = (at + rng.below(16) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let other = rng.choose(others);
                let from = rng.below(other.len() as u64 + 1) as usize;
                bytes.splice(at..at, other[from..].iter().take(64).copied());
            }
        }
    }
}

fn mutation_count() -> u64 {
    std::env::var("OUTPOST_MUTATION_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

fn replay(targets: impl IntoIterator<Item = Target>, count: u64) {
    let corpus = corpus();
    for (name, target) in targets {
        let mut rng = Rng::new(name.bytes().fold(0, |seed, byte| seed.rotate_left(7) ^ u64::from(byte)));
        for index in 0..corpus.len() as u64 + count {
            let mut bytes = match corpus.get(index as usize) {
                Some(bytes) => bytes.clone(),
                None => rng.choose(&corpus).clone(),
            };
            if index >= corpus.len() as u64 {
                mutate(&mut bytes, &corpus, &mut rng);
            }
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "target {name} panics on {bytes:?}");
        }
    }
}

#[test]
fn the_link_and_the_formats_survive_anything() {
    replay(TARGETS.iter().copied().filter(|(name, _)| *name != "journal"), mutation_count());
}

#[test]
fn the_journal_opens_over_anything() {
    // Each opening writes two new tail files; a hundredth of the others is as long.
    replay(TARGETS.iter().copied().filter(|(name, _)| *name == "journal"), mutation_count() / 100);
}

#[test]
fn the_parsers_of_the_crates_survive_anything() {
    replay(agent::probe::fuzz::TARGETS.iter().copied(), mutation_count() / 10);
    replay(identity::fuzz::TARGETS.iter().copied(), mutation_count() / 10);
    replay(query::fuzz::TARGETS.iter().copied(), mutation_count() / 10);
    // Each builds a store.
    replay(store::fuzz::TARGETS.iter().copied(), mutation_count() / 200);
}
