//! Workload identity: the service account token of a pod, exchanged at Entra for an access token.
//!
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation> and
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential>.
//! The token file is read just before each request, since the kubelet replaces it. Codes of Entra's errors may change;
//! here they decide about another try and about hints, never about success.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{AccessToken, answer};
use crate::env::Environment;
use crate::failure::{Cause, Failure};
use crate::host::Host;
use crate::http::retry::{Kind, persist};
use crate::http::trouble::Trouble;
use crate::http::{Answer, Http, Limits, Request, encode, request_id};
use crate::log;
use crate::progress::Wait;
use crate::secret::Secret;
use crate::settings::{self, Selector, Settings};

const FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// The source.
#[derive(Debug)]
pub struct WorkloadIdentity {
    authority: Host,
    tenant: String,
    client_id: String,
    token_file: PathBuf,
}

impl WorkloadIdentity {
    /// Reads its settings; half of them is an error that names the other half.
    pub fn build(env: &Environment, settings: &Settings) -> Result<WorkloadIdentity, Failure> {
        let client_id = match &settings.selector {
            Some(Selector::Client(id)) => Some(id.clone()),
            None => None,
            Some(Selector::Object(_) | Selector::Resource(_)) => {
                return Err(Failure::new(
                    Cause::Config,
                    "workload identity is chosen by client id; an object id or a resource id does not apply",
                )
                .hint("give --client-id, or --identity managed to use IMDS"));
            }
        };
        let token_file = env
            .get(FILE_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let tenant = env.setting(TENANT_VARIABLE)?;
        let missing: Vec<&str> = [
            (token_file.is_none(), FILE_VARIABLE),
            (tenant.is_none(), TENANT_VARIABLE),
            (client_id.is_none(), "AZURE_CLIENT_ID"),
        ]
        .into_iter()
        .filter_map(|(missing, name)| missing.then_some(name))
        .collect();
        let (Some(token_file), Some(tenant), Some(client_id)) = (token_file, tenant, client_id)
        else {
            return Err(Failure::new(
                Cause::Config,
                format!("workload identity is not complete: {} not set", missing.join(" and ")),
            )
            .hint(
                "the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" whose service \
                 account is annotated with azure.workload.identity/client-id",
            ));
        };
        if !tenant
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        {
            return Err(Failure::new(
                Cause::Config,
                format!("{TENANT_VARIABLE}: `{tenant}` is neither a GUID nor a domain"),
            ));
        }
        Ok(WorkloadIdentity {
            authority: settings::authority(env, settings.cloud)?,
            tenant: tenant.to_owned(),
            client_id,
            token_file,
        })
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "Entra (https://{}, workload identity with client id {}, tenant {})",
            self.authority, self.client_id, self.tenant
        )
    }

