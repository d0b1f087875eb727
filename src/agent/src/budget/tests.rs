use super::calendar::{DAY_MS, HOUR_MS};
use super::*;
use crate::dice::Dice;
use wire::time::{BootId, UnixTime};

const SIM: &str = "wwan0";

/// A moment of boot 1, which began at midnight of a day.
fn at(day: u64, hour: u64) -> Stamp {
    let uptime = Instant((day - 1000) * DAY_MS + hour * HOUR_MS);
    Stamp { boot: BootId(1), uptime, unix: Some(UnixTime(day * DAY_MS + hour * HOUR_MS)) }
}

fn daily(bytes: u64) -> Limit {
    Limit { day_bytes: Some(bytes), ..Limit::default() }
}

fn ledger(limit: Limit) -> Ledger {
    let mut ledger = Ledger::new(at(1000, 0), 0);
    ledger.limit(at(1000, 0), SIM, limit);
    ledger
}

/// The hour of boot 1 until which the gate is closed.
fn closed_until_hour(ledger: &mut Ledger, now: Stamp, purpose: Use, bytes: u64) -> Option<u64> {
    match ledger.may_send(now, SIM, purpose, bytes) {
        Verdict::Yes => None,
        Verdict::NotBefore(at) => Some(at.0 / HOUR_MS),
    }
}

#[test]
fn the_gate_closes_at_the_open_part_until_midnight() {
    let mut ledger = ledger(daily(1000));
    ledger.spend(at(1000, 1), SIM, Use::Raw, 850);
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 1), Use::Summary, 50), None);
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 1), Use::Summary, 51), Some(24));
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 1), Use::Urgent, 150), None);
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 1), Use::Urgent, 151), Some(24));
    assert_eq!(closed_until_hour(&mut ledger, at(1001, 0), Use::Summary, 900), None);
}

#[test]
fn the_reserve_is_there_whatever_other_programs_spend() {
    let mut ledger = ledger(daily(1000));
    assert_eq!(ledger.reconcile(at(1000, 1), SIM, 5000), 0);
    ledger.spend(at(1000, 2), SIM, Use::Raw, 100);
    assert_eq!(ledger.reconcile(at(1000, 3), SIM, 15_100), 10_000);
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 3), Use::Overhead, 1), Some(24));
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 3), Use::Urgent, 100), None);
    ledger.spend(at(1000, 3), SIM, Use::Urgent, 100);
    assert_eq!(closed_until_hour(&mut ledger, at(1000, 3), Use::Urgent, 1), Some(24));
}

#[test]
fn a_billing_month_closes_until_its_day() {
    // Day 19752 is 2024-01-30.
    let mut ledger = Ledger::new(at(19_752, 0), 0);
    ledger.limit(at(19_752, 0), SIM, Limit { month_bytes: Some(1000), first_day: 5, ..Limit::default() });
    ledger.spend(at(19_752, 1), SIM, Use::Raw, 900);
    let february_5 = (19_752 - 1000 + 6) * 24;
    assert_eq!(closed_until_hour(&mut ledger, at(19_752, 1), Use::Raw, 1), Some(february_5));
    let mut ledger = Ledger::decode(&ledger.encode(), 0).unwrap();
    ledger.spend(at(19_757, 22), "eth0", Use::Raw, 1);
    ledger.limit(at(19_757, 23), SIM, Limit { month_bytes: Some(1000), first_day: 5, ..Limit::default() });
    assert_eq!(closed_until_hour(&mut ledger, at(19_757, 23), Use::Raw, 1), Some(february_5));
    assert_eq!(closed_until_hour(&mut ledger, at(19_758, 0), Use::Raw, 900), None);
}

#[test]
fn an_interface_that_counts_anew_or_late_is_understood() {
    let mut ledger = ledger(daily(1000));
    ledger.reconcile(at(1000, 0), SIM, 1_000_000);
    ledger.spend(at(1000, 0), SIM, Use::Raw, 300);
    // The last packets are still on their way.
    assert_eq!(ledger.reconcile(at(1000, 1), SIM, 1_000_250), 0);
    assert_eq!(ledger.reconcile(at(1000, 2), SIM, 1_000_310), 10);
    assert_eq!(ledger.reconcile(at(1000, 3), SIM, 40), 40);
    assert_eq!(ledger.standing(at(1000, 3), SIM).unwrap().day_bytes, 350);
}

