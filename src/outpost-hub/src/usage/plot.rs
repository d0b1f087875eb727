//! One bearer's chart on the sheet.
//!
//! ```text
//!  heading: the bearer, its total, what that was for
//!  labels of changes   LTE     EDGE          in lanes, see `Lanes`
//!               |       ¦       ¦
//!   bytes       |  bars ¦ bars  ¦ bars    --- budget
//!               +------------------------
//!                 days
//! ```

use std::collections::BTreeMap;

use query::unit::billed;

use crate::call::{BearerUsage, UsageFound};
use crate::usage::day;
use crate::usage::svg::{self, COLOURS, INK, MARGIN, escaped, fitted, put_box, put_line, put_text, width};
use crate::usage::unit::{Scale, date, place, round_bytes, sums};

const LEFT: f64 = 78.0;

const WIDTH: f64 = 690.0;

const HEIGHT: f64 = 190.0;

const BAR_WIDTH_MAX: f64 = 90.0;

const HEADING_SIZE: f64 = 14.0;

const TEXT_SIZE: f64 = 11.0;

const LANE_HEIGHT: f64 = 14.0;

/// Rows of labels. What finds no room in them has a mark without a label.
const LANE_COUNT: usize = 4;

/// Pixels of a label: what stands right of the last day.
const LABEL_WIDTH_MAX: f64 = svg::WIDTH - LEFT - WIDTH - 8.0;

/// Days between labels of the axis.
const DAY_STEPS: [u32; 9] = [1, 2, 3, 5, 7, 14, 28, 56, 92];

/// Changes of one day that are named one by one.
const NAMED_COUNT_MAX: usize = 10;

/// Draws a chart from `top` down. Returns its height.
pub fn put(out: &mut String, top: f64, found: &UsageFound, bearer: &BearerUsage) -> f64 {
    let chart = Chart::new(found, bearer);
    let marks = marks(found, &bearer.name);
    let labels: Vec<(f64, String)> = marks.iter().map(|(day, said)| (chart.left(*day), label(said))).collect();
    let lanes = lanes(&labels);
    let lane_count = lanes.iter().flatten().max().map_or(0, |last| last + 1);
    let unlabelled_count = lanes.iter().filter(|lane| lane.is_none()).count();

    put_heading(out, top, found, bearer, &chart, unlabelled_count);
    let lanes_top = top + 28.0;
    let plot_top = lanes_top + lane_count as f64 * LANE_HEIGHT + 8.0;
    chart.put_gaps(out, plot_top);
    chart.put_axes(out, plot_top);
    chart.put_bars(out, plot_top);
    chart.put_budget(out, plot_top);
    for (((x, label), lane), said) in labels.iter().zip(&lanes).zip(marks.values()) {
        let named = said.iter().take(NAMED_COUNT_MAX).map(|one| one.full.as_str()).collect::<Vec<_>>().join("; ");
        let more = match said.len().saturating_sub(NAMED_COUNT_MAX) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        out.push_str(&format!("<g><title>{}</title>\n", escaped(&(named + &more))));
        // One without a label ends above the bars: of a hundred that cross them nobody would see the bars.
        let (begin, end) = match lane {
            Some(lane) => (lanes_top + *lane as f64 * LANE_HEIGHT, plot_top + HEIGHT),
            None => (plot_top - 6.0, plot_top),
        };
        put_line(out, [*x, begin, *x, end], "stroke-dasharray=\"3 2\"");
        if lane.is_some() {
            put_text(out, x + 3.0, begin + LANE_HEIGHT - 4.0, TEXT_SIZE, "start", label);
        }
        out.push_str("</g>\n");
    }
    plot_top + HEIGHT + 44.0 - top
}

