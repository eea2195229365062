//! The vault's challenge: requested once from a host that no cloud and no option explains, and accepted only for a parent
//! domain of the host; the tenant that a vault names; and an api-version that it does not know.

mod tenants;
mod versions;

use crate::azure::{Azure, Builder, Endpoint, Response, TENANT};
use crate::support::{Outcome, Run, exec};
use crate::support_identities::{Source, with};
use crate::support_requests::counts;

/// A host of an emulator or of an unknown cloud, and the resource of its tokens.
const HOST: &str = "42.vault.emulator.test";
const RESOURCE: &str = "https://vault.emulator.test";

fn emulator() -> Builder {
    Azure::builder()
        .name(HOST)
        .name("43.vault.emulator.test")
        .vault_resource(RESOURCE)
}

/// Reads one secret of this host through the proxy, which connects every name to the fake vault.
fn read_from(azure: &Azure, source: Source, host: &str, options: &[&str]) -> Run {
    azure.secret("sql-sa", "value");
    let reference = format!("S=akv://{host}/sql-sa");
    let words = [options, &["--secret", &reference, "--", "printenv", "S"]].concat();
    let run = exec(azure, words)
        .without("AKV_INIT_ALLOW_VAULT")
        .without("AZURE_POD_IDENTITY_AUTHORITY_HOST")
        .env("HTTPS_PROXY", azure.proxy())
        .env("NO_PROXY", "localhost");
    with(run, &source.environment(azure))
}

#[track_caller]
fn assert_value(outcome: &Outcome) {
    assert_eq!(outcome.stdout_alone(), "value\n");
}

/// The request without a token gets the challenge, and is repeated with the token.
#[test]
fn unknown_host_is_asked_for_its_challenge_once() {
    let azure = emulator().start();
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    let requests = azure.requests_at(Endpoint::Vault);
    assert_eq!(requests[0].target, requests[1].target);
    assert_eq!(requests[0].header("authorization"), None);
    let bearers = requests[1]
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    assert_eq!(bearers.count(), 1);
    assert_eq!(
        requests[1].bearer(),
        azure.tokens().first().map(String::as_str)
    );
    let request = azure.requests_at(Endpoint::Imds).pop().unwrap();
    assert_eq!(request.query("resource").as_deref(), Some(RESOURCE));
}

/// One challenge for each vault, and one token for both, whose resource is the same.
#[test]
fn secrets_of_a_vault_share_one_challenge() {
    let azure = emulator().start();
    for name in ["a", "b", "c", "d", "e"] {
        azure.secret(name, name);
    }
    let targets = ["42", "43"].map(|vault| {
        ["a", "b", "c", "d", "e"]
            .map(|name| format!("S{vault}{name}=akv://{vault}.vault.emulator.test/{name}"))
    });
    let mut words = Vec::new();
    for target in targets.as_flattened() {
        words.extend(["--secret", target]);
    }
    let outcome = read_from(&azure, Source::Imds, HOST, &words).outcome();
    assert_value(&outcome);
    // Eleven secrets of two vaults.
    assert_eq!(counts(&azure), [1, 0, 13]);
    let without = azure
        .requests_at(Endpoint::Vault)
        .into_iter()
        .filter(|request| request.bearer().is_none());
    let mut hosts: Vec<String> = without.map(|request| request.host).collect();
    hosts.sort();
    assert_eq!(hosts, [HOST, "43.vault.emulator.test"]);
}

/// By a cloud or an option.
#[test]
fn known_host_is_not_asked_for_a_challenge() {
    let azure = emulator().start();
    let options = ["--allow-vault", HOST, "--vault-resource", RESOURCE];
    assert_value(&read_from(&azure, Source::Imds, HOST, &options).outcome());
    assert_eq!(counts(&azure), [1, 0, 1]);
    assert_value(&read_from(&azure, Source::Imds, "prod-kv.vault.azure.net", &[]).outcome());
    assert_eq!(counts(&azure), [2, 0, 2]);
}

#[test]
fn every_form_of_a_challenge_is_read() {
    for header in [
        r#"Bearer authorization="LOGIN/TENANT", resource="RESOURCE""#,
        // The scope precedes the resource.
        r#"Bearer authorization="LOGIN/TENANT", resource="https://vault.azure.net", scope="RESOURCE/.default""#,
        r#"Bearer authorization="LOGIN/TENANT" scope="RESOURCE/.default" resource="ignore me""#,
        r#"Bearer resource="RESOURCE", authorization="LOGIN/TENANT""#,
        "Bearer authorization=LOGIN/TENANT, resource=RESOURCE",
        r#"Bearer authorization="https://login.windows.net/TENANT", resource="RESOURCE""#,
        r#"bearer AUTHORIZATION="LOGIN/TENANT",Resource="RESOURCE""#,
        r#"Bearer resource="RESOURCE""#,
        // ADFS is not a tenant.
        r#"Bearer authorization="https://adfs.emulator.test/adfs", resource="RESOURCE""#,
        r#"Bearer realm="", authorization_uri="LOGIN/TENANT/oauth2/authorize", error="x", resource="RESOURCE""#,
        r#"Bearer authorization="LOGIN/TENANT", resource="https://Vault.Emulator.TEST""#,
    ] {
        let resource = match header.contains("TEST\"") {
            true => "https://Vault.Emulator.TEST",
            false => RESOURCE,
        };
        let azure = emulator().vault_resource(resource).start();
        let header = header
            .replace("LOGIN", "https://login.microsoftonline.com")
            .replace("TENANT", TENANT)
            .replace("RESOURCE", RESOURCE);
        azure.challenge(&header);
        let outcome = read_from(&azure, Source::Secret, HOST, &[]).outcome();
        assert_eq!(outcome.stdout, "value\n", "{header}: {}", outcome.stderr);
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        // Only the tenant is used of the authority: the form is sent to the configured one.
        assert_eq!(request.host, azure.login().trim_start_matches("https://"));
        let path = format!("/{TENANT}/oauth2/v2.0/token");
        assert_eq!(request.path(), path, "{header}");
        assert_eq!(counts(&azure), [0, 1, 2], "{header}");
    }
}

