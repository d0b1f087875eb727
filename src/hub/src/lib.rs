//! The host's core.
//!
//! It is told the time and handed bytes, like the gateway's, with a peer's number on every input and output. It
//! never calls a store: it says what to commit and what to read, and an ack waits for the commit.
//!
//! ```text
//! bytes -> link::Server -> batch -> Commit { ticket } -> .. the store .. -> Committed { ticket } -> Ack -> bytes
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`hub`] | the core itself: one `step` |
//! | [`fleet`] | devices, their keys and names; enrolment tokens |
//! | [`fetches`] | what devices are asked for |
//! | [`session`] | one gateway's link and what of its journal is held |
//! | [`request`] | what an administrator may ask for, and the answers |
#![forbid(unsafe_code)]

pub mod fetches;
pub mod fleet;
pub mod hub;
pub mod request;
pub mod session;
#[cfg(test)]
mod stage;

pub use hub::Hub;
