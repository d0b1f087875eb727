//! How large the terminal is.

use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines that are seen at a time.
    pub row_count: usize,
    /// Characters in a line.
    pub column_count: usize,
}

/// What a terminal has that does not say how large it is, as at the end of a serial line: that of a VT100.
pub const DEFAULT: Size = Size { row_count: 24, column_count: 80 };

/// The size of the terminal behind `file`; [`DEFAULT`] when it is none, or does not say.
///
/// Source: `TIOCGWINSZ(2const)`.
pub fn size(file: &impl AsFd) -> Size {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    #[expect(unsafe_code, reason = "nix wraps no TIOCGWINSZ")]
    // SAFETY: the kernel writes one `winsize` to `size`, which outlives the call, and keeps no pointer.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if result != 0 || size.ws_row == 0 || size.ws_col == 0 {
        return DEFAULT;
    }
    Size { row_count: size.ws_row.into(), column_count: size.ws_col.into() }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_no_terminal_has_the_size_of_the_oldest() {
        assert_eq!(size(&File::open("/dev/null").unwrap()), DEFAULT);
    }

    #[test]
    fn a_terminal_that_does_not_say_has_it_too() {
        // A new pseudo-terminal has no rows until someone gives it some.
        if let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") {
            assert_eq!(size(&terminal), DEFAULT);
        }
    }
}
