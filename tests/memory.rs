//! A collection allocates nothing in the cores, and in the driver next to nothing.
#![expect(unsafe_code, reason = "an allocator that counts can only be written so; it ships nowhere")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use agent::Agent;
use agent::agent::{Input, Output, Settings};
use agent::probe::Reading;
use outpost::sampling::Machine;
use sim::disk::SimDisk;
use sim::load::{Load, Size};
use sim::rng::Rng;
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

thread_local! {
    static ALLOCATION_COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Counts the calls of each thread by itself.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATION_COUNT.get();
    work();
    ALLOCATION_COUNT.get() - before
}

fn stamp(uptime_ms: u64) -> Stamp {
    Stamp { boot: BootId(1), uptime: Instant(uptime_ms), unix: Some(UnixTime(1_800_000_000_000 + uptime_ms)) }
}

#[test]
fn a_tick_that_closes_no_batch_allocates_nothing() {
    let mut load = Load::new(3, Size::Full);
    let disk = SimDisk::new(Rng::new(1));
    let settings = Settings {
        device: wire::id::DeviceId(1),
        version: "0.1.0".into(),
        hostname: "gw".into(),
        build: wire::time::UnixTime(0),
        journal: sim::power::SMALL,
        link: link::client::Timing::default(),
        has_hub: false,
        batch_age: (Span::minutes(10), Span::minutes(10)),
        importance: Default::default(),
        wear_budget_bytes: u64::MAX,
        budget: Default::default(),
    };
    let mut agent = Agent::open(disk.folder(), settings, 1, stamp(0)).expect("the simulated disk has room");
    let mut reading = Some(Box::new(Reading::new(4096)));
    let mut counts = Vec::new();
    for tick in 0..20 {
        let now = stamp(tick * 1000);
        let mut filled = reading.take().expect("the reading comes back with every step");
        load.render(now.boot, now.uptime, &mut filled);
        counts.push(allocations(|| {
            agent.step(now, [Input::Reading { at: now.uptime, reading: filled }]);
            while let Some(output) = agent.poll_output() {
                if let Output::Reading(back) = output {
                    reading = Some(back);
                }
            }
        }));
    }
    assert_eq!(counts[5..], vec![0; 15], "{counts:?}");
}

/// What the driver may allocate to read a board: a few paths for each of its mounts, and for one of the network a thread.
const READING_ALLOCATION_COUNT_MAX: u64 = 32;

/// What it may allocate for a process on top: the two names that the library makes of an entry of a folder.
const PROCESS_ALLOCATION_COUNT_MAX: u64 = 2;

#[test]
fn reading_the_machine_allocates_next_to_nothing() {
    for board in ["imx6", "pi4", "pizero", "vm"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proc").join(board);
        let entry_count = std::fs::read_dir(root.join("proc")).expect("the board is in the checkout").count() as u64;
        let mut machine = Machine::new(&root);
        let mut reading = machine.reading();
        let mut count = |walk_processes| allocations(|| machine.read(walk_processes, &mut reading));
        // What is looked for once, and buffers that grow.
        (0..2).for_each(|_| _ = count(true));
        for tick in 0..200 {
            let is_walk = tick % 6 == 0;
            let entry_count = if is_walk { entry_count } else { 0 };
            let count = count(is_walk);
            let max = READING_ALLOCATION_COUNT_MAX + PROCESS_ALLOCATION_COUNT_MAX * entry_count;
            assert!(count <= max, "{board}: {count} in tick {tick}, walk {is_walk}, bound {max}");
        }
    }
}