#[test]
fn resource_that_is_not_a_parent_domain_of_the_host_is_rejected() {
    for (host, resource) in [
        (HOST, "https://vault.azure.cn"),
        (HOST, "https://vault.azure.net"),
        (HOST, "https://myvault.emulator.test"),
        (HOST, "https://management.azure.com"),
        ("hostvault.azure.net", "https://vault.azure.net"),
        ("vault.evil.test", "https://vault.azure.net"),
        (HOST, "https://42.vault.emulator.test"),
        (HOST, "https://a.42.vault.emulator.test"),
        (HOST, "https://vault.emulator.test:8443"),
        (HOST, "http://vault.emulator.test"),
        (HOST, "https://vault.emulator.test@vault.azure.net"),
        (HOST, "https://vault.emulator.test."),
        // What no other resource may contain.
        (HOST, "https://vault.emulator.test/?x=1"),
        (HOST, "https://vault.emulator.test/--debug --query x"),
    ] {
        let azure = emulator().name(host).start();
        for parameter in ["resource=\"{}\"", "scope=\"{}/.default\""] {
            let audience = parameter.replace("{}", resource);
            azure.challenge(&format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", {audience}"
            ));
            let failure = read_from(&azure, Source::Secret, host, &[]).failure(76, "protocol");
            failure.names(host).names(resource).fact("for", "S");
            failure
                .hint_names("--allow-vault")
                .hint_names("--vault-resource");
        }
        // One request each, and no token.
        assert_eq!(counts(&azure), [0, 0, 2], "{resource}");
    }
}

#[test]
fn root_dot_and_plain_http_are_rejected_before_any_request() {
    let azure = emulator().start();
    for reference in [
        "akv://myvault.vault.azure.net./sql-sa",
        "akv://hostvault.azure.net./sql-sa",
        "http://myvault.vault.azure.net/secrets/sql-sa",
    ] {
        let option = format!("S={reference}");
        let outcome = exec(&azure, ["--secret", &option, "--", "true"]).outcome();
        assert_eq!(outcome.code, Some(78), "{reference}: {}", outcome.stderr);
    }
    assert_eq!(crate::support_requests::connections(&azure), 0);
}

/// Its challenge could be an attacker's.
#[test]
fn known_host_cannot_name_another_resource() {
    let azure = emulator().start();
    azure.challenge(&format!(
        "Bearer authorization=\"https://login.evil.test/{TENANT}\", resource=\"https://management.azure.com\""
    ));
    azure.next(Endpoint::Vault, Response::akv10000().header(
        "WWW-Authenticate",
        "Bearer authorization=\"https://login.evil.test/common\", resource=\"https://management.azure.com\"",
    ));
    let run = read_from(&azure, Source::Imds, "prod-kv.vault.azure.net", &[]);
    run.failure(77, "denied");
    let resources: Vec<_> = azure
        .requests_at(Endpoint::Imds)
        .iter()
        .map(|request| request.query("resource"))
        .collect();
    assert_eq!(resources, [Some("https://vault.azure.net".to_owned())]);
}

#[test]
fn unknown_host_without_a_challenge_is_rejected() {
    let azure = emulator().start();
    let challenge = |header: &str| Response::status(401).header("WWW-Authenticate", header);
    for response in [
        Response::status(401),
        Response::redirect("https://vault.azure.net"),
    ] {
        azure.next(Endpoint::Vault, response);
        let failure = read_from(&azure, Source::Secret, HOST, &[]).failure(76, "protocol");
        failure.fact("vault", HOST).fact("for", "S");
    }
    // It is quoted.
    for header in [
        "Basic realm=\"x\"",
        "Bearer",
        "Bearer ...",
        "Bearer realm=\"\"",
        "PoP resource=\"https://vault.emulator.test\"",
        "Bearer resource=\"https://vault.emulator.test:8443\"",
    ] {
        azure.next(Endpoint::Vault, challenge(header));
        let failure = read_from(&azure, Source::Secret, HOST, &[]).failure(76, "protocol");
        failure
            .fact("vault", HOST)
            .fact("for", "S")
            .names(&format!("`{header}`"));
        failure.hint_names("--vault-resource");
    }
    // A secret without authentication is not used.
    azure.next(
        Endpoint::Vault,
        Response::json(
            200,
            &serde_json::json!({"id": "https://x/secrets/a/1", "value": "LEAK"}),
        ),
    );
    let run = read_from(&azure, Source::Secret, HOST, &["--verbose"]);
    run.failure(76, "protocol").omits("LEAK");
    assert_eq!(azure.requests_at(Endpoint::Login).len(), 0);
}

#[test]
fn failed_request_for_the_challenge_is_retried() {
    let azure = emulator().start();
    for response in [
        Response::status(503),
        Response::throttled(),
        Response::fin(),
    ] {
        azure.next(Endpoint::Vault, response);
        assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    }
}
