//! A token response: the fields that every source sends, in all the types that they send them in.
//!
//! The body is JSON whatever its Content-Type says (NMI labels it text/plain). Numbers come as numbers or as strings;
//! `expires_on` also as a date, empty or absent
//! (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>).

use serde_json::{Number, Value};

use super::AccessToken;
use crate::date;
use crate::http::error::AttemptError;
use crate::http::retry::ErrorKind;
use crate::http::{LONGEST_HEADER, Response};
use crate::secret::Secret;

/// Reads the access token out of a successful response. Nothing of the body is ever part of an error.
pub fn parse(response: &Response) -> Result<AccessToken, AttemptError> {
    let foreign = |why: &str| {
        AttemptError::new(
            ErrorKind::UnexpectedResponse,
            format!("{}: {why}", response.status_text()),
        )
    };
    let Some(mut body) = response.json() else {
        return Err(foreign("the answer is not JSON"));
    };
    // NMI answers with a list where a service principal has several tenants; each entry is a token.
    if let Value::Array(list) = &mut body {
        if list.is_empty() {
            return Err(foreign("the answer holds no access token"));
        }
        body = list.swap_remove(0);
    }
    let token = match body.get_mut("access_token").map(Value::take) {
        Some(Value::String(token)) if token.len() > LONGEST_HEADER - "Bearer ".len() => {
            return Err(
                foreign("the access token is longer than a request can carry").hint(
                    "give the identity fewer groups and roles: each of them is part of its tokens",
                ),
            );
        }
        Some(Value::String(token)) if is_header_value(&token) => Secret::new(token),
        _ => return Err(foreign("the answer holds no access token")),
    };
    match expiry(&body, date::now()) {
        Some(expires_on) => Ok(AccessToken { token, expires_on }),
        None => Err(foreign(
            "expires_in and expires_on are both missing or cannot be read",
        )),
    }
}

/// What can stand in a header: a line end there would be a second header.
fn is_header_value(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Unix seconds. A date that cannot be read is an error, not a reason to look at `expires_in`.
fn expiry(body: &Value, now: i64) -> Option<i64> {
    match &body["expires_on"] {
        Value::String(text) if !text.trim().is_empty() => {
            let text = text.trim();
            text.parse().ok().or_else(|| date::parse_expiry(text))
        }
        Value::Number(number) => seconds(number),
        _ => {
            let left = match &body["expires_in"] {
                Value::String(text) => text.trim().parse().ok(),
                Value::Number(number) => seconds(number),
                _ => None,
            };
            left.map(|left| now.saturating_add(left))
        }
    }
}

/// Whole seconds: some services send a fraction.
fn seconds(number: &Number) -> Option<i64> {
    number
        .as_i64()
        .or_else(|| number.as_f64().map(|float| float as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expiry_is_read_in_every_type_that_services_send() {
        let now = 1_000;
        for (body, expected) in [
            (
                json!({"expires_in": "", "expires_on": "1560974028", "not_before": "1560970130"}),
                Some(1_560_974_028),
            ),
            (
                json!({"expires_in": "", "expires_on": 1_560_974_028}),
                Some(1_560_974_028),
            ),
            (json!({"expires_on": "15609740s28"}), None),
            (
                json!({"expires_on": "12/31/2024 23:59:59"}),
                Some(1_735_689_599),
            ),
            (
                json!({"expires_on": "2024-12-31 23:59:59"}),
                Some(1_735_689_599),
            ),
            (json!({"expires_on": "", "expires_in": 3600}), Some(4_600)),
            (
                json!({"expires_on": null, "expires_in": "3600"}),
                Some(4_600),
            ),
            (json!({"expires_in": 3599.0}), Some(4_599)),
            (json!({}), None),
            (json!({"expires_in": ""}), None),
            (
                json!({"expires_on": "invalid-date-format", "expires_in": 3600}),
                None,
            ),
            (
                json!({"expires_on": "01/01/1970 00:00:42 +00:00"}),
                Some(42),
            ),
            (json!({"expires_on": "1586984735"}), Some(1_586_984_735)),
        ] {
            assert_eq!(expiry(&body, now), expected, "{body}");
        }
    }
}
