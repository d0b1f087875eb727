//! The words of Outpost, and the bytes they become.
//!
//! Both ends of the link and both stores speak these types, so that a batch is encoded once, on the
//! gateway, and unpacked once, at the hub. Nothing here knows a clock, a socket or a disk.
//!
//! | module | what |
//! |---|---|
//! | [`limits`] | every capacity, with its unit and its reason |
//! | [`time`], [`id`] | instants and stamps; newtypes of numbers |
//! | [`class`], [`stream`] | how much a series matters; lanes, shelves and streams |
//! | [`metric`], [`series`] | the catalogue of host metrics; a metric with its labels |
//! | [`event`], [`trouble`] | what happened, as a value; what goes wrong again and again, by name |
//! | [`spent`] | what bytes on a link were for |
//! | [`ranges`] | a bounded set of sequence numbers |
//! | [`record`], [`batch`], [`window`] | one batch: its header and checksum; what its payload holds |
//! | [`version`] | which of their versions an end speaks |
//! | [`message`], [`frame`] | what the two ends say; how it is cut for the link |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod batch;
pub mod class;
pub mod event;
pub mod frame;
pub mod id;
pub mod limits;
pub mod message;
pub mod metric;
pub mod ranges;
pub mod record;
pub mod series;
pub mod spent;
pub mod stream;
pub mod time;
pub mod trouble;
pub mod version;
pub mod window;
