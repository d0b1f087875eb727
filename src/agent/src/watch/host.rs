//! The machine as a whole: fifteen numbers that carry its load, every five minutes.

use std::collections::BTreeMap;

use detect::host::{HostScore, METRIC_BYTES};
use wire::event::Event;
use wire::limits::BLAMED_COUNT_MAX;
use wire::metric::Metric;
use wire::series::{Kind, Series};
use wire::trouble::{Subject, subject};

use super::{Ended, Marks, NOTHING, at_s, level, written};
use crate::dictionary::Dictionary;

/// What of a metric's series counts, by a piece of their labels.
type Part = &'static str;

/// The numbers: each the sum over the series of a metric whose labels have that piece. `detect` says which make a good choice, and
/// that few do: what is handed in twice counts twice.
const NUMBERS: [(Metric, Part); 15] = [
    (Metric::CpuSeconds, "mode=\"user\""),
    (Metric::CpuSeconds, "mode=\"system\""),
    (Metric::CpuSeconds, "mode=\"iowait\""),
    (Metric::CpuSeconds, "mode=\"softirq\""),
    (Metric::Load1, ""),
    (Metric::MemoryMemAvailable, ""),
    (Metric::DiskReadBytes, ""),
    (Metric::DiskWrittenBytes, ""),
    (Metric::DiskIoTime, ""),
    (Metric::NetworkReceiveBytes, ""),
    (Metric::NetworkTransmitBytes, ""),
    (Metric::ContextSwitches, ""),
    (Metric::Forks, ""),
    (Metric::SockstatTcpInuse, ""),
    (Metric::VmstatPgfault, ""),
];

/// Labels of series that say nothing of the load.
const LEFT_OUT: [&str; 1] = ["device=\"lo\""];

const _: () = assert!(NUMBERS.len() * METRIC_BYTES <= 4096);

/// Five minutes whose windows may be open at a time.
const OPEN_COUNT_MAX: usize = 4;

/// The numbers of five minutes; NaN where there is none.
type Numbers = [f32; NUMBERS.len()];

/// Watches the machine as a whole.
#[derive(Debug)]
pub struct HostWatch {
    marks: Marks,
    score: HostScore,
    /// The windows of the classes come one after the other: what is known of the five minutes that began then.
    open: BTreeMap<i64, Numbers>,
}

impl Default for HostWatch {
    fn default() -> HostWatch {
        HostWatch { marks: Marks::default(), score: HostScore::new(NUMBERS.len()), open: BTreeMap::new() }
    }
}

impl HostWatch {
    /// The slots have other names from here on.
    pub fn renew(&mut self) {
        self.marks.renew();
    }

    /// Takes windows of five minutes of one class.
    pub fn add(&mut self, dictionary: &Dictionary, ended: &Ended<'_>) {
        let numbers = self.open.entry(at_s(ended.began)).or_insert([f32::NAN; NUMBERS.len()]);
        let marks = self.marks.of(dictionary, ended.class, |series| mark(&series));
        for (window, mark) in ended.windows.iter().zip(marks) {
            let Some((metric, _)) = NUMBERS.get(usize::from(*mark)) else { continue };
            let is_counter = metric.definition().kind == Kind::Counter;
            if let Some(value) = level(window, is_counter, ended.span) {
                let number = &mut numbers[usize::from(*mark)];
                *number = value as f32 + if number.is_nan() { 0.0 } else { *number };
            }
        }
    }

    /// Judges the five minutes that began before `began_s`, in their order. With a clock that was put back there may be later ones, of
    /// which few are waited for.
    pub fn judge_before(&mut self, began_s: i64, say: &mut dyn FnMut(Event)) {
        while let Some(first) = self.open.first_entry()
            && (*first.key() < began_s || self.open.len() > OPEN_COUNT_MAX)
        {
            let Some((at_s, numbers)) = self.open.pop_first() else { break };
            let verdict = self.score.update(at_s, &numbers.map(|number| Some(number.into())));
            if verdict.is_alarm {
                say(Event::HostAnomaly { score_10: (verdict.score * 10.0) as u16, blamed: self.blamed() });
            }
        }
    }

    fn blamed(&self) -> heapless::Vec<Subject, BLAMED_COUNT_MAX> {
        let name = |index: usize| {
            let (metric, part) = NUMBERS[index];
            subject(written(metric.definition().name, part).as_bytes())
        };
        self.score.blamed().into_iter().take(BLAMED_COUNT_MAX).map(name).collect()
    }
}

fn mark(series: &Series<&str>) -> u8 {
    let is_meant = |(metric, part): &(Metric, Part)| {
        metric.definition().name == series.name
            && series.labels.contains(part)
            && !LEFT_OUT.iter().any(|left_out| series.labels.contains(left_out))
    };
    NUMBERS.iter().position(is_meant).map_or(NOTHING, |number| number as u8)
}
