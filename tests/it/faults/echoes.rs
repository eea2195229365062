//! Services, and proxies before them, that repeat the credential which they received, in every text of a response. None of
//! it is in the output, `--verbose` included.

use serde_json::json;

use crate::azure::{Azure, CLIENT_SECRET, IDENTITY_HEADER, MSI_SECRET, Response};
use crate::support_identities::{Source, leak};
use crate::support_tables::in_parallel;

/// Every body that a refusal of any of these services may have, with the credential in each of its texts.
fn bodies(status: u16) -> Vec<(&'static str, Response)> {
    let it = "{credential}";
    let sentence = format!("You sent {it}, which is wrong.");
    vec![
        ("text", Response::text(status, it)),
        ("a sentence", Response::text(status, &sentence)),
        (
            "a page",
            Response::html(status, &format!("<html><pre>{it}</pre></html>")),
        ),
        (
            "cut JSON",
            Response::text(status, &format!("{{\"error\":\"{it}")),
        ),
        ("the form", Response::text(status, "{form}")),
        (
            "the form in a text",
            Response::json(
                status,
                &json!({"error": "invalid_request", "error_description": "{form}", "message": "{form}"}),
            ),
        ),
        (
            "IMDS",
            Response::json(status, &json!({"error": it, "error_description": sentence})),
        ),
        (
            "App Service",
            Response::json(
                status,
                &json!({"statusCode": status, "message": sentence, "correlationId": it}),
            ),
        ),
        (
            "Cloud Shell",
            Response::json(status, &json!({"error": {"code": it, "message": sentence}})),
        ),
        (
            "Entra",
            Response::json(
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
            Response::json(
                status,
                &json!({"error": "invalid_client", "error_description": sentence, "error_codes": [700_213]}),
            ),
        ),
        (
            "a token that is none",
            Response::json(
                status,
                &json!({"access_token": {"x": it}, "expires_in": it, "expires_on": it}),
            ),
        ),
    ]
}

/// Headers that are read, and some that are not.
fn in_headers(source: Source, status: u16) -> Response {
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
    .fold(Response::status(status), |response, name| {
        response.header(name, sent)
    })
}

fn check(statuses: &[u16]) {
    let sources = Source::ALL.into_iter().filter(|it| *it != Source::Imds);
    in_parallel(sources, |source| {
        let azure = Azure::start();
        for &status in statuses {
            let mut responses = bodies(status);
            if matches!(
                source,
                Source::AppService | Source::MachineLearning | Source::Secret
            ) {
                responses.push(("headers", in_headers(source, status)));
            }
            for (name, response) in responses {
                azure.always(source.endpoint(), response);
                let run = source.token(&azure, &["--verbose", "--timeout", "0"]);
                let outcome = run.outcome();
                let failed = outcome.code.is_some_and(|code| code != 0 && code != 70);
                assert!(failed, "{source:?}, {status}, {name}: {outcome:?}");
                let leak = leak(&azure, &outcome, &[]);
                assert_eq!(leak, None, "{source:?}, {status}, {name}");
            }
        }
    });
}

/// However it is encoded; the rest of the text is shown.
#[test]
fn encoded_credential_is_not_shown() {
    let spellings = [
        "a%2Bb%2FLEAK%3D%22%20%C3%A9",
        "a%2bb%2fLEAK%3d%22+%c3%a9",
        "a+b/LEAK=%22%20é",
        r#"a+b/LEAK=\" é"#,
        r#"a+b\/LEAK=\" \u00e9"#,
        r"a\u002bb\u002FLEAK\u003d\u0022\u0020\u00E9",
        "client_secret=a%252Bb%252FLEAK%253D&x",
        "client_assertion=LEAK",
        r#"{"client_secret": "YStiLw LEAK"}"#,
    ];
    in_parallel(spellings, |spelling| {
        let azure = Azure::start();
        let text = format!("<{spelling}> and a+b/LEAK=\" é are wrong");
        let error = json!({"error": "x", "error_description": text, "error_codes": [7_000_215]});
        for (source, variable, response) in [
            (
                Source::Secret,
                "AZURE_CLIENT_SECRET",
                Response::json(401, &error),
            ),
            (
                Source::MachineLearning,
                "MSI_SECRET",
                Response::text(401, &text),
            ),
        ] {
            // A header has no `é`.
            let secret = match source {
                Source::Secret => "a+b/LEAK=\" é",
                _ => "a+b/LEAK=\"",
            };
            azure.always(source.endpoint(), response);
            let run = source.token(&azure, &["--verbose", "--timeout", "0"]);
            let failure = run.env(variable, secret).failure(77, "denied");
            failure.names("are wrong").omits("LEAK");
        }
    });
}

#[test]
fn repeated_credential_is_not_shown() {
    check(&[200, 401, 500]);
}

#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn repeated_credential_is_not_shown_for_any_status() {
    check(&[400, 403, 404, 410, 429, 503]);
}
