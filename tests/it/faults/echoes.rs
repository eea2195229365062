//! Services and what stands before them say what they were sent, whole, in every place where an answer has a text. At
//! `--verbose`, none of it is passed on.

use serde_json::json;

use super::{assert_all, said_nothing};
use crate::azure::{Answer, Azure, CLIENT_SECRET, IDENTITY_HEADER, MSI_SECRET};
use crate::support_identities::Source;

const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 410, 429, 500, 503];

/// Every body that a refusal of any of these services may have, with the credential in each of its texts.
fn bodies(status: u16) -> Vec<(&'static str, Answer)> {
    let it = "{credential}";
    let sentence = format!("You sent {it}, which is wrong.");
    vec![
        ("text", Answer::text(status, it)),
        ("a sentence", Answer::text(status, &sentence)),
        (
            "a page",
            Answer::html(status, &format!("<html><pre>{it}</pre></html>")),
        ),
        (
            "cut JSON",
            Answer::text(status, &format!("{{\"error\":\"{it}")),
        ),
        ("the form", Answer::text(status, "{form}")),
        (
            "the form in a text",
            Answer::json(
                status,
                &json!({"error": "invalid_request", "error_description": "{form}", "message": "{form}"}),
            ),
        ),
        (
            "IMDS",
            Answer::json(status, &json!({"error": it, "error_description": sentence})),
        ),
        (
            "App Service",
            Answer::json(
                status,
                &json!({"statusCode": status, "message": sentence, "correlationId": it}),
            ),
        ),
        (
            "Cloud Shell",
            Answer::json(status, &json!({"error": {"code": it, "message": sentence}})),
        ),
        (
            "Entra",
            Answer::json(
                status,
                &json!({
                    "error": it, "error_description": format!("AADSTS7000215: {sentence}\r\nTrace ID: {it}"),
                    "error_codes": [7_000_215], "timestamp": it, "trace_id": it, "correlation_id": it,
                    "error_uri": it, "suberror": it, "claims": it,
                }),
            ),
        ),
        (
            "a mismatch",
            Answer::json(
                status,
                &json!({"error": "invalid_client", "error_description": sentence, "error_codes": [700_213]}),
            ),
        ),
        (
            "a token that is none",
            Answer::json(
                status,
                &json!({"access_token": {"x": it}, "expires_in": it, "expires_on": it}),
            ),
        ),
    ]
}

/// Headers that are read, and some that are not.
fn in_headers(source: Source, status: u16) -> Answer {
    let sent = match source {
        Source::AppService => IDENTITY_HEADER,
        Source::MachineLearning => MSI_SECRET,
        _ => CLIENT_SECRET,
    };
    [
        "Retry-After",
        "Server",
        "WWW-Authenticate",
        "X-CORRELATION-ID",
        "x-ms-request-id",
        "x-ms-ests-server",
    ]
    .iter()
    .fold(Answer::status(status), |answer, name| {
        answer.header(name, sent)
    })
}

#[test]
fn nobody_is_told_what_was_sent() {
    let mut cells = Vec::new();
    for source in Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Imds)
    {
        for status in STATUSES {
            cells.extend(
                bodies(status)
                    .into_iter()
                    .map(|(name, answer)| (source, status, name, answer)),
            );
            if matches!(
                source,
                Source::AppService | Source::MachineLearning | Source::Secret
            ) {
                cells.push((source, status, "headers", in_headers(source, status)));
            }
        }
    }
    assert!(cells.len() > 800, "{}", cells.len());
    // One Azure for each source: its cells follow one another.
    let sources: Vec<Source> = Source::ALL.to_vec();
    assert_all(&sources, |source| {
        let azure = Azure::start();
        let mut offences = Vec::new();
        for (_, status, name, answer) in cells.iter().filter(|cell| cell.0 == *source) {
            azure.clear(source.door());
            azure.always(source.door(), answer.clone());
            let outcome = source
                .token(&azure, &["--verbose", "--timeout", "0"])
                .outcome();
            let cell = format!("{source:?}, {status}, {name}");
            if outcome.code.is_none_or(|code| code == 0 || code == 70) || outcome.error().is_none()
            {
                offences.push(format!("{cell}: {outcome:?}"));
            }
            if let Err(leak) = said_nothing(&azure, &outcome) {
                offences.push(format!("{cell}: {leak}"));
            }
        }
        match offences.is_empty() {
            true => Ok(()),
            false => Err(offences.join("\n")),
        }
    });
}
