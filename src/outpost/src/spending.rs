//! `outpost link stat`: how the link is, what it costs, and what that was for.

use std::fmt::Write as _;

use agent::question::{Answer, BearerReport, DayReport, LinkReport, Period, Question};
use query::render::json::put_text;
use query::time::Civil;
use query::unit::billed;
use wire::spent::Spent;

use crate::ask::{ask, unexpected};
use crate::failure::Failure;
use crate::moment::rough;
use crate::state::StateFolder;
use crate::status::skipped;

/// Columns of the longest bar.
const BAR_WIDTH: u64 = 40;

/// Asks the agent what its link costs.
pub(crate) fn asked(folder: &StateFolder) -> Result<LinkReport, Failure> {
    match ask(folder, Question::Link)? {
        Answer::Link(report) => Ok(*report),
        _ => Err(unexpected()),
    }
}

/// A report for people.
pub(crate) fn screen(report: &LinkReport) -> String {
    let mut out = String::new();
    row(&mut out, "link", &state(report));
    if let Some(tier) = &report.tier {
        row(&mut out, "tier", tier);
    }
    row(&mut out, "policy", &report.policy);
    if report.skipped_count > 0 {
        row(&mut out, "skipped", &skipped(report.skipped_count));
    }
    for bearer in &report.bearers {
        out.push('\n');
        put_bearer(&mut out, bearer);
    }
    out
}

fn state(report: &LinkReport) -> String {
    let carrier = match report.is_datagram {
        Some(true) => " over datagrams",
        Some(false) => " over tls",
        None => "",
    };
    let ended = report.ended.as_ref().filter(|_| report.is_datagram.is_none());
    let ended = ended.map_or(String::new(), |reason| format!(": {reason}"));
    let state = match report.state.as_str() {
        "held" => "down until an event waits, or the budget has room again",
        state => state,
    };
    format!("{state}{carrier}{ended}")
}

fn put_bearer(out: &mut String, bearer: &BearerReport) {
    row(out, "bearer", &format!("{}, {}", bearer.name, bearer.state));
    row(out, "carries", &carries(bearer));
    row(out, "today", &period(&bearer.day, "by midnight UTC"));
    row(out, "month", &period(&bearer.month, &format!("by the next day {}", bearer.first_day)));
    row(out, "goes", &goes(bearer));
    out.push_str("\nfor             today       month\n");
    for ((name, day), (_, month)) in bearer.day.spent.parts().zip(bearer.month.spent.parts()) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<10}{:>11} {:>11}", billed(day), billed(month));
    }
    put_days(out, &bearer.days);
}

fn carries(bearer: &BearerReport) -> String {
    if bearer.rate == 0 {
        return "not known yet".to_owned();
    }
    let rate = billed(bearer.rate);
    let round_trip = bearer.round_trip.0;
    format!("{rate}/s, round trip {round_trip} ms, {:.1} % lost", f64::from(bearer.loss_1024) / 10.24)
}

fn period(period: &Period, end: &str) -> String {
    let mut text = billed(period.used_bytes);
    if let Some(budget_bytes) = period.budget_bytes {
        let per_cent = u128::from(period.used_bytes) * 100 / u128::from(budget_bytes.max(1));
        let _ = write!(text, " of {}, {per_cent} %", billed(budget_bytes));
    }
    if let Some(forecast_bytes) = period.forecast_bytes {
        let _ = write!(text, "; {} expected {end}", billed(forecast_bytes));
    }
    text
}

fn goes(bearer: &BearerReport) -> String {
    let is_limited = bearer.day.budget_bytes.or(bearer.month.budget_bytes).is_some();
    let opens_in = bearer.opens_in.map_or(String::new(), |span| format!("; more in {}", rough(span)));
    match bearer.used_per_cent {
        0 if is_limited => format!("everything; {} % are kept for events", bearer.reserve_per_cent),
        0 => "everything; there is no budget".to_owned(),
        100 => format!("ONLY EVENTS, the budget is used up{opens_in}"),
        per_cent => format!("less: {per_cent} % of the budget are used; `outpost help link` says what waits"),
    }
}

