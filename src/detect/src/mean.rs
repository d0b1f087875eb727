//! An average that forgets: a plain mean while there is little to average, later one that the newest moves by a fixed share.

/// An average over about the last `MEMORY` values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean<const MEMORY: u32> {
    value: f32,
    weight: f32,
}

impl<const MEMORY: u32> Mean<MEMORY> {
    /// The average; zero before the first value.
    pub fn value(&self) -> f32 {
        self.value
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.weight == 0.0
    }

    /// Adds a value.
    pub fn add(&mut self, value: f32) {
        self.weight = (self.weight + 1.0).min(MEMORY as f32);
        self.value += (value - self.value) / self.weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_plain_mean_first_and_forgets_later() {
        let mut mean = Mean::<4>::default();
        assert!(mean.is_empty());
        for value in [2.0, 4.0, 6.0, 8.0] {
            mean.add(value);
        }
        assert_eq!(mean.value(), 5.0);
        mean.add(9.0);
        assert_eq!(mean.value(), 6.0);
    }
}
