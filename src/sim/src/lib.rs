//! The simulated world: everything that can happen to a gateway, in no time and from a seed.
//!
//! The gateway's core and the host's are the real ones; this is their third driver. It owns the time, and puts
//! clocks, disks and links under them that do what real ones do at their worst.
//!
//! | module | what |
//! |---|---|
//! | [`rng`] | the one source of chance |
//! | [`disk`] | a folder that loses power, tears and garbles blocks, fills up and fails |
//! | [`net`] | connections that delay, trickle, split, break and hang |
//! | [`load`] | known signals as the text of `/proc` |
//! | [`machine`], [`watch`] | a machine with the rhythms of days and what can befall it; what the agent notices of it |
//! | [`gateway`], [`host`] | the two machines |
//! | [`agenda`] | what happens when |
//! | [`fault`] | what can happen, and which of it happens in a run |
//! | [`world`] | all of them, and who goes next |
//! | [`checker`] | what must be true |
//! | [`scenario`] | worlds worth running |
//! | [`losses`] | what events said is lost |
//! | [`power`] | a journal alone under the crash disk |
//! | [`rest`] | a journal whose bytes change at rest |
//! | [`rescue`] | a journal that loses both copies of its tail |
//! | [`lives`] | machines that live for minutes |
//! | [`fit`] | what a recorded trace says of its series |
//! | [`fitted`] | values that go on as the trace's did |
//! | [`samples`] | the same as others would export them |
//! | [`bench`](mod@bench) | what a day of them costs |
#![forbid(unsafe_code)]

pub mod agenda;
pub mod bench;
pub mod checker;
pub mod disk;
pub mod fault;
pub mod fit;
pub mod fitted;
pub mod gateway;
pub mod host;
pub mod lives;
pub mod load;
pub mod losses;
pub mod machine;
pub mod net;
pub mod power;
pub mod rescue;
pub mod rest;
pub mod rng;
pub mod samples;
pub mod scenario;
pub mod watch;
pub mod world;
