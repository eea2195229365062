//! Secret bundles: which are taken, what is said about their dates, which are no bundles; and several secrets of which
//! some cannot be had.

use serde_json::{Value, json};

use super::several;
use crate::azure::{Answer, Azure, Door, Stored};
use crate::network::wire::{NAME, VALUE, assert_got_it, counts, one_secret};
use crate::support::exec;

fn id(azure: &Azure) -> String {
    format!(
        "https://{}/secrets/{NAME}/0123456789abcdef0123456789abcdef",
        azure.vault()
    )
}

#[test]
fn unknown_members_and_nulls_are_no_trouble() {
    let azure = Azure::start();
    let id = id(&azure);
    for (name, bundle) in [
        ("value and id", json!({"value": VALUE, "id": id})),
        (
            "S18",
            json!({
                "value": VALUE, "id": id, "contentType": "application/x-pkcs12", "managed": true,
                "kid": "https://v/keys/sql-sa/1", "previousVersion": "1",
                "attributes": {"enabled": true, "nbf": 1_648_222_000, "exp": 4_102_444_800_i64,
                    "recoveryLevel": "CustomizedRecoverable+Purgeable", "recoverableDays": 7},
                "tags": {"foo": "bar"},
            }),
        ),
        (
            "nulls",
            json!({
                "value": VALUE, "id": id, "contentType": null, "kid": null, "managed": null, "tags": null,
                "attributes": null,
            }),
        ),
        (
            "nulls inside",
            json!({"value": VALUE, "id": id, "attributes": {"nbf": null, "exp": null, "enabled": null}}),
        ),
        (
            "new members",
            json!({"new": [1, {"value": "other"}], "value": VALUE, "id": id, "attributes": {"new": {}}}),
        ),
        (
            "other types",
            json!({"value": VALUE, "id": id, "attributes": {"exp": "never", "nbf": -1.5}, "tags": []}),
        ),
    ] {
        azure.next(Door::Vault, Answer::json(200, &bundle));
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{name}"
        );
        assert_got_it(&outcome);
    }
    // The type of the answer is not what decides.
    for kind in ["text/plain", "text/html; charset=iso-8859-1", ""] {
        let answer = Answer::json(200, &json!({"value": VALUE, "id": id})).content_type(kind);
        azure.next(Door::Vault, answer);
        assert_got_it(&one_secret(&azure, &[]).outcome());
    }
}

#[test]
fn the_value_arrives_byte_for_byte() {
    let azure = Azure::start();
    let long = "x".repeat(25 * 1024);
    for (index, value) in [
        "pässwörd ✓ \u{1f511}",
        "two\nlines",
        " spaces at both ends ",
        "\"quoted\" \\ and \t tab",
        "akv://kv1/another",
        "$HOME `id` %s {vault}",
        &long,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("value-{index}");
        azure.secret(&name, value);
        let words = several(&azure.vault(), &[&name]);
        let outcome = exec(&azure, words).outcome();
        assert_eq!(outcome.stdout_alone(), format!("{value}\n"));
    }
}

#[test]
fn a_secret_out_of_its_time_is_used_with_a_warning() {
    let azure = Azure::start();
    for (not_before, expires, warnings) in [
        (
            None,
            Some(1_000_000_000),
            vec!["expired at 2001-09-09 01:46:40 UTC; it is used nevertheless"],
        ),
        (
            Some(4_102_444_800),
            None,
            vec!["is not valid before 2100-01-01 00:00:00 UTC; it is used nevertheless"],
        ),
        (Some(1_000_000_000), Some(4_102_444_800), vec![]),
    ] {
        azure.put(Stored {
            not_before,
            expires,
            ..Stored::new("dated", VALUE)
        });
        let outcome = exec(&azure, several(&azure.vault(), &["dated"])).outcome();
        let expected: String = warnings
            .iter()
            .map(|warning| format!("akv-init: warning: secret `dated` {warning}\n"))
            .collect();
        assert_eq!(
            (outcome.code, outcome.stdout, outcome.stderr),
            (Some(0), format!("{VALUE}\n"), expected)
        );
    }
}

