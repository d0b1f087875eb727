//! What the two ends of the link say.
//!
//! ```text
//! gateway                                     hub
//!   Hello   journal, clock, heads        ->
//!                                        <-   Welcome  what is known, the time     or  Close  why not
//!   Batch   one sealed record            ->
//!                                        <-   Ack      durable: cumulative and ranges
//!   About   version, name, if asked for  ->
//!   Ping    backlog                      ->
//!                                        <-   Pong     the time
//!                                        <-   Want     send that generation of the dictionary again
//!                                        <-   Fetch    copy the ticks of a span: an event says what came of it
//!   Enroll / Rotate / Leave              ->
//!                                        <-   Enrolled / Rotated / Left
//! ```
//!
//! `Batch` is the sealed record, [packed](crate::record::pack); every other body is postcard. Numbers are fixed: a
//! field may be added at the end only together with a [version](crate::version).

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, JournalId, Seq};
use crate::limits::{
    ACK_RANGES_MAX, EXTRACT_SPAN_MAX, HOSTNAME_BYTES_MAX, SELECTOR_BYTES_MAX, TEXT_BYTES_MAX, VERSION_BYTES_MAX,
};
use crate::ranges::{RangeSet, SeqRange};
use crate::stream::{STREAM_COUNT, Stream};
use crate::time::{Span, Stamp, UnixTime};
use crate::version::Versions;

/// The lowest number of a kind that may be passed over by whoever does not know it: what it says is worth having, and nothing
/// that is known depends on it. An unknown kind below it ends the link.
pub const SKIPPABLE_MIN: u8 = 128;

/// What a frame's `kind` byte says. The numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Hello`]
    Hello = 1,
    /// [`Welcome`]
    Welcome = 2,
    /// A sealed record.
    Batch = 3,
    /// [`Ack`]
    Ack = 4,
    /// [`Ping`]
    Ping = 5,
    /// [`Pong`]
    Pong = 6,
    /// [`Want`]
    Want = 7,
    /// [`Enroll`]
    Enroll = 8,
    /// [`Enrolled`]
    Enrolled = 9,
    /// [`Rotate`]
    Rotate = 10,
    /// Empty: the new key is accepted from now on.
    Rotated = 11,
    /// Empty: this device goes and will not come back.
    Leave = 12,
    /// Empty: the hub has noted it.
    Left = 13,
    /// [`Close`]
    Close = 14,
    /// What arrived, packet by packet: see the link.
    Receipt = 15,
    /// [`About`]
    About = 16,
    /// The longest pause of the gateway from here on, a [`Span`].
    Heartbeat = 17,
    /// [`Fetch`]
    Fetch = 18,
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        [
            Hello, Welcome, Batch, Ack, Ping, Pong, Want, Enroll, Enrolled, Rotate, Rotated, Leave, Left, Close,
            Receipt, About, Heartbeat, Fetch,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }

    /// Whether its sender must hear that it arrived. What is an answer, or gets one, is asked for again by whoever misses it.
    pub fn wants_receipt(self) -> bool {
        matches!(
            self,
            Kind::About | Kind::Fetch | Kind::Heartbeat | Kind::Hello | Kind::Batch | Kind::Ping | Kind::Want
        )
    }
}

/// The SHA-256 of a raw public key (SubjectPublicKeyInfo, RFC 7250).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An X25519 public key, as which an end shows itself on datagrams. It follows from the Ed25519 key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DatagramKey(pub [u8; 32]);

/// The first words of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions that the gateway speaks. First in every version.
    pub versions: Versions,
    /// Whose sequence numbers these are.
    pub journal: JournalId,
    /// The gateway's clock as it spoke. The [header of a record](crate::record::pack) is shorter against it.
    pub now: Stamp,
    /// The longest pause between two of its words; a longer silence means that it is gone.
    pub heartbeat: Span,
    /// The [checksum](progress_checksum) of what it takes the hub to hold.
    pub progress: Checksum,
    /// Where streams stand in its journal of which something waits.
    pub heads: Vec<Head, STREAM_COUNT>,
    /// The checksum of its [`About`].
    pub about: Checksum,
}

