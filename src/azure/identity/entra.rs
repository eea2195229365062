//! Entra's token endpoint, for service principals and workload identities.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>. Entra may change its error codes: they
//! decide about retries and hints, never about success.

use std::cell::OnceCell;
use std::time::Duration;

use serde_json::Value;

use super::credential::{self, Credential};
use super::source::TokenSource;
use super::token::{AccessToken, TokenRequest, UNKNOWN_RESOURCE};
use super::token_proxy::{self, TokenProxy};
use crate::azure::tenant::is_tenant;
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Request, Response, Service, Timeouts, encode, random_uuid};
use crate::log;
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::settings::{IdentityId, Settings};
use crate::secret::Secret;

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
    /// Reads the settings of workload identity, or of a service principal.
    pub fn build(
        env: &Environment,
        settings: &Settings,
        is_workload: bool,
    ) -> Result<Entra, Error> {
        let (source, credential, variables, hint) = match is_workload {
            true => (
                "workload identity",
                Credential::workload_identity(env),
                credential::TOKEN_FILE,
                Some(
                    "the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" whose service \
                     account is annotated with azure.workload.identity/client-id",
                ),
            ),
            false => (
                "the service principal",
                Credential::service_principal(env)?,
                "AZURE_CLIENT_SECRET (or AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH)",
                None,
            ),
        };
        let client_id = match &settings.identity_id {
            Some(IdentityId::Client(id)) => Some(id.to_owned()),
            None => None,
            Some(IdentityId::Object(_) | IdentityId::Resource(_)) => {
                let reason = format!(
                    "{source} can be selected by client id only, not by object id or resource id"
                );
                let hint = "use --client-id, or --identity managed for a managed identity";
                return Err(Error::config(reason).hint(hint));
            }
        };
        let tenant = configured_tenant(env)?;
        let authority = settings.authority(env)?;
        let mut missing = vec![variables, TENANT, "AZURE_CLIENT_ID"];
        let is_set = [credential.is_some(), tenant.is_some(), client_id.is_some()];
        let (Some(credential), Some(tenant), Some(client_id)) = (credential, tenant, client_id)
        else {
            let mut is_set = is_set.iter();
            missing.retain(|_| is_set.next() == Some(&false));
            let missing = missing.join(", ");
            let reason = format!("{source} is incomplete: missing {missing}");
            return Err(Error::config(reason).set_hint(hint.map(str::to_owned)));
        };
        Ok(Entra {
            authority,
            tenant,
            client_id,
            credential,
            proxy: match is_workload {
                true => TokenProxy::build(env)?,
                false => None,
            },
        })
    }

    fn tenant_for<'a>(&'a self, token_request: &'a TokenRequest) -> &'a str {
        token_request.tenant.as_ref().unwrap_or(&self.tenant)
    }

    /// The error of a response without a token. `sent` is the secret or the assertion in the request.
    fn error_of(
        &self,
        response: &Response,
        body: &Value,
        token_request: &TokenRequest,
        sent: &Secret,
    ) -> Error {
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
        let tenant = self.tenant_for(token_request);
        let has = |code| codes.contains(&code);
        let hint = match kind {
            RequestFailure::CredentialRefused if has(700_016) => Some(format!(
                "tenant {tenant} has no application or identity with client id {}: check AZURE_CLIENT_ID and \
                 AZURE_TENANT_ID",
                self.client_id
            )),
            RequestFailure::InvalidSettings if has(50_001) || has(500_011) || has(70_011) => {
                Some(UNKNOWN_RESOURCE.replace("{resource}", &token_request.resource))
            }
            RequestFailure::InvalidSettings => Some(format!(
                "check AZURE_TENANT_ID ({tenant}), AZURE_AUTHORITY_HOST and --cloud"
            )),
            kind => self.credential.hint(kind, &self.client_id, sent),
        };
        let mut error = response.error(kind, &excerpt(code), description);
        error.hint = hint;
        if !codes.is_empty() && !description.contains("AADSTS") {
            let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
            error.reason += &format!(" (codes {})", codes.join(", "));
        }
        for name in ["trace_id", "correlation_id", "timestamp"] {
            let value = field(name).map(excerpt);
            error = error.fact_and_note(name, value.as_deref());
        }
        error
    }
}

impl TokenSource for Entra {
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

