//! Entra's token endpoint: what every kind of service principal sends there, and what its refusals mean.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>. Codes of Entra's errors may
//! change; here they decide about another try and about hints, never about success.

use std::time::Duration;

use serde_json::Value;

use super::{AccessToken, Ask, answer, resource_hint};
use crate::challenge::is_tenant;
use crate::env::Environment;
use crate::failure::{Cause, Failure};
use crate::host::Host;
use crate::http::retry::{Kind, persist};
use crate::http::trouble::{NAME_SERVERS, Trouble};
use crate::http::{Answer, Http, Limits, Request, Service, encode, request_id};
use crate::log;
use crate::progress::Wait;
use crate::secret::Secret;
use crate::settings::{self, Selector, Settings};

const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(30),
};

/// Who asks, and where.
#[derive(Debug)]
pub struct Entra {
    /// The host of the authority.
    pub authority: Host,
    /// A tenant's id or one of its domains.
    pub tenant: String,
    /// The client id of an application or of a managed identity that federates.
    pub client_id: String,
}

/// What proves it.
#[derive(Debug)]
pub enum Credential {
    /// A signed JWT, somebody else's or our own.
    Assertion(Secret),
    /// A client secret.
    ClientSecret(Secret),
}

/// What every service principal needs besides its credential.
pub struct Client<'a> {
    authority: Host,
    /// `AZURE_TENANT_ID`.
    pub tenant: Option<&'a str>,
    /// The client id, by option or variable.
    pub id: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// Reads them; an object id or a resource id cannot name a service principal.
    pub fn of(
        env: &'a Environment,
        settings: &'a Settings,
        source: &str,
    ) -> Result<Client<'a>, Failure> {
        let id = match &settings.selector {
            Some(Selector::Client(id)) => Some(id.as_str()),
            None => None,
            Some(Selector::Object(_) | Selector::Resource(_)) => {
                return Err(Failure::new(
                    Cause::Config,
                    format!("{source} is chosen by client id; an object id or a resource id does not apply"),
                )
                .hint("give --client-id, or --identity managed to use a managed identity"));
            }
        };
        let tenant = env.setting(TENANT_VARIABLE)?;
        if let Some(tenant) = tenant
            && !is_tenant(tenant)
        {
            return Err(Failure::new(
                Cause::Config,
                format!("{TENANT_VARIABLE}: `{tenant}` is neither a GUID nor a domain"),
            ));
        }
        Ok(Client {
            authority: settings::authority(env, settings.cloud)?,
            tenant,
            id,
        })
    }

    /// Names what is missing, in the order in which one sets it: "A is not set", "A, B and C are not set".
    pub fn complete(&self, credential: &[(bool, &'static str)]) -> Result<Entra, String> {
        let mut missing: Vec<&str> = credential
            .iter()
            .filter_map(|(there, name)| (!there).then_some(*name))
            .collect();
        match (self.tenant, self.id) {
            (Some(tenant), Some(id)) if missing.is_empty() => Ok(Entra {
                authority: self.authority.clone(),
                tenant: tenant.to_owned(),
                client_id: id.to_owned(),
            }),
            (tenant, id) => {
                missing.extend(tenant.is_none().then_some(TENANT_VARIABLE));
                missing.extend(id.is_none().then_some("AZURE_CLIENT_ID"));
                Err(match missing.as_slice() {
                    [only] => format!("{only} is not set"),
                    [first @ .., last] => format!("{} and {last} are not set", first.join(", ")),
                    [] => unreachable!("something is missing"),
                })
            }
        }
    }
}

impl Entra {
    /// The tenant that is asked: the one that a vault named, or the configured one.
    pub fn tenant_for<'a>(&'a self, ask: &Ask<'a>) -> &'a str {
        ask.tenant.unwrap_or(&self.tenant)
    }

    /// Path of the token endpoint.
    pub fn path(&self, ask: &Ask<'_>) -> String {
        format!("/{}/oauth2/v2.0/token", self.tenant_for(ask))
    }

    /// "client id …, tenant …", for messages.
    pub fn describe(&self) -> String {
        format!("client id {}, tenant {}", self.client_id, self.tenant)
    }

    /// Asks Entra itself until there is a token. `credential` is made anew for each try; `hint` adds what its kind of
    /// credential needs.
    pub fn token(
        &self,
        http: &Http,
        ask: &Ask<'_>,
        doing: &str,
        credential: impl Fn() -> Result<Credential, Trouble>,
        hint: impl Fn(Kind, &Credential) -> Option<String>,
    ) -> Result<AccessToken, Failure> {
        let service = http.internet(&self.authority);
        let path = self.path(ask);
        let wait = Wait::begin(doing, self.unreachable(Kind::NoConnection));
        persist(&http.patience, wait, || {
            self.one_try(http, &service, &path, ask, credential()?, &hint)
        })
        .map_err(|failure| failure.about(doing))
    }

    /// One try, at Entra or at what stands in for it.
    pub fn one_try(
        &self,
        http: &Http,
        service: &Service,
        path: &str,
        ask: &Ask<'_>,
        credential: Credential,
        hint: &impl Fn(Kind, &Credential) -> Option<String>,
    ) -> Result<AccessToken, Trouble> {
        let proof = match &credential {
            Credential::Assertion(jwt) => format!(
                "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion={}",
                encode(jwt.expose())
            ),
            Credential::ClientSecret(secret) => {
                format!("client_secret={}", encode(secret.expose()))
            }
        };
        let form = format!(
            "client_id={}&grant_type=client_credentials&{proof}&scope={}",
            encode(&self.client_id),
            encode(&format!("{}/.default", ask.resource))
        );
        let id = request_id();
        let request = Request {
            target: path,
            headers: &[("client-request-id", id.as_str())],
            form: Some(&form),
            limits: LIMITS,
        };
        let told = |trouble: Trouble| trouble.hint_for(|kind| self.unreachable(kind));
        let answer = service.send(&request, &http.patience).map_err(told)?;
        match answer.status.as_u16() {
            200 | 201 => answer::read(&answer).map_err(told),
            _ => Err(self.refusal(&answer, &id, ask, &credential, hint)),
        }
    }

    /// What a refusal means
    /// (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes#aadsts-error-codes>).
    fn refusal(
        &self,
        answer: &Answer,
        id: &str,
        ask: &Ask<'_>,
        credential: &Credential,
        hint: &impl Fn(Kind, &Credential) -> Option<String>,
    ) -> Trouble {
        let body = answer.json().unwrap_or_default();
        let (Credential::Assertion(sent) | Credential::ClientSecret(sent)) = credential;
        // As it is, and as the form has it: an inspecting proxy may show the whole request.
        let encoded = encode(sent.expose());
        let excerpt = |text: &str| log::excerpt(text, &[sent.expose(), &encoded]);
        let error = body["error"].as_str().unwrap_or_default();
        let codes: Vec<i64> = body["error_codes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let description = body["error_description"].as_str().unwrap_or_default();
        // Newer texts separate their trailing parts by spaces, older ones by line ends.
        let description = excerpt(description.split("Trace ID:").next().unwrap_or_default());
        let description = description.trim_end_matches('.');
        let kind = classify(answer.status.as_u16(), error, &codes);
        let mut message = match (error, description) {
            ("", "") => answer.status_text(),
            ("", text) => format!("{}: {text}", answer.status_text()),
            (error, "") => format!("{} ({})", answer.status_text(), excerpt(error)),
            (error, text) => format!("{} ({}): {text}", answer.status_text(), excerpt(error)),
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
                message.push_str(&format!("; {label} {}", excerpt(value)));
            }
        }
        // Where Entra names the correlation, that is the id that we sent.
        if body["correlation_id"].as_str().is_none() {
            message.push_str(&answer.ids(id));
        }
        Trouble {
            kind,
            message,
            hint: self
                .hint(kind, &codes, ask)
                .or_else(|| hint(kind, credential))
                .or_else(|| self.unreachable(kind)),
            retry_after: answer.retry_after(),
        }
    }

    fn hint(&self, kind: Kind, codes: &[i64], ask: &Ask<'_>) -> Option<String> {
        let has = |code| codes.contains(&code);
        match kind {
            Kind::CredentialRefused if has(700_016) => Some(format!(
                "no application or identity has client id {} in tenant {}: look at AZURE_CLIENT_ID and AZURE_TENANT_ID",
                self.client_id,
                self.tenant_for(ask)
            )),
            Kind::BadSettings if has(50_001) || has(500_011) || has(70_011) => {
                Some(resource_hint(ask.resource))
            }
            Kind::BadSettings => Some(format!(
                "look at AZURE_TENANT_ID ({}), AZURE_AUTHORITY_HOST and --cloud",
                self.tenant_for(ask)
            )),
            _ => None,
        }
    }

    fn unreachable(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::NameServer => Some(NAME_SERVERS.to_owned()),
            Kind::NameUnknown => Some(format!(
                "does this network's DNS know {}? Look at AZURE_AUTHORITY_HOST, or reach it by HTTPS_PROXY",
                self.authority.name
            )),
            Kind::Foreign => Some(format!(
                "this is no answer of Entra: does something else answer as {}? Look at AZURE_AUTHORITY_HOST, and at \
                 proxies and gateways on the way",
                self.authority
            )),
            Kind::NoConnection | Kind::CutOffConnecting | Kind::Refused | Kind::Unreachable => {
                Some(format!(
                    "this container must reach https://{} (egress rule, or HTTPS_PROXY)",
                    self.authority
                ))
            }
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
