//! A gateway with the rhythms of days and weeks, rendered as the text of `/proc`, and what can befall it.
//!
//! It is busy by day and idle at night, writes a backup at two and a report on Sundays, rotates its logs, has bursts and a modem that
//! looks for another cell now and then: all of that is normal. A [`Trouble`] is what is not.

use std::fmt::Write;

use agent::probe::{Reading, Source};

use crate::rng::Rng;

const CPU_COUNT: f64 = 4.0;
const GIB: f64 = (1u64 << 30) as f64;
const MEMORY_BYTES: f64 = 2.0 * GIB;
const DISK_BYTES: f64 = 14.0 * GIB;
const PAGE_BYTES: u32 = 4096;
const DAY_S: u64 = 86_400;

/// What befalls a machine, until somebody mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A file system fills within hours.
    DiskFills,
    /// A process takes a megabyte a minute.
    Leak,
    /// A service ends after some seconds and is started again.
    RestartLoop,
    /// The supply's voltage falls short.
    WeakSupply,
    /// The root file system takes no writes.
    ReadOnly,
    /// The card does not answer.
    CardErrors,
    /// A connector is loose.
    Flapping,
    /// The modem is not registered.
    ModemOffline,
    /// The kernel kills a process.
    OutOfMemory,
    /// A server of files is gone.
    StuckOnIo,
    /// The fan stands still: no trouble with a name.
    FanStops,
    /// Somebody else's program uses the machine: every number is a little off.
    Miner,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 12] = [
        Trouble::DiskFills,
        Trouble::Leak,
        Trouble::RestartLoop,
        Trouble::WeakSupply,
        Trouble::ReadOnly,
        Trouble::CardErrors,
        Trouble::Flapping,
        Trouble::ModemOffline,
        Trouble::OutOfMemory,
        Trouble::StuckOnIo,
        Trouble::FanStops,
        Trouble::Miner,
    ];
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    rng: Rng,
    /// What has befallen it, and for how many seconds.
    trouble: Option<(Trouble, u64)>,
    /// Slow noise around 0, of the load and of the temperature.
    drift: [f64; 2],
    burst_s: u64,
    load: [f64; 3],
    user: f64,
    system: f64,
    idle: f64,
    iowait: f64,
    interrupts: f64,
    switches: f64,
    forks: f64,
    faults: f64,
    read_sectors: f64,
    written_sectors: f64,
    io_ms: f64,
    received: f64,
    sent: f64,
    celsius: f64,
    log_bytes: f64,
    killed_count: u64,
    carrier_changes: u64,
    text: String,
}

impl Machine {
    /// A machine that was just started. No two seeds have the same days.
    pub fn new(seed: u64) -> Machine {
        Machine {
            rng: Rng::new(seed),
            trouble: None,
            drift: [0.0; 2],
            burst_s: 0,
            load: [0.1; 3],
            user: 0.0,
            system: 0.0,
            idle: 0.0,
            iowait: 0.0,
            interrupts: 0.0,
            switches: 0.0,
            forks: 500.0,
            faults: 0.0,
            read_sectors: 0.0,
            written_sectors: 0.0,
            io_ms: 0.0,
            received: 0.0,
            sent: 0.0,
            celsius: 45.0,
            log_bytes: 0.0,
            killed_count: 0,
            carrier_changes: 1,
            text: String::new(),
        }
    }

    /// Something befalls it, or it is mended.
    pub fn befall(&mut self, trouble: Option<Trouble>) {
        self.trouble = trouble.map(|trouble| (trouble, 0));
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.trouble.is_some_and(|(of, _)| of == trouble)
    }

    /// For how many seconds it has had its trouble.
    fn ill_s(&self) -> f64 {
        self.trouble.map_or(0.0, |(_, seconds)| seconds as f64)
    }

    /// A number from -1 to 1.
    fn noise(&mut self) -> f64 {
        self.rng.below(2_000_001) as f64 / 1e6 - 1.0
    }

