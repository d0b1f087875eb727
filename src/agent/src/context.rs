//! Which ticks tell the context of something that happened: those from some minutes before it to some minutes after it.
//!
//! What came before is [copied](crate::extract) at once, because the link may be there for a moment only, and the rest when it is
//! over. What happens meanwhile makes it longer, up to an hour; then as long a pause follows, so that a storm costs
//! little more than half of all ticks.

use serde::{Deserialize, Serialize};
use wire::limits::EXTRACT_SPAN_MAX;
use wire::time::{BootId, Instant, Span, Stamp};

/// The longest context of things that happen one after the other.
const LENGTH_MAX: Span = Span::minutes(60);

/// The most that may be asked for of the time before.
pub const BEFORE_MAX: Span = Span::minutes(60);

/// The most that may be asked for of the time after.
pub const AFTER_MAX: Span = Span::minutes(30);

const _: () = assert!(BEFORE_MAX.0 + LENGTH_MAX.0 <= EXTRACT_SPAN_MAX.0 && AFTER_MAX.0 < LENGTH_MAX.0);

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Of the time before.
    pub before: Span,
    /// Of the time after.
    pub after: Span,
}

impl Around {
    /// Nothing at all.
    pub const NOTHING: Around = Around { before: Span(0), after: Span(0) };
}

impl Default for Around {
    fn default() -> Around {
        Around { before: Span::minutes(5), after: Span::minutes(10) }
    }
}

/// Ticks to copy: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The boot that took them.
    pub boot: BootId,
    /// From when on.
    pub from: Instant,
    /// Until when.
    pub to: Instant,
}

/// What is to be told, and how much of it was.
#[derive(Debug)]
pub struct Context {
    around: Around,
    open: Option<Open>,
    /// Until when all is told; nothing is told again.
    closed_at: Option<Instant>,
    /// Until when nothing is told at all.
    rests_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    boot: BootId,
    happened: Instant,
    from: Instant,
    cut_at: Instant,
    until: Instant,
}

impl Context {
    /// Goes on with what another process [kept](Context::encode). What can be no context is none.
    pub fn new(around: Around, kept: &[u8]) -> Context {
        let open = postcard::from_bytes(kept).ok().filter(|_| around != Around::NOTHING);
        Context { around, open, closed_at: None, rests_until: None }
    }

    /// What is to be kept over a restart; nothing, when nothing is open.
    pub fn encode(&self) -> Vec<u8> {
        self.open.map(|open| postcard::to_allocvec(&open).expect("numbers have bytes")).unwrap_or_default()
    }

    /// Something happened now.
    pub fn note(&mut self, now: Stamp) {
        let Around { before, after } = self.around;
        let Stamp { boot, uptime, .. } = now;
        if self.around == Around::NOTHING || self.rests_until.is_some_and(|until| uptime < until) {
            return;
        }
        match &mut self.open {
            Some(open) if open.boot == boot => {
                open.until = (uptime + after).min(open.happened + LENGTH_MAX).max(open.until);
            }
            // What is left of another boot is copied first.
            Some(_) => {}
            None => {
                let from = Instant(uptime.0.saturating_sub(before.0));
                self.open = Some(Open {
                    boot,
                    happened: uptime,
                    from: self.closed_at.map_or(from, |closed_at| from.max(closed_at + Span(1))),
                    cut_at: uptime,
                    until: uptime + after,
                });
            }
        }
    }

    /// What is to be copied now, when the last tick was `ticked`: one that comes late is for the next time. [`Context::copied`] says that
    /// it was.
    pub fn due(&self, now: Stamp, ticked: Instant) -> Option<Cut> {
        let Open { boot, from, cut_at, until, .. } = self.open?;
        if boot != now.boot {
            return Some(Cut { boot, from, to: until });
        }
        (cut_at <= now.uptime).then_some(Cut { boot, from, to: ticked.min(until) })
    }

