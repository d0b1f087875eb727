//! `outpost top`: what the machine does now.
//!
//! Reads the machine itself with what the agent reads it with, instead of asking for the agent's last tick: that may be
//! ten seconds old, and rates need two of them.
//!
//! A terminal may be at the end of a serial line of 960 characters a second, with 24 rows: tables are cut until they all
//! fit, and of each line only what changed is sent.
#![expect(clippy::disallowed_methods, reason = "a driver owns the clock")]

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use agent::probe::{self, Carry, Reading};
use hal::linux::terminal::{self, Size};
use query::unit::{Shown, Unit};
use wire::metric::Metric;
use wire::series::{LabelText, labels, write_labels};

use crate::sampling::Machine;

/// From screen to screen.
const INTERVAL: Duration = Duration::from_secs(1);

/// Rows of one table, when there is room for them.
const ROW_COUNT_MAX: usize = 10;

/// Names of processes that are remembered.
const NAME_COUNT_MAX: usize = 1024;

/// Every value of one reading, by metric and label text, in units.
type Values = BTreeMap<(Metric, String), f64>;

/// Shows a screen each second, or one when `is_once` or when nobody watches.
///
/// Errors: the screen cannot be written to.
pub(crate) fn run(root: &Path, is_once: bool) -> std::io::Result<()> {
    let mut eyes = Eyes::new(root);
    let is_once = is_once || !std::io::stdout().is_terminal();
    let mut shown = Terminal::default();
    let (mut before, mut at) = (eyes.look(), Instant::now());
    loop {
        std::thread::sleep(INTERVAL);
        let (now, span) = (eyes.look(), at.elapsed());
        at += span;
        let rates = Rates { before: &before, now: &now, seconds: span.as_secs_f64() };
        let text = match is_once {
            true => rates.screen(ROW_COUNT_MAX),
            false => shown.update(&rates, terminal::size(&std::io::stdout())),
        };
        std::io::stdout().write_all(text.as_bytes())?;
        std::io::stdout().flush()?;
        if is_once {
            return Ok(());
        }
        before = remembered(before, now);
    }
}

/// What a terminal shows.
#[derive(Default)]
struct Terminal {
    lines: Vec<String>,
    size: Option<Size>,
}

impl Terminal {
    /// What to send so that the newest screen is shown: the ends of the lines that changed (ECMA-48: CUP, EL, ED).
    fn update(&mut self, rates: &Rates<'_>, size: Size) -> String {
        let mut out = String::new();
        if self.size.replace(size) != Some(size) {
            self.lines.clear();
            out.push_str("\x1b[H\x1b[J");
        }
        let lines = fitted(rates, size);
        for (index, line) in lines.iter().enumerate() {
            let before = self.lines.get(index).map_or("", String::as_str);
            let same = before.bytes().zip(line.bytes()).take_while(|(a, b)| a == b && a.is_ascii()).count();
            if before != line {
                out += &format!("\x1b[{};{}H{}\x1b[K", index + 1, same + 1, &line[same..]);
            }
        }
        out += &format!("\x1b[{};1H\x1b[J", lines.len() + 1);
        self.lines = lines;
        out
    }
}

/// The lines of the fullest screen that fits. The last row is the cursor's, and a character in the last column is wiped
/// by some terminals with the line's rest.
fn fitted(rates: &Rates<'_>, size: Size) -> Vec<String> {
    let (row_count, column_count) = (size.row_count.saturating_sub(1), size.column_count.saturating_sub(1));
    let mut screens = (1..=ROW_COUNT_MAX).rev().map(|row_count_max| rates.screen(row_count_max));
    let fits = |screen: &String| screen.lines().count() <= row_count;
    let screen = screens.find(fits).unwrap_or_else(|| rates.screen(1));
    screen.lines().take(row_count).map(|line| line.chars().take(column_count).collect()).collect()
}

/// The newer of two readings, with the CPU time of names that are only in the older one: a walk says only which names
/// use most. Of names that come and go for ever no more than [`NAME_COUNT_MAX`] are kept.
fn remembered(older: Values, mut newer: Values) -> Values {
    let names = older.into_iter().filter(|((metric, _), _)| *metric == Metric::GroupCpuSeconds);
    for (key, value) in names.take(NAME_COUNT_MAX) {
        newer.entry(key).or_insert(value);
    }
    newer
}

/// What reads the machine.
struct Eyes {
    machine: Machine,
    reading: Reading,
    carry: Box<Carry>,
}

