//! What a journal takes of a card and of its life: months of the fitted load without any link, and how fast it opens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant as Clock;

use agent::dictionary::Dictionary;
use agent::importance::Importance;
use agent::sampler::{Batch, Sampler};
use agent::summary::Summarizer;
use disk::{Directory, File, Folder};
use journal::Journal;
use journal::entry::Unreadable;
use journal::inspect::Inspection;
use journal::journal::Settings;
use wire::class::Class;
use wire::event::{self, Event};
use wire::id::Seq;
use wire::metric::Metric;
use wire::stream::{LANE_COUNT, Lane, Resolution, SHELF_COUNT, Shelf, Stream};
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

use crate::disk::SimDisk;
use crate::fit::Fit;
use crate::fitted::Fitted;
use crate::rng::Rng;

const TICK: Span = Span::seconds(10);
const DAY: Span = Span::minutes(24 * 60);

/// What the agent's settings are when nobody says anything.
const BATCH_AGE: (Span, Span) = (Span::seconds(60), Span::minutes(10));
const WEAR_BUDGET_BYTES: u64 = 45 << 20;

/// The journal that is opened after a kill, and the disk that it lies on.
const OPENED_BYTES: u64 = 200 << 20;
const DISK_BYTES_PER_SECOND: f64 = 20e6;

/// Rows that are damaged, each by itself, to see what else goes with it.
const DAMAGE_COUNT: u64 = 40;

const MEGABYTE: f64 = 1e6;

/// A gateway's samples on their way into a journal, as the agent takes them there.
struct Gateway {
    fitted: Fitted,
    names: Vec<(Metric, String)>,
    values: Vec<i64>,
    sampler: Sampler,
    summarizer: Summarizer,
    journal: Journal,
    tick_count: u64,
    commit_count: u64,
}

impl Gateway {
    fn new(fit: &Fit, seed: u64, folder: Folder, settings: Settings) -> Result<Gateway, String> {
        let fitted = Fitted::new(fit, seed);
        let series = fit.series.iter().enumerate();
        let names = series.map(|(index, of)| (metric(&of.name, fit.is_counter(index)), of.name.clone())).collect();
        Ok(Gateway {
            names,
            values: Vec::new(),
            sampler: Sampler::new(Dictionary::new(1), &Importance::default()),
            summarizer: Summarizer::new(&[]),
            journal: Journal::open(folder, settings, seed, stamp(0)).map_err(|error| error.to_string())?,
            tick_count: 0,
            commit_count: 0,
            fitted,
        })
    }

    fn tick(&mut self) -> io::Result<()> {
        let now = stamp(self.tick_count);
        self.tick_count += 1;
        self.fitted.tick(&mut self.values);
        self.sampler.begin();
        for ((metric, name), value) in self.names.iter().zip(&self.values) {
            self.sampler.put(*metric, &[("series", name.as_bytes())], *value);
        }
        let mut payload = Vec::new();
        while self.sampler.dictionary().has_news() {
            self.sampler.dictionary().take_news(1 << 14, &mut payload);
            self.journal.append(now, Stream::Dictionary, None, now, &payload, true)?;
        }
        self.sampler.end(now);
        let (dictionary, values) = self.sampler.latest();
        self.summarizer.tick(now, TICK, dictionary, values);
        loop {
            payload.clear();
            let Some(sealed) = self.summarizer.due(&self.sampler.dictionary().mark(), &mut payload) else { break };
            let seq = self.journal.append(now, sealed.stream, sealed.run, sealed.stamp, &payload, false)?;
            self.summarizer.taken(sealed.stream, Some(seq));
        }
        let age = self.journal.wear().commit_interval(WEAR_BUDGET_BYTES, BATCH_AGE.0, BATCH_AGE.1);
        if self.sampler.is_due(now.uptime, age) {
            let journal = &mut self.journal;
            self.sampler.close(|Batch { stream, run, stamp, payload }| {
                journal.append(now, stream, run, stamp, payload, false)
            })?;
            journal.commit(now)?;
            self.commit_count += 1;
        }
        Ok(())
    }
}

/// A metric of the kind that a recorded series is of, and of the class that ships for what it records.
fn metric(name: &str, is_counter: bool) -> Metric {
    const CRITICAL: [&str; 5] = ["fs.bavail", "load1", "mem.MemAvailable", "mem.MemTotal", "vda.io_ticks"];
    const BULK: [&str; 5] = ["mem.", "psi.", "sock.", "vda.dc_", "vda.fl_"];
    let class = if CRITICAL.contains(&name) {
        Class::Critical
    } else if BULK.iter().any(|prefix| name.starts_with(prefix)) {
        Class::Bulk
    } else {
        Class::Normal
    };
    match (class, is_counter) {
        (Class::Critical, true) => Metric::DiskIoTime,
        (Class::Critical, false) => Metric::Load1,
        (Class::Normal, true) => Metric::ContextSwitches,
        (Class::Normal, false) => Metric::Load5,
        (Class::Bulk, true) => Metric::PressureIoWaiting,
        (Class::Bulk, false) => Metric::MemoryCached,
    }
}

