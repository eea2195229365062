//! What proves to Entra that a request is from an application or from a workload identity.
//!
//! A credential is read for each attempt, since its file can be replaced between two attempts. A relative path is a file
//! in `$CREDENTIALS_DIRECTORY`, if it exists there (<https://systemd.io/CREDENTIALS/>).

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assertion;
use super::client_certificate::{ClientCertificate, PASSWORD_VARIABLE};
use super::token::jwt_payload;
use crate::error::{Error, RequestFailure};
use crate::input;
use crate::log;
use crate::request::environment::Environment;
use crate::secret::Secret;

/// The variable that holds the path of the file with the service account token.
pub const TOKEN_FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The variable that holds a service principal's secret.
pub const SECRET_VARIABLE: &str = "AZURE_CLIENT_SECRET";
/// The variable that holds the path of a file with a service principal's secret.
pub const SECRET_FILE_VARIABLE: &str = "AZURE_CLIENT_SECRET_FILE";
/// The variable that holds the path of a file with a service principal's certificate and private key, PEM or a PFX.
pub const CERTIFICATE_VARIABLE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// What an application authenticates with at Entra, or the file that holds it.
pub enum Credential {
    /// A service principal's certificate.
    Certificate {
        path: PathBuf,
        /// The password of a PFX; empty if there is none.
        password: Secret,
        /// Whether the assertion includes the certificates of the issuers. Entra needs them if the application is
        /// registered with a subject name and issuer instead of a certificate.
        send_chain: bool,
    },
    /// A service principal's secret.
    Secret(Secret),
    /// A file with a service principal's secret.
    SecretFile(PathBuf),
    /// A file with a pod's service account token.
    TokenFile(PathBuf),
}

impl Credential {
    /// The credential of workload identity; `None` if the environment does not have the path of its token.
    pub fn workload_identity(env: &Environment) -> Result<Option<Credential>, Error> {
        let path = env.setting(TOKEN_FILE_VARIABLE)?;
        Ok(path.map(|path| Credential::TokenFile(PathBuf::from(path))))
    }

    /// The first credential of a service principal that is in the environment; `None` if there is none.
    pub fn service_principal(env: &Environment) -> Result<Option<Credential>, Error> {
        if let Some(secret) = env.secret_setting(SECRET_VARIABLE)? {
            let secret = Secret::new(secret.to_owned());
            return Ok(Some(Credential::Secret(secret)));
        }
        if let Some(path) = env.setting(SECRET_FILE_VARIABLE)? {
            return Ok(Some(Credential::SecretFile(credential_path(env, path))));
        }
        let Some(path) = env.setting(CERTIFICATE_VARIABLE)? else {
            return Ok(None);
        };
        let path = credential_path(env, path);
        let send_chain = env
            .setting("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")?
            .is_some_and(|send| send == "1" || send.eq_ignore_ascii_case("true"));
        let password = env.setting(PASSWORD_VARIABLE)?.unwrap_or_default();
        Ok(Some(Credential::Certificate {
            path,
            password: Secret::new(password.to_owned()),
            send_chain,
        }))
    }

    /// The credential's name for messages, which the client id follows.
    pub fn describe(&self) -> &'static str {
        match self {
            Credential::Certificate { .. } => "service principal with a certificate,",
            Credential::Secret(_) | Credential::SecretFile(_) => "service principal with a secret,",
            Credential::TokenFile(_) => "workload identity with",
        }
    }

    /// The thumbprint of the certificate, as in ` 0A…`; empty if there is none.
    pub fn thumbprint(&self) -> String {
        let Credential::Certificate { path, password, .. } = self else {
            return String::new();
        };
        let content = input::read(path, input::MAX_SIZE).unwrap_or_default();
        let certificate =
            ClientCertificate::parse(&content, password.expose(), path, |why| Error::config(why));
        let thumbprint = certificate.ok().and_then(|it| it.thumbprint());
        thumbprint.map_or_else(String::new, |hex| format!(" {hex}"))
    }

    /// The percent-encoded start of the form body for this credential: everything before `=` and
    /// [`Credential::form_value`].
    pub fn form_prefix(&self) -> &'static str {
        match self {
            Credential::Secret(_) | Credential::SecretFile(_) => "client_secret",
            Credential::Certificate { .. } | Credential::TokenFile(_) => {
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion"
            }
        }
    }

    /// The secret or assertion that one token request sends. `audience` is the URL of the token endpoint.
    pub fn form_value(&self, client_id: &str, audience: &str) -> Result<Secret, Error> {
        let (variable, path) = match self {
            Credential::Secret(secret) => return Ok(Secret::new(secret.expose().to_owned())),
            Credential::SecretFile(path) => (SECRET_FILE_VARIABLE, path),
            Credential::Certificate { path, .. } => (CERTIFICATE_VARIABLE, path),
            Credential::TokenFile(path) => (TOKEN_FILE_VARIABLE, path),
        };
        let bytes = input::read(path, input::MAX_SIZE);
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
        let file_error = |why: &str| {
            let reason = match path.is_absolute() || path.exists() {
                true => format!("{variable}: `{}`: {why}", path.display()),
                false => format!(
                    "{variable}: {why}; the path is not absolute, so it is not shown: it may be a secret"
                ),
            };
            let error = RequestFailure::InvalidSettings.error(reason);
            match self {
                Credential::TokenFile(_) => error.hint(hint),
                _ => error,
            }
        };
        let bytes = bytes.map_err(|error| file_error(&error.to_string()))?;
        if let Credential::Certificate {
            password,
            send_chain,
            ..
        } = self
        {
            let certificate =
                ClientCertificate::parse(&bytes, password.expose(), path, file_error)?;
            let assertion =
                assertion::signed_assertion(&certificate, client_id, audience, *send_chain);
            return assertion.ok_or_else(|| file_error("its key cannot sign"));
        }
        let text = String::from_utf8(bytes).map_err(|_| file_error("it is not UTF-8"))?;
        match text.trim() {
            "" => Err(file_error("it is empty")),
            text => Ok(Secret::new(text.to_owned())),
        }
    }
}

/// The path of the file in `$CREDENTIALS_DIRECTORY` if the file is there; otherwise `path` itself.
fn credential_path(env: &Environment, path: &str) -> PathBuf {
    let directory = env.get("CREDENTIALS_DIRECTORY");
    directory
        .filter(|_| Path::new(path).is_relative())
        .map(|directory| Path::new(directory).join(path))
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(path))
}

/// The claims of an assertion that Entra compares with a federated credential, as text for a message. None of them is
/// secret.
pub fn federated_claims(assertion: &Secret) -> String {
    let Some(claims) = jwt_payload(assertion) else {
        return "no claims, since it is not a JWT".to_owned();
    };
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
    format!("issuer {issuer}, subject {subject}, audience {audience}")
}
