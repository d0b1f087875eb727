//! Each trouble on a simulated machine, from the text of `/proc` on, and none on machines that are idle or busy.

use std::fmt::Write;

use wire::time::{BootId, Stamp};

use super::*;
use crate::importance::Importance;
use crate::probe::{Carry, Reading, Source};
use crate::watch::Watch;

const GIB: u64 = 1 << 30;
const TICK_S: u64 = 10;
const CPU_COUNT: u64 = 4;

/// Ticks between two walks through the processes.
const WALK: u64 = 6;

/// What a machine shows.
struct Machine {
    load_100: u64,
    blocked_count: u64,
    /// Of a hundred jiffies of each processor.
    busy: u64,
    busy_jiffies: u64,
    idle_jiffies: u64,
    avail: u64,
    is_read_only: bool,
    carrier_changes: u64,
    modem_carrier: Option<bool>,
    throttled: u32,
    killed_count: u64,
    log: String,
    /// Pid, name, jiffies at which it was started, pages.
    processes: Vec<(u32, &'static str, u64, u64)>,
}

impl Machine {
    fn idle() -> Machine {
        Machine {
            load_100: 10,
            blocked_count: 0,
            busy: 3,
            busy_jiffies: 0,
            idle_jiffies: 0,
            avail: 20 * GIB,
            is_read_only: false,
            carrier_changes: 1,
            modem_carrier: Some(true),
            throttled: 0,
            killed_count: 0,
            log: String::new(),
            processes: vec![(1, "systemd", 1, 3000), (400, "sshd", 2000, 2000)],
        }
    }

    /// Ends all processes of a name and starts one.
    fn restart(&mut self, name: &'static str, pid: u32, start_s: u64) {
        self.processes.retain(|(_, known, ..)| *known != name);
        self.processes.push((pid, name, start_s * 100, 500));
    }

