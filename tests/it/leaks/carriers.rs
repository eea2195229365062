//! Responses that contain a text wherever a response can.

use serde_json::json;

use crate::azure::Response;

/// The statuses that lead to different messages.
const STATUSES: [u16; 5] = [200, 400, 401, 403, 503];

/// A response and its name.
pub type Named = (String, Response);

/// Responses with this text in bodies of all kinds, in errors, in headers, and without HTTP.
pub fn echoes(text: &str) -> Vec<Named> {
    let mut all = STATUSES.map(|status| with_status(status, text)).concat();
    let more = [
        (
            "redirect",
            Response::redirect(&format!("https://sign-in.example.com/?{text}")),
        ),
        ("redirect to it", Response::redirect(text)),
        (
            "not HTTP",
            Response::raw(format!("{text}\r\n\r\n").as_bytes()),
        ),
        (
            "a status line",
            Response::raw(format!("HTTP/1.1 403 {text}\r\n\r\n").as_bytes()),
        ),
        ("half", Response::text(403, text).half()),
        (
            "half a bundle",
            Response::json(200, &json!({"value": text, "id": text})).half(),
        ),
        (
            "too long",
            Response::text(403, &format!("{text}{}", " ".repeat(300 * 1024))),
        ),
    ];
    all.extend(more.map(|(name, answer)| (name.to_owned(), answer)));
    all
}

fn with_status(status: u16, text: &str) -> Vec<Named> {
    let headers = [
        "x-ms-request-id",
        "WWW-Authenticate",
        "Retry-After",
        "Server",
        "Content-Type",
        "x-ms-keyvault-region",
    ];
    let in_headers = headers
        .iter()
        .fold(Response::text(status, "x"), |answer, name| {
            answer.header(name, text)
        });
    let vault_error = |inner: &str, message: &str| json!({"error": {"code": "Forbidden", "message": message, "innererror": {"code": inner}}});
    let sentence = format!("You sent {text}, which is wrong.");
    let facts = format!(
        "Not authorized {text}\r\nCaller: appid={text};oid={text};iss={text}\r\nResource: '{text}'\r\nClient address: \
         {text}\r\nVault: {text}"
    );
    let answers = [
        ("plain", Response::text(status, text)),
        ("a sentence", Response::text(status, &sentence)),
        (
            "its headers",
            Response::text(
                status,
                &format!("Authorization: Bearer {text}\r\nMetadata: true"),
            ),
        ),
        (
            "a page",
            Response::html(status, &format!("<html><pre>{text}</pre></html>")),
        ),
        (
            "cut JSON",
            Response::text(status, &format!("{text}\",\"id\":\"x")),
        ),
        (
            "a vault's error",
            Response::json(
                status,
                &json!({"error": {"code": text, "message": text, "innererror": {"code": text}}}),
            ),
        ),
        (
            "a sentence of a vault",
            Response::json(status, &vault_error("Other", &sentence)),
        ),
        (
            "RBAC",
            Response::json(status, &vault_error("ForbiddenByRbac", &facts)),
        ),
        ("firewall", {
            let answer = Response::json(status, &vault_error("ForbiddenByFirewall", "No."));
            answer.header(
                "x-ms-keyvault-network-info",
                &format!("conn_type=Ipv4;addr={text};"),
            )
        }),
        (
            "audience",
            Response::json(
                status,
                &vault_error(
                    "",
                    &format!("AKV10022: Invalid audience. Expected {text}, found: {text}."),
                ),
            ),
        ),
        (
            "Entra's error",
            Response::json(
                status,
                &json!({
                    "error": text, "error_description": text, "error_codes": [7], "trace_id": text,
                    "correlation_id": text, "timestamp": text,
                }),
            ),
        ),
        (
            "a federation mismatch",
            Response::json(
                status,
                &json!({
                    "error": "invalid_client", "error_description": format!("AADSTS700213: {sentence}"),
                    "error_codes": [700_213],
                }),
            ),
        ),
        (
            "other JSON",
            Response::json(
                status,
                &json!({"message": text, "access_token": [text], "value": [text], "id": {"x": text}}),
            ),
        ),
        ("headers", in_headers),
    ];
    let named = answers.map(|(name, answer)| (format!("{status}, {name}"), answer));
    named.into()
}

/// Responses that are nearly a secret bundle or a token.
pub fn nearly(text: &str) -> Vec<Named> {
    let id = "https://v/secrets/a/1";
    let mut all = Vec::new();
    for status in [200, 201, 400, 403, 503] {
        for (name, body) in [
            ("no id", json!({"value": text}).to_string()),
            ("no value", json!({"id": id, "val": text}).to_string()),
            (
                "a value in an object",
                json!({"id": id, "value": {"value": text}}).to_string(),
            ),
            (
                "a list",
                json!([{"id": id, "value": text, "access_token": [text]}]).to_string(),
            ),
            (
                "the value for an id",
                json!({"id": {"id": text}, "value": text}).to_string(),
            ),
            (
                "cut",
                format!("{{\"id\":\"{id}\",\"access_token\":\"{text}\",\"value\":\"{text}"),
            ),
            (
                "twice",
                format!("{{\"id\":\"{id}\"}}{{\"value\":\"{text}\"}}"),
            ),
            (
                "a bad escape",
                format!("{{\"id\":\"{id}\",\"value\":\"{text}\\x\"}}"),
            ),
            (
                "a token without expiry",
                json!({"access_token": text, "refresh_token": text}).to_string(),
            ),
            (
                "a token with an expiry that is none",
                json!({"access_token": text, "expires_on": text}).to_string(),
            ),
            (
                "a token with a line end",
                json!({"access_token": format!("{text}\n"), "expires_in": 9}).to_string(),
            ),
        ] {
            let answer = Response::text(status, &body).content_type("application/json");
            all.push((format!("{status}, {name}"), answer));
        }
    }
    all
}