    /// This is in the journal.
    pub fn copied(&mut self, now: Stamp, cut: &Cut) {
        let Some(open) = &mut self.open else { return };
        if open.boot == now.boot && now.uptime < open.until {
            open.from = open.from.max(cut.to + Span(1));
            open.cut_at = open.until;
            return;
        }
        if open.boot == now.boot {
            self.closed_at = Some(cut.to);
            let is_long = open.until - open.happened >= LENGTH_MAX;
            self.rests_until = is_long.then(|| now.uptime + LENGTH_MAX);
        }
        self.open = None;
    }

    /// When something will be due.
    pub fn poll_timeout(&self, boot: BootId) -> Option<Instant> {
        self.open.map(|open| if open.boot == boot { open.cut_at } else { Instant(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Stamp {
        Stamp { boot: BootId(1), uptime: Instant(minute * 60_000), unix: None }
    }

    /// The minutes, from and to, of what is copied when something happens at `happens`, in a life of `minutes`.
    fn cuts(happens: &[u64], minutes: u64) -> Vec<(u64, u64)> {
        let mut context = Context::new(Around::default(), &[]);
        let mut cuts = Vec::new();
        for minute in 0..minutes {
            if happens.contains(&minute) {
                context.note(at(minute));
            }
            if let Some(cut) = context.due(at(minute), at(minute).uptime) {
                cuts.push((cut.from.0.div_ceil(60_000), cut.to.0 / 60_000));
                context.copied(at(minute), &cut);
            }
        }
        assert_eq!(context.poll_timeout(BootId(1)), None);
        cuts
    }

    #[test]
    fn what_came_before_is_told_at_once_and_what_comes_after_when_it_is_over() {
        assert_eq!(cuts(&[20], 60), [(15, 20), (21, 30)]);
        assert_eq!(cuts(&[2], 60), [(0, 2), (3, 12)]);
    }

    #[test]
    fn what_happens_meanwhile_makes_it_longer_and_nothing_is_told_twice() {
        assert_eq!(cuts(&[20, 28], 60), [(15, 20), (21, 30), (31, 38)]);
        assert_eq!(cuts(&[20, 32], 60), [(15, 20), (21, 30), (31, 32), (33, 42)]);
    }

    #[test]
    fn a_storm_costs_little_more_than_half_of_all_ticks() {
        let storm: Vec<u64> = (100..1000).collect();
        let told: u64 = cuts(&storm, 1100).iter().map(|(from, to)| to + 1 - from).sum();
        assert!((400..550).contains(&told), "{told}");
    }

    #[test]
    fn a_power_cut_ends_it_and_what_there_is_of_it_is_told_afterwards() {
        let mut context = Context::new(Around::default(), &[]);
        context.note(at(20));
        let cut = context.due(at(20), at(20).uptime).unwrap();
        context.copied(at(20), &cut);
        let mut context = Context::new(Around::default(), &context.encode());
        let later = Stamp { boot: BootId(2), ..at(1) };
        assert_eq!(context.poll_timeout(later.boot), Some(Instant(0)));
        let (from, to) = (Instant(1_200_001), Instant(1_800_000));
        let cut = context.due(later, later.uptime).unwrap();
        assert_eq!(cut, Cut { boot: BootId(1), from, to });
        context.copied(later, &cut);
        assert_eq!((context.due(later, later.uptime), context.encode()), (None, Vec::new()));
    }

    #[test]
    fn a_tick_that_comes_late_is_told_the_next_time_and_what_comes_long_after_is_not() {
        let mut context = Context::new(Around::default(), &[]);
        context.note(at(20));
        // The last tick was a minute ago.
        let cut = context.due(at(20), at(19).uptime).unwrap();
        assert_eq!(cut.to, at(19).uptime);
        context.copied(at(20), &cut);
        // The disk took nothing for hours.
        let cut = context.due(at(500), at(500).uptime).unwrap();
        assert_eq!((cut.from, cut.to), (Instant(at(19).uptime.0 + 1), at(30).uptime));
        context.copied(at(500), &cut);
        assert_eq!(context.poll_timeout(BootId(1)), None);
    }

    #[test]
    fn who_wants_none_gets_none() {
        let mut context = Context::new(Around::NOTHING, &[1, 2, 3, 4, 5]);
        context.note(at(3));
        assert_eq!((context.due(at(9), at(9).uptime), context.poll_timeout(BootId(1))), (None, None));
    }
}
