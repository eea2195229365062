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
    fn it_decides_as_the_verifier_of_every_connection_does() {
        let (known, unknown) = (issuer(), issuer());
        let mut roots = RootCertStore::empty();
        roots.add(known.der().clone()).unwrap();
        let usual = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots.clone()),
            Arc::new(super::super::tls::provider()),
        );
        let usual = usual.build().unwrap();
        let watching = Watching {
            roots,
            built_in: RootCertStore::empty(),
        };
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
            let decide = |verifier: &dyn ServerCertVerifier| {
                verifier
                    .verify_server_cert(certificate, &[], &name, &[], now)
                    .map(drop)
            };
            let decision = decide(&watching);
            assert_eq!(decision, decide(&*usual));
            assert_eq!(seen().unwrap().certificate, certificate.to_vec());
            decisions.push(decision.is_ok());
        }
        assert_eq!(decisions, [true, false, false, false, false]);
    }
}
