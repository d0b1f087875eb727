//! What one slot's change says of another's: loopback receives what it sends, memory that is used is no longer free.
//!
//! The model predicts a change as a small sum of the changes of slots before it in the same tick. Nobody lists such kernel
//! identities: the encoder finds them in what it sees and writes them into the stream, so the decoder needs neither names
//! nor a search, and a relation that stops to hold costs bytes, never a value.

use alloc::vec::Vec;

/// Terms of one slot's prediction.
pub(crate) const TERM_COUNT_MAX: usize = 4;

/// Changes beyond this predict nothing, so that the sum stays in 64 bits.
const CHANGE_MAX: i64 = 1 << 40;

/// Bits behind the point while terms are added up.
const FRACTION_BITS: i32 = 8;

pub(crate) const MANTISSA_MAX: i8 = 63;
pub(crate) const EXPONENT_MIN: i8 = -24;
pub(crate) const EXPONENT_MAX: i8 = 7;

/// `mantissa` x 2^`exponent` times the change of slot `source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) source: u16,
    pub(crate) mantissa: i8,
    pub(crate) exponent: i8,
}

impl Term {
    /// The term's part, with [`FRACTION_BITS`] behind the point.
    pub(crate) fn part(self, change: i64) -> i64 {
        if !(-CHANGE_MAX..=CHANGE_MAX).contains(&change) {
            return 0;
        }
        let product = i64::from(self.mantissa) * change;
        let shift = i32::from(self.exponent) + FRACTION_BITS;
        if shift >= 0 { product << shift } else { product >> -shift }
    }

    /// The term nearest to a coefficient with so many bits of mantissa, if there is one.
    fn nearest(source: usize, coefficient: f64, bits: u32) -> Option<Term> {
        let magnitude = if coefficient < 0.0 { -coefficient } else { coefficient };
        // The exponent of the binary64 itself; no logarithm, which would differ between machines.
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023) + 1 - bits as i32;
        let exponent = exponent.max(EXPONENT_MIN.into());
        if exponent > EXPONENT_MAX.into() {
            return None;
        }
        let unit = f64::from_bits(((exponent + 1023) as u64) << 52);
        let mut mantissa = (magnitude / unit + 0.5) as i64;
        let mut exponent = exponent;
        while mantissa > 0 && (mantissa % 2 == 0 || mantissa > MANTISSA_MAX.into()) && exponent < EXPONENT_MAX.into() {
            mantissa /= 2;
            exponent += 1;
        }
        let mantissa = i8::try_from(mantissa).ok().filter(|mantissa| (1..=MANTISSA_MAX).contains(mantissa))?;
        let mantissa = if coefficient < 0.0 { -mantissa } else { mantissa };
        Some(Term { source: source as u16, mantissa, exponent: exponent as i8 })
    }
}

/// The sum of parts, rounded.
pub(crate) fn rounded(sum: i64) -> i64 {
    sum.wrapping_add(1 << (FRACTION_BITS - 1)) >> FRACTION_BITS
}

/// The terms of one slot.
pub(crate) type Terms = heapless::Vec<Term, TERM_COUNT_MAX>;

/// A change of the relations, as the stream carries it: a mantissa of zero takes the term away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) target: u16,
    pub(crate) term: Term,
}

/// Carries an edit out. `false` when it makes no sense.
pub(crate) fn apply(terms: &mut Terms, edit: Edit) -> bool {
    let Term { source, mantissa, exponent } = edit.term;
    let is_sound = source < edit.target
        && (-MANTISSA_MAX..=MANTISSA_MAX).contains(&mantissa)
        && (EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent);
    terms.retain(|term| term.source != source);
    is_sound && (mantissa == 0 || terms.push(edit.term).is_ok())
}

/// Ticks that a search looks back over.
const WINDOW: usize = 32;
/// Ticks before which nothing is concluded.
const WINDOW_MIN: usize = 12;
/// A slot is looked at every so many ticks.
const ROUND_TICKS: usize = 24;
/// Quarter bits a tick that a new term must save: its own place in the stream, and more for being new.
const GAIN_MIN: u32 = 6;

/// The encoder's search: which slots' changes went together lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    changes: Vec<[i32; WINDOW]>,
    /// Sums of the squares of `changes`.
    powers: Vec<f64>,
    at: usize,
    filled: usize,
    next: usize,
}

