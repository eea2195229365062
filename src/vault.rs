//! `KeyVault`: reading secrets, and what its errors mean.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret> and
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>. The inner error code decides before the
//! status: a disabled secret is a 403 and still not a question of access.

use std::time::Duration;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::date;
use crate::failure::Failure;
use crate::host::Host;
use crate::http::retry::{Kind, persist};
use crate::http::trouble::Trouble;
use crate::http::{Answer, Http, Limits, Request, Service, request_id};
use crate::identity::AccessToken;
use crate::log;
use crate::progress::Wait;
use crate::secret::Secret;

/// Stable, and known to every cloud's vaults. Reading a secret is the same in all later ones.
const API_VERSION: &str = "7.4";
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// One secret, completed: nothing of it depends on a default any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The vault.
    pub host: Host,
    /// What an access token for the vault is asked for.
    pub resource: String,
    /// The secret's name.
    pub name: String,
    /// The secret version; none is the current one.
    pub version: Option<String>,
}

/// One vault.
pub struct KeyVault {
    host: Host,
    service: Service,
}

impl KeyVault {
    /// The vault at a host that an access token may go to.
    pub fn new(http: &Http, host: &Host) -> KeyVault {
        KeyVault {
            host: host.clone(),
            service: http.internet(host),
        }
    }

    /// Opens one connection ahead of the first request.
    pub fn open_early(&self) {
        let doing = format!("connecting to {}", self.host);
        let _wait = Wait::begin(&doing, self.unreachable(Kind::TimedOut));
        self.service.open_early(LIMITS);
    }

    /// Reads one secret. `targets` are the variables that it is for, for messages.
    pub fn read(
        &self,
        http: &Http,
        wanted: &Wanted,
        token: &AccessToken,
        targets: &str,
    ) -> Result<Secret, Failure> {
        let mut target = format!("/secrets/{}", wanted.name);
        if let Some(version) = &wanted.version {
            target.push_str(&format!("/{version}"));
        }
        let shown = format!("secret `{}`", target.trim_start_matches("/secrets/"));
        target.push_str(&format!("?api-version={API_VERSION}"));
        let id = request_id();
        let bearer = Secret::new(format!("Bearer {}", token.token.expose()));
        let headers = [
            ("Authorization", bearer.expose()),
            ("x-ms-client-request-id", id.as_str()),
        ];
        let request = Request {
            target: &target,
            headers: &headers,
            form: None,
            limits: LIMITS,
        };
        let doing = format!("reading {shown} from {} for {targets}", self.host);
        let wait = Wait::begin(&doing, self.unreachable(Kind::TimedOut));
        persist(&http.patience, wait, || {
            let answer = self
                .service
                .send(&request, &http.patience)
                .map_err(|trouble| trouble.hint_for(|kind| self.unreachable(kind)))?;
            match answer.status.as_u16() {
                200 => read_bundle(&answer, &shown),
                _ => Err(self.refusal(&answer, &token.token, &id)),
            }
        })
        .map_err(|failure| failure.about(&doing))
    }

    fn refusal(&self, answer: &Answer, token: &Secret, id: &str) -> Trouble {
        let body = answer.json().unwrap_or_default();
        let mut error = &body["error"];
        let code = error["code"].as_str().unwrap_or_default();
        let full = error["message"].as_str().unwrap_or_default();
        let mut inner = "";
        while error["innererror"].is_object() {
            error = &error["innererror"];
            inner = error["code"].as_str().unwrap_or(inner);
        }
        let message = log::excerpt(full, &[token.expose()]);
        // What follows is a link; the sentence before it is the reason.
        let message = message
            .split(" For help resolving")
            .next()
            .unwrap_or_default();
        let message = message.trim_end_matches('.').to_owned();
        let (kind, hint) = self.classify(answer, code, inner, full, &message);
        let name = log::excerpt(if inner.is_empty() { code } else { inner }, &[]);
        let mut text = match (name.as_str(), message.as_str()) {
            ("", "") => format!("{}, without a reason", answer.status_text()),
            (name, "") => format!("{} ({name})", answer.status_text()),
            (name, message) => format!("{} ({name}): {message}", answer.status_text()),
        };
        for (label, found) in [
            ("caller", caller(full)),
            ("client address", client_address(answer, full, inner)),
            (
                "request id",
                answer.header("x-ms-request-id").map(str::to_owned),
            ),
            ("client request id", Some(id.to_owned())),
        ] {
            // The caller may stand in the excerpt already.
            if let Some(found) = found.filter(|found| !message.contains(found.as_str())) {
                text.push_str(&format!(
                    "; {label} {}",
                    log::excerpt(&found, &[token.expose()])
                ));
            }
        }
        Trouble {
            kind,
            message: text,
            hint,
            retry_after: answer.retry_after(),
        }
    }

