//! One batch as bytes: a checksum, a header, a payload.
//!
//! These bytes are made once, on the gateway. The journal keeps them, the link carries them, the hub
//! stores them, and all three check the same checksum.
//!
//! ```text
//! offset  field    type
//! 0       crc      u32 LE          crc32 (IEEE) over everything behind it
//! 4       stream   u8              wire::stream::Stream
//! 5       flags    u8              bit 0: the payload is an LZ4 block, its plain length a varint before it
//! 6       seq      varint
//!         behind   varint          seq less the seq that opened the run; 0 is a keyframe
//!         boot     u32 LE
//!         uptime   varint          ms
//!         unix     varint          ms + 1, 0 when unknown
//!         payload  the rest        wire::batch
//! ```
//!
//! On the link it is *packed*: what its stamp shares with the one in the hello is left out, and what batches that were closed together
//! have in common comes first, where their frames [share](crate::frame) it. Unpacking gives the same bytes, and the checksum says so.
//!
//! ```text
//! 0       form     u8              bit 7: packed, bit 0: as in flags; 0: the record follows as it is
//! 1       seq      varint
//!         behind   varint
//!         drift    varint          instead of boot and unix: zigzag of what civil time gained on uptime since the hello, ms
//!         uptime   varint
//!         crc      u32 LE
//!         stream   u8
//!         payload  the rest
//! ```

use alloc::vec::Vec;
use core::fmt;

use codec::varint;

use crate::id::Seq;
use crate::limits::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::stream::Stream;
use crate::time::{BootId, Instant, Stamp, UnixTime};

/// Bytes before the stream: the checksum.
pub const CRC_BYTES: usize = 4;

/// The smallest payload worth trying to compress: below it the LZ4 header eats the gain.
const COMPRESS_BYTES_MIN: usize = 96;

/// What a record says before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream that numbers this batch.
    pub stream: Stream,
    /// The batch's number.
    pub seq: Seq,
    /// The number of the batch that opened its run; equal to `seq` in a keyframe.
    pub run: Seq,
    /// When the batch was opened.
    pub stamp: Stamp,
}

impl Header {
    /// Whether this batch opens its run.
    pub fn is_keyframe(&self) -> bool {
        self.run == self.seq
    }
}

/// A record that passed its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the record says of itself.
    pub header: Header,
    /// The payload as stored; see [`Record::payload`].
    stored: &'a [u8],
    compressed: bool,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The checksum does not match: the bytes were damaged on the way or on the disk.
    Crc {
        /// The checksum that the record carries.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// The checksum matches and the header makes no sense: another version wrote it.
    Header,
    /// The payload does not unpack.
    Payload,
    /// The record exceeds [`RECORD_BYTES_MAX`] or is shorter than its checksum.
    Size {
        /// Its length.
        bytes: usize,
    },
    /// The stream is not known to this version.
    Stream(u8),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Crc { stored, computed } => {
                write!(f, "record carries crc {stored:08x} and has {computed:08x}")
            }
            RecordError::Header => f.write_str("record header makes no sense"),
            RecordError::Payload => f.write_str("record payload does not unpack"),
            RecordError::Size { bytes } => write!(f, "record of {bytes} bytes is outside 6 to {RECORD_BYTES_MAX}"),
            RecordError::Stream(number) => write!(f, "record of stream {number}, which this version does not know"),
        }
    }
}

