//! Why a command did not do what it was asked, for the person who must act; and its exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | not done: the text says what happened, where, and what to do |
//! | 2 | not understood: the command line is wrong |

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was understood and could not be done.
    Failed(String),
    /// It was not understood.
    Usage(String),
}

impl Failure {
    /// Something in the file system refused: where, why, and what that means for whoever reads it.
    pub(crate) fn at(path: &Path, error: &std::io::Error) -> Failure {
        Failure::Failed(format!("{}: {error}{}", path.display(), remedy(error)))
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Failed(_) => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
        }
    }
}

/// What to do when the file system refuses, to be put behind its words; nothing when they say it all.
pub(crate) fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => ": run as the user that owns it, as root with sudo",
        std::io::ErrorKind::ReadOnlyFilesystem => ": remount it for writing, or name another folder with --dir",
        std::io::ErrorKind::StorageFull => ": make room on that file system",
        _ => "",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(text) => f.write_str(text),
            Failure::Usage(text) => write!(f, "{text}\n`outpost --help` shows what there is"),
        }
    }
}
