//! The bytes of each version of the protocol, pinned: one file each, a line for everything that leaves a process.
//!
//! A file is never edited. Who has to change bytes raises [`VERSION`], keeps what is needed to speak the versions before, as far back as
//! [`Versions::HUB`] reaches, and lets the tests write the new file:
//!
//! ```text
//! OUTPOST_GOLDEN=write cargo test -p tests pinned        writes tests/golden/v<VERSION>.txt, if there is none
//! ```

mod message;
mod packet;
mod payload;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use wire::version::{VERSION, Versions};

/// Whether bytes read as what they were made from.
type Reads = dyn Fn(&[u8]) -> bool;

/// Something with fixed values: its name, its bytes, and whether bytes read as those values.
struct Golden {
    name: String,
    bytes: Vec<u8>,
    reads: Box<Reads>,
}

impl Golden {
    fn new(name: impl Into<String>, bytes: Vec<u8>, reads: impl Fn(&[u8]) -> bool + 'static) -> Golden {
        Golden { name: name.into(), bytes, reads: Box::new(reads) }
    }
}

/// Everything that is pinned.
fn all() -> impl Iterator<Item = Golden> {
    message::all().chain(packet::all()).chain(payload::all())
}

fn path(version: u16) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", &format!("v{version}.txt")].iter().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hexadecimal digits")).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// The lines of a file, by name.
fn pinned(version: u16) -> BTreeMap<String, Vec<u8>> {
    let path = path(version);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; version {version} is not pinned: see the front of tests/golden.rs", path.display())
    });
    let lines = text.lines().map(|line| line.split_once(' ').expect("a name and its bytes"));
    lines.map(|(name, hex)| (name.to_owned(), bytes(hex))).collect()
}

#[test]
fn the_bytes_of_this_version_are_those_that_are_pinned() {
    if std::env::var_os("OUTPOST_GOLDEN").is_some_and(|word| word == "write") {
        let mut file = File::create_new(path(VERSION)).expect("a version is pinned once: raise VERSION first");
        all().for_each(|Golden { name, bytes, .. }| {
            writeln!(file, "{name} {}", hex(&bytes)).expect("the disk takes it")
        });
    }
    let mut pinned = pinned(VERSION);
    for Golden { name, bytes, .. } in all() {
        let Some(expected) = pinned.remove(&name) else {
            panic!("{name} is not pinned in version {VERSION}: see the front of tests/golden.rs");
        };
        let (now, then) = (hex(&bytes), hex(&expected));
        assert_eq!(
            now, then,
            "the bytes of {name} have changed: that is a new version, see the front of tests/golden.rs"
        );
    }
    assert!(pinned.is_empty(), "no more made: {:?}", pinned.keys());
}

#[test]
fn each_version_that_a_hub_speaks_is_read_as_it_was_meant() {
    let all: BTreeMap<String, Golden> = all().map(|golden| (golden.name.clone(), golden)).collect();
    for version in Versions::HUB.lowest..=Versions::HUB.highest {
        for (name, bytes) in pinned(version) {
            let golden = all.get(&name).unwrap_or_else(|| panic!("nothing reads {name} of version {version} any more"));
            assert!((golden.reads)(&bytes), "{name} of version {version} reads as something else");
        }
    }
}
