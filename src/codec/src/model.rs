//! What both ends learn of the slots, and one tick's way through it.
//!
//! A value is coded as the residual of a prediction: its relation to slots before it, and of what is left the best of
//! nothing, the last change, and a moving mean. The residual is divided by the *grain*, the greatest common divisor of all
//! changes of the slot (memory moves in pages), where it is a multiple. Then come: is it zero, its sign, the length of its
//! magnitude and two bits behind the leading one in adaptive contexts; the rest as it is.
//!
//! Each decision has a context of the slot's own, one that all slots of about the same size share, and one that those share whose
//! last residual was as long: the shared ones know what to expect before the slot's own has seen enough, and that a burst goes on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bit::{Bit, CONTEXT_COUNT, Mixer};
use crate::divisor::greatest_common_divisor;
use crate::range::Coder;
use crate::relation::{self, Edit, Term, Terms};

/// Lengths below this have contexts; longer numbers say how much longer.
const LENGTH_MAX: u32 = 32;

/// Steps of the expected length, each half a bit.
const SIZE_COUNT: usize = 80;

/// Changes seen before the grain is believed.
const GRAIN_TRUST: u8 = 2;

/// One slot.
#[derive(Clone, Debug)]
struct Slot {
    /// Whether it ever had a value in this run, and whether it had one in the last tick.
    is_known: bool,
    is_present: bool,
    last: i64,
    /// The change in this tick; zero when it has none.
    change: i64,
    terms: Terms,
    /// Of what relations leave: the last one, and a moving mean in 1/256.
    left: i64,
    mean: i64,
    /// What each prediction missed by lately, in 1/256 bits.
    costs: [i16; PREDICTIONS],
    grain: i64,
    grain_age: u8,
    age: u8,
    /// Which of the last residuals were zero, newest in bit 0.
    zeros: u8,
    sign: u8,
    /// The length of the last residual that was not zero.
    last_length: u8,
    /// The expected length of a residual, in 1/32 bits.
    length: i16,
    is_zero: [Bit; 4],
    is_negative: [Bit; 3],
    is_multiple: Bit,
    lengths: [Bit; LENGTH_MAX as usize],
}

const PREDICTIONS: usize = 3;
/// The last change and the mean have to prove themselves.
const COSTS: [i16; PREDICTIONS] = [768, 900, 900];

impl Slot {
    fn new() -> Slot {
        Slot {
            is_known: false,
            is_present: false,
            last: 0,
            change: 0,
            terms: Terms::new(),
            left: 0,
            mean: 0,
            costs: COSTS,
            grain: 0,
            grain_age: 0,
            age: 0,
            zeros: 0,
            sign: 0,
            last_length: 0,
            length: 0,
            is_zero: Default::default(),
            is_negative: Default::default(),
            is_multiple: Bit::default(),
            lengths: Default::default(),
        }
    }
}

/// What slots share whose last residual had the same length.
#[derive(Clone, Copy, Debug, Default)]
struct Alike {
    is_zero: [Bit; 8],
    is_negative: [Bit; 3],
    is_multiple: Bit,
    lengths: [Bit; LENGTH_MAX as usize],
}

/// What all slots share.
#[derive(Clone, Debug)]
struct Shared {
    zero_mixer: Mixer,
    sign_mixer: Mixer,
    multiple_mixer: Mixer,
    length_mixers: [Mixer; 5],
    is_zero: [[Bit; 8]; 32],
    is_negative: [[Bit; 3]; PREDICTIONS],
    is_multiple: [Bit; 16],
    lengths: Vec<[Bit; LENGTH_MAX as usize]>,
    /// By the length of the last residual.
    alike: Vec<Alike>,
    /// By length, then by the bits before.
    mantissa: [[Bit; 4]; 65],
    first_sign: Bit,
    first_lengths: [Bit; 64],
    first_mantissa: [[Bit; 4]; 65],
    is_more: Bit,
    is_counted: Bit,
    is_edited: Bit,
    is_settled: Bit,
    is_present: [Bit; 2],
}

