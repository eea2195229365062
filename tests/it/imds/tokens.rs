//! Which answers are tokens, in all the forms that IMDS, NMI and others in its place send, and which are none.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{ONE, asking, foreign};
use crate::azure::{Answer, Azure, Door};
use crate::network::wire::{assert_got_it, counts, one_secret};

/// Which tokens are taken (the ids are those of the vectors that SDKs test with).
#[test]
fn every_shape_of_a_token_answer_is_read() {
    let azure = Azure::start();
    let good = json!({"expires_in": "86399", "token_type": "Bearer"});
    let recorded = json!({
        "client_id": ONE, "expires_in": "86311", "expires_on": "1643312761", "ext_expires_in": "86399",
        "not_before": "1643226061", "resource": "https://vault.azure.net", "token_type": "Bearer",
    });
    for (id, answer) in [
        (
            "I1",
            Answer::token(json!({
                "expires_in": 600, "resource": "https://vault.azure.net", "token_type": "Bearer",
            })),
        ),
        (
            "I6",
            Answer::token(json!({
                "token_type": "Bearer", "expires_in": "85770", "expires_on": "4102444800", "ext_expires_in": 86399,
                "resource": "https://vault.azure.net",
            })),
        ),
        ("I7", Answer::token(recorded)),
        ("I15", Answer::token(good.clone()).with_status(202)),
        ("NMI", Answer::nmi_token()),
        ("a list", Answer::token(json!([good.clone(), good]))),
        (
            "the migration proxy",
            Answer::token(json!({
                "refresh_token": "", "expires_in": 3_589, "expires_on": "4102444800", "not_before": 0,
                "resource": "https://vault.azure.net", "token_type": "Bearer",
            })),
        ),
        (
            "no type at all",
            Answer::token(json!({"expires_in": 600})).content_type(""),
        ),
    ] {
        azure.next(Door::Imds, answer);
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(0), "{id}: {}", outcome.stderr);
        assert_got_it(&outcome);
    }
    assert_eq!(counts(&azure)[0], 8);
}

#[test]
fn of_a_list_the_first_token_is_used() {
    let azure = Azure::start();
    let entry = json!({"expires_in": "86399"});
    azure.next(Door::Imds, Answer::token(json!([entry, entry])));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    assert_eq!(azure.tokens().len(), 2);
    let requests = azure.requests_at(Door::Vault);
    let payload = requests[0].bearer().unwrap().split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    // The stand-in numbers its tokens.
    assert_eq!(claims["uti"], "standin-0");
}

/// How an expiry is read is seen in the one line that tells it.
#[test]
fn every_form_of_an_expiry_is_read() {
    let azure = Azure::start();
    for (id, fields, until) in [
        (
            "E1",
            json!({"expires_in": "", "expires_on": "1560974028", "not_before": "1560970130", "refresh_token": ""}),
            "2019-06-19 19:53:48 UTC",
        ),
        (
            "E2",
            json!({"expires_in": "", "expires_on": 1_560_974_028}),
            "2019-06-19 19:53:48 UTC",
        ),
        (
            "E5",
            json!({"expires_on": "12/31/2024 23:59:59"}),
            "2024-12-31 23:59:59 UTC",
        ),
        (
            "E6",
            json!({"expires_on": "2024-12-31 23:59:59"}),
            "2024-12-31 23:59:59 UTC",
        ),
        (
            "E11",
            json!({"expires_on": "01/01/1970 00:00:42 +00:00"}),
            "1970-01-01 00:00:42 UTC",
        ),
        (
            "E13",
            json!({"expires_on": "05/22/2021 17:18:21 +00:00"}),
            "2021-05-22 17:18:21 UTC",
        ),
        (
            "E14",
            json!({"expires_on": "1586984735"}),
            "2020-04-15 21:05:35 UTC",
        ),
    ] {
        azure.next(Door::Imds, Answer::token(fields));
        let outcome = one_secret(&azure, &["--verbose"]).outcome();
        let line = format!(
            "akv-init: debug: got an access token for https://vault.azure.net from IMDS ({}, managed identity), good \
             until {until}",
            azure.imds()
        );
        assert!(
            outcome.stderr.lines().any(|said| said == line),
            "{id}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.code, Some(0), "{id}");
    }
    // E7: seconds from now; the date changes with every run.
    azure.next(
        Door::Imds,
        Answer::token(json!({"expires_on": "", "expires_in": 3600})),
    );
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn what_is_not_a_token_is_an_error_at_once() {
    let azure = Azure::start();
    let no_expiry = "expires_in and expires_on are both missing or cannot be read";
    let no_token = "the answer holds no access token";
    let body = |body: Value| Answer::json(200, &body);
    for (id, answer, said) in [
        (
            "E3",
            Answer::token(json!({"expires_on": "15609740s28", "expires_in": "3600"})),
            no_expiry,
        ),
        ("E9", Answer::token(json!({})), no_expiry),
        (
            "E10",
            Answer::token(json!({"expires_on": "invalid-date-format", "expires_in": 3600})),
            no_expiry,
        ),
        ("no token", body(json!({"expires_in": "3600"})), no_token),
        (
            "empty",
            body(json!({"access_token": "", "expires_in": "3600"})),
            no_token,
        ),
        (
            "null",
            body(json!({"access_token": null, "expires_in": "3600"})),
            no_token,
        ),
        (
            "a number",
            body(json!({"access_token": 7, "expires_in": "3600"})),
            no_token,
        ),
        (
            "a header in it",
            body(json!({"access_token": "a\r\nX: y", "expires_in": "3600"})),
            no_token,
        ),
        ("an empty list", body(json!([])), no_token),
        ("a string", body(json!("token")), no_token),
    ] {
        let before = counts(&azure);
        azure.next(Door::Imds, answer);
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(76), "{id}: {}", outcome.stderr);
        let line = format!("{}: 200 OK: {said}", asking(&azure));
        outcome.failed(76, &[&line, &format!("hint: {}", foreign(&azure))]);
        let after = counts(&azure);
        assert_eq!((after[0] - before[0], after[2]), (1, 0), "{id}");
    }
}