    pub(super) fn token(&self, http: &Http, resource: &str) -> Result<AccessToken, Failure> {
        let service = http.internet(&self.authority);
        let target = format!("/{}/oauth2/v2.0/token", self.tenant);
        let id = request_id();
        let headers = [("client-request-id", id.as_str())];
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, self.unreachable(Kind::NoConnection));
        persist(&http.patience, wait, || {
            let assertion = self.read_assertion()?;
            let form = format!(
                "client_id={}&grant_type=client_credentials\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion={}&scope={}",
                encode(&self.client_id),
                encode(assertion.expose()),
                encode(&format!("{resource}/.default"))
            );
            let request = Request {
                target: &target,
                headers: &headers,
                form: Some(&form),
                limits: LIMITS,
            };
            let answer = service
                .send(&request, &http.patience)
                .map_err(|trouble| trouble.hint_for(|kind| self.unreachable(kind)))?;
            match answer.status.as_u16() {
                200 | 201 => answer::read(&answer),
                _ => Err(self.refusal(&answer, &assertion, &id)),
            }
        })
        .map_err(|failure| failure.about(&doing))
    }

    /// The file as it is now, byte for byte but for white space at its ends, which no JWT has.
    fn read_assertion(&self) -> Result<Secret, Trouble> {
        let path = self.token_file.display();
        let unusable = |what: String, hint: &str| Trouble::new(Kind::BadSettings, what).hint(hint);
        match fs::read_to_string(&self.token_file) {
            Ok(text) if text.trim().is_empty() => Err(unusable(
                format!("the token file `{path}` is empty"),
                "the kubelet writes it before the container starts: is this the projected token?",
            )),
            Ok(text) => Ok(Secret::new(text.trim().to_owned())),
            Err(error) => Err(unusable(
                format!("reading the token file `{path}`: {error}"),
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        "is the pod labelled azure.workload.identity/use: \"true\", and this container not skipped?"
                    }
                    _ => {
                        "the projected token must be readable by this user: look at fsGroup and runAsUser"
                    }
                },
            )),
        }
    }

    /// What Entra's refusal means
    /// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>).
    fn refusal(&self, answer: &Answer, assertion: &Secret, id: &str) -> Trouble {
        let body = answer.json().unwrap_or_default();
        let error = body["error"].as_str().unwrap_or_default();
        let codes: Vec<i64> = body["error_codes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let description = body["error_description"].as_str().unwrap_or_default();
        // Newer texts separate their trailing parts by spaces, older ones by line ends.
        let description = description.split("Trace ID:").next().unwrap_or_default();
        let description = log::excerpt(description, &[assertion.expose()]);
        let description = description.trim_end_matches('.');
        let kind = classify(answer.status.as_u16(), error, &codes);
        let mut message = match (error, description) {
            ("", "") => answer.status_text(),
            ("", text) => format!("{}: {text}", answer.status_text()),
            (error, "") => format!(
                "{} ({})",
                answer.status_text(),
                log::excerpt(error, &[assertion.expose()])
            ),
            (error, text) => format!(
                "{} ({}): {text}",
                answer.status_text(),
                log::excerpt(error, &[assertion.expose()])
            ),
        };
        if !codes.is_empty() && !description.contains("AADSTS") {
            let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
            message.push_str(&format!(" (codes {})", codes.join(", ")));
        }
        for (name, label) in [
            ("trace_id", "trace id"),
            ("correlation_id", "correlation id"),
            ("timestamp", "at"),
        ] {
            if let Some(value) = body[name].as_str() {
                message.push_str(&format!(
                    "; {label} {}",
                    log::excerpt(value, &[assertion.expose()])
                ));
            }
        }
        // Where Entra names the correlation, that is the id that we sent.
        if body["correlation_id"].as_str().is_none() {
            message.push_str(&answer.ids(id));
        }
        Trouble {
            kind,
            message,
            hint: self.hint(kind, &codes, assertion),
            retry_after: answer.retry_after(),
        }
    }

    fn hint(&self, kind: Kind, codes: &[i64], assertion: &Secret) -> Option<String> {
        match kind {
            Kind::FederationMismatch => Some(format!(
                "the federated credential of client id {} must have exactly what was presented: {}",
                self.client_id,
                presented(assertion)
            )),
            Kind::AssertionExpired => Some(format!(
                "the token file is stale, or a clock is wrong; presented: {}",
                presented(assertion)
            )),
            Kind::CredentialRefused if codes.contains(&700_016) => Some(format!(
                "no application or identity has client id {} in tenant {}: look at AZURE_CLIENT_ID and AZURE_TENANT_ID",
                self.client_id, self.tenant
            )),
            Kind::BadSettings => Some(format!(
                "look at AZURE_TENANT_ID ({}), AZURE_AUTHORITY_HOST and --cloud",
                self.tenant
            )),
            _ => None,
        }
    }

    fn unreachable(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::NameUnknown
            | Kind::NameServer
            | Kind::NoConnection
            | Kind::CutOffConnecting
            | Kind::Refused
            | Kind::Unreachable => Some(format!(
                "this pod must reach https://{} (egress rule, or HTTPS_PROXY)",
                self.authority
            )),
            _ => None,
        }
    }
}

/// The row of the retry table for a refusal: the codes that are known, then `error`, then the status.
fn classify(status: u16, error: &str, codes: &[i64]) -> Kind {
    for code in codes {
        match code {
            70_021 | 70_025 | 700_211 | 700_212 | 700_213 => return Kind::FederationMismatch,
            700_024 => return Kind::AssertionExpired,
            90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_061 | 90_090 | 50_196 => {
                return Kind::Busy;
            }
            90_002 | 900_023 | 90_038 | 900_382 | 50_001 | 500_011 | 70_011 => {
                return Kind::BadSettings;
            }
            _ => {}
        }
    }
    match (error, status) {
        ("temporarily_unavailable" | "server_error", _) => Kind::Busy,
        (_, 429) => Kind::Throttled,
        (_, 408 | 500..=599) => Kind::Busy,
        ("", _) if codes.is_empty() => Kind::Foreign,
        _ => Kind::CredentialRefused,
    }
}

/// Issuer, subject and audience of a JWT: what a federated credential is compared with, and no secret.
fn presented(assertion: &Secret) -> String {
    let payload = assertion.expose().split('.').nth(1).unwrap_or_default();
    let claims: Option<Value> = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    let Some(claims) = claims else {
        return "something that is not a JWT".to_owned();
    };
    let claim = |name: &str| match &claims[name] {
        Value::String(text) => log::excerpt(text, &[]),
        Value::Array(list) => {
            let texts: Vec<String> = list
                .iter()
                .filter_map(Value::as_str)
                .map(|text| log::excerpt(text, &[]))
                .collect();
            texts.join(" ")
        }
        _ => "none".to_owned(),
    };
    format!(
        "issuer {}, subject {}, audience {}",
        claim("iss"),
        claim("sub"),
        claim("aud")
    )
}
