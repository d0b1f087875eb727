//! Every parser of outside bytes, as a plain function of bytes.
//!
//! A target returns whatever comes in, and panics on a bug. Stable Rust replays all of them over their corpus and seeded mutations of it
//! (`tests/fuzz.rs`); cargo-fuzz looks for new inputs (`tests/fuzz/main.rs`). Parsers with a crate of their own to check
//! them stand in that crate's `fuzz` module; here are those that take several crates.

use std::sync::{Arc, OnceLock};

use agent::Agent;
use agent::question::Question;
use agent::timekeeper::{nmea, sntp};
use codec::block::Block;
use codec::run::Decoder;
use disk::{Directory, Folder};
use hub::Hub;
use hub::fleet::{Device, Fleet};
use hub::hub::{Input as HubInput, Output as HubOutput, Query, Rows};
use hub::request::Request;
use hub::session::PeerId;
use identity::key::Key;
use identity::tls;
use journal::Journal;
use journal::entry::{self, Head};
use journal::inspect::Inspection;
use journal::volume;
use link::channel::Carrier;
use link::client::{Client, Input, Timing};
use link::estimator::Estimate;
use link::server::Server;
use link::talk::{self, Listener};
use outpost_hub::call;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Connection, ServerConnection};
use sim::disk::SimDisk;
use sim::rng::Rng;
use store::change::Change;
use wire::batch::{self, TickReader};
use wire::class::Class;
use wire::frame::{self, Assembler};
use wire::id::{DeviceId, JournalId, Seq};
use wire::limits::SERIES_COUNT_MAX;
use wire::message::{self, Fingerprint, Hello};
use wire::ranges::SeqRange;
use wire::record::Record;
use wire::series::Kind as SeriesKind;
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp, UnixTime};
use wire::version::Versions;
use wire::window::WindowReader;

