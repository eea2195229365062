//! Whom TLS trusts: the built-in roots and what `SSL_CERT_FILE` and `SSL_CERT_DIR` hold, or `--ca-file` alone.
//!
//! Built-in roots, since images have no bundle; the variables on top of them, since a company's intercepting proxy must
//! not lock out a private endpoint that is reached directly. A file that was named and cannot be used is an error, or
//! its absence would show as a certificate that nobody trusts.

use std::env::split_paths;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ring::rand::SystemRandom;
use rustls::client::Resumption;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use webpki::ring as webpki;

pub use super::recording_verifier::{forget_seen, seen};

use super::recording_verifier;
use crate::error::{Cause, Error};
use crate::request::environment::Environment;

/// What a file of certificates must be.
const PEM: &str = "it must be PEM: -----BEGIN CERTIFICATE-----";

/// The configuration of every connection.
pub fn client_config(
    env: &Environment,
    ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(with_roots(roots(env, ca_file)?)))
}

/// The same, and each handshake leaves behind whom it saw: [`seen`].
pub fn watching(env: &Environment, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(recording_verifier::config(
        roots(env, ca_file)?,
        built_in(),
    )))
}

fn built_in() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn roots(env: &Environment, ca_file: Option<&Path>) -> Result<RootCertStore, Error> {
    if let Some(file) = ca_file {
        let mut roots = RootCertStore::empty();
        add_file(&mut roots, file, "--ca-file or AKV_INIT_CA_FILE")?;
        return Ok(roots);
    }
    let mut roots = built_in();
    if let Some(file) = env.get("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        add_file(&mut roots, Path::new(file), "SSL_CERT_FILE")?;
    }
    if let Some(directories) = env.get("SSL_CERT_DIR").filter(|list| !list.is_empty()) {
        for directory in split_paths(directories).filter(|path| !path.as_os_str().is_empty()) {
            add_directory(&mut roots, &directory)?;
        }
    }
    Ok(roots)
}

/// The same with nothing but these certificates, PEM.
pub fn only(pem: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    match add_certificates(&mut roots, pem) {
        0 => Err(Error::new(Cause::Config, "no certificate in it").hint(PEM)),
        _ => Ok(Arc::new(with_roots(roots))),
    }
}

pub(super) fn with_roots(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // No connection is made twice in our short life: a store of 256 sessions would be for nothing. And who resumes one
    // shows no certificate.
    config.resumption = Resumption::disabled();
    config
}

fn add_file(roots: &mut RootCertStore, path: &Path, setting: &str) -> Result<(), Error> {
    let unusable = |why: String| {
        Error::new(
            Cause::Config,
            format!("{setting}: `{}`: {why}", path.display()),
        )
    };
    let pem = fs::read(path).map_err(|error| {
        let is_missing = error.kind() == ErrorKind::NotFound;
        let hint = "it is read for the certificates that are trusted: mount it, or do not name it";
        unusable(error.to_string()).maybe_hint(is_missing.then(|| hint.to_owned()))
    })?;
    match add_certificates(roots, &pem) {
        0 => Err(unusable("no certificate in it".to_owned()).hint(PEM)),
        _ => Ok(()),
    }
}

/// A directory of certificates may hold other files too; one without any certificate was not meant.
fn add_directory(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let unusable = |why: String| {
        Error::new(
            Cause::Config,
            format!("SSL_CERT_DIR: `{}`: {why}", path.display()),
        )
    };
    let entries = fs::read_dir(path).map_err(|error| unusable(error.to_string()))?;
    let mut added = 0;
    let mut seen = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        // OpenSSL's directories hold each certificate twice: once by its name, once as a link by its hash.
        let Ok(file) = entry.path().canonicalize() else {
            continue;
        };
        if !seen.contains(&file) {
            added += fs::read(&file).map_or(0, |pem| add_certificates(roots, &pem));
            seen.push(file);
        }
    }
    match added {
        0 => Err(unusable("no certificate in it".to_owned())),
        _ => Ok(()),
    }
}

fn add_certificates(roots: &mut RootCertStore, pem: &[u8]) -> usize {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    added
}

/// The cryptography that Azure's services need, from ring: AES-GCM, which TLS 1.3 asks everyone to have; no ChaCha20,
/// a thirtieth of the file that nobody would choose; no private keys, for no client certificate is ever presented.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Ring,
        key_provider: &Ring,
    }
}

/// Signatures of certificates, and of handshakes by their TLS name. In TLS 1.2 the name of an ECDSA signature does not
/// say the curve, so each stands for both.
pub(super) const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        webpki::ECDSA_P256_SHA256,
        webpki::ECDSA_P256_SHA384,
        webpki::ECDSA_P384_SHA256,
        webpki::ECDSA_P384_SHA384,
        webpki::ED25519,
        webpki::RSA_PKCS1_2048_8192_SHA256,
        webpki::RSA_PKCS1_2048_8192_SHA384,
        webpki::RSA_PKCS1_2048_8192_SHA512,
        webpki::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        webpki::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        webpki::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[webpki::ECDSA_P256_SHA256, webpki::ECDSA_P384_SHA256],
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[webpki::ECDSA_P384_SHA384, webpki::ECDSA_P256_SHA384],
        ),
        (SignatureScheme::ED25519, &[webpki::ED25519]),
        (
            SignatureScheme::RSA_PKCS1_SHA256,
            &[webpki::RSA_PKCS1_2048_8192_SHA256],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA384,
            &[webpki::RSA_PKCS1_2048_8192_SHA384],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[webpki::RSA_PKCS1_2048_8192_SHA512],
        ),
        (
            SignatureScheme::RSA_PSS_SHA256,
            &[webpki::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA384,
            &[webpki::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[webpki::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
    ],
};

#[derive(Debug)]
struct Ring;

impl SecureRandom for Ring {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        ring::rand::SecureRandom::fill(&SystemRandom::new(), bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Ring {
    fn load_private_key(
        &self,
        _: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        unreachable!("no client certificate is ever presented")
    }
}
