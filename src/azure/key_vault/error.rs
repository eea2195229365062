//! What a vault's refusal means: the row of the retry table, the sentence, and what to do about it.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: a disabled secret is a 403 and still not a question of access.

use std::net::IpAddr;

use super::KeyVault;
use crate::http::error::{AttemptError, NAME_SERVERS};
use crate::http::retry::ErrorKind;
use crate::http::{Http, Response};
use crate::log;
use crate::request::cloud::Cloud;
use crate::secret::Secret;

/// The texts of a refusal, without the token, which some servers echo.
struct ErrorBody {
    /// `error.code`.
    code: String,
    /// The innermost `innererror.code`.
    inner: String,
    /// `error.message`, all lines of it.
    message: String,
}

impl ErrorBody {
    fn read(response: &Response, token: &Secret) -> ErrorBody {
        let body = response.json().unwrap_or_default();
        let mut error = &body["error"];
        let text = |value: &serde_json::Value| {
            log::without(value.as_str().unwrap_or_default(), &[token.expose()])
        };
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
        ErrorBody {
            code,
            inner,
            message,
        }
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

    /// The address that the vault saw, on a refusal by network.
    fn client_address(&self, response: &Response) -> Option<String> {
        if !matches!(
            self.inner.as_str(),
            "ForbiddenByFirewall" | "ForbiddenByConnection"
        ) {
            return None;
        }
        let header = response
            .header("x-ms-keyvault-network-info")
            .unwrap_or_default();
        let seen = header
            .split(';')
            .find_map(|part| part.trim().strip_prefix("addr="));
        let said = self.line_of("Client address:");
        let address = said
            .as_deref()
            .into_iter()
            .chain(seen)
            .find_map(|text| text.parse::<IpAddr>().ok());
        address.map(|address| address.to_string())
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

/// A refusal's name, as in `SecretNotFound`, where it has one.
pub(super) fn name_of(response: &Response, token: &Secret) -> Option<String> {
    let said = ErrorBody::read(response, token);
    let name = said.name();
    (!name.is_empty()).then_some(name)
}

impl KeyVault {
    /// Reads a refusal. `id` is the request id that we sent.
    pub(super) fn refusal(
        &self,
        http: &Http,
        response: &Response,
        token: &Secret,
        id: &str,
    ) -> AttemptError {
        let said = ErrorBody::read(response, token);
        let reason = said.reason();
        let (kind, hint) = self.classify(http, response, &said, &reason);
        let name = said.name();
        // The outer code of a 401 or 403 without an inner one only repeats the status.
        let name =
            Some(name.as_str()).filter(|name| response.status.canonical_reason() != Some(*name));
        let mut message = match (name.unwrap_or_default(), reason.as_str()) {
            ("", "") => format!("{}, without a reason", response.status_text()),
            ("", reason) => format!("{}: {reason}", response.status_text()),
            (name, "") => format!("{} ({name})", response.status_text()),
            (name, reason) => format!("{} ({name}): {reason}", response.status_text()),
        };
        for (label, found) in [
            ("caller", said.caller()),
            ("client address", said.client_address(response)),
        ] {
            // It may stand in the reason already.
            if let Some(found) = found.filter(|found| !reason.contains(found.as_str())) {
                message.push_str(&format!("; {label} {found}"));
            }
        }
        message.push_str(&response.ids(id));
        AttemptError::new(kind, message)
            .hint_for(|_| hint.clone())
            .retry_after(response.retry_after())
    }

    /// The row of the retry table for a refusal, and what to do about it.
    fn classify(
        &self,
        http: &Http,
        response: &Response,
        said: &ErrorBody,
        reason: &str,
    ) -> (ErrorKind, Option<String>) {
        let host = &self.host;
        let wait = |what: &str| match http.deadline.waits_for_access() {
            true => String::new(),
            false => format!("; {what} in the last 10 minutes? --wait-for-access 10m"),
        };
        match (response.status.as_u16(), said.inner.as_str()) {
            (_, "ForbiddenByRbac") => {
                let place = match said.line_of("Resource:") {
                    Some(scope) => format!("at the scope {scope}"),
                    None => format!("on the vault {host}"),
                };
                let role = "grant the caller the role \"Key Vault Secrets User\"";
                (
                    ErrorKind::AccessNotGranted,
                    Some(format!("{role} {place}{}", wait("assigned"))),
                )
            }
            (_, "AccessDenied") if !reason.contains("first party") => (
                ErrorKind::AccessNotGranted,
                Some(format!(
                    "this vault uses access policies: az keyvault set-policy --name {} --secret-permissions get \
                     --object-id {}{}",
                    host.name.split('.').next().unwrap_or_default(),
                    said.object().unwrap_or_else(|| "OID".to_owned()),
                    wait("done")
                )),
            ),
            (_, "ForbiddenByFirewall") => (
                ErrorKind::AccessRefused,
                Some("allow the client address in the vault's firewall, or its subnet by a service endpoint".to_owned()),
            ),
            (_, "ForbiddenByConnection") => (
                ErrorKind::AccessRefused,
                Some(format!(
                    "the vault only answers through its private endpoint, and {host} led to its public address: link \
                     the private DNS zone {} to this network",
                    self.private_zone()
                )),
            ),
            (_, "SecretDisabled") => (
                ErrorKind::SecretNotFound,
                Some("enable the secret or its current version; a pending certificate's secret is disabled too".to_owned()),
            ),
            (404, _) if said.code == "SecretNotFound" => (
                ErrorKind::SecretNotFound,
                Some("look at the name, the version and the vault; a deleted secret can be recovered".to_owned()),
            ),
            (401, _) if reason.contains("AKV10046") => (ErrorKind::SigningKeysUnavailable, None),
            (401, _) if reason.contains("not yet valid") => (ErrorKind::ServerError, None),
            (401, _) if reason.contains("AKV10022") => (ErrorKind::AccessRefused, Some(audience_hint(reason))),
            (401, _) if reason.contains("AKV10032") => (
                ErrorKind::AccessRefused,
                Some(
                    "the vault trusts another tenant than the token's: was its subscription moved? Look at \
                     AZURE_TENANT_ID, or move the vault's tenant id"
                        .to_owned(),
                ),
            ),
            (401 | 403, _) if !said.code.is_empty() => (ErrorKind::AccessRefused, None),
            (400, _) if !said.code.is_empty() => (ErrorKind::UnexpectedResponse, None),
            (429, _) => (ErrorKind::Throttled, None),
            (408 | 500..=599, _) => (ErrorKind::ServerError, None),
            _ => (ErrorKind::UnexpectedResponse, self.unreachable(ErrorKind::UnexpectedResponse)),
        }
    }

    /// What to do when the vault cannot be reached, or does not answer.
    pub(super) fn unreachable(&self, kind: ErrorKind) -> Option<String> {
        let host = &self.host;
        match kind {
            ErrorKind::NameNotFound => Some(format!(
                "is the vault's name right? With a private endpoint: does the private DNS zone {} have a record for \
                 {host}, and is it linked to this network?",
                self.private_zone()
            )),
            ErrorKind::NameServerTimeout => Some(NAME_SERVERS.to_owned()),
            ErrorKind::ConnectTimeout
            | ErrorKind::DeadlineExceededConnecting
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute => Some(format!(
                "this network does not lead to {host}: DNS, an egress rule, a route, the private endpoint's approval, \
                 or HTTPS_PROXY"
            )),
            ErrorKind::UnexpectedResponse => Some(format!(
                "this is no answer of a vault: does something else answer as {host}? Look at DNS, and at proxies and \
                 gateways on the way"
            )),
            _ => None,
        }
    }

    /// The private DNS zone that leads a vault's name to its private endpoint
    /// (<https://learn.microsoft.com/azure/private-link/private-endpoint-dns>).
    fn private_zone(&self) -> String {
        let suffix = self.host.cloud().unwrap_or(Cloud::Public).vault_suffix();
        format!(
            "privatelink.vaultcore.{}",
            suffix.trim_start_matches("vault.")
        )
    }
}

/// `AKV10022: Invalid audience. Expected X, found: Y`
fn audience_hint(reason: &str) -> String {
    let between = |from: &str, to: &str| {
        let rest = &reason[reason.find(from)? + from.len()..];
        Some(
            rest[..rest.find(to).unwrap_or(rest.len())]
                .trim_end_matches('.')
                .to_owned(),
        )
    };
    let what = match (between("Expected ", ", found"), between("found: ", " ")) {
        (Some(expected), Some(found)) => {
            format!("the token is for {found}, the vault expects {expected}")
        }
        _ => "the vault expects a token for another resource".to_owned(),
    };
    format!("{what}: look at --vault-resource and --cloud")
}
