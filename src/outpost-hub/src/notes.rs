//! What an answer lacks, in sentences: so that nobody takes a hole for silence.

use hub::request::Member;
use query::{duration, time};
use store::notes::{Notes, Windowed};
use wire::id::DeviceId;
use wire::time::Span;
use wire::window::SPANS;

/// Devices that a sentence names.
const NAME_COUNT_MAX: usize = 3;

/// Adds what another part of the same answer lacks. Parts overlap, so of each count the greater one is kept: it is a
/// lower bound.
pub fn merge(notes: &mut Notes, other: Notes) {
    notes.nameless_run_count = notes.nameless_run_count.max(other.nameless_run_count);
    notes.waiting_count = notes.waiting_count.max(other.waiting_count);
    if other.unreadable_count > notes.unreadable_count {
        (notes.unreadable_count, notes.unreadable) = (other.unreadable_count, other.unreadable);
    }
    // Boots without a place are the same in every part.
    notes.unplaced = other.unplaced;
    for other in other.windowed {
        let is_same = |have: &&mut Windowed| (have.device, have.resolution) == (other.device, other.resolution);
        match notes.windowed.iter_mut().find(is_same) {
            Some(have) => (have.from, have.to) = (have.from.min(other.from), have.to.max(other.to)),
            None => notes.windowed.push(other),
        }
    }
}

/// One sentence for each thing that an answer lacks.
pub fn sentences(notes: &Notes, members: &[Member]) -> Vec<String> {
    let name = |id: DeviceId| {
        let member = members.iter().find(|member| member.id() == id);
        member.map_or_else(|| id.to_string(), |member| member.device.name.clone())
    };
    let mut sentences = Vec::new();
    for unplaced in &notes.unplaced {
        let (device, boot) = (name(unplaced.device), unplaced.boot);
        let what = match unplaced.tick_count {
            0 => "windows".into(),
            ticks => count(ticks, "tick", "ticks"),
        };
        sentences.push(format!(
            "{device} did not know the time in boot {boot}: its {what} wait for a place on the calendar"
        ));
    }
    if notes.nameless_run_count > 0 {
        sentences.push(format!(
            "{} cannot be read before their dictionary comes, which the hub asks for when a device connects",
            count(notes.nameless_run_count, "run", "runs")
        ));
    }
    if notes.waiting_count > 0 {
        sentences.push(format!(
            "{} cannot be read before the one before it has come",
            count(notes.waiting_count, "batch", "batches")
        ));
    }
    if let Some(first) = notes.unreadable.first() {
        sentences.push(format!(
            "{} left out, damaged or of another version; the first is {} batch {} of {}",
            count(notes.unreadable_count, "record was", "records were"),
            first.stream,
            first.seq,
            name(first.device)
        ));
    }
    for (resolution, span) in SPANS {
        let windowed: Vec<&Windowed> = notes.windowed.iter().filter(|one| one.resolution == resolution).collect();
        let (from, to) = (windowed.iter().map(|one| one.from).min(), windowed.iter().map(|one| one.to).max());
        if let (Some(from), Some(to)) = (from, to) {
            let names: Vec<String> = windowed.iter().take(NAME_COUNT_MAX).map(|one| name(one.device)).collect();
            let names = match windowed.len() - names.len() {
                0 => names.join(", "),
                more => format!("{} and {more} more", names.join(", ")),
            };
            sentences.push(format!(
                "not all ticks of {names} are here: somewhere from {} to {} windows of {} stand for them, a gauge's mean \
                 and a counter's last value",
                time::format(from.0 / 1000 * 1000),
                time::format(to.0 / 1000 * 1000),
                duration::format(span.0)
            ));
        }
    }
    sentences
}

/// The longest windows that stand for ticks, if any do.
pub fn longest_window(notes: &Notes) -> Option<Span> {
    let is_there = |resolution| notes.windowed.iter().any(|one| one.resolution == resolution);
    SPANS.into_iter().rev().find(|(resolution, _)| is_there(*resolution)).map(|(_, span)| span)
}

fn count(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use store::notes::{Unplaced, Unreadable};
    use wire::class::Class;
    use wire::id::{JournalId, Seq};
    use wire::stream::{Resolution, Stream};
    use wire::time::{BootId, UnixTime};

    use super::*;

    #[test]
    fn an_answer_that_lacks_nothing_has_no_note() {
        assert_eq!(sentences(&Notes::default(), &[]), [""; 0]);
    }

    #[test]
    fn each_lack_is_a_sentence() {
        let (device, journal) = (DeviceId(0xab), JournalId(1));
        let windowed = |hour: u64| Windowed {
            device: DeviceId(hour),
            resolution: Resolution::FiveMinutes,
            from: UnixTime(hour * 3_600_000),
            to: UnixTime((hour + 2) * 3_600_000),
        };
        let notes = Notes {
            nameless_run_count: 2,
            unplaced: vec![Unplaced { device, boot: BootId(7), tick_count: 1 }],
            unreadable: vec![Unreadable { device, journal, stream: Stream::raw(Class::Normal), seq: Seq(5) }],
            unreadable_count: 1,
            waiting_count: 3,
            windowed: [1, 2, 3, 4].map(windowed).to_vec(),
        };
        let mut merged = notes.clone();
        merge(&mut merged, notes);
        let text = sentences(&merged, &[]).join("\n");
        assert_eq!(
            text,
            "00000000000000ab did not know the time in boot 00000007: its 1 tick wait for a place on the calendar
2 runs cannot be read before their dictionary comes, which the hub asks for when a device connects
3 batches cannot be read before the one before it has come
1 record was left out, damaged or of another version; the first is raw_normal batch 5 of 00000000000000ab
not all ticks of 0000000000000001, 0000000000000002, 0000000000000003 and 1 more are here: somewhere from \
1970-01-01T01:00:00Z to 1970-01-01T06:00:00Z windows of 5m stand for them, a gauge's mean and a counter's last value"
        );
    }
}
