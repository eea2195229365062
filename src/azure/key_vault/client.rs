//! The client of one vault.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>. Where the cloud is known, there is a
//! token before the first request. A host of no known cloud gets one request without a token, for its challenge.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::challenge;
use super::error::{Refusal, unreachable_hint};
use crate::azure::identity::{AccessToken, TokenRequest};
use crate::error::Error;
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Service, Timeouts, request_id};
use crate::log::{self, Event};
use crate::request::host::Host;
use crate::request::secret_id::SecretId;
use crate::secret::Secret;
use crate::signals::Wait;

/// Stable, and known to the vaults of every cloud. Reading a secret is the same in all later ones.
const API_VERSION: &str = "7.4";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// A secret as the vault returns it.
pub struct SecretBundle {
    /// Its value.
    pub value: Secret,
    /// The secret version that was read.
    pub version: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Unix seconds; before, it is not valid.
    pub not_before: Option<i64>,
    /// Unix seconds; from then on, it is not valid.
    pub expires: Option<i64>,
}

/// One vault.
pub struct KeyVault {
    host: Host,
    service: Service,
    /// The api-version that the service named when it did not know ours.
    older_version: OnceLock<String>,
    /// What its challenge requires.
    challenge: Mutex<Option<TokenRequest>>,
}

impl KeyVault {
    /// The vault at a host that an access token may go to.
    pub fn new(http: &Http, host: &Host) -> KeyVault {
        KeyVault {
            host: host.clone(),
            service: http.internet(host),
            older_version: OnceLock::new(),
            challenge: Mutex::new(None),
        }
    }

    /// Its origin and connections.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// An error of a connection to it, with this vault's hint.
    pub fn failure_of(&self, error: AttemptError) -> Error {
        self.with_hint(error).into()
    }

    fn with_hint(&self, error: AttemptError) -> AttemptError {
        error.hint_for(|kind| unreachable_hint(&self.host, kind))
    }

    /// Opens one connection ahead of the first request.
    pub fn open_early(&self) {
        let doing = format!("connecting to {}", self.host);
        let hint = unreachable_hint(&self.host, ErrorKind::ConnectTimeout);
        let _wait = Wait::begin_early(&doing, hint);
        self.service.open_early(TIMEOUTS);
    }

    /// The vault's challenge: one request, shared by all threads. `purpose` is what the secret is for, for messages.
    pub fn challenge(
        &self,
        http: &Http,
        secret: &SecretId,
        purpose: &str,
    ) -> Result<TokenRequest, Error> {
        let mut known = self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(challenge) = &*known {
            return Ok(challenge.clone());
        }
        let doing = format!(
            "requesting the authentication challenge of {} for {purpose}",
            self.host
        );
        let id = request_id();
        let headers = [("x-ms-client-request-id", id.as_str())];
        let challenge = self.retry(http, &doing, purpose, || {
            let refusal = match self.get(http, secret, &headers, &[])? {
                // A vault does not answer this without a token.
                Ok(response) => Refusal::read(response, &[]),
                Err(refusal) => refusal,
            };
            match (refusal.status(), refusal.header("www-authenticate")) {
                (401, Some(header)) => self.verify(header),
                (401, None) => {
                    Err(self.unexpected_response("401 Unauthorized without a challenge"))
                }
                _ => Err(refusal.into_error(&self.host, http, &id)),
            }
        })?;
        log::debug(|| {
            let (host, resource) = (self.host.to_string(), challenge.resource.as_str());
            Event::new(format!("{host} requires a token for {resource}"))
                .fact("vault", host)
                .fact("resource", resource)
        });
        Ok(known.insert(challenge).clone())
    }

    fn verify(&self, header: &str) -> Result<TokenRequest, AttemptError> {
        let Some(challenge) = challenge::parse(header) else {
            return Err(
                self.unexpected_response("401 Unauthorized with a challenge that is not Bearer")
            );
        };
        if challenge::is_parent(&challenge.resource, &self.host) {
            return Ok(challenge);
        }
        let resource = log::excerpt(&challenge.resource, &[]);
        let reason = match resource.as_str() {
            "" => "the challenge names no resource".to_owned(),
            resource => format!(
                "the challenge requires a token for `{resource}`, which is not a parent domain of the host"
            ),
        };
        Err(self.unexpected_response(&reason).hint(format!(
            "if you trust this host, set the resource that its tokens are for: --allow-vault {} --vault-resource URL",
            self.host
        )))
    }

