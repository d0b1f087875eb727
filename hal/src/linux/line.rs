//! Lines on which a device speaks and nobody answers: a serial one, or a pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::{O_NOCTTY, O_NONBLOCK};

/// Opens a line to listen to; reading it never waits. Its speed and the like are as the system set them. It does not become the
/// terminal of this process, which would end with it when the device is pulled out.
///
/// Errors: there is none, or it may not be read.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NOCTTY | O_NONBLOCK).open(path)
}
