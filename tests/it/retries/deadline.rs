//! The deadline: the run ends then, whatever a service does, and its error is the last response.

use std::time::Duration;

use serde_json::json;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, exec};
use crate::support_full_queue::FullQueue;
use crate::support_requests::{
    NAME, VALUE, assert_got_it, counts, one_secret, one_secret_federated,
};
use crate::support_tables::in_parallel;

/// A run that makes requests at this endpoint.
fn run_at(azure: &Azure, endpoint: Endpoint, options: &[&str]) -> Run {
    match endpoint {
        Endpoint::Login => one_secret_federated(azure, options),
        _ => one_secret(azure, options),
    }
}

#[test]
fn run_ends_at_the_deadline() {
    let drip = || Response::usual().drip(Duration::from_millis(200));
    // Whether the endpoint receives more than one request, and its responses; without one, not even a handshake.
    let rows = [
        (Endpoint::Imds, false, None),
        (Endpoint::Login, false, None),
        (Endpoint::Vault, false, None),
        (Endpoint::Imds, false, Some(Response::usual().hold())),
        (Endpoint::Login, false, Some(Response::usual().hold())),
        (Endpoint::Vault, false, Some(Response::usual().hold())),
        (Endpoint::Imds, false, Some(drip())),
        (Endpoint::Vault, false, Some(drip())),
        (Endpoint::Imds, true, Some(Response::fin())),
        (Endpoint::Imds, true, Some(Response::reset())),
        (Endpoint::Vault, true, Some(Response::usual().half())),
        (Endpoint::Vault, true, Some(Response::throttled())),
    ];
    in_parallel(rows, |(endpoint, retried, response)| {
        let azure = Azure::start();
        let row = format!("{endpoint:?}: {response:?}");
        match response {
            None => azure.mute(endpoint),
            Some(response) => azure.always(endpoint, response),
        }
        let run = run_at(&azure, endpoint, &["--timeout", "1"]);
        let failure = run.failure(69, "unavailable");
        let requests = azure.requests_at(endpoint);
        assert_eq!(requests.len() > 1, retried, "{row}: {}", failure.line);
        if failure.line["refusal"] == "Throttled" {
            failure.names(&requests.last().unwrap().request_id).hinted();
        }
    });
}

#[test]
fn attempt_that_the_deadline_interrupts_does_not_hide_the_response_before() {
    let azure = Azure::start();
    let first = Response::imds_error(500, "unknown", "the first one");
    azure.next(Endpoint::Imds, first.header("retry-after-ms", "1"));
    azure.always(Endpoint::Imds, Response::usual().hold());
    let failure = one_secret(&azure, &["--timeout", "1"]).failure(69, "unavailable");
    failure.names("the first one");
    assert_eq!(counts(&azure), [2, 0, 0]);
}

#[test]
fn last_response_is_the_error() {
    let azure = Azure::start();
    azure.next(Endpoint::Imds, Response::status(404));
    let last = Response::imds_error(500, "unknown", "the last one");
    azure.next(Endpoint::Imds, last.header("Retry-After", "60"));
    let failure = one_secret(&azure, &[]).failure(69, "unavailable");
    failure.names("the last one").names("60");
    assert_eq!(counts(&azure), [2, 0, 0]);
}

/// Packets are dropped, as by a firewall. The early connection to a vault must not use up the time of the token.
#[test]
fn dropped_packets_are_unavailable_at_the_deadline() {
    in_parallel([Endpoint::Imds, Endpoint::Vault], |endpoint| {
        let azure = Azure::start();
        let full = FullQueue::new();
        let host = full.address().to_string();
        let run = match endpoint {
            Endpoint::Imds => one_secret(&azure, &["--timeout", "1"]).env(
                "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                format!("http://{host}"),
            ),
            _ => {
                let reference = format!("S=akv://{host}/{NAME}");
                let words = ["--allow-vault", &host, "--secret", &reference, "--", "true"];
                exec(&azure, ["--timeout", "1"]).args(words)
            }
        };
        let failure = run.failure(69, "unavailable");
        failure.names(&host).hint_names(&host);
    });
}

#[test]
fn slow_body_that_arrives_in_time_is_read() {
    let azure = Azure::start();
    let slow = Response::usual().drip(Duration::from_millis(1));
    azure.next(Endpoint::Vault, slow);
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn body_of_256_kib_is_read_and_a_longer_one_is_rejected() {
    let azure = Azure::start();
    let bundle = |padding: usize| {
        let tags = json!({"x": "x".repeat(padding)});
        json!({"value": VALUE, "id": "https://v/secrets/sql-sa/1", "tags": tags})
    };
    let padding = 256 * 1024 - bundle(0).to_string().len();
    azure.next(Endpoint::Vault, Response::json(200, &bundle(padding)));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    azure.next(Endpoint::Vault, Response::json(200, &bundle(padding + 1)));
    one_secret(&azure, &[]).failure(76, "protocol");
}
