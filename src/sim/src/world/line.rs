//! Between the two: connections, and what they carry.

use agent::agent::Input as AgentInput;
use hub::hub::Input as HubInput;
use hub::session::PeerId;
use link::channel::Carrier;

use crate::net::End;
use crate::world::{Happening, World};

impl World {
    pub(super) fn dial(&mut self, index: usize) {
        if let Some(peer) = self.gateways[index].peer.take() {
            self.close(peer, End::Gateway);
        }
        let gateway = &self.gateways[index];
        let (life, quality) = (gateway.life, gateway.make.quality);
        if gateway.is_link_up && self.host.running.is_some() {
            let peer = self.net.connect(index, quality);
            self.gateways[index].peer = Some(peer);
            self.agenda.after(4 * quality.delay_ms, Happening::Connected { peer });
        } else if self.rng.one_in(2) {
            // The other half of the dials is not even refused.
            self.agenda.after(2 * quality.delay_ms + 1, Happening::Unanswered { gateway: index, life });
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId) {
        if !self.net.is_open(peer, End::Gateway) {
            return;
        }
        let Some(index) = self.net.gateway(peer) else { return };
        if self.host.running.is_none() {
            return self.gone(peer, End::Gateway);
        }
        let key = self.gateways[index].key;
        self.step_hub(vec![HubInput::Connected { peer, key, carrier: Carrier::Stream }]);
        self.step_gateway(index, vec![AgentInput::Connected(Carrier::Stream)]);
    }

    pub(super) fn say(&mut self, peer: PeerId, from: End, bytes: &[u8]) {
        for byte in bytes.iter().step_by(61) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let at = if from == End::Gateway { End::Hub } else { End::Gateway };
        for (at_ms, bytes) in self.net.say(peer, from, bytes, self.now_ms(), &mut self.rng) {
            self.agenda.after(at_ms - self.now_ms(), Happening::Arrive { peer, at, bytes });
        }
    }

    pub(super) fn arrive(&mut self, peer: PeerId, at: End, bytes: Vec<u8>) {
        if !self.net.is_open(peer, at) {
            return;
        }
        match at {
            End::Hub => self.step_hub(vec![HubInput::Received { peer, number: None, bytes }]),
            End::Gateway => {
                if let Some(index) = self.net.gateway(peer) {
                    self.step_gateway(index, vec![AgentInput::Received(bytes)]);
                }
            }
        }
    }

    pub(super) fn close(&mut self, peer: PeerId, from: End) {
        let at = if from == End::Gateway { End::Hub } else { End::Gateway };
        if let Some(at_ms) = self.net.close(peer, from, self.now_ms()) {
            self.agenda.after(at_ms - self.now_ms(), Happening::Gone { peer, at });
        }
    }

    pub(super) fn gone(&mut self, peer: PeerId, at: End) {
        if !self.net.is_open(peer, at) {
            return;
        }
        let gateway = self.net.gateway(peer);
        self.net.closed(peer, at);
        match (at, gateway) {
            (End::Hub, _) => self.step_hub(vec![HubInput::Disconnected { peer }]),
            (End::Gateway, Some(index)) if self.gateways[index].peer == Some(peer) => {
                self.gateways[index].peer = None;
                self.step_gateway(index, vec![AgentInput::Disconnected(None)]);
            }
            (End::Gateway, _) => {}
        }
    }
}
