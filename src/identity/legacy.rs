//! `MSI_ENDPOINT`: the managed identity of Azure ML and of the old App Service, and the user of Cloud Shell.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>, api-version
//! 2017-09-01, where the selector is `clientid`, without an underscore. With `MSI_SECRET` it is a GET with that header;
//! without, it is Cloud Shell: a POST, for the token of whoever is signed in.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, Ask, answer};
use crate::env::Environment;
use crate::failure::{Cause, Failure};
use crate::http::retry::{Kind, persist};
use crate::http::trouble::Trouble;
use crate::http::{Answer, Http, Limits, Request, encode, split_url, with_query};
use crate::log;
use crate::progress::Wait;
use crate::secret::Secret;
use crate::settings::Selector;

const ENDPOINT: &str = "MSI_ENDPOINT";
const API_VERSION: &str = "2017-09-01";
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(10),
};

/// The source.
#[derive(Debug)]
pub struct Legacy {
    base: String,
    path: String,
    kind: Flavour,
}

#[derive(Debug)]
enum Flavour {
    /// Azure ML, old App Service: the secret, and which identity.
    MachineLearning(Secret, Option<String>),
    CloudShell,
}

impl Legacy {
    /// Reads its settings; a selector that the endpoint cannot follow is refused before any request.
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<Legacy, Failure> {
        let endpoint = env.setting(ENDPOINT)?.unwrap_or_default();
        let Some((base, path)) = split_url(endpoint) else {
            return Err(Failure::new(
                Cause::Config,
                format!("{ENDPOINT} is not a URL"),
            ));
        };
        let kind = match (super::header_value(env, "MSI_SECRET")?, selector) {
            (Some(secret), None) => {
                let default = env
                    .setting("DEFAULT_IDENTITY_CLIENT_ID")?
                    .map(str::to_owned);
                Flavour::MachineLearning(secret, default)
            }
            (Some(secret), Some(Selector::Client(id))) => {
                Flavour::MachineLearning(secret, Some(id))
            }
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    Cause::Config,
                    "this managed identity (MSI_ENDPOINT, MSI_SECRET) is only chosen by client id",
                )
                .hint("give --client-id"));
            }
            (None, None) => Flavour::CloudShell,
            (None, Some(_)) => {
                return Err(Failure::new(
                    Cause::Config,
                    "Cloud Shell (MSI_ENDPOINT) has the identity of whoever is signed in; none can be chosen",
                ));
            }
        };
        Ok(Legacy {
            base: base.to_owned(),
            path: path.to_owned(),
            kind,
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Flavour::MachineLearning(_, None) => {
                format!("MSI_ENDPOINT ({}, managed identity)", self.base)
            }
            Flavour::MachineLearning(_, Some(id)) => {
                format!(
                    "MSI_ENDPOINT ({}, managed identity with client id {id})",
                    self.base
                )
            }
            Flavour::CloudShell => format!("Cloud Shell ({})", self.base),
        }
    }

    pub(super) fn token(&self, http: &Http, ask: &Ask<'_>) -> Result<AccessToken, Failure> {
        let resource = encode(ask.resource);
        let form = format!("resource={resource}");
        let mut target = self.path.clone();
        let header = match &self.kind {
            Flavour::MachineLearning(secret, client) => {
                target = with_query(
                    &target,
                    &format!("api-version={API_VERSION}&resource={resource}"),
                );
                if let Some(id) = client {
                    target.push_str(&format!("&clientid={}", encode(id)));
                }
                ("secret", secret.expose())
            }
            Flavour::CloudShell => ("Metadata", "true"),
        };
        let request = Request {
            target: &target,
            headers: &[header],
            form: matches!(self.kind, Flavour::CloudShell).then_some(&form),
            limits: LIMITS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, None);
        persist(&http.patience, wait, || {
            let answer = service.send(&request, &http.patience)?;
            match answer.status.as_u16() {
                200 => answer::read(&answer).map_err(|trouble| trouble.hint_for(foreign)),
                _ => Err(self.refusal(&answer)),
            }
        })
        .map_err(|failure| failure.about(&doing))
    }

    fn refusal(&self, answer: &Answer) -> Trouble {
        let body = answer.json().unwrap_or_default();
        let error = match &body["error"] {
            Value::Object(_) => &body["error"],
            _ => &body,
        };
        let hidden: Vec<&str> = match &self.kind {
            Flavour::MachineLearning(secret, _) => vec![secret.expose()],
            Flavour::CloudShell => Vec::new(),
        };
        let said = ["message", "error_description"]
            .iter()
            .find_map(|name| error[*name].as_str())
            .map(|text| log::excerpt(text, &hidden))
            .unwrap_or_default();
        let kind = match answer.status.as_u16() {
            400 => Kind::NoSuchIdentity,
            401 | 403 => Kind::CredentialRefused,
            429 => Kind::Throttled,
            500 => Kind::PerhapsResource,
            408 | 501..=599 => Kind::Busy,
            _ => Kind::Foreign,
        };
        let hint = foreign(kind);
        let message = match said.trim_end_matches('.') {
            "" => answer.status_text(),
            said => format!("{}: {said}", answer.status_text()),
        };
        Trouble {
            kind,
            message,
            hint,
            retry_after: answer.retry_after(),
        }
    }
}

fn foreign(kind: Kind) -> Option<String> {
    (kind == Kind::Foreign).then(|| {
        "this is no answer of an identity endpoint: is MSI_ENDPOINT as the platform set it?"
            .to_owned()
    })
}
