//! The port to the machine's interfaces: tells the core when one of those that may carry the link comes, changes or goes.

use std::io;
use std::time::Duration;

use agent::bearer::choice::{Choice, Facts};
use hal::linux::netlink::Watch;
use hal::linux::netlink::interfaces::{Change, Interface, Interfaces};
use smol::channel::Sender;
use smol::{Async, Timer};

use crate::log;
use crate::port::Message;

/// How long to wait before a socket that failed is opened anew.
const RETRY: Duration = Duration::from_secs(30);

/// Watches for as long as the core listens.
pub(crate) async fn run(choices: Vec<Choice>, core: Sender<Message>) {
    while !core.is_closed() {
        let Err(error) = watch(&choices, &core).await;
        log::error("the interfaces cannot be watched", &[("reason", &error), ("retry_s", &RETRY.as_secs())]);
        Timer::after(RETRY).await;
    }
}

/// Errors: those of [`Watch`].
async fn watch(choices: &[Choice], core: &Sender<Message>) -> io::Result<std::convert::Infallible> {
    let watch = Async::new(Watch::open()?)?;
    let mut interfaces = Interfaces::new();
    loop {
        match watch.get_ref().receive(&mut interfaces) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => watch.readable().await?,
            Err(error) => return Err(error),
        }
        while let Some(change) = interfaces.poll_output() {
            let (name, facts) = match change {
                Change::Changed { name, interface } => (name, Some(facts(&interface))),
                Change::Gone { name } => (name, None),
            };
            if choices.iter().any(|choice| choice.is_match(&name)) {
                // The queue is closed only when the process ends.
                let _ = core.send(Message::Interface { name, facts }).await;
            }
        }
    }
}

fn facts(interface: &Interface) -> Facts {
    let Interface { has_carrier, ipv4, ipv6, .. } = *interface;
    Facts { has_carrier, has_ipv4: ipv4.is_some(), has_ipv6: ipv6.is_some() }
}
