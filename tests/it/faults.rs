//! Everything that can go wrong with a response, for every source of identity: a broken connection, a status, a body that
//! is not a token. No output may contain what the run sent or received.

mod echoes;

use std::time::Duration;

use serde_json::{Value, json};

use crate::azure::{Azure, Response};
use crate::rows;
use crate::support_identities::{Source, assert_token};
use crate::support_tables::{Attempts, Row, check_sources, in_parallel};

/// In every body that is not a token response.
const LEAK: &str = "LEAKofTOKEN.LEAKofTOKEN.LEAKofTOKEN";

fn connections() -> Vec<Row> {
    rows! {
        "closed": Response::fin() => 69 retried;
        "reset": Response::reset() => 69 retried;
        "closed in the body": token(json!({"access_token": LEAK, "expires_in": 3599})).half() => 69 retried;
        "not HTTP": Response::garbage() => 76 once, hint;
        "another protocol": Response::raw(b"HTTP/3 200 OK\r\n\r\n") => 76 once, hint;
        "long head": Response::status(200).header("X-Long", &"x".repeat(20 * 1024)) => 76 once, hint;
        "endless body": Response::endless() => 76 once, hint;
        "large body": token(json!({"access_token": "LEAK".repeat(80_000), "expires_in": 3599})) => 76 once, hint;
    }
}

fn redirects() -> Vec<Row> {
    let redirect = |status| Response::redirect("/elsewhere").with_status(status);
    rows! {
        "301": redirect(301) => 76 once, hint;
        "302": redirect(302) => 76 once, hint;
        "307": redirect(307) => 76 once, hint;
        "308": redirect(308) => 76 once, hint;
    }
}

/// The statuses that every source treats alike, and Retry-After, also where it is longer than the deadline.
fn statuses() -> Vec<Row> {
    let wait = |status, seconds| Response::status(status).header("Retry-After", seconds);
    rows! {
        "429": Response::status(429) => 69 retried, hint;
        "429, soon": wait(429, "0") => 69 retried, hint;
        "429, too late": wait(429, "3600") => 69 once, hint;
        "503": Response::status(503) => 69 retried;
        "503, soon": wait(503, "0") => 69 retried;
        "503, too late": wait(503, "3600") => 69 once;
    }
}

/// 404, 410 and 500 by themselves.
fn statuses_of(source: Source) -> Vec<Row> {
    let updating = || {
        rows! {
            "404": Response::status(404) => 69 retried;
            "410": Response::status(410) => 69 retried;
        }
    };
    let foreign = || {
        rows! {
            "404": Response::status(404) => 76 once, hint;
            "410": Response::status(410) => 76 once, hint;
        }
    };
    let moment = || rows! { "500": Response::status(500) => 69 retried; };
    // With a hint, since a firewall may be the cause.
    let platform = || rows! { "500": Response::status(500) => 69 retried, hint; };
    let rows = match source {
        Source::AppService => return [updating(), platform()].concat(),
        Source::Imds | Source::Arc => [updating(), moment()],
        Source::MachineLearning => return [foreign(), platform()].concat(),
        _ => [foreign(), moment()],
    };
    rows.concat()
}

fn token(body: Value) -> Response {
    Response::json(200, &body)
}

