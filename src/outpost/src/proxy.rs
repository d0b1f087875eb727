//! The way through an HTTP proxy: `CONNECT`, and from then on whatever both ends say.
//!
//! ```text
//! CONNECT hub:port  ──>  proxy          the proxy finds the hub's name, and connects
//!             head  <──  2xx: the tunnel stands; anything else is why it does not
//! ```
//!
//! The proxy sees where the link leads and how much goes through it: inside is TLS to the hub's key, as everywhere.
//!
//! Source: RFC 9110 section 9.3.6, RFC 9112 section 4, RFC 7617.

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;

use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::address::Address;

/// Bytes of all heads of an answer together. Proxies add a page of their own behind one, which nobody reads.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Characters of what a proxy says beside its status that are shown.
const REASON_CHARACTER_COUNT_MAX: usize = 80;

/// How every answer begins; what comes next is a digit.
const BEGIN: &[u8] = b"HTTP/1.";

/// A proxy, and as whom to ask it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Where it is.
    pub(crate) address: Address,
    /// `user:password`, decoded.
    credentials: Option<Vec<u8>>,
}

/// Why a text is no proxy. None of them says what was read: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoProxy;

/// Why a proxy makes no way to the hub.
#[derive(Debug)]
pub(crate) enum ProxyError {
    /// It cannot be reached.
    Connect(io::Error),
    /// It does not speak as a proxy does.
    Garbage,
    /// It hung up before it answered.
    HungUp,
    /// The connection broke.
    Lost(io::Error),
    /// It says no.
    Refused {
        /// Its status.
        status: u16,
        /// What it says beside.
        reason: String,
        /// Where the way was to lead.
        to: Address,
        /// Whether it was told who asks.
        has_credentials: bool,
    },
}

impl Proxy {
    /// Has the proxy at the other end of `stream` open a way to `to`.
    pub(crate) async fn open(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        to: &Address,
    ) -> Result<(), ProxyError> {
        stream.write_all(self.request(to).as_bytes()).await.map_err(ProxyError::Lost)?;
        stream.flush().await.map_err(ProxyError::Lost)?;
        let (mut answer, mut chunk) = (Answer::default(), [0; 512]);
        loop {
            let count = stream.read(&mut chunk).await.map_err(ProxyError::Lost)?;
            if count == 0 {
                return Err(ProxyError::HungUp);
            }
            match answer.receive(&chunk[..count])? {
                None => {}
                Some((200..=299, _)) => return Ok(()),
                Some((status, reason)) => {
                    let has_credentials = self.credentials.is_some();
                    return Err(ProxyError::Refused { status, reason, to: to.clone(), has_credentials });
                }
            }
        }
    }

    fn request(&self, to: &Address) -> String {
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some(credentials) = &self.credentials {
            let _ = write!(request, "Proxy-Authorization: Basic {}\r\n", base64(credentials));
        }
        request + "\r\n"
    }
}

/// What a proxy has answered so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    head: Vec<u8>,
    /// Bytes of heads that were passed over.
    passed_bytes: usize,
}

impl Answer {
    /// Takes bytes. Gives the final status and what the proxy says beside it, once its head is whole.
    ///
    /// Errors: this is no answer of HTTP, or its head has no end.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<Option<(u16, String)>, ProxyError> {
        self.head.extend_from_slice(bytes);
        loop {
            let begin_bytes = self.head.len().min(BEGIN.len());
            if self.head[..begin_bytes] != BEGIN[..begin_bytes] {
                return Err(ProxyError::Garbage);
            }
            let end = head_end(&self.head);
            if self.passed_bytes + end.unwrap_or(self.head.len()) > HEAD_BYTES_MAX {
                return Err(ProxyError::Garbage);
            }
            let Some(end) = end else { return Ok(None) };
            let (status, reason) = status(&self.head[..end]).ok_or(ProxyError::Garbage)?;
            if (100..=199).contains(&status) {
                // It is still at work, and the answer comes behind (RFC 9110 section 15.2).
                self.head.drain(..end);
                self.passed_bytes += end;
                continue;
            }
            // The hub speaks when it was spoken to: what comes first is not its.
            if (200..=299).contains(&status) && self.head.len() > end {
                return Err(ProxyError::Garbage);
            }
            return Ok(Some((status, reason)));
        }
    }
}

