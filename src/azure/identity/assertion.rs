//! The assertion that a service principal signs with its certificate's key
//! (<https://learn.microsoft.com/entra/identity-platform/certificate-credentials>).

use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::date;
use crate::error::Error;
use crate::http::random_uuid;
use crate::secret::Secret;

/// Seconds; the documentation recommends five to ten minutes.
const LIFETIME: i64 = 600;
/// Seconds that the clocks may differ.
const SKEW: i64 = 120;

/// A JWT that identifies the client by its certificate, signed with PS256. `unusable` makes an error about the file at
/// `path`.
pub fn sign(
    pem: &[u8],
    path: &Path,
    client_id: &str,
    audience: &str,
    send_chain: bool,
    unusable: impl Fn(&str) -> Error,
) -> Result<Secret, Error> {
    let file = path.display();
    // A PFX starts with the tag of a DER sequence.
    if pem.first() == Some(&0x30) {
        return Err(unusable("it is a PFX, not PEM").hint(format!(
            "convert it: openssl pkcs12 -nodes -in {file} -out client.pem"
        )));
    }
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(unusable("its key is encrypted").hint(format!(
            "convert it: (openssl pkey -in {file}; openssl x509 -in {file}) > client.pem"
        )));
    }
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect();
    let leaf = certificates
        .first()
        .ok_or_else(|| unusable("it has no certificate"))?;
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        Ok(_) => return Err(unusable("its key is not an RSA key, which Entra requires")),
        Err(_) => return Err(unusable("it has no private key")),
    };
    let key = key.map_err(|_| unusable("the key must be an RSA key of at least 2048 bits"))?;

    let mut header = json!({
        "alg": "PS256",
        "typ": "JWT",
        "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf)),
    });
    if send_chain {
        let encoded = certificates.iter().map(|der| BASE64_STANDARD.encode(der));
        header["x5c"] = encoded.collect();
    }
    let now = date::unix_now();
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": random_uuid(),
        "nbf": now - SKEW,
        "exp": now + LIFETIME,
    });
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| unusable("its key cannot sign"))?;
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Ok(Secret::new(format!("{signed}.{signature}")))
}
