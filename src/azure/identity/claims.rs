//! What an access token says of itself, and why a source was chosen: for people who look for what is wrong.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{AccessToken, Source, arc};
use crate::error::Error;
use crate::http::{Http, Service};
use crate::request::environment::Environment;
use crate::request::options::Settings;
use crate::secret::Secret;

/// What tells the identities of the environment apart, row by row.
const VARIABLES: [(&str, &[&str]); 6] = [
    ("workload", &["AZURE_FEDERATED_TOKEN_FILE"]),
    (
        "principal",
        &[
            "AZURE_CLIENT_SECRET",
            "AZURE_CLIENT_SECRET_FILE",
            "AZURE_CLIENT_CERTIFICATE_PATH",
        ],
    ),
    ("app-service", &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]),
    ("legacy", &["MSI_ENDPOINT", "MSI_SECRET"]),
    ("arc", &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"]),
    ("imds", &["AZURE_POD_IDENTITY_AUTHORITY_HOST"]),
];

/// Why a source was chosen.
pub struct Choice {
    /// What decided it.
    pub because: String,
    /// Variables that name other sources, and are set.
    pub ignored: Vec<&'static str>,
}

impl Source {
    /// Why it is this one.
    pub fn choice(&self, env: &Environment, settings: &Settings) -> Result<Choice, Error> {
        let row = match self {
            Source::AppService(_) => "app-service",
            Source::Arc(_) => "arc",
            Source::Cli(_) => "cli",
            Source::Imds(_) => "imds",
            Source::Legacy(_) => "legacy",
            Source::Principal(_) => "principal",
            Source::Workload(_) => "workload",
        };
        let mut used: Vec<&str> = Vec::new();
        let mut ignored: Vec<&'static str> = Vec::new();
        let own = VARIABLES.iter().filter(|(name, _)| *name == row);
        for variable in own.flat_map(|(_, variables)| *variables) {
            if env.setting(variable)?.is_some() {
                used.push(variable);
            }
        }
        for variable in VARIABLES.iter().flat_map(|(_, variables)| *variables) {
            let other = !used.contains(variable) && !ignored.contains(variable);
            if other && env.setting(variable)?.is_some() {
                ignored.push(variable);
            }
        }
        let because = if settings.identity.is_some() {
            "--identity or AKV_INIT_IDENTITY names it".to_owned()
        } else if env
            .setting("AZURE_TOKEN_CREDENTIALS")?
            .is_some_and(|text| !text.trim().eq_ignore_ascii_case("prod"))
        {
            "AZURE_TOKEN_CREDENTIALS names it".to_owned()
        } else if row == "imds" {
            "no variable names another".to_owned()
        } else if used.is_empty() && Path::new(arc::AGENT).exists() {
            format!("{} is there", arc::AGENT)
        } else {
            let are = if used.len() == 1 { "is" } else { "are" };
            format!("{} {are} set", used.join(" and "))
        };
        Ok(Choice { because, ignored })
    }

    /// The service that issues the tokens, where that is one that a connection can be made to without more ado.
    pub fn service(&self, http: &Http) -> Option<Service> {
        match self {
            Source::AppService(source) => Some(http.local(source.base())),
            Source::Arc(source) => Some(http.local(source.base())),
            Source::Cli(_) => None,
            Source::Imds(source) => Some(http.local(source.base())),
            Source::Legacy(source) => Some(http.local(source.base())),
            Source::Principal(source) => Some(http.internet(source.authority())),
            Source::Workload(source) => source.authority().map(|host| http.internet(host)),
        }
    }
}

impl AccessToken {
    /// The claims that tell whose token it is and what it is for, by the names that Entra gives them; none where it is
    /// opaque. Never the token, nor its signature
    /// (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>).
    pub fn claims(&self) -> Vec<(&'static str, String)> {
        let claims = payload(&self.token);
        let Some(claims) = claims else {
            return Vec::new();
        };
        let names = ["tid", "appid", "azp", "oid", "aud", "iss"];
        let known = names
            .iter()
            .filter_map(|name| Some((*name, claims[*name].as_str()?)));
        known
            .map(|(name, value)| (name, value.to_owned()))
            .collect()
    }
}

/// What a JWT says; none if it is not one.
pub(super) fn payload(jwt: &Secret) -> Option<Value> {
    let payload = jwt.expose().split('.').nth(1)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
    serde_json::from_slice(&json.ok()?).ok()
}
