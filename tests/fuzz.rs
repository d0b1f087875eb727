//! Every parser of outside bytes over its corpus and seeded mutations of it.
//!
//! `OUTPOST_MUTATION_COUNT` sets how many mutations each target sees. What breaks one is printed as bytes; as a file in the corpus
//! of that target it stays a test:
//!
//! ```text
//! tests/fuzz/targets.rs       the parsers, by name
//! tests/fuzz/corpus/NAME/     inputs that reach what others do not, kept small: see tests/fuzz/main.rs
//! ```

mod targets;

use std::collections::BTreeSet;
use std::path::Path;

use codec::block::Builder;
use codec::run::Encoder;
use journal::Journal;
use sim::disk::SimDisk;
use sim::rng::Rng;
use stats::sketch::Sketch;
use wire::batch;
use wire::class::Class;
use wire::event::Event;
use wire::id::{Seq, SeriesId};
use wire::message::{Kind, Welcome};
use wire::record::{Header, seal};
use wire::series::Series;
use wire::stream::{Lane, Stream};
use wire::time::{Span, Stamp};
use wire::window::{Extent, Window, WindowWriter};

use self::targets::{Target, hello};

/// Targets that build a journal, a store or a core for each input, or shake hands, and how many times fewer mutations they see.
const SLOW: [(&str, u64); 15] = [
    ("block", 100),
    ("door", 100),
    ("entries", 10),
    ("fleet", 10),
    ("history", 200),
    ("hub", 10),
    ("journal", 100),
    ("noise_device", 100),
    ("noise_hub", 100),
    ("store_records", 200),
    ("tail", 100),
    ("tls_client", 10),
    ("tls_server", 10),
    ("volume", 1000),
    ("windows", 100),
];

/// Honest bytes of every kind: what mutations start from.
fn honest() -> Vec<Vec<u8>> {
    let mut corpus: Vec<Vec<u8>> = vec![Vec::new(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 300], vec![0; 300]];
    let mut payload = Vec::new();
    batch::put_event(Span(3), &Event::TicksMissed { count: 4 }, &mut payload);
    batch::put_event(Span(9), &Event::StorageFailed { error: wire::event::text("no space left") }, &mut payload);
    corpus.push(payload.clone());
    let header = Header { stream: Stream::Event, seq: Seq(7), run: Seq(7), stamp: Stamp::default() };
    let mut sealed = Vec::new();
    seal(&header, &payload, true, &mut sealed);
    corpus.push(sealed.clone());
    corpus.push(link::talk::raw_frames(Lane::Urgent, Kind::Batch, &wire::record::plain(&sealed), 1));

    let mut names = Vec::new();
    batch::put_dictionary(1, SeriesId(0), &mut names);
    for index in 0..20 {
        let labels = format!("device=\"sd{index}\"");
        let series = Series { name: "node_disk_read_bytes_total", labels: &labels, kind: 0, scale: 0 };
        batch::put_series(&series, Class::ALL[index % 3], &mut names);
    }
    let mut sealed = Vec::new();
    seal(&Header { stream: Stream::Dictionary, ..header }, &names, true, &mut sealed);
    corpus.push(sealed);
    corpus.push(names);

    let mut ticks = Vec::new();
    batch::put_keyframe(&batch::DictionaryMark { generation: 1, count: 20, hash: 5 }, 9, &mut ticks);
    let mut encoder = Encoder::new(64);
    for tick in 0..6 {
        let values: Vec<Option<i64>> = (0..20).map(|slot| (slot != tick).then_some(tick * slot * 1000)).collect();
        encoder.encode(10_000 * tick as u64, &values, &mut ticks);
    }
    encoder.close_batch(&mut ticks);
    corpus.push(ticks);

    let (mut writer, mut windows, mut window) = (WindowWriter::new(), Vec::new(), Window::default());
    [5, 9, -3].into_iter().for_each(|value| window.gauge(value));
    for minute in 0..4 {
        let mut sketch = Sketch::new();
        (0..40).for_each(|value| sketch.add(value * value - 300));
        writer.push_sketch(1, &sketch);
        let counter =
            Window { count: 2 + minute % 2, last: i64::from(minute) * 100, increase: 90, ..Window::default() };
        let began = wire::time::Instant(u64::from(minute) * 60_000);
        let lacking = Span::seconds(30 * u64::from(minute % 2));
        writer.push(
            Extent { began, tick_count: 3, lacking },
            &[wire::series::Kind::Counter, wire::series::Kind::Gauge],
            &[counter, window],
        );
    }
    writer.seal(Some(&batch::DictionaryMark { generation: 1, count: 2, hash: 5 }), &mut windows);
    corpus.push(windows);

    let mut builder = Builder::new(&[0, 10_000, 20_000, 30_000]);
    builder.push(&[Some(5), Some(8), None, Some(90)]);
    builder.push(&[Some(1), Some(7), None, Some(171)]);
    let mut block = Vec::new();
    builder.finish(&mut block);
    corpus.push(block);

    corpus.push(link::talk::frames(Kind::Hello, &hello()));
    let welcome = Welcome { wants_about: true, ..Welcome::default() };
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
        let appended =
            journal.append(Stamp::default(), Stream::raw(Class::Normal), None, Stamp::default(), &[7; 50], false);
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

/// What is kept for a target, in the order of its files' names.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = corpus_folder().join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder lists").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("a file reads")).collect()
}

