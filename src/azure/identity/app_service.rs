//! The managed identity of App Service, Functions and Container Apps: an endpoint of the platform beside the container.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>. In Container Apps
//! it is a sidecar that is often not up yet when the container starts: refused connections are normal then.

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

const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
const API_VERSION: &str = "2019-08-01";
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(10),
};

/// The source.
#[derive(Debug)]
pub struct AppService {
    base: String,
    /// With the query that the endpoint may bring.
    path: String,
    header: Secret,
    selector: Option<Selector>,
}

impl AppService {
    /// Reads its two settings, both of which the platform makes.
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<AppService, Error> {
        let (endpoint, header) = (env.setting(ENDPOINT)?, super::header_value(env, HEADER)?);
        let (Some(endpoint), Some(header)) = (endpoint, header) else {
            unreachable!("this source is chosen where both are set");
        };
        let Some((base, path)) = split_url(endpoint) else {
            return Err(Error::new(
                Cause::Config,
                format!("{ENDPOINT} is not a URL"),
            ));
        };
        Ok(AppService {
            base: base.to_owned(),
            path: path.to_owned(),
            header,
            selector,
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn describe(&self) -> String {
        let which = super::describe_selector(self.selector.as_ref());
        format!("the platform's identity endpoint ({}, {which})", self.base)
    }

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let query = format!(
            "api-version={API_VERSION}&resource={}",
            encode(token_request.resource)
        );
        let mut target = with_query(&self.path, &query);
        match &self.selector {
            None => {}
            Some(Selector::Client(id)) => target.push_str(&format!("&client_id={}", encode(id))),
            Some(Selector::Object(id)) => target.push_str(&format!("&principal_id={}", encode(id))),
            Some(Selector::Resource(id)) => target.push_str(&format!("&mi_res_id={}", encode(id))),
        }
        let request = Request {
            target: &target,
            headers: &[("X-IDENTITY-HEADER", self.header.expose())],
            form: None,
            timeouts: TIMEOUTS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, unreachable(ErrorKind::ConnectTimeout));
        retry(&http.deadline, wait, || {
            let response = service
                .send(&request, &http.deadline)
                .map_err(|error| error.hint_for(unreachable))?;
            match response.status.as_u16() {
                200 => {
                    token_response::parse(&response).map_err(|error| error.hint_for(unreachable))
                }
                _ => Err(self.refusal(&response, token_request.resource)),
            }
        })
        .map_err(|error| error.context(doing))
    }

    fn refusal(&self, response: &Response, resource: &str) -> AttemptError {
        let body = response.json().unwrap_or_default();
        let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = log::excerpt(field("message"), &[self.header.expose()]);
        let said = said.trim_end_matches('.');
        let correlation = match field("correlationId") {
            "" => response.header("x-correlation-id").unwrap_or_default(),
            id => id,
        };
        let (kind, hint) = match response.status.as_u16() {
            400 => (
                ErrorKind::IdentityNotFound,
                Some(match &self.selector {
                    None => {
                        "is an identity assigned to the app? With user-assigned ones only, name one: --client-id ID"
                            .to_owned()
                    }
                    Some(_) => {
                        "is this identity assigned to the app? In Container Apps its lifecycle may exclude init \
                         containers"
                            .to_owned()
                    }
                }),
            ),
            401 | 403 => (
                ErrorKind::CredentialRefused,
                Some(
                    "IDENTITY_HEADER is not the platform's present one: restart the app, and never set it or \
                     IDENTITY_ENDPOINT by hand"
                        .to_owned(),
                ),
            ),
            429 => (ErrorKind::Throttled, None),
            500 => (
                ErrorKind::MaybeBadResource,
                Some(format!("this often means that {}", super::resource_hint(resource))),
            ),
            404 | 408 | 410 | 501..=599 => (ErrorKind::ServerError, None),
            _ => (ErrorKind::UnexpectedResponse, unreachable(ErrorKind::UnexpectedResponse)),
        };
        let mut message = response.status_text();
        if !said.is_empty() {
            message.push_str(&format!(": {said}"));
        }
        if !correlation.is_empty() {
            let correlation = log::excerpt(correlation, &[self.header.expose()]);
            message.push_str(&format!("; correlation id {correlation}"));
        }
        AttemptError::new(kind, message)
            .hint_for(|_| hint.clone())
            .retry_after(response.retry_after())
    }
}

fn unreachable(kind: ErrorKind) -> Option<String> {
    match kind {
        ErrorKind::ConnectTimeout | ErrorKind::DeadlineExceededConnecting | ErrorKind::ConnectionRefused | ErrorKind::NoRoute => Some(
            "the platform's identity endpoint did not come up; in Container Apps init containers have one only in the \
             Consumption workload profile (not in Dedicated ones, nor in Consumption-only environments), and there \
             only if the identity's lifecycle includes Init"
                .to_owned(),
        ),
        ErrorKind::UnexpectedResponse => Some(
            "this is no answer of the platform's identity endpoint: is IDENTITY_ENDPOINT as the platform set it?"
                .to_owned(),
        ),
        _ => None,
    }
}
