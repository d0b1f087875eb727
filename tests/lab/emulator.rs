//! The link itself: a thread that carries packets between two interfaces, as well and as badly as it was told.
//!
//! ```text
//! gateway -> tun -> NAT -> OneWay up   -> tun -> hub
//! gateway <- tun <- NAT <- OneWay down <- tun <- hub
//! ```
//!
//! The gateway has one address, and the hub sees another: the NAT's, which changes with [`Change::Rebind`]. From then on what
//! is sent to the one before goes nowhere, as behind a mobile network that has forgotten a mapping.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sim::rng::Rng;

use crate::book::{Seen, Way};
use crate::link::{Fate, OneWay, Quality};
use crate::packet::{End, address, header, set_address};

/// How long the thread sleeps when nothing is under way: so late it may see that it is to end.
const NAP: Duration = Duration::from_millis(100);

/// An interface hands out one packet at a time, and none is larger than this.
const PACKET_BYTES_MAX: usize = 65_536;

/// What can happen to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Nothing comes through any more, in this direction. One of them alone makes a link half open.
    Cut(Way),
    /// It does again.
    Mend(Way),
    /// This direction is so good from now on.
    Quality(Way, Quality),
    /// The gateway's packets come from another address.
    Rebind,
}

/// Where the gateway is: behind the NAT, and before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) private: (Ipv4Addr, Ipv6Addr),
    /// The first that the hub sees; [`Change::Rebind`] goes to the next.
    pub(crate) public: (Ipv4Addr, Ipv6Addr),
}

/// A link that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Emulator {
    start: Instant,
    link: Arc<Mutex<Link>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// A link between two interfaces.
    pub(crate) fn start(gateway: File, hub: File, addresses: Addresses, quality: Quality, seed: u64) -> Emulator {
        let mut rng = Rng::new(seed);
        let link = Link {
            addresses,
            ways: Way::BOTH.map(|_| OneWay::new(quality, rng.split())),
            changes: VecDeque::new(),
            under_way: BinaryHeap::new(),
            seen: Vec::new(),
            is_over: false,
        };
        let (start, link) = (Instant::now(), Arc::new(Mutex::new(link)));
        let shared = link.clone();
        let thread = std::thread::spawn(move || carry(start, &shared, [gateway, hub]));
        Emulator { start, link, thread: Some(thread) }
    }

    /// How long the link has been there.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Has changes happen, each so long from now.
    pub(crate) fn plan(&self, changes: impl IntoIterator<Item = (Duration, Change)>) {
        let now = self.now();
        let mut link = self.lock();
        link.changes.extend(changes.into_iter().map(|(later, change)| (now + later, change)));
        link.changes.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// What was handed to the link from `since` on, oldest first.
    pub(crate) fn seen(&self, since: Duration) -> Vec<Seen> {
        let link = self.lock();
        let first = link.seen.partition_point(|seen| seen.at < since);
        link.seen[first..].to_vec()
    }

    /// When the last packet was handed to the link, or comes out of it.
    pub(crate) fn busy_until(&self) -> Duration {
        let out = |seen: &Seen| if let Fate::Arrives(at) = seen.fate { at } else { seen.at };
        self.lock().seen.iter().rev().take(256).map(out).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().expect("a panic of the emulator is a bug of the lab")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.lock().is_over = true;
        if let Some(thread) = self.thread.take() {
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

/// When a packet comes out, its number, which keeps those of one time in order, where, and the packet.
type UnderWay = (Duration, usize, Way, Vec<u8>);

#[derive(Debug)]
struct Link {
    addresses: Addresses,
    /// By [`Way`].
    ways: [OneWay; 2],
    /// The next one first.
    changes: VecDeque<(Duration, Change)>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    seen: Vec<Seen>,
    is_over: bool,
}

impl Link {
    fn change(&mut self, now: Duration) {
        while self.changes.front().is_some_and(|(at, _)| *at <= now) {
            match self.changes.pop_front().expect("there is one").1 {
                Change::Cut(way) => self.ways[way as usize].is_cut = true,
                Change::Mend(way) => self.ways[way as usize].is_cut = false,
                Change::Quality(way, quality) => self.ways[way as usize].quality = quality,
                Change::Rebind => {
                    let (v4, v6) = &mut self.addresses.public;
                    *v4 = Ipv4Addr::from_bits(v4.to_bits() + 1);
                    *v6 = Ipv6Addr::from_bits(v6.to_bits() + 1);
                }
            }
        }
    }

    fn take(&mut self, now: Duration, way: Way, packet: &[u8]) {
        let Some(header) = header(packet) else { return };
        let mut packet = packet.to_vec();
        let fate = if self.translate(way, &mut packet) {
            self.ways[way as usize].carry(now, packet.len())
        } else {
            Fate::Unroutable
        };
        let bytes = packet.len();
        if let Fate::Arrives(at) = fate {
            self.under_way.push(Reverse((at, self.seen.len(), way, packet)));
        }
        self.seen.push(Seen { at: now, way, header, bytes, fate });
    }

    /// Whether the NAT lets a packet through, with its addresses changed.
    fn translate(&self, way: Way, packet: &mut [u8]) -> bool {
        let (end, from, to) = match way {
            Way::Up => (End::Source, self.addresses.private, self.addresses.public),
            Way::Down => (End::Destination, self.addresses.public, self.addresses.private),
        };
        let to: IpAddr = match address(packet, end) {
            Some(IpAddr::V4(address)) if address == from.0 => to.0.into(),
            Some(IpAddr::V6(address)) if address == from.1 => to.1.into(),
            _ => return false,
        };
        set_address(packet, end, to);
        true
    }
}

fn carry(start: Instant, link: &Mutex<Link>, tuns: [File; 2]) {
    let lock = || link.lock().expect("whoever asks does not panic");
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let wait = {
            let mut link = lock();
            let now = start.elapsed();
            link.change(now);
            while link.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Reverse((.., way, packet)) = link.under_way.pop().expect("there is one");
                // An interface that is gone or full loses packets, as interfaces do.
                let _ = (&tuns[way as usize]).write(&packet);
            }
            if link.is_over {
                return;
            }
            link.under_way.peek().map_or(NAP, |Reverse((at, ..))| at.saturating_sub(now).min(NAP))
        };
        // One more than the whole milliseconds, or the last of them is spent turning round.
        let timeout = PollTimeout::from(wait.as_millis() as u8 + 1);
        let mut polled = [0, 1].map(|tun| PollFd::new(tuns[tun].as_fd(), PollFlags::POLLIN));
        if poll(&mut polled, timeout).is_err() {
            continue;
        }
        for (tun, way) in [Way::Up, Way::Down].into_iter().enumerate() {
            while let Some(length) = read(&tuns[tun], &mut packet) {
                let mut link = lock();
                let now = start.elapsed();
                link.change(now);
                link.take(now, way, &packet[..length]);
            }
        }
    }
}

fn read(mut tun: &File, packet: &mut [u8]) -> Option<usize> {
    loop {
        match tun.read(packet) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing is there, or the interface is down.
            read => return read.ok().filter(|length| *length > 0),
        }
    }
}
