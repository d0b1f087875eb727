//! Worlds worth running.

use agent::budget::Limit;
use journal::journal::Settings;
use link::channel::Carrier;
use wire::time::Span;

use crate::fault::{Kind, Plan};
use crate::gateway::Make;
use crate::load::Size;
use crate::net::Quality;
use crate::power::SMALL;
use crate::rng::Rng;
use crate::world::{Tally, World};

const HOUR_MS: u64 = 3_600_000;

/// A journal that an outage of some hours overflows.
const TINY: Settings = Settings { bytes_max: 400 << 10, done_bytes_max: 140 << 10, ..SMALL };

/// Budgets of a day: a poor one, and one that a machine in full uses up within hours.
const BUDGETS: [u64; 2] = [80_000, 400_000];

/// EDGE on a good day.
const SLOW: Quality = Quality { delay_ms: 300, bytes_per_second: 2500, loss_1000: 0, carrier: Carrier::Stream };

/// One to three gateways under some faults of `kinds` for some hours. Some have a journal that is too small for their outages, and
/// some a budget that is too small for their link.
pub fn random(seed: u64, kinds: &[Kind]) -> Result<Tally, String> {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let plan = Plan::choose(&mut rng, kinds);
    let mut purse = Rng::new(seed ^ 0xb0d9e7);
    let makes: Vec<Make> = (0..rng.between(1, 3))
        .map(|_| {
            let quality = Quality {
                delay_ms: *rng.choose(&[5, 100, 300, 1000]),
                bytes_per_second: *rng.choose(&[500, 2500, 100_000]),
                loss_1000: *rng.choose(&[0, 20, 200]),
                carrier: *rng.choose(&[Carrier::Datagram, Carrier::Stream]),
            };
            let day_bytes = purse.one_in(3).then(|| *purse.choose(&BUDGETS));
            let budget = Limit { day_bytes, ..Limit::default() };
            // Over the cable everything is to arrive at last: it is one that stays a wire when it is measured.
            let modem = purse.one_in(3).then(|| Quality {
                carrier: *purse.choose(&[Carrier::Datagram, Carrier::Stream]),
                bytes_per_second: *purse.choose(&[500, 5000, 50_000]),
                ..quality
            });
            let quality = match modem {
                Some(_) => Quality {
                    delay_ms: quality.delay_ms.min(100),
                    bytes_per_second: 250_000,
                    loss_1000: quality.loss_1000.min(20),
                    ..quality
                },
                None => quality,
            };
            if rng.one_in(4) {
                let interval = Span::seconds(10);
                return Make { size: Size::Full, interval, journal: TINY, quality, modem, budget };
            }
            Make {
                size: if rng.one_in(4) { Size::Full } else { Size::Small },
                interval: *rng.choose(&[Span::seconds(10), Span::seconds(30), Span::seconds(60)]),
                journal: *rng.choose(&[SMALL, Settings { bytes_max: 64 << 20, ..SMALL }]),
                quality,
                modem,
                budget,
            }
        })
        .collect();
    let quiet_at_ms = rng.between(2, 12) * HOUR_MS;
    World::new(seed, &makes, plan, quiet_at_ms).run()
}

/// A calm month of the reference gateway, or of a machine sampled in full.
pub fn month(is_full: bool) -> Result<Tally, String> {
    let make = Make {
        size: if is_full { Size::Full } else { Size::Small },
        interval: if is_full { Span::seconds(10) } else { Span::seconds(60) },
        journal: Settings::default(),
        quality: SLOW,
        modem: None,
        budget: Limit::default(),
    };
    World::new(1, &[make], Plan::calm(), 30 * 24 * HOUR_MS).run()
}

#[cfg(test)]
mod tests {
    use hub::fetches::Standing;
    use query::selector::Selector;
    use store::notes::{Notes, Windowed};
    use store::range::{Question, Target};
    use wire::class::Class;
    use wire::stream::{Resolution, Stream};
    use wire::time::{Instant, UnixTime};

    use super::*;

    #[test]
    fn a_calm_day_arrives_whole() {
        let make = Make {
            size: Size::Full,
            interval: Span::seconds(10),
            journal: SMALL,
            quality: SLOW,
            modem: None,
            budget: Limit::default(),
        };
        let tally = World::new(3, &[make], Plan::calm(), 24 * HOUR_MS).run().unwrap();
        assert!((8640..8700).contains(&tally.tick_count), "{tally:?}");
        assert!(tally.sample_count > 8640 * 110, "{tally:?}");
        assert_eq!(tally.lost_count, 0);
    }

