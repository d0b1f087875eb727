//! The machine's own files: which there are, and in which order they are read.
//!
//! ```text
//!  files of /proc ── kept open ──┐
//!  folders of /sys ─ attributes ─┼──> probe::Reading ──> the core
//!  mounts ────────── statfs ─────┤
//!  /dev/kmsg ─ new records ──────┤
//!  /proc/<pid>/stat ─ walk ──────┘    only when asked: it has an interval of its own
//! ```
//!
//! A missing file is normal: other boards have it. What is lost for want of room or of descriptors is counted in the
//! reading. Nothing here fails, and nothing waits longer than half a second.
//!
//! | file | what |
//! |---|---|
//! | `devices` | what is below `/sys`, and when to look for it |
//! | `mounts` | what is mounted, and how full it is |
//! | `section` | a section from a file that may be missing |
#![expect(clippy::disallowed_methods, reason = "a driver owns the clock")]

mod devices;
mod mounts;
mod section;

use std::path::Path;
use std::sync::Arc;

use agent::probe::processes::PROCESS_COUNT_MAX;
use agent::probe::{Reading, Source, sysctl};
use hal::linux::kept_file::{Handles, KeptFile, Shape};
use hal::linux::kernel_log::KernelLog;
use hal::linux::processes::Walk;
use hal::linux::sysfs::Attributes;

use crate::sampling::devices::Devices;
use crate::sampling::mounts::Mounts;
use crate::sampling::section::{append, append_file};

/// Files kept open. A quarter of the descriptors that a process has by default.
const HELD_COUNT_MAX: usize = 256;

/// Readings after which as many files may be kept open again, should the process have run out of descriptors.
const RECOVERY_READING_COUNT: u16 = 60;

const KIB: usize = 1024;

/// One file of `/proc`.
struct Known {
    source: Source,
    instance: &'static str,
    path: &'static str,
    shape: Shape,
    bytes_max: usize,
}

/// The files of `/proc`, in the order of reading. The bounds are for hosts: 64 cores, 500 disks, 500 interfaces.
#[rustfmt::skip]
const FILES: [Known; 15] = [
    known(Source::Stat,      "",       "stat",            Shape::Whole,   64 * KIB),
    known(Source::Loadavg,   "",       "loadavg",         Shape::Whole,        KIB),
    known(Source::Pressure,  "cpu",    "pressure/cpu",    Shape::Whole,        KIB),
    known(Source::Pressure,  "io",     "pressure/io",     Shape::Whole,        KIB),
    known(Source::Pressure,  "irq",    "pressure/irq",    Shape::Whole,        KIB),
    known(Source::Pressure,  "memory", "pressure/memory", Shape::Whole,        KIB),
    known(Source::Meminfo,   "",       "meminfo",         Shape::Whole,    8 * KIB),
    known(Source::Vmstat,    "",       "vmstat",          Shape::Records, 16 * KIB),
    known(Source::Diskstats, "",       "diskstats",       Shape::Records, 64 * KIB),
    known(Source::Netstat,   "",       "net/netstat",     Shape::Whole,   16 * KIB),
    known(Source::Netstat,   "",       "net/snmp",        Shape::Whole,    8 * KIB),
    known(Source::Snmp6,     "",       "net/snmp6",       Shape::Whole,   16 * KIB),
    known(Source::Sockstat,  "",       "net/sockstat",    Shape::Whole,        KIB),
    known(Source::Sockstat,  "",       "net/sockstat6",   Shape::Whole,        KIB),
    known(Source::NetDev,    "",       "net/dev",         Shape::Records, 64 * KIB),
];

const fn known(source: Source, instance: &'static str, path: &'static str, shape: Shape, bytes_max: usize) -> Known {
    Known { source, instance, path, shape, bytes_max }
}

