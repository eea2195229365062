//! Error responses of a vault: their kind of failure, message and hint.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: for a disabled secret the status is 403, which no role changes.

use std::net::IpAddr;

use super::challenge;
use crate::azure::identity::{EXPIRED_TOKEN_HINT, jwt_payload};
use crate::error::{Cause, Error, RequestFailure};
use crate::http::{HttpClient, Response};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::host::{Host, is_private};
use crate::request::settings::Settings;
use crate::secret::Secret;

/// The error for an unexpected response. `token` is the access token that the request sent; the error does not show
/// it. `connected` is the address that the request went to; `None` if only a proxy knows it. If the vault refuses the token and its challenge names a tenant, the error has that tenant as the fact
/// `tenant`.
pub fn response_error(
    response: &Response,
    token: Option<&Secret>,
    connected: Option<IpAddr>,
    host: &Host,
    http: &HttpClient,
    client_request_id: &str,
) -> Error {
    let body = response.json();
    let mut inner = &body["error"];
    // Some servers repeat the token.
    let secrets = [token.map_or("", Secret::expose)];
    let message = log::redact(inner["message"].as_str().unwrap_or_default(), &secrets);
    let mut code = inner_code_from_message(&message)
        .or(inner["code"].as_str())
        .unwrap_or_default();
    while inner["innererror"].is_object() {
        inner = &inner["innererror"];
        code = inner["code"].as_str().unwrap_or(code);
    }
    let header = |name| response.header(name).unwrap_or_default();
    let challenge = log::redact(header("www-authenticate"), &secrets);
    let error = ErrorBody {
        status: response.status.as_u16(),
        code: log::excerpt(code, &secrets),
        message,
    };
    let claims = token.and_then(jwt_payload).unwrap_or_default();
    let claim = |name: &str| Some(log::excerpt(claims[name].as_str()?, &secrets));
    let ids = claim("appid").or_else(|| claim("azp")).zip(claim("oid"));
    let caller = ids.map(|(client_id, object_id)| format!("appid={client_id};oid={object_id}"));
    let (caller, audience) = match error.caller() {
        None => (caller, claim("aud")),
        caller => (caller, None),
    };
    let address = error.client_address(header("x-ms-keyvault-network-info"));
    // An address of this machine is that of a proxy or of a test.
    let connected = connected.filter(|address| !address.is_loopback());
    let (route, route_address) = match connected {
        None => ("the request came from".to_owned(), address),
        connected => (format!("{host} resolves to"), connected),
    };
    let (failure, hint) = error.classify(&challenge, address, route_address);
    let mut hint = match unreachable_hint(host, failure) {
        Some(hint) if error.status != 400 || error.code.is_empty() => hint,
        _ => hint.to_owned(),
    };
    let scope = error.text_after("Resource:");
    let scope = scope.unwrap_or_else(|| format!("of the vault {host}"));
    let [address, route_address] =
        [address, route_address].map(|address| address.map(|address| address.to_string()));
    for (placeholder, value) in [
        ("{host}", &*host.to_string()),
        ("{vault}", host.name.split('.').next().unwrap_or_default()),
        ("{zone}", &private_dns_zone(host)),
        ("{scope}", &scope),
        ("{object_id}", object_id(caller.as_deref())),
        ("{route}", &route),
        ("{address}", route_address.as_deref().unwrap_or_default()),
    ] {
        hint = hint.replace(placeholder, value);
    }
    if failure == RequestFailure::MissingPermission && !http.deadline.waits_for_access() {
        hint.push_str("; if granted in the last 10 minutes, use --wait-for-access 10m");
    }
    let is_token_refused = error.status == 401 && failure == RequestFailure::AccessRefused;
    let tenant = challenge::parse(&challenge).and_then(|challenge| challenge.tenant);
    let parts = response.error(failure, &error.code, &error.reason());
    let is_denied = parts.cause == Cause::Denied;
    parts
        .set_hint(Some(hint).filter(|hint| !hint.is_empty()))
        .fact_and_note("caller", caller.as_deref().filter(|_| is_denied))
        .fact_and_note("audience", audience.as_deref().filter(|_| is_denied))
        .fact_and_note("client_address", address.as_deref())
        .request_ids(response.request_id(), client_request_id)
        .maybe_fact("refusal", Some(&error.code).filter(|code| !code.is_empty()))
        .maybe_fact("tenant", tenant.filter(|_| is_token_refused))
}

