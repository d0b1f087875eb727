//! What links carried, for a terminal: a row a day, with a bar of letters that needs no colour.
//!
//! ```text
//! wwan0: 120 KB on 2 of 3 days, 2026-01-01 to 2026-01-03
//! DAY           TOTAL  0 to 90.0 KB
//! 2026-01-01  30.0 KB  SSSSRRRRRRRRRR             |
//! 2026-01-02  no record
//! 2026-01-03  90.0 KB  USSSSSSSRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR|RRRR
//! ```

use std::fmt::Write as _;

use query::render::printable;
use query::time;
use query::unit::billed;

use crate::call::{BearerUsage, DayUsage, LinkChange, UsageFound};
use crate::table::table;
use crate::usage::unit::{Scale, date, place, round_bytes, sums};

/// Columns of the longest bar.
const BAR_WIDTH: usize = 56;

/// What a bar is made of, in the order of [`wire::spent::Spent::parts`].
const FILLS: [char; 6] = ['U', 'S', 'R', 'B', 'O', '.'];

/// Entries in a line of the legend.
const LEGEND_COUNT: usize = 4;

const BUDGET: char = '|';

const BUDGET_BEYOND: char = '>';

/// A chart for each bearer, and the changes of the link.
pub fn render(found: &UsageFound) -> String {
    let mut out = String::new();
    for bearer in &found.bearers {
        put_bearer(&mut out, found, bearer);
        out.push('\n');
    }
    if found.bearers.is_empty() {
        let _ = writeln!(out, "no record of a day from {} to {}\n", date(found.first_day), date(found.last_day));
    }
    match &found.changes[..] {
        [] => out.push_str("the link did not change in this span\n"),
        changes => {
            let rows: Vec<Vec<String>> = changes.iter().map(change_row).collect();
            out.push_str(&table(&["LINK CHANGED (UTC)", "BEARER", "TIER", "WHY"], &rows));
        }
    }
    out
}

// Writing to a string does not fail.
fn put_bearer(out: &mut String, found: &UsageFound, bearer: &BearerUsage) {
    let (sums, total) = sums(bearer);
    let (first, last) = (date(found.first_day), date(found.last_day));
    let (known_count, count) = (bearer.days.len(), found.last_day - found.first_day + 1);
    let name = printable(&bearer.name);
    let _ = writeln!(out, "{name}: {} on {known_count} of {count} days, {first} to {last}", billed(total));
    let scale = Scale::of(bearer);
    let _ = writeln!(out, "DAY           TOTAL  0 to {}", billed(scale.end_bytes));
    let mut day = found.first_day;
    while day <= found.last_day {
        match bearer.days.get(&day) {
            Some(usage) => {
                let total = billed(usage.spent.total());
                let _ = writeln!(out, "{}  {total:>7}  {}", date(day), bar(usage, &scale));
            }
            None => {
                let next = bearer.days.range(day..).next().map_or(found.last_day + 1, |(next, _)| *next);
                let (from, to) = (date(day), date(next - 1));
                let until = if from == to { String::new() } else { format!(", up to {to}") };
                let _ = writeln!(out, "{from}  no record{until}");
                day = next - 1;
            }
        }
        day += 1;
    }
    let parts = FILLS.iter().zip(sums).filter(|(_, (_, sum))| *sum > 0);
    let mut legend: Vec<String> = parts.map(|(fill, (name, sum))| format!("{fill} {name} {}", billed(sum))).collect();
    if let Some(budget_bytes) = bearer.days.values().rev().find_map(|day| day.budget_bytes) {
        let mark = if scale.has_budget { BUDGET } else { BUDGET_BEYOND };
        legend.push(format!("{mark} budget {} a day", round_bytes(budget_bytes.into())));
    }
    for line in legend.chunks(LEGEND_COUNT) {
        let _ = writeln!(out, "{}", line.join("  "));
    }
}