impl Shared {
    fn new() -> Shared {
        Shared {
            zero_mixer: Mixer::default(),
            sign_mixer: Mixer::default(),
            multiple_mixer: Mixer::default(),
            length_mixers: Default::default(),
            is_zero: [[Bit::default(); 8]; 32],
            is_negative: Default::default(),
            is_multiple: Default::default(),
            lengths: alloc::vec![[Bit::default(); LENGTH_MAX as usize]; SIZE_COUNT],
            alike: alloc::vec![Alike::default(); LENGTH_MAX as usize + 1],
            mantissa: [[Bit::default(); 4]; 65],
            first_sign: Bit::default(),
            first_lengths: [Bit::default(); 64],
            first_mantissa: [[Bit::default(); 4]; 65],
            is_more: Bit::default(),
            is_counted: Bit::default(),
            is_edited: Bit::default(),
            is_settled: Bit::default(),
            is_present: Default::default(),
        }
    }
}

/// What went wrong in a tick: only bytes that no encoder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// More slots than there may be.
    Slots(u64),
    /// A relation that cannot be.
    Relation,
}

/// What both ends remember inside a run.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    slots_max: usize,
    slots: Vec<Slot>,
    /// Slots of the last tick.
    count: usize,
    clock: Slot,
    shared: Box<Shared>,
}

impl Model {
    pub(crate) fn new(slots_max: usize) -> Model {
        Model { slots_max, slots: Vec::new(), count: 0, clock: Slot::new(), shared: Box::new(Shared::new()) }
    }

    pub(crate) fn slots_max(&self) -> usize {
        self.slots_max
    }

