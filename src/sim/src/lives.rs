//! Machines that live for minutes: an auto-scaling group that enrols with one token and leaves without an alarm.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use agent::agent::{Input as AgentInput, Output as AgentOutput};
use hub::fleet::Standing;
use hub::hub::{Input as HubInput, Output as HubOutput};
use hub::request::{Reply, Request};
use hub::session::PeerId;
use link::channel::Carrier;
use link::client::DownReason;
use link::errand::Errand;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::notes::Notes;
use wire::class::CLASS_COUNT;
use wire::message::{CloseReason, Enroll, Enrolled, Kind};
use wire::time::Span;
use wire::version::Versions;

use crate::gateway::{Gateway, Make};
use crate::host::Host;
use crate::rng::Rng;

/// What became of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Machines that enrolled, lived and left.
    pub machine_count: usize,
    /// Ticks that they took, all of them at the hub.
    pub tick_count: usize,
    /// How the machine after the last use of the token was refused.
    pub refused: Option<CloseReason>,
}

struct Group {
    now_ms: u64,
    host: Host,
    machines: Vec<Gateway>,
    peer_count: u64,
    /// What the hub said, by connection.
    said: BTreeMap<PeerId, Vec<u8>>,
    replies: Vec<Reply>,
}

impl Group {
    /// Hands an input to the hub and carries out what follows, commits at once.
    fn step_hub(&mut self, input: HubInput) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let outputs = self.host.step(self.now_ms, std::mem::take(&mut inputs));
            for output in outputs {
                match output {
                    HubOutput::Send { peer, bytes } => self.said.entry(peer).or_default().extend(bytes),
                    HubOutput::Commit { ticket, changes } => inputs.extend(self.host.commit(ticket, &changes)),
                    HubOutput::Read { ticket, query } => inputs.extend(self.host.read(ticket, &query)),
                    HubOutput::Reply { reply, .. } => self.replies.push(reply),
                    HubOutput::Close { .. } | HubOutput::Note(_) => {}
                }
            }
        }
    }

    fn connect(&mut self, machine: usize) -> PeerId {
        self.peer_count += 1;
        let peer = PeerId(self.peer_count);
        self.step_hub(HubInput::Connected {
            peer,
            key: self.machines[machine].key,
            datagram_key: None,
            carrier: Carrier::Stream,
        });
        peer
    }

    fn errand<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        machine: usize,
        question: (Kind, &Q),
        answer: Kind,
    ) -> Result<Option<A>, DownReason> {
        let peer = self.connect(machine);
        let (mut errand, bytes) = Errand::new(question.0, question.1, answer);
        self.step_hub(HubInput::Received { peer, number: None, bytes });
        let answer = errand.receive(&self.said.remove(&peer).unwrap_or_default());
        self.step_hub(HubInput::Disconnected { peer });
        answer
    }

    fn step_machine(&mut self, machine: usize, input: Option<AgentInput>) -> bool {
        let mut inputs: Vec<AgentInput> = input.into_iter().collect();
        let mut has_stopped = false;
        loop {
            let now_ms = self.now_ms;
            let outputs = self.machines[machine].step(now_ms, std::mem::take(&mut inputs));
            let outputs = outputs.expect("every tick is accounted for").expect("the power is on");
            for output in outputs {
                match output {
                    AgentOutput::Dial { .. } => {
                        self.machines[machine].peer = Some(self.connect(machine));
                        inputs.push(AgentInput::Connected(Carrier::Stream));
                    }
                    AgentOutput::Send(bytes) => {
                        let peer = self.machines[machine].peer.expect("a machine that speaks is connected");
                        self.step_hub(HubInput::Received { peer, number: None, bytes });
                    }
                    AgentOutput::HangUp => {
                        if let Some(peer) = self.machines[machine].peer.take() {
                            self.step_hub(HubInput::Disconnected { peer });
                        }
                    }
                    AgentOutput::Stopped => has_stopped = true,
                    _ => {}
                }
            }
            if let Some(said) = self.machines[machine].peer.and_then(|peer| self.said.remove(&peer)) {
                inputs.push(AgentInput::Received(said));
            }
            if inputs.is_empty() {
                return has_stopped;
            }
        }
    }
}

