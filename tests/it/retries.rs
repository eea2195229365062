//! Retries: pauses, limits of attempts, `--wait-for-access`, and lost connections. Which responses are retried is in the
//! tables of each endpoint.

mod deadline;
mod kinds;
mod several;
mod throttling;

use serde_json::json;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{NO_OPTIONS, exec};
use crate::support_listen::Listened;
use crate::support_requests::{
    NAME, assert_got_it, attempts, counts, one_secret, one_secret_federated,
};
use crate::support_tables::in_parallel;

/// The time between the last two requests at an endpoint, in milliseconds.
fn pause(azure: &Azure, endpoint: Endpoint) -> u128 {
    let requests = azure.requests_at(endpoint);
    let [.., before, last] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    (last.at - before.at).as_millis()
}

#[test]
fn pause_that_a_service_asks_for_is_kept() {
    let rows = [
        (Endpoint::Vault, "Retry-After", "1", 1_000),
        (Endpoint::Imds, "Retry-After", " 1 ", 1_000),
        (Endpoint::Vault, "retry-after-ms", "400", 400),
        (Endpoint::Imds, "x-ms-retry-after-ms", "300", 300),
        // A pause of zero has a minimum; a value that is not a pause is ignored.
        (Endpoint::Vault, "Retry-After", "0", 250),
        (
            Endpoint::Vault,
            "Retry-After",
            "Thu, 31 Dec 2020 23:59:50 GMT",
            250,
        ),
        (Endpoint::Vault, "Retry-After", "soon", 0),
        (
            Endpoint::Vault,
            "Retry-After",
            "01 Jan 2099 00:00:00 GMT",
            0,
        ),
        (Endpoint::Vault, "Retry-After", "-5", 0),
    ];
    in_parallel(rows, |(endpoint, name, value, millis)| {
        let azure = Azure::start();
        azure.next(endpoint, Response::status(503).header(name, value));
        assert_got_it(&one_secret(&azure, &[]).outcome());
        let paused = pause(&azure, endpoint);
        assert!(paused >= millis, "{name}: {value}: {paused} ms");
    });
    // Milliseconds precede seconds.
    let azure = Azure::start();
    let both = Response::status(429)
        .header("Retry-After", "60")
        .header("retry-after-ms", "1");
    azure.next(Endpoint::Vault, both);
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

/// Whether by the status or by Entra's code for a client in a loop. The pause after another failure is at most 250 ms.
#[test]
fn pause_after_too_many_requests_is_longer() {
    let rows = [
        (Endpoint::Imds, Response::status(429)),
        (Endpoint::Vault, Response::throttled()),
        (Endpoint::Login, Response::aadsts(50_196, "A loop.")),
        (Endpoint::Login, Response::aadsts(90_055, "Too many.")),
    ];
    in_parallel(rows, |(endpoint, response)| {
        let azure = Azure::start();
        azure.next(endpoint, response);
        let outcome = match endpoint {
            Endpoint::Login => one_secret_federated(&azure, &[]).outcome(),
            _ => one_secret(&azure, &[]).outcome(),
        };
        assert_got_it(&outcome);
        let paused = pause(&azure, endpoint);
        assert!(paused >= 1_000, "{endpoint:?}: {paused} ms");
    });
}

/// 700024 has two attempts in a row, whatever came before.
#[test]
fn limit_of_attempts_counts_one_kind_of_failure() {
    let stale = || Response::aadsts(700_024, "Stale.");
    let busy = Response::status;
    let rows = [
        [busy(503), busy(429), stale(), stale()],
        [stale(), busy(503), stale(), stale()],
    ];
    in_parallel(rows, |responses| {
        let azure = Azure::start();
        for response in responses {
            azure.next(Endpoint::Login, response);
        }
        one_secret_federated(&azure, &[]).failure(77, "denied");
        assert_eq!(counts(&azure), [0, 4, 0]);
    });
}

#[test]
fn deadline_of_zero_is_one_attempt() {
    let azure = Azure::start();
    let zero = ["--timeout", "0"];
    for run in [
        one_secret(&azure, &zero),
        one_secret_federated(&azure, &zero),
        one_secret(&azure, &[]).env("AKV_INIT_TIMEOUT", "0"),
    ] {
        assert_got_it(&run.outcome());
    }
    let before = counts(&azure);
    azure.always(Endpoint::Vault, Response::status(503));
    one_secret(&azure, &zero).failure(69, "unavailable");
    azure.always(Endpoint::Vault, Response::akv10046());
    one_secret(&azure, &zero).failure(69, "unavailable");
    azure.always(Endpoint::Imds, Response::status(410));
    one_secret(&azure, &zero).failure(69, "unavailable");
    azure.always(Endpoint::Login, Response::aadsts(700_213, "No."));
    one_secret_federated(&azure, &zero).failure(77, "denied");
    let after = counts(&azure);
    // One request for each run at its last endpoint.
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [3, 1, 2]);
}