    /// Lets `dt_s` pass until `unix_s`, and fills `reading` with what the machine shows then, `uptime_s` after its start. With
    /// `walks` its processes, too.
    pub fn tick(&mut self, unix_s: u64, uptime_s: u64, dt_s: u64, walks: bool, reading: &mut Reading) {
        let dt = dt_s as f64;
        if let Some((_, seconds)) = &mut self.trouble {
            *seconds += dt_s;
        }
        let (of_day, day) = (unix_s % DAY_S, unix_s / DAY_S);
        let hour = of_day as f64 / 3600.0;
        for drift in 0..self.drift.len() {
            self.drift[drift] = self.drift[drift] * (1.0 - dt / 3600.0) + self.noise() * (dt / 3600.0).sqrt() * 0.3;
        }
        // Some bursts a day, of some minutes.
        if self.burst_s == 0 && self.rng.one_in(4 * 3600 / dt_s) {
            self.burst_s = self.rng.between(60, 400);
        }
        self.burst_s = self.burst_s.saturating_sub(dt_s);
        // The first of January 1970 was a Thursday.
        let weekday = (day + 3) % 7;
        let works = if weekday >= 5 { 0.25 } else { 1.0 };
        let people = (-((hour - 13.0) / 4.5).powi(4)).exp() * works;
        let is_backup = (2.0..2.6).contains(&hour);
        let is_report = weekday == 6 && (4.0..5.0).contains(&hour);
        let miner = if self.has(Trouble::Miner) { 1.0 } else { 0.0 };
        let burst = if self.burst_s > 0 { 1.0 } else { 0.0 };
        let own = 0.04 + 0.30 * people * (1.0 + 0.3 * self.drift[0]) + 0.06 * burst + 0.02 * self.noise();
        let busy = (own + 0.25 * miner + if is_report { 0.3 } else { 0.0 }).clamp(0.01, 0.97);
        let disk = if is_backup { 1.0 } else { 0.05 + 0.1 * people + 0.1 * burst };
        let stuck = if self.has(Trouble::StuckOnIo) { 9.0 } else { 0.0 };

        let load_now = CPU_COUNT * busy + 0.8 * disk + stuck + 0.2 * self.noise().abs();
        for (load, span_s) in self.load.iter_mut().zip([60.0, 300.0, 900.0]) {
            *load += (load_now - *load) * (1.0 - (-dt / span_s).exp());
        }
        let wait = (0.12 * disk).min(1.0 - busy);
        self.user += 100.0 * dt * busy * 0.75 * CPU_COUNT;
        self.system += 100.0 * dt * busy * 0.25 * CPU_COUNT;
        self.iowait += 100.0 * dt * wait * CPU_COUNT;
        self.idle += 100.0 * dt * (1.0 - busy - wait) * CPU_COUNT;
        self.interrupts += dt * (300.0 + 3000.0 * busy);
        self.switches += dt * (500.0 + 6000.0 * busy + 2000.0 * miner);
        self.forks += dt * (0.5 + 3.0 * people + 1.0 * burst);
        self.faults += dt * (200.0 + 8000.0 * busy);
        self.read_sectors += dt * (20.0 + 20_000.0 * disk * (1.0 + 0.1 * self.noise()));
        self.written_sectors += dt * (60.0 + 8_000.0 * disk);
        self.io_ms += dt * 600.0 * disk;
        let traffic = 1.0 + 0.2 * self.noise();
        self.received += dt * (800.0 + 60_000.0 * people + 8_000.0 * burst + 20_000.0 * miner) * traffic;
        self.sent +=
            dt * (600.0 + 25_000.0 * people + if is_backup { 400_000.0 } else { 0.0 } + 20_000.0 * miner) * traffic;
        let outside = 6.0 * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos() + 3.0 * self.drift[1];
        let heat = if self.has(Trouble::FanStops) { 26.0 } else { 0.0 };
        let wanted = 41.0 + outside + 14.0 * busy + heat;
        self.celsius += (wanted - self.celsius) * (1.0 - (-dt / 900.0).exp()) + 0.1 * self.noise();
        self.log_bytes =
            if weekday == 0 && of_day < dt_s { 0.0 } else { self.log_bytes + dt * (150.0 + 900.0 * people) };
        if self.has(Trouble::Flapping) {
            self.carrier_changes += 2 * dt_s / 10;
        }
        if self.has(Trouble::OutOfMemory) && self.ill_s() == dt {
            self.killed_count += 1;
        }
        self.render(unix_s, uptime_s, dt_s, walks, people, reading);
    }

