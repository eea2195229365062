//! IMDS, and NMI in its place: what is asked, where, and how an identity is named. Answers, refusals and the choice of
//! a source are in files of their own.

mod refusals;
mod retried;
mod selection;
mod tokens;

use serde_json::json;

use crate::azure::{Answer, Azure, Door, Identity};
use crate::network::wire::{
    assert_got_it, connections, counts, headers, one_secret, query, user_agent,
};

const ONE: &str = "11111111-2222-4333-8444-555555555555";
const TWO: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

/// How every message about the endpoint begins.
fn asking(azure: &Azure) -> String {
    format!(
        "error: getting an access token from IMDS ({}, managed identity)",
        azure.imds()
    )
}

/// What is hinted at where something else must have answered.
fn foreign(azure: &Azure) -> String {
    format!(
        "this is no answer of IMDS: what answers at {}? Look at AZURE_POD_IDENTITY_AUTHORITY_HOST, and at proxies and \
         service meshes on the way",
        azure.imds()
    )
}

/// How every message about a refusal ends.
fn id(azure: &Azure) -> String {
    let request = azure.requests_at(Door::Imds).pop().unwrap();
    format!(
        "; client request id {}",
        request.header("x-ms-client-request-id").unwrap()
    )
}

#[test]
fn the_request_is_this_and_nothing_else() {
    let azure = Azure::start();
    assert_got_it(&one_secret(&azure, &[]).outcome());
    let requests = azure.requests_at(Door::Imds);
    let [request] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    assert_eq!(request.method, "GET");
    assert_eq!(request.path(), "/metadata/identity/oauth2/token");
    assert_eq!(
        query(request),
        ["api-version=2018-02-01", "resource=https://vault.azure.net"]
    );
    let host = format!("host: {}", azure.imds().trim_start_matches("http://"));
    assert_eq!(
        headers(request),
        [
            "accept: application/json",
            &host,
            "metadata: true",
            &user_agent(),
            "x-ms-client-request-id: UUID",
        ]
    );
    assert_eq!(request.body, b"");
    // Everything in a value is percent-encoded, so that no proxy or NMI can read it in two ways.
    assert!(
        request
            .target
            .contains("resource=https%3A%2F%2Fvault.azure.net"),
        "{}",
        request.target
    );
}

/// I2 and I3 among them.
#[test]
fn each_selector_is_one_more_parameter_and_finds_its_identity() {
    let azure = Azure::start();
    let (one, two) = (Identity::user(ONE), Identity::user(TWO));
    azure.identities(&[one.clone(), two]);
    for (option, twin, parameter, id) in [
        (
            "--client-id",
            "AKV_INIT_CLIENT_ID",
            "client_id",
            &one.client_id,
        ),
        (
            "--object-id",
            "AKV_INIT_OBJECT_ID",
            "object_id",
            &one.object_id,
        ),
        (
            "--resource-id",
            "AKV_INIT_RESOURCE_ID",
            "msi_res_id",
            &one.resource_id,
        ),
    ] {
        for run in [
            one_secret(&azure, &[option, id]),
            one_secret(&azure, &[]).env(twin, id),
        ] {
            assert_got_it(&run.outcome());
            let request = azure.requests_at(Door::Imds).pop().unwrap();
            let mut expected = vec![
                "api-version=2018-02-01".to_owned(),
                format!("{parameter}={id}"),
                "resource=https://vault.azure.net".to_owned(),
            ];
            expected.sort();
            assert_eq!(query(&request), expected);
        }
    }
    assert_eq!(azure.tokens().len(), 6);
}

#[test]
fn a_selector_of_a_higher_rank_silences_those_below() {
    let azure = Azure::start();
    let (one, two) = (Identity::user(ONE), Identity::user(TWO));
    azure.identities(&[one.clone(), two]);
    for (run, expected) in [
        (
            one_secret(&azure, &["--object-id", &one.object_id])
                .env("AKV_INIT_CLIENT_ID", TWO)
                .env("AZURE_CLIENT_ID", TWO),
            format!("object_id={}", one.object_id),
        ),
        (
            one_secret(&azure, &[])
                .env("AKV_INIT_CLIENT_ID", ONE)
                .env("AZURE_CLIENT_ID", TWO),
            format!("client_id={ONE}"),
        ),
        (
            one_secret(&azure, &[])
                .env("AKV_INIT_CLIENT_ID", "")
                .env("AZURE_CLIENT_ID", ONE),
            format!("client_id={ONE}"),
        ),
    ] {
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Door::Imds).pop().unwrap();
        let mut selectors = query(&request);
        selectors
            .retain(|pair| !pair.starts_with("api-version=") && !pair.starts_with("resource="));
        assert_eq!(selectors, [expected]);
    }
}

