//! The same two keys over datagrams: Noise, for links on which every byte is paid for.
//!
//! ```text
//! device                                               hub
//! an enrolled one: Noise_IK_25519_ChaChaPoly_SHA256    handshake
//!   97 bytes and payload  e, es, s, ss          ->     whose key is that? the store knows
//!                               e, ee, se       <-     52 bytes and payload, with the connection's id
//!
//! with a token: Noise_XXpsk3_25519_ChaChaPoly_SHA256   enrolment
//!   81 bytes   e, which token                   ->     the store knows its key
//!                         e, ee, s, es, proof   <-     196 bytes and payload, with the connection's id
//!   164 bytes and payload  s, se, psk, proof    ->     the device's key is enrolled
//!
//! from then on: a counter and ChaCha20-Poly1305        session
//!   21 bytes and payload                        ->
//!                                               <-     18 bytes and payload
//! ```
//!
//! **One identity.** Static keys of Noise are X25519 keys, and follow from the Ed25519 key that TLS uses: see [`crate::key`]. A device
//! hears the hub's from the hub, when it enrolls or over TLS; the hub computes a device's with [`montgomery::noise_public_of`].
//!
//! **What a packet may do.** Any packet may be lost, doubled, delayed, recorded and sent again, or forged. One that does not authenticate
//! changes nothing, with the one exception that [`enrolment`] names. A recorded first message of a handshake is answered, because
//! nothing in it says when it was written: see [`handshake::Responder`] for what its holder owes to this. The answer to a first message is at most
//! [`packet::AMPLIFICATION_MAX`] times as long, so that a forged sender's address is no weapon.
//!
//! | module | what |
//! |---|---|
//! | [`packet`] | first byte, connection and counter: what stands in the clear |
//! | [`handshake`] | two ends that know each other |
//! | [`enrolment`] | a device with a token, and the hub that gave it out |
//! | [`session`] | what both lead to: packets sealed and opened |
//! | [`montgomery`] | a device's key here from its key there; for the hub alone |
//! | [`refusal`] | why a packet is refused |
//! | `state`, `resolver` | snow, and ring beneath it |
//! | `proof` | that an Ed25519 key and an X25519 key have one holder |
//! | `window` | which packets were seen |
//!
//! Source: T. Perrin, "The Noise Protocol Framework", revision 34 (<https://noiseprotocol.org/noise.html>).

pub mod enrolment;
pub mod handshake;
pub mod montgomery;
pub mod packet;
pub mod refusal;
pub mod session;

mod proof;
mod resolver;
mod state;
mod window;
