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
    /// Takes whether it holds now.
    pub fn update(&mut self, now: Instant, holds: bool, patience: Patience) -> Option<Change> {
        if holds {
            self.held_last = now;
            let since = *self.held_since.get_or_insert(now);
            let is_news = !self.is_said && now - since >= patience.hold;
            self.is_said |= is_news;
            return is_news.then_some(Change::Begins);
        }
        self.held_since = None;
        let is_over = self.is_said && now - self.held_last >= patience.rest;
        self.is_said &= !is_over;
        is_over.then_some(Change::Ends)
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
        let mut lasting = Lasting::default();
        let at = |moment| lasting.update(Instant(moment * 10), holds.contains(&moment), PATIENCE);
        (0..40).map(at).enumerate().filter_map(|(moment, change)| Some((moment as u64, change?))).collect()
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