fn put_days(out: &mut String, days: &[DayReport]) {
    let Some(most) = days.iter().map(|day| day.spent.total()).max() else { return };
    out.push_str("\nday\n");
    for DayReport { day, spent, .. } in days {
        let date = Civil::of_day(*day).date();
        // Writing to a string does not fail.
        let _ = writeln!(out, "{date}  {:>9}  {}", billed(spent.total()), bar(spent.total(), most));
    }
}

/// A bar of eighths of a column, so that the longest has [`BAR_WIDTH`].
fn bar(value: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (u128::from(value) * u128::from(8 * BAR_WIDTH)).div_ceil(u128::from(most.max(1))) as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name:<10}{value}");
}

/// A report for programs, in one line. What is not known is `null`.
pub(crate) fn json(report: &LinkReport) -> String {
    let bearers: Vec<String> = report.bearers.iter().map(bearer_json).collect();
    let carrier = report.is_datagram.map(|is_datagram| if is_datagram { "datagram" } else { "tls" });
    let ended = report.ended.as_deref();
    format!(
        "{{\"link\":{},\"link_ended\":{},\"carrier\":{},\"version\":{},\"skipped_count\":{},\"tier\":{},\"policy\":{},\
         \"bearers\":[{}]}}\n",
        quoted(&report.state),
        ended.map_or("null".to_owned(), quoted),
        carrier.map_or("null".to_owned(), quoted),
        or_null(report.version.map(u64::from)),
        report.skipped_count,
        report.tier.as_deref().map_or("null".to_owned(), quoted),
        quoted(&report.policy),
        bearers.join(",")
    )
}

fn bearer_json(bearer: &BearerReport) -> String {
    let days = bearer.days.iter().map(|day| {
        let date = Civil::of_day(day.day).date();
        format!(
            "{{\"date\":\"{date}\",\"used_bytes\":{},\"budget_bytes\":{},\"by_use\":{}}}",
            day.spent.total(),
            or_null(day.budget_bytes),
            by_use(&day.spent)
        )
    });
    format!(
        "{{\"bearer\":{},\"state\":{},\"bytes_per_second\":{},\"round_trip_ms\":{},\"loss_per_mille\":{},\"today\":{},\"month\":{},\
         \"month_day\":{},\"reserve_per_cent\":{},\"used_per_cent\":{},\"opens_in_ms\":{},\"days\":[{}]}}",
        quoted(&bearer.name),
        quoted(&bearer.state),
        bearer.rate,
        bearer.round_trip.0,
        u32::from(bearer.loss_1024) * 1000 / 1024,
        period_json(&bearer.day),
        period_json(&bearer.month),
        bearer.first_day,
        bearer.reserve_per_cent,
        bearer.used_per_cent,
        or_null(bearer.opens_in.map(|span| span.0)),
        days.collect::<Vec<_>>().join(",")
    )
}

fn period_json(period: &Period) -> String {
    format!(
        "{{\"used_bytes\":{},\"budget_bytes\":{},\"forecast_bytes\":{},\"by_use\":{}}}",
        period.used_bytes,
        or_null(period.budget_bytes),
        or_null(period.forecast_bytes),
        by_use(&period.spent)
    )
}

fn by_use(spent: &Spent) -> String {
    let parts: Vec<String> = spent.parts().map(|(name, bytes)| format!("\"{name}\":{bytes}")).collect();
    format!("{{{}}}", parts.join(","))
}

