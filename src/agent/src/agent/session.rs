//! What the core does with the link: dials, greets, sends what the policy and the budget let through, and takes what the hub answers.

use link::channel::{Carrier, Outgoing};
use link::client::{DownReason, Output as LinkOutput};
use wire::class::Class;
use wire::event::Event;
use wire::id::{JournalId, Seq};
use wire::message::{About, Backlog, Checksum, CloseReason, Hello, Ping, Welcome};
use wire::ranges::RangeSet;
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Stamp, UnixTime};

use super::{Agent, Output, Storage, offset_ms};
use crate::bearer::choice::DEFAULT;
use crate::policy::Part;
use crate::tier::Tier;
use crate::uplink;
use crate::way::Carried;

/// By how much a clock that is shown at the hub may be off before it is worth eight bytes.
const CLOCK_NEWS_MS: u64 = 250;

impl Agent {
    /// Sends what there is to send and room for, as long as the budget lets it.
    pub(super) fn send(&mut self, now: Stamp) {
        self.meter.begin();
        while let Some(lanes) = self.meter.gate(now).lanes() {
            // What the disk refuses now is asked for again in the next step.
            let (journal, client, record) = (&mut self.journal, &mut self.client, &mut self.record);
            let _ = uplink::fill(journal, client, &mut self.meter, &self.policy, now, record);
            let Some(packet) = self.client.poll_packet(now.uptime, lanes) else { break };
            self.leave(now, packet);
        }
        let can_send = self.client.is_online() && self.meter.is_at_ease(now);
        if self.meter.notice(now, can_send) {
            self.end_runs(now);
            self.meter.mark_history(&self.journal);
        }
        self.client.close(self.meter.gate(now).lanes().is_none());
        let may_dial = self.meter.may_dial(now, uplink::is_urgent(&self.journal));
        self.client.hold(!may_dial || self.way.is_idle());
        self.client.expect_batch(self.expected_batch());
        if let Some(estimate) = self.client.estimate().filter(|_| self.client.is_online()) {
            let carried = Carried {
                bytes: self.client.delivered_bytes(),
                round_trip: estimate.round_trip,
                fate: self.client.fate(),
                is_limited: self.client.can_send(Lane::Raw),
            };
            self.way.measure(now.uptime, carried);
        }
    }

    /// When the next batch will be ready that is sent, if ticks go on.
    fn expected_batch(&self) -> Option<Instant> {
        let goes = |stream: Stream| match stream {
            Stream::Series(resolution, class) => {
                self.policy.is_sent(Part::Live, resolution, class) && !self.policy.is_covered(resolution, class)
            }
            _ => true,
        };
        let ticks = self.sampler.due_at(self.batch_age()).filter(|_| Class::ALL.map(Stream::raw).into_iter().any(goes));
        ticks.into_iter().chain(self.summarizer.due_at(goes)).min()
    }

    /// Goes over another bearer when there is a better one, or none.
    pub(super) fn follow_way(&mut self, now: Stamp) {
        while let Some(switch) = self.way.poll_switch(now.uptime) {
            if let Some(in_use) = &switch.to {
                self.meter.carry(now, in_use);
            }
            self.client.reroute(now.uptime);
            let may_dial = switch.to.is_some() && self.meter.may_dial(now, uplink::is_urgent(&self.journal));
            self.client.hold(!may_dial);
            self.drain_link(now);
        }
    }

    /// Does what the link's tier and the budget ask for.
    pub(super) fn follow_policy(&mut self, now: Stamp) {
        let policy = self.way.policy(self.meter.pressure(now));
        if policy == self.policy {
            return;
        }
        if policy.sampling != self.policy.sampling {
            self.outputs.push_back(Output::Sampling(policy.sampling));
        }
        self.policy = policy;
        if self.way.tier() == Tier::Offline {
            // The next link begins as the last one was.
            return;
        }
        self.sampler.set_run_length(self.policy.run_tick_count_max);
        self.client.set_heartbeat(now.uptime, self.policy.heartbeat);
        if self.policy.live != self.sent {
            // What was not sent until now is history, and what is sent from here on does not wait for it.
            self.sent = self.policy.live;
            self.end_runs(now);
            self.meter.mark_history(&self.journal);
        }
    }

