//! The host's process: owns the clock and moves the bytes.
//!
//! Everything that decides is in [`hub`]; everything that is kept is in [`store`]. Here are the sockets, the threads that may
//! block, the key files, and the command line, which talks to the serving process over a socket of its own.
//!
//! ```text
//! gateways ~~ TLS ~~> listener -> peer --+
//!                                        +--> driver (Hub::step) --> store
//! outpost-hub fleet -> call -> socket -> desk --------------------->
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`keys`], [`log`], [`table`] | key files; lines on stderr; tables |
#![forbid(unsafe_code)]

pub mod keys;
pub mod lobby;
pub mod log;
#[cfg(test)]
mod scratch;
pub mod table;
