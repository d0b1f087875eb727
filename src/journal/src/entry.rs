//! The checked unit of the tail log, and the search for entries behind damage.
//!
//! ```text
//! offset  field       type
//! 0       magic       4 bytes     "OPJ\xf0"
//! 4       generation  u32 LE      of the tail
//! 8       commit      u32 LE      which commit wrote it
//! 12      kind        u8          Kind; bit 7: last of its commit, bit 6: first
//! 13      length      u24 LE      of the body
//! 16      check       u32 LE      crc32 over bytes 4 to 15 and the body
//! 20      body
//! ```
//!
//! The magic lets a scan find entries behind damage; the check makes a chance hit one in 2^32.

use disk::File;
use wire::limits::RECORD_BYTES_MAX;

/// Bytes before the body.
pub const HEAD_BYTES: usize = 20;

/// Bytes of a body at the most: a record.
pub const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX;

const MAGIC: [u8; 4] = [MAGIC_FIRST, b'P', b'J', 0xf0];

/// What every entry begins with, here and in a volume.
pub(crate) const MAGIC_FIRST: u8 = b'O';

const LAST: u8 = 0x80;
const FIRST: u8 = 0x40;

// The scan's window is read in steps of this size, so an unreadable sector costs at most its own step.
const STEP_BYTES: usize = 4096;

/// What an entry is. The numbers are those on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sealed record.
    Batch = 1,
    /// A slot's number and its new value.
    Slot = 2,
    /// The start of a generation's checkpoint: the journal's id.
    Begin = 3,
    /// The end of a generation's checkpoint.
    End = 4,
}

/// What an entry says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The tail's generation.
    pub generation: u32,
    /// The commit that wrote it.
    pub commit: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it is the first of its commit.
    pub first: bool,
    /// Whether it is the last of its commit.
    pub last: bool,
    /// Bytes of the body.
    pub length: u32,
}

impl Head {
    /// Bytes of the whole entry.
    pub fn entry_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.length)
    }
}

/// Appends an entry to `out`.
///
/// Panics: when the body exceeds [`BODY_BYTES_MAX`].
pub fn put(head: Head, body: &[u8], out: &mut Vec<u8>) {
    assert!(body.len() <= BODY_BYTES_MAX, "bodies are bounded where they are made");
    assert_eq!(head.length as usize, body.len());
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&head.generation.to_le_bytes());
    out.extend_from_slice(&head.commit.to_le_bytes());
    out.push(head.kind as u8 | if head.first { FIRST } else { 0 } | if head.last { LAST } else { 0 });
    out.extend_from_slice(&head.length.to_le_bytes()[..3]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(body);
    write_check(&mut out[start..]);
}

/// Marks a finished entry as the last of its commit, or takes the mark away.
pub fn set_last(entry: &mut [u8], last: bool) {
    entry[12] = entry[12] & !LAST | if last { LAST } else { 0 };
    write_check(entry);
}

fn write_check(entry: &mut [u8]) {
    let check = check_of(entry);
    entry[16..HEAD_BYTES].copy_from_slice(&check.to_le_bytes());
}

fn check_of(entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&entry[4..16]);
    hasher.update(&entry[HEAD_BYTES..]);
    hasher.finalize()
}

/// The entry at the front of `bytes`, if there is a whole one.
pub fn parse(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let head = bytes.get(..HEAD_BYTES)?;
    if head[..4] != MAGIC {
        return None;
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = word(12) >> 8;
    let entry = bytes.get(..HEAD_BYTES + length as usize)?;
    if length as usize > BODY_BYTES_MAX || check_of(entry) != word(16) {
        return None;
    }
    let kind = match head[12] & 0x3f {
        1 => Kind::Batch,
        2 => Kind::Slot,
        3 => Kind::Begin,
        4 => Kind::End,
        _ => return None,
    };
    let (first, last) = (head[12] & FIRST != 0, head[12] & LAST != 0);
    Some((Head { generation: word(4), commit: word(8), kind, first, last, length }, &entry[HEAD_BYTES..]))
}

/// What to do about a place that the disk refuses to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Give up: it may be read later, and what is there must not be taken for damage and written over.
    Refused,
    /// Go on as if it were noise: it was tried often enough.
    Lost,
}

