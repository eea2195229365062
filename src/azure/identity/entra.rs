//! Entra's token endpoint, for service principals and workload identities.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>. `entra_codes.rs` lists the error codes.

use std::cell::OnceCell;
use std::time::Duration;

use serde_json::Value;

use super::credential::{self, Credential, federated_claims};
use super::entra_codes::{self, UNKNOWN_CODE_HINT};
use super::source::TokenSource;
use super::token::{AccessToken, TokenRequest};
use super::token_proxy::{self, TokenProxy};
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Request, Response, Service, Timeouts, random_uuid};
use crate::log;
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::percent::encode;
use crate::request::settings::{IdentityId, Settings, is_tenant, not_shown_error};
use crate::secret::Secret;

const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// Requests tokens from Entra, for an application or for a managed identity with a federated credential.
pub struct EntraClient {
    /// The host of Entra, such as `login.microsoftonline.com`.
    authority_host: Host,
    /// The configured tenant: an id, or one of its domains.
    tenant: String,
    client_id: String,
    credential: Credential,
    /// The proxy that gets the requests instead of Entra; `None` if there is no such proxy.
    token_proxy: Option<TokenProxy>,
}

impl EntraClient {
    /// Builds the source from the settings of workload identity, or of a service principal.
    pub fn build(
        env: &Environment,
        settings: &Settings,
        is_workload_identity: bool,
    ) -> Result<EntraClient, Error> {
        let (name, credential, credential_variables, hint) = match is_workload_identity {
            true => (
                "workload identity",
                Credential::workload_identity(env)?,
                credential::TOKEN_FILE_VARIABLE,
                "the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" whose service \
                 account is annotated with azure.workload.identity/client-id",
            ),
            false => (
                "the service principal",
                Credential::service_principal(env)?,
                "AZURE_CLIENT_SECRET (or AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH)",
                "set the missing variables (an empty one does not count), or select another identity with --identity",
            ),
        };
        let client_id = match settings.identity_id(env)? {
            Some(IdentityId::Client(id)) => Some(id),
            None => None,
            Some(IdentityId::Object(_) | IdentityId::Resource(_)) => {
                let reason = format!(
                    "{name} can be selected by client id only, not by object id or resource id"
                );
                let hint = "use --client-id, or --identity managed for a managed identity";
                return Err(Error::config(reason).hint(hint));
            }
        };
        let tenant = configured_tenant(env)?;
        let authority_host = settings.authority_host(env)?;
        let mut missing = vec![credential_variables, TENANT_VARIABLE, "AZURE_CLIENT_ID"];
        let is_set = [credential.is_some(), tenant.is_some(), client_id.is_some()];
        let (Some(credential), Some(tenant), Some(client_id)) = (credential, tenant, client_id)
        else {
            let mut is_set = is_set.iter();
            missing.retain(|_| is_set.next() == Some(&false));
            let missing = missing.join(", ");
            let reason = format!("{name} is incomplete: missing {missing}");
            return Err(Error::config(reason).hint(hint));
        };
        Ok(EntraClient {
            authority_host,
            tenant,
            client_id,
            credential,
            token_proxy: match is_workload_identity {
                true => TokenProxy::build(env)?,
                false => None,
            },
        })
    }

    /// The tenant to request a token from: the one that the request names, or else the configured one.
    fn tenant_for<'a>(&'a self, token_request: &'a TokenRequest) -> &'a str {
        token_request.tenant.as_ref().unwrap_or(&self.tenant)
    }

    /// The error for a response without a token. `sent_secret` is the secret or assertion that the request sent; the
    /// error does not show it.
    pub fn response_error(
        &self,
        response: &Response,
        body: &Value,
        token_request: &TokenRequest,
        sent_secret: &Secret,
    ) -> Error {
        let excerpt = |text: &str| log::excerpt(text, &[sent_secret.expose()]);
        let field = |name: &str| body[name].as_str();
        let oauth_error = field("error").unwrap_or_default();
        // The parts of older descriptions are separated by newlines, those of newer ones by spaces.
        let description = field("error_description").unwrap_or_default();
        let description = excerpt(description.split("Trace ID:").next().unwrap_or_default());
        let description = description.trim_end_matches('.');
        let aadsts_codes = body["error_codes"].as_array().into_iter().flatten();
        let aadsts_codes: Vec<i64> = aadsts_codes
            .filter_map(Value::as_i64)
            .chain(entra_codes::code_in(description))
            .collect();
        let known = aadsts_codes.iter().find_map(|code| entra_codes::get(*code));
        let (failure, hint) = known.unwrap_or_else(|| {
            let failure = classify(response.status.as_u16(), oauth_error, &aadsts_codes);
            let is_refused = failure == RequestFailure::CredentialRefused;
            match is_refused && !aadsts_codes.is_empty() {
                true => (failure, UNKNOWN_CODE_HINT),
                false => (failure, ""),
            }
        });
        let values = [
            ("{tenant}", self.tenant_for(token_request).to_owned()),
            ("{client_id}", self.client_id.clone()),
            ("{resource}", token_request.resource.clone()),
            (
                "{code}",
                aadsts_codes
                    .first()
                    .map_or_else(String::new, i64::to_string),
            ),
            ("{now}", date::format(date::unix_now())),
            ("{claims}", federated_claims(sent_secret)),
            ("{thumbprint}", self.credential.thumbprint()),
        ];
        let fill = |hint: String, (name, value): (&str, String)| hint.replace(name, &value);
        let hint = values.into_iter().fold(hint.to_owned(), fill);
        let mut error = response.error(failure, &excerpt(oauth_error), description);
        error.hint = Some(hint).filter(|hint| !hint.is_empty());
        if !aadsts_codes.is_empty() && !description.contains("AADSTS") {
            let codes: Vec<String> = aadsts_codes.iter().map(i64::to_string).collect();
            error.reason += &format!(" (codes {})", codes.join(", "));
        }
        for name in ["trace_id", "correlation_id", "timestamp"] {
            let value = field(name).map(excerpt);
            error = error.fact_and_note(name, value.as_deref());
        }
        error
    }
}

