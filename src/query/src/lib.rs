//! One question about series and its answer, the same on site and at the hub.
//!
//! A gateway is asked by the person who stands beside it, the hub by everyone else; both read the question, place the
//! samples and print the answer with this crate. It knows names, labels, numbers and milliseconds, none of our words:
//! no device, no batch, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`selector`] | which series are meant: `node_load1{instance="gw-1"}`, `rate(..[5m])` |
//! | [`counter`] | what a counter grew by although it fell |
//! | [`duration`], [`time`] | spans and moments as people write them; the calendar in UTC |
//! | [`series`] | series with values, and an answer made of them |
//! | [`step`] | samples on a grid of steps, and rates |
//! | [`suggest`] | names near to one that was not found |
//! | [`mod@unit`], [`render`] | numbers with their unit; answers as a table, JSON or CSV |
//! | [`fuzz`] | entry points for fuzzing |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod counter;
pub mod duration;
pub mod fuzz;
pub mod render;
pub mod selector;
pub mod series;
pub mod step;
pub mod suggest;
pub mod time;
pub mod unit;