    /// Bytes that the model takes now.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Model>()
            + size_of::<Shared>()
            + self.slots.len() * size_of::<Slot>()
            + size_of_val(&self.shared.lengths[..])
            + size_of_val(&self.shared.alike[..])
    }

    /// Forgets everything. Memory stays.
    pub(crate) fn forget(&mut self) {
        self.slots.clear();
        self.count = 0;
        self.clock = Slot::new();
        *self.shared = Shared::new();
    }

    /// Whether a tick follows in this batch.
    pub(crate) fn code_more(&mut self, coder: &mut impl Coder, is_more: bool) -> bool {
        self.shared.is_more.code(coder, is_more)
    }

    /// The end of a batch, as if it were to be: the model stays as it is.
    pub(crate) fn code_end(&self, coder: &mut impl Coder) {
        self.shared.is_more.clone().code(coder, false);
    }

    /// Codes one tick: when, how many slots, what changed in their relations, and the values in `values`, which come back the
    /// same from a writer and are filled in by a reader.
    pub(crate) fn code_tick(
        &mut self,
        coder: &mut impl Coder,
        at_ms: &mut u64,
        count: usize,
        edits: &[Edit],
        values: &mut [Option<i64>],
    ) -> Result<usize, Misfit> {
        *at_ms = code_value::<true>(&mut self.clock, &mut self.shared, 0, coder, *at_ms as i64) as u64;
        let count = self.code_count(coder, count)?;
        self.code_edits(coder, edits)?;
        let values = &mut values[..count];
        self.code_presence(coder, values);
        for (index, value) in values.iter_mut().enumerate() {
            let (before, rest) = self.slots.split_at_mut(index);
            let slot = &mut rest[0];
            if !slot.is_present {
                (slot.change, *value) = (0, None);
                continue;
            }
            let part = |term: &Term| term.part(before[usize::from(term.source)].change);
            let base = relation::rounded(slot.terms.iter().fold(0, |sum: i64, term| sum.wrapping_add(part(term))));
            *value = Some(code_value::<true>(slot, &mut self.shared, base, coder, value.unwrap_or(0)));
        }
        Ok(count)
    }

    fn code_count(&mut self, coder: &mut impl Coder, count: usize) -> Result<usize, Misfit> {
        let same = self.shared.is_counted.code(coder, count == self.count);
        let count = if same { self.count } else { coder.raw(count as u64, 16) as usize };
        if count > self.slots_max {
            return Err(Misfit::Slots(count as u64));
        }
        for slot in self.slots.iter_mut().skip(count) {
            (slot.is_present, slot.change) = (false, 0);
        }
        if self.slots.len() < count {
            // A few come later, and all at once at first: room for twice as many would be for nobody.
            self.slots.reserve_exact(count - self.slots.len());
            self.slots.resize_with(count, Slot::new);
        }
        self.count = count;
        Ok(count)
    }

    fn code_edits(&mut self, coder: &mut impl Coder, edits: &[Edit]) -> Result<(), Misfit> {
        let mut edits = edits.iter();
        loop {
            let edit = edits.next();
            if !self.shared.is_edited.code(coder, edit.is_some()) {
                return Ok(());
            }
            let edit = edit.copied().unwrap_or(Edit { target: 0, term: Term::default() });
            let target = coder.raw(edit.target.into(), 16) as u16;
            let source = coder.raw(edit.term.source.into(), 16) as u16;
            let mantissa = coder.raw(edit.term.mantissa as u8 as u64, 8) as u8 as i8;
            let exponent = coder.raw(edit.term.exponent as u8 as u64, 8) as u8 as i8;
            let edit = Edit { target, term: Term { source, mantissa, exponent } };
            let slot = self.slots.get_mut(usize::from(target)).ok_or(Misfit::Relation)?;
            if !relation::apply(&mut slot.terms, edit) {
                return Err(Misfit::Relation);
            }
            // What is left now is of another kind.
            (slot.grain, slot.grain_age, slot.left, slot.mean, slot.costs) = (0, 0, 0, 0, COSTS);
        }
    }

    /// Which slots have a value. Mostly the same ones as before.
    fn code_presence(&mut self, coder: &mut impl Coder, values: &[Option<i64>]) {
        let slots = &mut self.slots[..values.len()];
        let is_settled = slots.iter().zip(values).all(|(slot, value)| slot.is_present == value.is_some());
        if self.shared.is_settled.code(coder, is_settled) {
            return;
        }
        for (slot, value) in slots.iter_mut().zip(values) {
            let context = &mut self.shared.is_present[usize::from(slot.is_present)];
            slot.is_present = context.code(coder, value.is_some());
        }
    }

    /// The changes of the last tick, by slot.
    pub(crate) fn changes(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        self.slots[..self.count].iter().map(|slot| slot.change)
    }

    /// Every term there is, as an edit that makes it.
    pub(crate) fn all_terms(&self) -> impl Iterator<Item = Edit> + '_ {
        let slots = self.slots.iter().enumerate();
        slots.flat_map(|(target, slot)| slot.terms.iter().map(move |term| Edit { target: target as u16, term: *term }))
    }

    /// A slot's terms.
    pub(crate) fn terms(&self, slot: usize) -> &Terms {
        &self.slots[slot].terms
    }
}

/// One series by itself. It is read a day at a time and has no neighbours, so that one context for each decision is enough, by
/// the expected size of a residual, and takes half the time of two.
pub(crate) struct Column {
    slot: Slot,
    shared: Box<Shared>,
}

impl Column {
    pub(crate) fn new() -> Column {
        Column { slot: Slot::new(), shared: Box::new(Shared::new()) }
    }

    /// Codes the value of the next tick, or that there is none.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: Option<i64>) -> Option<i64> {
        let (slot, shared) = (&mut self.slot, &mut *self.shared);
        slot.is_present = shared.is_present[usize::from(slot.is_present)].code(coder, value.is_some());
        slot.is_present.then(|| code_value::<false>(slot, shared, 0, coder, value.unwrap_or(0)))
    }

    /// As [`Column::code`], where every tick has a value.
    pub(crate) fn code_value(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        code_value::<false>(&mut self.slot, &mut self.shared, 0, coder, value)
    }
}