fn put_heading(
    out: &mut String,
    top: f64,
    found: &UsageFound,
    bearer: &BearerUsage,
    chart: &Chart<'_>,
    unlabelled_count: usize,
) {
    let (sums, total) = sums(bearer);
    let (known_count, count) = (bearer.days.len(), found.last_day - found.first_day + 1);
    let name = fitted(&bearer.name, HEADING_SIZE, 220.0);
    let mut text = format!("{name}: {} on {known_count} of {count} days", billed(total));
    if let Some(budget_bytes) = chart.budget_bytes().filter(|_| !chart.scale.has_budget) {
        text.push_str(&format!(", budget {} a day, beyond the scale", round_bytes(budget_bytes.into())));
    }
    put_text(out, MARGIN, top + 6.0, HEADING_SIZE, "start", &text);
    let parts = sums.iter().filter(|(_, sum)| *sum > 0).map(|(name, sum)| format!("{name} {}", billed(*sum)));
    let mut parts = parts.collect::<Vec<_>>().join(", ");
    if unlabelled_count > 0 {
        parts.push_str(&format!("; {unlabelled_count} changes of the link have no room for a label"));
    }
    put_text(out, MARGIN, top + 22.0, TEXT_SIZE, "start", &parts);
}

struct Chart<'a> {
    first_day: u32,
    last_day: u32,
    bearer: &'a BearerUsage,
    scale: Scale,
    /// Bytes at the top: a line of the axis.
    end_bytes: u64,
    /// Pixels of a day.
    slot: f64,
}

