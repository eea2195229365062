//! Several secrets that fail: each is named with its variable and its vault, whatever its thread was doing.

use std::thread;
use std::time::Duration;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, exec};

const RUNS: usize = 6;

/// `FIRST` and `SECOND` from the fake vault.
fn two_secrets(azure: &Azure) -> Run {
    azure.secret("one", "s3cret");
    azure.secret("two", "s3cret");
    let reference = |name: &str| format!("akv://{}/{name}", azure.vault());
    exec(azure, ["/bin/true"])
        .env("FIRST", reference("one"))
        .env("SECOND", reference("two"))
}

#[test]
fn every_secret_behind_a_dead_proxy_is_named() {
    let azure = Azure::start();
    thread::scope(|scope| {
        for _ in 0..RUNS {
            scope.spawn(|| {
                let run = exec(&azure, ["/bin/true"])
                    .env("HTTPS_PROXY", "http://127.0.0.1:1")
                    .env("FIRST", "akv://first-kv/one")
                    .env("SECOND", "akv://second-kv/two")
                    .env("AKV_INIT_TIMEOUT", "2");
                let failure = run.failure(69, "unavailable");
                failure.fact("for", "FIRST");
                for name in [
                    "first-kv.vault.azure.net",
                    "SECOND",
                    "`two`",
                    "second-kv.vault.azure.net",
                ] {
                    failure.names(name);
                }
            });
        }
    });
}

#[test]
fn secret_that_is_retried_is_named_beside_a_missing_one() {
    let azure = Azure::start();
    azure.always_for(Endpoint::Vault, "/secrets/one", Response::status(503));
    azure.always_for(Endpoint::Vault, "/secrets/two", Response::not_found("two"));
    for _ in 0..RUNS {
        let failure = two_secrets(&azure).failure(66, "not found");
        failure.fact("for", "SECOND").names("FIRST").names("`one`");
    }
}

#[test]
fn secret_whose_next_attempt_hangs_is_named_with_its_last_error() {
    let azure = Azure::start();
    for _ in 0..2 {
        let late = |response: Response, seconds| response.delay(Duration::from_secs(seconds));
        azure.next_for(Endpoint::Vault, "/secrets/one", Response::status(503));
        let hanging = late(Response::usual(), 8);
        azure.next_for(Endpoint::Vault, "/secrets/one", hanging);
        let missing = late(Response::not_found("two"), 1);
        azure.next_for(Endpoint::Vault, "/secrets/two", missing);
        let failure = two_secrets(&azure).failure(66, "not found");
        failure.fact("for", "SECOND").names("FIRST").names("`one`");
    }
}
