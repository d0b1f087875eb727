//! One walk over all processes.
//!
//! It is the costly part of sampling, three calls for each process, so it has an interval of its own. Of each
//! `/proc/<pid>/stat` only the fields up to the resident memory are kept.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The field `rss`, the last one kept (`proc_pid_stat(5)`).
const FIELD_COUNT: usize = 24;

/// Bytes read of a process: a name of 64 characters, each escaped by four, and 22 numbers of 20 digits.
const STAT_BYTES_MAX: usize = 1024;

/// Walks over the processes below one `/proc`.
#[derive(Debug)]
pub struct Walk {
    proc: PathBuf,
    pids: Vec<u32>,
    process_count_max: usize,
}

impl Walk {
    /// Walks over the processes below `proc`, no more than `process_count_max` of them.
    pub fn new(proc: &Path, process_count_max: usize) -> Walk {
        Walk { proc: proc.to_owned(), pids: Vec::new(), process_count_max }
    }

    /// Appends a line for each process, in the order of pid, and `skipped <count>` if some were left out.
    ///
    /// A process that ends during the walk is not in it. Errors: the folder cannot be read; nothing was appended then.
    pub fn read_into(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.pids.clear();
        for entry in fs::read_dir(&self.proc)? {
            let name = entry?.file_name();
            self.pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        self.pids.sort_unstable();
        let mut skipped_count = self.pids.len().saturating_sub(self.process_count_max);
        let mut path = OsString::new();
        for pid in self.pids.iter().take(self.process_count_max) {
            let mut stat = [0; STAT_BYTES_MAX];
            path.clear();
            path.push(&self.proc);
            write!(path, "/{pid}/stat").expect("a string takes every byte");
            match File::open(&path).and_then(|mut file| file.read(&mut stat)) {
                Ok(count) => match fields(&stat[..count]) {
                    Some(fields) => {
                        out.extend_from_slice(fields);
                        out.push(b'\n');
                    }
                    None => skipped_count += 1,
                },
                // No descriptor left, most likely. What has ended was not skipped.
                Err(error) => skipped_count += usize::from(!is_ended(&error)),
            }
        }
        if skipped_count > 0 {
            writeln!(out, "skipped {skipped_count}")?;
        }
        Ok(())
    }
}

fn is_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// The first fields of a process' line. The name, field 2, is in brackets and may hold any of them.
fn fields(stat: &[u8]) -> Option<&[u8]> {
    const NAME_FIELD: usize = 2;
    let name_end = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut ends = stat[name_end..].iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| name_end + at);
    // The space at index 0 ends the name, the one at index n ends field 2 + n.
    ends.nth(FIELD_COUNT - NAME_FIELD).map(|end| &stat[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::folder::tests::Scratch;

    const BOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/proc/pi4/proc");

    fn walk(proc: &Path, process_count_max: usize) -> String {
        let mut out = Vec::new();
        Walk::new(proc, process_count_max).read_into(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn processes_come_in_the_order_of_pid_with_their_first_fields() {
        let text = walk(Path::new(BOARD), 100);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 7);
        assert!(lines[0].starts_with("1 (systemd) S 1 "), "{}", lines[0]);
        assert!(lines[5].starts_with("903 (node-red (main)) S "), "{}", lines[5]);
        assert!(lines.iter().all(|line| line.split(')').next_back().unwrap().split(' ').count() == FIELD_COUNT - 1));
        assert!(lines[4].ends_with(" 15822848 1730"), "{}", lines[4]);
    }

    #[test]
    fn what_there_is_no_room_for_is_said() {
        let text = walk(Path::new(BOARD), 2);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("\nskipped 5\n"), "{text}");
    }

    #[test]
    fn this_process_is_among_the_real_ones() {
        assert!(walk(Path::new("/proc"), 1 << 16).contains(&format!("\n{} (", std::process::id())));
    }

    #[test]
    fn a_process_that_ended_is_left_out_and_an_odd_one_is_said() {
        let scratch = Scratch::new();
        for pid in ["7", "8", "x9"] {
            fs::create_dir_all(scratch.0.join(pid)).unwrap();
        }
        fs::write(scratch.0.join("8/stat"), "8 (cut short) S 1").unwrap();
        assert_eq!(walk(&scratch.0, 9), "skipped 1\n");
        assert!(Walk::new(Path::new("/nowhere"), 9).read_into(&mut Vec::new()).is_err());
    }
}
