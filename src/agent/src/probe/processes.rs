//! Processes: how many in which state, and which names use most.
//!
//! The text has a line for each process, the first 24 fields of `/proc/<pid>/stat`, and at its end `skipped <count>`
//! when the walk had no room for all of them:
//!
//! ```text
//!  812 (sshd) S 1 812 812 0 -1 4194560 1205 0 3 0 14 9 0 0 20 0 1 0 1893 15822848 1730
//!  pid  comm  state          flags                utime stime      threads start      rss
//!  1    2     3              9                    14 15            20      22         24
//! ```
//!
//! Processes are grouped by name, as process-exporter does. A group's CPU time is added up from what each of its
//! processes used between two walks, so it does not fall when one ends. A process is the same one as before
//! when its pid and its start time are.

use heapless::Vec;
use wire::metric::Metric;
use wire::time::{Instant, Span};

use crate::probe::put::Put;
use crate::probe::text::{fields, lines, signed, unsigned};

/// Processes in one walk. A gateway has some 150, a busy server 2,000; 16 bytes are kept of each.
pub const PROCESS_COUNT_MAX: usize = 4096;

/// Names whose CPU time is kept. When the table is full, one that had no process in the last walk makes room; should it
/// come back, it counts from zero.
pub const GROUP_COUNT_MAX: usize = 256;

/// Groups put for their CPU time since the last walk, and as many for their memory.
pub const TOP_COUNT: usize = 10;

/// Bytes of a name: the kernel gives user processes 15, and escapes some characters by four.
const NAME_BYTES_MAX: usize = 32;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const KERNEL_THREAD: i64 = 0x0020_0000;

/// The process that services are children of.
const INIT: i64 = 1;

/// How the kernel counts since boot in `/proc/<pid>/stat`: USER_HZ is 100 on every architecture that we build for.
const JIFFY: Span = Span(10);

/// States put even when no process is in them, so that a dashboard shows zero and not a gap (`proc_pid_stat(5)`).
const STATES: [&[u8]; 6] = [b"D", b"I", b"R", b"S", b"T", b"Z"];

/// States that are rare, and put when there are any.
const RARE_STATES: [&[u8]; 3] = [b"P", b"X", b"t"];

/// What is remembered from walk to walk.
#[derive(Debug, Default)]
pub struct Processes {
    /// In the order of pid.
    seen: Vec<Seen, PROCESS_COUNT_MAX>,
    /// In the order in which they were first met.
    groups: Vec<Group, GROUP_COUNT_MAX>,
    walk_count: u32,
}

/// A process of the last walk. Jiffies are kept modulo 2^32, which is 497 days: one start is told from another, and the
/// difference of two walks is right.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: u32,
    start_jiffies: u32,
    cpu_jiffies: u32,
    is_alive: bool,
}

#[derive(Debug, Default)]
struct Group {
    name: Vec<u8, NAME_BYTES_MAX>,
    /// The walk that met it last; the numbers below but the first are of that walk.
    walk: u32,
    /// Since the group is known.
    cpu_jiffies: i64,
    used_jiffies: i64,
    rss_pages: i64,
    process_count: i64,
    /// When a child of init of this name started that this walk was the first to meet.
    started_jiffies: Option<u32>,
    /// Whether another one was there before.
    has_older: bool,
}

/// A service's process that the last walk was the first to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started<'a> {
    /// The name of its group.
    pub name: &'a [u8],
    /// When it was started, modulo 497 days.
    pub at: Instant,
}

/// One line of the text.
struct Process<'a> {
    pid: u32,
    name: &'a [u8],
    state: &'a [u8],
    parent: i64,
    cpu_jiffies: u32,
    threads: i64,
    start_jiffies: u32,
    rss_pages: i64,
}

impl Processes {
    /// Nothing was seen yet.
    pub const fn new() -> Processes {
        Processes { seen: Vec::new(), groups: Vec::new(), walk_count: 0 }
    }

