//! A machine for tests: it seals batches as an agent does, and speaks to a hub over a socket that blocks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use codec::run::Encoder;
use hub::fleet::Device;
use hub::request::Member;
use identity::key::Key;
use identity::tls::{client_config, server_name};
use identity::token::Token;
use link::errand::Errand;
use link::talk::{self, Listener};
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::batch::{DictionaryHash, DictionaryMark, put_dictionary, put_event, put_keyframe, put_series};
use wire::class::Class;
use wire::event::Event;
use wire::id::{DeviceId, JournalId, Seq, SeriesId};
use wire::limits::SERIES_COUNT_MAX;
use wire::message::{Ack, Close, CloseReason, Enroll, Enrolled, Fingerprint, Hello, Kind};
use wire::record::{Header, plain, seal};
use wire::series::Series;
use wire::stream::{Lane, STREAM_COUNT, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};
use wire::version::Versions;

/// Civil time at uptime zero: 2026-01-01.
pub(crate) const BEGAN: u64 = 1_767_225_600_000;

/// Ticks are this far apart.
pub(crate) const TICK_MS: u64 = 10_000;

/// Longer than anything takes here; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Machine {
    pub(crate) key: Key,
    next: [u64; STREAM_COUNT],
    series: Vec<(String, u8)>,
    encoder: Encoder,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let encoder = Encoder::new(SERIES_COUNT_MAX);
        Machine { key: Key::generate(), next: [0; STREAM_COUNT], series: Vec::new(), encoder }
    }

    pub(crate) fn device(&self) -> DeviceId {
        identity::key::device_id(self.key.fingerprint())
    }

    fn seal(&mut self, stream: Stream, run: Option<u64>, uptime_ms: u64, payload: &[u8]) -> Vec<u8> {
        let seq = self.next[stream.index()];
        self.next[stream.index()] += 1;
        let unix = Some(UnixTime(BEGAN + uptime_ms));
        let stamp = Stamp { boot: BootId(1), uptime: Instant(uptime_ms), unix };
        let mut record = Vec::new();
        seal(&Header { stream, seq: Seq(seq), run: Seq(run.unwrap_or(seq)), stamp }, payload, false, &mut record);
        record
    }

    /// The batch that names series: gauges, or counters when the name ends in `_total`.
    pub(crate) fn names(&mut self, names: &[&str]) -> Vec<u8> {
        let mut payload = Vec::new();
        put_dictionary(0, SeriesId(self.series.len() as u16), &mut payload);
        for name in names {
            let kind = u8::from(!name.ends_with("_total"));
            put_series(&Series { name, labels: "", kind, scale: 0 }, Class::Normal, &mut payload);
            self.series.push(((*name).to_owned(), kind));
        }
        self.seal(Stream::Dictionary, None, 0, &payload)
    }

    /// A run of one batch from `start_ms` on. The value of every series at tick `n` of the boot is `n`.
    pub(crate) fn run(&mut self, start_ms: u64, tick_count: u64) -> Vec<u8> {
        let mut hash = DictionaryHash::default();
        for (name, kind) in &self.series {
            let mut entry = Vec::new();
            put_series(&Series { name: &name[..], labels: "", kind: *kind, scale: 0 }, Class::Normal, &mut entry);
            hash.update(&entry);
        }
        let mut payload = Vec::new();
        let count = self.series.len() as u16;
        put_keyframe(&DictionaryMark { generation: 0, count, hash: hash.value() }, 0, &mut payload);
        self.encoder.open_run();
        for tick in 0..tick_count {
            let at_ms = start_ms + tick * TICK_MS;
            let values = vec![Some((at_ms / TICK_MS) as i64); self.series.len()];
            self.encoder.encode(at_ms, &values, &mut payload);
        }
        self.encoder.close_batch(&mut payload);
        self.seal(Stream::raw(Class::Normal), None, start_ms, &payload)
    }

    pub(crate) fn event(&mut self, uptime_ms: u64, event: &Event) -> Vec<u8> {
        let mut payload = Vec::new();
        put_event(Span(0), event, &mut payload);
        self.seal(Stream::Event, None, uptime_ms, &payload)
    }

    /// The machine as a fleet has it.
    pub(crate) fn member(&self, name: &str) -> Member {
        let device = Device {
            keys: vec![self.key.fingerprint()],
            enrolled: UnixTime(BEGAN),
            ..Device::new(self.device(), name.into())
        };
        Member { device, is_online: false, knows_next_key: true, skipped_count: 0 }
    }

    pub(crate) fn connect(&self, address: SocketAddr, pin: Fingerprint) -> Result<Link, std::io::Error> {
        Link::connect(address, &self.key, pin)
    }

    /// Asks to be let in.
    pub(crate) fn enroll(&self, address: SocketAddr, token: &Token) -> Result<Enrolled, CloseReason> {
        let mut link = self.connect(address, token.hub).unwrap();
        let (hostname, agent) = (text("gw"), text("0.1.0"));
        let question = Enroll { versions: Versions::AGENT, secret: token.secret, hostname, agent };
        let (mut errand, bytes) = Errand::new(Kind::Enroll, &question, Kind::Enrolled);
        link.write(&bytes);
        loop {
            match errand.receive(&link.read()) {
                Ok(Some(enrolled)) => return Ok(enrolled),
                Ok(None) => {}
                Err(link::client::DownReason::Refused(close)) => return Err(close.reason),
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Says hello on a new link.
    pub(crate) fn greet(&self, address: SocketAddr, pin: Fingerprint) -> Link {
        let mut link = self.connect(address, pin).unwrap();
        link.say(Kind::Hello, &self.hello());
        link
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello { versions: Versions::AGENT, journal: JournalId(7), heartbeat: Span::seconds(60), ..Hello::default() }
    }
}

fn text<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(text).unwrap()
}

/// A connection to a hub.
pub(crate) struct Link {
    stream: StreamOwned<ClientConnection, TcpStream>,
    listener: Listener,
    sent_count: u32,
}

impl Link {
    pub(crate) fn connect(address: SocketAddr, key: &Key, pin: Fingerprint) -> Result<Link, std::io::Error> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut connection =
            ClientConnection::new(client_config(key, &[pin], hal::linux::realtime::now), server_name()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Link { stream: StreamOwned::new(connection, socket), listener: Listener::default(), sent_count: 0 })
    }

    pub(crate) fn say<T: Serialize>(&mut self, kind: Kind, body: &T) {
        self.write(&talk::frames(kind, body));
    }

    pub(crate) fn send_batch(&mut self, record: &[u8]) {
        self.sent_count += 1;
        self.write(&talk::raw_frames(Lane::Raw, Kind::Batch, &plain(record), self.sent_count));
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let count = self.stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the hub hung up without a word");
        bytes.truncate(count);
        bytes
    }

    /// The next message, which must be of this kind.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self, kind: Kind) -> T {
        loop {
            match self.listener.poll_message().unwrap().map(|framed| (framed.kind, framed.bytes)) {
                Some((heard, bytes)) => {
                    assert_eq!(Kind::from_number(heard), Some(kind), "{:?}", talk::read::<Close>(&bytes));
                    return talk::read(&bytes).unwrap();
                }
                None => {
                    let bytes = self.read();
                    self.listener.push(&bytes);
                }
            }
        }
    }

    /// Reads acks until every number of `stream` below `end` is acked.
    pub(crate) fn hear_acks(&mut self, stream: Stream, end: u64) {
        loop {
            let ack: Ack = self.hear(Kind::Ack);
            if ack.stream == stream && ack.cumulative == Seq(end) {
                return;
            }
        }
    }

    /// Reads until the hub says why it hangs up, and that it does.
    pub(crate) fn hear_close(mut self) -> CloseReason {
        let close: Close = self.hear(Kind::Close);
        assert_eq!(self.stream.read(&mut [0; 16]).unwrap(), 0);
        close.reason
    }
}
