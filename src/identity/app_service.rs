//! The managed identity of App Service, Functions and Container Apps: an endpoint of the platform beside the container.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>. In Container Apps
//! it is a sidecar that is often not up yet when the container starts: refused connections are normal then.

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

const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
const API_VERSION: &str = "2019-08-01";
const LIMITS: Limits = Limits {
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
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<AppService, Failure> {
        let (endpoint, header) = (env.setting(ENDPOINT)?, super::header_value(env, HEADER)?);
        let (Some(endpoint), Some(header)) = (endpoint, header) else {
            unreachable!("this source is chosen where both are set");
        };
        let Some((base, path)) = split_url(endpoint) else {
            return Err(Failure::new(
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

    pub(super) fn token(&self, http: &Http, ask: &Ask<'_>) -> Result<AccessToken, Failure> {
        let query = format!(
            "api-version={API_VERSION}&resource={}",
            encode(ask.resource)
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
            limits: LIMITS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, unreachable(Kind::NoConnection));
        persist(&http.patience, wait, || {
            let answer = service
                .send(&request, &http.patience)
                .map_err(|trouble| trouble.hint_for(unreachable))?;
            match answer.status.as_u16() {
                200 => answer::read(&answer).map_err(|trouble| trouble.hint_for(unreachable)),
                _ => Err(self.refusal(&answer, ask.resource)),
            }
        })
        .map_err(|failure| failure.about(&doing))
    }

    fn refusal(&self, answer: &Answer, resource: &str) -> Trouble {
        let body = answer.json().unwrap_or_default();
        let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = log::excerpt(field("message"), &[self.header.expose()]);
        let said = said.trim_end_matches('.');
        let correlation = match field("correlationId") {
            "" => answer.header("x-correlation-id").unwrap_or_default(),
            id => id,
        };
        let (kind, hint) = match answer.status.as_u16() {
            400 => (
                Kind::NoSuchIdentity,
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
                Kind::CredentialRefused,
                Some(
                    "IDENTITY_HEADER is not the platform's present one: restart the app, and never set it or \
                     IDENTITY_ENDPOINT by hand"
                        .to_owned(),
                ),
            ),
            429 => (Kind::Throttled, None),
            500 => (
                Kind::PerhapsResource,
                Some(format!("this often means that {}", super::resource_hint(resource))),
            ),
            404 | 408 | 410 | 501..=599 => (Kind::Busy, None),
            _ => (Kind::Foreign, unreachable(Kind::Foreign)),
        };
        let mut message = answer.status_text();
        if !said.is_empty() {
            message.push_str(&format!(": {said}"));
        }
        if !correlation.is_empty() {
            let correlation = log::excerpt(correlation, &[self.header.expose()]);
            message.push_str(&format!("; correlation id {correlation}"));
        }
        Trouble {
            kind,
            message,
            hint,
            retry_after: answer.retry_after(),
        }
    }
}

fn unreachable(kind: Kind) -> Option<String> {
    match kind {
        Kind::NoConnection | Kind::CutOffConnecting | Kind::Refused | Kind::Unreachable => Some(
            "the platform's identity endpoint did not come up; in Container Apps init containers have one only in the \
             Consumption workload profile (not in Dedicated ones, nor in Consumption-only environments), and there \
             only if the identity's lifecycle includes Init"
                .to_owned(),
        ),
        Kind::Foreign => Some(
            "this is no answer of the platform's identity endpoint: is IDENTITY_ENDPOINT as the platform set it?"
                .to_owned(),
        ),
        _ => None,
    }
}
