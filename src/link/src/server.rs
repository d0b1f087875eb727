//! The hub's end of one link.
//!
//! It knows frames, order and silence; who the peer is and what the hub answers is decided above it.

use alloc::vec::Vec;

use wire::frame::Assembler;
use wire::message::{Ack, Close, CloseReason, Enroll, Enrolled, Hello, Kind, Ping, Pong, Rotate, Want, Welcome};
use wire::time::{Instant, Span};

use crate::talk;

/// How long a peer may take from the connection to its first words.
pub const GREET: Span = Span::seconds(30);

/// How long a peer may be silent beyond two of its heartbeats.
pub const SILENCE: Span = Span::seconds(60);

/// What a peer said, whole and in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A gateway says who it is.
    Hello(Hello),
    /// A sealed record, not looked into yet.
    Batch(Vec<u8>),
    /// A sign of life.
    Ping(Ping),
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
    silent_at: Instant,
    assembler: Assembler,
}

impl Server {
    /// A link that was just accepted.
    pub fn new(now: Instant) -> Server {
        Server { state: State::Greeting, silent_at: now + GREET, assembler: Assembler::default() }
    }

    /// Hands every whole message in `bytes`, joined to what came before, to `each`.
    ///
    /// Errors: the peer broke the protocol. The link is closed; send [`Server::close`]'s bytes.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], mut each: impl FnMut(Heard)) -> Result<(), Problem> {
        if self.state == State::Closed {
            return Ok(());
        }
        self.assembler.push(bytes);
        loop {
            match self.assembler.poll_message() {
                Ok(Some(framed)) => {
                    let nonsense = || Problem::Protocol(alloc::format!("message of kind {} is malformed", framed.kind));
                    let bytes = framed.bytes;
                    let heard = match (self.state, Kind::from_number(framed.kind)) {
                        (State::Greeting, Some(Kind::Hello)) => {
                            let hello: Hello = talk::read(bytes).ok_or_else(nonsense)?;
                            self.state = State::Waiting { heartbeat: hello.heartbeat };
                            Heard::Hello(hello)
                        }
                        (State::Greeting, Some(Kind::Enroll)) => Heard::Enroll(talk::read(bytes).ok_or_else(nonsense)?),
                        (State::Greeting, Some(Kind::Rotate)) => Heard::Rotate(talk::read(bytes).ok_or_else(nonsense)?),
                        (State::Greeting, Some(Kind::Leave)) => Heard::Leave,
                        (State::Waiting { .. } | State::Online { .. }, Some(Kind::Batch)) => {
                            Heard::Batch(bytes.to_vec())
                        }
                        (State::Waiting { .. } | State::Online { .. }, Some(Kind::Ping)) => {
                            Heard::Ping(talk::read(bytes).ok_or_else(nonsense)?)
                        }
                        (_, Some(Kind::Close)) => Heard::Close(talk::read(bytes).ok_or_else(nonsense)?),
                        (_, None) if framed.skippable => continue,
                        (_, kind) => {
                            let kind =
                                kind.map_or(alloc::format!("{}", framed.kind), |kind| alloc::format!("{kind:?}"));
                            return Err(Problem::Protocol(alloc::format!("message {kind} out of place")));
                        }
                    };
                    if let State::Waiting { heartbeat } | State::Online { heartbeat } = self.state {
                        // A heartbeat of years would keep a dead link for years.
                        let pause = Span(heartbeat.0.min(Span::minutes(60 * 24).0));
                        self.silent_at = now + Span(2 * pause.0 + SILENCE.0);
                    }
                    each(heard);
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(Problem::Protocol(alloc::format!("{error}"))),
            }
        }
    }

    /// Time passed: whether the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Problem> {
        if self.state != State::Closed && self.silent_at <= now { Err(Problem::Silent) } else { Ok(()) }
    }

    /// When [`Server::handle_timeout`] has something to say.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.state != State::Closed).then_some(self.silent_at)
    }

    /// The bytes of the answer to a hello.
    pub fn welcome(&mut self, welcome: &Welcome) -> Vec<u8> {
        if let State::Waiting { heartbeat } = self.state {
            self.state = State::Online { heartbeat };
        }
        talk::frames(Kind::Welcome, welcome)
    }

    /// Whether the hello was answered.
    pub fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// The bytes that say that batches are durable.
    pub fn ack(&self, ack: &Ack) -> Vec<u8> {
        talk::frames(Kind::Ack, ack)
    }

    /// The bytes of the answer to a ping.
    pub fn pong(&self, pong: &Pong) -> Vec<u8> {
        talk::frames(Kind::Pong, pong)
    }

    /// The bytes that ask for a generation of the dictionary.
    pub fn want(&self, want: &Want) -> Vec<u8> {
        talk::frames(Kind::Want, want)
    }

    /// The bytes of the answer to an errand.
    pub fn enrolled(&self, enrolled: &Enrolled) -> Vec<u8> {
        talk::frames(Kind::Enrolled, enrolled)
    }

    /// The bytes of an answer that has no body: [`Kind::Rotated`] or [`Kind::Left`].
    pub fn done(&self, kind: Kind) -> Vec<u8> {
        talk::frames(kind, &())
    }

    /// Gives the link up. The bytes tell the peer why; write them, then close.
    pub fn close(&mut self, reason: CloseReason, detail: &str) -> Vec<u8> {
        self.state = State::Closed;
        talk::close_frames(reason, detail)
    }
}
