//! Folders of `/sys` and `/proc/sys`: what is in them, and their attributes as lines.
//!
//! An attribute is a file with one value. A folder's are rendered as `name value` lines, so that everything one device
//! says is one text.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::linux::kept_file::{Handles, KeptFile, Shape, is_gone};

/// Bytes of an attribute's value. The longest that is read here is a policy's list of CPUs.
const VALUE_BYTES_MAX: usize = 512;

/// The names in a folder, sorted; none when it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    sorted_names(folder, |_| true)
}

/// The names of the plain files in a folder, sorted; none when it is not there.
pub fn file_names(folder: &Path) -> Vec<String> {
    sorted_names(folder, |kind| kind.is_file())
}

fn sorted_names(folder: &Path, is_wanted: impl Fn(fs::FileType) -> bool) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| entry.file_type().is_ok_and(&is_wanted));
    let mut names: Vec<String> = wanted.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The last two parts of the path that `link` leads to, `platform/coretemp.0`: bus and name of a device.
pub fn device(link: &Path) -> Option<String> {
    let path = fs::canonicalize(link).ok()?;
    let name = path.file_name()?.to_str()?;
    Some(match path.parent().and_then(Path::file_name).and_then(|bus| bus.to_str()) {
        Some(bus) => format!("{bus}/{name}"),
        None => name.to_owned(),
    })
}

/// Some attributes of one folder.
#[derive(Debug)]
pub struct Attributes {
    handles: Arc<Handles>,
    constants: Vec<u8>,
    files: Vec<(String, KeptFile)>,
    is_gone: bool,
}

impl Attributes {
    /// No attributes yet.
    pub fn new(handles: &Arc<Handles>) -> Attributes {
        Attributes { handles: Arc::clone(handles), constants: Vec::new(), files: Vec::new(), is_gone: false }
    }

    /// Those of `folder` that are read once, and those that are read each time.
    pub fn of(folder: &Path, constants: &[&str], measures: &[&str], handles: &Arc<Handles>) -> Attributes {
        let mut attributes = Attributes::new(handles);
        for name in constants {
            attributes.remember(name, folder.join(name));
        }
        for name in measures {
            attributes.measure(name, folder.join(name));
        }
        attributes
    }

    /// Adds an attribute that is read each time.
    pub fn measure(&mut self, name: &str, path: PathBuf) {
        self.files.push((name.to_owned(), KeptFile::new(path, Shape::Whole, VALUE_BYTES_MAX, &self.handles)));
    }

    /// Adds an attribute that is read now and never again. One that cannot be read is left out.
    pub fn remember(&mut self, name: &str, path: PathBuf) {
        let value = fs::read(path).unwrap_or_default();
        self.state(name, &value[..value.len().min(VALUE_BYTES_MAX)]);
    }

    /// Adds a line of the caller's own. An empty value is left out.
    pub fn state(&mut self, name: &str, value: &[u8]) {
        let start = self.constants.len();
        begin_line(name, &mut self.constants);
        self.constants.extend_from_slice(value);
        end_line(start, name, &mut self.constants);
    }

    /// Whether it has an attribute with that name that is read each time.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|(known, _)| known == name)
    }

    /// Whether a reading found that what they belonged to is gone. What stands at their paths now may be something else,
    /// of which the attributes that were read once do not hold.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether nothing is read each time.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Appends the lines of all attributes that can be read now.
    ///
    /// Errors: not one of those that are read each time could be; nothing was appended then.
    pub fn read_into(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let mut result = Err(io::ErrorKind::NotFound.into());
        out.extend_from_slice(&self.constants);
        for (name, file) in &mut self.files {
            let line = out.len();
            begin_line(name, out);
            match file.read_into(out) {
                // A value that was cut is too long to mean anything here.
                Ok(_) => {
                    end_line(line, name, out);
                    result = Ok(());
                }
                Err(error) => {
                    out.truncate(line);
                    self.is_gone |= is_gone(&error);
                    result = result.or(Err(error));
                }
            }
        }
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

fn begin_line(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
}

/// Cuts the value that was appended after a line's name at the end of its own first line. Without a value there is no line.
fn end_line(start: usize, name: &str, out: &mut Vec<u8>) {
    let value = start + name.len() + 1;
    let end = out[value..].iter().position(|byte| *byte == b'\n').map_or(out.len(), |at| value + at);
    out.truncate(end);
    if out[value..].trim_ascii().is_empty() {
        out.truncate(start);
    } else {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::linux::folder::tests::Scratch;

    fn scratch(files: &[(&str, &str)]) -> Scratch {
        let scratch = Scratch::new();
        for (name, text) in files {
            let path = scratch.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        scratch
    }

    #[test]
    fn attributes_become_lines_and_those_that_fail_are_left_out() {
        let scratch = scratch(&[("name", "cpu_thermal\n"), ("temp", "48312\n"), ("empty", "\n"), ("two", "a\nb\n")]);
        let mut attributes = Attributes::new(&Handles::new(8));
        attributes.state("device", b"platform/x");
        attributes.remember("name", scratch.0.join("name"));
        attributes.remember("label", scratch.0.join("label"));
        for name in ["temp", "missing", "empty", "two"] {
            attributes.measure(name, scratch.0.join(name));
        }
        assert!(attributes.has("temp") && !attributes.has("name"));
        for _ in 0..2 {
            let mut out = b"before\n".to_vec();
            attributes.read_into(&mut out).unwrap();
            assert_eq!(out, b"before\ndevice platform/x\nname cpu_thermal\ntemp 48312\ntwo a\n");
        }
    }

    #[test]
    fn a_folder_whose_attributes_all_fail_is_an_error() {
        let mut attributes = Attributes::new(&Handles::new(8));
        attributes.state("type", b"x");
        assert!(attributes.is_empty());
        attributes.measure("temp", "/nowhere/temp".into());
        let mut out = b"before\n".to_vec();
        assert_eq!(attributes.read_into(&mut out).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(out, b"before\n");
    }

    #[test]
    fn names_are_sorted_and_folders_are_told_from_files() {
        let scratch = scratch(&[("b", ""), ("a", ""), ("c/d", "")]);
        assert_eq!(names(&scratch.0), ["a", "b", "c"]);
        assert_eq!(file_names(&scratch.0), ["a", "b"]);
        assert_eq!(names(&scratch.0.join("nowhere")), [""; 0]);
    }

    #[test]
    fn a_device_is_named_by_where_it_really_is() {
        let scratch = scratch(&[("platform/coretemp.0/hwmon/hwmon3/name", "coretemp\n")]);
        let hwmon = scratch.0.join("platform/coretemp.0/hwmon/hwmon3");
        symlink("../..", hwmon.join("device")).unwrap();
        assert_eq!(device(&hwmon.join("device")).as_deref(), Some("platform/coretemp.0"));
        assert_eq!(device(&hwmon.join("missing")), None);
    }
}
