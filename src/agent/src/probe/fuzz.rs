//! Every parser of outside bytes as a plain function of bytes.
//!
//! They are replayed over a corpus and over seeded mutations of real files. Whatever comes in, they return; what they
//! put is checked for what must always hold.

use wire::metric::Metric;

use crate::probe::processes::Processes;
use crate::probe::put::Put;
use crate::probe::reading::{Reading, Source};
use crate::probe::stat::Cpus;
use crate::probe::{
    Carry, cpufreq, diskstats, filesystem, hwmon, loadavg, meminfo, netclass, netdev, netstat, pressure, sockstat,
    stat, sysctl, thermal, throttled, vmstat,
};

/// A parser under a name.
pub type Target = (&'static str, fn(&[u8]));

/// The targets, alphabetical.
pub const TARGETS: &[Target] = &[
    ("cpufreq", |bytes| run(|put| cpufreq::parse(bytes, put))),
    ("diskstats", |bytes| run(|put| diskstats::parse(bytes, put))),
    ("filesystem", |bytes| run(|put| filesystem::parse(bytes, put))),
    ("hwmon", |bytes| run(|put| hwmon::parse(b"hwmon0", bytes, put))),
    ("hwmon_name", |bytes| {
        hwmon::reads(bytes);
    }),
    ("loadavg", |bytes| run(|put| loadavg::parse(bytes, put))),
    ("meminfo", |bytes| run(|put| meminfo::parse(bytes, put))),
    ("mounts", mounts),
    ("netclass", |bytes| run(|put| netclass::parse(b"eth0", bytes, put))),
    ("netdev", |bytes| run(|put| netdev::parse(bytes, put))),
    ("netstat", |bytes| run(|put| netstat::parse(bytes, put))),
    ("pressure", |bytes| run(|put| pressure::parse(b"io", bytes, put))),
    ("processes", processes),
    ("reading", reading),
    ("snmp6", |bytes| run(|put| netstat::parse_snmp6(bytes, put))),
    ("sockstat", |bytes| run(|put| sockstat::parse(bytes, 4096, put))),
    ("stat", |bytes| run(|put| stat::parse(bytes, &mut Cpus::new(), put))),
    ("sysctl", |bytes| run(|put| sysctl::parse(bytes, put))),
    ("thermal", |bytes| run(|put| thermal::parse(b"thermal_zone0", bytes, put))),
    ("throttled", |bytes| run(|put| throttled::parse(bytes, put))),
    ("vmstat", |bytes| run(|put| vmstat::parse(bytes, put))),
];

fn run(parse: impl FnOnce(&mut Put<'_>)) {
    parse(&mut |metric, labels, _| {
        assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "labels of {metric:?} are not in order");
        assert!(Metric::ALL.contains(&metric));
    });
}

/// Every mount that is kept can be rendered, and its line is read as one mount.
fn mounts(bytes: &[u8]) {
    let mut line = Vec::new();
    for mount in filesystem::mounts(bytes) {
        line.clear();
        filesystem::write_line(&mount, None, &mut line);
        let mut count = 0;
        filesystem::parse(&line, &mut |_, _, _| count += 1);
        assert!(count <= 1, "one mount became {count}");
    }
}

/// Two walks, of which the second is the first without its beginning.
fn processes(bytes: &[u8]) {
    let mut processes = Box::new(Processes::new());
    run(|put| processes.parse(bytes, 4096, put));
    run(|put| processes.parse(&bytes[bytes.len() / 2..], 4096, put));
}

/// All sections at once, through the one door.
fn reading(bytes: &[u8]) {
    let sources = [Source::NetDev, Source::Hwmon, Source::Processes, Source::Stat, Source::ThermalZone];
    let mut reading = Reading::new(4096);
    for (source, part) in sources.into_iter().zip(bytes.chunks(bytes.len() / sources.len() + 1)) {
        let filled: Result<(), ()> = reading.append(source, part, |text| {
            text.extend_from_slice(part);
            Ok(())
        });
        assert_eq!(filled, Ok(()));
    }
    let mut carry = Box::new(Carry::new());
    run(|put| crate::probe::parse(&reading, &mut carry, put));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::board;

    /// Mutations of each sample for each target. All of them take a second.
    const MUTATION_COUNT: u64 = 200;

    const SAMPLES: &[&[u8]] = &[
        board!("armv7/proc/diskstats"),
        board!("armv7/proc/meminfo"),
        board!("armv7/proc/stat"),
        board!("imx6/proc/1/mounts"),
        board!("imx6/proc/diskstats"),
        board!("imx6/proc/net/dev"),
        board!("pi4/proc/1/mounts"),
        board!("pi4/proc/net/dev"),
        board!("pizero/proc/net/snmp"),
        board!("pizero/proc/vmstat"),
        board!("vm/proc/net/netstat"),
        board!("vm/proc/net/snmp6"),
        board!("vm/proc/net/sockstat"),
        b"/dev/sda1 /srv/a\\040b ext4 ro 4096 262144 9000 8000 65536 60000\n//nas/x /mnt/nas cifs rw error\n",
        b"device soc:firmware/raspberrypi-hwmon\nname rpi_volt\nin0_lcrit_alarm 1\ntemp1_label Core 0\ntemp1_input 1\n",
        b"affected_cpus 0 1\nscaling_cur_freq 700000\ntype cpu-thermal\ntemp 48312\noperstate up\nmtu 1500\n",
        b"fs/file-nr 430\t0\t9223372036854775807\nkernel/pid_max 32768\n",
        b"some avg10=0.15 avg60=0.71 avg300=0.45 total=7069973\n0.52 1.58 10.59 2/213 9\n50005\n",
        b"1 (init) S 0 1 1 0 -1 4194560 1 0 3 0 14 9 0 0 20 0 1 0 18 15822848 1730\n\
          2 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 1 2 0 0 20 0 1 0 5 0 0\nskipped 3\n",
    ];

    /// xorshift64*, for reproducible mutations.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
        }
    }

    /// Replaces, removes, doubles and inserts; what is inserted is what parsers stumble over.
    fn mutate(sample: &[u8], random: &mut Random) -> Vec<u8> {
        const SPECIAL: &[&[u8]] =
            &[b"\n", b" ", b":", b")", b"(", b"\0", b"\xff", b"-", b"18446744073709551616", b"cpu", b"\\040", b"/"];
        let mut bytes = sample.to_vec();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            let end = at + random.below(bytes.len() - at);
            match random.below(5) {
                0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                3 => bytes.truncate(at),
                _ => drop(bytes.splice(at..at, SPECIAL[random.below(SPECIAL.len())].iter().copied())),
            }
        }
        bytes
    }

    #[test]
    fn every_target_survives_every_sample_and_its_mutations() {
        let mut random = Random(0x6f75_7470_6f73_7401);
        for (_, target) in TARGETS {
            for sample in SAMPLES {
                target(sample);
                for _ in 0..MUTATION_COUNT {
                    target(&mutate(sample, &mut random));
                }
            }
        }
    }

    #[test]
    fn targets_are_sorted() {
        assert!(TARGETS.is_sorted_by_key(|(name, _)| *name));
    }
}
