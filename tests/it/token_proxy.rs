//! AKS identity bindings: the exchange of workload identity through the cluster's token proxy, with a server name and a CA
//! of its own, and settings of it that are rejected.

use std::fs;

use crate::azure::{Azure, BASE_PATH, Certificate, Endpoint, Response, TENANT};
use crate::support::Run;
use crate::support_identities::{Source, assert_token, only_request};
use crate::support_listen::Listened;
use crate::support_requests::{assert_got_it, connections};

const SOURCE: Source = Source::TokenProxy;

const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

#[test]
fn base_path_is_joined_with_one_slash() {
    let azure = Azure::start();
    let base = azure.token_proxy();
    let origin = base.strip_suffix(BASE_PATH).unwrap();
    let rest = format!("/{TENANT}/oauth2/v2.0/token");
    for (url, path) in [
        (base.clone(), format!("{BASE_PATH}{rest}")),
        (format!("{base}/"), format!("{BASE_PATH}{rest}")),
        (origin.to_owned(), rest.clone()),
        (format!("{origin}/"), rest.clone()),
    ] {
        azure.next(
            Endpoint::TokenProxy,
            Response::token(serde_json::json!({"expires_in": 3599})),
        );
        assert_token(
            &azure,
            &SOURCE.token(&azure, &[]).env(PROXY, &url).outcome(),
        );
        let request = azure.requests_at(Endpoint::TokenProxy).pop().unwrap();
        assert_eq!(request.target, path, "{url}");
    }
}

#[test]
fn without_a_ca_of_its_own_the_usual_trust_applies() {
    let azure = Azure::start();
    let trusted = |run: Run| run.env("SSL_CERT_FILE", azure.cluster_ca_file());
    let run = trusted(SOURCE.token(&azure, &[])).without(CA_FILE);
    assert_token(&azure, &run.outcome());
    // With one, the usual trust does not apply.
    let run = trusted(SOURCE.token(&azure, &[])).env(CA_FILE, azure.ca_file());
    run.failure(76, "protocol").hinted();
}

#[test]
fn ca_may_be_the_value_of_a_variable() {
    let azure = Azure::start();
    let pem = fs::read_to_string(azure.cluster_ca_file()).unwrap();
    let run = SOURCE.token(&azure, &[]).without(CA_FILE).env(CA_DATA, pem);
    assert_token(&azure, &run.outcome());
}

#[test]
fn certificate_for_another_name_is_rejected() {
    let azure = Azure::builder()
        .certificate(Endpoint::TokenProxy, Certificate::OtherName)
        .start();
    SOURCE.token(&azure, &[]).failure(76, "protocol").hinted();
    assert_eq!(azure.requests_at(Endpoint::TokenProxy).len(), 0);
}

#[test]
fn url_with_more_than_a_path_is_rejected() {
    let azure = Azure::start();
    for url in [
        "http://example.com",
        "https://user:LEAK@example.com",
        "https://example.com?foo=LEAK",
        "https://example.com/a?foo=LEAK",
        "https://example.com/#frag",
        "https://example.com#frag",
        "https://example.com/%zz",
        "https://",
        "example.com",
    ] {
        let failure = SOURCE
            .token(&azure, &[])
            .env(PROXY, url)
            .failure(78, "config");
        failure.names(PROXY).omits("LEAK");
    }
    assert_eq!(connections(&azure), 0);
}

/// A mistake in a manifest, not a reason to use another source.
#[test]
fn other_variables_without_the_url_are_rejected() {
    let azure = Azure::start();
    for name in [NAME, CA_FILE, CA_DATA] {
        for empty in [false, true] {
            let mut run = SOURCE.token(&azure, &[]);
            for other in [PROXY, NAME, CA_FILE, CA_DATA] {
                run = match empty {
                    false => run.without(other),
                    true => run.env(other, ""),
                };
            }
            let failure = run.env(name, "x").failure(78, "config");
            failure.names(name).names(PROXY);
        }
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn setting_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let missing = azure.dir().join("no-such-file");
    let run = || SOURCE.token(&azure, &[]);
    let failure = run().env(CA_FILE, &missing).failure(78, "config");
    failure.names(CA_FILE).names(missing.to_str().unwrap());
    let file = azure.token_file();
    let failure = run().env(CA_FILE, file).failure(78, "config");
    failure
        .names(CA_FILE)
        .names(file.to_str().unwrap())
        .hinted();
    let failure = run()
        .without(CA_FILE)
        .env(CA_DATA, "not PEM")
        .failure(78, "config");
    failure.names(CA_DATA).hinted();
    for name in ["no host", "a8k3v0qj2m5t7p1d.ests.aks:443"] {
        run().env(NAME, name).failure(78, "config").names(NAME);
    }
    let failure = run().env(CA_DATA, "x").failure(78, "config");
    failure.names(CA_FILE).names(CA_DATA);
    assert_eq!(azure.connections(Endpoint::TokenProxy), 0);
}

/// The file is empty for a moment while the cluster's CA is renewed.
#[test]
fn empty_ca_file_is_read_again() {
    let azure = Azure::start();
    let file = azure.dir().join("rotating.crt");
    fs::write(&file, "").unwrap();
    let run = SOURCE.token(&azure, &["--verbose"]).json();
    let mut run = Listened::start(run.env(CA_FILE, &file));
    run.until_attempt(1);
    fs::copy(azure.cluster_ca_file(), &file).unwrap();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    only_request(&azure, Endpoint::TokenProxy);
}

/// It is inside the cluster, which a proxy for the internet cannot reach.
#[test]
fn proxy_is_never_used() {
    let azure = Azure::start();
    let run = SOURCE.exec(&azure, &[]).env("HTTPS_PROXY", azure.proxy());
    let run = run.env("NO_PROXY", "localhost");
    assert_got_it(&run.outcome());
    assert_eq!(azure.connections(Endpoint::Proxy), 0);
}
