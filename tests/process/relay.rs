//! A stretch of link for datagrams alone, which loses and doubles what it is told to. Nothing listens for connections here.

use std::net::{SocketAddr, UdpSocket};

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToDevice,
    ToHub,
}

/// Starts a link to `hub` for one device, on a port that is free. `copies` says how often the n-th datagram of a way arrives. Its threads
/// end with the process.
pub(super) fn start(hub: SocketAddr, copies: fn(Way, usize) -> usize) -> SocketAddr {
    let near = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let far = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    far.connect(hub).expect("loopback is connected");
    let address = near.local_addr().expect("it is bound");
    let (near_too, far_too) = (near.try_clone().expect("sockets clone"), far.try_clone().expect("sockets clone"));
    let (seen, device) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut packet = [0; 2000];
        for index in 0.. {
            let Ok((bytes, from)) = near.recv_from(&mut packet) else { return };
            let _ = seen.send(from);
            for _ in 0..copies(Way::ToHub, index) {
                // A hub that was killed refuses, and comes back.
                let _ = far.send(&packet[..bytes]);
            }
        }
    });
    std::thread::spawn(move || {
        let (mut packet, mut last) = ([0; 2000], None);
        let mut index = 0;
        loop {
            let Ok(bytes) = far_too.recv(&mut packet) else { continue };
            last = device.try_iter().last().or(last);
            for _ in 0..copies(Way::ToDevice, index) {
                let _ = near_too.send_to(&packet[..bytes], last.expect("the hub answers"));
            }
            index += 1;
        }
    });
    address
}
