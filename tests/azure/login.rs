//! Entra's token endpoint for a federated client: the form it wants, the assertion it checks against the one federated
//! credential there is, and its refusals with their AADSTS numbers.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use serde_json::{Value, json};

use super::shared::Shared;
use super::token::{self, AUDIENCE, ISSUER, Identity, SUBJECT, TENANT};
use super::{Answer, Request};

pub fn answer(shared: &Shared, request: &Request) -> Answer {
    let Some(tenant) = request
        .path()
        .strip_suffix("/oauth2/v2.0/token")
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return Answer::status(404);
    };
    if request.method != "POST" {
        return Answer::aadsts(900_561, "The endpoint only accepts POST requests.")
            .with_status(405);
    }
    if tenant != TENANT {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
        );
        return Answer::aadsts(90_002, &text);
    }
    if request
        .header("content-type")
        .is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded"))
    {
        return missing("grant_type");
    }
    match check(shared, request) {
        Ok((identity, resource)) => Answer::json(
            200,
            &json!({
                "access_token": token::issue(shared, &identity, &resource),
                "expires_in": token::LIFETIME, "ext_expires_in": token::LIFETIME, "token_type": "Bearer",
            }),
        ),
        Err(refusal) => refusal,
    }
}

fn check(shared: &Shared, request: &Request) -> Result<(Identity, String), Answer> {
    let field = |name: &str| {
        request
            .form(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| missing(name))
    };
    let grant = field("grant_type")?;
    if grant != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(Answer::aadsts(70_003, &text));
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
            "Application with identifier '{client_id}' was not found in the directory '{TENANT}'."
        );
        return Err(Answer::aadsts(700_016, &text));
    };
    if field("client_assertion_type")? != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        return Err(Answer::aadsts(
            70_002,
            "The request has an unsupported client_assertion_type.",
        ));
    }
    check_assertion(&field("client_assertion")?)?;
    let scope = field("scope")?;
    // MSAL adds scopes of its own that mean nothing here.
    let mut resources = scope
        .split(' ')
        .filter_map(|word| word.strip_suffix("/.default"));
    let (Some(resource), None) = (resources.next(), resources.next()) else {
        let text = format!(
            "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(Answer::aadsts(70_011, &text));
    };
    Ok((identity, resource.to_owned()))
}

/// The order is Entra's: a token that cannot be read, then one of another time, then one of somebody else.
fn check_assertion(assertion: &str) -> Result<(), Answer> {
    let Some(claims) = token::claims(assertion) else {
        return Err(Answer::aadsts(50_027, "JWT token is invalid or malformed."));
    };
    let now = token::unix_now();
    if claims["exp"].as_u64().is_none_or(|expiry| expiry <= now) {
        return Err(Answer::aadsts(
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
        Err(Answer::aadsts(code, &text))
    };
    if claims["iss"] != ISSUER {
        return mismatch(700_211, "issuer", &claims["iss"]);
    }
    if claims["sub"] != SUBJECT {
        return mismatch(700_213, "subject", &claims["sub"]);
    }
    let audience = &claims["aud"];
    if *audience != AUDIENCE
        && audience
            .as_array()
            .is_none_or(|list| !list.contains(&json!(AUDIENCE)))
    {
        return mismatch(700_212, "audience", audience);
    }
    Ok(())
}

fn missing(field: &str) -> Answer {
    let text = format!("The request body must contain the following parameter: '{field}'.");
    Answer::aadsts(900_144, &text)
}
