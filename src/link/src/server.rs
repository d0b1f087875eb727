//! The hub's end of one link.
//!
//! It knows frames, order and silence; who the peer is and what the hub answers is decided above it.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;
use wire::frame::{FrameError, Framed};
use wire::message::{
    About, Ack, Close, CloseReason, Enroll, Enrolled, Fetch, Hello, Kind, Ping, Pong, Rotate, SKIPPABLE_MIN, Want,
    Welcome,
};
use wire::record;
use wire::stream::Lane;
use wire::time::{Instant, Span, Stamp};
use wire::version::Versions;

use crate::channel::{Carrier, Channel};
use crate::estimator::Estimate;
use crate::receipt::Number;
use crate::talk;

/// How long a peer may take from the connection to its first words.
pub const GREET: Span = Span::seconds(30);

/// How long a peer may be silent beyond two of its heartbeats.
pub const SILENCE: Span = Span::seconds(60);

/// Bytes with which the shortest greeting over datagrams may be answered, so that a forged sender's address is no weapon: three times
/// what its packet had around them, less what the answer's has.
pub const ANSWER_BYTES_MIN: usize = 3 * 97 - 52;

/// What a peer said, whole and in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A gateway says who it is.
    Hello(Hello),
    /// What a device says of itself.
    About(About),
    /// A sealed record, not looked into yet.
    Batch(Vec<u8>),
    /// A sign of life.
    Ping(Ping),
    /// The longest pause of the gateway from here on.
    Heartbeat(Span),
    /// A machine wants to become a device.
    Enroll(Enroll),
    /// A device will speak with another key.
    Rotate(Rotate),
    /// A device goes for good.
    Leave,
    /// The peer says good-bye.
    Close(Close),
}

/// Why the hub's end gave a link up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The peer broke the protocol: what it did, for the log.
    Protocol(alloc::string::String),
    /// The peer was silent for too long.
    Silent,
    /// No version that both speak.
    Version {
        /// What the peer speaks.
        theirs: Versions,
        /// What this end speaks.
        ours: Versions,
    },
}

impl Problem {
    /// What the peer is told, beside the words.
    pub fn reason(&self) -> CloseReason {
        match self {
            Problem::Protocol(_) | Problem::Silent => CloseReason::Protocol,
            Problem::Version { .. } => CloseReason::Version,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Protocol(detail) => f.write_str(detail),
            Problem::Silent => f.write_str("silent for too long"),
            Problem::Version { theirs, ours } => write!(f, "device speaks {theirs}, hub speaks {ours}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Waiting { heartbeat: Span },
    Online { heartbeat: Span },
    Closed,
}

/// The hub's end of one link.
#[derive(Debug)]
pub struct Server {
    state: State,
    versions: Versions,
    /// The highest version of both ends, once the peer has said what it speaks.
    version: Option<u16>,
    /// The stamp of the hello, against which records were packed.
    greeted: Stamp,
    silent_at: Instant,
    channel: Channel,
    /// Whether the peer has shown that it hears this end: a recorded greeting can be played again by anyone.
    is_confirmed: bool,
    skipped_count: u64,
}

impl Server {
    /// A link that was just accepted, by a hub that speaks `versions`.
    pub fn new(now: Instant, carrier: Carrier, versions: Versions) -> Server {
        Server {
            state: State::Greeting,
            versions,
            version: None,
            greeted: Stamp::default(),
            silent_at: now + GREET,
            channel: Channel::new(now, carrier, Estimate::default()),
            is_confirmed: carrier == Carrier::Stream,
            skipped_count: 0,
        }
    }

    /// Hands every whole message in `bytes`, joined to what came before, to `each`. `number` is that of a datagram; the one that
    /// opened the link has 0.
    ///
    /// Errors: the peer broke the protocol. The link is closed; say why with [`Server::close`].
    pub fn receive(
        &mut self,
        now: Instant,
        number: Option<Number>,
        bytes: &[u8],
        mut each: impl FnMut(Heard),
    ) -> Result<(), Problem> {
        if self.state == State::Closed {
            return Ok(());
        }
        let Server { state, versions, version, greeted, silent_at, skipped_count, .. } = self;
        let mut hear = |framed: Framed| {
            if *state == State::Greeting && matches!(Kind::from_number(framed.kind), Some(Kind::Hello | Kind::Enroll)) {
                *version = Some(agree(*versions, &framed)?);
            }
            let Some(heard) = hear(state, greeted, framed)? else {
                *skipped_count += 1;
                return Ok(());
            };
            if let State::Waiting { heartbeat } | State::Online { heartbeat } = *state {
                // A heartbeat of years would keep a dead link for years.
                let pause = Span(heartbeat.0.min(Span::minutes(60 * 24).0));
                *silent_at = now + Span(2 * pause.0 + SILENCE.0);
            }
            each(heard);
            Ok(())
        };
        match number {
            None => self.channel.receive(now, bytes, &mut hear),
            Some(number) => {
                if number == 0 {
                    self.channel.confine(ANSWER_BYTES_MIN + 3 * bytes.len());
                } else if !self.is_confirmed {
                    self.is_confirmed = true;
                    self.channel.release();
                }
                self.channel.receive_datagram(now, number, bytes, &mut hear)
            }
        }
    }

    /// The version that both ends speak, once the peer has said which it knows.
    pub fn version(&self) -> Option<u16> {
        self.version
    }

    /// Messages of kinds that this version does not know and passed over since this was last asked.
    pub fn take_skipped_count(&mut self) -> u64 {
        core::mem::take(&mut self.skipped_count)
    }

    /// Whether the peer has shown that it hears this end. Until then nothing that it says may harm another link.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// Time passed: whether the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Problem> {
        self.channel.handle_timeout(now);
        if self.state != State::Closed && self.silent_at <= now { Err(Problem::Silent) } else { Ok(()) }
    }

    /// When [`Server::handle_timeout`] or [`Server::poll_packet`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.state != State::Closed)
            .then(|| self.channel.poll_timeout().map_or(self.silent_at, |at| at.min(self.silent_at)))
    }

    /// The next packet to send: bytes of a stream, or one datagram, the n-th of them with number n.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        Some(self.channel.poll_packet(now, &Lane::ALL)?.bytes)
    }

