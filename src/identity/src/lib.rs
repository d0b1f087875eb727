//! Who a device and a hub are, and how each proves it to the other.
//!
//! Everyone is an Ed25519 key and nothing else: no certificate authority, no name, no date that runs out in
//! a cabinet nobody visits. What is compared is the key's fingerprint.
//!
//! ```text
//! hub      makes a token  = a one-time secret + the fingerprint of its own key
//! person   carries it to the machine
//! device   dials; TLS 1.3 with raw public keys (RFC 7250) shows each end the other's key
//!          - the device refuses any hub whose fingerprint is not pinned: `client_config`
//!          - the hub accepts any key here and asks its core who that is:  `server_config`
//!          Enroll { secret } -> the key that spoke is the device's from now on
//! ```
//!
//! An unknown device is let through the handshake on purpose: a typed `Close` tells the person at the machine
//! what to do, where a TLS alert would only say that the connection failed.
//!
//! | module | what |
//! |---|---|
//! | [`key`], [`key_file`] | the key, its fingerprint, the number it gives a device; the line of text it is stored as |
//! | [`token`] | what a person carries from the hub to a new machine |
//! | [`tls`], [`verify`] | both ends' TLS settings, and whom a connection leads to; what each asks of the other's key |
//! | [`noise`] | the same two keys over datagrams |
//! | `exchange` | X25519, which the datagrams need |
//! | `provider` | what rustls may compute with |
//! | [`fuzz`] | the parsers of outside text, as functions of bytes |
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod key;
pub mod key_file;
pub mod noise;
mod provider;
pub mod tls;
pub mod token;
pub mod verify;

mod exchange;
#[cfg(test)]
mod hex;
mod text;