/// The object id of a caller given as `appid=…;oid=…`. If there is none, or it is unsafe in a command line, `OID`.
fn object_id(caller: Option<&str>) -> &str {
    let mut parts = caller.unwrap_or_default().split(';');
    let object_id = parts.find_map(|part| part.strip_prefix("oid="));
    let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let object_id = object_id.filter(|id| !id.is_empty() && id.bytes().all(is_id));
    object_id.unwrap_or("OID")
}

/// The body of an error response.
struct ErrorBody {
    status: u16,
    /// The innermost error code; empty if there is none.
    code: String,
    /// The error message, which may have several lines.
    message: String,
}

impl ErrorBody {
    /// The first line of the message, without the link to the documentation.
    fn reason(&self) -> String {
        let line = log::excerpt(&self.message, &[]);
        let reason = line.split(" For help resolving").next().unwrap_or_default();
        reason.trim_end_matches('.').to_owned()
    }

    /// The text that follows a label in the message, up to the end of the line; `None` if there is no such label.
    fn text_after(&self, label: &str) -> Option<String> {
        let rest = &self.message[self.message.find(label)? + label.len()..];
        let text = rest.lines().next()?.trim().trim_matches('\'');
        (!text.is_empty()).then(|| log::excerpt(text, &[]))
    }

    /// The ids of the caller in the message, as in `appid=…;oid=…`, without the issuer; `None` if the message has
    /// none.
    fn caller(&self) -> Option<String> {
        let rest = &self.message[self.message.find("appid=")?..];
        let caller = rest.split([' ', '\'', '"', '\r', '\n']).next()?;
        let parts = caller.trim_end_matches(';').split(';');
        let kept: Vec<&str> = parts.filter(|part| !part.starts_with("iss=")).collect();
        Some(log::excerpt(&kept.join(";"), &[]))
    }

    /// The IP address of this client as the vault sees it; `None` unless the vault refuses that address. It is in the
    /// message, as in `ADDRESS from unknown subnet`, or in `network_info`, a header such as
    /// `conn_type=Ipv4;addr=ADDRESS;act_addr_fam=InterNetwork;`.
    fn client_address(&self, network_info: &str) -> Option<IpAddr> {
        if !["ForbiddenByFirewall", "ForbiddenByConnection"].contains(&self.code.as_str()) {
            return None;
        }
        let mut parts = network_info.split(';');
        let in_header = || parts.find_map(|part| part.trim().strip_prefix("addr="));
        let in_message = self.text_after("Client address:");
        let address = in_message.as_deref().or_else(in_header)?;
        address.split(' ').next()?.parse().ok()
    }

