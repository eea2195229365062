//! Which source answers for who we are, and how each is asked for an access token.
//!
//! [`Source::select`] reads like the table in the README: what the environment names is used or refused, and never
//! passed over in favour of IMDS. Each source is one file with a constructor that checks its settings without any
//! request, and a `token` that asks until it has one.

mod answer;
mod imds;
mod workload;

use std::path::Path;

use crate::env::Environment;
use crate::failure::{Cause, Failure};
use crate::http::Http;
use crate::secret::Secret;
use crate::settings::{IdentityName, Settings};

use imds::Imds;
use workload::WorkloadIdentity;

/// Where the agent of Azure Arc is installed (azcmagent; the path that the SDKs look for).
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";

/// An access token for one resource.
#[derive(Debug)]
pub struct AccessToken {
    /// What goes behind `Bearer`.
    pub token: Secret,
    /// Unix seconds.
    pub expires_on: i64,
}

/// Where an access token comes from.
#[derive(Debug)]
pub enum Source {
    /// IMDS, or NMI in its place.
    Imds(Imds),
    /// A federated token, exchanged at Entra.
    Workload(WorkloadIdentity),
}

impl Source {
    /// Chooses the source, or says why there is none. No request is made.
    pub fn select(env: &Environment, settings: &Settings) -> Result<Source, Failure> {
        let set = |name: &str| env.setting(name).map(|value| value.is_some());
        match settings.identity {
            Some(IdentityName::Workload) => return workload(env, settings),
            Some(IdentityName::Managed) => {}
            None if set("AZURE_FEDERATED_TOKEN_FILE")? => return workload(env, settings),
            None if set("AZURE_CLIENT_SECRET")? => {
                return Err(not_built(
                    "a service principal with a secret",
                    "AZURE_CLIENT_SECRET",
                ));
            }
            None if set("AZURE_CLIENT_CERTIFICATE_PATH")? => {
                return Err(not_built(
                    "a service principal with a certificate",
                    "AZURE_CLIENT_CERTIFICATE_PATH",
                ));
            }
            None => {}
        }
        let endpoint = set("IDENTITY_ENDPOINT")?;
        if endpoint && set("IDENTITY_HEADER")? {
            return Err(if set("IDENTITY_SERVER_THUMBPRINT")? {
                not_built(
                    "Service Fabric's managed identity",
                    "IDENTITY_SERVER_THUMBPRINT",
                )
            } else {
                not_built(
                    "the managed identity of App Service, Functions or Container Apps",
                    "IDENTITY_ENDPOINT and IDENTITY_HEADER",
                )
            });
        }
        if set("MSI_ENDPOINT")? {
            return Err(not_built(
                "the managed identity of Azure ML, Cloud Shell or the old App Service",
                "MSI_ENDPOINT",
            ));
        }
        if endpoint && set("IMDS_ENDPOINT")? {
            return Err(not_built(
                "Azure Arc's managed identity",
                "IDENTITY_ENDPOINT and IMDS_ENDPOINT",
            ));
        }
        if Path::new(ARC_AGENT).exists() {
            return Err(not_built("Azure Arc's managed identity", ARC_AGENT));
        }
        let named = settings.identity.is_some() || settings.selector.is_some();
        if set("KUBERNETES_SERVICE_HOST")? && !named {
            return Err(Failure::new(
                Cause::Config,
                "this pod has no identity of its own: it is in Kubernetes, and workload identity is not set up for it",
            )
            .hint(
                "label the pod azure.workload.identity/use: \"true\" and annotate its service account with \
                 azure.workload.identity/client-id; to use an identity of the node, which all its pods share, name it \
                 with --client-id, or --identity managed",
            ));
        }
        Ok(Source::Imds(Imds::build(env, settings.selector.clone())?))
    }

    /// Asks for an access token until there is one, there cannot be one, or time is up.
    pub fn token(&self, http: &Http, resource: &str) -> Result<AccessToken, Failure> {
        match self {
            Source::Imds(source) => source.token(http, resource),
            Source::Workload(source) => source.token(http, resource),
        }
    }

    /// What it is, for messages: "IMDS (http://169.254.169.254, managed identity)".
    pub fn describe(&self) -> String {
        match self {
            Source::Imds(source) => source.describe(),
            Source::Workload(source) => source.describe(),
        }
    }
}

fn workload(env: &Environment, settings: &Settings) -> Result<Source, Failure> {
    Ok(Source::Workload(WorkloadIdentity::build(env, settings)?))
}

fn not_built(source: &str, because: &str) -> Failure {
    Failure::new(
        Cause::Config,
        format!("the environment names {source} ({because}), which this version cannot use"),
    )
    .hint(
        "this version knows workload identity and IMDS only; --identity workload needs AZURE_FEDERATED_TOKEN_FILE, \
         AZURE_TENANT_ID and AZURE_CLIENT_ID",
    )
}
