//! What was spent in one day or month, and what becomes of it when that is another one.

use serde::{Deserialize, Serialize};
use wire::spent::{Spent, Use};

use super::calendar::Turn;

/// One day's or month's account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The number of the day or month.
    pub(super) number: u32,
    /// Spent before in what is the same day or month, and told already: a copy of what `earlier` has or had.
    carried: u64,
    own: Spent,
    /// Of `own`, what was spent before this boot.
    at_boot: Spent,
    /// The one before, for a clock that goes back to it: its number and all that was spent.
    earlier: Option<(u32, u64)>,
}

impl Account {
    /// An account in which nothing was spent.
    pub(super) fn new(number: u32) -> Account {
        Account { number, ..Account::default() }
    }

    /// All that was spent.
    pub(super) fn used(&self) -> u64 {
        self.own.total().saturating_add(self.carried)
    }

    /// What was spent under this name.
    pub(super) fn own(&self) -> &Spent {
        &self.own
    }

    pub(super) fn spend(&mut self, purpose: Use, bytes: u64) {
        let line = &mut self.own.by_use[purpose as usize];
        *line = line.saturating_add(bytes);
    }

    pub(super) fn spend_other(&mut self, bytes: u64) {
        self.own.other = self.own.other.saturating_add(bytes);
    }

    /// Another boot has begun.
    pub(super) fn boot(&mut self) {
        self.at_boot = self.own;
    }

    /// It may be another day or month. Hands out what is closed with it.
    pub(super) fn turn(&mut self, turn: Turn, number: u32) -> Option<Spent> {
        if number == self.number {
            return None;
        }
        let is_back = self.earlier.is_some_and(|(earlier, _)| earlier == number);
        match turn {
            Turn::Same => None,
            Turn::Passed => {
                let closed = self.own;
                *self = Account { earlier: Some((self.number, self.used())), ..Account::new(number) };
                Some(closed)
            }
            _ if is_back => {
                let (_, used) = self.earlier.take().expect("that is where the clock went back to");
                self.number = number;
                self.carried = self.carried.max(used);
                None
            }
            Turn::Moved => {
                // The name that the clock had at boot was wrong, and with it that the account before was this one.
                if self.earlier.is_some_and(|(earlier, _)| earlier < number) {
                    self.carried = 0;
                }
                self.number = number;
                None
            }
            Turn::Resumed | Turn::Returned => {
                let since_boot = less(&self.own, &self.at_boot);
                let used_before = self.used().saturating_sub(since_boot.total());
                let closed = self.at_boot;
                let carried = if turn == Turn::Returned { used_before } else { 0 };
                let earlier = Some((self.number, used_before));
                *self = Account { number, carried, own: since_boot, at_boot: Spent::default(), earlier };
                Some(closed)
            }
        }
    }
}

/// What was spent after `before`.
fn less(all: &Spent, before: &Spent) -> Spent {
    let mut rest = *all;
    rest.by_use.iter_mut().zip(before.by_use).for_each(|(bytes, before)| *bytes = bytes.saturating_sub(before));
    rest.other = rest.other.saturating_sub(before.other);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends, then turns; returns what is used after each.
    fn used(steps: &[(u64, Turn, u32)]) -> Vec<u64> {
        let mut account = Account::new(100);
        let after = |(bytes, turn, number): &(u64, Turn, u32)| {
            account.spend(Use::Raw, *bytes);
            if matches!(turn, Turn::Resumed | Turn::Returned) {
                account.boot();
            }
            account.turn(*turn, *number);
            account.used()
        };
        steps.iter().map(after).collect()
    }

    #[test]
    fn time_that_passes_refills() {
        assert_eq!(used(&[(90, Turn::Passed, 101), (5, Turn::Passed, 102)]), [0, 0]);
        assert_eq!(used(&[(90, Turn::Resumed, 105)]), [0]);
    }

    #[test]
    fn a_clock_that_is_set_there_and_back_refills_nothing() {
        assert_eq!(used(&[(90, Turn::Moved, 500), (5, Turn::Moved, 100), (1, Turn::Moved, 3)]), [90, 95, 96]);
        // Back over midnight, and over it again.
        assert_eq!(used(&[(90, Turn::Passed, 101), (2, Turn::Moved, 100), (1, Turn::Passed, 101)]), [0, 92, 0]);
    }

    #[test]
    fn a_clock_that_forgets_over_boots_refills_nothing() {
        assert_eq!(used(&[(90, Turn::Returned, 50), (5, Turn::Resumed, 100)]), [90, 95]);
        // It woke in the future, and was then corrected.
        assert_eq!(used(&[(90, Turn::Resumed, 9999), (5, Turn::Moved, 100)]), [0, 95]);
    }

    #[test]
    fn a_clock_that_is_corrected_to_a_later_day_is_not_charged_for_an_earlier_one() {
        assert_eq!(used(&[(90, Turn::Returned, 50), (5, Turn::Moved, 101)]), [90, 5]);
    }

    #[test]
    fn what_a_boot_spent_before_it_knew_the_day_is_of_the_day_that_it_learns() {
        let mut account = Account::new(100);
        account.spend(Use::Raw, 90);
        account.boot();
        account.spend(Use::Urgent, 7);
        let closed = account.turn(Turn::Resumed, 103).expect("a day is over");
        assert_eq!((closed.by_use[Use::Raw as usize], closed.total()), (90, 90));
        assert_eq!((account.used(), account.own().by_use[Use::Urgent as usize]), (7, 7));
    }
}
