use super::*;
use crate::dice::Dice;

/// 2026-01-01, when the program was built; it is a hundred days later.
const BUILD: u64 = 1_767_225_600_000;
const NOW: u64 = BUILD + 100 * 86_400_000;

fn timekeeper() -> Timekeeper {
    Timekeeper::new(Bounds { build: UnixTime(BUILD), last_known: None, span: PLAUSIBLE_SPAN })
}

fn exchange(now: Instant, unix: u64, round_trip: u64) -> Exchange {
    let there = UnixTime(unix - round_trip / 2);
    Exchange { sent: Instant(now.0 - round_trip), received: there, answered: there, heard: now }
}

fn kernel(unix: u64) -> Input {
    Input::Kernel { unix: UnixTime(unix), error_max: Span(20) }
}

/// Tells inputs at one moment; returns who is believed, by how much that is off [`NOW`], and what was said.
fn tell(timekeeper: &mut Timekeeper, inputs: &[Input]) -> (Option<(Source, i64)>, std::vec::Vec<Outcome>) {
    let now = Instant(100_000);
    inputs.iter().for_each(|input| timekeeper.handle_input(now, *input));
    let belief = timekeeper.belief(now).map(|belief| (belief.source, belief.unix.0 as i64 - NOW as i64));
    (belief, std::iter::from_fn(|| timekeeper.poll_output()).collect())
}

fn hub(unix: u64) -> Input {
    Input::Hub(exchange(Instant(100_000), unix, 400))
}