#[test]
fn i5_an_empty_selector_is_refused_before_any_request() {
    let azure = Azure::start();
    for option in ["--client-id", "--object-id", "--resource-id"] {
        let outcome = one_secret(&azure, &[option, ""]).outcome();
        assert_eq!(outcome.code, Some(64), "{option}: {}", outcome.stderr);
        assert_eq!(connections(&azure), 0);
    }
}

#[test]
fn the_machines_only_identity_needs_no_name() {
    let azure = Azure::start();
    for only in [Identity::system(), Identity::user(ONE)] {
        azure.identities(&[only]);
        assert_got_it(&one_secret(&azure, &[]).outcome());
    }
    azure.identities(&[Identity::system(), Identity::user(ONE), Identity::user(TWO)]);
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn the_endpoint_is_taken_as_it_is_written_with_or_without_a_slash() {
    let azure = Azure::start();
    for (written, path) in [
        (azure.imds(), "/metadata/identity/oauth2/token"),
        (
            format!("{}/", azure.imds()),
            "/metadata/identity/oauth2/token",
        ),
        (
            format!("{}//", azure.imds()),
            "/metadata/identity/oauth2/token",
        ),
        (
            format!("{}/relay/", azure.imds()),
            "/relay/metadata/identity/oauth2/token",
        ),
    ] {
        azure.next_for(
            Door::Imds,
            "/relay/",
            Answer::token(json!({"expires_in": 600})),
        );
        let run = one_secret(&azure, &[]).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &written);
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Door::Imds).pop().unwrap();
        assert_eq!(request.path(), path, "{written}");
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_before_any_request() {
    let azure = Azure::start();
    let door = azure.imds();
    let bare = door.trim_start_matches("http://");
    for wrong in [
        bare.to_owned(),
        format!("ftp://{bare}"),
        format!("http://user:word@{bare}"),
        format!("{door}/?x=1"),
        format!("{door}/#x"),
        "http://".to_owned(),
        "http://a b/".to_owned(),
    ] {
        let run = one_secret(&azure, &[]).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &wrong);
        run.outcome().failed(
            78,
            &["error: AZURE_POD_IDENTITY_AUTHORITY_HOST is not a URL like http://169.254.169.254"],
        );
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn an_empty_endpoint_is_the_link_local_one() {
    let azure = Azure::start();
    for run in [
        one_secret(&azure, &["--dry-run"]).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", ""),
        one_secret(&azure, &["--dry-run"]).without("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
    ] {
        let outcome = run.outcome();
        let shown = outcome.stdout_alone().lines().next();
        assert_eq!(
            shown,
            Some("identity  IMDS (http://169.254.169.254, managed identity)")
        );
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn no_proxy_is_ever_used_for_it() {
    let azure = Azure::start();
    let mut run = one_secret(&azure, &[]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        run = run
            .env(name, azure.proxy())
            .env(name.to_ascii_lowercase(), azure.proxy());
    }
    assert_got_it(&run.outcome());
    assert_eq!(azure.connections(Door::Proxy), 0);
    assert_eq!(azure.connections(Door::Imds), 1);
}

#[test]
fn a_redirect_is_refused_and_not_followed() {
    let azure = Azure::start();
    for (status, name) in [
        (301, "Moved Permanently"),
        (302, "Found"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
    ] {
        let before = counts(&azure);
        let answer = Answer::redirect(&format!("{}/elsewhere", azure.imds())).with_status(status);
        azure.next(Door::Imds, answer);
        let line = format!(
            "{}: {status} {name}: a redirect, which Azure never sends here",
            asking(&azure)
        );
        let hint = format!("hint: {}", foreign(&azure));
        one_secret(&azure, &[])
            .outcome()
            .failed(76, &[&line, &hint]);
        assert_eq!(counts(&azure)[0] - before[0], 1);
    }
}
