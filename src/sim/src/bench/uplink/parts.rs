//! A gateway of the agent's parts, of which only some streams are recorded: so it can be said what each of them costs by itself.
//!
//! What is sampled, sealed, kept and sent goes through the same sampler, summarizer, journal and client as in the core, and in the same
//! order; what is missing of the core is what answers people and watches clocks and disks.

use std::collections::VecDeque;
use std::io;

use agent::agent::{Input, Output};
use agent::dictionary::Dictionary;
use agent::importance::Importance;
use agent::meter::Meter;
use agent::policy::{Policies, Policy, Pressure};
use agent::sampler::{Batch, Sampler};
use agent::summary::Summarizer;
use agent::tier::Tier;
use agent::uplink;
use disk::Folder;
use journal::Journal;
use journal::journal::Settings;
use link::channel::Carrier;
use link::client::{Client, Input as LinkInput, Output as LinkOutput, Timing};
use link::estimator::Estimate;
use wire::id::Seq;
use wire::message::{About, Backlog, Ping};
use wire::stream::{Lane, Resolution, Shelf, Stream};
use wire::time::{Instant, Span, Stamp};

use super::samples::Samples;

/// How old a batch of ticks becomes.
const BATCH_AGE: Span = Span::seconds(60);

/// The time between two ticks.
const TICK: Span = Span::seconds(10);

/// From ticks to a journal.
#[derive(Debug)]
pub(super) struct Recorder {
    samples: Samples,
    sampler: Sampler,
    summarizer: Summarizer,
    shelves: Vec<Shelf>,
    pub(super) journal: Journal,
    pub(super) tick_count: u64,
    /// Payloads of batches of ticks and windows.
    pub(super) payload_bytes: u64,
}

impl Recorder {
    /// One that records what stands on these shelves alone.
    pub(super) fn new(folder: Folder, samples: Samples, shelves: &[Shelf], now: Stamp) -> Result<Recorder, String> {
        let journal = Journal::open(folder, Settings::DEFAULT, 1, now).map_err(|error| error.to_string())?;
        Ok(Recorder {
            samples,
            sampler: Sampler::new(Dictionary::new(1), &Importance::default()),
            summarizer: Summarizer::new(&[]),
            shelves: shelves.into(),
            journal,
            tick_count: 0,
            payload_bytes: 0,
        })
    }

    /// Takes the next tick. What is in a batch then is durable.
    pub(super) fn tick(&mut self, now: Stamp) -> io::Result<()> {
        self.tick_count += 1;
        self.sampler.begin();
        for (metric, name, value) in self.samples.tick() {
            self.sampler.put(metric, &[("series", name.as_bytes())], value);
        }
        let (mut payload, mut is_due) = (Vec::new(), false);
        while self.sampler.dictionary().has_news() {
            self.sampler.dictionary().take_news(1 << 14, &mut payload);
            self.journal.append(now, Stream::Dictionary, None, now, &payload, true)?;
            is_due = true;
        }
        self.sampler.end(now);
        let (dictionary, values) = self.sampler.latest();
        self.summarizer.tick(now, TICK, dictionary, values);
        loop {
            payload.clear();
            let Some(sealed) = self.summarizer.due(&self.sampler.dictionary().mark(), &mut payload) else { break };
            let is_recorded = self.shelves.contains(&sealed.stream.shelf());
            let seq = if is_recorded {
                self.payload_bytes += payload.len() as u64;
                self.journal.append(now, sealed.stream, sealed.run, sealed.stamp, &payload, false)?
            } else {
                Seq(0)
            };
            is_due |= is_recorded;
            self.summarizer.taken(sealed.stream, Some(seq));
        }
        if self.sampler.is_due(now.uptime, BATCH_AGE) {
            let has_ticks = self.shelves.contains(&Shelf::Series(Resolution::Raw));
            let (journal, payload_bytes) = (&mut self.journal, &mut self.payload_bytes);
            self.sampler.close(|Batch { stream, run, stamp, payload }| {
                if !has_ticks {
                    return Ok(Seq(0));
                }
                *payload_bytes += payload.len() as u64;
                journal.append(now, stream, run, stamp, payload, false)
            })?;
            is_due |= has_ticks;
        }
        if is_due { self.journal.commit(now) } else { Ok(()) }
    }

