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

/// One that is gone for so long makes room for others.
const GONE: Span = Span::minutes(10);

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
    seen: Instant,
    is_seen: bool,
}

impl Interfaces {
    pub(super) fn put(&mut self, metric: Metric, device: &[u8], value: i64) {
        let Some(interface) = self.0.entry(device) else { return };
        interface.is_seen = true;
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
        let is_any_online = self.0.iter_mut().any(|(name, interface)| is_modem(name) && interface.has_carrier);
        for (name, interface) in self.0.iter_mut() {
            if std::mem::take(&mut interface.is_seen) {
                interface.seen = now;
            }
            interface.forget(now);
            let is_flapping = interface.recent_count >= if interface.flapping.is_said() { 1 } else { CHANGE_COUNT };
            let (count, within) = (interface.spell_count, now - interface.spell_began);
            let flapping = || Trouble::Flapping { interface: name.clone(), count, within };
            interface.flapping.update(now, is_flapping, FLAPPING, |change| say(flapping(), change));
            let has_carrier = std::mem::take(&mut interface.has_carrier);
            interface.had_carrier |= has_carrier;
            // One that came back under another name is the same modem.
            let is_replaced = interface.seen != now && is_any_online;
            let is_offline = is_modem(name) && interface.had_carrier && !has_carrier && !is_replaced;
            let offline = || Trouble::ModemOffline { interface: name.clone() };
            interface.offline.update(now, is_offline, MODEM, |change| say(offline(), change));
        }
        // Those of containers come and go.
        let is_said = |interface: &Interface| interface.flapping.is_said() || interface.offline.is_said();
        self.0.retain(|interface| now - interface.seen < GONE || is_said(interface));
    }
}

fn is_modem(name: &str) -> bool {
    MODEM_NAMES.iter().any(|modem| name.starts_with(modem))
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
