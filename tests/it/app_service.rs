//! App Service, Functions and Container Apps: what the platform's endpoint is asked, in which of its answers there is a
//! token, and what is made of its refusals.

use serde_json::json;

use crate::azure::{APPLICATION, Answer, Azure, Door, IDENTITY_HEADER, Identity};
use crate::network::listen::Listened;
use crate::network::wire::{assert_got_it, connections, headers, query, timeless, user_agent};
use crate::support_identities::{
    CLIENT, Source, VAULT, assert_refused_without_its_value, assert_token, only_request, with,
};

const HERE: Source = Source::AppService;

const NO_ENDPOINT: &str = "hint: the platform's identity endpoint did not come up; in Container Apps init containers \
                           have one only in the Consumption workload profile (not in Dedicated ones, nor in \
                           Consumption-only environments), and there only if the identity's lifecycle includes Init";

/// A1.
#[test]
fn a1_the_request_is_this_and_nothing_else() {
    let azure = Azure::start();
    assert_got_it(&HERE.exec(&azure, &[]).outcome());
    let request = only_request(&azure, Door::Platform);
    assert_eq!(
        (request.method.as_str(), request.path()),
        ("GET", "/msi/token")
    );
    assert_eq!(
        query(&request),
        ["api-version=2019-08-01", "resource=https://vault.azure.net"]
    );
    let host = format!("host: {}", azure.platform().trim_start_matches("http://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            &host,
            &user_agent(),
            "x-identity-header: UUID",
        ]
    );
    assert_eq!(request.header("x-identity-header"), Some(IDENTITY_HEADER));
    assert_eq!(connections(&azure), 2);
}

/// A1's answer, to the letter: no `expires_in`, a client id, and `not_before` now and then.
#[test]
fn every_answer_of_the_platform_has_a_token() {
    let azure = Azure::start();
    for answer in [
        json!({"expires_on": "4102444800", "resource": VAULT, "token_type": "Bearer", "client_id": "some-guid"}),
        json!({"expires_on": "4102444800", "not_before": "1700000000", "resource": VAULT, "token_type": "Bearer"}),
        json!({"expires_on": "05/22/2021 17:18:21 +00:00", "resource": VAULT}),
    ] {
        azure.next(Door::Platform, Answer::token(answer));
        assert_token(&azure, &HERE.token(&azure, &[]).outcome());
    }
}

/// A2, A3: App Service has names of its own for the selectors.
#[test]
fn a3_each_selector_has_the_name_that_app_service_knows() {
    let azure = Azure::start();
    let user = Identity::user(CLIENT);
    azure.identities(&[Identity::system(), user.clone(), Identity::application()]);
    for (option, twin, value, sent) in [
        (
            "--client-id",
            "AKV_INIT_CLIENT_ID",
            &user.client_id,
            "client_id",
        ),
        (
            "--object-id",
            "AKV_INIT_OBJECT_ID",
            &user.object_id,
            "principal_id",
        ),
        (
            "--resource-id",
            "AKV_INIT_RESOURCE_ID",
            &user.resource_id,
            "mi_res_id",
        ),
    ] {
        for run in [
            HERE.token(&azure, &[option, value]),
            HERE.token(&azure, &[]).env(twin, value),
        ] {
            assert_token(&azure, &run.outcome());
            let request = azure.requests_at(Door::Platform).pop().unwrap();
            let mut expected = vec![
                "api-version=2019-08-01".to_owned(),
                format!("resource={VAULT}"),
                format!("{sent}={value}"),
            ];
            expected.sort();
            assert_eq!(query(&request), expected);
        }
    }
    // As the SDKs have it, the variable of a client id is one, too.
    let run = HERE.token(&azure, &[]).env("AZURE_CLIENT_ID", APPLICATION);
    assert_token(&azure, &run.outcome());
    let request = azure.requests_at(Door::Platform).pop().unwrap();
    assert_eq!(request.query("client_id").as_deref(), Some(APPLICATION));
}

/// D2 is in the table of sources; D8: the old variables hold the same for old clients.
#[test]
fn d8_the_new_variables_go_before_the_old_ones() {
    let azure = Azure::start();
    let run = with(
        HERE.token(&azure, &[]),
        &azure.machine_learning_environment(),
    );
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Door::Platform);
    assert_eq!(request.query("api-version").as_deref(), Some("2019-08-01"));
    assert_eq!(request.header("secret"), None);
}

#[test]
fn a_query_that_the_endpoint_brings_is_kept() {
    let azure = Azure::start();
    let endpoint = format!("{}/msi/token?slot=blue", azure.platform());
    let run = HERE.token(&azure, &[]).env("IDENTITY_ENDPOINT", endpoint);
    assert_token(&azure, &run.outcome());
    assert_eq!(
        query(&only_request(&azure, Door::Platform)),
        [
            "api-version=2019-08-01",
            "resource=https://vault.azure.net",
            "slot=blue"
        ]
    );
}

/// Through a proxy it would be asked for another machine's identity, or with a header that is nobody else's business.
#[test]
fn it_is_never_asked_through_a_proxy() {
    let azure = Azure::start();
    let mut run = HERE.token(&azure, &[]);
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        run = run.env(name, azure.proxy());
    }
    assert_token(&azure, &run.outcome());
    assert_eq!(azure.connections(Door::Proxy), 0);
}