#[test]
fn a_boot_that_is_told_nothing_plausible_does_not_know_the_time() {
    let mut timekeeper = timekeeper();
    let refused = |source, refusal| Outcome::Refused { source, refusal };
    let inputs = [
        Input::Rtc(UnixTime(0)),
        Input::Rtc(UnixTime(5000)),
        kernel(BUILD - 1),
        Input::Modem(UnixTime(BUILD + PLAUSIBLE_SPAN.0 + 1)),
        Input::Hub(Exchange { answered: UnixTime(NOW + 9999), ..exchange(Instant(100_000), NOW, 10) }),
    ];
    let (belief, said) = tell(&mut timekeeper, &inputs);
    assert_eq!(belief, None);
    let expected = [
        refused(Source::Rtc, Refusal::BeforeBuild),
        refused(Source::Kernel, Refusal::BeforeBuild),
        refused(Source::Modem, Refusal::TooLate),
        refused(Source::Hub, Refusal::Impossible),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_shelf_does_not_make_the_time_implausible_and_a_wrong_last_time_refuses_nothing() {
    let later = BUILD + PLAUSIBLE_SPAN.0;
    let last_known = Some(UnixTime(later - 1));
    let mut timekeeper = Timekeeper::new(Bounds { last_known, ..timekeeper().bounds });
    assert_eq!(tell(&mut timekeeper, &[kernel(later + 86_400_000)]).1, [Outcome::Learned { source: Source::Kernel }]);
    assert_eq!(tell(&mut timekeeper, &[kernel(NOW)]).0, Some((Source::Kernel, 0)));
}

#[test]
fn the_better_class_wins_and_a_step_is_said() {
    let mut timekeeper = timekeeper();
    let (belief, said) = tell(&mut timekeeper, &[Input::Rtc(UnixTime(NOW + 60_000))]);
    assert_eq!((belief, said), (Some((Source::Rtc, 60_000)), vec![Outcome::Learned { source: Source::Rtc }]));
    let (belief, said) = tell(&mut timekeeper, &[Input::Modem(UnixTime(NOW + 1000))]);
    assert_eq!((belief, said), (Some((Source::Modem, 1000)), vec![Outcome::Stepped { by_ms: -59_000 }]));
    let (belief, said) = tell(&mut timekeeper, &[hub(NOW), kernel(NOW + 7)]);
    assert_eq!((belief, said), (Some((Source::Kernel, 7)), vec![]));
    let (belief, said) = tell(&mut timekeeper, &[Input::KernelUnsynchronised]);
    assert_eq!((belief, said), (Some((Source::Hub, 0)), vec![]));
}

#[test]
fn of_two_that_disagree_the_most_trusted_wins_and_it_is_said_once() {
    let mut timekeeper = timekeeper();
    let (belief, said) = tell(&mut timekeeper, &[kernel(NOW), hub(NOW + 5000), hub(NOW + 5000), kernel(NOW)]);
    assert_eq!(belief, Some((Source::Kernel, 0)));
    let disagreed = Outcome::Disagreed { believed: Source::Kernel, other: Source::Hub, by_ms: 5000 };
    assert_eq!(said, [Outcome::Learned { source: Source::Kernel }, disagreed]);
    let (_, said) = tell(&mut timekeeper, &[hub(NOW), hub(NOW + 5000)]);
    assert_eq!(said, [disagreed]);
}

#[test]
fn two_outvote_one_and_a_vague_one_decides_nothing_alone() {
    let gnss = |unix| Input::Gnss { unix: UnixTime(unix), uncertainty: Span(500) };
    let rtc = Input::Rtc(UnixTime(NOW));
    let (belief, said) = tell(&mut timekeeper(), &[kernel(NOW + 3_600_000), rtc, hub(NOW), gnss(NOW)]);
    assert_eq!(belief, Some((Source::Hub, 0)));
    assert!(said.contains(&Outcome::Stepped { by_ms: -3_600_000 }), "{said:?}");
    // The RTC is near both of these, and helps neither.
    assert_eq!(tell(&mut timekeeper(), &[kernel(NOW + 60_000), rtc, hub(NOW)]).0, Some((Source::Kernel, 60_000)));
}

#[test]
fn a_source_that_has_grown_vague_has_no_rank() {
    let mut timekeeper = timekeeper();
    timekeeper.handle_input(Instant(1000), Input::Hub(exchange(Instant(1000), NOW, 400)));
    let two_days = Instant(1000 + 2 * 86_400_000);
    timekeeper.handle_input(two_days, Input::Modem(UnixTime(NOW + 2 * 86_400_000 + 3000)));
    let belief = timekeeper.belief(two_days).unwrap();
    assert_eq!(belief.to_string(), "2026-04-13T00:00:03Z by modem, within 2s2ms");
}

/// A boot's clock of uptime, which drifts.
struct Crystal {
    ppm: i64,
    start: u64,
}

impl Crystal {
    /// True time at an instant of uptime.
    fn truth(&self, now: Instant) -> u64 {
        self.start + now.0.saturating_add_signed(now.0 as i64 * self.ppm / 1_000_000)
    }
}

/// Lives a boot of ten days with honest sources, and `liar`, if there is one. Returns how often the truth was not within the
/// stated uncertainty.
fn live(seed: u64, liar: Option<Source>) -> usize {
    let mut dice = Dice(seed);
    let crystal = Crystal { ppm: dice.below(131) as i64 - 65, start: NOW + dice.below(1 << 40) };
    let mut timekeeper = timekeeper();
    let lie = 20_000 + dice.below(1 << 33);
    let is_wrong = |timekeeper: &Timekeeper, now: Instant| {
        let belief = timekeeper.belief(now);
        belief.is_some_and(|belief| belief.unix.0.abs_diff(crystal.truth(now)) > belief.uncertainty.0)
    };
    let (mut now, mut wrong_count) = (Instant(dice.below(100_000)), 0);
    while now.0 < 10 * 86_400_000 {
        let source = Source::ALL[dice.below(SOURCE_COUNT as u64) as usize];
        let told = |at: Instant| crystal.truth(at) + if liar == Some(source) { lie } else { 0 };
        let error = |dice: &mut Dice, most: u64| dice.below(2 * most + 1) as i64 - most as i64;
        let unix = |dice: &mut Dice, most: u64| UnixTime(told(now).saturating_add_signed(error(dice, most)));
        let input = match source {
            Source::Kernel => {
                let error_max = dice.below(200);
                Input::Kernel { unix: unix(&mut dice, error_max), error_max: Span(error_max) }
            }
            Source::Gnss => Input::Gnss { unix: unix(&mut dice, 900), uncertainty: Span(900) },
            Source::Modem => Input::Modem(unix(&mut dice, 2000)),
            Source::Rtc => Input::Rtc(unix(&mut dice, 600_000)),
            Source::Hub | Source::Sntp => {
                // Ways there and back have nothing to do with each other.
                let [there, work, back] = [3000, 500, 3000].map(|most| {
                    let bound = 1 + dice.below(most);
                    dice.below(bound)
                });
                let sent = now;
                let received = UnixTime(told(now + Span(there)));
                let answered = UnixTime(told(now + Span(there + work)));
                now = now + Span(there + work + back);
                let exchange = Exchange { sent, received, answered, heard: now };
                if source == Source::Hub { Input::Hub(exchange) } else { Input::Sntp { exchange, distance: Span(0) } }
            }
        };
        timekeeper.handle_input(now, input);
        wrong_count += usize::from(is_wrong(&timekeeper, now));
        let pause_max = 1 << (10 + dice.below(16));
        now = now + Span(dice.below(pause_max));
        wrong_count += usize::from(is_wrong(&timekeeper, now));
    }
    wrong_count
}

#[test]
fn the_truth_is_always_within_the_stated_uncertainty() {
    for seed in 0..300 {
        assert_eq!(live(seed, None), 0, "seed {seed}");
    }
}

#[test]
fn one_liar_is_outvoted_once_the_honest_have_spoken() {
    for seed in 0..100 {
        let liar = Source::ALL[seed as usize % SOURCE_COUNT];
        // Of some hundred moments, only those before a second honest source was heard.
        let wrong_count = live(seed, Some(liar));
        assert!(wrong_count <= 10, "seed {seed}: {liar} was believed {wrong_count} times");
    }
}

#[test]
fn whatever_is_told_nothing_panics() {
    let mut dice = Dice(5);
    for _ in 0..2000 {
        let span = Span(dice.bits() >> dice.below(64));
        let mut timekeeper = Timekeeper::new(Bounds { build: UnixTime(0), last_known: None, span });
        for _ in 0..20 {
            let mut any = || dice.bits() >> dice.below(64);
            let now = Instant(any());
            let exchange = Exchange {
                sent: Instant(any()),
                received: UnixTime(any()),
                answered: UnixTime(any()),
                heard: Instant(any()),
            };
            let (unix, span) = (UnixTime(any()), Span(any()));
            let input = match dice.below(7) {
                0 => Input::Gnss { unix, uncertainty: span },
                1 => Input::Hub(exchange),
                2 => Input::Kernel { unix, error_max: span },
                3 => Input::KernelUnsynchronised,
                4 => Input::Modem(unix),
                5 => Input::Rtc(unix),
                _ => Input::Sntp { exchange, distance: span },
            };
            timekeeper.handle_input(now, input);
            timekeeper.belief(now);
        }
    }
}
