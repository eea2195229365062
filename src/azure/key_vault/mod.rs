//! `KeyVault`: reading secrets.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>. Where the cloud is known, the token is
//! there before the first request. A host that no cloud knows is asked once, without a token, what it wants.

pub mod challenge;
mod error;

use std::cell::RefCell;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::azure::identity::AccessToken;
use crate::error::Error;
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Service, Timeouts, request_id};
use crate::log::{self, Event};
use crate::request::host::Host;
use crate::request::secret_id::SecretId;
use crate::secret::Secret;
use crate::signals::Wait;
use challenge::Challenge;

/// Stable, and known to every cloud's vaults. Reading a secret is the same in all later ones.
const API_VERSION: &str = "7.4";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// What a vault that no cloud knows wants a token for, and from which tenant.
#[derive(Clone, Debug)]
pub struct ChallengeInfo {
    /// Verified: a parent domain of the vault's host.
    pub resource: String,
    /// As the challenge names it.
    pub tenant: Option<String>,
}

/// A secret as the vault has it.
pub struct SecretBundle {
    /// Its value.
    pub value: Secret,
    /// The secret version that was read.
    pub version: Option<String>,
    /// What it says to be.
    pub content_type: Option<String>,
    /// Unix seconds; before, it is not valid.
    pub not_before: Option<i64>,
    /// Unix seconds; from then on, it is not valid.
    pub expires: Option<i64>,
}

/// Why a secret was not read.
pub enum NotRead {
    /// For good.
    Failed(Error),
    /// The vault names a tenant of its own: worth one more read, with a token from there.
    Tenant(String, Error),
}

/// One vault.
pub struct KeyVault {
    host: Host,
    service: Service,
    /// The api-version that the service named when it did not know ours.
    older: OnceLock<String>,
    asked: Mutex<Option<ChallengeInfo>>,
}

impl KeyVault {
    /// The vault at a host that an access token may go to.
    pub fn new(http: &Http, host: &Host) -> KeyVault {
        KeyVault {
            host: host.clone(),
            service: http.internet(host),
            older: OnceLock::new(),
            asked: Mutex::new(None),
        }
    }

    /// The way to it.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What it means for this vault that there is no way to it.
    pub fn failure_of(&self, error: AttemptError) -> Error {
        error.hint_for(|kind| self.unreachable(kind)).into()
    }

    /// Opens one connection ahead of the first request.
    pub fn open_early(&self) {
        let doing = format!("connecting to {}", self.host);
        let _wait = Wait::begin_aside(&doing, self.unreachable(ErrorKind::ConnectTimeout));
        self.service.open_early(TIMEOUTS);
    }

