//! Responses of a vault that are not a secret: the kind of error, the message and the hint.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: a disabled secret is a 403 that no role changes.

use std::net::IpAddr;

use super::challenge;
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Response};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::host::Host;

/// The error of a response that is not the expected one. `token` is that of the request, or empty, and `id` the id that we
/// sent. The error has the fact `tenant` where another token might be accepted: one of the tenant that the challenge of a
/// 401 names.
pub fn from_response(
    response: &Response,
    token: &str,
    host: &Host,
    http: &HttpClient,
    id: &str,
) -> Error {
    let body = response.json();
    let mut inner = &body["error"];
    // Some servers repeat the token.
    let message = log::without(inner["message"].as_str().unwrap_or_default(), &[token]);
    let known = code_of(&message).or(inner["code"].as_str());
    let mut code = known.unwrap_or_default();
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
    let (kind, hint) = error.classify(&reason, host, http);
    let address = error.client_address(response);
    let challenge = response
        .header("www-authenticate")
        .and_then(challenge::parse);
    let tenant = challenge
        .filter(|_| error.status == 401 && kind == RequestFailure::AccessRefused)
        .and_then(|challenge| challenge.tenant);
    response
        .error(kind, &error.code, &reason)
        .set_hint(Some(hint).filter(|hint| !hint.is_empty()))
        .fact_and_note("caller", error.caller().as_deref())
        .fact_and_note("client_address", address.as_deref())
        .request_ids(response.request_id(), id)
        .maybe_fact("refusal", Some(&error.code).filter(|code| !code.is_empty()))
        .maybe_fact("tenant", tenant)
}

/// What a vault says in a response that is not a secret.
struct ErrorBody {
    status: u16,
    /// The innermost error code.
    code: String,
    /// All lines of the message.
    message: String,
}

impl ErrorBody {
    /// The first line of the message, without the link that follows it.
    fn reason(&self) -> String {
        let line = log::excerpt(&self.message, &[]);
        let reason = line.split(" For help resolving").next().unwrap_or_default();
        reason.trim_end_matches('.').to_owned()
    }

    /// What follows a label in the message's lines.
    fn line_of(&self, label: &str) -> Option<String> {
        let rest = &self.message[self.message.find(label)? + label.len()..];
        let line = rest.lines().next()?.trim().trim_matches('\'');
        (!line.is_empty()).then(|| log::excerpt(line, &[]))
    }

    /// `appid=…;oid=…` as the vault prints it, without the issuer.
    fn caller(&self) -> Option<String> {
        let from = &self.message[self.message.find("appid=")?..];
        let caller = from.split([' ', '\'', '"', '\r', '\n']).next()?;
        let parts = caller.trim_end_matches(';').split(';');
        let kept: Vec<&str> = parts.filter(|part| !part.starts_with("iss=")).collect();
        Some(log::excerpt(&kept.join(";"), &[]))
    }

    /// The client's address as the vault saw it, on a refusal by network.
    fn client_address(&self, response: &Response) -> Option<String> {
        if !["ForbiddenByFirewall", "ForbiddenByConnection"].contains(&self.code.as_str()) {
            return None;
        }
        let info = response.header("x-ms-keyvault-network-info");
        let mut parts = info.unwrap_or_default().split(';');
        let in_header =
            || parts.find_map(|part| part.trim().strip_prefix("addr=").map(str::to_owned));
        let address = self.line_of("Client address:").or_else(in_header)?;
        address.parse::<IpAddr>().is_ok().then_some(address)
    }

    /// The kind of error, and the hint, which may be empty.
    fn classify(&self, reason: &str, host: &Host, http: &HttpClient) -> (RequestFailure, String) {
        use RequestFailure::{
            AccessRefused, MissingPermission, SecretNotFound, UnexpectedResponse,
        };
        let none = String::new();
        let wait = |done: &str| match http.deadline.waits_for_access() {
            true => String::new(),
            false => format!("; if {done} in the last 10 minutes, use --wait-for-access 10m"),
        };
        match (self.status, self.code.as_str()) {
            (_, "ForbiddenByRbac") => {
                let scope = match self.line_of("Resource:") {
                    Some(scope) => format!("at the scope {scope}"),
                    None => format!("on the vault {host}"),
                };
                let role = "grant the caller the role \"Key Vault Secrets User\"";
                (MissingPermission, format!("{role} {scope}{}", wait("assigned")))
            }
            (_, "AccessDenied") if !reason.contains("first party") => {
                let caller = self.caller().unwrap_or_default();
                let object = caller.split(';').find_map(|part| part.strip_prefix("oid="));
                let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
                let object = object.filter(|id| !id.is_empty() && id.bytes().all(is_id));
                (MissingPermission, format!(
                    "this vault uses access policies; run `az keyvault set-policy --name {} --secret-permissions get \
                     --object-id {}`{}",
                    host.name.split('.').next().unwrap_or_default(),
                    object.unwrap_or("OID"),
                    wait("set")
                ))
            }
            (_, "ForbiddenByFirewall") => (
                AccessRefused,
                "allow the client address in the vault's firewall, or allow its subnet through a service endpoint".to_owned(),
            ),
            (_, "ForbiddenByConnection") => (AccessRefused, format!(
                "the vault only answers through its private endpoint, and {host} resolved to its public address: link \
                 the private DNS zone {} to this network",
                private_zone(host)
            )),
            (_, "SecretDisabled") => (
                SecretNotFound,
                "enable the secret or its current version; a pending certificate's secret is disabled too".to_owned(),
            ),
            (404, "SecretNotFound") => (
                SecretNotFound,
                "check the name, the version and the vault; a deleted secret can be recovered".to_owned(),
            ),
            (401, _) if reason.contains("AKV10046") => (RequestFailure::SigningKeysUnavailable, none),
            (401, _) if reason.contains("not yet valid") => (RequestFailure::TokenNotYetValid, none),
            (401, _) if reason.contains("AKV10022") => (
                AccessRefused,
                "the token is for another resource than the vault expects: check --vault-resource and --cloud".to_owned(),
            ),
            (401, _) if reason.contains("AKV10032") => (
                AccessRefused,
                "the vault does not trust the tenant of the token: check AZURE_TENANT_ID, or, if the vault's subscription \
                 was moved, change the vault's tenant id".to_owned(),
            ),
            (401 | 403, _) if !self.code.is_empty() => (AccessRefused, none),
            (400, _) if !self.code.is_empty() => (UnexpectedResponse, none),
            (429, _) => (RequestFailure::Throttled, none),
            (408 | 500..=599, _) => (RequestFailure::ServerError, none),
            _ => {
                let hint = unreachable_hint(host, UnexpectedResponse);
                (UnexpectedResponse, hint.unwrap_or_default())
            }
        }
    }
}

/// The inner code by the message: `innererror` is optional.
fn code_of(message: &str) -> Option<&'static str> {
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

/// The hint where there is no connection to the vault, or no response from one.
pub fn unreachable_hint(host: &Host, kind: RequestFailure) -> Option<String> {
    match kind {
        RequestFailure::NameNotFound => Some(format!(
            "is the vault's name right? With a private endpoint: does the private DNS zone {} have a record for \
             {host}, and is it linked to this network?",
            private_zone(host)
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
fn private_zone(host: &Host) -> String {
    let suffix = host.cloud().unwrap_or(Cloud::Public).vault_suffix();
    format!(
        "privatelink.vaultcore.{}",
        suffix.trim_start_matches("vault.")
    )
}