impl Eyes {
    fn new(root: &Path) -> Eyes {
        let machine = Machine::new(root);
        Eyes { reading: machine.reading(), machine, carry: Box::default() }
    }

    fn look(&mut self) -> Values {
        self.machine.read(true, &mut self.reading);
        let mut values = Values::new();
        let mut text = LabelText::new();
        probe::parse(&self.reading, &mut self.carry, &mut |metric, labels, value| {
            // Labels that do not fit are refused by the agent as well.
            if write_labels(labels, &mut text).is_ok() {
                let value = query::series::scaled(value, metric.definition().scale);
                values.insert((metric, text.as_str().to_owned()), value);
            }
        });
        values
    }
}

/// Two readings and the time between them.
struct Rates<'a> {
    before: &'a Values,
    now: &'a Values,
    seconds: f64,
}

impl Rates<'_> {
    /// Everything, with so many rows in each table at the most.
    fn screen(&self, row_count_max: usize) -> String {
        let tables = [self.disks(), self.filesystems(), self.network(), self.processes()];
        let parts = [self.head(), self.memory()].into_iter().chain(tables.map(|table| table.text(row_count_max)));
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Load and CPUs, a line each.
    fn head(&self) -> String {
        let mut line = String::new();
        if let (Some(one), Some(five), Some(fifteen)) =
            (self.value(Metric::Load1), self.value(Metric::Load5), self.value(Metric::Load15))
        {
            line += &format!("load    {one:.2} {five:.2} {fifteen:.2}");
        }
        if let (Some(running), Some(blocked)) = (self.value(Metric::ProcsRunning), self.value(Metric::ProcsBlocked)) {
            line += &format!("   {running} running, {blocked} blocked");
        }
        let mut modes: BTreeMap<String, f64> = BTreeMap::new();
        for (labels, rate) in self.rates(Metric::CpuSeconds) {
            *modes.entry(label(labels, "mode")).or_default() += rate;
        }
        let all: f64 = modes.values().sum();
        if all > 0.0 {
            let share = |mode: &str| modes.get(mode).map_or(0.0, |rate| rate / all * 100.0);
            line += "\ncpu     ";
            line += &["user", "system", "iowait", "irq", "softirq", "nice", "steal", "idle"]
                .into_iter()
                .filter(|mode| matches!(*mode, "user" | "system" | "iowait" | "idle") || share(mode) >= 0.1)
                .map(|mode| format!("{mode} {:.1} %", share(mode)))
                .collect::<Vec<_>>()
                .join("   ");
        }
        if line.is_empty() { line } else { line + "\n" }
    }

    fn memory(&self) -> String {
        let Some(total) = self.value(Metric::MemoryMemTotal) else { return String::new() };
        // Kernels before 3.14 do not say what is available.
        let free = self.value(Metric::MemoryMemAvailable).or(self.value(Metric::MemoryMemFree)).unwrap_or(0.0);
        let mut line = format!("memory  {} of {} in use", bytes(total - free), bytes(total));
        match (self.value(Metric::MemorySwapTotal), self.value(Metric::MemorySwapFree)) {
            (Some(swap), Some(free)) if swap > 0.0 => {
                line += &format!("   swap {} of {}", bytes(swap - free), bytes(swap));
            }
            _ => {}
        }
        line + "\n"
    }

    fn disks(&self) -> Table {
        let rows = self.rates(Metric::DiskReadBytes).map(|(labels, read)| {
            let written = self.rate(Metric::DiskWrittenBytes, labels);
            let busy = self.rate(Metric::DiskIoTime, labels);
            (busy, [label(labels, "device"), per_second(read), per_second(written), percent(busy)])
        });
        Table::new(["disk", "read", "written", "busy"], rows)
    }

    fn filesystems(&self) -> Table {
        let of_size = |(labels, size): (&str, f64)| {
            let free = self.now.get(&(Metric::FilesystemAvail, labels.to_owned())).copied()?;
            let used = if size > 0.0 { 1.0 - free / size } else { return None };
            Some((used, [label(labels, "mountpoint"), bytes(size), bytes(free), percent(used)]))
        };
        Table::new(["filesystem", "size", "free", "used"], self.values(Metric::FilesystemSize).filter_map(of_size))
    }

    fn network(&self) -> Table {
        let rows = self.rates(Metric::NetworkReceiveBytes).map(|(labels, received)| {
            let sent = self.rate(Metric::NetworkTransmitBytes, labels);
            let dropped =
                self.rate(Metric::NetworkReceiveDrop, labels) + self.rate(Metric::NetworkTransmitDrop, labels);
            let dropped = Shown { unit: Unit::Plain, is_per_second: true }.format(dropped);
            (received + sent, [label(labels, "device"), per_second(received), per_second(sent), dropped])
        });
        Table::new(["interface", "received", "sent", "dropped"], rows)
    }

    fn processes(&self) -> Table {
        let of_walk = |(labels, cpu): (&str, f64)| {
            let count = self.now.get(&(Metric::GroupProcs, labels.to_owned()))?;
            let of_memory = (Metric::GroupMemory, format!("{labels},memtype=\"resident\""));
            let memory = self.now.get(&of_memory).copied().unwrap_or(0.0);
            // Names are counted from zero since they are known, so one that was not there before began at zero.
            let before = self.before.get(&(Metric::GroupCpuSeconds, labels.to_owned())).copied().unwrap_or(0.0);
            let cpu = (cpu - before).max(0.0) / self.seconds;
            // Among those that do nothing the largest come first.
            Some((cpu + memory / 1e15, [label(labels, "groupname"), percent(cpu), bytes(memory), format!("{count}")]))
        };
        Table::new(["process", "cpu", "memory", "count"], self.values(Metric::GroupCpuSeconds).filter_map(of_walk))
    }

    /// The value of a metric without labels.
    fn value(&self, metric: Metric) -> Option<f64> {
        self.now.get(&(metric, String::new())).copied()
    }

    fn values(&self, metric: Metric) -> impl Iterator<Item = (&str, f64)> {
        let from = (metric, String::new());
        self.now
            .range(from..)
            .take_while(move |((of, _), _)| *of == metric)
            .map(|((_, labels), value)| (labels.as_str(), *value))
    }

    /// The change per second of each series of a counter.
    fn rates(&self, metric: Metric) -> impl Iterator<Item = (&str, f64)> {
        self.values(metric).map(move |(labels, _)| (labels, self.rate(metric, labels)))
    }

    /// The change per second of one series; zero when it was not there before, or began again.
    fn rate(&self, metric: Metric, labels: &str) -> f64 {
        let key = (metric, labels.to_owned());
        match (self.before.get(&key), self.now.get(&key)) {
            (Some(before), Some(now)) if now > before => (now - before) / self.seconds,
            _ => 0.0,
        }
    }
}

