//! That an Ed25519 key and an X25519 key have one holder: what each end shows when a device enrolls.
//!
//! ```text
//! offset  bytes
//! 0       32      the Ed25519 key
//! 32      64      its signature of label, handshake so far, X25519 key
//! ```
//!
//! The device could compare the hub's two keys with the arithmetic of `montgomery` instead, 64 bytes shorter. It does this once in its life and has the
//! code of signatures already.

use super::state::State;
use crate::key::{self, Key, SPKI_BYTES};

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32 + 64;

/// Whose proof it is, so that nobody is shown its own.
#[derive(Clone, Copy)]
pub(super) enum Prover {
    Device,
    Hub,
}

/// `key`'s proof for this handshake as it stands.
pub(super) fn prove(key: &Key, prover: Prover, state: &State) -> Vec<u8> {
    let signature = key.sign(&statement(prover, state.hash(), &key.noise_public()));
    let public = key::public_of(key.spki()).expect("a key is one of Ed25519");
    [&public[..], &signature].concat()
}

/// The Ed25519 key of the other end, and what stands behind its proof in `payload`. `hash` is that of the handshake before the
/// message in which the proof came. None when it proves nothing.
pub(super) fn verify<'a>(
    payload: &'a [u8],
    prover: Prover,
    hash: &[u8],
    noise_public: &[u8; 32],
) -> Option<([u8; SPKI_BYTES], &'a [u8])> {
    let (public, rest) = payload.split_first_chunk()?;
    let (signature, rest) = rest.split_at_checked(PROOF_BYTES - public.len())?;
    let spki = key::spki_of(public);
    key::is_signed(&spki, &statement(prover, hash, noise_public), signature).then_some((spki, rest))
}

fn statement(prover: Prover, hash: &[u8], noise_public: &[u8; 32]) -> Vec<u8> {
    // No other signature of these keys begins so: those of TLS begin with 64 spaces (RFC 8446 section 4.4.3).
    let label: &[u8] = match prover {
        Prover::Device => b"outpost device ",
        Prover::Hub => b"outpost hub ",
    };
    [label, hash, noise_public].concat()
}
