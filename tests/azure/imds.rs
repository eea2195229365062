//! The managed identity endpoint of a virtual machine: what it requires, the identity that it selects, and its responses,
//! in which every value is a string.
//!
//! <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>

use serde_json::json;

use super::shared::Shared;
use super::token::{self, Identity, TENANT};
use super::{Request, Response};

pub fn respond(shared: &Shared, request: &Request) -> Response {
    if request.path() != "/metadata/identity/oauth2/token" {
        return Response::json(
            404,
            &json!({"error": "not_found", "error_description": "no such path"}),
        );
    }
    if request.method != "GET" {
        return Response::json(
            405,
            &json!({"error": "invalid_request", "error_description": "only GET is allowed"}),
        );
    }
    if request.header("metadata") != Some("true") {
        return refuse("Required metadata header not specified");
    }
    if request.header("x-forwarded-for").is_some() {
        return refuse("Proxied requests are not allowed");
    }
    let query = request.query_pairs();
    let repeated = query
        .iter()
        .enumerate()
        .any(|(at, (name, _))| query[..at].iter().any(|(seen, _)| seen == name));
    if repeated {
        return refuse("Duplicate query parameters are not allowed");
    }
    if !request
        .query("api-version")
        .is_some_and(|version| API_VERSIONS.contains(&version.as_str()))
    {
        return Response::json(
            400,
            &json!({
                "error": "Bad request. api-version is invalid or was not specified in the request. For more \
                    information refer to aka.ms/azureimds",
                "newest-versions": API_VERSIONS,
            }),
        );
    }
    let Some(resource) = request
        .query("resource")
        .filter(|resource| !resource.is_empty())
    else {
        return refuse("'resource' is a required parameter");
    };
    if !resource.contains("://") {
        let text = "Invalid resource";
        return Response::json(
            401,
            &json!({"error": "unknown_source", "error_description": text}),
        );
    }
    let picked = pick(&shared.lock().identities, request);
    match picked {
        Ok(identity) => granted(shared, &identity, &resource),
        Err(text) => refuse(text),
    }
}

/// The identity of a request. An identity that the machine does not have is not replaced by another.
fn pick(attached: &[Identity], request: &Request) -> Result<Identity, &'static str> {
    let selectors = [
        (
            request.query("client_id"),
            (|identity| &identity.client_id) as fn(&Identity) -> &String,
        ),
        (request.query("object_id"), |identity| &identity.object_id),
        (request.query("msi_res_id"), |identity| {
            &identity.resource_id
        }),
    ];
    let mut named = selectors
        .iter()
        .filter_map(|(value, field)| Some((value.as_ref()?, field)));
    if let Some((value, field)) = named.next() {
        if named.next().is_some() {
            return Err("Only one of client_id, object_id and msi_res_id may be specified");
        }
        let found = attached
            .iter()
            .find(|identity| field(identity).eq_ignore_ascii_case(value));
        return found.cloned().ok_or("Identity not found");
    }
    if let Some(own) = attached.iter().find(|identity| identity.system_assigned) {
        return Ok(own.clone());
    }
    match attached {
        [] => Err("Identity not found"),
        [only] => Ok(only.clone()),
        [_, _, ..] => Err(SEVERAL),
    }
}

fn granted(shared: &Shared, identity: &Identity, resource: &str) -> Response {
    let now = shared.now();
    Response::json(
        200,
        &json!({
            "access_token": token::issue(shared, identity, TENANT, resource),
            "client_id": identity.client_id,
            "expires_in": token::LIFETIME.to_string(),
            "expires_on": (now + token::LIFETIME).to_string(),
            "ext_expires_in": token::LIFETIME.to_string(),
            "not_before": now.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

fn refuse(text: &str) -> Response {
    Response::json(
        400,
        &json!({"error": "invalid_request", "error_description": text}),
    )
}

pub const SEVERAL: &str = "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
                           identity in the token request";

const API_VERSIONS: [&str; 2] = ["2018-02-01", "2019-08-01"];
