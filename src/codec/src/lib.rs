//! Integers of many series, tick by tick, to few bytes and back.
//!
//! A *tick* is one instant and, for each slot, a value or nothing. A *run* is a sequence of ticks that share a model: the
//! [`run::Encoder`] and the [`run::Decoder`] hold the same state after the same ticks, so a batch of one tick is as dense as
//! a batch of an hour. Opening a run forgets the state; its first tick then carries whole values and is called the keyframe.
//!
//! This crate knows integers and slots, none of our words: no metric, no journal, no clock.
//!
//! ```text
//! values -> relation (what other slots say) -> model (what the slot itself says) -> bit (how sure) -> range (bytes)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`run`] | tick-major runs: what the journal holds and the link carries |
//! | [`block`] | series-major blocks: what a chart reads |
//! | [`near`] | fewer bits for values that need not be exact, before they are encoded |
//! | `model` | what both ends learn of the slots, and one tick's way through it |
//! | `relation` | sums of other slots' changes that predict a slot's, found by the encoder and said in the stream |
//! | `bit` | adaptive probabilities and their mixing |
//! | `range` | the binary range coder |
//! | [`divisor`] | what changes are multiples of |
//! | [`varint`] | unsigned integers in one to ten bytes, for the frames around it |
//!
//! # Why not a library
//!
//! Bytes a sample on 220 ticks of a busy host at ten seconds, the first 150 not counted; the libraries keep one stream of
//! delta varints, tick after tick, flushed for each batch:
//!
//! | | 149 integers of /proc, 1 tick a batch | 6 | 185 series of node_exporter, 1 | 6 |
//! |---|---|---|---|---|
//! | this | 0.68 | 0.67 | 0.64 | 0.63 |
//! | zstd 19 | 1.40 | 1.27 | 1.33 | 1.15 |
//! | deflate 9 | 1.39 | 1.30 | 1.32 | 1.18 |
//! | zstd 3 | 1.47 | 1.32 | 1.44 | 1.20 |
//! | delta varints alone | 1.65 | 1.65 | 1.74 | 1.74 |
//!
//! Half the bytes, in a hundred kilobytes of state and no C. Of the parts, the relations save a fifth, the grain a
//! twentieth on /proc and a fifth on node_exporter's bytes, and weights that learn a hundredth.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bit;
pub mod block;
pub mod divisor;
mod model;
pub mod near;
mod range;
mod relation;
pub mod run;
pub mod varint;
