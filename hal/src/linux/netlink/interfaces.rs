//! The interfaces that there are, from what the kernel says of them.
//!
//! ```text
//!           poll_request             the list ends                   both are whole
//!  Asking ----------------> Listing ---------------> Asking, Listing ----------------> Settled
//!    ^                                                      |                             |
//!    +------------------------------------------------------+-----------------------------+
//!                                   one changed while it was made, or messages were lost
//! ```
//!
//! Changes are told while the lists are made as well, in their order with what is listed. So a list that is whole, with what
//! was told since, is how things are.
//!
//! The kernel says once that it drops messages, and goes on to drop them until all that it still has are taken. What was
//! waiting by then may speak of interfaces whose end was dropped. So it is asked when nothing waits, and what was known is
//! forgotten at that moment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;

use super::message::{Message, list, messages};

/// Interfaces that are kept in mind. Gateways have a dozen; on a host of containers each may have one, and those beyond are left
/// out.
pub const INTERFACE_COUNT_MAX: usize = 256;

/// Usable addresses that are kept in mind. Those beyond are left out.
pub const ADDRESS_COUNT_MAX: usize = 512;

/// Lists in a row that may change while they are made before such a one is told all the same. Another is asked for until one is
/// whole.
const ATTEMPT_COUNT_MAX: u8 = 8;

/// What comes from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Messages were lost.
    Lost,
    /// A datagram.
    Received(&'a [u8]),
}

/// What holds of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its number. An interface that comes back under its name has another one.
    pub index: u32,
    /// Whether it can carry packets: it is up, has a carrier, and no authentication is to come.
    pub has_carrier: bool,
    /// The lowest of its usable addresses of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// The lowest of its usable addresses of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared, or something else holds of it.
    Changed {
        /// Its name.
        name: String,
        /// What holds now.
        interface: Interface,
    },
    /// There is no interface of that name any more, or another one, which is told next.
    Gone {
        /// Its name.
        name: String,
    },
}

/// The kernel does not list what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub errno: i32,
}

/// All interfaces.
#[derive(Debug)]
pub struct Interfaces {
    phase: Phase,
    links: Vec<Link>,
    /// Usable ones by interface, in order.
    addresses: Vec<(u32, IpAddr)>,
    told: Vec<(String, Interface)>,
    /// Whether something is missing that only a new list can tell.
    is_stale: bool,
    /// Lists in a row that were stale at their end.
    attempt_count: u8,
    /// Whether there was no room for some.
    has_left_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking(Subject),
    Listing(Subject),
    Settled,
}

/// In the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Links,
    Addresses,
}

#[derive(Debug)]
struct Link {
    index: u32,
    name: String,
    has_carrier: bool,
}

impl Default for Interfaces {
    fn default() -> Interfaces {
        Interfaces::new()
    }
}

impl Interfaces {
    /// None is known yet.
    pub fn new() -> Interfaces {
        Interfaces {
            phase: Phase::Asking(Subject::Links),
            links: Vec::new(),
            addresses: Vec::new(),
            told: Vec::new(),
            is_stale: false,
            attempt_count: 0,
            has_left_out: false,
        }
    }

    /// Takes what comes from the kernel.
    ///
    /// Errors: it will not list its interfaces. It is asked again with the next request.
    pub fn handle_input(&mut self, input: Input<'_>) -> Result<(), Refused> {
        match input {
            Input::Lost => self.is_stale = true,
            Input::Received(datagram) => {
                for (message, is_interrupted) in messages(datagram) {
                    self.is_stale |= is_interrupted;
                    match (message, self.phase) {
                        (Message::End { errno: 0 }, Phase::Listing(subject)) => self.end(subject),
                        (Message::End { errno }, Phase::Listing(_)) => {
                            self.phase = Phase::Asking(Subject::Links);
                            return Err(Refused { errno });
                        }
                        (message, _) => self.apply(message),
                    }
                }
            }
        }
        Ok(())
    }

