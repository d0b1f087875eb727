//! What goes over the local socket: one request and one reply on each connection.
//!
//! ```text
//! offset  field    type
//! 0       version  u8        of the words below; another one is another release's
//! 1       length   u32 LE    bytes of the body
//! 5       body     postcard  Request or Reply
//! ```

use std::fmt;
use std::io;

use agent::question::{Answer, Question};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Name of the socket in the state folder.
pub(crate) const SOCKET: &str = "agent.sock";

/// The version of the words.
const VERSION: u8 = 0;

const HEAD_BYTES: usize = 5;

/// Bytes of a request: the names of all metrics there are, and some.
pub(crate) const REQUEST_BYTES_MAX: u32 = 32 * 1024;

/// Bytes of a reply: as many samples as one answer has, at their longest.
pub(crate) const REPLY_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What a person's command asks of a running agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// A question to the core.
    Ask(Question),
    /// The settings or the enrolment changed: read them again.
    Reload,
}

/// What the agent replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`Request::Ask`].
    Answer(Answer),
    /// To [`Request::Reload`]: it will.
    Reloading,
}

/// Why there is nothing to read.
#[derive(Debug)]
pub(crate) enum LocalError {
    /// The other end's words are not ours, although its version is.
    Body,
    /// The connection failed or ended.
    Io(io::Error),
    /// The message is longer than allowed.
    TooLong(u32),
    /// The other end is of another release.
    Version(u8),
}

/// Writes one message.
///
/// Errors: what the system said, or [`LocalError::TooLong`] when it has more than `bytes_max`; then nothing was
/// written.
pub(crate) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
    bytes_max: u32,
) -> Result<(), LocalError> {
    let body = postcard::to_allocvec(message).expect("a vector takes every byte");
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if length > bytes_max {
        return Err(LocalError::TooLong(length));
    }
    let mut head = [VERSION; HEAD_BYTES];
    head[1..].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&head).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads one message of at most `bytes_max`.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
) -> Result<T, LocalError> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let [version, length @ ..] = head;
    if version != VERSION {
        return Err(LocalError::Version(version));
    }
    let length = u32::from_le_bytes(length);
    if length > bytes_max {
        return Err(LocalError::TooLong(length));
    }
    let mut body = Vec::new();
    stream.take(length.into()).read_to_end(&mut body).await?;
    if body.len() != length as usize {
        return Err(LocalError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    postcard::from_bytes(&body).map_err(|_| LocalError::Body)
}

impl From<io::Error> for LocalError {
    fn from(error: io::Error) -> LocalError {
        LocalError::Io(error)
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::Body => f.write_str("the other end is of another release: restart the agent"),
            LocalError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the other end hung up: is the agent stopping?")
            }
            LocalError::Io(error) => error.fmt(f),
            LocalError::TooLong(bytes) => write!(f, "message of {bytes} bytes is too long: ask for less"),
            LocalError::Version(version) => {
                write!(f, "the other end speaks version {version}, this one {VERSION}: restart the agent")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smol::io::Cursor;

    use super::*;

    fn written(message: &Request) -> Vec<u8> {
        let mut bytes = Vec::new();
        smol::block_on(write(&mut bytes, message, REQUEST_BYTES_MAX)).unwrap();
        bytes
    }

    fn read_back(bytes: Vec<u8>) -> Result<Request, LocalError> {
        smol::block_on(read(&mut Cursor::new(bytes), REQUEST_BYTES_MAX))
    }

    #[test]
    fn a_request_comes_back() {
        for request in [Request::Ask(Question::Status), Request::Reload] {
            assert_eq!(read_back(written(&request)).unwrap(), request);
        }
    }

    #[test]
    fn a_request_cut_short_anywhere_is_none() {
        let bytes = written(&Request::Ask(Question::Events { count_max: 1000 }));
        for length in 0..bytes.len() {
            assert!(matches!(read_back(bytes[..length].to_vec()), Err(LocalError::Io(_))), "{length} bytes");
        }
    }

    #[test]
    fn a_length_past_the_bound_is_refused_before_anything_is_read() {
        let mut bytes = written(&Request::Reload);
        bytes[1..5].copy_from_slice(&(REQUEST_BYTES_MAX + 1).to_le_bytes());
        assert!(matches!(read_back(bytes), Err(LocalError::TooLong(_))));
        let names = vec!["x".repeat(1000); 100];
        let question = Question::Samples { names, since: wire::time::Span(1), sample_count_max: 1 };
        let mut out = Vec::new();
        let refused = smol::block_on(write(&mut out, &Request::Ask(question), REQUEST_BYTES_MAX));
        assert!(matches!(refused, Err(LocalError::TooLong(_))) && out.is_empty());
    }

    #[test]
    fn another_release_is_told_apart() {
        let mut bytes = written(&Request::Reload);
        bytes[0] = 9;
        assert!(read_back(bytes).unwrap_err().to_string().contains("version 9"));
        let mut bytes = written(&Request::Reload);
        bytes[5] = 200;
        assert!(matches!(read_back(bytes), Err(LocalError::Body | LocalError::Io(_))));
    }
}