    /// Says over which bearer the link goes, and how good it is.
    pub(super) fn say_way(&mut self, now: Stamp) {
        if matches!(self.storage, Storage::Works)
            && let Some(event) = self.way.poll_event()
            && !self.say(now, &event)
        {
            self.way.unsay();
        }
    }

    fn leave(&mut self, now: Stamp, packet: Outgoing) {
        self.meter.spend(now, packet.by_use, uplink::is_urgent(&self.journal));
        self.outputs.push_back(Output::Send(packet.bytes));
    }

    pub(super) fn count_received(&mut self, now: Stamp, bytes: &[u8]) {
        let Some(carrier) = self.client.carrier() else { return };
        let whole_bytes = (bytes.len() + carrier.around_bytes()) as u64;
        self.meter.spend_overhead(now, whole_bytes, uplink::is_urgent(&self.journal));
    }

    pub(super) fn hello(&self, now: Stamp) -> Hello {
        let waits = |stream: &Stream| self.waiting_count(*stream) > 0;
        uplink::hello(&self.journal, now, self.client.heartbeat(), self.about().checksum(), waits)
    }

    fn about(&self) -> About {
        let mut about = About::default();
        // What does not fit is cut: it is for people.
        self.settings.version.chars().take_while(|character| about.agent.push(*character).is_ok()).for_each(drop);
        self.settings.hostname.chars().take_while(|character| about.hostname.push(*character).is_ok()).for_each(drop);
        about
    }

    fn backlog(&self) -> Backlog {
        Backlog { batch_count: self.backlog_count() }
    }

    /// What the hub has to hear of this machine's clock, if it does not go on as the hub was told.
    fn news_of_clock(&mut self, now: Stamp) -> Option<UnixTime> {
        let offset_ms = offset_ms(now)?;
        let is_known = self.told_offset_ms.is_some_and(|told_ms| told_ms.abs_diff(offset_ms) < CLOCK_NEWS_MS);
        if is_known {
            return None;
        }
        self.told_offset_ms = Some(offset_ms);
        now.unix
    }

    /// Carries out what the client wants, until it wants nothing.
    pub(super) fn drain_link(&mut self, now: Stamp) {
        while let Some(output) = self.client.poll_output() {
            match output {
                LinkOutput::Dial => {
                    let in_use = self.way.in_use();
                    let interface = in_use.as_ref().map(|in_use| in_use.name.clone()).filter(|name| name != DEFAULT);
                    let carrier = in_use.map_or(Carrier::Stream, |in_use| in_use.carrier);
                    self.outputs.push_back(Output::Dial { interface, carrier });
                }
                LinkOutput::Send(packet) => self.leave(now, *packet),
                LinkOutput::HangUp(reason) => self.link_down(now, reason),
                LinkOutput::Up(welcome) => self.link_up(now, &welcome),
                LinkOutput::Acked(ack) => {
                    ack.held().for_each(|range| self.journal.ack(ack.stream, range));
                    self.acked_at = Some(now.uptime);
                    self.way.heard(now.uptime);
                }
                LinkOutput::Wanted(want) => {
                    if want.generation == self.sampler.dictionary().mark().generation {
                        self.journal.adopt(now, Stream::Dictionary, &RangeSet::new());
                    }
                }
                LinkOutput::Asked(fetch) => self.fetch = Some(fetch),
                LinkOutput::PingDue => {
                    // What has waited for a packet that leaves anyway.
                    self.is_urgent |= self.journal.has_uncommitted_batches();
                    let ping = Ping { now: self.news_of_clock(now), backlog: self.backlog(), wants_acks: false };
                    self.client.ping(now.uptime, &ping);
                }
                LinkOutput::HubTime(hub, asked_at) => {
                    self.way.heard(now.uptime);
                    let answered_ms = hub.received.0.saturating_add(hub.held.0) + (now.uptime - asked_at).0 / 2;
                    self.clock.hear(now.uptime, hub, asked_at);
                    self.hub_offset_ms = now.unix.map(|unix| answered_ms.wrapping_sub(unix.0) as i64);
                }
            }
        }
    }

