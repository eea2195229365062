//! Throttled requests: all threads wait, one request goes first, and the deadline moves.

use std::time::{Duration, Instant};

use crate::azure::{Azure, Endpoint, Response};
use crate::support::exec;
use crate::support_listen::Listened;
use crate::support_requests::{assert_got_it, counts, one_secret};
use crate::support_tables::in_parallel;

/// A 429 that asks for a pause of so many milliseconds.
fn throttled(millis: u32) -> Response {
    Response::throttled().header("retry-after-ms", &millis.to_string())
}

#[test]
fn one_request_goes_first_and_the_others_follow() {
    let unavailable = || Response::status(503).header("retry-after-ms", "1");
    in_parallel([Response::throttled(), unavailable()], |refusal| {
        let azure = Azure::start();
        let names = ["a", "b", "c", "d"];
        for name in names {
            azure.secret(name, name);
            azure.next(Endpoint::Vault, refusal.clone().hold());
        }
        let first = Duration::from_millis(400);
        azure.next(Endpoint::Vault, Response::usual().delay(first));
        let references = names.map(|name| format!("akv://{}/{name}", azure.vault()));
        let running = exec(&azure, ["--log-format=json"])
            .printing(&references)
            .spawn();
        azure.wait_for(Endpoint::Vault, 4);
        azure.release();
        let outcome = running.outcome();
        assert_eq!(outcome.stdout_alone(), "a\nb\nc\nd\n");
        let requests = azure.requests_at(Endpoint::Vault);
        let times: Vec<Instant> = requests.iter().map(|request| request.at).collect();
        assert_eq!(times.len(), 8, "{times:?}");
        assert!(times[4] - times[3] >= Duration::from_secs(1));
        assert!(times[5] - times[4] >= first);
    });
}

/// It was sent before the gate closed, and is throttled while another request is on its way through the gate.
#[test]
fn late_refusal_is_retried() {
    let azure = Azure::start();
    let late = |response: Response, millis| response.delay(Duration::from_millis(millis));
    for (name, response) in [
        ("a", late(Response::throttled(), 300)),
        ("a", late(Response::usual(), 1_000)),
        ("b", Response::throttled().hold()),
    ] {
        azure.secret(name, name);
        let path = format!("/secrets/{name}");
        azure.next_for(Endpoint::Vault, &path, response);
    }
    let references = ["a", "b"].map(|name| format!("akv://{}/{name}", azure.vault()));
    let running = exec(&azure, ["--quiet"]).printing(&references).spawn();
    azure.wait_for(Endpoint::Vault, 3);
    azure.release();
    assert_eq!(running.outcome().stdout_alone(), "a\nb\n");
    assert_eq!(counts(&azure)[2], 4);
}

/// The first pause is from 1 to 4 s, and then three quarters of a pause are fixed.
#[test]
fn later_pause_is_not_shorter_while_requests_are_throttled() {
    let azure = Azure::start();
    for _ in 0..2 {
        azure.next(Endpoint::Vault, Response::throttled());
    }
    let run = one_secret(&azure, &["--verbose"]).json();
    let mut run = Listened::start(run);
    for (attempt, range) in [(1, 1_000..=4_000), (2, 3_000..=4_000)] {
        let next = run.until_attempt(attempt)["next_ms"].as_u64();
        assert!(range.contains(&next.unwrap()), "{attempt}: {next:?}");
    }
}

