//! Windows of earlier days, read from the journal.

use journal::Journal;
use wire::batch::take_mark;
use wire::class::Class;
use wire::id::Seq;
use wire::record::Record;
use wire::series::Kind;
use wire::stream::{Resolution, Stream};
use wire::time::Stamp;
use wire::window::{self, Extent, Window, WindowReader};

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
    let Some(span) = window::span(stream) else { return };
    let generation = dictionary.mark().generation;
    let mut reader = WindowReader::new();
    let mut windows = vec![Window::default(); kinds.len()];
    let (mut record, mut scratch) = (Vec::new(), Vec::new());
    for seq in newest(journal, stream, batch_count) {
        // A card that refuses is not asked a thousand times: what is not known is learned anew.
        let Ok(is_there) = journal.read(now, stream, seq, &mut record) else { return };
        if !is_there {
            continue;
        }
        let Ok(opened) = Record::open(&record) else { continue };
        let (stamp, is_keyframe) = (opened.header.stamp, opened.header.is_keyframe());
        let Ok(payload) = opened.payload(&mut scratch) else { continue };
        // Its mark comes with it: each batch of these windows is a run.
        // Without the calendar boots cannot be told apart by their times.
        let is_named = is_keyframe
            && stamp.unix.is_some()
            && take_mark(&mut &*payload).is_ok_and(|mark| mark.generation == generation);
        if !is_named {
            continue;
        }
        let mut open: Option<Extent> = None;
        let mut hand_out = |extent: Extent, windows: &mut [Window]| {
            if !Ended::is_cut(extent, span) {
                each(&Ended { resolution, class, began: stamp.at(extent.began), span, windows });
            }
            windows.fill(Window::default());
        };
        let read = reader.read(payload, is_keyframe, &kinds, |extent, series, window| {
            if let Some(before) = open.replace(extent).filter(|before| before.began != extent.began) {
                hand_out(before, &mut windows);
            }
            windows[series] = *window;
        });
        if let (Ok(()), Some(extent)) = (read, open) {
            hand_out(extent, &mut windows);
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
