//! What the command line asks the serving process, over the socket in the hub's folder.
//!
//! ```text
//! offset  field    type
//! 0       length   u32 LE    bytes that follow, at most CALL_BYTES_MAX or OUTCOME_BYTES_MAX
//! 4       body     postcard  (version, Call) one way, Outcome the other
//! ```
//!
//! One call, one outcome, and the connection ends. Both ends are the same program; when an upgrade has replaced it
//! under a process that still serves, the version in front tells, and [`Outcome::Refused`] keeps its place so that it
//! can be said.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hub::request::{Reply, Request};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::event::Event;
use wire::message::Fingerprint;
use wire::spent::Spent;
use wire::time::{BootId, Instant, Span, UnixTime};

/// The socket's name in the hub's folder.
pub const SOCKET_NAME: &str = "hub.sock";

/// Bytes of a call: an expression and a few names.
pub const CALL_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an outcome: the most values that an answer may hold, 16 bytes each, and their labels.
pub const OUTCOME_BYTES_MAX: usize = 64 << 20;

/// The version that both ends must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Something to do or to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// What the core does and tells.
    Admin(Request),
    /// What happened.
    Events(EventsCall),
    /// Who the serving process is.
    Hub,
    /// Change to the next key.
    KeyActivate {
        /// Also when devices would lose the hub by it.
        is_forced: bool,
    },
    /// Make the next key and tell the fleet.
    KeyRotate,
    /// Samples of series.
    Samples(SamplesCall),
    /// How much is held, and whether all of it is accounted for.
    Stat,
    /// What a device's links carried.
    Usage(UsageCall),
}

/// A question about what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsCall {
    /// On which device, by name or number; all when none.
    pub device: Option<String>,
    /// The first moment that counts.
    pub from: UnixTime,
    /// The last moment that counts.
    pub to: UnixTime,
    /// Events at the most: the newest.
    pub count_max: u32,
}

/// A question about samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesCall {
    /// Which series, as it was typed.
    pub expression: String,
    /// The first moment that counts.
    pub from: UnixTime,
    /// The last moment that counts.
    pub to: UnixTime,
    /// Between values; none for samples as they are.
    pub step: Option<Span>,
}

/// A question about what a device's links carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCall {
    /// By name or number.
    pub device: String,
    /// The first moment that counts; days count whole.
    pub from: UnixTime,
    /// The last moment that counts.
    pub to: UnixTime,
}

/// What became of a call. The order is that between versions: add at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It cannot be done: what to tell the person.
    Refused(String),
    /// To [`Call::Admin`].
    Admin(Reply),
    /// To [`Call::Events`].
    Events(EventsFound),
    /// To [`Call::Hub`].
    Hub(HubIs),
    /// To [`Call::KeyActivate`] and [`Call::KeyRotate`]: the key that is now active, or announced.
    Key(Fingerprint),
    /// To [`Call::Samples`].
    Samples(SamplesFound),
    /// To [`Call::Stat`].
    Stat(StatFound),
    /// To [`Call::Usage`].
    Usage(UsageFound),
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubIs {
    /// The key's fingerprint.
    pub key: Fingerprint,
    /// Where it listens.
    pub address: String,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsFound {
    /// Oldest first; those without a place on the calendar come before all others.
    pub events: Vec<EventFound>,
    /// What the answer lacks, one sentence each.
    pub notes: Vec<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFound {
    /// The device's name.
    pub device: String,
    /// In which boot.
    pub boot: BootId,
    /// When, on the clock of that boot.
    pub uptime: Instant,
    /// When, on the calendar, if anything places the boot.
    pub at: Option<UnixTime>,
    /// What.
    pub event: Event,
}

/// Samples of series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplesFound {
    /// By device, name and labels.
    pub series: Vec<SeriesFound>,
    /// What the answer lacks, one sentence each.
    pub notes: Vec<String>,
    /// Why nothing was found, when what was asked for does not exist.
    pub missing: Option<String>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesFound {
    /// The metric's name.
    pub name: String,
    /// Its labels, the device's among them.
    pub labels: Vec<(String, String)>,
    /// When, in milliseconds since 1970, and what; oldest first.
    pub points: Vec<(u64, f64)>,
}

/// How much is held, and what reading all of it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatFound {
    /// Devices that have enrolled, those included that left.
    pub devices: u64,
    /// Series with a sample.
    pub series: u64,
    /// Samples that can be read.
    pub samples: u64,
    /// Batches that are held.
    pub batches: u64,
    /// Batches that will never come.
    pub lost: u64,
    /// Samples that are there twice. Zero, or a bug.
    pub duplicates: u64,
    /// Batches that are neither held nor lost, below others that are.
    pub gaps: u64,
    /// Batches that wait for the one before them.
    pub waiting: u64,
    /// Runs whose names have not come.
    pub nameless: u64,
    /// Records that are damaged or of another version.
    pub unreadable: u64,
    /// Ticks without a place on the calendar.
    pub unplaced: u64,
    /// Messages of devices of kinds that this version does not know and passed over, since the process began.
    pub skipped: u64,
    /// Bytes of the records as they came.
    pub record_bytes: u64,
    /// Bytes of the store's file.
    pub disk_bytes: u64,
}

/// What a device's links carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFound {
    /// The device's name.
    pub device: String,
    /// The first day, since 1970.
    pub first_day: u32,
    /// The last day, not before the first.
    pub last_day: u32,
    /// By name.
    pub bearers: Vec<BearerUsage>,
    /// Oldest first.
    pub changes: Vec<LinkChange>,
    /// What the answer lacks, one sentence each.
    pub notes: Vec<String>,
}

