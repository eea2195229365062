//! Selects the source of access tokens by the environment and the options, and says why.

use std::path::Path;

use super::azure_arc;
use super::azure_cli::AzureCli;
use super::credential;
use super::entra::EntraClient;
use super::managed::{Endpoint, ManagedIdentity};
use super::managed_endpoints::{APP_SERVICE, ARC, CLOUD_SHELL, IMDS, MSI};
use super::source::TokenSource;
use crate::error::Error;
use crate::request::environment::Environment;
use crate::request::settings::{IdentityKind, Settings};

const TOKEN_CREDENTIALS_VARIABLE: &str = "AZURE_TOKEN_CREDENTIALS";

/// The variables that select a source of tokens if they are set.
type Variables = &'static [&'static str];
const WORKLOAD_IDENTITY_VARIABLES: Variables = &[credential::TOKEN_FILE_VARIABLE];
const SERVICE_PRINCIPAL_VARIABLES: Variables = &[
    credential::SECRET_VARIABLE,
    credential::SECRET_FILE_VARIABLE,
    credential::CERTIFICATE_VARIABLE,
];
const APP_SERVICE_VARIABLES: Variables = &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
const MSI_VARIABLES: Variables = &["MSI_ENDPOINT", "MSI_SECRET"];
const ARC_VARIABLES: Variables = &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"];
const IMDS_VARIABLES: Variables = &["AZURE_POD_IDENTITY_AUTHORITY_HOST"];

/// The selected source of access tokens.
pub struct Selection {
    /// The source to get access tokens from.
    pub source: Box<dyn TokenSource>,
    /// Why this source was selected, as in "IDENTITY_ENDPOINT and IDENTITY_HEADER are set".
    pub reason: String,
    /// Variables that are set and would select another source.
    pub ignored: Vec<&'static str>,
}

/// Selects the identity, and with it the source of access tokens. Makes no request.
pub fn select(env: &Environment, settings: &Settings) -> Result<Selection, Error> {
    let (requested, requested_by) = match settings.identity {
        Some(kind) => (Some(kind), "--identity or AKV_INIT_IDENTITY"),
        None => (
            identity_from_token_credentials(env)?,
            TOKEN_CREDENTIALS_VARIABLE,
        ),
    };
    let is_any_set = |variables| !which_are_set(env, variables).is_empty();
    // An empty variable beside both ids is half a credential rather than none.
    let has_ids = which_are_set(env, &["AZURE_TENANT_ID", "AZURE_CLIENT_ID"]).len() == 2;
    let has_half =
        |variables: Variables| has_ids && variables.iter().any(|name| env.get(name).is_some());
    let kind = match requested {
        Some(kind) => kind,
        None if is_any_set(WORKLOAD_IDENTITY_VARIABLES) => IdentityKind::Workload,
        None if is_any_set(SERVICE_PRINCIPAL_VARIABLES) => IdentityKind::ServicePrincipal,
        None if has_half(WORKLOAD_IDENTITY_VARIABLES) => IdentityKind::Workload,
        None if has_half(SERVICE_PRINCIPAL_VARIABLES) => IdentityKind::ServicePrincipal,
        None => IdentityKind::Managed,
    };
    let (source, variables): (Box<dyn TokenSource>, Variables) = match kind {
        IdentityKind::Cli => (Box::new(AzureCli::build(env)?), &[]),
        IdentityKind::Managed => {
            let (endpoint, variables) = managed_endpoint(env)?;
            let identity_id = settings.identity_id(env)?;
            let is_requested = requested.is_some() || identity_id.is_some();
            let is_pod = is_any_set(&["KUBERNETES_SERVICE_HOST"]);
            if variables == IMDS_VARIABLES && is_pod && !is_requested {
                return Err(no_pod_identity_error());
            }
            let source = ManagedIdentity::build(endpoint, env, identity_id)?;
            (Box::new(source), variables)
        }
        IdentityKind::ServicePrincipal => (
            Box::new(EntraClient::build(env, settings, false)?),
            SERVICE_PRINCIPAL_VARIABLES,
        ),
        IdentityKind::Workload => (
            Box::new(EntraClient::build(env, settings, true)?),
            WORKLOAD_IDENTITY_VARIABLES,
        ),
    };
    let used = which_are_set(env, variables);
    let reason = match (requested, used.as_slice()) {
        (Some(_), _) => format!("{requested_by} selects it"),
        (None, _) if variables == IMDS_VARIABLES => {
            "no variable selects another identity".to_owned()
        }
        (None, []) => format!("{} exists", azure_arc::AGENT_PATH),
        (None, used) => {
            let are = if used.len() == 1 { "is" } else { "are" };
            format!("{} {are} set", used.join(" and "))
        }
    };
    let all_variables = [
        WORKLOAD_IDENTITY_VARIABLES,
        SERVICE_PRINCIPAL_VARIABLES,
        APP_SERVICE_VARIABLES,
        MSI_VARIABLES,
        &ARC_VARIABLES[1..],
        IMDS_VARIABLES,
    ]
    .concat();
    let mut ignored = which_are_set(env, &all_variables);
    ignored.retain(|name| !used.contains(name));
    Ok(Selection {
        source,
        reason,
        ignored,
    })
}

