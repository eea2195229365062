//! Azure Arc: a machine outside Azure whose agent has a managed identity.
//!
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>. The agent answers the first
//! request with the name of a file that only a privileged local process can read; its content authorises the second.
//! Whoever answered in the agent's place could name any file, so directory, extension and size are checked first.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, TokenRequest, token_response};
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Service, Timeouts, encode, split_url, with_query};
use crate::log;
use crate::request::environment::Environment;
use crate::request::options::Selector;
use crate::secret::Secret;
use crate::signals::Wait;

/// Where the agent is installed; its presence alone selects this source.
pub const AGENT: &str = "/opt/azcmagent/bin/himds";

const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const API_VERSION: &str = "2020-06-01";
/// The only directory that a challenge may name.
const KEY_DIRECTORY: &str = "/var/opt/azcmagent/tokens";
/// What to do without an identity that was asked for.
const OWN_IDENTITY: &str = "leave the selector out to use the machine's own identity";
/// The largest key file.
const KEY_LIMIT: u64 = 4096;
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(15),
};

/// The source.
#[derive(Debug)]
pub struct Arc {
    base: String,
    path: String,
    selector: Option<Selector>,
}

impl Arc {
    /// Reads its one setting.
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<Arc, Error> {
        let endpoint = env
            .setting("IDENTITY_ENDPOINT")?
            .unwrap_or(DEFAULT_ENDPOINT);
        let Some((base, path)) = split_url(endpoint) else {
            return Err(Error::new(Cause::Config, "IDENTITY_ENDPOINT is not a URL"));
        };
        Ok(Arc {
            base: base.to_owned(),
            path: path.to_owned(),
            selector,
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn describe(&self) -> String {
        let which = super::describe_selector(self.selector.as_ref());
        format!("Azure Arc ({}, {which})", self.base)
    }

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let query = format!(
            "api-version={API_VERSION}&resource={}",
            encode(token_request.resource)
        );
        let mut target = with_query(&self.path, &query);
        if let Some((name, id)) = self.selector.as_ref().map(super::imds_selector) {
            target.push_str(&format!("&{name}={}", encode(id)));
        }
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, self.unreachable(ErrorKind::ConnectTimeout));
        retry(&http.deadline, wait, || {
            self.attempt(http, &service, &target)
                .map_err(|error| error.hint_for(|kind| self.unreachable(kind)))
        })
        .map_err(|error| error.context(doing))
    }

    fn attempt(
        &self,
        http: &Http,
        service: &Service,
        target: &str,
    ) -> Result<AccessToken, AttemptError> {
        let send = |headers: &[(&str, &str)]| {
            let request = Request {
                target,
                headers,
                form: None,
                timeouts: TIMEOUTS,
            };
            service.send(&request, &http.deadline)
        };
        let challenge = send(&[("Metadata", "true")])?;
        if challenge.status.as_u16() != 401 {
            return Err(match refusal(&challenge, None) {
                error if error.kind == ErrorKind::UnexpectedResponse => AttemptError::new(
                    ErrorKind::UnexpectedResponse,
                    format!(
                        "{}: the agent did not ask for its key file",
                        challenge.status_text()
                    ),
                ),
                error => error,
            });
        }
        let path = key_path(challenge.header("www-authenticate").unwrap_or_default())?;
        let key = read_key(&path)?;
        let authorization = Secret::new(format!("Basic {}", key.expose()));
        let response = send(&[
            ("Metadata", "true"),
            ("Authorization", authorization.expose()),
        ])?;
        if response.status.as_u16() != 200 {
            return Err(refusal(&response, Some(&key)));
        }
        self.check_echo(&response)?;
        token_response::parse(&response)
    }

    fn unreachable(&self, kind: ErrorKind) -> Option<String> {
        match kind {
            ErrorKind::ConnectTimeout
            | ErrorKind::DeadlineExceededConnecting
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute => Some(format!(
                "the agent of Azure Arc does not listen at {}: is its service himds running, and does this \
                     container share the host's network?",
                self.base
            )),
            ErrorKind::UnexpectedResponse => Some(format!(
                "this is no answer of the agent of Azure Arc: what answers at {}? Look at IDENTITY_ENDPOINT",
                self.base
            )),
            _ => None,
        }
    }

    /// Agents before 2026 ignore a selector and answer for the system-assigned identity.
    fn check_echo(&self, response: &Response) -> Result<(), AttemptError> {
        let Some(selector) = &self.selector else {
            return Ok(());
        };
        let (names, id): (&[&str], _) = match selector {
            Selector::Client(id) => (&["client_id"], id),
            Selector::Object(id) => (&["object_id"], id),
            Selector::Resource(id) => (&["msi_res_id", "mi_res_id"], id),
        };
        let body = response.json().unwrap_or_default();
        let echoed = names.iter().any(|name| {
            body[*name]
                .as_str()
                .is_some_and(|echo| echo.eq_ignore_ascii_case(id))
        });
        if echoed {
            return Ok(());
        }
        Err(AttemptError::new(
            ErrorKind::IdentityNotFound,
            "the agent did not confirm that the token is for the identity that was asked for",
        )
        .hint(format!("update the agent of Azure Arc, or {OWN_IDENTITY}")))
    }
}

/// The file that a challenge names: `Basic realm=PATH`.
fn key_path(challenge: &str) -> Result<PathBuf, AttemptError> {
    let foreign =
        |why: &str| AttemptError::new(ErrorKind::UnexpectedResponse, format!("401: {why}"));
    let path = challenge
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, rest)| rest.trim().split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("realm"))
        .map(|(_, path)| path.trim().trim_matches('"'))
        .filter(|path| !path.is_empty())
        .ok_or_else(|| foreign("the agent's challenge names no key file"))?;
    let path = PathBuf::from(path);
    if path.parent() != Some(Path::new(KEY_DIRECTORY)) {
        return Err(foreign(&format!(
            "the agent's challenge names a file outside {KEY_DIRECTORY}"
        )));
    }
    if path.extension().is_none_or(|extension| extension != "key") {
        return Err(foreign(
            "the agent's challenge names a file that is no .key file",
        ));
    }
    Ok(path)
}

