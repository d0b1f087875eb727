//! What is sampled and sent on each tier of the link.
//!
//! | tier | a tick | critical | normal | bulk | batch age | heartbeat |
//! |---|---|---|---|---|---|---|
//! | wired | each | raw | raw | raw | 1 to 10 min | 1 min |
//! | LTE | each | raw | minute | minute | 2 to 10 min | 5 min |
//! | 3G | each | minute | minute | minute | 1 to 10 min | 10 min |
//! | EDGE | every second | five minutes | five minutes | five minutes | 1 to 10 min | 15 min |
//! | satellite | every third | five minutes | hour | hour | 1 to 10 min | 15 min |
//! | offline | each | | | | 1 to 10 min | |
//!
//! A class of series is sent live at one resolution, its finest: coarser windows are exact merges of finer ones and of ticks, so the
//! hub makes them itself, and a window of a span whose ticks go anyway is [withheld](journal::Journal::withhold). Of what could not be sent while
//! it was new, the coarse windows go first, which are a picture of all of it, and the detail follows. What is finer than the detail waits
//! in the journal for a better tier, or for the hub to ask. Slower ticks miss what lies between them; windows keep least and greatest
//! of what was sampled. Offline samples as on a wire, because an outage is what a person wants to see.
//!
//! Batches of ticks are older where ticks are sent and bytes cost: two minutes halve what stands around them. Where only windows
//! are sent, a batch is as young as on a wire, because its age is what a power cut may cost.
//!
//! Urgent things (events, alerts, answers) are no part of a policy, so that nothing here can hold them back.
//!
//! Source: the tiers' table of the design, with the windows that there are; where bytes cost money, the heartbeats keep Verizon's
//! rule of five minutes between keep-alives, and all stay below the 20 minutes after which most NATs forget a TCP flow.

use core::fmt;

use wire::class::{CLASS_COUNT, Class};
use wire::limits::RUN_TICKS_MAX;
use wire::stream::{Resolution, Stream};
use wire::time::Span;

use crate::tier::{TIER_COUNT, Tier};

/// The finest resolution of each [class](Class) that is sent; `None` when nothing of it is.
pub type Detail = [Option<Resolution>; CLASS_COUNT];

/// Which part of what was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What could not be sent while it was new.
    Backlog,
    /// What is new.
    Live,
}

/// How scarce bytes are: the step of the [budget](crate::budget) that was passed, in the order of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None = 0,
    /// 70 % are spent.
    Tight = 1,
    /// 85 %.
    Short = 2,
    /// 95 %.
    Spent = 3,
}

/// The slowest sampling: a tick every minute where it is every 10 s on a wire.
pub const SAMPLING_MAX: u8 = 6;

/// What is done on one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Every how many intervals of the settings a tick is taken, 1..=[`SAMPLING_MAX`].
    pub sampling: u8,
    /// What is sent of what is new.
    pub live: Detail,
    /// What is sent of what could not be sent while it was new.
    pub backlog: Detail,
    /// How old a batch becomes before it is closed, at least and at most.
    pub batch_age: (Span, Span),
    /// Ticks in the next run, 1..=[`RUN_TICKS_MAX`]: what is sent newest first is whole runs.
    pub run_tick_count_max: u32,
    /// The longest pause on the link.
    pub heartbeat: Span,
}

/// The policies of all tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    by_tier: [Policy; TIER_COUNT],
}

/// Why a policy cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The ages of batches are not in order, or beyond an hour.
    BatchAge,
    /// A class is sent finer than one that matters more.
    Detail,
    /// Not from 5 s to a day.
    Heartbeat,
    /// Ticks in a run are none, or more than a run may have.
    RunLength,
    /// No tick at all, or too few.
    Sampling,
}

const _: () = assert!(size_of::<Policies>() <= 512);

impl Policies {
    /// What to do on `tier` while bytes are so scarce.
    pub fn policy(&self, tier: Tier, pressure: Pressure) -> Policy {
        self.by_tier[tier as usize].clone().under_pressure(pressure)
    }

    /// A tier's policy while there are bytes enough.
    pub fn of(&self, tier: Tier) -> &Policy {
        &self.by_tier[tier as usize]
    }

    /// Changes the policy of every tier.
    ///
    /// Errors: as [`Policies::set`], of the first that cannot be.
    pub fn change(&mut self, mut change: impl FnMut(&mut Policy)) -> Result<(), PolicyError> {
        let mut changed = self.clone();
        changed.by_tier.iter_mut().for_each(&mut change);
        changed.by_tier.iter().try_for_each(Policy::check)?;
        *self = changed;
        Ok(())
    }

