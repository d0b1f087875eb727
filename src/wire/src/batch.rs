//! What a record's payload holds, by stream.
//!
//! ```text
//! Event       ( after varint ms since the stamp, length varint, postcard event )*
//! Dictionary  generation varint, first id varint, ( series )*
//!             series: name length varint, name, labels length varint, labels, kind u8, scale i8, class u8
//! ticks       keyframe only: generation varint, series count varint, hash u32 LE, bits u8
//!             ticks                                            a batch of codec::run
//! windows     crate::window::payload
//! ```
//!
//! A *dictionary* is an append-only list of series, each with its class; the place in the list is the [`SeriesId`]. A stream
//! of ticks or windows is of one class, and slot `k` of it is the list's `k`-th series of that class. When the list is full
//! it starts again as the next *generation*. A run names the generation, how many entries it counted on when it opened, and
//! their [hash](DictionaryHash), so that both ends know that they mean the same series. A run of ticks also says how many
//! significant bits are kept of its values before they are encoded (0: all).

use alloc::vec::Vec;
use core::fmt;

use codec::near::EXACT;
use codec::run::{DecodeError, Decoder, Tick};
use codec::varint;

use crate::class::Class;
use crate::event::Event;
use crate::id::SeriesId;
use crate::limits::{LABELS_BYTES_MAX, NAME_BYTES_MAX, RUN_TICKS_MAX, SERIES_COUNT_MAX};
use crate::series::Series;
use crate::time::Span;

/// Why a payload could not be read although its checksum matched: another version wrote it, or a bug did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// The payload ended early or holds a malformed number.
    Malformed,
    /// A tick could not be decoded.
    Tick(DecodeError),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Malformed => f.write_str("payload is malformed"),
            PayloadError::Tick(error) => write!(f, "payload: {error}"),
        }
    }
}

fn number(input: &mut &[u8]) -> Result<u64, PayloadError> {
    varint::take(input).map_err(|_| PayloadError::Malformed)
}

fn bytes<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], PayloadError> {
    let (front, rest) = input.split_at_checked(count).ok_or(PayloadError::Malformed)?;
    *input = rest;
    Ok(front)
}

fn sized<'a>(input: &mut &'a [u8], max: usize) -> Result<&'a [u8], PayloadError> {
    let count = number(input)?;
    if count > max as u64 {
        return Err(PayloadError::Malformed);
    }
    bytes(input, count as usize)
}

/// Appends one event that happened `after` the batch's stamp.
pub fn put_event(after: Span, event: &Event, out: &mut Vec<u8>) {
    // The longest event is a text of TEXT_BYTES_MAX and a few numbers.
    let mut scratch = [0; 320];
    let packed = postcard::to_slice(event, &mut scratch).expect("an event fits 320 bytes: see its bounds");
    varint::put(out, after.0);
    varint::put(out, packed.len() as u64);
    out.extend_from_slice(packed);
}

/// An event as the hub reads it: what this version does not know is passed over, not an error.
pub fn events(payload: &[u8]) -> impl Iterator<Item = Result<(Span, Option<Event>), PayloadError>> {
    let mut rest = payload;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = (|| {
            let after = Span(number(&mut rest)?);
            let packed = sized(&mut rest, 1024)?;
            Ok((after, postcard::from_bytes(packed).ok()))
        })();
        if item.is_err() {
            rest = &[];
        }
        Some(item)
    })
}

/// Opens a dictionary payload: entries of `generation` from `first` on follow by [`put_series`].
pub fn put_dictionary(generation: u32, first: SeriesId, out: &mut Vec<u8>) {
    varint::put(out, generation.into());
    varint::put(out, first.0.into());
}

