//! The assertion that a service principal signs with its certificate's key
//! (<https://learn.microsoft.com/entra/identity-platform/certificate-credentials>).

use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::date;
use crate::error::Error;
use crate::http::random_uuid;
use crate::secret::Secret;

/// How long an assertion is valid. Entra's documentation recommends five to ten minutes.
const LIFETIME_SECONDS: i64 = 600;
/// How many seconds Entra's clock may be behind this machine's.
const CLOCK_SKEW_SECONDS: i64 = 120;

/// Makes a JWT that identifies the client by its certificate, signed with PS256.
///
/// `pem` is the content of the file at `path`: the private key, the certificate, and, if `send_chain` is set, the
/// certificates of its issuers. `audience` is the URL of the token endpoint. `file_error` makes an error about the
/// file.
pub fn signed_assertion(
    pem: &[u8],
    path: &Path,
    client_id: &str,
    audience: &str,
    send_chain: bool,
    file_error: impl Fn(&str) -> Error,
) -> Result<Secret, Error> {
    let file = path.display();
    // A PFX starts with the tag of a DER sequence.
    if pem.first() == Some(&0x30) {
        return Err(file_error("it is a PFX, not PEM").hint(format!(
            "convert it: openssl pkcs12 -nodes -in {file} -out client.pem"
        )));
    }
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(file_error("its key is encrypted").hint(format!(
            "convert it: (openssl pkey -in {file}; openssl x509 -in {file}) > client.pem"
        )));
    }
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect();
    let leaf = certificates
        .first()
        .ok_or_else(|| file_error("it has no certificate"))?;
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        Ok(_) => {
            return Err(file_error(
                "its key is not an RSA key, which Entra requires",
            ));
        }
        Err(_) => return Err(file_error("it has no private key")),
    };
    let key = key.map_err(|_| file_error("the key must be an RSA key of at least 2048 bits"))?;

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
        "nbf": now - CLOCK_SKEW_SECONDS,
        "exp": now + LIFETIME_SECONDS,
    });
    let encode_part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signing_input = format!("{}.{}", encode_part(&header), encode_part(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        signing_input.as_bytes(),
        &mut signature,
    )
    .map_err(|_| file_error("its key cannot sign"))?;
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Ok(Secret::new(format!("{signing_input}.{signature}")))
}

/// The SHA-1 of the first certificate in a PEM text, by which Entra's portal and `az` list certificates, in hexadecimal;
/// `None` if there is no certificate.
pub fn thumbprint(pem: &[u8]) -> Option<String> {
    let certificate = CertificateDer::pem_slice_iter(pem).find_map(Result::ok)?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    Some(
        hash.as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect(),
    )
}
