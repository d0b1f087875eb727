//! `cargo sim --seeds N [--first K]`: runs N worlds of random faults and names each that fails.
//!
//! `cargo sim power --seeds N` runs a journal alone under power cuts, `cargo sim rest` one whose bytes change at rest;
//! `cargo sim month` a calm month of the reference gateway, against the clock; `cargo sim fit` estimates a load from a trace,
//! `cargo sim block` measures a day of the one that is built in, `cargo sim journal` months of it without a link,
//! `cargo sim uplink` what it costs over a bad one, and `cargo sim samples` writes it for the encoders of others.
#![expect(clippy::disallowed_methods, reason = "this is a driver: it measures how long a simulated month takes")]

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant as Clock;

use sim::bench::Options;
use sim::disk::Cut;
use sim::fault::Kind;
use sim::fit::Fit;
use sim::machine::Trouble;
use sim::scenario;

const HELP: &str = "\
Runs simulated worlds of random faults and checks that nothing is lost, doubled or changed.

usage: cargo sim [worlds|power|rest|month|block|fit|journal|fill|samples|summaries|uplink|watch] [--seeds N] [--first K]
                 [--kinds A,B] [--full]
                 [--days N] [--interval SECONDS] [--out PATH] [--only A,B]
                 [--years N]

  worlds   gateways and a hub under power cuts, outages, clock steps, disk errors (the default)
  power    a journal alone under power cuts of every kind
  rest     a journal whose bytes change at rest
  month    one calm month of the reference gateway (20 series, 60 s), or with --full of 150 series at 10 s
  block    a day of the load that is fitted to a busy host, as a block: its bytes, and the time to read one series
  journal  months of that load in a journal, without a link: its bytes, what flash bears, how fast it opens
  fill     a journal of 200 MB in a folder that is made, as a kill leaves it
  uplink   what a bad link costs and carries with that load, each figure beside its bar
  summaries  time and memory that the windows of that load take
  samples  days of that load as node_exporter would export them: comma-separated, kinds and names first
  watch    what the agent says of machines with the rhythms of days, in normal weeks and when something befalls them
  fit      estimates such a load from a trace on standard input (comma-separated: timestamp_ms, then integers)

  --seeds N   how many worlds (default 100)
  --first K   the first seed (default 0)
  --kinds A,B only worlds of these kinds of faults, such as PowerCut,HubRestored
  --days N    how many days: of block and samples 1 when nobody says, of journal 90, of watch 30
  --interval SECONDS from one tick of samples to the next (default 10)
  --only A,B  of uplink these experiments alone, such as idle,week
  --years N   of uplink so many years of a gateway (default 4)
  --out PATH  the folder in which fill makes its journal, the file that samples writes

example: cargo sim --seeds 1 --first 4711     runs seed 4711 again
";

