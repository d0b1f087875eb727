//! `outpost journal verify`: what an inspection found, in words and as JSON.

use std::fmt::Write as _;
use std::io;

use journal::inspect::{Inspection, Part, Source, TailHealth, Verdict};
use wire::ranges::SeqRange;

use super::{TAIL, batches, bytes, quoted};

/// Verifies a journal. `progress` is told how many bytes are done, of how many. The answer is what was found, in the form asked for, and
/// whether all is sound.
pub(crate) fn verified(
    inspection: &Inspection,
    is_json: bool,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<(String, bool)> {
    let (mut found, mut done_bytes) = (Vec::new(), 0);
    let all_bytes = inspection.held_bytes();
    let verdict = inspection.verify(|part| {
        if !part.is_sound() || !part.cuts.is_empty() {
            found.push(if is_json { part_json(part) } else { part_lines(part) });
        }
        done_bytes += part.bytes;
        progress(done_bytes, all_bytes.max(done_bytes));
    })?;
    let text = if is_json {
        verdict_json(inspection, &verdict, &found)
    } else {
        tail_lines(&verdict.tail) + &found.concat() + &verdict_lines(&verdict)
    };
    Ok((text, verdict.is_sound))
}

fn place(part: &Part) -> String {
    match part.source {
        Source::Tail => format!("tail, {} stream", part.stream),
        Source::Volume(name) => format!("{}, {} stream", name.to_file_name(), part.stream),
    }
}

fn part_lines(part: &Part) -> String {
    let (place, mut out) = (place(part), String::new());
    let mut say = |what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{place}: {what}");
    };
    if part.is_unread {
        say("the disk refuses to read some of it".to_owned());
    }
    if part.is_broken {
        say(format!("its pages are damaged; {} in it are still whole", batches(part.whole_count)));
    }
    for range in &part.damaged {
        say(format!("DAMAGED: {}", numbers(*range)));
    }
    for cut in &part.cuts {
        let (rest, run, lacking) = (numbers(cut.range), cut.run.0, cut.lacking.0);
        say(match (cut.lacking == cut.range.first, cut.is_known) {
            (true, _) => format!("UNDECODABLE: {rest} of the run that begins with {run}, although whole"),
            (_, true) => {
                format!("cut: {rest} of the run that begins with {run}, whose {lacking} has left, as it should")
            }
            (_, false) => format!("CUT: {rest} of the run that begins with {run} cannot be decoded without {lacking}"),
        });
    }
    out
}

fn tail_lines(tail: &TailHealth) -> String {
    let mut out = String::new();
    let mut say = |is_so: bool, what: String| {
        if is_so {
            out = format!("{out}tail: {what}\n");
        }
    };
    say(!tail.is_whole, "LOST: neither of its files is whole; what they still hold is counted below".to_owned());
    say(tail.unread_bytes > 0, format!("the disk refuses to read {} of its files", bytes(tail.unread_bytes)));
    say(tail.hole_bytes > 0, format!("DAMAGED: {} of it in both files", bytes(tail.hole_bytes)));
    for (name, count) in [TAIL, "tail.b"].into_iter().zip(tail.lacking_counts) {
        say(count > 0, format!("{name} lacks {count} entries that the other file has; nothing is lost by that"));
    }
    say(tail.unknown_count > 0, format!("{} entries of another release", tail.unknown_count));
    out
}

fn verdict_lines(verdict: &Verdict) -> String {
    let mut out = String::new();
    for (stream, range) in &verdict.missing {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{stream} stream: MISSING: {}, and the journal does not know", numbers(*range));
    }
    let volumes = match verdict.volume_count {
        1 => "1 volume".to_owned(),
        count => format!("{count} volumes"),
    };
    let whole = batches(verdict.whole_count);
    let undecodable = match verdict.undecodable_count {
        0 => "all of them decoded".to_owned(),
        count => format!("{count} of them not to be decoded"),
    };
    let damaged = verdict.damaged_count;
    let _ = writeln!(out, "{volumes} and the tail: {whole} whole, {undecodable}; {damaged} damaged");
    out
}

fn part_json(part: &Part) -> String {
    let cuts = part.cuts.iter().map(|cut| {
        let SeqRange { first, last } = cut.range;
        format!(
            "{{\"run\":{},\"lacking\":{},\"first\":{},\"last\":{},\"is_known\":{}}}",
            cut.run.0, cut.lacking.0, first.0, last.0, cut.is_known
        )
    });
    let volume = match part.source {
        Source::Tail => "null".to_owned(),
        Source::Volume(name) => quoted(&name.to_file_name()),
    };
    format!(
        "{{\"stream\":\"{}\",\"volume\":{volume},\"whole_count\":{},\"is_broken\":{},\"is_unread\":{},\"damaged\":[{}],\"cuts\":[{}]}}",
        part.stream,
        part.whole_count,
        part.is_broken,
        part.is_unread,
        part.damaged.iter().map(|range| format!("[{},{}]", range.first.0, range.last.0)).collect::<Vec<_>>().join(","),
        cuts.collect::<Vec<_>>().join(",")
    )
}