    /// Sets one tier's policy.
    ///
    /// Errors: it cannot be; nothing has changed then.
    pub fn set(&mut self, tier: Tier, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        self.by_tier[tier as usize] = policy;
        Ok(())
    }
}

impl Policy {
    /// Whether windows or ticks of a class are sent, if they were not [withheld](Policy::is_covered) when they were new.
    pub fn is_sent(&self, part: Part, resolution: Resolution, class: Class) -> bool {
        let detail = match part {
            Part::Backlog => &self.backlog,
            Part::Live => &self.live,
        };
        detail[class as usize].is_some_and(|finest| resolution <= finest)
    }

    /// Whether a stream is sent: what is urgent always is, and an extract while anything of its class's past is.
    pub fn is_sent_of(&self, part: Part, stream: Stream) -> bool {
        match stream {
            Stream::Event | Stream::Dictionary => true,
            Stream::Series(resolution, class) => self.is_sent(part, resolution, class),
            Stream::Extract(class) => self.backlog[class as usize].is_some(),
        }
    }

    /// Whether new windows of a class say nothing that is not sent anyway, in finer ones or in ticks.
    pub fn is_covered(&self, resolution: Resolution, class: Class) -> bool {
        self.live[class as usize].is_some_and(|finest| resolution < finest)
    }

    /// The policy while bytes are so scarce. Bulk goes first, then ticks, then the finer windows.
    ///
    /// What is not sent stays in the journal: a later day, or the hub, may ask for it.
    pub fn under_pressure(mut self, pressure: Pressure) -> Policy {
        if pressure >= Pressure::Tight {
            self.live[Class::Bulk as usize] = None;
            self.backlog[Class::Bulk as usize] = None;
        }
        if pressure >= Pressure::Short {
            self.at_finest(Resolution::Minute);
        }
        if pressure >= Pressure::Spent {
            // An hour at the coarsest: a day's window would come after the budget's day is over.
            let coarser = |finest: Resolution| match finest {
                Resolution::Raw | Resolution::Minute => Resolution::FiveMinutes,
                Resolution::FiveMinutes | Resolution::Hour => Resolution::Hour,
                Resolution::Day => Resolution::Day,
            };
            self.live = self.live.map(|finest| finest.map(coarser));
            self.backlog = [None; CLASS_COUNT];
        }
        self
    }

    /// Sends nothing finer than `resolution`.
    fn at_finest(&mut self, resolution: Resolution) {
        for finest in self.live.iter_mut().chain(&mut self.backlog).flatten() {
            *finest = resolution.min(*finest);
        }
    }

    /// Whether the policy can be.
    ///
    /// Errors: the first rule that it breaks.
    pub fn check(&self) -> Result<(), PolicyError> {
        let is_within = |span: Span, least: Span, most: Span| least <= span && span <= most;
        let (youngest, oldest) = self.batch_age;
        // What is not sent at all is coarser than anything.
        let is_ordered = |detail: &Detail| detail.is_sorted_by(|more, less| more >= less);
        if !(1..=SAMPLING_MAX).contains(&self.sampling) {
            Err(PolicyError::Sampling)
        } else if !is_within(self.heartbeat, Span::seconds(5), Span::minutes(24 * 60)) {
            Err(PolicyError::Heartbeat)
        } else if youngest > oldest || !is_within(oldest, Span::seconds(1), Span::minutes(60)) {
            Err(PolicyError::BatchAge)
        } else if !(1..=RUN_TICKS_MAX).contains(&self.run_tick_count_max) {
            Err(PolicyError::RunLength)
        } else if !is_ordered(&self.live) || !is_ordered(&self.backlog) {
            Err(PolicyError::Detail)
        } else {
            Ok(())
        }
    }
}