    /// Reads one secret. `purpose` is what it is for, for messages. The error has the fact `tenant` where the vault
    /// refuses the token and requires one of that tenant.
    pub fn read(
        &self,
        http: &Http,
        secret: &SecretId,
        token: &AccessToken,
        purpose: &str,
    ) -> Result<SecretBundle, Error> {
        let shown = secret.shown();
        let doing = format!("reading secret `{shown}` from {} for {purpose}", self.host);
        let id = request_id();
        let bearer = Secret::new(format!("Bearer {}", token.token.expose()));
        let headers = [
            ("Authorization", bearer.expose()),
            ("x-ms-client-request-id", id.as_str()),
        ];
        self.retry(http, &doing, purpose, || {
            match self.get(http, secret, &headers, &[token.token.expose()])? {
                Ok(response) => self.bundle(&response),
                Err(refusal) => Err(refusal.into_error(&self.host, http, &id)),
            }
        })
        .map_err(|error| error.fact("secret", shown))
    }

    fn retry<T>(
        &self,
        http: &Http,
        doing: &str,
        purpose: &str,
        attempt: impl FnMut() -> Result<T, AttemptError>,
    ) -> Result<T, Error> {
        let hint = unreachable_hint(&self.host, ErrorKind::ConnectTimeout);
        let wait = Wait::begin(doing, hint);
        retry(&http.deadline, wait, attempt).map_err(|error| {
            error
                .context(doing)
                .fact("vault", self.host.to_string())
                .fact("for", purpose)
        })
    }

    /// One attempt, and a second one where the service does not know our api-version and names one that it knows.
    /// `hidden` are texts of the request that a response must not repeat into a message.
    fn get(
        &self,
        http: &Http,
        secret: &SecretId,
        headers: &[(&str, &str)],
        hidden: &[&str],
    ) -> Result<Result<Response, Refusal>, AttemptError> {
        let send = |version: &str| {
            let target = format!("/secrets/{}?api-version={version}", secret.shown());
            let request = Request {
                target: &target,
                headers,
                form: None,
                timeouts: TIMEOUTS,
            };
            let response = self.service.send(&request, &http.deadline);
            let response = response.map_err(|error| self.with_hint(error))?;
            Ok(match response.status.as_u16() {
                200 => Ok(response),
                _ => Err(Refusal::read(response, hidden)),
            })
        };
        if let Some(older) = self.older_version.get() {
            return send(older);
        }
        let response = send(API_VERSION)?;
        match response.as_ref().err().and_then(Refusal::supported_version) {
            Some(older) if older != API_VERSION => {
                send(self.older_version.get_or_init(|| older.to_owned()))
            }
            _ => Ok(response),
        }
    }

    /// Reads a secret bundle. Nothing of the body is ever part of an error.
    fn bundle(&self, response: &Response) -> Result<SecretBundle, AttemptError> {
        let refuse = |reason: &str| {
            self.unexpected_response(&format!("{}: {reason}", response.status_text()))
        };
        let mut bundle = response.json();
        if bundle.is_null() {
            return Err(refuse("the response is not JSON"));
        }
        let value = bundle.get_mut("value").map(Value::take);
        let (id, attributes) = (&bundle["id"], &bundle["attributes"]);
        let id = id
            .as_str()
            .ok_or_else(|| refuse("the response has no `id`"))?;
        let Some(Value::String(value)) = value else {
            return Err(refuse("the response has no `value`"));
        };
        // https://HOST/secrets/NAME/VERSION
        let version = id.rsplit('/').next().filter(|_| id.split('/').count() == 6);
        Ok(SecretBundle {
            value: Secret::new(value),
            version: version.map(str::to_owned),
            content_type: bundle["contentType"].as_str().map(str::to_owned),
            not_before: attributes["nbf"].as_i64(),
            expires: attributes["exp"].as_i64(),
        })
    }

    fn unexpected_response(&self, reason: &str) -> AttemptError {
        self.with_hint(AttemptError::new(ErrorKind::UnexpectedResponse, reason))
    }
}
