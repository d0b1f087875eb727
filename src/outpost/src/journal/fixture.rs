//! For tests: state folders with a journal in them, and what the commands say of it.

use std::sync::Arc;

use codec::run::Encoder;
use hal::linux::folder::Folder;
use journal::Journal;
use journal::journal::Settings;
use wire::batch::{self, DictionaryHash, DictionaryMark};
use wire::class::Class;
use wire::event::Event;
use wire::id::SeriesId;
use wire::series::Series;
use wire::stream::{Lane, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use super::export::{Lacks, Wanted, export};
use super::{FOLDER, look, verify};
use crate::args::Form;
use crate::state::StateFolder;

const NOW: Stamp = Stamp { boot: BootId(7), uptime: Instant(100_000), unix: Some(UnixTime(1_767_225_600_000)) };

pub(super) fn at(second: u64) -> Stamp {
    Stamp { uptime: Instant(second * 1000), unix: Some(UnixTime(1_767_225_500_000 + second * 1000)), ..NOW }
}

/// The state folder's journal, open as an agent has it.
pub(super) fn opened(folder: &StateFolder) -> (Arc<Folder>, Journal) {
    let held = Folder::open(&folder.file(FOLDER)).unwrap();
    let journal = Journal::open(held.clone(), Settings::default(), 5, at(0)).unwrap();
    (held, journal)
}

/// Appends a list of series, each with the decimal scale -1, and says what a run that opens now counts on.
pub(super) fn put_list(journal: &mut Journal, generation: u32, series: &[(&str, &str)]) -> DictionaryMark {
    let (mut payload, mut hash) = (Vec::new(), DictionaryHash::default());
    batch::put_dictionary(generation, SeriesId(0), &mut payload);
    for (name, labels) in series {
        let start = payload.len();
        batch::put_series(&Series { name, labels, kind: 1, scale: -1 }, Class::Normal, &mut payload);
        hash.update(&payload[start..]);
    }
    journal.append(at(0), Stream::Dictionary, None, at(0), &payload, true).unwrap();
    DictionaryMark { generation, count: series.len() as u16, hash: hash.value() }
}

/// The payloads of a run, a tick each, one second apart from `second` on.
pub(super) fn run(mark: DictionaryMark, second: u64, ticks: &[&[Option<i64>]]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(16);
    encoder.open_run();
    let batches = ticks.iter().enumerate().map(|(index, values)| {
        let mut payload = Vec::new();
        if index == 0 {
            batch::put_keyframe(&mark, 0, &mut payload);
        }
        encoder.encode((second + index as u64) * 1000, values, &mut payload);
        encoder.close_batch(&mut payload);
        payload
    });
    batches.collect()
}

pub(super) fn append_run(journal: &mut Journal, second: u64, payloads: &[Vec<u8>]) {
    let mut run = None;
    for (second, payload) in (second..).zip(payloads) {
        let seq = journal.append(at(second), Stream::raw(Class::Normal), run, at(second), payload, false).unwrap();
        run.get_or_insert(seq);
    }
}

pub(super) fn exported(folder: &StateFolder, lane: Lane, since_s: Option<u64>, form: Form) -> (String, Lacks) {
    let (_, inspection) = look(folder).unwrap();
    let mut out = Vec::new();
    let wanted = Wanted { lane, since: since_s.map(Span::seconds), form };
    let lacks = export(&inspection, NOW, wanted, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), lacks)
}

pub(super) fn verified(folder: &StateFolder) -> (String, bool) {
    verify::verified(&look(folder).unwrap().1, false, |done_bytes, all_bytes| assert!(done_bytes <= all_bytes)).unwrap()
}

/// Two runs of two lists, and an event.
pub(super) fn filled(folder: &StateFolder) -> (Arc<Folder>, Journal) {
    let (held, mut journal) = opened(folder);
    let mut payload = Vec::new();
    batch::put_event(Span(500), &Event::TicksMissed { count: 3 }, &mut payload);
    journal.append(at(1), Stream::Event, None, at(1), &payload, false).unwrap();
    let mark = put_list(&mut journal, 0, &[("node_load1", ""), ("node_cpu_seconds_total", "cpu=\"0\"")]);
    append_run(&mut journal, 10, &run(mark, 10, &[&[Some(4), Some(70)], &[Some(5), None]]));
    let mark = put_list(&mut journal, 1, &[("node_up", "device=\"a,b\"")]);
    append_run(&mut journal, 20, &run(mark, 20, &[&[Some(10)]]));
    journal.commit(at(30)).unwrap();
    (held, journal)
}
