//! What goes wrong on gateways again and again, by name.

use core::fmt;

use heapless::String;
use query::duration;
use query::unit::Shown;
use serde::{Deserialize, Serialize};

use crate::event::Text;
use crate::limits::SUBJECT_BYTES_MAX;
use crate::time::Span;

/// What has a trouble: a mount point, an interface, the name of processes.
pub type Subject = String<SUBJECT_BYTES_MAX>;

/// A trouble that is known by name. The order of the variants is that on the wire: add at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// A file system will be full soon if it goes on like this.
    DiskFilling {
        /// Where it is mounted.
        mountpoint: Subject,
        /// How long it will take.
        left: Span,
    },
    /// The processes of one name take more memory all the time.
    MemoryLeak {
        /// Their name.
        group: Subject,
        /// What they hold.
        bytes: u64,
        /// What they hold more than so long ago.
        grown_bytes: u64,
        /// How long ago.
        within: Span,
    },
    /// A service ends and is started again and again; or the machine, when there is no name.
    RestartLoop {
        /// The name of its processes.
        group: Option<Subject>,
        /// Starts.
        count: u32,
        /// In so long.
        within: Span,
    },
    /// The firmware slows the board down, or its supply is too weak.
    SlowedDown {
        /// Which of the firmware's conditions is met: `under_voltage`, `frequency_capped`, `throttled`,
        /// `soft_temperature_limit`.
        condition: Subject,
    },
    /// A file system that took writes takes none any more.
    ReadOnly {
        /// Where it is mounted.
        mountpoint: Subject,
    },
    /// The kernel complains of a memory card or disk.
    CardErrors {
        /// How often.
        count: u32,
        /// What it said first.
        line: Text,
    },
    /// An interface loses its carrier and finds it again, over and over.
    Flapping {
        /// Its name.
        interface: Subject,
        /// Changes of the carrier.
        count: u32,
        /// In so long.
        within: Span,
    },
    /// A modem that was registered has lost its network.
    ModemOffline {
        /// Its interface.
        interface: Subject,
    },
    /// Memory ran out, and the kernel killed processes.
    OutOfMemory {
        /// How many.
        count: u32,
        /// The last one's name, where the kernel's log may be read.
        victim: Option<Subject>,
    },
    /// Most of the load is processes that wait for a disk or a server of files, while the processors are idle.
    StuckOnIo {
        /// The load over a minute, in hundredths.
        load_100: u32,
        /// Processes that cannot be interrupted.
        blocked_count: u32,
    },
}

