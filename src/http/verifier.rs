//! Verifies certificates as rustls's own verifier does, with the same functions. Unlike rustls's, its errors carry the
//! rejected certificate, so that a message can name its issuer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
use super::roots::Roots;

/// How long a verified chain is trusted without another look: long enough for connections that are opened together.
const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// A certificate verifier that trusts these roots.
///
/// It verifies a chain once for all connections to a name that are opened together. That concerns the chain alone: that
/// the server has the key of its certificate is verified in each handshake.
pub struct Verifier(Mutex<State>);

struct State {
    roots: Roots,
    verified: Vec<VerifiedChain>,
}

/// A chain that was verified for a name.
struct VerifiedChain {
    name: ServerName<'static>,
    /// The server's certificate, and then the intermediate ones.
    chain: Vec<CertificateDer<'static>>,
    time: UnixTime,
}

impl Verifier {
    /// A verifier that has verified nothing yet.
    pub fn new(roots: Roots) -> Verifier {
        Verifier(Mutex::new(State {
            roots,
            verified: Vec::new(),
        }))
    }

    /// [`verify`], unless the same was verified a moment ago. Threads with the same chain wait for one result.
    fn verify_once(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { roots, verified } = &mut *state;
        let chain = || std::iter::once(certificate).chain(intermediates);
        verified.retain(|known| {
            let age = now.as_secs().checked_sub(known.time.as_secs());
            age.is_some_and(|age| age < CACHE_LIFETIME.as_secs())
        });
        if verified
            .iter()
            .any(|known| known.name == *name && known.chain.iter().eq(chain()))
        {
            return Ok(());
        }
        let mut result = verify(&roots.store, certificate, intermediates, name, now);
        if result.is_err() && roots.read_all() {
            result = verify(&roots.store, certificate, intermediates, name, now);
        }
        result?;
        verified.push(VerifiedChain {
            name: name.to_owned(),
            chain: chain().map(|part| part.clone().into_owned()).collect(),
            time: now,
        });
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

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
        let Err(error) = self.verify_once(certificate, intermediates, name, now) else {
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
