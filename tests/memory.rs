//! A collection allocates nothing in the cores, and in the driver next to nothing. A link that drains holds little.
#![expect(unsafe_code, reason = "an allocator that counts can only be written so; it ships nowhere")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;

use agent::Agent;
use agent::agent::{Input, Output, Settings};
use agent::probe::Reading;
use link::channel::{Carrier, Channel};
use link::client::Client;
use link::estimator::Estimate;
use link::outbox::Label;
use outpost::sampling::Machine;
use sim::disk::SimDisk;
use sim::load::{Load, Size};
use sim::rng::Rng;
use wire::frame::FrameError;
use wire::limits::BATCH_BYTES_TARGET;
use wire::message::Kind;
use wire::spent::Use;
use wire::stream::Lane;
use wire::time::{BootId, Instant, Span, Stamp, UnixTime};

thread_local! {
    static ALLOCATION_COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes that are allocated, less what other threads gave.
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count_bytes(bytes: isize) {
    LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
    PEAK_BYTES.set(PEAK_BYTES.get().max(LIVE_BYTES.get()));
}

/// Counts the calls of each thread by itself.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        count_bytes(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATION_COUNT.set(ALLOCATION_COUNT.get() + 1);
        count_bytes(size as isize - layout.size() as isize);
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
        interval: Span::seconds(10),
        importance: Default::default(),
        around: Default::default(),
        wear_budget_bytes: u64::MAX,
        way: Box::new(agent::way::Settings::simple(
            (Span::minutes(10), Span::minutes(10)),
            Span::seconds(60),
            Default::default(),
        )),
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

/// What a link may take of a small machine's memory while it drains: `wire::limits::WINDOW_BYTES_MAX` is half of it.
const LINK_BYTES_MAX: isize = 64 << 10;

/// Counts what is allocated, and still held, inside the work that it is given.
#[derive(Default)]
struct Held {
    bytes: isize,
    peak_bytes: isize,
}

impl Held {
    fn count<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = LIVE_BYTES.get();
        PEAK_BYTES.set(before);
        let result = work();
        self.peak_bytes = self.peak_bytes.max(self.bytes + PEAK_BYTES.get() - before);
        self.bytes += LIVE_BYTES.get() - before;
        result
    }
}

/// The most that the sending end holds of a minute's drain over a link of so many bytes a second, 600 ms there and back.
fn draining_peak_bytes(carrier: Carrier, bytes_per_second: u64, batch_bytes: usize) -> isize {
    let mut held = Held::default();
    let mut gateway = held.count(|| Box::new(Channel::new(Instant(0), carrier, Estimate::default())));
    let mut hub = Channel::new(Instant(0), carrier, Estimate::default());
    let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
    let (mut free_at, mut counts) = (0, [0, 0]);
    for now_ms in 0..60_000 {
        let now = Instant(now_ms);
        while up.front().is_some_and(|(at, _, _)| *at <= now_ms) {
            let (_, number, packet): (u64, u64, Vec<u8>) = up.pop_front().expect("it was just seen");
            let received: Result<(), FrameError> = match carrier {
                Carrier::Datagram => hub.receive_datagram(now, number, &packet, |_| Ok(())),
                Carrier::Stream => hub.receive(now, &packet, |_| Ok(())),
            };
            received.expect("the gateway speaks the protocol");
        }
        while down.front().is_some_and(|(at, _, _)| *at <= now_ms) {
            let (_, number, packet): (u64, u64, Vec<u8>) = down.pop_front().expect("it was just seen");
            held.count(|| {
                let received: Result<(), FrameError> = match carrier {
                    Carrier::Datagram => gateway.receive_datagram(now, number, &packet, |_| Ok(())),
                    Carrier::Stream => gateway.receive(now, &packet, |_| Ok(())),
                };
                received.expect("the hub speaks the protocol");
                drop(gateway.take_arrived());
            });
        }
        held.count(|| gateway.handle_timeout(now));
        loop {
            while gateway.has_room(Lane::Raw) {
                let label = Label { tag: 1, purpose: Use::Raw };
                held.count(|| gateway.send_labelled(Lane::Raw, Kind::Batch, vec![7; batch_bytes], label));
            }
            let Some(packet) = held.count(|| gateway.poll_packet(now, &Lane::ALL)) else { break };
            let packet = packet.bytes;
            free_at = now_ms.max(free_at) + packet.len() as u64 * 1000 / bytes_per_second;
            up.push_back((free_at + 300, counts[0], packet.clone()));
            counts[0] += 1;
            held.count(|| drop(packet));
        }
        while let Some(packet) = hub.poll_packet(now, &Lane::ALL) {
            down.push_back((now_ms + 300, counts[1], packet.bytes));
            counts[1] += 1;
        }
    }
    assert!(hub.estimate().rate == 0 && gateway.arrived_bytes() > 30 * bytes_per_second.min(40_000), "it drains");
    held.peak_bytes + size_of::<Client>() as isize
}

#[test]
fn a_link_that_drains_holds_at_most_64_kib() {
    for carrier in [Carrier::Datagram, Carrier::Stream] {
        // A minute of ticks of a small machine, and the longest batch that is not one of a very large one.
        for batch_bytes in [900, BATCH_BYTES_TARGET] {
            for bytes_per_second in [300, 2500, 50_000, 1_000_000] {
                let bytes = draining_peak_bytes(carrier, bytes_per_second, batch_bytes);
                println!("{carrier:?}, {bytes_per_second} bytes a second, batches of {batch_bytes}: {bytes} bytes");
                assert!(bytes <= LINK_BYTES_MAX, "{carrier:?}, {bytes_per_second}, {batch_bytes}: {bytes}");
            }
        }
    }
}
