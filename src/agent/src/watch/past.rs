//! Windows of earlier days, read from the journal.

use journal::Journal;
use wire::class::Class;
use wire::id::Seq;
use wire::record::Record;
use wire::series::Kind;
use wire::stream::{Resolution, Stream};
use wire::time::{Instant, Stamp};
use wire::window::{SPANS, Window, WindowReader};

use super::Ended;
use crate::dictionary::Dictionary;

/// Hands out the windows of the newest `batch_count` batches of a class that the journal holds, oldest first. Those that cannot be read,
/// or count on another list than `dictionary`, are passed over.
pub(super) fn windows(
    journal: &mut Journal,
    now: Stamp,
    dictionary: &Dictionary,
    (resolution, class): (Resolution, Class),
    batch_count: usize,
    mut each: impl FnMut(&Ended<'_>),
) {
    let stream = Stream::Series(resolution, class);
    let kinds: Vec<Kind> = dictionary.of(class).map(|series| series.kind()).collect();
    let Some((_, span)) = SPANS.into_iter().find(|(of, _)| *of == resolution) else { return };
    let generation = dictionary.mark().generation;
    let mut reader = WindowReader::new();
    let mut windows = vec![Window::default(); kinds.len()];
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    for seq in newest(journal, stream, batch_count) {
        if !journal.read(now, stream, seq, &mut record).unwrap_or(false) {
            continue;
        }
        let Ok(opened) = Record::open(&record) else { continue };
        let (stamp, is_keyframe) = (opened.header.stamp, opened.header.is_keyframe());
        let Ok(payload) = opened.payload(&mut scratch) else { continue };
        // Its mark comes with it: each batch of these windows is a run.
        let is_named = is_keyframe && reader.check(payload, true).is_ok() && reader.mark().generation == generation;
        if !is_named {
            continue;
        }
        let mut began: Option<Instant> = None;
        let mut hand_out = |began: Instant, windows: &mut [Window]| {
            each(&Ended { resolution, class, began: stamp.at(began), covered: span, windows });
            windows.fill(Window::default());
        };
        let read = reader.read(payload, is_keyframe, &kinds, |extent, series, window| {
            if let Some(before) = began.replace(extent.began).filter(|before| *before != extent.began) {
                hand_out(before, &mut windows);
            }
            windows[series] = *window;
        });
        if let (Ok(()), Some(began)) = (read, began) {
            hand_out(began, &mut windows);
        }
    }
}

/// The newest batches of a stream, oldest first.
fn newest(journal: &Journal, stream: Stream, count: usize) -> impl Iterator<Item = Seq> + use<> {
    let held = journal.held(stream);
    let all = held.into_iter().rev().flat_map(|range| (range.first.0..=range.last.0).rev());
    let mut newest: Vec<u64> = all.take(count).collect();
    newest.reverse();
    newest.into_iter().map(Seq)
}
