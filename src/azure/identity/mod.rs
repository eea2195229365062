//! Which source answers for who we are, and how each is asked for an access token.
//!
//! [`Source::select`] reads like the table in the README: what the environment names is used or refused, and never
//! passed over in favour of IMDS. Each source is one file with a constructor that checks its settings without any
//! request, and a `token` that asks until it has one.

mod app_service;
mod arc;
mod azure_cli;
mod claims;
mod entra;
mod imds;
mod legacy;
mod service_principal;
mod token_response;
mod workload;

use std::path::Path;

use crate::error::{Cause, Error};
use crate::http::Http;
use crate::request::environment::Environment;
use crate::request::options::{IdentityName, Selector, Settings};
use crate::secret::Secret;

use app_service::AppService;
use arc::Arc;
use azure_cli::AzureCli;
use imds::Imds;
use legacy::Legacy;
use service_principal::Principal;
use workload::WorkloadIdentity;

/// An access token for one resource.
#[derive(Debug)]
pub struct AccessToken {
    /// What goes behind `Bearer`.
    pub token: Secret,
    /// Unix seconds.
    pub expires_on: i64,
}

/// What an access token is secret for.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The resource; a scope is this and `/.default`.
    pub resource: &'a str,
    /// The tenant that a vault named, where that is not the configured one. Managed identities have no choice.
    pub tenant: Option<&'a str>,
}

/// Where an access token comes from.
#[derive(Debug)]
pub enum Source {
    /// App Service, Functions, Container Apps.
    AppService(AppService),
    /// Azure Arc's agent.
    Arc(Arc),
    /// The Azure CLI.
    Cli(AzureCli),
    /// IMDS, or NMI in its place.
    Imds(Imds),
    /// Azure ML, Cloud Shell, old App Service.
    Legacy(Legacy),
    /// A service principal's own secret or certificate.
    Principal(Principal),
    /// A federated token, exchanged at Entra.
    Workload(WorkloadIdentity),
}

impl Source {
    /// Chooses the source, or says why there is none. No request is made.
    pub fn select(env: &Environment, settings: &Settings) -> Result<Source, Error> {
        let set = |name: &str| env.setting(name).map(|value| value.is_some());
        let named = match settings.identity {
            Some(name) => Some(name),
            None => token_credentials(env)?,
        };
        match named {
            Some(IdentityName::Cli) => {
                let tenant = env.setting("AZURE_TENANT_ID")?.map(str::to_owned);
                return Ok(Source::Cli(AzureCli::build(tenant)?));
            }
            Some(IdentityName::Principal) => {
                return Ok(Source::Principal(Principal::build(env, settings)?));
            }
            Some(IdentityName::Workload) => {
                return Ok(Source::Workload(WorkloadIdentity::build(env, settings)?));
            }
            Some(IdentityName::Managed) => {}
            None if set("AZURE_FEDERATED_TOKEN_FILE")? => {
                return Ok(Source::Workload(WorkloadIdentity::build(env, settings)?));
            }
            None if Principal::is_named(env)? => {
                return Ok(Source::Principal(Principal::build(env, settings)?));
            }
            None => {}
        }
        let selector = settings.selector.clone();
        let endpoint = set("IDENTITY_ENDPOINT")?;
        if endpoint && set("IDENTITY_HEADER")? {
            if set("IDENTITY_SERVER_THUMBPRINT")? {
                return Err(Error::new(
                    Cause::Config,
                    "the environment names Service Fabric's managed identity (IDENTITY_SERVER_THUMBPRINT), which \
                     akv-init does not use",
                )
                .hint("choose another with --identity, or leave the three IDENTITY_ variables out"));
            }
            return Ok(Source::AppService(AppService::build(env, selector)?));
        }
        if set("MSI_ENDPOINT")? {
            return Ok(Source::Legacy(Legacy::build(env, selector)?));
        }
        if endpoint && set("IMDS_ENDPOINT")? || Path::new(arc::AGENT).exists() {
            return Ok(Source::Arc(Arc::build(env, selector)?));
        }
        if set("KUBERNETES_SERVICE_HOST")? && named.is_none() && selector.is_none() {
            return Err(Error::new(
                Cause::Config,
                "this pod has no identity of its own: it is in Kubernetes, and workload identity is not set up for it",
            )
            .hint(
                "label the pod azure.workload.identity/use: \"true\" and annotate its service account with \
                 azure.workload.identity/client-id; to use an identity of the node, which all its pods share, name it \
                 with --client-id, or --identity managed",
            ));
        }
        Ok(Source::Imds(Imds::build(env, selector)?))
    }

