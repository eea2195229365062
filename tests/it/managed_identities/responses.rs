//! Responses with a token, in every form that these endpoints, NMI and others send.

use serde_json::{Value, json};

use super::ALL;
use crate::azure::{Azure, Response};
use crate::support_identities::{CLIENT, Source, VAULT, assert_token};

#[test]
fn every_form_of_a_token_response_is_accepted() {
    let entry = json!({"expires_in": "86399", "token_type": "Bearer"});
    let rows = [
        (
            Source::Imds,
            vec![
                Response::token(
                    json!({"expires_in": 600, "resource": VAULT, "token_type": "Bearer"}),
                ),
                Response::token(json!({
                    "token_type": "Bearer", "expires_in": "85770", "expires_on": "4102444800",
                    "ext_expires_in": 86399, "resource": VAULT,
                })),
                // As recorded from a virtual machine.
                Response::token(json!({
                    "client_id": CLIENT, "expires_in": "86311", "expires_on": "4102444800",
                    "ext_expires_in": "86399", "not_before": "1643226061", "resource": VAULT,
                    "token_type": "Bearer",
                })),
                Response::token(entry.clone()).with_status(202),
                Response::token(json!([entry, entry])),
                Response::nmi_token(),
                // The proxy for a migration from aad-pod-identity.
                Response::token(json!({
                    "refresh_token": "", "expires_in": 3_589, "expires_on": "4102444800", "not_before": 0,
                    "resource": VAULT, "token_type": "Bearer",
                })),
                Response::token(json!({"expires_in": 600})).content_type(""),
                Response::token(json!({"expires_in": 3600, "expires_on": ""})),
                Response::token(json!({"expires_in": "3600", "expires_on": null})),
                Response::token(json!({"expires_in": 3599.0})),
            ],
        ),
        (
            Source::AppService,
            vec![
                Response::token(json!({
                    "expires_on": "4102444800", "resource": VAULT, "token_type": "Bearer",
                    "client_id": "some-guid",
                })),
                Response::token(json!({
                    "expires_on": "4102444800", "not_before": "1700000000", "resource": VAULT,
                    "token_type": "Bearer",
                })),
            ],
        ),
    ];
    for (source, responses) in rows {
        let azure = Azure::start();
        for response in responses {
            azure.next(source.endpoint(), response);
            assert_token(&azure, &source.token(&azure, &[]).outcome());
        }
    }
}

#[test]
fn first_token_of_a_list_is_used() {
    let azure = Azure::start();
    let fields = |token: &str| json!({"access_token": token, "expires_in": "86399"});
    let list = json!([fields("first"), fields("second")]);
    azure.next(Source::Imds.endpoint(), Response::json(200, &list));
    let outcome = Source::Imds.token(&azure, &[]).outcome();
    assert_eq!(outcome.stdout_alone(), "first");
}

#[test]
fn every_form_of_an_expiry_is_read() {
    const DAY: &str = "2019-06-19 19:53:48 UTC";
    let in_json = |source: Source, fields: Value, expected: &str| {
        let azure = Azure::start();
        azure.next(source.endpoint(), Response::token(fields.clone()));
        let outcome = source.token(&azure, &["--verbose"]).json().outcome();
        assert_eq!(outcome.code, Some(0), "{fields}: {}", outcome.stderr);
        let lines = outcome.lines_of("debug");
        let found = lines.iter().find(|line| line["resource"] == VAULT);
        assert_eq!(found.unwrap()["expires"], expected, "{fields}");
    };
    for (expires_on, expected) in [
        (json!("1560974028"), DAY),
        (json!(1_560_974_028), DAY),
        (json!("12/31/2024 23:59:59"), "2024-12-31 23:59:59 UTC"),
        (json!("2024-12-31 23:59:59"), "2024-12-31 23:59:59 UTC"),
        (json!("2024-12-31T23:59:59.123Z"), "2024-12-31 23:59:59 UTC"),
        (
            json!("2024-03-01T01:59:59+02:00"),
            "2024-02-29 23:59:59 UTC",
        ),
        (
            json!("01/01/1970 00:00:42 +00:00"),
            "1970-01-01 00:00:42 UTC",
        ),
        (
            json!("05/22/2021 17:18:21 +00:00"),
            "2021-05-22 17:18:21 UTC",
        ),
        (json!("1586984735"), "2020-04-15 21:05:35 UTC"),
        (
            json!("06/20/2019 02:57:58 +00:00"),
            "2019-06-20 02:57:58 UTC",
        ),
        (
            json!("1/16/2020 5:24:12 AM +00:00"),
            "2020-01-16 05:24:12 UTC",
        ),
        (
            json!("1/16/2020 12:24:12 PM +00:00"),
            "2020-01-16 12:24:12 UTC",
        ),
        (
            json!("1/16/2020 12:00:01 AM +00:00"),
            "2020-01-16 00:00:01 UTC",
        ),
        (
            json!("1/16/2020 5:24:12 PM +00:00"),
            "2020-01-16 17:24:12 UTC",
        ),
        (json!("4102444800"), "2100-01-01 00:00:00 UTC"),
        (json!(4_102_444_800_u64), "2100-01-01 00:00:00 UTC"),
    ] {
        for source in ALL.into_iter().filter(|source| source.good_code() == 0) {
            in_json(source, json!({"expires_on": expires_on}), expected);
        }
    }
    // The date decides, whatever `expires_in` is.
    for source in [Source::CloudShell, Source::Imds] {
        let fields = json!({"expires_in": "", "expires_on": 42, "not_before": "1560970130"});
        in_json(source, fields, "1970-01-01 00:00:42 UTC");
        let fields = json!({"expires_in": 0, "expires_on": 42, "refresh_token": ""});
        in_json(source, fields, "1970-01-01 00:00:42 UTC");
    }
}
