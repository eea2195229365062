//! Verifies certificates as rustls's own verifier does, with the same functions. Unlike rustls's, its errors carry the
//! rejected certificate, so that a message can name its issuer.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::Certificate;
use super::crypto::SIGNATURE_ALGORITHMS;

/// A certificate verifier that trusts these roots.
#[derive(Debug)]
pub struct Verifier(pub RootCertStore);

/// A rejected certificate, for messages. It is the source of a [`CertificateError::Other`].
#[derive(Debug)]
pub struct RejectedCertificate {
    /// The error from rustls's verifier.
    pub reason: CertificateError,
    /// The server's certificate.
    pub certificate: Certificate,
}

impl fmt::Display for RejectedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for RejectedCertificate {}

/// Checks that a server's certificate chains to one of these roots and is for this name.
pub fn verify(
    roots: &RootCertStore,
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        roots,
        intermediates,
        now,
        SIGNATURE_ALGORITHMS.all,
    )?;
    verify_server_name(&parsed, name)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Err(error) = verify(&self.0, certificate, intermediates, name, now) else {
            return Ok(ServerCertVerified::assertion());
        };
        Err(match (error, Certificate::parse(certificate)) {
            (Error::InvalidCertificate(reason), Some(certificate)) => {
                let rejected = RejectedCertificate {
                    reason,
                    certificate,
                };
                CertificateError::Other(OtherError(Arc::new(rejected))).into()
            }
            (error, _) => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &SIGNATURE_ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &SIGNATURE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURE_ALGORITHMS.supported_schemes()
    }
}