    /// Asks for an access token until there is one, there cannot be one, or time is up.
    pub fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        match self {
            Source::AppService(source) => source.token(http, token_request),
            Source::Arc(source) => source.token(http, token_request),
            Source::Cli(source) => source.token(http, token_request),
            Source::Imds(source) => source.token(http, token_request),
            Source::Legacy(source) => source.token(http, token_request),
            Source::Principal(source) => source.token(http, token_request),
            Source::Workload(source) => source.token(http, token_request),
        }
    }

    /// What it is, for messages: "IMDS (http://169.254.169.254, managed identity)".
    pub fn describe(&self) -> String {
        match self {
            Source::AppService(source) => source.describe(),
            Source::Arc(source) => source.describe(),
            Source::Cli(source) => source.describe(),
            Source::Imds(source) => source.describe(),
            Source::Legacy(source) => source.describe(),
            Source::Principal(source) => source.describe(),
            Source::Workload(source) => source.describe(),
        }
    }

    /// Whether this source can get a token from a tenant, and that is not the one that it is configured for anyway. A
    /// managed identity has one tenant.
    pub fn is_other_tenant(&self, tenant: &str) -> bool {
        let configured = match self {
            Source::Cli(source) => source.tenant(),
            Source::Principal(source) => Some(source.tenant()),
            Source::Workload(source) => Some(source.tenant()),
            Source::AppService(_) | Source::Arc(_) | Source::Imds(_) | Source::Legacy(_) => {
                return false;
            }
        };
        configured.is_none_or(|configured| !configured.eq_ignore_ascii_case(tenant))
    }
}

/// `AZURE_TOKEN_CREDENTIALS`, as the SDKs read it: `prod` and `dev`, or one credential's type
/// (<https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains>).
fn token_credentials(env: &Environment) -> Result<Option<IdentityName>, Error> {
    const NAME: &str = "AZURE_TOKEN_CREDENTIALS";
    let Some(text) = env.setting(NAME)? else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "prod" => Ok(None),
        "dev" | "azureclicredential" => Ok(Some(IdentityName::Cli)),
        "environmentcredential" => Ok(Some(IdentityName::Principal)),
        "managedidentitycredential" => Ok(Some(IdentityName::Managed)),
        "workloadidentitycredential" => Ok(Some(IdentityName::Workload)),
        _ => Err(Error::new(Cause::Config, format!("{NAME}: `{text}` is not a credential that akv-init has"))
            .hint(
                "it can be prod, dev, EnvironmentCredential, WorkloadIdentityCredential, ManagedIdentityCredential or \
                 AzureCLICredential; --identity beats it",
            )),
    }
}

/// What to do about a resource that the identity endpoint does not know.
fn resource_hint(resource: &str) -> String {
    format!(
        "`{resource}` is not a resource that this tenant knows: look at it, at --vault-resource and at --cloud"
    )
}

/// A setting that is sent as a header, as a secret that no message shows.
fn header_value(env: &Environment, name: &str) -> Result<Option<Secret>, Error> {
    let Some(value) = env.setting(name)? else {
        return Ok(None);
    };
    if value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return Ok(Some(Secret::new(value.to_owned())));
    }
    Err(Error::new(
        Cause::Config,
        format!("{name} holds what cannot stand in a header"),
    ))
}

/// Which managed identity, for messages.
fn describe_selector(selector: Option<&Selector>) -> String {
    match selector {
        None => "managed identity".to_owned(),
        Some(Selector::Client(id)) => format!("managed identity with client id {id}"),
        Some(Selector::Object(id)) => format!("managed identity with object id {id}"),
        Some(Selector::Resource(id)) => format!("managed identity {id}"),
    }
}

/// A selector as IMDS and the agent of Azure Arc take it.
fn imds_selector(selector: &Selector) -> (&'static str, &str) {
    match selector {
        Selector::Client(id) => ("client_id", id),
        Selector::Object(id) => ("object_id", id),
        Selector::Resource(id) => ("msi_res_id", id),
    }
}