    /// Asks the vault what it wants a token for: one request, however many readers there are.
    pub fn ask(
        &self,
        http: &Http,
        secret: &SecretId,
        purpose: &str,
    ) -> Result<ChallengeInfo, Error> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = &*asked {
            return Ok(asked.clone());
        }
        let doing = format!(
            "asking {} for {purpose} what it wants a token for",
            self.host
        );
        let id = request_id();
        let headers = [("x-ms-client-request-id", id.as_str())];
        let wait = Wait::begin(&doing, self.unreachable(ErrorKind::ConnectTimeout));
        let found = retry(&http.deadline, wait, || {
            let response = self.get(http, secret, &headers)?;
            let found = match (
                response.status.as_u16(),
                response.header("www-authenticate"),
            ) {
                (401, Some(header)) => self.verify(header),
                (401, None) => Err(AttemptError::new(
                    ErrorKind::UnexpectedResponse,
                    "401 without a challenge",
                )),
                _ => Err(self.refusal(http, &response, &Secret::new(String::new()), &id)),
            };
            found.map_err(|error| error.hint_for(|kind| self.unreachable(kind)))
        })
        .map_err(|error| {
            error
                .context(doing)
                .fact("vault", self.host.to_string())
                .fact("for", purpose)
        })?;
        log::debug(|| {
            Event::new(format!(
                "{} wants a token for {}",
                self.host, found.resource
            ))
            .fact("vault", self.host.to_string())
            .fact("resource", found.resource.as_str())
        });
        Ok(asked.insert(found).clone())
    }

    /// Reads one secret. `purpose` is what it is for, for messages.
    pub fn read(
        &self,
        http: &Http,
        secret: &SecretId,
        token: &AccessToken,
        purpose: &str,
    ) -> Result<SecretBundle, NotRead> {
        let shown = format!("secret `{}`", secret.shown());
        let id = request_id();
        let bearer = Secret::new(format!("Bearer {}", token.token.expose()));
        let headers = [
            ("Authorization", bearer.expose()),
            ("x-ms-client-request-id", id.as_str()),
        ];
        let doing = format!("reading {shown} from {} for {purpose}", self.host);
        let (tenant, name) = (RefCell::new(None), RefCell::new(None));
        let wait = Wait::begin(&doing, self.unreachable(ErrorKind::ConnectTimeout));
        let read = retry(&http.deadline, wait, || {
            name.take();
            let response = self.get(http, secret, &headers)?;
            if response.status.as_u16() == 200 {
                return read_bundle(&response)
                    .map_err(|error| error.hint_for(|kind| self.unreachable(kind)));
            }
            name.replace(error::name_of(&response, &token.token));
            let error = self.refusal(http, &response, &token.token, &id);
            if response.status.as_u16() == 401 && error.kind == ErrorKind::AccessRefused {
                let challenge = response
                    .header("www-authenticate")
                    .and_then(Challenge::parse);
                tenant.replace(challenge.and_then(|challenge| challenge.tenant));
            }
            Err(error)
        });
        read.map_err(|error| {
            let mut error = error
                .context(doing)
                .fact("secret", secret.shown())
                .fact("vault", self.host.to_string())
                .fact("for", purpose);
            if let Some(name) = name.take() {
                error = error.fact("refusal", name);
            }
            match tenant.take() {
                Some(tenant) => NotRead::Tenant(tenant, error),
                None => NotRead::Failed(error),
            }
        })
    }

    /// One try, and a second one where the service does not know our api-version and names one that it does.
    fn get(
        &self,
        http: &Http,
        secret: &SecretId,
        headers: &[(&str, &str)],
    ) -> Result<Response, AttemptError> {
        let send = |version: &str| {
            let target = format!("/secrets/{}?api-version={version}", secret.shown());
            let request = Request {
                target: &target,
                headers,
                form: None,
                timeouts: TIMEOUTS,
            };
            self.service
                .send(&request, &http.deadline)
                .map_err(|error| error.hint_for(|kind| self.unreachable(kind)))
        };
        if let Some(older) = self.older.get() {
            return send(older);
        }
        let response = send(API_VERSION)?;
        match supported_version(&response) {
            Some(older) => send(self.older.get_or_init(|| older)),
            None => Ok(response),
        }
    }

    fn verify(&self, header: &str) -> Result<ChallengeInfo, AttemptError> {
        let Some(challenge) = Challenge::parse(header) else {
            return Err(AttemptError::new(
                ErrorKind::UnexpectedResponse,
                "401 with a challenge that is not Bearer",
            ));
        };
        match challenge.resource_for(&self.host) {
            Some(resource) => Ok(ChallengeInfo {
                resource: resource.to_owned(),
                tenant: challenge.tenant.clone(),
            }),
            None => {
                let claimed = log::excerpt(challenge.resource.as_deref().unwrap_or("nothing"), &[]);
                Err(AttemptError::new(
                    ErrorKind::UnexpectedResponse,
                    format!("it wants a token for `{claimed}`, which is not a parent domain of its own"),
                )
                .hint(format!(
                    "if this host is meant, say what its token is for: --allow-vault {} --vault-resource URL",
                    self.host
                )))
            }
        }
    }
}

/// The api-version that a service names when it does not know ours: "The specified version (7.4) is not recognized.
/// Consider using the latest supported version (7.1)."
fn supported_version(response: &Response) -> Option<String> {
    if response.status.as_u16() != 400 {
        return None;
    }
    let body = response.json()?;
    let message = body["error"]["message"].as_str()?;
    let (_, rest) = message.split_once("latest supported version (")?;
    let (version, _) = rest.split_once(')')?;
    let usable = !version.is_empty()
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    (usable && version != API_VERSION).then(|| version.to_owned())
}

/// Reads a secret bundle. Nothing of the body is ever part of an error.
fn read_bundle(response: &Response) -> Result<SecretBundle, AttemptError> {
    let foreign = |why: &str| {
        AttemptError::new(
            ErrorKind::UnexpectedResponse,
            format!("{}: {why}", response.status_text()),
        )
    };
    let mut bundle = response
        .json()
        .ok_or_else(|| foreign("the answer is not JSON"))?;
    let Some(id) = bundle["id"].as_str() else {
        return Err(foreign("the answer has no `id`"));
    };
    // https://HOST/secrets/NAME/VERSION
    let version = id.rsplit('/').next().filter(|_| id.split('/').count() == 6);
    let (version, attributes) = (version.map(str::to_owned), &bundle["attributes"]);
    let (not_before, expires) = (attributes["nbf"].as_i64(), attributes["exp"].as_i64());
    let content_type = bundle["contentType"].as_str().map(str::to_owned);
    match bundle.get_mut("value").map(Value::take) {
        Some(Value::String(value)) => Ok(SecretBundle {
            value: Secret::new(value),
            version,
            content_type,
            not_before,
            expires,
        }),
        _ => Err(foreign("the answer has no `value`")),
    }
}
