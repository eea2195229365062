//! IMDS: the managed identity of a virtual machine, a scale set, a node, a container group; and NMI, which stands in
//! its place in clusters with aad-pod-identity.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>. There is no
//! probe: it would only delay those for whom the endpoint comes up seconds after the container.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, TokenRequest, token_response};
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, Request, Response, Timeouts, encode, is_base_url, request_id};
use crate::log;
use crate::request::environment::Environment;
use crate::request::options::Selector;
use crate::signals::Wait;

/// Link-local, plain http; never leaves the host.
const DEFAULT_BASE: &str = "http://169.254.169.254";
/// Moves the endpoint; the SDK for Python knows it too.
const BASE_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// What every current SDK but one sends.
const API_VERSION: &str = "2018-02-01";
/// NMI holds a request for up to 100 s while it assigns the identity. It looks at once when asked again, so giving up
/// earlier loses nothing.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    response: Duration::from_secs(15),
};

/// The source.
#[derive(Debug)]
pub struct Imds {
    base: String,
    selector: Option<Selector>,
    in_kubernetes: bool,
}

impl Imds {
    /// Reads its one setting.
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<Imds, Error> {
        let base = env.setting(BASE_VARIABLE)?.unwrap_or(DEFAULT_BASE);
        if !is_base_url(base) {
            return Err(Error::new(
                Cause::Config,
                format!("{BASE_VARIABLE} is not a URL like {DEFAULT_BASE}"),
            ));
        }
        Ok(Imds {
            base: base.trim_end_matches('/').to_owned(),
            selector,
            in_kubernetes: env.setting("KUBERNETES_SERVICE_HOST")?.is_some(),
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn describe(&self) -> String {
        let which = super::describe_selector(self.selector.as_ref());
        format!("IMDS ({}, {which})", self.base)
    }

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let mut target = format!(
            "/metadata/identity/oauth2/token?api-version={API_VERSION}&resource={}",
            encode(token_request.resource)
        );
        if let Some((name, id)) = self.selector.as_ref().map(super::imds_selector) {
            target.push_str(&format!("&{name}={}", encode(id)));
        }
        let id = request_id();
        let headers = [("Metadata", "true"), ("x-ms-client-request-id", &id)];
        let request = Request {
            target: &target,
            headers: &headers,
            form: None,
            timeouts: TIMEOUTS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, self.unreachable(ErrorKind::ConnectTimeout));
        retry(&http.deadline, wait, || {
            let told = |error: AttemptError| error.hint_for(|kind| self.unreachable(kind));
            let response = service.send(&request, &http.deadline).map_err(told)?;
            match response.status.as_u16() {
                200..=202 => token_response::parse(&response).map_err(told),
                _ => Err(self.refusal(&response, &id, token_request.resource)),
            }
        })
        .map_err(|error| error.context(doing))
    }

    /// What a status other than success means
    /// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>).
    /// An NMI is known by plain text where IMDS sends JSON.
    fn refusal(&self, response: &Response, id: &str, resource: &str) -> AttemptError {
        let body = response.json();
        let field = |name: &str| body.as_ref()?.get(name).and_then(Value::as_str);
        let code = log::excerpt(field("error").unwrap_or_default(), &[]);
        let code = code.trim_end_matches('.');
        let description = field("error_description").map(str::to_owned);
        let text = description
            .or_else(|| field("error").map(str::to_owned))
            .unwrap_or_else(|| match &body {
                Some(_) => String::new(),
                None => response.text(),
            });
        let text = log::excerpt(&text, &[]).trim_end_matches('.').to_owned();
        let plain = body.is_none();
        let (kind, hint) = match response.status.as_u16() {
            403 if text.contains("unreachable") => (
                ErrorKind::NotOnAzure,
                Some("Docker Desktop answers in place of IMDS: there is no managed identity on this machine".to_owned()),
            ),
            403 | 404 if plain && ["pod", "token", "identit"].iter().any(|word| text.contains(word)) => (
                ErrorKind::IdentityNotYetAssigned,
                Some(
                    "aad-pod-identity answers here: look at the aadpodidbinding label, the AzureIdentityBinding and \
                     the NMI's logs; a client id must be written as in the AzureIdentity, case included"
                        .to_owned(),
                ),
            ),
            403 if plain => (ErrorKind::IdentityNotYetAssigned, None),
            404 | 410 => (ErrorKind::EndpointUpdating, None),
            429 => (ErrorKind::Throttled, None),
            408 | 500..=599 => (ErrorKind::ServerError, None),
            400 if text.contains("Multiple user assigned identities") => (
                ErrorKind::IdentityNotFound,
                Some("name the one that is meant: --client-id ID or AKV_INIT_CLIENT_ID".to_owned()),
            ),
            400 if text.contains("Identity not found") => (ErrorKind::IdentityNotFound, Some(self.assign_hint())),
            400 if text.contains("client_id parameter") => (
                ErrorKind::IdentityNotFound,
                Some("the workload identity proxy answers here and wants --client-id or AZURE_CLIENT_ID".to_owned()),
            ),
            400 | 401 if code == "invalid_resource" || code == "unknown_source" => (
                ErrorKind::InvalidSettings,
                Some(super::resource_hint(resource)),
            ),
            400 if text.contains("api-version") => (ErrorKind::UnexpectedResponse, None),
            400 if text.contains("metadata header") => (
                ErrorKind::UnexpectedResponse,
                Some("something between here and IMDS takes headers away: a proxy, a service mesh".to_owned()),
            ),
            400 | 401 if !plain => (ErrorKind::IdentityNotFound, None),
            _ => (ErrorKind::UnexpectedResponse, self.unreachable(ErrorKind::UnexpectedResponse)),
        };
        let said = match (code, text.as_str()) {
            ("", "") => String::new(),
            ("", text) => format!(": {text}"),
            (code, text) if text == code => format!(" ({code})"),
            (code, text) => format!(" ({code}): {text}"),
        };
        AttemptError::new(kind, format!("{}{said}", response.status_text()))
            .hint_for(|_| hint.clone())
            .retry_after(response.retry_after())
            .ids(response, id)
    }

    fn assign_hint(&self) -> String {
        let which = match self.selector {
            Some(_) => {
                "assign this user-assigned identity to the machine, or name one that is assigned"
            }
            None => "give this machine a system-assigned identity, or assign a user-assigned one",
        };
        match self.in_kubernetes {
            true => format!(
                "{which}; a pod's own identity is workload identity: label azure.workload.identity/use: \"true\""
            ),
            false => which.to_owned(),
        }
    }

    fn unreachable(&self, kind: ErrorKind) -> Option<String> {
        match kind {
            ErrorKind::ConnectTimeout | ErrorKind::DeadlineExceededConnecting | ErrorKind::ConnectionRefused | ErrorKind::NoRoute => Some(format!(
                "not on Azure, or a network policy blocks {}, or this is an init container where those have no \
                 identity (Container Instances; Container Apps outside the Consumption workload profile)",
                self.base
            )),
            ErrorKind::NameNotFound => Some(
                "look at AZURE_POD_IDENTITY_AUTHORITY_HOST: does this network's DNS know that host?".to_owned(),
            ),
            ErrorKind::UnexpectedResponse => Some(format!(
                "this is no answer of IMDS: what answers at {}? Look at AZURE_POD_IDENTITY_AUTHORITY_HOST, and at \
                 proxies and service meshes on the way",
                self.base
            )),
            ErrorKind::ResponseTimeout if self.in_kubernetes => Some(
                "aad-pod-identity, where it is in use, may still be assigning the identity: up to 100 s".to_owned(),
            ),
            _ => None,
        }
    }
}
