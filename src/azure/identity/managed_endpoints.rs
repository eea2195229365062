//! The endpoints of managed identities, and what their error responses mean.

use std::time::Duration;

use super::azure_arc;
use super::managed::{Authentication, Endpoint, ErrorResponse};
use super::token::UNKNOWN_RESOURCE_HINT;
use crate::error::RequestFailure;
use crate::http::Timeouts;

/// The endpoint of App Service, Functions and Container Apps
/// (<https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>). In Container
/// Apps it is a sidecar, which is often not up yet when the container starts.
pub const APP_SERVICE: Endpoint = Endpoint {
    name: "the platform's identity endpoint",
    url_variable: "IDENTITY_ENDPOINT",
    default_url: "",
    path_suffix: None,
    api_version: Some("2019-08-01"),
    authentication: Authentication::Header {
        name: "X-IDENTITY-HEADER",
        variable: "IDENTITY_HEADER",
    },
    takes_request_id: false,
    id_parameters: [Some("client_id"), Some("principal_id"), Some("mi_res_id")],
    default_client_id_variable: None,
    timeouts: timeouts(2, 10),
    classify: app_service_error,
    unreachable_hint: Some(
        "the platform's identity endpoint did not come up; in Container Apps, init containers have an identity endpoint \
         only in the Consumption workload profile of a workload profiles environment, and only if the identity's \
         lifecycle setting includes Init",
    ),
    slow_hint: None,
};

/// The endpoint of Azure Arc, whose agent has a managed identity for a machine outside Azure
/// (<https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>).
pub const ARC: Endpoint = Endpoint {
    name: "Azure Arc",
    default_url: "http://127.0.0.1:40342/metadata/identity/oauth2/token",
    api_version: Some("2020-06-01"),
    authentication: Authentication::KeyFile,
    id_parameters: IMDS.id_parameters,
    timeouts: timeouts(2, 15),
    classify: arc_error,
    unreachable_hint: Some(
        "nothing listens at {origin}: is the Azure Arc agent's service himds running, and does this container share the \
         host's network?",
    ),
    ..APP_SERVICE
};

/// The endpoint of Azure Machine Learning; also the 2017 API of App Service
/// (<https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>).
pub const MSI: Endpoint = Endpoint {
    name: "the MSI endpoint",
    url_variable: "MSI_ENDPOINT",
    api_version: Some("2017-09-01"),
    authentication: Authentication::Header {
        name: "secret",
        variable: "MSI_SECRET",
    },
    id_parameters: [Some("clientid"), None, None],
    default_client_id_variable: Some("DEFAULT_IDENTITY_CLIENT_ID"),
    classify: msi_error,
    unreachable_hint: None,
    ..APP_SERVICE
};

/// The endpoint of Cloud Shell. It issues tokens of the signed-in user.
pub const CLOUD_SHELL: Endpoint = Endpoint {
    name: "Cloud Shell",
    api_version: None,
    authentication: Authentication::Metadata,
    id_parameters: [None, None, None],
    default_client_id_variable: None,
    classify: cloud_shell_error,
    ..MSI
};

/// The endpoint of virtual machines, scale sets, nodes and Container Instances: IMDS; in clusters with
/// aad-pod-identity, NMI in its place
/// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>). No probe
/// comes before the first request: a probe would only delay containers that start before their endpoint.
pub const IMDS: Endpoint = Endpoint {
    name: "IMDS",
    url_variable: "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    // Link-local, so that a request never leaves the host.
    default_url: "http://169.254.169.254",
    path_suffix: Some("/metadata/identity/oauth2/token"),
    // The version that all current SDKs use but one.
    api_version: Some("2018-02-01"),
    authentication: Authentication::Metadata,
    takes_request_id: true,
    id_parameters: [Some("client_id"), Some("object_id"), Some("msi_res_id")],
    default_client_id_variable: None,
    // NMI may delay a response by up to 100 s while it assigns the identity. A new request is answered as soon as that is
    // done, so a shorter timeout costs no time.
    timeouts: timeouts(3, 15),
    classify: imds_error,
    unreachable_hint: Some(
        "is this container on Azure? Check that no network policy (in AKS: --enable-imds-restriction) blocks {origin}. Init \
         containers have no identity in Container Instances, nor in Container Apps outside the Consumption workload \
         profile{cli}",
    ),
    slow_hint: Some(
        "IMDS accepts connections but does not respond: it is slow, or a firewall holds its responses back; \
         aad-pod-identity, if it is in use, can take up to 100 s to assign the identity",
    ),
};