impl Search {
    /// Takes in the changes of a tick, and says what would have served better.
    pub(crate) fn observe<'a>(
        &mut self,
        changes: impl ExactSizeIterator<Item = i64>,
        terms_of: impl Fn(usize) -> &'a Terms,
        mut edit: impl FnMut(Edit),
    ) {
        let count = changes.len();
        if self.changes.len() < count {
            self.changes.resize(count, [0; WINDOW]);
            self.powers.resize(count, 0.0);
        }
        for (of_slot, change) in self.changes.iter_mut().zip(changes) {
            of_slot[self.at] = change.clamp(i64::from(-i32::MAX), i64::from(i32::MAX)) as i32;
        }
        self.at = (self.at + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        if self.filled < WINDOW_MIN || count < 2 {
            return;
        }
        for (power, of_slot) in self.powers.iter_mut().zip(&self.changes) {
            *power = of_slot.iter().map(|change| f64::from(*change) * f64::from(*change)).sum();
        }
        for _ in 0..count.div_ceil(ROUND_TICKS) {
            self.next = if self.next + 1 < count { self.next + 1 } else { 1 };
            if let Some(term) = self.better(self.next, terms_of(self.next)) {
                edit(Edit { target: self.next as u16, term });
            }
        }
    }

    /// Bytes that the search takes now.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.changes[..]) + size_of_val(&self.powers[..])
    }

    /// The term that saves most when it is added to `terms`, or taken from them.
    fn better(&self, target: usize, terms: &Terms) -> Option<Term> {
        let part = |term: &Term, tick: usize| term.part(self.changes[usize::from(term.source)][tick].into());
        let mut sums = [0i64; WINDOW];
        for (tick, sum) in sums.iter_mut().enumerate() {
            *sum = terms.iter().fold(0, |sum, term| sum.wrapping_add(part(term, tick)));
        }
        let own = &self.changes[target];
        let left = |sum: i64, tick: usize| i64::from(own[tick]).wrapping_sub(rounded(sum));
        let residual: [i64; WINDOW] = core::array::from_fn(|tick| left(sums[tick], tick));
        let now = self.cost(&residual);
        let ticks = self.filled as u32;
        if now <= 2 * ticks {
            return None;
        }
        // A term that costs more than it saves goes.
        for term in terms {
            let without = core::array::from_fn(|tick| left(sums[tick].wrapping_sub(part(term, tick)), tick));
            if self.cost(&without) < now {
                return Some(Term { mantissa: 0, ..*term });
            }
        }
        if terms.is_full() {
            return None;
        }
        let residual_f: [f64; WINDOW] = core::array::from_fn(|tick| residual[tick] as f64);
        let mut best: Option<(u32, Term)> = None;
        for (source, coefficient) in self.likeliest(target, &residual_f) {
            if terms.iter().any(|term| usize::from(term.source) == source) {
                continue;
            }
            for bits in [2, 5] {
                let Some(term) = Term::nearest(source, coefficient, bits) else { continue };
                let with = core::array::from_fn(|tick| left(sums[tick].wrapping_add(part(&term, tick)), tick));
                let cost = self.cost(&with);
                if cost + GAIN_MIN * ticks < now && best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, term));
                }
            }
        }
        best.map(|(_, term)| term)
    }

    /// The two slots before `target` that explain most of `residual`'s power, with their least-squares coefficients.
    fn likeliest(&self, target: usize, residual: &[f64; WINDOW]) -> impl Iterator<Item = (usize, f64)> + use<> {
        let mut found = [(0.0, 0, 0.0); 2];
        for source in 0..target {
            if self.powers[source] == 0.0 {
                continue;
            }
            let mut common = 0.0;
            for (change, residual) in self.changes[source].iter().zip(residual) {
                common += f64::from(*change) * residual;
            }
            let explained = common * common / self.powers[source];
            if explained > found[1].0 {
                found[1] = (explained, source, common / self.powers[source]);
            }
            if found[1].0 > found[0].0 {
                found.swap(0, 1);
            }
        }
        found.into_iter().filter(|(explained, ..)| *explained > 0.0).map(|(_, source, c)| (source, c))
    }

    /// Quarter bits that the model would spend on these residuals: the better of coding them and their differences.
    fn cost(&self, residual: &[i64; WINDOW]) -> u32 {
        let ticks = |index: usize| (self.at + WINDOW - self.filled + index) % WINDOW;
        let (mut plain, mut differences, mut last) = (0, 0, 0);
        for index in 0..self.filled {
            let value = residual[ticks(index)];
            plain += quarter_bits(value);
            differences += quarter_bits(value.wrapping_sub(last));
            last = value;
        }
        plain.min(differences)
    }
}

/// About 4 log2 |value|, and the sign and the length to it; a zero is next to nothing.
fn quarter_bits(value: i64) -> u32 {
    let magnitude = value.unsigned_abs();
    if magnitude == 0 {
        return 1;
    }
    let whole = magnitude.ilog2();
    let part = if whole >= 2 { magnitude >> (whole - 2) & 3 } else { magnitude << (2 - whole) & 3 };
    4 * whole + part as u32 + 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coefficient_is_met_as_well_as_its_bits_allow() {
        let term = |mantissa, exponent| Some(Term { source: 3, mantissa, exponent });
        assert_eq!(Term::nearest(3, 1.0, 2), term(1, 0));
        assert_eq!(Term::nearest(3, -0.5, 5), term(-1, -1));
        assert_eq!(Term::nearest(3, -14.0, 5), term(-7, 1));
        assert_eq!(Term::nearest(3, 0.3, 2), term(1, -2));
        assert_eq!(Term::nearest(3, 0.3, 5), term(19, -6));
        assert_eq!(Term::nearest(3, 1e9, 2), None);
        assert_eq!(Term::nearest(3, 1e-30, 2), None);
        assert_eq!(Term::nearest(3, f64::NAN, 2), None);
    }

    #[test]
    fn sums_of_slots_are_found_term_by_term() {
        let (mut search, mut terms, mut state) = (Search::default(), [const { Terms::new() }; 3], 1u64);
        for _ in 0..200 {
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 44) as i64
            };
            let (a, b) = (random(), random());
            let mut edits = heapless::Vec::<Edit, 8>::new();
            search.observe([a, b, a / 2 - 3 * b].into_iter(), |slot| &terms[slot], |edit| edits.push(edit).unwrap());
            edits.into_iter().for_each(|edit| assert!(apply(&mut terms[usize::from(edit.target)], edit)));
        }
        let found =
            |source| terms[2].iter().find(|term| term.source == source).map(|term| (term.mantissa, term.exponent));
        assert_eq!((found(0), found(1)), (Some((1, -1)), Some((-3, 0))), "{terms:?}");
        assert!(terms[1].is_empty(), "{terms:?}");
    }
}
