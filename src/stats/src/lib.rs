//! What is said of many numbers in few.
//!
//! | module | what |
//! |---|---|
//! | [`sketch`] | quantiles, from buckets that merge |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod sketch;
