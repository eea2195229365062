//! Which source the environment names, and why.

use std::path::Path;

use super::arc;
use super::azure_cli::AzureCli;
use super::credential;
use super::entra::Entra;
use super::managed::{Endpoint, ManagedIdentity};
use super::managed_endpoints::{APP_SERVICE, ARC, CLOUD_SHELL, IMDS, MACHINE_LEARNING};
use super::source::TokenSource;
use crate::error::Error;
use crate::request::environment::Environment;
use crate::request::settings::{IdentityKind, Settings};

const TOKEN_CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";

/// The variables that select a source.
type Variables = &'static [&'static str];
const WORKLOAD: Variables = &[credential::TOKEN_FILE];
const PRINCIPAL: Variables = &[
    credential::SECRET,
    credential::SECRET_FILE,
    credential::CERTIFICATE,
];
const PLATFORM: Variables = &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
const MSI: Variables = &["MSI_ENDPOINT", "MSI_SECRET"];
const AGENT: Variables = &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"];
const METADATA: Variables = &["AZURE_POD_IDENTITY_AUTHORITY_HOST"];

/// The selected source of access tokens.
pub struct Selection {
    /// The source.
    pub source: Box<dyn TokenSource>,
    /// Why it was selected: "IDENTITY_ENDPOINT and IDENTITY_HEADER are set".
    pub reason: String,
    /// Variables that are set and select another source.
    pub ignored: Vec<&'static str>,
}

/// Selects the source, or says why there is none. Makes no request.
pub fn select(env: &Environment, settings: &Settings) -> Result<Selection, Error> {
    let (named, by) = match settings.identity {
        Some(name) => (Some(name), "--identity or AKV_INIT_IDENTITY"),
        None => (token_credentials(env)?, TOKEN_CREDENTIALS),
    };
    let identity = match named {
        Some(name) => name,
        None if !present(env, WORKLOAD).is_empty() => IdentityKind::Workload,
        None if !present(env, PRINCIPAL).is_empty() => IdentityKind::Principal,
        None => IdentityKind::Managed,
    };
    let (source, variables): (Box<dyn TokenSource>, Variables) = match identity {
        IdentityKind::Cli => (Box::new(AzureCli::build(env)?), &[]),
        IdentityKind::Managed => {
            let (endpoint, variables) = managed_endpoint(env)?;
            let is_named = named.is_some() || settings.identity_id.is_some();
            let is_pod = !present(env, &["KUBERNETES_SERVICE_HOST"]).is_empty();
            if variables == METADATA && is_pod && !is_named {
                return Err(no_own_identity());
            }
            let source = ManagedIdentity::build(endpoint, env, settings.identity_id.clone())?;
            (Box::new(source), variables)
        }
        IdentityKind::Principal => (Box::new(Entra::build(env, settings, false)?), PRINCIPAL),
        IdentityKind::Workload => (Box::new(Entra::build(env, settings, true)?), WORKLOAD),
    };
    let used = present(env, variables);
    let reason = match (named, used.as_slice()) {
        (Some(_), _) => format!("{by} selects it"),
        (None, _) if variables == METADATA => "no variable selects another identity".to_owned(),
        (None, []) => format!("{} exists", arc::AGENT),
        (None, used) => {
            let are = if used.len() == 1 { "is" } else { "are" };
            format!("{} {are} set", used.join(" and "))
        }
    };
    let all = [WORKLOAD, PRINCIPAL, PLATFORM, MSI, &AGENT[1..], METADATA].concat();
    let mut ignored = present(env, &all);
    ignored.retain(|name| !used.contains(name));
    Ok(Selection {
        source,
        reason,
        ignored,
    })
}

/// The endpoint of the managed identity, and the variables that select it.
fn managed_endpoint(env: &Environment) -> Result<(&'static Endpoint, Variables), Error> {
    let is_set = |name: &'static str| !present(env, &[name]).is_empty();
    let has_endpoint = is_set("IDENTITY_ENDPOINT");
    if has_endpoint && is_set("IDENTITY_HEADER") {
        if is_set("IDENTITY_SERVER_THUMBPRINT") {
            return Err(Error::config(
                "managed identity on Service Fabric (IDENTITY_SERVER_THUMBPRINT is set) is not \
                 supported",
            )
            .hint("select another identity with --identity, or unset IDENTITY_ENDPOINT"));
        }
        return Ok((&APP_SERVICE, PLATFORM));
    }
    if is_set("MSI_ENDPOINT") {
        return Ok(match is_set("MSI_SECRET") {
            true => (&MACHINE_LEARNING, MSI),
            false => (&CLOUD_SHELL, MSI),
        });
    }
    if has_endpoint && is_set("IMDS_ENDPOINT") || Path::new(arc::AGENT).exists() {
        return Ok((&ARC, AGENT));
    }
    Ok((&IMDS, METADATA))
}

/// The error in a pod whose user did not name an identity: those of the node are shared by all its pods.
fn no_own_identity() -> Error {
    Error::config(
        "workload identity is not set up for this pod, and no other identity is selected",
    )
    .hint(
        "label the pod azure.workload.identity/use: \"true\" and annotate its service account with \
         azure.workload.identity/client-id; to use an identity of the node, which all its pods share, select it with \
         --client-id, or set --identity managed",
    )
}

/// Those variables that are set, and not empty.
fn present(env: &Environment, variables: &[&'static str]) -> Vec<&'static str> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    let mut variables = variables.to_vec();
    variables.retain(|name| is_set(name));
    variables
}

/// `AZURE_TOKEN_CREDENTIALS`, as the SDKs read it: `prod` and `dev`, or one credential's type
/// (<https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains>).
fn token_credentials(env: &Environment) -> Result<Option<IdentityKind>, Error> {
    let Some(text) = env.setting(TOKEN_CREDENTIALS)? else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "prod" => Ok(None),
        "dev" | "azureclicredential" => Ok(Some(IdentityKind::Cli)),
        "environmentcredential" => Ok(Some(IdentityKind::Principal)),
        "managedidentitycredential" => Ok(Some(IdentityKind::Managed)),
        "workloadidentitycredential" => Ok(Some(IdentityKind::Workload)),
        _ => Err(Error::config(format!(
            "{TOKEN_CREDENTIALS}: `{text}` is not a supported credential"
        ))
        .hint(
            "use prod, dev, EnvironmentCredential, WorkloadIdentityCredential, ManagedIdentityCredential or \
             AzureCLICredential, or select an identity with --identity",
        )),
    }
}
