//! One question to the hub and its answer, on a connection of its own: enrol, rotate, leave.

use std::fmt;
use std::io;
use std::time::Duration;

use identity::key::Key;
use link::client::DownReason;
use link::errand::Errand;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wire::message::{CloseReason, Fingerprint, Kind};

use crate::address::Address;
use crate::dial::{CHUNK_BYTES_MAX, DialError, Resolver, Way, dial, within};

/// How long the hub may take to answer: it makes what it answers durable first.
const ANSWER: Duration = Duration::from_secs(30);

/// Why an errand failed.
#[derive(Debug)]
pub(crate) enum ErrandError {
    /// There was no connection, or it was too slow.
    Dial(DialError),
    /// The hub said something, but not the answer.
    Down(DownReason),
    /// The connection ended before the answer.
    Lost(io::Error),
}

impl ErrandError {
    /// Why the hub refused, if it did.
    pub(crate) fn refusal(&self) -> Option<CloseReason> {
        match self {
            ErrandError::Down(DownReason::Refused(close)) => Some(close.reason),
            _ => None,
        }
    }
}

/// Asks the hub at `address` by `way`, speaking with `key`; `answer` is the kind of message that ends it.
pub(crate) fn run<T: DeserializeOwned>(
    address: &Address,
    way: &Way,
    key: &Key,
    pins: &[Fingerprint],
    question: Kind,
    body: &impl Serialize,
    answer: Kind,
) -> Result<T, ErrandError> {
    smol::block_on(async {
        let mut resolver = Resolver::default();
        let stream = dial(&mut resolver, address, way, key, pins).await.map_err(ErrandError::Dial)?;
        let exchange = exchange(stream, question, body, answer);
        within(ANSWER, "the hub's answer", exchange).await.map_err(ErrandError::Dial)?
    })
}

async fn exchange<T: DeserializeOwned>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Kind,
    body: &impl Serialize,
    answer: Kind,
) -> Result<T, ErrandError> {
    let (mut errand, bytes) = Errand::new(question, body, answer);
    stream.write_all(&bytes).await.map_err(ErrandError::Lost)?;
    stream.flush().await.map_err(ErrandError::Lost)?;
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    loop {
        let count = stream.read(&mut chunk).await.map_err(ErrandError::Lost)?;
        if count == 0 {
            return Err(ErrandError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(answer) = errand.receive(&chunk[..count]).map_err(ErrandError::Down)? {
            // The answer is here; how the connection ends changes nothing.
            let _ = stream.close().await;
            return Ok(answer);
        }
    }
}

impl fmt::Display for ErrandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrandError::Dial(error) => error.fmt(f),
            ErrandError::Down(reason) => reason.fmt(f),
            ErrandError::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the hub hung up without an answer: try again, or read the hub's log")
            }
            ErrandError::Lost(error) => write!(f, "the connection was lost before the hub's answer: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use smol::net::unix::UnixStream;
    use wire::id::DeviceId;
    use wire::message::{DatagramKey, Enrolled};

    use super::*;

    fn check(said: &[u8]) -> Result<Enrolled, ErrandError> {
        smol::block_on(async {
            let (here, mut hub) = UnixStream::pair().unwrap();
            hub.write_all(said).await.unwrap();
            hub.shutdown(std::net::Shutdown::Write).unwrap();
            exchange(here, Kind::Enroll, &(), Kind::Enrolled).await
        })
    }

    #[test]
    fn the_answer_ends_the_errand() {
        let enrolled =
            Enrolled { device: DeviceId(7), name: "gw-7".try_into().unwrap(), datagram_key: DatagramKey([9; 32]) };
        assert_eq!(check(&link::talk::frames(Kind::Enrolled, &enrolled)).unwrap(), enrolled);
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let error = check(&link::talk::close_frames(CloseReason::TokenExpired, "")).unwrap_err();
        assert_eq!(error.refusal(), Some(CloseReason::TokenExpired));
        assert!(error.to_string().contains("make a new one"), "{error}");
    }

    #[test]
    fn a_hub_that_hangs_up_or_is_none_gives_an_error() {
        assert!(check(b"").unwrap_err().to_string().contains("hung up without an answer"));
        assert!(check(b"HTTP/1.1 200 OK").unwrap_err().to_string().contains("no hub"));
    }
}
