//! The gateway's core.
//!
//! It is told the time and handed bytes, and answers with what to keep, to send and to raise. It owns no clock
//! and no port.
//!
//! | module | what |
//! |---|---|
//! | [`probe`] | from the text of `/proc` and `/sys` to values of the catalogue |
#![forbid(unsafe_code)]

pub mod probe;
