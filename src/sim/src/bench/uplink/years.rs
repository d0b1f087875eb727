//! Years of small gateways with outages, power cuts and hubs that are started again: each a world of its own, in which every value at
//! the hub is held against the one that was.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::journal::Settings;
use link::channel::Carrier;
use wire::time::Span;

use super::{DAY, Figure};
use crate::fault::{Kind, Plan};
use crate::gateway::Make;
use crate::load::Size;
use crate::net::Quality;
use crate::power::SMALL;
use crate::rng::Rng;
use crate::world::{Tally, World};

const YEAR_DAYS: u64 = 365;

/// A tail that is read in no time after every power cut.
const JOURNAL: Settings = Settings { bytes_max: 64 << 20, ..SMALL };

/// What happens in a year.
const KINDS: [Kind; 5] = [Kind::Outage, Kind::PowerCut, Kind::Kill, Kind::HubKill, Kind::HubPowerCut];

/// As many processors as are taken.
const THREAD_COUNT: usize = 2;

/// One year: a tick every five minutes, a batch an hour, over a link that loses some.
fn year(seed: u64) -> Result<Tally, String> {
    let mut rng = Rng::new(seed ^ 0x7ea7);
    let quality = Quality {
        delay_ms: *rng.choose(&[5, 300]),
        bytes_per_second: *rng.choose(&[2500, 100_000]),
        loss_1000: *rng.choose(&[0, 20, 200]),
        carrier: *rng.choose(&[Carrier::Datagram, Carrier::Stream]),
    };
    let make = Make {
        size: Size::Sparse,
        interval: Span::minutes(5),
        journal: JOURNAL,
        quality,
        modem: None,
        budget: Default::default(),
    };
    let plan = Plan { mean_ms: 12 * 3_600_000, kinds: KINDS.into(), ..Plan::choose(&mut rng, &[]) };
    World::new(seed, &[make], plan, YEAR_DAYS * DAY.0).run()
}

/// So many years; `progress` is told how many have passed.
///
/// Errors: something was doubled, changed, or lost and not said, in so many years, with the line that runs each again.
pub(super) fn years(first: u64, count: u64, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Figure>, String> {
    let (next, passed) = (AtomicU64::new(first), AtomicU64::new(0));
    let (sum, failed) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            match year(seed) {
                Ok(tally) => {
                    let mut sum = sum.lock().expect("no thread panics with it");
                    sum.fault_count += tally.fault_count;
                    sum.tick_count += tally.tick_count;
                    sum.sample_count += tally.sample_count;
                    sum.lost_count += tally.lost_count;
                }
                Err(error) => failed
                    .lock()
                    .expect("no thread panics with it")
                    .push(format!("cargo sim uplink --only years --years 1 --first {seed}   # {error}")),
            }
            progress(passed.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| (0..THREAD_COUNT).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().expect("no thread panics with it");
    if !failed.is_empty() {
        return Err(format!("{} of {count} years\n{}", failed.len(), failed.join("\n")));
    }
    let sum = sum.into_inner().expect("no thread panics with it");
    Ok(vec![
        Figure::new(format!("{count} gateway-years: samples doubled, or lost and not said"), 0.0, "").at_most(0.0),
        Figure::new("  faults", sum.fault_count as f64, ""),
        Figure::new("  ticks that were durable", sum.tick_count as f64, ""),
        Figure::new("  samples at the hub", sum.sample_count as f64, ""),
        Figure::new("  batches lost and said", sum.lost_count as f64, ""),
    ])
}
