//! The way to the hub: its name, a connection, and TLS in which each end shows its key.
//!
//! Every stage has a deadline of its own, so that the error names the stage that hangs.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use hal::linux::binding::{self, Via};
use identity::key::Key;
use identity::tls;
use identity::verify::WrongHub;
use smol::future::FutureExt as _;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpStream, UdpSocket};
use smol::{Async, Timer};
use wire::message::Fingerprint;
use wire::time::Span;

use crate::address::Address;
use crate::proxy::{Proxy, ProxyError};
use crate::worker::{Pending, Worker};

/// A connection to the hub.
pub(crate) type Stream = TlsStream<TcpStream>;

/// Bytes taken from the connection at a time: a record of TLS (RFC 8446 section 5.1).
pub(crate) const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// How long an answer of the name service is waited for. The resolver of the system gives up after 10 to 30 s.
const RESOLVE: Duration = Duration::from_secs(20);

/// How long each address is tried: 2G answers a SYN within seconds.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a proxy may take to open a way: it asks a name service, and tries addresses, too.
const TUNNEL: Duration = Duration::from_secs(45);

/// How long the handshake may take: two round trips, and retransmissions.
const SHAKE: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried.
const ADDRESS_COUNT_MAX: usize = 4;

/// How long the kernel keeps what the other end does not acknowledge.
const USER_TIMEOUT: Span = Span::seconds(60);

/// How a connection to the hub leaves this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Through this interface; through none in particular where the system's routes lead.
    pub(crate) interface: Option<String>,
    /// Through this proxy, which finds the hub's name.
    pub(crate) proxy: Option<Arc<Proxy>>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// No address accepted; what the last one said.
    Connect(SocketAddr, io::Error),
    /// Nothing came back over datagrams.
    Mute(Address),
    /// The proxy that is there makes no way.
    Proxy(Address, ProxyError),
    /// The name service gave no address.
    Resolve(String, io::Error),
    /// The handshake failed.
    Shake(io::Error),
    /// A stage took too long.
    Slow(&'static str),
    /// The hub showed a key that is not expected.
    Wrong(WrongHub),
}

/// Names to addresses, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// A question that was not answered in time: it is not asked twice while it lasts, so that threads do not pile up.
    pending: Option<(String, Pending<io::Result<Vec<SocketAddr>>>)>,
}

impl Resolver {
    /// The addresses of a host. May be dropped and asked again: a question that was asked is gone on with.
    async fn resolve(&mut self, address: &Address) -> Result<Vec<SocketAddr>, DialError> {
        let Address { host, port } = address.clone();
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let asked = address.to_string();
        if self.pending.as_ref().is_none_or(|(earlier, _)| *earlier != asked) {
            // The thread ends with its answer.
            let pending = Worker::start("resolver").run(move || {
                (host.as_str(), port).to_socket_addrs().map(|found| found.take(ADDRESS_COUNT_MAX).collect())
            });
            self.pending = Some((asked, pending));
        }
        let (_, pending) = self.pending.as_mut().expect("a question was asked above");
        let answer = within(RESOLVE, "the name service", pending.result()).await?;
        self.pending = None;
        let failed = |error| DialError::Resolve(address.host.clone(), error);
        match answer {
            Ok(found) if found.is_empty() => Err(failed(io::Error::other("it has no address"))),
            answer => answer.map_err(failed),
        }
    }
}

/// Connects to the hub at `address`, speaking with `key` and accepting a hub with one of `pins`. A question to the name service leaves where
/// the system's routes lead, whatever `way` says.
pub(crate) async fn dial(
    resolver: &mut Resolver,
    address: &Address,
    way: &Way,
    key: &Key,
    pins: &[Fingerprint],
) -> Result<Stream, DialError> {
    let interface = way.interface.as_deref();
    let stream = match &way.proxy {
        None => connect(&resolver.resolve(address).await?, interface).await?,
        Some(proxy) => {
            let at_proxy = |error| DialError::Proxy(proxy.address.clone(), error);
            let connected = connect(&resolver.resolve(&proxy.address).await?, interface).await;
            let mut stream = connected.map_err(|error| match error {
                // The words for it are those for a hub.
                DialError::Connect(_, error) => at_proxy(ProxyError::Connect(error)),
                error => error,
            })?;
            within(TUNNEL, "the proxy", proxy.open(&mut stream, address)).await?.map_err(at_proxy)?;
            stream
        }
    };
    shake(stream, key, pins).await
}

