//! Responses of a vault that are not a secret: the row of the retry table, the message and the hint.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: a disabled secret is a 403 that no role changes.

use std::net::IpAddr;

use super::challenge;
use crate::http::error::AttemptError;
use crate::http::retry::ErrorKind;
use crate::http::{Http, Response};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::host::Host;

/// A response other than 200, with the texts of its body, without the token, which some servers repeat.
pub struct Refusal {
    response: Response,
    /// `error.code`.
    code: String,
    /// The innermost `innererror.code`.
    inner: String,
    /// `error.message`, all lines of it.
    message: String,
}

impl Refusal {
    /// Parses the body. `hidden` are the secrets of the request.
    pub fn read(response: Response, hidden: &[&str]) -> Refusal {
        let body = response.json();
        let mut error = &body["error"];
        let text =
            |value: &serde_json::Value| log::without(value.as_str().unwrap_or_default(), hidden);
        let code = text(&error["code"]);
        let message = text(&error["message"]);
        let mut inner = String::new();
        while error["innererror"].is_object() {
            error = &error["innererror"];
            inner = text(&error["code"]);
        }
        if inner.is_empty() {
            inner = inner_code_of(&message).to_owned();
        }
        Refusal {
            response,
            code,
            inner,
            message,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status.as_u16()
    }

    /// A header of the response.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// The api-version that the service names when it does not know ours: "The specified version (7.4) is not
    /// recognized. Consider using the latest supported version (7.1)."
    pub fn supported_version(&self) -> Option<&str> {
        let (_, rest) = self.message.split_once("latest supported version (")?;
        let (version, _) = rest.split_once(')')?;
        let is_version = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        let usable = self.status() == 400 && !version.is_empty();
        (usable && version.bytes().all(is_version)).then_some(version)
    }

    /// The error of the attempt. `id` is the request id that we sent. The error has the fact `tenant` where another
    /// token might be accepted: one of the tenant that the challenge of a 401 names.
    pub fn into_error(self, host: &Host, http: &Http, id: &str) -> AttemptError {
        let response = &self.response;
        let reason = self.reason();
        let (kind, hint) = self.classify(&reason, host, http);
        let name = self.name();
        let mut error = AttemptError::from_response(kind, response, &name, &reason);
        error.error.hint = Some(hint).filter(|hint| !hint.is_empty());
        for (fact, label, value) in [
            ("caller", "caller", self.caller()),
            ("client_address", "client address", self.client_address()),
        ] {
            // The reason may name it already.
            error = match value {
                Some(value) if reason.contains(&value) => error.fact(fact, Some(&value)),
                value => error.labeled(fact, label, value.as_deref()),
            };
        }
        let challenge = self.header("www-authenticate").and_then(challenge::parse);
        let tenant = challenge
            .filter(|_| self.status() == 401 && kind == ErrorKind::AccessRefused)
            .and_then(|challenge| challenge.tenant);
        error
            .ids(response, id)
            .fact("refusal", Some(&name).filter(|name| !name.is_empty()))
            .fact("tenant", tenant.as_ref())
    }

    /// The inner code, or the outer one where there is none.
    fn name(&self) -> String {
        let inner = Some(self.inner.as_str()).filter(|inner| !inner.is_empty());
        log::excerpt(inner.unwrap_or(&self.code), &[])
    }

    /// The reason: the first line, without the link that follows it.
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
        let end = from
            .find([' ', '\'', '"', '\r', '\n'])
            .unwrap_or(from.len());
        let parts = from[..end].trim_end_matches(';').split(';');
        let kept: Vec<&str> = parts.filter(|part| !part.starts_with("iss=")).collect();
        Some(log::excerpt(&kept.join(";"), &[]))
    }

    /// The caller's object id, if it is one.
    fn object(&self) -> Option<String> {
        let caller = self.caller()?;
        let id = caller
            .split(';')
            .find_map(|part| part.strip_prefix("oid="))?;
        let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        (!id.is_empty() && id.bytes().all(is_id)).then(|| id.to_owned())
    }

    /// The client's address as the vault saw it, on a refusal by network.
    fn client_address(&self) -> Option<String> {
        let by_network = ["ForbiddenByFirewall", "ForbiddenByConnection"];
        if !by_network.contains(&self.inner.as_str()) {
            return None;
        }
        let info = self
            .header("x-ms-keyvault-network-info")
            .unwrap_or_default();
        let in_header = info
            .split(';')
            .find_map(|part| part.trim().strip_prefix("addr="));
        let in_message = self.line_of("Client address:");
        let mut addresses = in_message.as_deref().into_iter().chain(in_header);
        let address = addresses.find_map(|text| text.parse::<IpAddr>().ok())?;
        Some(address.to_string())
    }

