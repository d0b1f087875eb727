//! The port to a time server: asks it when the core wants to know the time, after pauses that grow.
//!
//! ```text
//!  core ── the time is wanted ──> question ~~ UDP ~~> answer ──> core
//!             ^                                         |
//!             +----------- 64 s, 128 s .. 1 h ----------+
//! ```
//!
//! A question and its answer are 152 bytes of IPv4, and a name is asked for again only when its address stays silent. Both leave where the
//! system's routes lead, and count in no budget of ours.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent::clock::Told;
use agent::timekeeper::sntp::{Answer, NoAnswer, PACKET_BYTES, Question};
use agent::timekeeper::source::Exchange;
use hal::linux::clock::{Clock, PLAUSIBLE_SINCE, random_seed};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::net::UdpSocket;

use crate::address::Address;
use crate::dial::{self, DialError, Resolver};
use crate::log;
use crate::port::Message;

/// How long an answer is waited for: satellites and 2G take seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after the first question, and the longest, each twice the one before: the least and the usual most of NTP's are 64 s
/// and 1024 s (RFC 5905 section 7.2), and a crystal needs no more than an hour.
const PAUSES: (Duration, Duration) = (Duration::from_secs(64), Duration::from_secs(3600));

/// Why a server told no time.
#[derive(Debug)]
enum AskError {
    /// There is no way to it, or nothing came back.
    Dial(DialError),
    /// The network refuses.
    Io(io::Error),
    /// It says so itself.
    Server(NoAnswer),
}

/// Asks for as long as the core listens, after each word of it that the time is wanted.
pub(crate) async fn run(server: Address, clock: Arc<Clock>, wanted: Receiver<()>, core: Sender<Message>) {
    let (mut resolver, mut found, mut pause) = (Resolver::default(), None, PAUSES.0);
    while wanted.recv().await.is_ok() {
        let asked = ask(&mut resolver, found.as_ref().unwrap_or(&server), &clock, PATIENCE).await;
        match asked {
            Ok((told, address)) => {
                found = Some(address);
                // The queue is closed only when the process ends.
                let _ = core.send(Message::Told(told)).await;
            }
            Err(AskError::Server(NoAnswer::Denied)) => {
                let words = "the time server refuses to serve this machine: it is not asked again";
                return log::error(words, &[("time_server", &server)]);
            }
            Err(error) => {
                found = None;
                if matches!(error, AskError::Server(NoAnswer::TooOften)) {
                    pause = PAUSES.1;
                }
                let fields: [(&str, &dyn fmt::Display); 3] =
                    [("time_server", &server), ("reason", &error), ("retry_s", &pause.as_secs())];
                log::warning("the time server tells no time", &fields);
            }
        }
        Timer::after(pause).await;
        pause = PAUSES.1.min(pause * 2);
        // What was wanted before the pause may be known by now.
        let _ = wanted.try_recv();
    }
}

/// What the server says, and under which address. Packets that answer another question are passed over.
async fn ask(
    resolver: &mut Resolver,
    server: &Address,
    clock: &Clock,
    patience: Duration,
) -> Result<(Told, Address), AskError> {
    // A socket for each question: its port is one more thing that a forger has to guess.
    let socket = dial::open(resolver, server, None).await.map_err(AskError::Dial)?;
    let peer = socket.peer_addr().map_err(AskError::Io)?;
    let address = Address { host: peer.ip().to_string(), port: peer.port() };
    let question = Question::new(random_seed());
    let sent = clock.now().uptime;
    socket.send(&question.packet()).await.map_err(AskError::Io)?;
    let answered = dial::within(patience, "the time server", answer(&socket, &question)).await;
    let Answer { received, answered, distance } = answered.map_err(AskError::Dial)??;
    let exchange = Exchange { sent, received, answered, heard: clock.now().uptime };
    Ok((Told::Sntp { exchange, distance }, address))
}