    /// The kind of failure, and a hint, which may be empty. [`response_error`] replaces the names in braces in the
    /// hint. `client` is this client's address as the vault sees it; `route` is the address that shows whether the
    /// request took the private endpoint.
    fn classify(
        &self,
        challenge: &str,
        client: Option<IpAddr>,
        route: Option<IpAddr>,
    ) -> (RequestFailure, &'static str) {
        use RequestFailure::{MissingPermission, SecretNotFound, TokenRejected};
        let refused = |hint| (RequestFailure::AccessRefused, hint);
        let message = self.message.as_str();
        let has_code = !self.code.is_empty();
        let mentions = |codes: &[&str]| codes.iter().any(|code| message.contains(code));
        let is_subnet = client.is_some_and(is_private) || message.contains("from unknown subnet");
        let deny_assignment = self.text_after("DenyAssignmentId:");
        match (self.status, self.code.as_str()) {
            (_, "ForbiddenByRbac") if deny_assignment.is_some_and(|id| id.len() == 36) => refused(
                "a deny assignment refuses this, which no role overrides: exclude the caller from it",
            ),
            (_, "ForbiddenByRbac") => (
                MissingPermission,
                "grant the caller the role \"Key Vault Secrets User\" at the scope {scope}",
            ),
            (_, "AccessDenied") if message.contains("first party") => refused(
                "the caller is a personal Microsoft account or a service of Microsoft: use another identity",
            ),
            (_, "ForbiddenByPolicy") if !message.contains("does not have secrets") => refused(
                "an access policy with an authorized application is only for users of that application: add one \
                 without, by `az keyvault set-policy --name {vault} --secret-permissions get --object-id {object_id}`",
            ),
            (_, "AccessDenied" | "ForbiddenByPolicy") => (
                MissingPermission,
                "this vault uses access policies; run `az keyvault set-policy --name {vault} --secret-permissions get \
                 --object-id {object_id}`",
            ),
            (_, "ForbiddenByFirewall") if is_subnet => refused(
                "the vault's firewall cannot allow an address in a virtual network: allow its subnet through a service \
                 endpoint (`az keyvault network-rule add --name {vault} --subnet ID`), or use a private endpoint",
            ),
            (_, "ForbiddenByFirewall") => refused(
                "allow the client address in the vault's firewall, or allow its subnet through a service endpoint",
            ),
            (_, "ForbiddenByConnection") if route.is_some_and(is_private) => refused(
                "the vault only answers through an approved private endpoint, and {route} the private address {address}: \
                 have the endpoint's connection approved; is it this vault's?",
            ),
            (_, "ForbiddenByConnection") if route.is_some() => refused(
                "the vault only answers through its private endpoint, and {route} the public address {address}: link the \
                 private DNS zone {zone} to this network, so that {host} resolves to the endpoint",
            ),
            (_, "ForbiddenByConnection") => refused(
                "the vault only answers through an approved private endpoint: if {host} resolves to a public address, \
                 link the private DNS zone {zone} to this network; if not, have the endpoint's connection approved",
            ),
            (_, "ForbiddenByNsp") => refused(
                "add an inbound access rule to the vault's network security perimeter, or use a private endpoint",
            ),
            (_, "SecretDisabled") => (
                SecretNotFound,
                "enable the secret or its current version; a pending certificate's secret is disabled too",
            ),
            (_, "SecretExpired") => (SecretNotFound, "set a new version, or a later expiry date"),
            (_, "SecretNotYetValid") => (SecretNotFound, "set an earlier activation date"),
            (404, "SecretNotFound") => (
                SecretNotFound,
                "check the name, the version and the vault; a deleted secret can be recovered",
            ),
            (401, _) if mentions(&["AKV10000"]) => refused(
                "the request has a token: does a proxy or gateway for {host} remove its Authorization header?",
            ),
            (401, _) if mentions(&["AKV10046"]) => (
                RequestFailure::SigningKeysUnavailable,
                "the vault does not know the key that signed the token; if that lasts, check --cloud and \
                 AZURE_AUTHORITY_HOST",
            ),
            (401, _) if mentions(&["not yet valid", "IDX10222"]) => {
                (RequestFailure::TokenNotYetValid, "")
            }
            (401, _) if mentions(&["AKV10022", "IDX10208", "IDX10214"]) => refused(
                "the token is for another resource than the vault expects: check --vault-resource and --cloud",
            ),
            (401, _) if mentions(&["AKV10032", "IDX10205"]) => refused(
                "the vault does not trust the tenant of the token: check AZURE_TENANT_ID and the vault's name, or, if \
                 the vault's subscription was moved, change the vault's tenant id",
            ),
            (401, _) if mentions(&["IDX10501", "IDX10503", "IDX10511"]) => (
                TokenRejected,
                "the vault does not know the key that signed the token: check --cloud and AZURE_AUTHORITY_HOST",
            ),
            (401, _) if challenge.contains("insufficient_claims") => (
                TokenRejected,
                "the tenant's Conditional Access demands a new sign-in: `az logout`, then `az login`",
            ),
            (401, _) if mentions(&["TokenExpired", "S2S12086", "IDX10223"]) => {
                (TokenRejected, EXPIRED_TOKEN_HINT)
            }
            (401, _) if challenge.contains("invalid_token") => (TokenRejected, EXPIRED_TOKEN_HINT),
            (401, _) if has_code => refused(
                "the vault does not accept the token: check AZURE_TENANT_ID, --cloud and --vault-resource",
            ),
            (403, _) if has_code => refused(
                "grant the caller the role \"Key Vault Secrets User\", or an access policy if the vault uses these; if it \
                 has one, check the vault's firewall",
            ),
            (429, _) => (RequestFailure::Throttled, ""),
            (408 | 500..=599, _) => (RequestFailure::ServerError, ""),
            _ => (RequestFailure::UnexpectedResponse, ""),
        }
    }
}

/// The inner error code that the message implies; `None` if it implies none. Some vaults leave `innererror` out.
fn inner_code_from_message(message: &str) -> Option<&'static str> {
    [
        ("is not authorized to perform action", "ForbiddenByRbac"),
        ("does not have secrets get permission", "AccessDenied"),
        ("does not have secrets list permission", "AccessDenied"),
        ("denied to first party service", "AccessDenied"),
        ("on-behalf-of (OBO) flow", "ForbiddenByPolicy"),
        ("lient address is not authorized", "ForbiddenByFirewall"),
        ("Public network access is disabled", "ForbiddenByConnection"),
        ("not an approved private link", "ForbiddenByConnection"),
        ("forbidden by NSP policy", "ForbiddenByNsp"),
        ("on a disabled secret", "SecretDisabled"),
        ("on an expired secret", "SecretExpired"),
        ("on a not yet valid secret", "SecretNotYetValid"),
    ]
    .into_iter()
    .find_map(|(text, code)| message.contains(text).then_some(code))
}

