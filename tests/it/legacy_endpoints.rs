//! `MSI_ENDPOINT`: Azure ML and the App Service of 2017 with a secret, Cloud Shell without.

use serde_json::json;

use crate::azure::{Answer, Azure, Door, Identity, MSI_SECRET};
use crate::network::wire::{assert_got_it, connections, headers, query, timeless, user_agent};
use crate::support::Outcome;
use crate::support_identities::{
    CLIENT, Source, assert_refused_without_its_value, assert_token, only_request,
};

const ML: Source = Source::MachineLearning;
const SHELL: Source = Source::CloudShell;

/// D5.
#[test]
fn d5_azure_ml_is_asked_this_and_nothing_else() {
    let azure = Azure::start();
    assert_got_it(&ML.exec(&azure, &[]).outcome());
    let request = only_request(&azure, Door::Platform);
    assert_eq!(
        (request.method.as_str(), request.path()),
        ("GET", "/msi/token")
    );
    assert_eq!(
        query(&request),
        ["api-version=2017-09-01", "resource=https://vault.azure.net"]
    );
    let host = format!("host: {}", azure.platform().trim_start_matches("http://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            &host,
            &format!("secret: {MSI_SECRET}"),
            &user_agent(),
        ]
    );
    assert_eq!(connections(&azure), 2);
}

/// ML1, ML2: `clientid`, without an underscore.
#[test]
fn ml1_ml2_the_client_id_is_the_selectors_or_the_default_one() {
    let azure = Azure::start();
    let other = "99999999-2222-4333-8444-555555555555";
    azure.identities(&[Identity::user(CLIENT), Identity::user(other)]);
    let default = |run: crate::support::Run| run.env("DEFAULT_IDENTITY_CLIENT_ID", CLIENT);
    for (id, run, sent) in [
        ("ML1", default(ML.token(&azure, &[])), CLIENT),
        (
            "ML2",
            default(ML.token(&azure, &["--client-id", other])),
            other,
        ),
        (
            "no default",
            ML.token(&azure, &["--client-id", other]),
            other,
        ),
        (
            "AZURE_CLIENT_ID",
            default(ML.token(&azure, &[])).env("AZURE_CLIENT_ID", other),
            other,
        ),
    ] {
        assert_token(&azure, &run.outcome());
        let request = azure.requests_at(Door::Platform).pop().unwrap();
        assert_eq!(
            query(&request),
            [
                "api-version=2017-09-01".to_owned(),
                format!("clientid={sent}"),
                "resource=https://vault.azure.net".to_owned(),
            ],
            "{id}"
        );
    }
}

/// ML3, CS2: a selector that the endpoint would pass over is refused before any request.
#[test]
fn ml3_cs2_a_selector_that_cannot_be_followed_is_refused() {
    let azure = Azure::start();
    let only_client =
        "error: this managed identity (MSI_ENDPOINT, MSI_SECRET) is only chosen by client id";
    let none = "error: Cloud Shell (MSI_ENDPOINT) has the identity of whoever is signed in; none can be chosen";
    let hint = "hint: give --client-id";
    for (source, option, lines) in [
        (ML, "--object-id", &[only_client, hint][..]),
        (ML, "--resource-id", &[only_client, hint]),
        (SHELL, "--client-id", &[none]),
        (SHELL, "--object-id", &[none]),
        (SHELL, "--resource-id", &[none]),
    ] {
        source
            .token(&azure, &[option, CLIENT])
            .outcome()
            .failed(78, lines);
    }
    assert_eq!(connections(&azure), 0);
}

/// E11's layout, the one of Windows, and numbers of both kinds.
#[test]
fn every_expiry_of_2017_is_read() {
    let azure = Azure::start();
    for (expires_on, until) in [
        (json!("06/20/2019 02:57:58 +00:00"), "2019-06-20 02:57:58"),
        (json!("1/16/2020 5:24:12 AM +00:00"), "2020-01-16 05:24:12"),
        (json!("1/16/2020 12:24:12 PM +00:00"), "2020-01-16 12:24:12"),
        (json!("01/01/1970 00:00:42 +00:00"), "1970-01-01 00:00:42"),
        (json!("4102444800"), "2100-01-01 00:00:00"),
        (json!(4_102_444_800_u64), "2100-01-01 00:00:00"),
    ] {
        azure.next(
            Door::Platform,
            Answer::token(json!({"expires_on": expires_on})),
        );
        let outcome = ML.token(&azure, &["--verbose"]).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let line = format!("good until {until} UTC\n");
        assert!(
            outcome.stderr.contains(&line),
            "{until}: {}",
            outcome.stderr
        );
    }
}