fn read_key(path: &Path) -> Result<Secret, AttemptError> {
    let unreadable = |why: String| {
        AttemptError::new(ErrorKind::InvalidSettings, format!("reading the agent's key `{}`: {why}", path.display())).hint(format!(
            "mount {KEY_DIRECTORY} into the container and run it with the group that may read it (himds)"
        ))
    };
    let mut key = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_LIMIT + 1).read_to_string(&mut key))
        .map_err(|error| unreadable(error.to_string()))?;
    if key.len() as u64 > KEY_LIMIT {
        return Err(unreadable(format!("it has more than {KEY_LIMIT} bytes")));
    }
    if !key
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Err(unreadable(
            "it holds what cannot stand in a header".to_owned(),
        ));
    }
    Ok(Secret::new(key))
}

fn refusal(response: &Response, key: Option<&Secret>) -> AttemptError {
    let body = response.json().unwrap_or_default();
    let hidden: Vec<&str> = key.iter().map(|key| key.expose()).collect();
    let field = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .map(|text| log::excerpt(text, &hidden))
    };
    let code = field("error").unwrap_or_default();
    let kind = match response.status.as_u16() {
        400 | 404 if !code.is_empty() => ErrorKind::IdentityNotFound,
        401 | 403 => ErrorKind::CredentialRefused,
        429 => ErrorKind::Throttled,
        404 | 410 => ErrorKind::EndpointUpdating,
        408 | 500..=599 => ErrorKind::ServerError,
        _ => ErrorKind::UnexpectedResponse,
    };
    let message = match field("error_description") {
        None if code.is_empty() => response.status_text(),
        None => format!("{} ({code})", response.status_text()),
        Some(text) => format!("{} ({code}): {text}", response.status_text()),
    };
    let hint = (kind == ErrorKind::IdentityNotFound).then(|| OWN_IDENTITY.to_owned());
    AttemptError::new(kind, message)
        .hint_for(|_| hint.clone())
        .retry_after(response.retry_after())
}