impl Default for Policies {
    fn default() -> Policies {
        use Resolution::{FiveMinutes, Hour, Minute, Raw};
        let policy = |sampling, live: Detail, youngest_min, run_tick_count_max, heartbeat_min| Policy {
            sampling,
            live,
            backlog: live,
            batch_age: (Span::minutes(youngest_min), Span::minutes(10)),
            run_tick_count_max,
            heartbeat: Span::minutes(heartbeat_min),
        };
        let all = |resolution| [Some(resolution); CLASS_COUNT];
        let but_critical = |critical, rest| [Some(critical), Some(rest), Some(rest)];
        Policies {
            by_tier: [
                policy(1, all(Raw), 1, RUN_TICKS_MAX, 1),
                policy(1, but_critical(Raw, Minute), 2, RUN_TICKS_MAX, 5),
                policy(1, all(Minute), 1, RUN_TICKS_MAX, 10),
                policy(2, all(FiveMinutes), 1, RUN_TICKS_MAX, 15),
                policy(3, but_critical(FiveMinutes, Hour), 1, RUN_TICKS_MAX, 15),
                policy(1, [None; CLASS_COUNT], 1, RUN_TICKS_MAX, 15),
            ],
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |span: Span| query::duration::format(span.0);
        match self.sampling {
            1 => f.write_str("every tick")?,
            count => write!(f, "one tick of {count}")?,
        }
        f.write_str("; live: ")?;
        write_detail(f, &self.live)?;
        f.write_str("; of the past: ")?;
        write_detail(f, &self.backlog)?;
        let (youngest, oldest) = self.batch_age;
        write!(f, "; batches of {} to {}, ", span(youngest), span(oldest))?;
        write!(f, "runs of {} ticks; heartbeat every {}", self.run_tick_count_max, span(self.heartbeat))
    }
}

/// The word of a resolution between others.
fn word(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Raw => "raw",
        Resolution::Minute => "minutes",
        Resolution::FiveMinutes => "five minutes",
        Resolution::Hour => "hours",
        Resolution::Day => "days",
    }
}