impl TokenSource for EntraClient {
    fn describe(&self) -> String {
        let proxy = match &self.token_proxy {
            None => String::new(),
            Some(proxy) => format!(" through the token proxy {proxy}"),
        };
        format!(
            "Entra (https://{}, {} client id {}, tenant {}){proxy}",
            self.authority_host,
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
        let token_path = format!("/{}/oauth2/v2.0/token", self.tenant_for(token_request));
        let proxy_service;
        let (service, path_prefix) = match &self.token_proxy {
            None => (
                service.get_or_init(|| http.remote_service(&self.authority_host)),
                "",
            ),
            Some(proxy) => {
                proxy_service = proxy.service(http)?;
                (&proxy_service, proxy.path.as_str())
            }
        };
        let audience = format!("https://{}{token_path}", self.authority_host);
        let sent_secret = self.credential.form_value(&self.client_id, &audience)?;
        let form = format!(
            "client_id={}&grant_type=client_credentials&{}={}&scope={}",
            encode(&self.client_id),
            self.credential.form_prefix(),
            encode(sent_secret.expose()),
            encode(format!("{}/.default", token_request.resource))
        );
        let client_request_id = random_uuid();
        let request = Request {
            target: &format!("{path_prefix}{token_path}"),
            headers: &[("client-request-id", client_request_id.as_str())],
            authorization: None,
            form: Some(&form),
            timeouts: TIMEOUTS,
        };
        let response = service.send(&request, &http.deadline)?;
        let body = response.json();
        if response.status.is_success() {
            return AccessToken::from_body(body);
        }
        let error = self.response_error(&response, &body, token_request, &sent_secret);
        // Entra's correlation id is the client request id that we sent.
        Err(match body["correlation_id"].is_string() {
            true => error,
            false => error.request_ids(response.request_id(), &client_request_id),
        })
    }

    /// The hint for a failure without a valid response from Entra. Connections to the token proxy do not use
    /// HTTPS_PROXY.
    fn hint(&self, failure: RequestFailure) -> Option<String> {
        let (host, settings) = match &self.token_proxy {
            None => (&self.authority_host, "AZURE_AUTHORITY_HOST and HTTPS_PROXY"),
            Some(proxy) => (&proxy.host, token_proxy::URL_VARIABLE),
        };
        match failure {
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
        match self.token_proxy {
            None => Some(http.remote_service(&self.authority_host)),
            Some(_) => None,
        }
    }
}

/// The value of `AZURE_TENANT_ID`, an id or a domain; `None` if it is not set.
pub fn configured_tenant(env: &Environment) -> Result<Option<String>, Error> {
    match env.setting(TENANT_VARIABLE)? {
        Some(tenant) if !is_tenant(tenant) => {
            Err(not_shown_error("a GUID or a domain").context(TENANT_VARIABLE))
        }
        tenant => Ok(tenant.map(str::to_owned)),
    }
}

/// The kind of failure, for a response without a token and without a known AADSTS code. Decided by `oauth_error`, and
/// otherwise by the status.
fn classify(status: u16, oauth_error: &str, aadsts_codes: &[i64]) -> RequestFailure {
    match (oauth_error, status) {
        ("temporarily_unavailable" | "server_error", _) => RequestFailure::ServerError,
        (_, 429) => RequestFailure::Throttled,
        (_, 408 | 500..=599) => RequestFailure::ServerError,
        ("", _) if aadsts_codes.is_empty() => RequestFailure::UnexpectedResponse,
        _ => RequestFailure::CredentialRefused,
    }
}