    fn render(&mut self, tick: u64) -> Reading {
        let mut reading = Reading::new(4096);
        let mut put = |source, instance: &str, text: &str| {
            let filled: Result<(), ()> = reading.append(source, instance.as_bytes(), |bytes| {
                bytes.extend_from_slice(text.as_bytes());
                Ok(())
            });
            filled.unwrap();
        };
        self.busy_jiffies += self.busy * TICK_S;
        self.idle_jiffies += (100 - self.busy) * TICK_S;
        let mut stat = String::new();
        for cpu in 0..CPU_COUNT {
            writeln!(stat, "cpu{cpu} {} 0 0 {} 0 0 0 0 0 0", self.busy_jiffies, self.idle_jiffies).unwrap();
        }
        writeln!(stat, "procs_running 1\nprocs_blocked {}", self.blocked_count).unwrap();
        put(Source::Stat, "", &stat);
        put(Source::Loadavg, "", &format!("{}.{:02} 0.00 0.00 1/99 1", self.load_100 / 100, self.load_100 % 100));
        put(Source::Meminfo, "", "MemTotal: 1048576 kB\nMemAvailable: 500000 kB\n");
        put(Source::Vmstat, "", &format!("oom_kill {}\n", self.killed_count));
        let (mode, blocks) = (if self.is_read_only { "ro" } else { "rw" }, self.avail / 4096);
        let root = format!("/dev/root / ext4 {mode} 4096 {} {blocks} {blocks} 65536 60000\n", 32 * GIB / 4096);
        put(Source::Filesystems, "", &(root + "/dev/loop0 /snap/core squashfs ro 4096 100 0 0 10 0\n"));
        let carrier = |carrier: bool| u8::from(carrier);
        put(Source::NetClass, "eth0", &format!("operstate up\ncarrier 1\ncarrier_changes {}\n", self.carrier_changes));
        if let Some(modem) = self.modem_carrier {
            put(
                Source::NetClass,
                "wwan0",
                &format!("operstate unknown\ncarrier {}\ncarrier_changes 1\n", carrier(modem)),
            );
        }
        put(Source::Throttled, "", &format!("{:x}\n", self.throttled));
        put(Source::KernelLog, "", &std::mem::take(&mut self.log));
        if tick.is_multiple_of(WALK) {
            let line = |(pid, name, start, rss): &(u32, &str, u64, u64)| {
                format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 1 0 0 0 20 0 2 0 {start} 1 {rss}\n")
            };
            put(Source::Processes, "", &self.processes.iter().map(line).collect::<String>());
        }
        reading
    }
}

/// What is said in so many minutes of a machine's life, which `live` changes before each tick, told its second: the second, and the
/// event's text.
fn told(minutes: u64, mut live: impl FnMut(&mut Machine, u64)) -> Vec<(u64, String)> {
    let (mut machine, mut watch, mut carry) =
        (Machine::idle(), Watch::new(&Importance::default()), Box::new(Carry::new()));
    let mut told = Vec::new();
    for tick in 0..minutes * 60 / TICK_S {
        let second = tick * TICK_S;
        live(&mut machine, second);
        let now = Stamp { boot: BootId(1), uptime: Instant(second * 1000), unix: None };
        watch.look(now.uptime, &machine.render(tick), &mut carry, &mut |_, _, _| {});
        while let Some(event) = watch.poll_event(now.uptime) {
            told.push((second, event.to_string()));
        }
    }
    told
}

/// Noise from 0 to below `bound`, the same for the same second.
fn noise(second: u64, bound: u64) -> u64 {
    let mixed = (second + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) % bound
}

#[test]
fn nothing_is_said_of_an_idle_machine() {
    assert_eq!(told(24 * 60, |_, _| {}), []);
}

#[test]
fn nothing_is_said_of_a_busy_machine() {
    let told = told(3 * 24 * 60, |machine, second| {
        let hour = second / 3600 % 24;
        machine.busy = if (8..18).contains(&hour) { 40 + noise(second, 55) } else { 5 };
        machine.load_100 = machine.busy * 6;
        machine.blocked_count = noise(second, 3);
        // A backup by night reads all day's files: much waiting, and room that comes and goes.
        if (2..4).contains(&hour) {
            (machine.load_100, machine.blocked_count, machine.busy) = (480, 3, 12);
        }
        let temporary = (second % 7200) * 400_000;
        machine.avail = 11 * GIB - second * 2000 - temporary + noise(second, 1 << 20);
        // Somebody pulls a cable and plugs it in; the modem looks for another cell.
        machine.carrier_changes = 1 + second / (6 * 3600) * 2;
        machine.modem_carrier = Some(second % 5000 > 40);
        machine.log = format!("6,{second},1,-;usb 1-1: new device\n4,9,1,-;mmc0: tuning execution started\n");
        // A cache that fills in the first hours, a timer each minute, cron jobs, and a service that is updated.
        machine.processes = vec![(1, "systemd", 1, 3000), (2, "cache", 5, 60_000 - 50_000 * 3600 / (second + 3600))];
        machine.processes.push((1000 + (second / 60) as u32, "collect", second / 60 * 6000 + 20, 900));
        machine.processes.push((800_000 + (second / 86_400) as u32, "web", second / 86_400 * 8_640_000, 9000));
    });
    assert_eq!(told, []);
}

#[test]
fn a_disk_that_fills_is_noticed_in_half_an_hour_when_it_is_near_and_in_hours_when_it_is_not() {
    let filling = |per_second: u64| {
        told(30 * 60, move |machine, second| machine.avail = (9 * GIB).saturating_sub(second * per_second))
    };
    // Two hours are left, and a little: after 26 minutes an hour and a half.
    let fast = filling(9 * GIB / 7300);
    assert!(fast[0].1.starts_with("file system / will be full in 1h3"), "{fast:?}");
    assert!((1440..=1560).contains(&fast[0].0) && fast.len() == 1, "{fast:?}");
    let slow = filling(9 * GIB / (24 * 3600));
    assert!((6 * 3600..=6 * 3600 + 1800).contains(&slow[0].0) && slow[0].1.contains("in 18h"), "{slow:?}");
}

#[test]
fn a_disk_that_is_tidied_up_is_said_to_be_and_a_large_copy_is_no_trend() {
    let tidied = told(8 * 60, |machine, second| {
        machine.avail = if second < 3600 { 9 * GIB - second * GIB / 1000 } else { 15 * GIB }
    });
    let said: Vec<&str> = tidied.iter().map(|(_, text)| text.as_str()).collect();
    assert!(matches!(said[..], [begins, "/ no longer fills up"] if begins.contains("will be full")), "{tidied:?}");
    let copied =
        told(8 * 60, |machine, second| machine.avail = 12 * GIB - (second.clamp(3600, 4200) - 3600) * 10_000_000);
    assert_eq!(copied, []);
}

#[test]
fn a_leak_is_noticed_in_seven_hours_and_a_cache_that_fills_is_none() {
    let leaking = told(24 * 60, |machine, second| machine.processes = vec![(7, "gatewayd", 5, 10_000 + second / 2)]);
    assert!((6 * 3600..7 * 3600).contains(&leaking[0].0), "{leaking:?}");
    let (begin, end) = ("gatewayd takes more memory all the time: ", " came in 6h");
    assert!(leaking[0].1.starts_with(begin) && leaking[0].1.ends_with(end) && leaking.len() == 1, "{leaking:?}");
    let filled = told(24 * 60, |machine, second| {
        machine.processes = vec![(7, "cache", 5, 100_000 - 90_000 * 14_400 / (second + 14_400))];
    });
    assert_eq!(filled, []);
}

#[test]
fn a_service_that_is_started_again_and_again_is_noticed_and_a_timer_is_none() {
    let looping = told(120, |machine, second| {
        if (1800..3600).contains(&second) && second.is_multiple_of(40) {
            machine.restart("webd", second as u32, second);
        }
    });
    let expected = [(2040, "webd is started again and again: 5 times in 4m"), (4800, "webd keeps running")];
    assert_eq!(looping, expected.map(|(second, text)| (second, text.to_owned())));
    let timed = told(120, |machine, second| {
        machine.restart("poll", (second / 60) as u32 + 9, second / 60 * 60 + noise(second / 60, 2))
    });
    assert_eq!(timed, []);
}

#[test]
fn a_machine_that_is_started_again_and_again_is_noticed_over_its_boots() {
    let (mut boots, mut said, mut over) = (Boots::default(), Vec::new(), Vec::new());
    for (boot, minutes) in [(1, 9000), (2, 4), (3, 5), (4, 3), (5, 2), (6, 600), (7, 1)] {
        said.push(boots.start(BootId(boot)).map(|trouble| trouble.to_string()));
        over.extend(boots.lasts(Instant(minutes * 60_000 + 1)).map(|trouble| trouble.to_string()));
        // The process may start again meanwhile.
        boots = Boots::decode(&boots.encode());
        assert_eq!(boots.start(BootId(boot)), None);
    }
    let looping = |count, minutes| Some(format!("the machine is started again and again: {count} times in {minutes}m"));
    assert_eq!(said, [None, None, None, None, looping(3, 12), None, None]);
    assert_eq!(over, [looping(4, 14).unwrap()]);
    assert_eq!(Boots::decode(&[7, 7]), Boots::default());
}

#[test]
fn a_weak_supply_is_said_at_once_and_when_it_is_over() {
    let weak =
        told(20, |machine, second| machine.throttled = if (300..320).contains(&second) { 0x50005 } else { 0x50000 });
    let low = "the supply voltage is too low: check the power supply and its cable";
    let slow = "the firmware slows the board down: it is too hot, or the supply is too weak";
    let expected = [(300, low), (300, slow), (610, "under_voltage is no more"), (610, "throttled is no more")];
    assert_eq!(weak, expected.map(|(second, text)| (second, text.to_owned())));
}

#[test]
fn a_file_system_that_takes_no_writes_any_more_is_said_at_once_and_one_that_never_did_is_not() {
    let lost = told(60, |machine, second| machine.is_read_only = (2400..3000).contains(&second));
    let text = "file system / takes no writes any more: after an error the kernel does so, see its log";
    assert_eq!(lost, [(2400, text.to_owned()), (3000, "/ takes writes again".to_owned())]);
    let updated = told(600, |machine, second| machine.is_read_only = !(3600..4200).contains(&second));
    assert_eq!(updated, []);
}

#[test]
fn errors_of_a_card_are_said_in_the_kernels_words() {
    let told = told(10, |machine, second| {
        if second == 300 {
            machine.log = "3,812,9,-;mmcblk0: error -110 transferring data, sector 2048, nr 8\n SUBSYSTEM=block\n\
                           3,813,9,-;blk_update_request: I/O error, dev mmcblk0, sector 2048\n\
                           6,814,9,-;mmc0: error of no importance\n;\n"
                .to_owned();
        }
    });
    let text = "the kernel reports 2 errors of a memory card or disk: mmcblk0: error -110 transferring data, sector 2048, nr 8";
    assert_eq!(told, [(300, text.to_owned())]);
}

#[test]
fn an_interface_that_flaps_is_said_once_and_when_it_rests() {
    let told = told(90, |machine, second| machine.carrier_changes = 1 + (second.clamp(600, 1200) - 600) / 10);
    assert_eq!(told[0], (660, "interface eth0 lost or found its carrier 6 times in 1m".to_owned()));
    assert!(told.len() == 2 && told[1].1 == "eth0 keeps its carrier" && told[1].0 < 2700, "{told:?}");
}

#[test]
fn a_modem_without_its_network_is_said_after_a_minute_whether_its_interface_stays_or_goes() {
    for gone in [Some(false), None] {
        let told = told(20, |machine, second| {
            machine.modem_carrier = if (300..600).contains(&second) { gone } else { Some(true) }
        });
        let expected = [(360, "modem wwan0 has lost its network"), (600, "wwan0 has its network again")];
        assert_eq!(told, expected.map(|(second, text)| (second, text.to_owned())));
    }
}

#[test]
fn a_process_that_was_killed_for_want_of_memory_is_named() {
    let told = told(20, |machine, second| {
        if second == 300 {
            machine.killed_count = 1;
            machine.log = "3,9,9,-;Out of memory: Killed process 812 (java) total-vm:1kB, anon-rss:2kB\n".to_owned();
        }
    });
    assert_eq!(told, [(300, "memory ran out, and the kernel killed 1 processes, of them java".to_owned())]);
}

#[test]
fn a_load_that_waits_is_noticed_in_four_minutes() {
    let told = told(30, |machine, second| {
        if (300..900).contains(&second) {
            (machine.load_100, machine.blocked_count) = (840, 8);
        } else {
            (machine.load_100, machine.blocked_count) = (10, 0);
        }
    });
    let text = "8 processes wait for a disk or a server of files while the processors idle: load 8.40";
    assert_eq!(told, [(480, text.to_owned()), (1190, "disks and servers of files answer again".to_owned())]);
}

#[test]
fn a_machine_that_breaks_down_says_a_handful_and_then_little_by_little() {
    let told = told(180, |machine, second| {
        if second < 600 {
            return;
        }
        // Troubles that come and go, each on its own.
        machine.throttled = if second / 400 % 2 == 0 { 0xf } else { 0 };
        machine.modem_carrier = Some(second / 200 % 2 == 0);
        machine.is_read_only = second >= 3600;
    });
    let begun_count =
        told.iter().filter(|(_, text)| !["again", "is no more"].iter().any(|end| text.ends_with(end))).count();
    assert!((8..=8 + 3).contains(&begun_count), "{told:#?}");
    // What lasts is said as soon as it may be.
    assert!(
        told.iter().any(|(second, text)| text.contains("takes no writes any more") && *second < 3600 + 3700),
        "{told:#?}"
    );
}