    /// The row of the retry table, and the hint, which may be empty.
    fn classify(&self, reason: &str, host: &Host, http: &Http) -> (ErrorKind, String) {
        use ErrorKind::{AccessNotGranted, AccessRefused, SecretNotFound, UnexpectedResponse};
        let none = String::new();
        let wait = |done: &str| match http.deadline.waits_for_access() {
            true => String::new(),
            false => format!("; if {done} in the last 10 minutes, use --wait-for-access 10m"),
        };
        match (self.status(), self.inner.as_str()) {
            (_, "ForbiddenByRbac") => {
                let scope = match self.line_of("Resource:") {
                    Some(scope) => format!("at the scope {scope}"),
                    None => format!("on the vault {host}"),
                };
                let role = "grant the caller the role \"Key Vault Secrets User\"";
                (AccessNotGranted, format!("{role} {scope}{}", wait("assigned")))
            }
            (_, "AccessDenied") if !reason.contains("first party") => (AccessNotGranted, format!(
                "this vault uses access policies; run `az keyvault set-policy --name {} --secret-permissions get \
                 --object-id {}`{}",
                host.name.split('.').next().unwrap_or_default(),
                self.object().unwrap_or_else(|| "OID".to_owned()),
                wait("set")
            )),
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
            (404, _) if self.code == "SecretNotFound" => (
                SecretNotFound,
                "check the name, the version and the vault; a deleted secret can be recovered".to_owned(),
            ),
            (401, _) if reason.contains("AKV10046") => (ErrorKind::SigningKeysUnavailable, none),
            (401, _) if reason.contains("not yet valid") => (ErrorKind::TokenNotYetValid, none),
            (401, _) if reason.contains("AKV10022") => (AccessRefused, audience_hint(reason)),
            (401, _) if reason.contains("AKV10032") => (
                AccessRefused,
                "the vault does not trust the tenant of the token: check AZURE_TENANT_ID, or, if the vault's subscription \
                 was moved, change the vault's tenant id".to_owned(),
            ),
            (401 | 403, _) if !self.code.is_empty() => (AccessRefused, none),
            (400, _) if !self.code.is_empty() => (UnexpectedResponse, none),
            (429, _) => (ErrorKind::Throttled, none),
            (408 | 500..=599, _) => (ErrorKind::ServerError, none),
            _ => {
                let hint = unreachable_hint(host, UnexpectedResponse);
                (UnexpectedResponse, hint.unwrap_or_default())
            }
        }
    }
}

/// The inner code by the message: `innererror` is optional.
fn inner_code_of(message: &str) -> &'static str {
    [
        ("is not authorized to perform action", "ForbiddenByRbac"),
        ("does not have secrets get permission", "AccessDenied"),
        ("Client address is not authorized", "ForbiddenByFirewall"),
        ("Public network access is disabled", "ForbiddenByConnection"),
        ("on a disabled secret", "SecretDisabled"),
    ]
    .into_iter()
    .find_map(|(text, code)| message.contains(text).then_some(code))
    .unwrap_or_default()
}

/// The hint where there is no connection to the vault, or no response from one.
pub fn unreachable_hint(host: &Host, kind: ErrorKind) -> Option<String> {
    match kind {
        ErrorKind::NameNotFound => Some(format!(
            "is the vault's name right? With a private endpoint: does the private DNS zone {} have a record for \
             {host}, and is it linked to this network?",
            private_zone(host)
        )),
        ErrorKind::ConnectTimeout
        | ErrorKind::DeadlineExceededConnecting
        | ErrorKind::ConnectionRefused
        | ErrorKind::NoRoute => Some(format!(
            "{host} cannot be reached from this network: check DNS, egress rules, routes, the private endpoint's \
             approval, and HTTPS_PROXY"
        )),
        ErrorKind::UnexpectedResponse => Some(format!(
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

/// `AKV10022: Invalid audience. Expected X, found: Y`
fn audience_hint(reason: &str) -> String {
    let audiences = reason.split_once("Expected ");
    let mismatch = match audiences.and_then(|(_, rest)| rest.split_once(", found: ")) {
        Some((expected, found)) => {
            let found = found.split(' ').next().unwrap_or_default();
            let found = found.trim_end_matches('.');
            format!("the token is for `{found}`, but the vault expects `{expected}`")
        }
        None => "the vault expects a token for another resource".to_owned(),
    };
    format!("{mismatch}: check --vault-resource and --cloud")
}
