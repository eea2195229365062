//! `KeyVault`: reading secrets.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>. Where a token is needed it is there
//! before the first request: the cloud's resource is known, and a challenge would say nothing new.

mod refusal;

use std::time::Duration;

use serde_json::Value;

use crate::date;
use crate::failure::Failure;
use crate::host::{Host, VaultName};
use crate::http::retry::{Kind, persist};
use crate::http::trouble::Trouble;
use crate::http::{Answer, Http, Limits, Request, Service, request_id};
use crate::identity::AccessToken;
use crate::log;
use crate::progress::Wait;
use crate::secret::Secret;
use crate::secret_ref::SecretRef;

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

impl Wanted {
    /// `NAME` or `NAME/VERSION`.
    pub fn shown(&self) -> String {
        match &self.version {
            None => self.name.clone(),
            Some(version) => format!("{}/{version}", self.name),
        }
    }

    /// As one writes it.
    pub fn reference(&self) -> SecretRef {
        SecretRef {
            vault: VaultName::Host(self.host.clone()),
            name: self.name.clone(),
            version: self.version.clone(),
            trim: false,
        }
    }
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
        let _wait = Wait::begin_aside(&doing, self.unreachable(Kind::NoConnection));
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
        let shown = format!("secret `{}`", wanted.shown());
        let target = format!("/secrets/{}?api-version={API_VERSION}", wanted.shown());
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
        let wait = Wait::begin(&doing, self.unreachable(Kind::NoConnection));
        persist(&http.patience, wait, || {
            let answer = self
                .service
                .send(&request, &http.patience)
                .map_err(|trouble| trouble.hint_for(|kind| self.unreachable(kind)))?;
            match answer.status.as_u16() {
                200 => read_bundle(&answer, &shown),
                _ => Err(self.refusal(http, &answer, &token.token, &id)),
            }
        })
        .map_err(|failure| failure.about(&doing))
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
