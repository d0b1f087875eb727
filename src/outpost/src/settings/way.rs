//! The lines `bearer` and `policy_*`: over which interfaces the link may go, and what is sampled and sent on each tier.
//!
//! ```text
//! bearer        = eth0 wired
//! bearer        = wwan* cellular datagram budget_day=1MB budget_month=30MB
//! policy_edge   = sampling 2, live five_minutes hour none, past hour, batch_age 1m to 5m, run 120, heartbeat 15m
//! ```

use agent::bearer::choice::{BEARER_COUNT_MAX, Choice, Kind, name};
use agent::budget::Limit;
use agent::policy::{Detail, Policy};
use agent::tier::Tier;
use agent::way;
use link::channel::Carrier;
use wire::class::CLASS_COUNT;
use wire::stream::{Resolution, Shelf};
use wire::time::Span;

use super::{budget, span_of};

/// The tier that a key such as `policy_edge` is about.
pub(super) fn tier(key: &str) -> Option<Tier> {
    Some(match key.strip_prefix("policy_")? {
        "wired" => Tier::Wired,
        "lte" => Tier::Lte,
        "3g" => Tier::ThirdGeneration,
        "edge" => Tier::Edge,
        "satellite" => Tier::Satellite,
        "offline" => Tier::Offline,
        _ => return None,
    })
}

/// What carries the link, by its word.
pub(super) fn carrier(value: &str) -> Option<Carrier> {
    match value {
        "datagram" => Some(Carrier::Datagram),
        "tls" => Some(Carrier::Stream),
        _ => None,
    }
}

/// Adds the bearer of one line behind those before it.
///
/// Errors: what is wrong with it, in words.
pub(super) fn add_bearer(settings: &mut way::Settings, value: &str) -> Result<(), String> {
    let mut words = value.split_whitespace();
    let expected = "bearer is an interface and what it leads to, as in `wwan* cellular`";
    let (Some(interface), Some(kind)) = (words.next(), words.next()) else { return Err(expected.to_owned()) };
    let kind = match kind {
        "wired" => Kind::Wired,
        "wlan" => Kind::Wlan,
        "cellular" => Kind::Cellular,
        "satellite" => Kind::Satellite,
        _ => return Err(format!("{kind:?} is no kind of bearer; there are wired, wlan, cellular and satellite")),
    };
    let pattern = name(interface).ok_or_else(|| format!("{interface:?} is too long for the name of an interface"))?;
    let mut choice = Choice::new(pattern, kind, settings.bearers.carrier);
    for word in words {
        let limit = || choice.limit.unwrap_or(Limit { day_bytes: None, month_bytes: None, ..settings.bearers.limit });
        match word.split_once('=') {
            None if word == "metered" => choice.is_metered = true,
            None if word == "unmetered" => choice.is_metered = false,
            None if let Some(carrier) = carrier(word) => choice.carrier = carrier,
            Some((key @ "budget_day", value)) => {
                choice.limit = Some(Limit { day_bytes: budget(key, value)?, ..limit() });
            }
            Some((key @ "budget_month", value)) => {
                choice.limit = Some(Limit { month_bytes: budget(key, value)?, ..limit() });
            }
            _ => {
                return Err(format!(
                    "{word:?} says nothing of a bearer; there are metered, unmetered, tls, datagram, budget_day=1MB, budget_month=30MB"
                ));
            }
        }
    }
    let pushed = settings.bearers.choices.push(choice);
    pushed.map_err(|_| {
        format!("there are {BEARER_COUNT_MAX} lines of bearers at the most; one with a star stands for several")
    })
}

/// Changes what one line says of a tier's policy.
///
/// Errors: what is wrong with it, in words.
pub(super) fn set_policy(settings: &mut way::Settings, key: &str, tier: Tier, value: &str) -> Result<(), String> {
    let mut policy = settings.policies.of(tier).clone();
    for part in value.split(',').map(str::trim) {
        change(&mut policy, key, part)?;
    }
    settings.policies.set(tier, policy).map_err(|error| format!("{key}: {error}"))
}