/// A socket that sends datagrams to the hub at `address`, and takes them from nobody else; through `interface` when one is named.
pub(crate) async fn open(
    resolver: &mut Resolver,
    address: &Address,
    interface: Option<&str>,
) -> Result<UdpSocket, DialError> {
    let via = interface.map(Via::of);
    let mut failed = DialError::Slow("the name service");
    for address in resolver.resolve(address).await? {
        let opened = binding::udp(address, via.as_ref()).and_then(|(socket, _)| Async::new_nonblocking(socket));
        match opened {
            Ok(socket) => return Ok(socket.into()),
            Err(error) => failed = DialError::Connect(address, error),
        }
    }
    Err(failed)
}

async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    key: &Key,
    pins: &[Fingerprint],
) -> Result<TlsStream<S>, DialError> {
    let connector = TlsConnector::from(tls::client_config(key, pins, hal::linux::realtime::now));
    let shaken = within(SHAKE, "the handshake with the hub", connector.connect(tls::server_name(), stream)).await?;
    shaken.map_err(|error| match tls::wrong_hub(&error) {
        Some(wrong) => DialError::Wrong(wrong.clone()),
        None => DialError::Shake(error),
    })
}

async fn connect(addresses: &[SocketAddr], interface: Option<&str>) -> Result<TcpStream, DialError> {
    let via = interface.map(Via::of);
    let mut failed = DialError::Slow("the connection");
    for address in addresses {
        match within(CONNECT, "the connection", connected(*address, via.as_ref())).await {
            Ok(Ok(stream)) => {
                // Both make a good connection better; it works without.
                let _ = stream.set_nodelay(true);
                let _ = hal::linux::socket::set_user_timeout(&stream, USER_TIMEOUT);
                return Ok(stream);
            }
            Ok(Err(error)) => failed = DialError::Connect(*address, error),
            Err(_) => failed = DialError::Connect(*address, io::ErrorKind::TimedOut.into()),
        }
    }
    Err(failed)
}

async fn connected(address: SocketAddr, via: Option<&Via<'_>>) -> io::Result<TcpStream> {
    let stream = Async::new_nonblocking(binding::tcp(address, via)?.0)?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream.into()),
    }
}

