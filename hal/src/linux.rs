//! What is Linux about the machine.

pub mod clock;
pub mod folder;
pub mod socket;
