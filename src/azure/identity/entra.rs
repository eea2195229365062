//! Entra's token endpoint: what every kind of service principal sends there, and what its refusals mean.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>. Codes of Entra's errors may
//! change; here they decide about another try and about hints, never about success.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, TokenRequest, resource_hint, token_response};
use crate::azure::tenant::is_tenant;
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Service, Timeouts, encode, request_id};
use crate::log;
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::options::{self, Selector, Settings};
use crate::secret::Secret;
use crate::signals::Wait;

const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// Who asks, and where.
#[derive(Debug)]
pub struct Entra {
    /// The host of the authority.
    pub authority: Host,
    /// A tenant's id or one of its domains.
    pub tenant: String,
    /// The client id of an application or of a managed identity that federates.
    pub client_id: String,
}

/// What proves it.
#[derive(Debug)]
pub enum Credential {
    /// A signed JWT, somebody else's or our own.
    Assertion(Secret),
    /// A client secret.
    ClientSecret(Secret),
}

/// What every service principal needs besides its credential.
pub struct Client<'a> {
    authority: Host,
    /// `AZURE_TENANT_ID`.
    pub tenant: Option<&'a str>,
    /// The client id, by option or variable.
    pub id: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// Reads them; an object id or a resource id cannot name a service principal.
    pub fn of(
        env: &'a Environment,
        settings: &'a Settings,
        source: &str,
    ) -> Result<Client<'a>, Error> {
        let id = match &settings.selector {
            Some(Selector::Client(id)) => Some(id.as_str()),
            None => None,
            Some(Selector::Object(_) | Selector::Resource(_)) => {
                return Err(Error::new(
                    Cause::Config,
                    format!("{source} is chosen by client id; an object id or a resource id does not apply"),
                )
                .hint("give --client-id, or --identity managed to use a managed identity"));
            }
        };
        let tenant = env.setting(TENANT_VARIABLE)?;
        if let Some(tenant) = tenant
            && !is_tenant(tenant)
        {
            return Err(Error::new(
                Cause::Config,
                format!("{TENANT_VARIABLE}: `{tenant}` is neither a GUID nor a domain"),
            ));
        }
        Ok(Client {
            authority: options::authority(env, settings.cloud)?,
            tenant,
            id,
        })
    }

    /// Names what is missing, in the order in which one sets it: "A is not set", "A, B and C are not set".
    pub fn complete(&self, credential: &[(bool, &'static str)]) -> Result<Entra, String> {
        let mut missing: Vec<&str> = credential
            .iter()
            .filter_map(|(there, name)| (!there).then_some(*name))
            .collect();
        match (self.tenant, self.id) {
            (Some(tenant), Some(id)) if missing.is_empty() => Ok(Entra {
                authority: self.authority.clone(),
                tenant: tenant.to_owned(),
                client_id: id.to_owned(),
            }),
            (tenant, id) => {
                missing.extend(tenant.is_none().then_some(TENANT_VARIABLE));
                missing.extend(id.is_none().then_some("AZURE_CLIENT_ID"));
                Err(match missing.as_slice() {
                    [only] => format!("{only} is not set"),
                    [first @ .., last] => format!("{} and {last} are not set", first.join(", ")),
                    [] => unreachable!("something is missing"),
                })
            }
        }
    }
}

impl Entra {
    /// The tenant that is asked: the one that a vault named, or the configured one.
    pub fn tenant_for<'a>(&'a self, token_request: &TokenRequest<'a>) -> &'a str {
        token_request.tenant.unwrap_or(&self.tenant)
    }

    /// Path of the token endpoint.
    pub fn path(&self, token_request: &TokenRequest<'_>) -> String {
        format!("/{}/oauth2/v2.0/token", self.tenant_for(token_request))
    }

    /// "client id …, tenant …", for messages.
    pub fn describe(&self) -> String {
        format!("client id {}, tenant {}", self.client_id, self.tenant)
    }

    /// Asks Entra itself until there is a token. `credential` is made anew for each try; `hint` adds what its kind of
    /// credential needs.
    pub fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
        doing: &str,
        credential: impl Fn() -> Result<Credential, AttemptError>,
        hint: impl Fn(ErrorKind, &Credential) -> Option<String>,
    ) -> Result<AccessToken, Error> {
        let service = http.internet(&self.authority);
        let path = self.path(token_request);
        let wait = Wait::begin(doing, self.unreachable(ErrorKind::ConnectTimeout));
        retry(&http.deadline, wait, || {
            self.attempt(http, &service, &path, token_request, credential()?, &hint)
        })
        .map_err(|error| error.context(doing))
    }

    /// One try, at Entra or at what stands in for it.
    pub fn attempt(
        &self,
        http: &Http,
        service: &Service,
        path: &str,
        token_request: &TokenRequest<'_>,
        credential: Credential,
        hint: &impl Fn(ErrorKind, &Credential) -> Option<String>,
    ) -> Result<AccessToken, AttemptError> {
        let proof = match &credential {
            Credential::Assertion(jwt) => format!(
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion={}",
                encode(jwt.expose())
            ),
            Credential::ClientSecret(secret) => {
                format!("client_secret={}", encode(secret.expose()))
            }
        };
        let form = format!(
            "client_id={}&grant_type=client_credentials&{proof}&scope={}",
            encode(&self.client_id),
            encode(&format!("{}/.default", token_request.resource))
        );
        let id = request_id();
        let request = Request {
            target: path,
            headers: &[("client-request-id", id.as_str())],
            form: Some(&form),
            timeouts: TIMEOUTS,
        };
        let told = |error: AttemptError| error.hint_for(|kind| self.unreachable(kind));
        let response = service.send(&request, &http.deadline).map_err(told)?;
        match response.status.as_u16() {
            200 | 201 => token_response::parse(&response).map_err(told),
            _ => Err(self.refusal(&response, &id, token_request, &credential, hint)),
        }
    }

    /// What a refusal means
    /// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>).
    fn refusal(
        &self,
        response: &Response,
        id: &str,
        token_request: &TokenRequest<'_>,
        credential: &Credential,
        hint: &impl Fn(ErrorKind, &Credential) -> Option<String>,
    ) -> AttemptError {
        let body = response.json().unwrap_or_default();
        let (Credential::Assertion(sent) | Credential::ClientSecret(sent)) = credential;
        // As it is, and as the form has it: an inspecting proxy may show the whole request.
        let encoded = encode(sent.expose());
        let excerpt = |text: &str| log::excerpt(text, &[sent.expose(), &encoded]);
        let error = body["error"].as_str().unwrap_or_default();
        let codes: Vec<i64> = body["error_codes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let description = body["error_description"].as_str().unwrap_or_default();
        // Newer texts separate their trailing parts by spaces, older ones by line ends.
        let description = excerpt(description.split("Trace ID:").next().unwrap_or_default());
        let description = description.trim_end_matches('.');
        let kind = classify(response.status.as_u16(), error, &codes);
        let mut message = match (error, description) {
            ("", "") => response.status_text(),
            ("", text) => format!("{}: {text}", response.status_text()),
            (error, "") => format!("{} ({})", response.status_text(), excerpt(error)),
            (error, text) => format!("{} ({}): {text}", response.status_text(), excerpt(error)),
        };
        if !codes.is_empty() && !description.contains("AADSTS") {
            let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
            message.push_str(&format!(" (codes {})", codes.join(", ")));
        }
        for (name, label) in [
            ("trace_id", "trace id"),
            ("correlation_id", "correlation id"),
            ("timestamp", "at"),
        ] {
            if let Some(value) = body[name].as_str() {
                message.push_str(&format!("; {label} {}", excerpt(value)));
            }
        }
        let hint = self
            .hint(kind, &codes, token_request)
            .or_else(|| hint(kind, credential))
            .or_else(|| self.unreachable(kind));
        let error = AttemptError::new(kind, message)
            .hint_for(|_| hint.clone())
            .retry_after(response.retry_after());
        // Where Entra names the correlation, that is the id that we sent.
        match body["correlation_id"].as_str() {
            Some(_) => error,
            None => error.ids(response, id),
        }
    }

    fn hint(
        &self,
        kind: ErrorKind,
        codes: &[i64],
        token_request: &TokenRequest<'_>,
    ) -> Option<String> {
        let has = |code| codes.contains(&code);
        match kind {
            ErrorKind::CredentialRefused if has(700_016) => Some(format!(
                "no application or identity has client id {} in tenant {}: look at AZURE_CLIENT_ID and AZURE_TENANT_ID",
                self.client_id,
                self.tenant_for(token_request)
            )),
            ErrorKind::InvalidSettings if has(50_001) || has(500_011) || has(70_011) => {
                Some(resource_hint(token_request.resource))
            }
            ErrorKind::InvalidSettings => Some(format!(
                "look at AZURE_TENANT_ID ({}), AZURE_AUTHORITY_HOST and --cloud",
                self.tenant_for(token_request)
            )),
            _ => None,
        }
    }

    fn unreachable(&self, kind: ErrorKind) -> Option<String> {
        match kind {
            ErrorKind::NameNotFound => Some(format!(
                "does this network's DNS know {}? Look at AZURE_AUTHORITY_HOST, or reach it by HTTPS_PROXY",
                self.authority.name
            )),
            ErrorKind::UnexpectedResponse => Some(format!(
                "this is no answer of Entra: does something else answer as {}? Look at AZURE_AUTHORITY_HOST, and at \
                 proxies and gateways on the way",
                self.authority
            )),
            ErrorKind::ConnectTimeout
            | ErrorKind::DeadlineExceededConnecting
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute => Some(format!(
                "this container must reach https://{} (egress rule, or HTTPS_PROXY)",
                self.authority
            )),
            _ => None,
        }
    }
}

/// The row of the retry table for a refusal: the codes that are known, then `error`, then the status.
fn classify(status: u16, error: &str, codes: &[i64]) -> ErrorKind {
    for code in codes {
        match code {
            70_021 | 70_025 | 700_211 | 700_212 | 700_213 => return ErrorKind::FederationMismatch,
            700_024 => return ErrorKind::AssertionExpired,
            90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_061 | 90_090 | 50_196 => {
                return ErrorKind::ServerError;
            }
            90_002 | 900_023 | 90_038 | 900_382 | 50_001 | 500_011 | 70_011 => {
                return ErrorKind::InvalidSettings;
            }
            _ => {}
        }
    }
    match (error, status) {
        ("temporarily_unavailable" | "server_error", _) => ErrorKind::ServerError,
        (_, 429) => ErrorKind::Throttled,
        (_, 408 | 500..=599) => ErrorKind::ServerError,
        ("", _) if codes.is_empty() => ErrorKind::UnexpectedResponse,
        _ => ErrorKind::CredentialRefused,
    }
}
