//! What links carried, for programs.

use query::render::csv::put_field;
use serde::Serialize;

use crate::call::{BearerUsage, DayUsage, UsageFound};
use crate::usage::unit::date;

/// An answer as JSON shows it.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    device: &'a str,
    bearers: Vec<BearerShown<'a>>,
    changes: Vec<ChangeShown<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct BearerShown<'a> {
    bearer: &'a str,
    days: Vec<DayShown>,
}

/// One day; what is not known is null.
#[derive(Debug, Serialize)]
struct DayShown {
    day: String,
    total_bytes: Option<u64>,
    spent: Option<SpentShown>,
    budget_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SpentShown {
    urgent: u64,
    summary: u64,
    raw: u64,
    backlog: u64,
    overhead: u64,
    other: u64,
}

#[derive(Debug, Serialize)]
struct ChangeShown<'a> {
    at_ms: u64,
    bearer: &'a str,
    tier: &'a str,
    reason: Option<&'a str>,
}

/// An answer as JSON shows it: every day of the span, known or not.
pub fn shown(found: &UsageFound) -> Shown<'_> {
    let bearers = found.bearers.iter().map(|bearer| BearerShown {
        bearer: &bearer.name,
        days: days(found, bearer).map(|(day, usage)| day_shown(day, usage)).collect(),
    });
    let changes = found.changes.iter().map(|change| ChangeShown {
        at_ms: change.at.0,
        bearer: &change.bearer,
        tier: &change.tier,
        reason: change.reason.as_deref(),
    });
    Shown { device: &found.device, bearers: bearers.collect(), changes: changes.collect(), notes: &found.notes }
}

/// One line a day of a bearer (RFC 4180); the first line names the columns. What is not known is empty.
pub fn csv(found: &UsageFound) -> String {
    let mut out = String::from(
        "day,bearer,urgent_bytes,summary_bytes,raw_bytes,backlog_bytes,overhead_bytes,other_bytes,total_bytes,\
         budget_bytes\r\n",
    );
    for bearer in &found.bearers {
        for (day, usage) in days(found, bearer) {
            out.push_str(&date(day));
            put_field(&mut out, &bearer.name);
            let known = usage.map(|usage| {
                let numbers = usage.spent.parts().map(|(_, bytes)| bytes).chain([usage.spent.total()]).map(Some);
                numbers.chain([usage.budget_bytes]).collect()
            });
            let numbers: Vec<Option<u64>> = known.unwrap_or(vec![None; 8]);
            for number in numbers {
                put_field(&mut out, &number.map_or(String::new(), |number| number.to_string()));
            }
            out.push_str("\r\n");
        }
    }
    out
}

fn days<'a>(
    found: &'a UsageFound,
    bearer: &'a BearerUsage,
) -> impl Iterator<Item = (u32, Option<&'a DayUsage>)> + use<'a> {
    (found.first_day..=found.last_day).map(|day| (day, bearer.days.get(&day)))
}

fn day_shown(day: u32, usage: Option<&DayUsage>) -> DayShown {
    let spent = usage.map(|usage| {
        let [urgent, summary, raw, backlog, overhead] = usage.spent.by_use;
        SpentShown { urgent, summary, raw, backlog, overhead, other: usage.spent.other }
    });
    let total_bytes = usage.map(|usage| usage.spent.total());
    DayShown { day: date(day), total_bytes, spent, budget_bytes: usage.and_then(|usage| usage.budget_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::sample::{bearer, change, found, hostile};

    #[test]
    fn what_is_not_known_is_null_or_empty_and_not_zero() {
        let mut found = found(2);
        found.bearers = vec![bearer("wwan0", Some(9), &[(0, [1, 0, 2, 0, 0, 3])])];
        found.changes = vec![change(0, "wwan0", "LTE", None)];
        let (_, rows) = csv(&found).split_once("\r\n").map(|(head, rows)| (head.len(), rows.to_owned())).unwrap();
        assert_eq!(rows, "2026-01-01,wwan0,1,0,2,0,0,3,6,9\r\n2026-01-02,wwan0,,,,,,,,\r\n");
        assert_eq!(
            serde_json::to_string(&shown(&found)).unwrap(),
            "{\"device\":\"gw-1\",\"bearers\":[{\"bearer\":\"wwan0\",\"days\":[\
             {\"day\":\"2026-01-01\",\"total_bytes\":6,\"spent\":{\"urgent\":1,\"summary\":0,\"raw\":2,\"backlog\":0,\
             \"overhead\":0,\"other\":3},\"budget_bytes\":9},\
             {\"day\":\"2026-01-02\",\"total_bytes\":null,\"spent\":null,\"budget_bytes\":null}]}],\
             \"changes\":[{\"at_ms\":1767225600000,\"bearer\":\"wwan0\",\"tier\":\"LTE\",\"reason\":null}],\
             \"notes\":[]}"
        );
    }

    #[test]
    fn a_name_is_one_field_and_no_formula() {
        let mut found = hostile();
        found.bearers[0].name = "=1,2".into();
        let text = csv(&found);
        assert!(text.lines().skip(1).all(|line| line.contains(",\"'=1,2\",")), "{text}");
    }
}
