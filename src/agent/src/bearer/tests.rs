use super::*;
use crate::dice::Dice;

const SECOND: u64 = 1000;
const GOOD: Facts = Facts { has_carrier: true, has_ipv4: true, has_ipv6: false };

fn settings(patterns: &[&str]) -> Settings {
    let choice = |pattern: &&str| Choice {
        pattern: name(pattern).unwrap(),
        kind: Kind::Cellular,
        carrier: Carrier::Stream,
        is_metered: true,
        limit: None,
    };
    Settings { choices: patterns.iter().map(choice).collect(), ..Settings::default() }
}

/// Bearers under a hand-moved clock.
struct Bench {
    bearers: Bearers,
    now: Instant,
}

impl Bench {
    fn new(patterns: &[&str]) -> Bench {
        Bench { bearers: Bearers::new(settings(patterns), Instant(0)), now: Instant(0) }
    }

    fn set(&mut self, name: &str, facts: Facts) {
        self.bearers.handle_input(self.now, Input::Interface { name, facts });
    }

    fn tell(&mut self, input: impl FnOnce(Turn) -> Input<'static>) {
        self.bearers.handle_input(self.now, input(self.bearers.turn));
    }

    /// Moves the clock from deadline to deadline.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + Span::seconds(seconds);
        while let Some(at) = self.bearers.poll_timeout().filter(|at| *at <= until) {
            assert!(at > self.now, "a deadline that does not pass");
            self.now = at;
            self.bearers.handle_timeout(at);
        }
        self.now = until;
        self.bearers.handle_timeout(until);
    }

    fn check(&mut self, expected: &str, reason: impl Into<Option<Reason>>) {
        let in_use = self.bearers.in_use().map(|in_use| in_use.name);
        assert_eq!(in_use.as_deref().unwrap_or("-"), expected, "at {:?}", self.now);
        assert_eq!(self.bearers.poll_output().map(|switch| switch.reason), reason.into());
    }
}

#[test]
fn a_machine_without_settings_uses_what_the_system_routes() {
    let mut bench = Bench::new(&[]);
    bench.check(DEFAULT, Reason::Idle);
    for _ in 0..100 {
        bench.tell(Input::DialFailed);
        bench.wait(900);
    }
    bench.check(DEFAULT, None);
    assert_eq!(bench.bearers.poll_timeout(), None);
}

#[test]
fn a_carrier_without_an_address_is_not_usable() {
    let mut bench = Bench::new(&["eth0", "wwan*"]);
    bench.set("eth0", Facts { has_carrier: true, ..Facts::default() });
    bench.set("lo", GOOD);
    bench.check("-", None);
    bench.set("wwan1", GOOD);
    bench.check("wwan1", Reason::Idle);
}

#[test]
fn one_that_vanishes_is_left_at_once() {
    let mut bench = Bench::new(&["eth0", "wwan*"]);
    bench.set("eth0", GOOD);
    bench.set("wwan0", GOOD);
    bench.tell(Input::Heard);
    bench.check("eth0", Reason::Idle);
    bench.bearers.handle_input(bench.now, Input::Gone { name: "eth0" });
    bench.check("wwan0", Reason::Vanished);
}

#[test]
fn one_whose_dials_fail_or_whose_links_break_is_left_for_another() {
    let mut bench = Bench::new(&["eth0", "wwan0"]);
    bench.set("eth0", GOOD);
    bench.check("eth0", Reason::Idle);
    (0..5).for_each(|_| bench.tell(Input::DialFailed));
    bench.check("eth0", None);
    bench.set("wwan0", GOOD);
    bench.check("wwan0", Reason::Failing);
    // A good link that ends is no fault; three short ones are.
    bench.tell(Input::Heard);
    bench.wait(59);
    bench.tell(Input::LinkLost);
    for _ in 0..2 {
        bench.check("wwan0", None);
        bench.tell(Input::Heard);
        bench.tell(Input::Stalled);
    }
    bench.check("eth0", Reason::Failing);
}

#[test]
fn a_captive_portal_is_left_without_a_word() {
    let mut bench = Bench::new(&["wlan0", "wwan0"]);
    bench.set("wlan0", GOOD);
    bench.set("wwan0", GOOD);
    bench.check("wlan0", Reason::Idle);
    bench.wait(119);
    bench.check("wlan0", None);
    bench.wait(1);
    bench.check("wwan0", Reason::Silent);
}

