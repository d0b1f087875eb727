use super::*;
use crate::bearer::choice::name;
use crate::dice::Dice;

/// A link under a hand-moved clock, measured every ten seconds.
struct Bench {
    gauge: Gauge,
    now: Instant,
}

fn bearer(kind: Kind, technology: Option<Technology>) -> Bearer {
    Bearer { name: name(&format!("{kind:?}")).unwrap(), kind, is_metered: kind.is_usually_metered(), technology }
}

fn busy(goodput_bps: u32) -> Window {
    Window { goodput_bps, is_app_limited: false, round_trip_min_ms: 100, loss_per_mille: 0 }
}

fn idle() -> Window {
    Window { is_app_limited: true, ..busy(500) }
}

impl Bench {
    fn new(kind: Kind, technology: Option<Technology>) -> Bench {
        let mut gauge = Gauge::new(Memory::default());
        gauge.bearer(Instant(0), Some(bearer(kind, technology)));
        Bench { gauge, now: Instant(0) }
    }

    /// `seconds` of equal windows, and the tiers that came of them.
    fn run(&mut self, seconds: u64, window: Window) -> Vec<(u64, Tier)> {
        let start = self.now;
        let mut changes = Vec::new();
        while self.now - start < Span::seconds(seconds) {
            self.now = self.now + Span::seconds(10);
            if self.gauge.window(self.now, window) {
                changes.push(((self.now - start).0 / 1000, self.gauge.tier()));
            }
        }
        changes
    }
}

#[test]
fn a_new_bearer_has_the_tier_of_its_kind_at_once() {
    for (kind, technology, expected) in [
        (Kind::Wired, None, Tier::Wired),
        (Kind::Wlan, None, Tier::Wired),
        (Kind::Cellular, None, Tier::ThirdGeneration),
        (Kind::Cellular, Some(Technology::Second), Tier::Edge),
        (Kind::Cellular, Some(Technology::Third), Tier::ThirdGeneration),
        (Kind::Cellular, Some(Technology::Fourth), Tier::Lte),
        (Kind::Satellite, None, Tier::Satellite),
    ] {
        assert_eq!(Bench::new(kind, technology).gauge.tier(), expected, "{kind:?} {technology:?}");
    }
}

#[test]
fn a_walk_over_satellite_edge_wired_and_satellite_settles_within_a_minute() {
    let mut bench = Bench::new(Kind::Satellite, None);
    // The modem does not say what it speaks, so the first time EDGE is found by measuring.
    for round in 0..3 {
        for (kind, goodput_bps, expected) in [
            (Kind::Satellite, 2400, Tier::Satellite),
            (Kind::Cellular, 30_000, Tier::Edge),
            (Kind::Wired, 5_000_000, Tier::Wired),
            (Kind::Satellite, 2400, Tier::Satellite),
        ] {
            bench.gauge.bearer(bench.now, Some(bearer(kind, None)));
            let changes = bench.run(60, Window { round_trip_min_ms: 700, ..busy(goodput_bps) });
            assert_eq!(bench.gauge.tier(), expected);
            assert!(changes.len() <= usize::from(round == 0), "{changes:?}");
            assert_eq!(bench.run(600, busy(goodput_bps)), []);
        }
    }
}

#[test]
fn two_bad_windows_lead_down_and_one_does_not() {
    let mut bench = Bench::new(Kind::Wired, None);
    for _ in 0..50 {
        assert_eq!(bench.run(10, busy(500_000)), []);
        assert_eq!(bench.run(10, busy(700_000)), []);
    }
    assert_eq!(bench.run(60, busy(50_000)), [(20, Tier::ThirdGeneration)]);
    // Two windows in one breath are one.
    let mut bench = Bench::new(Kind::Wired, None);
    assert!((0..9).all(|_| !bench.gauge.window(bench.now, busy(1000))));
}

#[test]
fn an_idle_link_is_not_a_slow_one() {
    let mut bench = Bench::new(Kind::Wired, None);
    assert_eq!(bench.run(86_400, idle()), []);
}

#[test]
fn three_good_minutes_with_a_margin_lead_up() {
    let mut bench = Bench::new(Kind::Cellular, None);
    // Above what LTE is entered at, without the margin over what it is left at.
    assert_eq!(bench.run(600, busy(300_000)), []);
    for _ in 0..20 {
        assert_eq!(bench.run(170, busy(900_000)), []);
        assert_eq!(bench.run(10, busy(100_000)), []);
    }
    // A few proofs are not enough, however long they take.
    for _ in 0..3 {
        assert_eq!(bench.run(10, busy(900_000)), []);
        assert_eq!(bench.run(110, idle()), []);
    }
    assert_eq!(bench.run(10, busy(100_000)), []);
    // Metered is never wired.
    assert_eq!(bench.run(3600, busy(90_000_000)), [(190, Tier::Lte)]);
    let is_metered = Bearer { is_metered: true, ..bearer(Kind::Wired, None) };
    bench.gauge.bearer(bench.now, Some(bearer(Kind::Wired, None)));
    bench.run(10, idle());
    bench.gauge.bearer(bench.now, Some(is_metered));
    assert_eq!(bench.gauge.tier(), Tier::Lte);
}

