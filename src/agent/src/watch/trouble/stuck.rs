//! A load that is made of waiting.

use wire::metric::Metric;
use wire::time::{Instant, Span};
use wire::trouble::Trouble;

use super::{Say, label};
use crate::watch::lasting::{Lasting, Patience};

/// The load for each processor, in hundredths.
const LOAD_100: i64 = 150;

/// Of a hundred parts of the processors' time, what may be used.
const BUSY_MAX: i64 = 50;

const STUCK: Patience = Patience { hold: Span::minutes(3), rest: Span::minutes(5) };

/// What a tick says of waiting.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    load_100: i64,
    /// By `/proc/stat`, of each tick, and by the state of processes, of each walk.
    blocked_count: i64,
    sleeping_count: i64,
    cpu_count: i64,
    busy: i64,
    all: i64,
    before: (i64, i64),
    lasting: Lasting,
}

impl Stuck {
    pub(super) fn put(&mut self, metric: Metric, labels: &[(&str, &[u8])], value: i64) {
        match metric {
            Metric::Load1 => self.load_100 = value,
            Metric::ProcsBlocked => self.blocked_count = value,
            // Who waits for a server of files is in no count but this one.
            Metric::ProcessesState if label(labels, "state") == b"D" => self.sleeping_count = value,
            Metric::CpuSeconds => {
                let mode = label(labels, "mode");
                self.all += value;
                match mode {
                    b"idle" => self.cpu_count += 1,
                    b"iowait" => {}
                    _ => self.busy += value,
                }
            }
            _ => {}
        }
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        let (busy, all) = (std::mem::take(&mut self.busy), std::mem::take(&mut self.all));
        let (busy_before, all_before) = std::mem::replace(&mut self.before, (busy, all));
        let is_idle = all > all_before && (busy - busy_before) * 100 <= (all - all_before) * BUSY_MAX;
        let cpu_count = std::mem::take(&mut self.cpu_count).max(1);
        let blocked_count = self.blocked_count.max(self.sleeping_count);
        let is_stuck = is_idle && self.load_100 >= LOAD_100 * cpu_count && blocked_count * 200 >= self.load_100;
        let load_100 = u32::try_from(self.load_100).unwrap_or(u32::MAX);
        let blocked_count = u32::try_from(blocked_count).unwrap_or(u32::MAX);
        let stuck = Trouble::StuckOnIo { load_100, blocked_count };
        self.lasting.update(now, is_stuck, STUCK, |change| say(stuck, change));
    }
}
