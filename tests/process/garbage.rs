//! Bytes of nobody on the local sockets and in the settings of both real binaries: an answer or an error, and nobody else is harmed.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use sim::rng::Rng;

use super::stage::{Agent, Hub, Scratch};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = off"];

/// Noise that begins as a message of `honest` does, at any length of it.
fn noise(rng: &mut Rng, honest: &[u8]) -> Vec<u8> {
    let mut bytes = honest[..rng.below(honest.len() as u64 + 1) as usize].to_vec();
    let mut tail = vec![0; rng.below(60) as usize];
    rng.fill(&mut tail);
    bytes.extend(tail);
    bytes
}

/// Says each of many noises to a socket, each on a connection of its own, and reads until its end.
fn shout(socket: &Path, honest: &[u8]) {
    let mut rng = Rng::new(20_261_121);
    for _ in 0..300 {
        let mut stream = UnixStream::connect(socket).expect("somebody listens");
        // The other end may hang up in the middle.
        let _ = stream.write_all(&noise(&mut rng, honest));
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn garbage_on_the_local_sockets_harms_nobody() {
    let scratch = Scratch::new("sockets");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    // The version, a length of 4, a question for samples; a length of 20, the version, a request to rename.
    shout(&agent.folder().join("agent.sock"), &[0, 4, 0, 0, 0, 0, 2, 0, 1, 1]);
    shout(&hub.folder().join("hub.sock"), b"\x14\0\0\0\x050.1.0\0\x03\x04gw-1\x04pump");
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    assert_eq!(hub.stat("gaps"), 0);
}

#[test]
fn garbage_in_the_settings_is_named_by_its_line_or_is_none() {
    let scratch = Scratch::new("settings");
    let agent = Agent::new(&scratch, "agent", &[]);
    let file = agent.folder().join("outpost.conf");
    let honest =
        "hub = [2001:db8::1]:7070 # far\ninterval=1s\nhostname = \"gw 17\"\njournal_bytes_max = 64 MiB\nroot = /host\n";
    let mut rng = Rng::new(20_261_121);
    for _ in 0..300 {
        let mut bytes = noise(&mut rng, honest.as_bytes());
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        let stumbling_blocks: [&[u8]; 7] = [b"=", b"#", b"\xff", b"\0", b"\n", b"99999999999999999999", b"\""];
        bytes.splice(at..at, rng.choose(&stumbling_blocks).iter().copied());
        fs::write(&file, &bytes).expect("the settings can be written");
        // Nothing of it needs a hub: the settings are read first.
        let (is_good, words) = agent.ask(&["top", "--once"]);
        assert!(!words.contains("panicked"), "{bytes:?}: {words}");
        assert!(is_good || words.contains("outpost.conf") || words.contains("/host"), "{bytes:?}: {words}");
    }
}
