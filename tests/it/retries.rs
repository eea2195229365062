//! Retries: for each row of the table whether there is another try, what a service may ask for, and what the deadline
//! does. A script of answers says how often the service was asked.

mod deadline;
mod rows;

use serde_json::json;

use crate::azure::{Answer, Azure, Door};
use crate::network::listen::Listened;
use crate::network::wire::{
    NAME, all_at_once, assert_got_it, counts, one_secret, one_secret_federated, timeless,
};

/// The time between the last two requests at a door, in milliseconds.
fn pause(azure: &Azure, door: Door) -> u128 {
    let requests = azure.requests_at(door);
    let [.., before, last] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    (last.at - before.at).as_millis()
}

#[test]
fn a_service_that_asks_for_a_pause_gets_it() {
    let rows = [
        (Door::Vault, "Retry-After", "1", 1_000),
        (Door::Imds, "Retry-After", " 1 ", 1_000),
        (Door::Vault, "retry-after-ms", "400", 400),
        (Door::Imds, "x-ms-retry-after-ms", "300", 300),
        // One that says "at once" is not asked at once; one that says nothing that can be read has said nothing.
        (Door::Vault, "Retry-After", "0", 250),
        (
            Door::Vault,
            "Retry-After",
            "Thu, 31 Dec 2020 23:59:50 GMT",
            250,
        ),
        (Door::Vault, "Retry-After", "soon", 0),
        (Door::Vault, "Retry-After", "-5", 0),
    ];
    all_at_once(rows, |(door, name, value, millis)| {
        let azure = Azure::start();
        azure.next(door, Answer::status(503).header(name, value));
        assert_got_it(&one_secret(&azure, &[]).outcome());
        let paused = pause(&azure, door);
        assert!(paused >= millis, "{name}: {value}: {paused} ms");
    });
    // In milliseconds goes before in seconds.
    let azure = Azure::start();
    let both = Answer::status(429)
        .header("Retry-After", "60")
        .header("retry-after-ms", "1");
    azure.next(Door::Vault, both);
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn a_service_that_asks_for_more_than_there_is_time_is_not_asked_again() {
    let azure = Azure::start();
    let throttled = || Answer::throttled().header("Retry-After", "60");
    azure.next(Door::Vault, throttled());
    let outcome = one_secret(&azure, &["--timeout", "59"]).outcome();
    assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 1]);
    // NMI, as it is set up to send a Retry-After.
    azure.next(
        Door::Imds,
        Answer::nmi(503, "getting assigned identities for pod default/app")
            .header("Retry-After", "20"),
    );
    let outcome = one_secret(&azure, &["--timeout", "19"]).outcome();
    assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [2, 0, 1]);
}

/// 700024 is good for two tries in a row, whatever came before.
#[test]
fn what_is_counted_is_counted_by_itself() {
    let stale = || Answer::aadsts(700_024, "Stale.");
    let rows = [
        (
            "after others",
            [Answer::status(503), Answer::status(429), stale(), stale()],
        ),
        (
            "from anew after another",
            [stale(), Answer::status(503), stale(), stale()],
        ),
    ];
    all_at_once(rows, |(id, answers)| {
        let azure = Azure::start();
        for answer in answers {
            azure.next(Door::Login, answer);
        }
        let outcome = timeless(one_secret_federated(&azure, &[]).outcome());
        let error = outcome.error().unwrap_or_default();
        assert_eq!(outcome.code, Some(77), "{id}: {error}");
        assert!(error.ends_with(", after 4 tries in N s"), "{id}: {error}");
        assert_eq!(counts(&azure), [0, 4, 0], "{id}");
    });
}

#[test]
fn a_deadline_of_zero_is_one_try_each() {
    let azure = Azure::start();
    let zero = ["--timeout", "0"];
    assert_got_it(&one_secret(&azure, &zero).outcome());
    assert_got_it(&one_secret_federated(&azure, &zero).outcome());
    assert_got_it(
        &one_secret(&azure, &[])
            .env("AKV_INIT_TIMEOUT", "0")
            .outcome(),
    );
    let before = counts(&azure);
    azure.always(Door::Vault, Answer::status(503));
    assert_eq!(one_secret(&azure, &zero).outcome().code, Some(69));
    azure.always(Door::Vault, Answer::akv10046());
    assert_eq!(one_secret(&azure, &zero).outcome().code, Some(69));
    azure.always(Door::Imds, Answer::status(410));
    assert_eq!(one_secret(&azure, &zero).outcome().code, Some(69));
    azure.always(Door::Login, Answer::aadsts(700_213, "No matching record."));
    assert_eq!(one_secret_federated(&azure, &zero).outcome().code, Some(77));
    let after = counts(&azure);
    assert_eq!(
        [0, 1, 2].map(|door| after[door] - before[door]),
        [3, 1, 2],
        "one request for each run at its last door"
    );
}

#[test]
fn a_refusal_for_want_of_a_role_is_final_without_the_option() {
    let azure = Azure::start();
    for answer in [Answer::rbac(), Answer::access_policy()] {
        let before = counts(&azure);
        azure.next(Door::Vault, answer);
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(77));
        let hint = outcome.hint().unwrap_or_default();
        assert!(
            hint.ends_with("10 minutes? --wait-for-access 10m"),
            "{hint}"
        );
        assert_eq!(counts(&azure)[2] - before[2], 1);
    }
}