/// What `future` gives, or the name of the stage when it takes too long.
pub(crate) async fn within<T>(
    limit: Duration,
    stage: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, DialError> {
    let too_long = async {
        Timer::after(limit).await;
        Err(DialError::Slow(stage))
    };
    async { Ok(future.await) }.or(too_long).await
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Connect(address, error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    write!(f, "nothing listens at {address}: does outpost-hub run there, and is this its port?")
                }
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    write!(f, "no route to {address}: is this machine connected to a network?")
                }
                io::ErrorKind::TimedOut => {
                    write!(f, "no answer from {address}: is the address right, does a firewall stand in between?")
                }
                _ => write!(f, "cannot connect to {address}: {error}"),
            },
            DialError::Mute(address) => write!(
                f,
                "no answer from {address} over datagrams: is the address right, does UDP pass? `carrier = tls` in the \
                 settings goes over TCP"
            ),
            DialError::Proxy(proxy, error) => write!(f, "the proxy at {proxy}: {error}"),
            DialError::Resolve(host, error) => {
                write!(f, "{host} has no address: is the name right, does this machine reach a name server? ({error})")
            }
            DialError::Shake(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str(
                "the other end hung up during the handshake: is this the port that outpost-hub has for devices?",
            ),
            DialError::Shake(error) => write!(f, "the other end does not speak as a hub does: {error}"),
            DialError::Slow(stage) => write!(f, "{stage} took too long: try again, or look at the network"),
            DialError::Wrong(WrongHub { shown, pins }) => {
                let pins: Vec<String> = pins.iter().map(Fingerprint::to_string).collect();
                write!(f, "the hub has key {shown}, this device expects {}", pins.join(" or "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_rustls::TlsAcceptor;
    use identity::tls;
    use smol::io::AsyncWriteExt as _;
    use smol::net::unix::UnixStream;

    use super::*;

    /// Shakes hands with a hub of this key, which `pins` may or may not name.
    fn check(hub: &Key, pins: &[Fingerprint]) -> Result<(), DialError> {
        smol::block_on(async {
            let (here, there) = UnixStream::pair().unwrap();
            let acceptor = TlsAcceptor::from(tls::server_config(hub, hal::linux::realtime::now));
            let device = Key::generate();
            smol::future::zip(acceptor.accept(there), shake(here, &device, pins)).await.1.map(drop)
        })
    }

    #[test]
    fn a_pinned_hub_is_connected_to() {
        let hub = Key::generate();
        check(&hub, &[hub.fingerprint()]).unwrap();
    }

    #[test]
    fn another_hub_is_named_with_both_keys() {
        let (hub, other) = (Key::generate(), Key::generate());
        let error = check(&hub, &[other.fingerprint()]).unwrap_err().to_string();
        let expected = format!("the hub has key {}, this device expects {}", hub.fingerprint(), other.fingerprint());
        assert_eq!(error, expected);
    }

    #[test]
    fn what_is_no_hub_is_said_to_be_none() {
        let shaken_with = |answer: &'static [u8]| {
            smol::block_on(async {
                let (here, mut there) = UnixStream::pair().unwrap();
                there.write_all(answer).await.unwrap();
                there.shutdown(std::net::Shutdown::Write).unwrap();
                shake(here, &Key::generate(), &[]).await.map(drop).unwrap_err().to_string()
            })
        };
        assert!(shaken_with(b"HTTP/1.1 400 Bad Request\r\n\r\n").contains("does not speak as a hub does"));
        assert!(shaken_with(b"").contains("hung up during the handshake"));
    }

    #[test]
    fn an_address_needs_no_name_service() {
        let found = |text: &str| {
            let address: Address = text.parse().unwrap();
            smol::block_on(Resolver::default().resolve(&address)).unwrap()
        };
        assert_eq!(found("192.0.2.1:7070"), ["192.0.2.1:7070".parse().unwrap()]);
        assert_eq!(found("[2001:db8::1]:7070"), ["[2001:db8::1]:7070".parse().unwrap()]);
    }

    #[test]
    fn a_connection_leaves_through_the_interface_that_is_named() {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for interface in [None, Some("lo")] {
                let stream = connect(&[address], interface).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), address);
                let address = address.to_string().parse().unwrap();
                let socket = open(&mut Resolver::default(), &address, interface).await.unwrap();
                assert_eq!(socket.peer_addr().unwrap().to_string(), address.to_string());
            }
            let refused = connect(&[address], Some("outpost-none")).await.unwrap_err();
            assert!(matches!(refused, DialError::Connect(..)), "{refused}");
            drop(listener);
            let refused = connect(&[address], None).await.unwrap_err().to_string();
            assert!(refused.starts_with("nothing listens at "), "{refused}");
        });
    }

    #[test]
    fn each_way_to_fail_says_what_to_do() {
        let connect =
            |kind: io::ErrorKind| DialError::Connect("192.0.2.1:7070".parse().unwrap(), kind.into()).to_string();
        assert!(connect(io::ErrorKind::ConnectionRefused).starts_with("nothing listens at 192.0.2.1:7070: "));
        assert!(connect(io::ErrorKind::NetworkUnreachable).starts_with("no route to 192.0.2.1:7070: "));
        assert!(connect(io::ErrorKind::TimedOut).starts_with("no answer from 192.0.2.1:7070: "));
        let mute = DialError::Mute("hub.example.com".parse().unwrap()).to_string();
        assert!(mute.starts_with("no answer from hub.example.com:7070 over datagrams: "), "{mute}");
        let unknown = DialError::Resolve("hub.example.com".to_owned(), io::Error::other("no such host"));
        assert!(unknown.to_string().starts_with("hub.example.com has no address: "));
    }

    #[test]
    fn a_stage_that_hangs_is_named() {
        let hung = smol::block_on(within(Duration::ZERO, "the handshake", smol::future::pending::<()>()));
        assert_eq!(hung.unwrap_err().to_string(), "the handshake took too long: try again, or look at the network");
    }
}
