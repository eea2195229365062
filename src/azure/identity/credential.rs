//! What proves to Entra that a request is from an application or from a workload identity.
//!
//! A credential is read for each attempt, since its file can be replaced between two attempts. A relative path is a file
//! in `$CREDENTIALS_DIRECTORY`, if it exists there (<https://systemd.io/CREDENTIALS/>).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assertion;
use super::token::jwt_payload;
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::log;
use crate::request::environment::Environment;
use crate::secret::Secret;

/// The path of the service account token.
pub const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// A service principal's secret.
pub const SECRET: &str = "AZURE_CLIENT_SECRET";
/// The path of a file with the secret.
pub const SECRET_FILE: &str = "AZURE_CLIENT_SECRET_FILE";
/// The path of a PEM file with a certificate and its key.
pub const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// A credential and where it is read.
pub enum Credential {
    /// A service principal's certificate.
    Certificate {
        path: PathBuf,
        /// For applications that trust an issuer and a subject name.
        send_chain: bool,
    },
    /// A service principal's secret.
    Secret(Secret),
    /// A file with that secret.
    SecretFile(PathBuf),
    /// A file with the service account token of a pod.
    TokenFile(PathBuf),
}

impl Credential {
    /// The service account token, if the environment has its path.
    pub fn workload_identity(env: &Environment) -> Option<Credential> {
        let path = env.get(TOKEN_FILE).filter(|path| !path.is_empty())?;
        Some(Credential::TokenFile(PathBuf::from(path)))
    }

    /// The first credential of a service principal that the environment has.
    pub fn service_principal(env: &Environment) -> Result<Option<Credential>, Error> {
        if let Some(secret) = env.setting(SECRET)? {
            let secret = Secret::new(secret.to_owned());
            return Ok(Some(Credential::Secret(secret)));
        }
        if let Some(path) = env.setting(SECRET_FILE)? {
            return Ok(Some(Credential::SecretFile(credential_path(env, path))));
        }
        let Some(path) = env.setting(CERTIFICATE)? else {
            return Ok(None);
        };
        let path = credential_path(env, path);
        let send_chain = env
            .setting("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")?
            .is_some_and(|send| send == "1" || send.eq_ignore_ascii_case("true"));
        Ok(Some(Credential::Certificate { path, send_chain }))
    }

    /// For messages, with the client id behind it.
    pub fn describe(&self) -> &'static str {
        match self {
            Credential::Certificate { .. } => "service principal with a certificate,",
            Credential::Secret(_) | Credential::SecretFile(_) => "service principal with a secret,",
            Credential::TokenFile(_) => "workload identity with",
        }
    }

    /// The form's parameter for it, percent-encoded.
    pub fn parameter(&self) -> &'static str {
        match self {
            Credential::Secret(_) | Credential::SecretFile(_) => "client_secret",
            Credential::Certificate { .. } | Credential::TokenFile(_) => {
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion"
            }
        }
    }

    /// Its value for one request. `audience` is the URL of the token endpoint.
    pub fn read(&self, client_id: &str, audience: &str) -> Result<Secret, Error> {
        let (setting, path) = match self {
            Credential::Secret(secret) => return Ok(Secret::new(secret.expose().to_owned())),
            Credential::SecretFile(path) => (SECRET_FILE, path),
            Credential::Certificate { path, .. } => (CERTIFICATE, path),
            Credential::TokenFile(path) => (TOKEN_FILE, path),
        };
        let bytes = fs::read(path);
        let hint = match bytes.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::NotFound) => {
                "label the pod azure.workload.identity/use: \"true\"; does its annotation \
                 azure.workload.identity/skip-containers name this container?"
            }
            Err(io::ErrorKind::PermissionDenied) => {
                "check fsGroup and runAsUser: this user must be able to read the projected token"
            }
            _ => {
                "mount the projected token there; the kubelet writes it before the container starts"
            }
        };
        let unusable = |why: &str| {
            let reason = format!("{setting}: `{}`: {why}", path.display());
            let error = RequestFailure::InvalidSettings.error(reason);
            match self {
                Credential::TokenFile(_) => error.hint(hint),
                _ => error,
            }
        };
        let bytes = bytes.map_err(|error| unusable(&error.to_string()))?;
        if let Credential::Certificate { send_chain, .. } = self {
            return assertion::sign(&bytes, path, client_id, audience, *send_chain, unusable);
        }
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8"))?;
        match text.trim() {
            "" => Err(unusable("it is empty")),
            text => Ok(Secret::new(text.to_owned())),
        }
    }

    /// The hint where Entra rejects what was sent.
    pub fn hint(&self, kind: RequestFailure, client_id: &str, sent: &Secret) -> Option<String> {
        let now = date::format(date::unix_now());
        let hint = match (kind, self) {
            (RequestFailure::FederationMismatch, Credential::TokenFile(_)) => format!(
                "compare the federated credential of client id {client_id} with the token in the file, which has {}",
                federated_claims(sent).unwrap_or("no claims, since it is not a JWT".to_owned())
            ),
            (RequestFailure::AssertionExpired, Credential::TokenFile(_)) => format!(
                "is the token file out of date, or a clock wrong? This machine's clock is set to {now}"
            ),
            (RequestFailure::AssertionExpired, _) => {
                format!("is this machine's clock right? It is set to {now}")
            }
            (RequestFailure::CredentialRefused, Credential::Certificate { .. }) => {
                "is the certificate registered for the application, and still valid?".to_owned()
            }
            (RequestFailure::CredentialRefused, Credential::Secret(_) | Credential::SecretFile(_)) => {
                "is it the value of the client secret (not its id), and still valid? See `az ad app credential list`".to_owned()
            }
            _ => return None,
        };
        Some(hint)
    }
}

fn credential_path(env: &Environment, path: &str) -> PathBuf {
    let directory = env.get("CREDENTIALS_DIRECTORY");
    directory
        .filter(|_| Path::new(path).is_relative())
        .map(|directory| Path::new(directory).join(path))
        .filter(|credential| credential.exists())
        .unwrap_or_else(|| PathBuf::from(path))
}

/// The claims that a federated credential is compared with, none of them secret; none if it is not a JWT.
fn federated_claims(assertion: &Secret) -> Option<String> {
    let claims = jwt_payload(assertion)?;
    let claim = |name: &str| match &claims[name] {
        Value::String(text) => log::excerpt(text, &[]),
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            let texts: Vec<String> = texts.map(|text| log::excerpt(text, &[])).collect();
            texts.join(" ")
        }
        _ => "(missing)".to_owned(),
    };
    let (issuer, subject, audience) = (claim("iss"), claim("sub"), claim("aud"));
    Some(format!(
        "issuer {issuer}, subject {subject}, audience {audience}"
    ))
}
