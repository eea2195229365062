//! Entra's refusals: each class of AADSTS numbers with its exit code, its words, its hint and its number of tries. Those
//! of the assertion itself are in a file of their own.

use serde_json::json;

use super::{IDS, asking};
use crate::azure::{APPLICATION, Answer, Azure, Door, TENANT};
use crate::network::wire::{all_at_once, assert_got_it, counts, one_secret_federated};
use crate::support::THROTTLED;

/// What follows its other texts: the id of the answer, and the one that we sent.
fn own_ids(azure: &Azure) -> String {
    let request = azure.requests_at(Door::Login).pop().unwrap();
    format!(
        "; request id {}; client request id {}",
        request.request_id,
        request.header("client-request-id").unwrap()
    )
}

/// What the hints of a class are.
enum Class {
    /// A code that only fails, without a hint of its own.
    Refused,
    /// No such client in the tenant.
    NoSuchClient,
    /// Tenant, resource, cloud.
    Resource,
    Settings,
}

#[test]
fn what_cannot_get_better_is_said_after_one_try() {
    let azure = Azure::start();
    for (code, class) in [
        // The assertion.
        (50_013, Class::Refused),
        (50_027, Class::Refused),
        (700_027, Class::Refused),
        (700_023, Class::Refused),
        // Federation.
        (700_222, Class::Refused),
        (700_231, Class::Refused),
        (7_002_381, Class::Refused),
        (900_382, Class::Settings),
        (90_038, Class::Settings),
        // The client.
        (7_000_215, Class::Refused),
        (7_000_222, Class::Refused),
        (7_000_216, Class::Refused),
        (7_000_218, Class::Refused),
        (700_025, Class::Refused),
        (7_000_112, Class::Refused),
        (700_016, Class::NoSuchClient),
        // Tenant and resource.
        (90_002, Class::Settings),
        (900_023, Class::Settings),
        (50_001, Class::Resource),
        (500_011, Class::Resource),
        (70_011, Class::Resource),
        (53_003, Class::Refused),
    ] {
        for status in [400, 401] {
            let before = counts(&azure);
            let answer = Answer::entra_error("invalid_client", code, "Some text about it.");
            azure.next(Door::Login, answer.with_status(status));
            let outcome = one_secret_federated(&azure, &[]).outcome();
            let name = match status {
                400 => "Bad Request",
                _ => "Unauthorized",
            };
            let line = format!(
                "{}: {status} {name} (invalid_client): AADSTS{code}: Some text about it{IDS}",
                asking(&azure)
            );
            let no_such_client = format!(
                "hint: no application or identity has client id {APPLICATION} in tenant {TENANT}: look at \
                 AZURE_CLIENT_ID and AZURE_TENANT_ID"
            );
            let settings = format!(
                "hint: look at AZURE_TENANT_ID ({TENANT}), AZURE_AUTHORITY_HOST and --cloud"
            );
            let resource = "hint: `https://vault.azure.net` is not a resource that this tenant knows: look at it, at \
                            --vault-resource and at --cloud";
            match class {
                Class::Refused => outcome.failed(77, &[&line]),
                Class::NoSuchClient => outcome.failed(77, &[&line, &no_such_client]),
                Class::Resource => outcome.failed(78, &[&line, resource]),
                Class::Settings => outcome.failed(78, &[&line, &settings]),
            }
            let after = counts(&azure);
            assert_eq!((after[1] - before[1], after[2]), (1, 0), "{code}");
        }
    }
}

#[test]
fn entras_own_trouble_is_asked_again() {
    let rows = [
        (
            "90024",
            Answer::aadsts(90_024, "RequestBudgetExceededError"),
        ),
        ("90033", Answer::aadsts(90_033, "MsodsServiceUnavailable")),
        (
            "90006",
            Answer::aadsts(90_006, "ExternalServerRetryableError"),
        ),
        ("90090", Answer::aadsts(90_090, "The service is busy.")),
        ("90012", Answer::aadsts(90_012, "RequestTimeout")),
        ("90055", Answer::aadsts(90_055, "TenantThrottlingError")),
        ("50196", Answer::aadsts(50_196, "LoopDetected")),
        (
            "90061",
            Answer::aadsts(90_061, "ExternalOIDCEndpointFailed"),
        ),
        (
            "temporarily_unavailable",
            Answer::json(400, &json!({"error": "temporarily_unavailable"})),
        ),
        (
            "server_error",
            Answer::json(400, &json!({"error": "server_error"})),
        ),
        ("500", Answer::html(500, "<html>")),
        ("502", Answer::status(502)),
        ("503", Answer::text(503, "Service Unavailable")),
        ("504", Answer::status(504)),
        ("408", Answer::status(408)),
        ("429", Answer::text(429, "Too Many Requests")),
    ];
    all_at_once(rows, |(id, answer)| {
        let azure = Azure::start();
        azure.next(Door::Login, answer);
        let outcome = one_secret_federated(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(0), "{id}: {}", outcome.stderr);
        assert_got_it(&outcome);
        assert_eq!(counts(&azure), [0, 2, 1], "{id}");
    });
}

