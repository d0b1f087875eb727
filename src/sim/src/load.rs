//! Known signals, rendered as the text of `/proc`, with counters that wrap and interfaces that come and go.
//!
//! A value is a function of the seed, the boot and the instant, so that what the hub stores can be held against it at
//! any time later. What is rendered goes the whole way: parser, dictionary, codec, journal, link, store.

use std::collections::BTreeMap;
use std::fmt::Write;

use agent::probe::{Reading, Source};
use wire::time::{BootId, Instant};

/// How many series a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 20 series: the reference gateway.
    Small,
    /// Some 150 series: a machine sampled in full.
    Full,
    /// 10 series of a gateway that speaks once an hour: years of it pass in seconds.
    Sparse,
}

/// A machine's signals.
#[derive(Clone, Debug)]
pub struct Load {
    seed: u64,
    signals: Vec<Signal>,
    by_name: BTreeMap<(String, String), usize>,
    text: String,
}

#[derive(Clone, Debug)]
struct Signal {
    file: Place,
    shape: Shape,
    /// What the parser makes of one unit of the text.
    factor: i64,
}

/// Where the signal's number stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A field of `/proc/loadavg`, in hundredths.
    Loadavg,
    /// A line of `/proc/stat`, or a field of one.
    Stat,
    /// A line of `/proc/meminfo`.
    Meminfo(&'static str),
    /// A line of `/proc/vmstat`.
    Vmstat(&'static str),
    /// A column of an interface in `/proc/net/dev`.
    NetDev(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Grows by about so much a second, and wraps at a power of two if one is given.
    Counter { per_second: u64, wrap_bits: u32 },
    /// Moves about within a span above a floor.
    Gauge { floor: u64, span: u64 },
    /// Never changes.
    Constant(u64),
}

/// How long an interface that comes and goes stays as it is.
const HOTPLUG_MS: u64 = 20 * 60_000;

const PPP: &str = "ppp0";

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

const NET_COLUMNS: [(&str, u64); 16] = [
    ("receive_bytes", 9000),
    ("receive_packets", 12),
    ("receive_errs", 0),
    ("receive_drop", 0),
    ("receive_fifo", 0),
    ("receive_frame", 0),
    ("receive_compressed", 0),
    ("receive_multicast", 1),
    ("transmit_bytes", 5000),
    ("transmit_packets", 9),
    ("transmit_errs", 0),
    ("transmit_drop", 0),
    ("transmit_fifo", 0),
    ("transmit_colls", 0),
    ("transmit_carrier", 0),
    ("transmit_compressed", 0),
];

const MEMORY: [&str; 30] = [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SwapCached",
    "Active",
    "Inactive",
    "Active(anon)",
    "Inactive(anon)",
    "Active(file)",
    "Inactive(file)",
    "Unevictable",
    "Mlocked",
    "SwapTotal",
    "SwapFree",
    "Dirty",
    "Writeback",
    "AnonPages",
    "Mapped",
    "Shmem",
    "KReclaimable",
    "Slab",
    "SReclaimable",
    "SUnreclaim",
    "KernelStack",
    "PageTables",
    "CommitLimit",
    "Committed_AS",
    "VmallocTotal",
];

impl Load {
    /// The signals of a machine.
    pub fn new(seed: u64, size: Size) -> Load {
        let mut load = Load { seed, signals: Vec::new(), by_name: BTreeMap::new(), text: String::new() };
        for name in ["node_load1", "node_load5", "node_load15"] {
            load.add(name.into(), String::new(), Place::Loadavg, Shape::Gauge { floor: 3, span: 250 }, 1);
        }
        let (cpu_count, memory_count, interfaces): (usize, usize, &[&'static str]) = match size {
            Size::Small => (1, 4, &[]),
            Size::Full => (4, MEMORY.len(), &["lo", "eth0", PPP]),
            Size::Sparse => (0, 2, &[]),
        };
        for cpu in 0..cpu_count {
            for (mode, per_second) in MODES.into_iter().zip([9, 0, 4, 80, 2, 0, 1, 0]) {
                let labels = format!("cpu=\"{cpu}\",mode=\"{mode}\"");
                let shape = Shape::Counter { per_second, wrap_bits: 63 };
                load.add("node_cpu_seconds_total".into(), labels, Place::Stat, shape, 1);
            }
        }
        for (name, per_second) in
            [("node_intr_total", 900), ("node_context_switches_total", 1500), ("node_forks_total", 3)]
        {
            load.add(name.into(), String::new(), Place::Stat, Shape::Counter { per_second, wrap_bits: 63 }, 1);
        }
        for name in ["node_procs_running", "node_procs_blocked"] {
            load.add(name.into(), String::new(), Place::Stat, Shape::Gauge { floor: 0, span: 5 }, 1);
        }
        for key in &MEMORY[..memory_count] {
            let name = format!("node_memory_{}_bytes", key.replace('(', "_").replace(')', ""));
            let shape = match *key {
                "MemTotal" | "SwapTotal" | "VmallocTotal" | "CommitLimit" => Shape::Constant(1 << 20),
                _ => Shape::Gauge { floor: 1000, span: 90_000 },
            };
            load.add(name, String::new(), Place::Meminfo(key), shape, 1024);
        }
        if size == Size::Full {
            for (key, per_second) in
                [("pgpgin", 40), ("pgpgout", 70), ("pswpin", 0), ("pswpout", 0), ("pgfault", 3000), ("pgmajfault", 1)]
            {
                let shape = Shape::Counter { per_second, wrap_bits: 63 };
                load.add(format!("node_vmstat_{key}"), String::new(), Place::Vmstat(key), shape, 1);
            }
        }
        for interface in interfaces {
            for (column, per_second) in NET_COLUMNS {
                let labels = format!("device=\"{interface}\"");
                // The modem's counters are those of a 32-bit kernel, and wrap within hours.
                let (wrap_bits, per_second) = if *interface == PPP { (24, per_second * 3) } else { (63, per_second) };
                let shape = Shape::Counter { per_second, wrap_bits };
                load.add(format!("node_network_{column}_total"), labels, Place::NetDev(interface), shape, 1);
            }
        }
        load
    }

    fn add(&mut self, name: String, labels: String, file: Place, shape: Shape, factor: i64) {
        self.by_name.insert((name, labels), self.signals.len());
        self.signals.push(Signal { file, shape, factor });
    }

    /// How many series a tick has when every interface is there.
    pub fn series_count(&self) -> usize {
        self.signals.len()
    }

    fn raw(&self, index: usize, boot: BootId, at: Instant) -> u64 {
        let key = mix(self.seed ^ (index as u64) << 32 ^ u64::from(boot.0));
        match self.signals[index].shape {
            Shape::Constant(value) => value,
            Shape::Gauge { floor, span } => {
                // Changes in one tick of three: real gauges rest.
                let step = at.0 / 1000 / (1 + key % 3) / 10;
                floor + mix(key ^ step) % span
            }
            Shape::Counter { per_second, wrap_bits } => {
                let seconds = at.0 / 1000;
                let jitter = if per_second == 0 { 0 } else { mix(key ^ seconds) % (per_second + 1) };
                // Never more jitter than a second adds, so it never falls but by wrapping.
                (seconds * 2 * per_second + jitter + key % 1000) & ((1u64 << wrap_bits) - 1)
            }
        }
    }

    fn is_there(&self, place: &Place, boot: BootId, at: Instant) -> bool {
        match place {
            Place::NetDev(PPP) => {
                let spell = (u64::from(boot.0) << 20) ^ (at.0 / HOTPLUG_MS);
                !mix(self.seed ^ spell).is_multiple_of(3)
            }
            _ => true,
        }
    }

    /// The value that a sample of this series has at an instant of a boot. `None` when there is none then.
    pub fn expected(&self, name: &str, labels: &str, boot: BootId, at: Instant) -> Option<i64> {
        let index = *self.by_name.get(&(name.to_owned(), labels.to_owned()))?;
        let signal = &self.signals[index];
        self.is_there(&signal.file, boot, at).then(|| self.raw(index, boot, at) as i64 * signal.factor)
    }

    /// Fills a reading with everything that the machine shows at an instant.
    pub fn render(&mut self, boot: BootId, at: Instant, reading: &mut Reading) {
        reading.clear();
        let mut text = std::mem::take(&mut self.text);
        let mut put = |source, text: &mut String| {
            if !text.is_empty() {
                let filled: Result<(), ()> = reading.append(source, b"", |bytes| {
                    bytes.extend_from_slice(text.as_bytes());
                    Ok(())
                });
                filled.expect("nothing fails in memory");
                text.clear();
            }
        };
        let value = |index| self.raw(index, boot, at);
        let hundredths = |index| (value(index) / 100, value(index) % 100);
        let ((a, b), (c, d), (e, f)) = (hundredths(0), hundredths(1), hundredths(2));
        let told = "writing to a string does not fail";
        writeln!(text, "{a}.{b:02} {c}.{d:02} {e}.{f:02} 1/234 5678").expect(told);
        put(Source::Loadavg, &mut text);

        let stat: Vec<usize> = (0..self.signals.len()).filter(|i| self.signals[*i].file == Place::Stat).collect();
        let (cpus, rest) = stat.split_at(stat.len() - 5);
        for (cpu, modes) in cpus.chunks(MODES.len()).enumerate() {
            write!(text, "cpu{cpu}").expect(told);
            modes.iter().for_each(|index| write!(text, " {}", value(*index)).expect(told));
            text.push('\n');
        }
        for (key, index) in ["intr", "ctxt", "processes", "procs_running", "procs_blocked"].iter().zip(rest) {
            writeln!(text, "{key} {}", value(*index)).expect(told);
        }
        put(Source::Stat, &mut text);

        for (index, signal) in self.signals.iter().enumerate() {
            if let Place::Meminfo(key) = signal.file {
                writeln!(text, "{key}: {} kB", value(index)).expect(told);
            }
        }
        put(Source::Meminfo, &mut text);
        for (index, signal) in self.signals.iter().enumerate() {
            if let Place::Vmstat(key) = signal.file {
                writeln!(text, "{key} {}", value(index)).expect(told);
            }
        }
        put(Source::Vmstat, &mut text);

        let mut last = "";
        for (index, signal) in self.signals.iter().enumerate() {
            if let Place::NetDev(interface) = signal.file
                && self.is_there(&signal.file, boot, at)
            {
                if interface != last {
                    write!(text, "{}{interface}:", if last.is_empty() { "" } else { "\n" }).expect(told);
                    last = interface;
                }
                write!(text, " {}", value(index)).expect(told);
            }
        }
        if !last.is_empty() {
            text.push('\n');
        }
        put(Source::NetDev, &mut text);
        self.text = text;
    }
}
