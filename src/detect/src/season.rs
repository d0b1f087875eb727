//! What the time of day leads to expect: a value for each hour, and straight lines between them.
//!
//! The hours are those of whatever clock the caller counts by, so a gateway that does not know the time yet learns as well.
//! Of a week nothing is kept: a weekend costs residuals of a size that is soon known, and seven tables would cost a
//! kilobyte.

const HOURS: usize = 24;
const HOUR_S: f32 = 3600.0;
const DAY_S: i64 = 86_400;

/// How many samples of an hour its value rests on: four days of them at five minutes.
const MEMORY: f32 = 50.0;

/// The rhythm of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Season {
    hours: [Hour; HOURS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Hour {
    value: f32,
    weight: f32,
}

/// Two neighbouring hours and how far a moment is on its way from the middle of the one to the middle of the other.
struct Place {
    before: usize,
    after: usize,
    way: f32,
}

impl Season {
    /// What is expected at a moment; `level` stands in for an hour that was not seen yet.
    pub fn expected(&self, at_s: i64, level: f32) -> f32 {
        let Place { before, after, way } = place(at_s);
        let value = |hour: &Hour| if hour.weight > 0.0 { hour.value } else { level };
        let (before, after) = (value(&self.hours[before]), value(&self.hours[after]));
        before + way * (after - before)
    }

    /// Learns by how much a value was off from what was expected with that level.
    pub fn learn(&mut self, at_s: i64, level: f32, residual: f32) {
        let Place { before, after, way } = place(at_s);
        for (hour, share) in [(before, 1.0 - way), (after, way)] {
            let hour = &mut self.hours[hour];
            if hour.weight == 0.0 {
                hour.value = level;
            }
            hour.weight = (hour.weight + share).min(MEMORY - 1.0);
            hour.value += share * residual / (hour.weight + 1.0);
        }
    }
}

fn place(at_s: i64) -> Place {
    let hour = at_s.rem_euclid(DAY_S) as f32 / HOUR_S;
    // From the middle of the hour before: in the first half hour of a day that is yesterday's last.
    let since = hour + HOURS as f32 - 0.5;
    let whole = since as usize;
    Place { before: whole % HOURS, after: (whole + 1) % HOURS, way: since - whole as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days of a step in the morning and one at night, at five minutes; how far off the last one was on average.
    fn off_after(days: i64) -> f32 {
        let (mut season, mut off) = (Season::default(), 0.0);
        for step in 0..days * 288 {
            let at_s = step * 300;
            let value = if (8..20).contains(&(at_s / 3600 % 24)) { 50.0 } else { 10.0 };
            let residual = value - season.expected(at_s, 30.0);
            season.learn(at_s, 30.0, residual);
            if step >= (days - 1) * 288 {
                off += residual.abs() / 288.0;
            }
        }
        off
    }

    #[test]
    fn a_rhythm_is_known_after_two_days() {
        let off = [1, 2, 7].map(off_after);
        assert!(off[0] > 2.0 * off[1] && off[1] < 3.5 && off[2] < 3.0, "{off:?}");
    }

    #[test]
    fn an_hour_that_was_not_seen_is_expected_at_the_level() {
        let mut season = Season::default();
        season.learn(12 * 3600 + 1800, 7.0, 3.0);
        assert!(season.expected(12 * 3600 + 1800, 7.0) > 7.0);
        assert_eq!(season.expected(20 * 3600, 7.0), 7.0);
    }

    #[test]
    fn any_moment_has_its_place() {
        let season = Season::default();
        for at_s in [i64::MIN, -1, 0, 1799, 1800, 86_399, i64::MAX] {
            assert_eq!(season.expected(at_s, 1.0), 1.0);
        }
    }
}
