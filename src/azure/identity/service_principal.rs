//! A service principal with a secret or a certificate of its own.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>. The credential is read when a token is
//! asked for: from the variable, from a file, or from systemd's credentials
//! (<https://systemd.io/CREDENTIALS/>), where a relative name means a file in `$CREDENTIALS_DIRECTORY`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::entra::{Client, Credential, Entra};
use super::{AccessToken, TokenRequest};
use crate::date;
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::ErrorKind;
use crate::http::{Http, request_id};
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::options::Settings;
use crate::secret::Secret;

const SECRET: &str = "AZURE_CLIENT_SECRET";
const SECRET_FILE: &str = "AZURE_CLIENT_SECRET_FILE";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
/// So long an assertion of ours is good; the documentation asks for five to ten minutes.
const LIFETIME: i64 = 600;
/// So far back it starts, for clocks that are not the same.
const SKEW: i64 = 120;

/// The source.
#[derive(Debug)]
pub struct Principal {
    entra: Entra,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Secret(Secret),
    SecretFile(PathBuf),
    Certificate { path: PathBuf, send_chain: bool },
}

impl Principal {
    /// Whether the environment names a credential of this kind.
    pub fn is_named(env: &Environment) -> Result<bool, Error> {
        Ok(env.setting(SECRET)?.is_some()
            || env.setting(SECRET_FILE)?.is_some()
            || env.setting(CERTIFICATE)?.is_some())
    }

    /// Reads its settings; half of them is an error that names the other half.
    pub fn build(env: &Environment, settings: &Settings) -> Result<Principal, Error> {
        let proof = if let Some(secret) = env.setting(SECRET)? {
            Some(Proof::Secret(Secret::new(secret.to_owned())))
        } else if let Some(path) = env.setting(SECRET_FILE)? {
            Some(Proof::SecretFile(credential_path(env, path)))
        } else if let Some(path) = env.setting(CERTIFICATE)? {
            let send = env.setting("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")?;
            Some(Proof::Certificate {
                path: credential_path(env, path),
                send_chain: send
                    .is_some_and(|send| send == "1" || send.eq_ignore_ascii_case("true")),
            })
        } else {
            None
        };
        let client = Client::of(env, settings, "a service principal")?;
        let credential =
            "AZURE_CLIENT_SECRET (or AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH)";
        match (client.complete(&[(proof.is_some(), credential)]), proof) {
            (Ok(entra), Some(proof)) => Ok(Principal { entra, proof }),
            (Err(missing), _) => Err(Error::new(
                Cause::Config,
                format!("the service principal is not complete: {missing}"),
            )),
            (Ok(_), None) => unreachable!("a missing credential was named above"),
        }
    }

    pub(super) fn tenant(&self) -> &str {
        &self.entra.tenant
    }

    pub(super) fn authority(&self) -> &Host {
        &self.entra.authority
    }

    pub(super) fn describe(&self) -> String {
        let with = match &self.proof {
            Proof::Secret(_) | Proof::SecretFile(_) => "a secret",
            Proof::Certificate { .. } => "a certificate",
        };
        format!(
            "Entra (https://{}, service principal with {with}, {})",
            self.entra.authority,
            self.entra.describe()
        )
    }

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let doing = format!("getting an access token from {}", self.describe());
        let hint = |kind, _: &Credential| {
            match (kind, &self.proof) {
            (ErrorKind::CredentialRefused, Proof::Certificate { .. }) => {
                Some("is this certificate one of the application's, and not expired?".to_owned())
            }
            (ErrorKind::CredentialRefused, _) => Some(
                "is this the client secret's value, not its id, and not expired? az ad app credential list shows both"
                    .to_owned(),
            ),
            (ErrorKind::AssertionExpired, _) => Some(format!(
                "is this machine's clock right? It says {}",
                date::format(date::now())
            )),
            _ => None,
        }
        };
        self.entra.token(
            http,
            token_request,
            &doing,
            || self.credential(token_request),
            hint,
        )
    }

    fn credential(&self, token_request: &TokenRequest<'_>) -> Result<Credential, AttemptError> {
        match &self.proof {
            Proof::Secret(secret) => Ok(Credential::ClientSecret(Secret::new(
                secret.expose().to_owned(),
            ))),
            Proof::SecretFile(path) => {
                let text = read(SECRET_FILE, path)?;
                let text = String::from_utf8(text)
                    .map_err(|_| unusable(SECRET_FILE, path, "it is not UTF-8"))?;
                match text.trim_end_matches(['\r', '\n']) {
                    "" => Err(unusable(SECRET_FILE, path, "it is empty")),
                    secret => Ok(Credential::ClientSecret(Secret::new(secret.to_owned()))),
                }
            }
            Proof::Certificate { path, send_chain } => {
                let audience = format!(
                    "https://{}{}",
                    self.entra.authority,
                    self.entra.path(token_request)
                );
                let pem = read(CERTIFICATE, path)?;
                let jwt = sign(&pem, path, &self.entra.client_id, &audience, *send_chain)?;
                Ok(Credential::Assertion(jwt))
            }
        }
    }
}

/// A relative name means systemd's credentials where there are any.
fn credential_path(env: &Environment, path: &str) -> PathBuf {
    match env.get("CREDENTIALS_DIRECTORY") {
        Some(directory) if Path::new(path).is_relative() => {
            let credential = Path::new(directory).join(path);
            if credential.exists() {
                credential
            } else {
                PathBuf::from(path)
            }
        }
        _ => PathBuf::from(path),
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, AttemptError> {
    fs::read(path).map_err(|error| unusable(setting, path, &error.to_string()))
}

fn unusable(setting: &str, path: &Path, why: &str) -> AttemptError {
    AttemptError::new(
        ErrorKind::InvalidSettings,
        format!("{setting}: `{}`: {why}", path.display()),
    )
}

/// A JWT that says "I am this client", signed with the certificate's key: PS256, and the certificate by its SHA-256.
fn sign(
    pem: &[u8],
    path: &Path,
    client_id: &str,
    audience: &str,
    send_chain: bool,
) -> Result<Secret, AttemptError> {
    let refuse = |why: &str| unusable(CERTIFICATE, path, why);
    let file = path.display();
    // DER's SEQUENCE: what a PFX starts with, and no PEM does.
    if pem.first() == Some(&0x30) {
        return Err(refuse("this is a PFX, not PEM").hint(format!(
            "convert it: openssl pkcs12 -nodes -in {file} -out client.pem"
        )));
    }
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(refuse("its key is encrypted").hint(format!(
            "convert it: (openssl pkey -in {file}; openssl x509 -in {file}) > client.pem"
        )));
    }
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect();
    let Some(leaf) = certificates.first() else {
        return Err(refuse("there is no certificate in it"));
    };
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        Ok(_) => return Err(refuse("its key is not an RSA key, which Entra asks for")),
        Err(_) => return Err(refuse("there is no private key in it")),
    };
    let key = key.map_err(|_| refuse("its key is not an RSA key of 2048 bits or more"))?;

    let mut header = json!({
        "alg": "PS256",
        "typ": "JWT",
        "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf)),
    });
    if send_chain {
        header["x5c"] = certificates
            .iter()
            .map(|der| BASE64_STANDARD.encode(der))
            .collect();
    }
    let now = date::now();
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": request_id(),
        "nbf": now - SKEW,
        "exp": now + LIFETIME,
    });
    let part = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| refuse("its key cannot sign"))?;
    Ok(Secret::new(format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    )))
}
