//! The lab: a gateway's network, a hub's, and an emulated link between them.
//!
//! ```text
//! gateway 198.18.0.2  --- NAT: 198.18.1.1, then .2, .. --- hub 198.19.0.1
//!         2001:2::2            2001:2:0:1::1, ..                2001:2:0:2::1
//! ```
//!
//! The addresses are those that are set aside for such benches (RFC 2544, RFC 5180), and no packet leaves the two namespaces.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::book::Seen;
use crate::emulator::{Addresses, Change, Emulator};
use crate::link::Quality;
use crate::netns::Namespace;

/// How long anything may take before an experiment gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often whoever waits looks again.
const GLANCE: Duration = Duration::from_millis(50);

/// Both networks and the link between them. The link begins to run at once, and its times count from there.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) gateway: Namespace,
    pub(crate) hub: Namespace,
    link: Emulator,
}

impl Network {
    /// A network whose link is of this quality both ways; `mtu` is the longest packet it takes.
    ///
    /// Errors: the kernel refuses; with what would help.
    pub(crate) fn new(quality: Quality, mtu: u32, seed: u64) -> Result<Network, String> {
        let refused = |error: io::Error| {
            format!(
                "no network namespace with a TUN interface: {error}; the lab needs root, or `unshare -Ur` around it, and \
                 /dev/net/tun"
            )
        };
        let (gateway, hub) = (Namespace::new().map_err(refused)?, Namespace::new().map_err(refused)?);
        let tuns = [gateway.tun("uplink").map_err(refused)?, hub.tun("uplink").map_err(refused)?];
        set_up(&gateway, "198.18.0.2", "2001:2::2", mtu)?;
        set_up(&hub, "198.19.0.1", "2001:2:0:2::1", mtu)?;
        let [gateway_tun, hub_tun] = tuns;
        let addresses = Addresses {
            private: (parsed("198.18.0.2"), parsed("2001:2::2")),
            public: (parsed("198.18.1.1"), parsed("2001:2:0:1::1")),
        };
        Ok(Network { gateway, hub, link: Emulator::start(gateway_tun, hub_tun, addresses, quality, seed) })
    }

    /// Where a hub is to listen, and is found.
    pub(crate) fn hub_address(&self, is_v6: bool) -> SocketAddr {
        let address: IpAddr = parsed(if is_v6 { "2001:2:0:2::1" } else { "198.19.0.1" });
        SocketAddr::new(address, 7070)
    }

    /// How long the link has been there.
    pub(crate) fn now(&self) -> Duration {
        self.link.now()
    }

    /// Has changes happen, each so long from now: an outage, a walk from one cell to another, a NAT that forgets.
    pub(crate) fn plan(&self, changes: impl IntoIterator<Item = (Duration, Change)>) {
        self.link.plan(changes);
    }

    /// What was handed to the link from `since` on, oldest first.
    pub(crate) fn seen(&self, since: Duration) -> Vec<Seen> {
        self.link.seen(since)
    }

    /// Waits until the link has been idle for so long.
    ///
    /// Errors: it never is.
    pub(crate) fn wait_for_quiet(&self, quiet: Duration) -> Result<(), String> {
        eventually("the link is idle", || (self.link.busy_until() + quiet <= self.now()).then_some(()))
    }
}

/// Waits until `is_so` gives a value.
///
/// Errors: it does not in five minutes; with what was waited for.
pub(crate) fn eventually<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> Result<T, String> {
    let began = std::time::Instant::now();
    loop {
        if let Some(value) = is_so() {
            return Ok(value);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("waited in vain: {what}"));
        }
        std::thread::sleep(GLANCE);
    }
}

fn set_up(namespace: &Namespace, v4: &str, v6: &str, mtu: u32) -> Result<(), String> {
    // No address that the kernel makes by itself, and no question for a router.
    namespace.run("sh", &["-c", "echo 0 >/proc/sys/net/ipv6/conf/uplink/router_solicitations"])?;
    let words = format!(
        "link set lo up
         link set uplink addrgenmode none mtu {mtu} up
         address add {v4}/32 dev uplink
         address add {v6}/128 dev uplink nodad
         route add default dev uplink src {v4}
         -6 route add default dev uplink src {v6}"
    );
    words.lines().try_for_each(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        namespace.run("ip", &words).map(drop)
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(address: &str) -> T {
    address.parse().expect("it is written so above")
}
