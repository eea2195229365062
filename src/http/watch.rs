//! A verifier that decides nothing: it passes every question on to the one of every connection, and remembers whose
//! certificate it was about. rustls forgets the certificate that it refuses, and that is the one to know.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::tls::provider;

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

/// A configuration that trusts `roots`, and watches.
pub fn config(roots: RootCertStore, built_in: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(provider());
    let verifier = |roots: RootCertStore| {
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .expect("there are roots, and no revocation lists")
    };
    let watching = Watching {
        trusted: verifier(roots),
        built_in: verifier(built_in),
    };
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(watching))
        .with_no_client_auth();
    // Who resumes a session shows no certificate.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[derive(Debug)]
struct Watching {
    trusted: Arc<WebPkiServerVerifier>,
    built_in: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(certificate, chain, name, ocsp, now)
        };
        SEEN.set(Some(Seen {
            certificate: certificate.to_vec(),
            is_public: by(&self.built_in).is_ok(),
        }));
        by(&self.trusted)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trusted
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trusted
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}