fn corpus_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"))
}

fn replay((name, target): Target, count: u64) {
    let check = |bytes: &[u8]| {
        let outcome = std::panic::catch_unwind(|| target(bytes));
        assert!(outcome.is_ok(), "target {name} panics on {bytes:?}");
    };
    let mut corpus = honest();
    corpus.extend(kept(name));
    corpus.iter().for_each(|bytes| check(bytes));
    let mut rng = Rng::new(name.bytes().fold(0, |seed, byte| seed.rotate_left(7) ^ u64::from(byte)));
    for _ in 0..count {
        let mut bytes = rng.choose(&corpus).clone();
        mutate(&mut bytes, &corpus, &mut rng);
        check(&bytes);
    }
}

fn divisor(name: &str) -> Option<u64> {
    SLOW.iter().find(|(slow, _)| *slow == name).map(|(_, divisor)| *divisor)
}

/// Replays those of the targets whose name `is_chosen`, as often as each can bear.
fn replay_all(is_chosen: impl Fn(&str) -> bool) {
    for target in targets::all().filter(|(name, _)| is_chosen(name)) {
        replay(target, mutation_count() / divisor(target.0).unwrap_or(1));
    }
}

fn is_probe(name: &str) -> bool {
    agent::probe::fuzz::TARGETS.iter().any(|(probe, _)| *probe == name)
}

fn is_disk(name: &str) -> bool {
    ["entries", "journal", "store_records", "tail", "volume"].contains(&name)
}

// Four tests, so that each ends in time when `scripts/test --all` asks for ten times as much.

#[test]
fn probes_survive_anything() {
    replay_all(is_probe);
}

#[test]
fn formats_survive_anything() {
    replay_all(|name| !is_probe(name) && divisor(name).is_none());
}

#[test]
fn cores_survive_anything() {
    replay_all(|name| divisor(name).is_some() && !is_disk(name));
}

#[test]
fn disks_survive_anything() {
    replay_all(is_disk);
}

#[test]
fn each_target_has_a_corpus_and_each_corpus_a_target() {
    let names: Vec<String> = targets::all().map(|(name, _)| name.to_owned()).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(names.len(), unique.len(), "two targets have one name: {names:?}");
    let listed = std::fs::read_dir(corpus_folder()).expect("there is a corpus");
    let folders: BTreeSet<String> =
        listed.map(|entry| entry.expect("a folder lists").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(unique, folders);
    assert!(SLOW.iter().all(|(name, _)| unique.contains(*name)));
}
