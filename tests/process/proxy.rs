//! A stretch of link that can be cut and mended: bytes between an agent and a hub, over loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The link.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Proxy {
    /// A link to `hub` on a port that is free. Its threads end with the process.
    pub(super) fn start(hub: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let others = shared.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().filter_map(Result::ok) {
                let mut shared = others.lock().unwrap_or_else(PoisonError::into_inner);
                if shared.is_cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(hub) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("sockets clone"), to.try_clone().expect("sockets clone"));
                    shared.streams.push(from.try_clone().expect("sockets clone"));
                    std::thread::spawn(move || carry(from, to));
                }
            }
        });
        Proxy { address, shared }
    }

    /// Breaks every connection and takes no new one.
    pub(super) fn cut(&self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.is_cut = true;
        for stream in shared.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub(super) fn mend(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).is_cut = false;
    }
}

/// Carries bytes until one end has no more.
pub(super) fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