struct Arguments {
    what: String,
    seeds: u64,
    first: u64,
    is_full: bool,
    kinds: Vec<Kind>,
    days: Option<u64>,
    interval_s: u64,
    out: Option<PathBuf>,
    only: Vec<String>,
    years: u64,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments {
        what: "worlds".into(),
        seeds: 100,
        first: 0,
        is_full: false,
        kinds: Kind::ALL.into(),
        days: None,
        interval_s: 10,
        out: None,
        only: Vec::new(),
        years: 4,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = |name: &str| {
            let text = words.next().ok_or(format!("{name} needs a number"))?;
            text.parse().map_err(|_| format!("{name} needs a number, not {text}"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number("--seeds")?,
            "--first" => arguments.first = number("--first")?,
            "--full" => arguments.is_full = true,
            "--kinds" => arguments.kinds = kinds(&words.next().ok_or("--kinds needs a list")?)?,
            "--days" => arguments.days = Some(number("--days")?),
            "--interval" => arguments.interval_s = number("--interval")?.max(1),
            "--out" => arguments.out = Some(words.next().ok_or("--out needs a path")?.into()),
            "--only" => {
                let list = words.next().ok_or("--only needs a list")?;
                arguments.only = list.split(',').map(str::to_owned).collect();
            }
            "--years" => arguments.years = number("--years")?,
            "worlds" | "power" | "rest" | "month" | "block" | "fit" | "journal" | "fill" | "samples" | "summaries"
            | "uplink" | "watch" => {
                arguments.what = word;
            }
            "--help" | "-h" => {
                print!("{HELP}");
                std::process::exit(0);
            }
            other => return Err(format!("{other} is not known; see --help")),
        }
    }
    Ok(arguments)
}

fn kinds(list: &str) -> Result<Vec<Kind>, String> {
    let all = || Kind::ALL.map(|kind| format!("{kind:?}")).join(",");
    list.split(',')
        .map(|word| {
            let kind = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == word);
            kind.ok_or_else(|| format!("{word} is no kind of fault; there are {}", all()))
        })
        .collect()
}

fn main() -> ExitCode {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // redb panics over damaged pages, and the journal's guard takes it: no need to print that.
        if !journal::guard::is_inside() {
            hook(info);
        }
    }));
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::from(2);
        }
    };
    let is_good = match arguments.what.as_str() {
        "summaries" => {
            sim::bench::summaries(&Fit::host(), arguments.first).iter().for_each(|line| println!("{line}"));
            true
        }
        "block" => print(sim::bench::block(&Fit::host(), arguments.first, arguments.days.unwrap_or(1) as usize)),
        "fit" => print(fit()),
        "fill" => print(fill(&arguments)),
        "journal" => {
            let days = arguments.days.unwrap_or(90);
            print(sim::bench::journal(&Fit::host(), arguments.first, days, |day| {
                if day % 10 == 0 {
                    eprintln!("{day} of {days} days");
                }
            }))
        }
        "month" => month(arguments.is_full),
        "samples" => print(samples(&arguments)),
        "uplink" => uplink(&arguments),
        "watch" => watch(&arguments),
        "power" => every_seed(&arguments, " power", |seed| {
            let cut = Cut::ALL[(seed % Cut::ALL.len() as u64) as usize];
            sim::power::history(seed, cut, 20, 700)
                .map(|tally| format!("{} cuts, {} batches acknowledged", tally.cut_count, tally.acknowledged_count))
        }),
        "rest" => every_seed(&arguments, " rest", |seed| {
            sim::rest::history(seed).map(|tally| {
                format!(
                    "{} batches, {} whole, {} lost and said",
                    tally.written_count, tally.whole_count, tally.lost_count
                )
            })
        }),
        _ => every_seed(&arguments, "", |seed| {
            scenario::random(seed, &arguments.kinds).map(|tally| {
                format!(
                    "{} faults, {} ticks, {} samples, {} batches lost and said, trace {:016x}",
                    tally.fault_count, tally.tick_count, tally.sample_count, tally.lost_count, tally.trace
                )
            })
        }),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn every_seed(arguments: &Arguments, command: &str, run: impl Fn(u64) -> Result<String, String>) -> bool {
    let (mut passed, mut failed) = (0, 0);
    let began = Clock::now();
    let mut said = began;
    for seed in arguments.first..arguments.first + arguments.seeds {
        match run(seed) {
            Ok(words) => {
                passed += 1;
                if arguments.seeds == 1 {
                    println!("{words}");
                }
            }
            Err(error) => {
                failed += 1;
                println!("cargo sim{command} --seeds 1 --first {seed}   # {error}");
            }
        }
        if said.elapsed().as_secs() >= 10 {
            said = Clock::now();
            eprintln!("{} of {} after {} s", passed + failed, arguments.seeds, began.elapsed().as_secs());
        }
    }
    println!("{passed} passed, {failed} failed");
    failed == 0
}

fn fill(arguments: &Arguments) -> Result<String, String> {
    let folder = arguments.out.as_ref().ok_or("fill needs --out, a folder")?;
    sim::bench::fill(folder, arguments.first).map(|()| folder.display().to_string())
}

fn samples(arguments: &Arguments) -> Result<String, String> {
    let path = arguments.out.as_ref().ok_or("samples needs --out, a file")?;
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let (fit, interval_ms) = (Fit::host(), arguments.interval_s * 1000);
    let tick_count = arguments.days.unwrap_or(1) * 86_400_000 / interval_ms;
    let mut file = BufWriter::new(File::create(path).map_err(said)?);
    sim::samples::write(&fit, arguments.first, tick_count, interval_ms, &mut file).map_err(said)?;
    file.flush().map_err(said)?;
    let series = fit.series.len();
    Ok(format!("{{\"series\":{series},\"ticks\":{tick_count},\"samples\":{}}}", tick_count * series as u64))
}

fn uplink(arguments: &Arguments) -> bool {
    let begun = Clock::now();
    let progress = |passed: u64| {
        if passed.is_multiple_of(10) {
            let a_minute = passed as f64 / begun.elapsed().as_secs_f64() * 60.0;
            eprintln!("{passed} of {} years, {a_minute:.1} a minute", arguments.years);
        }
    };
    let Arguments { first: seed, ref only, years, .. } = *arguments;
    let options = Options { seed, only, years, progress: &progress };
    let done = sim::bench::uplink(&Fit::host(), &options, |figure| println!("{figure}"));
    done.map_err(|error| eprintln!("sim: {error}")).is_ok()
}

/// A line for each machine that nothing befalls, then one for each trouble; the last two after a restart.
fn watch(arguments: &Arguments) -> bool {
    let Arguments { first, seeds, interval_s, .. } = *arguments;
    let days = arguments.days.unwrap_or(30);
    let run = || -> Result<bool, String> {
        let mut is_good = true;
        for seed in first..first + seeds {
            let noticed = sim::watch::normal(seed, days, interval_s)?;
            let said: Vec<String> =
                noticed.iter().map(|(at_s, event)| format!("{:?}", format!("{} h: {event}", at_s / 3600))).collect();
            println!(
                "{{\"machine\":{seed},\"days\":{days},\"said\":{},\"texts\":[{}]}}",
                noticed.len(),
                said.join(",")
            );
            let mut all = sim::watch::troubles(seed, interval_s)?;
            for trouble in [Trouble::FanStops, Trouble::Miner] {
                all.push(sim::watch::after_restart(seed, interval_s, trouble)?);
            }
            for found in all {
                let delay = found.delay_s.map_or("null".to_owned(), |delay_s| delay_s.to_string());
                let (trouble, stated_s, said) = (found.trouble, found.stated_s, found.said.len());
                println!(
                    "{{\"machine\":{seed},\"trouble\":\"{trouble:?}\",\"delay_s\":{delay},\"stated_s\":{stated_s},\"said\":{said}}}"
                );
                is_good &= found.is_in_time();
            }
        }
        Ok(is_good)
    };
    run().unwrap_or_else(|error| {
        eprintln!("sim: {error}");
        false
    })
}

fn month(is_full: bool) -> bool {
    let began = Clock::now();
    match scenario::month(is_full) {
        Ok(tally) => {
            let seconds = began.elapsed().as_secs_f64();
            println!("{{\"seconds\":{seconds:.2},\"ticks\":{},\"samples\":{}}}", tally.tick_count, tally.sample_count);
            true
        }
        Err(error) => {
            println!("{error}");
            false
        }
    }
}

fn fit() -> Result<String, String> {
    let mut table = String::new();
    std::io::stdin().read_to_string(&mut table).map_err(|error| format!("standard input: {error}"))?;
    let fit = Fit::estimate(&table).map_err(|error| error.to_string())?;
    Ok(fit.to_string().trim_end().to_owned())
}

fn print(figures: Result<String, String>) -> bool {
    match &figures {
        Ok(figures) => println!("{figures}"),
        Err(error) => eprintln!("sim: {error}"),
    }
    figures.is_ok()
}
