//! What the kernel says: `/dev/kmsg`, a record for each read.
//!
//! Source: `Documentation/ABI/testing/dev-kmsg`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::libc::O_NONBLOCK;

/// Bytes of one record at its longest: `CONSOLE_EXT_LOG_MAX` of the kernel's `printk`, a read with less of them fails.
const RECORD_BYTES_MAX: usize = 8192;

/// Records that are read at a time; the rest is for the next time. The kernel keeps some thousands.
const RECORD_COUNT_MAX: usize = 256;

/// The log from here on: what was said before the first look is history.
#[derive(Debug)]
pub struct KernelLog {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Open(File),
    /// There is none, as in a container, or we may not read it.
    Refused,
}

impl KernelLog {
    /// The log at `path`, which is not opened yet.
    pub fn new(path: PathBuf) -> KernelLog {
        KernelLog { path, state: State::New }
    }

    /// Appends the records that came since the last call, each with its line end; nothing the first time. Never waits.
    ///
    /// What the kernel has overwritten meanwhile is passed over.
    pub fn read_into(&mut self, out: &mut Vec<u8>) {
        if let State::New = self.state {
            self.state = self.open().map_or(State::Refused, State::Open);
            return;
        }
        let State::Open(file) = &mut self.state else { return };
        let mut record = [0; RECORD_BYTES_MAX];
        for _ in 0..RECORD_COUNT_MAX {
            match file.read(&mut record) {
                Ok(0) => return,
                Ok(length) => out.extend_from_slice(&record[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::BrokenPipe) => {}
                Err(_) => return,
            }
        }
    }

    fn open(&self) -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&self.path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_said_before_the_first_look_is_not_read_and_what_comes_is_read_once() {
        let path = std::env::temp_dir().join(format!("outpost-kmsg-{}", std::process::id()));
        std::fs::write(&path, "6,1,0,-;booted\n").unwrap();
        let mut log = KernelLog::new(path.clone());
        let mut read = || {
            let mut out = Vec::new();
            log.read_into(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(read(), "");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"3,2,5,-;mmc0: error -110\n").unwrap();
        assert_eq!([read(), read()], ["3,2,5,-;mmc0: error -110\n", ""]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_machine_without_a_log_has_nothing_to_say() {
        let mut log = KernelLog::new("/nowhere/kmsg".into());
        let mut out = Vec::new();
        (0..3).for_each(|_| log.read_into(&mut out));
        assert_eq!(out, []);
    }
}
