//! The simulated world: everything that can happen to a gateway, in no time and from a seed.
//!
//! | module | what |
//! |---|---|
//! | [`rng`] | the one source of chance |
//! | [`disk`] | a folder that loses power, tears and garbles blocks, fills up and fails |
//! | [`power`] | a journal alone under that disk, and what must hold after every boot |
#![forbid(unsafe_code)]

pub mod disk;
pub mod power;
pub mod rng;