#[test]
fn a_better_one_must_be_usable_for_its_hold() {
    let mut bench = Bench::new(&["eth0", "wwan0"]);
    bench.set("wwan0", GOOD);
    bench.tell(Input::Heard);
    bench.check("wwan0", Reason::Idle);
    for _ in 0..20 {
        bench.set("eth0", GOOD);
        bench.wait(59);
        bench.set("eth0", Facts::default());
    }
    bench.check("wwan0", None);
    bench.set("eth0", GOOD);
    bench.wait(60);
    bench.check("eth0", Reason::Better);
}

#[test]
fn a_better_one_that_is_dead_is_tried_once_at_growing_pauses() {
    let mut bench = Bench::new(&["eth0", "wwan0"]);
    bench.set("wwan0", GOOD);
    bench.tell(Input::Heard);
    bench.set("eth0", GOOD);
    bench.check("wwan0", Reason::Idle);
    for hold in [60, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        bench.wait(hold - 1);
        bench.check("wwan0", None);
        bench.wait(1);
        bench.check("eth0", Reason::Better);
        bench.tell(Input::DialFailed);
        bench.check("wwan0", Reason::Failing);
        bench.tell(Input::Heard);
    }
    // It works at last, and after a calm quarter of an hour its past is forgotten.
    bench.wait(3600);
    bench.tell(Input::Heard);
    bench.wait(15 * 60);
    bench.set("eth0", Facts::default());
    bench.set("eth0", GOOD);
    bench.tell(Input::Heard);
    bench.check("wwan0", Reason::Vanished);
    bench.wait(60);
    bench.check("eth0", Reason::Better);
}

#[test]
fn of_several_dead_ones_each_gets_its_turn() {
    let mut bench = Bench::new(&["eth0", "wlan0", "wwan0"]);
    for name in ["wwan0", "eth0", "wlan0"] {
        bench.set(name, GOOD);
    }
    let mut seen = String::new();
    for _ in 0..9 {
        bench.wait(SILENCE_MAX.0 / SECOND);
        seen.push_str(&bench.bearers.in_use().unwrap().name[..2]);
    }
    for name in ["et", "wl", "ww"] {
        assert!(seen.matches(name).count() >= 2, "{seen}");
    }
}

#[test]
fn what_is_told_of_a_turn_that_is_over_is_ignored() {
    let mut bench = Bench::new(&["eth0", "wwan0"]);
    bench.set("eth0", GOOD);
    let old = bench.bearers.turn;
    bench.set("eth0", Facts::default());
    bench.set("wwan0", GOOD);
    (0..9).for_each(|_| bench.bearers.handle_input(bench.now, Input::DialFailed(old)));
    assert_eq!(bench.bearers.ignored_count(), 9);
    bench.set("eth0", GOOD);
    bench.check("wwan0", Reason::Vanished);
}

#[test]
fn a_pattern_takes_more_interfaces_than_there_is_room_for() {
    let mut bench = Bench::new(&["*"]);
    for number in 0..20 {
        bench.set(&format!("veth{number}"), GOOD);
    }
    assert_eq!((bench.bearers.list().len(), bench.bearers.ignored_count()), (BEARER_COUNT_MAX, 12));
    bench.set("veth7", Facts::default());
    bench.set("eth0", GOOD);
    assert!(bench.bearers.list().iter().any(|listed| listed.name == "eth0"));
    bench.set("a name that no kernel has", GOOD);
    bench.check("veth0", Reason::Idle);
}

#[test]
fn interfaces_that_flap_every_second_are_damped_and_then_taken_within_a_minute() {
    let mut bench = Bench::new(&["eth0", "wwan0"]);
    for second in 0..3 * 3600 {
        let (up, down) = if second % 2 == 0 { ("eth0", "wwan0") } else { ("wwan0", "eth0") };
        bench.set(down, Facts::default());
        bench.set(up, GOOD);
        bench.wait(1);
    }
    let taken = bench.bearers.turn.0 as usize;
    assert!((40..=TAKEN_PER_HOUR_MAX * 2 * 3).contains(&taken), "{taken}");
    bench.set("eth0", GOOD);
    bench.wait(60);
    assert!(bench.bearers.in_use().is_some());
}

