//! A text file of the kernel that is read again and again.
//!
//! Opening a file below `/proc` or `/sys` costs more than reading it, so it is kept open and read from its beginning each
//! time. Descriptors are shared with the rest of the process: how many may be kept is counted by [`Handles`], and
//! when the process has none left, files are given back one after the other and opened for each reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::libc;

/// Readings for which a file that is not there is not asked for again: other boards have it, or a module that may be loaded later.
const ABSENT_READING_COUNT: u16 = 60;

/// Bytes asked for in one call. `/proc/stat` of a machine with 64 cores fits.
const CHUNK_BYTES: usize = 16 * 1024;

/// How the kernel renders a file, which says when it was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Record by record, a page at a time: only a call that returns nothing is the end. `/proc/diskstats`,
    /// `/proc/net/dev`, `/proc/vmstat` and mounts are such.
    Records,
    /// In one piece (`single_open`, or an attribute of sysfs): a call that returns less than was asked for is
    /// the end, which saves one.
    Whole,
}

/// Whether a file fit its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fit {
    /// It is longer than its bound; what was appended ends with a line.
    Cut,
    /// All of it was appended.
    Whole,
}

/// How many files are kept open, and how many may be.
#[derive(Debug)]
pub struct Handles {
    held_count: AtomicUsize,
    held_count_max: AtomicUsize,
}

/// One file.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    shape: Shape,
    bytes_max: usize,
    handles: Arc<Handles>,
    held: Option<Held>,
    rest_count: u16,
}

#[derive(Debug)]
struct Held {
    file: File,
    handles: Arc<Handles>,
}

impl Handles {
    /// Up to `held_count_max` files may be kept open.
    pub fn new(held_count_max: usize) -> Arc<Handles> {
        Arc::new(Handles { held_count: AtomicUsize::new(0), held_count_max: AtomicUsize::new(held_count_max) })
    }

    /// Files kept open at the moment.
    pub fn held_count(&self) -> usize {
        self.held_count.load(Relaxed)
    }

    /// Sets how many may be kept. Those above are closed when they are read next.
    pub fn limit(&self, held_count_max: usize) {
        self.held_count_max.store(held_count_max, Relaxed);
    }

    /// The process or the system has no descriptor left: half of those kept are given back.
    fn shrink(&self) {
        self.limit(self.held_count() / 2);
    }

    /// Whether all files kept open, and `more`, are within the limit.
    fn has_room(&self, more: usize) -> bool {
        self.held_count() + more <= self.held_count_max.load(Relaxed)
    }
}

impl KeptFile {
    /// A file that is opened when it is read first. No more than `bytes_max` of it are ever read.
    pub fn new(path: PathBuf, shape: Shape, bytes_max: usize, handles: &Arc<Handles>) -> KeptFile {
        KeptFile { path, shape, bytes_max, handles: Arc::clone(handles), held: None, rest_count: 0 }
    }