/// However long a service asks to wait, the other threads end as well.
#[test]
fn pause_that_a_throttled_vault_asks_for_is_a_minimum() {
    let rows = [
        ("0", Some(1_000)),
        ("5", Some(5_000)),
        ("soon", Some(1_000)),
        ("Thu, 31 Dec 2020 23:59:50 GMT", Some(1_000)),
        ("4294967295", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
    ];
    in_parallel(rows, |(value, millis)| {
        let azure = Azure::start();
        for name in ["a", "b"] {
            azure.secret(name, name);
            let refusal = Response::throttled().header("Retry-After", value);
            azure.next(Endpoint::Vault, refusal);
        }
        let references = ["a", "b"].map(|name| format!("akv://{}/{name}", azure.vault()));
        let options = ["--quiet", "--throttle-timeout=10m"];
        let run = exec(&azure, options).printing(&references);
        let Some(millis) = millis else {
            run.failure(69, "unavailable").names("past the deadline");
            return;
        };
        let started = Instant::now();
        assert_eq!(run.outcome().stdout_alone(), "a\nb\n", "{value}");
        assert!(
            started.elapsed() >= Duration::from_millis(millis),
            "{value}"
        );
    });
}

/// The vault asks for a longer pause than the deadline alone allows.
#[test]
fn deadline_moves_while_requests_are_throttled() {
    let unavailable = || Response::status(503).header("retry-after-ms", "1200");
    let (vault, imds) = (Endpoint::Vault, Endpoint::Imds);
    let rows = [
        (vault, throttled(1_200), "--throttle-timeout=5", "", true),
        (imds, throttled(1_200), "--throttle-timeout=5", "", true),
        (vault, throttled(1_200), "--quiet", "5", true),
        (vault, throttled(1_200), "--throttle-timeout=5", "0", true),
        (vault, throttled(1_200), "--throttle-timeout=0", "5", false),
        (vault, throttled(1_200), "--throttle-timeout=1", "", false),
        (vault, throttled(1_200), "--quiet", "", false),
        (vault, throttled(5_000), "--throttle-timeout=5", "", false),
        (vault, unavailable(), "--throttle-timeout=5", "", false),
    ];
    in_parallel(rows, |(endpoint, response, option, variable, succeeds)| {
        let azure = Azure::start();
        azure.next(endpoint, response);
        let run = one_secret(&azure, &["--timeout", "1", option]);
        let run = run.env("AKV_INIT_THROTTLE_TIMEOUT", variable);
        if succeeds {
            assert_got_it(&run.outcome());
        } else {
            run.failure(69, "unavailable").names("past the deadline");
        }
        let requests = azure.requests_at(endpoint).len();
        assert_eq!(requests, 1 + usize::from(succeeds), "{option} {variable}");
    });
}

#[test]
fn deadline_moves_by_ten_minutes_unless_there_is_a_timeout() {
    let waits = |options: &[&str], variables: &[(&str, &str)], seconds: u32| {
        let azure = Azure::start();
        azure.always(Endpoint::Vault, throttled(seconds * 1_000));
        let run = one_secret(&azure, options).without("AKV_INIT_TIMEOUT");
        let run = run.env("AKV_INIT_VERBOSE", "1").json();
        let run = variables
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value));
        let mut run = Listened::start(run);
        let line = run.until_line(|line| line["try"] == 1 || line["level"] == "error");
        line["next_ms"].as_u64()
    };
    // Up to a quarter is added, so that a thousand processes do not come back at once.
    let next = waits(&[], &[], 400).expect("it waits");
    assert!((400_000..=500_000).contains(&next), "{next}");
    for (options, variables, seconds) in [
        (&[][..], &[][..], 601),
        (&["--timeout", "2m"], &[], 121),
        (&[], &[("AKV_INIT_TIMEOUT", "120")], 121),
        (&["--throttle-timeout", "2m"], &[], 121),
        (&["--timeout", "0", "--throttle-timeout", "2m"], &[], 1),
    ] {
        assert_eq!(waits(options, variables, seconds), None, "{options:?}");
    }
}

#[test]
fn run_ends_when_requests_are_throttled_for_too_long() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::throttled());
    let started = Instant::now();
    let run = one_secret(&azure, &["--timeout=1", "--throttle-timeout=2"]);
    let failure = run.failure(69, "unavailable");
    failure.names("429 Too Many Requests").hinted();
    assert!(started.elapsed() > Duration::from_millis(1_500));
    assert!(counts(&azure)[2] > 1);
}

#[test]
fn secret_that_waits_for_a_throttled_vault_has_its_error() {
    let azure = Azure::start();
    for name in ["a", "b"] {
        azure.secret(name, name);
    }
    azure.always(Endpoint::Vault, throttled(1_500));
    let references = ["a", "b"].map(|name| format!("akv://{}/{name}", azure.vault()));
    let options = ["--timeout=1", "--throttle-timeout=2"];
    let run = exec(&azure, options).printing(&references);
    let failure = run.failure(69, "unavailable");
    failure.names("also not read: `b`").names("(Throttled)");
}
