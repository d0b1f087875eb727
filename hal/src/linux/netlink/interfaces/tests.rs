use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::message::tests::{address, end, gone, link};
use super::*;

fn receive(interfaces: &mut Interfaces, datagram: &[u8]) {
    interfaces.handle_input(Input::Received(datagram)).unwrap();
}

fn changes(interfaces: &mut Interfaces) -> Vec<String> {
    std::iter::from_fn(|| interfaces.poll_output()).map(|change| said(&change)).collect()
}

fn said(change: &Change) -> String {
    match change {
        Change::Changed { name, interface } => {
            let ipv4 = interface.ipv4.map(|address| format!(" {address}")).unwrap_or_default();
            let ipv6 = interface.ipv6.map(|address| format!(" {address}")).unwrap_or_default();
            let carrier = if interface.has_carrier { " carrier" } else { "" };
            format!("{name} {}{carrier}{ipv4}{ipv6}", interface.index)
        }
        Change::Gone { name } => format!("{name} gone"),
    }
}

/// Those of `links` and `addresses`, and nothing to tell any more.
fn settled(links: &[Vec<u8>], addresses: &[Vec<u8>]) -> Interfaces {
    let mut interfaces = Interfaces::new();
    relist(&mut interfaces, links, addresses);
    changes(&mut interfaces);
    interfaces
}

fn relist(interfaces: &mut Interfaces, links: &[Vec<u8>], addresses: &[Vec<u8>]) {
    for list in [links, addresses] {
        assert!(interfaces.poll_request().is_some() && interfaces.poll_request().is_none());
        receive(interfaces, &list.concat());
        receive(interfaces, &end(0));
    }
}

#[test]
fn nothing_is_told_before_all_is_listed() {
    let mut interfaces = Interfaces::new();
    assert!(interfaces.poll_request().is_some());
    receive(&mut interfaces, &[link(1, "lo", true), link(2, "eth0", true)].concat());
    receive(&mut interfaces, &end(0));
    assert!(interfaces.poll_request().is_some());
    receive(&mut interfaces, &address(2, "10.0.0.9"));
    assert!(changes(&mut interfaces).is_empty() && !interfaces.is_settled());
    receive(&mut interfaces, &[address(2, "10.0.0.5"), address(2, "2001:db8::5"), end(0)].concat());
    assert_eq!(changes(&mut interfaces), ["lo 1 carrier", "eth0 2 carrier 10.0.0.5 2001:db8::5"]);
    assert!(interfaces.is_settled() && interfaces.poll_request().is_none());
}

#[test]
fn a_change_is_told_once() {
    let mut interfaces = settled(&[link(2, "eth0", false)], &[]);
    receive(&mut interfaces, &link(2, "eth0", true));
    assert_eq!(changes(&mut interfaces), ["eth0 2 carrier"]);
    receive(&mut interfaces, &link(2, "eth0", true));
    assert!(changes(&mut interfaces).is_empty());
    receive(&mut interfaces, &[address(2, "10.0.0.5"), address(2, "10.0.0.4")].concat());
    assert_eq!(changes(&mut interfaces), ["eth0 2 carrier 10.0.0.4"]);
    receive(&mut interfaces, &gone(&address(2, "10.0.0.4")));
    assert_eq!(changes(&mut interfaces), ["eth0 2 carrier 10.0.0.5"]);
    receive(&mut interfaces, &gone(&link(2, "eth0", true)));
    assert_eq!(changes(&mut interfaces), ["eth0 gone"]);
}

#[test]
fn a_modem_that_comes_back_is_another_interface() {
    let mut interfaces = settled(&[link(5, "wwan0", true)], &[address(5, "10.0.0.5")]);
    receive(&mut interfaces, &[gone(&link(5, "wwan0", true)), link(6, "wwan0", true)].concat());
    assert_eq!(changes(&mut interfaces), ["wwan0 gone", "wwan0 6 carrier"]);
}

#[test]
fn names_may_be_swapped() {
    let mut interfaces = settled(&[link(1, "eth0", true), link(2, "eth1", false)], &[]);
    receive(&mut interfaces, &[link(1, "x", true), link(2, "eth0", false), link(1, "eth1", true)].concat());
    let told = changes(&mut interfaces);
    assert_eq!(told, ["eth0 gone", "eth1 gone", "eth1 1 carrier", "eth0 2"]);
}