    /// Appends what the file says now.
    ///
    /// Errors: those of opening and reading; nothing was appended then. That a file is missing is normal, and it is
    /// asked for again only after a while. An attribute that does not apply at the moment (`carrier` of an
    /// interface that is down is `EINVAL`) stays open. After one that [`is_gone`] the next reading opens what has its
    /// name by then, which may be of something else.
    pub fn read_into(&mut self, out: &mut Vec<u8>) -> io::Result<Fit> {
        if self.rest_count > 0 {
            self.rest_count -= 1;
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(held) = self.held.take() {
            let result = self.read(&held.file, out);
            if self.handles.has_room(0) && !result.as_ref().is_err_and(is_gone) {
                self.held = Some(held);
            }
            return result;
        }
        let file = self.open()?;
        let result = self.read(&file, out);
        if self.handles.has_room(1) {
            self.handles.held_count.fetch_add(1, Relaxed);
            self.held = Some(Held { file, handles: Arc::clone(&self.handles) });
        }
        result
    }

    fn open(&mut self) -> io::Result<File> {
        let opened = File::open(&self.path);
        if let Err(error) = &opened {
            if is_exhausted(error) {
                self.handles.shrink();
            } else {
                self.rest_count = ABSENT_READING_COUNT;
            }
        }
        opened
    }

    fn read(&self, file: &File, out: &mut Vec<u8>) -> io::Result<Fit> {
        let begin = out.len();
        loop {
            let start = out.len();
            let asked = (self.bytes_max - (start - begin)).min(CHUNK_BYTES);
            if asked == 0 {
                let end = out[begin..].iter().rposition(|byte| *byte == b'\n').map_or(begin, |at| begin + at + 1);
                out.truncate(end);
                return Ok(Fit::Cut);
            }
            out.resize(start + asked, 0);
            match file.read_at(&mut out[start..], (start - begin) as u64) {
                Ok(count) => {
                    out.truncate(start + count);
                    if count == 0 || (count < asked && self.shape == Shape::Whole) {
                        return Ok(Fit::Whole);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => out.truncate(start),
                Err(error) => {
                    out.truncate(begin);
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.handles.held_count.fetch_sub(1, Relaxed);
    }
}

/// Whether a file could not be read for want of a descriptor or of memory, so that what it says is lost and not missing.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Whether the device, interface or process behind an open file is gone.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::ENXIO | libc::ESRCH | libc::ESTALE))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::linux::folder::tests::Scratch;

    fn scratch(files: &[(&str, &str)]) -> Scratch {
        let scratch = Scratch::new();
        fs::create_dir_all(&scratch.0).unwrap();
        for (name, text) in files {
            fs::write(scratch.0.join(name), text).unwrap();
        }
        scratch
    }

    fn read(file: &mut KeptFile) -> io::Result<String> {
        let mut out = b"before ".to_vec();
        let result = file.read_into(&mut out);
        let text = String::from_utf8(out).unwrap();
        result.map(|fit| format!("{} {fit:?}", text.strip_prefix("before ").unwrap()))
    }

    #[test]
    fn a_file_is_read_from_its_beginning_each_time() {
        let scratch = scratch(&[("a", "one\n")]);
        for shape in [Shape::Records, Shape::Whole] {
            fs::write(scratch.0.join("a"), "one\n").unwrap();
            let handles = Handles::new(1);
            let mut file = KeptFile::new(scratch.0.join("a"), shape, 100, &handles);
            assert_eq!(read(&mut file).unwrap(), "one\n Whole");
            fs::write(scratch.0.join("a"), "two\n").unwrap();
            assert_eq!(read(&mut file).unwrap(), "two\n Whole");
            assert_eq!(handles.held_count(), 1);
            drop(file);
            assert_eq!(handles.held_count(), 0);
        }
    }

    #[test]
    fn a_real_file_of_the_kernel_is_read_to_its_end() {
        for (path, shape) in [("/proc/vmstat", Shape::Records), ("/proc/meminfo", Shape::Whole)] {
            let mut file = KeptFile::new(path.into(), shape, 1 << 20, &Handles::new(1));
            for _ in 0..2 {
                let text = read(&mut file).unwrap();
                let line_count = |text: &str| text.lines().count();
                assert_eq!(line_count(&text), line_count(&fs::read_to_string(path).unwrap()) + 1, "{path}");
            }
        }
    }

    #[test]
    fn a_file_beyond_its_bound_ends_with_a_line() {
        let scratch = scratch(&[("a", "one\ntwo\nthree\n")]);
        let mut file = KeptFile::new(scratch.0.join("a"), Shape::Whole, 10, &Handles::new(1));
        assert_eq!(read(&mut file).unwrap(), "one\ntwo\n Cut");
        let mut file = KeptFile::new(scratch.0.join("a"), Shape::Whole, 2, &Handles::new(1));
        assert_eq!(read(&mut file).unwrap(), " Cut");
    }

    #[test]
    fn a_missing_file_is_asked_for_again_after_a_while() {
        let scratch = scratch(&[]);
        let mut file = KeptFile::new(scratch.0.join("a"), Shape::Whole, 100, &Handles::new(1));
        assert_eq!(read(&mut file).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(scratch.0.join("a"), "late\n").unwrap();
        for _ in 0..ABSENT_READING_COUNT {
            assert_eq!(read(&mut file).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(read(&mut file).unwrap(), "late\n Whole");
    }

    #[test]
    fn files_beyond_the_limit_are_read_all_the_same() {
        let scratch = scratch(&[("a", "a\n"), ("b", "b\n")]);
        let handles = Handles::new(1);
        let mut files = ["a", "b"].map(|name| KeptFile::new(scratch.0.join(name), Shape::Whole, 100, &handles));
        for _ in 0..2 {
            assert_eq!(files.each_mut().map(|file| read(file).unwrap()), ["a\n Whole", "b\n Whole"]);
            assert_eq!(handles.held_count(), 1);
        }
        handles.shrink();
        assert_eq!(files.each_mut().map(|file| read(file).unwrap()), ["a\n Whole", "b\n Whole"]);
        assert_eq!(handles.held_count(), 0);
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut file = KeptFile::new(format!("/proc/{}/stat", child.id()).into(), Shape::Whole, 1024, &Handles::new(1));
        assert!(read(&mut file).unwrap().contains("(cat)"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(&read(&mut file).unwrap_err()));
        assert_eq!(file.handles.held_count(), 0);
        assert_eq!(read(&mut file).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
