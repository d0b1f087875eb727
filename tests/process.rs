//! Both real binaries, over loopback: killed, cut off and mended, asked, refused, held against node_exporter.
#![expect(clippy::disallowed_methods, reason = "processes run in real time; waiting for them is polling")]

mod admission;
mod agreement;
mod copied;
mod datagram;
mod door;
mod exhaustion;
mod fetch;
mod flood;
mod garbage;
mod kill;
mod proxy;
mod relay;
mod spending;
mod stage;
mod tunnel;
mod version;