/// The managed identity endpoint of this platform, and the variables that select that endpoint.
fn managed_endpoint(env: &Environment) -> Result<(&'static Endpoint, Variables), Error> {
    let is_set = |name: &'static str| !which_are_set(env, &[name]).is_empty();
    let has_endpoint = is_set("IDENTITY_ENDPOINT");
    if has_endpoint && is_set("IDENTITY_HEADER") {
        if is_set("IDENTITY_SERVER_THUMBPRINT") {
            return Err(Error::config(
                "managed identity on Service Fabric (IDENTITY_SERVER_THUMBPRINT is set) is not \
                 supported",
            )
            .hint("select another identity with --identity, or unset IDENTITY_ENDPOINT"));
        }
        return Ok((&APP_SERVICE, APP_SERVICE_VARIABLES));
    }
    if is_set("MSI_ENDPOINT") {
        return Ok(match is_set("MSI_SECRET") {
            true => (&MSI, MSI_VARIABLES),
            false => (&CLOUD_SHELL, MSI_VARIABLES),
        });
    }
    if has_endpoint && is_set("IMDS_ENDPOINT") || Path::new(azure_arc::AGENT_PATH).exists() {
        return Ok((&ARC, ARC_VARIABLES));
    }
    Ok((&IMDS, IMDS_VARIABLES))
}

/// The error in a pod that has no identity, if the user selected none. The node's identities are never used unless the
/// user asks for one: all pods of the node share them.
fn no_pod_identity_error() -> Error {
    Error::config(
        "workload identity is not set up for this pod, and no other identity is selected",
    )
    .hint(
        "label the pod azure.workload.identity/use: \"true\" and annotate its service account with \
         azure.workload.identity/client-id; to use an identity of the node, which all its pods share, select it with \
         --client-id, or set --identity managed",
    )
}

/// Those of the variables that are set and not empty.
fn which_are_set(env: &Environment, variables: &[&'static str]) -> Vec<&'static str> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    let mut variables = variables.to_vec();
    variables.retain(|name| is_set(name));
    variables
}

/// The kind of identity that `AZURE_TOKEN_CREDENTIALS` selects, as in the SDKs: the value is `prod`, `dev` or a type
/// of credential (<https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains>). `None` if
/// the variable is not set, or is `prod`, which leaves the choice open.
fn identity_from_token_credentials(env: &Environment) -> Result<Option<IdentityKind>, Error> {
    let Some(text) = env.setting(TOKEN_CREDENTIALS_VARIABLE)? else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "prod" => Ok(None),
        "dev" | "azureclicredential" => Ok(Some(IdentityKind::Cli)),
        "environmentcredential" => Ok(Some(IdentityKind::ServicePrincipal)),
        "managedidentitycredential" => Ok(Some(IdentityKind::Managed)),
        "workloadidentitycredential" => Ok(Some(IdentityKind::Workload)),
        _ => Err(Error::config(format!(
            "{TOKEN_CREDENTIALS_VARIABLE}: the value is not a supported credential"
        ))
        .hint(
            "use prod, dev, EnvironmentCredential, WorkloadIdentityCredential, ManagedIdentityCredential or \
             AzureCLICredential, or select an identity with --identity",
        )),
    }
}