    /// When the next batch is to be expected: of windows, if they are recorded, or of ticks.
    fn batch_at(&self) -> Option<Instant> {
        let has_ticks = self.shelves.contains(&Shelf::Series(Resolution::Raw));
        let ticks_at = self.sampler.due_at(BATCH_AGE).filter(|_| has_ticks);
        self.summarizer.due_at(|_| true).into_iter().chain(ticks_at).min()
    }
}

/// A recorder with a link.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) recorder: Recorder,
    client: Client,
    meter: Meter,
    heartbeat: Span,
    known: Estimate,
    policy: Policy,
    outputs: VecDeque<Output>,
    record: Vec<u8>,
}

impl Parts {
    pub(super) fn new(recorder: Recorder, link: Timing, now: Stamp) -> Parts {
        Parts {
            meter: Meter::open(&recorder.journal, now),
            recorder,
            client: Client::new(link, 1, now.uptime),
            heartbeat: link.heartbeat,
            known: Estimate::default(),
            policy: Policies::default().policy(Tier::Wired, Pressure::None),
            outputs: VecDeque::new(),
            record: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, now: Stamp, inputs: Vec<Input>) {
        for input in inputs {
            match input {
                Input::Connected(carrier) => {
                    let journal = &self.recorder.journal;
                    let waits = |stream: &Stream| journal.waiting_count(*stream) > 0;
                    let hello = uplink::hello(journal, now, self.heartbeat, About::default().checksum(), waits);
                    let connected = LinkInput::Connected { carrier, known: self.known, hello: &hello };
                    self.client.handle_input(now.uptime, connected);
                }
                Input::Datagram(number, bytes) => {
                    self.client.handle_input(now.uptime, LinkInput::Datagram(number, &bytes));
                }
                Input::Received(bytes) => self.client.handle_input(now.uptime, LinkInput::Received(&bytes)),
                _ => {}
            }
            self.drain_link(now);
        }
        self.known = self.client.estimate().unwrap_or(self.known);
        self.client.handle_timeout(now.uptime);
        self.drain_link(now);
        loop {
            // The simulated disk refuses nothing here.
            let journal = &mut self.recorder.journal;
            let _ = uplink::fill(journal, &mut self.client, &mut self.meter, &self.policy, now, &mut self.record);
            let Some(packet) = self.client.poll_packet(now.uptime, &Lane::ALL) else { break };
            self.outputs.push_back(Output::Send(packet.bytes));
        }
        self.client.expect_batch(self.recorder.batch_at());
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    fn drain_link(&mut self, now: Stamp) {
        let journal = &mut self.recorder.journal;
        while let Some(output) = self.client.poll_output() {
            match output {
                LinkOutput::Dial => {
                    self.outputs.push_back(Output::Dial { interface: None, carrier: Carrier::Stream });
                }
                LinkOutput::Send(packet) => self.outputs.push_back(Output::Send(packet.bytes)),
                LinkOutput::HangUp(_) => self.outputs.push_back(Output::HangUp),
                LinkOutput::Acked(ack) => {
                    ack.held().for_each(|range| journal.ack(ack.stream, range));
                }
                LinkOutput::PingDue => {
                    let backlog = Backlog { batch_count: journal.backlog_count() };
                    self.client.ping(now.uptime, &Ping { backlog, ..Ping::default() });
                }
                // Nothing here outlives its link.
                LinkOutput::Up(_) | LinkOutput::Asked(_) | LinkOutput::Wanted(_) | LinkOutput::HubTime(..) => {}
            }
        }
    }
}
