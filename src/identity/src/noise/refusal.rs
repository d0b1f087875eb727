//! Why a packet is refused. None of these is worth an answer: whoever is asked counts it, and goes on as before.

use std::fmt;

use crate::verify::WrongHub;

/// Why a message of a handshake is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It is no such message, is cut short, or comes when none is awaited.
    Malformed,
    /// It was not written for this key and this exchange, or was changed on the way.
    Unauthentic,
    /// The other end speaks with a key that it has not shown to be its own.
    Unproven,
    /// The hub that answered is not the one of the token.
    WrongHub(WrongHub),
}

/// Why a transport packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It comes so late that nobody remembers whether it was seen.
    Late {
        /// Its number.
        counter: u64,
        /// One more than the highest seen.
        end: u64,
    },
    /// It is no transport packet, or is cut short.
    Malformed,
    /// A packet of this number was opened before.
    Replayed {
        /// Its number.
        counter: u64,
    },
    /// It was not sealed for this session, or was changed on the way.
    Unauthentic,
}

/// The session has sealed as many packets as it may. Whoever heeds `Session::is_worn` never sees this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WornOut;

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Malformed => f.write_str("no such message is awaited"),
            HandshakeError::Unauthentic => f.write_str("the message is not for this key, or was changed on the way"),
            HandshakeError::Unproven => f.write_str("the other end does not prove that its key is its own"),
            HandshakeError::WrongHub(wrong) => wrong.fmt(f),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Late { counter, end } => write!(f, "packet {counter} comes too late, {end} is next"),
            OpenError::Malformed => f.write_str("no transport packet"),
            OpenError::Replayed { counter } => write!(f, "packet {counter} was seen before"),
            OpenError::Unauthentic => f.write_str("the packet is not of this session, or was changed on the way"),
        }
    }
}

impl fmt::Display for WornOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session has sealed all packets it may: shake hands again")
    }
}

impl std::error::Error for HandshakeError {}
impl std::error::Error for OpenError {}
impl std::error::Error for WornOut {}
