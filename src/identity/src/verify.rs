//! What each end asks of the key that the other shows.
//!
//! rustls asks twice: whether the key may be there at all, and whether the other end holds its private half. The first
//! answer differs between the ends, the second is the same for both.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};
use wire::message::Fingerprint;

use crate::key;
use crate::provider::ALGORITHMS;

/// The hub that answered does not have a key that this device pins: another hub, a hub that was set up anew, or
/// someone in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongHub {
    /// The key that it showed.
    pub shown: Fingerprint,
    /// The keys that would have been right.
    pub pins: Vec<Fingerprint>,
}

/// What a device asks of a hub: one of the pinned keys.
#[derive(Debug)]
pub(crate) struct HubVerifier {
    pub(crate) pins: Vec<Fingerprint>,
}

impl ServerCertVerifier for HubVerifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = key::fingerprint(shown);
        if self.pins.iter().any(|pin| is_same(pin, &shown)) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongHub { shown, pins: self.pins.clone() };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What a hub asks of whoever calls: an Ed25519 key, and proof of holding it.
#[derive(Debug)]
pub(crate) struct DeviceVerifier;

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if key::is_ed25519(shown) && intermediates.is_empty() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::BadEncoding.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl fmt::Display for WrongHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hub has key {}, this device expects ", self.shown)?;
        match self.pins.split_first() {
            None => f.write_str("none: enroll it first"),
            Some((first, rest)) => {
                write!(f, "{first}")?;
                rest.iter().try_for_each(|pin| write!(f, " or {pin}"))
            }
        }
    }
}

impl std::error::Error for WrongHub {}

fn verify_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(shown.as_ref()), signed, &ALGORITHMS)
}

/// Compares without stopping at the first difference, so that the time taken tells nothing about a pin.
fn is_same(left: &Fingerprint, right: &Fingerprint) -> bool {
    left.0.iter().zip(&right.0).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}
