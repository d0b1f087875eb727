//! An answer as a person reads it, within 100 columns.
//!
//! ```text
//! node_load1
//! 2026-01-01 10:00 to 11:00 UTC, every 1m, site="north"
//!
//! instance  10:00                                      11:00  min   mean  max  last
//! gw-1      ▁▁▁▁▁▁▁▂▂▂▂▂▃▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇██████    0      3    6     6
//! gw-20     ███████▇▇▇▇▇▆▆▆▆                ▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁    0  29.76   60     0
//! ```
//!
//! What all series share is said once, above. A sparkline runs from the least value of its own series to the greatest;
//! a blank in it is a time without values.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::duration;
use crate::render::{printable, spark};
use crate::series::{Answer, Series};
use crate::time::Civil;
use crate::unit::Shown;

/// Columns of a terminal that is assumed.
pub const WIDTH: usize = 100;

/// Series of which [`steps`] shows every value.
pub const STEP_SERIES_MAX: usize = 6;

const SPARK_WIDTH_MIN: usize = 16;
const SPARK_WIDTH_MAX: usize = 48;

/// Blanks between columns.
const GAP: &str = "  ";

/// Writes one line for each series: its labels, a sparkline, and its least, mean, greatest and last value.
pub fn render(answer: &Answer) -> String {
    let mut out = String::new();
    let shape = Shape::of(answer);
    put_head(&mut out, answer, &shape);
    if answer.series.is_empty() {
        out.push_str("no series with values in this span\n");
    } else {
        out.push('\n');
        put_series(&mut out, answer, &shape);
    }
    put_notes(&mut out, answer);
    out
}

/// Writes one line for each moment and one column for each series; `None` when there are more than
/// [`STEP_SERIES_MAX`] series, or their columns do not fit.
pub fn steps(answer: &Answer) -> Option<String> {
    if answer.series.is_empty() || answer.series.len() > STEP_SERIES_MAX {
        return None;
    }
    let shape = Shape::of(answer);
    let mut rows: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (index, series) in answer.series.iter().enumerate() {
        let shown = Shown::of(&series.name, answer.is_rate);
        for point in &series.points {
            let row = rows.entry(point.at_ms).or_insert_with(|| vec!["-".to_string(); answer.series.len()]);
            row[index] = shown.format(point.value);
        }
    }
    let has_ms = rows.keys().any(|at_ms| at_ms % 1000 != 0);
    let mut table = vec![vec!["time (UTC)".to_string()]];
    for series in &answer.series {
        let words = shape.varying(series).join(" ");
        table[0].push(if words.is_empty() { printable(&series.name) } else { words });
    }
    for (at_ms, values) in rows {
        let civil = Civil::of(at_ms);
        let ms = if has_ms { format!(".{:03}", civil.ms) } else { String::new() };
        table.push([vec![format!("{} {}{ms}", civil.date(), civil.clock())], values].concat());
    }
    let widths = widths(&table);
    if widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1) > WIDTH {
        return None;
    }
    let mut out = String::new();
    put_head(&mut out, answer, &shape);
    out.push('\n');
    for row in &table {
        let cells = row.iter().enumerate().map(|(index, cell)| pad(cell, widths[index], index > 0));
        put_line(&mut out, cells);
    }
    put_notes(&mut out, answer);
    Some(out)
}

/// Which labels all series share, and by which they differ.
struct Shape<'a> {
    /// `name="value"` of what all share.
    shared: Vec<String>,
    /// Labels by which they differ, in the order in which they are met.
    varying: Vec<&'a str>,
    /// Whether they differ by name.
    has_names: bool,
}

