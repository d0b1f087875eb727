//! For tests: a journal of events in memory, and what an inspection of it shows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use disk::Directory;
use disk::memory::Memory;
use wire::batch;
use wire::event::{self, Event};
use wire::id::Seq;
use wire::stream::Stream;
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use super::{Inspection, Part, Step, Verdict};
use crate::entry::Unreadable;
use crate::journal::{Journal, Settings};
use crate::volume::Name;

/// Every file and what is in it.
pub(super) fn image(memory: &Memory) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &str| {
        let file = memory.open(name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    memory.list().unwrap().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// A folder with these files.
pub(super) fn made_of(image: &BTreeMap<String, Vec<u8>>) -> Arc<Memory> {
    let memory = Memory::default();
    for (name, bytes) in image {
        memory.create(name).unwrap().write_at(0, bytes).unwrap();
    }
    Arc::new(memory)
}

/// Flips one bit of a file.
pub(super) fn flip(memory: &Memory, name: &str, offset: usize) {
    let (file, mut byte) = (memory.open(name).unwrap(), [0]);
    file.read_at(offset as u64, &mut byte).unwrap();
    file.write_at(offset as u64, &[byte[0] ^ 0x10]).unwrap();
}

const SETTINGS: Settings = Settings {
    bytes_max: 8 << 20,
    tail_bytes_max: 64 << 10,
    fold_bytes_min: 16 << 10,
    done_bytes_max: 4 << 20,
    ..Settings::DEFAULT
};

pub(super) fn stamp(second: u64) -> Stamp {
    Stamp { boot: BootId(7), uptime: Instant(second * 1000), unix: Some(UnixTime(1_767_225_600_000 + second * 1000)) }
}

/// A batch of an event with a text that no two of them share.
pub(super) fn payload(number: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let text = format!("{number} {}", "x".repeat(100 + number as usize % 90));
    batch::put_event(Span(0), &Event::StorageFailed { error: event::text(&text) }, &mut payload);
    payload
}

/// A journal with so many batches of events, some of them in volumes.
pub(super) fn journal(memory: &Arc<Memory>, batch_count: u64) -> Journal {
    let mut journal = Journal::open(memory.clone(), SETTINGS, 5, stamp(0)).unwrap();
    for number in 0..batch_count {
        let at = stamp(number);
        journal.append(at, Stream::Event, None, at, &payload(number), false).unwrap();
        if number % 7 == 6 {
            journal.commit(at).unwrap();
        }
    }
    journal
}

pub(super) fn inspection(memory: &Arc<Memory>) -> Inspection {
    Inspection::open(memory.clone(), Unreadable::Refused).unwrap()
}

/// The number and the payload of every whole batch.
pub(super) fn walked(inspection: &Inspection, stream: Stream, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut seen = Vec::new();
    let each = &mut |step: Step<'_>| {
        if let Step::Batch(record) = step {
            seen.push((record.header.seq.0, record.payload(&mut Vec::new()).unwrap().to_vec()));
        }
        Ok(())
    };
    inspection.walk(stream, Seq(from), each).unwrap();
    seen
}

pub(super) fn appended(range: Range<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(|number| (number, payload(number))).collect()
}

pub(super) fn verified(inspection: &Inspection) -> (Verdict, Vec<Part>) {
    let mut parts = Vec::new();
    let verdict = inspection.verify(|part| parts.push(part.clone())).unwrap();
    (verdict, parts)
}

pub(super) fn first_volume(memory: &Memory) -> Name {
    memory.list().unwrap().iter().find_map(|name| Name::parse(name)).unwrap()
}
