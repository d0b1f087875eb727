//! The gateway's core.
//!
//! It is told the time and handed bytes, and answers with what to keep, to send and to raise. It owns no clock
//! and no port: the gateway's process and the simulated world drive it in the same way.
//!
//! ```text
//! reading -> probe -> sampler -> batch ---> journal -> uplink -> link::Client -> bytes
//!           │            └--> summarizer ----^
//!           └--> watch <-----------┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`agent`] | the core itself: one `step` |
//! | [`probe`] | from the text of `/proc` and `/sys` to values of the catalogue |
//! | [`dictionary`] | which slot of a tick is which series |
//! | [`importance`] | how much a series matters |
//! | [`sampler`] | from values to batches of ticks |
//! | [`summary`] | from ticks to windows, and to batches of them |
//! | [`watch`] | what is not as it should be: troubles by name, and what never was |
//! | [`context`], [`extract`] | ticks around what happened, copied to go where ticks do not |
//! | [`shortfall`] | what a tick had no room for, said once |
//! | [`uplink`] | what goes over the link next |
//! | [`bearer`] | over which interface the link goes |
//! | [`tier`] | how good the link is |
//! | [`policy`] | what is sampled and sent on each tier |
//! | [`way`] | these three together |
//! | [`budget`] | what a bearer may cost, and the gate before it |
//! | [`meter`] | the same in the path that sends |
//! | [`clock`] | the civil clock as it is believed |
//! | [`timekeeper`] | what time it is, and how sure that is |
//! | [`question`], [`history`] | what a person on site may ask, and the answers from the journal |
#![forbid(unsafe_code)]

pub mod agent;
pub mod bearer;
pub mod budget;
pub mod clock;
pub mod context;
#[cfg(test)]
mod dice;
pub mod dictionary;
pub mod extract;
pub mod history;
pub mod importance;
pub mod meter;
pub mod policy;
pub mod probe;
pub mod question;
pub mod sampler;
pub mod shortfall;
pub mod summary;
pub mod tier;
pub mod timekeeper;
pub mod uplink;
pub mod watch;
pub mod way;

pub use agent::Agent;
