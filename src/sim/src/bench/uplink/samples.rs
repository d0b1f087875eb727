//! The fitted load on its way into a gateway: as a reading, for the core, or as values, for its parts.

use agent::probe::{Reading, Source};
use wire::class::CLASS_COUNT;
use wire::metric::Metric;

use crate::fit::Fit;
use crate::fitted::Fitted;

/// Columns of an interface in `/proc/net/dev`.
const COLUMN_COUNT: usize = 16;

/// Values of the fitted load, tick by tick.
#[derive(Debug)]
pub(super) struct Samples {
    fitted: Fitted,
    names: Vec<(Metric, String)>,
    values: Vec<i64>,
    text: String,
}

impl Samples {
    pub(super) fn new(fit: &Fit, seed: u64) -> Samples {
        let metric = |index| if fit.is_counter(index) { Metric::ContextSwitches } else { Metric::MemoryCached };
        let names = fit.series.iter().enumerate().map(|(index, series)| (metric(index), series.name.clone())).collect();
        Samples { fitted: Fitted::new(fit, seed), names, values: Vec::new(), text: String::new() }
    }

    /// How many series of each class there are when they are [rendered](Samples::render): temperatures are critical, and what goes through
    /// interfaces is normal.
    pub(super) fn class_counts(&self) -> [u64; CLASS_COUNT] {
        let counter_count = self.names.iter().filter(|(metric, _)| *metric == Metric::ContextSwitches).count();
        [(self.names.len() - counter_count) as u64, counter_count as u64, 0]
    }

    pub(super) fn series_count(&self) -> usize {
        self.names.len()
    }

    /// The next tick: each series by its name.
    pub(super) fn tick(&mut self) -> impl Iterator<Item = (Metric, &str, i64)> {
        self.fitted.tick(&mut self.values);
        self.names.iter().zip(&self.values).map(|((metric, name), value)| (*metric, name.as_str(), *value))
    }

    /// The next tick as the kernel would show it. What the values are called does not matter to the link, so counters stand in the
    /// columns of interfaces and gauges are temperatures, which may be anything: the shortest way through a parser.
    pub(super) fn render(&mut self, reading: &mut Reading) {
        use std::fmt::Write as _;
        let told = "writing to a string does not fail";
        let mut text = std::mem::take(&mut self.text);
        let (mut column, mut zone) = (0, 0);
        text.clear();
        reading.clear();
        for (metric, _, value) in self.tick() {
            if metric == Metric::ContextSwitches {
                if column % COLUMN_COUNT == 0 {
                    write!(text, "\nif{}:", column / COLUMN_COUNT).expect(told);
                }
                write!(text, " {value}").expect(told);
                column += 1;
                continue;
            }
            let appended: Result<(), std::fmt::Error> =
                reading.append(Source::ThermalZone, format!("thermal_zone{zone}").as_bytes(), |bytes| {
                    bytes.extend_from_slice(format!("temp {value}\n").as_bytes());
                    Ok(())
                });
            appended.expect(told);
            zone += 1;
        }
        let appended: Result<(), std::fmt::Error> = reading.append(Source::NetDev, b"", |bytes| {
            bytes.extend_from_slice(text.as_bytes());
            Ok(())
        });
        appended.expect(told);
        self.text = text;
    }
}
