//! Error responses of a vault: their kind of failure, message and hint.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: for a disabled secret the status is 403, which no role changes.

use std::net::IpAddr;

use super::challenge;
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Response};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::host::Host;

/// The error of a response that is not the expected one. `token` is the request's access token, or empty. If the vault
/// refuses the token and its challenge names a tenant, the error has that tenant as the fact `tenant`.
pub fn response_error(
    response: &Response,
    token: &str,
    host: &Host,
    http: &HttpClient,
    client_request_id: &str,
) -> Error {
    let body = response.json();
    let mut inner = &body["error"];
    // Some servers repeat the token.
    let message = log::redact(inner["message"].as_str().unwrap_or_default(), &[token]);
    let code_from_message = inner_code_from_message(&message);
    let mut code = code_from_message
        .or(inner["code"].as_str())
        .unwrap_or_default();
    while inner["innererror"].is_object() {
        inner = &inner["innererror"];
        code = inner["code"].as_str().unwrap_or(code);
    }
    let error = ErrorBody {
        status: response.status.as_u16(),
        code: log::excerpt(code, &[token]),
        message,
    };
    let reason = error.reason();
    let (failure, hint) = error.classify(&reason, host, http);
    let address = error.client_address(response);
    let challenge = response
        .header("www-authenticate")
        .and_then(|header| challenge::parse(&log::redact(header, &[token])));
    let tenant = challenge
        .filter(|_| error.status == 401 && failure == RequestFailure::AccessRefused)
        .and_then(|challenge| challenge.tenant);
    response
        .error(failure, &error.code, &reason)
        .set_hint(Some(hint).filter(|hint| !hint.is_empty()))
        .fact_and_note("caller", error.caller().as_deref())
        .fact_and_note("client_address", address.as_deref())
        .request_ids(response.request_id(), client_request_id)
        .maybe_fact("refusal", Some(&error.code).filter(|code| !code.is_empty()))
        .maybe_fact("tenant", tenant)
}

/// The parts of an error response.
struct ErrorBody {
    status: u16,
    /// The innermost error code, or empty.
    code: String,
    /// The message, which may have several lines.
    message: String,
}

impl ErrorBody {
    /// The first line of the message, without the link to the documentation.
    fn reason(&self) -> String {
        let line = log::excerpt(&self.message, &[]);
        let reason = line.split(" For help resolving").next().unwrap_or_default();
        reason.trim_end_matches('.').to_owned()
    }

    /// What follows a label in its line of the message.
    fn text_after(&self, label: &str) -> Option<String> {
        let rest = &self.message[self.message.find(label)? + label.len()..];
        let text = rest.lines().next()?.trim().trim_matches('\'');
        (!text.is_empty()).then(|| log::excerpt(text, &[]))
    }

    /// The caller's ids in the message, `appid=…;oid=…`, without the issuer.
    fn caller(&self) -> Option<String> {
        let rest = &self.message[self.message.find("appid=")?..];
        let caller = rest.split([' ', '\'', '"', '\r', '\n']).next()?;
        let parts = caller.trim_end_matches(';').split(';');
        let kept: Vec<&str> = parts.filter(|part| !part.starts_with("iss=")).collect();
        Some(log::excerpt(&kept.join(";"), &[]))
    }

    /// The client's address that the vault refuses, as the vault sees it.
    fn client_address(&self, response: &Response) -> Option<String> {
        if !["ForbiddenByFirewall", "ForbiddenByConnection"].contains(&self.code.as_str()) {
            return None;
        }
        let info = response.header("x-ms-keyvault-network-info");
        let mut parts = info.unwrap_or_default().split(';');
        let in_header =
            || parts.find_map(|part| part.trim().strip_prefix("addr=").map(str::to_owned));
        let address = self.text_after("Client address:").or_else(in_header)?;
        address.parse::<IpAddr>().is_ok().then_some(address)
    }