#[test]
fn noise_around_a_bound_changes_a_tier_once() {
    let mut bench = Bench::new(Kind::Cellular, Some(Technology::Fourth));
    let mut dice = Dice(7);
    let windows = (0..3600).map(|_| busy(120_000 + dice.below(150_000) as u32));
    let changes: usize = windows.map(|window| bench.run(10, window).len()).sum();
    assert_eq!((changes, bench.gauge.tier()), (1, Tier::ThirdGeneration));
}

#[test]
fn a_metered_link_with_long_round_trips_is_a_satellite_until_they_are_short() {
    let mut bench = Bench::new(Kind::Cellular, None);
    let far = Window { round_trip_min_ms: 1500, ..busy(100_000) };
    assert_eq!(bench.run(10, far), []);
    assert_eq!(bench.run(10, busy(100_000)), []);
    assert_eq!(bench.run(600, far), [(20, Tier::Satellite)]);
    assert_eq!(bench.run(600, Window { round_trip_min_ms: 1000, ..far }), []);
    assert_eq!(bench.run(600, busy(100_000)), [(190, Tier::ThirdGeneration)]);
}

#[test]
fn loss_leads_one_tier_down_at_a_time() {
    let mut bench = Bench::new(Kind::Wired, None);
    let lossy = Window { loss_per_mille: 150, ..idle() };
    assert_eq!(bench.run(40, lossy), [(20, Tier::Lte), (40, Tier::ThirdGeneration)]);
}

#[test]
fn an_idle_link_comes_back_by_trials_at_growing_pauses() {
    let mut bench = Bench::new(Kind::Wired, None);
    bench.run(20, busy(200_000));
    assert_eq!(bench.run(3600, idle()), [(900, Tier::Wired)]);
    bench.run(20, busy(200_000));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let start = bench.now;
        while bench.run(10, idle()).is_empty() {}
        pauses.push((bench.now - start).0 / 60_000);
        assert_eq!(bench.run(20, busy(200_000)), [(20, Tier::Lte)]);
    }
    assert_eq!(pauses, [15, 30, 60, 60, 60, 60, 60, 60]);
    // One that ends late was none.
    bench.run(6 * 3600, idle());
    bench.run(20, busy(200_000));
    assert_eq!(bench.run(3600, idle()), [(900, Tier::Wired)]);
}

#[test]
fn a_worse_technology_counts_at_once_and_a_better_one_after_three_minutes() {
    let mut bench = Bench::new(Kind::Cellular, Some(Technology::Fourth));
    bench.gauge.technology(bench.now, Some(Technology::Second));
    assert_eq!(bench.gauge.tier(), Tier::Edge);
    bench.gauge.technology(bench.now, Some(Technology::Fourth));
    assert_eq!(bench.gauge.tier(), Tier::Edge);
    assert_eq!(bench.run(600, idle()), [(180, Tier::Lte)]);
}

#[test]
fn three_failed_dials_are_offline_and_an_answer_is_not() {
    let mut bench = Bench::new(Kind::Wired, None);
    for expected in [Tier::Wired, Tier::Wired, Tier::Offline, Tier::Offline] {
        bench.gauge.dial_failed();
        assert_eq!(bench.gauge.tier(), expected);
    }
    assert_eq!(bench.run(10, idle()), [(10, Tier::Wired)]);
    bench.gauge.bearer(bench.now, None);
    assert_eq!(bench.gauge.tier(), Tier::Offline);
}

#[test]
fn a_restart_begins_where_the_link_was() {
    let mut bench = Bench::new(Kind::Cellular, None);
    bench.run(600, Window { round_trip_min_ms: 640, loss_per_mille: 20, ..busy(20_000) });
    let memory = Memory::decode(&bench.gauge.memory().encode()).unwrap();
    assert_eq!(memory.of("Cellular").unwrap().tier, Tier::Edge);
    let mut gauge = Gauge::new(memory);
    gauge.bearer(Instant(0), Some(bearer(Kind::Cellular, None)));
    assert_eq!(gauge.tier(), Tier::Edge);
    // Of another technology it says nothing.
    gauge.bearer(Instant(0), Some(bearer(Kind::Cellular, Some(Technology::Fourth))));
    assert_eq!(gauge.tier(), Tier::Lte);
}

#[test]
fn whatever_is_measured_a_tier_changes_at_most_forty_times_an_hour() {
    let kinds = [Kind::Wired, Kind::Wlan, Kind::Cellular, Kind::Satellite];
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut bench = Bench::new(kinds[seed as usize % 4], None);
        let (mut changes, mut level) = (0, 0);
        for _ in 0..360 {
            level = if dice.one_in(20) { 1 + dice.below(24) } else { level };
            let window = Window {
                goodput_bps: dice.below(1 << level) as u32,
                is_app_limited: dice.one_in(2),
                round_trip_min_ms: if dice.one_in(10) { 2000 } else { 50 },
                loss_per_mille: if dice.one_in(10) { 500 } else { 0 },
            };
            changes += bench.run(10, window).len();
            assert!(bench.gauge.tier() >= bench.gauge.bearer.as_ref().unwrap().ceiling());
        }
        // Each good three minutes may be followed by a way down through four tiers.
        assert!(changes <= 40, "seed {seed}: {changes}");
    }
}