fn verdict_json(inspection: &Inspection, verdict: &Verdict, parts: &[String]) -> String {
    let tail = verdict.tail;
    let missing = verdict.missing.iter().map(|(stream, range)| {
        format!("{{\"stream\":\"{stream}\",\"first\":{},\"last\":{}}}", range.first.0, range.last.0)
    });
    format!(
        "{{\"journal\":\"{}\",\"is_sound\":{},\"volume_count\":{},\"whole_count\":{},\"damaged_count\":{},\"undecodable_count\":{},\
         \"tail\":{{\"is_whole\":{},\"hole_bytes\":{},\"unread_bytes\":{},\"lacking_counts\":[{},{}],\"unknown_count\":{}}},\
         \"missing\":[{}],\"parts\":[{}]}}\n",
        inspection.id(),
        verdict.is_sound,
        verdict.volume_count,
        verdict.whole_count,
        verdict.damaged_count,
        verdict.undecodable_count,
        tail.is_whole,
        tail.hole_bytes,
        tail.unread_bytes,
        tail.lacking_counts[0],
        tail.lacking_counts[1],
        tail.unknown_count,
        missing.collect::<Vec<_>>().join(","),
        parts.join(",")
    )
}

fn numbers(range: SeqRange) -> String {
    match range.first == range.last {
        true => format!("batch {}", range.first.0),
        false => format!("batches {} to {}", range.first.0, range.last.0),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use journal::volume::{self, Name};
    use wire::class::Class;
    use wire::id::Seq;
    use wire::record::{Header, seal};
    use wire::stream::{Lane, Stream};

    use crate::args::Form;
    use crate::journal::fixture::{at, exported, opened, put_list, run, verified};
    use crate::journal::{FOLDER, look};
    use crate::state::StateFolder;
    use crate::state::tests::Scratch;

    /// A journal whose volume of raw batches holds a run of five without its third, and may have said so.
    fn cut(folder: &StateFolder) -> Name {
        let (held, mut journal) = opened(folder);
        let mark = put_list(&mut journal, 0, &[("node_load1", "")]);
        journal.commit(at(1)).unwrap();
        let values: Vec<[Option<i64>; 1]> = (0..5).map(|value| [Some(value * 3)]).collect();
        let payloads = run(mark, 10, &values.iter().map(|values| &values[..]).collect::<Vec<_>>());
        let held_seqs = [0, 1, 3, 4].map(Seq);
        let name = Name::new(journal.id(), Stream::raw(Class::Normal).shelf(), 0, 0);
        let name = name.holding(held_seqs.map(|seq| (Stream::raw(Class::Normal), seq)));
        let mut rest = held_seqs.into_iter();
        volume::write(&(held as disk::Folder), name, |record| {
            let Some(seq) = rest.next() else { return Ok(None) };
            record.clear();
            let header = Header { stream: Stream::raw(Class::Normal), seq, run: Seq(0), stamp: at(10 + seq.0) };
            seal(&header, &payloads[seq.0 as usize], false, record);
            Ok(Some((Stream::raw(Class::Normal), seq)))
        })
        .unwrap();
        name
    }

    #[test]
    fn a_batch_that_is_missing_in_a_run_names_the_rest_that_cannot_be_decoded() {
        let Scratch(folder) = &Scratch::new();
        let name = cut(folder);
        let (text, is_sound) = verified(folder);
        let expected = format!(
            "{}, raw_normal stream: CUT: batches 3 to 4 of the run that begins with 0 cannot be decoded without 2\n\
             raw_normal stream: MISSING: batch 2, and the journal does not know\n\
             1 volume and the tail: 5 batches whole, 2 of them not to be decoded; 0 damaged\n",
            name.to_file_name()
        );
        assert_eq!((text, is_sound), (expected, false));
        let (rows, lacks) = exported(folder, Lane::Raw, None, Form::Csv);
        assert_eq!((rows.lines().count(), lacks.undecodable_count, lacks.failure()), (3, 2, None));
        let (json, _) = super::verified(&look(folder).unwrap().1, true, |_, _| {}).unwrap();
        let cut = r#""damaged":[],"cuts":[{"run":0,"lacking":2,"first":3,"last":4,"is_known":false}]}]}"#;
        assert!(
            json.contains(r#""missing":[{"stream":"raw_normal","first":2,"last":2}]"#) && json.contains(cut),
            "{json}"
        );
        // An agent finds it missing and says so; then it is known.
        let (held, mut journal) = opened(folder);
        assert!(!journal.read(at(60), Stream::raw(Class::Normal), Seq(2), &mut Vec::new()).unwrap());
        journal.commit(at(60)).unwrap();
        drop((held, journal));
        let (text, is_sound) = verified(folder);
        assert!(is_sound && text.contains("whose 2 has left, as it should"), "{text}");
    }

    #[test]
    fn a_flipped_byte_in_a_volume_is_named_and_what_is_left_is_exported() {
        let Scratch(folder) = &Scratch::new();
        let name = cut(folder);
        let path = folder.file(FOLDER).join(name.to_file_name());
        let mut bytes = fs::read(&path).unwrap();
        // In the body of the first entry that lies there.
        let entry = bytes.windows(4).position(|window| window == b"OPB\xf0").unwrap();
        bytes[entry + 12] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (text, is_sound) = verified(folder);
        assert!(
            !is_sound && text.contains(&format!("{}, raw_normal stream: DAMAGED: batch ", name.to_file_name())),
            "{text}"
        );
        let (_, lacks) = exported(folder, Lane::Raw, None, Form::Csv);
        assert!(lacks.failure().unwrap().contains("damaged in 1 place"), "{lacks:?}");
    }
}