async fn answer(socket: &UdpSocket, question: &Question) -> Result<Answer, AskError> {
    let mut packet = [0; PACKET_BYTES];
    loop {
        // What is longer is cut: nothing behind it is read.
        let length = socket.recv(&mut packet).await.map_err(AskError::Io)?;
        match question.read(&packet[..length], PLAUSIBLE_SINCE) {
            Err(NoAnswer::Foreign) => {}
            answer => return answer.map_err(AskError::Server),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Dial(DialError::Slow(stage)) => write!(f, "{stage} did not answer: does UDP pass?"),
            AskError::Dial(error) => error.fmt(f),
            AskError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("nothing listens there: is its port right?")
            }
            AskError::Io(error) => error.fmt(f),
            AskError::Server(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use smol::channel::bounded;
    use smol::future;
    use wire::time::{Span, UnixTime};

    use super::*;

    /// 2026-01-01, in seconds since 1900.
    const NOW_S: u32 = 3_976_214_400;

    /// An honest answer to a question.
    fn honest(question: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; PACKET_BYTES];
        packet[..2].copy_from_slice(&[0x24, 1]);
        packet[24..32].copy_from_slice(&question[40..48]);
        packet[32..36].copy_from_slice(&NOW_S.to_be_bytes());
        packet[40..44].copy_from_slice(&NOW_S.to_be_bytes());
        packet
    }

    fn kiss(question: &[u8], word: &[u8; 4]) -> Vec<u8> {
        let mut packet = honest(question);
        packet[1] = 0;
        packet[12..16].copy_from_slice(word);
        packet
    }

    fn forged(question: &[u8]) -> Vec<u8> {
        let mut packet = honest(question);
        packet[31] ^= 1;
        packet[32] = 0xff;
        packet
    }

    /// Answers each question on a socket of loopback with these packets.
    async fn serve(socket: &UdpSocket, answers: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
        let mut question = [0; 100];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            assert_eq!(length, PACKET_BYTES);
            for answer in answers(&question[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }

    async fn server() -> (UdpSocket, Address) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string().parse().unwrap();
        (socket, address)
    }

    fn clock() -> Arc<Clock> {
        Arc::new(Clock::open(Path::new("/")).unwrap())
    }

    /// What comes of one question to a server that answers so.
    fn check(answers: impl Fn(&[u8]) -> Vec<Vec<u8>>, patience: Duration) -> Result<UnixTime, String> {
        smol::block_on(async {
            let (socket, address) = server().await;
            let serving = async { serve(&socket, answers).await };
            let (mut resolver, clock) = (Resolver::default(), clock());
            let asked = ask(&mut resolver, &address, &clock, patience);
            let serving = async {
                serving.await;
                unreachable!("it serves for ever")
            };
            let (told, found) = future::or(asked, serving).await.map_err(|error| error.to_string())?;
            assert_eq!(found, address);
            let Told::Sntp { exchange, distance } = told else { panic!("another source") };
            assert!(exchange.sent <= exchange.heard && distance == Span(0));
            Ok(exchange.received)
        })
    }

    #[test]
    fn an_honest_server_is_heard_and_whoever_did_not_see_the_question_is_not() {
        let now = Ok(UnixTime(1_767_225_600_000));
        assert_eq!(check(|question| vec![honest(question)], PATIENCE), now);
        assert_eq!(check(|question| vec![forged(question), vec![1; 9], honest(question)], PATIENCE), now);
        let forged = check(|question| vec![forged(question)], Duration::from_millis(50));
        assert_eq!(forged.unwrap_err(), "the time server did not answer: does UDP pass?");
    }

    #[test]
    fn a_server_that_has_no_time_says_why() {
        let silent = check(|_| Vec::new(), Duration::ZERO);
        assert_eq!(silent.unwrap_err(), "the time server did not answer: does UDP pass?");
        let rare = check(|question| vec![kiss(question, b"RATE")], PATIENCE);
        assert_eq!(rare.unwrap_err(), "it wants to be asked more rarely");
        let denied = check(|question| vec![kiss(question, b"DENY")], PATIENCE);
        assert_eq!(denied.unwrap_err(), "it refuses to serve this machine");
        let unset = check(|question| vec![[&[0xe4], &honest(question)[1..]].concat()], PATIENCE);
        assert_eq!(unset.unwrap_err(), "it does not know the time itself");
    }

    #[test]
    fn nothing_is_asked_before_the_core_wants_it_and_what_is_heard_goes_there() {
        smol::block_on(async {
            let (socket, address) = server().await;
            let (want, wanted) = bounded(1);
            let (core, messages) = bounded(1);
            let port = run(address, clock(), wanted, core);
            let core = async {
                let mut question = [0; 100];
                assert!(future::poll_once(socket.recv_from(&mut question)).await.is_none());
                want.send(()).await.unwrap();
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                socket.send_to(&honest(&question[..length]), from).await.unwrap();
                assert!(matches!(messages.recv().await, Ok(Message::Told(Told::Sntp { .. }))));
            };
            future::or(port, core).await;
        });
    }

    #[test]
    fn a_server_that_denies_is_not_asked_again() {
        smol::block_on(async {
            let (socket, address) = server().await;
            let (want, wanted) = bounded(1);
            let (core, _messages) = bounded(1);
            want.send(()).await.unwrap();
            let serving = serve(&socket, |question| vec![kiss(question, b"DENY")]);
            future::or(run(address, clock(), wanted, core), serving).await;
            assert!(want.is_closed());
        });
    }
}
