//! What a gateway might have said, for tests of what draws it.

use wire::spent::Spent;
use wire::time::UnixTime;

use crate::call::{BearerUsage, DayUsage, LinkChange, UsageFound};

/// 2026-01-01.
pub(crate) const FIRST: u32 = 20_454;

/// A gateway of which so many days were asked for, and nothing is known.
pub(crate) fn found(day_count: u32) -> UsageFound {
    UsageFound { device: "gw-1".into(), first_day: FIRST, last_day: FIRST + day_count - 1, ..UsageFound::default() }
}

/// A bearer and what some days cost, each so many days after the first.
pub(crate) fn bearer(name: &str, budget_bytes: Option<u64>, days: &[(u32, [u64; 6])]) -> BearerUsage {
    let day = |&(after, [by_use @ .., other]): &(u32, [u64; 6])| {
        (FIRST + after, DayUsage { spent: Spent { by_use, other }, budget_bytes })
    };
    BearerUsage { name: name.into(), days: days.iter().map(day).collect() }
}

/// A change of the link, so many hours after the first midnight.
pub(crate) fn change(hours: u64, bearer: &str, tier: &str, reason: Option<&str>) -> LinkChange {
    LinkChange {
        at: UnixTime(u64::from(FIRST) * 86_400_000 + hours * 3_600_000),
        bearer: bearer.into(),
        tier: tier.into(),
        reason: reason.map(str::to_owned),
    }
}

/// A gateway whose device, bearers and tiers are called what breaks a page, and whose numbers are as great as can be.
pub(crate) fn hostile() -> UsageFound {
    let name = "</text><script>\"&'\u{1b}[2J\u{202e}\u{ffff}";
    let mut found = found(3);
    found.device = name.repeat(4);
    found.bearers = vec![bearer(name, Some(u64::MAX), &[(0, [u64::MAX; 6]), (2, [0; 6])])];
    found.changes = (0..1000).map(|number| change(number % 72, name, name, Some(name))).collect();
    found
}
