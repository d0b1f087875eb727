//! Machines with a token, over datagrams.
//!
//! ```text
//! message 1 -> of a token of ours      -> message 2, and [`ADMIT`] for message 3
//!              of another              -> message 2 that says so; nothing is kept
//!              the same again          -> message 2 again: see `datagram`
//! message 3 -> of one who was answered -> Connected { key }, Received { 0 }: as from anyone, and the core decides
//!              of nobody who is known  -> a hint that it is unknown
//! ```
//!
//! An answer that is lost is given again: the session is gone with it, so the machine hears the hint and begins anew, and the core
//! answers a key that it has let in as it did before.

use std::net::SocketAddr;
use std::time::Duration;

use identity::key::{Key, fingerprint};
use identity::noise::enrolment::{MESSAGE_3_BYTES, Responder};
use identity::noise::montgomery::noise_public_of;
use identity::noise::packet::ConnectionId;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wire::message::{CloseReason, DatagramKey};
use wire::time::{Instant, Span};

use crate::datagram::Datagrams;
use crate::log::Level;
use crate::peer::{FromPeer, PeerKey};
use crate::sessions::{Admitted, Call, Known, Opened, State};
use crate::window::Room;

/// How long a machine may take from message 2 to message 3: round trips of 2G, and some that are lost.
const ADMIT: Duration = Duration::from_secs(30);

/// Refusals of tokens that are not ours, in [`REFUSAL_PERIOD`]. Each takes three multiplications and a signature, for which a sender
/// pays nothing that forges its address.
const REFUSAL_COUNT_MAX: u32 = 50;

const REFUSAL_PERIOD: Span = Span::seconds(1);

/// How many more are refused in words.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    count: u32,
}

impl Refusals {
    /// Whether there is room for one more now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now - since >= REFUSAL_PERIOD) {
            *self = Refusals { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= REFUSAL_COUNT_MAX
    }
}

impl Datagrams {
    /// A machine names a token.
    pub(crate) async fn asked(&self, call: Call, packet: &[u8], address: SocketAddr) {
        let shown = self.shown.borrow().clone();
        let Ok((name, mut responder)) = Responder::accept(&shown.key, packet) else { return };
        let Some(token) = self.gate.token(&name) else {
            return self.turn_away(&shown.key, responder, address).await;
        };
        let Some(connection) = self.sessions().free() else { return };
        let Ok(answer) = responder.answer(&shown.key, &token, connection, b"") else { return };
        let (admitted, words) = oneshot::channel();
        let state = State::Asked { responder: Box::new(responder), answer: answer.clone(), admitted };
        let known = Known { peer: self.gate.peer(), address, call, room: Room::new(), state };
        let mut voice = self.enter(connection, known);
        let _ = self.socket.send_to(&answer, address).await;
        tokio::spawn(async move {
            let words = tokio::select! {
                biased;
                words = timeout(ADMIT, words) => words.ok().and_then(Result::ok),
                () = voice.is_evicted() => None,
            };
            if let Some(words) = words {
                voice.speak(words).await;
            }
        });
    }

    async fn turn_away(&self, key: &Key, responder: Responder, address: SocketAddr) {
        if !self.gate.may_refuse() {
            return;
        }
        let reason = CloseReason::TokenUnknown;
        let Ok(refusal) = responder.refuse(key, &link::talk::close_frames(reason, "")) else { return };
        let _ = self.socket.send_to(&refusal, address).await;
        self.gate.note(Level::Warning, "token refused", &[("address", &address), ("reason", &format!("{reason:?}"))]);
    }

    /// A machine shows its key beside a token's.
    pub(crate) async fn shown_key(&self, connection: ConnectionId, packet: &[u8], address: SocketAddr) {
        if packet.len() < MESSAGE_3_BYTES {
            return;
        }
        let opened = self.sessions().admit(connection, packet, address);
        match opened {
            Opened::Nothing => {}
            Opened::Packet(Admitted { peer, room, spki, payload, words }) => {
                let key = PeerKey::Token(fingerprint(&spki), noise_public_of(&spki).map(DatagramKey));
                let Some(said) = self.introduce((peer, address, key), room, payload).await else { return };
                if words.send(said).is_err() {
                    // It had to give way meanwhile.
                    let _ = self.to_hub.send(FromPeer::Disconnected { peer }).await;
                }
            }
            Opened::Unknown => drop(self.socket.try_send_to(&connection.unknown(), address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_tokens_that_are_not_ours_gets_few_answers() {
        let mut refusals = Refusals::default();
        let refused = (0..1000).filter(|_| refusals.take(Instant(5))).count();
        assert_eq!(refused, REFUSAL_COUNT_MAX as usize);
        assert!(refusals.take(Instant(5) + REFUSAL_PERIOD));
    }
}