fn change(policy: &mut Policy, key: &str, part: &str) -> Result<(), String> {
    let (word, value) = part.split_once(' ').unwrap_or((part, ""));
    let value = value.trim();
    let number = || value.parse::<u32>().map_err(|_| format!("{key}: {word} is a number, and not {value:?}"));
    match word {
        "sampling" => policy.sampling = number()?.try_into().unwrap_or(u8::MAX),
        "live" => policy.live = detail(key, value)?,
        "past" => policy.backlog = detail(key, value)?,
        "batch_age" => policy.batch_age = ages(key, value)?,
        "run" => policy.run_tick_count_max = number()?,
        "heartbeat" => policy.heartbeat = span_of(key, value, Span::seconds(5), Span::minutes(24 * 60))?,
        _ => {
            return Err(format!(
                "{word:?} says nothing of a policy; there are sampling, live, past, batch_age, run and heartbeat"
            ));
        }
    }
    Ok(())
}

/// How old batches become, as in `1m to 5m`.
pub(super) fn ages(key: &str, value: &str) -> Result<(Span, Span), String> {
    let bounds = |value| span_of(key, value, Span::seconds(1), Span::minutes(60));
    let (least, most) = value.split_once(" to ").unwrap_or((value, value));
    let ages = (bounds(least.trim())?, bounds(most.trim())?);
    if ages.0 > ages.1 { Err(format!("{key} of {value} runs backwards")) } else { Ok(ages) }
}

/// One resolution for all classes, or one for each.
fn detail(key: &str, value: &str) -> Result<Detail, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let resolutions: Vec<Option<Resolution>> = words.iter().filter_map(|word| resolution(word)).collect();
    match resolutions[..] {
        [one] if words.len() == 1 => Ok([one; CLASS_COUNT]),
        [critical, normal, bulk] if words.len() == CLASS_COUNT => Ok([critical, normal, bulk]),
        _ => Err(format!(
            "{key}: {value:?} is not one of raw, minute, five_minutes, hour, day and none, or three of them, for what is critical, \
             normal and bulk"
        )),
    }
}

fn resolution(word: &str) -> Option<Option<Resolution>> {
    let is_named = |resolution: &Resolution| Shelf::Series(*resolution).name() == word;
    if word == "none" { Some(None) } else { Resolution::ALL.into_iter().find(is_named).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(value: &str) -> Result<String, String> {
        let mut settings = way::Settings::default();
        set_policy(&mut settings, "policy_edge", Tier::Edge, value)?;
        Ok(settings.policies.of(Tier::Edge).to_string())
    }

    #[test]
    fn a_bearer_has_what_its_line_says_and_else_what_holds_for_all() {
        let mut settings = way::Settings::default();
        settings.bearers.limit.reserve_per_cent = 20;
        for line in ["eth0 wired", "wwan* cellular datagram budget_day=1MB", "usb0 wlan metered tls"] {
            add_bearer(&mut settings, line).unwrap();
        }
        let [cable, modem, stick] = &settings.bearers.choices[..] else { panic!("three lines") };
        assert_eq!((cable.kind, cable.is_metered, cable.limit), (Kind::Wired, false, None));
        let limit = Limit { day_bytes: Some(1_000_000), reserve_per_cent: 20, ..Limit::default() };
        assert_eq!((modem.carrier, modem.is_metered, modem.limit), (Carrier::Datagram, true, Some(limit)));
        assert_eq!((stick.carrier, stick.is_metered), (Carrier::Stream, true));
        let error = |line| add_bearer(&mut way::Settings::default(), line).unwrap_err();
        assert!(error("eth0").contains("as in `wwan* cellular`"));
        assert!(error("eth0 radio").contains("there are wired, wlan"));
        assert!(error("eth0 wired fast").contains("\"fast\" says nothing of a bearer"));
        assert!(error("an-interface-without-end wired").contains("too long"));
        assert!(error("eth0 wired budget_day=3").contains("50000 bytes at least"));
    }

    #[test]
    fn a_policy_is_changed_where_its_line_says_so() {
        let words =
            policy("sampling 3, live minute hour none, past day, batch_age 2m to 5m, run 60, heartbeat 30m").unwrap();
        assert_eq!(
            words,
            "one tick of 3; live: minutes of critical, hours of normal; of the past: days of all; batches of 2m to 5m, runs of 60 \
             ticks; heartbeat every 30m"
        );
        assert!(policy("run 60").unwrap().starts_with("one tick of 2; live: five minutes of all"));
        let error = |value| policy(value).unwrap_err();
        assert!(error("live fine").contains("raw, minute, five_minutes"));
        assert!(error("live none raw raw").contains("finer than one that matters more"));
        assert!(error("sampling often").contains("is a number"));
        assert!(error("sampling 999").contains("one tick of 1 to 6"));
        assert!(error("batch_age 5m to 2m").contains("backwards"));
        assert!(error("speed 3").contains("there are sampling, live"));
    }
}
