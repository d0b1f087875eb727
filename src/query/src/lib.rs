//! One question about series and its answer, the same on site and at the hub.
//!
//! A gateway is asked by the person who stands beside it, the hub by everyone else; both read the question, place the
//! samples and print the answer with this crate. It knows names, labels, numbers and milliseconds, none of our words:
//! no device, no batch, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`selector`] | which series are meant: `node_load1{instance="gw-1"}`, `rate(..[5m])` |
//! | [`duration`] | spans: `30s`, `1h30m`, `7d` |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod duration;
pub mod selector;