#[test]
fn steps_are_passed_once_and_hold_until_the_day_is_over() {
    let mut ledger = ledger(daily(1000));
    let mut pressures = Vec::<_, 32>::new();
    for hour in 0..20 {
        ledger.spend(at(1000, hour), SIM, Use::Raw, 45);
        pressures.push((hour, ledger.standing(at(1000, hour), SIM).unwrap().pressure)).unwrap();
    }
    let first = |step| pressures.iter().find(|(_, pressure)| *pressure == step).map(|(hour, _)| hour + 1);
    assert_eq!([Pressure::Tight, Pressure::Short, Pressure::Spent].map(first), [Some(14), Some(17), Some(19)]);
    assert!(pressures.is_sorted_by_key(|(_, pressure)| *pressure));
    // A limit that is a little higher changes nothing, a much higher one does.
    ledger.limit(at(1000, 20), SIM, daily(1040));
    assert_eq!(ledger.standing(at(1000, 20), SIM).unwrap().pressure, Pressure::Spent);
    ledger.limit(at(1000, 20), SIM, daily(5000));
    assert_eq!(ledger.standing(at(1000, 20), SIM).unwrap().pressure, Pressure::None);
    ledger.limit(at(1000, 21), SIM, daily(1000));
    assert_eq!(ledger.standing(at(1001, 0), SIM).unwrap().pressure, Pressure::None);
}

/// Lives so many days at 40 bytes an hour.
fn live(ledger: &mut Ledger, days: std::ops::Range<u64>) {
    for (day, hour) in days.flat_map(|day| (0..24).map(move |hour| (day, hour))) {
        ledger.spend(at(day, hour), SIM, Use::Summary, 40);
    }
}

#[test]
fn what_is_spent_as_forecast_presses_nobody() {
    let mut ledger = ledger(Limit { day_bytes: Some(1100), month_bytes: Some(1_000_000), ..Limit::default() });
    live(&mut ledger, 1000..1005);
    for hour in 0..23 {
        ledger.spend(at(1005, hour), SIM, Use::Summary, 40);
        let standing = ledger.standing(at(1005, hour), SIM).unwrap();
        assert_eq!(standing.pressure, Pressure::None, "{hour}");
        assert!(standing.day_forecast_bytes.unwrap().abs_diff(960) <= 40, "{standing:?}");
    }
    ledger.spend(at(1005, 23), SIM, Use::Summary, 40);
    assert_eq!(ledger.standing(at(1005, 23), SIM).unwrap().pressure, Pressure::Spent);
}

#[test]
fn the_backlog_leaves_room_for_what_is_still_to_come() {
    let mut ledger = ledger(daily(2000));
    live(&mut ledger, 1000..1005);
    let now = at(1005, 0);
    assert_eq!(closed_until_hour(&mut ledger, now, Use::Backlog, 1800 - 960), None);
    assert_eq!(closed_until_hour(&mut ledger, now, Use::Backlog, 1800 - 959), Some(5 * 24 + 1));
    assert_eq!(closed_until_hour(&mut ledger, now, Use::Raw, 1800), None);
    // History of an outage is not expected again tomorrow.
    ledger.spend(now, SIM, Use::Backlog, 800);
    live(&mut ledger, 1005..1006);
    assert_eq!(ledger.standing(at(1006, 0), SIM).unwrap().day_forecast_bytes, Some(960));
}

#[test]
fn a_month_is_forecast_to_its_end() {
    let mut ledger = ledger(daily(5000));
    // Day 1004 is 1972-10-01.
    live(&mut ledger, 1000..1014);
    let standing = ledger.standing(at(1014, 0), SIM).unwrap();
    assert_eq!((standing.month_bytes, standing.month_forecast_bytes), (10 * 960, Some(31 * 960)));
}

