//! How many files and connections this process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of file descriptors to the highest that the system allows this process, and returns it.
///
/// The lower one that a process starts with, usually 1024, is for programs that use `select(2)`, which fails beyond it.
///
/// Errors: those of `getrlimit(2)` and `setrlimit(2)`; the limit is what it was.
pub fn raise_limit() -> io::Result<usize> {
    let (_, highest) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, highest, highest)?;
    Ok(usize::try_from(highest).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_highest_allowed() {
        let (_, highest) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, highest.min(64), highest).unwrap();
        assert_eq!(raise_limit().unwrap() as u128, u128::from(highest));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (highest, highest));
    }
}
