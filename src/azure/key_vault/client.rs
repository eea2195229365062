//! The client of one vault.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>,
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets>. In a known cloud every request has a
//! token. A vault of an unknown cloud first gets one request without a token, to which it responds with its challenge.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::challenge;
use super::error::{response_error, trust_hint, unreachable_hint};
use super::list::ListPage;
use crate::azure::identity::{AccessToken, TokenRequest};
use crate::error::{Error, RequestFailure};
use crate::http::retry::retry;
use crate::http::{HttpClient, Request, Response, Service, Timeouts, random_uuid};
use crate::log::{self, Event};
use crate::request::host::Host;
use crate::request::secret_id::SecretId;
use crate::request::settings::Settings;
use crate::request::value::StoredSecret;
use crate::secret::Secret;
use crate::signals::WaitGuard;

/// The api-version of requests: a stable one that the vaults of every cloud know. Later versions read secrets in the
/// same way.
const API_VERSION: &str = "7.4";
/// The path and query of the first page of the list of secrets, with as many secrets as a page can have.
pub const LIST_PATH: &str = "/secrets?maxresults=25";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// A secret as the vault returns it.
pub struct SecretBundle {
    /// What targets are made of.
    pub stored: StoredSecret,
    /// The version of the secret that was read.
    pub version: Option<String>,
    /// When the secret begins to be valid, in Unix seconds.
    pub not_before: Option<i64>,
    /// When the secret expires, in Unix seconds.
    pub expires: Option<i64>,
}

/// A request for secrets.
pub struct VaultRequest<'a> {
    /// The path, and the query without the api-version.
    pub path: &'a str,
    /// What is done, for messages.
    pub operation: &'a str,
    /// The variables or files that get what is read, for messages.
    pub targets: &'a str,
}

/// Reads the secrets of one vault.
pub struct VaultClient {
    host: Host,
    /// The origin of the vault, and the connections to it.
    pub service: Service,
    /// The api-version to use instead of [`API_VERSION`]; empty unless the service has named one.
    older_version: OnceLock<String>,
    /// The request for the token that the challenge of the vault requires; `None` until the vault has sent the challenge.
    required_token: Mutex<Option<TokenRequest>>,
    /// The hint for a challenge that cannot be used.
    trust_hint: String,
}

impl VaultClient {
    /// A client for the vault at `host`, which must be a host that access tokens may be sent to.
    pub fn new(http: &HttpClient, settings: &Settings, host: &Host) -> VaultClient {
        VaultClient {
            host: host.clone(),
            service: http.remote_service(host),
            older_version: OnceLock::new(),
            required_token: Mutex::new(None),
            trust_hint: trust_hint(host, settings),
        }
    }

    /// Adds the hint for a request to this vault to an error that has no hint.
    pub fn with_hint(&self, error: Error) -> Error {
        error.hint_if_none(|failure| unreachable_hint(&self.host, failure))
    }

    /// Whether the vault has responded to a request, so that there is a connection to it.
    pub fn has_responded(&self) -> bool {
        self.service.milestones().responses.load(Ordering::Relaxed) > 0
    }

    /// Opens a connection while there is no access token to send yet.
    pub fn open_early(&self) {
        let operation = format!("connecting to {}", self.host);
        let hint = unreachable_hint(&self.host, RequestFailure::ConnectTimeout);
        let _wait = WaitGuard::begin_early(&operation, hint);
        self.service.open_early(TIMEOUTS);
    }

    /// The token request that the vault's challenge requires. The first caller requests the challenge; all threads
    /// share the result. `path` is that of the request, `targets` names the variables or files that get the secret, for
    /// messages.
    pub fn challenge(
        &self,
        http: &HttpClient,
        path: &str,
        targets: &str,
    ) -> Result<TokenRequest, Error> {
        let mut cached = self
            .required_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(challenge) = &*cached {
            return Ok(challenge.clone());
        }
        let operation = format!(
            "requesting the authentication challenge of {} for {targets}",
            self.host
        );
        let request = VaultRequest {
            path,
            operation: &operation,
            targets,
        };
        let response = self.send(http, &request, None)?;
        let challenge = self.parse_challenge(response.header("www-authenticate"));
        let challenge = challenge.map_err(|error| self.in_context(error, &request))?;
        log::debug(|| {
            let (host, resource) = (self.host.to_string(), challenge.resource.as_str());
            Event::new(format!("{host} requires a token for {resource}"))
                .fact("vault", host)
                .fact("resource", resource)
        });
        Ok(cached.insert(challenge).clone())
    }

    /// Parses a challenge, and checks that a token for its resource may be sent to this vault. `header` is
    /// `WWW-Authenticate`.
    fn parse_challenge(&self, header: Option<&str>) -> Result<TokenRequest, Error> {
        let header = header.ok_or_else(|| {
            self.unexpected_response("401 Unauthorized without a challenge (WWW-Authenticate)")
        })?;
        challenge::parse_for(&self.host, header).map_err(|problem| {
            let quoted = log::excerpt(header, &[]);
            let reason = format!("the challenge `{quoted}` cannot be used: {problem}");
            self.unexpected_response(&reason)
                .hint(self.trust_hint.as_str())
        })
    }

