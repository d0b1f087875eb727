//! `data`: what a device's links carried.

use std::path::Path;

use crate::args::UsageFormat;
use crate::call::{Call, Outcome, UsageCall};
use crate::cli::{ask, nonsense, say_notes, show, show_json};
use crate::usage::{rows, screen, svg};

/// Shows what a device's links carried.
pub fn data(folder: &Path, call: UsageCall, format: UsageFormat) -> Result<(), String> {
    let Outcome::Usage(found) = ask(folder, &Call::Usage(call))? else { return Err(nonsense()) };
    if format != UsageFormat::Json {
        say_notes(&found.notes);
    }
    match format {
        UsageFormat::Csv => show(&rows::csv(&found)),
        UsageFormat::Json => show_json(&rows::shown(&found)),
        UsageFormat::Screen => show(&screen::render(&found)),
        UsageFormat::Svg => show(&svg::render(&found)),
    }
}
