//! The gateways' side: ticks, steps, starts and ends.

use agent::agent::{Input, Output};
use agent::budget::Limit;

use crate::disk::Cut;
use crate::net::End;
use crate::world::{Happening, OFF_MS, RESTART_MS, World};

impl World {
    pub(super) fn tick(&mut self, index: usize, life: u64) {
        let now_ms = self.now_ms();
        let gateway = &mut self.gateways[index];
        if gateway.life != life {
            return;
        }
        let interval_ms = gateway.make.interval.0 * u64::from(gateway.sampling);
        let now = gateway.stamp(now_ms);
        self.agenda.after(interval_ms, Happening::Tick { gateway: index, life });
        if gateway.is_stalled() {
            return;
        }
        let missed = gateway.take_missed().map(Input::Missed);
        let reading = gateway.read(now).map(|reading| Input::Reading { at: now.uptime, reading });
        let inputs = missed.into_iter().chain(reading).chain(gateway.interface(now_ms)).collect();
        self.step_gateway(index, inputs);
    }

    pub(super) fn step_gateway(&mut self, index: usize, inputs: Vec<Input>) {
        let now_ms = self.now_ms();
        let gateway = &mut self.gateways[index];
        if gateway.agent.is_none() {
            return;
        }
        let outputs = match gateway.step(now_ms, inputs) {
            Ok(Some(outputs)) => outputs,
            Ok(None) => return self.gateway_power_cut(index),
            Err(problem) => return self.note(problem),
        };
        for output in outputs {
            match output {
                Output::Dial { interface, .. } => self.dial(index, interface.as_deref()),
                Output::Send(bytes) => {
                    if let Some(peer) = self.gateways[index].peer {
                        self.gateways[index].meter(&bytes);
                        self.say(peer, End::Gateway, &bytes);
                    }
                }
                Output::HangUp => {
                    if let Some(peer) = self.gateways[index].peer.take() {
                        self.close(peer, End::Gateway);
                    }
                }
                Output::Sampling(count) => self.gateways[index].sampling = count,
                Output::Reading(_)
                | Output::Link(_)
                | Output::Pin(_)
                | Output::Answer { .. }
                | Output::ReadOnly
                | Output::Storage(_)
                | Output::Stopped => {}
            }
        }
        let gateway = &mut self.gateways[index];
        gateway.wake_version += 1;
        let version = gateway.wake_version;
        if let Some(at) = gateway.agent.as_ref().and_then(|agent| agent.poll_timeout()) {
            let delay_ms = gateway.world_ms(at).saturating_sub(now_ms).max(1);
            self.agenda.after(delay_ms, Happening::WakeGateway { gateway: index, version });
        }
    }

    pub(super) fn gateway_on(&mut self, index: usize, is_boot: bool) -> Result<(), String> {
        let now_ms = self.now_ms();
        let knows_time = !self.plan.forgets_time || self.rng.one_in(2);
        let learns_after_ms = self.rng.between(1_000, 7_200_000);
        let gateway = &mut self.gateways[index];
        // A process that was to start again goes with its machine.
        if gateway.agent.is_some() || !is_boot && !gateway.has_power {
            return Ok(());
        }
        if is_boot {
            gateway.power_on(now_ms, knows_time);
            let boot = gateway.boot.0;
            if !knows_time {
                self.agenda.after(learns_after_ms, Happening::LearnTime { gateway: index, boot });
            }
        }
        let gateway = &mut self.gateways[index];
        gateway.refill();
        if !gateway.start(now_ms)? {
            if gateway.disk.is_dead() {
                self.gateway_power_cut(index);
            } else {
                // The disk refuses; the supervisor tries again.
                self.agenda.after(30_000, Happening::GatewayOn { gateway: index, is_boot: false });
            }
            return Ok(());
        }
        let (life, interfaces) = (gateway.life, gateway.interfaces());
        self.agenda.after(1, Happening::Tick { gateway: index, life });
        if !interfaces.is_empty() {
            self.step_gateway(index, interfaces);
        }
        Ok(())
    }

    /// A person gives the link as much as it likes: the agent begins again with new settings.
    pub(super) fn lift_budget(&mut self, index: usize) {
        if std::mem::take(&mut self.gateways[index].make.budget) != Limit::default() {
            self.gateway_killed(index);
        }
    }

    /// The cable is plugged in or pulled, and with it what goes over it stops without a word.
    pub(super) fn plug(&mut self, index: usize, has_cable: bool) {
        let gateway = &mut self.gateways[index];
        gateway.has_cable = has_cable;
        let is_on_cable = gateway.make.modem.is_some() && gateway.quality == gateway.make.quality;
        let interfaces = gateway.interfaces();
        if let Some(peer) = gateway.peer.filter(|_| is_on_cable && !has_cable) {
            self.net.hang(peer);
        }
        self.step_gateway(index, interfaces);
    }

    /// The process is gone, the machine goes on and starts it again.
    pub(super) fn gateway_killed(&mut self, index: usize) {
        self.gateways[index].disk.power_cycle(Cut::Kept);
        self.gateway_ends(index);
        let delay_ms = self.rng.between(RESTART_MS.0, RESTART_MS.1);
        self.agenda.after(delay_ms, Happening::GatewayOn { gateway: index, is_boot: false });
    }

    pub(super) fn gateway_power_cut(&mut self, index: usize) {
        let chosen = *self.rng.choose(&self.plan.cuts);
        // A full disk may have no room for the second copy of the tail; see Plan::choose for why the two stay apart.
        let is_too_much = matches!(chosen, Cut::Garbled(_)) && !self.gateways[index].is_mirrored;
        let cut = if is_too_much { Cut::Dropped } else { chosen };
        self.gateways[index].disk.power_cycle(cut);
        self.gateways[index].has_power = false;
        if let Some(peer) = self.gateways[index].peer {
            // A machine without power says nothing more, not even good-bye.
            self.net.hang(peer);
        }
        self.gateway_ends(index);
        let delay_ms = self.rng.between(OFF_MS.0, OFF_MS.1);
        self.agenda.after(delay_ms, Happening::GatewayOn { gateway: index, is_boot: true });
    }

    pub(super) fn gateway_ends(&mut self, index: usize) {
        self.gateways[index].end();
        if let Some(peer) = self.gateways[index].peer.take() {
            self.close(peer, End::Gateway);
        }
    }
}
