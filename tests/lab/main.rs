//! The lab: the real agent and the real hub on both ends of a bad link, and what each thing that they do costs on it.
//!
//! ```text
//! cargo run -p tests --bin lab -- report          # needs root, or `unshare -Ur` around it
//! scripts/bench uplink                            # with a table, beside what others take for the same samples
//! ```
//!
//! Two network namespaces are joined by an emulated link ([`link`], [`emulator`]): so many bits a second, a delay, jitter, loss,
//! a queue, outages, and a NAT that changes its mind. All that is handed to it is counted as whole packets of IP, as an
//! operator bills them, and an experiment prints one line of JSON for each figure. A new one is a function in [`EXPERIMENTS`]:
//! it builds a [`network::Network`], puts a [`stage::Hub`] and a [`stage::Agent`] on it, and asks [`book::totals`] what was seen.
//!
//! | module | what |
//! |---|---|
//! | [`link`] | one direction: rate, delay, jitter, loss, queue |
//! | [`packet`] | the headers of a packet, and its addresses changed |
//! | [`book`] | every packet with its time, and what they add up to |
//! | [`tun`], [`netns`] | interfaces, and networks that leave nothing behind |
//! | [`emulator`] | the thread that carries packets |
//! | [`network`] | both networks and the link |
//! | [`stage`] | the hub and the agent |
//! | [`report`], [`walk`], [`bearers`] | the experiments |
#![expect(clippy::disallowed_methods, reason = "processes and links run in real time; waiting for them is polling")]

mod bearers;
mod book;
mod emulator;
mod link;
mod netns;
mod network;
mod packet;
mod report;
mod stage;
mod tun;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

/// What an experiment is told.
struct Options {
    /// Where `outpost` and `outpost-hub` are.
    binaries: PathBuf,
    is_v6: bool,
    mtu: u32,
    seed: u64,
}

/// Prints figures as it finds them.
type Experiment = fn(&Options) -> Result<(), String>;

const EXPERIMENTS: [(&str, Experiment); 3] = [("report", report::run), ("walk", walk::run), ("bearers", bearers::run)];

const HELP: &str = "\
Runs the real agent and hub on an emulated link, and prints what that costs: lines of JSON. Needs root.

usage: lab [EXPERIMENT..] [--bin FOLDER] [--ipv6] [--mtu N] [--seed N]

  report   20 kbit/s, 600 ms there and back: enrolling, a connection with a report, and a heartbeat
  walk     from satellite to EDGE to wired and back, an outage, and a NAT that forgets
  bearers  a cable and a modem: the cable is pulled, and plugged in again

  --bin FOLDER  where outpost and outpost-hub are (default: beside this program)
  --ipv6        over IPv6
  --mtu N       the longest packet, 1280 to 65535 (default 1400)
  --seed N      of what is lost and what is late (default 0)
";

fn main() -> ExitCode {
    match told().and_then(|(options, experiments)| experiments.into_iter().try_for_each(|run| run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line says.
fn told() -> Result<(Options, Vec<Experiment>), String> {
    let beside = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let mut options = Options { binaries: beside.with_file_name(""), is_v6: false, mtu: 1400, seed: 0 };
    let mut experiments = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--bin" => options.binaries = value()?.into(),
            "--ipv6" => options.is_v6 = true,
            "--mtu" => {
                let mtu = number(value()?)?;
                options.mtu = u32::try_from(mtu)
                    .ok()
                    .filter(|mtu| (1280..=65_535).contains(mtu))
                    .ok_or("--mtu is 1280 to 65535")?;
            }
            "--seed" => options.seed = number(value()?)?,
            "--help" | "-h" => {
                print!("{HELP}");
                std::process::exit(0);
            }
            _ => {
                let known = EXPERIMENTS.iter().find(|(name, _)| *name == word);
                experiments.push(known.ok_or(format!("{word} is not known; see --help"))?.1);
            }
        }
    }
    if experiments.is_empty() {
        experiments = EXPERIMENTS.map(|(_, experiment)| experiment).into();
    }
    Ok((options, experiments))
}

/// Prints a figure: what an experiment found, under its name.
fn show(experiment: &str, figure: &str, mut found: Value) {
    found["experiment"] = experiment.into();
    found["figure"] = figure.into();
    println!("{found}");
}
