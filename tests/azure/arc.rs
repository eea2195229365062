//! The agent of Azure Arc: its first response names a file that only a privileged process of the machine can read, and the
//! second request proves that the client has read it. A test creates the file, whose path is fixed.
//!
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use serde_json::json;

use super::shared::Shared;
use super::token::{self, Identity, TENANT};
use super::{Request, Response};

/// The file that the agent's challenge names.
pub const ARC_KEY_FILE: &str = "/var/opt/azcmagent/tokens/7f0c1a52-3b4d-4e6f-8a9b-1c2d3e4f5a6b.key";

/// Its content.
pub const ARC_KEY: &str = "q9V2mXw7LkT4sB8dZ1nC6hR3gP5yF0jU";

pub fn respond(shared: &Shared, request: &Request) -> Response {
    if request.method != "GET" || request.header("metadata") != Some("true") {
        let text = "Required metadata header not specified";
        return Response::imds_error(400, "invalid_request", text);
    }
    let resource = request
        .query("resource")
        .filter(|resource| resource.contains("://"));
    let (Some("2020-06-01"), Some(resource)) = (request.query("api-version").as_deref(), resource)
    else {
        let text = "api-version or resource is missing or not supported";
        return Response::imds_error(400, "invalid_request", text);
    };
    match request.header("authorization") {
        None => return Response::arc_challenge(&format!("Basic realm={ARC_KEY_FILE}")),
        Some(sent) if sent != format!("Basic {ARC_KEY}") => {
            let text = "The key in the Authorization header is not valid";
            return Response::imds_error(401, "unauthorized_client", text);
        }
        Some(_) => {}
    }
    let attached = shared.lock().identities.clone();
    let selectors = [
        (
            "client_id",
            (|it| &it.client_id) as fn(&Identity) -> &String,
        ),
        ("object_id", |it| &it.object_id),
        ("msi_res_id", |it| &it.resource_id),
    ];
    let named = selectors
        .iter()
        .find_map(|(name, field)| Some((*name, field, request.query(name)?)));
    let found = match &named {
        None => attached.iter().find(|identity| identity.system_assigned),
        Some((_, field, value)) => attached
            .iter()
            .find(|identity| field(identity).eq_ignore_ascii_case(value)),
    };
    let Some(identity) = found else {
        return Response::arc_not_found();
    };
    let mut body = json!({
        "access_token": token::issue(shared, identity, TENANT, &resource),
        "expires_in": token::LIFETIME,
        "expires_on": (shared.now() + token::LIFETIME).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if let Some((name, field, _)) = named {
        body[name] = json!(field(identity));
    }
    Response::json(200, &body)
}