    /// Takes one walk's text and puts counts, and the groups that use most. A page has `page_bytes`.
    ///
    /// Source: `proc_pid_stat(5)`.
    pub fn parse(&mut self, text: &[u8], page_bytes: u32, put: &mut Put<'_>) {
        self.walk_count = self.walk_count.wrapping_add(1);
        self.forget_the_dead(text);
        let ungrouped_count = self.account(text);
        put_counts(text, ungrouped_count, put);
        self.put_groups(page_bytes, put);
    }

    /// The services that are new since the walk before, none of whose processes is older: each once.
    pub fn take_started(&mut self) -> impl Iterator<Item = Started<'_>> {
        self.groups.iter_mut().filter_map(|group| {
            let started_jiffies = group.started_jiffies.take().filter(|_| !group.has_older)?;
            Some(Started { name: &group.name, at: Instant(u64::from(started_jiffies) * JIFFY.0) })
        })
    }

    /// Keeps of the last walk's processes those that are in this one, so that the new ones have room.
    fn forget_the_dead(&mut self, text: &[u8]) {
        for process in processes(text).take(PROCESS_COUNT_MAX) {
            if let Some(index) = find(&self.seen, &process) {
                self.seen[index].is_alive = true;
            }
        }
        self.seen.retain_mut(|seen| core::mem::take(&mut seen.is_alive));
    }

    /// Adds every process to its group. Answers how many found no group.
    fn account(&mut self, text: &[u8]) -> i64 {
        let known_count = self.seen.len();
        let mut ungrouped_count = 0;
        for process in processes(text).take(PROCESS_COUNT_MAX) {
            let known = find(&self.seen[..known_count], &process);
            let used_jiffies = match known {
                Some(index) => {
                    let before = core::mem::replace(&mut self.seen[index].cpu_jiffies, process.cpu_jiffies);
                    process.cpu_jiffies.wrapping_sub(before)
                }
                None => {
                    let Process { pid, start_jiffies, cpu_jiffies, .. } = process;
                    let seen = Seen { pid, start_jiffies, cpu_jiffies, is_alive: false };
                    self.seen.push(seen).expect("each is a line of its own, of which no more are taken");
                    cpu_jiffies
                }
            };
            // A step back, which the kernel avoids, is not half of 2^32 jiffies.
            let used_jiffies = if used_jiffies > u32::MAX / 2 { 0 } else { i64::from(used_jiffies) };
            let (is_service, is_new) = (process.parent == INIT, known.is_none() && known_count > 0);
            match self.group(process.name) {
                Some(group) => {
                    group.add(&process, used_jiffies);
                    group.has_older |= is_service && !is_new;
                    if is_service && is_new {
                        group.started_jiffies = Some(process.start_jiffies);
                    }
                }
                None => ungrouped_count += 1,
            }
        }
        self.seen.sort_unstable_by_key(|seen| seen.pid);
        ungrouped_count
    }

    /// The group of that name as of this walk; nothing when there are too many names.
    fn group(&mut self, name: &[u8]) -> Option<&mut Group> {
        let name = &name[..name.len().min(NAME_BYTES_MAX)];
        let walk = self.walk_count;
        let index = match self.groups.iter().position(|group| group.name == name) {
            Some(index) => index,
            None => {
                if self.groups.is_full() {
                    let idlest = self.groups.iter().position(|group| walk.wrapping_sub(group.walk) > 1)?;
                    self.groups.remove(idlest);
                }
                let name = Vec::from_slice(name).expect("the name was cut to its bound");
                let group = Group { name, walk, ..Group::default() };
                self.groups.push(group).expect("room was made above");
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[index];
        if group.walk != walk {
            let (name, cpu_jiffies) = (core::mem::take(&mut group.name), group.cpu_jiffies);
            *group = Group { name, walk, cpu_jiffies, ..Group::default() };
        }
        Some(group)
    }

    fn put_groups(&self, page_bytes: u32, put: &mut Put<'_>) {
        let by_cpu = self.top(|group| group.used_jiffies);
        let by_memory = self.top(|group| group.rss_pages);
        for (index, group) in self.groups.iter().enumerate() {
            if !by_cpu.contains(&index) && !by_memory.contains(&index) {
                continue;
            }
            let name = ("groupname", group.name.as_slice());
            put(Metric::GroupCpuSeconds, &[name], group.cpu_jiffies);
            let rss_bytes = group.rss_pages.saturating_mul(i64::from(page_bytes));
            put(Metric::GroupMemory, &[name, ("memtype", b"resident")], rss_bytes);
            put(Metric::GroupProcs, &[name], group.process_count);
        }
    }

    /// The indices of the groups of this walk with the highest `use_of`, which is not zero.
    fn top(&self, use_of: impl Fn(&Group) -> i64) -> Vec<usize, TOP_COUNT> {
        let mut top = Vec::<usize, TOP_COUNT>::new();
        for (index, group) in self.groups.iter().enumerate() {
            if group.walk != self.walk_count || use_of(group) == 0 {
                continue;
            }
            let place = top.iter().position(|other| use_of(&self.groups[*other]) < use_of(group)).unwrap_or(top.len());
            if place == TOP_COUNT {
                continue;
            }
            if top.is_full() {
                top.pop();
            }
            top.insert(place, index).expect("the last one made room");
        }
        top
    }
}

impl Group {
    fn add(&mut self, process: &Process<'_>, used_jiffies: i64) {
        self.cpu_jiffies = self.cpu_jiffies.saturating_add(used_jiffies);
        self.used_jiffies = self.used_jiffies.saturating_add(used_jiffies);
        self.rss_pages = self.rss_pages.saturating_add(process.rss_pages);
        self.process_count += 1;
    }
}

/// The index of that process among those seen before.
fn find(seen: &[Seen], process: &Process<'_>) -> Option<usize> {
    let index = seen.binary_search_by_key(&process.pid, |seen| seen.pid).ok()?;
    (seen[index].start_jiffies == process.start_jiffies).then_some(index)
}

/// Puts how many processes there are, in which states, and how many the groups do not hold.
fn put_counts(text: &[u8], ungrouped_count: i64, put: &mut Put<'_>) {
    let skipped_count = lines(text).find_map(|line| line.strip_prefix(b"skipped ")).and_then(unsigned).unwrap_or(0);
    let mut threads = 0_i64;
    let mut process_count = 0_i64;
    let mut states = [0_i64; STATES.len() + RARE_STATES.len()];
    for process in processes(text) {
        process_count += 1;
        threads = threads.saturating_add(process.threads);
        if let Some(state) = STATES.iter().chain(&RARE_STATES).position(|state| *state == process.state) {
            states[state] += 1;
        }
    }
    let excess_count = (process_count - PROCESS_COUNT_MAX as i64).max(0);
    put(Metric::ProcessesPids, &[], process_count.saturating_add(skipped_count));
    put(Metric::ProcessesThreads, &[], threads);
    for (index, (state, count)) in STATES.iter().chain(&RARE_STATES).zip(states).enumerate() {
        if index < STATES.len() || count > 0 {
            put(Metric::ProcessesState, &[("state", state)], count);
        }
    }
    put(Metric::ProcessesSkipped, &[], skipped_count.saturating_add(excess_count).saturating_add(ungrouped_count));
}

fn processes(text: &[u8]) -> impl Iterator<Item = Process<'_>> {
    lines(text).filter_map(process)
}

