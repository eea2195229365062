//! The cryptography of TLS, from ring.

use std::sync::Arc;

use ring::rand::SystemRandom;
use rustls::SignatureScheme;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use webpki::ring as webpki;

/// The algorithms that Azure's services need: AES-GCM, which TLS 1.3 requires. Without ChaCha20, which would add 3 %
/// to the binary, and without private keys, since no client certificate is presented.
pub fn provider() -> CryptoProvider {
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
        signature_verification_algorithms: SIGNATURE_ALGORITHMS,
        secure_random: &Ring,
        key_provider: &Ring,
    }
}

/// The signature algorithms of certificates, and which of them each TLS signature scheme allows. In TLS 1.2 an ECDSA
/// scheme does not determine the curve, so each ECDSA scheme allows both curves.
pub const SIGNATURE_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
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

/// The source of random numbers: ring's.
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
        unreachable!("no client certificate is presented")
    }
}