/// T7, T8, T10, T12 and other shapes of an error.
#[test]
fn every_shape_of_a_refusal_is_read() {
    let azure = Azure::start();
    for (id, answer, code, said) in [
        (
            "T7",
            Answer::json(
                400,
                &json!({
                    "error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.",
                    "error_codes": [7_000_215],
                }),
            ),
            77,
            "400 Bad Request (invalid_client): AADSTS7000215: Invalid client secret",
        ),
        (
            "T8",
            Answer::json(
                400,
                &json!({"error_codes": [123, 456], "error_description": "bad news"}),
            ),
            77,
            "400 Bad Request: bad news (codes 123, 456)",
        ),
        (
            "T10",
            Answer::json(
                400,
                &json!({"error_description": "AADSTS50027: Invalid JWT token.", "error_codes": [50_027]}),
            ),
            77,
            "400 Bad Request: AADSTS50027: Invalid JWT token",
        ),
        (
            "T12",
            Answer::json(
                403,
                &json!({"error": "invalid_request", "error_description": "invalid assertion"}),
            ),
            77,
            "403 Forbidden (invalid_request): invalid assertion",
        ),
        (
            "newer texts",
            Answer::json(
                401,
                &json!({
                    "error": "invalid_client",
                    "error_description": "AADSTS50027: Invalid. Trace ID: 1 Correlation ID: 2 Timestamp: 3",
                    "error_codes": [50_027],
                }),
            ),
            77,
            "401 Unauthorized (invalid_client): AADSTS50027: Invalid",
        ),
        (
            "no text",
            Answer::json(401, &json!({"error": "invalid_client"})),
            77,
            "401 Unauthorized (invalid_client)",
        ),
    ] {
        azure.next(Door::Login, answer);
        let outcome = one_secret_federated(&azure, &[]).outcome();
        let line = format!("{}: {said}{}", asking(&azure), own_ids(&azure));
        assert_eq!(outcome.stderr, format!("akv-init: {line}\n"), "{id}");
        outcome.failed(code, &[&line]);
    }
}

#[test]
fn what_is_not_entra_is_an_error_at_once() {
    let azure = Azure::start();
    for (answer, said) in [
        (
            Answer::html(403, "<html>blocked by policy</html>"),
            "403 Forbidden",
        ),
        (Answer::status(404), "404 Not Found"),
        (
            Answer::json(401, &json!({"message": "no"})),
            "401 Unauthorized",
        ),
        (Answer::json(400, &json!([])), "400 Bad Request"),
    ] {
        let before = counts(&azure);
        let hint = format!(
            "hint: this is no answer of Entra: does something else answer as {}? Look at AZURE_AUTHORITY_HOST, and at \
             proxies and gateways on the way",
            azure.login().trim_start_matches("https://")
        );
        azure.next(Door::Login, answer);
        let outcome = one_secret_federated(&azure, &[]).outcome();
        let ids = match said {
            // A page from something in between has none of Entra's.
            "403 Forbidden" => own_ids(&azure).split_off("; request id ".len() + 36),
            _ => own_ids(&azure),
        };
        let line = format!("{}: {said}{ids}", asking(&azure));
        outcome.failed(76, &[&line, &hint]);
        assert_eq!(counts(&azure)[1] - before[1], 1, "{said}");
    }
}

/// Q2: plain text, and a wait that the deadline allows or does not.
#[test]
fn q2_throttling_is_waited_out_if_the_deadline_allows() {
    let azure = Azure::start();
    azure.next(Door::Login, Answer::entra_throttled(1));
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    let requests = azure.requests_at(Door::Login);
    let waited = requests[1].at - requests[0].at;
    assert!(waited.as_millis() >= 1_000, "{waited:?}");
    azure.next(Door::Login, Answer::entra_throttled(60));
    let outcome = one_secret_federated(&azure, &[]).outcome();
    let line = format!(
        "{}: 429 Too Many Requests{}; it asks for 60 s without a request, which is past the deadline",
        asking(&azure),
        own_ids(&azure)
    );
    outcome.failed(69, &[&line, THROTTLED]);
    assert_eq!(azure.requests_at(Door::Login).len(), 3);
}

#[test]
fn an_entra_that_cannot_be_reached_is_an_egress_rule_or_a_proxy() {
    let azure = Azure::start();
    azure.close(Door::Login);
    let host = azure.login();
    let line = format!("{}: connection refused", asking(&azure));
    let hint = format!("hint: this container must reach {host} (egress rule, or HTTPS_PROXY)");
    one_secret_federated(&azure, &["--timeout", "0"])
        .outcome()
        .failed(69, &[&line, &hint]);
}
