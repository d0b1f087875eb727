//! Stepping the two cores, and carrying between them what they say.

use agent::agent::{Input as AgentInput, Output as AgentOutput};
use hub::hub::{Input as HubInput, Note, Output as HubOutput};
use hub::session::PeerId;
use link::channel::Carrier;
use link::receipt::Number;
use store::change::Change;
use wire::class::Class;
use wire::id::Seq;
use wire::record::Record;
use wire::stream::{Resolution, STREAM_COUNT, Shelf, Stream};

use super::{COMMIT_MS, Core, Happening, KEY, Stage, Way};
use crate::bench::uplink::line::Arrival;
use crate::net::End;

impl Stage {
    pub(super) fn arrive(&mut self, peer: PeerId, at: End, number: Option<Number>, bytes: Vec<u8>) {
        if self.peer != Some(peer) {
            return;
        }
        let now_ms = self.now_ms();
        match number {
            Some(number) => {
                let (is_news, again) = self.line.arrive(at, number, &bytes, now_ms);
                self.plan_arrival(peer, at.other(), again);
                if !is_news {
                    return;
                }
            }
            None => {
                if let Some(at_ms) = self.line.heard(at, now_ms) {
                    self.agenda.after(at_ms - now_ms, Happening::Acknowledge { peer, at });
                }
            }
        }
        match (at, number) {
            (End::Hub, Some(0)) => {
                let carrier = Carrier::Datagram;
                let connected = HubInput::Connected { peer, key: KEY, datagram_key: None, carrier };
                self.step_hub(vec![connected, HubInput::Received { peer, number, bytes }]);
            }
            (End::Hub, _) => self.step_hub(vec![HubInput::Received { peer, number, bytes }]),
            (End::Gateway, None) => self.step_gateway(vec![AgentInput::Received(bytes)]),
            (End::Gateway, Some(number)) => self.step_gateway(vec![AgentInput::Datagram(number, bytes)]),
        }
    }

    fn say(&mut self, from: End, bytes: Vec<u8>) {
        let Some(peer) = self.peer else { return };
        let arrival = self.line.say(from, bytes, self.agenda.now_ms());
        self.plan_arrival(peer, from.other(), arrival);
    }

    fn plan_arrival(&mut self, peer: PeerId, at: End, arrival: Option<Arrival>) {
        if let Some(Arrival { at_ms, number, bytes }) = arrival {
            self.agenda.after(at_ms - self.now_ms(), Happening::Arrive { peer, at, number, bytes });
        }
    }

    pub(super) fn step_gateway(&mut self, inputs: Vec<AgentInput>) {
        let now = self.now();
        let before = Stream::table(|stream| self.core.journal().next(stream));
        self.core.step(now, inputs);
        self.note_appended(before);
        while let Some(output) = self.core.poll_output() {
            match output {
                AgentOutput::Dial { .. } => self.dial(),
                AgentOutput::Send(bytes) => self.say(End::Gateway, bytes),
                AgentOutput::HangUp => self.peer = None,
                AgentOutput::Reading(reading) => {
                    if let Some(machine) = &mut self.machine {
                        machine.reading = Some(reading);
                    }
                }
                _ => {}
            }
        }
        self.wake_version += 1;
        if let Some(at) = self.core.poll_timeout() {
            let delay_ms = at.0.saturating_sub(self.now_ms()).max(1);
            self.agenda.after(delay_ms, Happening::WakeGateway(self.wake_version));
        }
    }

    fn note_appended(&mut self, before: [Seq; STREAM_COUNT]) {
        let appended_ms = self.now_ms();
        for stream in Stream::ALL {
            for seq in before[stream.index()].0..self.core.journal().next(stream).0 {
                if stream.shelf() != Shelf::Series(Resolution::Raw) {
                    self.ways[stream.index()].insert(Seq(seq), Way { appended_ms, arrived_ms: None });
                } else if stream != Stream::raw(Class::Critical) {
                    // The batches of the other classes have the same ticks and the same numbers.
                } else if let (Some(machine), Core::Agent(agent)) = (&mut self.machine, &self.core) {
                    let ticks = machine.open_count - agent.open_tick_count();
                    machine.open_count -= ticks;
                    machine.ticks.push(ticks);
                }
            }
        }
    }

    fn dial(&mut self) {
        self.peer_count += 1;
        let peer = PeerId(self.peer_count);
        self.peer = Some(peer);
        self.line.open();
        self.dialled_ms = self.now_ms();
        // TCP's handshake and that of TLS: a round trip each before the gateway may speak. Datagrams know of none.
        let round_trips_ms = 4 * self.line.quality.delay_ms;
        let delay_ms = if self.line.carrier() == Carrier::Stream { round_trips_ms } else { 0 };
        if self.line.is_up || self.line.carrier() == Carrier::Datagram {
            self.agenda.after(delay_ms, Happening::Connected(peer));
        }
    }

    pub(super) fn step_hub(&mut self, inputs: Vec<HubInput>) {
        let mut outputs = self.host.step(self.now_ms(), inputs);
        while !outputs.is_empty() {
            let mut answers = Vec::new();
            for output in outputs {
                match output {
                    HubOutput::Send { peer, bytes } if self.peer == Some(peer) => self.say(End::Hub, bytes),
                    HubOutput::Commit { ticket, changes } => {
                        self.note_arrived(&changes);
                        self.agenda.after(COMMIT_MS, Happening::Commit { ticket, changes });
                    }
                    HubOutput::Read { ticket, query } => answers.extend(self.host.read(ticket, &query)),
                    HubOutput::Note(Note::NotStored { reason, .. }) => {
                        self.problem = Some(format!("the hub stores a batch not: {reason}"));
                    }
                    _ => {}
                }
            }
            outputs = if answers.is_empty() { Vec::new() } else { self.host.step(self.now_ms(), answers) };
        }
        let wakes_at = self.host.running.as_ref().and_then(|running| running.hub.poll_timeout());
        let wakes_ms = wakes_at.map(|at| at.0.max(self.now_ms() + 1));
        if wakes_ms != self.hub_wakes_ms {
            self.hub_wakes_ms = wakes_ms;
            if let Some(at_ms) = wakes_ms {
                self.agenda.after(at_ms - self.now_ms(), Happening::WakeHub);
            }
        }
    }

    /// The hub's core has these: that is when they have arrived, but for those that wait for the commit before theirs.
    fn note_arrived(&mut self, changes: &[Change]) {
        let now_ms = self.now_ms();
        for change in changes {
            let Change::Record { record: bytes, .. } = change else { continue };
            let Ok(record) = Record::open(bytes) else { continue };
            let stream = record.header.stream;
            if !matches!(stream, Stream::Event | Stream::Dictionary) {
                self.received_bytes += bytes.len() as u64;
            }
            if let Some(way) = self.ways[stream.index()].get_mut(&record.header.seq) {
                way.arrived_ms.get_or_insert(now_ms);
            }
        }
    }
}
