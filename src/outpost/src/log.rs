//! What the agent says on standard error, by how much it matters.

use hal::linux::log::{Field, Level, write};

/// Says that something does not work until a person acts.
pub(crate) fn error(message: &str, fields: &[Field<'_>]) {
    write(Level::Error, message, fields);
}

/// Says that something does not work at the moment.
pub(crate) fn warning(message: &str, fields: &[Field<'_>]) {
    write(Level::Warning, message, fields);
}

/// Says that the state changed.
pub(crate) fn info(message: &str, fields: &[Field<'_>]) {
    write(Level::Info, message, fields);
}