    /// Whether the hub holds batches under numbers of this journal that are not the journal's: those that it has not given out yet, or
    /// others.
    fn is_forked(&mut self, now: Stamp, welcome: &Welcome) -> bool {
        welcome.progress.iter().flatten().any(|progress| {
            let Some(highest) = progress.held.iter().next_back().map(|range| range.last) else { return false };
            let Some(tip) = progress.tip else { return false };
            if highest >= self.journal.next(progress.stream) {
                return true;
            }
            // What is not here any more cannot be compared.
            let is_read = self.journal.read(now, progress.stream, highest, &mut self.record).unwrap_or(false);
            is_read && self.record.first_chunk().is_some_and(|crc| Checksum::from(*crc) != tip)
        })
    }

    fn fork(&mut self, now: Stamp) {
        self.close_batch(now);
        self.sampler.end_run();
        let runs = self.summarizer.runs();
        runs.into_iter().for_each(|(stream, _)| self.summarizer.end_run(stream));
        self.close_windows(now);
        let former = self.journal.id();
        // The moment tells the forks of one process apart.
        let name = JournalId((self.seed >> 32) as u32 ^ now.uptime.0 as u32);
        self.journal.rename(now, name);
        self.say(now, &Event::JournalRenamed { former });
    }

    fn link_up(&mut self, now: Stamp, welcome: &Welcome) {
        self.way.heard(now.uptime);
        if self.is_forked(now, welcome) {
            self.fork(now);
            return self.client.begin_again(now.uptime);
        }
        for stream in Stream::ALL {
            let Some(progress) = &welcome.progress else { break };
            let progress = progress.iter().find(|progress| progress.stream == stream);
            let held = progress.map(|progress| progress.held.clone()).unwrap_or_default();
            if let Some(last) = held.iter().next_back() {
                // Numbers above our own of which the hub has nothing: they were said to be lost.
                self.journal.skip_to(stream, Seq(last.last.0.saturating_add(1)));
            }
            self.journal.adopt(now, stream, &held);
        }
        if welcome.wants_about {
            let about = self.about();
            self.client.about(&about);
        }
        if let Some(key) = welcome.next_key {
            self.outputs.push_back(Output::Pin(key));
        }
        self.is_up = true;
        self.link_ended = None;
        self.outputs.push_back(Output::Link(None));
    }

    /// A run that goes on over an outage would make the news after it wait for everything before it.
    fn end_runs(&mut self, now: Stamp) {
        let journal = &self.journal;
        let is_unsent = |stream, run| journal.done(stream).first_missing(run) < journal.durable(stream);
        let is_open = |class| self.sampler.run(class).is_some_and(|run| is_unsent(Stream::raw(class), run));
        let runs = self.summarizer.runs().into_iter().filter(|(stream, run)| is_unsent(*stream, *run));
        runs.for_each(|(stream, _)| self.summarizer.end_run(stream));
        if Class::ALL.into_iter().any(is_open) {
            self.close_batch(now);
            self.sampler.end_run();
        }
        self.close_windows(now);
    }

    fn link_down(&mut self, now: Stamp, reason: DownReason) {
        self.way.ended(now.uptime, &reason);
        if matches!(&reason, DownReason::Refused(close) if close.reason == CloseReason::Forked) {
            self.fork(now);
        }
        // The runs of an outage end when it does: each dial that fails would end them again.
        if std::mem::take(&mut self.is_up) {
            self.end_runs(now);
        }
        let lost = self.lost.take().filter(|_| reason == DownReason::Disconnected);
        self.link_ended = Some(lost.unwrap_or_else(|| reason.to_string()));
        self.outputs.push_back(Output::HangUp);
        self.outputs.push_back(Output::Link(Some(reason)));
    }
}
