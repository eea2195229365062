//! The deadline: the run ends then, whatever a service does, and its error is the last response.

use std::time::Duration;

use serde_json::json;

use crate::azure::{Azure, Endpoint, Response};
use crate::network::full_queue::FullQueue;
use crate::network::wire::{NAME, VALUE, assert_got_it, counts, one_secret, one_secret_federated};
use crate::support::exec;
use crate::support_tables::in_parallel;

const ONE_SECOND: [&str; 2] = ["--timeout", "1"];

#[test]
fn last_response_is_the_error() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::throttled());
    let failure = one_secret(&azure, &["--timeout", "2"]).failure(69, "unavailable");
    failure.fact("refusal", "Throttled").hinted();
    let requests = azure.requests_at(Endpoint::Vault);
    assert!(requests.len() > 1);
    failure.names(&requests.last().unwrap().request_id);
}

#[test]
fn attempt_that_the_deadline_interrupts_does_not_hide_the_response_before() {
    let azure = Azure::start();
    let first = Response::imds_error(500, "unknown", "the first one");
    azure.next(Endpoint::Imds, first.header("retry-after-ms", "1"));
    azure.always(Endpoint::Imds, Response::usual().hold());
    let failure = one_secret(&azure, &ONE_SECOND).failure(69, "unavailable");
    failure.names("the first one");
    assert_eq!(counts(&azure), [2, 0, 0]);
}

/// No response, and not even a handshake.
#[test]
fn silent_server_is_unavailable_at_the_deadline() {
    let rows = [Endpoint::Imds, Endpoint::Login, Endpoint::Vault];
    let rows = rows.into_iter().flat_map(|it| [(it, false), (it, true)]);
    in_parallel(rows, |(endpoint, mute)| {
        let azure = Azure::start();
        match mute {
            true => azure.mute(endpoint),
            false => azure.always(endpoint, Response::usual().hold()),
        }
        let run = match endpoint {
            Endpoint::Login => one_secret_federated(&azure, &ONE_SECOND),
            _ => one_secret(&azure, &ONE_SECOND),
        };
        let (_, host) = match endpoint {
            Endpoint::Imds => azure.imds().split_once("//").map(own).unwrap(),
            Endpoint::Login => azure.login().split_once("//").map(own).unwrap(),
            _ => (String::new(), azure.vault()),
        };
        run.failure(69, "unavailable").names(&host);
    });
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

/// The early connection must not use up the time of the token.
#[test]
fn vault_that_drops_packets_is_unavailable_at_the_deadline() {
    let full = FullQueue::new();
    let azure = Azure::start();
    let host = full.address().to_string();
    let reference = format!("S=akv://{host}/{NAME}");
    let words = ["--allow-vault", &host, "--secret", &reference, "--", "true"];
    let run = exec(&azure, ONE_SECOND).args(words);
    let failure = run.failure(69, "unavailable");
    failure.names(&host).hint_names(&host);
}

#[test]
fn body_in_single_bytes_is_unavailable_at_the_deadline() {
    in_parallel([Endpoint::Imds, Endpoint::Vault], |endpoint| {
        let azure = Azure::start();
        let slow = Response::usual().drip(Duration::from_millis(200));
        azure.always(endpoint, slow);
        one_secret(&azure, &ONE_SECOND).failure(69, "unavailable");
    });
    let azure = Azure::start();
    let in_time = Response::usual().drip(Duration::from_millis(1));
    azure.next(Endpoint::Vault, in_time);
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn lost_connection_is_retried_until_the_deadline() {
    let rows = [
        (Endpoint::Imds, Response::fin()),
        (Endpoint::Imds, Response::reset()),
        (Endpoint::Vault, Response::usual().half()),
    ];
    in_parallel(rows, |(endpoint, response)| {
        let azure = Azure::start();
        azure.always(endpoint, response);
        one_secret(&azure, &ONE_SECOND).failure(69, "unavailable");
        assert!(azure.requests_at(endpoint).len() > 1, "{endpoint:?}");
    });
}

#[test]
fn body_of_256_kib_is_read_and_a_longer_one_is_rejected() {
    let azure = Azure::start();
    let bundle = |padding: usize| {
        json!({
            "value": VALUE, "id": "https://v/secrets/sql-sa/1", "tags": {"x": "x".repeat(padding)},
        })
    };
    let padding = 256 * 1024 - bundle(0).to_string().len();
    azure.next(Endpoint::Vault, Response::json(200, &bundle(padding)));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    azure.next(Endpoint::Vault, Response::json(200, &bundle(padding + 1)));
    one_secret(&azure, &[]).failure(76, "protocol");
}
