//! A message of each kind, and what holds them: heads of frames.

use codec::varint;
use link::receipt::{self, Received};
use link::talk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::class::Class;
use wire::frame::{self, Frame, Head, Part};
use wire::id::{DeviceId, JournalId, Seq};
use wire::message::{
    About, Ack, Backlog, Checksum, Close, CloseReason, DatagramKey, Enroll, Enrolled, Fetch, Fingerprint,
    Head as StreamHead, Hello, HubTime, Kind, Ping, Pong, Progress, Rotate, Want, Welcome,
};
use wire::ranges::{RangeSet, SeqRange};
use wire::record;
use wire::stream::{Lane, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};
use wire::version::Versions;

use super::Golden;
use super::payload::ticks_record;

pub(super) fn all() -> impl Iterator<Item = Golden> {
    let kinds = (0..=u8::MAX).filter_map(Kind::from_number).flat_map(of_kind);
    kinds.chain(reasons()).chain(heads()).chain([alike()])
}

pub(super) const NOW: Stamp =
    Stamp { boot: BootId(0x0b00_7001), uptime: Instant(3_600_000), unix: Some(UnixTime(1_767_225_600_000)) };

const RAW: Stream = Stream::raw(Class::Normal);

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange { first: Seq(first), last: Seq(last) }
}

pub(super) fn hello() -> Hello {
    Hello {
        versions: Versions { lowest: 1, highest: 1 },
        journal: JournalId(0x6a6f_7572),
        now: NOW,
        heartbeat: Span::seconds(60),
        progress: Checksum(0x0102_0304),
        heads: [(Stream::Event, 3), (RAW, 300)]
            .map(|(stream, next)| StreamHead { stream, next: Seq(next) })
            .into_iter()
            .collect(),
        about: about().checksum(),
    }
}

fn about() -> About {
    About { agent: "0.1.0".try_into().expect("short"), hostname: "pump-7".try_into().expect("short") }
}

pub(super) fn welcome() -> Welcome {
    let mut held = RangeSet::new();
    held.insert_range(range(0, 9)).expect("an empty set has room");
    held.insert_range(range(200, 299)).expect("a set of one has room");
    let tip = Some(Checksum(0xa1b2_c3d4));
    Welcome {
        version: 1,
        hub: HubTime { received: UnixTime(1_767_225_600_250), held: Span(40) },
        progress: Some([Progress { stream: RAW, held, tip }].into_iter().collect()),
        next_key: Some(Fingerprint([7; 32])),
        wants_about: true,
    }
}

pub(super) fn ack() -> Ack {
    Ack { stream: RAW, cumulative: Seq(10), ranges: [range(200, 299), range(301, 301)].into_iter().collect() }
}

fn of_kind(kind: Kind) -> Vec<Golden> {
    let of_one = |message| vec![message];
    match kind {
        Kind::Hello => of_one(message("hello", hello())),
        Kind::Welcome => {
            vec![
                message("welcome", welcome()),
                message("welcome_without_news", Welcome { version: 1, ..Welcome::default() }),
            ]
        }
        Kind::Batch => {
            let sealed = ticks_record();
            let mut packed = Vec::new();
            record::pack(&sealed, &NOW, &mut packed);
            let reads = move |bytes: &[u8]| record::unpack(bytes, &NOW).as_ref() == Ok(&sealed);
            of_one(Golden::new("message/batch", packed, reads))
        }
        Kind::Ack => of_one(message("ack", ack())),
        Kind::Ping => {
            let ping = Ping { now: NOW.unix, backlog: Backlog { batch_count: 4711 }, wants_acks: true };
            vec![message("ping", ping), message("ping_without_news", Ping::default())]
        }
        Kind::Pong => of_one(message("pong", Pong { hub: welcome().hub })),
        Kind::Want => of_one(message("want", Want { generation: 5 })),
        Kind::Enroll => of_one(message(
            "enroll",
            Enroll {
                versions: Versions { lowest: 1, highest: 1 },
                secret: *b"sixteen of them.",
                hostname: about().hostname,
                agent: about().agent,
            },
        )),
        Kind::Enrolled => {
            let (device, datagram_key) = (DeviceId(0x00d3_71ce_0000_0007), DatagramKey([9; 32]));
            of_one(message("enrolled", Enrolled { device, name: about().hostname, datagram_key }))
        }
        Kind::Rotate => {
            of_one(message("rotate", Rotate { key: Fingerprint([8; 32]), datagram_key: DatagramKey([9; 32]) }))
        }
        Kind::Rotated => of_one(message("rotated", ())),
        Kind::Leave => of_one(message("leave", ())),
        Kind::Left => of_one(message("left", ())),
        Kind::Close => of_one(message("close", talk::close(CloseReason::Version, "device speaks 7, hub speaks 1"))),
        Kind::Receipt => receipts(),
        Kind::About => of_one(message("about", about())),
        Kind::Heartbeat => of_one(message("heartbeat", Span::minutes(15))),
        Kind::Fetch => of_one(message("fetch", fetch())),
    }
}