/// What a gateway says of itself when the hub does not know it yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The agent's version.
    pub agent: String<VERSION_BYTES_MAX>,
    /// What the machine calls itself.
    pub hostname: String<HOSTNAME_BYTES_MAX>,
}

impl About {
    /// What a hello says of it.
    pub fn checksum(&self) -> Checksum {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.agent.as_bytes());
        // No version and no name holds this byte, so that the two cannot be taken for one another.
        hasher.update(&[0xff]);
        hasher.update(self.hostname.as_bytes());
        Checksum(hasher.finalize())
    }
}

/// A crc32 (IEEE). On the wire it has four bytes, least significant first: a varint would mostly have five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "[u8; 4]", from = "[u8; 4]")]
pub struct Checksum(pub u32);

impl From<Checksum> for [u8; 4] {
    fn from(checksum: Checksum) -> [u8; 4] {
        checksum.0.to_le_bytes()
    }
}

impl From<[u8; 4]> for Checksum {
    fn from(bytes: [u8; 4]) -> Checksum {
        Checksum(u32::from_le_bytes(bytes))
    }
}

/// The checksum of what is held of each stream, in their order: of each range of each stream, the stream's number and the first and
/// last number, least significant byte first.
pub fn progress_checksum<'a>(held: impl IntoIterator<Item = (Stream, &'a RangeSet)>) -> Checksum {
    let mut hasher = crc32fast::Hasher::new();
    for (stream, held) in held {
        for range in held.iter() {
            hasher.update(&[stream.into()]);
            hasher.update(&range.first.0.to_le_bytes());
            hasher.update(&range.last.0.to_le_bytes());
        }
    }
    Checksum(hasher.finalize())
}

/// Where a stream stands in the gateway's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The stream.
    pub stream: Stream,
    /// The number that the next batch will have.
    pub next: Seq,
}

/// What a gateway has and the hub has not acked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Batches.
    pub batch_count: u64,
}

/// The second and third of the four timestamps of an exchange (RFC 5905 section 8); the gateway has the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubTime {
    /// The hub's clock when the question arrived.
    pub received: UnixTime,
    /// How long the answer took.
    pub held: Span,
}

/// The hub's answer to [`Hello`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u16,
    /// The hub's clock.
    pub hub: HubTime,
    /// What the hub holds of this journal, by stream, nothing for a stream it has never seen; `None` when it is what the gateway
    /// takes it to be.
    pub progress: Option<Vec<Progress, STREAM_COUNT>>,
    /// The key that the hub will change to, for the gateway to pin beside the present one.
    pub next_key: Option<Fingerprint>,
    /// Whether the hub asks for the gateway's [`About`].
    pub wants_about: bool,
}

/// What the hub holds of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The stream.
    pub stream: Stream,
    /// Batches that are durable at the hub, or known to be lost.
    pub held: RangeSet,
    /// The checksum of the highest of them, unless it is lost: the gateway's own is the same, or somebody else has its numbers.
    pub tip: Option<Checksum>,
}

/// Batches of one stream are durable at the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Every number below this one. Batches that were closed together mostly have the same, so it comes where frames share it.
    pub cumulative: Seq,
    /// And these, lowest first.
    pub ranges: Vec<SeqRange, ACK_RANGES_MAX>,
    /// The stream.
    pub stream: Stream,
}

impl Ack {
    /// All that it names, lowest first.
    pub fn held(&self) -> impl Iterator<Item = SeqRange> + '_ {
        let below = self.cumulative.0.checked_sub(1).map(|last| SeqRange { first: Seq(0), last: Seq(last) });
        below.into_iter().chain(self.ranges.iter().copied())
    }
}

/// Sign of life, and what the hub shows of an idle gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// The gateway's clock, when it has not gone on as the hub knows it.
    pub now: Option<UnixTime>,
    /// What is waiting.
    pub backlog: Backlog,
    /// Whether batches have arrived and their acks have not: the hub says them again.
    pub wants_acks: bool,
}