/// Appends a record with this header and payload to `out`.
///
/// A payload that LZ4 makes smaller is stored so when `text` says that it is worth the attempt.
///
/// Panics: when the record would exceed [`RECORD_BYTES_MAX`]; batches are closed long before.
pub fn seal(header: &Header, payload: &[u8], text: bool, out: &mut Vec<u8>) {
    assert!(header.run <= header.seq, "a run is opened by an earlier batch or this one");
    let start = out.len();
    out.extend_from_slice(&[0; CRC_BYTES]);
    out.push(header.stream.into());
    let flags_at = out.len();
    out.push(0);
    varint::put(out, header.seq.0);
    varint::put(out, header.seq.0 - header.run.0);
    out.extend_from_slice(&header.stamp.boot.0.to_le_bytes());
    varint::put(out, header.stamp.uptime.0);
    varint::put(out, header.stamp.unix.map_or(0, |unix| unix.0.saturating_add(1)));
    let payload_at = out.len();
    if text && payload.len() >= COMPRESS_BYTES_MIN {
        let packed = lz4_flex::block::compress(payload);
        if packed.len() + 3 < payload.len() {
            out[flags_at] = FLAG_LZ4;
            varint::put(out, payload.len() as u64);
            out.extend_from_slice(&packed);
        }
    }
    if out.len() == payload_at {
        out.extend_from_slice(payload);
    }
    assert!(out.len() - start <= RECORD_BYTES_MAX, "a batch is closed before it outgrows a record");
    let crc = crc32fast::hash(&out[start + CRC_BYTES..]);
    out[start..start + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
}

const FLAG_LZ4: u8 = 1;
const PLAIN: u8 = 0;
const PACKED: u8 = 1 << 7;

/// Appends a sealed record as it travels behind a hello with the stamp `hello`: some nine bytes shorter when both are of one boot that
/// knows the time, else as it is.
///
/// Panics: when the bytes are no record of ours.
pub fn pack(record: &[u8], hello: &Stamp, out: &mut Vec<u8>) {
    let opened = Record::open(record).expect("records that are sent were checked when they were read");
    let Header { seq, run, stamp, .. } = opened.header;
    let drift = stamp.unix.zip(hello.unix).map(|(unix, hello_unix)| {
        let gained = unix.0.wrapping_sub(stamp.uptime.0);
        gained.wrapping_sub(hello_unix.0.wrapping_sub(hello.uptime.0)) as i64
    });
    let Some(drift) = drift.filter(|_| stamp.boot == hello.boot) else {
        return out.extend_from_slice(&plain(record));
    };
    out.push(PACKED | if opened.compressed { FLAG_LZ4 } else { 0 });
    for number in [seq.0, seq.0 - run.0, varint::zigzag(drift), stamp.uptime.0] {
        varint::put(out, number);
    }
    out.extend_from_slice(&record[..=CRC_BYTES]);
    out.extend_from_slice(opened.stored);
}

/// A sealed record as it travels when it shares nothing with a hello.
pub fn plain(record: &[u8]) -> Vec<u8> {
    [&[PLAIN], record].concat()
}

/// The sealed record that was [packed](pack); its checksum is for [`Record::open`] to check.
///
/// Errors: [`RecordError::Header`] when what stands before the payload makes no sense, [`RecordError::Size`] when there are too many
/// bytes.
pub fn unpack(packed: &[u8], hello: &Stamp) -> Result<Vec<u8>, RecordError> {
    if packed.len() > MESSAGE_BYTES_MAX {
        return Err(RecordError::Size { bytes: packed.len() });
    }
    let (form, mut rest) = packed.split_first().ok_or(RecordError::Header)?;
    let flags = match *form {
        PLAIN => return Ok(rest.to_vec()),
        form => form & !PACKED,
    };
    if form & PACKED == 0 || flags & !FLAG_LZ4 != 0 {
        return Err(RecordError::Header);
    }
    let mut number = || varint::take(&mut rest).map_err(|_| RecordError::Header);
    let (seq, behind, drift, uptime) = (number()?, number()?, varint::unzigzag(number()?), number()?);
    let (crc_and_stream, payload) = rest.split_at_checked(CRC_BYTES + 1).ok_or(RecordError::Header)?;
    let hello_unix = hello.unix.ok_or(RecordError::Header)?;
    let gained = hello_unix.0.wrapping_sub(hello.uptime.0).wrapping_add_signed(drift);
    let mut out = Vec::with_capacity(packed.len() + 12);
    out.extend_from_slice(crc_and_stream);
    out.push(flags);
    varint::put(&mut out, seq);
    varint::put(&mut out, behind);
    out.extend_from_slice(&hello.boot.0.to_le_bytes());
    varint::put(&mut out, uptime);
    varint::put(&mut out, gained.wrapping_add(uptime).saturating_add(1));
    out.extend_from_slice(payload);
    Ok(out)
}

impl<'a> Record<'a> {
    /// Checks and reads what [`seal`] wrote.
    ///
    /// Errors: [`RecordError::Crc`] for damage; anything else passed its checksum and was written by another version.
    pub fn open(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        if bytes.len() < CRC_BYTES + 2 || bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Size { bytes: bytes.len() });
        }
        let (crc, body) = bytes.split_at(CRC_BYTES);
        let stored = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        let computed = crc32fast::hash(body);
        if stored != computed {
            return Err(RecordError::Crc { stored, computed });
        }
        let stream = Stream::try_from(body[0]).map_err(|unknown| RecordError::Stream(unknown.0))?;
        let compressed = match body[1] {
            0 => false,
            FLAG_LZ4 => true,
            _ => return Err(RecordError::Header),
        };
        let mut rest = &body[2..];
        let mut number = || varint::take(&mut rest).map_err(|_| RecordError::Header);
        let (seq, behind) = (number()?, number()?);
        let run = seq.checked_sub(behind).ok_or(RecordError::Header)?;
        let (boot, after) = rest.split_at_checked(4).ok_or(RecordError::Header)?;
        rest = after;
        let mut number = || varint::take(&mut rest).map_err(|_| RecordError::Header);
        let (uptime, unix) = (number()?, number()?);
        let stamp = Stamp {
            boot: BootId(u32::from_le_bytes([boot[0], boot[1], boot[2], boot[3]])),
            uptime: Instant(uptime),
            unix: unix.checked_sub(1).map(UnixTime),
        };
        let header = Header { stream, seq: Seq(seq), run: Seq(run), stamp };
        Ok(Record { header, stored: rest, compressed })
    }

    /// The payload, unpacked into `scratch` when it is compressed.
    ///
    /// Errors: [`RecordError::Payload`] when it does not unpack to at most [`RECORD_BYTES_MAX`] x 8.
    pub fn payload<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], RecordError>
    where
        'a: 'b,
    {
        if !self.compressed {
            return Ok(self.stored);
        }
        let mut packed = self.stored;
        let bytes = varint::take(&mut packed).map_err(|_| RecordError::Payload)?;
        if bytes > 8 * RECORD_BYTES_MAX as u64 {
            return Err(RecordError::Payload);
        }
        scratch.clear();
        scratch.resize(bytes as usize, 0);
        match lz4_flex::block::decompress_into(packed, scratch) {
            Ok(written) if written == scratch.len() => Ok(&scratch[..]),
            _ => Err(RecordError::Payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    const HEADER: Header = Header {
        stream: Stream::raw(Class::Bulk),
        seq: Seq(300),
        run: Seq(298),
        stamp: Stamp { boot: BootId(9), uptime: Instant(70_000), unix: Some(UnixTime(1_700_000_000_000)) },
    };

    fn check(header: Header, payload: &[u8], text: bool) -> usize {
        let mut bytes = Vec::new();
        seal(&header, payload, text, &mut bytes);
        let record = Record::open(&bytes).unwrap();
        assert_eq!(record.header, header);
        assert_eq!(record.payload(&mut Vec::new()), Ok(payload));
        for cut in 0..bytes.len() {
            assert!(Record::open(&bytes[..cut]).is_err());
        }
        bytes.len()
    }

    #[test]
    fn a_record_comes_back_compressed_or_not() {
        check(HEADER, b"", false);
        check(HEADER, b"short text", true);
        check(Header { stamp: Stamp::default(), run: Seq(300), ..HEADER }, b"x", false);
        let text = b"node_cpu_seconds_total".repeat(20);
        assert!(check(HEADER, &text, true) < 100);
        assert!(check(HEADER, &text, false) > 440);
    }

    #[test]
    fn a_record_travels_without_what_the_hello_has_said() {
        let unix = |ms: u64| Some(UnixTime(1_700_000_000_000 + ms));
        let hello = Stamp { boot: BootId(9), uptime: Instant(50_000), unix: unix(0) };
        let check = |stamp: Stamp, saved_bytes: isize| {
            let (mut record, mut packed) = (Vec::new(), Vec::new());
            seal(&Header { stamp, ..HEADER }, b"some payload", false, &mut record);
            pack(&record, &hello, &mut packed);
            assert_eq!(record.len() as isize - packed.len() as isize, saved_bytes, "{stamp:?}");
            assert_eq!(unpack(&packed, &hello), Ok(record));
            for cut in 0..packed.len() {
                // What is left of it may look like a record, and its checksum says that it is none.
                assert!(unpack(&packed[..cut], &hello).is_ok_and(|cut| Record::open(&cut).is_err()) || cut < 16);
            }
        };
        check(Stamp { uptime: Instant(80_000), unix: unix(30_000), ..hello }, 9);
        check(Stamp { uptime: Instant(80_000), unix: unix(30_700), ..hello }, 8);
        check(Stamp { uptime: Instant(3), unix: unix(0), ..hello }, 7);
        check(Stamp { boot: BootId(8), ..hello }, -1);
        check(Stamp { unix: None, ..hello }, -1);
        let whole = [0x80, 1, 0, 4, 9, 0, 0, 0, 0, 6];
        assert!(unpack(&whole, &hello).is_ok());
        assert_eq!(unpack(&whole, &Stamp { unix: None, ..hello }), Err(RecordError::Header));
        for nonsense in [&[][..], &[0x80, 0xff], &[1, 2, 3], &[0x82, 1, 0, 4, 9, 0, 0, 0, 0, 6], &whole[..9]] {
            assert_eq!(unpack(nonsense, &hello), Err(RecordError::Header), "{nonsense:?}");
        }
        assert_eq!(
            unpack(&alloc::vec![0; MESSAGE_BYTES_MAX + 1], &hello),
            Err(RecordError::Size { bytes: MESSAGE_BYTES_MAX + 1 })
        );
    }

    #[test]
    fn batches_that_were_closed_together_begin_with_the_same_bytes() {
        let hello = Stamp { uptime: Instant(50_000), unix: Some(UnixTime(1_700_000_000_000)), ..HEADER.stamp };
        let packed = Class::ALL.map(|class| {
            let (mut record, mut packed) = (Vec::new(), Vec::new());
            seal(&Header { stream: Stream::raw(class), ..HEADER }, b"some payload", false, &mut record);
            pack(&record, &hello, &mut packed);
            packed
        });
        let shared = packed[0].iter().zip(&packed[1]).take_while(|(one, other)| one == other).count();
        assert!(shared >= packed[0].len() - CRC_BYTES - 1 - b"some payload".len(), "{shared}");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        seal(&HEADER, b"some payload", false, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Record::open(&bytes), Err(RecordError::Crc { .. })));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
