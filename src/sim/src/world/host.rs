//! The hub's side: steps, commits, starts and ends.

use hub::fleet::{Device, Fleet};
use hub::hub::{Input, Note, Output};
use hub::request::Request;
use store::change::{Change, RefusedReason};
use wire::time::UnixTime;

use crate::checker;
use crate::disk::Cut;
use crate::net::End;
use crate::world::{Happening, OFF_MS, World};

/// How long the hub's disk takes for a commit.
const COMMIT_MS: (u64, u64) = (2, 60);

impl World {
    pub(super) fn step_hub(&mut self, inputs: Vec<Input>) {
        let mut outputs = self.host.step(self.now_ms(), inputs);
        while !outputs.is_empty() {
            let mut answers = Vec::new();
            for output in outputs {
                match output {
                    Output::Send { peer, bytes } => {
                        if let Some(index) = self.net.gateway(peer) {
                            self.gateways[index].note_acks(peer, &bytes);
                        }
                        self.say(peer, End::Hub, &bytes);
                    }
                    Output::Close { peer } => self.close(peer, End::Hub),
                    Output::Commit { ticket, changes } => {
                        let delay_ms = self.rng.between(COMMIT_MS.0, COMMIT_MS.1);
                        let life = self.host.life;
                        self.agenda.after(delay_ms, Happening::Commit { life, ticket, changes });
                    }
                    Output::Read { ticket, query } => answers.extend(self.host.read(ticket, &query)),
                    Output::Note(Note::NotStored { device, reason }) => {
                        let mut machines = self.gateways.iter().filter(|gateway| gateway.device == device);
                        // What is urgent goes with the hello, before either end can know that a card was put back.
                        let is_expected =
                            reason == RefusedReason::Conflict && machines.any(|gateway| gateway.was_put_back);
                        if !is_expected {
                            self.note(format!("{device}: {reason}"));
                        }
                    }
                    Output::Reply { .. } | Output::Note(_) => {}
                }
            }
            outputs = if answers.is_empty() { Vec::new() } else { self.host.step(self.now_ms(), answers) };
        }
        self.host.wake_version += 1;
        let version = self.host.wake_version;
        if let Some(at) = self.host.running.as_ref().and_then(|running| running.hub.poll_timeout()) {
            self.agenda.after(at.0.saturating_sub(self.now_ms()).max(1), Happening::WakeHub { version });
        }
    }

    /// Somebody at the hub asks a gateway for ticks, from one moment of the world to another.
    pub(super) fn ask(&mut self, gateway: usize, selector: &str, (from_ms, to_ms): (u64, u64)) {
        let [from, to] = [from_ms, to_ms].map(|at_ms| UnixTime(self.host.unix_start.0 + at_ms));
        let device = self.gateways[gateway].device.to_string();
        let request = Request::Fetch { device, selector: selector.into(), from, to };
        self.step_hub(vec![Input::Ask { id: 0, request }]);
    }

    pub(super) fn hub_on(&mut self) -> Result<(), String> {
        if self.host.running.is_some() {
            return Ok(());
        }
        let rows: Vec<Change> = if self.host.life == 0 { self.enrolled() } else { Vec::new() };
        match self.host.start(self.now_ms(), &rows) {
            Ok(()) => {
                checker::check_acked(self)?;
                self.step_hub(Vec::new());
                Ok(())
            }
            Err(_) if self.host.disk.is_dead() => {
                self.hub_power_cut();
                Ok(())
            }
            Err(error) => Err(format!("the hub does not start: {error}")),
        }
    }

    /// The rows of gateways that enrolled before the world began.
    fn enrolled(&self) -> Vec<Change> {
        let (mut fleet, _) = Fleet::load([]);
        self.gateways
            .iter()
            .map(|gateway| {
                fleet.add_device(Device {
                    keys: vec![gateway.key],
                    enrolled: self.host.unix_start,
                    ..Device::new(gateway.device, format!("gw-{}", gateway.index))
                })
            })
            .collect()
    }

    pub(super) fn hub_power_cut(&mut self) {
        // redb promises nothing when neighbours of a write are garbled; a host's disk does not do that.
        let cut = *self.rng.choose(&[Cut::Dropped, Cut::Torn, Cut::Reordered, Cut::Kept]);
        self.host.disk.power_cycle(cut);
        for peer in self.net.open_at(End::Hub, None) {
            self.net.hang(peer);
        }
        self.hub_ends();
        let delay_ms = self.rng.between(OFF_MS.0, OFF_MS.1);
        self.agenda.after(delay_ms, Happening::HubOn);
    }

    /// The hub's disk is put back to its backup. What was acked since is the gateways' again, as far as they hold it.
    pub(super) fn hub_restored(&mut self) {
        self.hub_ends();
        self.host.restore();
        self.gateways.iter_mut().for_each(|gateway| gateway.acked.clear());
        let delay_ms = self.rng.between(OFF_MS.0, OFF_MS.1);
        self.agenda.after(delay_ms, Happening::HubOn);
    }

    pub(super) fn hub_ends(&mut self) {
        self.host.end();
        for peer in self.net.open_at(End::Hub, None) {
            self.close(peer, End::Hub);
        }
    }
}