/// S16, and whatever else comes with a 200.
#[test]
fn what_is_not_a_bundle_is_an_error_at_once() {
    let azure = Azure::start();
    let id = id(&azure);
    let no_value = "the answer has no `value`";
    let no_id = "the answer has no `id`";
    let no_json = "the answer is not JSON";
    let body = |body: Value| Answer::json(200, &body);
    for (name, answer, said) in [
        ("no value", body(json!({"id": id})), no_value),
        ("null", body(json!({"id": id, "value": null})), no_value),
        ("a number", body(json!({"id": id, "value": 7})), no_value),
        (
            "an object",
            body(json!({"id": id, "value": {"value": "x"}})),
            no_value,
        ),
        ("no id", body(json!({"value": VALUE})), no_id),
        (
            "a number for an id",
            body(json!({"value": VALUE, "id": 7})),
            no_id,
        ),
        ("a list", body(json!([{"value": VALUE, "id": id}])), no_id),
        ("an error", body(json!({"error": {"code": "x"}})), no_id),
        (
            "a page",
            Answer::html(200, "<html>Please sign in</html>"),
            no_json,
        ),
        ("nothing", Answer::status(200), no_json),
        (
            "cut short",
            Answer::text(200, &format!("{{\"id\":\"{id}\",\"value\":\"{VALUE}")),
            no_json,
        ),
        (
            "something behind it",
            Answer::text(200, &format!("{{\"id\":\"{id}\",\"value\":\"{VALUE}\"}} x")),
            no_json,
        ),
    ] {
        let before = counts(&azure);
        azure.next(Door::Vault, answer);
        let line = format!(
            "error: reading secret `{NAME}` from {} for S: 200 OK: {said}",
            azure.vault()
        );
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.error(), Some(&line["error: ".len()..]), "{name}");
        outcome.failed(
            76,
            &[
                &line,
                &format!(
                    "hint: this is no answer of a vault: does something else answer as {}? Look at DNS, and at \
                     proxies and gateways on the way",
                    azure.vault()
                ),
            ],
        );
        assert_eq!(counts(&azure)[2] - before[2], 1, "{name}");
    }
}

#[test]
fn all_secrets_that_cannot_be_had_are_named_in_one_run() {
    let azure = Azure::start();
    azure.secret("good", "value");
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", "value")
    });
    azure.always(Door::Vault, Answer::usual().hold());
    let names = ["good", "missing", "disabled", "missing-too"];
    let run = exec(&azure, several(&azure.vault(), &names)).spawn();
    azure.wait_for(Door::Vault, 4);
    azure.release();
    let outcome = run.outcome();
    let first = azure
        .requests_at(Door::Vault)
        .into_iter()
        .find(|request| request.path() == "/secrets/missing")
        .unwrap();
    let line = format!(
        "error: reading secret `missing` from {} for S1: 404 Not Found (SecretNotFound): A secret with (name/id) \
         missing was not found in this key vault. If you recently deleted this secret you may be able to recover it \
         using the correct recovery command; request id {}; client request id {}; also not read: `disabled` \
         (SecretDisabled), `missing-too` (SecretNotFound)",
        azure.vault(),
        first.request_id,
        first.header("x-ms-client-request-id").unwrap()
    );
    outcome.failed(
        66,
        &[
            &line,
            "hint: look at the name, the version and the vault; a deleted secret can be recovered",
        ],
    );
}

/// With one try each there is no deadline: whoever waited for the slow one would name it too, half a minute later.
#[test]
fn a_secret_that_never_comes_does_not_delay_the_failure_of_another() {
    let azure = Azure::start();
    azure.always_for(Door::Vault, "/secrets/slow", Answer::usual().hold());
    let words = several(&azure.vault(), &["slow", "missing"]);
    let outcome = exec(&azure, ["--timeout", "0"]).args(words).outcome();
    assert_eq!(outcome.code, Some(66), "{}", outcome.stderr);
    let error = outcome.error().unwrap_or_default();
    assert!(!error.contains("slow"), "{error}");
}

#[test]
fn nothing_is_started_unless_every_secret_is_there() {
    let azure = Azure::start();
    azure.secret("good", "value");
    let mark = azure.dir().join("started");
    let words = [
        "--secret",
        &format!("A=akv://{}/good", azure.vault()),
        "--secret",
        &format!("B=akv://{}/missing", azure.vault()),
        "--",
        "touch",
        &mark.to_string_lossy(),
    ];
    assert_eq!(exec(&azure, words).outcome().code, Some(66));
    assert!(!mark.exists());
}

/// Several variables of one secret are all named, so that whoever reads the line finds their manifest's.
#[test]
fn a_failure_names_every_variable_that_wanted_the_secret() {
    let azure = Azure::start();
    let words = several(&azure.vault(), &["missing", "missing"]);
    let outcome = exec(&azure, words)
        .env("A", format!("akv://{}/Missing", azure.vault()))
        .outcome();
    let begin = format!(
        "reading secret `Missing` from {} for A, S0, S1: 404",
        azure.vault()
    );
    let error = outcome.error().unwrap_or_default();
    assert!(error.starts_with(&begin), "{error}");
    assert_eq!(counts(&azure), [1, 0, 1]);
}