#[test]
fn after_a_loss_everything_is_listed_again() {
    let mut interfaces = settled(&[link(1, "eth0", true), link(2, "wwan0", true)], &[address(1, "10.0.0.5")]);
    interfaces.handle_input(Input::Lost).unwrap();
    assert!(changes(&mut interfaces).is_empty());
    relist(&mut interfaces, &[link(2, "wwan0", true), link(3, "wlan0", false)], &[address(2, "10.0.0.6")]);
    assert_eq!(changes(&mut interfaces), ["eth0 gone", "wwan0 2 carrier 10.0.0.6", "wlan0 3"]);
}

#[test]
fn lists_that_change_while_they_are_made_are_told_only_when_there_is_no_end_of_them() {
    let (mut interfaces, mut attempt_count) = (Interfaces::new(), 0);
    let told = loop {
        attempt_count += 1;
        assert!(interfaces.poll_request().is_some());
        receive(&mut interfaces, &[link(1, "eth0", true), end(0)].concat());
        interfaces.handle_input(Input::Lost).unwrap();
        assert!(interfaces.poll_request().is_some());
        receive(&mut interfaces, &end(0));
        let told = changes(&mut interfaces);
        if !told.is_empty() {
            break told;
        }
    };
    assert_eq!((attempt_count, told), (ATTEMPT_COUNT_MAX, vec!["eth0 1 carrier".to_owned()]));
    assert!(!interfaces.is_settled());
    relist(&mut interfaces, &[link(1, "eth0", false)], &[]);
    assert!(interfaces.is_settled());
    assert_eq!(changes(&mut interfaces), ["eth0 1"]);
}

#[test]
fn a_refusal_is_an_error_and_the_next_request_begins_anew() {
    let mut interfaces = Interfaces::new();
    assert!(interfaces.poll_request().is_some());
    let refused = interfaces.handle_input(Input::Received(&end(libc::EPERM))).unwrap_err();
    assert_eq!(refused, Refused { errno: libc::EPERM });
    assert!(refused.to_string().contains("not permitted"), "{refused}");
    relist(&mut interfaces, &[link(1, "eth0", true)], &[]);
    assert_eq!(changes(&mut interfaces), ["eth0 1 carrier"]);
}

#[test]
fn what_there_is_no_room_for_is_listed_again_when_there_is() {
    let links: Vec<_> = (1..=300).map(|index| link(index, &format!("veth{index}"), true)).collect();
    let addresses: Vec<_> =
        (0..600).map(|at| address(at % 300 + 1, &format!("10.0.{}.{}", at / 250, at % 250))).collect();
    let mut interfaces = settled(&links, &addresses);
    assert_eq!(interfaces.told.len(), INTERFACE_COUNT_MAX);
    assert_eq!(interfaces.addresses.len(), ADDRESS_COUNT_MAX);
    receive(&mut interfaces, &links[..100].iter().map(|link| gone(link)).collect::<Vec<_>>().concat());
    relist(&mut interfaces, &links[100..], &addresses);
    assert_eq!(changes(&mut interfaces).len(), 100 + 300 - INTERFACE_COUNT_MAX);
}
/// A kernel whose interfaces come and go, also while it lists them, and that has little room for what it says of that.
#[derive(Default)]
struct Kernel {
    links: BTreeMap<u32, (String, bool)>,
    addresses: BTreeSet<(u32, Ipv4Addr)>,
    queue: VecDeque<Vec<u8>>,
    is_congested: bool,
    /// Whether it is still to be said that something was dropped.
    has_dropped: bool,
    /// The kind of the list that is asked for, how far it is, and whether something changed since it began.
    list: Option<(u16, usize, bool)>,
}

impl Kernel {
    const ROOM: usize = 6;

