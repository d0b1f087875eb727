//! Something that lasts: said when it has held for a while, and over when it has not for a while.

use wire::time::{Instant, Span};

/// How long something must hold before it is said, and be gone before it is over.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To be said.
    pub hold: Span,
    /// To be over.
    pub rest: Span,
}

/// A condition that is looked at now and then.
#[derive(Clone, Debug, Default)]
pub struct Lasting {
    held_since: Option<Instant>,
    held_last: Instant,
    is_said: bool,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has held for long enough.
    Begins,
    /// It has been gone for long enough.
    Ends,
}

impl Lasting {
    /// Takes whether it holds now, and says what is to be said. `say` tells whether it was heard; if not, it is said again.
    pub fn update(&mut self, now: Instant, holds: bool, patience: Patience, say: impl FnOnce(Change) -> bool) {
        if holds {
            self.held_last = now;
            let since = *self.held_since.get_or_insert(now);
            if !self.is_said && now - since >= patience.hold {
                self.is_said = say(Change::Begins);
            }
            return;
        }
        self.held_since = None;
        if self.is_said && now - self.held_last >= patience.rest {
            self.is_said = !say(Change::Ends);
        }
    }

    /// Whether it was said and is not over.
    pub fn is_said(&self) -> bool {
        self.is_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { hold: Span(30), rest: Span(50) };

    /// The moments at which something is said; it holds at those in `holds`, of 40 that are ten apart.
    fn said(holds: &[u64]) -> Vec<(u64, Change)> {
        let (mut lasting, mut said) = (Lasting::default(), Vec::new());
        for moment in 0..40 {
            let is_held = holds.contains(&moment);
            lasting.update(Instant(moment * 10), is_held, PATIENCE, |change| {
                said.push((moment, change));
                true
            });
        }
        said
    }

    #[test]
    fn what_is_not_heard_is_said_again() {
        let (mut lasting, mut said_count) = (Lasting::default(), 0);
        for moment in 0..10 {
            lasting.update(Instant(moment * 10), true, PATIENCE, |_| {
                said_count += 1;
                said_count == 3
            });
        }
        assert_eq!(said_count, 3);
    }

    #[test]
    fn a_short_spell_is_not_said_and_a_long_one_once() {
        assert_eq!(said(&[3, 4, 5, 9, 10, 11]), []);
        let long: Vec<u64> = (3..20).collect();
        assert_eq!(said(&long), [(6, Change::Begins), (24, Change::Ends)]);
    }

    #[test]
    fn a_short_break_ends_nothing() {
        assert_eq!(said(&[3, 4, 5, 6, 8, 12, 16]), [(6, Change::Begins), (21, Change::Ends)]);
    }
}
