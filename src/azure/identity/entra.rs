//! Entra's token endpoint, for service principals and workload identities.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>. Entra may change its error codes: they
//! decide about retries and hints, never about success.

use std::time::Duration;

use serde_json::Value;

use super::credential::{self, Credential};
use super::source::Source;
use super::token::{AccessToken, TokenRequest, UNKNOWN_RESOURCE, refusal_reason};
use super::token_proxy::TokenProxy;
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

const TENANT: &str = "AZURE_TENANT_ID";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// An application, or a managed identity that trusts the cluster's tokens.
pub struct Entra {
    /// The host of the authority.
    authority: Host,
    /// Its id or one of its domains.
    tenant: String,
    client_id: String,
    credential: Credential,
    /// Receives the requests in place of the authority.
    proxy: Option<TokenProxy>,
}

impl Entra {
    /// Reads the settings of workload identity.
    pub fn workload_identity(env: &Environment, settings: &Settings) -> Result<Entra, Error> {
        let credential = Credential::workload_identity(env);
        let source = "workload identity";
        let entra = Entra::build(env, settings, source, credential, credential::TOKEN_FILE)?;
        let proxy = TokenProxy::build(env)?;
        Ok(Entra { proxy, ..entra })
    }

    /// Reads the settings of a service principal.
    pub fn service_principal(env: &Environment, settings: &Settings) -> Result<Entra, Error> {
        let credential = Credential::service_principal(env)?;
        let variables =
            "AZURE_CLIENT_SECRET (or AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH)";
        Entra::build(
            env,
            settings,
            "the service principal",
            credential,
            variables,
        )
    }

    fn build(
        env: &Environment,
        settings: &Settings,
        source: &str,
        credential: Option<Credential>,
        credential_variables: &str,
    ) -> Result<Entra, Error> {
        let client_id = match &settings.selector {
            Some(Selector::Client(id)) => Some(id.to_owned()),
            None => None,
            Some(Selector::Object(_) | Selector::Resource(_)) => {
                let reason = format!(
                    "{source} is selected by client id; an object id or a resource id does not apply"
                );
                let hint = "use --client-id, or --identity managed for a managed identity";
                return Err(Error::new(Cause::Config, reason).hint(hint));
            }
        };
        let tenant = configured_tenant(env)?;
        let authority = options::authority(env, settings.cloud)?;
        let missing = [
            (credential.is_none(), credential_variables),
            (tenant.is_none(), TENANT),
            (client_id.is_none(), "AZURE_CLIENT_ID"),
        ];
        let (Some(credential), Some(tenant), Some(client_id)) = (credential, tenant, client_id)
        else {
            let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
            let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
            let error = Error::new(
                Cause::Config,
                format!("{source} is incomplete: missing {}", missing.join(", ")),
            );
            return Err(match credential_variables {
                credential::TOKEN_FILE => error.hint(
                    "the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" whose service \
                     account is annotated with azure.workload.identity/client-id",
                ),
                _ => error,
            });
        };
        Ok(Entra {
            authority,
            tenant,
            client_id,
            credential,
            proxy: None,
        })
    }

    fn tenant_for<'a>(&'a self, token_request: &TokenRequest<'a>) -> &'a str {
        token_request.tenant.unwrap_or(&self.tenant)
    }

    /// The path of the token endpoint.
    fn path(&self, token_request: &TokenRequest<'_>) -> String {
        format!("/{}/oauth2/v2.0/token", self.tenant_for(token_request))
    }

