//! The host's process: see the crate's front page.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    outpost_hub::cli::run(std::env::args_os().skip(1))
}