/// Appends one entry.
pub fn put_series(series: &Series<&str>, class: Class, out: &mut Vec<u8>) {
    for text in [series.name, series.labels] {
        varint::put(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    out.push(series.kind);
    out.push(series.scale as u8);
    out.push(class.into());
}

/// The hash of a dictionary's first entries: crc32 over what [`put_series`] writes for each, one after the other.
/// Extending a list extends its hash.
#[derive(Clone, Debug, Default)]
pub struct DictionaryHash(crc32fast::Hasher);

impl DictionaryHash {
    /// Takes the next entry in, as [`put_series`] wrote it.
    pub fn update(&mut self, entry: &[u8]) {
        self.0.update(entry);
    }

    /// The hash of the entries so far.
    pub fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// A dictionary payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dictionary<'a> {
    /// Which list.
    pub generation: u32,
    /// The id of the first entry.
    pub first: SeriesId,
    entries: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// Reads the front of a dictionary payload.
    pub fn open(payload: &'a [u8]) -> Result<Dictionary<'a>, PayloadError> {
        let mut rest = payload;
        let generation = u32::try_from(number(&mut rest)?).map_err(|_| PayloadError::Malformed)?;
        let first = number(&mut rest)?;
        if first >= SERIES_COUNT_MAX as u64 {
            return Err(PayloadError::Malformed);
        }
        Ok(Dictionary { generation, first: SeriesId(first as u16), entries: rest })
    }

    /// The entries, in order of their ids, which are below [`SERIES_COUNT_MAX`]. Ends after the first error.
    pub fn entries(&self) -> impl Iterator<Item = Result<(SeriesId, Class, Series<&'a str>), PayloadError>> + use<'a> {
        let mut rest = self.entries;
        let mut id = self.first.0;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let item = (|| {
                if usize::from(id) >= SERIES_COUNT_MAX {
                    return Err(PayloadError::Malformed);
                }
                let mut text = |max| core::str::from_utf8(sized(&mut rest, max)?).map_err(|_| PayloadError::Malformed);
                let (name, labels) = (text(NAME_BYTES_MAX)?, text(LABELS_BYTES_MAX)?);
                let tail = bytes(&mut rest, 3)?;
                let class = Class::try_from(tail[2]).map_err(|_| PayloadError::Malformed)?;
                Ok((SeriesId(id), class, Series { name, labels, kind: tail[0], scale: tail[1] as i8 }))
            })();
            id += 1;
            if item.is_err() {
                rest = &[];
            }
            Some(item)
        })
    }
}

/// What a run counts on: the first `count` entries of a dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DictionaryMark {
    /// Which list.
    pub generation: u32,
    /// How many of its entries.
    pub count: u16,
    /// Their [`DictionaryHash`].
    pub hash: u32,
}

/// Appends what a run counts on, the front of a keyframe's payload.
pub fn put_mark(mark: &DictionaryMark, out: &mut Vec<u8>) {
    varint::put(out, mark.generation.into());
    varint::put(out, mark.count.into());
    out.extend_from_slice(&mark.hash.to_le_bytes());
}

/// Takes what [`put_mark`] wrote off the front of a keyframe's payload.
pub fn take_mark(payload: &mut &[u8]) -> Result<DictionaryMark, PayloadError> {
    let generation = u32::try_from(number(payload)?).map_err(|_| PayloadError::Malformed)?;
    let count = u16::try_from(number(payload)?).map_err(|_| PayloadError::Malformed)?;
    let hash = bytes(payload, 4)?;
    Ok(DictionaryMark { generation, count, hash: u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) })
}

/// Appends the front of a keyframe of ticks: what its run counts on, and how many significant bits its values keep
/// ([`codec::near`]). Ticks follow by [`codec::run::Encoder`].
pub fn put_keyframe(mark: &DictionaryMark, bits: u8, out: &mut Vec<u8>) {
    put_mark(mark, out);
    out.push(bits);
}

/// Unpacks a run of raw ticks, batch by batch.
#[derive(Debug)]
pub struct TickReader {
    decoder: Decoder,
    values: Vec<Option<i64>>,
    mark: DictionaryMark,
    precision: u8,
}

impl Default for TickReader {
    fn default() -> Self {
        TickReader::new()
    }
}

impl TickReader {
    /// A reader of [`SERIES_COUNT_MAX`] slots, before any run.
    pub fn new() -> TickReader {
        TickReader {
            decoder: Decoder::new(SERIES_COUNT_MAX),
            values: alloc::vec![None; SERIES_COUNT_MAX],
            mark: DictionaryMark::default(),
            precision: EXACT,
        }
    }

    /// What the open run counts on.
    pub fn mark(&self) -> DictionaryMark {
        self.mark
    }

    /// The significant bits that values keep in the open run; [`EXACT`] when they are not rounded.
    pub fn precision(&self) -> u8 {
        self.precision
    }