/// The hint for a refusal by the Guest Proxy Agent, which enforces the Metadata Security Protocol.
const GUEST_PROXY_AGENT_HINT: &str = "the machine's Metadata Security Protocol does not allow this container to use IMDS: check its access control profile \
     (InVMAccessControlProfile), or try the host's network";

/// The timeouts of one attempt, in seconds.
const fn timeouts(connect_seconds: u64, response_seconds: u64) -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(connect_seconds),
        response: Duration::from_secs(response_seconds),
    }
}

/// Interprets a status that means the same at most endpoints.
fn common_error(status: u16) -> (RequestFailure, &'static str) {
    let failure = match status {
        401 | 403 => RequestFailure::CredentialRefused,
        404 | 408 | 410 | 500..=599 => RequestFailure::ServerError,
        429 => RequestFailure::Throttled,
        _ => RequestFailure::UnexpectedResponse,
    };
    (failure, "")
}

/// Interprets an error response of [`APP_SERVICE`].
fn app_service_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    match response.status {
        400 => (
            RequestFailure::IdentityNotFound,
            match response.is_selected {
                true => {
                    "is the identity with this id assigned to the app? In Container Apps, an init container can use it \
                     only if its lifecycle setting includes Init"
                }
                false => {
                    "is an identity assigned to the app? Where all are user-assigned, select one with --client-id or \
                     AKV_INIT_CLIENT_ID; in Container Apps, an init container can use it only if its lifecycle setting \
                     includes Init"
                }
            },
        ),
        401 | 403 => (
            RequestFailure::CredentialRefused,
            "IDENTITY_HEADER is not the platform's current value: restart the app, and do not set it or \
             IDENTITY_ENDPOINT yourself",
        ),
        500 => possible_resource_error(response),
        status => common_error(status),
    }
}

/// Interprets an error response of [`ARC`].
fn arc_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    match response.status {
        400 | 404 if !response.code.is_empty() => {
            (RequestFailure::IdentityNotFound, azure_arc::OMIT_ID_HINT)
        }
        401 | 403 => (
            RequestFailure::CredentialRefused,
            "is the directory of key files that of this host's agent? `azcmagent check` on the host says whether the agent \
             is connected",
        ),
        status => common_error(status),
    }
}

/// Interprets a 500 of App Service and Azure ML. It can mean a temporary error, a firewall between the endpoint and
/// Entra, or a resource that does not exist. Only a resource that the user named may not exist.
fn possible_resource_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    match response.is_known_resource {
        true => (
            RequestFailure::ServerError,
            "does a firewall on the virtual network allow Entra's regional host (REGION.login.microsoft.com)?",
        ),
        false => (
            RequestFailure::PossiblyPermanent,
            "does the tenant have the resource `{resource}`? Check its spelling, --vault-resource and --cloud",
        ),
    }
}

