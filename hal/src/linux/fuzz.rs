//! Entry points for fuzzing: what the kernel says in bytes. None of them may panic.

use std::collections::BTreeMap;

use crate::linux::netlink::interfaces::{Change, INTERFACE_COUNT_MAX, Input, Interfaces};

/// What a target does with the bytes.
pub type Target = fn(&[u8]);

/// Every target, with its name.
pub const TARGETS: &[(&str, Target)] = &[("netlink", netlink)];

/// Datagrams of a routing socket. What is told of them is bounded, new each time, and of interfaces that were told.
///
/// ```text
/// offset  field     meaning
/// 0       length    u16 little-endian, bytes of a datagram, then the next; with 0 messages were lost
/// ```
fn netlink(mut bytes: &[u8]) {
    let (mut interfaces, mut known) = (Interfaces::new(), BTreeMap::new());
    while let [low, high, rest @ ..] = bytes {
        let (datagram, after) = rest.split_at(rest.len().min(u16::from_le_bytes([*low, *high]).into()));
        bytes = after;
        interfaces.poll_request();
        let input = if datagram.is_empty() { Input::Lost } else { Input::Received(datagram) };
        let _ = interfaces.handle_input(input);
        while let Some(change) = interfaces.poll_output() {
            match change {
                Change::Changed { name, interface } => {
                    assert_ne!(known.insert(name, interface), Some(interface), "it was told before");
                }
                Change::Gone { name } => assert!(known.remove(&name).is_some(), "{name} was never told"),
            }
        }
        assert!(known.len() <= INTERFACE_COUNT_MAX);
    }
}
