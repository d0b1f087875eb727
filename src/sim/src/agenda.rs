//! What happens when: the nearest moment next, and what falls on one moment in the order in which it was planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The time, and what is planned after it. All in ms since the world began.
#[derive(Debug)]
pub struct Agenda<T> {
    now_ms: u64,
    planned_count: u64,
    planned: BinaryHeap<Reverse<Planned<T>>>,
}

#[derive(Debug)]
struct Planned<T> {
    at_ms: u64,
    order: u64,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda { now_ms: 0, planned_count: 0, planned: BinaryHeap::new() }
    }
}

impl<T> Agenda<T> {
    /// The present moment.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Plans something.
    pub fn after(&mut self, delay_ms: u64, what: T) {
        self.planned_count += 1;
        self.planned.push(Reverse(Planned { at_ms: self.now_ms + delay_ms, order: self.planned_count, what }));
    }

    /// Goes on to what happens next; `None` when nothing is planned.
    pub fn advance(&mut self) -> Option<T> {
        let Reverse(planned) = self.planned.pop()?;
        assert!(planned.at_ms >= self.now_ms, "time does not run backwards");
        self.now_ms = planned.at_ms;
        Some(planned.what)
    }
}

impl<T> Planned<T> {
    fn key(&self) -> (u64, u64) {
        (self.at_ms, self.order)
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Planned<T>) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Planned<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Planned<T>) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_goes_first_and_equals_go_in_the_order_of_planning() {
        let mut agenda = Agenda::default();
        for (delay_ms, what) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            agenda.after(delay_ms, what);
        }
        let all: String = std::iter::from_fn(|| agenda.advance()).collect();
        assert_eq!((&all[..], agenda.now_ms()), ("abcd", 5));
    }
}