impl Trouble {
    /// Its word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Trouble::DiskFilling { .. } => "disk_filling",
            Trouble::MemoryLeak { .. } => "memory_leak",
            Trouble::RestartLoop { .. } => "restart_loop",
            Trouble::SlowedDown { .. } => "slowed_down",
            Trouble::ReadOnly { .. } => "read_only",
            Trouble::CardErrors { .. } => "card_errors",
            Trouble::Flapping { .. } => "flapping",
            Trouble::ModemOffline { .. } => "modem_offline",
            Trouble::OutOfMemory { .. } => "out_of_memory",
            Trouble::StuckOnIo { .. } => "stuck_on_io",
        }
    }

    /// What has it; nothing, when the machine has.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Trouble::DiskFilling { mountpoint: subject, .. }
            | Trouble::MemoryLeak { group: subject, .. }
            | Trouble::RestartLoop { group: Some(subject), .. }
            | Trouble::SlowedDown { condition: subject }
            | Trouble::ReadOnly { mountpoint: subject }
            | Trouble::Flapping { interface: subject, .. }
            | Trouble::ModemOffline { interface: subject } => Some(subject),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |span: &Span| duration::format(span.0 / 60_000 * 60_000);
        let bytes = |count: &u64| Shown::of("_bytes", false).format(*count as f64);
        match self {
            Trouble::DiskFilling { mountpoint, left } => {
                write!(f, "file system {mountpoint} will be full in {} if it goes on like this", span(left))
            }
            Trouble::MemoryLeak { group, bytes: held, grown_bytes, within } => {
                let (held, grown) = (bytes(held), bytes(grown_bytes));
                write!(f, "{group} takes more memory all the time: {held}, of which {grown} came in {}", span(within))
            }
            Trouble::RestartLoop { group, count, within } => {
                let group = group.as_deref().unwrap_or("the machine");
                write!(f, "{group} is started again and again: {count} times in {}", span(within))
            }
            Trouble::SlowedDown { condition } => f.write_str(match condition.as_str() {
                "under_voltage" => "the supply voltage is too low: check the power supply and its cable",
                "soft_temperature_limit" => "the board is hot and slows down",
                _ => "the firmware slows the board down: it is too hot, or the supply is too weak",
            }),
            Trouble::ReadOnly { mountpoint } => write!(
                f,
                "file system {mountpoint} takes no writes any more: after an error the kernel does so, see its log"
            ),
            Trouble::CardErrors { count, line } => {
                write!(f, "the kernel reports {count} errors of a memory card or disk: {line}")
            }
            Trouble::Flapping { interface, count, within } => {
                write!(f, "interface {interface} lost or found its carrier {count} times in {}", span(within))
            }
            Trouble::ModemOffline { interface } => write!(f, "modem {interface} has lost its network"),
            Trouble::OutOfMemory { count, victim } => {
                write!(f, "memory ran out, and the kernel killed {count} processes")?;
                victim.as_ref().map_or(Ok(()), |victim| write!(f, ", of them {victim}"))
            }
            Trouble::StuckOnIo { load_100, blocked_count } => {
                let (whole, hundredths) = (load_100 / 100, load_100 % 100);
                write!(
                    f,
                    "{blocked_count} processes wait for a disk or a server of files while the processors idle: load {whole}.{hundredths:02}"
                )
            }
        }
    }
}

/// A name as it goes into a trouble, cut at a character. What is no text in it stands as `?`.
pub fn subject(name: &[u8]) -> Subject {
    let mut subject = Subject::new();
    for character in alloc::string::String::from_utf8_lossy(name).chars() {
        let character = if character.is_control() || character == '\u{fffd}' { '?' } else { character };
        if subject.push(character).is_err() {
            break;
        }
    }
    subject
}

/// The word for the end of a trouble, behind what it was.
pub(crate) fn over(trouble: &Trouble, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let what = match trouble {
        Trouble::DiskFilling { .. } => "no longer fills up",
        Trouble::MemoryLeak { .. } => "takes no more memory",
        Trouble::RestartLoop { .. } => "keeps running",
        Trouble::SlowedDown { .. } => "is no more",
        Trouble::ReadOnly { .. } => "takes writes again",
        Trouble::CardErrors { .. } => "no more errors of a memory card or disk",
        Trouble::Flapping { .. } => "keeps its carrier",
        Trouble::ModemOffline { .. } => "has its network again",
        Trouble::OutOfMemory { .. } => "memory suffices again",
        Trouble::StuckOnIo { .. } => "disks and servers of files answer again",
    };
    match trouble.subject() {
        Some(subject) => write!(f, "{subject} {what}"),
        None => f.write_str(what),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_is_said_names_what_has_it_and_what_to_look_at() {
        let left = Span::minutes(190);
        let filling = Trouble::DiskFilling { mountpoint: subject(b"/var/log"), left };
        assert_eq!(format!("{filling}"), "file system /var/log will be full in 3h10m if it goes on like this");
        let victim = Some(subject(b"java"));
        let killed = Trouble::OutOfMemory { count: 2, victim };
        assert_eq!(format!("{killed}"), "memory ran out, and the kernel killed 2 processes, of them java");
        let looping = Trouble::RestartLoop { group: None, count: 4, within: Span::minutes(12) };
        assert_eq!(format!("{looping}"), "the machine is started again and again: 4 times in 12m");
    }

    #[test]
    fn a_hostile_name_is_cut_and_moves_no_cursor() {
        assert_eq!(subject(b"a\x1b[2J\xff\xe2\x82"), "a?[2J??");
        assert_eq!(subject(&[b'x'; 500]).len(), SUBJECT_BYTES_MAX);
        assert!(subject("é".repeat(100).as_bytes()).chars().all(|c| c == 'é'));
    }
}