impl<'a> Shape<'a> {
    fn of(answer: &'a Answer) -> Shape<'a> {
        let mut labels: Vec<&str> = Vec::new();
        for (name, _) in answer.series.iter().flat_map(|series| &series.labels) {
            if !labels.contains(&name.as_str()) {
                labels.push(name);
            }
        }
        let mut shape = Shape { shared: Vec::new(), varying: Vec::new(), has_names: false };
        let Some(first) = answer.series.first() else { return shape };
        shape.has_names = answer.series.iter().any(|series| series.name != first.name);
        for label in labels {
            let value = value_of(first, label);
            if answer.series.iter().all(|series| value_of(series, label) == value) {
                shape.shared.push(format!("{label}=\"{}\"", printable(value)));
            } else {
                shape.varying.push(label);
            }
        }
        shape
    }

    /// The names of the columns that tell series apart.
    fn columns(&self) -> Vec<String> {
        let name = self.has_names.then(|| "name".to_string());
        name.into_iter().chain(self.varying.iter().map(|label| printable(label))).collect()
    }

    /// What stands in them for one series.
    fn varying(&self, series: &Series) -> Vec<String> {
        let name = self.has_names.then(|| printable(&series.name));
        name.into_iter().chain(self.varying.iter().map(|label| printable(value_of(series, label)))).collect()
    }
}

fn value_of<'a>(series: &'a Series, label: &str) -> &'a str {
    series.labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value)
}

/// The question, the span, and what all series share.
fn put_head(out: &mut String, answer: &Answer, shape: &Shape<'_>) {
    put_wrapped(out, &printable(&answer.expression), "    ");
    let (from, to) = (Civil::of(answer.from_ms), Civil::of(answer.to_ms));
    let has_seconds = answer.to_ms.saturating_sub(answer.from_ms) < 600_000;
    let clock = |civil: &Civil| civil.clock()[..if has_seconds { 8 } else { 5 }].to_string();
    let end = if from.date() == to.date() { clock(&to) } else { format!("{} {}", to.date(), clock(&to)) };
    let mut parts = vec![format!("{} {} to {end} UTC", from.date(), clock(&from))];
    parts.push(match answer.step_ms {
        Some(step_ms) => format!("every {}", duration::format(step_ms)),
        None => "as sampled".to_string(),
    });
    parts.extend(shape.shared.iter().cloned());
    put_wrapped(out, &parts.join(", "), "    ");
}

fn put_series(out: &mut String, answer: &Answer, shape: &Shape<'_>) {
    const NUMBERS: [&str; 4] = ["min", "mean", "max", "last"];
    let mut labels = vec![shape.columns()];
    let mut numbers = vec![NUMBERS.map(String::from).to_vec()];
    for series in &answer.series {
        labels.push(shape.varying(series));
        numbers.push(summary(series, Shown::of(&series.name, answer.is_rate)));
    }
    let (label_widths, number_widths) = (widths(&labels), widths(&numbers));
    let columns = |widths: &[usize]| widths.iter().map(|width| width + GAP.len()).sum::<usize>();
    let room = WIDTH.saturating_sub(columns(&number_widths));
    let is_narrow = room.saturating_sub(columns(&label_widths)) >= SPARK_WIDTH_MIN;
    let indent = if is_narrow { columns(&label_widths) } else { 2 * GAP.len() };
    let spark_width = room.saturating_sub(indent).clamp(SPARK_WIDTH_MIN, SPARK_WIDTH_MAX);

    for (index, (labels, numbers)) in labels.iter().zip(&numbers).enumerate() {
        let mut cells = Vec::new();
        if is_narrow {
            cells.extend(labels.iter().zip(&label_widths).map(|(label, width)| pad(label, *width, false)));
        } else {
            // Labels that leave no room for the rest have a line of their own; the head has no room to name them.
            if let Some(series) = index.checked_sub(1).map(|place| &answer.series[place]) {
                let name = shape.has_names.then(|| printable(&series.name));
                let varying = shape.varying.iter().filter(|label| !value_of(series, label).is_empty());
                let varying = varying.map(|label| format!("{label}=\"{}\"", printable(value_of(series, label))));
                put_wrapped(out, &name.into_iter().chain(varying).collect::<Vec<_>>().join(", "), "    ");
            }
            cells.push("  ".to_string());
        }
        cells.push(match index.checked_sub(1) {
            None => axis(answer, spark_width),
            Some(place) => spark::line(&answer.series[place].points, answer.from_ms, answer.to_ms, spark_width),
        });
        cells.extend(numbers.iter().zip(&number_widths).map(|(number, width)| pad(number, *width, true)));
        put_line(out, cells.into_iter());
    }
}

