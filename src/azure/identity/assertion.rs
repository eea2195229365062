//! The assertion that a service principal signs with its certificate's key
//! (<https://learn.microsoft.com/entra/identity-platform/certificate-credentials>).

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::RSA_PSS_SHA256;
use serde_json::{Value, json};

use super::client_certificate::ClientCertificate;
use crate::date;
use crate::http::random_uuid;
use crate::secret::Secret;

/// How long an assertion is valid. Entra's documentation recommends five to ten minutes.
const LIFETIME_SECONDS: i64 = 600;
/// How many seconds Entra's clock may be behind this machine's.
const CLOCK_SKEW_SECONDS: i64 = 120;

/// Makes a JWT that identifies the client by its certificate, signed with PS256; `None` if the key cannot sign.
///
/// `audience` is the URL of the token endpoint. If `send_chain` is set, the JWT contains the certificate and those of
/// its issuers.
pub fn signed_assertion(
    certificate: &ClientCertificate,
    client_id: &str,
    audience: &str,
    send_chain: bool,
) -> Option<Secret> {
    let ClientCertificate { chain, key } = certificate;
    let mut header = json!({
        "alg": "PS256",
        "typ": "JWT",
        "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, chain.first()?)),
    });
    if send_chain {
        let encoded = chain.iter().map(|der| BASE64_STANDARD.encode(der));
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
    .ok()?;
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Some(Secret::new(format!("{signing_input}.{signature}")))
}
