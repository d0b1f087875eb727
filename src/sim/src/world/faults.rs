//! Carrying out what goes wrong, and mending it.

use link::channel::Carrier;

use crate::disk::{Cut, Errors};
use crate::fault::Fault;
use crate::net::End;
use crate::rescue::TAILS;
use crate::world::{Happening, RESTART_MS, World};

/// Bytes that a bad sector takes along: a page of the cache.
const SECTOR_BYTES: u64 = 4096;

impl World {
    pub(super) fn plan_fault(&mut self) {
        if let Some((pause_ms, fault)) = self.plan.next(&mut self.rng, self.gateways.len()) {
            self.agenda.after(pause_ms, Happening::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::PowerCut { gateway } => {
                if self.rng.one_in(3) {
                    self.gateway_power_cut(gateway);
                } else {
                    let calls = self.rng.between(1, 300);
                    self.gateways[gateway].disk.cut_after(calls);
                }
            }
            Fault::Asked { gateway, ago_ms, lasts_ms } => {
                let selector = *self.rng.choose(&["node_load1", "{__name__=~\"node_.*_total\"}", "{__name__=~\".+\"}"]);
                let from_ms = self.now_ms().saturating_sub(ago_ms);
                self.ask(gateway, selector, (from_ms, from_ms + lasts_ms));
            }
            Fault::Kill { gateway } => self.gateway_killed(gateway),
            Fault::Outage { gateway, lasts_ms, is_silent } => {
                self.gateways[gateway].is_link_up = false;
                self.agenda.after(lasts_ms, Happening::LinkUp { gateway });
                if let Some(peer) = self.gateways[gateway].peer {
                    if is_silent || self.gateways[gateway].quality.carrier == Carrier::Datagram {
                        self.net.hang(peer);
                    } else {
                        self.gone(peer, End::Gateway);
                        self.gone(peer, End::Hub);
                    }
                }
            }
            Fault::CablePulled { gateway, lasts_ms } => {
                self.plug(gateway, false);
                self.agenda.after(lasts_ms, Happening::Plugged { gateway, has_cable: true });
            }
            Fault::ClockStep { gateway, by_ms } => {
                if let Some(error_ms) = &mut self.gateways[gateway].clock_error_ms {
                    *error_ms += by_ms;
                }
            }
            Fault::DiskErrors { gateway, errors, lasts_ms } => {
                self.gateways[gateway].disk.set_errors(errors);
                self.gateways[gateway].well_at_ms = None;
                self.agenda.after(lasts_ms, Happening::DiskWell { gateway });
            }
            Fault::DiskFull { gateway, lasts_ms } => {
                let used_bytes = self.gateways[gateway].disk.used_bytes();
                self.gateways[gateway].disk.set_capacity(used_bytes);
                self.gateways[gateway].well_at_ms = None;
                self.agenda.after(lasts_ms, Happening::DiskWell { gateway });
            }
            Fault::BadSector { gateway } => {
                let disk = &self.gateways[gateway].disk;
                let volumes: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".redb")).collect();
                if !volumes.is_empty() {
                    let name = self.rng.choose(&volumes);
                    let sector_count = disk.file_bytes(name).unwrap_or(0) / SECTOR_BYTES;
                    disk.spoil(name, self.rng.below(sector_count + 1) * SECTOR_BYTES, SECTOR_BYTES);
                }
            }
            Fault::CardPutBack { gateway } => {
                if self.gateways[gateway].card.is_none() || self.rng.one_in(2) {
                    self.gateways[gateway].copy_card();
                } else {
                    self.gateway_power_cut(gateway);
                    self.gateways[gateway].put_card_back(&self.host.runs);
                }
            }
            Fault::TailsLost { gateway } => {
                self.gateway_power_cut(gateway);
                for name in TAILS {
                    self.gateways[gateway].disk.ruin(name, &mut self.rng);
                }
            }
            Fault::Stall { gateway, tick_count } => self.gateways[gateway].stall_tick_count += tick_count,
            Fault::HubRestored => {
                if self.host.backup.is_none() || self.rng.one_in(2) {
                    self.host.back_up();
                } else {
                    self.hub_restored();
                }
            }
            Fault::HubKill => {
                self.host.disk.power_cycle(Cut::Kept);
                self.hub_ends();
                let delay_ms = self.rng.between(RESTART_MS.0, RESTART_MS.1);
                self.agenda.after(delay_ms, Happening::HubOn);
            }
            Fault::HubPowerCut => {
                if self.rng.one_in(2) {
                    self.hub_power_cut();
                } else {
                    let calls = self.rng.between(1, 60);
                    self.host.disk.cut_after(calls);
                }
            }
        }
    }

    pub(super) fn clone_card(&mut self, from: usize, to: usize) {
        self.gateway_power_cut(to);
        let [from, to] = self.gateways.get_disjoint_mut([from, to]).expect("two gateways of this world");
        to.clone_card(from);
        // From here on neither knows which of them the hub has heard.
        from.was_put_back = true;
    }

    pub(super) fn mend_disk(&mut self, gateway: usize) {
        self.gateways[gateway].disk.set_errors(Errors::default());
        self.gateways[gateway].disk.set_capacity(u64::MAX);
        self.gateways[gateway].well_at_ms = Some(self.now_ms());
    }
}
