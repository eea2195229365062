//! Azure Arc: the agent's challenge, what of it is refused before any file is read, and, in a namespace where the one
//! directory that it may name is ours, the whole exchange.

pub mod machine;

use crate::azure::{ARC_KEY_FILE, Answer, Azure, Door};
use crate::network::wire::{connections, headers, query, user_agent};
use crate::support_identities::{
    Source, assert_refused_without_its_value, assert_token, only_request,
};

const HERE: Source = Source::Arc;

/// D4, and AR7: the first request is this; the file that its answer names is not there.
#[test]
fn d4_ar7_the_first_request_is_this_and_a_missing_file_is_named() {
    let azure = Azure::start();
    let line = format!(
        "error: {}: reading the agent's key `{ARC_KEY_FILE}`: No such file or directory (os error 2)",
        HERE.asking(&azure)
    );
    HERE.token(&azure, &[]).outcome().failed(
        78,
        &[
            &line,
            "hint: mount /var/opt/azcmagent/tokens into the container and run it with the group that may read it (himds)",
        ],
    );
    let request = only_request(&azure, Door::Platform);
    assert_eq!(
        (request.method.as_str(), request.path()),
        ("GET", "/metadata/identity/oauth2/token")
    );
    assert_eq!(
        query(&request),
        ["api-version=2020-06-01", "resource=https://vault.azure.net"]
    );
    let host = format!("host: {}", azure.platform().trim_start_matches("http://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            &host,
            "metadata: true",
            &user_agent()
        ]
    );
}

/// AR2 to AR6, AR9: whoever answers in the agent's place could name any file.
#[test]
fn ar2_to_ar6_ar9_a_challenge_that_is_not_the_agents_is_refused() {
    let azure = Azure::start();
    let names_none = "401: the agent's challenge names no key file";
    let outside = "401: the agent's challenge names a file outside /var/opt/azcmagent/tokens";
    let extension = "401: the agent's challenge names a file that is no .key file";
    let hint = format!(
        "hint: this is no answer of the agent of Azure Arc: what answers at {}? Look at IDENTITY_ENDPOINT",
        azure.platform()
    );
    let inside = |name: &str| format!("Basic realm=/var/opt/azcmagent/tokens/{name}");
    for (id, header, said) in [
        ("AR2", format!("Realm={ARC_KEY_FILE}"), names_none),
        ("AR4", "Basic ".to_owned(), names_none),
        ("AR4", "Basic realm".to_owned(), names_none),
        ("AR4", "Basic realm=".to_owned(), names_none),
        (
            "AR4",
            "Bearer realm=/var/opt/azcmagent/tokens/a.key".to_owned(),
            names_none,
        ),
        ("AR5", "Basic realm=/path/to/secret.txt".to_owned(), outside),
        ("AR5", inside("secret.txt"), extension),
        ("AR5", inside("secret"), extension),
        ("AR5", inside(".key"), extension),
        ("AR6", "Basic realm=path/to/secret.key".to_owned(), outside),
        (
            "AR6",
            "Basic realm=/etc/ssl/private/server.key".to_owned(),
            outside,
        ),
        ("AR6", inside("../../../../etc/ssl/server.key"), outside),
        ("AR6", inside("below/a.key"), outside),
        (
            "AR6",
            "Basic realm=/var/opt/azcmagent/tokens.key".to_owned(),
            outside,
        ),
    ] {
        let before = azure.requests_at(Door::Platform).len();
        azure.next(Door::Platform, Answer::arc_challenge(&header));
        let line = format!("error: {}: {said}", HERE.asking(&azure));
        let outcome = HERE.token(&azure, &[]).outcome();
        assert_eq!(
            outcome.error(),
            Some(&line["error: ".len()..]),
            "{id}: {header}"
        );
        outcome.failed(76, &[&line, &hint]);
        assert_eq!(azure.requests_at(Door::Platform).len() - before, 1, "{id}");
    }
    // AR3.
    azure.next(Door::Platform, Answer::status(401));
    let line = format!("error: {}: {names_none}", HERE.asking(&azure));
    HERE.token(&azure, &[])
        .outcome()
        .failed(76, &[&line, &hint]);
    // AR9: a token that nothing was asked for is nobody's.
    azure.next(
        Door::Platform,
        Answer::token(serde_json::json!({"expires_in": 3599})),
    );
    let line = format!(
        "error: {}: 200 OK: the agent did not ask for its key file",
        HERE.asking(&azure)
    );
    HERE.token(&azure, &[])
        .outcome()
        .failed(76, &[&line, &hint]);
}

/// The agent is a service of the machine: it may start later, or be busy.
#[test]
fn an_agent_that_is_not_ready_is_waited_for() {
    let azure = Azure::start();
    for answer in [
        Answer::status(404),
        Answer::status(410),
        Answer::status(429).header("Retry-After", "0"),
        Answer::status(500),
        Answer::status(503),
        Answer::fin(),
    ] {
        let before = azure.requests_at(Door::Platform).len();
        azure.next(Door::Platform, answer);
        let outcome = HERE.token(&azure, &[]).outcome();
        // Here the second answer is the challenge, and the key's file is not there.
        assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
        assert_eq!(azure.requests_at(Door::Platform).len() - before, 2);
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_before_any_request() {
    let azure = Azure::start();
    for endpoint in ["localhost:40342/LEAK", "http://user:LEAK@127.0.0.1/x"] {
        let outcome = HERE
            .token(&azure, &[])
            .env("IDENTITY_ENDPOINT", endpoint)
            .outcome();
        assert_refused_without_its_value(&outcome, "IDENTITY_ENDPOINT");
    }
    assert_eq!(connections(&azure), 0);
}

/// What a platform beside it names goes first, as in the table.
#[test]
fn the_platforms_own_variables_go_before_it() {
    let azure = Azure::start();
    let run = HERE.token(&azure, &[]);
    let run = crate::support_identities::with(run, &azure.machine_learning_environment());
    assert_token(&azure, &run.outcome());
    let request = only_request(&azure, Door::Platform);
    assert_eq!(request.query("api-version").as_deref(), Some("2017-09-01"));
}