/// Q6: the sidecar of Container Apps is often not up when the container starts.
#[test]
fn q6_refused_connections_at_start_are_waited_for() {
    let azure = Azure::builder().closed(Door::Platform).start();
    let mut run = Listened::start(HERE.token(&azure, &["--verbose"]));
    run.until("try 4: connection refused");
    azure.open(Door::Platform);
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    only_request(&azure, Door::Platform);
}

#[test]
fn an_endpoint_that_never_comes_up_ends_at_the_deadline_with_the_reason() {
    let azure = Azure::builder().closed(Door::Platform).start();
    let outcome = HERE.token(&azure, &["--timeout", "0"]).outcome();
    let line = format!("error: {}: connection refused", HERE.asking(&azure));
    outcome.failed(69, &[&line, NO_ENDPOINT]);
}

/// A5; and the other statuses of the retry set.
#[test]
fn a5_what_may_pass_is_tried_again() {
    let azure = Azure::start();
    for answer in [
        Answer::app_service_failed(),
        Answer::status(500),
        Answer::status(408),
        Answer::status(429).header("Retry-After", "0"),
        Answer::status(502),
        Answer::status(503),
        Answer::html(504, "<h1>Gateway Timeout</h1>"),
        Answer::fin(),
    ] {
        let before = azure.requests_at(Door::Platform).len();
        azure.next(Door::Platform, answer);
        assert_token(&azure, &HERE.token(&azure, &[]).outcome());
        assert_eq!(azure.requests_at(Door::Platform).len() - before, 2);
    }
}

/// A wrong resource is a 500, too: three tries tell the one from the other.
#[test]
fn a_500_that_stays_is_perhaps_the_resource() {
    let azure = Azure::start();
    azure.always(Door::Platform, Answer::app_service_failed());
    let line = format!(
        "error: {}: 500 Internal Server Error: An unexpected error occured while fetching the AAD Token; \
         correlation id e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b, after 3 tries in N s",
        HERE.asking(&azure)
    );
    timeless(HERE.token(&azure, &[]).outcome()).failed(
        69,
        &[
            &line,
            "hint: this often means that `https://vault.azure.net` is not a resource that this tenant knows: look at \
             it, at --vault-resource and at --cloud",
        ],
    );
    assert_eq!(azure.requests_at(Door::Platform).len(), 3);
}

/// Q5, A4.
#[test]
fn what_cannot_get_better_is_said_after_one_try() {
    let azure = Azure::start();
    let correlation = "e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b";
    let asking = HERE.asking(&azure);
    let assigned = "is an identity assigned to the app? With user-assigned ones only, name one: --client-id ID";
    let stale = "IDENTITY_HEADER is not the platform's present one: restart the app, and never set it or \
                 IDENTITY_ENDPOINT by hand";
    for (id, answer, said, hint) in [
        (
            "Q5",
            Answer::app_service_no_identity(),
            format!(
                "400 Bad Request: Unable to load the proper Managed Identity; correlation id {correlation}"
            ),
            assigned,
        ),
        (
            "Q5 without a body, its id in the header",
            Answer::status(400).header("X-CORRELATION-ID", "c-1"),
            "400 Bad Request; correlation id c-1".to_owned(),
            assigned,
        ),
        (
            "A4",
            Answer::status(401),
            "401 Unauthorized".to_owned(),
            stale,
        ),
        (
            "403",
            Answer::text(403, "no"),
            "403 Forbidden".to_owned(),
            stale,
        ),
    ] {
        let before = azure.requests_at(Door::Platform).len();
        azure.next(Door::Platform, answer);
        let outcome = HERE.token(&azure, &[]).outcome();
        assert_eq!(
            outcome.error(),
            Some(format!("{asking}: {said}").as_str()),
            "{id}"
        );
        outcome.failed(
            77,
            &[
                &format!("error: {asking}: {said}"),
                &format!("hint: {hint}"),
            ],
        );
        assert_eq!(azure.requests_at(Door::Platform).len() - before, 1, "{id}");
    }
}

#[test]
fn an_identity_that_the_app_has_not_is_named() {
    let azure = Azure::start();
    let line = format!(
        "error: getting an access token from the platform's identity endpoint ({}, managed identity with client id \
         {CLIENT}): 400 Bad Request: Unable to load the proper Managed Identity; correlation id \
         e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b",
        azure.platform()
    );
    HERE.token(&azure, &["--client-id", CLIENT]).outcome().failed(
        77,
        &[
            &line,
            "hint: is this identity assigned to the app? In Container Apps its lifecycle may exclude init containers",
        ],
    );
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_before_any_request() {
    let azure = Azure::start();
    for endpoint in [
        "localhost:42356/LEAK",
        "ftp://127.0.0.1/LEAK",
        "http://user:LEAK@127.0.0.1/x",
        "http://127.0.0.1/x#LEAK",
    ] {
        let outcome = HERE
            .token(&azure, &[])
            .env("IDENTITY_ENDPOINT", endpoint)
            .outcome();
        assert_refused_without_its_value(&outcome, "IDENTITY_ENDPOINT");
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn a_header_that_cannot_be_sent_is_not_said_either() {
    let azure = Azure::start();
    for value in ["LEAK\nx", "LEAK\r\nX-Other: 1", "LEAK\u{7f}"] {
        let outcome = HERE
            .token(&azure, &["--verbose", "--timeout", "0"])
            .env("IDENTITY_HEADER", value)
            .outcome();
        assert_refused_without_its_value(&outcome, "IDENTITY_HEADER");
    }
    assert_eq!(azure.requests_at(Door::Platform).len(), 0);
}
