//! What an answer lacks, in sentences: so that nobody takes a hole for silence.

use hub::request::Member;
use store::notes::Notes;
use wire::id::DeviceId;

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
        sentences.push(format!(
            "{device} did not know the time in boot {boot}: its {} wait for a place on the calendar",
            count(unplaced.tick_count, "tick", "ticks")
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
    sentences
}

fn count(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use store::notes::{Unplaced, Unreadable};
    use wire::class::Class;
    use wire::id::{JournalId, Seq};
    use wire::stream::Stream;
    use wire::time::BootId;

    use super::*;

    #[test]
    fn an_answer_that_lacks_nothing_has_no_note() {
        assert_eq!(sentences(&Notes::default(), &[]), [""; 0]);
    }

    #[test]
    fn each_lack_is_a_sentence() {
        let (device, journal) = (DeviceId(0xab), JournalId(1));
        let notes = Notes {
            nameless_run_count: 2,
            unplaced: vec![Unplaced { device, boot: BootId(7), tick_count: 1 }],
            unreadable: vec![Unreadable { device, journal, stream: Stream::raw(Class::Normal), seq: Seq(5) }],
            unreadable_count: 1,
            waiting_count: 3,
        };
        let mut merged = notes.clone();
        merge(&mut merged, notes);
        let text = sentences(&merged, &[]).join("\n");
        assert_eq!(
            text,
            "00000000000000ab did not know the time in boot 00000007: its 1 tick wait for a place on the calendar
2 runs cannot be read before their dictionary comes, which the hub asks for when a device connects
3 batches cannot be read before the one before it has come
1 record was left out, damaged or of another version; the first is raw_normal batch 5 of 00000000000000ab"
        );
    }
}