/// One decision: mixed of the slot's own context and the shared ones, or in that of its size alone.
fn decide<const MIX: bool>(
    mixer: &mut Mixer,
    coder: &mut impl Coder,
    contexts: [&mut Bit; CONTEXT_COUNT],
    bit: bool,
) -> bool {
    if MIX { mixer.code(coder, contexts, bit) } else { contexts[1].code(coder, bit) }
}

fn code_value<const MIX: bool>(
    slot: &mut Slot,
    shared: &mut Shared,
    base: i64,
    coder: &mut impl Coder,
    value: i64,
) -> i64 {
    if !slot.is_known {
        let value = code_first(shared, coder, value);
        (slot.is_known, slot.last, slot.change) = (true, value, 0);
        return value;
    }
    let left = value.wrapping_sub(slot.last).wrapping_sub(base);
    let left = code_left::<MIX>(slot, shared, coder, left);
    slot.change = left.wrapping_add(base);
    slot.last = slot.last.wrapping_add(slot.change);
    slot.last
}

/// A first value: there is nothing to go by but what other slots began with.
fn code_first(shared: &mut Shared, coder: &mut impl Coder, value: i64) -> i64 {
    let mut length = bit_length(value);
    length = code_tree(6, length.min(63), |node, bit| shared.first_lengths[node].code(coder, bit));
    if length == 63 {
        length += coder.raw(u64::from(bit_length(value) == 64), 1) as u32;
    }
    if length == 0 {
        return 0;
    }
    let is_negative = shared.first_sign.code(coder, value < 0);
    let magnitude = code_mantissa(&mut shared.first_mantissa[length as usize], coder, length, value.unsigned_abs());
    with_sign(magnitude, is_negative)
}

/// What the relations leave of a change.
fn code_left<const MIX: bool>(slot: &mut Slot, shared: &mut Shared, coder: &mut impl Coder, left: i64) -> i64 {
    let predictions = [0, slot.left, (slot.mean + 128) >> 8];
    let best = (1..PREDICTIONS).fold(0, |best, i| if slot.costs[i] < slot.costs[best] { i } else { best });
    let grain = if slot.grain_age >= GRAIN_TRUST { slot.grain.max(1) } else { 1 };
    let prediction = to_multiple(predictions[best], grain);
    let residual = code_residual::<MIX>(slot, shared, coder, left.wrapping_sub(prediction), best, grain);
    let left = prediction.wrapping_add(residual);

    for (cost, prediction) in slot.costs.iter_mut().zip(predictions) {
        let missed = 256 * bit_length(left.wrapping_sub(prediction) / grain) as i16;
        *cost += (missed - *cost) >> 4;
    }
    slot.mean += ((left.clamp(-MEAN_MAX, MEAN_MAX) << 8) - slot.mean) >> 3;
    slot.left = left;
    slot.age = slot.age.saturating_add(1);
    learn_grain(slot, left);
    left
}

/// A mean in 1/256 of less than this stays in 64 bits.
const MEAN_MAX: i64 = 1 << 53;

