//! The identity endpoints of App Service, Azure ML, Cloud Shell and Azure Arc, each at its own path: what each requires, and
//! its form of a response.
//!
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use serde_json::json;

use super::shared::Shared;
use super::token::{self, Identity, TENANT};
use super::{Request, Response, arc};

/// The value of the variable of this name in App Service.
pub const IDENTITY_HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

/// The same for Azure ML and the old App Service.
pub const MSI_SECRET: &str = "69418689F1E342DD946CB82994CDA3CB";

/// The paths of the endpoints.
pub const APP_SERVICE_PATH: &str = "/msi/token";
pub const CLOUD_SHELL_PATH: &str = "/oauth2/token";
pub const ARC_PATH: &str = "/metadata/identity/oauth2/token";

pub fn respond(shared: &Shared, request: &Request) -> Response {
    match request.path() {
        APP_SERVICE_PATH => match request.query("api-version").as_deref() {
            Some("2019-08-01") => app_service(shared, request),
            Some("2017-09-01") => machine_learning(shared, request),
            _ => Response::app_service_error(400, "The api-version is not supported."),
        },
        CLOUD_SHELL_PATH => cloud_shell(shared, request),
        ARC_PATH => arc::respond(shared, request),
        _ => Response::status(404),
    }
}

fn app_service(shared: &Shared, request: &Request) -> Response {
    if request.method != "GET" {
        return Response::status(405);
    }
    if request.header("x-identity-header") != Some(IDENTITY_HEADER) {
        return Response::status(401);
    }
    let Some(resource) = resource(request.query("resource")) else {
        return Response::app_service_failed();
    };
    let selectors = ["client_id", "principal_id", "object_id", "mi_res_id"];
    let Some(identity) = pick(shared, request, &selectors) else {
        return Response::app_service_no_identity();
    };
    Response::json(
        200,
        &json!({
            "access_token": token::issue(shared, &identity, TENANT, &resource),
            "client_id": identity.client_id,
            "expires_on": (shared.now() + token::LIFETIME).to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

/// 2017-09-01, of Azure ML as of the old App Service: another header, another selector, and a date in place of a number.
fn machine_learning(shared: &Shared, request: &Request) -> Response {
    if request.method != "GET" {
        return Response::status(405);
    }
    if request.header("secret") != Some(MSI_SECRET) {
        return Response::status(401);
    }
    let Some(resource) = resource(request.query("resource")) else {
        return Response::app_service_failed();
    };
    // What a later version calls `client_id` is refused, not ignored.
    if ["client_id", "object_id", "principal_id", "mi_res_id"]
        .iter()
        .any(|name| request.query(name).is_some())
    {
        return Response::app_service_error(400, "Identity parameter is not supported.");
    }
    let Some(identity) = pick(shared, request, &["clientid"]) else {
        return Response::app_service_no_identity();
    };
    Response::json(
        200,
        &json!({
            "access_token": token::issue(shared, &identity, TENANT, &resource),
            "expires_on": "12/31/2049 23:59:59 +00:00",
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

/// The token of the user who is signed in.
fn cloud_shell(shared: &Shared, request: &Request) -> Response {
    let refuse = |code: &str, text: &str| Response::cloud_shell_error(400, code, text);
    if request.method != "POST" {
        return Response::status(405);
    }
    if request.header("metadata") != Some("true") {
        return refuse("bad_request_102", "Required metadata header not specified");
    }
    let Some(resource) = resource(request.form("resource")) else {
        return refuse("invalid_request", "The resource is not valid.");
    };
    if request
        .query_pairs()
        .iter()
        .any(|(name, _)| name != "api-version")
    {
        return refuse("invalid_request", "A parameter is not known here.");
    }
    let now = shared.now();
    Response::json(
        200,
        &json!({
            "access_token": token::issue(shared, &Identity::system(), TENANT, &resource),
            "expires_in": token::LIFETIME,
            "expires_on": now + token::LIFETIME,
            "not_before": now,
            "resource": resource,
            "scope": "user_impersonation",
            "token_type": "Bearer",
        }),
    )
}

fn resource(named: Option<String>) -> Option<String> {
    named.filter(|resource| resource.contains("://") && !resource.ends_with("/.default"))
}

/// The identity that a request means by at most one of these selectors.
fn pick(shared: &Shared, request: &Request, selectors: &[&str]) -> Option<Identity> {
    let attached = &shared.lock().identities;
    let mut named = selectors
        .iter()
        .filter_map(|name| Some((*name, request.query(name)?)));
    match (named.next(), named.next()) {
        (None, _) => attached.iter().find(|identity| identity.system_assigned),
        (Some((name, value)), None) => attached.iter().find(|identity| {
            let id = match name {
                "client_id" | "clientid" => &identity.client_id,
                "principal_id" | "object_id" => &identity.object_id,
                _ => &identity.resource_id,
            };
            id.eq_ignore_ascii_case(&value)
        }),
        (Some(_), Some(_)) => None,
    }
    .cloned()
}
