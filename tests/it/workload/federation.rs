//! An assertion that fits no federated credential, or not at this time: a few tries, then what was presented.

use std::fs;

use serde_json::json;

use super::{IDS, asking};
use crate::azure::{APPLICATION, Answer, Azure, Door};
use crate::network::wire::{all_at_once, assert_got_it, counts, one_secret_federated, timeless};

const PRESENTED: &str = "issuer https://oidc.example.com/standin/, subject system:serviceaccount:default:app, \
                         audience api://AzureADTokenExchange";

/// Q1: seen at random with a set-up that has been good for months.
#[test]
fn q1_a_federation_mismatch_may_be_a_flake() {
    all_at_once([70_021, 700_211, 700_212, 700_213, 70_025], |code| {
        let azure = Azure::start();
        for _ in 0..2 {
            let text =
                "No matching federated identity record found for presented assertion subject 'x'.";
            azure.next(Door::Login, Answer::aadsts(code, text).with_status(401));
        }
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
        assert_eq!(counts(&azure), [0, 3, 1], "{code}");
    });
}

#[test]
fn a_federation_mismatch_that_stays_says_what_was_presented() {
    let azure = Azure::start();
    azure.assertion(&json!({"sub": "system:serviceaccount:prod:db"}));
    let line = format!(
        "{}: 400 Bad Request (invalid_client): AADSTS700213: No matching federated identity record found for \
         presented assertion subject 'system:serviceaccount:prod:db'. Check your federated identity credential \
         Subject, Audience and Issuer against the presented assertion{IDS}, after 5 tries in N s",
        asking(&azure)
    );
    let hint = format!(
        "hint: the federated credential of client id {APPLICATION} must have exactly what was presented: issuer \
         https://oidc.example.com/standin/, subject system:serviceaccount:prod:db, audience \
         api://AzureADTokenExchange"
    );
    timeless(one_secret_federated(&azure, &[]).outcome()).failed(77, &[&line, &hint]);
    assert_eq!(counts(&azure), [0, 5, 0]);
}

#[test]
fn the_hint_shows_whatever_is_in_the_token() {
    let azure = Azure::start();
    for (id, claims, shown) in [
        (
            "several audiences",
            json!({"aud": ["api://one", "api://two"]}),
            "issuer https://oidc.example.com/standin/, subject system:serviceaccount:default:app, audience api://one \
             api://two",
        ),
        (
            "an audience alone",
            json!({"aud": "api://one"}),
            "issuer https://oidc.example.com/standin/, subject system:serviceaccount:default:app, audience api://one",
        ),
        (
            "an issuer without a slash",
            json!({"iss": "https://oidc.example.com/standin"}),
            "issuer https://oidc.example.com/standin, subject system:serviceaccount:default:app, audience \
             api://AzureADTokenExchange",
        ),
        (
            "nothing",
            json!({"iss": null, "sub": null, "aud": null}),
            "issuer none, subject none, audience none",
        ),
    ] {
        azure.assertion(&claims);
        let outcome = one_secret_federated(&azure, &["--timeout", "0"]).outcome();
        let hint = format!(
            "the federated credential of client id {APPLICATION} must have exactly what was presented: {shown}"
        );
        assert_eq!(outcome.hint(), Some(hint.as_str()), "{id}");
        assert_eq!(outcome.code, Some(77), "{id}");
    }
    fs::write(azure.token_file(), "not a token").unwrap();
    azure.next(Door::Login, Answer::aadsts(70_021, "No matching record."));
    let outcome = one_secret_federated(&azure, &["--timeout", "0"]).outcome();
    let hint = format!(
        "the federated credential of client id {APPLICATION} must have exactly what was presented: something that is \
         not a JWT"
    );
    assert_eq!(outcome.hint(), Some(hint.as_str()));
}

#[test]
fn a_stale_token_file_is_read_once_more() {
    let azure = Azure::start();
    azure.assertion(&json!({"exp": 1}));
    let line = format!(
        "{}: 400 Bad Request (invalid_client): AADSTS700024: Client assertion is not within its valid time range{IDS}, \
         after 2 tries in N s",
        asking(&azure)
    );
    let hint =
        format!("hint: the token file is stale, or a clock is wrong; presented: {PRESENTED}");
    timeless(one_secret_federated(&azure, &[]).outcome()).failed(77, &[&line, &hint]);
    assert_eq!(counts(&azure), [0, 2, 0]);
    // The kubelet was only late.
    azure.assertion(&json!({}));
    azure.next(
        Door::Login,
        Answer::aadsts(
            700_024,
            "Client assertion is not within its valid time range.",
        ),
    );
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 4, 1]);
}