/// Rows under a head, those that matter most first.
struct Table {
    head: [&'static str; 4],
    rows: Vec<[String; 4]>,
}

impl Table {
    /// A table of rows, each with how much it matters.
    fn new(head: [&'static str; 4], rows: impl Iterator<Item = (f64, [String; 4])>) -> Table {
        let mut rows: Vec<(f64, [String; 4])> = rows.collect();
        rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        Table { head, rows: rows.into_iter().map(|(_, cells)| cells).collect() }
    }

    /// The first column to the left and the others to the right; nothing without rows.
    fn text(&self, row_count_max: usize) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut out = String::new();
        for cells in std::iter::once(&self.head.map(str::to_owned)).chain(self.rows.iter().take(row_count_max)) {
            // A name is whatever a process calls itself; a terminal obeys control characters.
            let first: String = cells[0].chars().take(30).map(|c| if c.is_control() { '?' } else { c }).collect();
            out += &format!("{first:<30}{:>14}{:>14}{:>10}\n", cells[1], cells[2], cells[3]);
        }
        match self.rows.len().saturating_sub(row_count_max) {
            0 => {}
            more => out += &format!("and {more} more\n"),
        }
        out
    }
}

fn label(text: &str, name: &str) -> String {
    labels(text).find(|(label, _)| *label == name).map_or_else(String::new, |(_, value)| value)
}

fn bytes(value: f64) -> String {
    Shown { unit: Unit::Bytes, is_per_second: false }.format(value)
}

fn per_second(value: f64) -> String {
    Shown { unit: Unit::Bytes, is_per_second: true }.format(value)
}

fn percent(share: f64) -> String {
    Shown { unit: Unit::Ratio, is_per_second: false }.format(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(Metric, &str, f64)]) -> Values {
        list.iter().map(|(metric, labels, value)| ((*metric, (*labels).to_owned()), *value)).collect()
    }

