//! Instants, civil time, and the stamp that joins them.
//!
//! All logic runs on [`Instant`], which never steps. [`UnixTime`] is only carried: a gateway may boot in
//! 1970, so a moment on the gateway is a [`Stamp`] whose civil half may be unknown, and the hub places a
//! boot on the calendar as soon as one of its stamps has both.

use core::fmt;
use core::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Milliseconds since boot, suspended time included (CLOCK_BOOTTIME). Never steps; never compared across boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant(pub u64);

/// Milliseconds since 1970-01-01T00:00:00Z. May step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixTime(pub u64);

/// Which boot of the machine an [`Instant`] belongs to. Derived from the kernel's `boot_id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootId(pub u32);

/// A moment on a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The boot that `uptime` counts from.
    pub boot: BootId,
    /// When, on the clock that never steps.
    pub uptime: Instant,
    /// When, on the calendar, if the gateway knew.
    pub unix: Option<UnixTime>,
}

impl Stamp {
    /// Another instant of the same boot.
    pub fn at(self, uptime: Instant) -> Stamp {
        let unix = self.unix.map(|unix| UnixTime(unix.0.saturating_add(uptime.0).saturating_sub(self.uptime.0)));
        Stamp { uptime, unix, ..self }
    }
}

/// A span of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span(pub u64);

impl Span {
    /// `seconds` as a span.
    pub const fn seconds(seconds: u64) -> Span {
        Span(seconds * 1000)
    }

    /// `minutes` as a span.
    pub const fn minutes(minutes: u64) -> Span {
        Span(minutes * 60_000)
    }
}

impl Add<Span> for Instant {
    type Output = Instant;

    /// The instant `span` later; saturates at the end of time.
    fn add(self, span: Span) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl Add for Span {
    type Output = Span;

    /// The two after one another; saturates.
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Instant {
    type Output = Span;

    /// The span since `earlier`, zero when `earlier` is later.
    fn sub(self, earlier: Instant) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
