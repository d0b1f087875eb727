//! What may be a bearer: the settings' choices, and what netlink says of interfaces.

use heapless::{String, Vec};
use link::channel::Carrier;
use wire::time::Span;

use crate::budget::Limit;

/// Bytes of an interface's name.
pub const NAME_BYTES_MAX: usize = wire::limits::BEARER_BYTES_MAX;

/// Interfaces that are bearers at one time. Gateways have two or three.
pub const BEARER_COUNT_MAX: usize = 8;

/// The name of the one bearer of a machine without settings: whatever the system routes.
pub const DEFAULT: &str = "default";

/// The name of an interface.
pub type Name = String<NAME_BYTES_MAX>;

/// What kind of network an interface leads to. The order is that of what can be expected of it, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ethernet, fibre, DSL.
    Wired,
    /// Wireless LAN.
    Wlan,
    /// A modem.
    Cellular,
    /// A terminal.
    Satellite,
}

impl Kind {
    /// Whether its bytes cost money unless somebody says otherwise.
    pub fn is_usually_metered(self) -> bool {
        matches!(self, Kind::Cellular | Kind::Satellite)
    }
}

/// One bearer of the settings. A pattern stands for every interface that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The interface's name, or its beginning and a star: `wwan*`.
    pub pattern: Name,
    /// Where it leads.
    pub kind: Kind,
    /// What the link runs over.
    pub carrier: Carrier,
    /// Whether bytes cost money.
    pub is_metered: bool,
    /// What they may cost, if not what holds for all that is metered.
    pub limit: Option<Limit>,
}

impl Choice {
    /// A bearer whose bytes cost what those of its kind usually do, without a limit of its own.
    pub fn new(pattern: Name, kind: Kind, carrier: Carrier) -> Choice {
        Choice { pattern, kind, carrier, is_metered: kind.is_usually_metered(), limit: None }
    }

    /// Whether an interface is one of this choice.
    pub fn is_match(&self, interface: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(front) => interface.starts_with(front),
            None => interface == self.pattern,
        }
    }
}

/// Which bearers there are, and how patient to be with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Best first. Empty: one bearer, [`DEFAULT`], over whatever the system routes.
    pub choices: Vec<Choice, BEARER_COUNT_MAX>,
    /// What the link runs over on [`DEFAULT`].
    pub carrier: Carrier,
    /// What each bearer may cost that is metered and has no limit of its own, and [`DEFAULT`].
    pub limit: Limit,
    /// Failed dials, or links lost within [`STABLE`](super::STABLE), after which a bearer is left for another.
    pub failure_count_max: u8,
    /// How long a better bearer must be usable before it is tried in place of one that works.
    pub hold: Span,
    /// What [`Settings::hold`] grows to for a bearer that keeps failing; it doubles with each time.
    pub hold_max: Span,
}

impl Default for Settings {
    fn default() -> Settings {
        // Three, because one lost SYN in a tunnel is not a reason; a minute, which is a modem's usual way through its own reset;
        // an hour, which is the longest suppression that routers ship for RFC 2439.
        Settings {
            choices: Vec::new(),
            carrier: Carrier::Stream,
            limit: Limit::default(),
            failure_count_max: 3,
            hold: Span::seconds(60),
            hold_max: Span::minutes(60),
        }
    }
}

/// What netlink says of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// IFF_LOWER_UP.
    pub has_carrier: bool,
    /// A global address of IPv4.
    pub has_ipv4: bool,
    /// A global address of IPv6.
    pub has_ipv6: bool,
}

impl Facts {
    /// Whether packets can leave at all.
    pub(super) fn is_usable(self) -> bool {
        self.has_carrier && (self.has_ipv4 || self.has_ipv6)
    }
}

/// `text` as the name of an interface, if it is one.
pub fn name(text: &str) -> Option<Name> {
    (!text.is_empty()).then(|| Name::try_from(text).ok()).flatten()
}