/// What one bearer carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BearerUsage {
    /// The bearer's name, as the device says it.
    pub name: String,
    /// By day since 1970. A day that is not here is not known.
    pub days: BTreeMap<u32, DayUsage>,
}

/// What a day cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUsage {
    /// What was spent.
    pub spent: Spent,
    /// What might have been, if there was a limit.
    pub budget_bytes: Option<u64>,
}

/// The link went over another bearer, or became better or worse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkChange {
    /// When.
    pub at: UnixTime,
    /// Over which bearer it goes since.
    pub bearer: String,
    /// How good that one is.
    pub tier: String,
    /// What became of the one before, if another one was in use.
    pub reason: Option<String>,
}

/// Why a call has no outcome.
#[derive(Debug)]
pub enum CallError {
    /// The socket is there and this user may not use it.
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody serves this folder.
    NoHub {
        /// The folder.
        folder: PathBuf,
    },
    /// The bytes of the other end make no sense.
    Garbage,
    /// The connection broke.
    Broken(io::Error),
}

/// A frame of `body`.
///
/// Errors: it has more than `bytes_max` bytes.
pub fn frame<T: Serialize>(body: &T, bytes_max: usize) -> Result<Vec<u8>, TooLong> {
    let mut bytes = vec![0; 4];
    bytes = postcard::to_extend(body, bytes).expect("a vector takes every byte");
    let count = bytes.len() - 4;
    if count > bytes_max {
        return Err(TooLong { bytes: count, bytes_max });
    }
    bytes[..4].copy_from_slice(&u32::try_from(count).expect("the bounds are below 4 GiB").to_le_bytes());
    Ok(bytes)
}

/// The length that the head of a frame says, if it is within `bytes_max`.
pub fn length(head: [u8; 4], bytes_max: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(head)).ok().filter(|count| *count <= bytes_max)
}

/// Reads a frame's body.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Asks the process that serves `folder` and waits for what comes of it.
pub fn ask(folder: &Path, call: &Call) -> Result<Outcome, CallError> {
    let path = folder.join(SOCKET_NAME);
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
            CallError::NoHub { folder: folder.to_owned() }
        }
        io::ErrorKind::PermissionDenied => CallError::Denied { path },
        _ => CallError::Broken(error),
    })?;
    let frame = frame(&(VERSION, call), CALL_BYTES_MAX).map_err(|error| CallError::Broken(io::Error::other(error)))?;
    stream.write_all(&frame).map_err(CallError::Broken)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).map_err(CallError::Broken)?;
    let mut bytes = vec![0; length(head, OUTCOME_BYTES_MAX).ok_or(CallError::Garbage)?];
    stream.read_exact(&mut bytes).map_err(CallError::Broken)?;
    body(&bytes).ok_or(CallError::Garbage)
}

/// A body that is too long for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
    /// How long it may be.
    pub bytes_max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes exceed {}", self.bytes, self.bytes_max)
    }
}

impl std::error::Error for TooLong {}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Denied { path } => {
                write!(f, "{} may be used only by the user that the hub runs as: try sudo", path.display())
            }
            CallError::NoHub { folder } => write!(
                f,
                "no hub serves {}: start it with `outpost-hub serve`, or name its folder with --dir",
                folder.display()
            ),
            CallError::Garbage => {
                f.write_str("the serving process answered nonsense: restart it, it may be of another version")
            }
            CallError::Broken(error) => write!(f, "the serving process broke off: {error}; see its log"),
        }
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_comes_back_from_its_frame() {
        let call = Call::Admin(Request::Rename { device: "gw-1".into(), name: "pump".into() });
        let frame = frame(&(VERSION, &call), CALL_BYTES_MAX).unwrap();
        assert_eq!(length(*frame.first_chunk().unwrap(), CALL_BYTES_MAX), Some(frame.len() - 4));
        assert_eq!(body(&frame[4..]), Some((VERSION.to_owned(), call)));
    }

    #[test]
    fn a_frame_beyond_its_bound_is_neither_made_nor_believed() {
        let long = Outcome::Refused("x".repeat(100));
        assert_eq!(frame(&long, 50), Err(TooLong { bytes: 102, bytes_max: 50 }));
        assert_eq!(length(51u32.to_le_bytes(), 50), None);
        assert_eq!(length([0xff; 4], OUTCOME_BYTES_MAX), None);
    }

    #[test]
    fn a_refusal_is_read_by_every_version() {
        let frame = frame(&Outcome::Refused("no".into()), 50).unwrap();
        assert_eq!(frame, [4, 0, 0, 0, 0, 2, b'n', b'o']);
    }

    #[test]
    fn garbage_is_no_body() {
        assert_eq!(body::<(String, Call)>(&[]), None);
        assert_eq!(body::<(String, Call)>(&[0xff; 40]), None);
        assert_eq!(body::<Outcome>(&[99]), None);
    }

    #[test]
    fn a_folder_that_nobody_serves_is_named() {
        let error = ask(Path::new("/nowhere"), &Call::Hub).unwrap_err().to_string();
        assert!(error.contains("/nowhere") && error.contains("outpost-hub serve"), "{error}");
    }
}
