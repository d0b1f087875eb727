//! The standard normal distribution, the same to the last bit on every machine.

/// The standard normal distribution as a table. Made of nothing but sums and products, which are the same to the last bit on
/// every machine; logarithms are not.
#[derive(Clone, Debug)]
pub(crate) struct Normal {
    below: Vec<f64>,
}

/// Where the table begins and ends: beyond it is one of 10^15.
const END: f64 = 8.0;
const STEPS_PER_ONE: f64 = 128.0;

impl Normal {
    pub(crate) fn new() -> Normal {
        let density = |at: f64| exp_of_negative(at * at / 2.0);
        let (step, mut sum) = (1.0 / STEPS_PER_ONE, 0.0);
        let mut below = vec![0.0];
        for index in 0..(2.0 * END * STEPS_PER_ONE) as usize {
            let at = index as f64 * step - END;
            // Simpson's rule.
            sum += density(at) + 4.0 * density(at + step / 2.0) + density(at + step);
            below.push(sum);
        }
        below.iter_mut().for_each(|part| *part /= sum);
        Normal { below }
    }

    /// The probability of less than `at`.
    pub(crate) fn probability(&self, at: f64) -> f64 {
        let place = ((at + END) * STEPS_PER_ONE).clamp(0.0, (self.below.len() - 2) as f64);
        let index = place as usize;
        let (low, high) = (self.below[index], self.below[index + 1]);
        low + (high - low) * (place - index as f64)
    }

    /// What is not exceeded with this probability.
    pub(crate) fn quantile(&self, probability: f64) -> f64 {
        let index = self.below.partition_point(|below| *below <= probability).clamp(1, self.below.len() - 1);
        let (low, high) = (self.below[index - 1], self.below[index]);
        let part = if high > low { (probability - low) / (high - low) } else { 0.0 };
        ((index - 1) as f64 + part) / STEPS_PER_ONE - END
    }
}

/// e to the power of `-of`, for 0 to 32.
fn exp_of_negative(of: f64) -> f64 {
    let small = -of / 1024.0;
    let series = (1..8).rev().fold(1.0, |sum, term| 1.0 + sum * small / f64::from(term));
    (0..10).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_as_the_books_have_it() {
        let normal = Normal::new();
        for (at, probability) in [(-3.0, 0.001_349_9), (-1.0, 0.158_655_3), (0.0, 0.5), (1.96, 0.975_002_1)] {
            assert!((normal.probability(at) - probability).abs() < 1e-6, "{at}");
            assert!((normal.quantile(probability) - at).abs() < 1e-4, "{at}");
        }
    }
}