    /// The row of the retry table for a refusal, and what to do about it.
    fn classify(
        &self,
        answer: &Answer,
        code: &str,
        inner: &str,
        full: &str,
        message: &str,
    ) -> (Kind, Option<String>) {
        let host = &self.host;
        let some = |hint: String| Some(hint);
        match (answer.status.as_u16(), inner) {
            (_, "ForbiddenByRbac") => {
                let scope = line_of(full, "Resource:").unwrap_or_else(|| format!("the vault {host}"));
                (
                    Kind::NoAccessYet,
                    some(format!(
                        "grant the caller the role \"Key Vault Secrets User\" at the scope {scope}; assigned in the \
                         last 10 minutes? --wait-for-access 10m"
                    )),
                )
            }
            (_, "AccessDenied") if !message.contains("first party") => (
                Kind::NoAccessYet,
                some(format!(
                    "this vault uses access policies: az keyvault set-policy --name {} --secret-permissions get \
                     --object-id OID; done in the last 10 minutes? --wait-for-access 10m",
                    host.name.split('.').next().unwrap_or_default()
                )),
            ),
            (_, "ForbiddenByFirewall") => (
                Kind::AccessRefused,
                some("allow the client address in the vault's firewall, or its subnet by a service endpoint".to_owned()),
            ),
            (_, "ForbiddenByConnection") => (
                Kind::AccessRefused,
                some(format!(
                    "the vault only answers through its private endpoint, and {host} led to its public address: link \
                     the private DNS zone {} to this network",
                    self.private_zone()
                )),
            ),
            (_, "SecretDisabled") => (
                Kind::NoSuchSecret,
                some("enable the secret or its current version; a pending certificate's secret is disabled too".to_owned()),
            ),
            (404, _) if code == "SecretNotFound" => (
                Kind::NoSuchSecret,
                some("look at the name, the version and the vault; a deleted secret can be recovered".to_owned()),
            ),
            (401, _) if message.contains("AKV10046") => (Kind::KeysNotResolved, None),
            (401, _) if message.contains("not yet valid") => (Kind::Busy, None),
            (401, _) if message.contains("AKV10022") => (Kind::AccessRefused, some(audience_hint(message))),
            (401, _) if message.contains("AKV10032") => (
                Kind::AccessRefused,
                some(
                    "the vault trusts another tenant than the token's: was its subscription moved? Look at \
                     AZURE_TENANT_ID, or move the vault's tenant id"
                        .to_owned(),
                ),
            ),
            (401 | 403, _) if !code.is_empty() => (Kind::AccessRefused, None),
            (429, _) => (Kind::Throttled, None),
            (408 | 500..=599, _) => (Kind::Busy, None),
            _ => (
                Kind::Foreign,
                some(format!(
                    "this is not an answer of a vault to its client: does something else answer as {host}?"
                )),
            ),
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

    fn unreachable(&self, kind: Kind) -> Option<String> {
        let host = &self.host;
        match kind {
            Kind::NameUnknown => Some(format!(
                "is the vault's name right? With a private endpoint: does the private DNS zone \
                 {} have a record for {host}, and is it linked to this network?",
                self.private_zone()
            )),
            Kind::NameServer => {
                Some("the cluster's DNS does not answer: a network policy, or CoreDNS".to_owned())
            }
            Kind::TimedOut | Kind::Refused | Kind::Unreachable => Some(format!(
                "this network does not lead to {host}: an egress rule, a route, the private endpoint's approval, or \
                 HTTPS_PROXY"
            )),
            _ => None,
        }
    }
}

/// Takes the value out of a secret bundle. Nothing of the body is ever part of an error.
fn read_bundle(answer: &Answer, shown: &str) -> Result<Secret, Trouble> {
    let foreign = |why: &str| {
        Trouble::new(Kind::Foreign, format!("{}: {why}", answer.status_text()))
            .hint("does something else answer in the vault's place?")
    };
    let mut bundle = answer
        .json()
        .ok_or_else(|| foreign("the answer is not JSON"))?;
    if !bundle["id"].is_string() {
        return Err(foreign("the answer has no `id`"));
    }
    let now = date::now();
    let attributes = &bundle["attributes"];
    if let Some(expired) = attributes["exp"].as_i64().filter(|exp| *exp <= now) {
        log::warning(&format!(
            "{shown} expired at {}; it is used nevertheless",
            date::format(expired)
        ));
    }
    if let Some(begins) = attributes["nbf"].as_i64().filter(|nbf| *nbf > now) {
        log::warning(&format!(
            "{shown} is not valid before {}; it is used nevertheless",
            date::format(begins)
        ));
    }
    match bundle["value"].take() {
        Value::String(value) => Ok(Secret::new(value)),
        _ => Err(foreign("the answer has no `value`")),
    }
}

/// `appid=…;oid=…` as the vault prints it, without the issuer.
fn caller(message: &str) -> Option<String> {
    let from = &message[message.find("appid=")?..];
    let end = from
        .find([' ', '\'', '"', '\r', '\n'])
        .unwrap_or(from.len());
    let caller = from[..end].trim_end_matches(';');
    let kept: Vec<&str> = caller
        .split(';')
        .filter(|part| !part.starts_with("iss="))
        .collect();
    Some(kept.join(";"))
}

/// The address that the vault saw, on a refusal by network.
fn client_address(answer: &Answer, message: &str, inner: &str) -> Option<String> {
    if !matches!(inner, "ForbiddenByFirewall" | "ForbiddenByConnection") {
        return None;
    }
    line_of(message, "Client address:").or_else(|| {
        let info = answer.header("x-ms-keyvault-network-info")?;
        info.split(';')
            .find_map(|part| part.trim().strip_prefix("addr="))
            .map(str::to_owned)
    })
}

/// What follows a label in a message of several lines.
fn line_of(message: &str, label: &str) -> Option<String> {
    let rest = &message[message.find(label)? + label.len()..];
    let line = rest.lines().next()?.trim().trim_matches('\'');
    (!line.is_empty()).then(|| log::excerpt(line, &[]))
}

/// `AKV10022: Invalid audience. Expected X, found: Y.`
fn audience_hint(message: &str) -> String {
    let between = |from: &str, to: &str| {
        let rest = &message[message.find(from)? + from.len()..];
        Some(
            rest[..rest.find(to).unwrap_or(rest.len())]
                .trim_end_matches('.')
                .to_owned(),
        )
    };
    let expected = between("Expected ", ", found").unwrap_or_else(|| "another".to_owned());
    let found = between("found: ", " ").unwrap_or_else(|| "none".to_owned());
    format!(
        "the token is for {found}, the vault expects {expected}: look at --vault-resource and --cloud"
    )
}
