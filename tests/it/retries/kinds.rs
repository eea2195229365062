//! Failures without a response: names, addresses, proxies, certificates.

use crate::azure::{Azure, Certificate, Endpoint, Response};
use crate::support::{Run, exec, through_the_proxy};
use crate::support_full_queue::FullQueue;
use crate::support_listen::Listened;
use crate::support_requests::{assert_got_it, attempts, counts, one_secret, one_secret_federated};
use crate::support_tables::in_parallel;

/// A run that reads a secret of a vault whose name does not exist. Without any name server, none responds.
fn unknown_name(azure: &Azure, timeout: &str) -> Run {
    let words = ["--secret", "S=akv://vault.invalid/sql-sa", "--", "true"];
    let run = exec(azure, ["--timeout", timeout]).args(words);
    run.env("AKV_INIT_ALLOW_VAULT", "vault.invalid")
}

#[test]
fn name_that_does_not_exist_is_unavailable() {
    let azure = Azure::start();
    let failure = unknown_name(&azure, "0").failure(69, "unavailable");
    failure.fact("vault", "vault.invalid").hinted();
    assert_eq!(counts(&azure), [1, 0, 0]);
}

/// DNS may not be ready when the pod is, which takes at most ten seconds.
#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn name_that_does_not_exist_is_retried_for_ten_seconds() {
    let azure = Azure::start();
    let run = unknown_name(&azure, "14");
    let run = run.args(["--verbose"]).env("AKV_INIT_VERBOSE", "1");
    let started = std::time::Instant::now();
    let outcome = run.json().outcome();
    let seconds = started.elapsed().as_secs();
    assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
    assert!(attempts(&outcome) > 1, "{}", outcome.stderr);
    // Name servers that do not respond take longer.
    assert!((8..=15).contains(&seconds), "{seconds}: {}", outcome.stderr);
}

#[test]
fn refused_connection_is_retried() {
    in_parallel([Endpoint::Login, Endpoint::Vault], |endpoint| {
        let azure = Azure::builder().closed(endpoint).start();
        let run = match endpoint {
            Endpoint::Login => one_secret_federated(&azure, &["--verbose"]),
            _ => one_secret(&azure, &["--verbose"]),
        };
        let mut run = Listened::start(run.json());
        run.until_attempt(2);
        azure.open(endpoint);
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{endpoint:?}: {}", outcome.stderr);
        assert_eq!(azure.requests_at(endpoint).len(), 1);
    });
}

/// The kernel itself refuses a connection to a broadcast address.
#[test]
fn address_without_a_route_is_retried_until_the_deadline() {
    let azure = Azure::start();
    let run = one_secret(&azure, &["--timeout", "1", "--verbose"]);
    let address = "http://255.255.255.255";
    let run = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", address);
    let outcome = run.json().outcome();
    outcome.failure(69, "unavailable").names(address);
    assert!(attempts(&outcome) > 1, "{}", outcome.stderr);
}

/// A connect timeout is three seconds.
#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn connect_timeout_is_retried_until_the_deadline() {
    let full = FullQueue::new();
    let azure = Azure::start();
    let address = format!("http://{}", full.address());
    let run = one_secret(&azure, &["--timeout", "4", "--verbose"]);
    let run = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &address);
    let outcome = run.json().outcome();
    outcome.failure(69, "unavailable").names(&address).hinted();
    assert_eq!(attempts(&outcome), 1, "{}", outcome.stderr);
}

/// A run that reads a secret through the proxy.
fn proxied(azure: &Azure) -> Run {
    azure.secret("sql-sa", "value");
    through_the_proxy(azure).printing(&["akv://kv-one/sql-sa"])
}

#[test]
fn proxy_that_refuses_the_tunnel_is_a_configuration_error() {
    for status in [403, 404] {
        let azure = Azure::start();
        azure.always(Endpoint::Proxy, Response::text(status, "no"));
        let failure = proxied(&azure).failure(78, "config");
        let proxy = azure.proxy();
        failure.names(proxy.trim_start_matches("http://"));
        failure.names(&status.to_string()).hint_names("NO_PROXY");
        // One for the early connection, one for the request.
        assert_eq!(azure.requests_at(Endpoint::Proxy).len(), 2);
    }
}

#[test]
fn proxy_that_fails_is_retried() {
    in_parallel([502, 503, 504], |status| {
        let azure = Azure::start();
        // The first is for the early connection.
        azure.next(Endpoint::Proxy, Response::status(status));
        azure.next(Endpoint::Proxy, Response::status(status));
        let outcome = proxied(&azure).outcome();
        assert_eq!(outcome.stdout_alone(), "value\n");
        assert_eq!(azure.requests_at(Endpoint::Proxy).len(), 3);
    });
}

#[test]
fn untrusted_certificate_is_final() {
    let azure = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::UnknownAuthority)
        .certificate(Endpoint::Login, Certificate::UnknownAuthority)
        .start();
    one_secret_federated(&azure, &[]).failure(76, "protocol");
    assert_eq!(azure.connections(Endpoint::Login), 1);
    let outcome = one_secret(&azure, &["--verbose"]).json().outcome();
    outcome.failure(76, "protocol");
    assert_eq!(attempts(&outcome), 0, "{}", outcome.stderr);
}

/// The same token is good a moment later.
#[test]
fn key_that_the_vault_could_not_resolve_is_retried_with_the_same_token() {
    let azure = Azure::start();
    azure.next(Endpoint::Vault, Response::akv10046());
    assert_got_it(&one_secret(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    let requests = azure.requests_at(Endpoint::Vault);
    assert_eq!(requests[0].bearer(), requests[1].bearer());
}