    #[test]
    fn a_budget_is_kept_and_what_waited_arrives_when_it_is_lifted() {
        for carrier in [Carrier::Stream, Carrier::Datagram] {
            for seed in 0..3 {
                let quality = Quality { carrier, loss_1000: 50, ..SLOW };
                let budget = Limit { day_bytes: Some(300_000), ..Limit::default() };
                let journal = Settings { bytes_max: 64 << 20, ..SMALL };
                let make =
                    Make { size: Size::Full, interval: Span::seconds(10), journal, quality, modem: None, budget };
                let mut world = World::new(seed, &[make], Plan::calm(), 20 * HOUR_MS);
                let tally = world.run().unwrap();
                assert!((7150..7300).contains(&tally.tick_count) && tally.lost_count == 0, "{tally:?}");
                let metered_bytes = world.gateways()[0].metered_bytes;
                assert!((100_000..=300_000).contains(&metered_bytes), "{carrier:?}, {seed}: {metered_bytes}");
            }
        }
    }

    #[test]
    fn two_machines_with_copies_of_one_card_lose_nothing_of_either() {
        for carrier in [Carrier::Stream, Carrier::Datagram] {
            for seed in 0..4 {
                let quality = Quality { delay_ms: 100, bytes_per_second: 100_000, loss_1000: 20, carrier };
                let budget = Limit::default();
                let interval = Span::seconds(30);
                let make = Make { size: Size::Small, interval, journal: SMALL, quality, modem: None, budget };
                let mut world = World::new(seed, &[make; 2], Plan::calm(), 6 * HOUR_MS).cloning(0, 1, 3 * HOUR_MS);
                let tally = world.run().unwrap_or_else(|error| panic!("{carrier:?}, {seed}: {error}"));
                assert!((1000..1200).contains(&tally.tick_count) && tally.lost_count == 0, "{tally:?}");
                let [one, other] = world.gateways() else { unreachable!() };
                let name = |gateway: &crate::gateway::Gateway| gateway.agent.as_ref().map(|agent| agent.journal().id());
                assert_ne!(name(one), name(other));
            }
        }
    }

    #[test]
    fn the_ticks_around_what_happens_arrive_over_a_modem_that_carries_no_others() {
        let modem = Quality { bytes_per_second: 5000, carrier: Carrier::Datagram, ..SLOW };
        let quality = Quality { delay_ms: 5, bytes_per_second: 250_000, ..SLOW };
        let (interval, budget) = (Span::seconds(30), Limit::default());
        let make = Make { size: Size::Small, interval, journal: SMALL, quality, modem: Some(modem), budget };
        let plan =
            Plan { kinds: vec![Kind::CablePulled, Kind::Stall, Kind::PowerCut], mean_ms: HOUR_MS, ..Plan::calm() };
        let mut batch_count = 0;
        for seed in 0..10 {
            let mut world = World::new(seed, &[make], plan.clone(), 36 * HOUR_MS);
            // With the values that were, or it would say which was another.
            world.run().unwrap_or_else(|error| panic!("{seed}: {error}"));
            let journal = world.gateways()[0].agent.as_ref().unwrap().journal();
            batch_count += Class::ALL.map(|class| journal.next(Stream::Extract(class)).0).iter().sum::<u64>();
        }
        assert!(batch_count > 20, "{batch_count}");
    }

    #[test]
    fn where_a_modem_carries_no_ticks_the_hub_answers_with_windows_of_them() {
        let modem = Quality { bytes_per_second: 5000, carrier: Carrier::Datagram, ..SLOW };
        let quality = Quality { delay_ms: 5, bytes_per_second: 250_000, ..SLOW };
        let (interval, budget) = (Span::seconds(10), Limit::default());
        let make = Make { size: Size::Small, interval, journal: SMALL, quality, modem: Some(modem), budget };
        let mut world = World::new(5, &[make], Plan::calm(), 9 * HOUR_MS).unplugging(0, 2 * HOUR_MS);
        world.run_until(4 * HOUR_MS).unwrap();
        let gateway = &world.gateways()[0];
        let running = world.host().running.as_ref().unwrap();
        let ask = |name: &str, from_ms: u64, to_ms: u64| {
            let selector = Selector::parse(name).unwrap();
            let targets = [Target { device: gateway.device, labels: Vec::new(), default_labels: Vec::new() }];
            let [from, to] = [from_ms, to_ms].map(|at_ms| UnixTime(gateway.unix_start.0 + at_ms));
            running.store.range(&Question { selector: &selector, targets: &targets, from, to, samples_max: 100_000 })
        };
        for name in ["node_memory_MemFree_bytes", "node_forks_total"] {
            let ticks = ask(name, HOUR_MS, 2 * HOUR_MS - 60_000).unwrap();
            assert_eq!((ticks.notes, ticks.series[0].samples.len() / 10), (Notes::default(), 35), "{name}");
            let windows = ask(name, 2 * HOUR_MS + 600_000, 3 * HOUR_MS + 599_999).unwrap();
            let [Windowed { resolution: Resolution::Minute, from, to, .. }] = windows.notes.windowed[..] else {
                panic!("{:?}", windows.notes)
            };
            assert!(to.0 - from.0 > 58 * 60_000, "{:?}", windows.notes);
            assert_eq!(windows.series[0].samples.len(), 60, "{name}");
        }
        // A counter's values are values that it had.
        let began_ms = gateway.world_ms(Instant(0));
        let forks = ask("node_forks_total", 3 * HOUR_MS, 3 * HOUR_MS + 900_000).unwrap();
        for (at, value) in &forks.series[0].samples {
            let at_ms = at.0 - gateway.unix_start.0 - began_ms;
            let taken = gateway.taken.iter().rev().map(|(_, at)| *at).find(|at| at.0 < at_ms).unwrap();
            assert_eq!(gateway.load.expected("node_forks_total", "", gateway.boot, taken), Some(*value));
        }
    }