fn bodies() -> Vec<Row> {
    rows! {
        "not JSON": Response::text(200, LEAK) => 76 once, hint;
        "page": Response::html(200, "<html>Please sign in, LEAK</html>") => 76 once, hint;
        "empty body": Response::status(200) => 76 once, hint;
        "half of the JSON": Response::text(200, r#"{"access_token":"LEAKofTOKEN","expires_"#) => 76 once, hint;
        "expiry of letters": token(json!({"access_token": LEAK, "expires_on": "1560s28", "expires_in": "3600"}))
            => 76 once, hint;
        "expiry of another type": token(json!({"access_token": LEAK, "expires_on": {}, "expires_in": []}))
            => 76 once, hint;
        "expiry in month 13": token(json!({"access_token": LEAK, "expires_on": "2024-13-01 00:00:00"})) => 76 once, hint;
        "expiry in the afternoon of a 24-hour day": token(json!({"access_token": LEAK, "expires_on": "1/16/2020 13:00:00 PM"}))
            => 76 once, hint;
        "expiry in words": token(json!({"access_token": LEAK, "expires_on": "LEAK", "expires_in": 3600}))
            => 76 once, hint;
        "no expiry": token(json!({"access_token": LEAK})) => 76 once, hint;
        "no token": token(json!({"token": LEAK, "expires_in": "3600"})) => 76 once, hint;
        "empty token": token(json!({"access_token": "", "expires_in": "3600"})) => 76 once, hint;
        "null": token(json!({"access_token": null, "expires_in": "3600"})) => 76 once, hint;
        "number": token(json!({"access_token": 7, "expires_in": "3600", "x": LEAK})) => 76 once, hint;
        "list for a token": token(json!({"access_token": [LEAK], "expires_in": 3599})) => 76 once, hint;
        "header in the token": token(json!({"access_token": "LEAK\r\nX: y", "expires_in": "3600"})) => 76 once, hint;
        "empty list": token(json!([])) => 76 once, hint;
        "list of texts": token(json!([LEAK])) => 76 once, hint;
        "text for an object": token(json!(LEAK)) => 76 once, hint;
        "null for an object": token(json!(null)) => 76 once, hint;
    }
}

fn all_rows(source: Source) -> Vec<Row> {
    let rows = [
        connections(),
        redirects(),
        statuses(),
        statuses_of(source),
        bodies(),
    ];
    rows.concat()
}

/// The endpoints of 2017 have a hint for what a response contains, and none for how it arrives.
fn without_hints_of_2017((source, mut rows): (Source, Vec<Row>)) -> (Source, Vec<Row>) {
    if matches!(source, Source::CloudShell | Source::MachineLearning) {
        rows.iter_mut().for_each(|row| row.hint = None);
    }
    (source, rows)
}

#[test]
fn broken_connections() {
    let tables = Source::ALL.map(|source| (source, connections()));
    check_sources(tables.map(without_hints_of_2017));
}

#[test]
fn redirects_are_rejected() {
    let tables = Source::ALL.map(|source| (source, redirects()));
    check_sources(tables.map(without_hints_of_2017));
}

#[test]
fn statuses_of_every_source() {
    let rows = |source| [statuses(), statuses_of(source)].concat();
    check_sources(Source::ALL.map(|source| (source, rows(source))));
}

#[test]
fn bodies_without_a_token_are_rejected() {
    check_sources(Source::ALL.map(|source| (source, bodies())));
}

#[test]
fn endpoint_without_a_response_is_unavailable_at_the_deadline() {
    in_parallel(Source::ALL, |source| {
        let azure = Azure::start();
        azure.always(source.endpoint(), Response::usual().hold());
        let run = source.token(&azure, &["--timeout", "1"]);
        run.failure(69, "unavailable");
        // None, where the handshake took all of the time.
        assert!(
            azure.requests_at(source.endpoint()).len() <= 1,
            "{source:?}"
        );
    });
}

#[test]
fn delayed_response_is_a_response() {
    in_parallel(Source::ALL, |source| {
        let azure = Azure::start();
        let late = Response::usual().delay(Duration::from_millis(300));
        azure.next(source.endpoint(), late);
        if source != Source::Arc {
            assert_token(&azure, &source.token(&azure, &[]).outcome());
        }
    });
}

#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn every_retried_fault_ends_at_the_deadline() {
    let cells = Source::ALL.into_iter().flat_map(|source| {
        let mut rows = all_rows(source);
        rows.retain(|row| row.attempts == Attempts::Retried);
        rows.into_iter().map(move |row| (source, row))
    });
    in_parallel(cells, |(source, row)| {
        let azure = Azure::start();
        azure.always(source.endpoint(), row.response);
        let run = source.token(&azure, &["--timeout", "2"]);
        run.failure(row.code, "unavailable");
        let requests = azure.requests_at(source.endpoint()).len();
        assert!(requests > 1, "{source:?}, {}: {requests}", row.name);
    });
}

/// The durations that a service names.
#[test]
fn retry_after_is_read_in_seconds_milliseconds_and_as_a_date() {
    let throttled = |name: &str, value: &str| Response::status(429).header(name, value);
    let rows = rows! {
        "date in the past": throttled("Retry-After", "Thu, 31 Dec 2020 23:59:50 GMT") => 69 retried, hint;
        "not a number": throttled("Retry-After", "invalid") => 69 retried, hint;
        "not an HTTP date": throttled("Retry-After", "01 Jan 2021 00:00:00 GMT") => 69 retried, hint;
        "milliseconds of Azure": throttled("x-ms-retry-after-ms", "300") => 69 retried, hint;
        "seconds": throttled("Retry-After", "123") => 69 once, hint, names 123;
        "milliseconds": throttled("retry-after-ms", "123000") => 69 once, hint, names 123;
    };
    check_sources([(Source::AppService, rows)]);
}
