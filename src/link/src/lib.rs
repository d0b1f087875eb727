//! The uplink session, both ends, without a socket or a clock.
//!
//! ```text
//!            dial_at            connected           welcome
//!   Down ------------> Dialling ----------> Greeting -------> Online      client
//!    ^                    |                    |                 |
//!    +---- back-off ------+--------------------+-----------------+        lost, refused, or silent too long
//! ```
//!
//! A batch goes out when it is durable on the gateway and is forgotten there when the hub has said that it is durable at
//! the hub; what lies between is *in flight* and bounded. A link on which nothing is acked for too long is half open: the client
//! hangs up and dials again.
//!
//! | module | what |
//! |---|---|
//! | [`backoff`] | when to dial again |
//! | [`client`] | the gateway's end |
//! | [`server`] | the hub's end of one link |
//! | [`errand`] | one question and its answer on a link of its own: enrol, rotate, leave |
//! | [`channel`] | messages both ways over a stream or datagrams, under a window |
//! | [`outbox`] | what waits, cut into packets |
//! | [`receipt`] | what arrived |
//! | [`estimator`] | what the link bears |
//! | [`talk`] | messages to bytes and back |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod backoff;
pub mod channel;
pub mod client;
pub mod errand;
pub mod estimator;
pub mod outbox;
pub mod receipt;
pub mod server;
pub mod talk;

#[cfg(test)]
mod pair;
