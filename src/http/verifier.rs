//! Verifies certificates as rustls's own verifier does, by the same functions. Its errors carry the certificate that was
//! rejected, which rustls's do not, so that a message can name its issuer.

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
use super::crypto::SIGNATURES;

/// Trusts these roots.
#[derive(Debug)]
pub struct Verifier(pub RootCertStore);

/// A certificate that was rejected, as the source of a [`CertificateError::Other`].
#[derive(Debug)]
pub struct Rejected {
    /// What rustls's own verifier returns.
    pub reason: CertificateError,
    /// The server's certificate.
    pub certificate: Certificate,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Rejected {}

/// Whether these roots trust a certificate for a name.
pub fn verify(
    roots: &RootCertStore,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, chain, now, SIGNATURES.all)?;
    verify_server_name(&parsed, name)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match verify(&self.0, certificate, chain, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(Error::InvalidCertificate(reason)) => Err(Error::InvalidCertificate(
                match Certificate::parse(certificate) {
                    None => reason,
                    Some(certificate) => CertificateError::Other(OtherError(Arc::new(Rejected {
                        reason,
                        certificate,
                    }))),
                },
            )),
            Err(error) => Err(error),
        }
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

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };
    use rustls::client::WebPkiServerVerifier;

    use super::*;

    /// A certificate for a name, until a year, by an issuer.
    fn certificate(year: i32, issuer: &CertifiedIssuer<'_, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["kv1.vault.azure.net".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, issuer).unwrap().into()
    }

    fn issuer() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn decisions_are_those_of_rustls() {
        let (known, unknown) = (issuer(), issuer());
        let mut roots = RootCertStore::empty();
        roots.add(known.der().clone()).unwrap();
        let usual = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots.clone()),
            Arc::new(super::super::crypto::provider()),
        );
        let usual = usual.build().unwrap();
        let verifier = Verifier(roots);
        let good = certificate(2035, &known);
        let broken = CertificateDer::from(good[..good.len() / 2].to_vec());
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let mut decisions = Vec::new();
        for (certificate, name) in [
            (&good, "kv1.vault.azure.net"),
            (&good, "kv2.vault.azure.net"),
            (&certificate(2021, &known), "kv1.vault.azure.net"),
            (&certificate(2035, &unknown), "kv1.vault.azure.net"),
            (&broken, "kv1.vault.azure.net"),
        ] {
            let name = ServerName::try_from(name).unwrap();
            let decision = verifier.verify_server_cert(certificate, &[], &name, &[], now);
            let expected = usual.verify_server_cert(certificate, &[], &name, &[], now);
            let decision = decision.map(drop).map_err(|error| match error {
                Error::InvalidCertificate(CertificateError::Other(other)) => {
                    let rejected = other.0.downcast_ref::<Rejected>().unwrap();
                    Error::InvalidCertificate(rejected.reason.clone())
                }
                other => other,
            });
            assert_eq!(decision, expected.map(drop));
            decisions.push(decision.is_ok());
        }
        assert_eq!(decisions, [true, false, false, false, false]);
    }
}