/// Lets `count` machines enrol with one token of as many uses, live for `life` each, one born every `pause`, and leave.
/// One more machine then tries the token.
///
/// Errors: what is wrong, in words.
pub fn group(seed: u64, count: usize, make: Make, life: Span, pause: Span) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let host = Host::new(&mut rng);
    let machines = (0..=count).map(|index| Gateway::new(index, make, &mut rng)).collect();
    let mut group = Group { now_ms: 0, host, machines, peer_count: 0, said: BTreeMap::new(), replies: Vec::new() };
    group.host.start(0, &[])?;
    let secret = [9; 16];
    let request = Request::TokenNew {
        hash: identity::token::secret_hash(&secret),
        uses: count as u32,
        expires_in: None,
        group: Some("workers".into()),
        tags: BTreeMap::new(),
    };
    group.step_hub(HubInput::Ask { id: 0, request });

    // (when, which): a machine's birth, its ticks, its end.
    let mut due: BinaryHeap<Reverse<(u64, usize)>> =
        (0..count).map(|machine| Reverse((machine as u64 * pause.0, machine))).collect();
    let mut dies_at_ms = vec![u64::MAX; count];
    while let Some(Reverse((at_ms, machine))) = due.pop() {
        group.now_ms = at_ms;
        if dies_at_ms[machine] == u64::MAX {
            enroll(&mut group, machine, secret)?;
            dies_at_ms[machine] = at_ms + life.0;
            group.machines[machine].power_on(at_ms, true);
            if !group.machines[machine].start(at_ms)? {
                return Err(format!("machine {machine} does not start"));
            }
            group.step_machine(machine, None);
        } else if at_ms >= dies_at_ms[machine] {
            if !group.step_machine(machine, Some(AgentInput::Stop)) {
                return Err(format!("machine {machine} waits although the hub has acked"));
            }
            let answer: Result<Option<()>, _> = group.errand(machine, (Kind::Leave, &()), Kind::Left);
            if !matches!(answer, Ok(Some(()))) {
                return Err(format!("machine {machine} was not let go: {answer:?}"));
            }
            continue;
        } else {
            let now = group.machines[machine].stamp(at_ms);
            let reading =
                group.machines[machine].read(now).map(|reading| AgentInput::Reading { at: now.uptime, reading });
            group.step_machine(machine, reading);
        }
        due.push(Reverse(((at_ms + make.interval.0).min(dies_at_ms[machine]), machine)));
    }
    let refused = match enroll_raw(&mut group, count, secret) {
        Err(DownReason::Refused(close)) => Some(close.reason),
        _ => None,
    };
    check(&mut group, count, refused)
}

fn enroll_raw(group: &mut Group, machine: usize, secret: [u8; 16]) -> Result<Option<Enrolled>, DownReason> {
    let enroll = Enroll {
        versions: Versions::AGENT,
        secret,
        hostname: "worker".try_into().expect("a short name"),
        agent: "0.1.0".try_into().expect("a short version"),
    };
    group.errand(machine, (Kind::Enroll, &enroll), Kind::Enrolled)
}

fn enroll(group: &mut Group, machine: usize, secret: [u8; 16]) -> Result<(), String> {
    match enroll_raw(group, machine, secret) {
        Ok(Some(enrolled)) if enrolled.device == group.machines[machine].device => Ok(()),
        other => Err(format!("machine {machine} was not let in: {other:?}")),
    }
}

fn check(group: &mut Group, count: usize, refused: Option<CloseReason>) -> Result<Tally, String> {
    group.replies.clear();
    group.step_hub(HubInput::Ask { id: 1, request: Request::Fleet });
    let Some(Reply::Fleet(members)) = group.replies.pop() else { return Err("the hub does not list its fleet".into()) };
    let retired = members.iter().filter(|member| {
        member.device.standing == Standing::Retired
            && !member.is_online
            && member.device.group.as_deref() == Some("workers")
    });
    let mut tally = Tally { machine_count: retired.count(), tick_count: 0, refused };
    let store = &group.host.running.as_ref().ok_or("the hub does not run")?.store;
    for machine in &group.machines[..count] {
        let mut seen: [Vec<_>; CLASS_COUNT] = Default::default();
        let notes = store.ticks(machine.device, |stream, boot, at, _, _| {
            seen[stream.ticks_of().expect("it has ticks").index()].push((boot, at));
        });
        let Notes { waiting_count, unreadable_count, nameless_run_count, .. } =
            notes.map_err(|error| error.to_string())?;
        let owed: Vec<_> = machine.committed.iter().flat_map(|committed| committed.ticks.clone()).collect();
        seen.iter_mut().for_each(|seen| seen.sort_unstable());
        if seen.iter().any(|seen| *seen != owed) || waiting_count + unreadable_count + nameless_run_count > 0 {
            let held = seen.map(|seen| seen.len());
            return Err(format!("machine {} took {} ticks, {held:?} are held", machine.index, owed.len()));
        }
        tally.tick_count += owed.len();
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Size;
    use crate::net::Quality;
    use crate::power::SMALL;

    #[test]
    fn five_hundred_machines_of_five_minutes_leave_everything_they_sampled() {
        let make = Make {
            size: Size::Small,
            interval: Span::seconds(10),
            journal: SMALL,
            quality: Quality { delay_ms: 1, bytes_per_second: 100_000, loss_1000: 0, carrier: Carrier::Stream },
            modem: None,
            budget: Default::default(),
        };
        let tally = group(5, 500, make, Span::minutes(5), Span::seconds(7)).unwrap();
        assert_eq!(tally.machine_count, 500);
        assert_eq!(tally.tick_count, 500 * 29);
        assert_eq!(tally.refused, Some(CloseReason::TokenUsed));
    }
}