    /// The kind of failure, and a hint, which may be empty.
    fn classify(&self, reason: &str, host: &Host, http: &HttpClient) -> (RequestFailure, String) {
        use RequestFailure::{
            AccessRefused, MissingPermission, SecretNotFound, UnexpectedResponse,
        };
        let no_hint = String::new();
        let wait_hint = |change: &str| match http.deadline.waits_for_access() {
            true => String::new(),
            false => format!("; if {change} in the last 10 minutes, use --wait-for-access 10m"),
        };
        match (self.status, self.code.as_str()) {
            (_, "ForbiddenByRbac") => {
                let scope = match self.text_after("Resource:") {
                    Some(scope) => format!("at the scope {scope}"),
                    None => format!("on the vault {host}"),
                };
                let role = "grant the caller the role \"Key Vault Secrets User\"";
                (MissingPermission, format!("{role} {scope}{}", wait_hint("assigned")))
            }
            (_, "AccessDenied") if !reason.contains("first party") => {
                let caller = self.caller().unwrap_or_default();
                let object_id = caller.split(';').find_map(|part| part.strip_prefix("oid="));
                let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
                let object_id = object_id.filter(|id| !id.is_empty() && id.bytes().all(is_id));
                (MissingPermission, format!(
                    "this vault uses access policies; run `az keyvault set-policy --name {} --secret-permissions get \
                     --object-id {}`{}",
                    host.name.split('.').next().unwrap_or_default(),
                    object_id.unwrap_or("OID"),
                    wait_hint("set")
                ))
            }
            (_, "ForbiddenByFirewall") => (
                AccessRefused,
                "allow the client address in the vault's firewall, or allow its subnet through a service endpoint".to_owned(),
            ),
            (_, "ForbiddenByConnection") => (AccessRefused, format!(
                "the vault only answers through its private endpoint, and {host} resolved to its public address: link \
                 the private DNS zone {} to this network",
                private_dns_zone(host)
            )),
            (_, "SecretDisabled") => (
                SecretNotFound,
                "enable the secret or its current version; a pending certificate's secret is disabled too".to_owned(),
            ),
            (404, "SecretNotFound") => (
                SecretNotFound,
                "check the name, the version and the vault; a deleted secret can be recovered".to_owned(),
            ),
            (401, _) if reason.contains("AKV10046") => (RequestFailure::SigningKeysUnavailable, no_hint),
            (401, _) if reason.contains("not yet valid") => (RequestFailure::TokenNotYetValid, no_hint),
            (401, _) if reason.contains("AKV10022") => (
                AccessRefused,
                "the token is for another resource than the vault expects: check --vault-resource and --cloud".to_owned(),
            ),
            (401, _) if reason.contains("AKV10032") => (
                AccessRefused,
                "the vault does not trust the tenant of the token: check AZURE_TENANT_ID, or, if the vault's subscription \
                 was moved, change the vault's tenant id".to_owned(),
            ),
            (401 | 403, _) if !self.code.is_empty() => (AccessRefused, no_hint),
            (400, _) if !self.code.is_empty() => (UnexpectedResponse, no_hint),
            (429, _) => (RequestFailure::Throttled, no_hint),
            (408 | 500..=599, _) => (RequestFailure::ServerError, no_hint),
            _ => {
                let hint = unreachable_hint(host, UnexpectedResponse);
                (UnexpectedResponse, hint.unwrap_or_default())
            }
        }
    }
}

/// The inner error code that the message implies, since `innererror` is optional.
fn inner_code_from_message(message: &str) -> Option<&'static str> {
    [
        ("is not authorized to perform action", "ForbiddenByRbac"),
        ("does not have secrets get permission", "AccessDenied"),
        ("Client address is not authorized", "ForbiddenByFirewall"),
        ("Public network access is disabled", "ForbiddenByConnection"),
        ("on a disabled secret", "SecretDisabled"),
    ]
    .into_iter()
    .find_map(|(text, code)| message.contains(text).then_some(code))
}

/// The hint for a failed connection to the vault, or for a response that is not a vault's.
pub fn unreachable_hint(host: &Host, failure: RequestFailure) -> Option<String> {
    match failure {
        RequestFailure::NameNotFound => Some(format!(
            "is the vault's name right? With a private endpoint: does the private DNS zone {} have a record for \
             {host}, and is it linked to this network?",
            private_dns_zone(host)
        )),
        RequestFailure::ConnectTimeout
        | RequestFailure::DeadlineExceededWhileConnecting
        | RequestFailure::ConnectionRefused
        | RequestFailure::NoRoute => Some(format!(
            "{host} cannot be reached from this network: check DNS, egress rules, routes, the private endpoint's \
             approval, and HTTPS_PROXY"
        )),
        RequestFailure::UnexpectedResponse => Some(format!(
            "the response is not from a vault: check DNS, proxies and gateways for {host}"
        )),
        _ => None,
    }
}

/// The private DNS zone in which a vault's name resolves to its private endpoint
/// (<https://learn.microsoft.com/azure/private-link/private-endpoint-dns>).
fn private_dns_zone(host: &Host) -> String {
    let suffix = host.cloud().unwrap_or(Cloud::Public).vault_suffix();
    format!(
        "privatelink.vaultcore.{}",
        suffix.trim_start_matches("vault.")
    )
}