/// Interprets an error response of [`MSI`].
fn msi_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    match response.status {
        // The platform's token service, in plain text.
        404 if !response.is_json && response.description.to_lowercase().contains("token") => (
            RequestFailure::PossiblyTemporary,
            "assign an identity to the compute, or restart it so that its owner's sign-in is renewed",
        ),
        400 => (
            RequestFailure::IdentityNotFound,
            "is the identity assigned to the compute? DEFAULT_IDENTITY_CLIENT_ID must be its client id",
        ),
        401 | 403 => (
            RequestFailure::CredentialRefused,
            "MSI_SECRET is not the platform's current value: restart, and do not set it yourself",
        ),
        404 | 410 => (RequestFailure::UnexpectedResponse, ""),
        500 => possible_resource_error(response),
        status => common_error(status),
    }
}

/// Interprets an error response of [`CLOUD_SHELL`].
fn cloud_shell_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    match response.status {
        400 if response.code == "AudienceNotSupported" => (
            RequestFailure::InvalidSettings,
            "Cloud Shell has no tokens for `{resource}`: use --identity cli after `az login`",
        ),
        400 => (RequestFailure::IdentityNotFound, ""),
        401 | 403 => (
            RequestFailure::CredentialRefused,
            "the sign-in of Cloud Shell may have expired: reload it",
        ),
        404 | 410 => (RequestFailure::UnexpectedResponse, ""),
        status => common_error(status),
    }
}

/// Interprets an error response of [`IMDS`]
/// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>).
/// NMI sends plain text where IMDS sends JSON.
fn imds_error(response: &ErrorResponse<'_>) -> (RequestFailure, &'static str) {
    let is_nmi = !response.is_json;
    let has = |text: &str| response.description.contains(text);
    match response.status {
        403 if has("unreachable") || response.code.contains("unreachable") => (
            RequestFailure::NoManagedIdentity,
            "Docker Desktop responds in place of IMDS: this machine has no managed identity{cli}",
        ),
        403 | 404 if is_nmi && (has("pod") || has("token") || has("identit")) => (
            RequestFailure::IdentityNotYetAssigned,
            "the response is from aad-pod-identity: check the aadpodidbinding label, the AzureIdentityBinding and \
             NMI's logs; a client id must match the AzureIdentity's, case included",
        ),
        // The Guest Proxy Agent of Metadata Security Protocol sends no body; 421, if it cannot attribute the connection.
        403 if response.is_empty => (RequestFailure::CredentialRefused, GUEST_PROXY_AGENT_HINT),
        421 if response.is_empty => (RequestFailure::PossiblyTemporary, GUEST_PROXY_AGENT_HINT),
        403 if is_nmi => (RequestFailure::IdentityNotYetAssigned, ""),
        400 if has("Multiple user assigned identities") => (
            RequestFailure::IdentityNotFound,
            "select one with --client-id or AKV_INIT_CLIENT_ID",
        ),
        400 if has("Identity not found") => (
            RequestFailure::IdentityNotFound,
            "enable the system-assigned identity of this machine or node, or assign the selected user-assigned one to \
             it; a pod can use workload identity instead (label azure.workload.identity/use: \"true\")",
        ),
        400 if has("client_id parameter") => (
            RequestFailure::IdentityNotFound,
            "the response is from the workload identity proxy: set --client-id or AZURE_CLIENT_ID",
        ),
        400 | 401 if ["invalid_resource", "invalid_scope"].contains(&response.code) => {
            (RequestFailure::InvalidSettings, UNKNOWN_RESOURCE_HINT)
        }
        // The URL has another form than IMDS's.
        401 if response.code == "unknown_source" => (RequestFailure::UnexpectedResponse, ""),
        401 if response.is_json => (
            RequestFailure::IdentityNotFound,
            "the machine's identity is not set up completely: detach the identity and attach it again",
        ),
        400 if has("metadata header") => (
            RequestFailure::UnexpectedResponse,
            "check proxies and service meshes between this container and IMDS: one of them removes headers",
        ),
        400 if has("api-version") => (RequestFailure::UnexpectedResponse, ""),
        400 if response.is_json => (RequestFailure::IdentityNotFound, ""),
        401 | 403 => (RequestFailure::UnexpectedResponse, ""),
        status => common_error(status),
    }
}