/// Where the machine's readings come from.
#[derive(Debug)]
pub struct Machine {
    handles: Arc<Handles>,
    files: Vec<(Source, &'static str, KeptFile)>,
    sysctl: Attributes,
    devices: Devices,
    mounts: Mounts,
    log: KernelLog,
    walk: Walk,
    reading_count: u16,
}

impl Machine {
    /// The machine whose root folder is `root`: `/`, or a folder of copied files. Nothing is read yet.
    pub fn new(root: &Path) -> Machine {
        let handles = Handles::new(HELD_COUNT_MAX);
        let proc = root.join("proc");
        let files = FILES.iter().map(|known| {
            let file = KeptFile::new(proc.join(known.path), known.shape, known.bytes_max, &handles);
            (known.source, known.instance, file)
        });
        Machine {
            files: files.collect(),
            sysctl: Attributes::of(&proc.join("sys"), &[], &sysctl::ATTRIBUTES, &handles),
            devices: Devices::new(root.join("sys"), &handles),
            mounts: Mounts::new(root, &handles),
            log: KernelLog::new(root.join("dev/kmsg")),
            walk: Walk::new(&proc, PROCESS_COUNT_MAX),
            reading_count: 0,
            handles,
        }
    }

    /// An empty reading for [`Machine::read`].
    pub fn reading(&self) -> Reading {
        Reading::new(hal::linux::page_bytes())
    }

