//! What is sampled and sent on each tier of the link.
//!
//! | tier | a tick every | critical | normal | bulk | of the past | batch age | heartbeat |
//! |---|---|---|---|---|---|---|---|
//! | wired | 10 s | raw | raw | raw | the same | 5 to 60 s | 1 min |
//! | LTE | 10 s | raw | minute | minute | five minutes, then the same | 1 to 2 min | 5 min |
//! | 3G | 10 s | minute | minute | minute | five minutes, then the same | 1 to 5 min | 10 min |
//! | EDGE | 20 s | five minutes | five minutes | five minutes | hour, then the same | 5 to 10 min | 15 min |
//! | satellite | 30 s | five minutes | hour | hour | hour, then the same | 15 to 60 min | 15 min |
//! | offline | 10 s | | | | | 1 to 5 min | 15 min |
//!
//! A class of series is sent live at one resolution, its finest: coarser windows are exact merges of finer ones and of ticks,
//! so the hub makes them itself, and a window of a span whose ticks go anyway is not sent. What could not be sent while it was
//! new begins with a coarse picture of all of it, and the detail follows. Slower ticks miss what lies between them;
//! windows keep least and greatest of what was sampled. Offline samples as on a wire, because an outage is what a person wants to see.
//!
//! Urgent things (events, alerts, answers) are no part of a policy, so that nothing here can hold them back.
//!
//! Source: the tiers' table of the design, with the windows that there are; where bytes cost money, the heartbeats keep Verizon's
//! rule of five minutes between keep-alives, and all stay below the 20 minutes after which most NATs forget a TCP flow.

use core::fmt;

use wire::class::{CLASS_COUNT, Class};
use wire::limits::RUN_TICKS_MAX;
use wire::time::Span;

use crate::tier::{TIER_COUNT, Tier};

/// How fine something is kept, finest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// As it was sampled.
    Raw = 0,
    /// Windows of a minute.
    Minute = 1,
    /// Windows of five minutes.
    FiveMinutes = 2,
    /// Windows of an hour.
    Hour = 3,
    /// Windows of a day.
    Day = 4,
}

impl Resolution {
    /// Every resolution, finest first.
    pub const ALL: [Resolution; 5] =
        [Resolution::Raw, Resolution::Minute, Resolution::FiveMinutes, Resolution::Hour, Resolution::Day];
}

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

/// What is done on one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From tick to tick.
    pub sampling: Span,
    /// What is sent of what is new.
    pub live: Detail,
    /// What is sent of what could not be sent while it was new.
    pub backlog: Detail,
    /// Windows that go first of what could not be sent, whatever detail follows.
    pub picture: Option<Resolution>,
    /// How old a batch becomes before it is closed, at least and at most.
    pub batch_age: (Span, Span),
    /// Ticks in a batch of the next run, 1..=[`RUN_TICKS_MAX`].
    pub batch_tick_count_max: u32,
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
    /// Ticks in a batch are none, or more than a run has.
    BatchLength,
    /// A class is sent finer than one that matters more.
    Detail,
    /// Not from 5 s to a day.
    Heartbeat,
    /// Not from a second to an hour.
    Sampling,
}

const _: () = assert!(size_of::<Policies>() <= 512);

impl Policies {
    /// What to do on `tier` while bytes are so scarce.
    pub fn policy(&self, tier: Tier, pressure: Pressure) -> Policy {
        self.by_tier[tier as usize].clone().under_pressure(pressure)
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
    /// Whether windows or ticks of a class are to be sent.
    pub fn is_wanted(&self, part: Part, resolution: Resolution, class: Class) -> bool {
        match part {
            Part::Live => self.live[class as usize] == Some(resolution),
            Part::Backlog => self.backlog[class as usize].is_some_and(|finest| {
                finest == resolution || (finest < resolution && self.picture == Some(resolution))
            }),
        }
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
            *finest = resolution.max(*finest);
        }
    }

