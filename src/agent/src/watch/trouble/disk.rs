//! File systems that fill up, and those that take no writes any more.

use wire::metric::Metric;
use wire::time::{Instant, Span};
use wire::trouble::Trouble;

use super::{Say, Table};
use crate::watch::lasting::{Lasting, Patience};
use crate::watch::trend::{Trend, is_steady};

/// A way to see one coming: so little time left, and so many percent.
struct Outlook {
    left_max: Span,
    percent_max: f32,
}

/// The latest points of a trend, all of which must be there.
const POINT_COUNT: usize = 12;

/// What fills up within hours, and what within a day. Copies of large files fill up as well, but not what has more room.
const OUTLOOKS: [(Span, Outlook); 2] = [
    (Span::minutes(2), Outlook { left_max: Span::minutes(120), percent_max: 30.0 }),
    (Span::minutes(30), Outlook { left_max: Span::minutes(24 * 60), percent_max: 40.0 }),
];

/// A file system that is emptied and filled, as by a queue, is said once.
const FILLING: Patience = Patience { hold: Span(0), rest: Span::minutes(120) };

/// A file system that takes writes for less is being changed by somebody, as a read-only image by its update.
const USED: Span = Span::minutes(30);

/// What is not mounted for so long makes room for others.
const GONE: Span = Span::minutes(60);

/// What is full no longer fills up, and is no better for it.
const FULL_PERCENT: f32 = 2.0;

const READ_ONLY: Patience = Patience { hold: Span(0), rest: Span(0) };

/// What is known of file systems.
#[derive(Debug, Default)]
pub(super) struct Disks(Table<Disk>);

#[derive(Debug)]
struct Disk {
    size: f32,
    avail: Option<f32>,
    trends: [Trend; OUTLOOKS.len()],
    filling: Lasting,
    /// How long it will take, when it was last looked at.
    left: Option<Span>,
    /// Whether it was used for writing before it took none, and since when it takes some.
    took_writes: bool,
    writable_since: Option<Instant>,
    is_read_only: bool,
    read_only: Lasting,
    seen: Instant,
}

impl Default for Disk {
    fn default() -> Self {
        Disk {
            size: 0.0,
            avail: None,
            trends: OUTLOOKS.map(|(step, _)| Trend::every(step)),
            filling: Lasting::default(),
            left: None,
            took_writes: false,
            writable_since: None,
            is_read_only: false,
            read_only: Lasting::default(),
            seen: Instant(0),
        }
    }
}

impl Disks {
    pub(super) fn put(&mut self, metric: Metric, mountpoint: &[u8], value: i64) {
        let Some(disk) = self.0.entry(mountpoint) else { return };
        match metric {
            Metric::FilesystemAvail => disk.avail = Some(value as f32),
            Metric::FilesystemSize => disk.size = value as f32,
            // Of several at one place the last one is seen.
            _ => disk.is_read_only = value != 0,
        }
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        for (mountpoint, disk) in self.0.iter_mut() {
            if let Some(avail) = disk.avail.take() {
                disk.seen = now;
                if disk.is_looked_at(now, avail) {
                    disk.left = disk.time_left(avail);
                }
            }
            if now - disk.seen >= GONE {
                (disk.left, disk.took_writes) = (None, false);
            }
            let left = disk.left.unwrap_or_default();
            let filling = || Trouble::DiskFilling { mountpoint: mountpoint.clone(), left };
            disk.filling.update(now, disk.left.is_some(), FILLING, |change| say(filling(), change));
            if disk.is_read_only {
                disk.writable_since = None;
            } else {
                disk.took_writes |= now - *disk.writable_since.get_or_insert(now) >= USED;
            }
            let read_only = || Trouble::ReadOnly { mountpoint: mountpoint.clone() };
            let has_lost = disk.took_writes && disk.is_read_only;
            disk.read_only.update(now, has_lost, READ_ONLY, |change| say(read_only(), change));
        }
        self.0.retain(|disk| now - disk.seen < GONE || disk.filling.is_said() || disk.read_only.is_said());
    }
}

impl Disk {
    fn is_looked_at(&mut self, now: Instant, avail: f32) -> bool {
        // Not `any`: each of them takes the value.
        self.trends.iter_mut().fold(false, |is_due, trend| trend.add(now, avail) | is_due)
    }

    /// How long until it is full, if that is soon.
    fn time_left(&self, avail: f32) -> Option<Span> {
        if self.filling.is_said() && avail * 100.0 < self.size * FULL_PERCENT {
            return Some(Span(0));
        }
        let soon = self.trends.iter().zip(&OUTLOOKS).filter_map(|(trend, (_, outlook))| {
            let (slope, points) = (trend.slope(), trend.points());
            // The latest ones must fall, not some before: a copy ends.
            let latest = &points[points.len().saturating_sub(POINT_COUNT)..];
            let minutes = avail / -slope;
            let is_soon = slope < 0.0
                && latest.len() == POINT_COUNT
                && is_steady(latest, |step| step < 0.0)
                && minutes * 60_000.0 < outlook.left_max.0 as f32
                && avail * 100.0 < self.size * outlook.percent_max;
            is_soon.then_some(Span::minutes(minutes as u64))
        });
        soon.min()
    }
}
