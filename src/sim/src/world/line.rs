//! Between the two: connections, and what they carry.

use agent::agent::Input as AgentInput;
use hub::hub::Input as HubInput;
use hub::session::PeerId;
use link::channel::Carrier;
use link::receipt::Number;

use crate::gateway::MODEM;
use crate::net::{Arrival, End};
use crate::world::{Happening, World};

impl World {
    /// Dials through an interface, or through any.
    pub(super) fn dial(&mut self, index: usize, interface: Option<&str>) {
        if let Some(peer) = self.gateways[index].peer.take() {
            self.close(peer, End::Gateway);
        }
        let gateway = &mut self.gateways[index];
        let modem = gateway.make.modem.filter(|_| interface == Some(MODEM));
        let (life, quality) = (gateway.life, modem.unwrap_or(gateway.make.quality));
        gateway.quality = quality;
        let gateway = &self.gateways[index];
        if quality.carrier == Carrier::Datagram {
            // Nobody hears whether there is a way.
            let peer = self.net.connect(index, quality);
            if !gateway.is_link_up {
                self.net.hang(peer);
            }
            self.gateways[index].peer = Some(peer);
            self.agenda.after(1, Happening::Connected { peer });
        } else if gateway.is_link_up && self.host.running.is_some() {
            let peer = self.net.connect(index, quality);
            self.gateways[index].peer = Some(peer);
            self.agenda.after(4 * quality.delay_ms, Happening::Connected { peer });
        } else if self.rng.one_in(2) {
            // The other half of the dials is not even refused.
            self.agenda.after(2 * quality.delay_ms + 1, Happening::Unanswered { gateway: index, life });
        }
    }

    pub(super) fn link_up(&mut self, index: usize) {
        self.gateways[index].is_link_up = true;
        if let Some(peer) = self.gateways[index].peer {
            self.net.resume(peer);
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId) {
        if !self.net.is_open(peer, End::Gateway) {
            return;
        }
        let Some(index) = self.net.gateway(peer) else { return };
        if self.gateways[index].quality.carrier == Carrier::Datagram {
            return self.step_gateway(index, vec![AgentInput::Connected(Carrier::Datagram)]);
        }
        if self.host.running.is_none() {
            return self.gone(peer, End::Gateway);
        }
        let key = self.gateways[index].key;
        self.step_hub(vec![HubInput::Connected { peer, key, datagram_key: None, carrier: Carrier::Stream }]);
        self.step_gateway(index, vec![AgentInput::Connected(Carrier::Stream)]);
    }

    pub(super) fn say(&mut self, peer: PeerId, from: End, bytes: &[u8]) {
        for byte in bytes.iter().step_by(61) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let arrivals = self.net.say(peer, from, bytes, self.now_ms(), &mut self.rng);
        self.plan_arrivals(peer, from.other(), arrivals);
    }

    fn plan_arrivals(&mut self, peer: PeerId, at: End, arrivals: Vec<Arrival>) {
        for Arrival { at_ms, number, bytes } in arrivals {
            self.agenda.after(at_ms - self.now_ms(), Happening::Arrive { peer, at, number, bytes });
        }
    }

    pub(super) fn arrive(&mut self, peer: PeerId, at: End, number: Option<Number>, bytes: Vec<u8>) {
        if !self.net.is_open(peer, at) || at == End::Hub && self.host.running.is_none() {
            return;
        }
        let Some(index) = self.net.gateway(peer) else { return };
        if let Some(number) = number {
            let (is_news, again) = self.net.arrive(peer, at, number, self.now_ms(), &mut self.rng);
            self.plan_arrivals(peer, at.other(), again);
            if !is_news {
                return;
            }
        }
        if at == End::Gateway {
            self.gateways[index].meter(&bytes);
        }
        match (at, number) {
            (End::Hub, Some(0)) => {
                let key = self.gateways[index].key;
                let connected = HubInput::Connected { peer, key, datagram_key: None, carrier: Carrier::Datagram };
                self.step_hub(vec![connected, HubInput::Received { peer, number, bytes }]);
            }
            (End::Hub, _) => self.step_hub(vec![HubInput::Received { peer, number, bytes }]),
            (End::Gateway, None) => self.step_gateway(index, vec![AgentInput::Received(bytes)]),
            (End::Gateway, Some(number)) => self.step_gateway(index, vec![AgentInput::Datagram(number, bytes)]),
        }
    }

    pub(super) fn close(&mut self, peer: PeerId, from: End) {
        let at = from.other();
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
