//! The way to the hub: which bearer carries the link, how good it is, and what follows for what is sampled and sent.
//!
//! ```text
//! interfaces ──> bearers ──> the bearer in use ──┐
//!                   ↑                            ↓
//! the link ────> heard, failed, carried ──────> gauge ──> tier ──> policy
//! ```
//!
//! Without a choice of bearers nobody has said that bytes cost anything: the link goes where the system routes it, and what is
//! measured changes nothing but the order of what is sent.

use link::client::DownReason;
use link::estimator::Fate;
use wire::event::{Event, Word};
use wire::time::{Instant, Span};

use crate::bearer::choice::{Facts, Name, Settings as BearerSettings};
use crate::bearer::{Bearers, InUse, Input, Reason, Switch};
use crate::budget::Limit;
use crate::policy::{Policies, Policy, Pressure};
use crate::tier::memory::Memory;
use crate::tier::{Bearer, Gauge, Technology, Tier, Window};

/// What a window of measuring lasts.
const WINDOW: Span = Span::seconds(10);

/// Packets in a window of which a share of losses can be told: of fewer, one that is lost would be a bad window.
const LOSS_PACKET_COUNT: u64 = 20;

/// Which ways there are, and what is done on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The bearers.
    pub bearers: BearerSettings,
    /// What is sampled and sent on each tier.
    pub policies: Policies,
}

impl Settings {
    /// The bearer that the system routes, with such a limit, and one age of batches and one heartbeat on all tiers.
    ///
    /// Panics: when these are not [what can be](Policy::check).
    pub fn simple(batch_age: (Span, Span), heartbeat: Span, limit: Limit) -> Settings {
        let mut policies = Policies::default();
        let changed = policies.change(|policy| (policy.batch_age, policy.heartbeat) = (batch_age, heartbeat));
        changed.expect("ages and heartbeats in their bounds");
        Settings { bearers: BearerSettings { limit, ..BearerSettings::default() }, policies }
    }
}

/// What the link has carried, as its own end sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes that are known to have arrived, on the present link.
    pub bytes: u64,
    /// The smallest round trip of late; zero when it is not known.
    pub round_trip: Span,
    /// What became of packets, on the present link.
    pub fate: Fate,
    /// Whether there was nothing more to send.
    pub is_limited: bool,
}

/// The way that is taken.
#[derive(Debug)]
pub struct Way {
    bearers: Bearers,
    gauge: Gauge,
    policies: Policies,
    /// Whether bearers were chosen, so that what is measured counts.
    is_chosen: bool,
    /// Whether the present dial became a link.
    is_up: bool,
    window: Option<OpenWindow>,
    /// What was said last, and why the bearer in use was taken.
    said: Option<(Name, Tier)>,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug)]
struct OpenWindow {
    since: Instant,
    bytes: u64,
    fate: Fate,
    is_limited: bool,
}

impl Way {
    /// The way before any interface is known. What is remembered of bearers is from earlier boots.
    pub fn new(settings: &Settings, memory: Memory, now: Instant) -> Way {
        let mut way = Way {
            bearers: Bearers::new(settings.bearers.clone(), now),
            gauge: Gauge::new(memory),
            policies: settings.policies.clone(),
            is_chosen: !settings.bearers.choices.is_empty(),
            is_up: false,
            window: None,
            said: None,
            reason: None,
        };
        // The first bearer is no change.
        let _ = way.poll_switch(now);
        way
    }

    /// The bearer in use; `None` while no interface can carry anything.
    pub fn in_use(&self) -> Option<InUse> {
        self.bearers.in_use()
    }

    /// Whether no interface can carry anything.
    pub fn is_idle(&self) -> bool {
        self.bearers.is_idle()
    }

    /// How good the link is.
    pub fn tier(&self) -> Tier {
        self.gauge.tier()
    }

    /// What is done while there are bytes enough.
    pub fn policy_at_ease(&self) -> &Policy {
        self.policies.of(self.tier())
    }

    /// What is done while bytes are so scarce.
    pub fn policy(&self, pressure: Pressure) -> Policy {
        self.policies.policy(self.tier(), pressure)
    }

    /// Whether bearers were chosen.
    pub fn is_chosen(&self) -> bool {
        self.is_chosen
    }

    /// Every bearer, for a person: its name, whether its interface is usable, and how it is.
    pub fn bearers(&self) -> &Bearers {
        &self.bearers
    }

    /// What is remembered of bearers, for a journal's slot.
    pub fn memory(&self) -> &Memory {
        self.gauge.memory()
    }

