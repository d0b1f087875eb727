//! From readings and events to batches in the journal, durable before anything is sent.

use std::io;

use wire::batch;
use wire::class::Class;
use wire::event::{self, Event};
use wire::id::Seq;
use wire::limits::RECORD_BYTES_MAX;
use wire::metric::Metric;
use wire::stream::{Resolution, Stream};
use wire::time::{Instant, Span, Stamp};

use super::{Agent, BOOTS_SLOT, CONTEXT_SLOT, Output, Storage, TIERS_SLOT, offset_ms};
use crate::context::Cut;
use crate::extract;
use crate::probe::Reading;
use crate::sampler::Batch;
use crate::shortfall::Shortfall;
use crate::summary::Sealed;
use crate::tier::Tier;
use crate::watch::lasting::Change;

/// Bytes of one dictionary batch, roughly.
const DICTIONARY_BYTES_TARGET: usize = 16 * 1024;

/// Bytes of one batch of windows.
const WINDOWS_BYTES_MAX: usize = RECORD_BYTES_MAX - 1024;

/// How far civil time may drift against the boot's clock between two steps before it counts as a step of the clock. NTP
/// slews by 500 ppm at most (RFC 5905), half a second in a quarter of an hour.
const CLOCK_STEP_MS: u64 = 2000;

/// How long to wait after the disk refused a commit.
const STORAGE_RETRY: Span = Span::seconds(5);

impl Agent {
    pub(super) fn watch_clock(&mut self, now: Stamp) {
        let Some(offset_ms) = offset_ms(now) else { return };
        if let Some(before_ms) = self.clock_offset_ms.replace(offset_ms)
            && offset_ms.abs_diff(before_ms) > CLOCK_STEP_MS
        {
            // A batch is placed by its own stamp: the ticks before the step keep theirs.
            self.close_batch(now);
            self.say(now, &Event::ClockStepped { by_ms: offset_ms.wrapping_sub(before_ms) });
        }
    }

    pub(super) fn miss(&mut self, count: u32) {
        self.missed_count += u64::from(count);
        self.unsaid_missed_count = self.unsaid_missed_count.saturating_add(count);
    }

    /// Says how many ticks were missed. While the disk fails they wait, to be said in one event.
    pub(super) fn say_missed(&mut self, now: Stamp) {
        let count = self.unsaid_missed_count;
        if count > 0 && matches!(self.storage, Storage::Works) && self.say(now, &Event::TicksMissed { count }) {
            self.unsaid_missed_count = 0;
        }
    }

    /// Says what a day cost, and which step of the budget was passed.
    pub(super) fn say_spending(&mut self, now: Stamp) {
        while matches!(self.storage, Storage::Works)
            && let Some(event) = self.meter.poll_event(now)
        {
            if !self.say(now, &event) {
                self.meter.unsay(event);
            }
        }
    }

    pub(super) fn tick(&mut self, now: Stamp, at: Instant, reading: Box<Reading>) {
        if self.sampler.is_renewal_due() {
            self.close_batch(now);
            self.sampler.end_run();
            self.renew_list(now);
        }
        let skipped_count = self.take(now, &reading);
        self.say_shortfalls(now, reading.refused_count(), skipped_count);
        if self.write_dictionary(now) {
            self.ticked = now.at(at.min(now.uptime).max(self.ticked.uptime));
            self.sampler.end(self.ticked);
            self.tick_count += 1;
            let interval = Span(self.settings.interval.0 * u64::from(self.policy.sampling));
            let (dictionary, values) = self.sampler.latest();
            self.summarizer.tick(self.ticked, interval, dictionary, values);
            self.watch_windows(now);
            self.close_batch_if_due(now);
            self.close_windows(now);
        }
        self.outputs.push_back(Output::Reading(reading));
    }

    /// Takes every value of a reading. Returns how many processes it has no room for.
    fn take(&mut self, now: Stamp, reading: &Reading) -> u32 {
        let (sampler, carry, watch) = (&mut self.sampler, &mut *self.carry, &mut self.watch);
        let mut skipped_count = 0;
        sampler.begin();
        watch.look(now.uptime, reading, carry, &mut |metric, labels, value| {
            if metric == Metric::ProcessesSkipped {
                skipped_count = u32::try_from(value).unwrap_or(u32::MAX);
            }
            sampler.put(metric, labels, value);
        });
        self.meter.put(now.uptime, &mut |metric, labels, value| sampler.put(metric, labels, value));
        skipped_count
    }