fn fetch() -> Fetch {
    let selector = "{__name__=~\"node_cpu.*\"}".try_into().expect("it is short");
    let (from, to) = (UnixTime(1_767_276_000_000), UnixTime(1_767_277_200_000));
    Fetch { number: 300, selector, from, to }
}

fn message<T: Serialize + DeserializeOwned + PartialEq + 'static>(name: &str, value: T) -> Golden {
    let bytes = talk::body(&value);
    Golden::new(format!("message/{name}"), bytes, move |bytes| talk::read(bytes).as_ref() == Some(&value))
}

fn receipts() -> Vec<Golden> {
    let mut stream = Received::default();
    stream.bytes(Instant(0), 70_000, true);
    let mut datagrams = Received::default();
    [0, 1, 2, 5, 6, 9].into_iter().for_each(|number| datagrams.packet(Instant(0), number, true));
    let expected = [(9, 9), (5, 6), (0, 2)];
    vec![
        Golden::new("message/receipt_on_a_stream", stream.receipt(true), |bytes| receipt::bytes(bytes) == Some(70_000)),
        Golden::new("message/receipt_on_datagrams", datagrams.receipt(false), move |bytes| {
            receipt::ranges(bytes).is_some_and(|ranges| ranges[..] == expected)
        }),
    ]
}

/// Every reason to close, as its number.
fn reasons() -> impl Iterator<Item = Golden> {
    let reasons = (0..=u8::MAX).map_while(|number| talk::read::<CloseReason>(&[number]));
    reasons.map(|reason| message(&format!("close/{reason:?}"), Close { reason, detail: Default::default() }))
}

/// A frame of a message that begins as the one before it in its packet does.
fn alike() -> Golden {
    let head = Head { lane: Lane::Raw, kind: Kind::Batch as u8, part: None };
    let mut bytes = Vec::new();
    head.put(b"payload of one", false, &mut bytes);
    head.put_like(11, b"payload of the next", true, &mut bytes);
    let reads = move |bytes: &[u8]| {
        let frames = [(0, &b"payload of one"[..]), (11, b"the next")];
        frame::frames(bytes).eq(frames.map(|(shared, payload)| Ok(Frame { head, shared, payload })))
    };
    Golden::new("frame/alike", bytes, reads)
}

/// Heads of frames in each lane, whole and in parts; the last of a datagram has no length.
fn heads() -> impl Iterator<Item = Golden> {
    let part = |offset, more| Some(Part { message: 300, offset, more });
    let of = move |lane: Lane| {
        let name = lane.name();
        [
            (format!("frame/{name}"), lane, None, false),
            (format!("frame/{name}_first_part"), lane, part(0, true), false),
            (format!("frame/{name}_last_part"), lane, part(1180, false), false),
            (format!("frame/{name}_rest"), lane, None, true),
        ]
    };
    Lane::ALL.into_iter().flat_map(of).map(|(name, lane, part, is_rest)| {
        let head = Head { lane, kind: Kind::Batch as u8, part };
        let mut bytes = Vec::new();
        head.put(b"payload", is_rest, &mut bytes);
        assert!(is_rest || bytes.len() == head.frame_bytes(7) && bytes.len() >= 2 + varint::len(7) + 7);
        let reads = move |bytes: &[u8]| frame::frames(bytes).eq([Ok(Frame { head, shared: 0, payload: b"payload" })]);
        Golden::new(name, bytes, reads)
    })
}