/// CS1.
#[test]
fn cs1_cloud_shell_is_asked_by_a_form() {
    let azure = Azure::start();
    assert_got_it(&SHELL.exec(&azure, &[]).outcome());
    let request = only_request(&azure, Door::Platform);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/oauth2/token")
    );
    let host = format!("host: {}", azure.platform().trim_start_matches("http://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            "content-length: 38",
            "content-type: application/x-www-form-urlencoded",
            &host,
            "metadata: true",
            &user_agent(),
        ]
    );
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        "resource=https%3A%2F%2Fvault.azure.net"
    );
    // The vector's answer: the date decides, not the seconds.
    azure.next(
        Door::Platform,
        Answer::token(json!({"expires_in": 0, "expires_on": 42, "token_type": "Bearer"})),
    );
    let outcome = SHELL.token(&azure, &["--verbose"]).outcome();
    assert!(
        outcome
            .stderr
            .contains("good until 1970-01-01 00:00:42 UTC"),
        "{}",
        outcome.stderr
    );
}

/// A refusal that must not be asked for again.
#[track_caller]
fn refused(source: Source, azure: &Azure, answer: Answer, code: i32, said: &str) {
    let before = azure.requests_at(Door::Platform).len();
    azure.next(Door::Platform, answer);
    let line = format!("error: {}: {said}", source.asking(azure));
    let hint =
        "hint: this is no answer of an identity endpoint: is MSI_ENDPOINT as the platform set it?";
    let lines = [line.as_str(), hint];
    let count = if code == 76 { 2 } else { 1 };
    let outcome = source.token(azure, &[]).outcome();
    outcome.failed(code, &lines[..count]);
    assert_eq!(
        azure.requests_at(Door::Platform).len() - before,
        1,
        "{said}"
    );
}

#[test]
fn refusals_of_every_shape_are_read() {
    let azure = Azure::start();
    for source in [ML, SHELL] {
        refused(
            source,
            &azure,
            Answer::app_service_no_identity(),
            77,
            "400 Bad Request: Unable to load the proper Managed Identity",
        );
        refused(
            source,
            &azure,
            Answer::cloud_shell_error(400, "invalid_request", "The resource is not valid."),
            77,
            "400 Bad Request: The resource is not valid",
        );
        refused(
            source,
            &azure,
            Answer::imds_error(400, "invalid_request", "Identity not found"),
            77,
            "400 Bad Request: Identity not found",
        );
        refused(source, &azure, Answer::status(401), 77, "401 Unauthorized");
        refused(source, &azure, Answer::text(403, "no"), 77, "403 Forbidden");
        refused(source, &azure, Answer::status(404), 76, "404 Not Found");
        refused(
            source,
            &azure,
            Answer::status(405),
            76,
            "405 Method Not Allowed",
        );
    }
}

#[test]
fn a_500_is_tried_three_times_and_trouble_that_passes_is_waited_for() {
    let azure = Azure::start();
    for source in [ML, SHELL] {
        for answer in [
            Answer::status(500),
            Answer::status(503),
            Answer::status(429),
            Answer::status(408),
        ] {
            azure.next(Door::Platform, answer);
            assert_token(&azure, &source.token(&azure, &[]).outcome());
        }
        azure.always(Door::Platform, Answer::app_service_failed());
        let line = format!(
            "error: {}: 500 Internal Server Error: An unexpected error occured while fetching the AAD Token, after 3 \
             tries in N s",
            source.asking(&azure)
        );
        timeless(source.token(&azure, &[]).outcome()).failed(69, &[&line]);
        azure.clear(Door::Platform);
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_before_any_request() {
    let azure = Azure::start();
    for source in [ML, SHELL] {
        for endpoint in [
            "localhost:42356/LEAK",
            "http://user:LEAK@127.0.0.1/x",
            "ftp://127.0.0.1/LEAK",
        ] {
            let outcome = source
                .token(&azure, &[])
                .env("MSI_ENDPOINT", endpoint)
                .outcome();
            assert_refused_without_its_value(&outcome, "MSI_ENDPOINT");
        }
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn a_secret_that_cannot_be_sent_is_not_said_either() {
    let azure = Azure::start();
    let outcome = ML
        .token(&azure, &["--verbose", "--timeout", "0"])
        .env("MSI_SECRET", "LEAK\nx")
        .outcome();
    assert_refused_without_its_value(&outcome, "MSI_SECRET");
}

/// An empty secret is none: then it is Cloud Shell, which is asked by a form.
#[test]
fn an_empty_secret_is_none() {
    let azure = Azure::start();
    let outcome: Outcome = SHELL.token(&azure, &[]).env("MSI_SECRET", "").outcome();
    assert_token(&azure, &outcome);
    assert_eq!(only_request(&azure, Door::Platform).method, "POST");
}

/// Both local endpoints are of this machine.
#[test]
fn they_are_never_asked_through_a_proxy() {
    let azure = Azure::start();
    for source in [ML, SHELL] {
        let mut run = source.token(&azure, &[]);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
            run = run.env(name, azure.proxy());
        }
        assert_token(&azure, &run.outcome());
    }
    assert_eq!(azure.connections(Door::Proxy), 0);
}
