//! The host's process: owns the clock and moves the bytes.
//!
//! Everything that decides is in [`hub`]; everything that is kept is in [`store`]. Here are the sockets, the threads
//! that may block, the key files, and the command line, which talks to the serving process over a socket of its own.
//!
//! ```text
//! gateways ~~ TLS ~~> listener -> peer --+
//! gateways ~~ UDP ~~> datagram ----------+--> driver (Hub::step) --> store
//! outpost-hub fleet -> call -> socket -> desk --------------------->
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`args`], `options`, [`help`], [`cli`] | the command line: read, explained, carried out |
//! | [`server`] | the serving process, from open to closed |
//! | [`listener`], [`lobby`] | who comes in, and how many strangers at once |
//! | [`datagram`], `admission`, `sessions` | the same over datagrams: devices, machines with a token, and the keys between |
//! | [`peer`], [`window`] | one connection, and how much of its words may wait |
//! | [`driver`], [`store_handle`] | the task that owns the core; the store, opened again when the disk failed it |
//! | [`call`], [`socket`], [`desk`] | what the command line asks, where, and who answers |
//! | [`samples`], [`books`], [`notes`] | answers from the store, and what they lack |
//! | [`usage`] | what links carried, by day and by what it was for: found in the store, and drawn |
//! | [`fuzz`] | the door for datagrams, as a function of bytes |
//! | [`keys`], [`log`], [`table`] | key files; lines on stderr; tables |
#![forbid(unsafe_code)]

mod admission;
pub mod args;
pub mod books;
pub mod call;
pub mod cli;
pub mod datagram;
pub mod desk;
pub mod driver;
#[cfg(test)]
mod full_folder;
pub mod fuzz;
pub mod help;
pub mod keys;
pub mod listener;
pub mod lobby;
pub mod log;
#[cfg(test)]
mod machine;
pub mod notes;
mod options;
#[cfg(test)]
mod pair;
pub mod peer;
pub mod samples;
#[cfg(test)]
mod scratch;
pub mod server;
pub mod sessions;
pub mod socket;
pub mod store_handle;
pub mod table;
pub mod usage;
pub mod window;