/// A parser under the name of its corpus's folder.
pub(super) type Target = (&'static str, fn(&[u8]));

/// All there are.
pub(super) fn all() -> impl Iterator<Item = Target> {
    let crates = [
        agent::probe::fuzz::TARGETS,
        hal::linux::fuzz::TARGETS,
        identity::fuzz::TARGETS,
        outpost::fuzz::TARGETS,
        outpost_hub::fuzz::TARGETS,
        query::fuzz::TARGETS,
        store::fuzz::TARGETS,
    ];
    [TARGETS].into_iter().chain(crates).flatten().copied()
}

const TARGETS: &[Target] = &[
    ("block", block),
    ("call", call),
    ("client", client),
    ("dictionary", dictionary),
    ("entries", entries),
    ("events", events),
    ("fleet", fleet),
    ("frames", frames),
    ("history", history),
    ("hub", hub),
    ("journal", journal),
    ("messages", messages),
    ("nmea", nmea),
    ("record", record),
    ("run", run),
    ("server", server),
    ("sntp", sntp),
    ("tail", tail),
    ("ticks", ticks),
    ("tls_client", tls_client),
    ("tls_server", tls_server),
    ("volume", volume),
    ("volume_name", volume_name),
    ("windows", windows),
];

/// A block of the hub's store.
fn block(bytes: &[u8]) {
    let Ok(block) = Block::open(bytes) else { return };
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let _ = block.times(&mut times, &mut values);
    // Likely values take next to no bytes: a few columns are as good as all.
    for column in 0..block.column_count().min(4) {
        if block.column(column, &mut values).is_ok() {
            assert_eq!(values.len(), block.tick_count());
        }
    }
}

/// What the hub's command line and the serving process send each other.
fn call(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk() {
        call::length(*head, call::CALL_BYTES_MAX);
    }
    if let Some(call) = call::body::<(String, call::Call)>(bytes) {
        // What is written may be shorter than what was read, and no longer.
        call::frame(&call, bytes.len()).expect("what was read fits");
    }
    if let Some(outcome) = call::body::<call::Outcome>(bytes) {
        call::frame(&outcome, bytes.len()).expect("what was read fits");
    }
}

fn client(bytes: &[u8]) {
    let hello = hello();
    let mut client = Client::new(Timing::default(), 1, Instant(0));
    client.handle_timeout(Instant(0));
    let connected = |carrier| Input::Connected { carrier, known: Estimate::default(), hello: &hello };
    client.handle_input(Instant(0), connected(Carrier::Stream));
    client.handle_input(Instant(1), Input::Received(bytes));
    while client.poll_output().is_some() || client.poll_packet(Instant(1), &Lane::ALL).is_some() {}
    client.handle_timeout(Instant(100_000));
    // The same as datagrams, cut where a byte says so.
    let mut client = Client::new(Timing::default(), 1, Instant(0));
    client.handle_timeout(Instant(0));
    client.handle_input(Instant(0), connected(Carrier::Datagram));
    for (number, datagram) in bytes.split(|byte| *byte == 0xfe).enumerate() {
        client.handle_input(Instant(1), Input::Datagram(number as u64, datagram));
        while client.poll_output().is_some() || client.poll_packet(Instant(1), &Lane::ALL).is_some() {}
    }
    client.handle_timeout(Instant(100_000));
}

fn dictionary(bytes: &[u8]) {
    if let Ok(dictionary) = batch::Dictionary::open(bytes) {
        for (id, _, series) in dictionary.entries().filter_map(Result::ok) {
            assert!(usize::from(id.0) < SERIES_COUNT_MAX);
            wire::series::labels(series.labels).for_each(drop);
        }
    }
}

/// The journal's entries, between noise.
fn entries(bytes: &[u8]) {
    if let Some((head, body)) = entry::parse(bytes) {
        let mut again = Vec::new();
        entry::put(head, body, &mut again);
        assert_eq!(again, bytes[..again.len()]);
    }
    let folder = SimDisk::new(Rng::new(1)).folder();
    let mut end = 0;
    let scanned = entry::scan(&*file(&folder, "tail.a", bytes), entry::Unreadable::Refused, |offset, head, body| {
        assert!(offset >= end && body.len() == head.length as usize);
        end = offset + head.entry_bytes();
    });
    scanned.expect("the simulated disk reads");
    assert!(end <= bytes.len() as u64);
}

fn events(bytes: &[u8]) {
    batch::events(bytes).filter_map(Result::ok).filter_map(|(_, event)| event).for_each(|event| {
        // What is read can be said, and written again.
        assert!(!event.to_string().is_empty());
        batch::put_event(Span(0), &event, &mut Vec::new());
    });
}

/// Rows of the hub's state: `kind u8`, `length u8`, then so many bytes of value.
fn fleet(mut bytes: &[u8]) {
    let mut rows = Vec::new();
    while let [kind, length, rest @ ..] = bytes {
        let (value, after) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = after;
        let key = [&b"device/1"[..], b"token/1", b"hub/next-key", b"later"][usize::from(kind % 4)];
        rows.push((key.to_vec(), value.to_vec()));
    }
    let (mut hub, _) = Hub::open(rows, Stamp::default());
    hub.step(Stamp::default(), [Request::Fleet, Request::Tokens].map(|request| HubInput::Ask { id: 1, request }));
    while hub.poll_output().is_some() {}
    talk_to(&mut hub, Fingerprint([7; 32]), &talk::frames(message::Kind::Hello, &hello()));
}

fn frames(bytes: &[u8]) {
    let mut listener = Listener::default();
    listener.push(bytes);
    while let Ok(Some(_)) = listener.poll_message() {}
    // As a datagram the last frame may go without a length.
    let mut assembler = Assembler::default();
    frame::frames(bytes).map_while(Result::ok).map_while(|frame| assembler.take(frame).ok()).for_each(drop);
}

/// The bytes stand as batches in an agent's journal, behind right checksums, and the agent is asked for everything.
///
/// ```text
/// offset  field     meaning
/// 0       stream    number of the stream, modulo 8; with 7 the power is cut
/// 1       behind    how far behind it the run's keyframe is, modulo 4
/// 2       length    bytes of payload, then the next batch
/// ```
fn history(mut bytes: &[u8]) {
    let disk = SimDisk::new(Rng::new(1));
    let now = Stamp { unix: Some(UnixTime(1_767_225_600_000)), ..Stamp::default() };
    let mut journal = Journal::open(disk.folder(), sim::power::SMALL, 1, now).expect("the simulated disk has room");
    while let [stream, behind, length, rest @ ..] = bytes {
        let (payload, after) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = after;
        let Ok(stream) = Stream::try_from(stream % 18) else { continue };
        let run = journal.next(stream).0.checked_sub(u64::from(behind % 4)).map(Seq);
        journal.append(now, stream, run, now, payload, false).expect("the simulated disk has room");
    }
    journal.commit(now).expect("the simulated disk has room");
    drop(journal);

    let settings = agent::agent::Settings {
        device: DeviceId(1),
        version: "0.1.0".into(),
        hostname: "gw".into(),
        build: wire::time::UnixTime(0),
        journal: sim::power::SMALL,
        link: Timing::default(),
        has_hub: false,
        interval: Span::seconds(10),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
        way: Box::new(agent::way::Settings::simple(
            (Span::minutes(10), Span::minutes(10)),
            Span::seconds(60),
            Default::default(),
        )),
    };
    let mut agent = Agent::open(disk.folder(), settings, 1, now).expect("a journal always opens");
    let everything = Question::Samples { names: Vec::new(), since: Span::minutes(60), sample_count_max: 10_000 };
    for question in [Question::Status, Question::Latest, everything, Question::Events { count_max: 100 }] {
        agent.step(now, [agent::agent::Input::Ask { id: 1, question }]);
        while agent.poll_output().is_some() {}
    }
}

/// The whole core of the hub, spoken to by an enrolled device. The first byte says whether it greets first.
fn hub(bytes: &[u8]) {
    let Some((has_greeted, bytes)) = bytes.split_first() else { return };
    let key = Fingerprint([7; 32]);
    let device = Device { keys: vec![key], ..Device::new(DeviceId(1), "gw".into()) };
    let Change::Put { key: row, value } = Fleet::default().add_device(device) else {
        unreachable!("a device is a row")
    };
    let (mut hub, _) = Hub::open(vec![(row, value)], Stamp::default());
    let greeting = talk::frames(message::Kind::Hello, &hello());
    let words = if has_greeted % 2 == 0 { [&greeting, bytes].concat() } else { bytes.to_vec() };
    talk_to(&mut hub, key, &words);
}

fn talk_to(hub: &mut Hub, key: Fingerprint, words: &[u8]) {
    let peer = PeerId(1);
    let mut inputs = vec![
        HubInput::Connected { peer, key, datagram_key: None, carrier: Carrier::Stream },
        HubInput::Received { peer, number: None, bytes: words.to_vec() },
    ];
    while !inputs.is_empty() {
        hub.step(Stamp::default(), inputs.drain(..));
        while let Some(output) = hub.poll_output() {
            match output {
                HubOutput::Commit { ticket, .. } => inputs.push(HubInput::Committed { ticket, refused: Vec::new() }),
                HubOutput::Read { ticket, query: Query::Progress { .. } } => {
                    let rows = Rows::Progress { progress: Vec::new(), missing_generations: Vec::new() };
                    inputs.push(HubInput::Rows { ticket, rows: Some(rows) });
                }
                _ => {}
            }
        }
    }
    hub.step(Stamp { uptime: Instant(1_000_000), ..Stamp::default() }, []);
}

/// The bytes stand in both tail files and in a volume: the journal opens all the same.
fn journal(bytes: &[u8]) {
    let folder = SimDisk::new(Rng::new(1)).folder();
    for name in ["tail.a", "tail.b", "v00000000-raw-00000000-00000000-0f.0000000000000000.0000000000000003.redb"] {
        file(&folder, name, bytes);
    }
    // Whoever only looks gets to an end as well, and before anything is repaired.
    if let Ok(inspection) = Inspection::open(folder.clone(), entry::Unreadable::Lost) {
        inspection.verify(|_| {}).expect("what is not read is passed over");
    }
    check_journal(folder);
}

/// Each kind of message: the first byte is its number.
fn messages(bytes: &[u8]) {
    fn check<T: serde::Serialize + serde::de::DeserializeOwned>(kind: message::Kind, bytes: &[u8]) {
        if let Some(message) = talk::read::<T>(bytes) {
            let written = talk::frames(kind, &message);
            let mut listener = Listener::default();
            listener.push(&written);
            let framed = listener.poll_message().expect("frames of our own").expect("a whole message");
            assert_eq!(framed.kind, kind as u8);
            assert!(talk::read::<T>(&framed.bytes).is_some(), "what was written is read");
        }
    }
    use message::Kind;
    let Some((number, bytes)) = bytes.split_first() else { return };
    let Some(kind) = Kind::from_number(*number) else { return };
    match kind {
        Kind::About => check::<message::About>(kind, bytes),
        Kind::Ack => check::<message::Ack>(kind, bytes),
        Kind::Close => check::<message::Close>(kind, bytes),
        Kind::Enroll => check::<message::Enroll>(kind, bytes),
        Kind::Enrolled => check::<message::Enrolled>(kind, bytes),
        Kind::Fetch => check::<message::Fetch>(kind, bytes),
        Kind::Heartbeat => check::<Span>(kind, bytes),
        Kind::Hello => check::<Hello>(kind, bytes),
        Kind::Ping => check::<message::Ping>(kind, bytes),
        Kind::Pong => check::<message::Pong>(kind, bytes),
        Kind::Rotate => check::<message::Rotate>(kind, bytes),
        Kind::Want => check::<message::Want>(kind, bytes),
        Kind::Welcome => check::<message::Welcome>(kind, bytes),
        Kind::Batch | Kind::Leave | Kind::Left | Kind::Receipt | Kind::Rotated => {}
    }
}

/// What a receiver of satellites says.
fn nmea(bytes: &[u8]) {
    let mut receiver = nmea::Receiver::new(UnixTime(1_704_067_200_000));
    for unix in bytes.iter().filter_map(|byte| receiver.push(*byte)) {
        assert!(unix.0 < 253_402_300_800_000, "no year has five digits");
    }
}

fn record(bytes: &[u8]) {
    let mut scratch = Vec::new();
    let mut resealed = bytes.to_vec();
    if let Some(crc) = resealed.get_mut(..4) {
        // Behind a right checksum the header and the payload are read in earnest.
        let body = &bytes[4..];
        let mut hash = batch::DictionaryHash::default();
        hash.update(body);
        crc.copy_from_slice(&hash.value().to_le_bytes());
    }
    for bytes in [bytes, &resealed] {
        if let Ok(record) = Record::open(bytes) {
            let _ = record.payload(&mut scratch);
        }
    }
}

/// The codec alone.
fn run(bytes: &[u8]) {
    let (mut decoder, mut values) = (Decoder::new(64), [None; 64]);
    let mut batch = decoder.batch(bytes);
    for _ in 0..1000 {
        if !matches!(batch.next(&mut values), Ok(Some(_))) {
            break;
        }
    }
}

fn server(bytes: &[u8]) {
    for carrier in [Carrier::Stream, Carrier::Datagram] {
        let mut server = Server::new(Instant(0), carrier, Versions::HUB);
        for (number, bytes) in bytes.split(|byte| *byte == 0xfe).enumerate() {
            let number = (carrier == Carrier::Datagram).then_some(number as u64);
            let _ = server.receive(Instant(1), number, bytes, |_| {});
        }
        let _ = server.handle_timeout(Instant(2));
        while server.poll_packet(Instant(50)).is_some() {}
    }
}

/// A packet of a time server. When the first byte is even, whoever sent it saw the question.
fn sntp(bytes: &[u8]) {
    let Some((first, packet)) = bytes.split_first() else { return };
    let (question, mut packet) = (sntp::Question::new(5), packet.to_vec());
    if let (0, Some(originate)) = (first % 2, packet.get_mut(24..32)) {
        originate.copy_from_slice(&question.packet()[40..]);
    }
    let _ = question.read(&packet, UnixTime(1_704_067_200_000));
}

/// Both tail files, entry by entry, behind right checksums.
///
/// ```text
/// offset  field       meaning
/// 0       kind        number of the kind, modulo 4; 0x40 the first of its commit, 0x80 the last
/// 1       copies      1 missing in tail.a, 2 missing in tail.b
/// 2       generation
/// 3       commit
/// 4       length      bytes of body, then the next entry
/// ```
fn tail(mut bytes: &[u8]) {
    let mut copies = [Vec::new(), Vec::new()];
    while let [kind, missing, generation, commit, length, rest @ ..] = bytes {
        let (body, after) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = after;
        let kinds = [entry::Kind::Batch, entry::Kind::Slot, entry::Kind::Begin, entry::Kind::End];
        let head = Head {
            generation: u32::from(*generation),
            commit: u32::from(*commit),
            kind: kinds[usize::from(kind % 4)],
            first: kind & 0x40 != 0,
            last: kind & 0x80 != 0,
            length: body.len() as u32,
        };
        for (index, copy) in copies.iter_mut().enumerate() {
            let start = copy.len();
            entry::put(head, body, copy);
            if missing & (1 << index) != 0 {
                copy[start..].fill(0);
            }
        }
    }
    let folder = SimDisk::new(Rng::new(1)).folder();
    for (name, copy) in ["tail.a", "tail.b"].into_iter().zip(&copies) {
        file(&folder, name, copy);
    }
    check_journal(folder);
}

fn ticks(bytes: &[u8]) {
    let _ = TickReader::new().read(bytes, true, |_, _| {});
}

fn tls_client(bytes: &[u8]) {
    static KEY: OnceLock<Key> = OnceLock::new();
    let key = KEY.get_or_init(Key::generate);
    let config = tls::client_config(key, &[key.fingerprint()], || None);
    shake(ClientConnection::new(config, tls::server_name()).expect("a connection needs nothing").into(), bytes);
    tls::peer_fingerprint(Some(&[CertificateDer::from(bytes)]));
}

fn tls_server(bytes: &[u8]) {
    static KEY: OnceLock<Key> = OnceLock::new();
    let config = tls::server_config(KEY.get_or_init(Key::generate), || None);
    shake(ServerConnection::new(config).expect("a connection needs nothing").into(), bytes);
}

fn shake(mut end: Connection, mut bytes: &[u8]) {
    while !bytes.is_empty() && end.read_tls(&mut bytes).is_ok() && end.process_new_packets().is_ok() {}
    assert!(end.is_handshaking(), "nobody has proved to have a key");
}

/// A real volume with bytes changed: each three are a place, modulo its length, and the change.
fn volume(bytes: &[u8]) {
    static HONEST: OnceLock<(volume::Name, Vec<u8>)> = OnceLock::new();
    let (name, honest) = HONEST.get_or_init(honest_volume);
    let mut damaged = honest.clone();
    for patch in bytes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([patch[0], patch[1]])) * 2 % damaged.len();
        damaged[place] ^= patch[2];
    }
    let folder = SimDisk::new(Rng::new(1)).folder();
    file(&folder, &name.to_file_name(), &damaged);
    let mut record = Vec::new();
    if let Ok(volume) = volume::Reader::open(&folder, *name) {
        for (stream, SeqRange { first, last }) in name.ranges() {
            for seq in first.0..=last.0 {
                if let Ok(true) = volume.read(stream, Seq(seq), &mut record) {
                    assert!(Record::open(&record).is_ok());
                }
            }
        }
        let _ = volume.verify();
    }
    let _ = volume::carve(&folder, *name, entry::Unreadable::Refused, |bytes, record| {
        assert_eq!(Record::open(bytes), Ok(record));
    });
    check_journal(folder);
}