    /// What to send to the kernel, if anything. To be asked when nothing is left to receive.
    pub fn poll_request(&mut self) -> Option<Vec<u8>> {
        let subject = match self.phase {
            Phase::Asking(subject) => subject,
            Phase::Settled if self.is_stale => Subject::Links,
            Phase::Listing(_) | Phase::Settled => return None,
        };
        self.phase = Phase::Listing(subject);
        Some(match subject {
            Subject::Links => {
                self.links.clear();
                self.addresses.clear();
                self.is_stale = false;
                self.has_left_out = false;
                list(libc::RTM_GETLINK)
            }
            Subject::Addresses => list(libc::RTM_GETADDR),
        })
    }

    /// A change that was not told yet. Nothing is told while lists are made.
    pub fn poll_output(&mut self) -> Option<Change> {
        if self.phase != Phase::Settled || (self.is_stale && self.attempt_count < ATTEMPT_COUNT_MAX) {
            return None;
        }
        let is_there = |name: &str, index| self.links.iter().any(|link| link.index == index && link.name == name);
        // First, so that whoever knows interfaces by name alone sees two swap their names.
        if let Some(at) = self.told.iter().position(|(name, told)| !is_there(name, told.index)) {
            let (name, _) = self.told.swap_remove(at);
            return Some(Change::Gone { name });
        }
        for link in &self.links {
            let interface = self.interface(link);
            match self.told.iter_mut().find(|(_, told)| told.index == link.index) {
                Some((_, told)) if *told == interface => continue,
                Some((_, told)) => *told = interface,
                None => self.told.push((link.name.clone(), interface)),
            }
            return Some(Change::Changed { name: link.name.clone(), interface });
        }
        None
    }

    /// Whether all that there are were listed, so that what is not told does not exist.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled && !self.is_stale
    }

    fn interface(&self, link: &Link) -> Interface {
        let start = self.addresses.partition_point(|(index, _)| *index < link.index);
        let addresses = || self.addresses[start..].iter().take_while(|(index, _)| *index == link.index);
        Interface {
            index: link.index,
            has_carrier: link.has_carrier,
            ipv4: addresses().find_map(|(_, address)| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            }),
            ipv6: addresses().find_map(|(_, address)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            }),
        }
    }

    fn end(&mut self, subject: Subject) {
        self.phase = match subject {
            Subject::Links => Phase::Asking(Subject::Addresses),
            Subject::Addresses => Phase::Settled,
        };
        if self.phase == Phase::Settled {
            self.attempt_count = if self.is_stale { self.attempt_count.saturating_add(1) } else { 0 };
        }
    }

    fn apply(&mut self, message: Message<'_>) {
        match message {
            Message::Address { index, address, is_usable: true } => {
                if let Err(at) = self.addresses.binary_search(&(index, address)) {
                    if self.addresses.len() < ADDRESS_COUNT_MAX {
                        self.addresses.insert(at, (index, address));
                    } else {
                        self.has_left_out = true;
                    }
                }
            }
            Message::Address { index, address, is_usable: false } | Message::AddressGone { index, address } => {
                if let Ok(at) = self.addresses.binary_search(&(index, address)) {
                    self.addresses.remove(at);
                    self.is_stale |= self.has_left_out;
                }
            }
            Message::Link { index, name, has_carrier } => self.apply_link(index, name, has_carrier),
            Message::LinkGone { index } => {
                self.links.retain(|link| link.index != index);
                self.addresses.retain(|(of, _)| *of != index);
                // There is room now.
                self.is_stale |= self.has_left_out;
            }
            Message::Overrun => self.is_stale = true,
            Message::End { .. } | Message::Other => {}
        }
    }

    fn apply_link(&mut self, index: u32, name: Option<&str>, has_carrier: bool) {
        // A name is that of one interface: what had it before was renamed or is gone, and that was dropped.
        self.links.retain(|link| link.index == index || Some(&*link.name) != name);
        if let Some(link) = self.links.iter_mut().find(|link| link.index == index) {
            link.has_carrier = has_carrier;
            if let Some(name) = name.filter(|name| *name != link.name) {
                link.name = name.to_owned();
            }
        } else if self.links.len() == INTERFACE_COUNT_MAX {
            self.has_left_out = true;
        } else if let Some(name) = name {
            // One whose name is no text cannot be named in the settings either.
            self.links.push(Link { index, name: name.to_owned(), has_carrier });
        }
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "the kernel does not list its interfaces: {error}")
    }
}

#[cfg(test)]
mod tests;
