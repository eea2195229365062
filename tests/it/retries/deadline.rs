//! The deadline: whatever a service does or does not do, the run is over then, and its last line is the last real
//! answer.

use std::time::Duration;

use serde_json::json;

use crate::azure::{APPLICATION, Answer, Azure, Door, TENANT};
use crate::network::full_queue::FullQueue;
use crate::network::wire::{
    NAME, VALUE, all_at_once, assert_got_it, counts, one_secret, one_secret_federated, timeless,
};
use crate::support::THROTTLED;

fn imds(azure: &Azure) -> String {
    format!(
        "error: getting an access token from IMDS ({}, managed identity)",
        azure.imds()
    )
}

fn entra(azure: &Azure) -> String {
    format!(
        "getting an access token from Entra ({}, workload identity with client id {APPLICATION}, tenant {TENANT})",
        azure.login()
    )
}

fn vault(azure: &Azure) -> String {
    format!(
        "error: reading secret `{NAME}` from {} for S",
        azure.vault()
    )
}

#[test]
fn what_does_not_heal_is_told_as_it_was_last() {
    let azure = Azure::start();
    azure.always(Door::Vault, Answer::throttled());
    let outcome = timeless(one_secret(&azure, &["--timeout", "2"]).outcome());
    let requests = azure.requests_at(Door::Vault);
    let last = requests.last().unwrap();
    assert!(requests.len() > 1);
    let line = format!(
        "{}: 429 Too Many Requests (Throttled): Request was not processed because too many requests were received. \
         Reason: VaultRequestTypeLimitReached; request id {}; client request id {}, after {} tries in N s",
        vault(&azure),
        last.request_id,
        last.header("x-ms-client-request-id").unwrap(),
        requests.len()
    );
    outcome.failed(69, &[&line, THROTTLED]);
}

#[test]
fn a_try_that_the_deadline_cuts_off_does_not_hide_the_answer_before_it() {
    let azure = Azure::start();
    azure.next(
        Door::Imds,
        Answer::imds_failed().header("retry-after-ms", "1"),
    );
    azure.always(Door::Imds, Answer::usual().hold());
    let outcome = timeless(one_secret(&azure, &["--timeout", "1"]).outcome());
    let line = format!(
        "{}: 500 Internal Server Error (unknown): Failed to retrieve token from the Active directory. For details see \
         logs in C:\\logs\\identity.log; client request id {}, after 2 tries in N s",
        imds(&azure),
        azure.requests()[0]
            .header("x-ms-client-request-id")
            .unwrap()
    );
    outcome.failed(69, &[&line]);
    assert_eq!(counts(&azure), [2, 0, 0]);
}

#[test]
fn silence_ends_at_the_deadline() {
    let one_second = ["--timeout", "1"];
    // Silence before and after the request, and not even a handshake.
    all_at_once([0, 1, 2, 3], |row| {
        let azure = Azure::start();
        let reading = format!("reading secret `{NAME}` from {} for S", azure.vault());
        let connecting = format!("connecting to {} (1 try)", azure.vault());
        let (run, doing) = match row {
            0 => {
                azure.always(Door::Vault, Answer::usual().hold());
                (one_secret(&azure, &one_second), reading)
            }
            1 => {
                azure.mute(Door::Vault);
                (one_secret(&azure, &one_second), connecting)
            }
            2 => {
                azure.always(Door::Login, Answer::usual().hold());
                (one_secret_federated(&azure, &one_second), entra(&azure))
            }
            _ => {
                azure.mute(Door::Login);
                (one_secret_federated(&azure, &one_second), entra(&azure))
            }
        };
        let outcome = run.outcome();
        // A handshake that nobody answers is no connection yet.
        let missing = if row == 3 { "connection" } else { "answer" };
        let line = format!("{doing}: no {missing} before the deadline");
        assert_eq!(outcome.error(), Some(line.as_str()), "{row}");
        assert_eq!(outcome.code, Some(69), "{row}");
    });
}