    fn attempt(
        &self,
        http: &HttpClient,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error> {
        let path = format!("/{}/oauth2/v2.0/token", self.tenant_for(token_request));
        let proxy_service;
        let (service, base_path) = match &self.proxy {
            None => (
                service.get_or_init(|| http.remote_service(&self.authority)),
                "",
            ),
            Some(proxy) => {
                proxy_service = proxy.service(http)?;
                (&proxy_service, proxy.path.as_str())
            }
        };
        let audience = format!("https://{}{path}", self.authority);
        let secret = self.credential.read(&self.client_id, &audience)?;
        let form = format!(
            "client_id={}&grant_type=client_credentials&{}={}&scope={}",
            encode(&self.client_id),
            self.credential.parameter(),
            encode(secret.expose()),
            encode(&format!("{}/.default", token_request.resource))
        );
        let id = random_uuid();
        let request = Request {
            target: &format!("{base_path}{path}"),
            headers: &[("client-request-id", id.as_str())],
            form: Some(&form),
            timeouts: TIMEOUTS,
        };
        let response = service.send(&request, &http.deadline)?;
        let body = response.json();
        if response.status.is_success() {
            return AccessToken::from_body(body);
        }
        let error = self.error_of(&response, &body, token_request, &secret);
        // Entra's correlation id is the request id that we sent.
        Err(match body["correlation_id"].is_string() {
            true => error,
            false => error.request_ids(response.request_id(), &id),
        })
    }

    /// For errors that do not depend on what Entra says. The token proxy is not reached through HTTPS_PROXY.
    fn hint(&self, kind: RequestFailure) -> Option<String> {
        let (host, settings) = match &self.proxy {
            None => (&self.authority, "AZURE_AUTHORITY_HOST and HTTPS_PROXY"),
            Some(proxy) => (&proxy.host, token_proxy::URL),
        };
        match kind {
            RequestFailure::NameNotFound => Some(format!(
                "does this network's DNS resolve {}? Check {settings}",
                host.name
            )),
            RequestFailure::UnexpectedResponse => Some(format!(
                "the response is not from Entra: check proxies and gateways, {settings}, and what answers at {host}"
            )),
            RequestFailure::ConnectTimeout
            | RequestFailure::DeadlineExceededWhileConnecting
            | RequestFailure::ConnectionRefused
            | RequestFailure::NoRoute => Some(format!(
                "allow egress to https://{host}, or check {settings}"
            )),
            _ => None,
        }
    }

    fn can_switch_to_tenant(&self, tenant: &str) -> bool {
        !self.tenant.eq_ignore_ascii_case(tenant)
    }

    fn service(&self, http: &HttpClient) -> Option<Service> {
        match self.proxy {
            None => Some(http.remote_service(&self.authority)),
            Some(_) => None,
        }
    }
}

/// `AZURE_TENANT_ID`: an id or a domain.
pub fn configured_tenant(env: &Environment) -> Result<Option<String>, Error> {
    match env.setting(TENANT)? {
        Some(tenant) if !is_tenant(tenant) => Err(Error::config(format!(
            "{TENANT}: `{tenant}` is neither a GUID nor a domain"
        ))),
        tenant => Ok(tenant.map(str::to_owned)),
    }
}

/// The kind of error of a response without a token: by the known codes
/// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>), then by `error`,
/// then by the status.
fn classify(status: u16, code: &str, codes: &[i64]) -> RequestFailure {
    let by_code = codes.iter().find_map(|code| match code {
        70_021 | 70_025 | 700_211 | 700_212 | 700_213 => Some(RequestFailure::FederationMismatch),
        700_024 => Some(RequestFailure::AssertionExpired),
        90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_061 | 90_090 | 50_196 => {
            Some(RequestFailure::ServerError)
        }
        90_002 | 900_023 | 90_038 | 900_382 | 50_001 | 500_011 | 70_011 => {
            Some(RequestFailure::InvalidSettings)
        }
        _ => None,
    });
    by_code.unwrap_or(match (code, status) {
        ("temporarily_unavailable" | "server_error", _) => RequestFailure::ServerError,
        (_, 429) => RequestFailure::Throttled,
        (_, 408 | 500..=599) => RequestFailure::ServerError,
        ("", _) if codes.is_empty() => RequestFailure::UnexpectedResponse,
        _ => RequestFailure::CredentialRefused,
    })
}