/// `raw of critical, minutes of normal and bulk`
fn write_detail(f: &mut fmt::Formatter<'_>, detail: &Detail) -> fmt::Result {
    const NAMES: [&str; CLASS_COUNT] = ["critical", "normal", "bulk"];
    let mut separator = "";
    for resolution in Resolution::ALL.into_iter().rev() {
        let classes = (0..CLASS_COUNT).filter(|class| detail[*class] == Some(resolution));
        let names: Vec<&str> = classes.map(|class| NAMES[class]).collect();
        if names.len() == CLASS_COUNT {
            return write!(f, "{} of all", word(resolution));
        }
        if !names.is_empty() {
            write!(f, "{separator}{} of {}", word(resolution), names.join(" and "))?;
            separator = ", ";
        }
    }
    if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyError::BatchAge => f.write_str("batch ages must be in order and at most 1h"),
            PolicyError::Detail => f.write_str("a class cannot be sent finer than one that matters more"),
            PolicyError::Heartbeat => f.write_str("the heartbeat must be from 5s to 1d"),
            PolicyError::RunLength => write!(f, "a run has from 1 to {RUN_TICKS_MAX} ticks"),
            PolicyError::Sampling => write!(f, "one tick of 1 to {SAMPLING_MAX} is taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; CLASS_COUNT] = [Class::Critical, Class::Normal, Class::Bulk];
    const PRESSURES: [Pressure; 4] = [Pressure::None, Pressure::Tight, Pressure::Short, Pressure::Spent];

    /// Values that a class costs in a day, roughly.
    fn cost(policy: &Policy, part: Part) -> u32 {
        let is_sent = |class: Class, resolution: &Resolution| {
            policy.is_sent(part, *resolution, class) && !(part == Part::Live && policy.is_covered(*resolution, class))
        };
        let sent = CLASSES.map(|class| Resolution::ALL.into_iter().filter(move |it| is_sent(class, it)));
        sent.into_iter().flatten().map(|resolution| [1, 24, 288, 1440, 8640][resolution as usize]).sum()
    }

    #[test]
    fn what_ships_is_what_the_table_says() {
        let policies = Policies::default();
        let words = |tier| policies.policy(tier, Pressure::None).to_string();
        for (tier, expected) in [
            (
                Tier::Wired,
                "every tick; live: raw of all; of the past: raw of all; \
                 batches of 1m to 10m, runs of 360 ticks; heartbeat every 1m",
            ),
            (
                Tier::Lte,
                "every tick; live: raw of critical, minutes of normal and bulk; \
                 of the past: raw of critical, minutes of normal and bulk; \
                 batches of 2m to 10m, runs of 360 ticks; heartbeat every 5m",
            ),
            (
                Tier::Satellite,
                "one tick of 3; live: five minutes of critical, hours of normal and bulk; \
                 of the past: five minutes of critical, hours of normal and bulk; \
                 batches of 1m to 10m, runs of 360 ticks; heartbeat every 15m",
            ),
            (
                Tier::Offline,
                "every tick; live: nothing; of the past: nothing; \
                 batches of 1m to 10m, runs of 360 ticks; heartbeat every 15m",
            ),
        ] {
            assert_eq!(words(tier), expected);
        }
    }

    #[test]
    fn what_ships_can_be_and_a_worse_tier_costs_no_more() {
        let policies = Policies::default();
        let all = Tier::ALL.map(|tier| policies.policy(tier, Pressure::None));
        all.iter().for_each(|policy| assert_eq!(policy.check(), Ok(())));
        assert!(all.windows(2).all(|pair| cost(&pair[0], Part::Live) >= cost(&pair[1], Part::Live)));
        assert!(all.windows(2).all(|pair| pair[0].heartbeat <= pair[1].heartbeat));
    }

    #[test]
    fn what_goes_in_finer_windows_or_in_ticks_is_covered_while_it_is_new() {
        use Resolution::{Day, FiveMinutes, Hour, Minute, Raw};
        let covered =
            |policy: &Policy, class| Resolution::ALL.into_iter().filter(|it| policy.is_covered(*it, class)).collect();
        let policies = Policies::default();
        let of = |tier, class| -> Vec<Resolution> { covered(&policies.policy(tier, Pressure::None), class) };
        assert_eq!(of(Tier::Lte, Class::Critical), [Day, Hour, FiveMinutes, Minute]);
        assert_eq!(of(Tier::Lte, Class::Bulk), [Day, Hour, FiveMinutes]);
        assert_eq!(of(Tier::Satellite, Class::Normal), [Day]);
        assert_eq!(of(Tier::Offline, Class::Critical), []);
        // Of the past the coarse go as well, and first: a picture of all of it.
        let lte = policies.policy(Tier::Lte, Pressure::None);
        assert!(
            lte.is_sent(Part::Backlog, FiveMinutes, Class::Normal) && !lte.is_sent(Part::Backlog, Raw, Class::Normal)
        );
    }

    #[test]
    fn pressure_takes_bulk_then_ticks_then_the_finer_windows() {
        use Resolution::{FiveMinutes, Minute, Raw};
        let live = PRESSURES.map(|pressure| Policies::default().policy(Tier::Wired, pressure).live);
        assert_eq!(live[0], [Some(Raw); 3]);
        assert_eq!(live[1], [Some(Raw), Some(Raw), None]);
        assert_eq!(live[2], [Some(Minute), Some(Minute), None]);
        assert_eq!(live[3], [Some(FiveMinutes), Some(FiveMinutes), None]);
    }

    #[test]
    fn pressure_never_costs_more_nor_silences_what_is_critical() {
        let details = || {
            let of = |number: usize| Resolution::ALL.get(4_usize.wrapping_sub(number)).copied();
            (0..216).map(move |number| [of(number % 6), of(number / 6 % 6), of(number / 36)])
        };
        for live in details() {
            let base = Policy { live, backlog: live, ..Policies::default().policy(Tier::Lte, Pressure::None) };
            if base.check().is_err() {
                continue;
            }
            let pressed = PRESSURES.map(|pressure| base.clone().under_pressure(pressure));
            for pair in pressed.windows(2) {
                assert_eq!(pair[1].check(), Ok(()));
                assert!([Part::Live, Part::Backlog].iter().all(|part| cost(&pair[0], *part) >= cost(&pair[1], *part)));
                assert_eq!(pair[1].live[0].is_some(), live[0].is_some());
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = Policies::default().policy(Tier::Lte, Pressure::None);
        let check = |policy: Policy, expected| {
            let mut policies = Policies::default();
            assert_eq!(policies.set(Tier::Edge, policy), Err(expected));
            assert_eq!(policies, Policies::default());
        };
        check(Policy { sampling: 0, ..good.clone() }, PolicyError::Sampling);
        check(Policy { heartbeat: Span::minutes(1441), ..good.clone() }, PolicyError::Heartbeat);
        check(Policy { batch_age: (Span(2000), Span(1000)), ..good.clone() }, PolicyError::BatchAge);
        check(Policy { run_tick_count_max: RUN_TICKS_MAX + 1, ..good.clone() }, PolicyError::RunLength);
        check(Policy { live: [None, Some(Resolution::Day), None], ..good.clone() }, PolicyError::Detail);
        let mut policies = Policies::default();
        assert_eq!(policies.set(Tier::Edge, good.clone()), Ok(()));
        assert_eq!(policies.policy(Tier::Edge, Pressure::None), good);
    }
}
