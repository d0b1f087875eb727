//! Where boots lie on the calendar.
//!
//! A tick knows only its uptime. The boot it belongs to is placed by the latest of its batches whose stamp had both
//! clocks, because clocks are set some time after power comes and rarely worsen afterwards. Which batch arrived last
//! does not matter, so a backlog in any order gives the same calendar.

use std::collections::BTreeMap;

use wire::id::DeviceId;
use wire::time::{BootId, Instant, Span, UnixTime};

use crate::Store;
use crate::error::StoreError;
use crate::table::{BootRow, Row, View, boots_of};

/// The earliest civil time that is believed, 2024-01-01: an earlier clock was never set.
pub const UNIX_TIME_MIN: UnixTime = UnixTime(1_704_067_200_000);

/// The latest civil time that is believed, the end of 9999: the last that RFC 3339 can write.
pub const UNIX_TIME_MAX: UnixTime = UnixTime(253_402_300_799_999);

/// One boot of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Which boot.
    pub boot: BootId,
    /// Civil time at uptime zero, as the latest of its batches with a believable clock had it; `None` when no batch
    /// had one.
    pub began: Option<UnixTime>,
    /// When the first of its batches arrived at the hub: a boot that nothing places began before that.
    pub received: UnixTime,
}

impl Store {
    /// The boots of `device`, by their number, which says nothing about their order.
    pub fn boots(&self, device: DeviceId) -> Result<Vec<Boot>, StoreError> {
        let view = self.view()?;
        let mut boots = Vec::new();
        for entry in view.boot.range(boots_of(device.0))? {
            let (key, bytes) = entry?;
            let row = BootRow::unpack(bytes.value())?;
            boots.push(Boot { boot: BootId(key.value().1), began: began(&row), received: row.received });
        }
        Ok(boots)
    }
}

/// How far after its arrival a batch may say that it was made: a gateway's zone may be wrong, and its day not.
pub const AHEAD_MAX: Span = Span::minutes(24 * 60);

/// Whether a stamp's civil half can place its boot, given when its batch arrived. One that cannot keeps its order and its durations, and
/// waits for one that can.
pub(crate) fn is_believable(unix: UnixTime, uptime: Instant, received: UnixTime) -> bool {
    let latest = UnixTime(received.0.saturating_add(AHEAD_MAX.0)).min(UNIX_TIME_MAX);
    (UNIX_TIME_MIN..=latest).contains(&unix) && uptime.0 <= unix.0
}

fn began(row: &BootRow) -> Option<UnixTime> {
    row.anchor.map(|(uptime, unix)| UnixTime(unix.0.saturating_sub(uptime.0)))
}

/// When each boot of one device began.
pub(crate) struct Calendar {
    boots: BTreeMap<BootId, BootRow>,
}

impl Calendar {
    pub(crate) fn of(view: &View, device: DeviceId) -> Result<Calendar, StoreError> {
        let mut boots = BTreeMap::new();
        for entry in view.boot.range(boots_of(device.0))? {
            let (key, bytes) = entry?;
            boots.insert(BootId(key.value().1), BootRow::unpack(bytes.value())?);
        }
        Ok(Calendar { boots })
    }

    /// The civil time at uptime zero of `boot`, if anything places it.
    pub(crate) fn began(&self, boot: BootId) -> Option<UnixTime> {
        self.boots.get(&boot).and_then(began)
    }

    /// When the next boot began, after one that began at `began`: by then it was over.
    pub(crate) fn next(&self, began: UnixTime) -> Option<UnixTime> {
        self.boots.values().filter_map(self::began).filter(|other| *other > began).min()
    }

    /// When the first batch of `boot` arrived at the hub.
    pub(crate) fn received(&self, boot: BootId) -> UnixTime {
        self.boots.get(&boot).map_or(UnixTime(0), |row| row.received)
    }
}

/// The civil time of `uptime` in a boot that began at `began`. Saturates: what a tick says is not ours.
pub(crate) fn place(began: UnixTime, uptime: Instant) -> UnixTime {
    UnixTime(began.0.saturating_add(uptime.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{BEGAN, Gateway, store_of};

    #[test]
    fn boots_are_listed_with_what_is_known_of_them() {
        let mut gateway = Gateway::new(1);
        let mut changes = gateway.run(20_000, 3, 1);
        (gateway.boot, gateway.has_clock) = (BootId(2), false);
        changes.extend(gateway.run(5_000, 3, 1));
        changes.reverse();
        let boots = store_of(&changes).boots(gateway.device).unwrap();
        let first = Boot { boot: BootId(1), began: Some(UnixTime(BEGAN)), received: UnixTime(BEGAN + 21_000) };
        let second = Boot { boot: BootId(2), began: None, received: UnixTime(BEGAN + 6_000) };
        assert_eq!(boots, [first, second]);
    }

    #[test]
    fn a_clock_is_believed_between_2024_and_9999_and_not_before_its_own_uptime() {
        let is_believable = |unix, uptime| is_believable(unix, uptime, UNIX_TIME_MAX);
        assert!(is_believable(UNIX_TIME_MIN, Instant(0)));
        assert!(is_believable(UNIX_TIME_MAX, Instant(5)));
        assert!(!is_believable(UnixTime(UNIX_TIME_MIN.0 - 1), Instant(0)));
        assert!(!is_believable(UnixTime(u64::MAX), Instant(0)));
        assert!(!is_believable(UNIX_TIME_MIN, Instant(u64::MAX)));
    }

    #[test]
    fn a_clock_that_is_days_ahead_of_the_hub_places_nothing() {
        let received = UnixTime(BEGAN);
        assert!(is_believable(UnixTime(BEGAN + AHEAD_MAX.0), Instant(0), received));
        assert!(!is_believable(UnixTime(BEGAN + AHEAD_MAX.0 + 1), Instant(0), received));
    }
}