    /// An interface appeared, changed, or is no more when no facts hold of it.
    pub fn interface(&mut self, now: Instant, name: &str, facts: Option<Facts>) {
        self.bearers.handle_input(now, facts.map_or(Input::Gone { name }, |facts| Input::Interface { name, facts }));
    }

    /// The modem speaks another technology.
    pub fn technology(&mut self, now: Instant, technology: Option<Technology>) {
        self.gauge.technology(now, technology);
    }

    /// The hub answered over the bearer in use.
    pub fn heard(&mut self, now: Instant) {
        self.is_up = true;
        self.gauge.heard();
        self.bearers.handle_input(now, Input::Heard(self.bearers.turn()));
    }

    /// The link ended, or never came to be. A hub that refuses is there: that is no fault of the bearer.
    pub fn ended(&mut self, now: Instant, reason: &DownReason) {
        self.window = None;
        let was_up = std::mem::take(&mut self.is_up);
        let turn = self.bearers.turn();
        match reason {
            DownReason::Refused(_)
            | DownReason::Unknown(_)
            | DownReason::Version { .. }
            | DownReason::Forked
            | DownReason::Forgotten
            | DownReason::Rerouted
            | DownReason::Stopped => {}
            DownReason::Disconnected | DownReason::Garbage(_) | DownReason::Silent | DownReason::Unexpected(_)
                if was_up =>
            {
                self.bearers.handle_input(now, Input::LinkLost(turn));
            }
            DownReason::Disconnected | DownReason::Garbage(_) | DownReason::Silent | DownReason::Unexpected(_) => {
                self.gauge.dial_failed();
                self.bearers.handle_input(now, Input::DialFailed(turn));
            }
        }
    }

    /// Takes what the link has carried by now.
    pub fn measure(&mut self, now: Instant, carried: Carried) {
        let Carried { bytes, fate, .. } = carried;
        let open = *self.window.get_or_insert(OpenWindow { since: now, bytes, fate, is_limited: false });
        let is_limited = open.is_limited || carried.is_limited;
        let (span, passed_bytes) = (now - open.since, bytes.saturating_sub(open.bytes));
        if span < WINDOW || passed_bytes == 0 {
            self.window = Some(OpenWindow { is_limited, ..open });
            return;
        }
        self.window = Some(OpenWindow { since: now, bytes, fate, is_limited: carried.is_limited });
        if self.is_chosen {
            let goodput_bps = (passed_bytes.saturating_mul(8000) / span.0).try_into().unwrap_or(u32::MAX);
            let loss_per_mille = loss_per_mille(open.fate, fate);
            let round_trip_min_ms = carried.round_trip.0.try_into().unwrap_or(u32::MAX);
            let window = Window { goodput_bps, is_app_limited: is_limited, round_trip_min_ms, loss_per_mille };
            self.gauge.window(now, window);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.bearers.handle_timeout(now);
    }

    /// When there is something to decide.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bearers.poll_timeout()
    }

    /// The bearer changed: close the link there is, and dial over the new one.
    pub fn poll_switch(&mut self, now: Instant) -> Option<Switch> {
        let switch = self.bearers.poll_output()?;
        self.is_up = false;
        self.window = None;
        self.reason = Some(switch.reason);
        let bearer = switch.to.as_ref().map(|to| Bearer {
            name: to.name.clone(),
            kind: to.kind,
            is_metered: to.is_metered,
            technology: None,
        });
        self.gauge.bearer(now, bearer);
        Some(switch)
    }

    /// What is to be said of the way, of one that works: an outage is seen without it. What finds no room comes
    /// [back](Way::unsay).
    pub fn poll_event(&mut self) -> Option<Event> {
        if !(self.is_chosen && self.is_up) {
            return None;
        }
        let (bearer, tier) = (self.bearers.in_use()?.name, self.tier());
        if self.said.as_ref().is_some_and(|(name, said)| *name == bearer && *said == tier) {
            return None;
        }
        let before = self.said.replace((bearer.clone(), tier));
        let is_other = before.is_some_and(|(name, _)| name != bearer);
        let reason = self.reason.take().filter(|_| is_other).map(|reason| short(&reason.to_string()));
        Some(Event::LinkChanged { bearer, tier: short(&tier.to_string()), reason })
    }

    /// The event found no room: it is said again.
    pub fn unsay(&mut self) {
        self.said = None;
    }
}