/// Where the head ends: behind its first empty line. Lines may end without a carriage return (RFC 9112 section 2.2).
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(end);
        }
    }
    None
}

/// The status of a head, and its reason as far as it is fit to be shown.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let (version, rest) = line.strip_prefix(BEGIN)?.split_first()?;
    let (digits, reason) = rest.strip_prefix(b" ")?.split_first_chunk::<3>()?;
    let is_status = version.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
    if !is_status || !(reason.is_empty() || reason[0] == b' ') {
        return None;
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let reason = String::from_utf8_lossy(reason);
    let reason = reason.trim().chars().filter(|c| !c.is_control()).take(REASON_CHARACTER_COUNT_MAX).collect();
    Some((status, reason))
}

impl FromStr for Proxy {
    type Err = NoProxy;

    /// Reads `http://host:port` or `http://user:password@host:port`, in which `%40` is an `@` and so on (RFC 3986 section 3.2.1).
    fn from_str(text: &str) -> Result<Proxy, NoProxy> {
        let rest = text.strip_prefix("http://").ok_or(NoProxy)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => (Some(decoded(credentials).ok_or(NoProxy)?), address),
            None => (None, rest),
        };
        // Without a port it would be that of hubs.
        let has_port = address.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let has_name = credentials.as_deref().is_none_or(|credentials| credentials.contains(&b':'));
        if !has_port || !has_name {
            return Err(NoProxy);
        }
        Ok(Proxy { address: address.parse().map_err(|_| NoProxy)?, credentials })
    }
}

