//! The gateway's end of the link.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use heapless::Deque;
use wire::frame::{Assembler, FrameError};
use wire::id::Seq;
use wire::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_COUNT_MAX};
use wire::message::{Ack, Close, CloseReason, Hello, Kind, Ping, Pong, VERSION, Want, Welcome};
use wire::stream::Stream;
use wire::time::{Instant, Span};

use crate::backoff::Backoff;
use crate::talk;

/// How long the parts of a link may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the dial to a connection, handshakes included.
    pub dial: Span,
    /// From the hello to the welcome.
    pub greet: Span,
    /// From a batch or a ping to its answer: a link that is silent longer is half open.
    pub answer: Span,
    /// From the last word to a ping.
    pub heartbeat: Span,
}

impl Default for Timing {
    fn default() -> Self {
        // 2G answers within seconds when it answers at all; NATs forget a TCP flow after minutes.
        Timing {
            dial: Span::seconds(60),
            greet: Span::seconds(30),
            answer: Span::seconds(60),
            heartbeat: Span::seconds(60),
        }
    }
}

/// What the world tells the client.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection stands; this is what to say first.
    Connected(&'a Hello),
    /// Bytes arrived.
    Received(&'a [u8]),
    /// The connection is gone, or never came to be.
    Disconnected,
}

/// What the client tells the world.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the hub.
    Dial,
    /// Write these bytes.
    Send(Vec<u8>),
    /// Close the connection. No [`Input::Disconnected`] is expected.
    HangUp(DownReason),
    /// The link is up.
    Up(Box<Welcome>),
    /// The hub holds these batches.
    Acked(Ack),
    /// The hub wants a generation of the dictionary again.
    Wanted(Want),
    /// A ping is due: say how things stand with [`Client::ping`].
    PingDue,
    /// The hub told its time.
    HubTime(Pong),
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The connection was lost or could not be opened.
    Disconnected,
    /// The hub does not speak this protocol.
    Garbage(FrameError),
    /// The hub sent a message that makes no sense here.
    Unexpected(u8),
    /// The hub gave the link up and said why.
    Refused(Box<Close>),
    /// The hub would speak a version that this end does not.
    Version(u16),
    /// No answer in time: the link is half open, or the hub hangs.
    Silent,
    /// This end was told to stop.
    Stopped,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::Disconnected => f.write_str("connection lost"),
            DownReason::Garbage(error) => write!(f, "the other end is no hub: {error}"),
            DownReason::Unexpected(kind) => write!(f, "the hub sent an unexpected message of kind {kind}"),
            DownReason::Refused(close) if close.detail.is_empty() => write!(f, "{}", close.reason),
            DownReason::Refused(close) => write!(f, "{} ({})", close.reason, close.detail),
            DownReason::Version(version) => {
                write!(f, "the hub speaks version {version}, this device version {VERSION}: upgrade the older one")
            }
            DownReason::Silent => f.write_str("no answer from the hub in time"),
            DownReason::Stopped => f.write_str("stopped"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { dial_at: Instant },
    Dialling { until: Instant },
    Greeting { until: Instant },
    Online { since: Instant, ping_at: Instant, answer_by: Option<Instant> },
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    stream: Stream,
    seq: Seq,
    bytes: usize,
}

/// The gateway's end of the link.
#[derive(Debug)]
pub struct Client {
    timing: Timing,
    state: State,
    backoff: Backoff,
    assembler: Assembler,
    in_flight: heapless::Vec<InFlight, IN_FLIGHT_COUNT_MAX>,
    in_flight_bytes: usize,
    outputs: Deque<Output, 64>,
}

// Part of the agent, which is built on a small stack.
const _: () = assert!(size_of::<Client>() <= 12 << 10);

impl Client {
    /// A client that dials at once. `seed` differs between gateways.
    pub fn new(timing: Timing, seed: u64, now: Instant) -> Client {
        Client {
            timing,
            state: State::Down { dial_at: now },
            backoff: Backoff::new(seed),
            assembler: Assembler::default(),
            in_flight: heapless::Vec::new(),
            in_flight_bytes: 0,
            outputs: Deque::new(),
        }
    }

    /// Whether batches can be sent.
    pub fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// The state's word, for people.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Down { .. } => "down",
            State::Dialling { .. } => "dialling",
            State::Greeting { .. } => "greeting",
            State::Online { .. } => "online",
            State::Stopped => "stopped",
        }
    }

    /// Whether this batch is sent and not acked.
    pub fn is_in_flight(&self, stream: Stream, seq: Seq) -> bool {
        self.in_flight.iter().any(|batch| batch.stream == stream && batch.seq == seq)
    }

    /// Batches that are sent and not acked.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a batch of so many bytes fits the window now. One always fits into an empty window.
    pub fn can_send(&self, bytes: usize) -> bool {
        self.is_online()
            && !self.in_flight.is_full()
            && self.outputs.len() < self.outputs.capacity() / 2
            && (self.in_flight.is_empty() || self.in_flight_bytes + bytes <= IN_FLIGHT_BYTES_MAX)
    }

    /// Sends a sealed record.
    ///
    /// Panics: when [`Client::can_send`] is false.
    pub fn send_batch(&mut self, now: Instant, stream: Stream, seq: Seq, record: &[u8]) {
        assert!(self.can_send(record.len()), "the caller asks first");
        let in_flight = InFlight { stream, seq, bytes: record.len() };
        self.in_flight.push(in_flight).expect("can_send leaves room");
        self.in_flight_bytes += record.len();
        self.say(talk::raw_frames(stream.lane(), Kind::Batch, record));
        self.expect_answer(now);
    }

    /// Sends a ping, the answer to [`Output::PingDue`].
    pub fn ping(&mut self, now: Instant, ping: &Ping) {
        if self.is_online() {
            self.say(talk::frames(Kind::Ping, ping));
            self.expect_answer(now);
        }
    }

    fn expect_answer(&mut self, now: Instant) {
        if let State::Online { ping_at, answer_by, .. } = &mut self.state {
            *ping_at = now + self.timing.heartbeat;
            answer_by.get_or_insert(now + self.timing.answer);
        }
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match (self.state, input) {
            (State::Dialling { .. }, Input::Connected(hello)) => {
                self.state = State::Greeting { until: now + self.timing.greet };
                self.say(talk::frames(Kind::Hello, hello));
            }
            (State::Greeting { .. } | State::Online { .. }, Input::Received(bytes)) => self.receive(now, bytes),
            (State::Dialling { .. } | State::Greeting { .. } | State::Online { .. }, Input::Disconnected) => {
                self.go_down(now, DownReason::Disconnected);
            }
            // A connection that was given up meanwhile: nothing it says counts any more.
            (State::Down { .. } | State::Stopped, _) => {}
            (State::Dialling { .. }, Input::Received(_)) => {}
            (State::Greeting { .. } | State::Online { .. }, Input::Connected(_)) => {}
        }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let mut assembler = core::mem::take(&mut self.assembler);
        assembler.push(bytes);
        let problem = loop {
            match assembler.poll_message() {
                Ok(Some(framed)) => {
                    if let Err(problem) = self.hear(now, framed.kind, framed.skippable, framed.bytes) {
                        break Some(problem);
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(DownReason::Garbage(error)),
            }
        };
        match problem {
            Some(reason) => self.go_down(now, reason),
            None => self.assembler = assembler,
        }
    }

    fn hear(&mut self, now: Instant, kind: u8, skippable: bool, bytes: &[u8]) -> Result<(), DownReason> {
        let unexpected = DownReason::Unexpected(kind);
        match (self.state, Kind::from_number(kind)) {
            (_, Some(Kind::Close)) => {
                let close = talk::read::<Close>(bytes).ok_or(unexpected)?;
                Err(DownReason::Refused(Box::new(close)))
            }
            (State::Greeting { .. }, Some(Kind::Welcome)) => {
                let welcome: Box<Welcome> = talk::read(bytes).map(Box::new).ok_or(unexpected.clone())?;
                if welcome.version != VERSION {
                    return Err(DownReason::Version(welcome.version));
                }
                if welcome.progress.iter().any(|progress| !progress.held.is_valid()) {
                    return Err(unexpected);
                }
                self.state = State::Online { since: now, ping_at: now + self.timing.heartbeat, answer_by: None };
                self.tell(Output::Up(welcome));
                Ok(())
            }
            (State::Online { .. }, Some(Kind::Ack)) => {
                let ack: Ack = talk::read(bytes).ok_or(unexpected)?;
                self.settle(now, &ack);
                self.tell(Output::Acked(ack));
                Ok(())
            }
            (State::Online { .. }, Some(Kind::Pong)) => {
                let pong = talk::read(bytes).ok_or(unexpected)?;
                // A hub that answers pings and acks nothing is as good as none: batches in flight keep their deadline.
                if self.in_flight.is_empty() {
                    self.answered(now);
                }
                self.tell(Output::HubTime(pong));
                Ok(())
            }
            (State::Online { .. }, Some(Kind::Want)) => {
                let want = talk::read(bytes).ok_or(unexpected)?;
                self.tell(Output::Wanted(want));
                Ok(())
            }
            (_, None) if skippable => Ok(()),
            _ => Err(unexpected),
        }
    }

    /// Takes acked batches out of flight. An ack for a batch never sent changes nothing here.
    fn settle(&mut self, now: Instant, ack: &Ack) {
        let is_acked =
            |seq: Seq| seq < ack.cumulative || ack.ranges.iter().any(|range| range.first <= seq && seq <= range.last);
        let before = self.in_flight.len();
        self.in_flight.retain(|batch| batch.stream != ack.stream || !is_acked(batch.seq));
        self.in_flight_bytes = self.in_flight.iter().map(|batch| batch.bytes).sum();
        if self.in_flight.len() < before {
            self.answered(now);
        }
    }

    fn answered(&mut self, now: Instant) {
        let waits = !self.in_flight.is_empty();
        if let State::Online { answer_by, .. } = &mut self.state {
            *answer_by = waits.then_some(now + self.timing.answer);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Down { dial_at } if dial_at <= now => {
                self.state = State::Dialling { until: now + self.timing.dial };
                self.tell(Output::Dial);
            }
            State::Dialling { until } | State::Greeting { until } if until <= now => {
                self.go_down(now, DownReason::Silent);
            }
            State::Online { answer_by: Some(by), .. } if by <= now => self.go_down(now, DownReason::Silent),
            State::Online { since, ping_at, answer_by } if ping_at <= now => {
                self.state = State::Online { since, ping_at: now + self.timing.heartbeat, answer_by };
                self.tell(Output::PingDue);
            }
            _ => {}
        }
    }

    /// When [`Client::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Down { dial_at } => Some(dial_at),
            State::Dialling { until } | State::Greeting { until } => Some(until),
            State::Online { ping_at, answer_by, .. } => Some(answer_by.map_or(ping_at, |by| by.min(ping_at))),
            State::Stopped => None,
        }
    }

    /// What to tell the world next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Dials at once where it would wait: what made the hub refuse has changed.
    pub fn redial(&mut self, now: Instant) {
        if let State::Down { dial_at } = &mut self.state {
            *dial_at = now;
        }
    }

    /// Says good-bye and never dials again.
    pub fn stop(&mut self, now: Instant) {
        if self.is_online() {
            self.say(talk::close_frames(CloseReason::Shutdown, ""));
        }
        if !matches!(self.state, State::Down { .. } | State::Stopped) {
            self.go_down(now, DownReason::Stopped);
        }
        self.state = State::Stopped;
    }

    fn go_down(&mut self, now: Instant, reason: DownReason) {
        if let State::Online { since, .. } = self.state {
            self.backoff.after_link(now - since);
        }
        let dial_at = match &reason {
            DownReason::Refused(close) if close.reason.is_final() => self.backoff.after_refusal(now),
            _ => self.backoff.after_failure(now),
        };
        self.state = State::Down { dial_at };
        self.assembler = Assembler::default();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.tell(Output::HangUp(reason));
    }

    fn say(&mut self, bytes: Vec<u8>) {
        self.tell(Output::Send(bytes));
    }

    fn tell(&mut self, output: Output) {
        // The queue is drained after every input, and one input yields fewer outputs than it holds: a chunk of acks
        // is at most 16 KiB. A peer that manages more loses the rest of its words, never our memory.
        let _ = self.outputs.push_back(output);
    }
}