fn code_residual<const MIX: bool>(
    slot: &mut Slot,
    shared: &mut Shared,
    coder: &mut impl Coder,
    residual: i64,
    prediction: usize,
    grain: i64,
) -> i64 {
    let size = ((slot.length + 8) >> 4).clamp(0, SIZE_COUNT as i16 - 1) as usize;
    let zeros = usize::from(slot.zeros & 7);
    let alike = &mut shared.alike[usize::from(slot.last_length)];
    let contexts = [&mut slot.is_zero[zeros & 3], &mut shared.is_zero[size.min(31)][zeros], &mut alike.is_zero[zeros]];
    let is_zero = decide::<MIX>(&mut shared.zero_mixer, coder, contexts, residual == 0);
    slot.zeros = slot.zeros << 1 | u8::from(is_zero);
    if is_zero {
        learn_length(slot, 0);
        return 0;
    }
    let mut unit = 1;
    if grain > 1 {
        let known = &mut shared.is_multiple[usize::from(slot.grain_age)];
        let contexts = [&mut slot.is_multiple, known, &mut alike.is_multiple];
        if decide::<MIX>(&mut shared.multiple_mixer, coder, contexts, residual % grain == 0) {
            unit = grain;
        }
    }
    let residual = residual / unit;
    let last_sign = usize::from(slot.sign);
    let contexts = [
        &mut slot.is_negative[last_sign],
        &mut shared.is_negative[prediction][last_sign],
        &mut alike.is_negative[last_sign],
    ];
    let is_negative = decide::<MIX>(&mut shared.sign_mixer, coder, contexts, residual < 0);
    slot.sign = 1 + u8::from(is_negative);

    let (own, common, mixers) = (&mut slot.lengths, &mut shared.lengths[size], &mut shared.length_mixers);
    let mut depth = 0;
    let mut length = 1 + code_tree(5, (bit_length(residual).max(1) - 1).min(LENGTH_MAX - 1), |node, bit| {
        depth += 1;
        decide::<MIX>(&mut mixers[depth - 1], coder, [&mut own[node], &mut common[node], &mut alike.lengths[node]], bit)
    });
    if length == LENGTH_MAX {
        length = (length + coder.raw(u64::from(bit_length(residual).max(LENGTH_MAX) - LENGTH_MAX), 6) as u32).min(64);
    }
    let magnitude = code_mantissa(&mut shared.mantissa[length as usize], coder, length, residual.unsigned_abs());
    learn_length(slot, length);
    slot.last_length = length.min(LENGTH_MAX) as u8;
    with_sign(magnitude, is_negative).wrapping_mul(unit)
}

/// A number below 2^`bits`, highest bit first, each in the context of those before it.
fn code_tree(bits: u32, number: u32, mut code: impl FnMut(usize, bool) -> bool) -> u32 {
    let mut node = 1;
    for bit in (0..bits).rev() {
        node = node << 1 | usize::from(code(node, number >> bit & 1 == 1));
    }
    node as u32 - (1 << bits)
}

/// A magnitude of a known length: two bits behind the leading one in contexts, the rest as it is.
fn code_mantissa(contexts: &mut [Bit; 4], coder: &mut impl Coder, length: u32, magnitude: u64) -> u64 {
    let mut left = length - 1;
    let (mut value, mut node) = (1u64, 1);
    while left > 0 && node < 4 {
        left -= 1;
        let bit = contexts[node].code(coder, magnitude >> left & 1 == 1);
        node = node << 1 | usize::from(bit);
        value = value << 1 | u64::from(bit);
    }
    if left > 0 {
        let mask = (1 << left) - 1;
        value = value << left | coder.raw(magnitude & mask, left) & mask;
    }
    value
}

/// A moving mean of lengths, quicker while the slot is new.
fn learn_length(slot: &mut Slot, length: u32) {
    slot.length += (32 * length as i16 - slot.length) >> if slot.age < 4 { 1 } else { 2 };
}

/// Keeps the greatest common divisor of everything that was left.
fn learn_grain(slot: &mut Slot, left: i64) {
    let Some(magnitude) = left.checked_abs().filter(|magnitude| *magnitude > 0) else { return };
    if slot.grain != 0 && magnitude % slot.grain == 0 {
        slot.grain_age = (slot.grain_age + 1).min(15);
        return;
    }
    slot.grain_age = if slot.grain == 0 { 1 } else { slot.grain_age / 2 };
    slot.grain = greatest_common_divisor(slot.grain.unsigned_abs(), magnitude.unsigned_abs()) as i64;
}

fn to_multiple(value: i64, grain: i64) -> i64 {
    if grain == 1 {
        return value;
    }
    let half = if value < 0 { -(grain / 2) } else { grain / 2 };
    value.saturating_add(half) / grain * grain
}

fn with_sign(magnitude: u64, is_negative: bool) -> i64 {
    let value = magnitude as i64;
    if is_negative { value.wrapping_neg() } else { value }
}

fn bit_length(value: i64) -> u32 {
    64 - value.unsigned_abs().leading_zeros()
}
