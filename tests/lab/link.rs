//! One direction of a link: when a packet that is handed to it comes out, if it does.
//!
//! ```text
//! packet -> queue -> sent at `rate` -> lost or not -> `delay`, up to `jitter` more -> out, in order
//! ```
//!
//! A packet that is lost has taken its time on the air. What the queue has no room for, and what comes while the link is cut,
//! goes at once.

use std::time::Duration;

use sim::rng::Rng;

/// How good one direction of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quality {
    pub(crate) bits_per_second: u64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Of ten thousand packets so many are lost, each by itself.
    pub(crate) loss_permyriad: u64,
    /// Bytes that may wait before a packet.
    pub(crate) queue_bytes: u64,
}

/// The link that all figures are held against: 20 kbit/s, 600 ms there and back.
pub(crate) const SATELLITE: Quality = Quality {
    bits_per_second: 20_000,
    delay: Duration::from_millis(300),
    jitter: Duration::ZERO,
    loss_permyriad: 0,
    queue_bytes: 65_536,
};

/// A cell of the second generation.
pub(crate) const EDGE: Quality = Quality {
    bits_per_second: 100_000,
    delay: Duration::from_millis(150),
    jitter: Duration::from_millis(100),
    loss_permyriad: 100,
    queue_bytes: 65_536,
};

/// A line in the ground.
pub(crate) const WIRED: Quality = Quality {
    bits_per_second: 10_000_000,
    delay: Duration::from_millis(5),
    jitter: Duration::ZERO,
    loss_permyriad: 0,
    queue_bytes: 262_144,
};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes out at this time.
    Arrives(Duration),
    /// The link was cut.
    Cut,
    /// It was lost on its way.
    Lost,
    /// The queue was full.
    Overflowed,
    /// Nobody has the address that it is sent to any more.
    Unroutable,
}

/// One direction. Times are counted from the start of the link.
#[derive(Clone, Debug)]
pub(crate) struct OneWay {
    pub(crate) quality: Quality,
    pub(crate) is_cut: bool,
    rng: Rng,
    /// When the last packet that was taken is sent.
    free_at: Duration,
    /// When the last one comes out.
    out_at: Duration,
}

impl OneWay {
    pub(crate) fn new(quality: Quality, rng: Rng) -> OneWay {
        OneWay { quality, is_cut: false, rng, free_at: Duration::ZERO, out_at: Duration::ZERO }
    }

    /// Takes a packet of so many bytes.
    pub(crate) fn carry(&mut self, now: Duration, bytes: usize) -> Fate {
        let Quality { bits_per_second, delay, jitter, loss_permyriad, queue_bytes } = self.quality;
        if self.is_cut {
            return Fate::Cut;
        }
        let begin = self.free_at.max(now);
        let waiting_bytes = (begin - now).as_nanos() * u128::from(bits_per_second) / 8_000_000_000;
        if waiting_bytes > queue_bytes.into() {
            return Fate::Overflowed;
        }
        self.free_at = begin + Duration::from_nanos(bytes as u64 * 8_000_000_000 / bits_per_second);
        if self.rng.below(10_000) < loss_permyriad {
            return Fate::Lost;
        }
        let late = Duration::from_nanos(self.rng.below(jitter.as_nanos() as u64 + 1));
        self.out_at = self.out_at.max(self.free_at + delay + late);
        Fate::Arrives(self.out_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn one_way(quality: Quality) -> OneWay {
        OneWay::new(quality, Rng::new(7))
    }

    #[test]
    fn packets_take_their_time_on_the_air_one_after_the_other() {
        let mut link = one_way(SATELLITE);
        assert_eq!(link.carry(Duration::ZERO, 1000), Fate::Arrives(700 * MS));
        assert_eq!(link.carry(Duration::ZERO, 50), Fate::Arrives(720 * MS));
        assert_eq!(link.carry(Duration::from_secs(9), 50), Fate::Arrives(9320 * MS));
    }

    #[test]
    fn a_full_queue_takes_nothing_until_it_is_shorter() {
        let mut link = one_way(Quality { queue_bytes: 1500, ..SATELLITE });
        let fates: Vec<bool> = (0..4).map(|_| link.carry(Duration::ZERO, 1000) == Fate::Overflowed).collect();
        assert_eq!(fates, [false, false, true, true]);
        assert_eq!(link.carry(400 * MS, 1000), Fate::Arrives(1500 * MS));
    }

    #[test]
    fn what_is_lost_is_as_often_as_said_and_the_same_for_a_seed() {
        let mut links = [one_way(EDGE), one_way(EDGE)];
        let mut run = |index: usize| -> Vec<Fate> {
            (0..20_000).map(|second| links[index].carry(Duration::from_secs(second), 100)).collect()
        };
        let fates = run(0);
        assert_eq!(fates, run(1));
        let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count();
        assert!((150..250).contains(&lost), "{lost} of 20000");
    }

    #[test]
    fn jitter_reorders_nothing() {
        let mut link = one_way(Quality { loss_permyriad: 0, ..EDGE });
        let outs: Vec<Duration> = (0..1000)
            .filter_map(|ms| match link.carry(10 * ms * MS, 20) {
                Fate::Arrives(at) => Some(at),
                _ => None,
            })
            .collect();
        assert!(outs.len() == 1000 && outs.is_sorted());
    }

    #[test]
    fn a_link_that_is_cut_carries_nothing_and_mends_without_memory() {
        let mut link = one_way(SATELLITE);
        link.is_cut = true;
        assert_eq!(link.carry(Duration::ZERO, 1000), Fate::Cut);
        link.is_cut = false;
        assert_eq!(link.carry(Duration::ZERO, 1000), Fate::Arrives(700 * MS));
    }
}