#[test]
fn a_role_that_is_on_its_way_is_waited_for_with_the_option() {
    let ten_minutes = ["--wait-for-access", "10m"];
    let no_time = ["--timeout", "0", "--wait-for-access", "30s"];
    let rows = [
        (Answer::rbac(), &ten_minutes[..], ""),
        (Answer::access_policy(), &ten_minutes, ""),
        (Answer::rbac(), &[], "600"),
        (Answer::access_policy(), &no_time, ""),
    ];
    all_at_once(rows, |(answer, options, twin)| {
        let azure = Azure::start();
        azure.next(Door::Vault, answer.clone());
        azure.next(Door::Vault, answer);
        let run = one_secret(&azure, options).env("AKV_INIT_WAIT_FOR_ACCESS", twin);
        assert_got_it(&run.outcome());
        assert_eq!(counts(&azure), [1, 0, 3]);
    });
}

/// The vault asks for longer than the deadline alone would allow.
#[test]
fn waiting_for_access_moves_the_deadline_and_nothing_else_does() {
    let azure = Azure::start();
    let options = ["--timeout", "1", "--wait-for-access", "30"];
    let later = |answer: Answer| answer.header("retry-after-ms", "1200");
    azure.next(Door::Vault, later(Answer::rbac()));
    assert_got_it(&one_secret(&azure, &options).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    azure.next(Door::Vault, later(Answer::status(503)));
    assert_eq!(one_secret(&azure, &options).outcome().code, Some(69));
    assert_eq!(counts(&azure), [2, 0, 3]);
    for answer in [
        Answer::firewall(),
        Answer::private_endpoint(),
        Answer::policy(),
        Answer::disabled(),
        Answer::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
    ] {
        let before = counts(&azure);
        azure.next(Door::Vault, later(answer));
        assert_ne!(one_secret(&azure, &options).outcome().code, Some(0));
        assert_eq!(counts(&azure)[2] - before[2], 1);
    }
}

#[test]
fn access_that_never_comes_is_denied_when_the_wait_is_over() {
    let azure = Azure::start();
    azure.always(Door::Vault, Answer::rbac());
    let outcome = one_secret(&azure, &["--timeout", "1", "--wait-for-access", "1"]).outcome();
    let outcome = timeless(outcome);
    let tries = azure.requests_at(Door::Vault).len();
    assert!(tries > 1);
    let error = outcome.error().unwrap_or_default();
    let end = format!(", after {tries} tries in N s");
    assert_eq!(outcome.code, Some(77));
    assert!(
        error.contains("403 Forbidden (ForbiddenByRbac)") && error.ends_with(&end),
        "{error}"
    );
}

/// Opened while the token was on its way, and closed by the other side before there was anything to ask.
#[test]
fn a_connection_that_was_closed_while_it_waited_is_no_attempt() {
    let azure = Azure::start();
    azure.next(Door::Imds, Answer::usual().hold());
    let mut run = Listened::start(one_secret(&azure, &["--verbose", "--timeout", "0"]));
    run.until(&format!("connected to https://{} in ", azure.vault()));
    azure.wait_for(Door::Imds, 1);
    azure.cut(Door::Vault);
    azure.release();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 1]);
    assert_eq!(azure.connections(Door::Vault), 2);
}

/// Kept for the next try, and closed by the other side during the pause.
#[test]
fn a_connection_that_was_closed_between_two_tries_is_no_attempt() {
    let azure = Azure::start();
    let busy = Answer::status(503).header("retry-after-ms", "500");
    azure.next(Door::Vault, busy);
    let mut run = Listened::start(one_secret(&azure, &["--verbose"]));
    run.until("try 1: 503");
    azure.cut(Door::Vault);
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("try 2"), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 2]);
}

#[test]
fn a_try_uses_the_connection_of_the_one_before() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::status(503));
    azure.next(Door::Login, Answer::status(503));
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 2, 2]);
    assert_eq!(
        (
            azure.connections(Door::Login),
            azure.connections(Door::Vault)
        ),
        (1, 1)
    );
}

/// I14: the last answer is the one that is told, not the first.
#[test]
fn i14_the_last_answer_is_told() {
    let azure = Azure::start();
    azure.next(Door::Imds, Answer::status(404));
    azure.next(
        Door::Imds,
        Answer::imds_error(500, "unknown", "the last one").header("Retry-After", "60"),
    );
    let outcome = timeless(one_secret(&azure, &[]).outcome());
    let line = format!(
        "error: getting an access token from IMDS ({}, managed identity): 500 Internal Server Error (unknown): the \
         last one; client request id {}, after 2 tries in N s; it asks for 60 s without a request, which is past the \
         deadline",
        azure.imds(),
        azure.requests()[0]
            .header("x-ms-client-request-id")
            .unwrap()
    );
    outcome.failed(69, &[&line]);
    assert_eq!(counts(&azure), [2, 0, 0]);
}

/// `{vault}` of different secrets: each has its own tries.
#[test]
fn one_secret_is_tried_again_while_others_are_read_once() {
    let azure = Azure::start();
    azure.secret("a", "1");
    azure.secret(NAME, "2");
    for _ in 0..3 {
        azure.next_for(
            Door::Vault,
            &format!("/secrets/{NAME}"),
            Answer::json(503, &json!({})),
        );
    }
    let host = azure.vault();
    let words = [
        "--secret",
        &format!("A=akv://{host}/a"),
        "--secret",
        &format!("B=akv://{host}/{NAME}"),
        "--",
        "printenv",
        "A",
        "B",
    ];
    let outcome = crate::support::exec(&azure, words).outcome();
    assert_eq!(outcome.stdout_alone(), "1\n2\n");
    let of = |name: &str| {
        let path = format!("/secrets/{name}");
        azure
            .requests_at(Door::Vault)
            .iter()
            .filter(|request| request.path() == path)
            .count()
    };
    assert_eq!((of("a"), of(NAME)), (1, 4));
}
