//! Access tokens: a request for one, the responses that carry one, and the claims in it.
//!
//! A response is parsed as JSON whatever its Content-Type is (NMI's is text/plain). A number may be sent as a string;
//! `expires_on` may also be a date, empty or absent
//! (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>).

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::date;
use crate::error::{Error, RequestFailure};
use crate::http::{Authorization, MAX_HEADER_VALUE_LEN};
use crate::request::cloud::Cloud;
use crate::secret::Secret;

/// A request for an access token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRequest {
    /// The resource that the token is for. Entra expects it as the scope `RESOURCE/.default`.
    pub resource: String,
    /// The tenant to request the token from, which a vault named; `None` is the configured one, or the only one of a
    /// managed identity.
    pub tenant: Option<String>,
    /// Whether the resource certainly exists: it is the resource of a cloud's vaults, or a vault named it.
    pub is_known_resource: bool,
}

impl TokenRequest {
    /// A request for a token from the configured tenant.
    pub fn new(resource: &str) -> TokenRequest {
        TokenRequest {
            resource: resource.to_owned(),
            tenant: None,
            is_known_resource: Cloud::ALL
                .iter()
                .any(|cloud| cloud.vault_resource() == resource),
        }
    }
}

/// Access tokens, each with the request for it.
pub type KnownTokens = Vec<(TokenRequest, Arc<AccessToken>)>;

/// An access token for one resource.
pub struct AccessToken {
    /// The token itself.
    pub value: Secret,
    authorization: OnceLock<Authorization>,
    /// When the token expires, in Unix seconds.
    pub expires_on: i64,
}

/// The hint for a token that has expired by the vault's clock, or by this machine's.
pub const EXPIRED_TOKEN_HINT: &str =
    "check this machine's clock, and whether the token endpoint returns old tokens from a cache";

impl AccessToken {
    /// A token that expires at this time, in Unix seconds. It must be printable ASCII.
    pub fn new(value: Secret, expires_on: i64) -> AccessToken {
        AccessToken {
            value,
            authorization: OnceLock::new(),
            expires_on,
        }
    }

    /// The header that presents the token to a vault.
    pub fn authorization(&self) -> &Authorization {
        self.authorization
            .get_or_init(|| Authorization::bearer(&self.value))
    }

    /// Whether the token has expired, by this machine's clock.
    pub fn has_expired(&self) -> bool {
        self.expires_on <= date::unix_now()
    }

    /// Parses the body of a successful response. Errors show no part of the body.
    pub fn from_body(body: Value) -> Result<AccessToken, Error> {
        let response_error = |why: &str| RequestFailure::UnexpectedResponse.error(why);
        // For a service principal with several tenants NMI sends a list, each entry of which is a token response.
        let mut body = match body {
            Value::Null => return Err(response_error("the response is not JSON")),
            Value::Array(mut list) if !list.is_empty() => list.swap_remove(0),
            body => body,
        };
        let value = match body.get_mut("access_token").map(Value::take) {
            Some(Value::String(token)) if token.len() > MAX_HEADER_VALUE_LEN - "Bearer ".len() => {
                return Err(
                    response_error("the access token is too long for a request header").hint(
                        "remove the identity from some groups and app roles: each is a claim in its tokens",
                    ),
                );
            }
            Some(Value::String(token)) if is_header_value(&token) => Secret::new(token),
            _ => return Err(response_error("the response has no access token")),
        };
        let expires_on = parse_expiry(&body)
            .ok_or_else(|| response_error("the response has no valid expires_in or expires_on"))?;
        Ok(AccessToken::new(value, expires_on))
    }
}

/// The hint for a resource that does not exist in the identity's tenant.
pub const UNKNOWN_RESOURCE_HINT: &str =
    "the tenant has no resource `{resource}`: check its spelling, --vault-resource and --cloud";

/// The claims of a JWT, without its signature; `None` if the text is not a JWT
/// (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>).
pub fn jwt_payload(jwt: &Secret) -> Option<Value> {
    let payload = jwt.expose().split('.').nth(1)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
    serde_json::from_slice(&json.ok()?).ok()
}

/// Whether a text can be the value of a header. A newline in it would start a second header.
pub fn is_header_value(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    !text.is_empty() && text.bytes().all(is_valid)
}

/// When the token in a response expires, in Unix seconds; `None` if the response does not say so. `expires_in` is used
/// only if there is no `expires_on`, not if that is invalid.
fn parse_expiry(body: &Value) -> Option<i64> {
    let parse_number = |value: &Value| match value {
        Value::String(text) => text.trim().parse().ok(),
        // Some services send a fraction.
        value => value.as_i64().or(value.as_f64().map(|float| float as i64)),
    };
    let expires_on = &body["expires_on"];
    match expires_on {
        Value::Number(_) => parse_number(expires_on),
        Value::String(text) if !text.trim().is_empty() => {
            parse_number(expires_on).or_else(|| date::parse_date_time(text.trim()))
        }
        _ => parse_number(&body["expires_in"])
            .map(|seconds| date::unix_now().saturating_add(seconds)),
    }
}