#[test]
fn each_day_is_recorded_with_its_uses_and_the_error_of_its_forecast() {
    let mut ledger = ledger(daily(5000));
    live(&mut ledger, 1000..1003);
    ledger.spend(at(1003, 0), SIM, Use::Urgent, 600);
    ledger.spend(at(1004, 0), "eth0", Use::Overhead, 1);
    let mut records: std::vec::Vec<Record> = std::iter::from_fn(|| ledger.poll_record()).collect();
    assert_eq!(records.len(), 4);
    let last = records.pop().unwrap();
    assert_eq!((last.day, last.spent.by_use, last.budget_bytes), (1003, [600, 0, 0, 0, 0], Some(5000)));
    assert_eq!((last.forecast_bytes, last.forecast_error_per_cent()), (Some(960), Some(60)));
    assert_eq!(records[2].forecast_error_per_cent(), Some(0));
}

#[test]
fn a_clock_that_jumps_neither_refills_nor_empties_a_day() {
    let jump = |stamp: Stamp, days: i64| Stamp {
        unix: stamp.unix.map(|unix| UnixTime(unix.0.saturating_add_signed(days * DAY_MS as i64))),
        ..stamp
    };
    let mut ledger = ledger(daily(1000));
    ledger.spend(at(1000, 1), SIM, Use::Raw, 900);
    for (hour, days) in [(2, 400), (3, -400), (4, 0), (5, 40_000), (6, -1001), (7, 1), (8, 0)] {
        let now = jump(at(1000, hour), days);
        assert_ne!(ledger.may_send(now, SIM, Use::Raw, 1), Verdict::Yes, "hour {hour}, {days} days off");
    }
    assert_eq!(ledger.may_send(at(1001, 0), SIM, Use::Raw, 900), Verdict::Yes);
    // And a clock that was wrong over midnight is closed no longer than a day of its own.
    ledger.spend(at(1001, 1), SIM, Use::Raw, 900);
    assert_eq!(ledger.may_send(jump(at(1001, 23), 300), SIM, Use::Raw, 1), Verdict::NotBefore(at(1002, 0).uptime));
    assert_eq!(ledger.may_send(jump(at(1002, 0), 300), SIM, Use::Raw, 900), Verdict::Yes);
}

#[test]
fn the_state_survives_a_restart_within_its_bytes() {
    let mut ledger = ledger(daily(1000));
    for number in 0..20 {
        let name = format!("interface-{number:05}");
        for day in 1000..1003 {
            for purpose in [Use::Urgent, Use::Raw, Use::Overhead] {
                ledger.spend(at(day, 0), &name, purpose, u64::MAX);
            }
            ledger.reconcile(at(day, 1), &name, day << 50);
        }
    }
    let bytes = ledger.encode();
    assert!((1000..=LEDGER_BYTES_MAX).contains(&bytes.len()), "{}", bytes.len());
    let mut restarted = Ledger::decode(&bytes, 0).unwrap();
    assert_eq!(restarted.encode(), bytes);
    restarted.limit(at(1003, 0), SIM, daily(1000));
    assert_eq!(ledger.standing(at(1003, 0), SIM), restarted.standing(at(1003, 0), SIM));
    // The limited one kept its place.
    assert!(restarted.standing(at(1003, 0), SIM).is_some() && ledger.uncounted_bytes() == 0);
}

#[test]
fn two_bearers_take_half_a_kilobyte() {
    let mut ledger = ledger(Limit { day_bytes: Some(1_000_000), month_bytes: Some(30_000_000), ..Limit::default() });
    for hour in 0..24 * 60 {
        let now = at(1000 + hour / 24, hour % 24);
        for (name, bytes) in [(SIM, 40_000), ("eth0", 900_000)] {
            ledger.spend(now, name, Use::Summary, bytes);
            ledger.spend(now, name, Use::Overhead, bytes / 7);
            ledger.spend(now, name, Use::Urgent, bytes / 90);
        }
    }
    assert!(ledger.encode().len() <= 512, "{}", ledger.encode().len());
}