    /// Hands each tick of one batch to `each`, oldest first. `keyframe` says that the batch opens a run; without it the
    /// batch must be the successor of the one read before.
    pub fn read(
        &mut self,
        mut payload: &[u8],
        keyframe: bool,
        mut each: impl FnMut(Tick, &[Option<i64>]),
    ) -> Result<(), PayloadError> {
        if keyframe {
            self.mark = take_mark(&mut payload)?;
            self.precision = bytes(&mut payload, 1)?[0];
            if u32::from(self.precision) >= u64::BITS {
                return Err(PayloadError::Malformed);
            }
            self.decoder.open_run();
        }
        let mut batch = self.decoder.batch(payload);
        // Likely ticks take next to no bytes, and work is bounded for what a stranger wrote, too.
        for _ in 0..=RUN_TICKS_MAX {
            match batch.next(&mut self.values).map_err(PayloadError::Tick)? {
                Some(tick) => each(tick, &self.values[..tick.count]),
                None => return Ok(()),
            }
        }
        Err(PayloadError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, LossReason};
    use crate::id::Seq;
    use crate::ranges::SeqRange;
    use crate::stream::Stream;
    use codec::run::Encoder;

    #[test]
    fn events_come_back_and_an_unknown_one_is_passed_over() {
        let lost = Event::Lost {
            stream: Stream::raw(Class::Bulk),
            range: SeqRange { first: Seq(0), last: Seq(u64::MAX) },
            reason: LossReason::Evicted,
        };
        let longest = Event::StorageFailed { error: event::text(&"é".repeat(200)) };
        let mut payload = Vec::new();
        put_event(Span(5), &lost, &mut payload);
        payload.extend_from_slice(&[7, 2, 200, 1]);
        put_event(Span(9), &longest, &mut payload);
        let back: Vec<_> = events(&payload).map(Result::unwrap).collect();
        assert_eq!(back, [(Span(5), Some(lost)), (Span(7), None), (Span(9), Some(longest))]);
        assert_eq!(events(&payload[..2]).last(), Some(Err(PayloadError::Malformed)));
    }

    #[test]
    fn a_dictionary_comes_back_in_order() {
        let entries = [
            Series { name: "node_load1", labels: "", kind: 1, scale: -2 },
            Series { name: "node_cpu_seconds_total", labels: "cpu=\"0\",mode=\"user\"", kind: 0, scale: -2 },
        ];
        let mut payload = Vec::new();
        put_dictionary(3, SeriesId(40), &mut payload);
        let classes = [Class::Critical, Class::Bulk];
        entries.iter().zip(classes).for_each(|(series, class)| put_series(series, class, &mut payload));
        let dictionary = Dictionary::open(&payload).unwrap();
        assert_eq!((dictionary.generation, dictionary.first), (3, SeriesId(40)));
        let back: Vec<_> = dictionary.entries().map(Result::unwrap).collect();
        let [first, second] = entries;
        assert_eq!(back, [(SeriesId(40), classes[0], first), (SeriesId(41), classes[1], second)]);
        *payload.last_mut().unwrap() = 3;
        let dictionary = Dictionary::open(&payload).unwrap();
        assert_eq!(dictionary.entries().last(), Some(Err(PayloadError::Malformed)));
    }

    #[test]
    fn a_run_is_read_over_two_batches() {
        let mark = DictionaryMark { generation: 1, count: 2, hash: 77 };
        let mut encoder = Encoder::new(SERIES_COUNT_MAX);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        put_keyframe(&mark, 7, &mut first);
        encoder.encode(10, &[Some(4), None], &mut first);
        encoder.close_batch(&mut first);
        encoder.encode(20, &[Some(5), Some(-1)], &mut second);
        encoder.close_batch(&mut second);
        let (mut reader, mut seen) = (TickReader::new(), Vec::new());
        reader.read(&first, true, |tick, values| seen.push((tick.at_ms, values.to_vec()))).unwrap();
        reader.read(&second, false, |tick, values| seen.push((tick.at_ms, values.to_vec()))).unwrap();
        assert_eq!((reader.mark(), reader.precision()), (mark, 7));
        assert_eq!(seen, [(10, alloc::vec![Some(4), None]), (20, alloc::vec![Some(5), Some(-1)])]);
    }
}
