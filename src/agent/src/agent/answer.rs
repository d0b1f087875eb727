//! Answers for a person on site.

use std::io;

use link::channel::Carrier;
use wire::class::Class;
use wire::series::Series;
use wire::time::Stamp;

use super::{Agent, Storage};
use crate::history;
use crate::question::{Answer, LinkReport, Question, SeriesSamples, Status};

impl Agent {
    pub(super) fn answer(&mut self, now: Stamp, question: &Question) -> Answer {
        let failed = |error: io::Error| Answer::Failed(error.to_string());
        match question {
            Question::Status => Answer::Status(Box::new(self.status(now))),
            Question::Latest => {
                let (dictionary, values) = self.sampler.latest();
                let slots =
                    Class::ALL.into_iter().zip(values).flat_map(|(class, values)| dictionary.of(class).zip(values));
                let series = slots
                    .filter_map(|(Series { name, labels, kind, scale }, value)| {
                        let series = Series { name: name.into(), labels: labels.into(), kind, scale };
                        Some(SeriesSamples { series, samples: vec![(self.ticked, (*value)?)] })
                    })
                    .collect();
                Answer::Samples { series, is_cut: false }
            }
            Question::Samples { names, since, sample_count_max } => {
                let wants = |series: &Series<&str>| names.is_empty() || names.iter().any(|name| name == series.name);
                let (open, dictionary) = (|class| self.sampler.copy(class), self.sampler.latest().0);
                let count_max = *sample_count_max as usize;
                history::samples(&mut self.journal, open, dictionary, now, *since, count_max, wants)
                    .map_or_else(failed, |(series, is_cut)| Answer::Samples { series, is_cut })
            }
            Question::Events { count_max } => {
                history::events(&mut self.journal, now, *count_max as usize).map_or_else(failed, Answer::Events)
            }
            Question::Link => {
                let listed = self.way.bearers().list();
                let mut bearers: Vec<_> = listed.iter().filter_map(|listed| self.meter.report(now, listed)).collect();
                for bearer in &mut bearers {
                    match history::days(&mut self.journal, now, &bearer.name) {
                        Ok(days) => bearer.days = days,
                        Err(error) => return failed(error),
                    }
                }
                Answer::Link(Box::new(LinkReport {
                    now,
                    state: self.link_state(),
                    ended: self.link_ended.clone(),
                    is_datagram: self.client.carrier().map(|carrier| carrier == Carrier::Datagram),
                    version: self.client.version(),
                    skipped_count: self.client.skipped_count(),
                    tier: self.way.is_chosen().then(|| self.way.tier().to_string()),
                    policy: self.policy.to_string(),
                    bearers,
                }))
            }
        }
    }

    fn link_state(&self) -> String {
        if !self.settings.has_hub {
            "no hub".into()
        } else if self.way.is_idle() {
            "no network".into()
        } else {
            self.client.state_name().into()
        }
    }

    fn status(&self, now: Stamp) -> Status {
        let stat = self.journal.stat();
        Status {
            version: self.settings.version.clone(),
            device: self.settings.device,
            journal: self.journal.id(),
            now,
            started: self.started,
            link: self.link_state(),
            link_ended: self.link_ended.clone(),
            acked_at: self.acked_at,
            hub_offset_ms: self.hub_offset_ms,
            belief: self.clock.belief(now.uptime).map(|belief| (belief.source.to_string(), belief.uncertainty)),
            tick_count: self.tick_count,
            missed_count: self.missed_count,
            series_count: self.sampler.live_count() as u32,
            backlog_count: self.backlog_count(),
            kept_count: self.kept_count(),
            in_flight_count: self.client.in_flight_count() as u32,
            skipped_count: self.client.skipped_count(),
            volume_bytes: stat.volume_bytes,
            tail_bytes: stat.tail_bytes,
            written_bytes: stat.written_bytes,
            storage_error: match &self.storage {
                Storage::Works => self.volatile.clone(),
                Storage::Fails { error, .. } => Some(error.clone()),
            },
        }
    }
}