/// The answer to [`Ping`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The hub's clock.
    pub hub: HubTime,
}

/// The hub lacks a part of the dictionary and asks for all its batches again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which generation.
    pub generation: u32,
}

/// The hub asks for ticks that were not sent and that the gateway may still hold. An [event](crate::event::Event::Fetched) answers, behind
/// copies of them in the streams of extracts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The request's number. Asked again under the same, it is the same request.
    pub number: u64,
    /// Which series: a selector of [`query::selector`].
    pub selector: String<SELECTOR_BYTES_MAX>,
    /// The first moment that is meant.
    pub from: UnixTime,
    /// The last, at most [`EXTRACT_SPAN_MAX`] later.
    pub to: UnixTime,
}

impl Fetch {
    /// Whether there can be such a span.
    pub fn is_valid(&self) -> bool {
        self.to.0.checked_sub(self.from.0).is_some_and(|span_ms| span_ms <= EXTRACT_SPAN_MAX.0)
    }
}

/// The first words of a machine that holds a token. The key that speaks them becomes the device's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    /// The versions that the machine speaks. First in every version.
    pub versions: Versions,
    /// The secret half of the token.
    pub secret: [u8; 16],
    /// What the machine calls itself; the hub names the device after it.
    pub hostname: String<HOSTNAME_BYTES_MAX>,
    /// The agent's version.
    pub agent: String<VERSION_BYTES_MAX>,
}

impl fmt::Debug for Enroll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret lets machines in; a log is read by many.
        f.debug_struct("Enroll")
            .field("versions", &self.versions)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// The hub's answer to [`Enroll`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The device's number from now on.
    pub device: DeviceId,
    /// The device's name at the hub.
    pub name: String<HOSTNAME_BYTES_MAX>,
    /// The hub's key on datagrams.
    pub datagram_key: DatagramKey,
}

/// The device will speak with another key from its next connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// The new key.
    pub key: Fingerprint,
    /// The same on datagrams.
    pub datagram_key: DatagramKey,
}

/// The last words on a link that one end gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Why.
    pub reason: CloseReason,
    /// More, for the person who reads the log.
    pub detail: String<TEXT_BYTES_MAX>,
}

/// Why a link was given up. The order of the variants is that on the wire: add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// The process is going away; come back.
    Shutdown,
    /// No version that both speak.
    Version,
    /// The peer broke the protocol.
    Protocol,
    /// The key is not enrolled here.
    UnknownKey,
    /// The device was revoked.
    Revoked,
    /// The device was retired.
    Retired,
    /// No such token.
    TokenUnknown,
    /// The token is past its time.
    TokenExpired,
    /// The token has no use left.
    TokenUsed,
    /// The device opened another link, which holds now.
    Superseded,
    /// The hub cannot store at the moment; come back later.
    Busy,
    /// The hub holds other batches under these numbers.
    Forked,
}

impl CloseReason {
    /// Whether coming back without a person's help is pointless.
    pub fn is_final(self) -> bool {
        use CloseReason::*;
        matches!(self, Version | UnknownKey | Revoked | Retired | TokenUnknown | TokenExpired | TokenUsed)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Shutdown => "the other end is shutting down",
            CloseReason::Version => "no version that both ends speak: upgrade the older one",
            CloseReason::Protocol => "the other end broke the protocol",
            CloseReason::UnknownKey => "this device is not enrolled: make a token on the hub and run `outpost enroll`",
            CloseReason::Revoked => "this device was revoked on the hub",
            CloseReason::Retired => "this device was retired on the hub: enroll it again to bring it back",
            CloseReason::TokenUnknown => "the hub does not know this token: was it made on another hub?",
            CloseReason::TokenExpired => "the token has expired: make a new one with `outpost-hub token new`",
            CloseReason::TokenUsed => "the token has no use left: make a new one with `outpost-hub token new`",
            CloseReason::Superseded => "the same device opened another link: is its card cloned?",
            CloseReason::Forked => "the hub holds other batches under these numbers: was the card copied or put back?",
            CloseReason::Busy => "the hub cannot store at the moment",
        })
    }
}