fn stamp(tick: u64) -> Stamp {
    let uptime = Instant(tick * TICK.0);
    Stamp { boot: BootId(1), uptime, unix: Some(UnixTime(1_767_225_600_000 + uptime.0)) }
}

/// Lets a host without a link live for so many days, raw ticks kept for all of them, windows as by default. Then damages rows of
/// it, and opens another journal of 200 MB after a kill. Returns one JSON object of the figures and their bars.
///
/// `progress` is told the days that are over.
#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
pub fn journal(fit: &Fit, seed: u64, day_count: u64, mut progress: impl FnMut(u64)) -> Result<String, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut settings = Settings { bytes_max: 4 << 30, ..Settings::DEFAULT };
    settings.keep[Shelf::Series(Resolution::Raw).index()] = Span(DAY.0 * (day_count + 1));
    let mut gateway = Gateway::new(fit, seed, disk.folder(), settings)?;
    let (begun, mut worst_day_bytes) = (Clock::now(), 0);
    for day in 0..day_count {
        for _ in 0..DAY.0 / TICK.0 {
            gateway.tick().map_err(|error| error.to_string())?;
        }
        worst_day_bytes = worst_day_bytes.max(gateway.journal.wear().last_day_bytes);
        progress(day + 1);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let wear = *gateway.journal.wear();
    let (ticks, commits) = (gateway.tick_count, gateway.commit_count);
    drop(gateway);

    let inspection = Inspection::open(disk.folder(), Unreadable::Lost).map_err(|error| error.to_string())?;
    let shelf_bytes = |shelf: Shelf| -> io::Result<u64> {
        let stats = shelf.streams().map(|stream| inspection.stat(stream));
        let tail_bytes = stats.map(|stat| stat.map(|stat| stat.tail_bytes)).sum::<io::Result<u64>>()?;
        Ok(inspection.volumes(shelf).1 + tail_bytes)
    };
    let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
    let (mut by_lane, mut by_shelf, mut by_stream) = ([0; LANE_COUNT], Vec::new(), Vec::new());
    for shelf in Shelf::ALL {
        let bytes = shelf_bytes(shelf).map_err(|error| error.to_string())?;
        by_lane[shelf.lane().index()] += bytes;
        by_shelf.push(format!("\"{shelf}\":{:.2}", megabytes(bytes)));
    }
    let (raw, summary) = (megabytes(by_lane[Lane::Raw.index()]), megabytes(by_lane[Lane::Summary.index()]));
    let mut raw_batches = 0;
    for stream in Stream::ALL {
        let stat = inspection.stat(stream).map_err(|error| error.to_string())?;
        let bytes = megabytes(stat.volume_bytes + stat.tail_bytes);
        by_stream.push(format!("\"{stream}\":{{\"mb\":{bytes:.2},\"batches\":{}}}", stat.batch_count));
        raw_batches += if stream.lane() == Lane::Raw { stat.batch_count } else { 0 };
    }
    let lost_batches = lost_by_damage(&disk, seed)?;
    let series_count = fit.series.len() as u64;
    let samples_per_batch = (ticks * series_count) as f64 / raw_batches.max(1) as f64;
    let opened = open_after_kill(seed)?;
    Ok(format!(
        "{{\"days\":{day_count},\"series\":{series_count},\"samples\":{},\"seconds\":{seconds:.1},\
         \"raw_mb\":{{\"figure\":{raw:.1},\"bar\":180}},\"summary_mb\":{{\"figure\":{summary:.1},\"bar\":40}},\
         \"flash_mb_per_day\":{{\"figure\":{:.1},\"worst\":{:.1},\"bar\":50}},\"commit_interval_s\":{:.0},\
         \"mb_by_shelf\":{{{}}},\"batches_by_stream\":{{{}}},\"samples_lost_per_damaged_row\":{:.0},\"open_s\":{{\"figure\":{:.2},\"read_mb\":{:.1},\"volumes\":{},\"bar\":1}}}}",
        ticks * series_count,
        wear.written_bytes as f64 / MEGABYTE / (wear.running_ms as f64 / DAY.0 as f64),
        worst_day_bytes as f64 / MEGABYTE,
        (ticks * TICK.0 / 1000) as f64 / commits.max(1) as f64,
        by_shelf.join(","),
        by_stream.join(","),
        lost_batches * samples_per_batch,
        opened.seconds,
        opened.read_bytes as f64 / MEGABYTE,
        opened.volume_count,
    ))
}