impl<'a> Chart<'a> {
    fn new(found: &UsageFound, bearer: &'a BearerUsage) -> Chart<'a> {
        let &UsageFound { first_day, last_day, .. } = found;
        let scale = Scale::of(bearer);
        let end_bytes = scale.end_bytes.div_ceil(scale.step()).saturating_mul(scale.step());
        Chart { first_day, last_day, bearer, scale, end_bytes, slot: WIDTH / f64::from(last_day - first_day + 1) }
    }

    /// Where a day begins.
    fn left(&self, day: u32) -> f64 {
        LEFT + f64::from(day - self.first_day) * self.slot
    }

    fn height(&self, bytes: u64) -> f64 {
        place(bytes, self.end_bytes, HEIGHT)
    }

    fn budget_bytes(&self) -> Option<u64> {
        self.bearer.days.values().rev().find_map(|day| day.budget_bytes)
    }

    fn put_gaps(&self, out: &mut String, top: f64) {
        let mut begin = self.first_day;
        for known in self.bearer.days.keys().copied().chain([self.last_day + 1]) {
            if begin < known {
                put_box(out, [self.left(begin), top, f64::from(known - begin) * self.slot, HEIGHT], "url(#gap)");
            }
            begin = known + 1;
        }
    }

    fn put_axes(&self, out: &mut String, top: f64) {
        let bottom = top + HEIGHT;
        for line in 0..=self.end_bytes / self.scale.step() {
            let bytes = line * self.scale.step();
            let y = bottom - self.height(bytes);
            let style = if line == 0 { "" } else { "stroke-opacity=\"0.15\"" };
            put_line(out, [LEFT, y, LEFT + WIDTH, y], style);
            put_text(out, LEFT - 6.0, y + 4.0, TEXT_SIZE, "end", &round_bytes(bytes.into()));
        }
        let room = width("00-00", TEXT_SIZE) + 12.0;
        let step = DAY_STEPS.into_iter().find(|step| f64::from(*step) * self.slot >= room).unwrap_or(DAY_STEPS[8]);
        let is_wide = self.slot >= width("0000-00-00", TEXT_SIZE) + 12.0;
        for day in (self.first_day..=self.last_day).step_by(step as usize) {
            let date = date(day);
            let shown = if is_wide { &date[..] } else { date.get(5..).unwrap_or(&date) };
            let x = self.left(day) + self.slot / 2.0;
            put_line(out, [x, bottom, x, bottom + 4.0], "");
            put_text(out, x, bottom + 17.0, TEXT_SIZE, "middle", shown);
        }
    }

    fn put_bars(&self, out: &mut String, top: f64) {
        let bar_width = if self.slot < 4.0 { self.slot } else { (self.slot * 0.72).min(BAR_WIDTH_MAX) };
        for (day, usage) in &self.bearer.days {
            let left = self.left(*day) + (self.slot - bar_width) / 2.0;
            let parts = usage.spent.parts().filter(|(_, count)| *count > 0);
            let parts: Vec<String> = parts.map(|(name, count)| format!("{} {name}", billed(count))).collect();
            let total = billed(usage.spent.total());
            out.push_str(&format!("<g><title>{}: {total}: {}</title>\n", date(*day), parts.join(", ")));
            let (mut sum, mut begin) = (0u64, 0.0);
            for (fill, (_, bytes)) in COLOURS.iter().zip(usage.spent.parts()) {
                sum = sum.saturating_add(bytes);
                let end = self.height(sum);
                if end > begin {
                    put_box(out, [left, top + HEIGHT - end, bar_width, end - begin], fill);
                }
                begin = end;
            }
            out.push_str("</g>\n");
        }
    }

    fn put_budget(&self, out: &mut String, top: f64) {
        let Some(newest) = self.budget_bytes().filter(|_| self.scale.has_budget) else { return };
        let mut path = String::new();
        for (day, usage) in &self.bearer.days {
            if let Some(budget_bytes) = usage.budget_bytes {
                let (x, y) = (self.left(*day), top + HEIGHT - self.height(budget_bytes));
                path.push_str(&format!("M{x:.1} {y:.1}h{:.1}", self.slot));
            }
        }
        out.push_str(&format!("<path d=\"{path}\" stroke=\"{INK}\" stroke-width=\"2\" fill=\"none\"/>\n"));
        let y = top + HEIGHT - self.height(newest) + 4.0;
        put_text(out, LEFT + WIDTH + 6.0, y, TEXT_SIZE, "start", &format!("budget {}", round_bytes(newest.into())));
    }
}

/// What is said of a change: on the sheet, and to who points at it.
struct Said {
    short: String,
    full: String,
}

/// The changes that concern a bearer, by day: the link is on it and has become so, or goes to another one.
fn marks(found: &UsageFound, name: &str) -> BTreeMap<u32, Vec<Said>> {
    let mut marks: BTreeMap<u32, Vec<Said>> = BTreeMap::new();
    let mut before = None;
    for change in &found.changes {
        let short = if change.bearer == name {
            Some(change.tier.clone())
        } else {
            (before == Some(name)).then(|| format!("to {}", change.bearer))
        };
        before = Some(change.bearer.as_str());
        let at = day(change.at);
        if let Some(short) = short.filter(|_| (found.first_day..=found.last_day).contains(&at)) {
            let reason = change.reason.as_ref().map_or(String::new(), |reason| format!(", the one before {reason}"));
            let time = query::time::format(change.at.0 / 1000 * 1000);
            let full = format!("{time} {} {}{reason}", change.bearer, change.tier);
            marks.entry(at).or_default().push(Said { short, full });
        }
    }
    marks
}

/// How a day ended, and how many changes it took.
fn label(said: &[Said]) -> String {
    let last = said.last().map_or("", |last| &last.short);
    let count = if said.len() > 1 { format!(" ({})", said.len()) } else { String::new() };
    fitted(last, TEXT_SIZE, LABEL_WIDTH_MAX - width(&count, TEXT_SIZE)) + &count
}

/// A lane for each label, counted from the top, or none where there is no room. Labels stand from left to right.
///
/// A label's line goes down from it, so a label stands over no other one that it would cut through: what does not fit
/// beside its neighbour goes below it.
fn lanes(labels: &[(f64, String)]) -> Vec<Option<usize>> {
    let mut ends = [f64::MIN; LANE_COUNT];
    let mut lanes = Vec::with_capacity(labels.len());
    for (x, label) in labels {
        let taken = ends.iter().rposition(|end| *end > *x);
        let lane = taken.map_or(0, |lane| lane + 1);
        if let Some(end) = ends.get_mut(lane) {
            *end = x + 3.0 + width(label, TEXT_SIZE) + 4.0;
        }
        lanes.push((lane < LANE_COUNT).then_some(lane));
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::sample::{FIRST, bearer, change, found};

    fn drawn(found: &UsageFound) -> String {
        let mut out = String::new();
        put(&mut out, 0.0, found, &found.bearers[0]);
        out
    }

    #[test]
    fn a_bar_is_its_parts_stacked_and_none_for_what_is_nothing() {
        let mut found = found(2);
        found.bearers = vec![bearer("wwan0", None, &[(0, [1, 0, 2, 0, 0, 1]), (1, [0; 6])])];
        let text = drawn(&found);
        let boxes: Vec<&str> = text.lines().filter(|line| line.starts_with("<rect")).collect();
        let heights = [("47.5", COLOURS[0]), ("95.0", COLOURS[2]), ("47.5", COLOURS[5])];
        assert_eq!(boxes.len(), heights.len(), "{text}");
        for (one, (height, fill)) in boxes.iter().zip(heights) {
            assert!(one.contains(&format!("height=\"{height}\" fill=\"{fill}\"")), "{one}");
        }
        assert!(text.contains("2026-01-01: 4 B: 1 B urgent, 2 B raw, 1 B other"), "{text}");
    }

    #[test]
    fn days_that_are_not_known_are_hatched_together() {
        let mut found = found(10);
        found.bearers = vec![bearer("wwan0", None, &[(0, [1; 6]), (4, [1; 6])])];
        let text = drawn(&found);
        let gaps: Vec<&str> = text.lines().filter(|line| line.contains("url(#gap)")).collect();
        assert!(gaps.len() == 2 && gaps[0].contains("width=\"207.0\"") && gaps[1].contains("width=\"345.0\""));
    }

    #[test]
    fn a_budget_is_a_line_that_follows_it_and_a_word_when_it_is_beyond_the_scale() {
        let mut found = found(2);
        found.bearers = vec![bearer("wwan0", Some(12), &[(0, [1; 6]), (1, [1; 6])])];
        let text = drawn(&found);
        assert!(text.contains("<path d=\"M78.0 ") && text.contains(">budget 12 B<"), "{text}");
        found.bearers = vec![bearer("wwan0", Some(u64::MAX), &[(0, [1; 6])])];
        let text = drawn(&found);
        assert!(!text.contains("<path") && text.contains("budget 18.4 EB a day, beyond the scale"), "{text}");
    }

    #[test]
    fn a_change_marks_the_bearer_that_the_link_goes_to_and_the_one_that_it_leaves() {
        let mut found = found(5);
        let reason = Some("vanished");
        found.changes = vec![
            change(1, "wwan0", "LTE", None),
            change(2, "wwan0", "3G", None),
            change(50, "eth0", "wired", reason),
            change(80, "eth0", "wired", None),
            change(1000, "wwan0", "LTE", reason),
        ];
        let labels =
            |name| marks(&found, name).iter().map(|(day, said)| (day - FIRST, label(said))).collect::<Vec<_>>();
        assert_eq!(labels("wwan0"), [(0, "3G (2)".to_owned()), (2, "to eth0".to_owned())]);
        assert_eq!(labels("eth0"), [(2, "wired".to_owned()), (3, "wired".to_owned())]);
        assert!(labels("wlan0").is_empty());
    }

    #[test]
    fn no_label_touches_another_one_or_is_cut_by_its_line() {
        for gap in [2.0, 10.0, 23.0, 60.0, 200.0] {
            let labels: Vec<(f64, String)> =
                (0..40).map(|n| (f64::from(n) * gap, "x".repeat(n as usize % 9))).collect();
            let lanes = lanes(&labels);
            for (right, (x, _)) in labels.iter().enumerate() {
                for (left, (begin, label)) in labels[..right].iter().enumerate() {
                    let is_beside = begin + 3.0 + width(label, TEXT_SIZE) <= *x;
                    let is_below = lanes[right] > lanes[left];
                    let both_shown = lanes[right].is_some() && lanes[left].is_some();
                    assert!(!both_shown || is_beside || is_below, "{gap}: {left} {right}");
                }
            }
        }
    }
}
