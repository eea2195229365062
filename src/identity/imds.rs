//! IMDS: the managed identity of a virtual machine, a scale set, a node, a container group; and NMI, which stands in
//! its place in clusters with aad-pod-identity.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>. There is no
//! probe: it would only delay those for whom the endpoint comes up seconds after the container.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, Ask, answer};
use crate::env::Environment;
use crate::failure::{Cause, Failure};
use crate::http::retry::{Kind, persist};
use crate::http::trouble::Trouble;
use crate::http::{Answer, Http, Limits, Request, encode, is_base_url, request_id};
use crate::log;
use crate::progress::Wait;
use crate::settings::Selector;

/// Link-local, plain http; never leaves the host.
const DEFAULT_BASE: &str = "http://169.254.169.254";
/// Moves the endpoint; the SDK for Python knows it too.
const BASE_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// What every current SDK but one sends.
const API_VERSION: &str = "2018-02-01";
/// NMI holds a request for up to 100 s while it assigns the identity. It looks at once when asked again, so giving up
/// earlier loses nothing.
const LIMITS: Limits = Limits {
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
    pub fn build(env: &Environment, selector: Option<Selector>) -> Result<Imds, Failure> {
        let base = env.setting(BASE_VARIABLE)?.unwrap_or(DEFAULT_BASE);
        if !is_base_url(base) {
            return Err(Failure::new(
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

    pub(super) fn token(&self, http: &Http, ask: &Ask<'_>) -> Result<AccessToken, Failure> {
        let mut target = format!(
            "/metadata/identity/oauth2/token?api-version={API_VERSION}&resource={}",
            encode(ask.resource)
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
            limits: LIMITS,
        };
        let service = http.local(&self.base);
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, self.unreachable(Kind::NoConnection));
        persist(&http.patience, wait, || {
            let told = |trouble: Trouble| trouble.hint_for(|kind| self.unreachable(kind));
            let answer = service.send(&request, &http.patience).map_err(told)?;
            match answer.status.as_u16() {
                200..=202 => answer::read(&answer).map_err(told),
                _ => Err(self.refusal(&answer, &id, ask.resource)),
            }
        })
        .map_err(|failure| failure.about(&doing))
    }

    /// What a status other than success means
    /// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>).
    /// An NMI is known by plain text where IMDS sends JSON.
    fn refusal(&self, answer: &Answer, id: &str, resource: &str) -> Trouble {
        let body = answer.json();
        let field = |name: &str| body.as_ref()?.get(name).and_then(Value::as_str);
        let code = log::excerpt(field("error").unwrap_or_default(), &[]);
        let code = code.trim_end_matches('.');
        let description = field("error_description").map(str::to_owned);
        let text = description
            .or_else(|| field("error").map(str::to_owned))
            .unwrap_or_else(|| match &body {
                Some(_) => String::new(),
                None => answer.text(),
            });
        let text = log::excerpt(&text, &[]).trim_end_matches('.').to_owned();
        let plain = body.is_none();
        let (kind, hint) = match answer.status.as_u16() {
            403 if text.contains("unreachable") => (
                Kind::NotOnAzure,
                Some("Docker Desktop answers in place of IMDS: there is no managed identity on this machine".to_owned()),
            ),
            403 | 404 if plain && ["pod", "token", "identit"].iter().any(|word| text.contains(word)) => (
                Kind::NotYetAssigned,
                Some(
                    "aad-pod-identity answers here: look at the aadpodidbinding label, the AzureIdentityBinding and \
                     the NMI's logs; a client id must be written as in the AzureIdentity, case included"
                        .to_owned(),
                ),
            ),
            403 if plain => (Kind::NotYetAssigned, None),
            404 | 410 => (Kind::EndpointUpdating, None),
            429 => (Kind::Throttled, None),
            408 | 500..=599 => (Kind::Busy, None),
            400 if text.contains("Multiple user assigned identities") => (
                Kind::NoSuchIdentity,
                Some("name the one that is meant: --client-id ID or AKV_INIT_CLIENT_ID".to_owned()),
            ),
            400 if text.contains("Identity not found") => (Kind::NoSuchIdentity, Some(self.assign_hint())),
            400 if text.contains("client_id parameter") => (
                Kind::NoSuchIdentity,
                Some("the workload identity proxy answers here and wants --client-id or AZURE_CLIENT_ID".to_owned()),
            ),
            400 | 401 if code == "invalid_resource" || code == "unknown_source" => (
                Kind::BadSettings,
                Some(super::resource_hint(resource)),
            ),
            400 if text.contains("api-version") => (Kind::Foreign, None),
            400 if text.contains("metadata header") => (
                Kind::Foreign,
                Some("something between here and IMDS takes headers away: a proxy, a service mesh".to_owned()),
            ),
            400 | 401 if !plain => (Kind::NoSuchIdentity, None),
            _ => (Kind::Foreign, self.unreachable(Kind::Foreign)),
        };
        let said = match (code, text.as_str()) {
            ("", "") => String::new(),
            ("", text) => format!(": {text}"),
            (code, text) if text == code => format!(" ({code})"),
            (code, text) => format!(" ({code}): {text}"),
        };
        Trouble {
            kind,
            message: format!("{}{said}{}", answer.status_text(), answer.ids(id)),
            hint,
            retry_after: answer.retry_after(),
        }
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

    fn unreachable(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::NoConnection | Kind::CutOffConnecting | Kind::Refused | Kind::Unreachable => Some(format!(
                "not on Azure, or a network policy blocks {}, or this is an init container where those have no \
                 identity (Container Instances; Container Apps outside the Consumption workload profile)",
                self.base
            )),
            Kind::NameUnknown => Some(
                "look at AZURE_POD_IDENTITY_AUTHORITY_HOST: does this network's DNS know that host?".to_owned(),
            ),
            Kind::Foreign => Some(format!(
                "this is no answer of IMDS: what answers at {}? Look at AZURE_POD_IDENTITY_AUTHORITY_HOST, and at \
                 proxies and service meshes on the way",
                self.base
            )),
            Kind::NoAnswer if self.in_kubernetes => Some(
                "aad-pod-identity, where it is in use, may still be assigning the identity: up to 100 s".to_owned(),
            ),
            _ => None,
        }
    }
}