#[test]
fn any_bytes_are_refused_or_a_ledger_that_works() {
    let mut good = ledger(daily(1000));
    live(&mut good, 1000..1002);
    let good = good.encode();
    let mut dice = Dice(3);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = if dice.one_in(3) { dice.bytes(200) } else { good.clone() };
        if bytes.is_empty() {
            continue;
        }
        for _ in 0..1 + dice.below(4) {
            let place = dice.below(bytes.len() as u64) as usize;
            bytes[place] = if dice.one_in(2) { 0xff } else { dice.bits() as u8 };
        }
        let Some(mut ledger) = Ledger::decode(&bytes, dice.bits() as i16) else { continue };
        accepted += 1;
        assert!(ledger.encode().len() <= LEDGER_BYTES_MAX);
        let limit = Limit {
            day_bytes: Some(dice.bits()),
            month_bytes: Some(dice.bits()),
            first_day: dice.bits() as u8,
            reserve_per_cent: dice.bits() as u8,
        };
        for _ in 0..8 {
            let unix = dice.one_in(2).then(|| UnixTime(dice.bits() >> dice.below(64)));
            let now =
                Stamp { boot: BootId(dice.below(3) as u32), uptime: Instant(dice.bits() >> dice.below(64)), unix };
            ledger.limit(now, SIM, limit);
            ledger.spend(now, SIM, Use::Raw, dice.bits());
            ledger.reconcile(now, SIM, dice.bits());
            ledger.may_send(now, SIM, Use::Backlog, dice.bits());
            ledger.standing(now, SIM);
        }
        assert!(ledger.encode().len() <= LEDGER_BYTES_MAX);
    }
    assert!(accepted > 500, "{accepted}");
}

/// How the clock of a boot is.
#[derive(Clone, Copy, PartialEq)]
enum Clock {
    Right,
    /// Unknown for so many hours.
    Late(u64),
    /// Off by so many days for so many hours.
    Wrong(i64, u64),
}

/// Lives a year of boots in which everything that may be sent is sent, and the ledger is kept over each. Returns the most that was
/// sent on a true day, and on how many days something was refused on which nothing had been sent before.
fn live_a_year(seed: u64, clock: impl Fn(&mut Dice) -> Clock) -> u64 {
    let mut dice = Dice(seed);
    let mut ledger = ledger(daily(1000));
    let (mut sent, mut worst) = (std::collections::BTreeMap::<u64, u64>::new(), 0);
    let mut hour = 20_000 * 24 + dice.below(24);
    for boot in 2..400u32 {
        let kind = clock(&mut dice);
        // Off for up to two days, often for none; on for up to four.
        hour += if dice.one_in(2) { 0 } else { dice.below(48) };
        // Boots that end before they know the time are rare: what they spend is of the day before.
        let hours = 20 + dice.below(76);
        ledger = Ledger::decode(&ledger.encode(), 0).unwrap();
        let mut is_settled = false;
        for uptime in 0..hours {
            let unix = match kind {
                Clock::Late(until) if uptime < until => None,
                Clock::Wrong(days, until) if uptime < until => Some(hour.saturating_add_signed(days * 24)),
                _ => Some(hour),
            };
            let unix = unix.map(|hour| UnixTime(hour * HOUR_MS));
            let now = Stamp { boot: BootId(boot), uptime: Instant(uptime * HOUR_MS), unix };
            ledger.limit(now, SIM, daily(1000));
            let day = sent.entry(hour / 24).or_default();
            if hour.is_multiple_of(24) && is_settled {
                assert_eq!(ledger.may_send(now, SIM, Use::Raw, 900), Verdict::Yes, "seed {seed}: refused at midnight");
            }
            is_settled = unix == Some(UnixTime(hour * HOUR_MS));
            while ledger.may_send(now, SIM, Use::Raw, 100) == Verdict::Yes {
                ledger.spend(now, SIM, Use::Raw, 100);
                *day += 100;
                worst = worst.max(*day);
            }
            hour += 1;
        }
    }
    worst
}

#[test]
fn over_a_year_of_boots_a_day_is_sent_once_and_a_new_day_is_always_full() {
    for seed in 0..4 {
        assert_eq!(live_a_year(seed, |_| Clock::Right), 900);
        // Who learns the day late sends nothing twice. Whoever does not for a day of uptime has days of its own.
        assert_eq!(live_a_year(seed, |dice| Clock::Late(dice.below(20))), 900);
        assert!(live_a_year(seed, |dice| Clock::Late(dice.below(200))) <= 1800);
        // A clock that wakes in the past and is corrected refills nothing.
        let past = |dice: &mut Dice| Clock::Wrong(-(1 + dice.below(9000) as i64), 1 + dice.below(3));
        assert_eq!(live_a_year(seed, past), 900);
    }
}
