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
//! # What to hand in
//!
//! A record is rare and comes all the same. In 30 days of 149 series of a load that is fitted to a busy host, and of 125 made up
//! with rhythms, bursts and nightly jobs, a series alarms three times at windows of five minutes and 0.7 times at windows of
//! an hour. So few series are marked, such as a person wants to hear about: memory that is available, the load over fifteen
//! minutes, room on file systems, temperature, connections. At windows of an hour these raise 0 to 3 alarms together.
//!
//! The host's score takes windows of five minutes of about fifteen metrics that carry the load: processor time by mode, load,
//! memory, bytes and time of disks, bytes of the network, context switches, forks, connections. That raises none in those 30
//! days, and 1 to 3 with a weekly job that doubles everything for an hour. What is handed in twice, as of several processors,
//! counts twice; all 149 raise more than three alarms a day.
//!
//! | module | what |
//! |---|---|
//! | [`series`] | one series: records of a seasonal residual, and of rarity |
//! | [`host`] | a host: squared seasonal deviations of all metrics |
//! | [`habit`] | what comes again each day or week |
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
pub mod habit;
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
