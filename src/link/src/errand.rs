//! One question and its answer on a link of its own: enrol, rotate, leave.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::message::{Close, Kind};

use crate::client::DownReason;
use crate::talk::{self, Listener};

/// A question that was asked.
#[derive(Debug)]
pub struct Errand {
    answer: Kind,
    listener: Listener,
}

impl Errand {
    /// The errand, and the bytes to send. `answer` is the kind that ends it.
    pub fn new<T: Serialize>(question: Kind, body: &T, answer: Kind) -> (Errand, Vec<u8>) {
        (Errand { answer, listener: Listener::default() }, talk::frames(question, body))
    }

    /// Takes bytes of the other end. `None` until the answer is whole.
    ///
    /// Errors: the hub refused, or is none.
    pub fn receive<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<Option<T>, DownReason> {
        self.listener.push(bytes);
        let Some(framed) = self.listener.poll_message().map_err(DownReason::Garbage)? else { return Ok(None) };
        match Kind::from_number(framed.kind) {
            Some(kind) if kind == self.answer => {
                talk::read(&framed.bytes).map(Some).ok_or(DownReason::Unexpected(framed.kind))
            }
            Some(Kind::Close) => {
                let close: Close = talk::read(&framed.bytes).ok_or(DownReason::Unexpected(framed.kind))?;
                Err(DownReason::Refused(Box::new(close)))
            }
            _ => Err(DownReason::Unexpected(framed.kind)),
        }
    }
}