#[test]
fn wait_for_access_retries_missing_access() {
    let ten_minutes = ["--wait-for-access", "10m"];
    let no_time = ["--timeout", "0", "--wait-for-access", "30s"];
    let rows = [
        (Response::rbac(), &ten_minutes[..], ""),
        (Response::access_policy(), &ten_minutes, ""),
        (Response::rbac(), &[], "600"),
        (Response::access_policy(), &no_time, ""),
    ];
    in_parallel(rows, |(response, options, variable)| {
        let azure = Azure::start();
        azure.next(Endpoint::Vault, response.clone());
        azure.next(Endpoint::Vault, response);
        let run = one_secret(&azure, options).env("AKV_INIT_WAIT_FOR_ACCESS", variable);
        assert_got_it(&run.outcome());
        assert_eq!(counts(&azure), [1, 0, 3]);
    });
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::rbac());
    one_secret(&azure, &["--wait-for-access", "0"]).failure(77, "denied");
    assert_eq!(counts(&azure), [1, 0, 1]);
}

/// The vault asks for a longer pause than the deadline alone allows.
#[test]
fn wait_for_access_extends_the_deadline_for_missing_access_alone() {
    let azure = Azure::start();
    let options = ["--timeout", "1", "--wait-for-access", "30"];
    let later = |response: Response| response.header("retry-after-ms", "1200");
    azure.next(Endpoint::Vault, later(Response::rbac()));
    assert_got_it(&one_secret(&azure, &options).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    azure.next(Endpoint::Vault, later(Response::status(503)));
    one_secret(&azure, &options).failure(69, "unavailable");
    assert_eq!(counts(&azure), [2, 0, 3]);
    for response in [
        Response::firewall(),
        Response::private_endpoint(),
        Response::policy(),
        Response::disabled(),
        Response::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
    ] {
        let before = counts(&azure);
        azure.next(Endpoint::Vault, later(response));
        assert_ne!(one_secret(&azure, &options).outcome().code, Some(0));
        assert_eq!(counts(&azure)[2] - before[2], 1);
    }
}

#[test]
fn access_that_is_not_granted_in_time_is_denied() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::rbac());
    let options = ["--timeout", "1", "--wait-for-access", "1"];
    let failure = one_secret(&azure, &options).failure(77, "denied");
    failure.fact("refusal", "ForbiddenByRbac");
    assert!(azure.requests_at(Endpoint::Vault).len() > 1);
}

/// It was opened while the token was requested.
#[test]
fn loss_of_an_idle_connection_is_not_an_attempt() {
    let azure = Azure::start();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let run = one_secret(&azure, &["--verbose", "--timeout", "0"]).json();
    let mut run = Listened::start(run);
    // The connection, not a request.
    let vault = format!("https://{}", azure.vault());
    run.until_line(|line| line["url"] == vault.as_str() && line["status"].is_null());
    azure.wait_for(Endpoint::Imds, 1);
    azure.cut(Endpoint::Vault);
    azure.release();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 1]);
    assert_eq!(azure.connections(Endpoint::Vault), 2);
}

/// It was kept for the next attempt.
#[test]
fn loss_of_a_connection_between_attempts_is_not_an_attempt() {
    let azure = Azure::start();
    let busy = Response::status(503).header("retry-after-ms", "500");
    azure.next(Endpoint::Vault, busy);
    let mut run = Listened::start(one_secret(&azure, &["--verbose"]).json());
    run.until_attempt(1);
    azure.cut(Endpoint::Vault);
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(attempts(&outcome), 1, "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 2]);
}

#[test]
fn attempt_uses_the_connection_of_the_one_before() {
    let azure = Azure::start();
    azure.next(Endpoint::Vault, Response::status(503));
    azure.next(Endpoint::Login, Response::status(503));
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 2, 2]);
    assert_eq!(
        (
            azure.connections(Endpoint::Login),
            azure.connections(Endpoint::Vault)
        ),
        (1, 1)
    );
}

#[test]
fn each_secret_has_attempts_of_its_own() {
    let azure = Azure::start();
    azure.secret("a", "1");
    azure.secret(NAME, "2");
    for _ in 0..3 {
        azure.next_for(
            Endpoint::Vault,
            &format!("/secrets/{NAME}"),
            Response::json(503, &json!({})),
        );
    }
    let references = ["a", NAME].map(|name| format!("akv://{}/{name}", azure.vault()));
    let outcome = exec(&azure, NO_OPTIONS).printing(&references).outcome();
    assert_eq!(outcome.stdout_alone(), "1\n2\n");
    let of = |name: &str| {
        let path = format!("/secrets/{name}");
        azure
            .requests_at(Endpoint::Vault)
            .iter()
            .filter(|request| request.path() == path)
            .count()
    };
    assert_eq!((of("a"), of(NAME)), (1, 4));
}
