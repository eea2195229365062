//! `MSI_ENDPOINT`: the managed identity of Azure ML and of the old App Service, and the user of Cloud Shell.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>, api-version
//! 2017-09-01, where the selector is `clientid`, without an underscore. With `MSI_SECRET` it is a GET with that header;
//! without, it is Cloud Shell: a POST, for the token of whoever is signed in.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, TokenRequest, token_response};
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Timeouts, encode, split_url, with_query};
use crate::log;
use crate::request::environment::Environment;
use crate::request::options::Selector;
use crate::secret::Secret;
use crate::signals::Wait;

const ENDPOINT: &str = "MSI_ENDPOINT";
const API_VERSION: &str = "2017-09-01";
const TIMEOUTS: Timeouts = Timeouts {
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
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<Legacy, Error> {
        let endpoint = env.setting(ENDPOINT)?.unwrap_or_default();
        let Some((base, path)) = split_url(endpoint) else {
            return Err(Error::new(
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
                return Err(Error::new(
                    Cause::Config,
                    "this managed identity (MSI_ENDPOINT, MSI_SECRET) is only chosen by client id",
                )
                .hint("give --client-id"));
            }
            (None, None) => Flavour::CloudShell,
            (None, Some(_)) => {
                return Err(Error::new(
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

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let resource = encode(token_request.resource);
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
            timeouts: TIMEOUTS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, None);
        retry(&http.deadline, wait, || {
            let response = service.send(&request, &http.deadline)?;
            match response.status.as_u16() {
                200 => token_response::parse(&response).map_err(|error| error.hint_for(foreign)),
                _ => Err(self.refusal(&response)),
            }
        })
        .map_err(|error| error.context(doing))
    }

    fn refusal(&self, response: &Response) -> AttemptError {
        let body = response.json().unwrap_or_default();
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
        let kind = match response.status.as_u16() {
            400 => ErrorKind::IdentityNotFound,
            401 | 403 => ErrorKind::CredentialRefused,
            429 => ErrorKind::Throttled,
            500 => ErrorKind::MaybeBadResource,
            408 | 501..=599 => ErrorKind::ServerError,
            _ => ErrorKind::UnexpectedResponse,
        };
        let hint = foreign(kind);
        let message = match said.trim_end_matches('.') {
            "" => response.status_text(),
            said => format!("{}: {said}", response.status_text()),
        };
        AttemptError::new(kind, message)
            .hint_for(|_| hint.clone())
            .retry_after(response.retry_after())
    }
}

fn foreign(kind: ErrorKind) -> Option<String> {
    (kind == ErrorKind::UnexpectedResponse).then(|| {
        "this is no answer of an identity endpoint: is MSI_ENDPOINT as the platform set it?"
            .to_owned()
    })
}
