//! Too little of everything: ticks go on or are said to be missed, the journal stays whole, and it recovers by itself.

use std::path::Path;
use std::process::Command;

use super::proxy::Proxy;
use super::stage::{Agent, Behind, Hub, Load, Scratch, eventually, inside};

const QUICK: [&str; 3] = ["interval = 1s", "batch_age = 1s", "process_interval = 1s"];

fn check_whole(hub: &Hub) {
    for key in ["lost", "duplicates", "gaps"] {
        assert_eq!(hub.stat(key), 0, "{key}: {}", hub.ask(&["stat"]));
    }
}

/// Runs an agent behind limits until it has taken ticks, and then without them until all has arrived.
fn check_behind(name: &str, limits: &str) {
    let scratch = Scratch::new(name);
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK).behind(Behind::shell(limits));
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(4);
    agent.stop();

    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn an_agent_with_few_file_descriptors_goes_on() {
    check_behind("descriptors", "ulimit -n 24");
}

#[test]
fn an_agent_with_little_memory_goes_on() {
    check_behind("memory", "ulimit -v 120000");
}

const ALL_PROCESSORS: &str = "for i in 1 2 3 4 5 6; do (while :; do :; done) & done; wait";

#[test]
fn an_agent_that_others_leave_no_processor_goes_on() {
    let _load = Load::start(ALL_PROCESSORS);
    check_behind("processors", "renice -n 19 $$ >/dev/null");
}

#[test]
fn a_hub_without_file_descriptors_serves_who_is_there_and_recovers() {
    let scratch = Scratch::new("hub-descriptors");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    hub.limit("--nofile=8:4096");
    let strangers: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(hub.address())).collect();
    agent.wait_for_ticks(3);
    agent.wait_for_drain();
    drop(strangers);
    hub.limit("--nofile=1024:4096");
    agent.kill();
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn a_hub_that_others_leave_no_processor_serves_on() {
    let scratch = Scratch::new("hub-processors");
    let hub = Hub::start(&scratch, "hub");
    let reniced = Command::new("renice").args(["-n", "19", &hub.pid().to_string()]).output();
    assert!(reniced.expect("renice runs").status.success());
    let _load = Load::start(ALL_PROCESSORS);
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(4);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn a_hub_without_memory_to_grow_recovers() {
    let scratch = Scratch::new("hub-memory");
    let mut hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    // Less than it has: whatever it asks for from now on is refused. It may end; its supervisor starts it again.
    hub.limit("--as=1000000:1000000000");
    agent.wait_for_ticks(4);
    hub.kill();
    hub.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn an_agent_that_may_start_no_thread_goes_on() {
    let scratch = Scratch::new("threads");
    let hub = Hub::start(&scratch, "hub");
    // Root is above this limit, so the agent is somebody else, in a folder of its own.
    let agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    let behind = Behind::another_user(agent.folder());
    let mut agent = agent.behind(behind);
    agent.run();
    agent.wait_for_ticks(2);
    agent.limit("--nproc=1:1000");
    // Long enough for idle threads to end.
    agent.wait_for_ticks(4);
    agent.limit("--nproc=1000:1000");
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn an_agent_without_an_inode_for_its_journal_says_so_and_starts_when_there_is_one() {
    let scratch = Scratch::new("inodes");
    let hub = Hub::start(&scratch, "hub");
    let agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    let journal = agent.folder().join("journal");
    let _ = std::fs::remove_dir_all(&journal);
    std::fs::create_dir_all(&journal).expect("the folder can be made");
    let mut agent = agent.behind(Behind::namespace(&small_mount(&journal, 1)));
    agent.spawn();
    eventually("the agent says why it does not start", || agent.log().contains("journal").then_some(()));
    remount(agent.pid(), "100", &journal);
    agent.wait_until_it_answers();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn an_agent_on_a_read_only_file_system_keeps_everything_in_memory_and_says_so() {
    let scratch = Scratch::new("read-only");
    let hub = Hub::start(&scratch, "hub");
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    // A journal that is whole opens without a write.
    agent.run();
    agent.wait_for_ticks(2);
    agent.stop();
    let journal = agent.folder().join("journal");
    let files = || -> std::collections::BTreeMap<_, _> {
        let entries = std::fs::read_dir(&journal).expect("it is there").map(|entry| entry.expect("it lists").path());
        entries.map(|path| (path.clone(), std::fs::read(path).expect("it reads"))).collect()
    };
    let before = files();
    let folder = journal.display();
    let mount = format!("mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}");
    let mut agent = agent.behind(Behind::namespace(&mount));
    agent.run();
    agent.wait_for_ticks(4);
    agent.wait_for_drain();
    assert!(agent.log().contains("the file system is read-only"), "{}", agent.log());
    let status = agent.status().expect("it answers");
    assert!(status["storage_error"].as_str().is_some_and(|error| error.contains("nothing is durable")), "{status}");
    assert!(hub.ask(&["events"]).contains("nothing is durable"), "{}", hub.ask(&["events"]));
    agent.stop();
    check_whole(&hub);
    assert_eq!(files(), before);
}

/// A file system of its own at `folder`, seen by one process alone.
fn small_mount(folder: &Path, inode_count: u32) -> String {
    format!("mount -t tmpfs -o size=64m,nr_inodes={inode_count} tmpfs {}", folder.display())
}

/// Changes how many inodes the file system at `folder` has, as a process sees it.
fn remount(pid: u32, inode_count: &str, folder: &Path) {
    // Named by its source too: mount would otherwise repeat the owner that it reads, whom the namespace does not know.
    inside(pid, &format!("mount -o remount,nr_inodes={inode_count} tmpfs \"$0\""), folder);
}

#[test]
fn a_hub_that_may_start_no_thread_serves_on() {
    let scratch = Scratch::new("hub-threads");
    let mut hub = Hub::new(&scratch, "hub");
    // Root is above this limit, so the hub is somebody else, in a folder of its own.
    hub.put_behind(Behind::another_user(hub.folder()));
    hub.run();
    let proxy = Proxy::start(hub.address());
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    let (is_good, words) = agent.ask(&["enroll", &proxy.address.to_string(), &hub.token(&[])]);
    assert!(is_good, "{words}");
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    hub.limit("--nproc=1:1000");
    // Without a word from anyone for longer than idle threads live.
    proxy.cut();
    agent.wait_for_ticks(12);
    proxy.mend();
    agent.wait_for_ticks(4);
    agent.wait_for_drain();
    check_whole(&hub);
}

#[test]
fn a_hub_without_an_inode_says_so_and_a_running_one_needs_none() {
    let scratch = Scratch::new("hub-inodes");
    let mut hub = Hub::new(&scratch, "hub");
    let store = hub.folder().join("store");
    std::fs::create_dir_all(&store).expect("the folder can be made");
    hub.put_behind(Behind::namespace(&small_mount(&store, 1)));
    let refusal = hub.refusal();
    assert!(refusal.contains("No space left"), "{refusal}");

    hub.put_behind(Behind::namespace(&small_mount(&store, 100)));
    hub.run();
    let mut agent = Agent::new(&scratch, "agent", &QUICK);
    agent.enroll(&hub);
    agent.run();
    agent.wait_for_ticks(2);
    agent.wait_for_drain();
    remount(hub.pid(), "$(($(stat -f -c %c \"$0\") - $(stat -f -c %d \"$0\")))", &store);
    agent.wait_for_ticks(4);
    agent.wait_for_drain();
    check_whole(&hub);
}
