//! The vault's challenge: asked for once where no cloud and no option explains a host, believed only from a host below
//! the resource's; a tenant that a vault names; and an api-version that it does not know.

mod tenants;
mod versions;

use crate::azure::{Answer, Azure, Builder, Door, TENANT};
use crate::network::wire::counts;
use crate::support::{Outcome, Run, exec};
use crate::support_identities::{Source, with};

/// A host of an emulator or of a cloud that nobody has heard of, and what its tokens are for.
const HOST: &str = "42.vault.emulator.test";
const RESOURCE: &str = "https://vault.emulator.test";

fn emulator() -> Builder {
    Azure::builder()
        .name(HOST)
        .name("43.vault.emulator.test")
        .vault_resource(RESOURCE)
}

/// Reads one secret of this host through the CONNECT proxy, which leads every name to the vault.
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

/// K1's exchange: no token, the challenge, the token, exactly one `Authorization` on the repeat.
#[test]
fn k1_an_unknown_host_is_asked_once_what_it_wants() {
    let azure = emulator().start();
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    assert_eq!(counts(&azure), [1, 0, 2]);
    let requests = azure.requests_at(Door::Vault);
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
    let asked = azure.requests_at(Door::Imds).pop().unwrap();
    assert_eq!(asked.query("resource").as_deref(), Some(RESOURCE));
}

/// However many secrets: one challenge and one token for each vault of that kind, one token for both if it is the same.
#[test]
fn many_secrets_share_one_challenge() {
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
        .requests_at(Door::Vault)
        .into_iter()
        .filter(|request| request.bearer().is_none());
    let mut hosts: Vec<String> = without.map(|request| request.host).collect();
    hosts.sort();
    assert_eq!(hosts, [HOST, "43.vault.emulator.test"]);
}

/// Where a cloud or an option knows it, there is no round trip for it.
#[test]
fn a_host_that_is_known_is_not_asked() {
    let azure = emulator().start();
    let options = ["--allow-vault", HOST, "--vault-resource", RESOURCE];
    assert_value(&read_from(&azure, Source::Imds, HOST, &options).outcome());
    assert_eq!(counts(&azure), [1, 0, 1]);
    assert_value(&read_from(&azure, Source::Imds, "prod-kv.vault.azure.net", &[]).outcome());
    assert_eq!(counts(&azure), [2, 0, 2]);
}

/// The vectors' ids: K1, K3, K4, K11, K12, K20, and what else may stand in a challenge.
#[test]
fn every_shape_of_a_challenge_is_read() {
    let login = "https://login.microsoftonline.com";
    for (id, header) in [
        (
            "K1",
            format!("Bearer authorization=\"{login}/{TENANT}\", resource=\"{RESOURCE}\""),
        ),
        (
            "K3: the scope wins",
            format!(
                "Bearer authorization=\"{login}/{TENANT}\", resource=\"https://vault.azure.net\", scope=\"{RESOURCE}/.default\""
            ),
        ),
        (
            "K4: spaces",
            format!(
                "Bearer authorization=\"{login}/{TENANT}\" scope=\"{RESOURCE}/.default\" resource=\"ignore me\""
            ),
        ),
        (
            "K11: the other order",
            format!("Bearer resource=\"{RESOURCE}\", authorization=\"{login}/{TENANT}\""),
        ),
        (
            "K12: no quotes",
            format!("Bearer authorization={login}/{TENANT}, resource={RESOURCE}"),
        ),
        (
            "K20: an old authority",
            format!(
                "Bearer authorization=\"https://login.windows.net/{TENANT}\", resource=\"{RESOURCE}\""
            ),
        ),
        (
            "another case",
            format!("bearer AUTHORIZATION=\"{login}/{TENANT}\",Resource=\"{RESOURCE}\""),
        ),
        ("no tenant", format!("Bearer resource=\"{RESOURCE}\"")),
        (
            "ADFS is no tenant",
            format!(
                "Bearer authorization=\"https://adfs.emulator.test/adfs\", resource=\"{RESOURCE}\""
            ),
        ),
        (
            "more keys",
            format!(
                "Bearer realm=\"\", authorization_uri=\"{login}/{TENANT}/oauth2/authorize\", error=\"invalid_token\", resource=\"{RESOURCE}\""
            ),
        ),
        (
            "the host's case",
            format!(
                "Bearer authorization=\"{login}/{TENANT}\", resource=\"https://Vault.Emulator.TEST\""
            ),
        ),
    ] {
        let azure = emulator().vault_resource(match id {
            "the host's case" => "https://Vault.Emulator.TEST",
            _ => RESOURCE,
        });
        let azure = azure.start();
        azure.challenge(&header);
        let outcome = read_from(&azure, Source::Secret, HOST, &[]).outcome();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(0), "value\n"),
            "{id}: {}",
            outcome.stderr
        );
        let asked = azure.requests_at(Door::Login).pop().unwrap();
        // Of the authority only the tenant is taken: the form goes where our own settings say.
        assert_eq!(
            asked.host,
            azure.login().trim_start_matches("https://"),
            "{id}"
        );
        assert_eq!(asked.path(), format!("/{TENANT}/oauth2/v2.0/token"), "{id}");
        assert_eq!(counts(&azure), [0, 1, 2], "{id}");
    }
}