fn or_null(value: Option<u64>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    put_text(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use wire::time::{Span, Stamp};

    use super::*;

    fn report() -> LinkReport {
        let spent = Spent { by_use: [1000, 90_000, 200_000, 0, 30_000], other: 0 };
        let used_bytes = spent.total();
        let budget_bytes = Some(1_000_000);
        let day = Period { spent, used_bytes, budget_bytes, forecast_bytes: Some(700_000) };
        let of = |day, raw| DayReport { day, spent: Spent { by_use: [0, 0, raw, 0, 0], other: 0 }, budget_bytes };
        LinkReport {
            now: Stamp::default(),
            state: "online".to_owned(),
            ended: None,
            is_datagram: Some(false),
            tier: Some("3G".to_owned()),
            policy: "every tick; live: minutes of all".to_owned(),
            version: Some(1),
            skipped_count: 0,
            bearers: vec![BearerReport {
                name: "wwan0".to_owned(),
                state: "in use".to_owned(),
                rate: 2500,
                round_trip: Span(612),
                loss_1024: 21,
                day,
                month: Period { budget_bytes: None, forecast_bytes: None, ..day },
                first_day: 5,
                reserve_per_cent: 10,
                used_per_cent: 0,
                opens_in: None,
                days: vec![of(20_510, 800_000), of(20_511, 400_000), of(20_512, 10_000)],
            }],
        }
    }

    #[test]
    fn a_link_and_what_it_costs_are_one_screen() {
        assert_eq!(
            screen(&report()),
            "\
link      online over tls
tier      3G
policy    every tick; live: minutes of all

bearer    wwan0, in use
carries   2.50 KB/s, round trip 612 ms, 2.1 % lost
today     321 KB of 1.00 MB, 32 %; 700 KB expected by midnight UTC
month     321 KB
goes      everything; 10 % are kept for events

for             today       month
urgent        1.00 KB     1.00 KB
summary       90.0 KB     90.0 KB
raw            200 KB      200 KB
backlog           0 B         0 B
overhead      30.0 KB     30.0 KB
other             0 B         0 B

day
2026-02-26     800 KB  ████████████████████████████████████████
2026-02-27     400 KB  ████████████████████
2026-02-28    10.0 KB  ▌
"
        );
    }

    #[test]
    fn a_budget_that_is_used_up_says_until_when() {
        let mut report = report();
        (report.state, report.is_datagram) = ("held".to_owned(), None);
        report.ended = Some("no answer from the hub in time".to_owned());
        let bearer = &mut report.bearers[0];
        (bearer.used_per_cent, bearer.opens_in) = (100, Some(Span::minutes(90)));
        (bearer.rate, bearer.days) = (0, Vec::new());
        let screen = screen(&report);
        for expected in [
            "link      down until an event waits, or the budget has room again: no answer from the hub in time\n",
            "carries   not known yet\n",
            "goes      ONLY EVENTS, the budget is used up; more in 1h30m\n",
        ] {
            assert!(screen.contains(expected), "{screen}");
        }
        assert!(!screen.contains("\nday\n"));
        (report.bearers[0].used_per_cent, report.skipped_count) = (85, 3);
        let screen = super::screen(&report);
        assert!(screen.contains("less: 85 %") && screen.contains("\nskipped   3 messages that"), "{screen}");
    }

    #[test]
    fn programs_get_every_number_of_a_link() {
        let mut report = report();
        report.bearers[0].days.truncate(1);
        let json = json(&report);
        let parts = r#"{"urgent":1000,"summary":90000,"raw":200000,"backlog":0,"overhead":30000,"other":0}"#;
        let expected = [
            r#"{"link":"online","link_ended":null,"carrier":"tls","version":1,"skipped_count":0,"tier":"3G","policy":"every tick; live: minutes of all","#,
            r#""bearers":[{"bearer":"wwan0","state":"in use","bytes_per_second":2500,"#,
            r#""round_trip_ms":612,"loss_per_mille":20,"today":{"used_bytes":321000,"budget_bytes":1000000,"#,
            r#""forecast_bytes":700000,"by_use":"#,
            parts,
            r#"},"month":{"used_bytes":321000,"budget_bytes":null,"forecast_bytes":null,"by_use":"#,
            parts,
            r#"},"month_day":5,"reserve_per_cent":10,"used_per_cent":0,"opens_in_ms":null,"days":[{"date":"2026-02-26","#,
            r#""used_bytes":800000,"budget_bytes":1000000,"by_use":{"urgent":0,"summary":0,"raw":800000,"backlog":0,"#,
            "\"overhead\":0,\"other\":0}}]}]}\n",
        ];
        assert_eq!(json, expected.concat());
    }

    #[test]
    fn the_longest_bar_is_full_and_the_shortest_is_there() {
        assert_eq!((bar(7, 7).chars().count() as u64, bar(1, 1 << 40), bar(0, 0)), (BAR_WIDTH, "▏".into(), "".into()));
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count() as u64, BAR_WIDTH);
    }
}