/// Hands every whole entry of `file` to `each`, with its offset, wherever it lies. Returns how many bytes could not be read.
pub fn scan(file: &dyn File, unreadable: Unreadable, mut each: impl FnMut(u64, Head, &[u8])) -> std::io::Result<u64> {
    search(file, unreadable, |offset, bytes| {
        let (head, body) = parse(bytes)?;
        each(offset, head, body);
        Some(head.entry_bytes() as usize)
    })
}

/// Looks at every place of `file` that an entry may begin at. `look` is handed its offset and what lies there, and says how many
/// bytes it took for a whole entry, if it is one: at most a head and [`BODY_BYTES_MAX`]. Returns how many bytes could not be read.
pub(crate) fn search(
    file: &dyn File,
    unreadable: Unreadable,
    mut look: impl FnMut(u64, &[u8]) -> Option<usize>,
) -> std::io::Result<u64> {
    const WINDOW_BYTES: usize = 2 * (HEAD_BYTES + BODY_BYTES_MAX);
    let end = file.len()?;
    let mut lost_bytes = 0;
    let mut window: Vec<u8> = Vec::with_capacity(WINDOW_BYTES + STEP_BYTES);
    // `window` holds the file from `base` on; `at` is the place in it that is looked at.
    let (mut base, mut at) = (0u64, 0usize);
    loop {
        if window.len() - at < HEAD_BYTES + BODY_BYTES_MAX && base + (window.len() as u64) < end {
            window.drain(..at);
            base += at as u64;
            at = 0;
            while window.len() < WINDOW_BYTES && base + (window.len() as u64) < end {
                let position = base + window.len() as u64;
                let count = (end - position).min(STEP_BYTES as u64) as usize;
                let start = window.len();
                window.resize(start + count, 0);
                if let Err(error) = file.read_at(position, &mut window[start..]) {
                    if unreadable == Unreadable::Refused {
                        return Err(error);
                    }
                    window[start..].fill(0);
                    lost_bytes += count as u64;
                }
            }
        }
        let Some(skipped) = window[at..].iter().position(|byte| *byte == MAGIC_FIRST) else {
            if base + window.len() as u64 >= end {
                return Ok(lost_bytes);
            }
            at = window.len();
            continue;
        };
        at += skipped;
        match look(base + at as u64, &window[at..]) {
            Some(entry_bytes) => at += entry_bytes,
            // A magic near the window's end is looked at again when the window has moved.
            None if window.len() - at < HEAD_BYTES + BODY_BYTES_MAX && base + (window.len() as u64) < end => {}
            None => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: usize) -> Head {
        Head { generation: 3, commit: 9, kind: Kind::Batch, first: true, last: false, length: length as u32 }
    }

    #[test]
    fn an_entry_comes_back_and_no_flipped_bit_does() {
        let mut bytes = Vec::new();
        put(head(5), b"12345", &mut bytes);
        assert_eq!(parse(&bytes), Some((head(5), &b"12345"[..])));
        set_last(&mut bytes, true);
        assert_eq!(parse(&bytes), Some((Head { last: true, ..head(5) }, &b"12345"[..])));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl File for Bytes {
        fn len(&self) -> std::io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            buffer.copy_from_slice(&self.0[offset as usize..offset as usize + buffer.len()]);
            Ok(())
        }
        fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
            unreachable!("a scan only reads")
        }
        fn set_len(&self, _: u64) -> std::io::Result<()> {
            unreachable!("a scan only reads")
        }
        fn sync(&self) -> std::io::Result<()> {
            unreachable!("a scan only reads")
        }
    }

    #[test]
    fn a_scan_finds_entries_between_noise_over_many_windows() {
        let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
        for index in 0..40u32 {
            bytes.extend_from_slice(&b"OPJ\xf0 OOPJ noise "[..(index as usize * 7) % 16]);
            offsets.push(bytes.len() as u64);
            let body = vec![b'O'; (index as usize * 1999) % BODY_BYTES_MAX];
            put(head(body.len()), &body, &mut bytes);
        }
        let mut found = Vec::new();
        scan(&Bytes(bytes), Unreadable::Refused, |offset, _, _| found.push(offset)).unwrap();
        assert_eq!(found, offsets);
    }
}
