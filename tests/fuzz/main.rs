//! One of the targets under cargo-fuzz: the one that `OUTPOST_FUZZ_TARGET` names.
//!
//! One binary for all, because each takes a minute to link with the sanitizer. `scripts/test --all` runs them in turn; by
//! hand, from the workspace's root:
//!
//! ```sh
//! export OUTPOST_FUZZ_TARGET=record
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz parser tests/fuzz/corpus/record               # until Ctrl-C
//! cargo +nightly fuzz cmin --fuzz-dir tests/fuzz parser tests/fuzz/corpus/record -- -use_counters=0
//! ```
//!
//! New finds go to the corpus's folder, thousands of them. The second command keeps those that reach code that no other reaches:
//! commit these, and what crashed, made small with `cargo fuzz tmin`, as a file with a name that says what it showed.
#![no_main]

mod targets;

use libfuzzer_sys::fuzz_target;

use std::sync::OnceLock;

use targets::Target;

fuzz_target!(
    init: {
        chosen();
        abort_on_panic();
    },
    |bytes: &[u8]| chosen().1(bytes)
);

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("OUTPOST_FUZZ_TARGET").unwrap_or_default();
        targets::all().find(|(known, _)| *known == name).unwrap_or_else(|| {
            let names: Vec<_> = targets::all().map(|(name, _)| name).collect();
            eprintln!("OUTPOST_FUZZ_TARGET={name:?} is none of {}", names.join(" "));
            std::process::exit(2);
        })
    })
}

/// As in the agent: a panic inside the journal's guarded read is a damaged file, and every other is a bug.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if !journal::guard::is_inside() {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            std::process::abort();
        }
    }));
}