    /// Answers a hello.
    pub fn welcome(&mut self, welcome: &Welcome) {
        if let State::Waiting { heartbeat } = self.state {
            self.state = State::Online { heartbeat };
        }
        self.say(Kind::Welcome, welcome);
    }

    /// Whether the hello was answered.
    pub fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// Says that batches are durable.
    pub fn ack(&mut self, ack: &Ack) {
        self.say(Kind::Ack, ack);
    }

    /// Answers a ping.
    pub fn pong(&mut self, pong: &Pong) {
        self.say(Kind::Pong, pong);
    }

    /// Asks for a generation of the dictionary.
    pub fn want(&mut self, want: &Want) {
        self.say(Kind::Want, want);
    }

    /// Asks for ticks.
    pub fn fetch(&mut self, fetch: &Fetch) {
        self.say(Kind::Fetch, fetch);
    }

    /// Answers an enrolment.
    pub fn enrolled(&mut self, enrolled: &Enrolled) {
        self.say(Kind::Enrolled, enrolled);
    }

    /// Gives an answer that has no body: [`Kind::Rotated`] or [`Kind::Left`].
    pub fn done(&mut self, kind: Kind) {
        self.say(kind, &());
    }

    /// Gives the link up. What is polled from now on tells the peer why; send it, then close.
    pub fn close(&mut self, reason: CloseReason, detail: &str) {
        self.state = State::Closed;
        self.say(Kind::Close, &talk::close(reason, detail));
    }

    fn say<T: Serialize>(&mut self, kind: Kind, message: &T) {
        self.channel.send(Lane::Urgent, kind, talk::body(message));
    }
}

/// The version that both speak. Greetings begin with what their sender speaks, whatever else they hold in versions not known here.
fn agree(ours: Versions, framed: &Framed) -> Result<u16, Problem> {
    let theirs: Versions = talk::read(&framed.bytes).ok_or_else(|| malformed(framed.kind))?;
    ours.agreed(theirs).ok_or(Problem::Version { theirs, ours })
}

fn malformed(kind: u8) -> Problem {
    Problem::Protocol(format!("message of kind {kind} is malformed"))
}

/// What a message says; none when it is of a kind that may be passed over.
fn hear(state: &mut State, greeted: &mut Stamp, framed: Framed) -> Result<Option<Heard>, Problem> {
    let number = framed.kind;
    let nonsense = || malformed(number);
    let bytes = &framed.bytes;
    Ok(Some(match (*state, Kind::from_number(framed.kind)) {
        (State::Greeting, Some(Kind::Hello)) => {
            let hello: Hello = talk::read(bytes).ok_or_else(nonsense)?;
            *state = State::Waiting { heartbeat: hello.heartbeat };
            *greeted = hello.now;
            Heard::Hello(hello)
        }
        (State::Greeting, Some(Kind::Enroll)) => Heard::Enroll(talk::read(bytes).ok_or_else(nonsense)?),
        (State::Greeting, Some(Kind::Rotate)) => Heard::Rotate(talk::read(bytes).ok_or_else(nonsense)?),
        (State::Greeting, Some(Kind::Leave)) => Heard::Leave,
        (State::Waiting { .. } | State::Online { .. }, Some(Kind::Batch)) => {
            let record = record::unpack(&framed.bytes, greeted);
            Heard::Batch(record.map_err(|error| Problem::Protocol(format!("{error}")))?)
        }
        (State::Online { .. }, Some(Kind::Heartbeat)) => {
            let heartbeat = talk::read(bytes).ok_or_else(nonsense)?;
            *state = State::Online { heartbeat };
            Heard::Heartbeat(heartbeat)
        }
        (State::Online { .. }, Some(Kind::About)) => Heard::About(talk::read(bytes).ok_or_else(nonsense)?),
        (State::Waiting { .. } | State::Online { .. }, Some(Kind::Ping)) => {
            Heard::Ping(talk::read(bytes).ok_or_else(nonsense)?)
        }
        (_, Some(Kind::Close)) => Heard::Close(talk::read(bytes).ok_or_else(nonsense)?),
        (_, None) if number >= SKIPPABLE_MIN => return Ok(None),
        (_, None) => {
            return Err(Problem::Protocol(format!("this hub does not know messages of kind {number}: upgrade it")));
        }
        (_, Some(kind)) => return Err(Problem::Protocol(format!("message {kind:?} out of place"))),
    }))
}

impl From<FrameError> for Problem {
    fn from(error: FrameError) -> Problem {
        Problem::Protocol(format!("{error}"))
    }
}