/// Of a thousand, how many packets were lost in between; none when there were too few to tell.
fn loss_per_mille(before: Fate, now: Fate) -> u16 {
    let lost_count = now.lost_count.saturating_sub(before.lost_count);
    let count = now.received_count.saturating_sub(before.received_count) + lost_count;
    if count < LOSS_PACKET_COUNT { 0 } else { (lost_count * 1000 / count) as u16 }
}

fn short(text: &str) -> Word {
    Word::try_from(text).expect("tiers and reasons have short words")
}

#[cfg(test)]
mod tests {
    use wire::stream::Resolution;

    use super::*;
    use crate::bearer::choice::{Choice, Kind, name};

    const GOOD: Facts = Facts { has_carrier: true, has_ipv4: true, has_ipv6: false };

    fn way(kinds: &[(&str, Kind)]) -> Way {
        let choice = |(pattern, kind): &(&str, Kind)| {
            Choice::new(name(pattern).unwrap(), *kind, link::channel::Carrier::Datagram)
        };
        let bearers = BearerSettings { choices: kinds.iter().map(choice).collect(), ..BearerSettings::default() };
        Way::new(&Settings { bearers, policies: Policies::default() }, Memory::default(), Instant(0))
    }

    /// Says what every ten seconds of a link would, and returns the tiers that came of it.
    fn carry(way: &mut Way, now: &mut Instant, seconds: u64, bytes_per_second: u64, is_limited: bool) {
        let mut bytes = 0;
        for _ in 0..seconds {
            *now = *now + Span::seconds(1);
            bytes += bytes_per_second;
            way.heard(*now);
            way.measure(*now, Carried { bytes, round_trip: Span(400), fate: Fate::default(), is_limited });
        }
    }

    #[test]
    fn without_a_choice_nothing_that_is_measured_changes_what_is_sent() {
        let mut way = Way::new(&Settings::default(), Memory::default(), Instant(0));
        let mut now = Instant(0);
        carry(&mut way, &mut now, 600, 100, false);
        assert_eq!((way.tier(), way.poll_event()), (Tier::Wired, None));
        assert_eq!(way.policy(Pressure::None).live, [Some(Resolution::Raw); 3]);
    }

    #[test]
    fn a_slow_link_changes_the_policy_within_a_minute_and_says_so_once() {
        let mut way = way(&[("wwan*", Kind::Cellular)]);
        let mut now = Instant(1000);
        way.interface(now, "wwan0", Some(GOOD));
        assert_eq!(way.poll_switch(now).unwrap().to.unwrap().name, "wwan0");
        carry(&mut way, &mut now, 1, 0, true);
        let said = |way: &mut Way| way.poll_event().map(|event| event.to_string());
        assert_eq!(said(&mut way).unwrap(), "the link over wwan0 is 3G");
        carry(&mut way, &mut now, 60, 2000, false);
        assert_eq!(said(&mut way).unwrap(), "the link over wwan0 is EDGE");
        assert_eq!((said(&mut way), way.policy(Pressure::None).sampling), (None, 2));
    }

    #[test]
    fn a_better_bearer_that_comes_back_is_said_with_why_the_other_was_left() {
        let mut way = way(&[("eth0", Kind::Wired), ("wwan*", Kind::Cellular)]);
        let mut now = Instant(1000);
        way.interface(now, "wwan0", Some(GOOD));
        way.poll_switch(now).unwrap();
        carry(&mut way, &mut now, 20, 0, true);
        way.poll_event().unwrap();
        way.interface(now, "eth0", Some(GOOD));
        carry(&mut way, &mut now, 61, 0, true);
        way.handle_timeout(now);
        assert_eq!(way.poll_switch(now).unwrap().to.unwrap().name, "eth0");
        // Nothing is said before the hub has answered over it.
        assert_eq!(way.poll_event(), None);
        way.heard(now);
        let words = way.poll_event().unwrap().to_string();
        assert_eq!(words, "the link goes over eth0, which is wired; the one before was worse");
    }

    #[test]
    fn a_hub_that_refuses_is_no_fault_of_the_bearer() {
        let mut way = way(&[("eth0", Kind::Wired), ("wwan*", Kind::Cellular)]);
        let now = Instant(1000);
        way.interface(now, "eth0", Some(GOOD));
        way.interface(now, "wwan0", Some(GOOD));
        way.poll_switch(now).unwrap();
        (0..50).for_each(|_| way.ended(now, &DownReason::Forgotten));
        assert_eq!((way.poll_switch(now), way.tier()), (None, Tier::Wired));
        (0..3).for_each(|_| way.ended(now, &DownReason::Silent));
        assert_eq!(way.poll_switch(now).unwrap().reason, Reason::Failing);
    }
}
