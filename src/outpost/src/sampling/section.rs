//! Sections of a reading, from files that may be missing.

use std::io;

use agent::probe::{Reading, Source};
use hal::linux::kept_file::{self, Fit, KeptFile};

/// Appends one file's section. A file that is cut at its bound is counted.
pub(super) fn append_file(source: Source, instance: &str, file: &mut KeptFile, reading: &mut Reading) {
    let mut fit = Fit::Whole;
    append(source, instance, reading, |out| {
        fit = file.read_into(out)?;
        Ok(())
    });
    if fit == Fit::Cut {
        reading.refuse();
    }
}

/// Appends one section. What cannot be read is missing, which is normal, or there was no descriptor for it, which is counted.
pub(super) fn append(
    source: Source,
    instance: &str,
    reading: &mut Reading,
    fill: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) {
    if let Err(error) = reading.append(source, instance.as_bytes(), fill)
        && kept_file::is_exhausted(&error)
    {
        reading.refuse();
    }
}