    fn attempt(
        &self,
        http: &Http,
        service: &Service,
        target: &str,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, AttemptError> {
        let audience = format!("https://{}{}", self.authority, self.path(token_request));
        let secret = self.credential.read(&self.client_id, &audience)?;
        let form = format!(
            "client_id={}&grant_type=client_credentials&{}={}&scope={}",
            encode(&self.client_id),
            self.credential.parameter(),
            encode(secret.expose()),
            encode(&format!("{}/.default", token_request.resource))
        );
        let id = request_id();
        let request = Request {
            target,
            headers: &[("client-request-id", id.as_str())],
            form: Some(&form),
            timeouts: TIMEOUTS,
        };
        let response = service.send(&request, &http.deadline)?;
        let body = response.json();
        match response.status.as_u16() {
            200 | 201 => AccessToken::from_body(body),
            _ => {
                let body = body.unwrap_or_default();
                Err(self.refusal(&response, &body, token_request, &secret, &id))
            }
        }
    }

    fn refusal(
        &self,
        response: &Response,
        body: &Value,
        token_request: &TokenRequest<'_>,
        sent: &Secret,
        id: &str,
    ) -> AttemptError {
        // Also as the form has it: an inspecting proxy may show the whole request.
        let encoded = encode(sent.expose());
        let excerpt = |text: &str| log::excerpt(text, &[sent.expose(), &encoded]);
        let field = |name: &str| body[name].as_str();
        let code = field("error").unwrap_or_default();
        let codes = body["error_codes"].as_array().into_iter().flatten();
        let codes: Vec<i64> = codes.filter_map(Value::as_i64).collect();
        // Older descriptions have line ends between their parts, newer ones only spaces.
        let description = field("error_description").unwrap_or_default();
        let description = excerpt(description.split("Trace ID:").next().unwrap_or_default());
        let description = description.trim_end_matches('.');
        let kind = classify(response.status.as_u16(), code, &codes);
        let mut reason = refusal_reason(response, &excerpt(code), description);
        if !codes.is_empty() && !description.contains("AADSTS") {
            let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
            reason.push_str(&format!(" (codes {})", codes.join(", ")));
        }
        let hint = self
            .refusal_hint(kind, &codes, token_request)
            .or_else(|| self.credential.hint(kind, &self.client_id, sent));
        let mut error = AttemptError::new(kind, reason)
            .retry_after(response.retry_after())
            .map(|error| error.maybe_hint(hint));
        for name in ["trace_id", "correlation_id", "timestamp"] {
            let value = field(name).map(excerpt);
            error = error.labeled(name, &name.replace('_', " "), value.as_deref());
        }
        // Entra's correlation id is the request id that we sent.
        match field("correlation_id") {
            None => error.ids(response, id),
            Some(_) => error,
        }
    }

    fn refusal_hint(
        &self,
        kind: ErrorKind,
        codes: &[i64],
        token_request: &TokenRequest<'_>,
    ) -> Option<String> {
        let tenant = self.tenant_for(token_request);
        let has = |code| codes.contains(&code);
        match kind {
            ErrorKind::CredentialRefused if has(700_016) => Some(format!(
                "tenant {tenant} has no application or identity with client id {}: check AZURE_CLIENT_ID and \
                 AZURE_TENANT_ID",
                self.client_id
            )),
            ErrorKind::InvalidSettings if has(50_001) || has(500_011) || has(70_011) => {
                Some(UNKNOWN_RESOURCE.replace("{resource}", token_request.resource))
            }
            ErrorKind::InvalidSettings => Some(format!(
                "check AZURE_TENANT_ID ({tenant}), AZURE_AUTHORITY_HOST and --cloud"
            )),
            _ => None,
        }
    }

    /// The hint for errors that do not depend on what Entra says.
    fn hint(&self, kind: ErrorKind) -> Option<String> {
        match kind {
            ErrorKind::NameNotFound => Some(format!(
                "does this network's DNS resolve {}? Check AZURE_AUTHORITY_HOST, or set HTTPS_PROXY",
                self.authority.name
            )),
            ErrorKind::UnexpectedResponse => Some(format!(
                "the response is not from Entra: check what answers at {}, AZURE_AUTHORITY_HOST, and proxies or \
                 gateways in between",
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

impl Source for Entra {
    fn describe(&self) -> String {
        let proxy = match &self.proxy {
            None => String::new(),
            Some(proxy) => format!(" through the token proxy {proxy}"),
        };
        format!(
            "Entra (https://{}, {} client id {}, tenant {}){proxy}",
            self.authority,
            self.credential.describe(),
            self.client_id,
            self.tenant
        )
    }

    fn token(&self, http: &Http, token_request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let path = self.path(token_request);
        let authority = http.internet(&self.authority);
        let doing = format!("getting an access token from {}", self.describe());
        let hint = match self.proxy {
            None => self.hint(ErrorKind::ConnectTimeout),
            Some(_) => None,
        };
        retry(&http.deadline, Wait::begin(&doing, hint), || {
            let attempt = |service: &Service, target: &str| {
                self.attempt(http, service, target, token_request)
            };
            let token = match &self.proxy {
                None => attempt(&authority, &path),
                Some(proxy) => proxy
                    .service(http)
                    .and_then(|service| attempt(&service, &format!("{}{path}", proxy.path))),
            };
            token.map_err(|error| error.hint_for(|kind| self.hint(kind)))
        })
        .map_err(|error| error.context(doing))
    }

    fn is_other_tenant(&self, tenant: &str) -> bool {
        !self.tenant.eq_ignore_ascii_case(tenant)
    }

    fn service(&self, http: &Http) -> Option<Service> {
        match self.proxy {
            None => Some(http.internet(&self.authority)),
            Some(_) => None,
        }
    }
}

/// `AZURE_TENANT_ID`: an id or a domain.
pub fn configured_tenant(env: &Environment) -> Result<Option<String>, Error> {
    match env.setting(TENANT)? {
        Some(tenant) if !is_tenant(tenant) => Err(Error::new(
            Cause::Config,
            format!("{TENANT}: `{tenant}` is neither a GUID nor a domain"),
        )),
        tenant => Ok(tenant.map(str::to_owned)),
    }
}

/// The kind of a refusal: by the known codes
/// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>), then by `error`,
/// then by the status.
fn classify(status: u16, code: &str, codes: &[i64]) -> ErrorKind {
    let by_code = codes.iter().find_map(|code| match code {
        70_021 | 70_025 | 700_211 | 700_212 | 700_213 => Some(ErrorKind::FederationMismatch),
        700_024 => Some(ErrorKind::AssertionExpired),
        90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_061 | 90_090 | 50_196 => {
            Some(ErrorKind::ServerError)
        }
        90_002 | 900_023 | 90_038 | 900_382 | 50_001 | 500_011 | 70_011 => {
            Some(ErrorKind::InvalidSettings)
        }
        _ => None,
    });
    by_code.unwrap_or(match (code, status) {
        ("temporarily_unavailable" | "server_error", _) => ErrorKind::ServerError,
        (_, 429) => ErrorKind::Throttled,
        (_, 408 | 500..=599) => ErrorKind::ServerError,
        ("", _) if codes.is_empty() => ErrorKind::UnexpectedResponse,
        _ => ErrorKind::CredentialRefused,
    })
}