    #[test]
    fn what_the_hub_asks_for_comes_over_a_modem_through_broken_links_and_power_cuts() {
        let modem = Quality { bytes_per_second: 5000, carrier: Carrier::Datagram, ..SLOW };
        let quality = Quality { delay_ms: 5, bytes_per_second: 250_000, ..SLOW };
        let (interval, budget) = (Span::seconds(10), Limit::default());
        let make = Make { size: Size::Small, interval, journal: SMALL, quality, modem: Some(modem), budget };
        let kinds = vec![Kind::Outage, Kind::PowerCut, Kind::Kill, Kind::HubKill];
        let plan = Plan { kinds, mean_ms: HOUR_MS / 3, ..Plan::calm() };
        let asked_ms = (4 * HOUR_MS, 4 * HOUR_MS + 20 * 60_000);
        for seed in 0..4 {
            let mut world = World::new(seed, &[make], plan.clone(), 14 * HOUR_MS)
                .unplugging(0, HOUR_MS)
                .asking(0, 6 * HOUR_MS, "node_load1", asked_ms)
                .asking(0, 6 * HOUR_MS + 1, "node_forks_total", asked_ms);
            world.run_until(13 * HOUR_MS).unwrap_or_else(|error| panic!("{seed}: {error}"));
            let (gateway, running) = (&world.gateways()[0], world.host().running.as_ref().unwrap());
            let standings: Vec<Standing> = running.hub.fetches().all().map(|asked| asked.standing).collect();
            assert!(standings.iter().all(|it| matches!(it, Standing::Answered(Some(1..)))), "{seed}: {standings:?}");
            let mut found = std::collections::BTreeSet::new();
            let notes = running.store.ticks(gateway.device, |stream, boot, at, series, values| {
                let named = |name: &str| series.iter().zip(values).any(|(one, it)| one.name == name && it.is_some());
                if stream.is_copy() && (named("node_load1") || named("node_forks_total")) {
                    found.insert((boot, at));
                }
            });
            notes.unwrap();
            // Of what was durable then nothing is missing; a power cut may have cost a batch, and some minutes off.
            assert!(found.len() > 60, "{seed}: {}", found.len());
            // With the values that were, or it would say which was another.
            world.run().unwrap_or_else(|error| panic!("{seed}: {error}"));
        }
    }

    #[test]
    fn days_beyond_32_bits_of_seconds_are_like_any_other() {
        let make = Make {
            size: Size::Small,
            interval: Span::seconds(60),
            journal: SMALL,
            quality: SLOW,
            modem: None,
            budget: Limit::default(),
        };
        // 2038-01-18T21:14:08Z, six hours before the last second that 32 signed bits hold; 2042; 2106, an hour before the last
        // of the unsigned ones.
        for unix_s in [2_147_462_048, 2_272_147_200, 4_294_963_696] {
            let world = World::new(3, &[make], Plan::calm(), 12 * HOUR_MS);
            let tally = world.beginning(UnixTime(unix_s * 1000)).run().unwrap();
            assert!((720..750).contains(&tally.tick_count), "{unix_s}: {tally:?}");
            assert_eq!(tally.lost_count, 0);
        }
    }

    #[test]
    fn random_worlds_lose_nothing_unsaid() {
        let mut fault_count = 0;
        for seed in 0..12 {
            match random(seed, &Kind::ALL) {
                Ok(tally) => fault_count += tally.fault_count,
                Err(error) => panic!("cargo sim --seeds 1 --first {seed}   # {error}"),
            }
        }
        assert!(fault_count > 50);
    }

    #[test]
    fn a_run_has_the_names_of_the_machine_that_went_on_with_it() {
        // A copy's dictionary went on otherwise, and named slots of a run that it had only the beginning of.
        random(91, &Kind::ALL[..14]).unwrap();
    }

    #[test]
    fn equal_seeds_have_equal_histories() {
        assert_eq!(random(7, &Kind::ALL), random(7, &Kind::ALL));
        assert_ne!(random(7, &Kind::ALL).unwrap().trace, random(8, &Kind::ALL).unwrap().trace);
    }
}