    /// Sends a request, repeatedly until the deadline, and returns the response with the secrets; without a token, that is
    /// the one with the challenge. If the vault refuses the token and requires one from another tenant, the error has that
    /// tenant as the fact `tenant`.
    pub fn send(
        &self,
        http: &HttpClient,
        request: &VaultRequest<'_>,
        token: Option<&AccessToken>,
    ) -> Result<Response, Error> {
        let client_request_id = random_uuid();
        let headers = [("x-ms-client-request-id", client_request_id.as_str())];
        let expected_status = if token.is_some() { 200 } else { 401 };
        let hint = unreachable_hint(&self.host, RequestFailure::ConnectTimeout);
        let wait = WaitGuard::begin(request.operation, hint);
        retry(&http.deadline, &self.host.to_string(), wait, || {
            let response = self.get(http, request.path, &headers, token)?;
            match response.status.as_u16() == expected_status {
                true => Ok(response),
                false => Err(response_error(
                    &response,
                    token.map(|token| &token.value),
                    self.service.address(),
                    &self.host,
                    http,
                    &client_request_id,
                )),
            }
        })
        .map_err(|error| self.in_context(error, request))
    }

    /// Adds to an error which request it is about.
    pub fn in_context(&self, error: Error, request: &VaultRequest<'_>) -> Error {
        error
            .context(request.operation)
            .fact("vault", self.host.to_string())
            .fact("for", request.targets)
    }

    /// Makes one request; and a second one if the service does not know its api-version and names another.
    fn get(
        &self,
        http: &HttpClient,
        path: &str,
        headers: &[(&str, &str)],
        token: Option<&AccessToken>,
    ) -> Result<Response, Error> {
        let send = |version: &str| {
            let request = Request {
                // The link to the next page of a list has a version already.
                target: &match path.split_once('?') {
                    None => format!("{path}?api-version={version}"),
                    Some((_, query)) if query.contains("api-version=") => path.to_owned(),
                    Some(_) => format!("{path}&api-version={version}"),
                },
                headers,
                authorization: token.map(AccessToken::authorization),
                form: None,
                timeouts: TIMEOUTS,
            };
            let response = self.service.send(&request, &http.deadline);
            response.map_err(|error| self.with_hint(error))
        };
        let version = self.older_version.get();
        let version = version.map_or(API_VERSION, String::as_str);
        let response = send(version)?;
        match supported_version(&response) {
            Some(older) if older != version => send(self.older_version.get_or_init(|| older)),
            _ => Ok(response),
        }
    }

    /// Parses a secret bundle, and checks that it is the one of the requested secret: a gateway may mix responses up.
    /// Errors show no part of the body.
    pub fn parse_bundle(
        &self,
        response: &Response,
        secret: &SecretId,
    ) -> Result<SecretBundle, Error> {
        let mut bundle = response.json();
        let value = bundle.get_mut("value").map(Value::take);
        let (Some(id), Some(Value::String(value))) = (bundle["id"].as_str(), value) else {
            let reason = "200 OK: the response is not JSON with an `id` and a `value`";
            return Err(self.unexpected_response(reason));
        };
        // https://HOST/secrets/NAME/VERSION. The host may be another one behind a custom domain, or an emulator's.
        let mut parts = id.split('/').skip(3);
        let [collection, name, version] = [parts.next(), parts.next(), parts.next()];
        let is_requested = collection == Some("secrets")
            && name.is_some_and(|name| name.eq_ignore_ascii_case(&secret.name))
            && (secret.version.is_none() || version == secret.version.as_deref());
        if !is_requested {
            let reason = "200 OK: by its `id`, the response is another secret or version";
            return Err(self.unexpected_response(reason).hint(format!(
                "does a proxy, cache or gateway mix up the responses of {}?",
                self.host
            )));
        }
        let attributes = &bundle["attributes"];
        Ok(SecretBundle {
            stored: StoredSecret {
                value: Secret::new(value.into_bytes()),
                content_type: bundle["contentType"].as_str().map(str::to_owned),
            },
            version: version.map(str::to_owned),
            not_before: attributes["nbf"].as_i64(),
            expires: attributes["exp"].as_i64(),
        })
    }

    /// Parses a page of the list of secrets.
    pub fn parse_page(&self, response: &Response) -> Result<ListPage, Error> {
        ListPage::parse(response.json(), &self.host)
            .map_err(|reason| self.unexpected_response(&format!("200 OK: {reason}")))
    }

    /// What is done to list the secrets for these variables or files, for messages.
    pub fn list_operation(&self, targets: &str) -> String {
        format!("listing the secrets of {} for {targets}", self.host)
    }

    /// An error about a response that cannot be a vault's, with this vault's hint.
    pub fn unexpected_response(&self, reason: &str) -> Error {
        self.with_hint(RequestFailure::UnexpectedResponse.error(reason))
    }
}

/// Adds to the hint of a denied request what listing needs more than reading.
pub fn with_list_hint(error: Error) -> Error {
    if error.request_failure != Some(RequestFailure::MissingPermission) {
        return error;
    }
    let hint = error.hint.clone().unwrap_or_default();
    let hint = hint.replace("--secret-permissions get", "--secret-permissions get list");
    error.hint(format!(
        "{hint}; listing needs Microsoft.KeyVault/vaults/secrets/readMetadata/action at the vault, which \"Key Vault \
         Secrets User\" has there"
    ))
}

/// The api-version that the service offers if it does not know the requested one: "The specified version (7.4) is not
/// recognized. Consider using the latest supported version (7.1)." `None` for any other response.
fn supported_version(response: &Response) -> Option<String> {
    let body = (response.status.as_u16() == 400).then(|| response.json())?;
    let message = body["error"]["message"].as_str()?;
    let (_, rest) = message.split_once("latest supported version (")?;
    let (version, _) = rest.split_once(')')?;
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    let is_usable = !version.is_empty() && version.bytes().all(is_valid);
    is_usable.then(|| version.to_owned())
}