    fn change(&mut self, random: &mut impl FnMut(u32) -> u32) {
        let index = random(8) + 1;
        let name = format!("if{}", random(12));
        let address = (index, Ipv4Addr::new(10, 0, 0, random(4) as u8));
        let is_taken = self.links.values().any(|(taken, _)| *taken == name);
        match random(6) {
            0 if self.links.remove(&index).is_some() => {
                let own: Vec<_> = self.addresses.extract_if(.., |own| own.0 == index).collect();
                own.into_iter().for_each(|own| self.say(gone(&told(own))));
                self.say(gone(&link(index, "any", false)));
            }
            1..=3 if !is_taken => {
                let has_carrier = random(2) == 0;
                self.say(link(index, &name, has_carrier));
                self.links.insert(index, (name, has_carrier));
            }
            4 if self.links.contains_key(&index) && self.addresses.insert(address) => self.say(told(address)),
            5 if self.addresses.remove(&address) => self.say(gone(&told(address))),
            _ => {}
        }
    }

    fn say(&mut self, message: Vec<u8>) {
        self.list.iter_mut().for_each(|(_, _, is_changed)| *is_changed = true);
        if self.queue.len() < Kernel::ROOM && !self.is_congested {
            self.queue.push_back(message);
        } else if !self.is_congested {
            (self.is_congested, self.has_dropped) = (true, true);
        }
    }

    /// Goes on with a list, if there is room.
    fn go_on(&mut self) {
        let Some((kind, at, is_changed)) = &mut self.list else { return };
        if self.queue.len() == Kernel::ROOM {
            return;
        }
        let entry = match *kind {
            libc::RTM_GETLINK => {
                self.links.iter().nth(*at).map(|(index, (name, has_carrier))| link(*index, name, *has_carrier))
            }
            _ => self.addresses.iter().nth(*at).map(|own| told(*own)),
        };
        *at += 1;
        let mut end = end(0);
        end[6] |= if *is_changed { libc::NLM_F_DUMP_INTR as u8 } else { 0 };
        if entry.is_none() {
            self.list = None;
        }
        self.queue.push_back(entry.unwrap_or(end));
    }

    /// What a socket gives: nothing, a datagram, or that something was dropped.
    fn receive(&mut self) -> Option<Result<Vec<u8>, ()>> {
        if std::mem::take(&mut self.has_dropped) {
            return Some(Err(()));
        }
        let datagram = self.queue.pop_front();
        self.is_congested &= datagram.is_some();
        datagram.map(Ok)
    }

    fn facts(&self) -> BTreeMap<String, Interface> {
        let of = |index, has_carrier| Interface {
            index,
            has_carrier,
            ipv4: self.addresses.iter().find(|(of, _)| *of == index).map(|(_, own)| *own),
            ipv6: None,
        };
        self.links.iter().map(|(index, (name, has_carrier))| (name.clone(), of(*index, *has_carrier))).collect()
    }
}

fn told((index, address): (u32, Ipv4Addr)) -> Vec<u8> {
    super::super::message::tests::address(index, &address.to_string())
}

#[test]
fn what_was_told_is_how_things_are_once_they_are_calm() {
    let mut loss_count = 0;
    for seed in 1..=500_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 32) % u64::from(below)) as u32
        };
        let (mut kernel, mut interfaces, mut known) = (Kernel::default(), Interfaces::new(), BTreeMap::new());
        for step in 0.. {
            let is_calm = step > 300;
            for _ in 0..if is_calm { 0 } else { random(4) } {
                kernel.change(&mut random);
            }
            kernel.go_on();
            match kernel.receive() {
                Some(Ok(datagram)) => receive(&mut interfaces, &datagram),
                Some(Err(())) => {
                    loss_count += 1;
                    interfaces.handle_input(Input::Lost).unwrap();
                }
                None => match interfaces.poll_request() {
                    Some(request) => {
                        assert!(kernel.list.is_none());
                        kernel.list = Some((u16::from_ne_bytes([request[4], request[5]]), 0, false));
                    }
                    None if is_calm && interfaces.is_settled() => break,
                    None => {}
                },
            }
            while let Some(change) = interfaces.poll_output() {
                match change {
                    Change::Changed { name, interface } => {
                        assert_ne!(known.insert(name, interface), Some(interface), "seed {seed}");
                    }
                    Change::Gone { name } => assert!(known.remove(&name).is_some(), "seed {seed}: {name}"),
                }
            }
        }
        assert_eq!(known, kernel.facts(), "seed {seed}");
    }
    assert!(loss_count > 1000, "{loss_count}");
}
