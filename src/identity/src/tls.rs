//! Both ends' TLS settings, and whom a connection leads to.
//!
//! TLS 1.3 with raw public keys both ways (RFC 7250, RFC 8446), and of everything else exactly one:
//!
//! | | | because |
//! |---|---|---|
//! | suite | TLS_CHACHA20_POLY1305_SHA256 | small ARM cores have no AES instructions |
//! | key exchange | X25519 | a hybrid with ML-KEM adds 2.6 KB and 1.3 s on a 40 kbit/s link |
//! | signature | Ed25519 | 64 bytes, and the key is 32 |
//! | tickets | none | with raw keys resumption saves 85 bytes and a ticket costs 155 |
//! | server name | not sent | the key says whom we mean |
//!
//! A raw key has no dates, so a gateway may believe that it is 1970. Where rustls asks for the time all the same, it gets the
//! driver's clock and not std's, which ends in 2038 on 32-bit machines.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::sign;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, OtherError, ServerConfig};
use wire::message::Fingerprint;

use crate::key::{self, Key};
use crate::provider::provider;
use crate::verify::{DeviceVerifier, HubVerifier, WrongHub};

/// The device's end. `pins` are the hub keys to accept: one, and a second while the hub changes its key; with none,
/// every hub is refused.
///
/// A hub with another key ends the handshake with an error in which [`wrong_hub`] finds what it showed.
pub fn client_config(key: &Key, pins: &[Fingerprint], clock: Clock) -> Arc<ClientConfig> {
    let verifier = HubVerifier { pins: pins.to_vec() };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(DriverTime(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider's suite is one of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(key))));
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The hub's end. A device must prove that it holds some Ed25519 key; whose it is, [`peer_fingerprint`] says and the
/// hub's core judges.
pub fn server_config(key: &Key, clock: Clock) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(DriverTime(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider's suite is one of TLS 1.3")
        .with_client_cert_verifier(Arc::new(DeviceVerifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key))));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

/// The name that rustls asks for when a device connects. It is not sent and not compared.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("hub").expect("hub is a name")
}

/// Who is at the other end: `connection.peer_certificates()` after the handshake. None before its end, or when what
/// was shown is not one raw key.
pub fn peer_fingerprint(certificates: Option<&[CertificateDer<'_>]>) -> Option<Fingerprint> {
    peer_spki(certificates).map(key::fingerprint)
}

/// As [`peer_fingerprint`], the key itself (SubjectPublicKeyInfo).
pub fn peer_spki<'a>(certificates: Option<&'a [CertificateDer<'_>]>) -> Option<&'a [u8]> {
    match certificates {
        Some([shown]) if key::is_ed25519(shown) => Some(shown),
        _ => None,
    }
}

/// The [`WrongHub`] in an error of a handshake, whether it comes from rustls or, inside an [`io::Error`], from the
/// stream around it.
pub fn wrong_hub<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a WrongHub> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return wrong_hub(error.get_ref()?);
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

/// The driver's clock: the time now, right or wrong; nothing when it is before 1970.
pub type Clock = fn() -> Option<wire::time::UnixTime>;

#[derive(Debug)]
struct DriverTime(Clock);

impl TimeProvider for DriverTime {
    /// Never nothing: a handshake would fail, and it does not depend on the time.
    fn current_time(&self) -> Option<UnixTime> {
        let now_ms = (self.0)().map_or(0, |now| now.0);
        Some(UnixTime::since_unix_epoch(Duration::from_millis(now_ms)))
    }
}

/// The key as rustls wants it; the "certificate" of a raw public key is its SubjectPublicKeyInfo.
fn certified(key: &Key) -> Arc<CertifiedKey> {
    let signing = sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key.pkcs8()))
        .expect("rustls reads what ring read: see Key::from_pkcs8");
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(key.spki().to_vec())], signing))
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

    use super::*;

    fn clock() -> Option<wire::time::UnixTime> {
        None
    }

    /// Both ends when neither had more to say, and what they said.
    struct Shaken {
        client: Connection,
        client_error: Option<rustls::Error>,
        server: Connection,
        server_error: Option<rustls::Error>,
        byte_count: usize,
    }

    fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Shaken {
        shake_with(client, server, |_, _| ())
    }

    /// Carries flights between two ends; `meddle` is given the place of a flight in all that is said, and may change it.
    fn shake_with(
        client: Arc<ClientConfig>,
        server: Arc<ServerConfig>,
        mut meddle: impl FnMut(usize, &mut [u8]),
    ) -> Shaken {
        let mut shaken = Shaken {
            client: ClientConnection::new(client, server_name()).unwrap().into(),
            client_error: None,
            server: ServerConnection::new(server).unwrap().into(),
            server_error: None,
            byte_count: 0,
        };
        loop {
            let before = shaken.byte_count;
            let mut up = said(&mut shaken.client);
            meddle(shaken.byte_count, &mut up);
            shaken.byte_count += up.len();
            shaken.server_error = shaken.server_error.or(hear(&mut shaken.server, &up).err());
            let mut down = said(&mut shaken.server);
            meddle(shaken.byte_count, &mut down);
            shaken.byte_count += down.len();
            shaken.client_error = shaken.client_error.or(hear(&mut shaken.client, &down).err());
            if shaken.byte_count == before {
                return shaken;
            }
        }
    }

    fn said(end: &mut Connection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while end.wants_write() {
            end.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn hear(end: &mut Connection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            end.read_tls(&mut bytes).map_err(|error| rustls::Error::General(error.to_string()))?;
            end.process_new_packets()?;
        }
        Ok(())
    }

    fn verifier(pins: &[Fingerprint]) -> Arc<HubVerifier> {
        Arc::new(HubVerifier { pins: pins.to_vec() })
    }

    #[test]
    fn each_end_learns_the_fingerprint_of_the_other() {
        let (device, hub) = (Key::generate(), Key::generate());
        let next = Key::generate().fingerprint();
        let shaken = shake(client_config(&device, &[next, hub.fingerprint()], clock), server_config(&hub, clock));
        assert_eq!((&shaken.client_error, &shaken.server_error), (&None, &None));
        assert!(!shaken.client.is_handshaking() && !shaken.server.is_handshaking());
        assert_eq!(peer_fingerprint(shaken.client.peer_certificates()), Some(hub.fingerprint()));
        assert_eq!(peer_fingerprint(shaken.server.peer_certificates()), Some(device.fingerprint()));
    }

    #[test]
    fn a_handshake_is_short_and_never_resumed() {
        let (device, hub) = (Key::generate(), Key::generate());
        let (client, server) = (client_config(&device, &[hub.fingerprint()], clock), server_config(&hub, clock));
        for _ in 0..2 {
            let shaken = shake(client.clone(), server.clone());
            assert_eq!(shaken.client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(shaken.byte_count, HANDSHAKE_BYTES);
        }
    }

    /// Both directions, record headers included, counted on rustls 0.23.46. The budget is 1,100.
    const HANDSHAKE_BYTES: usize = 730;

    #[test]
    fn the_name_of_the_hub_is_not_sent() {
        let hub = Key::generate();
        let config = client_config(&Key::generate(), &[hub.fingerprint()], clock);
        let mut client = ClientConnection::new(config, "a-telling-name".try_into().unwrap()).unwrap().into();
        assert!(!said(&mut client).windows(7).any(|part| part == b"telling"));
    }

    #[test]
    fn a_hub_with_another_key_is_refused_and_named() {
        let (hub, other) = (Key::generate(), Key::generate());
        let shaken = shake(client_config(&Key::generate(), &[hub.fingerprint()], clock), server_config(&other, clock));
        let error = shaken.client_error.unwrap();
        let expected = WrongHub { shown: other.fingerprint(), pins: vec![hub.fingerprint()] };
        assert_eq!(wrong_hub(&error), Some(&expected));
        assert_eq!(wrong_hub(&io::Error::new(io::ErrorKind::InvalidData, error)), Some(&expected));
        assert!(expected.to_string().contains(&format!("has key {}", other.fingerprint())));
        assert_eq!(peer_fingerprint(shaken.server.peer_certificates()), None);
    }

    #[test]
    fn a_device_without_pins_accepts_no_hub() {
        let shaken = shake(client_config(&Key::generate(), &[], clock), server_config(&Key::generate(), clock));
        assert!(wrong_hub(&shaken.client_error.unwrap()).unwrap().pins.is_empty());
    }

    #[test]
    fn other_errors_are_no_wrong_hub() {
        assert_eq!(wrong_hub(&rustls::Error::DecryptError), None);
        assert_eq!(wrong_hub(&io::Error::from(io::ErrorKind::TimedOut)), None);
        assert_eq!(wrong_hub(&std::fmt::Error), None);
    }

    #[test]
    fn a_device_without_a_key_is_refused() {
        let hub = Key::generate();
        let client = ClientConfig::builder_with_details(provider(), Arc::new(DriverTime(clock)))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier(&[hub.fingerprint()]))
            .with_no_client_auth();
        let shaken = shake(Arc::new(client), server_config(&hub, clock));
        assert!(shaken.server_error.is_some());
        assert_eq!(peer_fingerprint(shaken.server.peer_certificates()), None);
    }

    /// Whoever copied a public key can show it, and cannot sign with it.
    fn stolen(shown: &Key) -> Arc<CertifiedKey> {
        let thief = certified(&Key::generate());
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(shown.spki().to_vec())], thief.key.clone()))
    }

    #[test]
    fn a_hub_that_only_shows_the_pinned_key_is_refused() {
        let hub = Key::generate();
        let mut server = Arc::unwrap_or_clone(server_config(&hub, clock));
        server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(stolen(&hub)));
        let shaken = shake(client_config(&Key::generate(), &[hub.fingerprint()], clock), Arc::new(server));
        assert_eq!(shaken.client_error, Some(CertificateError::BadSignature.into()));
    }

    #[test]
    fn a_device_that_only_shows_a_key_is_refused() {
        let (device, hub) = (Key::generate(), Key::generate());
        let mut client = Arc::unwrap_or_clone(client_config(&device, &[hub.fingerprint()], clock));
        client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(stolen(&device)));
        let shaken = shake(Arc::new(client), server_config(&hub, clock));
        assert_eq!(shaken.server_error, Some(CertificateError::BadSignature.into()));
    }

    #[test]
    fn a_key_that_is_not_ed25519_is_nobody() {
        let key = Key::generate();
        let shown = |bytes: &[u8]| peer_fingerprint(Some(&[CertificateDer::from(bytes.to_vec())]));
        assert_eq!(shown(key.spki()), Some(key.fingerprint()));
        assert_eq!(shown(&key.spki()[1..]), None);
        assert_eq!(shown(&[0x30; 91]), None);
        assert_eq!(peer_fingerprint(Some(&[])), None);
        assert_eq!(peer_fingerprint(None), None);
    }

    #[test]
    fn tls_1_2_is_refused_by_both_ends() {
        // A hello of TLS 1.2 (RFC 5246 section 7.4.1) with ECDHE-ECDSA-AES128-GCM and no extension, from either end.
        let record = |kind: u8, tail: &[u8]| {
            let hello = [&[3, 3][..], &[7; 32], &[0], tail].concat();
            let head = [22, 3, 1, 0, hello.len() as u8 + 4, kind, 0, 0, hello.len() as u8];
            [&head[..], &hello].concat()
        };
        let hub = Key::generate();
        let mut server = ServerConnection::new(server_config(&hub, clock)).unwrap().into();
        let error = hear(&mut server, &record(1, &[0, 2, 0xc0, 0x2b, 1, 0])).unwrap_err();
        assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");

        let config = client_config(&Key::generate(), &[hub.fingerprint()], clock);
        let mut client = ClientConnection::new(config, server_name()).unwrap().into();
        said(&mut client);
        let error = hear(&mut client, &record(2, &[0xc0, 0x2b, 0])).unwrap_err();
        assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");
    }

    #[test]
    fn a_changed_byte_never_shows_anyone_as_another() {
        let (device, hub) = (Key::generate(), Key::generate());
        let (client, server) = (client_config(&device, &[hub.fingerprint()], clock), server_config(&hub, clock));
        let mut failed_count = 0;
        for place in 0..HANDSHAKE_BYTES {
            let shaken = shake_with(client.clone(), server.clone(), |begin, bytes| {
                if let Some(byte) = place.checked_sub(begin).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 0x55;
                }
            });
            // TLS ignores the version in a record's header, so that not every byte is missed.
            let ends = [(&shaken.client, &hub), (&shaken.server, &device)];
            for (end, other) in ends.into_iter().filter(|(end, _)| !end.is_handshaking()) {
                assert_eq!(peer_fingerprint(end.peer_certificates()), Some(other.fingerprint()), "byte {place}");
            }
            failed_count += usize::from(ends.iter().any(|(end, _)| end.is_handshaking()));
        }
        assert!(failed_count > HANDSHAKE_BYTES * 9 / 10, "{failed_count}");
    }

    #[test]
    fn bytes_that_are_no_tls_give_an_error() {
        let hub = Key::generate();
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64], &[22, 3, 1, 0xff, 0xff]] {
            let mut server = ServerConnection::new(server_config(&hub, clock)).unwrap().into();
            assert!(hear(&mut server, garbage).is_err());
            let config = client_config(&Key::generate(), &[hub.fingerprint()], clock);
            let mut client = ClientConnection::new(config, server_name()).unwrap().into();
            assert!(hear(&mut client, garbage).is_err());
        }
    }
}
