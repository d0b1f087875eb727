//! Interfaces whose carrier comes and goes, and modems that lose their network.

use wire::metric::Metric;
use wire::time::{Instant, Span};
use wire::trouble::Trouble;

use super::{Say, Table};
use crate::watch::lasting::{Lasting, Patience};

/// Changes of the carrier from which on an interface flaps. A cable that is pulled and plugged in makes two.
const CHANGE_COUNT: u32 = 6;

/// One change is forgotten each.
const FORGET: Span = Span::minutes(2);

/// Until the last one is forgotten it flaps.
const FLAPPING: Patience = Patience { hold: Span(0), rest: Span::minutes(10) };

/// A modem that looks for another cell is back by then.
const MODEM: Patience = Patience { hold: Span::minutes(1), rest: Span(0) };

/// What interfaces of modems are called: by the kernel's drivers, by udev, by pppd, on phones' chips.
const MODEM_NAMES: [&str; 5] = ["wwan", "wwp", "wwx", "ppp", "rmnet"];

/// What is known of interfaces.
#[derive(Debug, Default)]
pub(super) struct Interfaces(Table<Interface>);

#[derive(Debug, Default)]
struct Interface {
    changes: Option<i64>,
    /// Changes that are not forgotten, as far as they matter, and all since there were none.
    recent_count: u32,
    spell_count: u32,
    spell_began: Instant,
    forgotten_at: Instant,
    flapping: Lasting,
    has_carrier: bool,
    had_carrier: bool,
    offline: Lasting,
}

impl Interfaces {
    pub(super) fn put(&mut self, metric: Metric, device: &[u8], value: i64) {
        let Some(interface) = self.0.entry(device) else { return };
        if metric == Metric::NetworkCarrier {
            interface.has_carrier = value != 0;
        } else if let Some(before) = interface.changes.replace(value) {
            // An interface that is made anew counts from zero.
            let grown = if value >= before { value.abs_diff(before) } else { 0 };
            let grown = u32::try_from(grown).unwrap_or(u32::MAX);
            interface.recent_count = interface.recent_count.saturating_add(grown).min(CHANGE_COUNT);
            interface.spell_count = interface.spell_count.saturating_add(grown);
        }
    }

    pub(super) fn end_tick(&mut self, now: Instant, say: &mut Say<'_>) {
        for (name, interface) in self.0.iter_mut() {
            interface.forget(now);
            let is_flapping = interface.recent_count >= if interface.flapping.is_said() { 1 } else { CHANGE_COUNT };
            if let Some(change) = interface.flapping.update(now, is_flapping, FLAPPING) {
                let within = now - interface.spell_began;
                say(Trouble::Flapping { interface: name.clone(), count: interface.spell_count, within }, change);
            }
            let has_carrier = std::mem::take(&mut interface.has_carrier);
            interface.had_carrier |= has_carrier;
            let is_modem = MODEM_NAMES.iter().any(|modem| name.starts_with(modem));
            let is_offline = is_modem && interface.had_carrier && !has_carrier;
            if let Some(change) = interface.offline.update(now, is_offline, MODEM) {
                say(Trouble::ModemOffline { interface: name.clone() }, change);
            }
        }
    }
}

impl Interface {
    fn forget(&mut self, now: Instant) {
        if self.recent_count == 0 {
            (self.spell_count, self.spell_began, self.forgotten_at) = (0, now, now);
        }
        while self.recent_count > 0 && now - self.forgotten_at >= FORGET {
            self.recent_count -= 1;
            self.forgotten_at = self.forgotten_at + FORGET;
        }
    }
}
