//! What the ports hand to the core's task: one bounded queue for all of them.

use agent::bearer::choice::Facts;
use agent::clock::Told;
use agent::probe::Reading;
use agent::question::{Answer, Question};
use link::channel::Carrier;
use link::receipt::Number;
use smol::channel::Sender;
use wire::time::Instant;

/// Messages that wait for the core. A port that finds no room waits; only ticks do not, they are counted as missed.
pub(crate) const QUEUE_COUNT_MAX: usize = 64;

/// Readings in flight: one at the core while the next is taken.
pub(crate) const READING_COUNT_MAX: usize = 2;

/// What a port tells the core's task.
#[derive(Debug)]
pub(crate) enum Message {
    /// A person on site asks.
    Ask {
        /// What.
        question: Question,
        /// Where the answer goes. Nobody may wait there any more.
        answer: Sender<Answer>,
    },
    /// An interface that may carry the link appeared or changed; no facts hold of one that is no more.
    Interface {
        /// Its name.
        name: String,
        /// What holds of it.
        facts: Option<Facts>,
    },
    /// Something happened to a connection.
    Link {
        /// Which one: what an older one has to say no longer counts.
        connection: u32,
        /// What.
        event: LinkEvent,
    },
    /// Ticks were due and could not be taken.
    Missed(u32),
    /// The device has another key to show to the hub.
    Redial,
    /// The settings or the enrolment changed.
    Reload,
    /// The process is asked to end.
    Stop,
    /// The machine was read.
    Tick {
        /// When reading began.
        at: Instant,
        /// What was read.
        reading: Box<Reading>,
    },
    /// A receiver of satellites or a time server told the time.
    Told(Told),
}

/// What happens to a connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It stands, or datagrams can be sent.
    Connected(Carrier),
    /// It has carried so many bytes, as whole IP packets both ways.
    CountedConnection(u64),
    /// The interface under it has, for every program.
    CountedInterface {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: u64,
    },
    /// A datagram arrived.
    Datagram(Number, Vec<u8>),
    /// It is gone, and why, unless this end gave it up.
    Disconnected(Option<String>),
    /// It never came to be; why, which the log has already.
    NotConnected(String),
    /// Somebody says that the hub has forgotten the session.
    Forgotten,
    /// Bytes arrived.
    Received(Vec<u8>),
}
