//! The certificate of the application, generated once with a fixed key (ring cannot generate RSA keys), and the check of an
//! assertion that was signed with it, as Entra does it.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

use super::shared::Shared;
use super::{Response, tls, token};

/// PEM: the key, its certificate, and the certificate of the authority that signed it.
pub const FILE: &str = "client.pem";

/// The certificate that the application's owner has registered.
pub struct Registered {
    leaf: Vec<u8>,
    public_key: Vec<u8>,
}

/// Writes the certificate with its key.
pub fn write(path: &Path) -> io::Result<Registered> {
    let key = KeyPair::from_pem(include_str!("client.key")).expect("an RSA key in PKCS#8");
    let (issuer, issuer_pem) = tls::issuer("akv-init fake company", None);
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "an application");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    let leaf = params
        .signed_by(&key, &issuer)
        .expect("the authority signs");
    let pem = [key.serialize_pem(), leaf.pem(), issuer_pem].concat();
    fs::write(path, pem)?;
    Ok(Registered {
        leaf: leaf.der().to_vec(),
        public_key: key.public_key_raw().to_vec(),
    })
}

/// Refuses an assertion that Entra would refuse. `url` is the token endpoint of the request.
pub fn check(shared: &Shared, assertion: &str, client_id: &str, url: &str) -> Result<(), Response> {
    let registered = &shared.client;
    let malformed = || Response::aadsts(50_027, "JWT token is invalid or malformed.");
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
    let (header, _) = signed.split_once('.').ok_or_else(malformed)?;
    let header: Value = decode(header)
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(malformed)?;
    let claims = token::claims(assertion).ok_or_else(malformed)?;
    let signature = decode(signature).ok_or_else(malformed)?;

    let (algorithm, thumbprint, named): (&dyn VerificationAlgorithm, _, _) =
        match header["alg"].as_str() {
            Some("PS256") => (
                &RSA_PSS_2048_8192_SHA256,
                digest(&SHA256, &registered.leaf),
                &header["x5t#S256"],
            ),
            Some("RS256") => (
                &RSA_PKCS1_2048_8192_SHA256,
                digest(&SHA1_FOR_LEGACY_USE_ONLY, &registered.leaf),
                &header["x5t"],
            ),
            _ => return Err(malformed()),
        };
    let named = named.as_str().and_then(decode);
    if named.as_deref() != Some(thumbprint.as_ref()) {
        return Err(Response::aadsts(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        )
        .with_status(401));
    }
    UnparsedPublicKey::new(algorithm, &registered.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| {
            let text = "Client assertion failed signature validation.";
            Response::aadsts(700_027, text).with_status(401)
        })?;
    check_chain(registered, &header["x5c"])?;
    check_claims(shared.now(), &claims, client_id, url)
}

/// A chain is optional; it must start with the certificate that signed, base64 of DER.
fn check_chain(registered: &Registered, chain: &Value) -> Result<(), Response> {
    if chain.is_null() {
        return Ok(());
    }
    let first = chain[0]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok());
    match first.as_deref() == Some(registered.leaf.as_slice()) {
        true => Ok(()),
        false => Err(
            Response::aadsts(700_027, "The x5c claim is not the signing certificate's.")
                .with_status(401),
        ),
    }
}

fn check_claims(now: u64, claims: &Value, client_id: &str, url: &str) -> Result<(), Response> {
    let refuse = |code, text: &str| Err(Response::aadsts(code, text).with_status(401));
    // The SDK for Python sends fractions of a second.
    let time = |name: &str| claims[name].as_f64().map(|seconds| seconds as u64);
    // Entra accepts five minutes of difference, and no assertion with a lifetime of more than a day.
    let begun = time("nbf").is_none_or(|from| from <= now + 300);
    let ends = time("exp").is_some_and(|until| until > now && until <= now + 86_400);
    if !begun || !ends {
        return refuse(
            700_024,
            "Client assertion is not within its valid time range.",
        );
    }
    if claims["sub"] != *client_id {
        return refuse(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        );
    }
    if claims["jti"].as_str().is_none_or(str::is_empty) {
        return refuse(50_027, "JWT token is invalid or malformed.");
    }
    if claims["aud"] != *url {
        return refuse(
            700_023,
            "Client assertion audience claim does not match Realm issuer.",
        );
    }
    Ok(())
}

/// base64 of either alphabet, padded or not: SDKs send all of them in thumbprints, and Entra accepts them.
fn decode(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::URL_SAFE, config);
    let text = text.replace('+', "-").replace('/', "_");
    engine.decode(text).ok()
}
