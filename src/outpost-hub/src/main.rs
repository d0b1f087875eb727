//! The host's process: see the crate's front page.
#![forbid(unsafe_code)]

fn main() {}