/// The vectors' ids: K5, K7, K8; a resource that is not below its own name, at another port, or not over https.
#[test]
fn k5_k7_k8_a_resource_that_is_not_the_hosts_parent_is_not_asked_for() {
    for (id, host, resource) in [
        ("K5", HOST, "https://vault.azure.cn"),
        ("K5", HOST, "https://vault.azure.net"),
        ("K5", HOST, "https://myvault.emulator.test"),
        ("K5", HOST, "https://management.azure.com"),
        ("K7", "hostvault.azure.net", "https://vault.azure.net"),
        ("K8", "vault.evil.test", "https://vault.azure.net"),
        ("itself", HOST, "https://42.vault.emulator.test"),
        ("below itself", HOST, "https://a.42.vault.emulator.test"),
        ("a port", HOST, "https://vault.emulator.test:8443"),
        ("plain http", HOST, "http://vault.emulator.test"),
        (
            "user info",
            HOST,
            "https://vault.emulator.test@vault.azure.net",
        ),
        ("a root dot", HOST, "https://vault.emulator.test."),
    ] {
        let azure = emulator().name(host).start();
        for parameter in ["resource=\"{}\"", "scope=\"{}/.default\""] {
            let audience = parameter.replace("{}", resource);
            azure.challenge(&format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", {audience}"
            ));
            let outcome = read_from(&azure, Source::Secret, host, &[]).outcome();
            let line = format!(
                "error: asking {host} for S what it wants a token for: it wants a token for `{resource}`, which is not a \
                 parent domain of its own"
            );
            let hint = format!(
                "hint: if this host is meant, say what its token is for: --allow-vault {host} --vault-resource URL"
            );
            assert_eq!(outcome.error(), Some(&line["error: ".len()..]), "{id}");
            outcome.failed(76, &[&line, &hint]);
        }
        // One request each, and nobody was asked for a token.
        assert_eq!(counts(&azure), [0, 0, 2], "{id}");
    }
}

/// K9, K13: what cannot be a vault at all is refused before any request.
#[test]
fn k9_k13_a_root_dot_and_plain_http_are_refused_before_any_request() {
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
    assert_eq!(crate::network::wire::connections(&azure), 0);
}

/// The challenge of a host that is known says nothing about what a token is for: an attacker's word would.
#[test]
fn k5_a_known_host_cannot_name_another_resource() {
    let azure = emulator().start();
    azure.challenge(&format!(
        "Bearer authorization=\"https://login.evil.test/{TENANT}\", resource=\"https://management.azure.com\""
    ));
    azure.next(Door::Vault, Answer::akv10000().header(
        "WWW-Authenticate",
        "Bearer authorization=\"https://login.evil.test/common\", resource=\"https://management.azure.com\"",
    ));
    let outcome = read_from(&azure, Source::Imds, "prod-kv.vault.azure.net", &[]).outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let asked: Vec<_> = azure
        .requests_at(Door::Imds)
        .iter()
        .map(|request| request.query("resource"))
        .collect();
    assert_eq!(asked, [Some("https://vault.azure.net".to_owned())]);
}

#[test]
fn an_unknown_host_without_a_challenge_is_no_vault() {
    let azure = emulator().start();
    let subject = format!("asking {HOST} for S what it wants a token for");
    let prove = "which is not a parent domain of its own";
    for (answer, said) in [
        (Answer::status(401), "401 without a challenge".to_owned()),
        (
            Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            "401 with a challenge that is not Bearer".to_owned(),
        ),
        (
            Answer::status(401).header("WWW-Authenticate", "Bearer"),
            "401 with a challenge that is not Bearer".to_owned(),
        ),
        (
            Answer::status(401).header("WWW-Authenticate", "Bearer realm=\"\""),
            format!("it wants a token for `nothing`, {prove}"),
        ),
        (
            Answer::redirect("https://vault.azure.net"),
            "307 Temporary Redirect: a redirect, which Azure never sends here".to_owned(),
        ),
    ] {
        azure.next(Door::Vault, answer);
        let outcome = read_from(&azure, Source::Secret, HOST, &[]).outcome();
        assert_eq!(outcome.error(), Some(format!("{subject}: {said}").as_str()));
        assert_eq!(outcome.code, Some(76));
    }
    // A secret that is given to anyone was not ours to keep: it is not used.
    azure.next(
        Door::Vault,
        Answer::json(
            200,
            &serde_json::json!({"id": "https://x/secrets/a/1", "value": "LEAK"}),
        ),
    );
    let outcome = read_from(&azure, Source::Secret, HOST, &["--verbose"]).outcome();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("LEAK"), "{}", outcome.stderr);
    assert_eq!(azure.requests_at(Door::Login).len(), 0);
}

#[test]
fn trouble_with_the_question_is_waited_for_as_with_any_other() {
    let azure = emulator().start();
    for answer in [Answer::status(503), Answer::throttled(), Answer::fin()] {
        azure.next(Door::Vault, answer);
        assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    }
}