/// The hint for a vault of an unknown cloud whose challenge cannot be used: how to send it tokens all the same.
pub fn trust_hint(host: &Host, settings: &Settings) -> String {
    let mut allowed = settings.allowed_hosts.iter();
    let other_port = match allowed.find(|allowed| allowed.name == host.name) {
        Some(allowed) => format!("allowed is {allowed}, not {host}; "),
        None => String::new(),
    };
    let resource = match &settings.vault_resource {
        Some(resource) => resource.clone(),
        None => format!(
            "{}, or for the resource that --vault-resource names",
            settings.cloud.vault_resource()
        ),
    };
    format!(
        "{other_port}if you trust this host, set --allow-vault {host} or AKV_INIT_ALLOW_VAULT: it then gets the \
         identity's token for {resource}"
    )
}

/// The hint for a failed connection to the vault, or for a response that is not a vault's.
pub fn unreachable_hint(host: &Host, failure: RequestFailure) -> Option<String> {
    let is_azures = host.cloud().is_some();
    match failure {
        RequestFailure::NameNotFound if !is_azures => Some(format!(
            "is the vault's name misspelt? Does this network's DNS resolve {host}?"
        )),
        RequestFailure::NameNotFound => Some(format!(
            "is the vault's name misspelt, or not in DNS yet? With a private endpoint: does the private DNS zone {} have a record for \
             {host}, and is it linked to this network?",
            private_dns_zone(host)
        )),
        RequestFailure::ConnectTimeout
        | RequestFailure::DeadlineExceededWhileConnecting
        | RequestFailure::ConnectionRefused
        | RequestFailure::NoRoute => Some(match is_azures {
            true => format!(
                "{host} cannot be reached from this network: check DNS, egress rules, routes, the private endpoint's \
                 approval, and HTTPS_PROXY"
            ),
            false => {
                let port = match host.port {
                    443 => {
                        format!("; port 443 was tried: for another, write akv://{host}:PORT/NAME")
                    }
                    _ => String::new(),
                };
                format!(
                    "{host} cannot be reached from this network: check DNS, egress rules, routes and HTTPS_PROXY{port}"
                )
            }
        }),
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use ureq::http::{HeaderMap, StatusCode};

    use super::*;
    use crate::request::arguments::Arguments;
    use crate::request::environment::Environment;
    use crate::request::settings::Settings;

    /// The hint for such a refusal, when the request went to the address `connected`.
    fn hint(connected: &str, code: &str, message: &str) -> String {
        let env = Environment::new(Vec::new());
        let arguments = Arguments::parse("get", Vec::new(), &env).unwrap();
        let http = HttpClient::build(&env, &Settings::parse(&arguments).unwrap()).unwrap();
        let host = Host::parse("kv1.vault.azure.net").unwrap();
        let body = json!({"error": {"code": code, "message": message}}).to_string();
        let response = Response::new(StatusCode::FORBIDDEN, HeaderMap::new(), body.into_bytes());
        let connected = Some(connected.parse().unwrap());
        let error = response_error(&response, None, connected, &host, &http, "id");
        error.hint.clone().unwrap()
    }

    /// The vault sees a private address of a subnet with a service endpoint, which leads to its public address.
    #[test]
    fn hint_follows_the_address_that_the_request_went_to() {
        let [disabled, link] = [
            "Public network access is disabled and request is not from a trusted service nor via an approved private link.",
            "Connection is not an approved private link.",
        ];
        let [from_private, from_public] = ["10.1.2.3", "203.0.113.5"]
            .map(|address| format!("{disabled}\r\nClient address: {address}"));
        for (connected, code, message, named) in [
            ("10.20.0.7", "ForbiddenByConnection", disabled, "approved;"),
            (
                "10.20.0.7",
                "Forbidden",
                link,
                "resolves to the private address 10.20.0.7",
            ),
            ("10.20.0.7", "Forbidden", &from_public, "approved;"),
            (
                "20.1.2.3",
                "Forbidden",
                &from_private,
                "resolves to the public address 20.1.2.3",
            ),
            (
                "20.1.2.3",
                "ForbiddenByConnection",
                disabled,
                "privatelink.vaultcore.azure.net",
            ),
            // Of a proxy or a forwarder on this machine.
            (
                "127.0.0.1",
                "Forbidden",
                &from_private,
                "came from the private address 10.1.2.3",
            ),
        ] {
            let hint = hint(connected, code, message);
            assert!(hint.contains(named), "{connected} {message}: {hint}");
        }
    }
}
