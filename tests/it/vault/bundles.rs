//! Secret bundles: every form that is accepted, and their dates; and several secrets of which some fail.

use serde_json::json;

use super::several;
use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::exec;
use crate::support_requests::{NAME, VALUE, assert_got_it, counts, one_secret};

fn id(azure: &Azure) -> String {
    format!(
        "https://{}/secrets/{NAME}/0123456789abcdef0123456789abcdef",
        azure.vault()
    )
}

#[test]
fn unknown_members_and_nulls_are_ignored() {
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
        azure.next(Endpoint::Vault, Response::json(200, &bundle));
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{name}"
        );
        assert_got_it(&outcome);
    }
    // Whatever the content type is.
    for kind in ["text/plain", "text/html; charset=iso-8859-1", ""] {
        let response = Response::json(200, &json!({"value": VALUE, "id": id})).content_type(kind);
        azure.next(Endpoint::Vault, response);
        assert_got_it(&one_secret(&azure, &[]).outcome());
    }
}

#[test]
fn value_arrives_byte_for_byte() {
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
        let outcome = several(&azure, &[&name]).outcome();
        assert_eq!(outcome.stdout_alone(), format!("{value}\n"));
    }
}

#[test]
fn secret_outside_its_validity_is_used_with_a_warning() {
    let azure = Azure::start();
    let dates = [None, Some(1_000_000_000), Some(4_102_444_800)];
    for (not_before, expires, warned) in [
        (dates[0], dates[1], Some("2001-09-09 01:46:40 UTC")),
        (dates[2], dates[0], Some("2100-01-01 00:00:00 UTC")),
        (dates[1], dates[2], None),
    ] {
        azure.put(Stored {
            not_before,
            expires,
            ..Stored::new("dated", VALUE)
        });
        let run = several(&azure, &["dated"]);
        let outcome = run.json().outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, format!("{VALUE}\n"));
        let warnings = outcome.json_lines();
        assert_eq!(warnings.len(), usize::from(warned.is_some()));
        for (warning, date) in warnings.iter().zip(warned) {
            assert_eq!(warning["level"], "warning");
            let message = warning["message"].as_str().unwrap();
            assert!(
                message.contains("dated") && message.contains(date),
                "{message}"
            );
        }
    }
}

#[test]
fn every_failing_secret_is_named() {
    let azure = Azure::start();
    azure.secret("good", "value");
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", "value")
    });
    azure.always(Endpoint::Vault, Response::usual().hold());
    let names = ["good", "missing", "disabled", "missing-too"];
    let run = several(&azure, &names).json().spawn();
    azure.wait_for(Endpoint::Vault, 4);
    azure.release();
    let outcome = run.outcome();
    let failure = outcome.failure(66, "not found");
    failure.fact("secret", "missing").fact("for", "S1").hinted();
    failure.names("`disabled`").names("`missing-too`");
}

/// With `--timeout 0` nothing else ends the wait for the slow one.
#[test]
fn failure_of_a_secret_does_not_wait_for_another() {
    let azure = Azure::start();
    azure.always_for(Endpoint::Vault, "/secrets/slow", Response::usual().hold());
    let run = several(&azure, &["slow", "missing"]).env("AKV_INIT_TIMEOUT", "0");
    run.failure(66, "not found")
        .fact("secret", "missing")
        .omits("slow");
}

#[test]
fn command_is_not_started_without_every_secret() {
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

#[test]
fn failure_names_every_variable_of_the_secret() {
    let azure = Azure::start();
    let run = several(&azure, &["missing", "missing"]);
    let run = run.env("A", format!("akv://{}/Missing", azure.vault()));
    let failure = run.failure(66, "not found");
    failure.fact("for", "A, S0, S1").fact("secret", "Missing");
    assert_eq!(counts(&azure), [1, 0, 1]);
}