/// The connection is opened early, and nobody answers there; the token's time must not be spent on it.
#[test]
fn a_vault_that_drops_packets_ends_at_the_deadline_too() {
    let full = FullQueue::new();
    let azure = Azure::start();
    let port = full.address().port();
    let words = [
        "--timeout",
        "1",
        "--allow-vault",
        &format!("127.0.0.1:{port}"),
        "--secret",
        &format!("S=akv://127.0.0.1:{port}/{NAME}"),
        "--",
        "true",
    ];
    let line =
        format!("error: connecting to 127.0.0.1:{port} (1 try): no answer before the deadline");
    let hint = format!(
        "hint: this network does not lead to 127.0.0.1:{port}: DNS, an egress rule, a route, the private endpoint's \
         approval, or HTTPS_PROXY"
    );
    timeless(crate::support::exec(&azure, words).outcome()).failed(69, &[&line, &hint]);
}

#[test]
fn a_body_in_drops_ends_at_the_deadline() {
    all_at_once([Door::Imds, Door::Vault], |door| {
        let azure = Azure::start();
        azure.always(door, Answer::usual().drip(Duration::from_millis(200)));
        let outcome = one_secret(&azure, &["--timeout", "1"]).outcome();
        let error = outcome.error().unwrap_or_default();
        assert_eq!(outcome.code, Some(69), "{error}");
        assert!(
            error.ends_with(": no answer before the deadline"),
            "{error}"
        );
    });
}

#[test]
fn an_answer_in_drops_that_comes_in_time_is_an_answer() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::usual().drip(Duration::from_millis(1)));
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn connections_that_break_end_at_the_deadline() {
    let closed = "the connection was closed before the answer was whole";
    let rows = [
        (Door::Imds, Answer::fin(), closed),
        (Door::Imds, Answer::reset(), "the connection was reset"),
        (Door::Vault, Answer::usual().half(), closed),
    ];
    all_at_once(rows, |(door, answer, said)| {
        let azure = Azure::start();
        azure.always(door, answer);
        let outcome = timeless(one_secret(&azure, &["--timeout", "1"]).outcome());
        let requests = azure.requests_at(door).len();
        let line = match door {
            Door::Imds => format!("{}: {said}, after {requests} tries in N s", imds(&azure)),
            // The first request went over the connection that had waited: no attempt.
            _ => format!(
                "{}: {said}, after {} tries in N s",
                vault(&azure),
                requests - 1
            ),
        };
        outcome.failed(69, &[&line]);
    });
}

#[test]
fn what_is_too_long_or_no_http_at_all_is_not_waited_for() {
    let azure = Azure::start();
    let too_long = "200 OK: an answer of more than 256 KiB";
    let big = || Answer::json(200, &json!({"value": "x".repeat(300 * 1024)}));
    for (id, answer, said) in [
        ("endless", Answer::endless(), too_long),
        ("big", big(), too_long),
        ("garbage", Answer::garbage(), "the answer is not HTTP"),
        (
            "another protocol",
            Answer::raw(b"HTTP/3 200 OK\r\n\r\n"),
            "the answer is not HTTP",
        ),
        (
            "a long head",
            Answer::status(200).header("X-Long", &"x".repeat(20 * 1024)),
            "the answer's head is too long",
        ),
    ] {
        for door in [Door::Imds, Door::Vault] {
            let before = azure.requests_at(door).len();
            azure.next(door, answer.clone());
            let line = match door {
                Door::Imds => format!("{}: {said}", imds(&azure)),
                _ => format!("{}: {said}", vault(&azure)),
            };
            let outcome = one_secret(&azure, &[]).outcome();
            assert_eq!(outcome.error(), Some(&line["error: ".len()..]), "{id}");
            assert_eq!(outcome.code, Some(76), "{id}");
            assert_eq!(azure.requests_at(door).len() - before, 1, "{id}");
        }
    }
}

#[test]
fn an_answer_just_below_the_limit_is_read() {
    let azure = Azure::start();
    let bundle = |padding: usize| {
        json!({
            "value": VALUE, "id": "https://v/secrets/sql-sa/1", "tags": {"x": "x".repeat(padding)},
        })
    };
    let padding = 256 * 1024 - bundle(0).to_string().len();
    azure.next(Door::Vault, Answer::json(200, &bundle(padding)));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    azure.next(Door::Vault, Answer::json(200, &bundle(padding + 1)));
    assert_eq!(one_secret(&azure, &[]).outcome().code, Some(76));
}
