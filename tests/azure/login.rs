//! Entra's token endpoint for clients without a user: its form, with a federated assertion, a secret, or an assertion that
//! the application's certificate signed. Refusals have their AADSTS numbers. A cluster's token proxy forwards the same
//! form with an assertion for an audience of its own.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use serde_json::{Value, json};

use super::shared::Shared;
use super::token::{
    self, AUDIENCE, BINDING_AUDIENCE, ISSUER, Identity, OTHER_TENANT, SUBJECT, TENANT,
};
use super::{Endpoint, Request, Response, TOKEN_PROXY_NAME, certificate};

/// The application's secret, with every character that a form must encode.
pub const CLIENT_SECRET: &str = "Xy8Q~a.b_c-d+e/f=&g%h wholly-secret";

/// The base path of the token proxy.
pub const BASE_PATH: &str = "/federation/v1";

/// The response of the cluster's token proxy: Entra's, if the server name and the path are right.
pub fn respond_through_proxy(shared: &Shared, request: &Request) -> Response {
    if request.sni.as_deref() != Some(TOKEN_PROXY_NAME) {
        return Response::text(421, "Misdirected Request");
    }
    match request.path().strip_prefix(BASE_PATH) {
        Some(path) => respond_at(shared, request, path, BINDING_AUDIENCE),
        None => Response::text(404, "404 page not found"),
    }
}

pub fn respond(shared: &Shared, request: &Request) -> Response {
    let discovery = request
        .path()
        .strip_suffix("/v2.0/.well-known/openid-configuration");
    match discovery {
        Some(tenant) if request.method == "GET" => configuration(&request.host, tenant),
        _ => respond_at(shared, request, request.path(), AUDIENCE),
    }
}

/// The discovery document, for libraries that request it first.
fn configuration(host: &str, tenant: &str) -> Response {
    let base = format!("https://{host}{tenant}");
    Response::json(
        200,
        &json!({
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "issuer": format!("{base}/v2.0"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        }),
    )
}

/// `audience` is the one of a federated assertion.
fn respond_at(shared: &Shared, request: &Request, path: &str, audience: &str) -> Response {
    let Some(tenant) = path
        .strip_suffix("/oauth2/v2.0/token")
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return Response::status(404);
    };
    if request.method != "POST" {
        return Response::aadsts(900_561, "The endpoint only accepts POST requests.")
            .with_status(405);
    }
    if ![TENANT, OTHER_TENANT].contains(&tenant) {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
        );
        return Response::aadsts(90_002, &text);
    }
    if request
        .header("content-type")
        .is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded"))
    {
        return missing("grant_type");
    }
    match check(shared, request, tenant, audience) {
        Ok((identity, resource)) => Response::json(
            200,
            &json!({
                "access_token": token::issue(shared, &identity, tenant, &resource),
                "expires_in": token::LIFETIME, "ext_expires_in": token::LIFETIME, "token_type": "Bearer",
            }),
        ),
        Err(refusal) => refusal,
    }
}

fn check(
    shared: &Shared,
    request: &Request,
    tenant: &str,
    audience: &str,
) -> Result<(Identity, String), Response> {
    let optional = |name: &str| request.form(name).filter(|value| !value.is_empty());
    let field = |name: &str| optional(name).ok_or_else(|| missing(name));
    let grant = field("grant_type")?;
    if grant != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(Response::aadsts(70_003, &text));
    }
    let client_id = field("client_id")?;
    let known = shared
        .lock()
        .identities
        .iter()
        .find(|identity| identity.client_id == client_id)
        .cloned();
    let application =
        Some(Identity::application()).filter(|identity| identity.client_id == client_id);
    let Some(identity) = known.or(application) else {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        return Err(Response::aadsts(700_016, &text));
    };
    match (optional("client_secret"), optional("client_assertion")) {
        (Some(secret), None) if request.endpoint == Endpoint::Login => {
            check_secret(&secret, &client_id)?
        }
        (None, None) if request.endpoint == Endpoint::Login => {
            return Err(Response::aadsts(
                7_000_218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            ));
        }
        (None, Some(assertion)) => {
            if field("client_assertion_type")?
                != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            {
                return Err(Response::aadsts(
                    70_002,
                    "The request has an unsupported client_assertion_type.",
                ));
            }
            // An assertion that the client itself issued is signed with its certificate.
            let own = token::claims(&assertion).is_some_and(|claims| claims["iss"] == *client_id);
            if own && request.endpoint == Endpoint::Login {
                let url = format!("https://{}{}", request.host, request.path());
                certificate::check(shared, &assertion, &client_id, &url)?;
            } else {
                check_assertion(shared.now(), &assertion, audience)?;
            }
        }
        _ => return Err(missing("client_assertion")),
    }
    let scope = field("scope")?;
    // MSAL adds other scopes, which have no effect here.
    let mut resources = scope
        .split(' ')
        .filter_map(|word| word.strip_suffix("/.default"));
    let (Some(resource), None) = (resources.next(), resources.next()) else {
        let text = format!(
            "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(Response::aadsts(70_011, &text));
    };
    Ok((identity, resource.to_owned()))
}

fn check_secret(secret: &str, client_id: &str) -> Result<(), Response> {
    if secret == CLIENT_SECRET {
        return Ok(());
    }
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
         the client secret ID, for a secret added to app '{client_id}'."
    );
    Err(Response::aadsts(7_000_215, &text).with_status(401))
}

/// In Entra's order: malformed, expired, for another federated credential.
fn check_assertion(now: u64, assertion: &str, expected: &str) -> Result<(), Response> {
    let Some(claims) = token::claims(assertion) else {
        return Err(Response::aadsts(
            50_027,
            "JWT token is invalid or malformed.",
        ));
    };
    if claims["exp"].as_u64().is_none_or(|expiry| expiry <= now) {
        return Err(Response::aadsts(
            700_024,
            "Client assertion is not within its valid time range.",
        ));
    }
    let mismatch = |code, what: &str, presented: &Value| {
        let presented = presented
            .as_str()
            .map_or_else(|| presented.to_string(), str::to_owned);
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{presented}'. Check your \
             federated identity credential Subject, Audience and Issuer against the presented assertion."
        );
        Err(Response::aadsts(code, &text))
    };
    if claims["iss"] != ISSUER {
        return mismatch(700_211, "issuer", &claims["iss"]);
    }
    if claims["sub"] != SUBJECT {
        return mismatch(700_213, "subject", &claims["sub"]);
    }
    let audience = &claims["aud"];
    if *audience != expected
        && audience
            .as_array()
            .is_none_or(|list| !list.contains(&json!(expected)))
    {
        return mismatch(700_212, "audience", audience);
    }
    Ok(())
}

fn missing(field: &str) -> Response {
    let text = format!("The request body must contain the following parameter: '{field}'.");
    Response::aadsts(900_144, &text)
}
