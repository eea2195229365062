//! Answers of a vault that did not understand, and of others in its place; and what their texts may do to a line.

use serde_json::json;

use super::row::row;
use crate::azure::{Answer, Azure, Door};
use crate::network::wire::{NAME, assert_got_it, counts, one_secret};

/// The stand-in refuses a token for another resource by itself.
#[test]
fn a_vault_of_another_resource_is_a_question_for_the_option() {
    let azure = Azure::builder()
        .vault_resource("https://vault.stack.example.com")
        .start();
    let outcome = one_secret(&azure, &[]).outcome();
    assert_eq!(
        (outcome.code, outcome.hint()),
        (
            Some(77),
            Some(
                "the token is for https://vault.azure.net, the vault expects https://vault.stack.example.com: look at \
                 --vault-resource and --cloud"
            )
        )
    );
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn what_a_vault_says_to_a_request_that_it_does_not_understand_is_passed_on() {
    let azure = Azure::start();
    row(
        "S12",
        Answer::vault_error(
            400,
            "BadParameter",
            None,
            "The request URI contains an invalid name: sql_sa",
        ),
        76,
        "400 Bad Request (BadParameter): The request URI contains an invalid name: sql_sa",
    )
    .check(&azure);
}

#[test]
fn what_is_not_a_vault_is_told_apart() {
    let azure = Azure::start();
    let host = azure.vault();
    let other = format!(
        "this is no answer of a vault: does something else answer as {host}? Look at DNS, and at proxies and gateways \
         on the way"
    );
    for row in [
        row(
            "404, nothing",
            Answer::status(404),
            76,
            "404 Not Found, without a reason",
        )
        .hint(&other),
        row(
            "403, other JSON",
            Answer::json(403, &json!({"message": "denied"})),
            76,
            "403 Forbidden, without a reason",
        )
        .hint(&other),
        row(
            "204",
            Answer::status(204),
            76,
            "204 No Content, without a reason",
        )
        .hint(&other),
        row(
            "201",
            Answer::json(201, &json!({"value": "x", "id": "y"})),
            76,
            "201 Created, without a reason",
        )
        .hint(&other),
        row(
            "a list",
            Answer::json(401, &json!([1])),
            76,
            "401 Unauthorized, without a reason",
        )
        .hint(&other),
    ] {
        row.check(&azure);
    }
}

#[test]
fn the_front_doors_page_is_unavailable_and_has_no_request_id() {
    let azure = Azure::start();
    azure.next(
        Door::Vault,
        Answer::html(502, "<html><h1>502 Bad Gateway</h1></html>"),
    );
    let outcome = one_secret(&azure, &["--timeout", "0"]).outcome();
    let request = azure.requests_at(Door::Vault).pop().unwrap();
    let line = format!(
        "error: reading secret `{NAME}` from {} for S: 502 Bad Gateway, without a reason; client request id {}",
        azure.vault(),
        request.header("x-ms-client-request-id").unwrap()
    );
    outcome.failed(69, &[&line]);
}

#[test]
fn a_long_text_is_cut_and_its_control_characters_are_gone() {
    let azure = Azure::start();
    let text = format!(
        "{}\u{1b}[31mred\u{7}\nakv-init: forged line",
        "a".repeat(400)
    );
    azure.next(
        Door::Vault,
        Answer::vault_error(403, "Forbidden", Some("ForbiddenByPolicy"), &text),
    );
    let outcome = one_secret(&azure, &[]).outcome();
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let kept = format!("(ForbiddenByPolicy): {}…; request id", "a".repeat(300));
    assert!(outcome.stderr.contains(&kept), "{}", outcome.stderr);
    azure.next(
        Door::Vault,
        Answer::vault_error(
            403,
            "Forbid\u{1b}[0mden",
            Some("Code\r\nakv-init: x"),
            "a\u{1b}[31mred",
        ),
    );
    let outcome = one_secret(&azure, &[]).outcome();
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
}

/// One id for the logs of a secret's vault, however often it is asked.
#[test]
fn tries_of_one_secret_share_their_client_request_id() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::status(503));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    let requests = azure.requests_at(Door::Vault);
    let id = |index: usize| requests[index].header("x-ms-client-request-id");
    assert_eq!((requests.len(), id(0)), (2, id(1)));
}
