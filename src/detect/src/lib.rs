//! What is not as it was, told while it happens, in a few hundred bytes a series.
//!
//! Two questions, each with an answer of its own, because a detector that is good at the one is poor at the other:
//!
//! * [`series::Detector`]: one series does something that it never did. Few alarms, each worth a person's look.
//! * [`host::HostScore`]: the host as a whole is not itself. Deviations that are small in each metric and simultaneous in
//!   many, added up, with the metrics that carry them.
//!
//! This crate knows numbers and seconds, none of our words: no metric's name, no event, no clock. What it is handed is a
//! level or a rate; a counter is made a rate before. Everything is one constant set of parameters, in steps of whatever the
//! caller calls a step (five minutes is what they were chosen at); they stand beside the code that they steer. It is single
//! precision throughout, with `libm`'s logarithm, so a trace is the same on every machine.
//!
//! | module | what |
//! |---|---|
//! | [`series`] | one series: records of a seasonal residual, and of rarity |
//! | [`host`] | a host: squared seasonal deviations of all metrics |
//! | [`season`] | what the time of day leads to expect |
//! | [`envelope`] | between which values something has been, slowly forgotten |
//! | [`rarity`] | how seldom a value was near this one |
//! | [`mean`] | an average that forgets |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod envelope;
pub mod host;
pub mod mean;
pub mod rarity;
pub mod season;
pub mod series;

/// What of a value counts: single precision, far from where its products overflow. `None` is no value.
fn measured(value: Option<f64>) -> Option<f32> {
    const FARTHEST: f64 = 1e30;
    value.filter(|value| value.is_finite()).map(|value| value.clamp(-FARTHEST, FARTHEST) as f32)
}