/// What an interface of a random life does.
#[derive(Clone, Copy)]
struct Nature {
    is_usable: bool,
    /// Whether the hub answers over it; if not, whether dials fail or hang.
    works: bool,
    hangs: bool,
    /// Since when usable and works.
    good_since: Option<u64>,
}

/// Lives a random life of `hours`, in which each interface changes once in `calm` seconds; returns the takes in the worst hour.
fn live(seed: u64, count: usize, hours: u64, calm: u64) -> usize {
    let names = ["eth0", "wlan0", "wwan0", "sat0"];
    let mut bench = Bench::new(&names[..count]);
    let mut dice = Dice(seed);
    let mut natures = [Nature { is_usable: false, works: false, hangs: false, good_since: None }; 4];
    let (mut taken, mut turn) = (vec![], Turn(0));
    let mut acts_at = 0;
    let mut up_since: Option<u64> = None;
    // One silence for each bearer that does not work, and the damping.
    let settle = count as u64 * SILENCE_MAX.0 / SECOND + 60;
    for second in 1..hours * 3600 {
        bench.wait(1);
        for (nature, name) in natures.iter_mut().zip(&names[..count]) {
            if dice.one_in(calm) {
                let works = dice.one_in(2);
                *nature = Nature { is_usable: !dice.one_in(3), works, hangs: dice.one_in(2), good_since: None };
                nature.good_since = (nature.is_usable && works).then_some(second);
                let facts = if nature.is_usable { GOOD } else { Facts::default() };
                bench.set(name, facts);
            }
        }
        let in_use = bench.bearers.in_use();
        if let Some(in_use) = &in_use
            && in_use.turn != turn
        {
            turn = in_use.turn;
            taken.push(second);
            acts_at = second + 1 + dice.below(10);
        }
        let current = in_use.map(|in_use| names.iter().position(|name| *name == in_use.name).unwrap());
        let is_up = current.is_some_and(|current| matches!(state(&bench.bearers, names[current]), State::Up { .. }));
        if let Some(current) = current
            && second >= acts_at
        {
            let nature = natures[current];
            acts_at = second + 1 + dice.below(20);
            match (nature.works, is_up) {
                (true, _) => bench.tell(Input::Heard),
                (false, true) => bench.tell(if nature.hangs { Input::Stalled } else { Input::LinkLost }),
                (false, false) if nature.hangs => {}
                (false, false) => bench.tell(Input::DialFailed),
            }
        }
        // While one works for long enough, and is not just left for a trial of a better one, one that works is up.
        let works = current.is_some_and(|current| natures[current].good_since.is_some());
        up_since = if works && is_up { Some(second) } else { up_since };
        let first_good = natures[..count].iter().filter_map(|nature| nature.good_since).min();
        if let Some(good) = first_good
            && second > good.max(up_since.unwrap_or(0)) + settle
        {
            panic!("seed {seed}: nothing is up at {second} though one works since {good}; up last {up_since:?}");
        }
        // Once the best one that works has been good for the longest hold, it is the one.
        let best = natures[..count].iter().position(|nature| nature.good_since.is_some());
        if let Some(best) = best
            && natures[best].good_since.is_some_and(|good| second > good + 3600 + settle)
            && is_up
        {
            assert!(current.unwrap() <= best, "seed {seed}: {} is up at {second}", names[current.unwrap()]);
        }
    }
    (0..hours)
        .map(|hour| taken.iter().filter(|at| (hour * 3600..(hour + 1) * 3600).contains(at)).count())
        .max()
        .unwrap()
}

fn state(bearers: &Bearers, name: &str) -> State {
    bearers.list().into_iter().find(|listed| listed.name == name).unwrap().state
}

#[test]
fn in_random_lives_one_that_works_is_in_use_and_switches_are_bounded() {
    let mut worst = 0;
    for seed in 0..60 {
        let count = 1 + seed as usize % 4;
        let calm = [20, 300, 3000, 20_000][seed as usize / 4 % 4];
        let taken = live(seed, count, 12, calm);
        worst = worst.max(taken);
        assert!(taken <= TAKEN_PER_HOUR_MAX * count, "seed {seed}: {taken} in an hour");
    }
    assert!(worst > 20, "the lives are too calm: {worst}");
}