fn volume_name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = volume::Name::parse(text) {
        assert_eq!(volume::Name::parse(&name.to_file_name()), Some(name));
    }
}

/// Opens the journal, adds to it, and finds that again.
fn check_journal(folder: Folder) {
    let now = Stamp::default();
    let mut journal = Journal::open(folder, sim::power::SMALL, 1, now).expect("a journal always opens");
    let mut record = Vec::new();
    for stream in Stream::ALL {
        for range in journal.held(stream) {
            let _ = journal.read(now, stream, range.first, &mut record);
        }
    }
    if let Ok(seq) = journal.append(now, Stream::Event, None, now, b"new", false) {
        journal.commit(now).expect("the simulated disk has room");
        assert_eq!(journal.read(now, Stream::Event, seq, &mut record).ok(), Some(true));
    }
}

/// The largest volume that a journal of three hundred batches writes.
fn honest_volume() -> (volume::Name, Vec<u8>) {
    let folder = SimDisk::new(Rng::new(2)).folder();
    let now = Stamp::default();
    let mut journal = Journal::open(folder.clone(), sim::power::SMALL, 1, now).expect("the simulated disk has room");
    for number in 0..300u32 {
        let payload = number.to_le_bytes().repeat(100);
        journal
            .append(now, Stream::raw(Class::Normal), None, now, &payload, false)
            .expect("the simulated disk has room");
        journal.commit(now).expect("the simulated disk has room");
    }
    let names = folder.list().expect("the simulated disk lists");
    let name = names.iter().find_map(|name| volume::Name::parse(name)).expect("so much is folded");
    let file = folder.open(&name.to_file_name()).expect("it is listed");
    let mut bytes = vec![0; file.len().expect("the simulated disk reads") as usize];
    file.read_at(0, &mut bytes).expect("it is as long as it says");
    (name, bytes)
}

fn file(folder: &Arc<dyn Directory>, name: &str, bytes: &[u8]) -> Box<dyn disk::File> {
    let file = folder.create(name).expect("the simulated disk has room");
    file.write_at(0, bytes).expect("the simulated disk has room");
    file
}

/// What a device says first.
pub(super) fn hello() -> Hello {
    Hello { journal: JournalId(1), heartbeat: Span::seconds(60), ..Hello::default() }
}

/// A batch of windows, with and without knowing what its slots are.
fn windows(bytes: &[u8]) {
    let kinds = [SeriesKind::Counter, SeriesKind::Gauge, SeriesKind::Gauge, SeriesKind::Counter];
    let mut reader = WindowReader::new();
    for keyframe in [true, false] {
        let _ = reader.read(bytes, keyframe, &kinds, |_, series, window| {
            assert!(series < kinds.len());
            window.sum();
        });
        let _ = WindowReader::new().check(bytes, keyframe);
    }
}