    /// Whether the policy can be.
    ///
    /// Errors: the first rule that it breaks.
    pub fn check(&self) -> Result<(), PolicyError> {
        let is_within = |span: Span, least: Span, most: Span| least <= span && span <= most;
        let (youngest, oldest) = self.batch_age;
        // What is not sent at all is coarser than anything.
        let coarseness = |finest: Option<Resolution>| finest.map_or(Resolution::ALL.len(), |finest| finest as usize);
        let is_ordered = |detail: &Detail| detail.is_sorted_by_key(|finest| coarseness(*finest));
        if !is_within(self.sampling, Span::seconds(1), Span::minutes(60)) {
            Err(PolicyError::Sampling)
        } else if !is_within(self.heartbeat, Span::seconds(5), Span::minutes(24 * 60)) {
            Err(PolicyError::Heartbeat)
        } else if youngest > oldest || !is_within(oldest, Span::seconds(1), Span::minutes(60)) {
            Err(PolicyError::BatchAge)
        } else if !(1..=RUN_TICKS_MAX).contains(&self.batch_tick_count_max) {
            Err(PolicyError::BatchLength)
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
        let policy =
            |sampling_s, live: Detail, picture, age_s: (u64, u64), batch_tick_count_max, heartbeat_min| Policy {
                sampling: Span::seconds(sampling_s),
                live,
                backlog: live,
                picture,
                batch_age: (Span::seconds(age_s.0), Span::seconds(age_s.1)),
                batch_tick_count_max,
                heartbeat: Span::minutes(heartbeat_min),
            };
        let all = |resolution| [Some(resolution); CLASS_COUNT];
        let but_critical = |critical, rest| [Some(critical), Some(rest), Some(rest)];
        Policies {
            by_tier: [
                policy(10, all(Raw), None, (5, 60), 6, 1),
                policy(10, but_critical(Raw, Minute), Some(FiveMinutes), (60, 120), 12, 5),
                policy(10, all(Minute), Some(FiveMinutes), (60, 300), 30, 10),
                policy(20, all(FiveMinutes), Some(Hour), (300, 600), 30, 15),
                policy(30, but_critical(FiveMinutes, Hour), Some(Hour), (900, 3600), 120, 15),
                policy(10, [None; CLASS_COUNT], None, (60, 300), 30, 15),
            ],
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resolution::Raw => "raw",
            Resolution::Minute => "minutes",
            Resolution::FiveMinutes => "five minutes",
            Resolution::Hour => "hours",
            Resolution::Day => "days",
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |span: Span| query::duration::format(span.0);
        write!(f, "a tick every {}; live: ", span(self.sampling))?;
        write_detail(f, &self.live)?;
        f.write_str("; of the past: ")?;
        if let Some(picture) = self.picture.filter(|_| self.backlog != [None; CLASS_COUNT]) {
            write!(f, "{picture} first, then ")?;
        }
        write_detail(f, &self.backlog)?;
        let (youngest, oldest) = self.batch_age;
        write!(
            f,
            "; batches of {} to {}, {} ticks at most; ",
            span(youngest),
            span(oldest),
            self.batch_tick_count_max
        )?;
        write!(f, "heartbeat every {}", span(self.heartbeat))
    }
}

/// `raw of critical, minutes of normal and bulk`
fn write_detail(f: &mut fmt::Formatter<'_>, detail: &Detail) -> fmt::Result {
    const NAMES: [&str; CLASS_COUNT] = ["critical", "normal", "bulk"];
    let mut separator = "";
    for resolution in Resolution::ALL {
        let classes = (0..CLASS_COUNT).filter(|class| detail[*class] == Some(resolution));
        let names: Vec<&str> = classes.map(|class| NAMES[class]).collect();
        if names.len() == CLASS_COUNT {
            return write!(f, "{resolution} of all");
        }
        if !names.is_empty() {
            write!(f, "{separator}{resolution} of {}", names.join(" and "))?;
            separator = ", ";
        }
    }
    if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyError::BatchAge => f.write_str("batch ages must be in order and at most 1h"),
            PolicyError::BatchLength => write!(f, "a batch has from 1 to {RUN_TICKS_MAX} ticks"),
            PolicyError::Detail => f.write_str("a class cannot be sent finer than one that matters more"),
            PolicyError::Heartbeat => f.write_str("the heartbeat must be from 5s to 1d"),
            PolicyError::Sampling => f.write_str("the sampling interval must be from 1s to 1h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; CLASS_COUNT] = [Class::Critical, Class::Normal, Class::Bulk];
    const PRESSURES: [Pressure; 4] = [Pressure::None, Pressure::Tight, Pressure::Short, Pressure::Spent];

    /// What is wanted of each class, finest first.
    fn wanted(policy: &Policy, part: Part) -> [Vec<Resolution>; CLASS_COUNT] {
        let of = |class| Resolution::ALL.into_iter().filter(move |it| policy.is_wanted(part, *it, class)).collect();
        CLASSES.map(of)
    }

    /// Values that a class costs in a day, roughly.
    fn cost(policy: &Policy, part: Part) -> u32 {
        let of = |resolution: &Resolution| [8640, 1440, 288, 24, 1][*resolution as usize];
        wanted(policy, part).iter().flatten().map(of).sum()
    }

    #[test]
    fn what_ships_is_what_the_table_says() {
        let policies = Policies::default();
        let words = |tier| policies.policy(tier, Pressure::None).to_string();
        for (tier, expected) in [
            (
                Tier::Wired,
                "a tick every 10s; live: raw of all; of the past: raw of all; \
                 batches of 5s to 1m, 6 ticks at most; heartbeat every 1m",
            ),
            (
                Tier::Lte,
                "a tick every 10s; live: raw of critical, minutes of normal and bulk; \
                 of the past: five minutes first, then raw of critical, minutes of normal and bulk; \
                 batches of 1m to 2m, 12 ticks at most; heartbeat every 5m",
            ),
            (
                Tier::Satellite,
                "a tick every 30s; live: five minutes of critical, hours of normal and bulk; \
                 of the past: hours first, then five minutes of critical, hours of normal and bulk; \
                 batches of 15m to 1h, 120 ticks at most; heartbeat every 15m",
            ),
            (
                Tier::Offline,
                "a tick every 10s; live: nothing; of the past: nothing; \
                 batches of 1m to 5m, 30 ticks at most; heartbeat every 15m",
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
    fn windows_of_what_goes_as_ticks_anyway_are_not_sent() {
        use Resolution::{FiveMinutes, Hour, Minute, Raw};
        let policies = Policies::default();
        let lte = policies.policy(Tier::Lte, Pressure::None);
        assert_eq!(wanted(&lte, Part::Live), [vec![Raw], vec![Minute], vec![Minute]]);
        // The picture comes first, and only where it is not the detail itself.
        assert_eq!(
            wanted(&lte, Part::Backlog),
            [vec![Raw, FiveMinutes], vec![Minute, FiveMinutes], vec![Minute, FiveMinutes]]
        );
        let satellite = policies.policy(Tier::Satellite, Pressure::None);
        assert_eq!(wanted(&satellite, Part::Backlog), [vec![FiveMinutes, Hour], vec![Hour], vec![Hour]]);
        let wired = policies.policy(Tier::Wired, Pressure::None);
        assert_eq!(wanted(&wired, Part::Backlog), [vec![Raw], vec![Raw], vec![Raw]]);
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
            let of = |number: usize| Resolution::ALL.get(number).copied();
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
        check(Policy { sampling: Span(0), ..good.clone() }, PolicyError::Sampling);
        check(Policy { heartbeat: Span::minutes(1441), ..good.clone() }, PolicyError::Heartbeat);
        check(Policy { batch_age: (Span(2000), Span(1000)), ..good.clone() }, PolicyError::BatchAge);
        check(Policy { batch_tick_count_max: RUN_TICKS_MAX + 1, ..good.clone() }, PolicyError::BatchLength);
        check(Policy { live: [None, Some(Resolution::Day), None], ..good.clone() }, PolicyError::Detail);
        let mut policies = Policies::default();
        assert_eq!(policies.set(Tier::Edge, good.clone()), Ok(()));
        assert_eq!(policies.policy(Tier::Edge, Pressure::None), good);
    }
}