    /// Lets the detectors see the windows that have just ended.
    fn watch_windows(&mut self, now: Stamp) {
        let (watch, dictionary) = (&mut self.watch, self.sampler.dictionary());
        self.summarizer.take_ended(|ended| watch.take(now.uptime, dictionary, ended));
    }

    /// Says what is there and in no tick, once for as long as it lasts.
    fn say_shortfalls(&mut self, now: Stamp, unread_count: u32, skipped_count: u32) {
        let refused_count = self.sampler.refused_count();
        let events = [
            (refused_count, Event::SeriesRefused { count: refused_count }),
            (unread_count, Event::PartsUnread { count: unread_count }),
            (skipped_count, Event::ProcessesSkipped { count: skipped_count }),
        ];
        for (index, (count, event)) in events.iter().enumerate() {
            if self.shortfalls[index].is_news(now.uptime, *count) && !self.say(now, event) {
                self.shortfalls[index] = Shortfall::default();
            }
        }
    }

    /// New series go into the journal before the first tick that has them. `false` when it has no room: the tick is lost then, and
    /// with it the list, whose next generation starts with the next tick.
    fn write_dictionary(&mut self, now: Stamp) -> bool {
        let mut payload = Vec::new();
        while self.sampler.dictionary().has_news() {
            self.sampler.dictionary().take_news(DICTIONARY_BYTES_TARGET, &mut payload);
            if let Err(error) = self.journal.append(now, Stream::Dictionary, None, now, &payload, true) {
                // A hole in the list would leave every later series without a name.
                let lost_count = self.sampler.lose();
                self.miss(lost_count + 1);
                self.sampler.end_run();
                self.renew_list(now);
                self.storage_failed(now, &error);
                return false;
            }
        }
        true
    }

    /// Starts the list of series again. Windows that are open count on the old one, so they end with it.
    fn renew_list(&mut self, now: Stamp) {
        self.close_all_windows(now);
        self.summarizer.renew();
        self.sampler.renew();
        self.watch.renew();
    }

    pub(super) fn close_all_windows(&mut self, now: Stamp) {
        self.summarizer.end_all();
        self.watch_windows(now);
        self.close_windows(now);
    }

    /// Puts the batches of windows that are due into the journal. They are durable with the next commit.
    pub(super) fn close_windows(&mut self, now: Stamp) {
        let mut payload = Vec::new();
        loop {
            payload.clear();
            let Some(sealed) = self.summarizer.due(&self.sampler.dictionary().mark(), &mut payload) else { return };
            let Sealed { stream, run, stamp, window_count } = sealed;
            let appended = if payload.len() <= WINDOWS_BYTES_MAX {
                self.journal.append(now, stream, run, stamp, &payload, false)
            } else {
                Err(io::ErrorKind::FileTooLarge.into())
            };
            self.summarizer.taken(stream, appended.as_ref().ok().copied());
            if let Ok(seq) = appended {
                self.withhold_if_covered(now, stream, seq);
            }
            if let Err(error) = appended {
                self.say(now, &Event::WindowsRefused { stream, count: window_count });
                if error.kind() != io::ErrorKind::FileTooLarge {
                    self.storage_failed(now, &error);
                }
            }
        }
    }

    /// Keeps new windows back that say nothing which is not sent anyway. Before others of the stream follow, the hub is told, so that
    /// it never sees a hole.
    fn withhold_if_covered(&mut self, now: Stamp, stream: Stream, seq: Seq) {
        let Stream::Series(resolution, class) = stream else { return };
        if self.settings.has_hub && self.policy.is_covered(resolution, class) {
            self.journal.withhold(now, stream, seq);
        } else if self.journal.withheld_count(stream) > 0 {
            self.journal.tell_withheld(now);
        }
    }

    /// Tells the hub which windows it will not get, now and then.
    pub(super) fn tell_withheld(&mut self, now: Stamp, is_last: bool) {
        let is_due = self.journal.withheld_due_at().is_some_and(|at| at <= now.uptime || is_last);
        if is_due && matches!(self.storage, Storage::Works) {
            self.journal.tell_withheld(now);
        }
    }

    pub(super) fn close_batch_if_due(&mut self, now: Stamp) {
        if self.sampler.is_due(now.uptime, self.batch_age()) {
            self.close_batch(now);
        }
    }

    pub(super) fn close_batch(&mut self, now: Stamp) {
        let (journal, tick_count) = (&mut self.journal, self.sampler.open_tick_count());
        let closed = self
            .sampler
            .close(|Batch { stream, run, stamp, payload }| journal.append(now, stream, run, stamp, payload, false));
        match closed {
            Ok(batch_count) => self.is_urgent |= batch_count > 0,
            Err(error) => {
                self.miss(tick_count);
                self.storage_failed(now, &error);
            }
        }
    }