/// Text of a URI without its escapes. Control characters are no part of credentials (RFC 7617 section 2).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    (!out.iter().any(u8::is_ascii_control)).then_some(out)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_whom = if self.credentials.is_some() { "..@" } else { "" };
        write!(f, "Proxy(http://{as_whom}{})", self.address)
    }
}

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a proxy is http://host:port or http://user:password@host:port, in which %40 is an @, %23 a # and %25 a %",
        )
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Connect(error) => {
                write!(f, "it cannot be connected to: is `proxy` in the settings right? ({error})")
            }
            ProxyError::Garbage => f.write_str(
                "it does not answer as an HTTP proxy does: is this its port, and is it a plain one (http://)?",
            ),
            ProxyError::HungUp => f.write_str("it hung up without an answer: does it allow CONNECT?"),
            ProxyError::Lost(error) => write!(f, "the connection to it was lost before it answered: {error}"),
            ProxyError::Refused { status, reason, to, has_credentials } => {
                let space = if reason.is_empty() { "" } else { " " };
                write!(f, "it says {status}{space}{reason}: ")?;
                match status {
                    407 if *has_credentials => {
                        f.write_str("it does not take the user and password that `proxy` in the settings gives it")
                    }
                    407 => f.write_str(
                        "it wants credentials: give them in the settings, as in proxy = http://user:password@host:port",
                    ),
                    403 | 405 => write!(
                        f,
                        "it allows no way to {to}: have it allowed, or the hub listen at port 443, which most proxies allow"
                    ),
                    502..=504 => write!(f, "it cannot reach {to}: is this the hub's address, and does it run?"),
                    _ => write!(f, "it opens no way to {to}: ask whoever runs the proxy"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smol::net::unix::UnixStream;

    use super::*;

    fn answered(bytes: &[u8]) -> Result<Option<(u16, String)>, ProxyError> {
        Answer::default().receive(bytes)
    }

    fn check_refusal(proxy: &str, said: &[u8], expected: &str) {
        let error = smol::block_on(async {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            there.write_all(said).await.unwrap();
            there.shutdown(std::net::Shutdown::Write).unwrap();
            let to = "hub.example.com:7070".parse().unwrap();
            proxy.parse::<Proxy>().unwrap().open(&mut here, &to).await.unwrap_err()
        });
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error:?} lacks {expected:?}");
    }

    #[test]
    fn each_refusal_says_what_the_proxy_said_and_what_to_do() {
        let (nobody, known) = ("http://proxy:3128", "http://user:secret@proxy:3128");
        let wants = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        check_refusal(nobody, wants, "407 Proxy Authentication Required: it wants credentials: ");
        check_refusal(known, wants, "407 Proxy Authentication Required: it does not take the user and password");
        check_refusal(known, b"HTTP/1.1 403 Forbidden\r\n\r\n", "no way to hub.example.com:7070: have it allowed");
        check_refusal(known, b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "cannot reach hub.example.com:7070");
        check_refusal(known, b"HTTP/1.1 302 Found\r\n\r\n", "302 Found: it opens no way to hub.example.com:7070");
        check_refusal(known, b"", "hung up without an answer");
        check_refusal(known, b"HTTP/1.1 200 O", "hung up without an answer");
        check_refusal(known, b"220 mail.example.com\r\n", "does not answer as an HTTP proxy does");
    }

    #[test]
    fn the_request_names_the_hub_and_who_asks() {
        let request = |proxy: &str| proxy.parse::<Proxy>().unwrap().request(&"hub.example.com:443".parse().unwrap());
        let plain = "CONNECT hub.example.com:443 HTTP/1.1\r\nHost: hub.example.com:443\r\n";
        assert_eq!(request("http://proxy:3128"), format!("{plain}\r\n"));
        // The example of RFC 7617 section 2.
        let asked = request("http://Aladdin:open%20sesame@[2001:db8::1]:3128/");
        assert_eq!(asked, format!("{plain}Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"));
    }

    #[test]
    fn digits_are_those_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn what_is_no_proxy_is_said_without_its_password() {
        for text in [
            "proxy:3128",
            "https://u:secret@proxy:3128",
            "http://proxy",
            "http://[2001:db8::1]",
            "http://secret@proxy:3128",
            "http://u:secret%0a@proxy:3128",
            "http://u:secret%2@proxy:3128",
            "http://u:secret@proxy:0",
            "http://u:secret@:3128",
            "http://u:secret@proxy:3128/path",
        ] {
            let error = text.parse::<Proxy>().expect_err(text).to_string();
            assert!(error.contains("http://host:port") && !error.contains("secret"), "{error}");
        }
        let proxy: Proxy = "http://user:p%40:ss@proxy:3128".parse().unwrap();
        assert_eq!(proxy.credentials.as_deref(), Some(&b"user:p@:ss"[..]));
        assert_eq!(format!("{proxy:?}"), "Proxy(http://..@proxy:3128)");
    }

    #[test]
    fn an_answer_is_read_whole_or_byte_by_byte() {
        let head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nVia: squid\r\n\r\n";
        let established = (200, "Connection established".to_owned());
        assert_eq!(answered(head).unwrap(), Some(established.clone()));
        let mut answer = Answer::default();
        let (last, rest) = head.split_last().unwrap();
        for byte in rest {
            assert_eq!(answer.receive(&[*byte]).unwrap(), None);
        }
        assert_eq!(answer.receive(&[*last]).unwrap(), Some(established));
        assert_eq!(answered(b"HTTP/1.1 204\n\n").unwrap(), Some((204, String::new())));
        let page = b"HTTP/1.1 502 Bad\x1b[2J Gateway\r\nContent-Length: 6\r\n\r\n<html>";
        assert_eq!(answered(page).unwrap(), Some((502, "Bad[2J Gateway".to_owned())));
    }

    #[test]
    fn what_is_no_answer_is_noticed_at_once_and_what_has_no_end_in_time() {
        for bytes in [
            &b"SSH-2.0"[..],
            b"\x15\x03\x01",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000\r\n\r\n",
            b"HTTP/1.1 099 No\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(matches!(answered(bytes), Err(ProxyError::Garbage)), "{bytes:?}");
        }
        // The hub cannot have spoken yet.
        assert!(answered(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03").is_err());
        let mut endless = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        endless.resize(HEAD_BYTES_MAX, b'x');
        assert!(matches!(answered(&endless), Ok(None)));
        endless.push(b'x');
        assert!(matches!(answered(&endless), Err(ProxyError::Garbage)));
        assert!(matches!(answered(&b"HTTP/1.1 100\r\n\r\n".repeat(1000)), Err(ProxyError::Garbage)));
    }
}
