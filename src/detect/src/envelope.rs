//! Between which values something has been: the least and the greatest, which slowly close in on each other.
//!
//! A record is scored as a fraction of the envelope's width, not by a distribution's tail: what machines do has heavy tails,
//! and one threshold has to fit all of it. That the envelope closes lets what was last seen long ago be news again.

/// What of its width the envelope loses on each side at each value: half of it is gone after 14,000, seven weeks at five
/// minutes. What comes once a week is then no record, which at ten times the speed it is.
const CLOSE: f32 = 2.5e-5;

/// Between which values something has been.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Envelope {
    low: f32,
    high: f32,
}

impl Envelope {
    /// The envelope of one value.
    pub fn around(value: f32) -> Envelope {
        Envelope { low: value, high: value }
    }

    /// The least.
    pub fn low(&self) -> f32 {
        self.low
    }

    /// The greatest.
    pub fn high(&self) -> f32 {
        self.high
    }

    /// How far apart they are.
    pub fn width(&self) -> f32 {
        self.high - self.low
    }

    /// How much of a record a value is above the envelope: its excess as a fraction of what the width, taken as `floor` wider,
    /// becomes; from 0 for none to 1.
    pub fn above(&self, value: f32, floor: f32) -> f32 {
        fraction(value - self.high, self.width() + floor)
    }

    /// The same on either side.
    pub fn outside(&self, value: f32, floor: f32) -> f32 {
        fraction((value - self.high).max(self.low - value), self.width() + floor)
    }

    /// Closes a little, and opens for the value.
    pub fn admit(&mut self, value: f32) {
        let step = CLOSE * self.width();
        self.low = (self.low + step).min(value);
        self.high = (self.high - step).max(value);
    }
}

fn fraction(excess: f32, width: f32) -> f32 {
    if excess > 0.0 { excess / (width + excess) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_fraction_of_the_width_and_is_none_the_second_time() {
        let mut envelope = Envelope::around(0.0);
        envelope.admit(10.0);
        assert_eq!(envelope.outside(5.0, 0.0), 0.0);
        assert_eq!(envelope.outside(30.0, 0.0), 20.0 / 30.0);
        assert_eq!(envelope.above(-30.0, 0.0), 0.0);
        assert_eq!(envelope.outside(-30.0, 0.0), 0.75);
        envelope.admit(30.0);
        assert!(envelope.outside(30.0, 0.0) == 0.0);
    }

    #[test]
    fn what_was_last_seen_long_ago_is_a_record_again() {
        let mut envelope = Envelope::around(0.0);
        envelope.admit(100.0);
        let mut half = 0;
        while envelope.width() > 50.0 {
            envelope.admit(50.0);
            half += 1;
        }
        assert!((13_800..13_900).contains(&half), "{half}");
        assert!(envelope.outside(100.0, 0.0) > 0.3);
    }
}