    /// Fills `reading` with what the machine says now, with the processes if asked for.
    ///
    /// Sections always come in the same order. Some 60 calls of the system on a small machine, and three for each process.
    pub fn read(&mut self, walk_processes: bool, reading: &mut Reading) {
        reading.clear();
        self.reading_count = (self.reading_count + 1) % RECOVERY_READING_COUNT;
        if self.reading_count == 0 {
            self.handles.limit(HELD_COUNT_MAX);
        }
        for (source, instance, file) in &mut self.files {
            append_file(*source, instance, file, reading);
        }
        append(Source::Sysctl, "", reading, |out| self.sysctl.read_into(out));
        self.devices.read_into(reading);
        self.mounts.read_into(reading);
        append(Source::KernelLog, "", reading, |out| {
            self.log.read_into(out);
            Ok(())
        });
        if walk_processes {
            append(Source::Processes, "", reading, |out| self.walk.read_into(out));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    use agent::dictionary::Dictionary;
    use agent::probe::{self, Carry};
    use agent::sampler::Sampler;
    use wire::series::{LabelText, write_labels};

    use super::*;

    const IMX6: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/proc/imx6");
    const PI4: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/proc/pi4");
    const PI_ZERO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/proc/pizero");

    /// A copy of a board's files, removed with the value.
    struct Board(PathBuf);

    impl Board {
        fn copied(from: &str) -> Board {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let board = Board(std::env::temp_dir().join(format!("outpost-board-{}-{number}", std::process::id())));
            copy(Path::new(from), &board.0);
            board
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn replace(&self, path: &str, from: &str, to: &str) {
            let text = fs::read_to_string(self.0.join(path)).unwrap();
            assert!(text.contains(from), "{path} does not hold {from}");
            self.write(path, &text.replace(from, to));
        }
    }

    impl Drop for Board {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if from.is_dir() {
                copy(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    fn values(machine: &mut Machine, walk_processes: bool) -> BTreeMap<String, i64> {
        let mut reading = machine.reading();
        machine.read(walk_processes, &mut reading);
        let mut values = BTreeMap::new();
        let mut carry = Box::new(Carry::new());
        probe::parse(&reading, &mut carry, &mut |metric, labels, value| {
            let mut text = LabelText::new();
            write_labels(labels, &mut text).unwrap();
            let series = format!("{}{{{text}}}", metric.definition().name);
            assert_eq!(values.insert(series.clone(), value), None, "{series} was put twice");
        });
        values
    }

    fn check(values: &BTreeMap<String, i64>, expected: &[(&str, i64)]) {
        for (series, value) in expected {
            assert_eq!(values.get(*series), Some(value), "{series} in {values:#?}");
        }
    }

    /// Compares how many series begin with each prefix. Together these are all there are.
    fn check_counts(values: &BTreeMap<String, i64>, expected: &[(&str, usize)]) {
        for (prefix, count) in expected {
            let found: Vec<_> = values.keys().filter(|series| series.starts_with(prefix)).collect();
            assert_eq!(found.len(), *count, "{prefix}: {found:#?}");
        }
        assert_eq!(values.len(), expected.iter().map(|(_, count)| count).sum::<usize>(), "{values:#?}");
    }

    #[test]
    fn a_raspberry_pi_is_read_in_full() {
        let mut machine = Machine::new(Path::new(PI4));
        check(
            &values(&mut machine, true),
            &[
                ("node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 301_522),
                ("node_load5{}", 58),
                ("node_memory_MemAvailable_bytes{}", 3_011_920 * 1024),
                ("node_vmstat_pgfault{}", 402_113_344),
                ("node_disk_io_now{device=\"mmcblk0p2\"}", 0),
                ("node_netstat_Tcp_CurrEstab{}", 9),
                ("node_sockstat_TCP_tw{}", 3),
                ("node_network_receive_drop_total{device=\"eth0\"}", 12),
                ("node_network_carrier_changes_total{device=\"eth0\"}", 4),
                ("node_network_speed_bytes{device=\"eth0\"}", 125_000_000),
                ("node_network_up{device=\"wlan0\"}", 0),
                ("node_filefd_allocated{}", 1824),
                ("node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"0\"}", 48_312),
                ("node_hwmon_temp_crit_celsius{chip=\"cpu_thermal\",sensor=\"temp1\"}", 110_000),
                ("outpost_hwmon_in_lcrit_alarm{chip=\"rpi_volt\",sensor=\"in0\"}", 0),
                ("node_cpu_scaling_frequency_hertz{cpu=\"3\"}", 700_000_000),
                ("node_cpu_frequency_max_hertz{cpu=\"1\"}", 1_500_000_000),
                ("node_processes_state{state=\"I\"}", 2),
                ("namedprocess_namegroup_num_procs{groupname=\"kworker\"}", 2),
                ("namedprocess_namegroup_cpu_seconds_total{groupname=\"node-red (main)\"}", 140_445),
            ],
        );
        assert!(!values(&mut machine, false).keys().any(|series| series.contains("processes_state")));
    }

    #[test]
    fn what_a_checkout_cannot_hold_is_found_too() {
        let board = Board::copied(PI4);
        board.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        board.write("sys/devices/platform/soc/soc:firmware/raspberrypi-hwmon/temp", "7\n");
        symlink(
            "../../../devices/platform/soc/soc:firmware/raspberrypi-hwmon",
            board.0.join("sys/class/hwmon/hwmon1/device"),
        )
        .unwrap();
        check(
            &values(&mut Machine::new(&board.0), false),
            &[
                ("outpost_throttled{condition=\"under_voltage\"}", 1),
                ("outpost_throttled_since_boot{condition=\"frequency_capped\"}", 0),
                ("outpost_hwmon_in_lcrit_alarm{chip=\"soc:firmware_raspberrypi_hwmon\",sensor=\"in0\"}", 0),
                ("node_hwmon_temp_celsius{chip=\"soc:firmware_raspberrypi_hwmon\",sensor=\"temp0\"}", 7),
            ],
        );
    }

    #[test]
    fn a_raspberry_pi_zero_is_read_in_full() {
        let board = Board::copied(PI_ZERO);
        board.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n");
        let values = values(&mut Machine::new(&board.0), true);
        check_counts(
            &values,
            &[
                ("namedprocess_namegroup_", 10 * 3),
                ("node_boot_time_seconds", 1),
                ("node_context_switches_total", 1),
                ("node_cpu_", 10 + 5),
                ("node_disk_", 3 * 15),
                ("node_entropy_", 2),
                ("node_filefd_", 2),
                ("node_filesystem_", 7 + 4),
                ("node_forks_total", 1),
                ("node_hwmon_", 1),
                ("node_intr_total", 1),
                ("node_load", 3),
                ("node_memory_", 37),
                ("node_netstat_", 40),
                ("node_network_", 3 * 16 + 3 * 5),
                ("node_processes_", 10),
                ("node_pressure_", 0),
                ("node_procs_", 2),
                ("node_sockstat_", 20),
                ("node_thermal_zone_temp", 1),
                ("node_vmstat_", 7),
                ("outpost_hwmon_", 1),
                ("outpost_processes_skipped", 1),
                ("outpost_throttled", 8),
            ],
        );
        check(
            &values,
            &[
                ("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}", 118_204_331),
                ("node_cpu_scaling_frequency_hertz{cpu=\"0\"}", 1_000_000_000),
                ("node_memory_SwapFree_bytes{}", 98_300 * 1024),
                ("node_disk_discarded_sectors_total{device=\"mmcblk0p2\"}", 41_204_408),
                ("node_network_up{device=\"wlan0\"}", 1),
                ("node_network_carrier{device=\"usb0\"}", 0),
                ("node_netstat_Icmp6_InMsgs{}", 30_112),
                ("node_filesystem_readonly{device=\"/dev/root\",fstype=\"ext4\",mountpoint=\"/\"}", 0),
                ("node_filesystem_device_error{device=\"/dev/mmcblk0p1\",fstype=\"vfat\",mountpoint=\"/boot\"}", 1),
                ("outpost_hwmon_in_lcrit_alarm{chip=\"rpi_volt\",sensor=\"in0\"}", 1),
                ("outpost_throttled{condition=\"under_voltage\"}", 0),
                ("outpost_throttled_since_boot{condition=\"under_voltage\"}", 1),
                ("node_processes_state{state=\"I\"}", 2),
                ("namedprocess_namegroup_num_procs{groupname=\"kworker\"}", 2),
            ],
        );
    }

    #[test]
    fn an_industrial_board_is_read_in_full() {
        let board = Board::copied(IMX6);
        let sensor = "devices/soc0/soc/2100000.aips-bus/21a4000.i2c/i2c-1/1-0048";
        board.write(&format!("sys/{sensor}/name"), "lm75\n");
        symlink(format!("../../../{sensor}"), board.0.join("sys/class/hwmon/hwmon1/device")).unwrap();
        board.write("data/gateway.db", "");
        let values = values(&mut Machine::new(&board.0), true);
        check_counts(
            &values,
            &[
                ("namedprocess_namegroup_", 12 * 3),
                ("node_boot_time_seconds", 1),
                ("node_context_switches_total", 1),
                ("node_cpu_", 4 * (10 + 5)),
                ("node_disk_", 11 * 11),
                ("node_entropy_", 2),
                ("node_filefd_", 2),
                ("node_filesystem_", 2 * 7 + 3),
                ("node_forks_total", 1),
                ("node_hwmon_", 2 * 3),
                ("node_intr_total", 1),
                ("node_load", 3),
                ("node_memory_", 40),
                ("node_netstat_", 28),
                ("node_network_", 5 * 16 + 2 * 6 + 3 * 5),
                ("node_nf_conntrack_", 2),
                ("node_processes_", 10),
                ("node_pressure_", 0),
                ("node_procs_", 2),
                ("node_sockstat_", 14),
                ("node_thermal_zone_temp", 1),
                // `oom_kill` came with 4.13.
                ("node_vmstat_", 6),
                ("outpost_processes_skipped", 1),
            ],
        );
        let chip = "chip=\"i2c_1_1_0048\"";
        check(
            &values,
            &[
                ("node_cpu_seconds_total{cpu=\"3\",mode=\"system\"}", 801_223),
                ("node_memory_HighTotal_bytes{}", 262_144 * 1024),
                ("node_disk_io_time_weighted_seconds_total{device=\"mmcblk2p4\"}", 118_209_320),
                ("node_disk_reads_completed_total{device=\"mmcblk2boot0\"}", 5),
                ("node_disk_reads_completed_total{device=\"mtdblock0\"}", 3),
                ("node_network_receive_frame_total{device=\"can0\"}", 3),
                // A bus has no link to be up or down, and its frames hold 16 bytes.
                ("node_network_up{device=\"can0\"}", 0),
                ("node_network_carrier{device=\"can0\"}", 1),
                ("node_network_mtu_bytes{device=\"can0\"}", 16),
                ("node_network_transmit_errs_total{device=\"wwan0\"}", 2),
                ("node_network_speed_bytes{device=\"eth0\"}", 12_500_000),
                ("node_filesystem_readonly{device=\"/dev/root\",fstype=\"ext4\",mountpoint=\"/\"}", 1),
                ("node_filesystem_readonly{device=\"/dev/mmcblk2p4\",fstype=\"ext4\",mountpoint=\"/data\"}", 0),
                (
                    "node_filesystem_device_error{device=\"ubi0:calibration\",fstype=\"ubifs\",mountpoint=\"/mnt/calibration\"}",
                    1,
                ),
                ("node_thermal_zone_temp{type=\"imx_thermal_zone\",zone=\"0\"}", 47_312),
                ("node_hwmon_temp_crit_celsius{chip=\"imx_thermal_zone\",sensor=\"temp1\"}", 90_000),
                (&format!("node_hwmon_temp_celsius{{{chip},sensor=\"temp1\"}}"), -4_500),
                (&format!("node_hwmon_chip_names{{{chip},chip_name=\"lm75\"}}"), 1),
                ("node_nf_conntrack_entries{}", 37),
                // Before 4.14 a kernel thread that waits for work sleeps.
                ("node_processes_state{state=\"I\"}", 0),
                ("node_processes_state{state=\"D\"}", 1),
                ("namedprocess_namegroup_num_procs{groupname=\"udhcpc\"}", 2),
                ("namedprocess_namegroup_num_procs{groupname=\"mmcqd\"}", 3),
            ],
        );
    }

    #[test]
    fn a_counter_of_32_bits_wraps_beside_one_of_64() {
        let board = Board::copied(PI_ZERO);
        let mut machine = Machine::new(&board.0);
        check(
            &values(&mut machine, false),
            &[
                ("node_disk_written_bytes_total{device=\"mmcblk0\"}", 4_294_960_128 * 512),
                ("node_intr_total{}", 4_294_966_176),
                ("node_network_receive_bytes_total{device=\"lo\"}", 5_368_709_120),
                ("node_network_receive_bytes_total{device=\"wlan0\"}", 4_294_966_012),
                ("node_vmstat_pgfault{}", 4_294_966_784),
            ],
        );
        board.replace("proc/diskstats", " 4294960128 ", " 832 ");
        board.replace("proc/net/dev", "4294966012", "     20212");
        board.replace("proc/net/dev", "5368709120", "5368713216");
        board.replace("proc/stat", "intr 4294966176 ", "intr 7012 ");
        board.replace("proc/vmstat", "pgfault 4294966784", "pgfault 904");
        // As the kernel has it: whoever computes a rate takes the fall for a new beginning.
        check(
            &values(&mut machine, false),
            &[
                ("node_disk_written_bytes_total{device=\"mmcblk0\"}", 832 * 512),
                ("node_intr_total{}", 7_012),
                ("node_network_receive_bytes_total{device=\"lo\"}", 5_368_713_216),
                ("node_network_receive_bytes_total{device=\"wlan0\"}", 20_212),
                ("node_vmstat_pgfault{}", 904),
            ],
        );
    }

    #[test]
    fn no_series_of_a_board_is_refused() {
        for board in [IMX6, PI4, PI_ZERO] {
            let mut machine = Machine::new(Path::new(board));
            let mut reading = machine.reading();
            machine.read(true, &mut reading);
            assert_eq!(reading.refused_count(), 0, "{board}");
            let mut sampler = Sampler::new(Dictionary::new(1), &Default::default());
            let mut carry = Box::new(Carry::new());
            sampler.begin();
            probe::parse(&reading, &mut carry, &mut |metric, labels, value| sampler.put(metric, labels, value));
            assert_eq!(sampler.refused_count(), 0, "{board}");
        }
    }

    #[test]
    fn mounts_are_asked_for_below_the_root() {
        let board = Board::copied(PI4);
        board.write("boot/firmware/kernel8.img", "");
        let values = values(&mut Machine::new(&board.0), false);
        let firmware = "device=\"/dev/mmcblk0p1\",fstype=\"vfat\",mountpoint=\"/boot/firmware\"";
        check(
            &values,
            &[
                (&format!("node_filesystem_readonly{{{firmware}}}"), 1),
                (&format!("node_filesystem_device_error{{{firmware}}}"), 0),
                (
                    "node_filesystem_device_error{device=\"/dev/sda1\",fstype=\"exfat\",mountpoint=\"/mnt/usb stick\"}",
                    1,
                ),
                (
                    "node_filesystem_device_error{device=\"//nas.example/data\",fstype=\"cifs\",mountpoint=\"/mnt/nas\"}",
                    1,
                ),
            ],
        );
        assert!(values[&format!("node_filesystem_size_bytes{{{firmware}}}")] > 0);
        assert_eq!(values.keys().filter(|series| series.starts_with("node_filesystem_device_error")).count(), 6);
    }

    #[test]
    fn an_interface_that_comes_is_found_at_once() {
        let board = Board::copied(PI4);
        let mut machine = Machine::new(&board.0);
        values(&mut machine, false);
        board.write("sys/class/net/ppp0/operstate", "up\n");
        let text = fs::read_to_string(board.0.join("proc/net/dev")).unwrap();
        board.write("proc/net/dev", &format!("{text}  ppp0: 1 2\n"));
        check(
            &values(&mut machine, false),
            &[("node_network_receive_packets_total{device=\"ppp0\"}", 2), ("node_network_up{device=\"ppp0\"}", 1)],
        );
    }

    #[test]
    fn a_device_that_takes_the_name_of_another_is_not_taken_for_it() {
        let board = Board::copied(PI4);
        let zone = board.0.join("sys/class/thermal/thermal_zone7");
        // A file of a process that ends is gone as one of a device that is unplugged is.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        board.write("sys/class/thermal/thermal_zone7/type", "usb-a\n");
        symlink(format!("/proc/{}/oom_score_adj", child.id()), zone.join("temp")).unwrap();
        let mut machine = Machine::new(&board.0);
        let mut zones = || -> Vec<(String, i64)> {
            values(&mut machine, false).into_iter().filter(|(series, _)| series.contains("zone=\"7\"")).collect()
        };
        assert_eq!(zones().len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(zone.join("temp")).unwrap();
        board.write("sys/class/thermal/thermal_zone7/type", "usb-b\n");
        board.write("sys/class/thermal/thermal_zone7/temp", "5000\n");
        assert_eq!(zones(), []);
        assert_eq!(zones(), [("node_thermal_zone_temp{type=\"usb-b\",zone=\"7\"}".to_owned(), 5000)]);
    }

    #[test]
    fn a_mount_with_too_long_a_path_is_counted() {
        let board = Board::copied(PI4);
        let mut machine = Machine::new(&board.0);
        let mut reading = machine.reading();
        machine.read(false, &mut reading);
        assert_eq!(reading.refused_count(), 0);
        board.write("proc/1/mounts", &format!("/dev/sda1 /{} ext4 rw 0 0\n", "x".repeat(400)));
        machine.read(false, &mut reading);
        assert_eq!(reading.refused_count(), 1);
    }

    #[test]
    fn an_empty_folder_gives_an_empty_reading() {
        let board = Board::copied(PI4);
        fs::remove_dir_all(board.0.join("proc")).unwrap();
        fs::remove_dir_all(board.0.join("sys")).unwrap();
        let mut machine = Machine::new(&board.0);
        for walk_processes in [false, true] {
            assert_eq!(values(&mut machine, walk_processes), BTreeMap::new());
        }
    }

    #[test]
    fn the_machine_under_this_test_is_read_again_and_again() {
        let mut machine = Machine::new(Path::new("/"));
        let first = values(&mut machine, true);
        let held_count = machine.handles.held_count();
        let second = values(&mut machine, true);
        assert!(first.len() > 200 && second.len() > 200, "{} and {}", first.len(), second.len());
        assert_eq!(machine.handles.held_count(), held_count, "a file is opened once");
        assert!(held_count <= HELD_COUNT_MAX);
        let counters = ["node_context_switches_total{}", "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"];
        assert!(counters.iter().all(|series| second[*series] >= first[*series]));
    }
}
