//! The only place where a panic is caught: redb reading a file that may be damaged.
//!
//! redb answers many kinds of damage with a panic. The driver's panic hook ends the process for every other panic; it asks
//! [`is_inside`] first.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a guarded read, so that a panic now is damage and not a bug.
pub fn is_inside() -> bool {
    INSIDE.get()
}

/// The read panicked: the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs `read`, which touches nothing that outlives a panic but the file it reads.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(outer);
    result.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_damage_and_the_thread_goes_on() {
        assert!(!is_inside());
        assert_eq!(guarded(|| assert!(is_inside(), "inside")), Ok(()));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(guarded(|| -> () { panic!("damaged page") }), Err(Panicked));
        std::panic::set_hook(hook);
        assert!(!is_inside());
    }
}