    pub(super) fn commit(&mut self, now: Stamp, is_last: bool) {
        let is_retry = matches!(self.storage, Storage::Fails { retry_at, .. } if retry_at <= now.uptime);
        let is_waiting = matches!(self.storage, Storage::Fails { .. }) && !is_retry;
        if !(self.is_urgent || is_retry || is_last) || is_waiting && !is_last {
            return;
        }
        if self.meter.keep(now, &mut self.journal, is_last) {
            self.journal.set_slot(TIERS_SLOT, &self.way.memory().encode());
        }
        self.journal.set_slot(CONTEXT_SLOT, &self.context.encode());
        if let Some(trouble) = self.boots.lasts(now.uptime) {
            self.watch.note(now.uptime, trouble, Change::Ends);
        }
        self.journal.set_slot(BOOTS_SLOT, &self.boots.encode());
        match self.journal.commit(now) {
            Ok(()) => {
                self.is_urgent = false;
                self.durable_tick_count = self.tick_count - u64::from(self.sampler.open_tick_count());
                self.storage_works(now);
            }
            Err(error) => self.storage_failed(now, &error),
        }
    }

    pub(super) fn storage_failed(&mut self, now: Stamp, error: &io::Error) {
        let failed = Storage::Fails { error: error.to_string(), retry_at: now.uptime + STORAGE_RETRY };
        if let Storage::Works = std::mem::replace(&mut self.storage, failed) {
            self.outputs.push_back(Output::Storage(Some(error.to_string())));
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                self.outputs.push_back(Output::ReadOnly);
            }
            self.say(now, &Event::StorageFailed { error: event::text(&error.to_string()) });
        }
    }

    fn storage_works(&mut self, now: Stamp) {
        if matches!(self.storage, Storage::Works) {
            return;
        }
        self.storage = Storage::Works;
        self.outputs.push_back(Output::Storage(None));
        self.say(now, &Event::StorageRecovered);
        self.say_missed(now);
    }

    /// Whether ticks are to be copied now, of which the newest may be in no batch yet.
    pub(super) fn is_context_due(&self, now: Stamp) -> bool {
        let is_any_copied = Class::ALL.into_iter().any(|class| self.is_copied(class));
        is_any_copied && self.context_due(now).is_some()
    }

    fn context_due(&self, now: Stamp) -> Option<Cut> {
        self.context.due(now, self.ticked.uptime).filter(|_| matches!(self.storage, Storage::Works))
    }

    /// Whether the ticks of a class do not go anyway. Offline nobody knows over what the link comes back.
    fn is_copied(&self, class: Class) -> bool {
        self.way.tier() == Tier::Offline || self.sent[class as usize] != Some(Resolution::Raw)
    }

    /// Copies the ticks around what happened.
    pub(super) fn copy_context(&mut self, now: Stamp) {
        let Some(cut) = self.context_due(now) else { return };
        if self.is_context_due(now) && self.sampler.open_tick_count() > 0 {
            // It became due in this step; the next one closes their batch first.
            return;
        }
        for class in Class::ALL {
            if !self.is_copied(class) {
                continue;
            }
            match extract::copy(&mut self.journal, now, class, &cut) {
                Ok(batch_count) => self.is_urgent |= batch_count > 0,
                Err(error) => {
                    // The ticks stay where they are: it was but a copy.
                    self.storage_failed(now, &error);
                    break;
                }
            }
        }
        self.context.copied(now, &cut);
        self.commit(now, false);
    }

    /// Puts an event into the journal. `false` when it found no room, as on a disk that fails.
    pub(super) fn say(&mut self, now: Stamp, event: &Event) -> bool {
        let mut payload = Vec::new();
        batch::put_event(Span(0), event, &mut payload);
        match self.journal.append(now, Stream::Event, None, now, &payload, true) {
            Ok(_) => {
                self.is_urgent |= !can_wait(event);
                if event.wants_context() {
                    self.context.note(now);
                }
            }
            Err(ref error) => {
                self.storage_failed(now, error);
                return false;
            }
        }
        true
    }

    pub(super) fn batch_age(&self) -> Span {
        let (least, most) = self.policy.batch_age;
        self.journal.wear().commit_interval(self.settings.wear_budget_bytes, least, most)
    }
}

/// Whether an event is worth no packet of its own: it goes with the next batches, or with a ping.
fn can_wait(event: &Event) -> bool {
    matches!(event, Event::DataUsed { .. } | Event::LinkChanged { .. } | Event::TimeLearned { .. })
}
