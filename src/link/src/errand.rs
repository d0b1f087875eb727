//! One question and its answer on a link of its own: enrol, rotate, leave.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::frame::{self, Assembler, Framed};
use wire::message::{Close, Kind};

use crate::client::DownReason;
use crate::talk::{self, Listener};

/// A question that was asked.
#[derive(Debug)]
pub struct Errand {
    answer: Kind,
    listener: Listener,
    assembler: Assembler,
}

impl Errand {
    /// The errand, and the bytes to send. `answer` is the kind that ends it.
    pub fn new<T: Serialize>(question: Kind, body: &T, answer: Kind) -> (Errand, Vec<u8>) {
        let errand = Errand { answer, listener: Listener::default(), assembler: Assembler::default() };
        (errand, talk::frames(question, body))
    }

    /// Takes bytes of the other end. `None` until the answer is whole.
    ///
    /// Errors: the hub refused, or is none.
    pub fn receive<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<Option<T>, DownReason> {
        self.listener.push(bytes);
        let Some(framed) = self.listener.poll_message().map_err(DownReason::Garbage)? else { return Ok(None) };
        self.read(&framed).map(Some)
    }

    /// As [`Errand::receive`], of one datagram. The same may come again.
    pub fn receive_datagram<T: DeserializeOwned>(&mut self, datagram: &[u8]) -> Result<Option<T>, DownReason> {
        for frame in frame::frames(datagram) {
            let frame = frame.map_err(DownReason::Garbage)?;
            if frame.head.kind != Kind::Receipt as u8
                && let Some(framed) = self.assembler.take(frame).map_err(DownReason::Garbage)?
            {
                return self.read(&framed).map(Some);
            }
        }
        Ok(None)
    }

    fn read<T: DeserializeOwned>(&self, framed: &Framed) -> Result<T, DownReason> {
        match Kind::from_number(framed.kind) {
            Some(kind) if kind == self.answer => talk::read(&framed.bytes).ok_or(DownReason::Unexpected(framed.kind)),
            Some(Kind::Close) => {
                let close: Close = talk::read(&framed.bytes).ok_or(DownReason::Unexpected(framed.kind))?;
                Err(DownReason::Refused(Box::new(close)))
            }
            _ => Err(DownReason::Unexpected(framed.kind)),
        }
    }
}