/// Damages one row after the other, each in a journal that is otherwise whole, and counts the batches of ticks that are damaged or
/// cannot be decoded any more. Returns how many it is for each.
fn lost_by_damage(disk: &SimDisk, seed: u64) -> Result<f64, String> {
    let mut rng = Rng::new(seed);
    let volumes: Vec<String> = disk.names().into_iter().filter(|name| name.contains("-raw-")).collect();
    if volumes.is_empty() {
        return Ok(0.0);
    }
    let lost = |disk: &SimDisk| -> Result<u64, String> {
        let inspection = Inspection::open(disk.folder(), Unreadable::Lost).map_err(|error| error.to_string())?;
        let verdict = inspection.verify(|_| {}).map_err(|error| error.to_string())?;
        Ok(verdict.damaged_count + verdict.undecodable_count)
    };
    let mut sum = 0;
    for _ in 0..DAMAGE_COUNT {
        // Of the whole folder only the volume matters.
        let name = rng.choose(&volumes).clone();
        let mut bytes = Vec::new();
        disk.damage(&name, |file| bytes.clone_from(file));
        let one = SimDisk::new(rng.split());
        let file = one.folder().create(&name).map_err(|error| error.to_string())?;
        file.write_at(0, &bytes).and_then(|()| file.sync()).map_err(|error| error.to_string())?;
        let marks: Vec<usize> =
            (0..bytes.len().saturating_sub(80)).filter(|at| bytes[*at..].starts_with(b"OPB\xf0")).collect();
        if marks.is_empty() {
            continue;
        }
        let at = *rng.choose(&marks) + 40;
        one.damage(&name, |file| file[at] ^= 1);
        sum += lost(&one)?;
    }
    Ok(sum as f64 / DAMAGE_COUNT as f64)
}

struct Opened {
    seconds: f64,
    read_bytes: u64,
    volume_count: usize,
}

/// Fills a journal, kills it, and opens it again: what is read counts at the disk's speed, what is computed at this machine's.
#[expect(clippy::disallowed_methods, reason = "what a benchmark measures is time")]
fn open_after_kill(seed: u64) -> Result<Opened, String> {
    let disk = filled(seed)?;
    let folder = Arc::new(Counted { folder: disk.folder(), read_bytes: Arc::default() });
    let begun = Clock::now();
    let journal = Journal::open(folder.clone(), KEEPS_ALL, seed, stamp(0)).map_err(|error| error.to_string())?;
    let computed = begun.elapsed().as_secs_f64();
    let read_bytes = folder.read_bytes.load(Ordering::Relaxed);
    let seconds = computed + read_bytes as f64 / DISK_BYTES_PER_SECOND;
    Ok(Opened { seconds, read_bytes, volume_count: journal.stat().volume_count })
}

/// A journal that gives nothing up.
const KEEPS_ALL: Settings = Settings { bytes_max: 4 << 30, keep: [Span(u64::MAX); SHELF_COUNT], ..Settings::DEFAULT };

/// A journal of 200 MB on the real disk, in a folder that is made: for an agent to open.
///
/// Errors: what the disk says, in words.
pub fn fill(path: &Path, seed: u64) -> Result<(), String> {
    let disk = filled(seed)?;
    std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
    for name in disk.names() {
        let mut bytes = Vec::new();
        disk.damage(&name, |file| bytes = std::mem::take(file));
        std::fs::write(path.join(&name), bytes).map_err(|error| format!("{}: {error}", path.join(&name).display()))?;
    }
    Ok(())
}

/// A journal of batches and events of 200 MB, as a kill leaves it.
fn filled(seed: u64) -> Result<SimDisk, String> {
    let disk = SimDisk::new(Rng::new(seed));
    let mut journal = Journal::open(disk.folder(), KEEPS_ALL, seed, stamp(0)).map_err(|error| error.to_string())?;
    let (mut rng, mut run, mut payload) = (Rng::new(seed), None::<Seq>, Vec::new());
    for tick in 0.. {
        if tick % 60 == 0 && journal.stat().volume_bytes >= OPENED_BYTES {
            break;
        }
        let now = stamp(tick * 6);
        for stream in [Stream::raw(Class::Normal), Stream::Series(Resolution::Minute, Class::Normal)] {
            payload.resize(rng.between(400, 900) as usize, 0);
            rng.fill(&mut payload);
            let opened = run.filter(|_| stream == Stream::raw(Class::Normal) && tick % 60 != 0);
            let appended = journal.append(now, stream, opened, now, &payload, false);
            let seq = appended.map_err(|error| error.to_string())?;
            if stream == Stream::raw(Class::Normal) {
                run = opened.or(Some(seq));
            }
        }
        if tick % 100 == 0 {
            payload.clear();
            wire::batch::put_event(Span(0), &Event::StorageFailed { error: event::text("full") }, &mut payload);
            journal.append(now, Stream::Event, None, now, &payload, false).map_err(|error| error.to_string())?;
        }
        journal.commit(now).map_err(|error| error.to_string())?;
    }
    drop(journal);
    Ok(disk)
}

/// A folder that counts what is read from it.
#[derive(Debug)]
struct Counted {
    folder: Folder,
    read_bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile {
    file: Box<dyn File>,
    read_bytes: Arc<AtomicU64>,
}

impl Counted {
    fn counted(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(CountedFile { file, read_bytes: self.read_bytes.clone() })
    }
}

impl Directory for Counted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.counted(self.folder.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.counted(self.folder.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}

impl File for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
