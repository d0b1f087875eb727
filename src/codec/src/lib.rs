//! Integers of many series, tick by tick, to few bytes and back.
//!
//! A *tick* is one instant and, for each slot, a value or nothing. A *run* is a sequence of ticks that
//! share a model: the [`run::Encoder`] and the [`run::Decoder`] hold the same state after the same
//! ticks, so a message of one tick is as dense as a message of an hour. Opening a run forgets the
//! state; its first tick then carries whole values and is called the keyframe.
//!
//! This crate knows integers and slots, none of our words: no metric, no batch, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`varint`] | unsigned and zigzag integers in one to ten bytes |
//! | [`run`] | tick-major runs: what the journal holds and the link carries |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod run;
pub mod varint;
