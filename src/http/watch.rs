//! A verifier that decides as that of every connection does, by rustls's own functions, and remembers whose certificate
//! it was about. rustls forgets the certificate that it refuses, and that is the one to know.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::tls::{SIGNATURES, with_roots};

/// Whom a handshake saw.
pub struct Seen {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Whether the built-in roots alone would trust it.
    pub is_public: bool,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Before this thread opens a connection.
pub fn forget_seen() {
    SEEN.set(None);
}

/// Whom the last handshake of this thread saw.
pub fn seen() -> Option<Seen> {
    SEEN.take()
}

/// The configuration of every connection, which trusts `roots`; and it watches.
pub fn config(roots: RootCertStore, built_in: RootCertStore) -> ClientConfig {
    let mut config = with_roots(roots.clone());
    let watching = Watching { roots, built_in };
    let verifier = Arc::new(watching);
    config.dangerous().set_certificate_verifier(verifier);
    config
}

#[derive(Debug)]
struct Watching {
    roots: RootCertStore,
    built_in: RootCertStore,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate);
        let by = |roots: &RootCertStore| {
            let parsed = parsed.as_ref().map_err(Error::clone)?;
            verify_server_cert_signed_by_trust_anchor(parsed, roots, chain, now, SIGNATURES.all)?;
            verify_server_name(parsed, name)
        };
        SEEN.set(Some(Seen {
            certificate: certificate.to_vec(),
            is_public: by(&self.built_in).is_ok(),
        }));
        by(&self.roots).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &SIGNATURES)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
