//! What the hub asks for, out of the journal.

use std::io;

use query::selector::Selector;
use wire::class::Class;
use wire::event::Event;
use wire::message::Fetch;
use wire::series::{Series, labels};
use wire::time::Stamp;

use super::{Agent, Storage};
use crate::extract;

impl Agent {
    /// Whether the hub has asked for something and can be answered: before the time is known nobody can tell what it means.
    pub(super) fn is_fetch_due(&self, now: Stamp) -> bool {
        self.fetch.is_some() && now.unix.is_some() && matches!(self.storage, Storage::Works)
    }

    /// Copies the ticks that the hub asked for and says so with the same commit: what a power cut takes, the hub asks for again.
    pub(super) fn answer_fetch(&mut self, now: Stamp) {
        if !self.is_fetch_due(now) {
            return;
        }
        let Some(fetch) = self.fetch.take() else { return };
        // Answered and asked again: the hub has lost the answer.
        let known = self.fetched.iter().find(|(number, _)| *number == fetch.number).copied();
        if let Some((number, batch_count)) = known {
            self.say(now, &Event::Fetched { number, batch_count });
            return self.commit(now, false);
        }
        let batch_count = match Selector::parse(&fetch.selector) {
            Ok(selector) if fetch.is_valid() => match self.copy_meant(now, &fetch, &selector) {
                Ok(batch_count) => Some(batch_count as u32),
                Err(error) => {
                    self.fetch = Some(fetch);
                    return self.storage_failed(now, &error);
                }
            },
            _ => None,
        };
        if !self.say(now, &Event::Fetched { number: fetch.number, batch_count }) {
            self.fetch = Some(fetch);
            return;
        }
        if self.fetched.is_full() {
            self.fetched.remove(0);
        }
        self.fetched.push((fetch.number, batch_count)).expect("there is room for one");
        self.commit(now, false);
    }

    fn copy_meant(&mut self, now: Stamp, fetch: &Fetch, selector: &Selector) -> io::Result<usize> {
        let mut batch_count = 0;
        for class in Class::ALL {
            let dictionary = self.sampler.dictionary();
            let is_meant = |series: Series<&str>| {
                let labels: Vec<_> = labels(series.labels).collect();
                selector.matches(series.name, labels.iter().map(|(name, value)| (*name, value.as_str())))
            };
            let meant: Vec<bool> = dictionary.of(class).map(is_meant).collect();
            let generation = dictionary.mark().generation;
            batch_count += extract::fetch(&mut self.journal, now, class, (fetch.from, fetch.to), generation, &meant)?;
        }
        Ok(batch_count)
    }
}