fn bar(usage: &DayUsage, scale: &Scale) -> String {
    let column = |bytes: u64| place(bytes, scale.end_bytes, BAR_WIDTH as f64).round() as usize;
    let mut bar = vec![' '; BAR_WIDTH + 1];
    let (mut end_bytes, mut begin) = (0u64, 0);
    for (fill, (_, bytes)) in FILLS.iter().zip(usage.spent.parts()) {
        end_bytes = end_bytes.saturating_add(bytes);
        let end = column(end_bytes);
        bar[begin..end].fill(*fill);
        begin = end;
    }
    if let Some(budget_bytes) = usage.budget_bytes {
        bar[column(budget_bytes)] = if budget_bytes > scale.end_bytes { BUDGET_BEYOND } else { BUDGET };
    }
    bar.into_iter().collect::<String>().trim_end().to_owned()
}

fn change_row(change: &LinkChange) -> Vec<String> {
    let why = change.reason.as_ref().map_or(String::new(), |reason| format!("the one before {reason}"));
    vec![time::format(change.at.0 / 1000 * 1000), change.bearer.clone(), change.tier.clone(), why]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::sample::{bearer, change, found, hostile};

    /// A golden: what people's eyes and scripts are used to.
    #[test]
    fn a_day_is_a_row_and_what_is_not_known_is_no_zero() {
        let mut found = found(5);
        let days = [
            (0, [300, 6_000, 20_000, 0, 4_000, 0]),
            (2, [5_000, 6_000, 40_000, 30_000, 9_000, 10_000]),
            (3, [0, 0, 0, 0, 0, 0]),
        ];
        found.bearers = vec![bearer("wwan0", Some(80_000), &days), bearer("eth0", None, &[(4, [0, 0, 7, 0, 0, 0])])];
        found.changes = vec![change(1, "wwan0", "LTE", None), change(100, "eth0", "wired", Some("vanished"))];
        let golden = "\
wwan0: 130 KB on 3 of 5 days, 2026-01-01 to 2026-01-05
DAY           TOTAL  0 to 100 KB
2026-01-01  30.3 KB  SSSSRRRRRRRRRRROO                            |
2026-01-02  no record
2026-01-03   100 KB  UUUSSSRRRRRRRRRRRRRRRRRRRRRRRBBBBBBBBBBBBBBBB|OOOO......
2026-01-04      0 B                                               |
2026-01-05  no record
U urgent 5.30 KB  S summary 12.0 KB  R raw 60.0 KB  B backlog 30.0 KB
O overhead 13.0 KB  . other 10.0 KB  | budget 80 KB a day

eth0: 7 B on 1 of 5 days, 2026-01-01 to 2026-01-05
DAY           TOTAL  0 to 7 B
2026-01-01  no record, up to 2026-01-04
2026-01-05      7 B  RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR
R raw 7 B

LINK CHANGED (UTC)    BEARER  TIER   WHY
2026-01-01T01:00:00Z  wwan0   LTE
2026-01-05T04:00:00Z  eth0    wired  the one before vanished
";
        assert_eq!(render(&found), golden);
    }

    #[test]
    fn a_part_is_as_long_as_its_share_and_the_parts_are_as_long_as_the_whole() {
        let bearer = bearer("wwan0", None, &[(0, [1, 1, 1, 1, 1, 2]), (1, [0, 0, 14, 0, 0, 0])]);
        let bars: Vec<String> = bearer.days.values().map(|day| bar(day, &Scale::of(&bearer))).collect();
        assert_eq!(bars, ["UUUUSSSSRRRRBBBBOOOO........", &"R".repeat(BAR_WIDTH)]);
    }

    #[test]
    fn a_budget_that_would_press_the_bars_flat_is_at_the_end() {
        let mut found = found(1);
        found.bearers = vec![bearer("wwan0", Some(50_000_000), &[(0, [0, 0, 14, 0, 0, 0])])];
        let text = render(&found);
        assert!(text.contains(&format!("  {}>\n", "R".repeat(BAR_WIDTH))), "{text}");
        assert!(text.contains("> budget 50 MB a day"), "{text}");
    }

    #[test]
    fn nothing_known_is_said() {
        assert_eq!(
            render(&found(3)),
            "no record of a day from 2026-01-01 to 2026-01-03\n\nthe link did not change in this span\n"
        );
    }

    #[test]
    fn names_and_numbers_that_mean_harm_stay_in_their_rows() {
        let text = render(&hostile());
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains("111 EB on 2 of 3 days") && text.contains("18.4 EB  UUUU"), "{text}");
        assert_eq!(text.lines().count(), 8 + 1 + 1000);
    }
}