fn summary(series: &Series, shown: Shown) -> Vec<String> {
    let values = series.points.iter().map(|point| point.value);
    let Some(last) = series.points.last() else { return vec!["-".to_string(); 4] };
    let mean = values.clone().sum::<f64>() / series.points.len() as f64;
    let (min, max) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
    [min, mean, max, last.value].into_iter().map(|value| shown.format(value)).collect()
}

/// The span's ends above the ends of the sparklines: the time of day, or the date when the span is long.
fn axis(answer: &Answer, width: usize) -> String {
    let (from, to) = (Civil::of(answer.from_ms), Civil::of(answer.to_ms));
    let text = |civil: &Civil| match answer.to_ms.saturating_sub(answer.from_ms) {
        0..600_000 => civil.clock(),
        600_000..172_800_000 => civil.clock()[..5].to_string(),
        _ => civil.date()[5..].to_string(),
    };
    let (from, to) = (text(&from), text(&to));
    format!("{from}{:>1$}", to, width - from.len())
}

fn put_notes(out: &mut String, answer: &Answer) {
    if !answer.notes.is_empty() {
        out.push('\n');
    }
    for note in &answer.notes {
        put_wrapped(out, &format!("note: {}", printable(note)), "      ");
    }
}

fn put_line(out: &mut String, cells: impl Iterator<Item = String>) {
    let line = cells.collect::<Vec<_>>().join(GAP);
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Breaks at blanks where it can and inside words where it must; lines after the first begin with `indent`.
fn put_wrapped(out: &mut String, text: &str, indent: &str) {
    let mut line = String::new();
    let mut width = 0;
    for word in text.split_inclusive(' ') {
        let mut rest = word;
        loop {
            let length = rest.trim_end().chars().count();
            if width + length <= WIDTH {
                line.push_str(rest);
                width += rest.chars().count();
                break;
            }
            if width > indent.len() || length <= WIDTH - indent.len() {
                out.push_str(line.trim_end());
            } else {
                let cut = rest.char_indices().nth(WIDTH - width).map_or(rest.len(), |(at, _)| at);
                line.push_str(&rest[..cut]);
                rest = &rest[cut..];
                out.push_str(&line);
            }
            out.push('\n');
            line = indent.to_string();
            width = indent.len();
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The widest cell of each column.
fn widths(table: &[Vec<String>]) -> Vec<usize> {
    let columns = table.first().map_or(0, Vec::len);
    (0..columns).map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect()
}

fn pad(text: &str, width: usize, is_right: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
    if is_right { blanks + text } else { text.to_string() + &blanks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    const FROM: u64 = 1_767_261_600_000;

    /// A series of metric `name` with one value a minute: `value(minute)`.
    fn series(name: &str, labels: &[(&str, &str)], minutes: u64, value: impl Fn(u64) -> Option<f64>) -> Series {
        let points =
            (0..=minutes).filter_map(|minute| Some(Point { at_ms: FROM + minute * 60_000, value: value(minute)? }));
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Series { name: name.to_string(), labels: labels.collect(), points: points.collect() }
    }

    fn answer(expression: &str, minutes: u64, series: Vec<Series>) -> Answer {
        Answer {
            expression: expression.to_string(),
            is_rate: expression.starts_with("rate("),
            from_ms: FROM,
            to_ms: FROM + minutes * 60_000,
            step_ms: Some(60_000),
            series,
            notes: Vec::new(),
        }
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(text, expected, "\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "a line is too long\n{text}");
    }

    #[test]
    fn series_stand_below_each_other_with_what_tells_them_apart() {
        let up = |minute: u64| Some(minute as f64 / 10.0);
        let gap = |minute: u64| (!(20..40).contains(&minute)).then_some(60.0 - minute as f64);
        let series = vec![
            series("node_load1", &[("instance", "gw-1"), ("site", "north")], 60, up),
            series("node_load1", &[("instance", "gw-20"), ("site", "north")], 60, gap),
            series("node_load1", &[("instance", "gw-3"), ("site", "north")], 60, |_| Some(0.0)),
        ];
        check(
            &render(&answer("node_load1", 60, series)),
            "\
node_load1
2026-01-01 10:00 to 11:00 UTC, every 1m, site=\"north\"

instance  10:00                                      11:00  min   mean  max  last
gw-1      ▁▁▁▁▁▁▁▂▂▂▂▂▃▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇██████    0      3    6     6
gw-20     ███████▇▇▇▇▇▆▆▆▆                ▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁    0  29.76   60     0
gw-3      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁    0      0    0     0
",
        );
    }

    #[test]
    fn labels_that_leave_no_room_have_a_line_of_their_own() {
        let long = "/var/lib/kubelet/pods/5d6f5a52-4f39-4f5c-9a43-7b1d0e6f4f0a/volumes/kubernetes.io~empty-dir/cache";
        let free = |minute: u64| Some(8e9 - minute as f64 * 1e8);
        let series = vec![
            series("free_bytes", &[("mountpoint", "/")], 60, free),
            series("free_bytes", &[("mountpoint", long)], 60, free),
        ];
        check(
            &render(&answer("free_bytes", 60, series)),
            "\
free_bytes
2026-01-01 10:00 to 11:00 UTC, every 1m

    10:00                                      11:00       min      mean       max      last
mountpoint=\"/\"
    ███████▇▇▇▇▇▆▆▆▆▆▆▅▅▅▅▅▅▄▄▄▄▄▄▃▃▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁  1.86 GiB  4.66 GiB  7.45 GiB  1.86 GiB
mountpoint=\"/var/lib/kubelet/pods/5d6f5a52-4f39-4f5c-9a43-7b1d0e6f4f0a/volumes/kubernetes.io~empty-d
    ir/cache\"
    ███████▇▇▇▇▇▆▆▆▆▆▆▅▅▅▅▅▅▄▄▄▄▄▄▃▃▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁  1.86 GiB  4.66 GiB  7.45 GiB  1.86 GiB
",
        );
    }

    #[test]
    fn an_answer_without_series_says_so_and_why() {
        let mut answer = answer("node_laod1", 60, Vec::new());
        answer.notes = vec!["no series is named node_laod1; did you mean node_load1, node_load15 or node_load5? They are named by 499 devices".to_string()];
        check(
            &render(&answer),
            "\
node_laod1
2026-01-01 10:00 to 11:00 UTC, every 1m
no series with values in this span

note: no series is named node_laod1; did you mean node_load1, node_load15 or node_load5? They are
      named by 499 devices
",
        );
        assert_eq!(steps(&answer), None);
    }

    #[test]
    fn what_a_device_says_cannot_move_the_cursor() {
        let text = render(&answer("up", 60, vec![series("up", &[("a", "\u{1b}[2J\n\u{202e}x")], 1, |_| Some(1.0))]));
        assert!(text.contains("a=\"\\u{1b}[2J\\n\\u{202e}x\""), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_few_series_are_shown_step_by_step() {
        let series = vec![
            series("rx_bytes_total", &[("device", "eth0")], 3, |minute| Some(minute as f64 * 1e6)),
            series("rx_bytes_total", &[("device", "wwan0")], 3, |minute| (minute != 2).then_some(1234.0)),
        ];
        check(
            &steps(&answer("rate(rx_bytes_total[5m])", 3, series)).unwrap(),
            "\
rate(rx_bytes_total[5m])
2026-01-01 10:00:00 to 10:03:00 UTC, every 1m

time (UTC)                 eth0       wwan0
2026-01-01 10:00:00       0 B/s  1.21 KiB/s
2026-01-01 10:01:00   977 KiB/s  1.21 KiB/s
2026-01-01 10:02:00  1.91 MiB/s           -
2026-01-01 10:03:00  2.86 MiB/s  1.21 KiB/s
",
        );
    }

    #[test]
    fn many_series_are_not_shown_step_by_step() {
        let many = (0..=STEP_SERIES_MAX).map(|_| series("up", &[], 1, |_| Some(1.0))).collect();
        assert_eq!(steps(&answer("up", 1, many)), None);
        let wide = vec![
            series("up", &[("a", &"x".repeat(50))], 1, |_| None),
            series("up", &[("a", &"y".repeat(50))], 1, |_| None),
        ];
        assert_eq!(steps(&answer("up", 1, wide)), None);
    }
}