    fn render(&mut self, unix_s: u64, uptime_s: u64, dt_s: u64, walks: bool, people: f64, reading: &mut Reading) {
        reading.clear();
        let mut text = std::mem::take(&mut self.text);
        let told = "writing to a string does not fail";
        let mut put = |source, instance: &str, text: &mut String| {
            let filled: Result<(), ()> = reading.append(source, instance.as_bytes(), |bytes| {
                bytes.extend_from_slice(text.as_bytes());
                Ok(())
            });
            filled.expect("nothing fails in memory");
            text.clear();
        };
        let [load1, load5, load15] = self.load;
        writeln!(text, "{load1:.2} {load5:.2} {load15:.2} 1/200 999").expect(told);
        put(Source::Loadavg, "", &mut text);
        let share = |jiffies: f64| (jiffies / CPU_COUNT) as u64;
        let (user, system, idle, iowait) = (share(self.user), share(self.system), share(self.idle), share(self.iowait));
        for cpu in 0..CPU_COUNT as u64 {
            writeln!(text, "cpu{cpu} {user} 0 {system} {idle} {iowait} 0 0 0 0 0").expect(told);
        }
        let blocked_count = if self.has(Trouble::StuckOnIo) { 9 } else { self.rng.below(2) };
        let (interrupts, switches, forks) = (self.interrupts as u64, self.switches as u64, self.forks as u64);
        writeln!(
            text,
            "intr {interrupts}\nctxt {switches}\nprocesses {forks}\nprocs_running 1\nprocs_blocked {blocked_count}"
        )
        .expect(told);
        put(Source::Stat, "", &mut text);
        let leaked = if self.has(Trouble::Leak) { self.ill_s() / 60.0 * 1_048_576.0 } else { 0.0 };
        let held = 0.18 + 0.12 * people + 0.01 * self.noise();
        let available = (MEMORY_BYTES * (0.85 - held) - leaked).max(0.0);
        writeln!(text, "MemTotal: {} kB\nMemAvailable: {} kB", MEMORY_BYTES as u64 / 1024, available as u64 / 1024)
            .expect(told);
        put(Source::Meminfo, "", &mut text);
        writeln!(text, "pgfault {}\noom_kill {}", self.faults as u64, self.killed_count).expect(told);
        put(Source::Vmstat, "", &mut text);
        let (read, written, io_ms) = (self.read_sectors as u64, self.written_sectors as u64, self.io_ms as u64);
        writeln!(
            text,
            "179 0 mmcblk0 {} 0 {read} {io_ms} {} 0 {written} {io_ms} 0 {io_ms} {io_ms}",
            read / 16,
            written / 16
        )
        .expect(told);
        put(Source::Diskstats, "", &mut text);
        let connections = 12 + (30.0 * people) as u64 + self.rng.below(6);
        writeln!(text, "TCP: inuse {connections} orphan 0 tw 4 alloc 40 mem 9").expect(told);
        put(Source::Sockstat, "", &mut text);
        let (received, sent) = (self.received as u64, self.sent as u64);
        writeln!(text, "eth0: {received} {} 0 0 0 0 0 0 {sent} {} 0 0 0 0 0 0", received / 800, sent / 800)
            .expect(told);
        put(Source::NetDev, "", &mut text);
        writeln!(text, "operstate up\ncarrier 1\ncarrier_changes {}", self.carrier_changes).expect(told);
        put(Source::NetClass, "eth0", &mut text);
        // Now and then it looks for another cell.
        let has_carrier = !self.has(Trouble::ModemOffline) && unix_s % 20_000 >= 40;
        writeln!(text, "operstate unknown\ncarrier {}\ncarrier_changes 1", u8::from(has_carrier)).expect(told);
        put(Source::NetClass, "wwan0", &mut text);
        writeln!(text, "type cpu-thermal\ntemp {}", (self.celsius * 1000.0) as i64).expect(told);
        put(Source::ThermalZone, "thermal_zone0", &mut text);
        let temporary = (unix_s % 5400) as f64 * 60_000.0;
        let filled = if self.has(Trouble::DiskFills) { self.ill_s() * DISK_BYTES / 14_400.0 } else { 0.0 };
        let free = (DISK_BYTES * 0.5 - self.log_bytes - temporary - filled).max(0.0) as u64 / 4096;
        let mode = if self.has(Trouble::ReadOnly) { "ro" } else { "rw" };
        writeln!(text, "/dev/root / ext4 {mode} 4096 {} {free} {free} 900000 800000", DISK_BYTES as u64 / 4096)
            .expect(told);
        put(Source::Filesystems, "", &mut text);
        writeln!(text, "{:x}", if self.has(Trouble::WeakSupply) { 0x10001 } else { 0 }).expect(told);
        put(Source::Throttled, "", &mut text);
        if self.has(Trouble::CardErrors) && self.ill_s() == dt_s as f64 {
            writeln!(text, "3,900,1,-;mmc0: error -110 whilst initialising SD card").expect(told);
        }
        put(Source::KernelLog, "", &mut text);
        if walks {
            let mut line = |pid: u64, name: &str, started_s: u64, pages: f64| {
                let (start, pages) = (started_s * 100, pages as u64);
                writeln!(text, "{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 9 0 0 0 20 0 2 0 {start} 1 {pages}")
                    .expect(told);
            };
            line(1, "systemd", 0, 3000.0);
            line(300, "gatewayd", 5, 40_000.0 + 4000.0 * people + leaked / f64::from(PAGE_BYTES));
            // A service that is restarted each night, and a timer each minute.
            let night = uptime_s / DAY_S * DAY_S;
            line(1000 + night / DAY_S, "webd", night, 20_000.0);
            line(100_000 + uptime_s / 60, "collect", uptime_s / 60 * 60, 900.0);
            if self.has(Trouble::RestartLoop) {
                line(2_000_000 + uptime_s / 37, "modbusd", uptime_s / 37 * 37, 900.0);
            }
            put(Source::Processes, "", &mut text);
        }
        self.text = text;
    }
}