    #[test]
    fn rates_are_made_of_two_readings() {
        let before = values(&[
            (Metric::CpuSeconds, "cpu=\"0\",mode=\"idle\"", 100.0),
            (Metric::CpuSeconds, "cpu=\"0\",mode=\"user\"", 10.0),
            (Metric::DiskReadBytes, "device=\"sda\"", 0.0),
            (Metric::DiskWrittenBytes, "device=\"sda\"", 4096.0),
        ]);
        let now = values(&[
            (Metric::CpuSeconds, "cpu=\"0\",mode=\"idle\"", 101.5),
            (Metric::CpuSeconds, "cpu=\"0\",mode=\"user\"", 10.5),
            (Metric::DiskReadBytes, "device=\"sda\"", 2048.0),
            (Metric::DiskWrittenBytes, "device=\"sda\"", 0.0),
            (Metric::Load1, "", 0.5),
            (Metric::Load15, "", 0.25),
            (Metric::Load5, "", 1.0),
            (Metric::MemoryMemAvailable, "", 1024.0 * 1024.0),
            (Metric::MemoryMemTotal, "", 4.0 * 1024.0 * 1024.0),
        ]);
        assert_eq!(
            Rates { before: &before, now: &now, seconds: 2.0 }.screen(ROW_COUNT_MAX),
            "\
load    0.50 1.00 0.25
cpu     user 25.0 %   system 0.0 %   iowait 0.0 %   idle 75.0 %

memory  3.00 MiB of 4.00 MiB in use

disk                                    read       written      busy
sda                               1.00 KiB/s         0 B/s     0.0 %
"
        );
    }

    #[test]
    fn a_name_that_did_little_before_is_not_said_to_have_done_all_of_it_now() {
        let walk = |cpu| {
            let of = "groupname=\"sh\"";
            let memory = (Metric::GroupMemory, "groupname=\"sh\",memtype=\"resident\"", 2048.0);
            values(&[(Metric::GroupCpuSeconds, of, cpu), memory, (Metric::GroupProcs, of, 3.0)])
        };
        let before = remembered(walk(7.0), Values::new());
        assert_eq!(Rates { before: &before, now: &Values::new(), seconds: 1.0 }.processes().text(9), "");
        let text = Rates { before: &before, now: &walk(7.5), seconds: 1.0 }.processes().text(9);
        assert_eq!(
            text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
            "sh 50.0 % 2.00 KiB 3"
        );
    }

    #[test]
    fn the_busiest_come_first_and_the_rest_is_counted() {
        let rows = (0..12).map(|number| {
            (f64::from(number), [format!("p\u{1b}{number}"), String::new(), String::new(), String::new()])
        });
        let text = Table::new(["process", "", "", ""], rows).text(10);
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("p?11 ")), "{text}");
        assert!(text.ends_with("and 2 more\n"));
    }

    #[test]
    fn a_screen_fits_its_terminal_and_only_what_changed_is_sent() {
        let at = |load| {
            let mut all = values(&[(Metric::Load1, "", load), (Metric::Load15, "", 0.0), (Metric::Load5, "", 0.0)]);
            for number in 0..20 {
                all.insert((Metric::NetworkReceiveBytes, format!("device=\"eth{number}\"")), 0.0);
            }
            all
        };
        let (before, now) = (at(0.5), at(0.75));
        let size = Size { row_count: 10, column_count: 20 };
        let mut terminal = Terminal::default();
        let first = terminal.update(&Rates { before: &before, now: &before, seconds: 1.0 }, size);
        assert!(first.starts_with("\x1b[H\x1b[J\x1b[1;1Hload    0.50 0.00 0\x1b[K\x1b[3;1Hinterface"), "{first:?}");
        assert!(first.ends_with("\x1b[9;1Hand 15 more\x1b[K\x1b[10;1H\x1b[J"), "{first:?}");
        let next = terminal.update(&Rates { before: &before, now: &now, seconds: 1.0 }, size);
        assert_eq!(next, "\x1b[1;11H75 0.00 0\x1b[K\x1b[10;1H\x1b[J");
        let larger = Size { row_count: 50, ..size };
        let resized = terminal.update(&Rates { before: &before, now: &now, seconds: 1.0 }, larger);
        assert!(resized.starts_with("\x1b[H\x1b[J") && resized.contains("and 10 more"), "{resized:?}");
    }

    #[test]
    fn a_machine_without_proc_is_an_empty_screen() {
        let mut eyes = Eyes::new(Path::new("/nowhere"));
        let values = eyes.look();
        assert_eq!(Rates { before: &values, now: &values, seconds: 1.0 }.screen(9), "");
    }
}