fn process(line: &[u8]) -> Option<Process<'_>> {
    // A name may hold brackets and spaces; what follows it may not.
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
    let mut after = fields(&line[close + 1..]);
    let state = after.next()?;
    let parent = after.next().and_then(signed)?;
    let flags = after.nth(4).and_then(unsigned)?;
    let (user, system) = (after.nth(4).and_then(unsigned)?, after.next().and_then(unsigned)?);
    let threads = after.nth(4).and_then(unsigned)?;
    let start = after.nth(1).and_then(unsigned)?;
    let rss = after.nth(1).and_then(signed)?;
    Some(Process {
        pid: u32::try_from(unsigned(line[..open].trim_ascii())?).ok()?,
        name: group_name(&line[open + 1..close], flags),
        state,
        parent,
        cpu_jiffies: user.wrapping_add(system) as u32,
        threads,
        start_jiffies: start as u32,
        rss_pages: rss.max(0),
    })
}

/// Kernel threads are grouped by what stands before their CPU and queue: `kworker/u8:2-events` is one of hundreds of
/// names that come and go.
fn group_name(comm: &[u8], flags: i64) -> &[u8] {
    match comm.iter().position(|byte| *byte == b'/') {
        Some(slash) if flags & KERNEL_THREAD != 0 => &comm[..slash],
        _ => comm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::check::{check, values};

    fn line(pid: u32, comm: &str, cpu: i64, start: i64, rss: i64) -> String {
        format!("{pid} ({comm}) S 1 1 1 0 -1 4194560 0 0 0 0 {cpu} 0 0 0 20 0 2 0 {start} 15822848 {rss}\n")
    }

    fn cpu(values: &std::collections::BTreeMap<String, i64>, name: &str) -> Option<i64> {
        values.get(&format!("namedprocess_namegroup_cpu_seconds_total{{groupname=\"{name}\"}}")).copied()
    }

    fn walk(processes: &mut Processes, lines: &[String]) -> std::collections::BTreeMap<String, i64> {
        values(|put| processes.parse(lines.concat().as_bytes(), 4096, put))
    }

    #[test]
    fn processes_of_one_name_are_one_group() {
        let text = [line(10, "sshd", 14, 100, 1730), line(11, "sshd", 6, 200, 270), line(12, "a) (b", 1, 9, 1)];
        check(
            |put| Processes::new().parse(text.concat().as_bytes(), 4096, put),
            9 + 2 * 3,
            &[
                ("namedprocess_namegroup_cpu_seconds_total{groupname=\"sshd\"}", 20),
                ("namedprocess_namegroup_memory_bytes{groupname=\"sshd\",memtype=\"resident\"}", 2000 * 4096),
                ("namedprocess_namegroup_num_procs{groupname=\"sshd\"}", 2),
                ("namedprocess_namegroup_cpu_seconds_total{groupname=\"a) (b\"}", 1),
                ("node_processes_pids", 3),
                ("node_processes_threads", 6),
                ("node_processes_state{state=\"S\"}", 3),
                ("node_processes_state{state=\"Z\"}", 0),
                ("outpost_processes_skipped", 0),
            ],
        );
    }

    #[test]
    fn a_groups_cpu_time_does_not_fall_when_a_process_ends() {
        let mut processes = Processes::new();
        walk(&mut processes, &[line(10, "job", 500, 100, 1), line(11, "job", 40, 200, 1)]);
        let values = walk(&mut processes, &[line(11, "job", 45, 200, 1)]);
        assert_eq!(cpu(&values, "job"), Some(545));
    }

    #[test]
    fn a_pid_used_again_is_another_process() {
        let mut processes = Processes::new();
        walk(&mut processes, &[line(10, "job", 500, 100, 1)]);
        let values = walk(&mut processes, &[line(10, "job", 3, 900, 1)]);
        assert_eq!(cpu(&values, "job"), Some(503));
        let values = walk(&mut processes, &[line(10, "job", 5, 900, 1)]);
        assert_eq!(cpu(&values, "job"), Some(505));
    }

    #[test]
    fn a_service_that_was_started_between_two_walks_is_told_once() {
        let mut processes = Processes::new();
        let started = |processes: &mut Processes, lines: &[String]| -> std::vec::Vec<(String, u64)> {
            walk(processes, lines);
            let told = |started: Started<'_>| (String::from_utf8(started.name.to_vec()).unwrap(), started.at.0);
            processes.take_started().map(told).collect()
        };
        let child = |pid: u32, start: i64| line(pid, "job", 0, start, 1).replace(" S 1 ", " S 77 ");
        assert_eq!(started(&mut processes, &[line(10, "sshd", 1, 100, 1)]), []);
        // Of one that was there already there may be more.
        let sshd = [line(10, "sshd", 1, 100, 1), line(13, "sshd", 1, 900, 1)].concat();
        let lines = [sshd, line(11, "web", 1, 900, 1), child(12, 950)];
        assert_eq!(started(&mut processes, &lines), [("web".to_owned(), 9_000)]);
        assert_eq!(processes.take_started().count(), 0);
        assert_eq!(started(&mut processes, &lines), []);
    }

    #[test]
    fn the_top_by_cpu_and_the_top_by_memory_are_put() {
        let mut processes = Processes::new();
        let lines = |used: i64| -> std::vec::Vec<String> {
            (0..30)
                .map(|n| {
                    line(n, &format!("p{n:02}"), i64::from(n) * used, 1, if n < 15 { 0 } else { 100 - i64::from(n) })
                })
                .collect()
        };
        walk(&mut processes, &lines(1));
        let values = walk(&mut processes, &lines(2));
        let put: std::vec::Vec<_> = (0..30).filter(|n| cpu(&values, &format!("p{n:02}")).is_some()).collect();
        assert_eq!(put, (15..30).collect::<std::vec::Vec<_>>());
        // What did nothing since the last walk is not in the top, whatever it did before.
        let values = walk(&mut processes, &lines(2));
        assert_eq!(cpu(&values, "p29"), None);
    }

    #[test]
    fn kernel_threads_lose_what_follows_their_name() {
        assert_eq!(group_name(b"kworker/u8:2-events_unbound", KERNEL_THREAD), b"kworker");
        assert_eq!(group_name(b"kthreadd", KERNEL_THREAD), b"kthreadd");
        assert_eq!(group_name(b"php-fpm/www", 0), b"php-fpm/www");
    }

    #[test]
    fn a_full_table_of_processes_says_what_it_left_out() {
        let mut processes = Processes::new();
        let many = |first: u32| -> std::vec::Vec<String> {
            (first..first + PROCESS_COUNT_MAX as u32 + 5).map(|pid| line(pid, "x", 1, 1, 1)).collect()
        };
        let mut lines = many(1);
        lines.push("skipped 7\n".to_owned());
        let values = walk(&mut processes, &lines);
        assert_eq!(values["outpost_processes_skipped"], 12);
        assert_eq!(values["node_processes_pids"], PROCESS_COUNT_MAX as i64 + 12);
        // All of them are others: the old ones make room before the new ones come.
        let values = walk(&mut processes, &many(100_000));
        assert_eq!(cpu(&values, "x"), Some(2 * PROCESS_COUNT_MAX as i64));
    }

    #[test]
    fn a_full_table_of_names_keeps_those_in_use() {
        let mut processes = Processes::new();
        let names = |first: usize, count: usize| -> std::vec::Vec<String> {
            (first..first + count).map(|n| line(n as u32, &format!("n{n}"), 1, 1, 1)).collect()
        };
        walk(&mut processes, &names(0, GROUP_COUNT_MAX));
        let values = walk(&mut processes, &names(1, GROUP_COUNT_MAX));
        assert_eq!(values["outpost_processes_skipped"], 1, "a group of the last walk does not make room");
        let values = walk(&mut processes, &names(1, GROUP_COUNT_MAX));
        assert_eq!(values["outpost_processes_skipped"], 0, "a group without a process in two walks does");
    }

    #[test]
    fn a_line_twice_and_a_line_cut_short_do_no_harm() {
        let mut processes = Processes::new();
        for _ in 0..3 {
            let lines =
                [line(10, "x", 5, 1, 1), line(10, "x", 3, 1, 1), line(10, "x", 9, 2, 1), "11 (y) S 1".to_owned()];
            let values = walk(&mut processes, &lines);
            assert_eq!(values["node_processes_pids"], 3);
        }
    }
}
